import { useEffect, useReducer, useRef } from 'preact/hooks';

/** So long after the pointer has moved or has let go, what is under it stays where it is, ms. */
const HOLD_MS = 2000;

/** A list that stays while somebody points at it. */
export interface Held<T> {
  /** What is to be shown. */
  readonly items: readonly T[];
  /** For the element that they are in, with what is beside them. */
  readonly on: {
    readonly onPointerMove: (event: PointerEvent) => void;
    readonly onPointerDown: (event: PointerEvent) => void;
    readonly onPointerLeave: (event: PointerEvent) => void;
  };
  /** Goes on with what there is now. */
  release(): void;
}

/**
 * Keeps a list as it is from when the pointer moves over it, or is pressed, until it has rested or left. Without that a list
 * that grows at its top moves what one aims at away; and a click is lost if its element is another one, or gone, by the time
 * that the button is let go.
 *
 * @param latest - the list as it would be shown now.
 * @param kind - of another kind it is another list, and shown at once.
 */
export function useHold<T>(latest: readonly T[], kind: string = ''): Held<T> {
  const [, update] = useReducer((turn: number) => turn + 1, 0);
  const held = useRef<readonly T[] | undefined>(undefined);
  const shown = useRef({ items: latest, kind });
  const state = useRef({ isPressed: false, timer: 0, x: Number.NaN, y: Number.NaN });

  if (shown.current.kind !== kind) held.current = undefined;
  shown.current = { items: held.current ?? latest, kind };

  function hold(): void {
    held.current ??= shown.current.items;
    clearTimeout(state.current.timer);
    state.current.timer = setTimeout(() => (state.current.isPressed ? hold() : release()), HOLD_MS);
  }

  function release(): void {
    clearTimeout(state.current.timer);
    if (held.current === undefined) return;
    held.current = undefined;
    update(0);
  }

  useEffect(() => {
    const { current } = state;
    const letGo = (): void => {
      if (!current.isPressed) return;
      current.isPressed = false;
      // the click is yet to come
      hold();
    };
    addEventListener('pointerup', letGo);
    addEventListener('pointercancel', letGo);
    return () => {
      removeEventListener('pointerup', letGo);
      removeEventListener('pointercancel', letGo);
      clearTimeout(current.timer);
    };
  }, []);

  return {
    items: shown.current.items,
    on: {
      onPointerMove({ clientX: x, clientY: y }) {
        const { current } = state;
        // browsers say so, too, when a page has moved under a pointer that rests
        if (current.x === x && current.y === y) return;
        Object.assign(current, { x, y });
        hold();
      },
      onPointerDown() {
        state.current.isPressed = true;
        hold();
      },
      onPointerLeave({ pointerType }) {
        // a finger leaves before its click
        if (pointerType === 'mouse' && !state.current.isPressed) release();
      },
    },
    release,
  };
}
