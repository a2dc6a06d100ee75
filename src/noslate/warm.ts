import { now } from '../clock.ts';
import { environmentBytes, MAX_ENVIRONMENT_BYTES } from '../environment.ts';
import { GatewayError } from '../errors.ts';
import type { Profile } from '../profile.ts';

/** What a control plane's `WorkerStatsSnapshotResponse` says of one function; what is absent is false, 0 or not known. */
export interface BrokerStats {
  readonly name?: string | undefined;
  /** Its workers are for a debugger and serve no invocation. */
  readonly inspector?: boolean | undefined;
  readonly activeWorkerCount?: number | undefined;
  /** Workers that are starting. */
  readonly initiatingWorkerCount?: number | undefined;
}

/** A worker of the nodejs runtime takes 180 to 290 ms to start, a seeded aworker far less: FC counts what is waited beyond. */
const SHORT_DELAY_MS = 20;
const LONG_DELAY_MS = 250;
/** What takes longer than that can be asked for less often. */
const SHORT_MS = 1000;

const LATE = new Error('no snapshot by the deadline');

/**
 * Resolves when every function has as many active workers as its `worker.reservationCount`.
 *
 * `snapshot` is asked again and again. One that fails is asked again too, since the control plane may
 * just be restarting, unless it fails with a GatewayError: that one ends the wait.
 *
 * @param profile - as it is now: it may change in the meantime.
 * @param deadline - a moment of `now()`.
 * @throws {GatewayError} rejected: UNAVAILABLE at the deadline, with what is missing; `cause` is the
 *   failure of the last snapshot, if it failed.
 */
export async function untilWarm(
  profile: () => Pick<Profile, 'functions' | 'environments'>,
  snapshot: () => Promise<readonly BrokerStats[]>,
  deadline: number,
): Promise<void> {
  let stats: readonly BrokerStats[] | undefined;
  let failure: unknown;
  const longFrom = now() + SHORT_MS;
  for (let delay = 0; ; delay = now() < longFrom ? SHORT_DELAY_MS : LONG_DELAY_MS) {
    const missing = missingOf(profile(), stats ?? [], stats !== undefined && failure === undefined);
    if (missing.length === 0) return;
    const left = deadline - now();
    if (left <= 0) throw new GatewayError('UNAVAILABLE', missing.join('; '), failure);
    if (delay > 0) await new Promise(done => setTimeout(done, Math.min(delay, left)));
    try {
      stats = await before(deadline, snapshot());
      failure = undefined;
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      // what was asked for in the last moment tells nothing new
      if (error !== LATE || stats === undefined) failure = error;
    }
  }
}

function missingOf(
  profile: Pick<Profile, 'functions' | 'environments'>,
  stats: readonly BrokerStats[],
  isNew: boolean,
): string[] {
  const known = new Map(stats.flatMap(item => (item.inspector === true ? [] : [[item.name ?? '', item]])));
  return profile.functions.flatMap(item => {
    const { name, worker: { reservationCount = 0 } = {} } = item;
    const broker = known.get(name);
    const count = broker?.activeWorkerCount ?? 0;
    if (count >= reservationCount) return [];
    // a control plane has none of a function whose workers have all failed to start
    const isStuck = isNew && (broker === undefined || broker.initiatingWorkerCount === 0);
    const why = isStuck ? `, and none is starting${reasonOf(environmentBytes(profile, item))}` : '';
    return [`function ${JSON.stringify(name)}: ${count} of ${reservationCount} reserved workers active${why}`];
  });
}

/** Why a worker cannot start, as far as one can tell from here: the control plane writes it into its log alone. */
function reasonOf(bytes: number): string {
  if (bytes <= MAX_ENVIRONMENT_BYTES) return ": the control plane's log says why";
  return `: its environment has ${bytes} bytes, expected at most ${MAX_ENVIRONMENT_BYTES}`;
}

/** A control plane that hangs must not make us wait beyond the deadline. */
async function before<T>(deadline: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const fail = (): void => reject(LATE);
    timer = setTimeout(fail, Math.max(0, deadline - now()));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
