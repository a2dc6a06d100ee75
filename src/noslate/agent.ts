import type { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../agent.ts';
import { now } from '../clock.ts';
import { environmentBytes, MAX_ENVIRONMENT_BYTES } from '../environment.ts';
import { GatewayError } from '../errors.ts';
import { GrpcError } from '../grpc/status.ts';
import type { Connection } from '../h2/connection.ts';
import type { Log } from '../log.ts';
import { EMPTY_PROFILE, type Profile } from '../profile.ts';
import { pickFunction } from '../service.ts';
import { describeTarget, type Target } from '../target.ts';
import * as controlPlane from './control-plane.ts';
import * as dataPlane from './data-plane.ts';
import { type Failure, invoke, isTakenBack, toError } from './data-plane.ts';
import { discover } from './discovery.ts';
import { isBrokenOff, isUnsent } from './errors.ts';
import { createPlacement } from './placement.ts';
import { connectionOf, type Plane } from './plane.ts';
import { createTelling } from './telling.ts';
import { createUpload } from './upload.ts';
import { createUrls, type Urls } from './urls.ts';
import { createWaiting, pause } from './waiting.ts';
import { untilWarm } from './warm.ts';

/** Longest wait for a plane's answer to a question, ms. */
const ASK_TIMEOUT_MS = 2000;
/** The same for who must answer within a second himself, ms. */
const FAULT_TIMEOUT_MS = 500;
/** Who asks while the planes are first told waits so long for it: FC ends an instance whose first check fails. ms. */
const FIRST_FAULT_MS = 400;
/** Before a plane is asked again, ms. */
const AGAIN_MS = 1000;

/** A data plane that has just come up knows no function until the control plane has told it. ms. */
const SETTLING_MS = 5000;
const SETTLING_STEP_MS = 50;
/** Attempts of a call that is refused each time. */
const MAX_ATTEMPTS = 4;

const LATE = 'no data plane could take the call before the deadline';
const STOPPING = new GatewayError('DRAINING', 'the instance is stopping');

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
  const { until, wake, close } = createWaiting();
  const planes = discover(folder, log, {
    onUp(plane) {
      placement.onUp(plane);
      telling.start(plane);
    },
    onDown: plane => placement.onDown(plane),
    onCapacity: wake,
  });
  const placement = createPlacement(planes.dp, log);
  const telling = createTelling(() => [...planes.dp, ...planes.cp], log, wake);
  const { told, isUntold, hasTaken } = telling;
  let urls: Urls = createUrls(EMPTY_PROFILE);
  let isClosed = false;
  let retries = 0;

  /**
   * The function that a call goes to. A service's is drawn here where it matters which data plane has its workers;
   * else, as for a service that is not known, the data plane does it.
   */
  function resolve(target: Target): Target {
    if (target.type === 'function' || !placement.isSeveral()) return target;
    const service = telling.profile.services.find(({ name }) => name === target.name);
    return service === undefined ? target : { type: 'function', name: pickFunction(service, Math.random()) };
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
    const resolved = resolve(target);
    const begin = () => {
      const place = resolved.type === 'function' ? placement.pick(resolved.name) : placement.pickAny();
      if (place === undefined) return undefined;
      const { plane, connection, site } = place;
      if (site !== undefined) placement.enter(site, upload);
      return { plane, site, answer: invoke(connection, resolved, upload, request) };
    };
    for (let attempts = 0, refusals = 0; ; attempts++) {
      if (signal.aborted) throw signal.reason;
      if (attempts > 0) retries++;
      // begun as soon as there is room: a moment later another call may have it, or the connection be gone
      const { plane, site, answer } = begin() ?? (await until(begin, deadline, () => LATE, signal));
      try {
        const response = await answer;
        if (site !== undefined) placement.onHead(site, upload, response.body);
        return response;
      } catch (failure) {
        if (site !== undefined) placement.onFail(site, upload);
        if (isClosed) throw STOPPING;
        const error = toError(failure as Failure, target);
        const isRepeatable = upload.isRepeatable();
        if (isTakenBack(failure as Failure)) {
          if (isRepeatable) continue;
          throw new GatewayError('UNAVAILABLE', `${describeTarget(target)}: its worker came up elsewhere`, error);
        }
        const isUntouched =
          failure instanceof GrpcError
            ? failure.isRefused
            : isUnsent(failure as Failure) || (isBrokenOff(failure as Failure) && isSmall(resolved));
        if (isUntouched && isRepeatable && ++refusals < MAX_ATTEMPTS) continue;
        if (!isTransient(error, target, plane)) throw error;
        if (!isRepeatable || now() + SETTLING_STEP_MS >= deadline) {
          throw new GatewayError('UNAVAILABLE', `${describeTarget(target)}: the data plane is not ready again`, error);
        }
        await (isUntold() ? until(told, deadline, () => LATE, signal) : pause(SETTLING_STEP_MS));
      }
    }
  }

  /** True for a function whose workers turfd takes. */
  function isSmall({ type, name }: Target): boolean {
    const item = telling.profile.functions.find(({ name: other }) => other === name);
    return (
      type === 'function' && item !== undefined && environmentBytes(telling.profile, item) <= MAX_ENVIRONMENT_BYTES
    );
  }

  /** True for a plane that does not know what it will be told in a moment. */
  function isTransient({ code }: GatewayError, { type, name }: Target, dp: Plane): boolean {
    if (code !== 'FUNCTION_NOT_FOUND' && code !== 'SERVICE_NOT_FOUND') return false;
    const list = type === 'service' ? telling.profile.services : telling.profile.functions;
    if (!list.some(item => item.name === name)) return false;
    // services we tell it ourselves, functions by way of the control plane
    const teller = code === 'SERVICE_NOT_FOUND' ? dp : told();
    if (teller === undefined || !hasTaken(teller)) return true;
    return now() - Math.max(dp.upSince, teller.upSince) < SETTLING_MS;
  }

  planes.look();
  const mayKnow = planes.dp.length > 0;
  return {
    setProfile(next) {
      urls = createUrls(next);
      placement.setProfile(next);
      telling.set(next);
      return until(told, undefined, () => LATE).then(() => {});
    },

    async warm(deadline) {
      const ready = () => {
        const dp = placement.pickAny();
        const cp = told();
        return dp && cp && { dp: dp.plane, cp };
      };
      const missing = () => {
        if (!planes.isAnyUp('dp')) return 'no data plane is up';
        return planes.isAnyUp('cp') ? 'the control plane has not taken the profile' : 'no control plane is up';
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
      await untilWarm(() => telling.profile, snapshot, deadline);
    },

    async faults() {
      if (isUntold()) await until(told, now() + FIRST_FAULT_MS, () => LATE).catch(() => {});
      const faults = telling.refusals();
      if (!planes.isAnyUp('dp')) faults.push('no data plane is up');
      if (!planes.isAnyUp('cp')) faults.push('no control plane is up');
      // one that is being told another profile goes by the one before
      const cp = planes.cp.find(plane => plane.isUp && telling.hasAny(plane));
      if (planes.isAnyUp('cp') && cp === undefined) faults.push('the control plane has not taken the profile');
      const ill = [...planes.dp, ...planes.cp].filter(({ isUp }) => isUp).map(illness);
      const missing = cp === undefined ? [] : noWorkers(telling.profile, cp);
      return faults.concat(...(await Promise.all([...ill, missing])));
    },

    invoke: (name, body, metadata) => run({ type: 'function', name }, body, metadata),
    invokeService: (name, body, metadata) => run({ type: 'service', name }, body, metadata),

    stats: () => ({ retries, planes: [...planes.dp, ...planes.cp].map(({ stats }) => stats) }),

    async close() {
      isClosed = true;
      planes.close();
      close(STOPPING);
    },
  };
}

/** What a plane says of itself, if it is not well or says nothing. A data plane is ill while its circuit breaker is open. */
async function illness(plane: Plane): Promise<string[]> {
  const { checkHealth } = plane.kind === 'dp' ? dataPlane : controlPlane;
  try {
    const { health, reason } = await checkHealth(connectionOf(plane), FAULT_TIMEOUT_MS);
    return health ? [] : [`${plane.name} is not healthy: ${reason ?? ''}`];
  } catch (error) {
    return [`${plane.name}: ${(error as Error).message}`];
  }
}

/** The functions that reserve workers and have none: their calls wait for one. */
async function noWorkers({ functions }: Profile, cp: Plane): Promise<string[]> {
  const reserving = functions.filter(({ worker: { reservationCount = 0 } = {} }) => reservationCount > 0);
  if (reserving.length === 0) return [];
  // who does not answer is ill, which is said already
  const ask = async () => controlPlane.getWorkerStatsSnapshot(connectionOf(cp), FAULT_TIMEOUT_MS);
  const stats = await ask().catch(() => undefined);
  return reserving
    .filter(
      ({ name }) => stats?.some(item => item.name === name && !item.inspector && item.activeWorkerCount) === false,
    )
    .map(({ name }) => `function ${JSON.stringify(name)} has no worker`);
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
