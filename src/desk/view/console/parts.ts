import type { Part } from './api.ts';

/** When what happened to a call, ms since it came; undefined: not, or not yet. */
export interface Timing {
  /** The attempt that all of this is about, the last one, began. */
  readonly attempt: number;
  /** Its instance was started for it, or was on its way: the process, the open port, ready. */
  readonly starting?: number | undefined;
  readonly accepting?: number | undefined;
  readonly ready?: number | undefined;
  readonly request?: number | undefined;
  readonly thawed?: number | undefined;
  readonly head?: number | undefined;
  /** From its arrival in the container to its first byte, as the container says. */
  readonly functionMs?: number | undefined;
  /** Its end, or now. */
  readonly end: number;
  /** Whether what lies between the open port and ready is an initializer. */
  readonly hasInitializer: boolean;
}

/** Where a call's time went. The parts follow each other without gaps, and add up to its end. */
export function partsOf(timing: Timing): Part[] {
  const parts: Part[] = [];
  const end = hundredth(timing.end);
  let from = 0;
  /** Up to then it was this. Clocks of two processes meet here: nothing may begin before what went before it. */
  const until = (name: Part['name'], moment: number | undefined): void => {
    if (moment === undefined) return;
    const to = Math.min(Math.max(from, hundredth(moment)), end);
    if (to > from) parts.push({ name, fromMs: from, ms: hundredth(to - from) });
    from = to;
  };
  const { attempt, starting, accepting, ready, request, thawed, head, functionMs } = timing;
  until('earlier attempts', attempt);
  if (starting !== undefined && (request === undefined || starting < request)) {
    until('queued', starting);
    until('instance start', accepting ?? request ?? end);
    until(timing.hasInitializer ? 'initializer' : 'instance start', ready);
  }
  if (request === undefined) {
    until('queued', end);
    return parts;
  }
  until('queued', request);
  until('thaw', thawed);
  if (head !== undefined && functionMs !== undefined) until('gateway', head - functionMs);
  until('function', head ?? end);
  until('body', end);
  return parts;
}

const hundredth = (ms: number): number => Math.round(ms * 100) / 100;
