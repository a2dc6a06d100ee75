import { appendFileSync, lstatSync, symlinkSync, unlinkSync } from 'node:fs';
import { basename } from 'node:path';

/** So long lines are held before they are written, ms. */
const FLUSH_MS = 1000;
const DAY_MS = 24 * 60 * 60 * 1000;

/** What a plane logs. */
export interface PlaneLog {
  say(message: string): void;
  /** Writes what is held. */
  flush(): void;
}

/**
 * Logs as the planes do by midway's logger: into a file of the day, to which `file` is a link. Both are made when
 * there is something to write, and lines are held for a while. With another day comes another file, and the link is
 * taken away and made anew.
 *
 * @param midnightMs - after which the day changes; by default never.
 */
export function createPlaneLog(file: string, midnightMs: number = Number.POSITIVE_INFINITY): PlaneLog {
  const startedAt = Date.now();
  let held = '';
  let current = '';
  let timer: NodeJS.Timeout | undefined;

  function flush(): void {
    clearTimeout(timer);
    timer = undefined;
    if (held === '') return;
    const isNextDay = Date.now() - startedAt >= midnightMs;
    const day = new Date(startedAt + (isNextDay ? DAY_MS : 0)).toISOString().slice(0, 10);
    const dated = `${file}.${day}`;
    appendFileSync(dated, held);
    held = '';
    if (dated === current) return;
    current = dated;
    try {
      if (lstatSync(file, { throwIfNoEntry: false }) !== undefined) unlinkSync(file);
      symlinkSync(basename(dated), file);
    } catch {
      // another data plane has just done it
    }
  }
  return {
    say(message) {
      held += `INFO ${process.pid} ${message}\n`;
      timer ??= setTimeout(flush, FLUSH_MS).unref();
    },
    flush,
  };
}
