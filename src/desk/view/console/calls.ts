import { is, type LifeEvent } from '../../fc/life.ts';
import type { CallRecord } from '../../fc/record.ts';
import type { FunctionSettings } from '../../fc/settings.ts';
import type { Fault, Line } from '../line.ts';
import type { CallRow, LogRow } from './api.ts';
import type { Timing } from './parts.ts';

/** Calls that are kept. */
export const MOST_CALLS = 1000;
/** Of each body. */
export const MOST_BODY = 64 * 1024;
/** Of all bodies and lines together; records of the oldest calls go first. */
const MOST_BYTES = 32 * 1024 * 1024;
/** Of one call's lines. */
const MOST_LINE_BYTES = 64 * 1024;
/** New rows in a batch; of failed ones as many more. */
const MOST_NEW = 500;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** What is kept of a call. */
export interface Kept {
  readonly row: CallRow;
  /** Undefined: let go. */
  readonly record: CallRecord | undefined;
  readonly lines: readonly LogRow[];
  readonly fault: Fault | undefined;
  /** On its instance, in the last attempt, ms. */
  readonly runMs: number | undefined;
  timing(now: number): Timing;
}

/** The calls of a run, the last of them. */
export interface Calls {
  /** @param line - of a `log` event, as read. */
  on(event: LifeEvent, line: Line | undefined): void;
  find(id: string): Kept | undefined;
  /** Oldest first, for whoever is told the rest by `take`. */
  rows(): CallRow[];
  all(): Iterable<Kept>;
  /** Rows that have changed since they were taken the last time; those that were left out, of calls never told of. */
  take(): { readonly calls: CallRow[]; readonly omitted: number };
  /** Whether there is anything to take. */
  readonly hasChanged: boolean;
}

interface Entry {
  row: Writable<CallRow>;
  record: CallRecord | undefined;
  lines: LogRow[];
  lineBytes: number;
  fault: Fault | undefined;
  runMs: number | undefined;
  marks: { attempt: number; request?: number; thawed?: number; head?: number; functionMs?: number };
  bytes: number;
  /** Whoever looks has been told of it, and has to be told of its end. */
  isTold: boolean;
}

/** When an instance was what, on the platform's clock. */
interface Start {
  readonly starting: number;
  accepting?: number;
  ready?: number;
}

