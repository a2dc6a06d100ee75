import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { ConfigError } from './errors.ts';
import { check, type Infer, type Schema, show } from './schema.ts';
import { targetOf } from './target.ts';

/** Noslate's defaults of a worker, where a profile says nothing. */
export const WORKER_DEFAULTS = {
  initializationTimeout: 10_000,
  maxActivateRequests: 10,
  reservationCount: 0,
  replicaCountLimit: 10,
} as const;

/** Noslate's default memory of a worker, bytes. */
export const DEFAULT_MEMORY = 512 * 1024 * 1024;

const count = { type: 'integer', minimum: 0 } as const;
const name = { type: 'string', minLength: 1 } as const;
const strings = { type: 'array', items: { type: 'string' } } as const;
const environments = {
  type: 'array',
  items: {
    type: 'object',
    properties: { key: { type: 'string', pattern: '^[^=\\u0000]+$', examples: ['STAGE'] }, value: { type: 'string' } },
    required: ['key', 'value'],
    additionalProperties: false,
  },
} as const;

const worker = {
  type: 'object',
  properties: {
    initializationTimeout: {
      ...count,
      maximum: 2 ** 31 - 1,
      default: WORKER_DEFAULTS.initializationTimeout,
      description: 'ms',
    },
    maxActivateRequests: {
      type: 'integer',
      minimum: 1,
      default: WORKER_DEFAULTS.maxActivateRequests,
      description: 'requests that one worker runs at a time',
    },
    reservationCount: { ...count, default: WORKER_DEFAULTS.reservationCount, description: 'workers kept warm' },
    replicaCountLimit: {
      type: 'integer',
      minimum: 1,
      default: WORKER_DEFAULTS.replicaCountLimit,
      description: 'workers',
    },
    fastFailRequestsOnStarting: { type: 'boolean', default: false },
    disableRequestQueue: { type: 'boolean', default: false },
    disposable: { type: 'boolean', default: false, description: 'one request per worker' },
    disableSeed: { type: 'boolean', default: false },
    v8Options: strings,
    execArgv: strings,
    shrinkStrategy: { type: 'string', enum: ['LCC', 'FILO', 'FIFO'], default: 'LCC' },
    dispatchMode: { type: 'string', enum: ['least-request-count', 'round-robin'], default: 'least-request-count' },
    concurrencyStatsMode: { type: 'string', enum: ['instant', 'periodic_max', 'periodic_avg'], default: 'instant' },
    concurrencySlidingWindowSize: { ...count, default: 60000, description: 'ms' },
    concurrencySlidingBucketCount: { ...count, default: 6 },
    emaConcurrencyAlpha: { type: 'number', default: 0.5 },
    concurrencyExpandThreshold: { type: 'number', default: 0.7 },
    concurrencyShrinkThreshold: { type: 'number', default: 0.3 },
    expandCooldown: { ...count, default: 1000, description: 'ms' },
    shrinkCooldown: { ...count, default: 60000, description: 'ms' },
    scaleFactor: { type: 'number', default: 0.5 },
    precisionZeroThreshold: { type: 'number', default: 0.01 },
    shrinkCooldownOnStartup: { type: 'boolean', default: true },
  },
  additionalProperties: false,
} as const satisfies Schema;

const HANDLER = { type: 'string', pattern: '^[^.]+\\.[^.]+$', examples: ['index.handler'] } as const;

const functionProfile = {
  type: 'object',
  properties: {
    name,
    runtime: { type: 'string', enum: ['nodejs', 'aworker'] },
    url: { ...name, description: 'folder with the code: a path relative to this file, or a file:// or http(s):// URL' },
    signature: { type: 'string', description: 'version of the code; avoid "/"' },
    handler: { ...HANDLER, description: 'nodejs: FILE.EXPORT, e.g. index.handler' },
    initializer: { ...HANDLER, description: 'nodejs: FILE.EXPORT, run once per worker before its first request' },
    sourceFile: { ...name, description: 'aworker: the script' },
    resourceLimit: {
      type: 'object',
      properties: {
        memory: { type: 'integer', minimum: 1, maximum: 2 ** 31 - 1, default: DEFAULT_MEMORY, description: 'bytes' },
        cpu: { type: 'number', exclusiveMinimum: 0, maximum: 1 },
      },
      additionalProperties: false,
    },
    worker,
    environments,
    rateLimit: {
      type: 'object',
      properties: { maxTokenCount: count, tokensPerFill: count, fillInterval: { ...count, description: 'ms' } },
      additionalProperties: false,
    },
    namespace: { type: 'string' },
  },
  required: ['name', 'runtime', 'url', 'signature'],
  additionalProperties: false,
  allOf: [
    {
      if: { type: 'object', properties: { runtime: { const: 'nodejs' } }, required: ['runtime'] },
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword, never awaited
      then: { type: 'object', properties: { handler: HANDLER, sourceFile: false }, required: ['handler'] },
    },
    {
      if: { type: 'object', properties: { runtime: { const: 'aworker' } }, required: ['runtime'] },
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword, never awaited
      then: { type: 'object', properties: { sourceFile: name, initializer: false }, required: ['sourceFile'] },
    },
  ],
} as const satisfies Schema;

