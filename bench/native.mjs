// Measures the native agent beside its floor, node:http alone, and its rival, Express with grpc-js, in one
// run: rounds are interleaved and shuffled, answers checked, warm-ups thrown away.
//
//   npm run bench              all rounds; ends with code 1 when a bound is not held
//   npm run bench -- --quick   fewer and shorter ones, to see that it runs
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism, cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { accepted, drain, expectEcho, open, text, zeros } from './client.mjs';
import { floor, gateway, pipe, pipeH2, rival, startPlanes, startSource } from './planes.mjs';
import { ask, cpuSeconds, memory, resetPeak, stop } from './process.mjs';
import { row, table } from './table.mjs';

const isQuick = process.argv.includes('--quick');
const LOAD_ROUNDS = isQuick ? 2 : 5;
const LOAD_SECONDS = isQuick ? 1 : 4;
const START_ROUNDS = isQuick ? 3 : 15;
const DOWNLOAD_ROUNDS = isQuick ? 1 : 5;
const STALL_MS = isQuick ? 1000 : 5000;

const CONNECTIONS = 32;
/** Requests to each target before the first round of a load: V8 has compiled by then what it ever will. */
const WARM_UP = isQuick ? 2000 : 20_000;
/** Requests a second that each target can answer. */
const RATE = 1000;
/** Longest run of a load besides its own time, ms. */
const GRACE_MS = 30_000;

const MIB = 1024 * 1024;
const GIB = 1024 * MIB;
const BODY = Buffer.alloc(1024, 'x');

const require = createRequire(import.meta.url);
const say = line => process.stderr.write(`${line}\n`);

function shuffled(items) {
  const rest = [...items];
  return items.map(() => rest.splice(Math.floor(Math.random() * rest.length), 1)[0]);
}

/**
 * Measures each target once a round, in an order of chance, and once before to warm up. Gives the samples by
 * the targets' names and the measures' names.
 */
async function interleave(rounds, targets, measure) {
  const samples = {};
  for (let i = 0; i <= rounds; i++) {
    for (const name of shuffled(Object.keys(targets))) {
      const taken = await measure(name, targets[name]);
      samples[name] ??= Object.fromEntries(Object.keys(taken).map(key => [key, []]));
      if (i > 0) for (const [key, value] of Object.entries(taken)) samples[name][key].push(value);
    }
  }
  return samples;
}

/** One measure of several targets. */
const pick = (samples, key) =>
  Object.fromEntries(Object.entries(samples).flatMap(([name, taken]) => (key in taken ? [[name, taken[key]]] : [])));

/** Starts targets, and resolves when all their ports accept. */
async function startAll(launches) {
  const targets = {};
  for (const [name, launch] of Object.entries(launches)) {
    targets[name] = await launch();
    (await accepted(targets[name].port)).destroy();
  }
  return targets;
}

async function stopAll(targets) {
  for (const { child } of Object.values(targets)) await stop(child);
}

async function measureStarts() {
  say(`spawn → port accepts → first reply, ${START_ROUNDS} rounds`);
  const launches = { ours: gateway('native', '@echo'), local: gateway('local', '@echo'), floor, rival: rival('@echo') };
  const samples = await interleave(START_ROUNDS, launches, async (name, launch) => {
    const begin = performance.now();
    const { child, port } = await launch();
    const socket = await accepted(port);
    const taken = { accept: performance.now() - begin };
    // the local agent has no such function
    if (name === 'local') socket.destroy();
    else {
      await expectEcho(port, BODY, socket);
      taken.reply = performance.now() - begin;
      taken.rss = memory(child).now / MIB;
    }
    await stop(child);
    return taken;
  });
  const { local, ...rest } = samples;
  return [
    row('spawn → port accepts, native, ms', 1, pick(rest, 'accept'), { overFloor: { most: 1.15 } }),
    row(
      'spawn → port accepts, local, ms',
      1,
      { ours: local.accept, floor: rest.floor.accept },
      { overFloor: { most: 1.15 } },
    ),
    row('spawn → first reply, ms', 1, pick(rest, 'reply'), { overFloor: { most: 1.35 }, rivalOver: { least: 4 } }),
    row('RSS after one request, MiB', 1, pick(rest, 'rss')),
  ];
}

/** Has autocannon send as fast as the target answers: for a time (`-d`, seconds), or so many (`-a`). */
async function autocannon(port, ...limit) {
  const options = ['-j', '-c', CONNECTIONS, ...limit, '-m', 'POST', '-b', String(BODY)].map(String);
  const file = require.resolve('autocannon/autocannon.js');
  const result = await ask(file, [...options, `http://127.0.0.1:${port}/`], LOAD_SECONDS * 1000 + GRACE_MS);
  const failed = result.non2xx + result.errors + result.timeouts;
  return { answered: result['2xx'], failed, seconds: result.duration };
}

function paced(port) {
  const options = [port, RATE, LOAD_SECONDS, CONNECTIONS].map(String);
  return ask('bench/pace.mjs', options, LOAD_SECONDS * 1000 + GRACE_MS);
}

