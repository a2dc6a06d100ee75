import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { freePort } from '../src/desk/fc/port.ts';
import { AGENTS } from './agents.ts';
import { ask, eventually, type Functions, launch, project, suite, within } from './helpers.ts';
import { type Planes, startPlanes } from './planes/index.ts';

/*
 * Mixed traffic against one server while planes are killed, the server is frozen, and clients leave, stand still or send
 * rubbish by the hundred. Each call has an id, and what its client saw must be what the access line of that id says:
 *
 *   whole    an answer to its last byte: `ok`
 *   CODE     the gateway's JSON: `error CODE`
 *   broken   cut off behind its head: any error, and never `ok`
 *   left     the client went: `client gone`, or an error that came first
 *
 * Between rounds, with nothing in flight, descriptors, timers and memory must be what they were after the first.
 *
 * SOAK_SECONDS=600 node test/run.mjs soak
 */

const SECONDS = Number(process.env['SOAK_SECONDS'] ?? 10);
/** Of each agent; all of them are for CI and for who asks for it. */
const STOPS = process.env['SOAK_SECONDS'] === undefined ? 5 : 25;
const ROUNDS = 5;
const CALLERS = 24;
/** Between two calls of a caller, ms, at most: the machine has to bear it. */
const THINK_MS = 60;
const DISTURB_MS = 400;
/** What may be more at the end than after the third round: before, heaps find their size. */
const MORE = { descriptors: 8, timers: 8, bytes: 64 * 1024 * 1024 };

const functions: Functions = {
  f: `exports.handler = async (ctx, req, res) => {
    const path = req.url;
    if (path === '/throw') throw new Error('told to');
    if (path === '/exit') process.exit(3);
    if (path === '/hang') return;
    if (path === '/endless') {
      res.writeHead(200);
      const timer = setInterval(() => res.write('more '), 20);
      setTimeout(() => clearInterval(timer), 3000);
      return;
    }
    if (path === '/large') {
      res.writeHead(200);
      for (let i = 0; i < 16; i++) if (!res.write(Buffer.alloc(65536, 'x'))) await new Promise(done => res.once('drain', done));
      return res.end();
    }
    if (path === '/break') {
      res.writeHead(200);
      res.write('half');
      await new Promise(done => setTimeout(done, 50));
      throw new Error('told to');
    }
    req.pipe(res);
  };`,
};

/** What a client saw of a call; `broken` and `left` as above, else `whole` or an error's code. */
type Seen = string;

interface Kind {
  readonly path: string;
  readonly method?: string;
  /** Bytes of its body. */
  readonly bytes?: number;
  readonly timeout?: number;
  /** Leaves before the head, or so many ms behind it. */
  readonly leaves?: 'before' | number;
  /** Reads nothing for so long, ms. */
  readonly stands?: number;
  readonly weight: number;
}

const KINDS: readonly Kind[] = [
  { path: '/', weight: 10 },
  { path: '/echo', method: 'POST', bytes: 1000, weight: 10 },
  { path: '/echo', method: 'PUT', bytes: 200_000, weight: 3 },
  { path: '/invoke', method: 'POST', bytes: 100, weight: 4 },
  { path: '/large', weight: 3 },
  { path: '/large', stands: 300, weight: 1 },
  { path: '/throw', weight: 2 },
  { path: '/break', weight: 1 },
  { path: '/hang', timeout: 1, weight: 1 },
  { path: '/hang', leaves: 'before', weight: 2 },
  { path: '/endless', leaves: 100, weight: 2 },
  { path: '/exit', weight: 0.2 },
];
const WEIGHT = KINDS.reduce((sum, { weight }) => sum + weight, 0);

function anyKind(): Kind {
  let left = Math.random() * WEIGHT;
  const found = KINDS.find(({ weight }) => {
    left -= weight;
    return left < 0;
  });
  return found ?? (KINDS[0] as Kind);
}

/** Makes a call, and resolves with what came of it. `undefined`: no byte of an answer came, and no connection was had. */
function call(port: number, id: string, kind: Kind): Promise<Seen> {
  const { path, method = 'GET', bytes = 0, timeout = 20, leaves, stands = 0 } = kind;
  const body = Buffer.alloc(bytes, 'x');
  const headers = { 'x-fc-request-id': id, 'x-fc-function-timeout': String(timeout), 'content-length': bytes };
  return new Promise(done => {
    const outgoing = httpRequest({ host: '127.0.0.1', port, method, path, headers, agent: false }, reply => {
      let text = '';
      let size = 0;
      reply.on('data', (chunk: Buffer) => {
        size += chunk.length;
        if (size <= 2000) text += chunk.toString('latin1');
      });
      if (stands > 0) {
        reply.pause();
        setTimeout(() => reply.resume(), stands);
      }
      if (typeof leaves === 'number') setTimeout(() => outgoing.destroy(), leaves);
      reply.on('error', () => {});
      reply.on('close', () => {
        if (!reply.complete) done(leaves === undefined ? 'broken' : 'left');
        else if (text.startsWith('{"errorType"')) done((JSON.parse(text) as { errorType: string }).errorType);
        else done(size === (path === '/large' ? 1_048_576 : bytes) ? 'whole' : `${size} bytes`);
      });
    });
    outgoing.on('error', () => done(leaves === undefined ? 'nothing' : 'left'));
    outgoing.end(body);
    if (leaves === 'before') setTimeout(() => outgoing.destroy(), 50 + Math.random() * 200);
  });
}

