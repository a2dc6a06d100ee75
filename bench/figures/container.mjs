// How soon a container answers: start.sh with Noslate as shipped, and warmed as in our image, by share of a vCPU.
// Noslate is that of NOSLATE_PATH, or stand-ins that load its dependencies.
import { execFileSync, spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { accepted, drain, open } from '../client.mjs';
import { createFamily, createGroup, proportionalMemory } from '../cpu.mjs';
import { folder } from '../planes.mjs';
import { cpuSeconds, freePort, within } from '../process.mjs';
import { interleave, say } from '../run.mjs';

/** Longest start or end, ms. */
const LAST_MS = 120_000;
/** Between two looks at processes that have been killed, ms. */
const LOOK_MS = 1;
/** Between two looks at what works: more of them would take its time. ms. */
const WATCH_MS = 5;

/** After this a program has let go of what it was read from. */
const SETTLED_MS = 12_000;

/** What Noslate's programs load, for stand-ins of their weight. */
const TREE = 'bench/noslate';

const code = join(folder, 'code');

/** Noslate's folder, if it has its programs, and not its SDK alone. */
const { NOSLATE_PATH } = process.env;
const ownPath = NOSLATE_PATH && existsSync(join(NOSLATE_PATH, 'bin/data_plane')) ? resolve(NOSLATE_PATH) : undefined;
export const isStandIn = ownPath === undefined;
export const kind = isStandIn ? 'stand-ins for Noslate' : 'Noslate';

/** What runs the server, where it is not what runs the planes. */
const { SERVER_NODE: serverNode, NOSLATED_FORCE_NON_SEED_MODE: seedless } = process.env;

/** A data plane's double answers this by itself: its workers only start. */
const NAME = ownPath === undefined ? '@hello' : 'hello';
const FUNCTION = "exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end('hello'); };\n";
const PROFILE = {
  name: NAME,
  runtime: 'nodejs',
  url: './hello',
  handler: 'index.handler',
  signature: '1',
  worker: { reservationCount: 1 },
};

/** What is started. */
const COLUMNS = {
  shipped: { title: 'container, as shipped' },
  warmed: { title: 'container, warmed', isOurs: true },
  server: { title: 'the server alone', isOurs: true },
};

/** Lays out what the image has, and warms it as the Dockerfile does. Gives NOSLATE_PATH. */
export function layOut() {
  mkdirSync(join(code, 'hello'), { recursive: true });
  cpSync('dist/warm', join(code, 'warm'), { recursive: true });
  cpSync('dist/server.js', join(code, 'server.js'));
  cpSync('start.sh', join(code, 'start.sh'));
  writeFileSync(join(code, 'hello/index.js'), FUNCTION);
  writeFileSync(join(code, 'noslate.json'), JSON.stringify({ functions: [PROFILE] }));
  const path = ownPath ?? installStandIns();
  const env = { PATH: process.env.PATH, NOSLATE_PATH: path, ...(serverNode && { SERVER_NODE: serverNode }) };
  const said = execFileSync(process.execPath, [join(code, 'warm/make.js')], { env, encoding: 'utf8' });
  say(said.trimEnd());
  return path;
}

function installStandIns() {
  if (!existsSync(join(TREE, 'node_modules'))) {
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
    execFileSync('npm', args, { cwd: TREE, stdio: ['ignore', 2, 2] });
  }
  const path = join(folder, 'noslate');
  // not imported above: it is built first
  createRequire(import.meta.url)(resolve('dist-test/container/noslate/index.js')).installNoslate(path, TREE);
  return path;
}

/** MB that the image grows by. */
export function growthOfImage() {
  const files = readdirSync(join(code, 'warm')).map(name => join(code, 'warm', name));
  return files.reduce((sum, file) => sum + statSync(file).size / 1e6, 0);
}

/** Whether there can be a limit; says so when not. */
export function canLimit() {
  try {
    createGroup(1).remove();
    return true;
  } catch (error) {
    say(`container: no limit of CPU, ${error.message}`);
    return false;
  }
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
    ...(serverNode && { SERVER_NODE: serverNode }),
    DISABLE_INSPECTOR: 'true',
    ...(seedless && { NOSLATED_FORCE_NON_SEED_MODE: seedless }),
    ...more,
  };
}

/** Groups with processes, which end with us. */
const running = new Set();
process.on('exit', () => {
  for (const group of running) killAll(group);
});

function killAll(group) {
  for (const pid of group.pids()) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // it has ended by itself
    }
  }
}

/**
 * Starts a command in a group; `end` ends it and all that it has left in the group.
 *
 * @param cpus - its share, vCPUs; undefined for no limit.
 */
