/**
 * Gives ms of a clock that never goes back, whatever is done to the time of day; only differences mean something.
 * Deadlines are on this clock.
 *
 * Not `performance.now()`: what Node loads at its first use takes 0.7 ms of a start.
 */
export function now(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1000 + nanoseconds / 1e6;
}

/** Says a moment of `now()` in epoch ms, as those must hear it who have another clock. */
export function epochOf(moment: number): number {
  return Date.now() + Math.round(moment - now());
}

/** Reads what another clock said, epoch ms, as a moment of `now()`. */
export function momentOf(epochMs: number): number {
  return now() + epochMs - Date.now();
}

/** Of a time in which the process was frozen, so much counts at most, ms. */
const STEP_MS = 500;

/**
 * Calls back after so much running time, ms: who is frozen meanwhile has not had that time. Gives the function that
 * calls it off.
 */
export function afterRunning(ms: number, callback: () => void): () => void {
  let left = ms;
  let timer: NodeJS.Timeout;
  function wait(): void {
    const step = Math.min(left, STEP_MS);
    left -= step;
    timer = setTimeout(left > 0 ? wait : callback, step);
  }
  wait();
  return () => clearTimeout(timer);
}
