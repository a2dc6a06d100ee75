import type { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../agent.ts';
import { GatewayError } from '../errors.ts';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import type { Connection } from '../h2/connection.ts';
import type { Log } from '../log.ts';
import { EMPTY_PROFILE, type Profile } from '../profile.ts';
import type { Signal } from '../signal.ts';
import type { Target } from '../target.ts';
import * as controlPlane from './control-plane.ts';
import * as dataPlane from './data-plane.ts';
import { type Failure, invoke, toError } from './data-plane.ts';
import { createPlane, type Plane } from './plane.ts';
import { listSockets, type SocketFile } from './sockets.ts';
import { createUpload } from './upload.ts';
import { createUrls, type Urls } from './urls.ts';
import { untilWarm } from './warm.ts';

/**
 * How often the sockets are looked at: a plane that boots, or boots again, must not wait for us. What has
 * been missing for long may never come, and what is there may at most get company. ms.
 */
const LOOK_MS = { missing: 10, longMissing: 200, complete: 1000 };
const LONG_MS = 10_000;

/** Longest wait for a plane's answer to anything but an invocation, ms. Code is downloaded in that time. */
const SET_TIMEOUT_MS = 60_000;
const ASK_TIMEOUT_MS = 2000;
/** Before a plane is told again what it has failed to take, ms. */
const AGAIN_MS = 1000;

/** A data plane that has just come up knows no function until the control plane has told it. ms. */
const SETTLING_MS = 5000;
const SETTLING_STEP_MS = 50;
/** Attempts of a call that is refused each time. */
const MAX_ATTEMPTS = 4;

const LATE = 'no data plane could take the call before the deadline';

/** A plane, and what is known of its socket. */
interface Known {
  readonly plane: Plane;
  inode: number;
  /** The version of the profile that it has taken, 0 for none. */
  version: number;
  isTelling: boolean;
}

/**
 * Runs functions on Noslate's data planes, by the sockets in a folder. Planes may come late, go and come
 * back: invocations wait for one until their deadline. Each new plane is told what the profile says.
 *
 * A call that a plane refused untouched is made again elsewhere, as long as its body so far is still at hand.
 *
 * @param folder - `$NOSLATED_WORKDIR/socks`.
 * @see Noslate contract §1 to §3
 */
export function createNativeAgent(folder: string, log: Log): Agent {
  const planes = { dp: new Map<string, Known>(), cp: new Map<string, Known>() };
  /** Those that wait for a plane to change; each looks for itself what it can do now. */
  const waiting = new Set<() => void>();
  let profile: Profile = EMPTY_PROFILE;
  let urls: Urls = createUrls(profile);
  let version = 0;
  let timer: NodeJS.Timeout | undefined;
  let missingSince = performance.now();
  let isClosed = false;

  const isAnyUp = (kind: 'dp' | 'cp'): boolean => [...planes[kind].values()].some(({ plane }) => plane.isUp);

  function wake(): void {
    for (const look of [...waiting]) look();
  }

  // ---- planes

  function look(): void {
    for (const socket of listSockets(folder)) {
      const known = planes[socket.kind].get(socket.name);
      if (known === undefined) planes[socket.kind].set(socket.name, add(socket));
      else if (known.inode !== socket.inode) {
        known.inode = socket.inode;
        known.plane.replace();
      } else known.plane.connect();
    }
    lookAgain();
  }

  function lookAgain(): void {
    clearTimeout(timer);
    if (isClosed) return;
    const isComplete = isAnyUp('dp') && isAnyUp('cp');
    if (isComplete) missingSince = performance.now();
    const isLong = performance.now() - missingSince > LONG_MS;
    timer = setTimeout(look, isComplete ? LOOK_MS.complete : isLong ? LOOK_MS.longMissing : LOOK_MS.missing);
  }

  function add({ name, kind, path, inode }: SocketFile): Known {
    const plane = createPlane(name, path, {
      onUp() {
        log.info('plane up', { plane: name });
        known.version = 0;
        lookAgain();
        tell(kind, known);
      },
      onDown(error) {
        if (isClosed) return;
        log.warn('plane down', { plane: name, reason: error.message });
        lookAgain();
      },
      onCapacity: wake,
    });
    const known: Known = { plane, inode, version: 0, isTelling: false };
    plane.connect();
    return known;
  }

  /** Tells a plane what the profile says, until it has taken the latest. */
  async function tell(kind: 'dp' | 'cp', known: Known): Promise<void> {
    if (known.isTelling) return;
    known.isTelling = true;
    while (known.version !== version && known.plane.isUp && !isClosed) {
      const telling = version;
      try {
        await (kind === 'dp' ? tellServices(known.plane) : tellFunctions(known.plane));
        known.version = telling;
        wake();
      } catch (error) {
        if (!known.plane.isUp) break;
        log.error('plane does not take the profile', { plane: known.plane.name, error });
        await new Promise(done => setTimeout(done, AGAIN_MS));
      }
    }
    known.isTelling = false;
  }

  async function tellServices(plane: Plane): Promise<void> {
    // with the first profile no plane can have services of an earlier one
    if (profile.services.length === 0 && version === 1) return;
    await dataPlane.setServiceProfiles(connectionOf(plane), profile.services, SET_TIMEOUT_MS);
  }

  async function tellFunctions(plane: Plane): Promise<void> {
    const { functions, environments } = profile;
    const connection = connectionOf(plane);
    if (environments.length > 0 || version > 1) {
      await controlPlane.setPlatformEnvironmentVariables(connection, environments, SET_TIMEOUT_MS);
    }
    const isNew = await controlPlane.setFunctionProfile(connection, functions, SET_TIMEOUT_MS);
    if (isNew) log.info('function profiles set', { functions: functions.map(({ name }) => name) });
  }

  // ---- waiting

  /** Resolves with what `probe` gives, tried again whenever a plane has changed. */
  function until<T>(
    probe: () => T | undefined,
    deadline: number | undefined,
    what: () => string,
    signal?: Signal,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = deadline === undefined ? undefined : setTimeout(onLate, Math.max(0, deadline - Date.now()));
      function onLate(): void {
        settle();
        reject(new GatewayError('UNAVAILABLE', what()));
      }
      function settle(): void {
        clearTimeout(late);
        waiting.delete(attempt);
        signal?.removeEventListener('abort', onAbort);
      }
      function onAbort(): void {
        settle();
        reject(signal?.reason);
      }
      function attempt(): void {
        const value = probe();
        if (value === undefined) return;
        settle();
        resolve(value);
      }
      waiting.add(attempt);
      signal?.addEventListener('abort', onAbort);
      attempt();
    });
  }

  const told = (): Known | undefined =>
    [...planes.cp.values()].find(known => known.plane.isUp && known.version === version && version > 0);

  // ---- invocations

  /** The data plane with the least to do that can take a call. */
  function pick(): { plane: Plane; connection: Connection } | undefined {
    let best: { plane: Plane; connection: Connection } | undefined;
    for (const { plane } of planes.dp.values()) {
      if (!plane.isUp || (best !== undefined && plane.load >= best.plane.load)) continue;
      const connection = plane.pick();
      if (connection !== undefined) best = { plane, connection };
    }
    return best;
  }

  async function run(target: Target, body: Readable, metadata: Metadata): Promise<TriggerResponse> {
    const { signal, deadline } = metadata;
    const url = urls(target, metadata);
    const request = url === metadata.url ? metadata : { ...metadata, url };
    const upload = createUpload(body);
    // node:http announces a request before it has read on: a small body is there one turn later, and
    // travels with the head
    await undefined;
    for (let attempt = 1; ; attempt++) {
      if (signal.aborted) throw signal.reason;
      const { plane, connection } = pick() ?? (await until(pick, deadline, () => LATE, signal));
      try {
        return await invoke(connection, target, upload, request);
      } catch (failure) {
        const error = toError(failure as Failure, target);
        if (!upload.isRepeatable() || signal.aborted) throw error;
        if (failure instanceof GrpcError && failure.isRefused && attempt < MAX_ATTEMPTS) continue;
        if (!isTransient(error, target, plane, deadline)) throw error;
        await new Promise(done => setTimeout(done, SETTLING_STEP_MS));
      }
    }
  }

  /** True for a plane that does not know what it will be told in a moment. */
  function isTransient({ code }: GatewayError, { type, name }: Target, plane: Plane, deadline: number): boolean {
    if (code !== 'FUNCTION_NOT_FOUND' && code !== 'SERVICE_NOT_FOUND') return false;
    const list = type === 'service' ? profile.services : profile.functions;
    const isSettling = performance.now() - plane.upSince < SETTLING_MS && Date.now() + SETTLING_STEP_MS < deadline;
    return isSettling && list.some(item => item.name === name);
  }

  look();
  return {
    setProfile(next) {
      profile = next;
      urls = createUrls(next);
      version++;
      for (const kind of ['dp', 'cp'] as const) for (const known of planes[kind].values()) tell(kind, known);
      return until(told, undefined, () => LATE).then(() => {});
    },

    async warm(deadline) {
      const { connection } = await until(pick, deadline, () => 'no data plane is up');
      const { plane } = await until(told, deadline, () =>
        isAnyUp('cp') ? 'the control plane has not taken the profile' : 'no control plane is up',
      );
      await Promise.all([
        expectHealthy('data plane', dataPlane.checkHealth(connection, ASK_TIMEOUT_MS)),
        expectHealthy('control plane', controlPlane.checkHealth(connectionOf(plane), ASK_TIMEOUT_MS)),
      ]);
      const snapshot = () => controlPlane.getWorkerStatsSnapshot(connectionOf(plane), ASK_TIMEOUT_MS);
      await untilWarm(() => profile.functions, snapshot, deadline);
    },

    invoke: (name, body, metadata) => run({ type: 'function', name }, body, metadata),
    invokeService: (name, body, metadata) => run({ type: 'service', name }, body, metadata),

    async close() {
      isClosed = true;
      clearTimeout(timer);
      for (const kind of ['dp', 'cp'] as const) for (const { plane } of planes[kind].values()) plane.close();
    },
  };
}

/** @throws {GrpcError} when the plane cannot be asked just now. */
function connectionOf(plane: Plane): Connection {
  const connection = plane.pick();
  if (connection === undefined) throw new GrpcError(Status.UNAVAILABLE, `${plane.name} takes no call`, true);
  return connection;
}

/** @throws {GatewayError} UNAVAILABLE: a data plane is ill while its circuit breaker is open. */
async function expectHealthy(name: string, answer: ReturnType<typeof dataPlane.checkHealth>): Promise<void> {
  let reason: unknown;
  try {
    const { health, reason: given = '' } = await answer;
    if (health === true) return;
    reason = new Error(given);
  } catch (error) {
    reason = error;
  }
  throw new GatewayError('UNAVAILABLE', `the ${name} is not healthy`, reason);
}