const selector = {
  type: 'object',
  properties: { functionName: { ...name, description: 'a name from functions' } },
  required: ['functionName'],
  additionalProperties: false,
} as const satisfies Schema;

const selectors = {
  type: 'array',
  minItems: 1,
  items: {
    type: 'object',
    properties: {
      selector,
      proportion: {
        type: 'number',
        minimum: 0,
        maximum: 1,
        description: 'share of the calls; the last takes the rest',
      },
    },
    required: ['selector', 'proportion'],
    additionalProperties: false,
  },
} as const satisfies Schema;

const serviceProfile = {
  type: 'object',
  description: 'A name for a function, or for several that share its calls.',
  properties: {
    name,
    type: { type: 'string', enum: ['default', 'proportional-load-balance'] },
    selector: { ...selector, description: 'default: the function' },
    selectors: { ...selectors, description: 'proportional-load-balance: the functions and their shares' },
  },
  required: ['name', 'type'],
  additionalProperties: false,
  allOf: [
    {
      if: { type: 'object', properties: { type: { const: 'default' } }, required: ['type'] },
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword, never awaited
      then: { type: 'object', properties: { selector, selectors: false }, required: ['selector'] },
    },
    {
      if: { type: 'object', properties: { type: { const: 'proportional-load-balance' } }, required: ['type'] },
      // biome-ignore lint/suspicious/noThenProperty: JSON Schema's keyword, never awaited
      then: { type: 'object', properties: { selectors, selector: false }, required: ['selectors'] },
    },
  ],
} as const satisfies Schema;

const route = {
  type: 'object',
  description: 'Matches when all of its conditions do; routes are tried in order.',
  properties: {
    path: {
      type: 'string',
      pattern: '^/',
      examples: ['/todos/:id'],
      description: 'exact, with :param segments, or ending in *',
    },
    host: { ...name, description: 'without port' },
    method: { type: 'string', pattern: '^[A-Z]+$', examples: ['GET'] },
    event: { type: 'boolean', description: 'true: event calls only; false: HTTP triggers only' },
    fcFunction: { ...name, description: 'x-fc-function-name' },
    function: { ...name, description: 'a name from functions, or :param to take it from the path' },
    service: { ...name, description: 'a name from services, or :param to take it from the path' },
  },
  additionalProperties: false,
  oneOf: [{ required: ['function'] }, { required: ['service'] }],
} as const satisfies Schema;

/** The table of `noslate.json`: it checks the file, types it, and is written out as `noslate.schema.json`. */
export const PROFILE_SCHEMA = {
  type: 'object',
  properties: {
    $schema: { type: 'string' },
    functions: { type: 'array', items: functionProfile, description: "Noslate's function profiles" },
    services: { type: 'array', items: serviceProfile, description: "Noslate's service profiles" },
    routes: { type: 'array', items: route },
    dispatchHeader: {
      type: 'string',
      pattern: "^[!#$%&'*+.^_`|~0-9a-zA-Z\\-]+$",
      examples: ['x-noslated-dispatch'],
      description: 'request header that names the function or service; any client can set it',
    },
    environments: { ...environments, description: 'for every function' },
  },
  additionalProperties: false,
} as const satisfies Schema;

/** What Noslate takes for the settings of a function that its profile leaves out. */
export const FUNCTION_DEFAULTS = {
  resourceLimit: defaultsOf(functionProfile.properties.resourceLimit.properties),
  worker: defaultsOf(worker.properties),
} as const;

/** One function, as Noslate's `setFunctionProfile` takes it: what is absent stays absent. */
export type FunctionProfile = Infer<typeof functionProfile>;

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
}

/** What is served without a `noslate.json`. */
export const EMPTY_PROFILE: Profile = { functions: [], services: [], routes: [], environments: [] };

