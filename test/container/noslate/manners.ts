import { basename } from 'node:path';

/** A program of Noslate's `bin`. */
export type Program = 'turf' | 'data_plane' | 'control_plane';

/** How a program behaves; as Noslate's where nothing is said. */
export interface Manner {
  /** ms from its start until it opens its socket; null is never. */
  socketMs?: number | null;
  /** ms for which it computes before anything else. */
  busyMs?: number;
  /** Ends at once with this status, once it has said so. */
  status?: number;
  /** ms from a plane's start until its log takes it to be the next day. */
  midnightMs?: number;
  /** A plane that takes no SIGTERM, as turfd never does. */
  stubborn?: boolean;
  /** Workers that turfd starts, in sessions of their own and without our environment. */
  workers?: number;
  /** ms after which a process ends that turfd has started, and whose parent has ended before. */
  orphanMs?: number;
}

/** The value of the variable STAND_INS, as JSON. */
export type Manners = Partial<Record<Program, Manner>>;

/** How a program shall behave. */
export const mannerOf = (program: Program): Manner =>
  (JSON.parse(process.env['STAND_INS'] ?? '{}') as Manners)[program] ?? {};

/** Gives how a program shall behave, after the part that comes before all else. */
export function behave(program: Program): Manner {
  const manner = mannerOf(program);
  for (const until = Date.now() + (manner.busyMs ?? 0); Date.now() < until; );
  if (manner.status !== undefined) die(`told to end with ${manner.status}`, manner.status);
  return manner;
}

/** Acts when it is time for the socket, and keeps the process until then and beyond. */
export function whenDue({ socketMs = 0 }: Manner, act: () => void): void {
  setInterval(() => {}, 2 ** 30);
  if (socketMs !== null) setTimeout(act, socketMs);
}

/** The folder that a variable names. */
export function folder(variable: string): string {
  return process.env[variable] ?? die(`${variable} is not set`);
}

/** Says why, and ends the process. */
export function die(message: string, status: number = 1): never {
  process.stderr.write(`${basename(process.argv[1] ?? '')}: ${message}\n`);
  process.exit(status);
}
