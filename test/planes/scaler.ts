import type { Log } from '../../src/log.ts';
import { DEFAULT_MEMORY, type FunctionProfile, type KeyValuePair, WORKER_DEFAULTS } from '../../src/profile.ts';
import type { Report } from './broker.ts';
import { internalError } from './errors.ts';
import { createTurfSession, type TurfSession } from './turf.ts';

/** A data plane, as a control plane uses it. What it says against something is the error's message. */
export interface Place {
  /** `dp-0`. */
  readonly name: string;
  /** Has it expect a worker. */
  register(name: string, worker: string): Promise<void>;
  /** Has turfd start a worker for it; resolves when the worker serves. */
  start(profile: FunctionProfile, worker: string, environments: readonly KeyValuePair[]): Promise<void>;
  /** Has turfd end a worker. */
  stop(name: string, worker: string): Promise<void>;
  /** Has it reject the requests of a function that wait there. */
  failQueue(name: string, message: string, isFatal: boolean): Promise<void>;
}

/** Decides when workers start, and where. */
export interface Scaler {
  /**
   * Makes these the functions. One that is gone, or whose code or resources changed, loses its workers at once, calls in
   * flight included; of other changes new workers hear. True if one has lost any.
   */
  setFunctionProfile(profiles: readonly FunctionProfile[]): boolean;
  /** Starts the workers that are reserved: once the data planes know the functions. */
  reserve(): void;
  /** Of workers that start from now on. */
  setEnvironments(environments: readonly KeyValuePair[]): void;
  add(place: Place): void;
  /** A data plane is gone, and its workers with it. */
  delete(place: Place): void;
  onQueueing(place: Place, name: string, queued: number): void;
  onReport(name: string, worker: string, report: Report): void;
  /** Workers of a function. */
  workers(name: string): { readonly name: string; readonly isActive: boolean }[];
  close(): void;
}

/** How often reserved workers are topped up, ms. */
const TOP_UP_MS = 10_000;

/**
 * Makes the part of a control plane that starts workers: each is put on a random data plane, and one that is starting
 * counts as enough for the queues of all. It knows those alone that it has started, and stops none that it still needs.
 *
 * @param pick - the place of the next worker; a random one by default.
 * @see noslated src/control_plane/capacity_manager.ts and worker_launcher.ts
 */
export function createScaler(
  log: Log,
  turf: TurfSession = createTurfSession(),
  pick: (places: readonly Place[]) => Place | undefined = anyOf,
): Scaler {
  const places = new Set<Place>();
  const workers = new Map<string, { function: string; place: Place; isActive: boolean }>();
  let profiles: readonly FunctionProfile[] = [];
  let environments: readonly KeyValuePair[] = [];
  /** No other control plane has used it. */
  const id = `${process.pid}${Date.now() % 100_000}`;
  const started = new Map<string, number>();

  const settingsOf = ({ worker }: FunctionProfile) => ({ ...WORKER_DEFAULTS, ...worker });
  const of = (name: string) => [...workers].filter(([, item]) => item.function === name);
  const count = (name: string, isActive: boolean): number =>
    of(name).filter(([, item]) => item.isActive === isActive).length;

  /** @param caller - the data plane whose queue asks for it; it alone hears of a failure. */
  async function launch(profile: FunctionProfile, caller?: Place): Promise<void> {
    const { name } = profile;
    const fail = async (message: string, isFatal: boolean): Promise<void> => {
      log.warn('worker not started', { function: name, reason: message });
      await caller?.failQueue(name, message, isFatal).catch(() => {});
    };
    const limit = settingsOf(profile).replicaCountLimit;
    if (of(name).length >= limit) return fail(`Replica count exceeded limit (${of(name).length} / ${limit})`, false);
    const place = pick([...places]);
    if (place === undefined) return fail(internalError(new Error('No available data plane.')).message, true);
    const number = (started.get(name) ?? 0) + 1;
    started.set(name, number);
    const worker = `${name}-${id}-${number}`;
    workers.set(worker, { function: name, place, isActive: false });
    try {
      await place.register(name, worker);
      await turf.run(worker, profile, environments);
      await place.start(profile, worker, environments);
    } catch (error) {
      workers.delete(worker);
      await fail((error as Error).message, true);
    }
  }

  function reserve(): void {
    for (const profile of profiles) {
      const { name, worker: { reservationCount = 0, disposable } = {} } = profile;
      if (disposable === true) continue;
      for (let missing = reservationCount - of(name).length; missing > 0; missing--) launch(profile);
    }
  }

  const timer = setInterval(reserve, TOP_UP_MS).unref();
  return {
    setFunctionProfile(list) {
      const before = profiles;
      profiles = list;
      let hasEnded = false;
      for (const old of before) {
        const next = list.find(({ name }) => name === old.name);
        if (next !== undefined && !needsNewWorkers(old, next)) continue;
        for (const [worker, { place }] of of(old.name)) {
          workers.delete(worker);
          place.stop(old.name, worker).catch(() => {});
          hasEnded = true;
        }
      }
      return hasEnded;
    },
    reserve,
    setEnvironments(list) {
      environments = list;
    },
    add: place => places.add(place),
    delete(place) {
      places.delete(place);
      for (const [worker, item] of workers) if (item.place === place) workers.delete(worker);
    },
    onQueueing(place, name, queued) {
      const profile = profiles.find(item => item.name === name);
      // of one that is gone nobody hears anything: its calls wait to their deadlines
      if (profile === undefined) return;
      const { maxActivateRequests, disposable } = settingsOf(profile);
      const isEnough = queued < count(name, false) * maxActivateRequests;
      if (disposable === true || !isEnough) launch(profile, place);
    },
    onReport(_, worker, report) {
      const known = workers.get(worker);
      if (known === undefined) return;
      if (report === 'ContainerInstalled') known.isActive = true;
      else workers.delete(worker);
    },
    workers: name => of(name).map(([worker, { isActive }]) => ({ name: worker, isActive })),
    close() {
      clearInterval(timer);
      profiles = [];
    },
  };
}

const SIGNIFICANT = ['runtime', 'url', 'signature', 'sourceFile', 'handler', 'initializer'] as const;

/** What makes Noslate replace a function's workers. */
export function needsNewWorkers(before: FunctionProfile, after: FunctionProfile): boolean {
  const [old, next] = [before.resourceLimit, after.resourceLimit];
  return (
    SIGNIFICANT.some(key => before[key] !== after[key]) ||
    old?.cpu !== next?.cpu ||
    (old?.memory ?? DEFAULT_MEMORY) !== (next?.memory ?? DEFAULT_MEMORY)
  );
}

function anyOf<T>(items: readonly T[]): T | undefined {
  return items[Math.floor(Math.random() * items.length)];
}
