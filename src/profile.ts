import type { Infer, Schema } from './schema.ts';

/** Noslate's defaults of a worker, where a profile says nothing. */
export const WORKER_DEFAULTS = {
  initializationTimeout: 10_000,
  maxActivateRequests: 10,
  reservationCount: 0,
  replicaCountLimit: 10,
} as const;

/** Noslate's default memory of a worker, bytes. */
export const DEFAULT_MEMORY = 512 * 1024 * 1024;

type Properties = Readonly<Record<string, Schema | false>>;

const object = <const P extends Properties, const R extends readonly (keyof P & string)[] = []>(
  properties: P,
  ...required: R
) => ({ type: 'object', properties, required, additionalProperties: false }) as const;

/** With this value of a property, others are asked for, or must be absent. */
const when = (property: string, value: string, properties: Properties, ...required: string[]): Schema => ({
  if: { type: 'object', properties: { [property]: { const: value } }, required: [property] },
  // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword, never awaited
  then: { type: 'object', properties, required },
});

const count = { type: 'integer', minimum: 0 } as const;
const positive = { type: 'integer', minimum: 1 } as const;
const name = { type: 'string', minLength: 1 } as const;
const string = { type: 'string' } as const;
const strings = { type: 'array', items: string } as const;
const boolean = { type: 'boolean' } as const;
const number = { type: 'number' } as const;
const off = { ...boolean, default: false } as const;

const environments = {
  type: 'array',
  items: object({ key: { ...string, pattern: '^[^=\\u0000]+$', examples: ['STAGE'] }, value: string }, 'key', 'value'),
} as const;

const worker = object({
  initializationTimeout: {
    ...count,
    maximum: 2 ** 31 - 1,
    default: WORKER_DEFAULTS.initializationTimeout,
  },
  maxActivateRequests: {
    ...positive,
    default: WORKER_DEFAULTS.maxActivateRequests,
  },
  reservationCount: { ...count, default: WORKER_DEFAULTS.reservationCount },
  replicaCountLimit: { ...positive, default: WORKER_DEFAULTS.replicaCountLimit },
  fastFailRequestsOnStarting: off,
  disableRequestQueue: off,
  disposable: off,
  disableSeed: off,
  v8Options: strings,
  execArgv: strings,
  shrinkStrategy: { ...string, enum: ['LCC', 'FILO', 'FIFO'], default: 'LCC' },
  dispatchMode: { ...string, enum: ['least-request-count', 'round-robin'], default: 'least-request-count' },
  concurrencyStatsMode: { ...string, enum: ['instant', 'periodic_max', 'periodic_avg'], default: 'instant' },
  concurrencySlidingWindowSize: { ...count, default: 60000 },
  concurrencySlidingBucketCount: { ...count, default: 6 },
  emaConcurrencyAlpha: { ...number, default: 0.5 },
  concurrencyExpandThreshold: { ...number, default: 0.7 },
  concurrencyShrinkThreshold: { ...number, default: 0.3 },
  expandCooldown: { ...count, default: 1000 },
  shrinkCooldown: { ...count, default: 60000 },
  scaleFactor: { ...number, default: 0.5 },
  precisionZeroThreshold: { ...number, default: 0.01 },
  shrinkCooldownOnStartup: { ...boolean, default: true },
});

const HANDLER = { ...string, pattern: '^[^.]+\\.[^.]+$', examples: ['index.handler'] } as const;

const resourceLimit = object({
  memory: { ...positive, maximum: 2 ** 31 - 1, default: DEFAULT_MEMORY },
  cpu: { ...number, exclusiveMinimum: 0, maximum: 1 },
});

