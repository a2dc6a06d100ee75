import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { connect, type NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { now } from './clock.ts';
import type { Config } from './config.ts';
import { environmentBytes, MAX_ENVIRONMENT_BYTES } from './environment.ts';
import { type Connection, openConnection } from './h2/connection.ts';
import { describeNode } from './node-release.ts';
import {
  checkHealth as checkControlPlane,
  getFunctionProfiles,
  getWorkerStatsSnapshot,
} from './noslate/control-plane.ts';
import { checkHealth as checkDataPlane, getWorkerTrafficStats } from './noslate/data-plane.ts';
import { listSockets, type SocketFile } from './noslate/sockets.ts';
import { DEFAULT_MEMORY, type FunctionProfile, type Profile } from './profile.ts';

/** Longest wait for any answer, ms. */
const WAIT_MS = 2000;

/** How long workers may still be coming: a changed set of functions takes running planes 3 s, and then they start. ms. */
const SETTLING_MS = 6000;
const STEP_MS = 250;

/** What was looked at, how it is, and how to mend it if it is not as it should be. */
type Finding = readonly [what: string, state: string, mend?: string | false];

/**
 * Looks at all that an invocation needs in this container. Resolves within seconds, whatever hangs, with text for a
 * person and the number of problems.
 *
 * @see Noslate contract §1
 */
export async function examine(config: Config, profile: Profile): Promise<[string, number]> {
  const isLocal = config.agent === 'local';
  const findings: Finding[] = [
    ['Node.js', `${describeNode()}, ${process.execPath}; agent ${config.agent}`],
    ...(await Promise.all([server(config), isLocal ? [] : noslate(config, profile.functions)])).flat(),
    ...profile.functions.flatMap(code),
    ...(isLocal ? [] : profile.functions.flatMap(item => environment(profile, item))),
  ];
  const problems = findings.filter(([, , mend]) => mend).length;
  const lines = findings.map(
    ([what, state, mend]) => `${mend ? '!' : ' '} ${what.padEnd(12)} ${state}${mend ? `: ${mend}` : ''}\n`,
  );
  return [`${lines.join('')}${problems === 0 ? 'healthy' : `${problems} to mend`}\n`, problems];
}

async function server({ port }: Config): Promise<Finding[]> {
  const { FC_CUSTOM_LISTEN_PORT: asked = `${port}` } = process.env;
  const [state, mend] = await listens({ port }, `port ${port}`, 'start it');
  return [
    ['server', `${state}${runningOn()}`, mend ?? false],
    ['FC', `asks port ${asked}`, asked !== `${port}` && 'unset SERVER_PORT'],
  ];
}

/** A plane that can be asked. */
interface Open {
  readonly socket: SocketFile;
  readonly connection: Connection;
}

async function noslate(config: Config, functions: readonly FunctionProfile[]): Promise<Finding[]> {
  const { noslatePath = '', noslatedWorkdir = join(noslatePath, '.code'), turfWorkdir } = config;
  const { noslateLogdir = join(noslatePath, '.code/logs') } = config;
  const turf = join(turfWorkdir ?? join(noslatePath, '.turf'), 'turf.sock');
  const folder = join(noslatedWorkdir, 'socks');
  const sockets = listSockets(folder);
  const open: Open[] = [];
  const findings: Finding[] = [
    ['turfd', ...(await listens({ path: turf }, turf, 'start it with this TURF_WORKDIR'))],
    ...(await Promise.all(sockets.map(socket => plane(socket, turf, noslateLogdir, open)))),
    ...arrangement(noslatedWorkdir),
  ];
  // whoever answers first must not be named first
  open.sort((one, other) => sockets.indexOf(one.socket) - sockets.indexOf(other.socket));
  for (const kind of ['dp', 'cp']) {
    if (sockets.some(socket => socket.kind === kind)) continue;
    findings.push([kind, `none in ${folder}`, 'start one with this NOSLATED_WORKDIR']);
  }
  const count = sockets.filter(({ kind }) => kind === 'dp').length;
  if (config.agent === 'sdk' && count > 1) {
    findings.push(['agent sdk', `picks one of ${count} data planes, wherever the workers are`, 'use the agent native']);
  }
  return [
    ...findings,
    ...(await settled(() => workers(open, functions, logOf('cp', noslateLogdir)))),
    memory(join(noslatedWorkdir, 'run/control.config.json'), functions),
  ];
}

/** The Node.js of the server that runs this file, where it is another than ours. Where that cannot be seen, nothing. */
function runningOn(): string {
  const pid = processes().find(
    entry => readFileOf(`/proc/${entry}/cmdline`).split('\0').slice(1).join(' ') === `${__filename} `,
  );
  try {
    // by this name it can be run wherever it is
    const program = `/proc/${pid ?? 'self'}/exe`;
    if (statSync(program).ino === statSync(process.execPath).ino) return '';
    const version = execFileSync(program, ['--version'], { encoding: 'utf8', timeout: WAIT_MS });
    return `, on Node.js ${describeNode(version.trim())}`;
  } catch {
    // it has ended, or is another user's
    return '';
  }
}

const processes = (): string[] => (existsSync('/proc') ? readdirSync('/proc').filter(name => /^\d+$/.test(name)) : []);

/** Whether both planes are one process of start.sh's: they end together. Where that cannot be seen, nothing is said. */
function arrangement(workdir: string): Finding[] {
  const pid = processes().find(entry => {
    if (!readFileOf(`/proc/${entry}/cmdline`).includes('/warm/planes.js\0')) return false;
    const environment = readFileOf(`/proc/${entry}/environ`);
    // another user's is not told, and in a container there is no other
    return environment === '' || environment.split('\0').includes(`NOSLATED_WORKDIR=${workdir}`);
  });
  return pid === undefined ? [] : [['planes', `both in one process, ${pid}`]];
}

function readFileOf(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // no process, or another user's
    return '';
  }
}

