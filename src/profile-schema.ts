import { PROFILE_SCHEMA } from './profile.ts';
import type { Schema } from './schema.ts';

/** What editors say of the fields of `noslate.json`, by their paths. Not in `profile.ts`: the server has no use for it. */
const DESCRIPTIONS: Readonly<Record<string, string>> = {
  functions: "Noslate's function profiles",
  'functions[].url': 'folder with the code: a path relative to this file, or a file:// or http(s):// URL',
  'functions[].signature': 'version of the code; avoid "/"',
  'functions[].handler': 'nodejs: FILE.EXPORT, e.g. index.handler',
  'functions[].initializer': 'nodejs: FILE.EXPORT, run once per worker before its first request',
  'functions[].sourceFile': 'aworker: the script',
  'functions[].resourceLimit.memory': 'bytes',
  'functions[].worker.initializationTimeout': 'ms',
  'functions[].worker.maxActivateRequests': 'requests that one worker runs at a time',
  'functions[].worker.reservationCount': 'workers kept warm',
  'functions[].worker.replicaCountLimit': 'workers',
  'functions[].worker.disposable': 'one request per worker',
  'functions[].worker.concurrencySlidingWindowSize': 'ms',
  'functions[].worker.expandCooldown': 'ms',
  'functions[].worker.shrinkCooldown': 'ms',
  'functions[].rateLimit.fillInterval': 'ms',
  services: "Noslate's service profiles",
  'services[]': 'A name for a function, or for several that share its calls.',
  'services[].selector': 'default: the function',
  'services[].selector.functionName': 'a name from functions',
  'services[].selectors': 'proportional-load-balance: the functions and their shares',
  'services[].selectors[].selector.functionName': 'a name from functions',
  'services[].selectors[].proportion': 'share of the calls; the last takes the rest',
  'routes[]': 'Matches when all of its conditions do; routes are tried in order.',
  'routes[].path': 'exact, with :param segments, or ending in *',
  'routes[].host': 'without port',
  'routes[].event': 'true: event calls only; false: HTTP triggers only',
  'routes[].fcFunction': 'x-fc-function-name',
  'routes[].function': 'a name from functions, or :param to take it from the path',
  'routes[].service': 'a name from services, or :param to take it from the path',
  dispatchHeader: 'request header that names the function or service; any client can set it',
  environments: 'for every function',
  credentials: "functions that are given FC's temporary credentials, as header fields",
};

/**
 * What is written out as `noslate.schema.json`.
 *
 * @throws {Error} for a description whose path the table does not have.
 */
export function profileSchema(): Schema {
  const left = new Set(Object.keys(DESCRIPTIONS));
  function describe({ properties, items, ...schema }: Schema, path: string): Schema {
    left.delete(path);
    const description = DESCRIPTIONS[path];
    const entries = Object.entries(properties ?? {}).map(([key, property]) => [
      key,
      property === false ? false : describe(property, path === '' ? key : `${path}.${key}`),
    ]);
    return {
      ...(description !== undefined && { description }),
      ...schema,
      ...(properties !== undefined && { properties: Object.fromEntries(entries) }),
      ...(items !== undefined && { items: describe(items, `${path}[]`) }),
    };
  }
  const described = describe(PROFILE_SCHEMA, '');
  if (left.size > 0) throw new Error(`no such fields: ${[...left].join(', ')}`);
  return described;
}
