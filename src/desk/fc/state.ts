/** `ready`: initialized, and may be called. Frozen is apart from these: every one of them can be. */
export type State = 'starting' | 'accepting' | 'ready' | 'stopping' | 'exited';

/** What each may become: `starting` is `exited` at once when there is no process at all. */
const MOVES: Readonly<Record<State, readonly State[]>> = {
  starting: ['accepting', 'stopping', 'exited'],
  accepting: ['ready', 'stopping'],
  ready: ['stopping'],
  stopping: ['exited'],
  exited: [],
};

/** The state of an instance. */
export interface States {
  readonly current: State;
  /** @throws {Error} there is no such move. */
  move(to: State): void;
}

/** Begins with `starting`. */
export function createStates(): States {
  let current: State = 'starting';
  return {
    get current() {
      return current;
    },
    move(to) {
      if (!MOVES[current].includes(to)) throw new Error(`an instance that is ${current} cannot be ${to}`);
      current = to;
    },
  };
}
