// How soon a container answers: start.sh with Noslate as shipped, and warmed as in our image, by share of a vCPU. In
// turns, so that a busy machine bears on all alike. Noslate is that of NOSLATE_PATH, or stand-ins that load its
// dependencies.
//
//   npm run bench:container [-- --rounds 9 --cpus 2,1,0.5,0.25]
import { execFileSync, spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import noslate from '../dist-test/container/noslate/index.js';
import { createGroup, proportionalMemory } from './cpu.mjs';
import { freePort, within } from './process.mjs';
import { median } from './report.mjs';

/** Longest start or end, ms. */
const LAST_MS = 120_000;
/** Between two looks at what has no event, ms. */
const LOOK_MS = 1;

/** After this a program has let go of what it was read from. */
const SETTLED_MS = 12_000;

const BOUNDS = { socket: 0.5, start: 0.65, startCpus: 0.5, open: 1.3, megabytes: 12 };

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '9' }, cpus: { type: 'string', default: '2,1,0.5,0.25' } },
});
const ROUNDS = Number(values.rounds);
const CPUS = values.cpus.split(',').map(Number);

const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-'));
const code = join(folder, 'code');

/** A data plane's double answers this by itself: its workers only start. */
const NAME = process.env.NOSLATE_PATH === undefined ? '@hello' : 'hello';
const FUNCTION = "exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end('hello'); };\n";
const PROFILE = {
  name: NAME,
  runtime: 'nodejs',
  url: './hello',
  handler: 'index.handler',
  signature: '1',
  worker: { reservationCount: 1 },
};

/** Lays out what the image has, and warms it as the Dockerfile does. Gives NOSLATE_PATH. */
function prepare() {
  mkdirSync(join(code, 'hello'), { recursive: true });
  cpSync('dist/warm', join(code, 'warm'), { recursive: true });
  cpSync('dist/server.js', join(code, 'server.js'));
  cpSync('start.sh', join(code, 'start.sh'));
  writeFileSync(join(code, 'hello/index.js'), FUNCTION);
  writeFileSync(join(code, 'noslate.json'), JSON.stringify({ functions: [PROFILE] }));
  let path = process.env.NOSLATE_PATH;
  if (path === undefined) {
    const tree = 'bench/noslate';
    if (!existsSync(join(tree, 'node_modules'))) {
      execFileSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: tree, stdio: 'ignore' });
    }
    path = join(folder, 'noslate');
    noslate.installNoslate(path, tree);
  }
  const env = { PATH: process.env.PATH, NOSLATE_PATH: path };
  process.stdout.write(execFileSync(process.execPath, [join(code, 'warm/make.js')], { env, encoding: 'utf8' }));
  return path;
}

function environment(path, workdir, more) {
  return {
    PATH: process.env.PATH,
    NOSLATE_PATH: path,
    NOSLATE_BIN: join(path, 'bin'),
    NOSLATE_WORKDIR: workdir,
    NOSLATED_WORKDIR: join(workdir, 'noslated'),
    TURF_WORKDIR: join(workdir, 'turf'),
    NOSLATE_LOGDIR: join(workdir, 'logs'),
    SERVER_PATH: code,
    SERVER_LOG: 'off',
    DISABLE_INSPECTOR: 'true',
    ...more,
  };
}

/** Resolves when a port of the loopback, or a socket's file, accepts. */
function accepts(where) {
  return new Promise(done => {
    const attempt = () => {
      const socket = connect(where, () => done(socket.destroy()));
      socket.on('error', () => setTimeout(attempt, LOOK_MS));
    };
    attempt();
  });
}

/** The status of an answer, once it is there to the end. */
function ask(port, method, path, headers) {
  return new Promise((done, fail) => {
    const call = request({ host: '127.0.0.1', port, method, path, headers }, response => {
      response.resume();
      response.on('end', () => done(response.statusCode));
    });
    call.on('error', fail);
    call.end();
  });
}

/** What has been started last. */
let running;

