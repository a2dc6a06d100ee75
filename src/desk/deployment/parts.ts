// What both generations of the tool have, under names of their own.
import { type Hook, METHODS } from '../fc/settings.ts';
import { DEFAULT_SECONDS, type Deployed, put, type Trigger } from './deployed.ts';
import {
  DEPLOYMENT_LIMITS as LIMITS,
  MAX_ENVIRONMENT_BYTES,
  MAX_HEALTH_URL,
  MEMORY_PER_CPU,
  type Range,
} from './limits.ts';
import type { Reader, Table } from './reader.ts';
import { child, type Tree } from './tree.ts';

/** Why what an image does is not played. */
export const IMAGE = 'what runs here is noslate-fc, or what --command says';
/** Why networks are not. */
export const NETWORK = "the container has this machine's network";
/** Why disks are not. */
export const DISK = "the container has this machine's files";
/** Why logs are not. */
export const LOG = 'what the container prints is printed';

/** Whether there is a value. One that cannot be filled in here is there nevertheless. */
export const isGiven = (tree: Tree): boolean => tree.kind !== 'leaf' || (tree.value ?? '') !== '';

/** A hook and its limit. Its handler has no meaning in a container, but must be there. */
export function readHook(read: Reader, tree: Tree, range: Range): Hook {
  let timeout: number | undefined;
  read.walk(tree, {
    handler: null,
    timeout: value => {
      timeout = read.number(value, range);
    },
    command: 'a command of an initializer is for GPU functions alone',
  });
  return { timeout: timeout ?? DEFAULT_SECONDS };
}

/** A custom health check. */
export function readHealthCheck(read: Reader, tree: Tree): Deployed['healthCheck'] {
  const numbers: { -readonly [K in keyof NonNullable<Deployed['healthCheck']>]?: number } = {};
  let url: string | undefined;
  const number =
    (key: Exclude<keyof typeof numbers, 'httpGetUrl'>) =>
    (value: Tree): void =>
      put(numbers, key, read.number(value, LIMITS[key]));
  read.walk(tree, {
    httpGetUrl: value => {
      url = read.text(value);
      if (url !== undefined && (!url.startsWith('/') || url.length > MAX_HEALTH_URL)) {
        read.remark('error', value, `expected a path that starts with "/", of at most ${MAX_HEALTH_URL} characters`);
      }
    },
    initialDelaySeconds: number('initialDelaySeconds'),
    periodSeconds: number('periodSeconds'),
    timeoutSeconds: number('timeoutSeconds'),
    failureThreshold: number('failureThreshold'),
    successThreshold: number('successThreshold'),
  });
  if (child(tree, 'httpGetUrl') === undefined) read.remark('error', tree, 'httpGetUrl: missing, expected a path');
  return url === undefined ? undefined : { ...numbers, httpGetUrl: url };
}

/** Variables of the container. Their values may be secrets: no remark has one. */
export function readEnvironment(read: Reader, tree: Tree): Record<string, string> {
  const environment: Record<string, string> = {};
  let bytes = 0;
  for (const [name, item] of read.branch(tree)?.entries ?? []) {
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      read.remark('error', item, 'expected a name of letters, digits and "_"');
    } else if (name.startsWith('FC_')) read.remark('error', item, 'FC keeps names that begin with FC_ for itself');
    const found = read.leaf(item);
    if (found === undefined) continue;
    if (typeof found.value !== 'string') {
      const kind = found.value === null ? 'nothing' : `a ${typeof found.value}`;
      read.remark('warning', item, `expected text, got ${kind}: put it in quotes, the tool may refuse it`);
    }
    environment[name] = String(found.value ?? '');
    bytes += Buffer.byteLength(name) + Buffer.byteLength(environment[name] ?? '');
  }
  if (bytes > MAX_ENVIRONMENT_BYTES) {
    read.remark('error', tree, `expected at most ${MAX_ENVIRONMENT_BYTES} bytes of variables, got ${bytes}`);
  }
  return environment;
}

/** How asynchronous calls are made again. */
export function readAsync(read: Reader, deployed: Deployed, tree: Tree): void {
  // the tool's own defaults, once it is to set anything
  deployed.asyncMaxAge = 18_000;
  read.walk(tree, {
    maxAsyncRetryAttempts: value => put(deployed, 'asyncRetries', read.number(value, LIMITS.maxAsyncRetryAttempts)),
    maxAsyncEventAgeInSeconds: value =>
      put(deployed, 'asyncMaxAge', read.number(value, LIMITS.maxAsyncEventAgeInSeconds)),
    destinationConfig: 'results go nowhere',
    destination: 'results go nowhere',
    asyncTask: 'tasks are calls like all others',
    statefulInvocation: 'tasks are calls like all others',
  });
}