/** The table of one function. */
export const FUNCTION_SCHEMA = {
  ...object(
    {
      name,
      runtime: { ...string, enum: ['nodejs', 'aworker'] },
      url: name,
      signature: string,
      handler: HANDLER,
      initializer: HANDLER,
      sourceFile: name,
      resourceLimit,
      worker,
      environments,
      rateLimit: object({ maxTokenCount: count, tokensPerFill: count, fillInterval: count }),
      namespace: string,
    },
    'name',
    'runtime',
    'url',
    'signature',
  ),
  allOf: [
    when('runtime', 'nodejs', { handler: HANDLER, sourceFile: false }, 'handler'),
    when('runtime', 'aworker', { sourceFile: name, initializer: false }, 'sourceFile'),
  ],
} as const satisfies Schema;

const selector = object({ functionName: name }, 'functionName');

const selectors = {
  type: 'array',
  minItems: 1,
  items: object(
    {
      selector,
      proportion: { ...number, minimum: 0, maximum: 1 },
    },
    'selector',
    'proportion',
  ),
} as const satisfies Schema;

const serviceProfile = {
  ...object(
    {
      name,
      type: { ...string, enum: ['default', 'proportional-load-balance'] },
      selector,
      selectors,
    },
    'name',
    'type',
  ),
  allOf: [
    when('type', 'default', { selector, selectors: false }, 'selector'),
    when('type', 'proportional-load-balance', { selectors, selector: false }, 'selectors'),
  ],
} as const satisfies Schema;

const route = {
  ...object({
    path: {
      ...string,
      pattern: '^/',
      examples: ['/todos/:id'],
    },
    host: name,
    method: { ...string, pattern: '^[A-Z]+$', examples: ['GET'] },
    event: boolean,
    fcFunction: name,
    function: name,
    service: name,
  }),
  oneOf: [{ required: ['function'] }, { required: ['service'] }],
} as const satisfies Schema;

/** The table of `noslate.json`: it checks the file, types it, and is the bones of `noslate.schema.json`. */
export const PROFILE_SCHEMA = object({
  $schema: string,
  functions: { type: 'array', items: FUNCTION_SCHEMA },
  services: { type: 'array', items: serviceProfile },
  routes: { type: 'array', items: route },
  dispatchHeader: {
    ...string,
    pattern: "^[!#$%&'*+.^_`|~0-9a-zA-Z\\-]+$",
    examples: ['x-noslated-dispatch'],
  },
  environments,
  credentials: { type: 'array', items: name },
});

/** What Noslate takes for the settings of a function that its profile leaves out. */
export const FUNCTION_DEFAULTS = {
  resourceLimit: defaultsOf(resourceLimit.properties),
  worker: defaultsOf(worker.properties),
} as const;

/** One function, as Noslate's `setFunctionProfile` takes it: what is absent stays absent. */
export type FunctionProfile = Infer<typeof FUNCTION_SCHEMA>;

/**
 * One service, as Noslate's `setServiceProfile` takes it. `default` has `selector` alone,
 * `proportional-load-balance` has `selectors` alone, and each names a function of the file.
 */
export type ServiceProfile = Infer<typeof serviceProfile>;

/** One entry of `routes`: it has either `function` or `service`. */
export type Route = Infer<typeof route>;

/** An environment variable. */
export type KeyValuePair = Infer<typeof environments.items>;

/** A checked `noslate.json`. Each function's `url` is absolute. */
export interface Profile {
  readonly functions: readonly FunctionProfile[];
  readonly services: readonly ServiceProfile[];
  readonly routes: readonly Route[];
  readonly environments: readonly KeyValuePair[];
  /** Lower case. */
  readonly dispatchHeader?: string;
  /** Functions that are given the credentials that FC gives the instance; no other is. */
  readonly credentials?: readonly string[];
}

/** What is served without a `noslate.json`. */
export const EMPTY_PROFILE: Profile = { functions: [], services: [], routes: [], environments: [] };

function defaultsOf(properties: Readonly<Record<string, Schema>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).flatMap(([key, item]) => (item.default === undefined ? [] : [[key, item.default]])),
  );
}
