import type { Phase } from '../api.ts';
import { duration, megabytes, shortId, timeOfDay } from './format.ts';
import { type Frame, LANE, type LaneView, ticks } from './lanes.ts';
import type { Outcome } from './state.ts';

/** The axis' height, CSS px. */
export const AXIS = 24;

/** Colours, as the style sheet has them. */
export interface Palette {
  readonly text: string;
  readonly muted: string;
  readonly line: string;
  readonly back: string;
  readonly accent: string;
  readonly failed: string;
  readonly cold: string;
  readonly phases: Readonly<Record<Phase, string>>;
  readonly outcomes: Readonly<Record<Outcome, string>>;
  readonly hatch: CanvasPattern | string;
}

/** Reads the colours that hold now. */
export function readPalette(element: HTMLElement, context: CanvasRenderingContext2D): Palette {
  const style = getComputedStyle(element);
  const colour = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const phase = (name: string): string => colour(`phase-${name}`);
  return {
    text: colour('text'),
    muted: colour('muted'),
    line: colour('line'),
    back: colour('panel'),
    accent: colour('accent'),
    failed: colour('failed'),
    cold: colour('cold'),
    phases: {
      starting: phase('starting'),
      accepting: phase('accepting'),
      initializing: phase('initializing'),
      ready: phase('ready'),
      frozen: phase('frozen'),
      stopping: phase('stopping'),
      exited: phase('stopping'),
    },
    outcomes: {
      ok: colour('ok'),
      running: colour('accent'),
      refused: colour('refused'),
      failed: colour('failed'),
      gone: colour('gone'),
    },
    hatch: hatchOf(context, phase('frozen'), phase('hatch')),
  };
}

function hatchOf(context: CanvasRenderingContext2D, back: string, stroke: string): CanvasPattern | string {
  const tile = document.createElement('canvas');
  tile.width = 6;
  tile.height = 6;
  const inner = tile.getContext('2d');
  if (inner === null) return back;
  inner.fillStyle = back;
  inner.fillRect(0, 0, 6, 6);
  inner.strokeStyle = stroke;
  inner.lineWidth = 1;
  inner.beginPath();
  for (const from of [-6, 0, 6]) {
    inner.moveTo(from, 6);
    inner.lineTo(from + 6, 0);
  }
  inner.stroke();
  return context.createPattern(tile, 'repeat') ?? back;
}

/** Draws lanes above their axis. */
export function draw(
  context: CanvasRenderingContext2D,
  palette: Palette,
  frame: Frame,
  { lanes, height }: { readonly lanes: readonly LaneView[]; readonly height: number },
  startedAt: number,
  selected: string | undefined,
): void {
  context.clearRect(0, 0, frame.width, height + AXIS);
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  drawAxis(context, palette, frame, height, startedAt);
  for (const lane of lanes) drawLane(context, palette, frame, lane, selected);
}

function drawAxis(
  context: CanvasRenderingContext2D,
  palette: Palette,
  frame: Frame,
  height: number,
  startedAt: number,
): void {
  const scale = frame.width / (frame.to - frame.from);
  for (const { at, step } of ticks(frame, startedAt, 96)) {
    const x = Math.round((at - frame.from) * scale) + 0.5;
    context.fillStyle = palette.line;
    context.fillRect(x, 0, 1, height + 4);
    const label = timeOfDay(startedAt + at, step < 1000);
    const width = context.measureText(label).width;
    // a label that would be cut says nothing
    if (x - width / 2 < 0 || x + width / 2 > frame.width) continue;
    context.fillStyle = palette.muted;
    context.fillText(label, x - width / 2, height + AXIS / 2 + 2);
  }
}

function drawLane(
  context: CanvasRenderingContext2D,
  palette: Palette,
  frame: Frame,
  lane: LaneView,
  selected: string | undefined,
): void {
  const top = lane.y + LANE.label;
  drawLabel(context, palette, frame, lane);
  for (const { x, width, phase } of lane.bands) {
    context.fillStyle = phase === 'frozen' ? palette.hatch : palette.phases[phase];
    context.fillRect(x, top, width, LANE.track);
  }
  for (const { x, width, load, hasFailed } of lane.columns) {
    context.fillStyle = hasFailed ? palette.failed : palette.outcomes.ok;
    const high = Math.max(2, Math.min(1, load) * (LANE.track - 10));
    context.fillRect(x, top + LANE.track - 5 - high, Math.max(1, width), high);
  }
  for (const bar of lane.bars) {
    context.fillStyle = palette.outcomes[bar.outcome];
    context.fillRect(bar.x, bar.y, bar.width, bar.height);
    // until the first byte the caller has nothing
    if (bar.firstByteX !== undefined) {
      context.fillStyle = palette.back;
      context.fillRect(Math.min(bar.firstByteX, bar.x + bar.width - 1.5), bar.y, 1.5, bar.height);
    }
    if (bar.isCold && bar.width >= 2) {
      context.fillStyle = palette.cold;
      context.fillRect(bar.x, bar.y, Math.min(3, bar.width), bar.height);
    }
    if (bar.id !== selected) continue;
    context.strokeStyle = palette.text;
    context.lineWidth = 2;
    context.strokeRect(bar.x - 2, bar.y - 2, bar.width + 4, bar.height + 4);
  }
  drawEnd(context, palette, lane, top);
}

function drawLabel(context: CanvasRenderingContext2D, palette: Palette, frame: Frame, { instance, y }: LaneView): void {
  const { id, phase, startMs, memory, end, served, healthy } = instance;
  const state = end === undefined ? (healthy ? phase : `${phase}, unhealthy`) : end.expected ? 'stopped' : 'crashed';
  const words = [
    ...(end === undefined ? [] : [end.how]),
    ...(startMs === undefined ? [] : [`started in ${duration(startMs)}`]),
    `${served} served`,
    ...(end === undefined && memory > 0 ? [megabytes(memory)] : []),
  ];
  const middle = y + LANE.label / 2;
  context.font = '600 12px system-ui, sans-serif';
  context.fillStyle = palette.text;
  context.fillText(shortId(id), 0, middle);
  let x = context.measureText(shortId(id)).width + 10;
  context.fillStyle = end?.expected === false || !healthy ? palette.failed : palette.text;
  context.fillText(state, x, middle);
  x += context.measureText(state).width + 10;
  context.font = '12px system-ui, sans-serif';
  context.fillStyle = palette.muted;
  const rest = words.join(' · ');
  context.fillText(rest, x, middle, Math.max(40, frame.width - x));
}

function drawEnd(context: CanvasRenderingContext2D, palette: Palette, { instance, endX }: LaneView, top: number): void {
  if (endX === undefined || instance.end === undefined) return;
  const middle = top + LANE.track / 2;
  if (instance.end.expected) {
    context.fillStyle = palette.muted;
    context.fillRect(endX - 1, top, 3, LANE.track);
    return;
  }
  context.strokeStyle = palette.failed;
  context.lineWidth = 2.5;
  context.beginPath();
  context.moveTo(endX - 6, middle - 6);
  context.lineTo(endX + 6, middle + 6);
  context.moveTo(endX + 6, middle - 6);
  context.lineTo(endX - 6, middle + 6);
  context.stroke();
  context.fillStyle = palette.failed;
  context.fillRect(endX - 1, top, 2, LANE.track);
}
