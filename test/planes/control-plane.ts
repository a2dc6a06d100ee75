import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import {
  Client,
  connectivityState,
  credentials,
  type handleUnaryCall,
  Metadata,
  Server,
  type ServiceDefinition,
  status,
} from '@grpc/grpc-js';
import type { Log } from '../../src/log.ts';
import { DEFAULT_MEMORY, type FunctionProfile, WORKER_DEFAULTS } from '../../src/profile.ts';
import type { Report } from './broker.ts';
import { type Plane, toProfile } from './data-plane.ts';
import { KNOBS, type Knobs } from './knobs.ts';
import type {
  ContainerStatusReport,
  Empty,
  FunctionProfileMessage,
  GetFunctionProfileResponse,
  HostRequest,
  KeyValuePair,
  PlaneHealthyResponse,
  RegisterWorkerCredentialRequest,
  RequestQueueingBroadcast,
  RunRequest,
  RunResponse,
  SetFunctionProfileRequest,
  SetPlatformEnvironmentVariablesRequest,
  SetResponse,
  StartWorkerFastFailRequest,
  StopRequest,
  SubscriptionChunk,
  WorkerStatsSnapshotResponse,
} from './messages.ts';
import { CONTROL_PLANE, DATA_PLANE, decode, HOST, method, SERVER_OPTIONS, socketFile, TURF } from './protocol.ts';
import { createScaler, needsNewWorkers, type Place } from './scaler.ts';
import { createHost, type Listener, listen } from './server.ts';
import { createTurfSession, type TurfPaths } from './turf.ts';

export interface ControlPlaneOptions {
  /** The socket is `<workdir>/socks/cp-<id>.sock`. */
  workdir: string;
  id: number;
  log: Log;
  /** Looked at whenever it matters; all as they should be by default. */
  knobs?: Readonly<Knobs>;
  /** As in Noslate's image by default. */
  paths?: TurfPaths;
  /**
   * Starts a worker that a function reserves, and resolves when it is ready, with what ends it. Snapshots then count
   * these, and the doubles of data planes start none before a call waits for one.
   */
  startWorker?: (profile: FunctionProfileMessage) => Promise<() => void>;
}

/** How often the folder is looked at for sockets of data planes, and longest pause between two connects, ms. */
const LOOK_MS = 50;
const MAX_BACKOFF_MS = 200;

/** Far enough for `waitForReady`. */
const DAY_MS = 24 * 60 * 60 * 1000;

/**
 * Starts a double of Noslate's control plane, which serves once it is connected to a first data plane, and
 * resolves when its socket accepts. It follows every data plane whose socket it finds, and tells each the
 * function profiles when they are set and whenever it connects; one to which nothing was ever set, as after
 * its own restart, tells nothing. It starts workers as the data planes' queues and the profiles ask for.
 *
 * @see Noslate contract §1, §2, §6
 */
