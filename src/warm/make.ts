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

/** What is warmed; start.sh knows the packs by these names. Both planes in one process, or each in its own. */
const TOGETHER = ['planes', 'worker'];
const APART = ['data_plane', 'control_plane', 'worker'];

/** How often something is tried until it counts as a fault: a machine that makes images may be busy. */
const TRIES = 3;

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
/** What runs both planes; start.sh does so where it is. */
const planesFile = join(folder, 'planes.js');

/** What runs the planes, and is to run workers: of one file's pages there is one copy in memory. As start.sh finds it. */
const { NOSLATE_PATH = '/usr/local/noslate', NOSLATE_BIN = join(NOSLATE_PATH, 'bin') } = process.env;
const planeNode = existsSync(join(NOSLATE_BIN, 'node')) ? join(NOSLATE_BIN, 'node') : process.execPath;

/** Stands in for Node.js where turfd looks for it, so that workers have what the planes are given by start.sh. */
const workerNode = join(folder, 'node');

async function main(): Promise<void> {
  for (const name of readdirSync(folder)) if (/^node$|\.pack(\.new)?$/.test(name)) rmSync(join(folder, name));
  let programs = TOGETHER;
  let fault = await make(programs);
  if (fault !== undefined) {
    programs = APART;
    const alone = await make(programs, 'two');
    // where nothing starts it is not the planes' fault
    if (alone === undefined) {
      say(`each plane has a process of its own, for both in one do not start: ${fault}`);
      rmSync(planesFile);
    }
    fault = alone;
  }
  const made = programs.filter(program => existsSync(`${packOf(program)}.new`));
  const left: string[] = [];
  if (fault !== undefined) say(`nothing is warmed, for all that starts as shipped: ${fault}`);
  else for (const program of programs) if (!(await keep(program))) left.push(program);
  for (const program of made) rmSync(`${packOf(program)}.new`, { force: true });
  if (fault === undefined && left.length > 0) say(`as shipped, and slower than it could be: ${left.join(', ')}`);
}

/** Makes packs, beside their places. Gives what went wrong, if anything did. */
async function make(programs: readonly string[], planes?: 'two'): Promise<string | undefined> {
  const arrangement = planes && { SERVER_PLANES: planes };
  let fault: string | undefined;
  for (let i = 0; i < TRIES; i++) {
    for (const program of programs) rmSync(packOf(program), { force: true });
    writeWorkerNode('make');
    fault = await attempt('make', programs, arrangement);
    rmSync(workerNode);
    if (fault === undefined) break;
    sayTried(i, `to record ${programs.join(', ')}`, fault);
  }
  for (const program of programs) {
    if (fault !== undefined) rmSync(packOf(program), { force: true });
    else if (existsSync(packOf(program))) renameSync(packOf(program), `${packOf(program)}.new`);
  }
  return fault;
}

/** Puts a pack in its place, if everything still works then; false if it does not. */
async function keep(program: string): Promise<boolean> {
  const pack = packOf(program);
  if (!existsSync(`${pack}.new`)) {
    say(`${program} is not warmed: it has not been started`);
    return false;
  }
  renameSync(`${pack}.new`, pack);
  if (program === 'worker') writeWorkerNode('use');
  let fault: string | undefined;
  for (let i = 0; i < TRIES; i++) {
    fault = await attempt('1', [program]);
    if (fault === undefined) {
      say(`${program} is warmed: ${(statSync(pack).size / 1e6).toFixed(1)} MB`);
      return true;
    }
    sayTried(i, `with ${program}`, fault);
  }
  say(`${program} is not warmed: ${fault}`);
  rmSync(pack);
  if (program === 'worker') rmSync(workerNode);
  return false;
}

function writeWorkerNode(wish: 'make' | 'use'): void {
  const quote = (text: string): string => `'${text.replace(/'/g, `'\\''`)}'`;
  const parts = [planeNode, '-r', join(folder, 'preload.js')].map(quote);
  const variable = `NOSLATE_FC_WARM=${quote(`${wish}:${packOf('worker')}`)}`;
  writeFileSync(workerNode, `#!/bin/sh\n${variable} exec ${parts.join(' ')} "$@"\n`, { mode: 0o755 });
}

/**
 * Starts a container's processes in folders of their own, has a function answer, and ends them.
 *
 * @param warm - SERVER_WARM.
 * @param programs - whose packs are made.
 * @param arrangement - other variables.
 * @returns what went wrong, if anything did.
 */
async function attempt(
  warm: '1' | 'make',
  programs: readonly string[],
  arrangement: NodeJS.ProcessEnv = {},
): Promise<string | undefined> {
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
    ...arrangement,
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
    let refusal = await call(port, '/initialize');
    while (refusal !== undefined && isRunning && now() < last) {
      await pause(LOOK_MS);
      refusal = await call(port, '/initialize');
    }
    refusal ??= await call(port, '/invoke');
    const fault = refusal === undefined ? undefined : `no answer of a function: ${refusal}\n${said}`;
    if (warm === 'make' && fault === undefined) await settle(programs);
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
  writeFileSync(
    join(code, 'index.js'),
    'exports.handler = async (ctx, req, res) => {\n  res.writeHead(200);\n  res.end();\n};\n',
  );
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

/** Calls as FC does; gives what came in the place of a 200. */
function call(port: number, path: string): Promise<string | undefined> {
  const headers = { 'x-fc-control-path': path, 'x-fc-initialization-timeout': START_MS / 1000 };
  return new Promise(done => {
    const fail = ({ message }: Error): void => done(`${path}: ${message}`);
    const outgoing = request({ port, host: '127.0.0.1', method: 'POST', path, headers }, response => {
      let body = '';
      response.on('data', text => {
        body += text;
      });
      response.on('error', fail);
      response.on('end', () =>
        done(response.statusCode === 200 ? undefined : `${path}: ${response.statusCode} ${body}`),
      );
    });
    outgoing.on('error', fail);
    outgoing.setTimeout(START_MS, () => outgoing.destroy(new Error(`silent for ${START_MS} ms`)));
    outgoing.end();
  });
}

/** Waits until all packs are there and are not written any more. */
async function settle(programs: readonly string[]): Promise<void> {
  for (const last = now() + SETTLE_MS; now() < last; await pause(LOOK_MS)) {
    const ages = programs
      .map(packOf)
      .map(file => Date.now() - (statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0));
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

/** Tells of a fault that may not come again, in one line. */
function sayTried(i: number, what: string, fault: string): void {
  const [first, second] = fault.split('\n');
  say(`try ${i + 1} of ${TRIES} ${what}: ${first}${second ? `; ${second}` : ''}`);
}

function say(text: string): void {
  process.stdout.write(`noslate-fc: ${text}\n`);
}

main();
