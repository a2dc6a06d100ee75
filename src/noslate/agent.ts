import type { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../agent.ts';
import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import type { Connection } from '../h2/connection.ts';
import type { Log } from '../log.ts';
import { EMPTY_PROFILE, type Profile } from '../profile.ts';
import type { Signal } from '../signal.ts';
import { describeTarget, type Target } from '../target.ts';
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
const STOPPING = new GatewayError('DRAINING', 'the instance is stopping');

/** A plane, and what is known of its socket. */
interface Known {
  readonly plane: Plane;
  inode: number;
  /** The version of the profile that it has taken since it came up, 0 for none. */
  version: number;
  /** The `upSince` for which it is being told, if it is. */
  tellingSince: number | undefined;
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
  let missingSince = now();
  let wasTold = false;
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
    if (isComplete) missingSince = now();
    const isLong = now() - missingSince > LONG_MS;
    timer = setTimeout(look, isComplete ? LOOK_MS.complete : isLong ? LOOK_MS.longMissing : LOOK_MS.missing);
  }

  function add({ name, kind, path, inode }: SocketFile): Known {
    const plane = createPlane(name, path, {
      onUp() {
        log.info('plane up', { plane: name });
        // another process, for all we know: it has heard nothing, whatever is still being said to the last one
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
    const known: Known = { plane, inode, version: 0, tellingSince: undefined };
    plane.connect();
    return known;
  }

  /** Tells a plane what the profile says, until it has taken the latest or is no longer up. */
  async function tell(kind: 'dp' | 'cp', known: Known): Promise<void> {
    const { plane } = known;
    const { upSince } = plane;
    if (known.tellingSince === upSince) return;
    known.tellingSince = upSince;
    const isSame = (): boolean => plane.isUp && plane.upSince === upSince;
    while (isSame() && known.version !== version) {
      const telling = version;
      try {
        await (kind === 'dp' ? tellServices(plane) : tellFunctions(plane));
        if (!isSame()) return;
        known.version = telling;
        wasTold ||= kind === 'cp';
        wake();
      } catch (error) {
        if (!isSame()) return;
        log.error('plane does not take the profile', { plane: plane.name, error });
        await pause(AGAIN_MS);
      }
    }
    if (isSame()) known.tellingSince = undefined;
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
      const late = deadline === undefined ? undefined : setTimeout(onLate, Math.max(0, deadline - now()));
      function settle(): void {
        clearTimeout(late);
        waiting.delete(attempt);
        signal?.removeEventListener('abort', onAbort);
      }
      function fail(error: unknown): void {
        settle();
        reject(error);
      }
      function onLate(): void {
        fail(new GatewayError('UNAVAILABLE', what()));
      }
      function onAbort(): void {
        fail(signal?.reason);
      }
      function attempt(): void {
        if (isClosed) {
          fail(STOPPING);
          return;
        }
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

  /** True until a control plane has taken a profile for the first time. */
  const isUntold = (): boolean => version > 0 && !wasTold;

  // ---- invocations

  /** The data plane with the least to do that can take a call. */
  function pick(): { known: Known; connection: Connection } | undefined {
    let best: { known: Known; connection: Connection } | undefined;
    for (const known of planes.dp.values()) {
      const { plane } = known;
      if (!plane.isUp || (best !== undefined && plane.load >= best.known.plane.load)) continue;
      const connection = plane.pick();
      if (connection !== undefined) best = { known, connection };
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
    // planes that were here before us may know all functions already, but only a whole body can be sent to find out
    if (isUntold() && !(mayKnow && upload.isWhole())) await until(told, deadline, () => LATE, signal);
    const begin = () => {
      const picked = pick();
      return picked && { known: picked.known, answer: invoke(picked.connection, target, upload, request) };
    };
    for (let refusals = 0; ; ) {
      if (signal.aborted) throw signal.reason;
      // begun as soon as there is room: a moment later another call may have it, or the connection be gone
      const { known, answer } = begin() ?? (await until(begin, deadline, () => LATE, signal));
      try {
        return await answer;
      } catch (failure) {
        if (isClosed) throw STOPPING;
        const error = toError(failure as Failure, target);
        const isRepeatable = upload.isRepeatable();
        if (failure instanceof GrpcError && failure.isRefused && isRepeatable && ++refusals < MAX_ATTEMPTS) continue;
        if (!isTransient(error, target, known)) throw error;
        if (!isRepeatable || now() + SETTLING_STEP_MS >= deadline) {
          throw new GatewayError('UNAVAILABLE', `${describeTarget(target)}: the data plane is not ready again`, error);
        }
        await (isUntold() ? until(told, deadline, () => LATE, signal) : pause(SETTLING_STEP_MS));
      }
    }
  }

  /** True for a plane that does not know what it will be told in a moment. */
  function isTransient({ code }: GatewayError, { type, name }: Target, dp: Known): boolean {
    if (code !== 'FUNCTION_NOT_FOUND' && code !== 'SERVICE_NOT_FOUND') return false;
    const list = type === 'service' ? profile.services : profile.functions;
    if (!list.some(item => item.name === name)) return false;
    // services we tell it ourselves, functions by way of the control plane
    const teller = code === 'SERVICE_NOT_FOUND' ? dp : told();
    if (teller === undefined || teller.version !== version) return true;
    return now() - Math.max(dp.plane.upSince, teller.plane.upSince) < SETTLING_MS;
  }

  look();
  const mayKnow = planes.dp.size > 0;
  return {
    setProfile(next) {
      profile = next;
      urls = createUrls(next);
      version++;
      for (const kind of ['dp', 'cp'] as const) for (const known of planes[kind].values()) tell(kind, known);
      return until(told, undefined, () => LATE).then(() => {});
    },

    async warm(deadline) {
      const ready = () => {
        const dp = pick();
        const cp = told();
        return dp && cp && { dp: dp.known.plane, cp: cp.plane };
      };
      const missing = () => {
        if (!isAnyUp('dp')) return 'no data plane is up';
        return isAnyUp('cp') ? 'the control plane has not taken the profile' : 'no control plane is up';
      };
      const { dp, cp } = await until(ready, deadline, missing);
      /** A connection to ask by, as long as there will be an answer. */
      const ask = (plane: Plane): Connection => {
        if (isClosed) throw STOPPING;
        return connectionOf(plane);
      };
      await Promise.all([
        untilHealthy('data plane', async () => dataPlane.checkHealth(ask(dp), ASK_TIMEOUT_MS), deadline),
        untilHealthy('control plane', async () => controlPlane.checkHealth(ask(cp), ASK_TIMEOUT_MS), deadline),
      ]);
      const snapshot = async () => controlPlane.getWorkerStatsSnapshot(ask(cp), ASK_TIMEOUT_MS);
      await untilWarm(() => profile.functions, snapshot, deadline);
    },

    invoke: (name, body, metadata) => run({ type: 'function', name }, body, metadata),
    invokeService: (name, body, metadata) => run({ type: 'service', name }, body, metadata),

    async close() {
      isClosed = true;
      clearTimeout(timer);
      for (const kind of ['dp', 'cp'] as const) for (const { plane } of planes[kind].values()) plane.close();
      wake();
    },
  };
}

/** @throws {GrpcError} when the plane cannot be asked just now. */
function connectionOf(plane: Plane): Connection {
  const connection = plane.pick();
  if (connection === undefined) throw new GrpcError(Status.UNAVAILABLE, `${plane.name} takes no call`, true);
  return connection;
}

/**
 * Resolves when a plane says that it is well. One that is just starting may be slow to say so, and a data plane is ill
 * while its circuit breaker is open.
 *
 * @throws {GatewayError} rejected: UNAVAILABLE at the deadline, a moment of `now()`, or when the agent is closed.
 */
async function untilHealthy(
  name: string,
  ask: () => ReturnType<typeof dataPlane.checkHealth>,
  deadline: number,
): Promise<void> {
  for (;;) {
    const { health, reason } = await ask().catch(error => ({ health: false, reason: error }));
    if (health) return;
    if (reason === STOPPING || now() + AGAIN_MS > deadline) {
      throw new GatewayError('UNAVAILABLE', `the ${name} is not healthy`, reason);
    }
    await pause(AGAIN_MS);
  }
}

/** While planes are looked for, it is that which keeps the process alive. */
function pause(ms: number): Promise<void> {
  return new Promise(done => setTimeout(done, ms).unref());
}