export async function startControlPlane({
  workdir,
  id,
  log,
  knobs = KNOBS,
  paths,
  startWorker,
}: ControlPlaneOptions): Promise<Plane> {
  let profiles: readonly FunctionProfileMessage[] | undefined;
  /** Data planes by socket name; those connected have been told. */
  const clients = new Map<string, Client>();
  const connected = new Set<Client>();
  const turf = createTurfSession(paths);
  let environments: readonly Required<KeyValuePair>[] = [];
  const scaler = createScaler(log, turf, places => {
    const wanted = places.find(({ name }) => name === knobs.placeOn);
    return wanted ?? places[Math.floor(Math.random() * places.length)];
  });
  let isClosed = false;
  /** Workers that `startWorker` has begun to start, by function. Those that are ready can be ended. */
  const own = new Map<string, readonly { end?: () => void }[]>();
  const ownOf = (name: string) => own.get(name) ?? [];
  let onFirst: () => void = () => {};
  const first = new Promise<void>(done => {
    onFirst = done;
  });
  let listener: Listener;

  /** Sends the profiles to a data plane; a failure is logged, for `set` is true whatever happens. */
  async function tell(client: Client): Promise<void> {
    if (profiles === undefined) return;
    try {
      const request: SetFunctionProfileRequest = { profiles: [...profiles], mode: 'IMMEDIATELY' };
      await callDataPlane<SetFunctionProfileRequest, SetResponse>(client, 'setFunctionProfile', request);
    } catch (error) {
      if (!isClosed) log.warn('function profiles not sent', { error });
    }
  }

  /** Connects, tells, waits until the connection is lost, and so on. */
  async function follow(name: string, client: Client): Promise<void> {
    const place = placeOf(name, client);
    while (!isClosed) {
      const isReady = await new Promise<boolean>(done =>
        client.waitForReady(Date.now() + DAY_MS, error => done(error === undefined)),
      );
      if (!isReady) continue;
      subscribe(client, place);
      connected.add(client);
      await tell(client);
      scaler.add(place);
      onFirst();
      await new Promise(done => client.getChannel().watchConnectivityState(connectivityState.READY, Infinity, done));
      connected.delete(client);
      scaler.delete(place);
    }
  }

  /** Hears of queues and workers. */
  function subscribe(client: Client, place: Place): void {
    const { path, requestSerialize, responseDeserialize } = method<HostRequest, SubscriptionChunk>(HOST, 'connect');
    const call = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    call.on('error', () => {});
    call.on('data', ({ events = [] }: SubscriptionChunk) => {
      for (const { data: { typeUrl = '', data = Buffer.alloc(0) } = {} } of events) {
        if (typeUrl === 'noslated.data.RequestQueueingBroadcast') {
          const { name = '', queuedRequestCount = 0 } = decode<RequestQueueingBroadcast>(typeUrl, data);
          scaler.onQueueing(place, name, queuedRequestCount);
        } else if (typeUrl === 'noslated.data.ContainerStatusReport') {
          const { functionName = '', name = '', event } = decode<ContainerStatusReport>(typeUrl, data);
          scaler.onReport(functionName, name, event as Report);
        }
      }
    });
    for (const eventName of ['requestQueueing', 'containerStatusReport']) {
      call.write({ type: 1, subscription: { eventName, subscribe: true } });
    }
  }

  function look(): void {
    for (const file of socketsIn(dirname(socketFile(workdir, '')))) {
      if (clients.has(file)) continue;
      const client = new Client(`unix:${socketFile(workdir, file)}`, credentials.createInsecure(), {
        ...SERVER_OPTIONS,
        'grpc.initial_reconnect_backoff_ms': LOOK_MS,
        'grpc.max_reconnect_backoff_ms': MAX_BACKOFF_MS,
      });
      clients.set(file, client);
      follow(file, client);
    }
  }

  async function startReserved(start: NonNullable<typeof startWorker>): Promise<void> {
    for (const profile of profiles ?? []) {
      const missing = (profile.worker?.reservationCount ?? 0) - ownOf(profile.name ?? '').length;
      for (let i = 0; i < missing; i++) await startOwn(profile, start);
    }
  }

  async function startOwn(profile: FunctionProfileMessage, start: NonNullable<typeof startWorker>): Promise<void> {
    const { name = '' } = profile;
    const worker: { end?: () => void } = {};
    own.set(name, [...ownOf(name), worker]);
    try {
      await turf.run(`${name}-${'0'.repeat(7)}`, toProfile(profile), environments);
      worker.end = await start(profile);
      // replaced before it was ready
      if (!ownOf(name).includes(worker)) worker.end();
    } catch (error) {
      own.set(
        name,
        ownOf(name).filter(item => item !== worker),
      );
      log.error('worker not started', { function: name, error });
    }
  }

  /** Ends those of functions that are gone or changed. True if there were any. */
  function endOwn(before: readonly FunctionProfileMessage[], next: readonly FunctionProfile[]): boolean {
    let hasEnded = false;
    for (const old of before.map(toProfile)) {
      const now = next.find(({ name }) => name === old.name);
      if (now !== undefined && !needsNewWorkers(old, now)) continue;
      for (const { end } of ownOf(old.name)) {
        end?.();
        hasEnded = true;
      }
      own.delete(old.name);
    }
    return hasEnded;
  }

  /** As Noslate, it knows of brokers only once they have a worker. */
  function snapshot(): WorkerStatsSnapshotResponse {
    const brokers: WorkerStatsSnapshotResponse['brokers'] = [];
    for (const profile of (profiles ?? []).map(withDefaults)) {
      const { name = '' } = profile;
      const started = ownOf(name).filter(({ end }) => end !== undefined);
      const workers = [
        ...started.map((_, i) => ({ name: `${name}-own-${i}`, isActive: true })),
        ...scaler.workers(name),
      ];
      if (workers.length === 0) continue;
      const activeWorkerCount = workers.filter(({ isActive }) => isActive).length;
      brokers.push({
        name,
        inspector: false,
        redundantTimes: 0,
        initiatingWorkerCount: workers.length - activeWorkerCount,
        activeWorkerCount,
        profile,
        workers: workers.map(worker => ({
          name: worker.name,
          credential: worker.name,
          registerTime: startedAt,
          pid: process.pid,
          data: { activeRequestCount: 0, trafficOff: false },
        })),
      });
    }
    return { brokers };
  }

  /**
   * Of several with one name the last counts. Workers that are started from now on are of these; the data planes are told
   * once those are gone that are not, for which turfd is given a while.
   */
  async function setFunctionProfile(list: readonly FunctionProfileMessage[]): Promise<void> {
    const next = [...new Map(list.map(item => [item.name, item])).values()];
    const functions = next.map(toProfile);
    const hasEndedOwn = endOwn(profiles ?? [], functions);
    profiles = next;
    const hasEnded = scaler.setFunctionProfile(startWorker === undefined ? functions : functions.map(withoutReserved));
    if (hasEnded || hasEndedOwn) await new Promise(done => setTimeout(done, knobs.replaceMs));
    await Promise.all([...connected].map(tell));
    scaler.reserve();
    if (startWorker !== undefined) startReserved(startWorker);
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
        done({ code: status.UNKNOWN, details: (error as Error).message });
      }
    };
  }

  const startedAt = Date.now();
  const host = createHost();
  const server = new Server(SERVER_OPTIONS);
  server.addService(HOST, { connect: host.connect });
  server.addService(CONTROL_PLANE, {
    setFunctionProfile: unary<SetFunctionProfileRequest, SetResponse>('setFunctionProfile', async request => {
      await setFunctionProfile(request.profiles ?? []);
      return { set: true };
    }),
    getFunctionProfile: unary<Empty, GetFunctionProfileResponse>('getFunctionProfile', () => ({
      profiles: (profiles ?? []).map(withDefaults),
    })),
    setPlatformEnvironmentVariables: unary<SetPlatformEnvironmentVariablesRequest, SetResponse>(
      'setPlatformEnvironmentVariables',
      ({ envs }) => {
        if (knobs.refuseEnvironments) throw new Error('told to refuse environments');
        environments = toMap(envs);
        scaler.setEnvironments(environments);
        return { set: true };
      },
    ),
    getWorkerStatsSnapshot: unary<Empty, WorkerStatsSnapshotResponse>('getWorkerStatsSnapshot', snapshot),
    checkHealth: unary<Empty, PlaneHealthyResponse>('checkHealth', () => ({
      name: 'ControlPlane',
      health: true,
      reason: '',
    })),
  });

  const looking = setInterval(look, LOOK_MS);
  look();
  await first;
  listener = await listen(server, socketFile(workdir, `cp-${id}`), host);
  return {
    get counters() {
      return listener.counters;
    },
    async close() {
      isClosed = true;
      clearInterval(looking);
      scaler.close();
      listener.close();
      for (const client of clients.values()) client.close();
    },
  };
}

