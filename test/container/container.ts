import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import {
  endWithUs,
  eventually,
  type Functions,
  type Observed,
  observe,
  project,
  SERVER_FILE,
  temporary,
  within,
} from '../helpers.ts';
import { installNoslate } from './noslate/index.ts';
import type { Manners } from './noslate/manners.ts';

/** The product. */
export const START_FILE: string = resolve('start.sh');

/** Longest time for a step of a container: each is four processes of Node.js, and the machine may be small. */
const STEP_MS = 60_000;

/** Functions of every container. */
const FUNCTIONS: Functions = {
  hello: `exports.handler = async (ctx, req, res) => {
    const ms = Number(new URL(req.url, 'http://test').searchParams.get('ms') ?? 0);
    console.log('called');
    await new Promise(done => setTimeout(done, ms));
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.end('hello');
  };`,
};

/** How many processes the planes are. */
export type Arrangement = 'one' | 'two';

/** Both arrangements, and what start.sh calls their processes. */
export const ARRANGEMENTS: readonly (readonly [Arrangement, planes: readonly string[]])[] = [
  ['two', ['data_plane', 'control_plane']],
  ['one', ['planes']],
];

export interface ContainerOptions {
  standIns?: Manners;
  env?: Readonly<Record<string, string | undefined>>;
  args?: readonly string[];
  /** Starts start.sh by this command, for example `unshare`. */
  prefix?: readonly string[];
  /** NOSLATE_WORKDIR; a folder of its own by default. */
  workdir?: string;
  /**
   * SERVER_PATH/warm. By default there is none; for both planes in one process it has the program alone. With the variable
   * TEST_WARM it is as an image has it.
   */
  warm?: string;
  /** Whether the planes have a process each, as by default, or share one. */
  planes?: Arrangement;
  /** What else the function's profile says. */
  profile?: Readonly<Record<string, unknown>>;
}

/** A start.sh and what it has started. */
export interface Container extends Observed {
  /** SERVER_PATH. */
  readonly code: string;
  readonly port: number;
  /** NOSLATE_WORKDIR, and the mark of all processes. */
  readonly workdir: string;
  readonly process: ChildProcess;
  /** Lines of stderr that are ours. */
  complaints(): string[];
  /** Resolves with the process of a name, for example `server` or `data_plane-1`, once it is there. */
  find(name: string): Promise<Process>;
  /** Resolves when the port is open. */
  listening(): Promise<unknown>;
  /** Resolves when an invocation can be answered. */
  up(): Promise<void>;
  /** Sends start.sh a signal. */
  signal(signal: NodeJS.Signals): Promise<void>;
  /** Resolves with its exit code or signal, all output read and no process left. */
  end(): Promise<number | string>;
}

export interface Process {
  readonly pid: number;
  readonly name: string;
  readonly env: ReadonlyMap<string, string>;
}

let noslate: string | undefined;
let warm: string | undefined;

/** NOSLATE_PATH of this file's containers, laid out at first use. */
export function noslatePath(): string {
  if (noslate === undefined) {
    noslate = temporary();
    installNoslate(noslate);
  }
  return noslate;
}

/** A folder with start.sh, the server and what it takes to warm Noslate, as in the image that is being made. */
export function serverFolder(): string {
  const folder = temporary();
  cpSync('dist/warm', join(folder, 'warm'), { recursive: true });
  symlinkSync(SERVER_FILE, join(folder, 'server.js'));
  symlinkSync(START_FILE, join(folder, 'start.sh'));
  return folder;
}

/** SERVER_PATH/warm with what runs both planes, and no packs. */
function planesFolder(): string {
  const folder = temporary();
  copyFileSync('dist/warm/planes.js', join(folder, 'planes.js'));
  return folder;
}

/** Runs the step of an image that warms Noslate, and gives the lines that it prints, those of single tries apart. */
export function makeWarm(
  folder: string,
  env: Readonly<Record<string, string>> = {},
): { lines: string[]; tries: string[] } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [join(folder, 'warm/make.js')], {
    env: { PATH: process.env['PATH'], NOSLATE_PATH: noslatePath(), ...env },
    encoding: 'utf8',
    timeout: STEP_MS,
  });
  assert.equal([status, stderr], [0, '']);
  const all = stdout.trim().split('\n');
  const isTry = (line: string): boolean => line.startsWith('noslate-fc: try ');
  return { lines: all.filter(line => !isTry(line)), tries: all.filter(isTry) };
}

/** SERVER_PATH/warm as an image has it; made at first use. */
export function warmFolder(): string {
  if (warm === undefined) {
    const folder = serverFolder();
    const { lines } = makeWarm(folder);
    assert.ok(lines.length === 2 && lines.every(line => line.includes(' is warmed: ')), lines.join('\n'));
    warm = join(folder, 'warm');
  }
  return warm;
}

