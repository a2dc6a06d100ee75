import { FcError, platformError } from './answers.ts';
import { ClientGone } from './call.ts';
import { requestId } from './headers.ts';
import type { Instance } from './instance.ts';
import type { Tell } from './life.ts';
import type { Sessions } from './sessions.ts';
import type { FunctionSettings } from './settings.ts';

/** Of an instance, what decides who gets it. */
export type Assignable = Pick<
  Instance,
  'id' | 'state' | 'frozen' | 'healthy' | 'inFlight' | 'exited' | 'prepare' | 'take' | 'release' | 'rest' | 'stop'
>;

/** Who gets which instance, and how many there are. */
export interface Assignment<I extends Assignable> {
  /** Those that have not ended. */
  instances(): readonly I[];
  /**
   * An instance with a free slot, counted in, until it is released.
   *
   * @param session - id, of a call that has one: it gets the session's own instance.
   * @throws {FcError} rejected: no instance could be had. {ClientGone} rejected.
   */
  acquire(requestId: string, client?: AbortSignal, session?: string): Promise<I>;
  /** Gives the slot back, to whoever waits for one. */
  release(instance: I, requestId: string, session?: string): void;
  /** Starts another, then stops this one. */
  replace(instance: I, reason: string): void;
  /** Something about an instance has changed: it may have room now. */
  look(): void;
  /** Starts instances until there are so many, or stops those that are too many. They freeze. */
  scale(count: number): Promise<void>;
  /** Stops all of them, and refuses who waits and who comes. Resolves when none is left. */
  stop(): Promise<void>;
}

/** Someone who waits for a slot. */
interface Waiter<I> {
  readonly requestId: string;
  readonly session: string | undefined;
  /** What is to give him an instance. He takes whichever has room first. */
  start: Promise<I> | undefined;
  resolve(instance: I): void;
  reject(error: unknown): void;
}

/**
 * Assigns instances to calls: one that has room, else a new one, up to the quota. Nothing is started before it is asked.
 *
 * @param start - starts an instance, which is then prepared.
 * @param sessions - of a function with session affinity.
 */
