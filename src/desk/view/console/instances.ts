import type { Instance } from '../../fc/instance.ts';
import { is, type LifeEvent } from '../../fc/life.ts';
import type { Usage } from '../../fc/processes.ts';
import type { FunctionSettings } from '../../fc/settings.ts';
import type { Line } from '../line.ts';
import type { InstanceRow, LogPage, LogRow, Phase, PhaseRow } from './api.ts';

/** Of those that have ended so many are kept. */
const MOST_ENDED = 20;
/** Of each instance. */
const MOST_PHASES = 1000;
const MOST_LOG_LINES = 5000;
const MOST_LOG_BYTES = 1024 * 1024;
/** In one answer. */
const PAGE_LINES = 1000;

type Writable<T> = { -readonly [K in keyof T]: T[K] };

/** The instances of a run: those there are, and the last that ended. */
export interface Instances {
  /** @param line - of a `log` event, as read. */
  on(event: LifeEvent, line: Line | undefined): void;
  rows(): InstanceRow[];
  /** How many could be called at that moment. */
  readyAt(moment: number): number;
  /** In order of time. */
  phases(): PhaseRow[];
  /** What has changed since it was taken the last time. */
  take(): { readonly instances: InstanceRow[]; readonly phases: PhaseRow[] };
  readonly hasChanged: boolean;
  /** Looks what they use. */
  measure(): void;
  /** Undefined: there is no such instance, or not any more. */
  log(id: string, after: number): LogPage | undefined;
}

interface Entry {
  row: Writable<InstanceRow>;
  phases: PhaseRow[];
  /** What it was before it was frozen. */
  before: Phase;
  reason: string | undefined;
  log: LogRow[];
  logBytes: number;
  /** Lines that were let go. */
  gone: number;
}

/**
 * Keeps what instances do and print, within bounds.
 *
 * @param running - those that run.
 * @param usage - what the processes at a pid and below it use.
 * @param sessions - those of an instance; undefined of a function without.
 */