function launch(cpus, command, env) {
  const group = cpus === undefined ? createFamily() : createGroup(cpus);
  const usedBefore = group.used();
  const [shell, ...args] = [...group.enter, ...command];
  const begun = process.hrtime.bigint();
  const child = spawn(shell, args, { env, cwd: code, stdio: 'ignore' });
  group.lead(child.pid);
  running.add(group);
  const ended = new Promise(done => child.on('exit', done));
  return {
    elapsed: () => Number(process.hrtime.bigint() - begun) / 1e6,
    used: () => group.used() - usedBefore,
    memory: () => proportionalMemory(group.pids()),
    pids: () => group.pids(),
    async end() {
      child.kill('SIGTERM');
      await within(LAST_MS, ended, 'the end');
      while (group.pids().length > 0) {
        killAll(group);
        await new Promise(done => setTimeout(done, LOOK_MS));
      }
      running.delete(group);
      group.remove();
    },
  };
}

/** What the processes of a start are called by their command lines. */
const PROCESSES = [
  ['start.sh', /\/start\.sh/],
  ['server', /\/server\.js/],
  ['turfd', /turf(?:\.js)?\0-D/],
  ['both planes', /\/planes\.js/],
  ['data plane', /\/data_plane/],
  ['control plane', /\/control_plane/],
  ['worker', /noslated_node/],
];

/**
 * Notes when processes of a container come, ms from its start, and what CPU each has used: those that have a name. Whoever
 * is ready says so with `mark`; what is not marked is at work to the end.
 */
function follow(container) {
  const found = new Map();
  function look() {
    const at = container.elapsed();
    for (const pid of container.pids()) {
      try {
        const each = found.get(pid) ?? { from: at, cpu: 0 };
        found.set(pid, each);
        // a process is first what it was forked from
        const line = readFileSync(`/proc/${pid}/cmdline`, 'latin1');
        each.name = PROCESSES.find(([, pattern]) => pattern.test(line))?.[0];
        each.cpu = cpuSeconds({ pid }) * 1000;
      } catch {
        // it has ended
      }
    }
  }
  const timer = setInterval(look, WATCH_MS);
  const marks = new Map();
  return {
    mark: name => marks.set(name, container.elapsed()),
    stop() {
      clearInterval(timer);
      look();
      const end = container.elapsed();
      const named = [...found.values()].filter(({ name }) => name !== undefined);
      // of those with one name, as what bash forks for a moment, the first
      const first = PROCESSES.flatMap(([name]) => named.find(each => each.name === name) ?? []);
      return first.map(({ name, from, cpu }) => ({ name, from, to: marks.get(name) ?? end, cpu }));
    },
  };
}

/** ms from the start of the server alone to its open port. */
async function startServer(path, cpus) {
  const port = await freePort();
  const env = environment(path, mkdtempSync(join(folder, 'work-')), { SERVER_PORT: String(port) });
  const server = launch(cpus, [serverNode ?? join(path, 'bin/node'), join(code, 'server.js')], env);
  (await accepted(port)).destroy();
  const opened = server.elapsed();
  await server.end();
  return { open: opened };
}

/**
 * One start: ms to the open port, to `/initialize` and to the first reply; CPU in ms, memory in MiB by then.
 *
 * @param settled - when the memory is to be read, ms after that.
 */
async function startContainer(path, cpus, isWarm, settled = 0) {
  const { container, opened, initialized, replied } = await untilReply(path, cpus, isWarm);
  const used = container.used();
  await new Promise(done => setTimeout(done, settled));
  const memory = container.memory();
  await container.end();
  return { open: opened, initialized, replied, used, memory };
}