/** A data plane behind its socket. */
function placeOf(name: string, client: Client): Place {
  return {
    name,
    async register(funcName, processName) {
      const request = { funcName, processName, credential: processName, inspect: false };
      await callDataPlane<RegisterWorkerCredentialRequest, Empty>(client, 'registerWorkerCredential', request);
    },
    async start(profile, processName, environments) {
      const request = { profile: profile as FunctionProfileMessage, processName, environments: [...environments] };
      const { failure } = await call<RunRequest, RunResponse>(client, TURF, 'run', request);
      if (failure !== undefined) throw new Error(failure);
    },
    async stop(funcName, processName) {
      await call<StopRequest, Empty>(client, TURF, 'stop', { funcName, processName });
    },
    async failQueue(funcName, message, fatal) {
      const request = { funcName, inspect: false, message, fatal };
      await callDataPlane<StartWorkerFastFailRequest, Empty>(client, 'startWorkerFastFail', request);
    },
  };
}

/** As Noslate's `pairsToMap`: of several with one key the last counts, and it does not expect that an empty list is absent. */
function toMap(pairs: KeyValuePair[] | undefined): Required<KeyValuePair>[] {
  const map = (pairs as KeyValuePair[]).reduce<Record<string, string>>((all, { key = '', value = '' }) => {
    all[key] = value;
    return all;
  }, {});
  return Object.entries(map).map(([key, value]) => ({ key, value }));
}

