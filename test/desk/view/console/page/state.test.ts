import * as assert from 'uvu/assert';
import type { CallRow, InstanceRow, PhaseRow } from '../../../../../src/desk/view/console/api.ts';
import { amount, bytes, count, duration, plural } from '../../../../../src/desk/view/console/page/format.ts';
import { callAt, type Frame, layOut, ticks } from '../../../../../src/desk/view/console/page/lanes.ts';
import {
  applyBatch,
  applySnapshot,
  type Desk,
  EVERYTHING,
  emptyDesk,
  type Filter,
  listed,
  outcomeOf,
} from '../../../../../src/desk/view/console/page/state.ts';
import { suite } from '../../../../helpers.ts';
import { about } from '../desk.ts';

const state = suite('what the page knows');

const instance = (id: string, at: number, fields: Partial<InstanceRow> = {}): InstanceRow => ({
  id,
  port: 1,
  pid: 1,
  at,
  phase: 'ready',
  healthy: true,
  inFlight: 0,
  served: 0,
  startMs: 10,
  memory: 0,
  peakMemory: 0,
  cpuMs: 0,
  lines: 0,
  end: undefined,
  ...fields,
});

const call = (id: string, at: number, fields: Partial<CallRow> = {}): CallRow => ({
  id,
  kind: 'http',
  method: 'GET',
  path: '/',
  isAsync: false,
  at,
  isDone: true,
  instance: 'c-1',
  retries: 0,
  isCold: false,
  wasFrozen: false,
  totalMs: 10,
  bytesIn: 0,
  bytesOut: 0,
  status: 200,
  ...fields,
});

function deskWith(calls: readonly CallRow[], phases: readonly PhaseRow[] = []): Desk {
  const desk = emptyDesk();
  const instances = [instance('c-1', 0)];
  applySnapshot(desk, { startedAt: 1_000_000, now: 1000, about, instances, phases, calls, findings: [] });
  return desk;
}

const batch = (calls: readonly CallRow[], omitted: number = 0): Parameters<typeof applyBatch>[1] => ({
  now: 0,
  instances: [],
  phases: [],
  calls,
  omitted,
  findings: [],
});

state('should keep the last thousand calls, and sum up the lanes of all', () => {
  const desk = deskWith([]);
  for (let i = 0; i < 20_000; i += 500) {
    applyBatch(
      desk,
      batch(
        Array.from({ length: 500 }, (_, j) => call(`${i + j}`, i + j)),
        7,
      ),
    );
  }
  assert.equal([desk.calls.size, desk.omitted, [...desk.calls.keys()][0]], [1000, 280, '19000']);
  const lane = desk.lanes.get('c-1');
  assert.ok((lane?.bars.length ?? 0) <= 2000);
  assert.is(lane?.bars.length, lane?.byId.size);
  let busy = 0;
  for (const density of lane?.densities.values() ?? []) busy += density.busy;
  assert.is(busy, (20_000 - (lane?.bars.length ?? 0)) * 10, 'no ms of a call is lost');
});

state('should replace a call by what has become of it, and forget all at a snapshot', () => {
  const desk = deskWith([call('a', 1, { isDone: false, status: undefined })]);
  assert.is(desk.lastDone, undefined);
  applyBatch(desk, batch([call('a', 1, { status: 502 })]));
  assert.equal([desk.calls.size, desk.lastDone?.status, desk.lanes.get('c-1')?.bars.length], [1, 502, 1]);
  const { version } = desk;
  applySnapshot(desk, { startedAt: 0, now: 0, about, instances: [], phases: [], calls: [], findings: [] });
  assert.equal([desk.calls.size, desk.lanes.size, desk.lastDone], [0, 0, undefined]);
  assert.ok(desk.version > version);
});

state('should tell how a call has come out', () => {
  const outcomes: [Partial<CallRow>, string][] = [
    [{ isDone: false }, 'running'],
    [{ status: 200 }, 'ok'],
    [{ status: 304 }, 'ok'],
    [{ status: 404 }, 'refused'],
    [{ status: 429, errorType: 'ResourceExhausted' }, 'refused'],
    [{ status: 499 }, 'gone'],
    [{ status: 502 }, 'failed'],
    [{ status: 200, errorType: 'UnhandledInvocationError' }, 'failed'],
  ];
  for (const [fields, outcome] of outcomes) assert.is(outcomeOf(call('a', 0, fields)), outcome, JSON.stringify(fields));
});

state('should filter by each of its parts, newest first', () => {
  const desk = deskWith([
    call('a', 1, { path: '/One?x=1', function: 'f' }),
    call('b', 2, { status: 404 }),
    call('c', 3, { status: 502, isCold: true, totalMs: 300 }),
    call('d', 4, { isDone: false, status: undefined, totalMs: undefined }),
    call('e', 5, { kind: 'event', path: undefined, function: 'g', status: 301 }),
  ]);
  const found = (filter: Partial<Filter>): string =>
    listed(desk, { ...EVERYTHING, ...filter })
      .map(({ id }) => id)
      .join('');
  assert.is(found({}), 'edcba');
  assert.is(found({ text: 'ONE?' }), 'a');
  assert.is(found({ text: 'event' }), 'e');
  assert.is(found({ function: 'g' }), 'e');
  assert.equal(
    (['2xx', '3xx', '4xx', '5xx', 'failed', 'running'] as const).map(status => found({ status })),
    ['a', 'e', 'b', 'c', 'c', 'd'],
  );
  assert.is(found({ isCold: true }), 'c');
  assert.is(found({ slowMs: 11 }), 'c');
  assert.is(found({ text: 'nothing' }), '');
});