export function createInstances(
  { initializer }: Pick<FunctionSettings, 'initializer'>,
  running: () => readonly Pick<Instance, 'id' | 'pid' | 'inFlight' | 'healthy' | 'peakMemory'>[],
  usage: (pid: number) => Usage,
  sessions: (instance: string) => readonly string[] | undefined,
): Instances {
  const entries = new Map<string, Entry>();
  const changed = new Set<Entry>();
  let newPhases: PhaseRow[] = [];

  function become(entry: Entry, at: number, phase: Phase): void {
    const row = { instance: entry.row.id, at, phase };
    entry.row.phase = phase;
    entry.phases.push(row);
    if (entry.phases.length > MOST_PHASES) entry.phases.splice(0, MOST_PHASES / 10);
    newPhases.push(row);
    // nobody takes them
    if (newPhases.length > 2 * MOST_PHASES) newPhases = newPhases.slice(-MOST_PHASES);
  }

  function begin(at: number, id: string, port: number): void {
    const row: Writable<InstanceRow> = {
      id,
      port,
      pid: 0,
      at,
      phase: 'starting',
      healthy: true,
      inFlight: 0,
      served: 0,
      startMs: undefined,
      memory: 0,
      peakMemory: 0,
      cpuMs: 0,
      lines: 0,
      end: undefined,
    };
    const entry: Entry = { row, phases: [], before: 'starting', reason: undefined, log: [], logBytes: 0, gone: 0 };
    entries.set(id, entry);
    become(entry, at, 'starting');
    changed.add(entry);
    const ended = [...entries.values()].filter(other => other.row.end !== undefined);
    for (const old of ended.slice(0, Math.max(0, ended.length - MOST_ENDED))) {
      entries.delete(old.row.id);
      changed.delete(old);
    }
  }

  function addLine(entry: Entry, event: LifeEvent, line: Line): void {
    if (!is(event, 'log')) return;
    const { at, stream } = event;
    const { row } = entry;
    row.lines += 1;
    entry.log.push({ at, stream, level: line.level, text: line.text, requestId: line.requestId ?? event.requestId });
    entry.logBytes += line.text.length;
    while (entry.log.length > MOST_LOG_LINES || entry.logBytes > MOST_LOG_BYTES) {
      const some = entry.log.splice(0, Math.ceil(entry.log.length / 10));
      entry.logBytes -= some.reduce((sum, { text }) => sum + text.length, 0);
      entry.gone += some.length;
    }
  }

  function onEvent(entry: Entry, event: LifeEvent): void {
    const { at } = event;
    const { row } = entry;
    if (is(event, 'accepting')) become(entry, at, initializer === undefined ? 'accepting' : 'initializing');
    // what there is left to wait for is the health check
    else if (event.event === 'initialized') become(entry, at, 'accepting');
    else if (is(event, 'ready')) {
      row.startMs = event.ms;
      become(entry, at, 'ready');
    } else if (event.event === 'frozen') {
      entry.before = row.phase;
      become(entry, at, 'frozen');
    } else if (event.event === 'thawed') {
      if (row.phase === 'frozen') become(entry, at, entry.before);
    } else if (is(event, 'stopping')) {
      entry.reason = event.reason;
      become(entry, at, 'stopping');
    } else if (is(event, 'answer')) {
      row.served += 1;
      row.peakMemory = Math.max(row.peakMemory, event.memory ?? 0);
    } else if (is(event, 'exited')) {
      const { code, signal, expected } = event;
      const how = code === undefined ? `by ${signal}` : `with code ${code}`;
      row.end = { at, expected, how, reason: entry.reason };
      row.inFlight = 0;
      row.sessions = undefined;
      become(entry, at, 'exited');
    }
  }

  /** What only the running instance knows. */
  function refresh({ row }: Entry): void {
    const instance = running().find(({ id }) => id === row.id);
    if (instance === undefined) return;
    row.pid = instance.pid;
    row.inFlight = instance.inFlight;
    row.healthy = instance.healthy;
    row.sessions = sessions(row.id);
  }

  function copy(entry: Entry): InstanceRow {
    refresh(entry);
    return { ...entry.row };
  }

  return {
    on(event, line) {
      const { instance: id } = event;
      if (id === undefined) return;
      if (is(event, 'starting')) begin(event.at, id, event.port);
      const entry = entries.get(id);
      if (entry === undefined) return;
      changed.add(entry);
      // of one that has ended nobody knows it
      if (entry.row.pid === 0) refresh(entry);
      if (line === undefined) onEvent(entry, event);
      else addLine(entry, event, line);
    },
    rows: () => [...entries.values()].map(copy),
    readyAt(moment) {
      const wereThere = ({ row: { at, startMs, end } }: Entry): boolean =>
        startMs !== undefined && at + startMs <= moment && (end === undefined || end.at > moment);
      return [...entries.values()].filter(wereThere).length;
    },
    phases: () => [...entries.values()].flatMap(({ phases }) => phases).sort((one, other) => one.at - other.at),
    get hasChanged() {
      return changed.size > 0 || newPhases.length > 0;
    },
    take() {
      const instances = [...changed].map(copy);
      const phases = newPhases;
      changed.clear();
      newPhases = [];
      return { instances, phases };
    },
    measure() {
      for (const instance of running()) {
        const entry = entries.get(instance.id);
        if (entry === undefined) continue;
        const { memory, cpuMs } = usage(instance.pid);
        const peakMemory = Math.max(instance.peakMemory(), memory);
        const { row } = entry;
        // nobody is told that a session is over
        const hasAll = row.sessions?.length === sessions(row.id)?.length;
        if (row.memory === memory && row.cpuMs === cpuMs && row.peakMemory === peakMemory && hasAll) continue;
        Object.assign(row, { memory, cpuMs, peakMemory });
        changed.add(entry);
      }
    },
    log(id, after) {
      const entry = entries.get(id);
      if (entry === undefined) return undefined;
      const { log, gone } = entry;
      const total = gone + log.length;
      const first = Math.max(after, gone, total - PAGE_LINES);
      return { rows: log.slice(first - gone), next: total, skipped: first - Math.min(after, first) };
    },
  };
}