/** Keeps the last calls, within bounds. */
export function createCalls({ initializer }: Pick<FunctionSettings, 'initializer'>): Calls {
  const entries = new Map<string, Entry>();
  const changed = new Set<Entry>();
  /** Of those that run, and of the last that ended. */
  const starts = new Map<string, Start>();
  /** Calls that are on an instance. */
  const open = new Map<string, Set<Entry>>();
  let bytes = 0;
  /** Calls that were let go before anybody was told of them. */
  let gone = 0;

  function begin(event: LifeEvent & { readonly requestId?: string }): void {
    if (!is(event, 'call')) return;
    const { at, requestId: id, kind, method, path, isAsync, record } = event;
    const row = { id, kind, method, path, isAsync, at, isDone: false, retries: 0, isCold: false, wasFrozen: false };
    const entry: Entry = {
      row: { ...row, bytesIn: event.bytes ?? 0, bytesOut: 0 },
      record,
      lines: [],
      lineBytes: 0,
      fault: undefined,
      runMs: undefined,
      marks: { attempt: 0 },
      bytes: 0,
      isTold: false,
    };
    entries.set(id, entry);
    changed.add(entry);
    if (entries.size <= MOST_CALLS) return;
    // whoever looks would wait for the end of one that is open
    const oldest = first(entries.values(), ({ row }) => row.isDone) ?? first(entries.values(), () => true);
    if (oldest === undefined) return;
    bytes -= oldest.bytes;
    entries.delete(oldest.row.id);
    // whoever looks has to be told of the end of what he has been told of
    if (!oldest.isTold && changed.delete(oldest)) gone += 1;
  }

  /** Counts what is kept of it, and lets go of the oldest records where that is too much. */
  function weigh(entry: Entry): void {
    const { record } = entry;
    const kept = (of: { readonly bytes: number } | undefined): number => Math.min(of?.bytes ?? 0, MOST_BODY);
    const its = kept(record?.requestBody) + kept(record?.responseBody) + entry.lineBytes;
    if (entries.has(entry.row.id)) bytes += its - entry.bytes;
    entry.bytes = its;
    for (const other of entries.values()) {
      if (bytes <= MOST_BYTES) return;
      if (!other.row.isDone || other.bytes === 0) continue;
      bytes -= other.bytes;
      Object.assign(other, { record: undefined, lines: [], lineBytes: 0, bytes: 0 });
    }
  }

  function assign(entry: Entry, event: LifeEvent): void {
    if (!is(event, 'request')) return;
    const { at, instance, queuedMs, isCold, wasFrozen } = event;
    const { row, marks } = entry;
    leave(entry);
    Object.assign(row, { instance, queuedMs, isCold: row.isCold || isCold, wasFrozen, isDone: false });
    Object.assign(row, { firstByteMs: undefined, totalMs: undefined, status: undefined });
    Object.assign(row, { errorType: undefined, message: undefined });
    entry.marks = { attempt: marks.attempt, request: at - row.at };
    const calls = open.get(instance) ?? new Set();
    open.set(instance, calls.add(entry));
  }

  function leave(entry: Entry): void {
    const { instance = '' } = entry.row;
    const calls = open.get(instance);
    calls?.delete(entry);
    if (calls?.size === 0) open.delete(instance);
  }

  function end(entry: Entry, event: LifeEvent): void {
    if (!is(event, 'answer')) return;
    const { row } = entry;
    leave(entry);
    const { status, errorType, message, cause, billedMs, memory, bytesIn, bytesOut, ms } = event;
    Object.assign(row, { status, errorType, billedMs, memory, isDone: true, totalMs: hundredth(event.at - row.at) });
    if (bytesIn !== undefined) row.bytesIn = bytesIn;
    if (bytesOut !== undefined) row.bytesOut = bytesOut;
    entry.runMs = ms;
    row.message = firstLine(message ?? entry.fault?.message ?? (errorType === undefined ? undefined : cause));
    weigh(entry);
  }

  function addLine(event: LifeEvent, line: Line): void {
    if (!is(event, 'log')) return;
    const requestId = line.requestId ?? event.requestId;
    const entry = entries.get(requestId ?? '');
    if (entry === undefined) return;
    const { row } = entry;
    changed.add(entry);
    if (line.function !== undefined && line.function !== '') row.function = line.function;
    if (line.access !== undefined) {
      const { firstByteMs } = line.access;
      if (firstByteMs !== undefined) entry.marks.functionMs = firstByteMs;
      return;
    }
    if (line.fault !== undefined) {
      entry.fault = line.fault;
      row.message = firstLine(line.fault.message);
    }
    const kept = line.text.slice(0, Math.max(0, MOST_LINE_BYTES - entry.lineBytes));
    if (kept === '') return;
    entry.lineBytes += kept.length;
    entry.lines.push({ at: event.at, stream: event.stream, level: line.level, text: kept, requestId });
    if (row.isDone) weigh(entry);
  }

  function onInstance(event: LifeEvent): void {
    const { at, instance = '' } = event;
    const start = starts.get(instance);
    if (event.event === 'starting') {
      starts.set(instance, { starting: at });
      // of one that has long ended no call is going to come
      if (starts.size > MOST_CALLS) starts.delete(starts.keys().next().value ?? '');
    } else if (event.event === 'accepting' && start !== undefined) start.accepting = at;
    else if (event.event === 'ready' && start !== undefined) start.ready = at;
    else if (event.event === 'thawed') {
      for (const { row, marks } of open.get(instance) ?? []) marks.thawed ??= at - row.at;
    } else if (event.event === 'exited') open.delete(instance);
  }

  function timing({ row, marks }: Entry, now: number): Timing {
    const start = row.isCold ? starts.get(row.instance ?? '') : undefined;
    const since = (moment: number | undefined): number | undefined => moment && moment - row.at;
    return {
      ...marks,
      thawed: row.wasFrozen ? marks.thawed : undefined,
      starting: since(start?.starting),
      accepting: since(start?.accepting),
      ready: since(start?.ready),
      end: row.totalMs ?? now - row.at,
      hasInitializer: initializer !== undefined,
    };
  }

  const look = (entry: Entry): Kept => ({
    row: entry.row,
    record: entry.record,
    lines: entry.lines,
    fault: entry.fault,
    runMs: entry.runMs,
    timing: now => timing(entry, now),
  });

  const tell = (entry: Entry): CallRow => {
    entry.isTold = true;
    return { ...entry.row };
  };

  return {
    on(event, line) {
      if (line !== undefined) return addLine(event, line);
      if (event.event === 'call') return begin(event);
      onInstance(event);
      const entry = event.requestId === undefined ? undefined : entries.get(event.requestId);
      if (entry === undefined) return;
      changed.add(entry);
      const { row } = entry;
      if (is(event, 'head')) {
        row.firstByteMs = hundredth(event.at - row.at);
        row.status = event.status;
        entry.marks.head = event.at - row.at;
      } else if (event.event === 'retry') {
        row.retries += 1;
        row.isDone = false;
        entry.marks.attempt = event.at - row.at;
      } else if (event.event === 'request') assign(entry, event);
      else if (event.event === 'answer') end(entry, event);
    },
    find(id) {
      const entry = entries.get(id);
      return entry && look(entry);
    },
    rows: () => [...entries.values()].map(tell),
    *all() {
      for (const entry of entries.values()) yield look(entry);
    },
    get hasChanged() {
      return changed.size > 0;
    },
    take() {
      const untold = [...changed].filter(({ isTold }) => !isTold);
      const left = new Set<Entry>();
      let calm = untold.length - MOST_NEW;
      // the oldest are left out first; of those that failed only what is far too much
      for (const entry of untold) if (calm-- > 0 && !hasFailed(entry.row)) left.add(entry);
      const failed = untold.filter(({ row }) => hasFailed(row));
      for (const entry of failed.slice(0, Math.max(0, failed.length - MOST_NEW))) left.add(entry);
      // one that is still open is told of when it ends
      const omitted = gone + [...left].filter(({ row }) => row.isDone).length;
      const calls = [...changed].filter(entry => !left.has(entry)).map(tell);
      changed.clear();
      gone = 0;
      return { calls, omitted };
    },
  };
}

/** Whether a call is one that somebody has to look at. */
export const hasFailed = ({ status = 0, errorType }: Pick<CallRow, 'status' | 'errorType'>): boolean =>
  status >= 500 || errorType !== undefined;

const hundredth = (ms: number): number => Math.round(ms * 100) / 100;
const firstLine = (text: string | undefined): string | undefined => text?.split('\n', 1)[0];

function first<T>(values: Iterable<T>, test: (value: T) => boolean): T | undefined {
  for (const value of values) if (test(value)) return value;
  return undefined;
}