/**
 * Reads and checks a `noslate.json`.
 *
 * @throws {ConfigError} for a file that is missing, not JSON, or has faults: one problem per fault.
 */
export function loadProfile(file: string): Profile {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError([
      `${file}: ${(error as NodeJS.ErrnoException).code === 'ENOENT' ? 'no such file' : (error as Error).message}`,
    ]);
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new ConfigError([`${file}: not JSON: ${(error as Error).message}`]);
  }
  const faults = check(value, PROFILE_SCHEMA);
  if (faults.length > 0) throw new ConfigError(faults.map(fault => `${file}: ${fault}`));

  const {
    functions = [],
    services = [],
    routes = [],
    environments = [],
    dispatchHeader,
  } = value as Infer<typeof PROFILE_SCHEMA>;
  const conflicts = [
    ...badUrls(functions),
    ...duplicates('functions', functions),
    ...duplicates('services', services),
    ...unselectable(services, functions),
    ...dangling(routes, functions, services),
    ...reserved(environments),
  ];
  if (conflicts.length > 0) throw new ConfigError(conflicts.map(conflict => `${file}: ${conflict}`));

  return {
    functions: functions.map(item => ({ ...item, url: absoluteUrl(item.url, dirname(resolve(file))) })),
    services,
    routes,
    environments,
    ...(dispatchHeader === undefined ? {} : { dispatchHeader: dispatchHeader.toLowerCase() }),
  };
}

function defaultsOf(properties: Readonly<Record<string, Schema>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.entries(properties).flatMap(([key, item]) => (item.default === undefined ? [] : [[key, item.default]])),
  );
}

const SCHEME = /^([a-z][a-z0-9+.-]+):\/\//i;

function absoluteUrl(url: string, base: string): string {
  return SCHEME.test(url) ? url : pathToFileURL(resolve(base, url)).href;
}

function badUrls(functions: readonly FunctionProfile[]): string[] {
  return functions.flatMap(({ url }, i) => {
    const scheme = SCHEME.exec(url)?.[1]?.toLowerCase();
    if (scheme === undefined || scheme === 'http' || scheme === 'https' || isFileUrl(url)) return [];
    return [`functions[${i}].url: expected a path, file:///PATH or http(s)://..., got ${show(url)}`];
  });
}

function isFileUrl(url: string): boolean {
  try {
    return fileURLToPath(url) !== '';
  } catch {
    return false;
  }
}

function duplicates(key: string, items: readonly { readonly name: string }[]): string[] {
  const seen = new Map<string, number>();
  const faults: string[] = [];
  for (const [i, { name }] of items.entries()) {
    const first = seen.get(name);
    if (first === undefined) seen.set(name, i);
    else faults.push(`${key}[${i}].name: ${show(name)} is the name of ${key}[${first}] already`);
  }
  return faults;
}

function unselectable(services: readonly ServiceProfile[], functions: readonly FunctionProfile[]): string[] {
  const names = new Set(functions.map(({ name }) => name));
  return services.flatMap(({ selector, selectors = [] }, i) => {
    const selected: [string, string][] = selectors.map((item, j) => [
      `selectors[${j}].selector`,
      item.selector.functionName,
    ]);
    if (selector !== undefined) selected.push(['selector', selector.functionName]);
    return selected
      .filter(([, name]) => !names.has(name))
      .map(([at, name]) => `services[${i}].${at}.functionName: expected a name from functions, got ${show(name)}`);
  });
}

function dangling(
  routes: readonly Route[],
  functions: readonly FunctionProfile[],
  services: readonly ServiceProfile[],
): string[] {
  const known = { function: functions, service: services };
  return routes.flatMap((route, i) => {
    const { type, name } = targetOf(route);
    const { path = '' } = route;
    const at = `routes[${i}].${type}`;
    if (name.startsWith(':')) {
      if (path.split('/').includes(name)) return [];
      return [`${at}: expected a parameter of the path ${show(path)}, got ${show(name)}`];
    }
    if (known[type].some(item => item.name === name)) return [];
    return [`${at}: expected a name from ${type}s, got ${show(name)}`];
  });
}

function reserved(environments: readonly KeyValuePair[]): string[] {
  return environments.flatMap(({ key }, i) =>
    /^NOSLATED?_/.test(key)
      ? [`environments[${i}].key: ${show(key)} is reserved, expected no NOSLATE_ or NOSLATED_ prefix`]
      : [],
  );
}
