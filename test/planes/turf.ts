import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { DEFAULT_MEMORY, type FunctionProfile, type KeyValuePair } from '../../src/profile.ts';
import { internalError, type NoslateError } from './errors.ts';

/** What turfd takes in one command, bytes. */
const COMMAND_BYTES = 4096;
/** What the length of one can say, bytes: two of them. */
const LENGTH_LIMIT = 0xffff;

const MIB = 1024 * 1024;

/** So long turfd takes over a command, ms. */
const RUN_MS = 10;

/** What turfd is told of besides the worker. */
export interface TurfPaths {
  /** NOSLATED_WORKDIR. */
  readonly workdir: string;
  /** NOSLATE_LOGDIR. */
  readonly logs: string;
  /** The script of nodejs workers. */
  readonly starter: string;
}

/** As in Noslate's image. */
export const IMAGE_PATHS: TurfPaths = {
  workdir: '/.noslate/noslated',
  logs: '/.noslate/logs',
  starter: '/usr/local/noslate/build/starter/noslated_node.js',
};

/** A control plane's connection to turfd. */
export interface TurfSession {
  /**
   * Has turfd run a worker; resolves when it has said that it will.
   *
   * @throws {NoslateError} rejected: what the control plane says of a worker that could not be started.
   */
  run(worker: string, profile: FunctionProfile, environments: readonly KeyValuePair[]): Promise<void>;
}

/**
 * Makes a connection by which one command is sent after the other. A worker's whole specification is one, and turfd drops
 * the connection of whoever sends a larger one than it takes: what waits for its turn then fails, too.
 *
 * @see noslated src/control_plane/starter/base.ts, `doStart`, and src/lib/turf/session.ts; turf src/daemon.c, `daemon_on_read`
 */
export function createTurfSession(paths: TurfPaths = IMAGE_PATHS): TurfSession {
  interface Command {
    readonly bytes: number;
    resolve(): void;
    reject(error: NoslateError): void;
  }
  let waiting: Command[] = [];

  function answer(): void {
    const [first] = waiting;
    if (first === undefined) return;
    if (first.bytes > COMMAND_BYTES) {
      for (const { reject } of waiting.splice(0)) reject(internalError(new Error('read ECONNRESET')));
      return;
    }
    waiting = waiting.slice(1);
    first.resolve();
    if (waiting.length > 0) setTimeout(answer, RUN_MS);
  }

  return {
    run(worker, profile, environments) {
      const bytes = Buffer.byteLength(commandOf(worker, profile, environments, paths));
      return new Promise((resolve, reject) => {
        if (bytes > LENGTH_LIMIT) {
          reject(lengthError(bytes));
          return;
        }
        waiting.push({ bytes, resolve, reject });
        if (waiting.length === 1) setTimeout(answer, RUN_MS);
      });
    },
  };
}

function commandOf(
  worker: string,
  profile: FunctionProfile,
  environments: readonly KeyValuePair[],
  { workdir, logs, starter }: TurfPaths,
): string {
  const { name, url, signature, handler, initializer, worker: { v8Options = [], execArgv = [] } = {} } = profile;
  const memory = profile.resourceLimit?.memory ?? DEFAULT_MEMORY;
  const cpu = profile.resourceLimit?.cpu ?? 0;
  const hash = createHash('sha1').update(url).digest('hex').slice(0, 8);
  const bundle = join(workdir, 'bundles', `NOSLATED-${name.replace(/[^\w.-]/g, '_')}-${hash}-${signature}`);
  const log = (file: string): string => join(logs, 'workers', worker, file);
  // a later one takes the place of an earlier one, and stands where that stood
  const variables = new Map([
    ['TZ', 'UTC'],
    ...[...environments, ...(profile.environments ?? [])].map(({ key, value }) => [key, value] as const),
    ['_NOSLATED_IPC_PATH', join(workdir, 'socks/dlgt-0.sock')],
    ['_NOSLATED_CODE_PATH', url.startsWith('file:') ? fileURLToPath(url) : join(bundle, 'code')],
    // the function's name and a UUID
    ['_NOSLATED_WORKER_CREDENTIAL', `${name}-${'0'.repeat(36)}`],
    ['_NOSLATED_FUNC_HANDLER', handler ?? ''],
    ...(initializer === undefined ? [] : [['_NOSLATED_FUNC_INITIALIZER', initializer] as const]),
    ['NOSLATE_WORKER_ID', worker],
    ['HOME', join(bundle, 'code')],
  ]);
  for (const fixed of ['PATH', 'TERM']) variables.delete(fixed);
  const spec = {
    ociVersion: '1.0.0',
    process: {
      terminal: false,
      user: { uid: -2, gid: -2 },
      args: ['node', `--max-heap-size=${Math.floor((memory / MIB) * 0.8)}`, ...v8Options, ...execArgv, starter],
      env: ['PATH=/bin:/usr/bin', 'TERM=xterm', ...[...variables].map(([key, value]) => `${key}=${value}`)],
      noNewPrivileges: true,
    },
    root: { path: 'rootfs', readonly: true },
    linux: {
      resources: {
        memory: { limit: memory },
        ...(cpu > 0 && cpu <= 1 ? { cpu: { shares: 1024, quota: cpu * 1_000_000, period: 1_000_000 } } : {}),
      },
      seccomp: {
        defaultAction: 'SCMP_ACT_ALLOW',
        syscalls: [{ names: ['chmod'], action: 'SCMP_ACT_ERRNO' }],
      },
    },
    turf: { runtime: profile.runtime, code: 'code' },
  };
  const options = ['--stdout', log('stdout.log'), '--stderr', log('stderr.log'), '--config', JSON.stringify(spec)];
  return ['run', '-b', bundle, ...options, worker].join('\0');
}

/** What Node.js says where the length is written. */
function lengthError(bytes: number): NoslateError {
  const message = `The value of "value" is out of range. It must be >= 0 and <= ${LENGTH_LIMIT}. Received ${bytes}`;
  const error = new RangeError(message);
  return internalError(Object.assign(error, { stack: `RangeError [ERR_OUT_OF_RANGE]: ${message}` }));
}
