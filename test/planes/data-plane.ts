import { Readable } from 'node:stream';
import { type handleUnaryCall, Server, status } from '@grpc/grpc-js';
import type { TriggerResponse } from '../../src/agent.ts';
import type { Log } from '../../src/log.ts';
import type { FunctionProfile, KeyValuePair as Variable } from '../../src/profile.ts';
import { type NoslateError, planeError, turfError } from './errors.ts';
import type { Knobs } from './knobs.ts';
import type {
  Empty,
  FunctionProfileMessage,
  FunctionService,
  InvokeErrorResponse,
  InvokeRequest,
  KeyValuePair,
  PlaneHealthyResponse,
  RegisterWorkerCredentialRequest,
  RunRequest,
  RunResponse,
  ServiceProfilesAccessor,
  SetFunctionProfileRequest,
  SetResponse,
  StartWorkerFastFailRequest,
  StopRequest,
  UseInspectorRequest,
  WorkerTrafficStatsResponse,
} from './messages.ts';
import { DATA_PLANE, HOST, PUSH_SERVER, SERVER_OPTIONS, socketFile, TURF } from './protocol.ts';
import { createDataFlow, type RuntimeRequest, type Service } from './runtime.ts';
import { type InvokeCall, scriptOf } from './scripts.ts';
import { type Counters, createHost, type Listener, listen } from './server.ts';

/** Time for an answer, ms, when a request names no deadline. */
const DEFAULT_TIMEOUT_MS = 10_000;

/** How often late profiles are looked at, ms. */
const LATE_MS = 20;

export interface DataPlaneOptions {
  /** The socket is `<workdir>/socks/dp-<id>.sock`. */
  workdir: string;
  id: number;
  log: Log;
  /** Looked at whenever it matters, so that they can change. */
  knobs: Readonly<Knobs>;
}

/** A running plane. */
export interface Plane {
  readonly counters: Counters;
  /** Ends connections and workers. */
  close(): Promise<void>;
}

/**
 * Starts a double of Noslate's data plane and resolves when its socket accepts.
 *
 * @see Noslate contract §2, "invoke, frame by frame"
 */
export async function startDataPlane({ workdir, id, log, knobs }: DataPlaneOptions): Promise<Plane> {
  const host = createHost();
  const runtime = createDataFlow(log, {
    onQueueing: (name, queuedRequestCount, requestId) =>
      host.broadcast('requestQueueing', 'noslated.data.RequestQueueingBroadcast', {
        name,
        isInspect: false,
        queuedRequestCount,
        requestId,
        timestamp: Date.now(),
      }),
    onReport: (functionName, name, event) =>
      host.broadcast('containerStatusReport', 'noslated.data.ContainerStatusReport', {
        functionName,
        isInspector: false,
        event,
        name,
      }),
  });
  let services: FunctionService[] = [];
  let startedAt = Date.now();
  let lastSet = 0;
  let listener: Listener;

  async function setFunctionProfile(profiles: FunctionProfile[]): Promise<void> {
    const set = ++lastSet;
    while (Date.now() < startedAt + knobs.lateProfilesMs) await new Promise(done => setTimeout(done, LATE_MS));
    if (set === lastSet) runtime.setFunctionProfile(profiles);
  }

  function invoke(method: 'invoke' | 'invokeService'): (call: InvokeCall) => void {
    return call => {
      const counters = listener.begin(call, method);
      const controller = new AbortController();
      let isSlow = false;
      let isFull = false;
      let hasEnded = false;
      const pace = (): void => {
        if (isSlow || isFull) call.pause();
        else call.resume();
      };
      const body = new Readable({
        // Node's own is 64 KiB from release 22 on
        highWaterMark: 16 * 1024,
        read() {
          if (!isFull) return;
          isFull = false;
          pace();
        },
      });
      const end = (): void => {
        if (!hasEnded) body.push(null);
        hasEnded = true;
      };

      call.on('data', (message: InvokeRequest) => {
        if (counters.messages++ === 0) {
          counters.name = message.name ?? '';
          counters.requestId = message.requestId ?? '';
          const script = scriptOf(counters.name, call);
          const request = requestOf(message, body, controller.signal);
          const answer = script?.(request.url, body) ?? runtime[method](counters.name, request);
          answer.then(
            response => respond(call, response, knobs),
            // nothing after it: the stream stays open until the client resets it
            error => call.write({ error: toMessage(error) }),
          );
        }
        if (message.body !== undefined && message.body.length > 0) {
          counters.bytes += message.body.length;
          isFull = !body.push(message.body) && knobs.heedBackpressure;
        }
        if (knobs.slowReaderMs > 0) {
          isSlow = true;
          setTimeout(() => {
            isSlow = false;
            pace();
          }, knobs.slowReaderMs);
        }
        if (isFull || isSlow) pace();
      });
      call.on('end', end);
      // also emitted when all is done; a call that is paused has no 'end'
      call.on('cancelled', () => {
        end();
        controller.abort();
      });
    };
  }

  function unary<Request, Response>(
    name: string,
    answer: (request: Request) => Response | Promise<Response>,
  ): handleUnaryCall<Request, Response> {
    return async (call, done) => {
      listener.begin(call, name);
      try {
        done(null, await answer(call.request));
      } catch (error) {
        const { message, code = status.UNKNOWN } = error as NoslateError;
        done({ code, details: message });
      }
    };
  }

  const server = new Server({
    ...SERVER_OPTIONS,
    // MB per session; with more than that unread by the client, its new streams are refused
    'grpc-node.max_session_memory': 10,
  });
  server.addService(HOST, { connect: host.connect });
  server.addService(PUSH_SERVER, { invoke: invoke('invoke'), invokeService: invoke('invokeService') });
  server.addService(DATA_PLANE, {
    setFunctionProfile: unary<SetFunctionProfileRequest, SetResponse>('setFunctionProfile', ({ profiles = [] }) => {
      setFunctionProfile(profiles.map(toProfile));
      return { set: true };
    }),
    setServiceProfiles: unary<ServiceProfilesAccessor, Empty>('setServiceProfiles', ({ profiles = [] }) => {
      services = profiles;
      runtime.setServiceProfiles(profiles.map(toService));
      return {};
    }),
    getServiceProfiles: unary<Empty, ServiceProfilesAccessor>('getServiceProfiles', () => ({ profiles: services })),
    useInspector: unary<UseInspectorRequest, Empty>('useInspector', () => ({})),
    checkHealth: unary<Empty, PlaneHealthyResponse>('checkHealth', () => ({
      name: 'DataPlane',
      health: !knobs.unhealthy,
      reason: knobs.unhealthy ? 'Circuit Breaker Enabled' : '',
    })),
    getWorkerTrafficStats: unary<Empty, WorkerTrafficStatsResponse>('getWorkerTrafficStats', () => ({
      brokers: runtime.stats().map(broker => ({ ...broker, inspector: false })),
    })),
    registerWorkerCredential: unary<RegisterWorkerCredentialRequest, Empty>(
      'registerWorkerCredential',
      ({ funcName = '', processName = '' }) => {
        runtime.register(funcName, processName);
        return {};
      },
    ),
    startWorkerFastFail: unary<StartWorkerFastFailRequest, Empty>(
      'startWorkerFastFail',
      ({ funcName, inspect, message = '', fatal = false }) => {
        if (funcName === undefined || funcName === '' || inspect === undefined) {
          throw planeError('assertion failed', status.INVALID_ARGUMENT);
        }
        runtime.failQueue(funcName, message, fatal);
        return {};
      },
    ),
  });
  server.addService(TURF, {
    run: unary<RunRequest, RunResponse>('run', async ({ profile = {}, processName = '', environments = [] }) => {
      if (knobs.noBinary) return { failure: turfError().message };
      try {
        await runtime.start(toProfile(profile), processName, environments.map(toVariable));
        return {};
      } catch (error) {
        return { failure: (error as Error).message };
      }
    }),
    stop: unary<StopRequest, Empty>('stop', async ({ funcName = '', processName = '' }) => {
      await runtime.stop(funcName, processName);
      return {};
    }),
  });

  if (knobs.lateSocketMs > 0) await new Promise(done => setTimeout(done, knobs.lateSocketMs));
  startedAt = Date.now();
  listener = await listen(server, socketFile(workdir, `dp-${id}`), host);
  return {
    get counters() {
      return listener.counters;
    },
    async close() {
      lastSet++;
      listener.close();
      await runtime.close();
    },
  };
}

