// The stand-ins for the planes: the test planes as processes of their own, and what start.sh must heed with them.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createLog } from '../../../src/log.ts';
import { startControlPlane } from '../../planes/control-plane.ts';
import { type Plane, startDataPlane } from '../../planes/data-plane.ts';
import { KNOBS } from '../../planes/knobs.ts';
import { behave, die, folder, whenDue } from './manners.ts';
import { createPlaneLog } from './plane-log.ts';

/** How long the control plane waits for a first data plane, ms: `plane.planeFirstConnectionTimeout`. */
const FIRST_CONNECTION_MS = 10_000;

/** Runs a test plane as the main program of this process. */
export function run(program: 'data_plane' | 'control_plane'): void {
  for (const name of ['NOSLATED_DATA_PLANE_COUNT', 'NOSLATED_CONTROL_PLANE_COUNT'])
    if (process.env[name] !== undefined) throw new TypeError(`Cannot set properties of undefined (setting '${name}')`);
  const manner = behave(program);
  const workdir = folder('NOSLATED_WORKDIR');
  const id = Number(process.env['NOSLATED_PLANE_ID'] ?? 0);
  dumpConfig(workdir, program);
  const { say, flush } = createPlaneLog(join(folder('NOSLATE_LOGDIR'), `${program}.log`), manner.midnightMs);
  process.on('exit', flush);
  say('starting');
  if (manner.midnightMs !== undefined) setTimeout(say, manner.midnightMs, 'good morning');

  let running: Plane | undefined;
  process.on('SIGTERM', async () => {
    if (manner.stubborn === true) return;
    say('stopping');
    await running?.close();
    process.exit();
  });
  const log = createLog('json');
  if (program === 'data_plane') {
    whenDue(manner, async () => {
      running = await startDataPlane({ workdir, id, log, knobs: KNOBS });
      say(`data plane ${id} listens`);
    });
    return;
  }
  // Noslate's tries again without a pause, and fills its log
  if (!existsSync(join(folder('TURF_WORKDIR'), 'turf.sock'))) die('no turf.sock');
  const isLate = setTimeout(() => die('Timeout on waiting first plane client ready'), FIRST_CONNECTION_MS);
  whenDue(manner, async () => {
    running = await startControlPlane({ workdir, id, log, startWorker });
    clearTimeout(isLate);
    say('control plane listens');
  });
}

let workers = 0;

/** Runs the starter of nodejs workers as turfd does, and resolves once it is ready. It ends with us at the latest. */
async function startWorker({ name = '' }: { name?: string }): Promise<void> {
  const bin = join(folder('TURF_WORKDIR'), 'runtime/nodejs/bin/node');
  const id = `${name}-${++workers}`;
  const logs = join(folder('NOSLATE_LOGDIR'), 'workers', id);
  mkdirSync(logs, { recursive: true });
  const [stdout, stderr] = ['stdout', 'stderr'].map(file => openSync(join(logs, `${file}.log`), 'a'));
  const env = { PATH: '/bin:/usr/bin', TERM: 'xterm', NOSLATE_WORKER_ID: id };
  const starter = resolve('build/starter/noslated_node.js');
  const child = spawn(bin, ['--max-heap-size=102', starter], { env, stdio: ['ignore', stdout, stderr, 'ipc'] });
  await new Promise((done, fail) => {
    child.on('message', done);
    child.on('error', fail);
    child.on('exit', code => fail(new Error(`${bin} ended with ${code}`)));
  });
}

/** Writes the configuration that counts, as a plane does: the platform's file, the user's over it, variables over both. */
function dumpConfig(workdir: string, program: string): void {
  const config: Record<string, Record<string, unknown> | string> = { virtualMemoryPoolSize: '1gb' };
  for (const name of ['NOSLATED_PLATFORM_CONFIG_PATH', 'NOSLATED_CONFIG_PATH']) {
    const file = process.env[name];
    if (file === undefined) continue;
    for (const [key, value] of Object.entries(JSON.parse(readFileSync(file, 'utf8')) as typeof config)) {
      const old = config[key];
      config[key] = typeof old === 'object' && typeof value === 'object' ? { ...old, ...value } : value;
    }
  }
  const pool = process.env['NOSLATED_VIRTUAL_MEMORY_POOL_SIZE'];
  if (pool !== undefined) config['virtualMemoryPoolSize'] = pool;
  mkdirSync(join(workdir, 'run'), { recursive: true });
  writeFileSync(join(workdir, 'run', `${program.replace('_plane', '')}.config.json`), JSON.stringify(config));
}
