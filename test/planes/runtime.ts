import type { Readable } from 'node:stream';
import type { TriggerResponse } from '../../src/agent.ts';
import type { RawHeaders } from '../../src/headers.ts';
import type { Log } from '../../src/log.ts';
import type { FunctionProfile, KeyValuePair } from '../../src/profile.ts';
import { type Broker, createBroker, type Report } from './broker.ts';
import { type NoslateError, planeError } from './errors.ts';
import { createScaler, type Scaler } from './scaler.ts';
import { startWorker } from './worker.ts';

/** A service profile, as Noslate's SDK takes it. */
export interface Service {
  readonly name: string;
  /** `default` or `proportional-load-balance`. */
  readonly type: string;
  readonly selector?: Selector;
  readonly selectors?: readonly { readonly selector: Selector; readonly proportion: number }[];
}

interface Selector {
  readonly functionName: string;
}

/** What a data plane knows of a call. */
export interface RuntimeRequest {
  method: string;
  url: string;
  headers: RawHeaders;
  baggage: RawHeaders;
  requestId: string;
  /** Epoch ms; bounds the wait for a worker and for the head. */
  deadline: number;
  body: Readable;
  /** Fires when the caller has gone. The worker is not told, and what it answers is dropped. */
  signal: AbortSignal;
}

/** What a data plane tells the control plane. */
export interface DataFlowEvents {
  onQueueing(name: string, queued: number, requestId: string): void;
  onReport(name: string, worker: string, report: Report): void;
}

/** Runs functions as a data plane does, on workers that a control plane has it start. */
export interface DataFlow {
  /** Makes these the functions. One that is gone is known as long as it has a worker, or expects one. */
  setFunctionProfile(profiles: readonly FunctionProfile[]): void;
  /** Makes these the services. */
  setServiceProfiles(services: readonly Service[]): void;
  /**
   * Runs a function and resolves when its head is known. The body fails with a {@link NoslateError};
   * destroyed, it is dropped while the function goes on.
   *
   * @throws {NoslateError} rejected.
   */
  invoke(name: string, request: RuntimeRequest): Promise<TriggerResponse>;
  /** Runs the function that the service picks. @throws {NoslateError} rejected. */
  invokeService(name: string, request: RuntimeRequest): Promise<TriggerResponse>;
  /** Expects a worker. @throws {NoslateError} for a function that it does not know. */
  register(name: string, worker: string): void;
  /** Starts a worker that is expected, and resolves when it serves. @throws {NoslateError} rejected. */
  start(profile: FunctionProfile, worker: string, environments: readonly KeyValuePair[]): Promise<void>;
  /** Ends a worker; its calls in flight fail. */
  stop(name: string, worker: string): Promise<void>;
  /** Rejects all requests of a function that wait. @throws {NoslateError} for a function that it does not know. */
  failQueue(name: string, message: string, isFatal: boolean): void;
  /** Workers of a function that serve. */
  activeWorkers(name: string): number;
  /** Of each function for which there was a call or a worker. */
  stats(): ({ functionName: string } & ReturnType<Broker['stats']>)[];
  /** Ends all workers; calls in flight fail. */
  close(): Promise<void>;
}

/**
 * Makes a data plane's inside on the local agent's workers. What it cannot do as Noslate does: aworker, rate limits, round-robin
 * and memory pools; and at its deadline a call's worker hears of it, which on Noslate it does not.
 *
 * @param log - gets what functions print.
 * @see Noslate contract §3, §5, §6, §11
 */