/** What the log may say of a call that its client saw so. */
function agrees(seen: Seen, outcome: string): boolean {
  if (seen === 'whole') return outcome === 'ok';
  if (seen === 'broken') return outcome.startsWith('error ');
  if (seen === 'left') return outcome === 'client gone' || outcome.startsWith('error ');
  return outcome === `error ${seen}`;
}

/** A server, and the outcome of each call by its id, as its log has it. */
interface Soaked {
  readonly child: ChildProcess;
  readonly port: number;
  readonly outcomes: Map<string, string>;
  /** Lines of the log of level error without a request. */
  readonly complaints: string[];
  readonly ended: Promise<number | string>;
}

async function serve(folder: string, env: Record<string, string>): Promise<Soaked> {
  const child = launch(['--port', '0', '--host', '127.0.0.1', '--log', 'json'], env, folder);
  const outcomes = new Map<string, string>();
  const complaints: string[] = [];
  const ended = new Promise<number | string>(done => {
    // by then all lines have been read
    child.on('close', (code, signal) => done(code ?? signal ?? 'unknown'));
  });
  child.stderr?.on('data', text => complaints.push(String(text)));
  const lines = createInterface(child.stdout as Readable);
  const [first] = (await within(20_000, once(lines, 'line'), 'the first line')) as [string];
  lines.on('line', line => {
    const { message, level, requestId, outcome, plane } = JSON.parse(line) as Record<string, string>;
    if (message === 'request' && requestId !== undefined) {
      if (outcomes.has(requestId)) complaints.push(`two lines of ${requestId}`);
      outcomes.set(requestId, outcome ?? '');
      // planes that are killed are none of its faults
    } else if (level === 'error' && requestId === undefined && plane === undefined && !/^worker /.test(message ?? ''))
      complaints.push(line);
  });
  return { child, port: Number(new URL((JSON.parse(first) as { url: string }).url).port), outcomes, complaints, ended };
}

/** One thing that happens to a server besides its calls. */
type Disturbance = (server: Soaked, planes: Planes | undefined) => Promise<void> | void;

const DISTURBANCES: readonly Disturbance[] = [
  // a flood of clients that say nothing, rubbish, or half a request, and go
  async ({ port }) => {
    const texts = [
      '',
      '\x16\x03\x01\x02\x00\x01',
      'GET / HTT',
      'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf',
    ];
    const sockets = Array.from({ length: 200 }, (_, i) => {
      const socket = connect(port, '127.0.0.1', () => socket.write(texts[i % texts.length] ?? '', 'latin1'));
      return socket.on('error', () => {}).resume();
    });
    await pause(200);
    for (const socket of sockets) socket.destroy();
  },
  // FC's freeze
  async ({ child }) => {
    child.kill('SIGSTOP');
    await pause(600);
    child.kill('SIGCONT');
  },
  ({ child }) => void child.kill('SIGHUP'),
  async (_, planes) => {
    if (planes === undefined) return;
    await planes.kill('SIGKILL');
    await planes.restart();
  },
];

const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms));

interface Sample {
  readonly descriptors: number;
  readonly timers: number;
  readonly bytes: number;
}

/** What the server has when nothing is in flight. */
async function sample(adminPort: number): Promise<Sample> {
  const scrape = async (): Promise<(name: string) => number> => {
    const text = String((await ask(adminPort, { path: '/metrics' })).body);
    return name =>
      Number(
        text
          .split('\n')
          .find(line => line.startsWith(`${name} `))
          ?.split(' ')[1] ?? 0,
      );
  };
  await eventually('nothing in flight', async () => {
    const value = await scrape();
    return value('http_server_active_requests') === 0 && value('noslate_fc_connections') === 0;
  });
  const value = await scrape();
  return {
    descriptors: value('process_open_fds'),
    timers: value('nodejs_active_resources{type="Timeout"}'),
    bytes: value('process_resident_memory_bytes'),
  };
}

