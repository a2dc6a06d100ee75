import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import type { FunctionProfile } from '../profile.ts';

/** What a control plane's `WorkerStatsSnapshotResponse` says of one function; what is absent is 0 or false. */
export interface BrokerStats {
  readonly name?: string | undefined;
  /** Its workers are for a debugger and serve no invocation. */
  readonly inspector?: boolean | undefined;
  readonly activeWorkerCount?: number | undefined;
}

/** A worker of the nodejs runtime takes 180 to 290 ms to start, a seeded aworker far less. */
const FIRST_DELAY_MS = 20;
const LONGEST_DELAY_MS = 250;

/**
 * Resolves when every function has as many active workers as its `worker.reservationCount`.
 *
 * `snapshot` is asked again and again. One that fails is asked again too, since the control plane may
 * just be restarting, unless it fails with a GatewayError: that one ends the wait.
 *
 * @param functions - as they are now: they may change in the meantime.
 * @param deadline - a moment of `now()`.
 * @throws {GatewayError} rejected: UNAVAILABLE at the deadline, with what is missing; `cause` is the
 *   failure of the last snapshot, if it failed.
 */
export async function untilWarm(
  functions: () => readonly FunctionProfile[],
  snapshot: () => Promise<readonly BrokerStats[]>,
  deadline: number,
): Promise<void> {
  let stats: readonly BrokerStats[] = [];
  let failure: unknown;
  for (let delay = 0; ; delay = Math.min(delay * 2 || FIRST_DELAY_MS, LONGEST_DELAY_MS)) {
    const missing = missingOf(functions(), stats);
    if (missing.length === 0) return;
    const left = deadline - now();
    if (left <= 0) throw new GatewayError('UNAVAILABLE', missing.join('; '), failure);
    if (delay > 0) await new Promise(done => setTimeout(done, Math.min(delay, left)));
    try {
      stats = await before(deadline, snapshot());
      failure = undefined;
    } catch (error) {
      if (error instanceof GatewayError) throw error;
      failure = error;
    }
  }
}

function missingOf(functions: readonly FunctionProfile[], stats: readonly BrokerStats[]): string[] {
  const active = new Map(
    stats.flatMap(({ name = '', inspector, activeWorkerCount = 0 }) =>
      inspector === true ? [] : [[name, activeWorkerCount]],
    ),
  );
  return functions.flatMap(({ name, worker }) => {
    const count = active.get(name) ?? 0;
    const wanted = worker?.reservationCount ?? 0;
    return count < wanted ? [`function ${JSON.stringify(name)}: ${count} of ${wanted} reserved workers active`] : [];
  });
}

/** A control plane that hangs must not make us wait beyond the deadline. */
async function before<T>(deadline: number, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const fail = (): void => reject(new Error('no snapshot by the deadline'));
    timer = setTimeout(fail, Math.max(0, deadline - now()));
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
