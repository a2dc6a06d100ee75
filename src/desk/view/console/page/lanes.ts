import type { InstanceRow, Phase } from '../api.ts';
import { BUCKET_MS, type Desk, endOf, type Lane, type Outcome, outcomeOf, runsFrom } from './state.ts';

/** Heights, CSS px. */
export const LANE = { label: 20, track: 36, gap: 14 } as const;
const LANE_HEIGHT = LANE.label + LANE.track + LANE.gap;

/** What is looked at: a stretch of time on so many px. */
export interface Frame {
  readonly from: number;
  readonly to: number;
  readonly width: number;
  readonly now: number;
}

/** A phase of an instance, px. */
export interface Band {
  readonly x: number;
  readonly width: number;
  readonly phase: Phase;
}

/** A call of an instance, px. */
export interface CallBar {
  readonly id: string;
  readonly x: number;
  readonly width: number;
  readonly y: number;
  readonly height: number;
  /** Where its first byte came, if that can be seen. */
  readonly firstByteX: number | undefined;
  outcome: Outcome;
  readonly isCold: boolean;
}

/** Calls that are summed up, px. */
export interface Column {
  readonly x: number;
  readonly width: number;
  /** Calls at a time, on average. */
  readonly load: number;
  readonly hasFailed: boolean;
}

/** An instance as it is drawn. */
export interface LaneView {
  readonly instance: InstanceRow;
  readonly y: number;
  readonly bands: readonly Band[];
  readonly bars: readonly CallBar[];
  readonly columns: readonly Column[];
  /** Where its end is. */
  readonly endX: number | undefined;
}

/** All instances of a stretch of time, those that run on top, and how high all of it is. */
export function layOut(desk: Desk, frame: Frame): { readonly lanes: LaneView[]; readonly height: number } {
  const { from } = frame;
  const shown = [...desk.instances.values()].filter(({ end }) => end === undefined || end.at >= from);
  shown.sort((one, other) => (other.end?.at ?? Infinity) - (one.end?.at ?? Infinity) || other.at - one.at);
  const lanes = shown.map((instance, i) => layOutLane(instance, desk.lanes.get(instance.id), i * LANE_HEIGHT, frame));
  return { lanes, height: shown.length * LANE_HEIGHT };
}

function layOutLane(instance: InstanceRow, lane: Lane | undefined, y: number, frame: Frame): LaneView {
  const scale = frame.width / (frame.to - frame.from);
  const x = (at: number): number => (at - frame.from) * scale;
  const until = instance.end?.at ?? frame.now;
  return {
    instance,
    y,
    bands: bandsOf(lane, until, frame, x),
    bars: barsOf(lane, y + LANE.label, frame, x),
    columns: columnsOf(lane, frame, x),
    endX: instance.end === undefined ? undefined : x(instance.end.at),
  };
}

/** What is thinner than a pixel is drawn with what comes after it. */
function bandsOf(lane: Lane | undefined, until: number, frame: Frame, x: (at: number) => number): Band[] {
  const bands: Band[] = [];
  const { phases = [] } = lane ?? {};
  for (let i = 0; i < phases.length; i++) {
    const { at = 0, phase = 'exited' } = phases[i] ?? {};
    const end = phases[i + 1]?.at ?? until;
    if (phase === 'exited' || end < frame.from || at > frame.to) continue;
    const [left, right] = [Math.max(0, x(at)), Math.min(frame.width, x(end))];
    const last = bands[bands.length - 1];
    if (last !== undefined && right - left < 0.5 && left - last.x - last.width < 0.5) {
      bands[bands.length - 1] = { ...last, width: Math.max(last.width, right - last.x) };
    } else bands.push({ x: left, width: Math.max(0.5, right - left), phase });
  }
  return bands;
}

/** Bars that would lie on the same pixel are one. */
function barsOf(lane: Lane | undefined, top: number, frame: Frame, x: (at: number) => number): CallBar[] {
  const { bars = [] } = lane ?? {};
  const seen = bars.filter(
    ({ row }) => (row.isDone ? endOf(row) : frame.now) >= frame.from && runsFrom(row) <= frame.to,
  );
  const slots = seen.reduce((most, { slot }) => Math.max(most, slot + 1), 1);
  const inner = LANE.track - 10;
  const step = inner / slots;
  const height = Math.max(2, step - (slots > 1 ? 1 : 0));
  const views: CallBar[] = [];
  const lastOf: (CallBar | undefined)[] = [];
  for (const { id, slot, row } of seen) {
    const left = x(runsFrom(row));
    const width = Math.max(1, x(row.isDone ? endOf(row) : frame.now) - left);
    const outcome = outcomeOf(row);
    const last = lastOf[slot];
    if (last !== undefined && width < 1.5 && Math.floor(left) === Math.floor(last.x)) {
      if (outcome === 'failed') last.outcome = outcome;
      continue;
    }
    const { firstByteMs } = row;
    const firstByteX = firstByteMs === undefined || width < 4 ? undefined : x(row.at + firstByteMs);
    const view = { id, x: left, width, y: top + 5 + slot * step, height, firstByteX, outcome, isCold: row.isCold };
    lastOf[slot] = view;
    views.push(view);
  }
  return views;
}

/** Stretches that would be thinner than a pixel are one. */
function columnsOf(lane: Lane | undefined, frame: Frame, x: (at: number) => number): Column[] {
  const columns: Column[] = [];
  if (lane === undefined || lane.densities.size === 0) return columns;
  const each = Math.max(1, Math.ceil((frame.to - frame.from) / frame.width / BUCKET_MS));
  const first = Math.floor(frame.from / BUCKET_MS / each) * each;
  for (let bucket = first; bucket * BUCKET_MS < frame.to; bucket += each) {
    let busy = 0;
    let hasFailed = false;
    for (let i = bucket; i < bucket + each; i++) {
      const density = lane.densities.get(i);
      busy += density?.busy ?? 0;
      hasFailed ||= density?.hasFailed === true;
    }
    if (busy === 0) continue;
    const left = x(bucket * BUCKET_MS);
    columns.push({ x: left, width: x((bucket + each) * BUCKET_MS) - left, load: busy / each / BUCKET_MS, hasFailed });
  }
  return columns;
}

/** The call at a place, if there is one; a bar is met a little beside it, too. */
export function callAt(lanes: readonly LaneView[], x: number, y: number): CallBar | undefined {
  for (const lane of lanes) {
    if (y < lane.y || y >= lane.y + LANE_HEIGHT) continue;
    let best: CallBar | undefined;
    let distance = 5;
    for (const bar of lane.bars) {
      const beside = Math.max(bar.x - x, x - bar.x - bar.width, 0) + Math.max(bar.y - y, y - bar.y - bar.height, 0) / 8;
      if (beside > distance) continue;
      best = bar;
      distance = beside;
    }
    return best;
  }
  return undefined;
}

const STEPS = [10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000];

/** Moments that an axis names: round ones of the time of day, some px apart. */
export function ticks(
  frame: Frame,
  startedAt: number,
  apart: number,
): { readonly at: number; readonly step: number }[] {
  const least = ((frame.to - frame.from) / frame.width) * apart;
  const step = STEPS.find(one => one >= least) ?? 3_600_000;
  const found = [];
  for (let at = Math.ceil((startedAt + frame.from) / step) * step - startedAt; at <= frame.to; at += step) {
    found.push({ at, step });
  }
  return found;
}
