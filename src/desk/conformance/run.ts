import { now } from '../../clock.ts';
import { createPlatform, type Platform } from '../fc/platform.ts';
import type { Flavour, FunctionOptions } from '../fc/settings.ts';
import { CALLS } from './calls.ts';
import { type Check, type Context, within } from './check.ts';
import { LIFE } from './life.ts';
import { FLOWS } from './streams.ts';

/** All of them, in the order of an instance's life. */
export const CHECKS: readonly Check[] = [...LIFE, ...CALLS, ...FLOWS];

/** The server under test. */
export interface Subject {
  readonly command: readonly string[];
  /** Where it runs: here unless told. */
  readonly cwd?: string;
  readonly environment?: Readonly<Record<string, string>>;
}

/** How a check went. */
export interface Result {
  readonly check: Check;
  /** Why it failed; undefined if it did not. */
  readonly failure: string | undefined;
  readonly ms: number;
}

/** Longest time of one check. */
const CHECK_MS = 120_000;
/** Longest time of a start or an end of instances; each step has less from FC. */
const SCALE_MS = 120_000;
/** They wait more than they compute. */
const AT_A_TIME = 5;

/**
 * Runs checks against a server, several at a time.
 *
 * @param tell - is given each result as it comes.
 */
export async function runChecks(
  subject: Subject,
  flavour: Flavour,
  checks: readonly Check[],
  tell: (result: Result) => void,
): Promise<readonly Result[]> {
  const make = (options: Partial<FunctionOptions>): Platform =>
    createPlatform({
      flavour,
      timeout: 30,
      // a check waits no longer
      startTimeout: 12,
      ...options,
      command: subject.command,
      ...(subject.cwd !== undefined && { cwd: subject.cwd }),
      environment: { ...subject.environment, ...options.environment },
      switches: { stopGrace: 5, ...options.switches },
    });
  const shared = make({ instanceConcurrency: 200, initializer: { timeout: 10 }, maxInstances: 1 });
  // one that cannot start fails the checks that need it, each with the reason
  await within(SCALE_MS, shared.scale(1), 'an instance').catch(() => {});

  async function one(check: Check): Promise<Result> {
    const own: Platform[] = [];
    const context: Context = {
      flavour,
      shared,
      platform(options = {}) {
        const platform = make(options);
        own.push(platform);
        return platform;
      },
    };
    const begun = now();
    let failure: string | undefined;
    const attempt = async (ms: number, work: Promise<unknown>, what: string): Promise<void> => {
      try {
        await within(ms, work, what);
      } catch (error) {
        failure ??= error instanceof Error ? error.message : String(error);
      }
    };
    await attempt(CHECK_MS, check.run(context), 'the check to end');
    const ms = Math.round(now() - begun);
    for (const platform of own) for (const instance of platform.instances()) instance.thaw();
    await attempt(SCALE_MS, Promise.all(own.map(platform => platform.stop())), 'its instances to end');
    const result = { check, failure, ms };
    tell(result);
    return result;
  }

  const results: Result[] = [];
  const known = checks.filter(check => check.flavour === undefined || check.flavour === flavour);
  const run = async (queue: Check[], atATime: number): Promise<void> => {
    const work = async (): Promise<void> => {
      for (let check = queue.shift(); check !== undefined; check = queue.shift()) results.push(await one(check));
    };
    await Promise.all(Array.from({ length: atATime }, work));
  };
  await run(
    known.filter(({ alone }) => alone !== true),
    AT_A_TIME,
  );
  await run(
    known.filter(({ alone }) => alone === true),
    1,
  );
  await within(SCALE_MS, shared.stop(), 'the shared instance to end');
  return results;
}
