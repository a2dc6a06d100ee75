// One table of all settings, and long for that.
import { existsSync } from 'node:fs';
import { MAX_SECONDS } from './headers.ts';
import type { LogMode } from './log.ts';
import { nearest } from './nearest.ts';
import { show } from './schema.ts';
import { SAMPLERS } from './trace.ts';

/** What a setting may be. */
interface Allowed<T> {
  /** Undefined for text that is not allowed. @param source - the variable or flag that it comes from. */
  parse(text: string, source: string): T | undefined;
  /** The words for what is allowed. */
  expects: string;
}

/** One setting: where it comes from, what it may be, what it is otherwise, what it means. */
interface Variable<T> extends Allowed<T> {
  /** Environment variables in the order they are looked at. A `SERVER_*` one is a flag too. */
  env: readonly [string, ...string[]];
  default: T | undefined;
  /** The default where clients reach the server themselves, if it is another. */
  exposed?: T;
  /** Neither the value nor what is no value is shown. */
  isSecret?: true;
  /** The default in words, where it depends on the surroundings. */
  otherwise?: string;
  meaning: string;
}

const text: Allowed<string> = { parse: value => value, expects: 'text' };

const path: Allowed<string> = {
  parse: value => (/^\/[^\s?#]*$/.test(value) ? value : undefined),
  expects: 'a path that starts with "/"',
};

const whole = (min: number, max: number): Allowed<number> => ({
  parse: value => (/^\d+$/.test(value) && Number(value) >= min && Number(value) <= max ? Number(value) : undefined),
  expects: `a whole number from ${min} to ${max}`,
});

const oneOf = <const T extends string>(...values: T[]): Allowed<T> => ({
  parse: value => values.find(item => item === value),
  expects: values.join(', '),
});

const toggle: Allowed<'on' | 'off'> = {
  parse: value => (value === 'on' || value === '1' ? 'on' : value === 'off' || value === '0' ? 'off' : undefined),
  expects: 'on or 1, off or 0',
};

/** @see OpenTelemetry Protocol Exporter, "Endpoint URLs for OTLP/HTTP" */
const collector: Allowed<URL> = {
  parse(value, source) {
    try {
      const url = new URL(value);
      if (!source.includes('TRACES')) url.pathname = `${url.pathname.replace(/\/$/, '')}/v1/traces`;
      return /^https?:$/.test(url.protocol) ? url : undefined;
    } catch {
      return undefined;
    }
  },
  expects: 'an http or https URL',
};

const fields: Allowed<Readonly<Record<string, string>>> = {
  parse(value) {
    const entries = value
      .split(',')
      .filter(item => item.trim() !== '')
      .map(item => /^\s*([-!#$%&'*+.^_`|~\w]+)\s*=\s*([!-~\s]*?)\s*$/.exec(item) ?? []);
    try {
      const pairs = entries.map(([, name, text]) => [name?.toLowerCase(), decodeURIComponent(text ?? '')] as const);
      const isBad = pairs.some(([name, text]) => name === undefined || !/^[\t -~\x80-\xff]*$/.test(text));
      return isBad ? undefined : Object.fromEntries(pairs);
    } catch {
      return undefined;
    }
  },
  expects: 'NAME=VALUE,NAME=VALUE with values percent-encoded',
};

const VARIABLES = {
  port: {
    env: ['SERVER_PORT', 'FC_SERVER_PORT', 'FC_CUSTOM_LISTEN_PORT'],
    ...whole(0, 65535),
    default: 9000,
    meaning: 'CAPort, on which FC calls',
  },
  host: { env: ['SERVER_HOST'], ...text, default: '0.0.0.0', meaning: 'address to listen on' },
  agent: {
    env: ['SERVER_AGENT'],
    ...oneOf('native', 'sdk', 'local'),
    default: undefined,
    otherwise: 'native with NOSLATE_PATH or NOSLATED_WORKDIR, else local',
    meaning: 'what runs functions: native, sdk or local',
  },
  config: {
    env: ['SERVER_CONFIG'],
    ...text,
    default: undefined,
    otherwise: 'noslate.json, if present',
    meaning: 'file with functions, services and routes',
  },
  timeout: {
    env: ['SERVER_TIMEOUT'],
    ...whole(1, MAX_SECONDS),
    default: 60,
    meaning: 'seconds an invocation may take when FC sent no x-fc-function-timeout',
  },
  drainTimeout: {
    env: ['SERVER_DRAIN_TIMEOUT'],
    ...whole(0, MAX_SECONDS),
    default: 10,
    meaning: 'seconds a graceful stop may take',
  },
  maxBody: {
    env: ['SERVER_MAX_BODY'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    meaning: 'bytes of request body, 413 above; 0 is no limit',
  },
  maxConcurrency: {
    env: ['SERVER_MAX_CONCURRENCY'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    meaning: 'invocations in flight, 503 above; 0 is no limit',
  },
  maxQueue: {
    env: ['SERVER_MAX_QUEUE'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    meaning: 'invocations above that number that wait, as long as they have time; 503 above',
  },
  healthPath: {
    env: ['SERVER_HEALTH_PATH'],
    ...path,
    default: undefined,
    otherwise: 'off',
    meaning: "path that answers FC's custom health check",
  },
  readyPath: {
    env: ['SERVER_READY_PATH'],
    ...path,
    default: undefined,
    otherwise: 'off',
    meaning: "path that answers FC's custom health check: 200 when calls would be answered, else 503 and why",
  },
  adminPort: {
    env: ['SERVER_ADMIN_PORT'],
    ...whole(1, 65535),
    default: undefined,
    otherwise: 'off',
    meaning: 'port of /health, /ready, /metrics and /config, for an operator',
  },
  adminHost: {
    env: ['SERVER_ADMIN_HOST'],
    ...text,
    default: '127.0.0.1',
    meaning: 'address to listen on for an operator',
  },
  log: {
    env: ['SERVER_LOG'],
    ...oneOf('json', 'pretty', 'off'),
    default: undefined,
    otherwise: 'json; pretty for the local agent on a terminal',
    meaning: 'form of the log: json, pretty or off',
  },
  summary: {
    env: ['SERVER_SUMMARY_S'],
    ...whole(0, MAX_SECONDS),
    default: 0,
    meaning: 'seconds between summary lines of the log, besides those at /pre-freeze and at the end; 0 is none',
  },
  fcLog: {
    env: ['SERVER_FC_LOG'],
    ...toggle,
    default: 'off',
    meaning: "on: FC 2.0's marker lines around each request",
  },
  exposed: {
    env: ['SERVER_EXPOSED'],
    ...toggle,
    default: 'off',
    meaning:
      'on where clients reach the server themselves, and not by FC: sets the limits below, each of which can be set',
  },
  hooks: {
    env: ['SERVER_HOOKS'],
    ...oneOf('path', 'control-path', 'off'),
    default: 'path',
    exposed: 'off',
    meaning: "what asks for FC's hooks: the path, x-fc-control-path alone, or nothing",
  },
  headTimeout: {
    env: ['SERVER_HEAD_TIMEOUT'],
    ...whole(0, MAX_SECONDS),
    default: 0,
    exposed: 10,
    meaning: "seconds that a request's head may take, 408 above; 0 is no limit",
  },
  bodyTimeout: {
    env: ['SERVER_BODY_TIMEOUT'],
    ...whole(0, MAX_SECONDS),
    default: 0,
    exposed: 20,
    meaning: 'seconds that the next 64 KiB of a request body may take, or the rest of it, 408 above; 0 is no limit',
  },
  answerTimeout: {
    env: ['SERVER_ANSWER_TIMEOUT'],
    ...whole(0, MAX_SECONDS),
    default: 0,
    exposed: 60,
    meaning:
      'seconds for which an answer may stand, since the client takes too little for the kernel to take more; 0 is no limit',
  },
  idleTimeout: {
    env: ['SERVER_IDLE_TIMEOUT'],
    ...whole(0, MAX_SECONDS),
    default: 0,
    exposed: 60,
    meaning: 'seconds that a connection may stand without a request; 0 is no limit',
  },
  maxConnections: {
    env: ['SERVER_MAX_CONNECTIONS'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    exposed: 4096,
    meaning: 'connections at a time; 0 is no limit',
  },
  maxAddressConnections: {
    env: ['SERVER_MAX_ADDRESS_CONNECTIONS'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    exposed: 64,
    meaning: 'connections at a time of one IPv4 address or IPv6 network (/64); 0 is no limit',
  },
  maxHeaders: {
    env: ['SERVER_MAX_HEADERS'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    exposed: 100,
    meaning: 'header lines of a request, 431 above; 0 is no limit',
  },
  // 8 KiB of the client's, FC's own two dozen, and an STS token; node:http's 16 KiB would be tight
  maxHeaderBytes: {
    env: ['SERVER_MAX_HEADER_BYTES'],
    ...whole(1024, 1024 * 1024),
    default: 65_536,
    exposed: 16_384,
    meaning: "bytes of a request's head, 431 above",
  },
  maxUrl: {
    env: ['SERVER_MAX_URL'],
    ...whole(0, Number.MAX_SAFE_INTEGER),
    default: 0,
    exposed: 8192,
    meaning: "bytes of a request's target, 414 above; 0 is no limit",
  },
  timing: {
    env: ['SERVER_TIMING'],
    ...toggle,
    default: 'off',
    meaning: 'on: answers tell in Server-Timing how long they waited, and for the function',
  },
  otlpEndpoint: {
    env: ['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT', 'OTEL_EXPORTER_OTLP_ENDPOINT'],
    ...collector,
    isSecret: true,
    default: undefined,
    otherwise: 'off',
    meaning: 'URL to which spans of invocations go as JSON; behind the second, /v1/traces is put',
  },
  otlpHeaders: {
    env: ['OTEL_EXPORTER_OTLP_TRACES_HEADERS', 'OTEL_EXPORTER_OTLP_HEADERS'],
    ...fields,
    isSecret: true,
    default: undefined,
    meaning: 'header fields for the collector: NAME=VALUE,NAME=VALUE',
  },
  serviceName: { env: ['OTEL_SERVICE_NAME'], ...text, default: 'noslate-fc', meaning: "the spans' service" },
  sampler: {
    env: ['OTEL_TRACES_SAMPLER'],
    ...oneOf(...SAMPLERS),
    default: 'parentbased_always_on',
    meaning: 'who decides which traces are sampled',
  },
  samplerArg: {
    env: ['OTEL_TRACES_SAMPLER_ARG'],
    parse: (value: string) => (/^(0?\.\d+|[01](\.0*)?)$/.test(value) ? Number(value) : undefined),
    expects: 'a number from 0 to 1',
    default: 1,
    meaning: 'the share of traces that traceidratio samples',
  },
  noslatePath: { env: ['NOSLATE_PATH'], ...text, default: undefined, meaning: "Noslate's folder" },
  noslatedWorkdir: {
    env: ['NOSLATED_WORKDIR'],
    ...text,
    default: undefined,
    meaning: 'folder of socks/{dp,cp}-ID.sock',
  },
  noslateLogdir: { env: ['NOSLATE_LOGDIR'], ...text, default: undefined, meaning: "folder of the planes' logs" },
  turfWorkdir: { env: ['TURF_WORKDIR'], ...text, default: undefined, meaning: 'folder of turf.sock' },
} as const satisfies Record<string, Variable<unknown>>;

type Table = typeof VARIABLES;

/** The table's values; undefined where nothing was said and there is no default. */
type Settings = {
  [K in keyof Table]:
    | NonNullable<ReturnType<Table[K]['parse']>>
    | (Table[K]['default'] extends undefined ? undefined : never);
};

/** What the process was told to be. Frozen. Times are whole seconds, sizes bytes. */
export interface Config extends Readonly<Omit<Settings, 'agent' | 'log'>> {
  readonly agent: NonNullable<Settings['agent']>;
  readonly log: LogMode;
  /** Things that look like a mistake but do no harm, for the log. */
  readonly warnings: readonly string[];
}

/** What the command line asks for besides settings. */
export type Action = 'serve' | 'help' | 'version' | 'check' | 'doctor';

const ACTIONS: Readonly<Record<string, Action>> = {
  '--help': 'help',
  '-h': 'help',
  '--version': 'version',
  '-v': 'version',
  '--check': 'check',
  '--doctor': 'doctor',
};

/**
 * Reads the environment and the command line; a flag wins over a variable, an empty variable counts as
 * absent.
 *
 * Of `problems` there is one for each bad value or unknown flag: its key, what was given, what is allowed. With any,
 * `config` has defaults in their places, and is fit to look for further problems alone.
 *
 * @param isTerminal - whether a person reads stdout; asked only when that decides something.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  args: readonly string[],
  isTerminal: () => boolean,
): { action: Action; config: Config; problems: readonly string[] } {
  const problems: string[] = [];
  const { action, flags } = readFlags(args, problems);

  const read = (variable: Variable<unknown>, otherwise: unknown): unknown => {
    const name = flagOf(variable);
    const source = flags.has(name) ? name : variable.env.find(item => (env[item] ?? '') !== '');
    if (source === undefined) return otherwise;
    const given = flags.get(source) ?? env[source] ?? '';
    const value = variable.parse(given, source);
    if (value === undefined) {
      const got = variable.isSecret ? 'something else' : show(given);
      problems.push(`${source}: expected ${variable.expects}, got ${got}`);
    }
    return value ?? otherwise;
  };
  const isExposed = read(VARIABLES.exposed, 'off') === 'on';
  const entries = Object.entries(VARIABLES)
    .filter(([key]) => key !== 'exposed')
    .map(([key, variable]: [string, Variable<unknown>]) => {
      const otherwise = isExposed ? (variable.exposed ?? variable.default) : variable.default;
      return [key, read(variable, otherwise)];
    });

  const settings = { ...Object.fromEntries(entries), exposed: isExposed ? 'on' : 'off' } as Settings;
  const hasNoslate = (settings.noslatePath ?? settings.noslatedWorkdir) !== undefined;
  const agent = settings.agent ?? (hasNoslate ? 'native' : 'local');
  if (agent === 'native' && !hasNoslate)
    problems.push('SERVER_AGENT: native expects NOSLATED_WORKDIR or NOSLATE_PATH, got neither');
  if (agent === 'sdk' && settings.noslatePath === undefined)
    problems.push('SERVER_AGENT: sdk expects NOSLATE_PATH, got none');
  if (settings.maxQueue > 0 && settings.maxConcurrency === 0)
    problems.push('SERVER_MAX_QUEUE: expected SERVER_MAX_CONCURRENCY beside it, above which calls wait, got none');
  const config: Config = {
    ...settings,
    agent,
    log: settings.log ?? (agent === 'local' && isTerminal() ? 'pretty' : 'json'),
    config: settings.config ?? (existsSync('noslate.json') ? 'noslate.json' : undefined),
    warnings: [...unknownVariables(env), ...(isExposed ? exposedOnFc(env) : [])],
  };
  return { action, config: Object.freeze(config), problems };
}

/** What each setting is, by its variable, `***` for what may be secret; absent where there is none. */
export function settingsOf(config: Config): Readonly<Record<string, unknown>> {
  const keys = Object.keys(VARIABLES) as (keyof Table)[];
  return Object.fromEntries(
    keys.map(key => {
      const { env, isSecret }: Variable<unknown> = VARIABLES[key];
      return [env[0], isSecret && config[key] !== undefined ? '***' : config[key]];
    }),
  );
}

/** The text of `--help`: every variable with its flag, default and meaning. */
export function help(version: string): string {
  const rows = Object.values(VARIABLES).map((variable: Variable<unknown>) => {
    const name = flagOf(variable);
    const source = name === '' ? variable.env.join(', ') : `${name}, ${variable.env.join(', ')}`;
    const otherwise = variable.otherwise ?? variable.default;
    const exposed = variable.exposed === undefined ? '' : `; exposed: ${variable.exposed}`;
    return `  ${source}\n      ${variable.meaning}${otherwise === undefined ? '' : ` (default: ${otherwise}${exposed})`}`;
  });
  return `noslate-fc ${version}: runs Noslate functions behind Alibaba Cloud Function Compute

Usage: noslate-fc [--FLAG VALUE]...
       noslate-fc dev|conformance|init|event --help

  --check
      check the settings, noslate.json, and that its functions' code loads, then exit
  --doctor
      say what works here, then exit
  --help, --version

${rows.join('\n')}
`;
}

/** `SERVER_MAX_BODY` is `--max-body`; what is not ours has no flag. */
function flagOf({ env: [name] }: Variable<unknown>): string {
  return name.startsWith('SERVER_') ? `--${name.slice('SERVER_'.length).toLowerCase().replaceAll('_', '-')}` : '';
}

function readFlags(args: readonly string[], problems: string[]): { action: Action; flags: Map<string, string> } {
  const known = Object.values(VARIABLES)
    .map(flagOf)
    .filter(name => name !== '');
  const all = [...known, ...Object.keys(ACTIONS)];
  const flags = new Map<string, string>();
  let action: Action = 'serve';
  for (let i = 0; i < args.length; i++) {
    const [name = '', inline] = (args[i] as string).split(/=(.*)/s);
    if (Object.hasOwn(ACTIONS, name)) {
      if (inline !== undefined) problems.push(`${name}: expected no value, got ${show(inline)}`);
      // of several, the one that only prints wins over the one that does work
      if (action !== 'help' && action !== 'version') action = ACTIONS[name] as Action;
      continue;
    }
    if (!known.includes(name)) {
      const flag = nearest(name, all);
      // all of them would fill the screen
      const hint = flag === undefined ? 'see --help' : `did you mean ${flag}?`;
      problems.push(`${name}: unknown ${name.startsWith('-') ? 'flag' : 'argument'}, ${hint}`);
      // its value would be one more
      if (inline === undefined && name.startsWith('-') && !(args[i + 1] ?? '-').startsWith('-')) i++;
      continue;
    }
    // a flag where a value should be was not meant for one
    const value = inline ?? (args[i + 1]?.startsWith('--') ? undefined : args[++i]);
    if (value === undefined || value === '') problems.push(`${name}: expected a value, got none`);
    else flags.set(name, value);
  }
  return { action, flags };
}

/** There clients come by FC, whose hooks are missed and whose idle connections must stay. */
function exposedOnFc(env: Readonly<Record<string, string | undefined>>): string[] {
  const name = env['FC_FUNCTION_NAME'] ?? '';
  return name === '' ? [] : [`SERVER_EXPOSED: expected off behind FC, which runs ${show(name)} here, got on`];
}

/** A misspelt variable would be ignored in silence; another program's is not ours to refuse. */
function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set<string>(Object.values(VARIABLES).flatMap(variable => variable.env));
  return Object.keys(env)
    .filter(name => name.startsWith('SERVER_') && !known.has(name))
    .map(name => {
      const flag = nearest(
        name.slice('SERVER_'.length),
        [...known].flatMap(item => item.split('SERVER_').slice(1)),
      );
      return `${name}: unknown variable, ${flag === undefined ? 'see --help' : `did you mean SERVER_${flag}?`}`;
    });
}
