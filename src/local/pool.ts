import type { Readable } from 'node:stream';
import type { Metadata, TriggerResponse } from '../agent.ts';
import { type Code, GatewayError, toGatewayError } from '../errors.ts';
import type { Log } from '../log.ts';
import { WORKER_DEFAULTS } from '../profile.ts';
import { type Call, createCall } from './call.ts';
import type { LoadedFile } from './messages.ts';
import { type Replica, startReplica } from './replica.ts';
import type { ThreadSpec } from './thread.ts';

/** The workers of one function and the calls that wait for one. */
export interface Pool {
  invoke(body: Readable, metadata: Metadata): Promise<TriggerResponse>;
  /** Resolves when `reservationCount` workers are ready; rejects when one cannot be. */
  warm(): Promise<void>;
  /** What keeps `warm` from resolving, for the client; undefined when nothing does. */
  missing(): string | undefined;
  /** Serves new calls from new workers; the old ones end when their calls have. */
  renew(spec: ThreadSpec): void;
  /** The function is no more: waiting calls fail, running ones finish. */
  remove(): void;
  /** Ends all workers now; calls in flight fail. Resolves when the threads are gone. */
  close(): Promise<void>;
}

/** Noslate's pace: reserved workers that died are replaced this often, idle ones are given up after a minute. */
const TOP_UP_MS = 10_000;
const IDLE_MS = 60_000;

/**
 * Makes the pool of a function; its reserved workers start at once.
 *
 * @param onLoaded - hears which files the workers for new calls have loaded.
 */
