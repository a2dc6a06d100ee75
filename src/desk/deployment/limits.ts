/** A number as FC allows it. */
export interface Range {
  readonly min: number;
  readonly max: number;
  /** What it must be a multiple of. */
  readonly step?: number;
}

const range = (min: number, max: number, step?: number): Range => ({ min, max, ...(step !== undefined && { step }) });

/** FC's limits of what a deployment says, in its words. @see FC contract §1.2, §6 */
export const DEPLOYMENT_LIMITS = {
  memorySize: range(128, 32_768, 64),
  cpu: range(0.05, 16, 0.05),
  timeout: range(1, 86_400, 1),
  instanceConcurrency: range(1, 200, 1),
  initializer: range(1, 300, 1),
  hook: range(1, 86_400, 1),
  port: range(1, 65_535, 1),
  initialDelaySeconds: range(0, 120, 1),
  periodSeconds: range(1, 120, 1),
  timeoutSeconds: range(1, 3, 1),
  failureThreshold: range(1, 120, 1),
  successThreshold: range(1, 120, 1),
  maxAsyncRetryAttempts: range(0, 8, 1),
  maxAsyncEventAgeInSeconds: range(1, 2_592_000, 1),
  sessionConcurrencyPerInstance: range(1, 200, 1),
  sessionTTLInSeconds: range(1, 21_600, 1),
  sessionIdleTimeoutInSeconds: range(0, 21_600, 1),
} as const satisfies Record<string, Range>;

/** Characters of a health check's path. */
export const MAX_HEALTH_URL = 2048;

/** Bytes of all variables, names and values. */
export const MAX_ENVIRONMENT_BYTES = 4096;

/** GB of memory that go with one vCPU. */
export const MEMORY_PER_CPU = range(1, 4);

/** What is the matter with a number; undefined if nothing is. */
export function outside(value: number, { min, max, step }: Range): string | undefined {
  // 0.15 is no multiple of 0.05 in binary
  const isMultiple = step === undefined || Math.abs(value / step - Math.round(value / step)) < 1e-9;
  if (value >= min && value <= max && isMultiple) return undefined;
  const kind = step === undefined ? 'a number' : step === 1 ? 'a whole number' : `a multiple of ${step}`;
  return `expected ${kind} from ${min} to ${max}`;
}