/** The tool's name for a thing, by generation: 3.0 has `triggerName`, 2.0 has `name`. */
export interface TriggerNames {
  readonly name: string;
  readonly type: string;
  readonly config: string;
}

/** What makes the events of a trigger here. */
const EVENTS: Readonly<Record<string, string>> = {
  timer: 'timer',
  oss: 'oss',
  log: 'sls',
  mns_topic: 'mns-topic',
  cdn_events: 'cdn',
  tablestore: 'tablestore',
  eventbridge: 'eventbridge',
};

/** The triggers. One of HTTP is played, the others are told. */
export function readTriggers(read: Reader, tree: Tree, names: TriggerNames): Trigger[] {
  return read.list(tree).flatMap(item => {
    const [name, type, config] = [names.name, names.type, names.config].map(key => child(item, key));
    if (name === undefined || type === undefined || config === undefined) {
      read.remark('error', item, `expected ${names.name}, ${names.type} and ${names.config}`);
      return [];
    }
    const [called, kind] = [read.text(name), read.text(type)];
    if (called === undefined || kind === undefined) return [];
    if (kind === 'http') return [{ name: called, type: kind, ...readHttp(read, config) }];
    const event = EVENTS[kind];
    const mend = event === undefined ? '' : `: noslate-fc event ${event} prints such an event`;
    read.remark('warning', type, `a trigger of ${kind} is not fired here${mend}`);
    return [{ name: called, type: kind, ...(kind === 'timer' && readTimer(read, config)) }];
  });
}

function readHttp(read: Reader, tree: Tree): Pick<Trigger, 'methods' | 'authType'> {
  const trigger: { methods?: string[]; authType?: string } = {};
  read.walk(tree, {
    authType: value => {
      put(trigger, 'authType', read.text(value));
      if (trigger.authType !== undefined && trigger.authType !== 'anonymous') {
        read.remark('warning', value, `not played here: FC takes calls with ${trigger.authType} authentication alone`);
      }
    },
    methods: value => {
      trigger.methods = read.list(value).flatMap(item => read.oneOf(item, ...METHODS) ?? []);
    },
    disableURLInternet: value => {
      if (read.flag(value)) read.remark('warning', value, 'not played here: FC keeps the URL inside its network');
    },
    authConfig: 'calls need no authentication',
  });
  return trigger;
}

function readTimer(read: Reader, tree: Tree): Pick<Trigger, 'schedule' | 'payload'> {
  const trigger: { schedule?: string; payload?: string } = {};
  read.walk(tree, {
    cronExpression: value => put(trigger, 'schedule', read.text(value)),
    payload: value => {
      const found = read.leaf(value)?.value;
      if (found !== undefined && found !== null) trigger.payload = String(found);
    },
    enable: null,
  });
  return trigger;
}

/** The size of an instance. */
export function sizeRules(read: Reader, deployed: Deployed): Table {
  return {
    memorySize: tree => {
      put(deployed, 'memory', read.number(tree, LIMITS.memorySize));
    },
    cpu: tree => {
      put(deployed, 'cpu', read.number(tree, LIMITS.cpu));
    },
    diskSize: null,
    timeout: tree => {
      deployed.timeout = read.number(tree, LIMITS.timeout) ?? deployed.timeout;
    },
    instanceConcurrency: tree => {
      put(deployed, 'instanceConcurrency', read.number(tree, LIMITS.instanceConcurrency));
    },
    environmentVariables: tree => {
      deployed.environment = readEnvironment(read, tree);
    },
  };
}

/** FC sells memory and vCPU in some ratios only. */
export function remarkOnRatio({ remark }: Reader, { memory, cpu }: Deployed, tree: Tree): void {
  const { min, max } = MEMORY_PER_CPU;
  if (memory === undefined || cpu === undefined) return;
  const ratio = memory / 1024 / cpu;
  if (ratio >= min && ratio <= max) return;
  const place = child(tree, 'cpu') ?? tree;
  remark('warning', place, `expected ${min} to ${max} GB of memory for each vCPU, got ${memory} MB for ${cpu}`);
}
