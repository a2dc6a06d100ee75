import { is, type LifeEvent } from '../../fc/life.ts';
import type { FunctionSettings } from '../../fc/settings.ts';
import { type Quantiles as Counted, createQuantiles } from '../quantiles.ts';
import type { Costs, Otherwise, Quantiles } from './api.ts';
import { hasFailed } from './calls.ts';

/** The concurrencies that the same calls are played at. */
const OTHERS = [1, 10, 20];

/** A call, as far as it matters to where it would have run. */
export interface Played {
  /** When it came. */
  readonly at: number;
  /** On its instance. */
  readonly runMs: number;
}

/** What a run costs. */
export interface Ledger {
  on(event: LifeEvent): void;
  /**
   * @param played - the calls that other settings are tried on, in the order in which they came.
   * @param ready - instances that were there when the first of these came.
   */
  costs(now: number, played: readonly Played[], ready: number): Costs;
}

type Priced = Pick<FunctionSettings, 'memory' | 'cpu' | 'instanceConcurrency'>;

interface Meter {
  inFlight: number;
  isFrozen: boolean;
  /** It may be called: what is not busy or frozen from here on idles. */
  isReady: boolean;
  since: number;
}

/** Sums up a run. What FC bills is the time in which an instance has had at least one call, and its hooks. */
export function createLedger(settings: Priced): Ledger {
  const meters = new Map<string, Meter>();
  const spent = { frozen: 0, idle: 0, busy: 0 };
  const [all, warm, cold] = [createQuantiles(), createQuantiles(), createQuantiles()];
  const counts = { calls: 0, failed: 0, billedMs: 0 };
  const starts = { count: 0, ms: 0, hookMs: 0 };

  const kindOf = ({ inFlight, isFrozen, isReady }: Meter): keyof typeof spent | undefined =>
    inFlight > 0 ? 'busy' : isFrozen ? 'frozen' : isReady ? 'idle' : undefined;

  /** Ends a stretch of an instance's time. */
  function change(meter: Meter, at: number, what: Partial<Meter>): void {
    const kind = kindOf(meter);
    const next = { ...meter, ...what };
    const nextKind = kindOf(next);
    Object.assign(meter, what);
    if (kind === nextKind) return;
    const ms = Math.max(0, at - meter.since);
    if (kind !== undefined) spent[kind] += ms;
    if (kind === 'busy') counts.billedMs += Math.ceil(ms);
    meter.since = at;
  }

  function onInstance(meter: Meter, event: LifeEvent): void {
    const { at } = event;
    if (event.event === 'request') change(meter, at, { inFlight: meter.inFlight + 1 });
    else if (event.event === 'answer') change(meter, at, { inFlight: Math.max(0, meter.inFlight - 1) });
    else if (event.event === 'frozen') change(meter, at, { isFrozen: true });
    else if (event.event === 'thawed') change(meter, at, { isFrozen: false });
    else if (is(event, 'ready')) {
      change(meter, at, { isReady: true });
      starts.count += 1;
      starts.ms += event.ms;
    } else if (is(event, 'initialized') || is(event, 'pre-freeze') || is(event, 'pre-stop')) {
      counts.billedMs += Math.ceil(event.ms);
      if (event.event === 'initialized') starts.hookMs += event.ms;
    }
  }

  function count(event: LifeEvent): void {
    if (!is(event, 'answer')) return;
    const { totalMs, isCold, status, errorType } = event;
    counts.calls += 1;
    if (hasFailed({ status, errorType })) counts.failed += 1;
    // of bytes that were no request nothing was waited for
    if (totalMs === undefined) return;
    all.add(totalMs);
    (isCold === true ? cold : warm).add(totalMs);
  }

  return {
    on(event) {
      const { instance = '', at } = event;
      if (event.event === 'starting') {
        meters.set(instance, { inFlight: 0, isFrozen: false, isReady: false, since: at });
      }
      const meter = meters.get(instance);
      if (meter !== undefined) onInstance(meter, event);
      count(event);
      if (meter === undefined || event.event !== 'exited') return;
      change(meter, at, { inFlight: 0, isFrozen: false, isReady: false });
      meters.delete(instance);
    },
    costs(now, played, ready) {
      const so = { ...spent };
      let billedMs = counts.billedMs;
      for (const meter of meters.values()) {
        const kind = kindOf(meter);
        if (kind === undefined) continue;
        so[kind] += now - meter.since;
        if (kind === 'busy') billedMs += Math.ceil(now - meter.since);
      }
      const bill = billOf(settings, billedMs);
      const { calls } = counts;
      return {
        ...counts,
        coldStarts: cold.count,
        all: told(all),
        warm: told(warm),
        cold: told(cold),
        frozenMs: so.frozen,
        idleMs: so.idle,
        busyMs: so.busy,
        ...bill,
        per1000: calls === 0 ? undefined : billOf(settings, (billedMs / calls) * 1000),
        others: [...new Set([...OTHERS, settings.instanceConcurrency])]
          .sort((one, other) => one - other)
          .map(each => otherwise(settings, each, played, ready, starts)),
      };
    },
  };
}

