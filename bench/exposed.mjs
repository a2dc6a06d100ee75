// What clients that mean no good do to the others, without limits and with SERVER_EXPOSED=1: npm run bench:exposed
// slowhttptest (Debian: slowhttptest) plays slow heads, slow bodies and slow readers; bench/attack.mjs the rest.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { accepted } from './client.mjs';
import { freePort, start, stop } from './process.mjs';

const SECONDS = Number(process.argv[2] ?? 25);
/** Calls a second of those whose time is measured; one in ten on a connection of its own. */
const RATE = 200;

const slow = (...args) => ['slowhttptest', ['-c', '2000', '-r', '500', '-i', '1', '-p', '3', '-l', SECONDS, ...args]];
const own = kind => [process.execPath, ['bench/attack.mjs', kind]];

/** By name: the program, and its arguments before the URL or the port. */
const ATTACKS = {
  quiet: undefined,
  'slow heads': slow('-H'),
  'slow bodies': slow('-B', '-s', '100000'),
  'slow readers': slow('-X', '-w', '512', '-y', '1024', '-n', '5', '-z', '32', '-k', '3'),
  '5000 idle connections': own('idle'),
  'one address flooding': own('flood'),
};

const FUNCTION = `exports.handler = async (ctx, req, res) => {
  for await (const chunk of req);
  res.end(req.url === '/large' ? Buffer.alloc(1 << 20, 'x') : 'hello');
};`;

function attack([program, args], port) {
  const isOwn = program === process.execPath;
  const rest = isOwn ? [port, SECONDS] : ['-u', `http://127.0.0.1:${port}/large`];
  const child = spawn(program, [...args, ...rest].map(String), { stdio: ['ignore', 'pipe', 'ignore'] });
  child.stdout.resume();
  return new Promise(done => child.on('close', done));
}

/** Asks at an even rate from an address of its own, and resolves with the time of each answer, ms, and the failures. */
async function others(port, seconds) {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  const times = [];
  let failed = 0;
  const once = i =>
    new Promise(done => {
      const begun = performance.now();
      const fail = () => done(failed++);
      const options = { host: '127.0.0.1', port, localAddress: '127.0.0.9', agent: i % 10 === 0 ? false : agent };
      const outgoing = request({ ...options, timeout: 10_000 }, response => {
        response.resume();
        response.on('end', () => done(times.push(performance.now() - begun)));
        response.on('error', fail);
      });
      outgoing.on('timeout', () => outgoing.destroy());
      outgoing.on('error', fail);
      outgoing.end();
    });
  const begun = performance.now();
  const calls = [];
  while (performance.now() - begun < seconds * 1000) {
    while (calls.length < ((performance.now() - begun) / 1000) * RATE) calls.push(once(calls.length));
    await sleep(1);
  }
  await Promise.all(calls);
  agent.destroy();
  return { times: times.sort((a, b) => a - b), failed };
}

const rssMib = pid => Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]) / 1024);
const descriptors = pid => readdirSync(`/proc/${pid}/fd`).length;
const cpuOf = pid => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) / 100;
};

async function measure(command, isExposed) {
  const port = await freePort();
  const env = { SERVER_PORT: String(port), SERVER_LOG: 'off', SERVER_CONFIG: join(folder, 'noslate.json') };
  const server = start('dist/server.js', { env: { ...env, ...(isExposed ? { SERVER_EXPOSED: '1' } : {}) } });
  (await accepted(port)).destroy();
  await others(port, 2);
  const before = { rss: rssMib(server.pid), descriptors: descriptors(server.pid) };
  let most = 0;
  const looking = setInterval(() => (most = Math.max(most, descriptors(server.pid))), 200);
  const cpu = cpuOf(server.pid);
  const [{ times, failed }] = await Promise.all([others(port, SECONDS), command && attack(command, port)]);
  clearInterval(looking);
  const spent = cpuOf(server.pid) - cpu;
  await sleep(3000);
  const after = { rss: rssMib(server.pid), descriptors: descriptors(server.pid) };
  await stop(server);
  const at = share => times[Math.floor(times.length * share)]?.toFixed(1);
  return { p50: at(0.5), p99: at(0.99), failed, most, before, after, cpu: spent.toFixed(1) };
}

const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-exposed-'));
process.on('exit', () => rmSync(folder, { recursive: true }));
mkdirSync(join(folder, 'f'));
writeFileSync(join(folder, 'f/index.js'), FUNCTION);
// one worker for all, with memory for all: what it takes to start others is no client's doing
const worker = { maxActivateRequests: 5000, replicaCountLimit: 1 };
const resourceLimit = { memory: 2 ** 31 - 1 };
const functions = [
  { name: 'f', runtime: 'nodejs', url: './f', handler: 'index.handler', signature: '1', worker, resourceLimit },
];
writeFileSync(join(folder, 'noslate.json'), JSON.stringify({ functions }));

const row = (...cells) => console.log(`| ${cells.join(' | ')} |`);
row(
  'clients that mean no good',
  'SERVER_EXPOSED',
  'others: p50, ms',
  'p99, ms',
  'failed',
  'sockets and files at most',
  'after',
  'MiB before',
  'after',
  'CPU, s',
);
row('---', '---', '--:', '--:', '--:', '--:', '--:', '--:', '--:', '--:');
for (const [name, command] of Object.entries(ATTACKS)) {
  for (const isExposed of [false, true]) {
    const { p50, p99, failed, most, before, after, cpu } = await measure(command, isExposed);
    row(name, isExposed ? 'on' : 'off', p50, p99, failed, most, after.descriptors, before.rss, after.rss, cpu);
  }
}
process.exit(0);