const frame = (from: number, to: number, width: number = 100): Frame => ({ from, to, width, now: to });

state('should lay phases and calls out by their times', () => {
  const phases = (
    [
      ['starting', 0],
      ['ready', 10],
      ['frozen', 20],
      ['ready', 60],
    ] as const
  ).map(([phase, at]) => ({
    instance: 'c-1',
    at,
    phase,
  }));
  const desk = deskWith([call('a', 10, { queuedMs: 5, totalMs: 15, firstByteMs: 10, isCold: true })], phases);
  const { lanes, height } = layOut(desk, frame(0, 100));
  const [lane] = lanes;
  assert.is(lanes.length, 1);
  assert.equal(
    lane?.bands.map(({ phase, x, width }) => [phase, x, width]),
    [
      ['starting', 0, 10],
      ['ready', 10, 10],
      ['frozen', 20, 40],
      ['ready', 60, 40],
    ],
  );
  const [bar] = lane?.bars ?? [];
  assert.equal([bar?.x, bar?.width, bar?.firstByteX, bar?.isCold], [15, 10, 20, true]);
  assert.is(callAt(lanes, 20, (bar?.y ?? 0) + 1)?.id, 'a');
  assert.is(callAt(lanes, 80, (bar?.y ?? 0) + 1), undefined);
  assert.is(callAt(lanes, 20, height + 1), undefined);
});

state('should lay calls at a time beside each other, and use their places again', () => {
  const desk = deskWith([]);
  const open = (id: string, at: number): CallRow => call(id, at, { isDone: false, totalMs: undefined });
  applyBatch(desk, batch([open('a', 0), open('b', 1)]));
  applyBatch(desk, batch([call('a', 0, { totalMs: 5 }), open('c', 10)]));
  const slots = desk.lanes.get('c-1')?.bars.map(({ id, slot }) => [id, slot]);
  assert.equal(slots, [
    ['a', 0],
    ['b', 1],
    ['c', 0],
  ]);
  const { lanes } = layOut(desk, frame(0, 20));
  const [, b, c] = lanes[0]?.bars ?? [];
  assert.ok(b !== undefined && c !== undefined && b.y >= c.y + c.height);
});

state('should draw no more than there are pixels, however many calls there are', () => {
  const desk = deskWith([]);
  const phases: PhaseRow[] = [];
  const calls = Array.from({ length: 2000 }, (_, i) => {
    phases.push({ instance: 'c-1', at: i, phase: 'ready' }, { instance: 'c-1', at: i + 0.5, phase: 'frozen' });
    return call(`${i}`, i, { totalMs: 0.4, status: i === 1500 ? 502 : 200 });
  });
  applyBatch(desk, { ...batch(calls), phases });
  const [lane] = layOut(desk, frame(0, 60_000, 300)).lanes;
  assert.ok((lane?.bars.length ?? 0) <= 20, String(lane?.bars.length));
  assert.ok((lane?.bands.length ?? 0) <= 20, String(lane?.bands.length));
  assert.ok(
    lane?.bars.some(({ outcome }) => outcome === 'failed'),
    'one that has failed is not painted over',
  );
});

state('should put those that run on top, and leave out who ended before', () => {
  const desk = deskWith([]);
  const end = { at: 50, expected: false, how: 'by SIGKILL', reason: undefined };
  applyBatch(desk, { ...batch([]), instances: [instance('c-2', 10, { end }), instance('c-3', 20)] });
  const ids = (from: number): string[] => layOut(desk, frame(from, from + 100)).lanes.map(lane => lane.instance.id);
  assert.equal(ids(0), ['c-3', 'c-1', 'c-2']);
  assert.equal(ids(60), ['c-3', 'c-1']);
});

state('should name round moments of the time of day', () => {
  const found = ticks({ from: 0, to: 10_000, width: 1000, now: 0 }, 1_000_300, 96);
  assert.equal([found[0]?.at, found[0]?.step, found.length], [700, 1000, 10]);
  assert.ok(ticks({ from: 0, to: 100, width: 1000, now: 0 }, 5, 96).every(({ at }) => (at + 5) % 10 === 0));
});

state('should write numbers as one reads them', () => {
  assert.equal([undefined, 0, 0.04, 3.44, 9.96, 106.4, 999.6, 1240, 59_990, 61_000, 3_660_000].map(duration), [
    '–',
    '0 ms',
    '0 ms',
    '3.4 ms',
    '10 ms',
    '106 ms',
    '1 s',
    '1.24 s',
    '60 s',
    '1 min 1 s',
    '1 h 1 min',
  ]);
  assert.equal([0, 1023, 1024, 1536, 65_536, 1_200_000, 5e9].map(bytes), [
    '0 B',
    '1023 B',
    '1 KB',
    '1.5 KB',
    '64 KB',
    '1.1 MB',
    '4.7 GB',
  ]);
  assert.equal([0, 0.00001, 0.1234, 12.345].map(amount), ['0', '1.0e-5', '0.123', '12.3']);
  assert.equal([count(1234567), plural(1, 'call'), plural(2, 'call')], ['1\u202f234\u202f567', '1 call', '2 calls']);
});

state.run();
