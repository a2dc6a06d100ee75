import { existsSync } from 'node:fs';
import { ConfigError } from './errors.ts';
import type { LogMode } from './log.ts';
import { show } from './schema.ts';

/** One setting: where it comes from, what it may be, what it is otherwise, what it means. */
interface Variable<T> {
  /** Environment variables in the order they are looked at. A `SERVER_*` one is a flag too. */
  env: readonly [string, ...string[]];
  /** @throws the words for what was expected. */
  parse(text: string): T;
  /** What holds when nothing is said; text where it depends on the surroundings. */
  default: string;
  meaning: string;
}

const string = (text: string): string => text;

const whole =
  (min: number, max: number) =>
  (text: string): number => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw `a whole number from ${min} to ${max}`;
  };

const oneOf =
  <const T extends string>(...values: T[]) =>
  (text: string): T => {
    const value = values.find(item => item === text);
    if (value !== undefined) return value;
    throw values.join(', ');
  };

const path = (text: string): string => {
  if (/^\/[^\s?#]*$/.test(text)) return text;
  throw 'a path that starts with "/"';
};

const flag = (text: string): boolean => oneOf('on', 'off')(text) === 'on';

/** Node's timers hold 2^31-1 ms; a deadline beyond that would fire at once. */
export const MAX_SECONDS = 2_147_483;

const VARIABLES = {
  port: {
    env: ['SERVER_PORT', 'FC_SERVER_PORT', 'FC_CUSTOM_LISTEN_PORT'],
    parse: whole(0, 65535),
    default: '9000',
    meaning: 'CAPort, on which FC calls',
  },
  host: { env: ['SERVER_HOST'], parse: string, default: '0.0.0.0', meaning: 'address to listen on' },
  agent: {
    env: ['SERVER_AGENT'],
    parse: oneOf('native', 'sdk', 'local'),
    default: 'native with NOSLATE_PATH or NOSLATED_WORKDIR, else local',
    meaning: 'what runs functions: native, sdk or local',
  },
  config: {
    env: ['SERVER_CONFIG'],
    parse: string,
    default: 'noslate.json, if present',
    meaning: 'file with functions and routes',
  },
  timeout: {
    env: ['SERVER_TIMEOUT'],
    parse: whole(1, MAX_SECONDS),
    default: '60',
    meaning: 'seconds an invocation may take when FC sent no x-fc-function-timeout',
  },
  drainTimeout: {
    env: ['SERVER_DRAIN_TIMEOUT'],
    parse: whole(0, MAX_SECONDS),
    default: '10',
    meaning: 'seconds a graceful stop may take',
  },
  maxBody: {
    env: ['SERVER_MAX_BODY'],
    parse: whole(0, Number.MAX_SAFE_INTEGER),
    default: '0',
    meaning: 'bytes of request body, 413 above; 0 is no limit',
  },
  maxConcurrency: {
    env: ['SERVER_MAX_CONCURRENCY'],
    parse: whole(0, Number.MAX_SAFE_INTEGER),
    default: '0',
    meaning: 'invocations in flight, 503 above; 0 is no limit',
  },
  healthPath: {
    env: ['SERVER_HEALTH_PATH'],
    parse: path,
    default: 'off',
    meaning: "path that answers FC's custom health check",
  },
  log: {
    env: ['SERVER_LOG'],
    parse: oneOf('json', 'pretty', 'off'),
    default: 'json; pretty for the local agent on a terminal',
    meaning: 'form of the log: json, pretty or off',
  },
  fcLog: {
    env: ['SERVER_FC_LOG'],
    parse: flag,
    default: 'off',
    meaning: "on: FC 2.0's marker lines around each request",
  },
  noslatePath: { env: ['NOSLATE_PATH'], parse: string, default: '', meaning: "Noslate's folder" },
  noslatedWorkdir: {
    env: ['NOSLATED_WORKDIR'],
    parse: string,
    default: '',
    meaning: 'folder of socks/{dp,cp}-ID.sock',
  },
  noslateLogdir: { env: ['NOSLATE_LOGDIR'], parse: string, default: '', meaning: "folder of the planes' logs" },
  turfWorkdir: { env: ['TURF_WORKDIR'], parse: string, default: '', meaning: 'folder of turf.sock' },
} as const satisfies Record<string, Variable<unknown>>;

type Settings = { [K in keyof typeof VARIABLES]: ReturnType<(typeof VARIABLES)[K]['parse']> };

/** What the process was told to be. Frozen. Times are whole seconds, sizes bytes. */
export interface Config
  extends Readonly<
    Omit<Settings, 'config' | 'healthPath' | 'noslatePath' | 'noslatedWorkdir' | 'noslateLogdir' | 'turfWorkdir'>
  > {
  /** The profile's file; undefined when none was named and none is there. */
  readonly config: string | undefined;
  readonly healthPath: string | undefined;
  readonly noslatePath: string | undefined;
  readonly noslatedWorkdir: string | undefined;
  readonly noslateLogdir: string | undefined;
  readonly turfWorkdir: string | undefined;
  /** Things that look like a mistake but do no harm, for the log. */
  readonly warnings: readonly string[];
}

/** What the command line asks for besides settings. */
export type Action = 'serve' | 'help' | 'version' | 'check';

const ACTIONS: Readonly<Record<string, Action>> = {
  '--help': 'help',
  '-h': 'help',
  '--version': 'version',
  '-v': 'version',
  '--check': 'check',
};

/**
 * Reads the environment and the command line; a flag wins over a variable, an empty variable counts as
 * absent.
 *
 * @param isTerminal - whether a person reads stdout; asked only when that decides something.
 * @throws {ConfigError} one problem per bad value or unknown flag: its key, what was given, what is allowed.
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>>,
  args: readonly string[],
  isTerminal: () => boolean,
): { action: Action; config: Config } {
  const problems: string[] = [];
  const { action, flags } = readFlags(args, problems);

  const values: { -readonly [K in keyof Settings]?: Settings[K] } = {};
  function read<K extends keyof Settings>(key: K): void {
    const variable: Variable<unknown> = VARIABLES[key];
    const name = flagOf(variable);
    const source = flags.has(name) ? name : variable.env.find(item => (env[item] ?? '') !== '');
    const text = flags.get(name) ?? (source === undefined ? undefined : env[source]);
    if (text === undefined || source === undefined) return;
    try {
      values[key] = variable.parse(text) as Settings[K];
    } catch (expected) {
      problems.push(`${source}: expected ${expected}, got ${show(text)}`);
    }
  }
  for (const key of Object.keys(VARIABLES) as (keyof Settings)[]) read(key);
  if (problems.length > 0) throw new ConfigError(problems);

  const agent = values.agent ?? ((values.noslatePath ?? values.noslatedWorkdir) ? 'native' : 'local');
  const log: LogMode = values.log ?? (agent === 'local' && isTerminal() ? 'pretty' : 'json');
  const config: Config = {
    port: values.port ?? 9000,
    host: values.host ?? '0.0.0.0',
    agent,
    config: values.config ?? (existsSync('noslate.json') ? 'noslate.json' : undefined),
    timeout: values.timeout ?? 60,
    drainTimeout: values.drainTimeout ?? 10,
    maxBody: values.maxBody ?? 0,
    maxConcurrency: values.maxConcurrency ?? 0,
    healthPath: values.healthPath,
    log,
    fcLog: values.fcLog ?? false,
    noslatePath: values.noslatePath,
    noslatedWorkdir: values.noslatedWorkdir,
    noslateLogdir: values.noslateLogdir,
    turfWorkdir: values.turfWorkdir,
    warnings: unknownVariables(env),
  };
  return { action, config: Object.freeze(config) };
}

/** The text of `--help`: every variable with its flag, default and meaning. */
export function help(version: string): string {
  const rows = Object.values(VARIABLES).map((variable: Variable<unknown>) => {
    const name = flagOf(variable);
    const source = name === '' ? variable.env.join(', ') : `${name}, ${variable.env.join(', ')}`;
    return `  ${source}\n      ${variable.meaning}${variable.default === '' ? '' : ` (default: ${variable.default})`}`;
  });
  return `noslate-fc ${version}: runs Noslate functions behind Alibaba Cloud Function Compute

Usage: noslate-fc [--FLAG VALUE]...

  --check
      read and check the configuration, then exit
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
  const flags = new Map<string, string>();
  let action: Action = 'serve';
  for (let i = 0; i < args.length; i++) {
    const [name = '', inline] = (args[i] as string).split(/=(.*)/s);
    if (Object.hasOwn(ACTIONS, name)) {
      // of several, the one that only prints wins over the one that does work
      if (action === 'serve' || action === 'check') action = ACTIONS[name] as Action;
      continue;
    }
    if (!known.includes(name)) {
      problems.push(
        `${name}: unknown flag, expected one of ${[...known, '--check', '--help', '--version'].join(', ')}`,
      );
      continue;
    }
    const value = inline ?? args[++i];
    if (value === undefined || value === '') problems.push(`${name}: expected a value, got none`);
    else flags.set(name, value);
  }
  return { action, flags };
}

/** A misspelt variable would be ignored in silence; another program's is not ours to refuse. */
function unknownVariables(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = new Set<string>(Object.values(VARIABLES).flatMap(variable => variable.env));
  return Object.keys(env)
    .filter(name => name.startsWith('SERVER_') && !known.has(name))
    .map(name => `${name}: unknown variable, see --help`);
}
