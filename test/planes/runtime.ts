import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import type { Agent, TriggerResponse } from '../../src/agent.ts';
import { momentOf } from '../../src/clock.ts';
import { GatewayError } from '../../src/errors.ts';
import type { RawHeaders } from '../../src/headers.ts';
import { createLocalAgent } from '../../src/local/agent.ts';
import type { Log } from '../../src/log.ts';
import { EMPTY_PROFILE, type FunctionProfile, type KeyValuePair } from '../../src/profile.ts';
import { errorAfterHead, errorBeforeHead, type NoslateError, planeError, sessionClosed } from './errors.ts';

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

/** Runs functions as a data plane and its workers would. */
export interface Runtime {
  /**
   * Makes these the functions. One that is gone, or whose code or resources changed, loses its workers at
   * once, calls in flight included; of other changes new workers hear, and of environments they alone.
   */
  setFunctionProfile(profiles: readonly FunctionProfile[], environments: readonly KeyValuePair[]): Promise<void>;
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
  /** Workers of a function that are ready. One that was given up for being idle still counts. */
  activeWorkers(name: string): number;
  /** Ends all workers; calls in flight fail. */
  close(): Promise<void>;
}

/** One function, on an agent of its own: it can be ended without the others. */
interface Served {
  readonly agent: Agent;
  profile: FunctionProfile;
  environments: readonly KeyValuePair[];
  /** Names of its workers. */
  readonly workers: Set<string>;
  isClosed: boolean;
}

/** The product, which is its own worker's script. We may run anywhere below `dist-test`, in any folder. */
const WORKER_FILE = join(__dirname.slice(0, __dirname.lastIndexOf('dist-test')), 'dist/server.js');

/** Nobody tells a worker that the client has gone. */
const NEVER = new AbortController().signal;

/**
 * Makes a runtime on our local agent. What it cannot do as Noslate does: aworker, rate limits and memory
 * pools; and at its deadline a call's worker hears of it, which on Noslate it does not.
 *
 * @param log - gets what functions print.
 * @see Noslate contract §3, §5, §11
 */
export function createRuntime(log: Log): Runtime {
  const functions = new Map<string, Served>();
  let services: readonly Service[] = [];

  async function serve(profile: FunctionProfile, environments: readonly KeyValuePair[]): Promise<void> {
    const { name } = profile;
    let served = functions.get(name);
    if (served !== undefined && needsNewWorkers(served.profile, profile)) {
      end(served);
      served = undefined;
    }
    if (served === undefined) {
      const workers = new Set<string>();
      const agent = createLocalAgent(WORKER_FILE, noteWorkers(log, workers));
      served = { agent, profile, environments, workers, isClosed: false };
      functions.set(name, served);
    } else {
      const hasWorkers = served.workers.size > 0 || (served.profile.worker?.reservationCount ?? 0) > 0;
      const seen = hasWorkers ? served.environments : environments;
      if (equal([served.profile, served.environments], [profile, seen])) return;
      Object.assign(served, { profile, environments: seen });
      served.workers.clear();
    }
    await served.agent.setProfile({ ...EMPTY_PROFILE, functions: [profile], environments: served.environments });
  }

  function end(served: Served): Promise<void> {
    served.isClosed = true;
    return served.agent.close();
  }

  async function invoke(name: string, request: RuntimeRequest): Promise<TriggerResponse> {
    const { body, signal, ...call } = request;
    const served = functions.get(name);
    const failed = { name, runtime: served?.profile.runtime ?? '', ...call };
    if (served === undefined) throw errorBeforeHead(new GatewayError('FUNCTION_NOT_FOUND', ''), failed);

    const answer = served.agent
      .invoke(name, body, { ...call, deadline: momentOf(call.deadline), signal: NEVER })
      .then(toDroppable);
    try {
      return await unlessAborted(answer, signal);
    } catch (error) {
      if (error === signal.reason) throw planeError('Call cancelled', 1);
      if (isUndefinedRejection(error)) return { status: 200, headers: [], body: Readable.from([]) };
      throw served.isClosed ? sessionClosed() : errorBeforeHead(error, failed);
    }
  }

  return {
    async setFunctionProfile(profiles, environments) {
      const kept = new Set(profiles.map(({ name }) => name));
      for (const [name, served] of functions) {
        if (kept.has(name)) continue;
        functions.delete(name);
        end(served);
      }
      await Promise.all(profiles.map(profile => serve(profile, environments)));
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
    activeWorkers: name => functions.get(name)?.workers.size ?? 0,
    async close() {
      await Promise.all([...functions.values()].map(end));
      functions.clear();
    },
  };
}

/** What makes Noslate replace a function's workers. */
function needsNewWorkers(before: FunctionProfile, after: FunctionProfile): boolean {
  const significant = ({
    runtime,
    url,
    signature,
    sourceFile,
    handler,
    initializer,
    resourceLimit,
  }: FunctionProfile) => [
    runtime,
    url,
    signature,
    sourceFile,
    handler,
    initializer,
    resourceLimit?.cpu,
    resourceLimit?.memory,
  ];
  return !equal(significant(before), significant(after));
}

function equal(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

/** Keeps count of the workers by what the local agent logs of them. */
function noteWorkers(log: Log, workers: Set<string>): Log {
  return {
    ...log,
    info(message, fields) {
      if (message === 'worker ready') workers.add(String(fields?.['worker']));
      if (message === 'code changed') workers.clear();
      log.info(message, fields);
    },
    error(message, fields) {
      if (message === 'worker exited') workers.delete(String(fields?.['worker']));
      log.error(message, fields);
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

/** A response whose body can be destroyed without the function hearing of it, and fails as a data plane's does. */
function toDroppable({ status, headers, body: source }: TriggerResponse): TriggerResponse {
  const body = new PassThrough();
  // after the pipe's own listener, which would leave the rest unread
  source.pipe(body);
  body.on('close', () => source.resume());
  source.on('error', error => body.destroy(errorAfterHead(error)));
  return { status, headers, body };
}

/** A handler that rejects with `undefined` has not failed, on Noslate. */
function isUndefinedRejection(error: unknown): boolean {
  return (
    error instanceof GatewayError &&
    error.cause instanceof Error &&
    error.cause.message === 'the handler rejected with undefined'
  );
}
