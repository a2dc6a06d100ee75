// Run once, as an image is made: `node warm/make.js`, beside start.sh. Makes the packs from which Noslate's programs
// load their modules, starts all with each, and keeps those that do; the server keeps its own code beside it
// (src/boot.ts). Whatever fails, the image is as it was without.
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { request } from 'node:http';
import { type AddressInfo, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { now } from '../clock.ts';

/** What is warmed; start.sh knows the packs by these names. */
const PROGRAMS = ['data_plane', 'control_plane', 'worker'] as const;

/** Longest wait for a start, and for an end, ms. */
const START_MS = 60_000;
const END_MS = 30_000;

/** Pause between two looks at what has no event, ms. */
const LOOK_MS = 50;

/** How long packs must not have changed, and longest wait for that, ms. */
const SETTLED_MS = 1000;
const SETTLE_MS = 10_000;

/** This folder, where the packs go. */
const folder = __dirname;
const packOf = (program: string): string => join(folder, `${program}.pack`);

/** Stands in for Node.js where turfd looks for it, so that workers have what the planes are given by start.sh. */
const workerNode = join(folder, 'node');

async function main(): Promise<void> {
  for (const file of [workerNode, ...PROGRAMS.map(packOf)]) rmSync(file, { force: true });
  writeWorkerNode('make');
  const fault = await attempt('make');
  const made = PROGRAMS.filter(program => existsSync(packOf(program)));
  for (const program of made) renameSync(packOf(program), `${packOf(program)}.new`);
  rmSync(workerNode);
  if (fault !== undefined) say(`nothing is warmed, for all that starts as shipped: ${fault}`);
  else for (const program of PROGRAMS) await keep(program);
  for (const program of made) rmSync(`${packOf(program)}.new`, { force: true });
}

/** Puts a pack in its place, if everything still works then. */
async function keep(program: (typeof PROGRAMS)[number]): Promise<void> {
  const pack = packOf(program);
  if (!existsSync(`${pack}.new`)) {
    say(`${program} is not warmed: it has not been started`);
    return;
  }
  renameSync(`${pack}.new`, pack);
  if (program === 'worker') writeWorkerNode('use');
  const fault = await attempt('1');
  if (fault === undefined) {
    say(`${program} is warmed: ${(statSync(pack).size / 1e6).toFixed(1)} MB`);
    return;
  }
  say(`${program} is not warmed: ${fault}`);
  rmSync(pack);
  if (program === 'worker') rmSync(workerNode);
}

function writeWorkerNode(wish: 'make' | 'use'): void {
  const quote = (text: string): string => `'${text.replace(/'/g, `'\\''`)}'`;
  const parts = [process.execPath, '-r', join(folder, 'preload.js')].map(quote);
  const variable = `NOSLATE_FC_WARM=${quote(`${wish}:${packOf('worker')}`)}`;
  writeFileSync(workerNode, `#!/bin/sh\n${variable} exec ${parts.join(' ')} "$@"\n`, { mode: 0o755 });
}

/**
 * Starts a container's processes in folders of their own, has a function answer, and ends them.
 *
 * @param warm - SERVER_WARM.
 * @returns what went wrong, if anything did.
 */
async function attempt(warm: '1' | 'make'): Promise<string | undefined> {
  const workdir = mkdtempSync(join(tmpdir(), 'noslate-fc-warm-'));
  const port = await freePort();
  const env = {
    ...process.env,
    NOSLATE_WORKDIR: workdir,
    NOSLATED_WORKDIR: join(workdir, 'noslated'),
    TURF_WORKDIR: join(workdir, 'turf'),
    NOSLATE_LOGDIR: join(workdir, 'logs'),
    SERVER_HOST: '127.0.0.1',
    SERVER_PORT: String(port),
    SERVER_CONFIG: writeFunction(join(workdir, 'code')),
    SERVER_AGENT: 'native',
    SERVER_LOG: 'off',
    SERVER_WARM: warm,
    ...(warm === 'make' && { NOSLATE_FC_CACHE: 'make' }),
  };
  const child = spawn(join(folder, '../start.sh'), { env, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', text => {
    said += text;
  });
  let isRunning = true;
  const end = new Promise<number | string>(done => {
    child.on('error', error => done(error.message));
    child.on('close', (code, signal) => done(code ?? signal ?? 'unknown'));
  }).finally(() => {
    isRunning = false;
  });
  try {
    const last = now() + START_MS;
    while (isRunning && now() < last && !(await answers(port, '/initialize'))) await pause(LOOK_MS);
    const fault = (await answers(port, '/invoke')) ? undefined : `no answer of a function\n${said}`;
    if (warm === 'make' && fault === undefined) await settle();
    child.kill('SIGTERM');
    const kill = setTimeout(() => child.kill('SIGKILL'), END_MS);
    const status = await end;
    clearTimeout(kill);
    return fault ?? (status === 0 ? complaintIn(workdir) : `start.sh ended with ${status}\n${said}`);
  } finally {
    rmSync(workdir, { recursive: true, force: true });
  }
}

/** @returns the `noslate.json` of a function that has a worker from the start. */
function writeFunction(code: string): string {
  mkdirSync(code);
  writeFileSync(join(code, 'index.js'), 'exports.handler = async (ctx, req, res) => res.writeHead(200).end();\n');
  const profile = {
    name: 'warm',
    runtime: 'nodejs',
    url: '.',
    handler: 'index.handler',
    signature: '1',
    worker: { reservationCount: 1 },
  };
  writeFileSync(join(code, 'noslate.json'), JSON.stringify({ functions: [profile] }));
  return join(code, 'noslate.json');
}

/** Calls as FC does; true for a 200. */
function answers(port: number, path: string): Promise<boolean> {
  const headers = { 'x-fc-control-path': path, 'x-fc-initialization-timeout': START_MS / 1000 };
  return new Promise(done => {
    const call = request({ port, host: '127.0.0.1', method: 'POST', path, headers, timeout: START_MS }, response => {
      response.resume();
      response.on('close', () => done(response.statusCode === 200));
    });
    call.on('error', () => done(false));
    call.on('timeout', () => call.destroy());
    call.end();
  });
}

/** Waits until all packs are there and are not written any more. */
async function settle(): Promise<void> {
  for (const last = now() + SETTLE_MS; now() < last; await pause(LOOK_MS)) {
    const ages = PROGRAMS.map(packOf).map(
      file => Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0),
    );
    if (ages.every(age => age > SETTLED_MS && age < START_MS)) return;
  }
}

/** What a program has said of its pack, in any log. */
function complaintIn(path: string): string | undefined {
  if (statSync(path).isDirectory()) {
    for (const name of readdirSync(path)) {
      const complaint = complaintIn(join(path, name));
      if (complaint !== undefined) return complaint;
    }
    return undefined;
  }
  return path.endsWith('.log') ? /^noslate-fc warm: .*$/m.exec(readFileSync(path, 'utf8'))?.[0] : undefined;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  await new Promise(done => server.close(done));
  return port;
}

function pause(ms: number): Promise<void> {
  return new Promise(done => setTimeout(done, ms));
}

function say(text: string): void {
  process.stdout.write(`noslate-fc: ${text}\n`);
}

main();
