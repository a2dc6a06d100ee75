import type { Readable } from 'node:stream';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import type { Connection } from '../h2/connection.ts';
import type { Log } from '../log.ts';
import { type Profile, WORKER_DEFAULTS } from '../profile.ts';
import { takeBack } from './data-plane.ts';
import { connectionOf, type Plane } from './plane.ts';
import { listen } from './reports.ts';
import type { Upload } from './upload.ts';
import { pause } from './waiting.ts';

/** Longest wait for a data plane to give calls back, and before it is asked again, ms. */
const TAKE_BACK_MS = 2000;
const AGAIN_MS = 200;

/** A function on one of several data planes. */
interface Site {
  readonly name: string;
  readonly plane: Plane;
  /** Its workers there, by what the data plane tells. */
  readonly workers: Set<string>;
  /** One of them is known to have taken calls, not only said to be there. */
  isConfirmed: boolean;
  /** The data plane has told that a call waits there, and nothing since that says a worker is free. */
  isFull: boolean;
  /** Our calls there; and those of them that have no head yet. */
  calls: number;
  waiting: number;
  /** Bodies that go no further before there is a worker. */
  readonly held: Set<Upload>;
  /** Its calls are to be taken back, once more if it is being done. */
  isDue: boolean;
  isTaking: boolean;
}

/** Where a call goes. */
export interface Place {
  readonly plane: Plane;
  readonly connection: Connection;
  /** Undefined where it does not matter: there is one data plane, or none knows the function. */
  readonly site: Site | undefined;
}

/** Decides which data plane takes a call. */
export interface Placement {
  /** The place of the next call of a function; undefined when none can take it now. */
  pick(name: string): Place | undefined;
  /** The data plane with the least to do that can take a call, whatever it is for. */
  pickAny(): Place | undefined;
  /** True when there are several data planes, and a service must be resolved before its call is placed. */
  isSeveral(): boolean;
  /** A call with a site begins there: to be called first of all, for it may hold the body. */
  enter(site: Site, upload: Upload): void;
  /** It has its head. */
  onHead(site: Site, upload: Upload, body: Readable): void;
  /** It has failed before its head. */
  onFail(site: Site, upload: Upload): void;
  /** A data plane has come up: another process, for all we know. */
  onUp(plane: Plane): void;
  onDown(plane: Plane): void;
  setProfile(profile: Profile): void;
}

/**
 * Places calls. With one data plane that is all there is to it. With several, the control plane puts each new worker on
 * a random one, and takes one that is starting as enough for the calls that wait on all of them. So:
 *
 * | a call of a function that has            | goes, or is                                                        |
 * |------------------------------------------|--------------------------------------------------------------------|
 * | a worker that is free                    | to the data plane where there are fewest calls to a worker         |
 * | workers, all busy                        | the same: it waits where one will be free                          |
 * | no worker                                | to where others of its calls wait, that is: who asked for a worker is who hears that none could be started |
 * | waited in vain: a worker came elsewhere  | taken back, and placed anew                                        |
 * | waited where the last worker has gone    | the same                                                           |
 * | waited where we thought one was free     | the same, if one is free elsewhere                                 |
 *
 * No call runs twice: what is taken back was in the data plane's queue until then, and a call out of that queue is
 * rejected or run, never both. None is lost: whatever waits is known to wait, because the data plane tells of it after
 * it is in the queue, or lists it when we begin to listen; and its body can be sent again, because no more of it than
 * is kept goes out before there is a worker. What is larger can only be caught between two workers (or in a
 * disposable function, whose workers take one call each): it fails, and says so.
 *
 * @param dataPlanes - all that there are, now and later.
 * @see Noslate contract §1, §6
 */
