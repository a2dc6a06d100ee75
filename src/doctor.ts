import { existsSync, readFileSync } from 'node:fs';
import { connect, type NetConnectOpts } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from './config.ts';
import { type Connection, openConnection } from './h2/connection.ts';
import {
  checkHealth as checkControlPlane,
  getFunctionProfiles,
  getWorkerStatsSnapshot,
} from './noslate/control-plane.ts';
import { checkHealth as checkDataPlane } from './noslate/data-plane.ts';
import { listSockets, type SocketFile } from './noslate/sockets.ts';
import { DEFAULT_MEMORY, type FunctionProfile } from './profile.ts';

/** Longest wait for any answer, ms. */
const WAIT_MS = 2000;

/** What was looked at, how it is, and how to mend it if it is not as it should be. */
type Finding = readonly [what: string, state: string, mend?: string | false];

/**
 * Looks at all that an invocation needs in this container. Resolves within seconds, whatever hangs, with text for a
 * person and the number of problems.
 *
 * @see Noslate contract §1
 */
export async function examine(config: Config, functions: readonly FunctionProfile[]): Promise<[string, number]> {
  const isLocal = config.agent === 'local';
  const findings: Finding[] = [
    ['Node.js', `${process.version}, ${process.execPath}; agent ${config.agent}`],
    ...(await Promise.all([server(config), isLocal ? [] : noslate(config, functions)])).flat(),
    ...functions.flatMap(code),
  ];
  const problems = findings.filter(([, , mend]) => mend).length;
  const lines = findings.map(
    ([what, state, mend]) => `${mend ? '!' : ' '} ${what.padEnd(12)} ${state}${mend ? `: ${mend}` : ''}\n`,
  );
  return [`${lines.join('')}${problems === 0 ? 'healthy' : `${problems} to mend`}\n`, problems];
}

async function server({ port }: Config): Promise<Finding[]> {
  const { FC_CUSTOM_LISTEN_PORT: asked = `${port}` } = process.env;
  return [
    ['server', ...(await listens({ port }, `port ${port}`, 'start it'))],
    ['FC', `asks port ${asked}`, asked !== `${port}` && 'unset SERVER_PORT'],
  ];
}

async function noslate(config: Config, functions: readonly FunctionProfile[]): Promise<Finding[]> {
  const { noslatePath = '', noslatedWorkdir = join(noslatePath, '.code'), turfWorkdir } = config;
  const turf = join(turfWorkdir ?? join(noslatePath, '.turf'), 'turf.sock');
  const folder = join(noslatedWorkdir, 'socks');
  const sockets = listSockets(folder);
  const findings: Finding[] = [
    ['turfd', ...(await listens({ path: turf }, turf, 'start it with this TURF_WORKDIR'))],
    ...(await Promise.all(sockets.map(socket => plane(socket, functions)))).flat(),
    memory(join(noslatedWorkdir, 'run/control.config.json'), functions),
  ];
  for (const kind of ['dp', 'cp']) {
    if (sockets.some(socket => socket.kind === kind)) continue;
    findings.push([kind, `none in ${folder}`, 'start one with this NOSLATED_WORKDIR']);
  }
  return findings;
}

async function plane({ name, kind, path }: SocketFile, functions: readonly FunctionProfile[]): Promise<Finding[]> {
  try {
    const connection = await connected(path);
    const { health, reason } = await (kind === 'dp' ? checkDataPlane : checkControlPlane)(connection, WAIT_MS);
    return [
      [name, health ? 'healthy' : `ill, ${reason}`, !health && 'see its log'],
      ...(kind === 'dp' ? [] : await workers(connection, functions)),
    ];
  } catch (error) {
    return [[name, (error as Error).message, 'start it again']];
  }
}

async function workers(connection: Connection, functions: readonly FunctionProfile[]): Promise<Finding[]> {
  const known = await getFunctionProfiles(connection, WAIT_MS);
  const stats = await getWorkerStatsSnapshot(connection, WAIT_MS);
  return functions.map(({ name, worker: { reservationCount = 0 } = {} }) => {
    const { activeWorkerCount = 0 } = stats.find(item => item.name === name && !item.inspector) ?? {};
    return known.some(item => item.name === name)
      ? [
          name,
          `${activeWorkerCount} workers of ${reservationCount} reserved`,
          activeWorkerCount < reservationCount && 'see the log',
        ]
      : [name, 'not set in the control plane', 'start the server with this noslate.json'];
  });
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