/** Starts a container, and asks it as FC does until it has answered a call. `look` may look on: it gives what is told who is ready. */
async function untilReply(path, cpus, isWarm, look) {
  const port = await freePort();
  const workdir = mkdtempSync(join(folder, 'work-'));
  const env = environment(path, workdir, { SERVER_PORT: String(port), SERVER_WARM: isWarm ? '1' : '0' });
  const container = launch(cpus, [join(code, 'start.sh')], env);
  const following = look?.(container, workdir);
  (await accepted(port)).destroy();
  const opened = container.elapsed();
  following?.mark('server');
  const headers = { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': LAST_MS / 1000 };
  await drain(await open(port, { path: '/initialize', headers }));
  const initialized = container.elapsed();
  following?.mark('worker');
  await drain(await open(port, { method: 'GET' }));
  return { container, following, opened, initialized, replied: container.elapsed() };
}

/** One start, process by process: `{ name, from, to, cpu }` in ms, and when the first reply came. */
async function traceContainer(path, cpus, isWarm) {
  const { container, following, replied } = await untilReply(path, cpus, isWarm, (started, workdir) => {
    const follower = follow(started);
    const socket = (name, ...names) =>
      accepted(join(workdir, name)).then(
        connection => {
          connection.destroy();
          for (const each of names) follower.mark(each);
        },
        () => {},
      );
    socket('turf/turf.sock', 'turfd');
    socket('noslated/socks/dp-0.sock', 'data plane');
    socket('noslated/socks/cp-0.sock', 'control plane', 'both planes');
    return follower;
  });
  const processes = following.stop();
  await container.end();
  return { replied, processes };
}

/** The start of the middle first reply of several, as shipped and warmed, for a picture. */
async function timelines(path, rounds, cpus) {
  const taken = { shipped: [], warmed: [] };
  for (let i = 0; i < rounds; i++)
    for (const name of Object.keys(taken)) taken[name].push(await traceContainer(path, cpus, name === 'warmed'));
  const middle = starts => starts.sort((a, b) => a.replied - b.replied)[rounds >> 1];
  return Object.entries(taken).map(([name, starts]) => ({ ...COLUMNS[name], ...middle(starts) }));
}

/** CPU of a data plane alone until its socket accepts, ms. */
async function startPlane(path, cpus, isWarm) {
  const workdir = mkdtempSync(join(folder, 'work-'));
  for (const name of ['noslated/socks', 'logs', 'turf']) mkdirSync(join(workdir, name), { recursive: true });
  const pack = join(code, 'warm/planes.pack');
  // as start.sh does
  const preload = isWarm ? ['-r', join(code, 'warm/preload.js'), '--min-semi-space-size=8'] : [];
  const env = environment(path, workdir, isWarm ? { NOSLATE_FC_WARM: `use:${pack}` } : {});
  const plane = launch(cpus, [join(path, 'bin/node'), ...preload, join(path, 'bin/data_plane')], env);
  (await accepted(join(workdir, 'noslated/socks/dp-0.sock'))).destroy();
  const used = plane.used();
  await plane.end();
  return { used };
}

/** CPU of a data plane alone, as shipped and warmed. */
async function planes(path, rounds, cpus) {
  const { used } = await interleave(rounds, ['shipped', 'warmed'], name => startPlane(path, cpus, name === 'warmed'));
  const title = 'data plane alone, CPU until its socket accepts';
  return { id: 'container-plane', title, unit: 'ms', digits: 0, columns: COLUMNS, samples: used };
}

/** Starts of the whole, and of the server alone, each once a round. */
async function starts(path, rounds, cpus) {
  const found = await interleave(rounds, Object.keys(COLUMNS), name =>
    name === 'server' ? startServer(path, cpus) : startContainer(path, cpus, name === 'warmed'),
  );
  const [share, id] = cpus === undefined ? ['no limit', 'free'] : [`${cpus} vCPU`, String(cpus)];
  const table = (key, what, unit) => ({
    id: `container-${id}-${key}`,
    title: `${what}, ${share}`,
    unit,
    digits: 0,
    columns: COLUMNS,
    samples: found[key],
  });
  return [
    table('open', 'start → port open', 'ms'),
    table('initialized', 'start → /initialize answered', 'ms'),
    table('replied', 'start → first reply', 'ms'),
    table('used', 'CPU until then, all processes', 'ms'),
    table('memory', 'memory then, all processes', 'MiB'),
  ];
}

/** Memory some time after the first reply, MiB, as shipped and warmed. */
export async function settledMemory(path, cpus) {
  const rest = isWarm => startContainer(path, cpus, isWarm, SETTLED_MS);
  const [shipped, warmed] = [await rest(false), await rest(true)];
  return { seconds: SETTLED_MS / 1000, shipped: shipped.memory, warmed: warmed.memory };
}

/** Tables, and a picture at the last share. @see measure */
export async function container({ rounds, cpus }) {
  const path = layOut();
  const shares = canLimit() ? cpus : [undefined];
  const tables = await measure({ rounds, shares }, path);
  const share = shares.at(-1);
  const title = `A start, process by process, ${share === undefined ? 'no limit' : `${share} vCPU`}`;
  const timeline = { id: 'container-timeline', title, starts: await timelines(path, rounds, share) };
  return { tables, curves: [], timelines: [timeline] };
}

/**
 * Starts containers at each share of the CPUs.
 *
 * @param shares - in vCPUs, the largest first; undefined is no limit.
 * @param path - what `layOut` gave.
 */
export async function measure({ rounds, shares }, path) {
  say(`container: CPU of a data plane alone, ${rounds} rounds, ${kind}`);
  const tables = [await planes(path, rounds, shares[0])];
  for (const share of shares) {
    say(`container: start.sh → first reply, ${rounds} rounds, ${share ?? 'all'} vCPU`);
    tables.push(...(await starts(path, rounds, share)));
  }
  return tables;
}