export function createPlacement(dataPlanes: readonly Plane[], log: Log): Placement {
  const sites = new Map<Plane, Map<string, Site>>();
  /** Those that have told what was there when we began to listen. */
  const listening = new Set<Plane>();
  /** Calls that a worker of a function takes at once. */
  let limits = new Map<string, number>();
  let disposable = new Set<string>();

  function siteOf(plane: Plane, name: string): Site {
    let byName = sites.get(plane);
    if (byName === undefined) {
      byName = new Map();
      sites.set(plane, byName);
    }
    let site = byName.get(name);
    if (site === undefined) {
      site = {
        name,
        plane,
        workers: new Set(),
        isConfirmed: false,
        isFull: false,
        calls: 0,
        waiting: 0,
        held: new Set(),
        isDue: false,
        isTaking: false,
      };
      byName.set(name, site);
    }
    return site;
  }

  const isFree = ({ name, workers, calls, isFull }: Site): boolean =>
    !isFull && calls < workers.size * (limits.get(name) ?? WORKER_DEFAULTS.maxActivateRequests);

  /** The less the better. */
  function rank(site: Site): number {
    if (site.workers.size === 0) return 3;
    if (isFree(site)) return 0;
    return site.isFull && !site.isConfirmed ? 2 : 1;
  }

  function isBetter(one: Site, other: Site): boolean {
    const difference = rank(one) - rank(other);
    if (difference !== 0) return difference < 0;
    const weight =
      one.workers.size === 0
        ? other.waiting - one.waiting
        : (one.calls + 1) * other.workers.size - (other.calls + 1) * one.workers.size;
    return weight === 0 ? one.plane.load < other.plane.load : weight < 0;
  }

  function pickAny(): Place | undefined {
    let best: Place | undefined;
    for (const plane of dataPlanes) {
      if (!plane.isUp || (best !== undefined && plane.load >= best.plane.load)) continue;
      const connection = plane.pick();
      if (connection !== undefined) best = { plane, connection, site: undefined };
    }
    return best;
  }

  function pickAmong(name: string): Place | undefined {
    let best: { plane: Plane; connection: Connection; site: Site } | undefined;
    let hasWorkers = false;
    for (const plane of dataPlanes) {
      if (!plane.isUp) continue;
      const site = siteOf(plane, name);
      hasWorkers ||= site.workers.size > 0;
      const connection = plane.pick();
      if (connection !== undefined && (best === undefined || isBetter(site, best.site))) {
        best = { plane, connection, site };
      }
    }
    // one that has workers will take it in a moment, and the others have nobody for it
    return hasWorkers && best?.site.workers.size === 0 ? undefined : best;
  }

  // ---- what data planes tell

  const isCurrent = (site: Site): boolean => site.plane.isUp && sites.get(site.plane)?.get(site.name) === site;

  const others = ({ plane, name }: Site): Site[] =>
    dataPlanes.filter(other => other !== plane && other.isUp).map(other => siteOf(other, name));

  /** Has a data plane give back all that waits for a function there. */
  async function take(site: Site): Promise<void> {
    site.isDue = true;
    if (site.isTaking) return;
    site.isTaking = true;
    while (site.isDue && isCurrent(site)) {
      site.isDue = false;
      try {
        await takeBack(connectionOf(site.plane), site.name, TAKE_BACK_MS);
        // nothing waits there now, unless it has been told since
        if (!site.isDue && site.workers.size === 0) site.isFull = false;
      } catch (error) {
        // a data plane that does not know the function has no call of it
        if (!isCurrent(site) || (error instanceof GrpcError && error.code === Status.NOT_FOUND)) continue;
        log.warn('calls not taken back, trying again', { plane: site.plane.name, function: site.name, error });
        site.isDue = true;
        await pause(AGAIN_MS);
      }
    }
    site.isTaking = false;
  }

  /** Takes back what waits where there is no worker while there is one elsewhere. */
  function settle(site: Site): void {
    const isWaiting = site.waiting > 0 || site.isFull;
    if (isWaiting && site.workers.size === 0 && others(site).some(({ workers }) => workers.size > 0)) take(site);
  }

  function letGo(site: Site): void {
    for (const upload of site.held) upload.letGo();
    site.held.clear();
  }

  function onInstalled(site: Site, worker: string): void {
    site.workers.add(worker);
    site.isConfirmed = true;
    site.isFull = false;
    letGo(site);
    for (const other of others(site)) {
      if (other.isFull) take(other);
      else settle(other);
    }
  }

  function onGone(site: Site, worker: string): void {
    if (!site.workers.delete(worker) || site.workers.size > 0) return;
    site.isConfirmed = false;
    // asked for once more, a worker comes here or elsewhere
    if (site.waiting > 0) take(site);
  }

  function onQueueing(site: Site): void {
    site.isFull = true;
    if (site.workers.size === 0) settle(site);
    else if (others(site).some(isFree)) take(site);
  }

  function onList(plane: Plane, list: Parameters<Parameters<typeof listen>[1]['onList']>[0]): void {
    listening.add(plane);
    const names = new Set([...list.keys(), ...(sites.get(plane)?.keys() ?? [])]);
    for (const name of names) {
      const site = siteOf(plane, name);
      const { workers = [], isWaiting = false } = list.get(name) ?? {};
      site.isConfirmed &&= workers.some(worker => site.workers.has(worker));
      site.workers.clear();
      for (const worker of workers) site.workers.add(worker);
      site.isFull ||= isWaiting;
      if (workers.length > 0) letGo(site);
      settle(site);
      for (const other of others(site)) settle(other);
    }
  }

  function listenTo(plane: Plane): void {
    listen(plane, {
      onInstalled: (name, worker) => onInstalled(siteOf(plane, name), worker),
      onGone: (name, worker) => onGone(siteOf(plane, name), worker),
      onQueueing: name => onQueueing(siteOf(plane, name)),
      onList: list => onList(plane, list),
    });
  }

  function forget(plane: Plane): void {
    sites.delete(plane);
    listening.delete(plane);
    started.delete(plane);
  }

  /** Those that are listened to. */
  const started = new Set<Plane>();

  return {
    pick: name => (dataPlanes.length === 1 || !limits.has(name) ? pickAny() : pickAmong(name)),
    pickAny,
    isSeveral: () => dataPlanes.length > 1,

    enter(site, upload) {
      const isHeld = site.workers.size === 0 || (disposable.has(site.name) && !isFree(site));
      site.calls++;
      site.waiting++;
      if (!isHeld || !listening.has(site.plane)) return;
      upload.hold();
      site.held.add(upload);
    },

    onHead(site, upload, body) {
      site.held.delete(upload);
      site.waiting--;
      site.isFull = false;
      site.isConfirmed = site.workers.size > 0;
      body.on('close', () => {
        site.calls--;
        site.isFull = false;
      });
    },

    onFail(site, upload) {
      site.held.delete(upload);
      upload.letGo();
      site.waiting--;
      site.calls--;
    },

    onUp(plane) {
      forget(plane);
      if (plane.kind === 'cp' || dataPlanes.length < 2) return;
      for (const dataPlane of dataPlanes) {
        if (!dataPlane.isUp || started.has(dataPlane)) continue;
        started.add(dataPlane);
        listenTo(dataPlane);
      }
    },

    onDown: forget,

    setProfile({ functions }) {
      limits = new Map();
      disposable = new Set();
      for (const { name, worker = {} } of functions) {
        const isDisposable = worker.disposable === true;
        if (isDisposable) disposable.add(name);
        limits.set(name, isDisposable ? 1 : (worker.maxActivateRequests ?? WORKER_DEFAULTS.maxActivateRequests));
      }
      for (const byName of sites.values()) {
        for (const name of [...byName.keys()]) if (!limits.has(name)) byName.delete(name);
      }
    },
  };
}
