import type { JSX } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import type { CallDetail, Phase } from '../api.ts';
import { Empty, PartsBar } from './bits.tsx';
import { getCall } from './client.ts';
import { AXIS, draw, type Palette, readPalette } from './draw.ts';
import { count, duration, plural, shortId, timeOfDay } from './format.ts';
import { type CallBar, callAt, type Frame, type LaneView, layOut } from './lanes.ts';
import { desk, now, useDesk } from './live.ts';
import { go, linkTo } from './route.ts';
import { endOf, nameOf, outcomeOf, runsFrom } from './state.ts';

const SPANS: readonly (readonly [string, number])[] = [
  ['10 s', 10_000],
  ['1 min', 60_000],
  ['5 min', 300_000],
];
const [LEAST_SPAN, MOST_SPAN] = [50, 3_600_000];
/** So often the last call is asked for at most, ms: in a burst it is another one each time. */
const LAST_MS = 400;

/** What the lanes show, apart from the data. */
interface Look {
  /** ms from edge to edge. */
  span: number;
  /** The right edge where it stands still; undefined follows the time. */
  fixed: number | undefined;
  selected: string | undefined;
}

const look: Look = { span: 10_000, fixed: undefined, selected: undefined };

/** Instances over time, and their calls. */
export function Now(): JSX.Element {
  const { instances, about, omitted } = useDesk();
  if (instances.size === 0) {
    return (
      <Empty title="No instance is running." line={about?.curls[0]}>
        <p>The next call starts one. What happens to it is drawn here, from its process to its end.</p>
      </Empty>
    );
  }
  return (
    <>
      <LastCall />
      <Lanes />
      <Legend />
      {omitted === 0 ? undefined : (
        <p class="note">{`${plural(omitted, 'call')} came too fast to be told of one by one; costs and counts have all of them.`}</p>
      )}
    </>
  );
}

/** Why the last call took as long as it did. */
function LastCall(): JSX.Element {
  const { lastDone } = useDesk();
  const [detail, setDetail] = useState<CallDetail>();
  const asked = useRef({ id: '', at: 0 });
  useEffect(() => {
    const { id = '' } = lastDone ?? {};
    if (id === '' || id === asked.current.id) return;
    const wait = Math.max(0, asked.current.at + LAST_MS - performance.now());
    const timer = setTimeout(() => {
      asked.current = { id, at: performance.now() };
      getCall(id).then(setDetail, () => {});
    }, wait);
    return () => clearTimeout(timer);
  });
  if (detail === undefined || lastDone === undefined) {
    return <p class="last-call">No call has been answered yet.</p>;
  }
  const { call, parts } = detail;
  return (
    <section class="last-call" aria-label="The last call">
      <p>
        {'Last call: '}
        <a href={linkTo('calls', call.id)}>{nameOf(call)}</a>
        {` → ${outcomeOf(call) === 'gone' ? 'the client has left' : (call.status ?? 'no answer')} in `}
        <strong>{duration(call.totalMs)}</strong>
        {`: ${reasonOf(detail)}`}
      </p>
      <PartsBar parts={parts} />
    </section>
  );
}

/** The parts that took the most, in words. */
export function reasonOf({ call, parts }: CallDetail): string {
  const total = call.totalMs ?? 0;
  const large = parts.filter(({ ms }) => ms >= total * 0.1).sort((one, other) => other.ms - one.ms);
  const words = large.map(({ name, ms }) => `${duration(ms)} ${NAMES[name] ?? name}`);
  const how = call.isCold ? ' (a cold start)' : '';
  return `${words.join(', ') || 'no time to speak of'}${how}.`;
}

const NAMES: Readonly<Record<string, string>> = {
  queued: 'waiting for an instance',
  'instance start': 'starting an instance',
  initializer: 'its initializer',
  thaw: 'thawing the instance',
  gateway: 'on the way to the function',
  function: 'in the function',
  body: 'sending the body',
  'earlier attempts': 'in earlier attempts',
};