/** Starts a command in a group; `end` ends it and all that it has left in the group. */
function launch(group, command, env) {
  const [shell, ...args] = [...group.enter, ...command];
  const begun = process.hrtime.bigint();
  const child = spawn(shell, args, { env, cwd: code, stdio: 'ignore' });
  const ended = new Promise(done => child.on('exit', done));
  running = {
    elapsed: () => Number(process.hrtime.bigint() - begun) / 1e6,
    async end() {
      child.kill('SIGTERM');
      await within(LAST_MS, ended, 'the end');
      while (group.pids().length > 0) {
        for (const pid of group.pids()) process.kill(pid, 'SIGKILL');
        await new Promise(done => setTimeout(done, LOOK_MS));
      }
      group.remove();
    },
  };
  return running;
}

/** ms from the start of the server alone to its open port. */
async function startServer(path, cpus) {
  const group = createGroup(cpus);
  const port = await freePort();
  const env = environment(path, mkdtempSync(join(folder, 'work-')), { SERVER_PORT: String(port) });
  const server = launch(group, [join(path, 'bin/node'), join(code, 'server.js')], env);
  await within(LAST_MS, accepts(port), 'the port');
  const open = server.elapsed();
  await server.end();
  return { open };
}

/**
 * One start: ms to the open port, to `/initialize` and to the first reply; CPU in ms, memory in MiB by then.
 *
 * @param settled - when the memory is to be read, ms after that.
 */