export function createAssignment<I extends Assignable>(
  settings: FunctionSettings,
  tell: Tell,
  start: () => Promise<I>,
  sessions?: Sessions,
): Assignment<I> {
  const { switches, sessionAffinity } = settings;
  const instances = new Set<I>();
  /** Those on their way; what they become decides what their waiters get. */
  const starting = new Set<Promise<I>>();
  /** Those whose initializer has failed, and which the next call tries again. */
  const uninitialized = new Set<I>();
  /** Of the quota. */
  let taken = 0;
  let queue: Waiter<I>[] = [];
  let stopped = false;

  const hasRoomIfHealthy = ({ state, inFlight }: I): boolean =>
    state === 'ready' && inFlight < settings.instanceConcurrency;

  /** The instance that has a session, if it can still be called. */
  function homeOf(session: string | undefined): I | undefined {
    const id = session === undefined ? undefined : sessions?.home(session);
    return id === undefined
      ? undefined
      : [...instances].find(one => one.id === id && one.healthy && one.state === 'ready');
  }

  const takesSession = ({ id }: I): boolean =>
    sessionAffinity === undefined || sessions === undefined || sessions.count(id) < sessionAffinity.perInstance;

  /** One that is awake costs no thaw. */
  function pick(session: string | undefined): I | undefined {
    const home = homeOf(session);
    if (home !== undefined) return hasRoomIfHealthy(home) ? home : undefined;
    const free = [...instances].filter(
      instance => instance.healthy && hasRoomIfHealthy(instance) && takesSession(instance),
    );
    return free.find(({ frozen }) => !frozen) ?? free[0];
  }

  function take(instance: I, id: string, session: string | undefined): void {
    instance.take(id);
    if (session !== undefined) sessions?.settle(session, instance.id);
  }

  function look(): void {
    for (let i = 0; i < queue.length; ) {
      const waiter = queue[i];
      const free = pick(waiter?.session);
      if (waiter !== undefined && free !== undefined) {
        queue.splice(i, 1);
        take(free, waiter.requestId, waiter.session);
        waiter.resolve(free);
        continue;
      }
      // where there is none for one there is none for the next, unless that has an instance of its own
      if (sessions === undefined) break;
      i += 1;
    }
    // another has taken what was started for these
    for (const waiter of queue.filter(one => one.start === undefined || !starting.has(one.start))) {
      if (place(waiter) || makesRoom()) continue;
      queue = queue.filter(other => other !== waiter);
      waiter.reject(full());
    }
  }

  const waitersOf = (wanted: Promise<I>): Waiter<I>[] => queue.filter(waiter => waiter.start === wanted);

  /** Ties a waiter to a start that has room for him, a new one if need be; false above the quota. */
  function place(waiter: Waiter<I>): boolean {
    const roomy = [...starting].find(one => hasPlace(waitersOf(one), waiter));
    waiter.start = roomy ?? begin(waiter.requestId);
    return waiter.start !== undefined;
  }

  /** Whether an instance that these wait for will have room for one more. */
  function hasPlace(others: readonly Waiter<I>[], { session }: Waiter<I>): boolean {
    if (others.length >= settings.instanceConcurrency) return false;
    if (sessionAffinity === undefined) return true;
    // one that the function itself names is not known yet, and will be another
    const known = new Set(others.map(other => other.session ?? other));
    return (session !== undefined && known.has(session)) || known.size < sessionAffinity.perInstance;
  }

  /** Whether one is about to end, and with it to leave its place in the quota. */
  const makesRoom = (): boolean => [...instances].some(({ state }) => state === 'stopping');

  const full = (): FcError =>
    [...instances].some(instance => hasRoomIfHealthy(instance) && takesSession(instance))
      ? platformError('FunctionUnhealthy', switches.startErrorStatus, 'no instance passes its health check')
      : platformError('ResourceExhausted', 429, `expected at most ${settings.maxInstances} instances`);

  const busy = (): FcError =>
    platformError(
      'ResourceExhausted',
      429,
      `the session's instance has ${settings.instanceConcurrency} requests, which is the most`,
    );

  const deleted = (): FcError => platformError('FunctionNotFound', 404, 'the function has been deleted');

  /** Starts an instance, or prepares one that was kept after its initializer failed; undefined above the quota. */
  function begin(id: string): Promise<I> | undefined {
    const [kept] = uninitialized;
    if (kept === undefined && taken >= settings.maxInstances) return undefined;
    if (kept !== undefined) uninitialized.delete(kept);
    const launched = kept === undefined ? launch() : Promise.resolve(kept);
    const prepared = launched.then(instance => prepare(instance, id));
    starting.add(prepared);
    prepared.then(
      instance => {
        starting.delete(prepared);
        look();
        // it was started for nobody, or for one who has left
        if (instance.inFlight === 0) instance.rest(requestId(settings));
      },
      error => {
        starting.delete(prepared);
        const failed = waitersOf(prepared);
        queue = queue.filter(waiter => !failed.includes(waiter));
        for (const waiter of failed) waiter.reject(error);
        look();
      },
    );
    return prepared;
  }

  async function launch(): Promise<I> {
    taken += 1;
    if (taken > 1) tell('scaled', { instances: taken });
    const instance = await start().catch(error => {
      taken -= 1;
      throw error;
    });
    instances.add(instance);
    if (stopped) instance.stop('deleted');
    instance.exited.then(() => {
      taken -= 1;
      instances.delete(instance);
      sessions?.forget(instance.id);
      uninitialized.delete(instance);
      look();
    });
    return instance;
  }

  async function prepare(instance: I, id: string): Promise<I> {
    try {
      await instance.prepare(id);
    } catch (error) {
      const initializer = error instanceof FcError && error.code === 'InitializationError';
      const keep = switches.initFailure === 'keep' && instance.state === 'accepting';
      if (initializer && keep) uninitialized.add(instance);
      else instance.stop('start failed');
      throw error;
    }
    return instance;
  }

  return {
    instances: () => [...instances],
    async acquire(id, client, session) {
      if (client?.aborted === true) throw new ClientGone();
      if (stopped) throw deleted();
      const home = homeOf(session);
      // a session waits for nobody, and is not moved
      if (home !== undefined && !hasRoomIfHealthy(home)) throw busy();
      const free = queue.length === 0 || home !== undefined ? pick(session) : undefined;
      if (free !== undefined) {
        take(free, id, session);
        return free;
      }
      return new Promise((resolve, reject) => {
        const waiter: Waiter<I> = { requestId: id, session, start: undefined, resolve, reject };
        if (!place(waiter) && !makesRoom()) return reject(full());
        queue.push(waiter);
        client?.addEventListener('abort', () => {
          queue = queue.filter(other => other !== waiter);
          reject(new ClientGone());
        });
      });
    },
    release(instance, id, session) {
      if (session !== undefined) sessions?.leave(session);
      instance.release(id);
      look();
    },
    replace(instance, reason) {
      begin(requestId(settings));
      instance.stop(reason);
    },
    look,
    async scale(count) {
      const surplus = [...instances].slice(count);
      const starts = Array.from({ length: Math.max(0, count - taken) }, () => begin(requestId(settings)));
      await Promise.all([...surplus.map(instance => instance.stop('scaled in')), ...starts]);
      if (surplus.length > 0) tell('scaled', { instances: taken });
    },
    async stop() {
      stopped = true;
      for (const waiter of queue) waiter.reject(deleted());
      queue = [];
      const all = (): Promise<unknown> => Promise.all([...instances].map(instance => instance.stop('deleted')));
      await all();
      // one that was about to be there
      await Promise.allSettled(starting);
      await all();
    },
  };
}
