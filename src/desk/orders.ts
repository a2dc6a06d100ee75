import { FcError } from './fc/answers.ts';
import type { Platform } from './fc/platform.ts';
import { holders, signalAll, tree } from './fc/processes.ts';
import { KEYS } from './keys.ts';
import type { Report } from './view/terminal.ts';

/** Does what a key or a line asks for. */
export function command(platform: Platform, report: Report, word: string, argument: string | undefined): void {
  const instances = platform.instances();
  const running = instances.length;
  switch (word) {
    case 'freeze':
      for (const instance of instances) instance.freeze();
      return;
    case 'thaw':
      for (const instance of instances) instance.thaw();
      return;
    case 'crash':
      // the one that it hurts most
      [...instances].sort((a, b) => b.inFlight - a.inFlight)[0]?.crash();
      return;
    case 'more':
      scale(platform, report, running + 1);
      return;
    case 'less':
      scale(platform, report, Math.max(0, running - 1));
      return;
    case 'scale':
      scale(platform, report, Number(argument));
      return;
    case 'stop':
      scale(platform, report, 0);
      return;
    case 'start':
      scale(platform, report, Math.max(1, running));
      return;
    case 'help':
      report.note(
        'help',
        { words: KEYS },
        KEYS.map(({ key, word: name, meaning }) => `  ${key}  ${name.padEnd(8)}${meaning}`).join('\n'),
      );
      return;
    default:
      report.note('unknown', { word }, `unknown: ${word}`);
  }
}

/** Has so many instances, as far as that is allowed; a start that fails is told. */
export function scale(platform: Platform, report: Report, count: number): void {
  const { maxInstances } = platform.settings;
  if (!Number.isInteger(count) || count < 0 || count > maxInstances) {
    report.note('refused', { count }, `scale: expected a whole number from 0 to ${maxInstances}`);
    return;
  }
  platform.scale(count).catch(error => {
    if (!(error instanceof FcError)) throw error;
    const { code, message } = error;
    report.note(
      'start failed',
      { code, message },
      `${code}: ${message}\nMend it and ask again: the next request starts a new instance.`,
    );
  });
}

/**
 * New code is a new deployment: what is in flight ends on the old instances, and no other call gets there. Frozen,
 * they would see the change only after they have answered the next one.
 *
 * @param reason - as the life has it.
 */
export function replaceAll(platform: Platform, reason: string): void {
  for (const instance of platform.instances()) if (instance.state === 'ready') instance.stop(reason);
}

/** Leaves no process behind, however this one ends. */
export function killAll(platform: Platform): void {
  for (const { id, pid } of platform.instances()) {
    signalAll([...tree(pid), ...holders('FC_INSTANCE_ID', id)], 'SIGKILL');
  }
}