function billOf(
  { memory, cpu }: Priced,
  billedMs: number,
): { billedMs: number; gbSeconds: number; vcpuSeconds: number } {
  return { billedMs, gbSeconds: ((billedMs / 1000) * memory) / 1024, vcpuSeconds: (billedMs / 1000) * cpu };
}

const told = (times: Counted): Quantiles => ({ count: times.count, p50: times.at(0.5), p99: times.at(0.99) });

/** An instance of the play. */
interface Actor {
  readyAt: number;
  inFlight: number;
  busyFrom: number;
}

/**
 * Plays calls again at another concurrency: each takes a free slot, or waits for the first that is free, while a new
 * instance starts where those on their way are too few for all who wait. Calls take as long as they did, whatever shares
 * their instance, and instances start as long as they did here on average.
 */
function otherwise(
  settings: Priced,
  instanceConcurrency: number,
  played: readonly Played[],
  ready: number,
  starts: { readonly count: number; readonly ms: number; readonly hookMs: number },
): Otherwise {
  const startMs = starts.count === 0 ? 0 : starts.ms / starts.count;
  const hookMs = starts.count === 0 ? 0 : starts.hookMs / starts.count;
  const actor = (readyAt: number): Actor => ({ readyAt, inFlight: 0, busyFrom: 0 });
  const actors = Array.from({ length: ready }, () => actor(Number.NEGATIVE_INFINITY));
  const times = createQuantiles();
  const queue: Played[] = [];
  /** What frees a slot, by its moment: an instance that is ready, or the end of a call. */
  const due: { readonly at: number; readonly by: Actor; readonly isEnd: boolean }[] = [];
  let billedMs = 0;
  let coldStarts = 0;

  function later(at: number, by: Actor, isEnd: boolean): void {
    let i = due.length;
    for (; i > 0; i--) if ((due[i - 1]?.at ?? 0) <= at) break;
    due.splice(i, 0, { at, by, isEnd });
  }

  function run({ at, runMs }: Played, on: Actor, moment: number): void {
    if (on.inFlight === 0) on.busyFrom = moment;
    on.inFlight += 1;
    if (on.readyAt > at) coldStarts += 1;
    times.add(moment - at + runMs);
    later(moment + runMs, on, true);
  }

  function free({ at, by, isEnd }: { at: number; by: Actor; isEnd: boolean }): void {
    if (isEnd) by.inFlight -= 1;
    while (by.inFlight < instanceConcurrency) {
      const next = queue.shift();
      if (next === undefined) break;
      run(next, by, at);
    }
    if (isEnd && by.inFlight === 0) billedMs += Math.ceil(at - by.busyFrom);
  }

  for (const call of played) {
    for (let next = due[0]; next !== undefined && next.at <= call.at; next = due[0]) {
      due.shift();
      free(next);
    }
    const roomy = actors.find(({ readyAt, inFlight }) => readyAt <= call.at && inFlight < instanceConcurrency);
    if (queue.length === 0 && roomy !== undefined) {
      run(call, roomy, call.at);
      continue;
    }
    queue.push(call);
    const onTheirWay = actors.filter(({ readyAt }) => readyAt > call.at).length;
    if (queue.length <= onTheirWay * instanceConcurrency) continue;
    const started = actor(call.at + startMs);
    actors.push(started);
    later(started.readyAt, started, false);
    billedMs += Math.ceil(hookMs);
  }
  for (let next = due.shift(); next !== undefined; next = due.shift()) free(next);
  return {
    instanceConcurrency,
    isSet: instanceConcurrency === settings.instanceConcurrency,
    calls: played.length,
    instances: actors.length,
    coldStarts,
    p50: times.at(0.5),
    p99: times.at(0.99),
    billedMs,
    gbSeconds: billOf(settings, billedMs).gbSeconds,
  };
}