/** The drawing, and what moves it. */
function Lanes(): JSX.Element {
  const box = useRef<HTMLDivElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const lanes = useRef<readonly LaneView[]>([]);
  const redraw = useRef(true);
  const [, update] = useState(0);
  const [tip, setTip] = useState<{ x: number; y: number; bar: CallBar }>();

  /** Changes what is looked at. */
  function change(what: Partial<Look>): void {
    Object.assign(look, what);
    redraw.current = true;
    update(turn => turn + 1);
  }
  const right = (): number => look.fixed ?? now() + look.span * 0.02;
  const zoom = (factor: number): void => {
    const span = Math.min(MOST_SPAN, Math.max(LEAST_SPAN, look.span * factor));
    // about the middle of what stands still; what follows the time stays at its edge
    const fixed = look.fixed === undefined ? undefined : look.fixed + (span - look.span) / 2;
    change({ span, fixed });
  };
  const pan = (part: number): void => change({ fixed: Math.min(right() + look.span * part, now() + look.span / 2) });

  /** Goes to the next call before or after, and there. */
  function step(by: number): void {
    const rows = [...desk.calls.values()].filter(({ instance }) => instance !== undefined);
    const at = rows.findIndex(({ id }) => id === look.selected);
    const next = at < 0 ? rows.length - 1 : Math.min(rows.length - 1, Math.max(0, at + by));
    const row = rows[next];
    if (row === undefined) return;
    const [from, to] = [right() - look.span, right()];
    const isSeen = runsFrom(row) >= from && runsFrom(row) <= to;
    change({ selected: row.id, fixed: isSeen ? (look.fixed ?? to) : runsFrom(row) + look.span / 2 });
  }

  function onKey(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { key, shiftKey } = event;
    if (key === 'ArrowLeft') shiftKey ? pan(-0.25) : step(-1);
    else if (key === 'ArrowRight') shiftKey ? pan(0.25) : step(1);
    else if (key === '+' || key === '=') zoom(0.5);
    else if (key === '-') zoom(2);
    else if (key === ' ') change({ fixed: look.fixed === undefined ? right() : undefined });
    else if (key === 'Escape') change({ selected: undefined, fixed: undefined });
    else if (key === 'Enter' && look.selected !== undefined) go(linkTo('calls', look.selected));
    else return;
    event.preventDefault();
  }

  useEffect(() => {
    const [outer, inner] = [box.current, canvas.current];
    const context = inner?.getContext('2d');
    if (!outer || !inner || !context) return;
    let palette: Palette | undefined;
    let frame = 0;
    let drawn = { version: -1, left: Number.NaN, span: 0, at: 0 };
    const calm = matchMedia('(prefers-reduced-motion: reduce)');

    function paint(): void {
      frame = requestAnimationFrame(paint);
      const { clientWidth: width } = outer as HTMLElement;
      if (width === 0) return;
      const to = right();
      const from = to - look.span;
      // what would move by less than half a pixel stays
      const moved = Math.abs(from - drawn.left) * (width / look.span);
      const isNews = desk.version !== drawn.version || look.span !== drawn.span;
      const isDue = !calm.matches || performance.now() - drawn.at > 500;
      if (!redraw.current && !(isDue && (isNews || moved >= 0.5))) return;
      redraw.current = false;
      drawn = { version: desk.version, left: from, span: look.span, at: performance.now() };
      const what: Frame = { from, to, width, now: now() };
      const laid = layOut(desk, what);
      lanes.current = laid.lanes;
      const ratio = devicePixelRatio;
      const [w, h] = [Math.round(width * ratio), Math.round((laid.height + AXIS) * ratio)];
      const canvasElement = inner as HTMLCanvasElement;
      if (canvasElement.width !== w || canvasElement.height !== h) {
        canvasElement.width = w;
        canvasElement.height = h;
        canvasElement.style.height = `${laid.height + AXIS}px`;
        palette = undefined;
      }
      const ctx = context as CanvasRenderingContext2D;
      ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
      palette ??= readPalette(outer as HTMLElement, ctx);
      draw(ctx, palette, what, laid, desk.startedAt, look.selected);
    }

    const forget = (): void => {
      palette = undefined;
      redraw.current = true;
    };
    const sizes = new ResizeObserver(forget);
    sizes.observe(outer);
    const scheme = matchMedia('(prefers-color-scheme: dark)');
    scheme.addEventListener('change', forget);
    const theme = new MutationObserver(forget);
    theme.observe(document.documentElement, { attributes: true });
    frame = requestAnimationFrame(paint);
    return () => {
      cancelAnimationFrame(frame);
      sizes.disconnect();
      theme.disconnect();
      scheme.removeEventListener('change', forget);
    };
  }, []);

  // a listener of one's own: only such a one may keep the page from zooming
  useEffect(() => {
    const outer = box.current;
    if (outer === null) return;
    const wheel = (event: WheelEvent): void => {
      if (!event.ctrlKey && !event.metaKey) return;
      event.preventDefault();
      zoom(event.deltaY > 0 ? 1.25 : 0.8);
    };
    outer.addEventListener('wheel', wheel, { passive: false });
    return () => outer.removeEventListener('wheel', wheel);
  });

  const drag = useRef<{ x: number; fixed: number; moved: boolean; bar: CallBar | undefined } | undefined>(undefined);
  const place = ({ offsetX: x, offsetY: y }: MouseEvent): CallBar | undefined => callAt(lanes.current, x, y);
  function onMove(event: PointerEvent): void {
    const start = drag.current;
    if (start !== undefined && event.buttons === 1) {
      const by = event.offsetX - start.x;
      if (Math.abs(by) < 3 && !start.moved) return;
      start.moved = true;
      setTip(undefined);
      const { width = 1 } = canvas.current?.getBoundingClientRect() ?? {};
      change({ fixed: Math.min(start.fixed - (by / width) * look.span, now() + look.span / 2) });
      return;
    }
    const bar = place(event);
    setTip(bar && { x: event.offsetX, y: event.offsetY, bar });
  }
  function onUp(event: PointerEvent): void {
    const start = drag.current;
    drag.current = undefined;
    // what was pressed may have moved on since
    const bar = start?.bar ?? place(event);
    if (start?.moved !== true && bar !== undefined) go(linkTo('calls', bar.id));
  }

  const chosen = look.selected === undefined ? undefined : desk.calls.get(look.selected);
  return (
    <section class="lanes" aria-label="Instances over time">
      <div class="toolbar">
        <button
          type="button"
          aria-pressed={look.fixed !== undefined}
          onClick={() => change({ fixed: look.fixed === undefined ? right() : undefined })}
        >
          {look.fixed === undefined ? 'Pause' : 'Back to now'}
        </button>
        <fieldset class="choice">
          <legend class="hidden">Time shown</legend>
          {SPANS.map(([label, span]) => (
            <button type="button" key={label} aria-pressed={look.span === span} onClick={() => change({ span })}>
              {label}
            </button>
          ))}
        </fieldset>
        <button type="button" aria-label="Zoom in" onClick={() => zoom(0.5)}>
          +
        </button>
        <button type="button" aria-label="Zoom out" onClick={() => zoom(2)}>
          −
        </button>
        <button type="button" aria-label="Earlier" onClick={() => pan(-0.5)}>
          ‹
        </button>
        <button type="button" aria-label="Later" onClick={() => pan(0.5)}>
          ›
        </button>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: a drawing that takes keys is no form's field set */}
      <div
        class="drawing"
        ref={box}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: keys move what it shows, and choose calls
        tabIndex={0}
        role="group"
        aria-label="Drawing: left and right choose a call, Enter opens it, plus and minus zoom, Shift with left and right moves, Space pauses"
        onKeyDown={onKey}
      >
        <canvas
          ref={canvas}
          onPointerDown={event => {
            drag.current = { x: event.offsetX, fixed: right(), moved: false, bar: place(event) };
          }}
          onPointerMove={onMove}
          onPointerUp={onUp}
          onPointerLeave={() => setTip(undefined)}
        />
        {tip === undefined ? undefined : <Tip x={tip.x} y={tip.y} id={tip.bar.id} />}
      </div>
      <p class="chosen" aria-live="polite">
        {chosen === undefined ? '' : `${describe(chosen.id)}. Enter opens it.`}
      </p>
    </section>
  );
}