function withoutReserved(profile: FunctionProfile): FunctionProfile {
  return { ...profile, worker: { ...profile.worker, reservationCount: 0 } };
}

function callDataPlane<Request, Response>(client: Client, name: string, request: Request): Promise<Response> {
  return call(client, DATA_PLANE, name, request);
}

function call<Request, Response>(
  client: Client,
  service: ServiceDefinition,
  name: string,
  request: Request,
): Promise<Response> {
  const { path, requestSerialize, responseDeserialize } = method<Request, Response>(service, name);
  return new Promise((done, fail) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, new Metadata(), (error, response) => {
      // what the data plane said, without gRPC's own words
      if (error !== null || response === undefined) fail(new Error(error?.details));
      else done(response);
    });
  });
}

/** Names of the data planes whose sockets are there. */
function socketsIn(folder: string): string[] {
  try {
    return readdirSync(folder).flatMap(file => /^(dp-\d+)\.sock$/.exec(file)?.[1] ?? []);
  } catch {
    // not made yet
    return [];
  }
}

/**
 * A profile as Noslate keeps it: its defaults filled in, `handler` and `initializer` of a nodejs function
 * only, `sourceFile` of others. Numbers with a fraction come back as 32-bit floats.
 *
 * @see noslated src/lib/function_profile.ts, `getProfiles`
 */
function withDefaults(profile: FunctionProfileMessage): FunctionProfileMessage {
  const { name = '', url = '', signature = '', runtime = '', environments = [], rateLimit, namespace } = profile;
  const { handler, initializer, sourceFile } = profile;
  const own = runtime === 'nodejs' ? { handler, initializer } : { sourceFile };
  return {
    name,
    url,
    signature,
    runtime,
    ...(JSON.parse(JSON.stringify(own)) as typeof profile),
    resourceLimit: { memory: DEFAULT_MEMORY, ...profile.resourceLimit },
    worker: {
      ...WORKER_DEFAULTS,
      shrinkStrategy: 'LCC',
      fastFailRequestsOnStarting: false,
      disableRequestQueue: false,
      concurrencySlidingWindowSize: 60_000,
      concurrencySlidingBucketCount: 6,
      emaConcurrencyAlpha: 0.5,
      concurrencyExpandThreshold: 0.7,
      concurrencyShrinkThreshold: 0.3,
      expandCooldown: 1000,
      shrinkCooldown: 60_000,
      scaleFactor: 0.5,
      precisionZeroThreshold: 0.01,
      concurrencyStatsMode: 'instant',
      shrinkCooldownOnStartup: true,
      ...profile.worker,
    },
    environments,
    ...(rateLimit === undefined ? {} : { rateLimit }),
    ...(namespace === undefined || namespace === '' ? {} : { namespace }),
  };
}
