import { ConfigError } from '../errors.ts';
import { isHeaderName } from './fc/sessions.ts';
import { parseSwitches, SWITCHES } from './fc/settings.ts';
import {
  type Allowed,
  type Flag,
  nameOf,
  on,
  oneOf,
  readTable,
  row,
  tableText,
  text,
  type Values,
  whole,
} from './options.ts';

/** A container's command, in words as a shell would see them; quotes keep spaces together. */
const command: Allowed<readonly string[]> = {
  parse(value) {
    const words = value.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
    const whole = words.join('').replace(/\s/g, '') === value.replace(/\s/g, '');
    return whole && words.length > 0 ? words.map(word => word.replace(/"([^"]*)"|'([^']*)'/g, '$1$2')) : undefined;
  },
  expects: 'a command, its quotes closed',
};

const path: Allowed<string> = {
  parse: value => (/^\/[^\s#]*$/.test(value) ? value : undefined),
  expects: 'a path that starts with "/"',
};

const variable: Allowed<readonly [string, string]> = {
  parse(value) {
    const [, name, rest] = /^([A-Za-z_][A-Za-z0-9_]*)=(.*)$/s.exec(value) ?? [];
    return name === undefined || rest === undefined || name.startsWith('FC_') ? undefined : [name, rest];
  },
  expects: 'KEY=VALUE, and no FC_* key, which FC keeps for itself',
};

/** One or both of host and port. */
const address: Allowed<{ readonly host: string; readonly port: number }> = {
  parse(value) {
    const [, bracketed, plain, digits] = /^(?:\[(.+)\]|([^:]*[^:\d][^:]*))?(?:(?:^|:)(\d+))?$/.exec(value) ?? [];
    const port = Number(digits ?? 8080);
    if ((bracketed ?? plain ?? digits) === undefined || port > 65535) return undefined;
    return { host: bracketed ?? plain ?? 'localhost', port };
  },
  expects: 'HOST:PORT, HOST or PORT',
};

/** A port, or none. */
const consolePort: Allowed<number | 'off'> = {
  parse: value => (value === 'off' ? 'off' : whole(0, 65535).parse(value)),
  expects: 'a port from 0 to 65535, or off',
};

/** How sessions are known. */
const affinity: Allowed<'cookie' | 'mcp' | 'off' | { readonly header: string }> = {
  parse(value) {
    if (value === 'cookie' || value === 'mcp' || value === 'off') return value;
    return isHeaderName(value) ? { header: value } : undefined;
  },
  expects: 'cookie, mcp, off, or the name of a header: 5 to 40 letters, digits, "-" and "_", not x-fc-',
};

/** Of a flag that wins over the file of a deployment: FC's own default, or ours, comes last. */
const deployed = (otherwise: number | string): { default: undefined; otherwise: string } => ({
  default: undefined,
  otherwise: `the deployment's, else ${otherwise}`,
});

const FLAGS = {
  config: {
    value: 'FILE',
    ...text,
    default: undefined,
    otherwise: 'noslate.json in FOLDER',
    meaning: 'functions, run by noslate-fc with its local agent',
  },
  command: {
    value: "'COMMAND'",
    ...command,
    default: undefined,
    meaning: 'another server instead; the word PORT in it becomes the port to listen on, as in FC_CUSTOM_LISTEN_PORT',
  },
  image: {
    value: '[FOLDER]',
    alone: '.',
    ...text,
    default: undefined,
    meaning:
      "the container's start.sh in a folder instead, with NOSLATE_PATH, NOSLATE_WORKDIR and the like from the environment; instances would share that folder",
  },
  deployment: {
    value: 'FILE|off',
    ...text,
    default: undefined,
    otherwise: 's.yaml or s.yml beside noslate.json, if there is one',
    meaning:
      'what Serverless Devs deploys the function by (fc3, or fc of FC 2.0): memory, timeout, concurrency, variables, hooks, health check, triggers and the like; flags win',
  },
  function: {
    value: 'NAME',
    ...text,
    default: undefined,
    otherwise: 'the only one',
    meaning: 'the function in that file, where it has several',
  },
  fc: { value: 'VERSION', ...oneOf('3.0', '2.0'), ...deployed('3.0'), meaning: 'generation of FC: 3.0 or 2.0' },
  name: { value: 'NAME', ...text, ...deployed('app'), meaning: 'name of the function' },
  timeout: { value: 'SECONDS', ...whole(1, 86400), ...deployed(60), meaning: 'limit of an invocation' },
  memory: { value: 'MB', ...whole(128, 32768), ...deployed(512), meaning: 'told to the container, not enforced' },
  concurrency: {
    value: 'N',
    ...whole(1, 200),
    ...deployed(1),
    meaning: 'requests that one instance takes at a time',
  },
  sessionAffinity: {
    value: 'cookie|mcp|HEADER|off',
    ...affinity,
    ...deployed('off'),
    meaning: "calls of one session go to one instance, known by FC's cookie, by MCP, or by a header; FC 3.0",
  },
  maxInstances: {
    value: 'N',
    ...whole(1, 100),
    default: undefined,
    otherwise: '10; 1 with --port, --image or --inspect',
    meaning: 'instances at most; 429 above',
  },
  initTimeout: { value: 'SECONDS', ...whole(1, 300), ...deployed(3), meaning: 'limit of the initializer' },
  noInitializer: { ...on, meaning: 'configure none: /initialize is not called' },
  preStop: {
    value: '[SECONDS]',
    alone: '60',
    ...whole(1, 86400),
    default: undefined,
    meaning: 'configure the pre-stop hook, with its limit (60)',
  },
  preFreeze: {
    value: '[SECONDS]',
    alone: '60',
    ...whole(1, 86400),
    default: undefined,
    meaning: 'configure the pre-freeze hook of FC 2.0, with its limit (60)',
  },
  health: { value: 'PATH', ...path, default: undefined, meaning: 'configure a custom health check, every 3 s' },
  idle: {
    value: 'SECONDS',
    ...whole(0, 86400),
    default: 0,
    meaning: 'stop an instance that idles so long; 0 is never',
  },
  env: {
    value: 'KEY=VALUE',
    ...variable,
    default: undefined,
    repeats: true,
    meaning: 'variable of the container; may be repeated',
  },
  switch: {
    value: 'NAME=VALUE',
    ...text,
    default: undefined,
    repeats: true,
    meaning: 'play an uncertain point of FC the other way, see below; may be repeated',
  },
  port: {
    value: 'PORT',
    ...whole(1, 65535),
    default: undefined,
    otherwise: 'a free one',
    meaning: "the container's port",
  },
  listen: {
    value: 'HOST:PORT',
    ...address,
    default: { host: 'localhost', port: 8080 },
    otherwise: 'localhost:8080',
    meaning: 'where FC can be reached',
  },
  console: {
    value: 'PORT|off',
    ...consolePort,
    default: 8081,
    meaning: 'the page in the browser, on this machine alone; off leaves it out',
  },
  watch: {
    value: 'on|off',
    ...oneOf('on', 'off'),
    default: 'on',
    meaning: 'new code is a new deployment: when a file beside noslate.json changes, new instances take over',
  },
  inspect: {
    value: '[PORT]',
    alone: '9229',
    ...whole(1, 65535),
    default: undefined,
    meaning:
      'opens functions to a debugger (9229). Nothing waits for it; while one is attached no limit of time ends a call, and nothing is frozen',
  },
  json: { ...on, meaning: 'print events as JSON lines, also on a terminal' },
  log: { value: 'on|off', ...oneOf('on', 'off'), default: 'on', meaning: 'print what the container prints' },
  help: { ...on, meaning: 'print this' },
} as const satisfies Record<string, Flag<unknown>>;

/** What the command line asks for, and of which folder; undefined where nothing was said and there is no default. */
export type Flags = Values<typeof FLAGS> & { readonly folder: string };

/**
 * Reads the command line.
 *
 * @throws {ConfigError} one problem per flag: its name, what was given, what is allowed.
 */
export function readFlags(args: readonly string[]): Flags {
  const problems: string[] = [];
  const words: string[] = [];
  const flags = readTable(FLAGS, args, problems, words);
  try {
    parseSwitches(flags.switch);
  } catch (error) {
    problems.push(`--switch: ${(error as Error).message}`);
  }
  const servers = (['config', 'command', 'image'] as const).filter(key => flags[key] !== undefined).map(nameOf);
  if (servers.length > 1) problems.push(`${servers.join(', ')}: expected one of them, got ${servers.length}`);
  if ((flags.port ?? flags.image ?? flags.inspect) !== undefined && (flags.maxInstances ?? 1) > 1) {
    problems.push(`--max-instances: expected 1 with --port, --image or --inspect, got ${flags.maxInstances}`);
  }
  if (flags.image !== undefined && flags.inspect !== undefined) {
    problems.push(
      '--inspect: expected noslate.json or --command with it, got --image, whose workers no debugger reaches',
    );
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return { ...flags, folder: words[words.length - 1] ?? '.' };
}

/** The text of `--help`. */
export function helpText(): string {
  const switches = Object.entries(SWITCHES).map(([name, { values, default: value, meaning }]) => {
    const allowed = typeof values[0] === 'number' ? 'N' : values.join('|');
    const otherwise = typeof value === 'object' ? `${value['3.0']}; FC 2.0: ${value['2.0']}` : value;
    return row(`${name}=${allowed}`, meaning, otherwise);
  });
  return `noslate-fc dev: Alibaba Cloud Function Compute on this machine, with one function

Usage: noslate-fc dev [FOLDER] [--FLAG VALUE]...

  FOLDER
      has the noslate.json; of several the last counts (default: where you are)

${tableText(FLAGS)}

Nobody is certain of these points of FC, so each can be played either way with --switch NAME=VALUE:

${switches.join('\n')}
`;
}
