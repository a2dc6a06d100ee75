import type { About, Batch, CallRow, Finding, InstanceRow, PhaseRow, Snapshot } from '../api.ts';

/** Calls that are kept: as many as the desk does. */
const MOST_CALLS = 1000;
/** Of an instance, to be drawn one by one; older ones are summed up. */
const MOST_BARS = 2000;
const MOST_PHASES = 2000;
/** Time that older ones are summed up in, ms. */
export const BUCKET_MS = 100;
const MOST_BUCKETS = 6000;
/** Calls at a time that are drawn beside each other. */
export const MOST_SLOTS = 8;

/** How a call has come out. */
export type Outcome = 'running' | 'ok' | 'refused' | 'failed' | 'gone';

/** A call on an instance's lane. */
export interface Bar {
  readonly id: string;
  /** Which of the calls at a time, from 0. */
  readonly slot: number;
  row: CallRow;
}

/** Calls of a stretch of time, summed up. */
export interface Density {
  /** ms that calls have taken in it, all together. */
  busy: number;
  hasFailed: boolean;
}

/** An instance's life. */
export interface Lane {
  phases: PhaseRow[];
  bars: Bar[];
  /** The same by their ids. */
  byId: Map<string, Bar>;
  /** By the stretch's number. */
  densities: Map<number, Density>;
}

/** All that the page knows. It is changed in place; `version` tells that it was. */
export interface Desk {
  about: About | undefined;
  startedAt: number;
  instances: Map<string, InstanceRow>;
  lanes: Map<string, Lane>;
  /** In the order in which they came. */
  calls: Map<string, CallRow>;
  findings: Map<string, Finding>;
  /** Calls that were too many to be told of. */
  omitted: number;
  lastDone: CallRow | undefined;
  version: number;
}

/** Knows nothing yet. */
export const emptyDesk = (): Desk => ({
  about: undefined,
  startedAt: 0,
  instances: new Map(),
  lanes: new Map(),
  calls: new Map(),
  findings: new Map(),
  omitted: 0,
  lastDone: undefined,
  version: 0,
});

/** Takes all there is in the place of what was known. */
export function applySnapshot(desk: Desk, snapshot: Snapshot): void {
  Object.assign(desk, emptyDesk(), { about: snapshot.about, startedAt: snapshot.startedAt, version: desk.version });
  applyBatch(desk, { ...snapshot, omitted: 0 });
}

/** Takes what has changed. */
export function applyBatch(desk: Desk, batch: Batch): void {
  for (const row of batch.instances) desk.instances.set(row.id, row);
  for (const row of batch.phases) addPhase(desk, row);
  for (const row of batch.calls) addCall(desk, row);
  for (const finding of batch.findings) desk.findings.set(finding.id, finding);
  desk.omitted += batch.omitted;
  forget(desk);
  desk.version += 1;
}

const laneOf = (desk: Desk, instance: string): Lane => {
  const known = desk.lanes.get(instance);
  if (known !== undefined) return known;
  const lane = { phases: [], bars: [], byId: new Map(), densities: new Map() };
  desk.lanes.set(instance, lane);
  return lane;
};

function addPhase(desk: Desk, row: PhaseRow): void {
  const { phases } = laneOf(desk, row.instance);
  phases.push(row);
  if (phases.length > MOST_PHASES) phases.splice(0, MOST_PHASES / 4);
}

function addCall(desk: Desk, row: CallRow): void {
  desk.calls.set(row.id, row);
  if (row.isDone && (desk.lastDone === undefined || endOf(row) >= endOf(desk.lastDone))) desk.lastDone = row;
  if (row.instance === undefined) return;
  const lane = laneOf(desk, row.instance);
  const known = lane.byId.get(row.id);
  if (known !== undefined) {
    known.row = row;
    return;
  }
  const bar = { id: row.id, slot: freeSlot(lane, runsFrom(row)), row };
  lane.bars.push(bar);
  lane.byId.set(row.id, bar);
  if (lane.bars.length > MOST_BARS) sumUp(lane, lane.bars.splice(0, MOST_BARS / 4));
}

