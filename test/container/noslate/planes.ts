// The stand-ins for the planes: the test planes as processes of their own, and what start.sh must heed with them.
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createLog } from '../../../src/log.ts';
import { startControlPlane } from '../../planes/control-plane.ts';
import { type Plane, startDataPlane } from '../../planes/data-plane.ts';
import { KNOBS } from '../../planes/knobs.ts';
import { behave, die, folder, whenDue } from './manners.ts';

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
  const logFile = join(folder('NOSLATE_LOGDIR'), `${program}.log`);
  const say = (message: string): void => appendFileSync(logFile, `INFO ${process.pid} ${message}\n`);
  say('starting');

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
    running = await startControlPlane({ workdir, id, log });
    clearTimeout(isLate);
    say('control plane listens');
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
