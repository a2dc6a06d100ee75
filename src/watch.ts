import { statSync } from 'node:fs';
import { now } from './clock.ts';

/** Between two looks, ms. */
const EVERY_MS = 250;
/** A save is several writes, and a build many files: what follows within this belongs together. */
const SETTLE_MS = 100;
/** What does not come to rest by then is taken as it is, ms. */
const RESTLESS_MS = 500;
/** Looking may take one part in this many of the time: on some file systems a look is long. */
const SHARE = 20;

/**
 * Calls `onChange` when `look` gives another value than the last that it came to rest at, and gives that one twice.
 * Returns the function that ends it. It keeps no process alive.
 *
 * It looks again and again, by path, and waits for no word of the system's: that comes for a file or folder as it
 * was opened, so that one renamed into its place, made again, or reached by a link that is pointed elsewhere would
 * go unseen, and no word at all comes from most mounts of another machine's files.
 */
export function watch(look: () => unknown, onChange: () => void): () => void {
  let seen = look();
  let rested = seen;
  let changedAt: number | undefined;
  let timer: NodeJS.Timeout | undefined;
  let isClosed = false;

  function check(): void {
    const began = now();
    const value = look();
    const hasChanged = value !== seen;
    seen = value;
    if (hasChanged) changedAt ??= began;
    if (changedAt !== undefined && (!hasChanged || began - changedAt > RESTLESS_MS)) {
      changedAt = undefined;
      const isAnother = value !== rested;
      rested = value;
      if (isAnother) onChange();
    }
    wait(Math.max(changedAt === undefined ? untilTick(began) : SETTLE_MS, (now() - began) * SHARE));
  }
  function wait(ms: number): void {
    if (!isClosed) timer = setTimeout(check, ms).unref();
  }

  wait(EVERY_MS);
  return () => {
    isClosed = true;
    clearTimeout(timer);
  };
}

/** All watches look in the same moment: they wake the machine once. */
const untilTick = (moment: number): number => EVERY_MS - (moment % EVERY_MS);

/**
 * Tells the state of what a path leads to, links followed: another file, another text or none at all is another
 * stamp. Of a folder it tells which one it is, not what is in it.
 *
 * The time of the last change counts beside that of the last write, which tools set back.
 */
export function stampOf(path: string): string {
  try {
    const stat = statSync(path, { throwIfNoEntry: false });
    if (stat === undefined) return 'missing';
    const identity = `${stat.dev} ${stat.ino}`;
    return stat.isDirectory() ? identity : `${identity} ${stat.size} ${stat.mtimeMs} ${stat.ctimeMs}`;
  } catch (error) {
    // no permission, or a link in a circle: it may get better
    return String((error as NodeJS.ErrnoException).code);
  }
}