/** Writes an answer: head, chunks, end; a failure is a message, too, and the status is 0 all the same. */
function respond(call: InvokeCall, { status, headers, body }: TriggerResponse, knobs: Readonly<Knobs>): void {
  call.write({ result: { status, headers: toPairs(headers) } });
  body.on('data', (chunk: Buffer) => {
    if (call.write({ result: { body: chunk } }) || !knobs.heedBackpressure) return;
    body.pause();
    call.once('drain', () => body.resume());
  });
  body.on('end', () => call.end());
  body.on('error', error => {
    call.write({ error: toMessage(error) });
    call.end();
  });
  call.on('cancelled', () => body.destroy());
}

function requestOf(message: InvokeRequest, body: Readable, signal: AbortSignal): RuntimeRequest {
  const { method = 'GET', url = '', requestId = 'unknown', deadline = Date.now() + DEFAULT_TIMEOUT_MS } = message;
  return {
    method,
    url,
    requestId,
    deadline,
    headers: toFlat(message.headers),
    baggage: toFlat(message.baggage),
    body,
    signal,
  };
}

function toFlat(pairs: readonly KeyValuePair[] = []): string[] {
  return pairs.flatMap(({ key = '', value = '' }) => [key, value]);
}

function toPairs(flat: readonly string[]): KeyValuePair[] {
  const pairs: KeyValuePair[] = [];
  for (let i = 0; i < flat.length; i += 2) pairs.push({ key: flat[i] as string, value: flat[i + 1] as string });
  return pairs;
}

function toMessage({ name, message, stack = '', peerStack, operation, code }: NoslateError): InvokeErrorResponse {
  return {
    name,
    message,
    stack,
    ...(peerStack === undefined ? {} : { peerStack }),
    ...(operation === undefined ? {} : { operation }),
    ...(code === undefined ? {} : { code }),
  };
}

function toVariable({ key = '', value = '' }: KeyValuePair): Variable {
  return { key, value };
}

/** The planes check no profile: what is missing in one is empty, and fails when it is used. */
export function toProfile(message: FunctionProfileMessage): FunctionProfile {
  return { name: '', runtime: '', url: '', signature: '', ...message } as FunctionProfile;
}

function toService({ name = '', type = '', selector, selectors }: FunctionService): Service {
  const toSelector = (pairs: readonly KeyValuePair[] = []) => ({
    functionName: pairs.find(({ key }) => key === 'functionName')?.value ?? '',
  });
  return {
    name,
    type,
    ...(selector === undefined ? {} : { selector: toSelector(selector) }),
    ...(selectors === undefined
      ? {}
      : {
          selectors: selectors.map(({ selector: pairs, proportion = 0 }) => ({
            selector: toSelector(pairs),
            proportion,
          })),
        }),
  };
}