/** The first place that no call has which was running then. */
function freeSlot({ bars }: Lane, from: number): number {
  const taken = new Set<number>();
  // a call that began long before can still be running, but not many of them
  for (const { row, slot } of bars.slice(-256)) if (!row.isDone || endOf(row) > from) taken.add(slot);
  for (let slot = 0; slot < MOST_SLOTS; slot++) if (!taken.has(slot)) return slot;
  return MOST_SLOTS - 1;
}

function sumUp(lane: Lane, bars: readonly Bar[]): void {
  for (const { id, row } of bars) {
    lane.byId.delete(id);
    const to = row.isDone ? endOf(row) : runsFrom(row);
    const hasFailed = outcomeOf(row) === 'failed';
    const last = Math.floor(to / BUCKET_MS);
    for (let bucket = Math.floor(runsFrom(row) / BUCKET_MS); bucket <= last; bucket++) {
      const known = lane.densities.get(bucket) ?? { busy: 0, hasFailed: false };
      const from = Math.max(runsFrom(row), bucket * BUCKET_MS);
      known.busy += Math.max(0, Math.min(to, (bucket + 1) * BUCKET_MS) - from);
      known.hasFailed ||= hasFailed;
      lane.densities.set(bucket, known);
    }
  }
  for (const bucket of lane.densities.keys()) {
    if (lane.densities.size <= MOST_BUCKETS) break;
    lane.densities.delete(bucket);
  }
}

/** What the desk does not keep, the page does not, either. */
function forget(desk: Desk): void {
  for (const id of desk.calls.keys()) {
    if (desk.calls.size <= MOST_CALLS) break;
    desk.calls.delete(id);
  }
  const ended = [...desk.instances.values()].filter(({ end }) => end !== undefined);
  for (const { id } of ended.slice(0, Math.max(0, ended.length - 20))) {
    desk.instances.delete(id);
    desk.lanes.delete(id);
  }
}

/** When it got its instance. */
export const runsFrom = ({ at, queuedMs = 0 }: CallRow): number => at + queuedMs;

/** When it was over. */
export const endOf = ({ at, totalMs = 0 }: CallRow): number => at + totalMs;

/** How a call has come out so far. */
export function outcomeOf({ isDone, status = 0, errorType }: CallRow): Outcome {
  if (!isDone) return 'running';
  if (status === 499) return 'gone';
  if (status >= 500 || (errorType !== undefined && status < 400)) return 'failed';
  return status >= 400 ? 'refused' : 'ok';
}

/** `GET /hello`, or `event` with its size. */
export const nameOf = ({ kind, method = '', path = '' }: CallRow): string =>
  kind === 'event' ? 'event' : `${kind === 'websocket' ? 'WebSocket' : method} ${path}`;

/** Of which calls a list is made. */
export interface Filter {
  /** In the path, id or function. */
  readonly text: string;
  readonly function: string;
  readonly status: '' | '2xx' | '3xx' | '4xx' | '5xx' | 'failed' | 'running';
  readonly isCold: boolean;
  /** ms; 0 is any. */
  readonly slowMs: number;
}

/** All of them. */
export const EVERYTHING: Filter = { text: '', function: '', status: '', isCold: false, slowMs: 0 };

/** Whether a call is one of those. */
export function passes(row: CallRow, filter: Filter): boolean {
  const { text, status, slowMs } = filter;
  if (filter.function !== '' && row.function !== filter.function) return false;
  if (filter.isCold && !row.isCold) return false;
  if (slowMs > 0 && (row.totalMs ?? 0) < slowMs) return false;
  if (status === 'failed' && outcomeOf(row) !== 'failed') return false;
  if (status === 'running' && row.isDone) return false;
  if (/^\dxx$/.test(status) && String(row.status ?? '')[0] !== status[0]) return false;
  return text === '' || `${nameOf(row)} ${row.id} ${row.function ?? ''}`.toLowerCase().includes(text.toLowerCase());
}

/** Those that pass, newest first. */
export function listed(desk: Desk, filter: Filter): CallRow[] {
  const rows: CallRow[] = [];
  for (const row of desk.calls.values()) if (passes(row, filter)) rows.push(row);
  return rows.reverse();
}
