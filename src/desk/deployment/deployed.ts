import type { Flavour, FunctionOptions, Hook } from '../fc/settings.ts';

/** A trigger, as far as it is of use here. */
export interface Trigger {
  readonly name: string;
  /** As 3.0 has it: `http`, `timer`, `oss`, `log`, … */
  readonly type: string;
  /** Of an HTTP trigger. */
  readonly methods?: readonly string[];
  /** `anonymous` or `function`, of an HTTP trigger. */
  readonly authType?: string;
  /** When a timer fires: a cron expression or `@every 4m`. */
  readonly schedule?: string;
  /** What a timer brings along. */
  readonly payload?: string;
}

/** What a file says of a function, in the words of its settings. What it does not say is not there. */
export interface Deployed {
  flavour: Flavour;
  name?: string;
  /** 2.0 only. */
  service?: string;
  region?: string;
  role: boolean;
  memory?: number;
  cpu?: number;
  timeout: number;
  instanceConcurrency?: number;
  environment: Readonly<Record<string, string>>;
  initializer?: Hook;
  /** 2.0 only. */
  preFreeze?: Hook;
  preStop?: Hook;
  healthCheck?: NonNullable<FunctionOptions['healthCheck']>;
  port?: number;
  /** 3.0 only. */
  sessionAffinity?: NonNullable<FunctionOptions['sessionAffinity']>;
  asyncRetries?: number;
  asyncMaxAge?: number;
  triggers: readonly Trigger[];
}

/** FC's default of all hooks and of a function, s. @see FC contract §6 */
export const DEFAULT_SECONDS = 3;

/** Puts a value where there is one. */
export function put<T extends object, K extends keyof T>(target: T, key: K, value: T[K] | undefined): void {
  if (value !== undefined) target[key] = value;
}