export function createDataFlow(log: Log, events: DataFlowEvents): DataFlow {
  let profiles = new Map<string, FunctionProfile>();
  const brokers = new Map<string, Broker>();
  let services: readonly Service[] = [];

  function brokerOf(name: string): Broker {
    const known = brokers.get(name);
    const profile = profiles.get(name);
    if (known !== undefined && (profile !== undefined || !known.isIdle)) return known;
    brokers.delete(name);
    if (profile === undefined) throw planeError(`No function named ${name} registered in this node.`, 5);
    const broker = createBroker(profile, {
      onQueueing: (queued, requestId) => events.onQueueing(name, queued, requestId),
      onReport: (worker, report) => events.onReport(name, worker, report),
    });
    brokers.set(name, broker);
    return broker;
  }

  async function invoke(name: string, request: RuntimeRequest): Promise<TriggerResponse> {
    const answer = brokerOf(name).invoke(request);
    try {
      return await unlessAborted(answer, request.signal);
    } catch (error) {
      throw error === request.signal.reason ? planeError('Call cancelled', 1) : error;
    }
  }

  return {
    setFunctionProfile(list) {
      profiles = new Map(list.map(profile => [profile.name, profile]));
      for (const [name, broker] of brokers) {
        broker.profile = profiles.get(name) ?? broker.profile;
      }
    },
    setServiceProfiles(list) {
      services = list;
    },
    invoke,
    async invokeService(name, request) {
      const service = services.find(item => item.name === name);
      const target = service === undefined ? undefined : pick(service, Math.random());
      if (target === undefined) throw planeError('Service not found.', 5);
      return invoke(target, request);
    },
    register: (name, worker) => brokerOf(name).register(worker),
    async start(profile, workerName, environments) {
      const broker = brokerOf(profile.name);
      const worker = await startWorker(workerName, profile, environments, log, () => broker.remove(workerName));
      if (broker.isExpected(workerName)) broker.bind(worker);
      else await worker.close();
    },
    stop: async (name, worker) => brokers.get(name)?.stop(worker),
    failQueue: (name, message, isFatal) => brokerOf(name).failQueue(message, isFatal),
    activeWorkers: name => brokers.get(name)?.active ?? 0,
    stats: () => [...brokers].map(([functionName, broker]) => ({ functionName, ...broker.stats() })),
    async close() {
      const open = [...brokers.values()];
      brokers.clear();
      profiles.clear();
      await Promise.all(open.map(broker => broker.closeWorkers()));
    },
  };
}

/** A data plane with a control plane of its own inside. */
export interface Runtime extends Pick<DataFlow, 'setServiceProfiles' | 'invoke' | 'invokeService' | 'activeWorkers'> {
  /** Makes these the functions, and these the environments of workers that start from now on. */
  setFunctionProfile(profiles: readonly FunctionProfile[], environments: readonly KeyValuePair[]): Promise<void>;
  /** Workers of a function, as the control plane knows them. */
  workers: Scaler['workers'];
  close(): Promise<void>;
}

/** Makes a runtime that needs no other plane. */
export function createRuntime(log: Log): Runtime {
  const flow = createDataFlow(log, {
    onQueueing: (name, queued) => scaler.onQueueing(place, name, queued),
    onReport: (name, worker, report) => scaler.onReport(name, worker, report),
  });
  const place = {
    name: 'dp-0',
    register: async (name: string, worker: string) => flow.register(name, worker),
    start: flow.start,
    stop: flow.stop,
    failQueue: async (name: string, message: string, isFatal: boolean) => flow.failQueue(name, message, isFatal),
  };
  const scaler = createScaler(log);
  scaler.add(place);
  return {
    ...flow,
    workers: scaler.workers,
    async setFunctionProfile(profiles, environments) {
      scaler.setEnvironments(environments);
      scaler.setFunctionProfile(profiles);
      flow.setFunctionProfile(profiles);
      scaler.reserve();
    },
    async close() {
      scaler.close();
      await flow.close();
    },
  };
}

/** First whose cumulative proportion is above `random`, else the last. */
function pick({ type, selector, selectors = [] }: Service, random: number): string | undefined {
  if (type === 'default') return selector?.functionName;
  let sum = 0;
  const chosen = selectors.find(({ proportion }) => {
    sum += proportion;
    return sum > random;
  });
  return (chosen ?? selectors[selectors.length - 1])?.selector.functionName;
}

/** Settles as the answer does, or rejects with the signal's reason; a late answer is dropped. */
function unlessAborted(answer: Promise<TriggerResponse>, signal: AbortSignal): Promise<TriggerResponse> {
  return new Promise((done, fail) => {
    const onAbort = (): void => {
      answer.then(
        ({ body }) => body.destroy(),
        () => {},
      );
      fail(signal.reason);
    };
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort);
    answer.then(done, fail).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