/** A call in one line. */
function describe(id: string): string {
  const row = desk.calls.get(id);
  if (row === undefined) return 'not kept any more';
  const { status, totalMs, firstByteMs, isCold, instance = '' } = row;
  const when = timeOfDay(desk.startedAt + row.at, true);
  const end = row.isDone
    ? `${status ?? 'no answer'} in ${duration(totalMs)}`
    : `running for ${duration(now() - row.at)}`;
  const first = firstByteMs === undefined ? '' : `, first byte after ${duration(firstByteMs)}`;
  return `${when} ${nameOf(row)}: ${end}${first}${isCold ? ', cold start' : ''}, on ${shortId(instance)}`;
}

function Tip({ x, y, id }: { x: number; y: number; id: string }): JSX.Element | null {
  const row = desk.calls.get(id);
  if (row === undefined) return null;
  const { queuedMs = 0 } = row;
  return (
    <div class="tip" style={{ left: `${x}px`, top: `${y + 14}px` }}>
      <strong>{nameOf(row)}</strong>
      <span>{describe(id).replace(/^\S+ .*?: /, '')}</span>
      {queuedMs >= 1 ? <span>{`waited ${duration(queuedMs)} for its instance`}</span> : undefined}
      <span class="muted">{`${timeOfDay(desk.startedAt + row.at, true)} – ${timeOfDay(desk.startedAt + endOf(row), true)}`}</span>
    </div>
  );
}

const PHASES: readonly (readonly [Phase, string])[] = [
  ['starting', 'starting'],
  ['initializing', 'initializing'],
  ['accepting', 'accepting'],
  ['ready', 'ready'],
  ['frozen', 'frozen'],
  ['stopping', 'stopping'],
];

/** What the colours stand for. */
function Legend(): JSX.Element {
  return (
    <ul class="legend" aria-label="What is drawn">
      {PHASES.map(([phase, label]) => (
        <li key={phase}>
          <i class={`swatch ${phase}`} />
          {label}
        </li>
      ))}
      {['ok', 'refused', 'failed', 'gone'].map(outcome => (
        <li key={outcome}>
          <i class={`swatch call ${outcome}`} />
          {outcome === 'ok' ? 'call' : outcome === 'refused' ? '4xx' : outcome === 'gone' ? 'client gone' : 'failed'}
        </li>
      ))}
      <li>
        <i class="swatch call ok waited" />
        waited for a start
      </li>
    </ul>
  );
}

/** For the heading: what there is now. */
export const nowSummary = (): string => {
  const running = [...desk.instances.values()].filter(({ end }) => end === undefined);
  const frozen = running.filter(({ phase }) => phase === 'frozen').length;
  return `${plural(running.length, 'instance')}, ${count(frozen)} frozen`;
};
