// The stand-ins for the planes: the test planes in Noslate's classes, and what start.sh must heed with them.
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createLog } from '../../../src/log.ts';
import { startControlPlane } from '../../planes/control-plane.ts';
import { type Plane as RunningPlane, startDataPlane } from '../../planes/data-plane.ts';
import { KNOBS } from '../../planes/knobs.ts';
import { behave, die, folder, type Manner, mannerOf, whenDue } from './manners.ts';
import { createPlaneLog } from './plane-log.ts';

/** How long the control plane waits for a first data plane, ms: `plane.planeFirstConnectionTimeout`. */
const FIRST_CONNECTION_MS = 10_000;

type Program = 'data_plane' | 'control_plane';

const LEVELS = ['debug', 'info', 'warn', 'error', 'write'] as const;
type Sink = Record<(typeof LEVELS)[number], (message: string) => void>;

let sink: Sink | undefined;
const flushes = new Set<() => void>();
process.on('exit', () => loggers.close());

/** Makes sinks, as Noslate's class of the name does: files of the day behind links, lines held for a while. */
export const Loggers = {
  getPrettySink(file: string): Sink {
    const { say, flush } = createPlaneLog(join(folder('NOSLATE_LOGDIR'), file), behavior(file).midnightMs);
    flushes.add(flush);
    return Object.fromEntries(LEVELS.map(level => [level, say])) as Sink;
  },
};

/** What all modules of a process log by. */
export const loggers = {
  setSink(given: Sink): void {
    sink = given;
  },
  close(): void {
    for (const flush of flushes) flush();
    // what comes later is not written
    sink = undefined;
  },
};

const say = (category: string, message: string): void => sink?.info(`[${category}] ${message}`);

/** A plane, as Noslate's own program makes it. */
abstract class Plane {
  protected readonly manner: Manner;
  protected readonly workdir = folder('NOSLATED_WORKDIR');
  protected readonly id = Number(process.env['NOSLATED_PLANE_ID'] ?? 0);
  private readonly category: string;
  private running: RunningPlane | undefined;

  constructor(program: Program) {
    for (const name of ['NOSLATED_DATA_PLANE_COUNT', 'NOSLATED_CONTROL_PLANE_COUNT']) {
      if (process.env[name] !== undefined) {
        throw new TypeError(`Cannot set properties of undefined (setting '${name}')`);
      }
    }
    this.category = program.toUpperCase().replace('_', ' ');
    this.manner = behave(program);
    dumpConfig(this.workdir, program);
    say(this.category, 'starting');
    const { midnightMs } = this.manner;
    if (midnightMs !== undefined) setTimeout(() => say(this.category, 'good morning'), midnightMs);
  }

  protected abstract start(): Promise<RunningPlane>;

  ready(): Promise<void> {
    return new Promise((done, fail) => {
      whenDue(this.manner, () => {
        this.start().then(plane => {
          this.running = plane;
          say(this.category, `${this.id} listens`);
          done();
        }, fail);
      });
    });
  }

  async close(): Promise<void> {
    if (this.manner.stubborn === true) await new Promise(() => {});
    say(this.category, 'stopping');
    await this.running?.close();
    loggers.close();
  }
}

const log = createLog('json');

export class DataPlane extends Plane {
  constructor() {
    super('data_plane');
  }

  protected start(): Promise<RunningPlane> {
    const { workdir, id } = this;
    // both planes tell of workers by one logger, each in its way
    say('WORKER', '[none] told of by the data plane');
    return startDataPlane({ workdir, id, log, knobs: KNOBS });
  }
}

export class ControlPlane extends Plane {
  private readonly isLate: NodeJS.Timeout;

  constructor() {
    super('control_plane');
    // Noslate's tries again without a pause, and fills its log
    if (!existsSync(join(folder('TURF_WORKDIR'), 'turf.sock'))) die('no turf.sock');
    this.isLate = setTimeout(() => die('Timeout on waiting first plane client ready'), FIRST_CONNECTION_MS);
  }

  protected async start(): Promise<RunningPlane> {
    const { workdir, id } = this;
    const paths = { workdir, logs: folder('NOSLATE_LOGDIR'), starter: STARTER };
    const plane = await startControlPlane({ workdir, id, log, paths, startWorker });
    clearTimeout(this.isLate);
    say('WORKER', 'worker(none) told of by the control plane');
    return plane;
  }
}

/** Of the plane whose log has that name. */
const behavior = (file: string): Manner => mannerOf(file === 'data_plane.log' ? 'data_plane' : 'control_plane');

let workers = 0;

/** The script of nodejs workers: where we were started from is Noslate's folder. */
const STARTER = resolve('build/starter/noslated_node.js');

/** Runs it as turfd does, and resolves once it is ready, with what ends it. It ends with us at the latest. */
async function startWorker({ name = '' }: { name?: string }): Promise<() => void> {
  const bin = join(folder('TURF_WORKDIR'), 'runtime/nodejs/bin/node');
  const id = `${name}-${++workers}`;
  const logs = join(folder('NOSLATE_LOGDIR'), 'workers', id);
  mkdirSync(logs, { recursive: true });
  const [stdout, stderr] = ['stdout', 'stderr'].map(file => openSync(join(logs, `${file}.log`), 'a'));
  const env = { PATH: '/bin:/usr/bin', TERM: 'xterm', NOSLATE_WORKER_ID: id };
  const child = spawn(bin, ['--max-heap-size=102', STARTER], { env, stdio: ['ignore', stdout, stderr, 'ipc'] });
  await new Promise((done, fail) => {
    child.on('message', done);
    child.on('error', fail);
    child.on('exit', code => fail(new Error(`${bin} ended with ${code}`)));
  });
  return () => child.kill();
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
