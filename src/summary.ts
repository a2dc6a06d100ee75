import { afterRunning } from './clock.ts';
import type { Exchange, Outcome } from './gateway.ts';
import type { Log } from './log.ts';

/** Each bucket of times ends at so much more than the one before: its middle is within a tenth of all that is in it. */
const GROWTH = 1.2;
const LOG_GROWTH = Math.log(GROWTH);
/** The first bucket ends there, ms. */
const LEAST_MS = 0.05;
const BUCKETS = 110;

/** Why a summary is written. */
export type Occasion = 'interval' | 'pre-freeze' | 'stop';

/** What the log says of many invocations at once, for an instance that nobody can ask: FC's cannot be scraped. */
export interface Summary {
  /** An invocation is over. */
  end(exchange: Exchange, outcome: Outcome, totalMs: number): void;
  /** Writes what has been since the last one, if there was an invocation. */
  write(occasion: Occasion): void;
}

/** @param seconds - running time from one to the next; 0 for none but those at occasions. */
export function createSummary(log: Log, seconds: number): Summary {
  let calls = 0;
  let coldStarts = 0;
  let bytesIn = 0;
  let bytesOut = 0;
  let longestMs = 0;
  let outcomes: Record<string, number> = {};
  const buckets = new Array<number>(BUCKETS).fill(0);

  /** The time that so many of a hundred invocations have not passed, ms. */
  function quantile(percent: number): number {
    let left = Math.ceil((calls * percent) / 100);
    const place = buckets.findIndex(count => {
      left -= count;
      return left <= 0;
    });
    return Math.round(Math.min(LEAST_MS * GROWTH ** (place - 0.5), longestMs) * 100) / 100;
  }

  function write(occasion: Occasion): void {
    if (calls === 0) return;
    log.info('summary', {
      occasion,
      calls,
      outcomes,
      p50Ms: quantile(50),
      p90Ms: quantile(90),
      p99Ms: quantile(99),
      longestMs: Math.round(longestMs * 100) / 100,
      coldStarts,
      bytesIn,
      bytesOut,
      peakRssBytes: process.resourceUsage().maxRSS * 1024,
    });
    calls = coldStarts = bytesIn = bytesOut = longestMs = 0;
    outcomes = {};
    buckets.fill(0);
  }

  function again(): void {
    afterRunning(seconds * 1000, () => {
      write('interval');
      again();
    });
  }
  if (seconds > 0) again();

  return {
    end(exchange, outcome, totalMs) {
      calls++;
      if (exchange.isCold) coldStarts++;
      bytesIn += exchange.bytesIn;
      bytesOut += exchange.bytesOut;
      if (totalMs > longestMs) longestMs = totalMs;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      const place = Math.ceil(Math.log(Math.max(totalMs, LEAST_MS) / LEAST_MS) / LOG_GROWTH);
      const bucket = Math.min(place, BUCKETS - 1);
      buckets[bucket] = (buckets[bucket] as number) + 1;
    },
    write,
  };
}