export function createPool(initial: ThreadSpec, log: Log, onLoaded: (files: readonly LoadedFile[]) => void): Pool {
  let spec = initial;
  let replicas: Replica[] = [];
  /** Replaced by `renew`, still at work. */
  const retired = new Set<Replica>();
  const idleTimers = new Map<Replica, NodeJS.Timeout>();
  const queue = new Set<Call>();
  const waiters: { resolve: () => void; reject: (error: GatewayError) => void }[] = [];
  let topUpTimer: NodeJS.Timeout | undefined;
  let started = 0;
  let isClosed = false;

  const name = initial.profile.name;
  const settings = () => {
    const worker = { ...WORKER_DEFAULTS, ...spec.profile.worker };
    const isDisposable = worker.disposable === true;
    return {
      isDisposable,
      isQueued: isDisposable || worker.disableRequestQueue !== true,
      failsFast: worker.fastFailRequestsOnStarting === true,
      maxActive: isDisposable ? 1 : worker.maxActivateRequests,
      reserved: isDisposable ? 0 : worker.reservationCount,
      limit: Math.max(worker.replicaCountLimit, isDisposable ? 0 : worker.reservationCount),
    };
  };
  let { isDisposable, isQueued, failsFast, maxActive, reserved, limit } = settings();

  function start(): void {
    const replica = startReplica(`${name}-${++started}`, spec, log, {
      onReady(failure) {
        if (failure === undefined) log.info('worker ready', { function: name, worker: replica.name });
        // else those who wait are told
        else if (queue.size === 0) {
          log.error('worker could not load its code', { function: name, worker: replica.name, error: failure });
        }
        pump();
        rest(replica);
        settleWaiters();
      },
      onLoaded(files) {
        if (replicas.includes(replica)) onLoaded(files);
      },
      onRelease: () => onRelease(replica),
      onExit: (error, wasReady) => onExit(replica, error, wasReady),
    });
    replicas.push(replica);
  }

  /** Starts a replica; one that cannot start fails all who wait, as on Noslate. */
  function tryStart(): boolean {
    try {
      start();
      return true;
    } catch (error) {
      const reason = toGatewayError(error);
      log.error('worker could not start', { function: name, error: reason });
      failWaiting(reason);
      return false;
    }
  }

  function onRelease(replica: Replica): void {
    if (isDisposable || replica.isBroken || retired.has(replica)) {
      if (replica.active === 0) replica.end();
      return;
    }
    pump();
    rest(replica);
    settleWaiters();
  }

  function onExit(replica: Replica, error: GatewayError | undefined, wasReady: boolean): void {
    clearTimeout(idleTimers.get(replica));
    idleTimers.delete(replica);
    retired.delete(replica);
    replicas = replicas.filter(item => item !== replica);
    if (isClosed) return;
    if (error !== undefined) {
      log.error('worker exited', { function: name, worker: replica.name, error });
      if (!wasReady) failWaiting(error);
    }
    // whoever waits for `warm` waits now
    if (waiters.length > 0) topUp();
    else if (replicas.length < reserved) topUpTimer ??= setTimeout(topUp, TOP_UP_MS).unref();
    pump();
  }

  function failWaiting(error: GatewayError): void {
    for (const call of queue) call.fail(error);
    queue.clear();
    for (const { reject } of waiters.splice(0)) reject(error);
  }

  function topUp(): void {
    clearTimeout(topUpTimer);
    topUpTimer = undefined;
    while (!isClosed && replicas.length < reserved && tryStart());
  }

  /** Hands waiting calls to the idlest replicas, and starts as many as the rest will fill. */
  function pump(): void {
    for (const call of queue) {
      const replica = idlest();
      if (replica === undefined) break;
      queue.delete(call);
      serve(replica, call);
    }
    if (queue.size === 0) return;
    let starting = replicas.filter(item => item.state === 'starting').length;
    while (queue.size > starting * maxActive && replicas.length < limit && tryStart()) starting++;
  }

  function serve(replica: Replica, call: Call): void {
    clearTimeout(idleTimers.get(replica));
    replica.invoke(call);
  }

  function idlest(): Replica | undefined {
    let best: Replica | undefined;
    for (const replica of replicas) {
      if (replica.state !== 'ready' || replica.active >= maxActive) continue;
      if (best === undefined || replica.active < best.active) best = replica;
    }
    return best;
  }

  /** A replica without work is given up after a while, unless it is reserved. */
  function rest(replica: Replica): void {
    if (replica.active > 0) return;
    clearTimeout(idleTimers.get(replica));
    const timer = setTimeout(() => {
      if (replicas.length > reserved) replica.end();
    }, IDLE_MS);
    idleTimers.set(replica, timer.unref());
  }

  const countReady = (): number => replicas.filter(item => item.state === 'ready').length;

  function settleWaiters(): void {
    if (waiters.length === 0 || countReady() < reserved) return;
    for (const { resolve } of waiters.splice(0)) resolve();
  }

  function retire(): void {
    for (const replica of replicas) {
      if (replica.state !== 'starting' && replica.active > 0) retired.add(replica);
      else replica.end();
    }
    replicas = [];
  }

  const error = (code: Code, message: string): GatewayError =>
    new GatewayError(code, `function ${JSON.stringify(name)}: ${message}`);

  topUp();
  return {
    invoke(body, metadata) {
      return new Promise((resolve, reject) => {
        let replica = idlest();
        // by now the code may be there, whatever it was that was missing: a new worker will see, if the call can wait
        while (replica?.isBroken && replica.active === 0 && isQueued && !failsFast) {
          replica.end();
          replica = idlest();
        }
        if (replica === undefined && failsFast && replicas.length >= limit) {
          reject(error('NO_WORKER', `all ${limit} workers are busy`));
          return;
        }
        const call = createCall(body, metadata, resolve, reject);
        if (replica !== undefined) {
          serve(replica, call);
          return;
        }
        call.release = () => queue.delete(call);
        call.onDeadline = () => error('QUEUE_TIMEOUT', 'no worker was free before the deadline');
        queue.add(call);
        pump();
        if (!isQueued && queue.delete(call))
          call.fail(error('NO_WORKER', 'no worker is free, and its requests do not queue'));
      });
    },
    warm() {
      return new Promise((resolve, reject) => {
        waiters.push({ resolve, reject });
        topUp();
        settleWaiters();
      });
    },
    missing() {
      const ready = countReady();
      if (ready >= reserved) return undefined;
      return `function ${JSON.stringify(name)}: ${ready} of ${reserved} reserved workers active`;
    },
    renew(next) {
      spec = next;
      ({ isDisposable, isQueued, failsFast, maxActive, reserved, limit } = settings());
      retire();
      topUp();
      pump();
      settleWaiters();
    },
    remove() {
      isClosed = true;
      failWaiting(error('FUNCTION_NOT_FOUND', 'it was removed'));
      retire();
    },
    async close() {
      isClosed = true;
      failWaiting(error('DRAINING', 'the instance is stopping'));
      await Promise.all([...replicas, ...retired].map(replica => replica.end()));
    },
  };
}
