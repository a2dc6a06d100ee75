import type { TriggerResponse } from '../../src/agent.ts';
import { type FunctionProfile, WORKER_DEFAULTS } from '../../src/profile.ts';
import { planeError } from './errors.ts';
import type { RuntimeRequest } from './runtime.ts';
import type { Worker } from './worker.ts';

/** What a data plane tells the control plane of a worker. */
export type Report = 'ContainerInstalled' | 'RequestDrained' | 'ContainerDisconnected';

/** What hears of a function on a data plane. */
export interface BrokerEvents {
  /** A request waits for a worker, or was turned away for want of one. */
  onQueueing(queued: number, requestId: string): void;
  onReport(worker: string, report: Report): void;
}

/** A function on one data plane: its workers there, and the requests that wait for one there. */
export interface Broker {
  /** What changes in it counts from now on. */
  profile: FunctionProfile;
  invoke(request: RuntimeRequest): Promise<TriggerResponse>;
  /** Expects a worker. One that never comes is expected for ever. */
  register(worker: string): void;
  /** A worker has come, and is initialized. */
  bind(worker: Worker): void;
  /** A worker is gone. */
  remove(worker: string): void;
  /** Ends a worker, or does not expect it any more. */
  stop(worker: string): Promise<void>;
  isExpected(worker: string): boolean;
  /** Rejects all that wait; if it is not fatal, only where the function fails fast. */
  failQueue(message: string, isFatal: boolean): void;
  /** Workers that serve. */
  readonly active: number;
  /** It has no worker, and expects none. */
  readonly isIdle: boolean;
  stats(): { workers: { name: string; activeRequestCount: number }[]; concurrency: number };
  /** Ends all workers; requests that wait go on waiting. */
  closeWorkers(): Promise<void>;
}

interface Bound {
  readonly worker: Worker;
  calls: number;
  /** It gets no more. */
  isOff: boolean;
  isGone: boolean;
}

interface Pending {
  readonly request: RuntimeRequest;
  readonly timer: NodeJS.Timeout;
  resolve(response: TriggerResponse | Promise<TriggerResponse>): void;
  reject(error: Error): void;
}

/**
 * Makes a broker. A request whose caller has gone keeps its place in the queue, and is run when a worker comes.
 *
 * @see noslated src/data_plane/worker_broker.ts and dispatcher/
 */
export function createBroker(initial: FunctionProfile, events: BrokerEvents): Broker {
  let profile = initial;
  const isDisposable = initial.worker?.disposable === true;
  const expected = new Set<string>();
  const bound = new Map<string, Bound>();
  let queue: Pending[] = [];
  /** Once one has waited, all wait until a worker finds the queue empty. */
  let isQueueing = false;
  let concurrency = 0;

  const most = (): number =>
    isDisposable ? 1 : (profile.worker?.maxActivateRequests ?? WORKER_DEFAULTS.maxActivateRequests);
  const isFree = ({ calls, isOff }: Bound): boolean => !isOff && calls < most();

  function idlest(): Bound | undefined {
    let best: Bound | undefined;
    for (const item of bound.values()) if (isFree(item) && item.calls < (best?.calls ?? Infinity)) best = item;
    return best;
  }

  function serve(item: Bound, request: RuntimeRequest): Promise<TriggerResponse> {
    if (item.isGone) return refuse(item);
    item.calls++;
    item.isOff = isDisposable;
    return item.worker.invoke(request, () => {
      item.calls--;
      if (isDisposable) retire(item);
      else drain(item);
    });
  }

  /** Each call that ends on a worker that has gone takes one more of those that wait with it. */
  async function refuse(item: Bound): Promise<never> {
    item.calls++;
    await undefined;
    item.calls--;
    queueMicrotask(() => drain(item));
    throw planeError('worker has not connected yet');
  }

  function drain(item: Bound): void {
    while (isFree(item)) {
      const pending = queue.shift();
      if (pending === undefined) break;
      clearTimeout(pending.timer);
      pending.resolve(serve(item, pending.request));
    }
    if (queue.length === 0) isQueueing = false;
  }

  /** The control plane stops whom it hears to be drained. */
  function retire({ worker }: Bound): void {
    if (!bound.has(worker.name)) return;
    events.onReport(worker.name, 'RequestDrained');
    remove(worker.name);
    worker.close();
  }

  function remove(name: string): void {
    expected.delete(name);
    const item = bound.get(name);
    if (item === undefined) return;
    item.isGone = true;
    bound.delete(name);
    events.onReport(name, 'ContainerDisconnected');
  }

  function wait(request: RuntimeRequest): Promise<TriggerResponse> {
    const { deadline, requestId } = request;
    if (profile.worker?.disableRequestQueue === true && !isDisposable) {
      events.onQueueing(queue.length, requestId);
      return Promise.reject(planeError(`No available worker process for ${profile.name} now.`));
    }
    isQueueing = true;
    return new Promise((resolve, reject) => {
      const onLate = (): void => {
        queue = queue.filter(item => item !== pending);
        reject(planeError(`Waiting for worker has timed out at ${deadline}, request(${requestId}).`, 4));
      };
      const timer = setTimeout(onLate, Math.max(0, deadline - Date.now()));
      const pending: Pending = { request, timer, resolve, reject };
      queue.push(pending);
      events.onQueueing(queue.length, requestId);
    });
  }

  return {
    get profile() {
      return profile;
    },
    set profile(next) {
      profile = next;
    },
    async invoke(request) {
      concurrency++;
      try {
        const item = isQueueing && !isDisposable ? undefined : idlest();
        return await (item === undefined ? wait(request) : serve(item, request));
      } finally {
        concurrency--;
      }
    },
    register: name => expected.add(name),
    bind(worker) {
      expected.delete(worker.name);
      const item: Bound = { worker, calls: 0, isOff: false, isGone: false };
      events.onReport(worker.name, 'ContainerInstalled');
      bound.set(worker.name, item);
      drain(item);
    },
    remove,
    async stop(name) {
      const worker = bound.get(name)?.worker;
      remove(name);
      await worker?.close();
    },
    isExpected: name => expected.has(name),
    failQueue(message, isFatal) {
      if (!isFatal && profile.worker?.fastFailRequestsOnStarting !== true) return;
      for (const { timer, reject } of queue.splice(0)) {
        clearTimeout(timer);
        reject(planeError(message));
      }
    },
    get active() {
      return bound.size;
    },
    get isIdle() {
      return bound.size === 0 && expected.size === 0;
    },
    stats: () => ({
      workers: [
        ...[...bound].map(([name, { calls }]) => ({ name, activeRequestCount: calls })),
        ...[...expected].map(name => ({ name, activeRequestCount: 0 })),
      ],
      concurrency,
    }),
    async closeWorkers() {
      expected.clear();
      const workers = [...bound.values()].map(item => item.worker);
      for (const { name } of workers) remove(name);
      await Promise.all(workers.map(worker => worker.close()));
    },
  };
}