async function measureLoad() {
  const targets = await startAll({ ours: gateway('native', '@echo'), floor, rival: rival('@echo') });
  for (const { port } of Object.values(targets)) {
    await expectEcho(port, BODY);
    // by number: what answers fewer in a round must not be measured colder
    await autocannon(port, '-a', WARM_UP);
  }
  const by =
    generate =>
    async (name, { child, port }) => {
      const before = cpuSeconds(child);
      const { answered, failed, seconds } = await generate(port);
      const cpu = cpuSeconds(child) - before;
      if (failed > 0) throw new Error(`${name}: ${failed} of ${failed + answered} requests failed`);
      return { cpu: (cpu / answered) * 1e6, rate: answered / seconds };
    };
  say(`1 KiB POST, ${CONNECTIONS} connections, full speed, ${LOAD_ROUNDS} rounds of ${LOAD_SECONDS} s`);
  const full = await interleave(
    LOAD_ROUNDS,
    targets,
    by(port => autocannon(port, '-d', LOAD_SECONDS)),
  );
  say(`1 KiB POST, ${RATE}/s, ${LOAD_ROUNDS} rounds of ${LOAD_SECONDS} s`);
  const even = await interleave(LOAD_ROUNDS, targets, by(paced));
  const peak = Object.fromEntries(
    Object.entries(targets).map(([name, { child }]) => [name, [memory(child).peak / MIB]]),
  );
  await stopAll(targets);
  const bounds = { overFloor: { most: 1.6 }, rivalOver: { least: 5 } };
  return [
    row('CPU per invoke, full speed, µs', 1, pick(full, 'cpu'), bounds),
    row('invokes/s, full speed', 0, pick(full, 'rate')),
    row(`CPU per invoke, ${RATE}/s, µs`, 1, pick(even, 'cpu'), bounds),
    row('invokes/s, paced', 0, pick(even, 'rate')),
    row('RSS under load, peak, MiB', 1, peak),
  ];
}

async function measureDownload() {
  say(`download of 1 GiB, ${DOWNLOAD_ROUNDS} rounds`);
  const source = startSource(GIB);
  const targets = await startAll({ ours: gateway('native', '@source'), floor: pipe, planeFloor: pipeH2(GIB) });
  const samples = await interleave(DOWNLOAD_ROUNDS, targets, async (name, { child, port }) => {
    const cpu = cpuSeconds(child);
    const begin = performance.now();
    const bytes = await drain(await open(port, { method: 'GET', path: `/${GIB}` }));
    const seconds = (performance.now() - begin) / 1000;
    // what is piped from the plane has the framing of gRPC and protobuf
    const most = name === 'planeFloor' ? GIB * 1.001 : GIB;
    if (bytes < GIB || bytes > most) throw new Error(`${name}: expected ${GIB} bytes, got ${bytes}`);
    return { speed: GIB / MIB / seconds, cpu: cpuSeconds(child) - cpu };
  });
  await stopAll({ ...targets, source: { child: source } });
  const { ours, floor: socket, planeFloor: plane } = samples;
  return [
    row(
      'download, MiB/s; floor pipes the plane',
      0,
      { ours: ours.speed, floor: plane.speed },
      { overFloor: { least: 0.6 } },
    ),
    row('download, MiB/s; floor pipes a socket', 0, { ours: ours.speed, floor: socket.speed }),
    row('CPU per GiB, s; floor pipes the plane', 2, { ours: ours.cpu, floor: plane.cpu }),
    row('CPU per GiB, s; floor pipes a socket', 2, { ours: ours.cpu, floor: socket.cpu }),
  ];
}

/** The most that a gateway grows in MiB while it carries 1 GiB for a reader who stands still for a while. */
async function growth(launch, carry) {
  const { ours } = await startAll({ ours: launch });
  await carry(ours.port, BODY.length, 0);
  const before = memory(ours.child).now;
  resetPeak(ours.child);
  await carry(ours.port, GIB, STALL_MS);
  const { peak } = memory(ours.child);
  await stop(ours.child);
  return (peak - before) / MIB;
}

async function measureStalls(planes) {
  say(`1 GiB each way, reader stalled for ${STALL_MS} ms`);
  const down = await growth(gateway('native', '@source'), async (port, bytes, stallMs) => {
    const received = await drain(await open(port, { method: 'GET', path: `/${bytes}` }), stallMs);
    if (received !== bytes) throw new Error(`expected ${bytes} bytes, got ${received}`);
  });
  const up = await growth(gateway('native', '@sink'), async (port, bytes, stallMs) => {
    // the plane stands still once, after the first message
    await planes.setKnobs({ slowReaderMs: stallMs });
    const answer = open(port, { headers: { 'content-length': bytes }, body: zeros(bytes) });
    await sleep(stallMs / 2);
    await planes.setKnobs({ slowReaderMs: 0 });
    const received = await text(await answer);
    if (received !== String(bytes)) throw new Error(`expected ${bytes} bytes, the plane had ${received}`);
  });
  return [
    row('RSS growth, 1 GiB down, stalled, MiB', 1, { ours: [down] }, { ours: { most: 32 } }),
    row('RSS growth, 1 GiB up, stalled, MiB', 1, { ours: [up] }, { ours: { most: 32 } }),
  ];
}

const version = name => JSON.parse(readFileSync(`${name}/package.json`, 'utf8')).version;

execFileSync(process.execPath, ['build.mjs', '--test'], { stdio: ['ignore', 2, 2] });
if (!existsSync('bench/node_modules/express')) {
  execFileSync('npm', ['ci', '--prefix', 'bench', '--no-audit', '--no-fund'], { stdio: ['ignore', 2, 2] });
}
const planes = await startPlanes();
const rows = [
  ...(await measureStarts()),
  ...(await measureLoad()),
  ...(await measureDownload()),
  ...(await measureStalls(planes)),
];
console.log(`\n${table(rows)}\n`);
console.log(
  `medians (min..max) of one interleaved run: ${['node bench/native.mjs', ...process.argv.slice(2)].join(' ')}`,
);
console.log(
  `node ${process.version}, noslate-fc ${version('.')}, express ${version('bench/node_modules/express')}, ` +
    `grpc-js ${version('node_modules/@grpc/grpc-js')}, autocannon ${version('node_modules/autocannon')}`,
);
console.log(`${availableParallelism()} cores, ${cpus()[0]?.model}`);
process.exit(rows.every(({ isHeld }) => isHeld) ? 0 : 1);
