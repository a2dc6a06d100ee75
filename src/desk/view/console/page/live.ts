import { useLayoutEffect, useReducer } from 'preact/hooks';
import type { Batch, Snapshot } from '../api.ts';
import { applyBatch, applySnapshot, type Desk, emptyDesk } from './state.ts';

/** What the page knows. */
export const desk: Desk = emptyDesk();

/** Whether the desk is there. */
export type Connection = 'connecting' | 'live' | 'lost';

export let connection: Connection = 'connecting';
/** ms of the page's clock over those of the desk's. */
let offset = 0;

/** Now, on the desk's clock. */
export const now = (): number => performance.now() - offset;

/** So often at most, ms: nobody reads faster, and in a burst each drawing takes from those who answer. */
const TELL_MS = 100;
/** Where no frames are drawn, as in a tab behind others, those who show something are told so late, ms. */
const UNDRAWN_MS = 250;

const listeners = new Set<() => void>();
let frame = 0;
let timer = 0;
let isDue = false;
let told = 0;

/** Tells all who show something, in a frame: the next, or when it is time. */
function changed(): void {
  if (isDue) return;
  isDue = true;
  const wait = told + TELL_MS - performance.now();
  if (wait > 0) timer = setTimeout(inFrame, wait);
  else inFrame();
}

function inFrame(): void {
  frame = requestAnimationFrame(tell);
  timer = setTimeout(tell, UNDRAWN_MS);
}

function tell(): void {
  cancelAnimationFrame(frame);
  clearTimeout(timer);
  isDue = false;
  told = performance.now();
  for (const listener of [...listeners]) listener();
}

/** Begins to listen, and comes back after each loss. */
export function connect(): void {
  const source = new EventSource('/api/events');
  const clock = (at: number): void => {
    offset = performance.now() - at;
  };
  source.addEventListener('snapshot', ({ data }) => {
    const snapshot: Snapshot = JSON.parse(data);
    clock(snapshot.now);
    applySnapshot(desk, snapshot);
    connection = 'live';
    changed();
  });
  source.addEventListener('batch', ({ data }) => {
    const batch: Batch = JSON.parse(data);
    // one that came late says nothing of the clock
    if (performance.now() - offset < batch.now) clock(batch.now);
    applyBatch(desk, batch);
    changed();
  });
  source.addEventListener('error', () => {
    connection = 'lost';
    changed();
    // a browser gives up where it was answered with an error
    if (source.readyState !== EventSource.CLOSED) return;
    source.close();
    setTimeout(connect, 1000);
  });
}

/** Has a component shown again when anything has changed. */
export function useDesk(): Desk {
  const [, update] = useReducer((turn: number) => turn + 1, 0);
  // before anything else can be told: an effect would come after the next frame, and might miss it
  useLayoutEffect(() => {
    const listener = (): void => update(0);
    listeners.add(listener);
    return () => void listeners.delete(listener);
  }, []);
  return desk;
}