async function plane(socket: SocketFile, turf: string, logs: string, open: Open[]): Promise<Finding> {
  const { name, kind, path } = socket;
  try {
    const connection = await connected(path);
    const { health, reason } = await (kind === 'dp' ? checkDataPlane : checkControlPlane)(connection, WAIT_MS);
    open.push({ socket, connection });
    if (!health) return [name, `ill, ${reason}`, `see ${logOf(kind, logs)}`];
    if (kind === 'cp' && madeAt(turf) > madeAt(path)) {
      return [name, 'older than turfd, and does not connect to another', 'start it again'];
    }
    return [name, 'healthy'];
  } catch (error) {
    return [name, (error as Error).message, 'start it again'];
  }
}

/** When a socket was made, epoch ms; it need not be there. */
function madeAt(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function logOf(kind: 'dp' | 'cp', logs: string): string {
  return join(logs, kind === 'dp' ? 'data_plane.log' : 'control_plane.log');
}

/** What a data plane has of a function. */
interface Share {
  readonly plane: string;
  readonly workers: number;
  /** Calls that wait for a worker, at least. */
  readonly waiting: number;
}

/** Tells of the functions what the control plane says, and the data planes, where calls go. */
async function workers(open: readonly Open[], functions: readonly FunctionProfile[], log: string): Promise<Finding[]> {
  const control = open.find(({ socket }) => socket.kind === 'cp');
  if (control === undefined) return [];
  try {
    const known = await getFunctionProfiles(control.connection, WAIT_MS);
    const stats = await getWorkerStatsSnapshot(control.connection, WAIT_MS);
    const shares = await Promise.all(open.filter(({ socket }) => socket.kind === 'dp').map(sharesOf));
    return functions.map(({ name, worker: { reservationCount = 0 } = {} }) => {
      if (!known.some(item => item.name === name)) {
        return [name, 'not set in the control plane', 'start the server with this noslate.json'];
      }
      const { activeWorkerCount = 0, initiatingWorkerCount = 0 } =
        stats.find(item => item.name === name && !item.inspector) ?? {};
      const own = shares.map(share => share(name));
      const waiting = own.reduce((sum, share) => sum + share.waiting, 0);
      const says = [`${activeWorkerCount} workers of ${reservationCount} reserved`];
      if (own.length > 1) says.push(own.map(share => `${share.workers} on ${share.plane}`).join(' and '));
      if (initiatingWorkerCount > 0) says.push(`${initiatingWorkerCount} starting`);
      if (waiting > 0) says.push(`${waiting} calls wait`);
      const isShort = activeWorkerCount < reservationCount || (waiting > 0 && initiatingWorkerCount === 0);
      return [name, says.join(', '), isShort && `see ${log}`];
    });
  } catch (error) {
    return [[control.socket.name, (error as Error).message, `see ${log}`]];
  }
}

/** Asks a data plane, and gives what it has of each function. */
async function sharesOf({ socket, connection }: Open): Promise<(name: string) => Share> {
  const brokers = await getWorkerTrafficStats(connection, WAIT_MS);
  return name => {
    const { workers: own = [], concurrency = 0 } =
      brokers.find(({ functionName, inspector }) => functionName === name && !inspector) ?? {};
    const active = own.reduce((sum, { activeRequestCount = 0 }) => sum + activeRequestCount, 0);
    return { plane: socket.name, workers: own.length, waiting: Math.max(0, Math.round(concurrency) - active) };
  };
}

/** Looks again while something is to be mended that may mend itself in a moment. */
async function settled(look: () => Promise<Finding[]>): Promise<Finding[]> {
  for (const deadline = now() + SETTLING_MS; ; ) {
    const findings = await look();
    if (now() > deadline || findings.every(([, , mend]) => !mend)) return findings;
    await new Promise(done => setTimeout(done, STEP_MS));
  }
}

function memory(file: string, functions: readonly FunctionProfile[]): Finding {
  let pool = 'unknown';
  try {
    pool = JSON.parse(readFileSync(file, 'utf8')).virtualMemoryPoolSize;
  } catch {
    // the control plane has not written it yet
  }
  const [, size, unit = ''] = /^(\d+)([kmg]?)/i.exec(pool) ?? [];
  const reserved = functions.reduce(
    (sum, { worker, resourceLimit }) =>
      sum + (worker?.reservationCount ?? 0) * (resourceLimit?.memory ?? DEFAULT_MEMORY),
    0,
  );
  // an unknown size is not too small: NaN
  const isShort = reserved > Number(size) * 1024 ** ' kmg'.indexOf(unit.toLowerCase() || ' ');
  return [
    'memory pool',
    `${pool}, ${reserved / 2 ** 20} MiB reserved`,
    isShort && 'raise NOSLATED_VIRTUAL_MEMORY_POOL_SIZE',
  ];
}

function code({ name, url }: FunctionProfile): Finding[] {
  const folder = url.startsWith('file:') ? fileURLToPath(url) : '.';
  return existsSync(folder) ? [] : [[name, `no ${folder}`, 'fix its url']];
}

function environment(profile: Profile, item: FunctionProfile): Finding[] {
  const bytes = environmentBytes(profile, item);
  if (bytes <= MAX_ENVIRONMENT_BYTES) return [];
  return [
    [item.name, `has an environment of ${bytes} bytes`, `turfd may start no worker above ${MAX_ENVIRONMENT_BYTES}`],
  ];
}

/** Resolves with a connection whose peer speaks HTTP/2. */
function connected(path: string): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const onOpen = (): void => resolve(connection);
    const connection = openConnection(path, { onOpen, onDraining() {}, onCapacity() {}, onClose: reject });
    setTimeout(() => reject(new Error('silent')), WAIT_MS);
  });
}

/** Tells whether something listens there, and the mend if not. */
function listens(where: NetConnectOpts, what: string, mend: string): Promise<[state: string, mend?: string]> {
  return new Promise(resolve => {
    connect(where, () => resolve([`${what} is open`])).on('error', () => resolve([`${what} is closed`, mend]));
  });
}