async function startContainer(path, cpus, isWarm, settled = 0) {
  const group = createGroup(cpus);
  const before = group.used();
  const port = await freePort();
  const more = { SERVER_PORT: String(port), SERVER_WARM: isWarm ? '1' : '0' };
  const env = environment(path, mkdtempSync(join(folder, 'work-')), more);
  const container = launch(group, [join(code, 'start.sh')], env);
  await within(LAST_MS, accepts(port), 'the port');
  const open = container.elapsed();
  const headers = { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': LAST_MS / 1000 };
  const status = await within(LAST_MS, ask(port, 'POST', '/initialize', headers), '/initialize');
  const initialized = container.elapsed();
  const reply = await within(LAST_MS, ask(port, 'GET', '/', {}), 'a reply');
  const replied = container.elapsed();
  const used = group.used() - before;
  await new Promise(done => setTimeout(done, settled));
  const memory = proportionalMemory(group.pids());
  await container.end();
  if (status !== 200 || reply !== 200) throw new Error(`/initialize: ${status}, the function: ${reply}`);
  return { open, initialized, replied, used, memory };
}

/** CPU of a data plane alone until its socket accepts, ms. */
async function startPlane(path, isWarm) {
  const workdir = mkdtempSync(join(folder, 'work-'));
  for (const name of ['noslated/socks', 'logs', 'turf']) mkdirSync(join(workdir, name), { recursive: true });
  const group = createGroup(Math.max(...CPUS));
  const before = group.used();
  const pack = join(code, 'warm/data_plane.pack');
  // as start.sh does
  const preload = isWarm ? ['-r', join(code, 'warm/preload.js'), '--min-semi-space-size=16'] : [];
  const env = environment(path, workdir, isWarm ? { NOSLATE_FC_WARM: `use:${pack}` } : {});
  const plane = launch(group, [join(path, 'bin/node'), ...preload, join(path, 'bin/data_plane')], env);
  await within(LAST_MS, accepts(join(workdir, 'noslated/socks/dp-0.sock')), 'the socket');
  const used = group.used() - before;
  await plane.end();
  return used;
}

/** Runs all a number of times in turns, each round in the other order; the first fills caches. */
async function inTurns(measures, rounds = ROUNDS) {
  const results = Object.fromEntries(Object.keys(measures).map(name => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    const names = Object.keys(measures);
    if (round % 2 === 1) names.reverse();
    const samples = {};
    for (const name of names) samples[name] = await measures[name]();
    if (round > 0) for (const name of names) results[name].push(samples[name]);
  }
  return results;
}

const spread = samples =>
  `${median(samples).toFixed(2)} (${Math.min(...samples).toFixed(2)} to ${Math.max(...samples).toFixed(2)})`;
const verdict = (what, value, bound) => {
  if (value > bound) process.exitCode = 1;
  console.log(`${what}: ${value.toFixed(2)}, bound ${bound}: ${value > bound ? 'NOT HELD' : 'held'}`);
};

const COLUMNS = {
  open: 'port open, ms',
  initialized: '/initialize, ms',
  replied: 'first reply, ms',
  used: 'CPU, ms',
  memory: 'memory, MiB',
};

/** A line of the table. */
function line(cpus, name, samples, ratios) {
  const cells = Object.entries(COLUMNS).map(([key, title]) => {
    const figure = samples[0][key] === undefined ? '' : median(samples.map(sample => sample[key])).toFixed(0);
    return figure.padStart(title.length);
  });
  return `| ${[String(cpus).padEnd(4), name.padEnd(12), ...cells, ratios].join(' | ')} |`;
}

try {
  const path = prepare();
  const files = readdirSync(join(code, 'warm')).map(name => join(code, 'warm', name));
  const megabytes = files.reduce((sum, file) => sum + statSync(file).size / 1e6, 0);

  const planes = await inTurns({ shipped: () => startPlane(path, false), warmed: () => startPlane(path, true) });
  const socket = planes.warmed.map((ms, i) => ms / planes.shipped[i]);
  console.log(
    `\ndata plane alone, CPU until its socket accepts: as shipped ${median(planes.shipped).toFixed(0)} ms, ` +
      `warmed ${median(planes.warmed).toFixed(0)} ms, ratio ${spread(socket)}\n`,
  );

  console.log(`| vCPU | start of     | ${Object.values(COLUMNS).join(' | ')} | first reply, warmed / as shipped |`);
  console.log(
    `| ---- | ------------ | ${Object.values(COLUMNS)
      .map(title => '-'.repeat(title.length))
      .join(' | ')} | - |`,
  );
  const start = {};
  const opens = {};
  for (const cpus of CPUS) {
    const { server, shipped, warmed } = await inTurns({
      server: () => startServer(path, cpus),
      shipped: () => startContainer(path, cpus, false),
      warmed: () => startContainer(path, cpus, true),
    });
    const ratios = warmed.map(({ replied }, i) => replied / shipped[i].replied);
    start[cpus] = median(ratios);
    opens[cpus] = median(warmed.map(({ open }, i) => open / server[i].open));
    console.log(line(cpus, 'server alone', server, ''));
    console.log(line(cpus, 'as shipped', shipped, ''));
    console.log(line(cpus, 'warmed', warmed, spread(ratios)));
  }
  const settled = await inTurns(
    {
      shipped: () => startContainer(path, CPUS[0], false, SETTLED_MS),
      warmed: () => startContainer(path, CPUS[0], true, SETTLED_MS),
    },
    1,
  );
  console.log(
    `\nmemory ${SETTLED_MS / 1000} s later: as shipped ${settled.shipped[0].memory.toFixed(0)} MiB, warmed ${settled.warmed[0].memory.toFixed(0)} MiB`,
  );
  const kind = process.env.NOSLATE_PATH === undefined ? 'stand-ins for Noslate' : 'Noslate';
  console.log(`medians of ${ROUNDS} rounds; Node.js ${process.version}; ${kind}\n`);
  verdict('data plane, CPU to socket, warmed / as shipped', median(socket), BOUNDS.socket);
  if (start[BOUNDS.startCpus] !== undefined) {
    verdict(`first reply at ${BOUNDS.startCpus} vCPU, warmed / as shipped`, start[BOUNDS.startCpus], BOUNDS.start);
  }
  verdict(`port open at ${CPUS[0]} vCPU, container / server alone`, opens[CPUS[0]], BOUNDS.open);
  verdict('MB that the image grows by', megabytes, BOUNDS.megabytes);
} catch (error) {
  await running?.end().catch(() => {});
  throw error;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