/** Starts start.sh as the image does, on a free port. It ends with this process at the latest. */
export async function startContainer(options: ContainerOptions = {}): Promise<Container> {
  const { standIns = {}, args = [], prefix = [], workdir = temporary() } = options;
  const code = project(FUNCTIONS, {}, { hello: options.profile ?? {} });
  symlinkSync(SERVER_FILE, join(code, 'server.js'));
  const { planes = options.warm === undefined ? 'two' : undefined } = options;
  const withPacks = process.env['TEST_WARM'] === undefined ? undefined : warmFolder();
  const warm = options.warm ?? withPacks ?? (planes === 'one' ? planesFolder() : undefined);
  if (warm !== undefined) symlinkSync(warm, join(code, 'warm'));
  const port = Number(options.env?.['SERVER_PORT'] ?? (await freePort()));
  const clean = Object.entries(process.env).filter(([name]) => !/^(SERVER|FC|NOSLATED?|TURF)_/.test(name));
  const env = {
    ...Object.fromEntries(clean),
    NOSLATE_PATH: noslatePath(),
    NOSLATE_WORKDIR: workdir,
    SERVER_PATH: code,
    SERVER_PORT: String(port),
    STAND_INS: JSON.stringify(standIns),
    ...(planes !== undefined && options.env?.['SERVER_DATA_PLANES'] === undefined && { SERVER_PLANES: planes }),
    ...options.env,
  };
  const [command = START_FILE, ...rest] = [...prefix, START_FILE, ...args];
  const child = endWithUs(spawn(command, rest, { env, stdio: ['ignore', 'pipe', 'pipe'] }));
  const observed = observe(child);
  let isClosed = false;
  const closed = new Promise<number | string>(done => {
    child.on('close', (status, signal) => {
      isClosed = true;
      done(status ?? signal ?? 'unknown');
    });
  });

  /** Resolves with the probe's first result; fails when there will be none. */
  async function seen<T>(what: string, probe: () => T | undefined): Promise<T> {
    for (const last = Date.now() + STEP_MS; Date.now() < last; await new Promise(done => setTimeout(done, 50))) {
      const result = probe();
      if (result !== undefined) return result;
      if (isClosed) throw new Error(`the container has ended without ${what}`);
    }
    throw new Error(`waited ${STEP_MS} ms for ${what}`);
  }
  const find = (name: string): Promise<Process> =>
    seen(name, () => processes(workdir).find(item => item.name === name));
  const line: Observed['line'] = (what, test) => seen(what, () => observed.lines().find(test));

  return {
    ...observed,
    port,
    code,
    workdir,
    process: child,
    find,
    complaints: () =>
      observed
        .output()
        .split('\n')
        .filter(line => line.startsWith('noslate-fc: ')),
    line,
    listening: () => line('listening', ({ message }) => message === 'listening'),
    async up() {
      for (const plane of ['dp-0', 'cp-0'])
        await line(`${plane} up`, ({ message, plane: name }) => message === 'plane up' && name === plane);
    },
    async signal(signal) {
      process.kill((await find('start.sh')).pid, signal);
    },
    async end() {
      const code = await within(STEP_MS, closed, `the container to end\n${observed.output()}`);
      await eventually('all processes to end', async () => processes(workdir).length === 0);
      return code;
    },
  };
}

/** Runs a test's body with a container of its own, which must leave nothing behind however it ends. */
export async function withContainer(
  options: ContainerOptions,
  body: (container: Container) => Promise<void>,
): Promise<void> {
  const container = await startContainer(options);
  const { workdir } = container;
  try {
    await body(container);
    if (container.process.exitCode === null && container.process.signalCode === null) await container.signal('SIGTERM');
    await container.end();
    assert.equal(processes(workdir), []);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- output of the container\n${container.output().slice(-3000)}`;
    throw error;
  } finally {
    for (const { pid } of processes(workdir)) kill(pid);
  }
}

/** Runs the cases, so many at a time; fails with the first failure, and its case. */
export async function together<T>(width: number, cases: readonly T[], run: (item: T) => Promise<void>): Promise<void> {
  const queue = [...cases];
  async function work(): Promise<void> {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await run(item);
  }
  await Promise.all(Array.from({ length: width }, work));
}

/** Living processes that have the folder in their environment. */
export function processes(workdir: string): Process[] {
  return readdirSync('/proc').flatMap(entry => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const environ = readFileSync(`/proc/${entry}/environ`, 'utf8');
      if (!environ.includes(workdir)) return [];
      const env = new Map(
        environ.split('\0').map(item => {
          const [, name = '', value = ''] = /^([^=]*)=(.*)$/s.exec(item) ?? [];
          return [name, value] as const;
        }),
      );
      return [{ pid: Number(entry), name: nameOf(entry, env), env }];
    } catch {
      // it has ended, or is another user's
      return [];
    }
  });
}

/** What start.sh calls a process. */
function nameOf(pid: string, env: ReadonlyMap<string, string>): string {
  const args = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
  const has = (end: string): boolean => args.some(arg => arg.endsWith(end));
  if (has('/start.sh') && readlinkSync(`/proc/${pid}/exe`).endsWith('bash')) return 'start.sh';
  if (has('/server.js')) return 'server';
  if (has('/turf.js')) return 'turfd';
  if (has('/warm/planes.js')) return 'planes';
  if (has('/control_plane')) return 'control_plane';
  const id = env.get('NOSLATED_PLANE_ID') ?? '0';
  if (has('/data_plane')) return id === '0' ? 'data_plane' : `data_plane-${id}`;
  return args.join(' ').trim();
}

/** A port that is free just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise(done => server.close(done));
  return port;
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // it has ended by itself
  }
}
