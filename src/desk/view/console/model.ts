import { now } from '../../../clock.ts';
import { is } from '../../fc/life.ts';
import type { Platform } from '../../fc/platform.ts';
import { usage } from '../../fc/processes.ts';
import { readLine } from '../line.ts';
import type { Batch, CallDetail, Costs, Snapshot } from './api.ts';
import { type Calls, createCalls } from './calls.ts';
import { createLedger, type Played } from './costs.ts';
import { detailOf } from './detail.ts';
import { createFindings } from './findings.ts';
import { createInstances, type Instances } from './instances.ts';

/** What the console knows of a platform's life. */
export interface Model {
  readonly calls: Calls;
  readonly instances: Instances;
  /** All there is. What `batch` gives from then on is what has changed since. */
  snapshot(): Omit<Snapshot, 'about'>;
  /** Undefined: nothing has changed. */
  batch(): Batch | undefined;
  costs(): Costs;
  /** Undefined: there is no such call, or not any more. */
  detail(id: string, where: { readonly url: string; readonly invoke: string }): CallDetail | undefined;
  /** Calls back after each event. */
  onChange(listener: () => void): void;
}

/** Begins to listen to a platform's life. */
export function createModel({ life, settings, instances: running, sessions }: Platform): Model {
  const started = now();
  const startedAt = Date.now();
  const calls = createCalls(settings);
  const instances = createInstances(settings, running, usage, sessions);
  const ledger = createLedger(settings);
  const findings = createFindings(settings);
  let changed = (): void => {};
  /** Moments of the platform's clock over moments since `started`. */
  let offset = 0;

  life.on(event => {
    offset = Math.max(offset, event.at - (now() - started));
    const line = is(event, 'log') ? readLine(event.stream, event.line) : undefined;
    calls.on(event, line);
    instances.on(event, line);
    ledger.on(event);
    findings.on(event, calls.find(line?.requestId ?? event.requestId ?? ''), line);
    changed();
  });

  const moment = (): number => Math.round((now() - started + offset) * 100) / 100;
  function* played(): Iterable<Played> {
    for (const { row, runMs } of calls.all()) if (runMs !== undefined) yield { at: row.at, runMs };
  }

  return {
    calls,
    instances,
    snapshot: () => ({
      startedAt,
      now: moment(),
      instances: instances.rows(),
      phases: instances.phases(),
      calls: calls.rows(),
      findings: findings.all(),
    }),
    batch() {
      if (!calls.hasChanged && !instances.hasChanged && !findings.hasChanged) return undefined;
      return { now: moment(), ...instances.take(), ...calls.take(), findings: findings.take() };
    },
    costs() {
      const calls = [...played()];
      return ledger.costs(moment(), calls, instances.readyAt(calls[0]?.at ?? 0));
    },
    detail(id, where) {
      const kept = calls.find(id);
      return kept && detailOf(kept, moment(), findings.of(id), where);
    },
    onChange(listener) {
      changed = listener;
    },
  };
}
