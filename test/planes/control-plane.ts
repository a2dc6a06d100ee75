import { readdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { Client, connectivityState, credentials, type handleUnaryCall, Metadata, Server, status } from '@grpc/grpc-js';
import type { Log } from '../../src/log.ts';
import { DEFAULT_MEMORY, WORKER_DEFAULTS } from '../../src/profile.ts';
import { ENVIRONMENTS, type Plane } from './data-plane.ts';
import { KNOBS, type Knobs } from './knobs.ts';
import type {
  Empty,
  FunctionProfileMessage,
  GetFunctionProfileResponse,
  KeyValuePair,
  PlaneHealthyResponse,
  SetFunctionProfileRequest,
  SetPlatformEnvironmentVariablesRequest,
  SetResponse,
  WorkerStatsSnapshotResponse,
  WorkerTrafficStatsResponse,
} from './messages.ts';
import { CONTROL_PLANE, DATA_PLANE, HOST, method, SERVER_OPTIONS, socketFile } from './protocol.ts';
import { connectHost, type Listener, listen } from './server.ts';

export interface ControlPlaneOptions {
  /** The socket is `<workdir>/socks/cp-<id>.sock`. */
  workdir: string;
  id: number;
  log: Log;
  /** Looked at whenever it matters; all as they should be by default. */
  knobs?: Readonly<Knobs>;
  /**
   * Starts a worker that a function reserves, and resolves when it is ready. Snapshots then count these; without it
   * the doubles of data planes start theirs by themselves.
   */
  startWorker?: (profile: FunctionProfileMessage) => Promise<void>;
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
 * its own restart, tells nothing.
 *
 * @see Noslate contract §1, §2, §6
 */
export async function startControlPlane({
  workdir,
  id,
  log,
  knobs = KNOBS,
  startWorker,
}: ControlPlaneOptions): Promise<Plane> {
  let profiles: readonly FunctionProfileMessage[] | undefined;
  let environments: readonly KeyValuePair[] = [];
  /** Data planes by socket name; those connected have been told. */
  const clients = new Map<string, Client>();
  const connected = new Set<Client>();
  let isClosed = false;
  /** Workers that we have started, and those of them that are ready, by function. */
  const begun = new Map<string, number>();
  const ready = new Map<string, number>();
  let onFirst: () => void = () => {};
  const first = new Promise<void>(done => {
    onFirst = done;
  });
  let listener: Listener;

  /** Sends the profiles to a data plane; a failure is logged, for `set` is true whatever happens. */
  async function tell(client: Client): Promise<void> {
    if (profiles === undefined) return;
    const metadata = new Metadata();
    metadata.set(ENVIRONMENTS, Buffer.from(JSON.stringify(environments)));
    const told = startWorker === undefined ? profiles : profiles.map(withoutReserved);
    const request: SetFunctionProfileRequest = { profiles: [...told], mode: 'IMMEDIATELY' };
    try {
      await callDataPlane<SetFunctionProfileRequest, SetResponse>(client, 'setFunctionProfile', request, metadata);
    } catch (error) {
      if (!isClosed) log.warn('function profiles not sent', { error });
    }
  }

  const tellAll = async (): Promise<void> => {
    await Promise.all([...connected].map(tell));
  };

  /** Connects, tells, waits until the connection is lost, and so on. */
  async function follow(client: Client): Promise<void> {
    while (!isClosed) {
      const isReady = await new Promise<boolean>(done =>
        client.waitForReady(Date.now() + DAY_MS, error => done(error === undefined)),
      );
      if (!isReady) continue;
      connected.add(client);
      await tell(client);
      onFirst();
      await new Promise(done => client.getChannel().watchConnectivityState(connectivityState.READY, Infinity, done));
      connected.delete(client);
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
      follow(client);
    }
  }

  /** Active workers by function, over all data planes. */
  async function countWorkers(): Promise<Map<string, number>> {
    const counts = new Map<string, number>();
    const answers = await Promise.allSettled(
      [...connected].map(client =>
        callDataPlane<Empty, WorkerTrafficStatsResponse>(client, 'getWorkerTrafficStats', {}, new Metadata()),
      ),
    );
    for (const answer of answers) {
      if (answer.status === 'rejected') continue;
      for (const { functionName = '', workers = [] } of answer.value.brokers ?? [])
        counts.set(functionName, count(counts, functionName) + workers.length);
    }
    return counts;
  }

  async function startReserved(): Promise<void> {
    for (const profile of profiles ?? []) {
      const { name = '', worker } = profile;
      while (startWorker !== undefined && count(begun, name) < (worker?.reservationCount ?? 0)) {
        begun.set(name, count(begun, name) + 1);
        await startWorker(profile);
        ready.set(name, count(ready, name) + 1);
      }
    }
  }

  /** As Noslate, it knows of brokers only once they have a worker. */
  async function snapshot(): Promise<WorkerStatsSnapshotResponse> {
    const counts = startWorker === undefined ? await countWorkers() : ready;
    const brokers: WorkerStatsSnapshotResponse['brokers'] = [];
    for (const profile of (profiles ?? []).map(withDefaults)) {
      const { name = '' } = profile;
      const activeWorkerCount = count(counts, name);
      if (activeWorkerCount === 0) continue;
      const workers = Array.from({ length: activeWorkerCount }, (_, i) => ({
        name: `${name}-${i + 1}`,
        credential: `${name}-${i + 1}`,
        registerTime: startedAt,
        pid: process.pid,
        data: { activeRequestCount: 0, trafficOff: false },
      }));
      brokers.push({
        name,
        inspector: false,
        redundantTimes: 0,
        initiatingWorkerCount: 0,
        activeWorkerCount,
        profile,
        workers,
      });
    }
    return { brokers };
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
  const server = new Server(SERVER_OPTIONS);
  server.addService(HOST, { connect: connectHost });
  server.addService(CONTROL_PLANE, {
    setFunctionProfile: unary<SetFunctionProfileRequest, SetResponse>('setFunctionProfile', async request => {
      // of several with one name the last counts
      profiles = [...new Map((request.profiles ?? []).map(item => [item.name, item])).values()];
      await tellAll();
      startReserved().catch((error: unknown) => log.error('worker not started', { error }));
      return { set: true };
    }),
    getFunctionProfile: unary<Empty, GetFunctionProfileResponse>('getFunctionProfile', () => ({
      profiles: (profiles ?? []).map(withDefaults),
    })),
    setPlatformEnvironmentVariables: unary<SetPlatformEnvironmentVariablesRequest, SetResponse>(
      'setPlatformEnvironmentVariables',
      async ({ envs }) => {
        if (knobs.refuseEnvironments) throw new Error('told to refuse environments');
        environments = toMap(envs);
        await tellAll();
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
  listener = await listen(server, socketFile(workdir, `cp-${id}`));
  return {
    get counters() {
      return listener.counters;
    },
    async close() {
      isClosed = true;
      clearInterval(looking);
      listener.close();
      for (const client of clients.values()) client.close();
    },
  };
}

/** As Noslate's `pairsToMap`: of several with one key the last counts, and it does not expect that an empty list is absent. */
function toMap(pairs: KeyValuePair[] | undefined): KeyValuePair[] {
  const map = (pairs as KeyValuePair[]).reduce<Record<string, string>>((all, { key = '', value = '' }) => {
    all[key] = value;
    return all;
  }, {});
  return Object.entries(map).map(([key, value]) => ({ key, value }));
}

function count(counts: ReadonlyMap<string, number>, name: string): number {
  return counts.get(name) ?? 0;
}

function withoutReserved(profile: FunctionProfileMessage): FunctionProfileMessage {
  return { ...profile, worker: { ...profile.worker, reservationCount: 0 } };
}

function callDataPlane<Request, Response>(
  client: Client,
  name: string,
  request: Request,
  metadata: Metadata,
): Promise<Response> {
  const { path, requestSerialize, responseDeserialize } = method<Request, Response>(DATA_PLANE, name);
  return new Promise((done, fail) => {
    client.makeUnaryRequest(path, requestSerialize, responseDeserialize, request, metadata, (error, response) => {
      if (error !== null || response === undefined) fail(error);
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
