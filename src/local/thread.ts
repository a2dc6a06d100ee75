import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Worker } from 'node:worker_threads';
import { GatewayError } from '../errors.ts';
import { DEFAULT_MEMORY, type FunctionProfile, type KeyValuePair } from '../profile.ts';
import { WORKER_THREAD, type WorkerInit } from './messages.ts';
import type { Held } from './output.ts';

/** What a worker's thread is made from. */
export interface ThreadSpec {
  /** Script of the thread; it must call `runWorker`. */
  workerFile: string;
  profile: FunctionProfile;
  environments: readonly KeyValuePair[];
}

const MIB = 1024 * 1024;

/**
 * A full heap is given 16 MiB more, in which the thread is to end. A young generation that does not fit into
 * them (Node's own is 48 MiB, 192 from Node 24 on) makes V8 abort the whole process instead, now and then.
 *
 * @see https://github.com/nodejs/node/issues/47224
 */
const YOUNG_MIB = 24;

/** Bytes that a worker of the function may take. */
export function memoryOf({ resourceLimit }: FunctionProfile): number {
  return resourceLimit?.memory ?? DEFAULT_MEMORY;
}

/**
 * Starts the thread of a worker, with nothing of the gateway's environment but `TZ`.
 *
 * @throws {GatewayError} INVALID_RUNTIME, CODE_UNAVAILABLE, INITIALIZER_FAILED: it cannot even be started.
 * @see Noslate contract §5, "nodejs": env, limits
 */
export function startThread(name: string, { workerFile, profile, environments }: ThreadSpec, held: Held): Worker {
  if (profile.runtime !== 'nodejs') {
    throw new GatewayError(
      'INVALID_RUNTIME',
      `function ${JSON.stringify(profile.name)}: the local agent runs the nodejs runtime`,
    );
  }
  const folder = folderOf(profile);
  const memory = memoryOf(profile);
  const { handler = '', initializer } = profile;
  const workerData: WorkerInit = { folder, handler, initializer, memory, held };
  const env: Record<string, string> = {};
  if (process.env['TZ'] !== undefined) env['TZ'] = process.env['TZ'];
  for (const { key, value } of [...environments, ...(profile.environments ?? [])]) env[key] = value;
  // these a profile cannot set, as on Noslate
  Object.assign(env, { PATH: '/bin:/usr/bin', TERM: 'xterm', HOME: folder, NOSLATE_WORKER_ID: name });
  try {
    return new Worker(workerFile, {
      argv: [WORKER_THREAD],
      workerData,
      env,
      stdout: true,
      stderr: true,
      execArgv: [...(profile.worker?.execArgv ?? [])],
      resourceLimits: {
        maxOldGenerationSizeMb: Math.max(1, Math.floor((0.8 * memory) / MIB)),
        maxYoungGenerationSizeMb: YOUNG_MIB,
      },
    });
  } catch (cause) {
    throw new GatewayError(
      'INITIALIZER_FAILED',
      `the worker of function ${JSON.stringify(profile.name)} could not start`,
      cause,
    );
  }
}

function folderOf({ name, url }: FunctionProfile): string {
  const unavailable = (cause: unknown): GatewayError =>
    new GatewayError('CODE_UNAVAILABLE', `the code of function ${JSON.stringify(name)} is not available`, cause);
  if (!url.startsWith('file://'))
    throw unavailable(`url ${url}: the local agent runs folders, expected a path or a file:// URL`);
  try {
    const folder = fileURLToPath(url);
    if (statSync(folder).isDirectory()) return folder;
  } catch (error) {
    throw unavailable(error);
  }
  throw unavailable(`url ${url}: expected a folder`);
}