for (const agent of AGENTS.filter(name => name !== 'sdk')) {
  const soak = suite(`soak :: ${agent}`, { ms: SECONDS * 1000 * 2 + 120_000 });

  soak(`should account for every call, and stay as it is, ${SECONDS} s`, async () => {
    const worker = { maxActivateRequests: 50, replicaCountLimit: 4 };
    const folder = project(functions, {}, { f: { worker } });
    const planes = agent === 'native' ? await startPlanes() : undefined;
    const adminPort = await freePort();
    const server = await serve(folder, {
      SERVER_AGENT: agent,
      SERVER_ADMIN_PORT: String(adminPort),
      SERVER_MAX_CONCURRENCY: '20',
      SERVER_MAX_QUEUE: '10',
      ...(planes === undefined ? {} : { NOSLATED_WORKDIR: planes.workdir }),
    });
    const { port, outcomes, complaints, child } = server;
    const seen = new Map<string, Seen>();
    let lastId = 0;

    async function callers(until: number): Promise<void> {
      const work = async (): Promise<void> => {
        while (Date.now() < until) {
          const id = `soak-${++lastId}`;
          const kind = anyKind();
          seen.set(id, await within(60_000, call(port, id, kind), `${id}, ${kind.path}`));
          await pause(Math.random() * THINK_MS);
        }
      };
      await Promise.all(Array.from({ length: CALLERS }, work));
    }
    async function disturb(until: number): Promise<void> {
      while (Date.now() < until) {
        await pause(Math.random() * 2 * DISTURB_MS);
        const what = DISTURBANCES[Math.floor(Math.random() * DISTURBANCES.length)] as Disturbance;
        await what(server, planes);
      }
    }

    const samples: Sample[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const until = Date.now() + (SECONDS * 1000) / ROUNDS;
      await Promise.all([callers(until), disturb(until)]);
      samples.push(await sample(adminPort));
    }
    const [, , middle, , last] = samples;
    assert.ok(middle !== undefined && last !== undefined);
    child.kill('SIGTERM');
    assert.is(await within(20_000, server.ended, 'the end'), 0, complaints.join('\n'));
    await planes?.stop();

    // rubbish that came far enough to be a request has no id of ours
    for (const [id, what] of seen) {
      const outcome = outcomes.get(id);
      if (what === 'left' && outcome === undefined) continue; // it went before its turn
      assert.ok(outcome !== undefined && agrees(what, outcome), `${id}: client ${what}, log ${outcome}`);
    }
    assert.is([...seen.values()].filter(what => what === 'nothing').length, 0);
    const counts: Record<string, number> = {};
    for (const what of seen.values()) counts[what] = (counts[what] ?? 0) + 1;
    console.log(`soak :: ${agent}: ${seen.size} calls, ${JSON.stringify(counts)}, ${JSON.stringify(samples)}`);
    for (const needed of ['whole', 'left', 'broken', 'FUNCTION_FAILED', 'TIMEOUT'])
      assert.ok((counts[needed] ?? 0) > 0, `${needed}: ${JSON.stringify(counts)}`);
    assert.equal(complaints, []);
    for (const key of ['descriptors', 'timers', 'bytes'] as const)
      assert.ok(last[key] <= middle[key] + MORE[key], `${key}: ${samples.map(one => one[key]).join(', ')}`);
  });

  soak(`should lose nothing that it has taken, when it is stopped ${STOPS} times`, async () => {
    const folder = project(functions, {}, { f: { worker: { maxActivateRequests: 50 } } });
    const planes = agent === 'native' ? await startPlanes() : undefined;
    const env: Record<string, string> = { SERVER_AGENT: agent };
    if (planes !== undefined) env['NOSLATED_WORKDIR'] = planes.workdir;
    for (let stop = 0; stop < STOPS; stop++) {
      const server = await serve(folder, env);
      const { port, outcomes, child, ended, complaints } = server;
      const seen = new Map<string, Seen>();
      let isOver = false;
      const work = async (caller: number): Promise<void> => {
        for (let i = 0; !isOver; i++) {
          const id = `stop-${stop}-${caller}-${i}`;
          const kind =
            i % 3 === 0 ? { path: '/large', weight: 1 } : { path: '/', method: 'POST', bytes: 1000, weight: 1 };
          const what = await within(20_000, call(port, id, kind), id);
          seen.set(id, what);
          if (what !== 'whole') return;
        }
      };
      const callers = Array.from({ length: 16 }, (_, caller) => work(caller));
      await eventually('calls', async () => seen.size > 16);
      await pause(Math.random() * 50);
      child.kill('SIGTERM');
      assert.is(await within(20_000, ended, 'the end'), 0, complaints.join('\n'));
      isOver = true;
      await Promise.all(callers);
      for (const [id, what] of seen) {
        const outcome = outcomes.get(id);
        // refused as the instance stops, or never taken: no byte of it was read, or its connection not accepted
        if (what === 'DRAINING' || (what === 'nothing' && outcome === undefined)) continue;
        assert.ok(what === 'whole' && outcome === 'ok', `${id}: client ${what}, log ${outcome}`);
      }
    }
    await planes?.stop();
  });

  soak.run();
}
