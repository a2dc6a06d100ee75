import type { LifeEvent } from '../fc/life.ts';
import { DIM, type Paint, quantile } from './words.ts';

/** What the last line looks back on, ms. */
const BACK_MS = 60_000;
/** Times that are kept; a minute may have more calls. */
const MOST_TIMES = 20_000;
/** So often it is drawn at most, ms. */
const DRAW_MS = 250;
/** Of a terminal that does not tell how wide it is. */
const COLUMNS = 80;

/** The line at the bottom of a terminal: how it is now. */
export interface Status {
  event(event: LifeEvent): void;
  /** At that moment of the platform's clock, ms. */
  text(now: number): string;
}

/** Counts what the line tells. */
export function createStatus(): Status {
  const states = new Map<string, string>();
  const open = new Set<string>();
  let answers: { readonly at: number; readonly ms: number; readonly isCold: boolean }[] = [];
  return {
    event({ at, event, instance = '', requestId = '', totalMs, isCold }) {
      if (event === 'starting') states.set(instance, 'starting');
      else if (event === 'ready' || event === 'thawed') states.set(instance, 'ready');
      else if (event === 'frozen') states.set(instance, 'frozen');
      else if (event === 'stopping') states.set(instance, 'stopping');
      else if (event === 'exited') states.delete(instance);
      else if (event === 'call') open.add(requestId);
      else if (event === 'answer') {
        open.delete(requestId);
        if (typeof totalMs === 'number') answers.push({ at, ms: totalMs, isCold: isCold === true });
        if (answers.length > MOST_TIMES) answers = answers.slice(MOST_TIMES / 10);
      }
    },
    text(now) {
      answers = answers.filter(({ at }) => at >= now - BACK_MS);
      const times = answers.map(({ ms }) => ms).sort((one, other) => one - other);
      const counts = new Map<string, number>();
      for (const state of states.values()) counts.set(state, (counts.get(state) ?? 0) + 1);
      const cold = answers.filter(answer => answer.isCold).length;
      return [
        states.size === 0 ? 'no instance' : [...counts].map(([state, count]) => `${count} ${state}`).join(', '),
        `${open.size} in flight`,
        times.length === 0
          ? 'no call in the last minute'
          : `last minute: ${times.length} calls, p50 ${quantile(times, 0.5)}, p99 ${quantile(times, 0.99)}, ${cold} cold`,
      ].join(' · ');
    },
  };
}

/** Where a line is kept at the bottom. */
export interface Screen {
  /** Prints whole lines above it. */
  write(text: string): void;
  /** Has it drawn anew, soon. */
  changed(): void;
  /** Takes it away for good. */
  end(): void;
}

/**
 * Keeps a line below all that is printed.
 *
 * @param columns - how wide the terminal is now.
 */
export function createScreen(
  write: (text: string) => void,
  columns: () => number,
  text: () => string,
  paint: Paint,
): Screen {
  let timer: NodeJS.Timeout | undefined;
  /** What stands there: making it anew looks at all of a minute's calls, and many lines may come before the next. */
  let drawn = '';
  let isEnded = false;
  const clear = (): string => (drawn === '' ? '' : '\r\x1b[2K');
  /** One column is left free: a terminal that is full to its edge may go to the next line by itself. */
  const line = (): string => paint(DIM, text().slice(0, (columns() || COLUMNS) - 1));

  function draw(): void {
    timer = undefined;
    if (isEnded) return;
    const cleared = clear();
    drawn = line();
    write(`${cleared}${drawn}`);
  }

  return {
    write: lines => void write(`${clear()}${lines}${drawn}`),
    changed() {
      if (!isEnded) timer ??= setTimeout(draw, DRAW_MS).unref();
    },
    end() {
      clearTimeout(timer);
      const cleared = clear();
      isEnded = true;
      drawn = '';
      if (cleared !== '') write(cleared);
    },
  };
}
