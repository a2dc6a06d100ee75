import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { type ControlPath, commonHeaders, type HeaderPairs } from '../../../src/desk/fc/headers.ts';
import { type Instance, startInstance } from '../../../src/desk/fc/instance.ts';
import { createLife } from '../../../src/desk/fc/life.ts';
import { holders } from '../../../src/desk/fc/processes.ts';
import { functionSettings } from '../../../src/desk/fc/settings.ts';
import { AGENTS, type AgentName } from '../../agents.ts';
import { NOT_LINUX, project, read, suite, temporary, within } from '../../helpers.ts';
import { containerOf } from './containers.ts';

/*
 * How long instances stay frozen. What waits in the gateway, and how long:
 *
 * - node:http's timers, which would close a pooled connection: off
 * - an invocation: its deadline, `x-fc-function-timeout`; /initialize: 0.9 of `x-fc-initialization-timeout`
 * - graceful stop: 10 s, its last 2 s for the agent
 * - local: a worker's start 10 s, a reserved one's replacement 10 s, one that is blocked 1 s, its weighing 1 s,
 *   a Dapr request 10 s, an idle worker 60 s
 * - native: SETTINGS 5 s, PING 1 s, GOAWAY 1 s, planes looked for each 10 ms to 1 s, slower after 10 s, a function
 *   that a plane does not know yet 5 s, a question to a plane 2 s, a refused profile 1 s, one on its way 60 s
 * - sdk: the deadline and 0.25 s, a function that a plane does not know yet 5 s, each 0.1 s
 *
 * So 11 s outlast all but two. A profile is on its way for some ms, once; and no setting shortens a worker's idle
 * minute: FREEZE_SECONDS=65 outlasts both.
 */
const FREEZE_MS = Number(process.env['FREEZE_SECONDS'] ?? 11) * 1000;
/** Whatever should come at once after a thaw: enough for a busy machine, and less than the calls that are too late had. */
const SOON_MS = 9000;
const TOO_SHORT = Math.ceil(SOON_MS / 1000) + 1;
/** The way into a state, before which nothing is promised. */
const ENTER_MS = 60_000;
/** Containers that are awake at the same time. */
const AWAKE = 3;
const MIB = 1024 * 1024;

/** What the functions of all states do, as the header `x-do` says. Each call is noted, and a gate opens when its file is there. */
const source = (run: string): string => `
  const { appendFileSync, existsSync } = require('node:fs');
  const { createHash } = require('node:crypto');
  const { once } = require('node:events');
  const run = ${JSON.stringify(run)};
  async function gate(id) {
    console.log('at ' + id);
    while (!existsSync(run + '/' + id)) await new Promise(done => setTimeout(done, 10));
  }
  exports.initializer = () => process.env.GATE === undefined ? undefined : gate(process.env.GATE);
  exports.handler = async (ctx, req, res) => {
    const header = wanted => (Object.entries(req.headers).find(([name]) => name.toLowerCase() === wanted) ?? [])[1];
    const id = header('x-fc-request-id');
    const act = header('x-do');
    appendFileSync(run + '/calls', id + '\\n');
    if (act === 'gate') await gate(id);
    if (act === 'flood') {
      res.writeHead(200);
      for (let i = 0; i < 128; i++) {
        if (res.write(Buffer.alloc(65536, i))) continue;
        if (i < 64) console.log('at ' + id);
        await once(res, 'drain');
      }
      return res.end();
    }
    if (act === 'echo') res.writeHead(200);
    const hash = createHash('sha256');
    let bytes = 0;
    for await (const chunk of req) {
      if (bytes === 0) console.log('at ' + id);
      bytes += chunk.length;
      hash.update(chunk);
      if (act === 'echo' && !res.write(chunk)) await once(res, 'drain');
    }
    if (act === 'echo') return res.end();
    res.writeHead(200);
    res.end(JSON.stringify({ id, bytes, hash: hash.digest('hex') }));
  };`;

/** `act` has a worker from the start, `one` a single slot, `late` none before its first call. */
const ROUTES = [
  { path: '/one', function: 'one' },
  { path: '/late', function: 'late' },
  { path: '/*', function: 'act' },
];

type Act = 'answer' | 'gate' | 'flood' | 'echo';

interface Request {
  act?: Act;
  path?: string;
  body?: Buffer | Readable;
  /** s, of the function. */
  timeout?: number;
  control?: ControlPath;
  /** How often the function is to have run it; 1 unless told. */
  runs?: readonly number[];
}

/** A request on its way. */
interface Sent {
  readonly id: string;
  readonly head: Promise<IncomingMessage>;
  /** The head, soon, and the whole body. */
  answer(): Promise<{ status: number; text: string; headers: IncomingMessage['headers'] }>;
  leave(): void;
}

/** One container that gets into a state and is frozen in it. */
interface Box {
  readonly instance: Instance;
  /** The gate for initializers; those of calls have their ids. */
  readonly gate: string;
  send(request?: Request): Sent;
  /** Sends a request that the function answers, and checks the answer. */
  call(request?: Request): Promise<void>;
  /** Checks the answer of a function that has read the body. */
  expectWhole(sent: Sent, body?: Buffer): Promise<void>;
  /** Checks that a request went over a connection that was there already. */
  expectPooled(sent: Sent): Promise<void>;
  /** Resolves when a line of the log has the text. */
  said(text: string): Promise<unknown>;
  /** Resolves when a function is where it waits for the gate, or for more of the call's body. */
  reached(gate: string): Promise<unknown>;
  open(gate: string): void;
  /** Checks that a call on a pooled connection is answered, and nothing of the state is left. */
  next(): Promise<void>;
}

interface Start {
  /** The initializer of this function waits at the box's gate. */
  gated?: 'act' | 'late';
  /** False leaves it to the state. */
  prepare?: boolean;
}

/** What happens to a frozen container. */
interface Rest {
  readonly box: Box;
  frozen?(): void;
  /** Without it the container is stopped as it is. */
  thawed?(): Promise<void>;
  /** `thawed` leaves nothing that takes requests. */
  readonly isOver?: boolean;
}

type State = (start: (options?: Start) => Promise<Box>) => Promise<Rest>;

const STATES: Readonly<Record<string, State>> = {
  async 'during the start'(start) {
    const box = await start({ prepare: false });
    const prepared = kept(box.instance.prepare('start'));
    box.instance.freeze();
    return { box, thawed: () => within(ENTER_MS, prepared, 'the start to go on') };
  },

  async 'before the agent is ready'(start) {
    const box = await start({ prepare: false });
    await box.said('"listening"');
    box.instance.freeze();
    const sent: Sent[] = [];
    return {
      box,
      // its time begins when it is read
      frozen: () => void sent.push(box.send({ timeout: TOO_SHORT })),
      async thawed() {
        for (const one of sent) await box.expectWhole(one);
        await within(ENTER_MS, box.instance.prepare('start'), 'the start to go on');
      },
    };
  },

  async 'during /initialize'(start) {
    const box = await start({ prepare: false, gated: 'act' });
    const prepared = kept(box.instance.prepare('start'));
    await box.reached(box.gate);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        box.open(box.gate);
        await within(SOON_MS, prepared, '/initialize');
      },
    };
  },

  async 'during /initialize, past its time'(start) {
    const box = await start({ prepare: false, gated: 'act' });
    await box.reached(box.gate);
    const first = box.send({ control: '/initialize', timeout: TOO_SHORT, runs: [0] });
    await box.said(`FC Initialize Start RequestId: ${first.id}`);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        assert.is((await first.answer()).status, 404);
        box.open(box.gate);
        await within(SOON_MS, box.instance.prepare('start'), 'the next /initialize');
      },
    };
  },

  async idle(start) {
    const box = await start();
    const before = box.send();
    await box.expectWhole(before);
    await box.said(`FC Invoke End RequestId: ${before.id}`);
    box.instance.freeze();
    const sent: Sent[] = [];
    return {
      box,
      frozen: () => void sent.push(box.send({ timeout: TOO_SHORT })),
      async thawed() {
        for (const one of sent) {
          await box.expectWhole(one);
          await box.expectPooled(one);
        }
      },
    };
  },

  async 'idle, and stopped'(start) {
    const box = await start();
    await box.call();
    box.instance.freeze();
    return { box, isOver: true };
  },

  async 'just after the answer'(start) {
    const box = await start();
    await box.call();
    box.instance.freeze();
    return { box, thawed: async () => {} };
  },

  async 'pre-freeze in flight'(start) {
    const box = await start();
    await box.call();
    const sent = box.send({ control: '/pre-freeze', runs: [0] });
    await new Promise(setImmediate);
    box.instance.freeze();
    return { box, thawed: async () => assert.is((await sent.answer()).status, 200) };
  },

  async 'a request waits for a worker'(start) {
    const box = await start();
    const holder = box.send({ path: '/one', act: 'gate' });
    await box.reached(holder.id);
    const waiter = box.send({ path: '/one' });
    await box.said(`FC Invoke Start RequestId: ${waiter.id}`);
    // on its way to the pool behind it, whatever lies between
    await box.call();
    box.instance.freeze();
    return {
      box,
      async thawed() {
        box.open(holder.id);
        await box.expectWhole(holder);
        await box.expectWhole(waiter);
      },
    };
  },

  async 'a request waits for a worker that starts'(start) {
    const box = await start({ gated: 'late' });
    const sent = box.send({ path: '/late' });
    await box.reached(box.gate);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        box.open(box.gate);
        await box.expectWhole(sent);
      },
    };
  },

  async 'a worker starts for a client that has left'(start) {
    const box = await start({ gated: 'late' });
    const sent = box.send({ path: '/late', runs: [0, 1] });
    await box.reached(box.gate);
    sent.leave();
    await box.said(`FC Invoke End RequestId: ${sent.id}`);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        const next = box.send({ path: '/late' });
        await box.said(`FC Invoke Start RequestId: ${next.id}`);
        box.open(box.gate);
        await box.expectWhole(next);
      },
    };
  },

  async 'half of a body sent'(start) {
    const box = await start();
    const body = new PassThrough();
    const sent = box.send({ body });
    body.write('first ');
    await box.reached(sent.id);
    box.instance.freeze();
    return {
      box,
      frozen: () => void body.write('second '),
      async thawed() {
        body.end('third');
        await box.expectWhole(sent, Buffer.from('first second third'));
      },
    };
  },

  async 'a body that nobody reads'(start) {
    const box = await start();
    const body = Buffer.alloc(8 * MIB, 'unread');
    const sent = box.send({ act: 'gate', body: Readable.from([body]) });
    await box.reached(sent.id);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        box.open(sent.id);
        await box.expectWhole(sent, body);
      },
    };
  },

  async 'a function runs'(start) {
    const box = await start();
    const http = box.send({ act: 'gate' });
    const event = box.send({ act: 'gate', control: '/invoke', body: Buffer.from('event') });
    await Promise.all([box.reached(http.id), box.reached(event.id)]);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        box.open(http.id);
        box.open(event.id);
        await box.expectWhole(http);
        await box.expectWhole(event, Buffer.from('event'));
      },
    };
  },

  async 'in the middle of an answer, past its deadline'(start) {
    const box = await start();
    const body = new PassThrough();
    const sent = box.send({ act: 'echo', body, timeout: TOO_SHORT });
    body.write('first ');
    const head = await within(ENTER_MS, sent.head, 'the head');
    const [first] = (await within(ENTER_MS, firstChunk(head), 'the first bytes')) as [Buffer];
    box.instance.freeze();
    return {
      box,
      frozen: () => void body.write('second '),
      async thawed() {
        body.end('third');
        const rest = await within(SOON_MS, read(head), 'the rest');
        assert.is(`${first}${rest}`, 'first second third');
      },
    };
  },

  async 'an answer that nobody reads'(start) {
    const box = await start();
    const sent = box.send({ act: 'flood' });
    const head = await within(ENTER_MS, sent.head, 'the head');
    await box.reached(sent.id);
    box.instance.freeze();
    return {
      box,
      async thawed() {
        const body = await within(SOON_MS, read(head), 'the body');
        const expected = Buffer.concat(Array.from({ length: 128 }, (_, i) => Buffer.alloc(65_536, i)));
        assert.ok(body.equals(expected), `${body.length} bytes of ${expected.length}, or other ones`);
      },
    };
  },

  async 'calls whose deadline passes'(start) {
    const box = await start();
    const holder = box.send({ path: '/one', act: 'gate' });
    const event = box.send({ act: 'gate', control: '/invoke', timeout: TOO_SHORT });
    const http = box.send({ act: 'gate', timeout: TOO_SHORT });
    const waiter = box.send({ path: '/one', timeout: TOO_SHORT, runs: [0] });
    await Promise.all([holder, event, http].map(({ id }) => box.reached(id)));
    await box.said(`FC Invoke Start RequestId: ${waiter.id}`);
    await box.call();
    box.instance.freeze();
    return {
      box,
      async thawed() {
        const [waited, ran, told] = await Promise.all([waiter.answer(), http.answer(), event.answer()]);
        assert.equal([ran.status, JSON.parse(ran.text).errorType], [504, 'TIMEOUT']);
        assert.equal(
          [told.status, told.headers['x-fc-status'], JSON.parse(told.text).errorType],
          [404, '404', 'TIMEOUT'],
        );
        // who tells first, plane or gateway, is a matter of luck after a thaw
        assert.ok(['TIMEOUT', 'QUEUE_TIMEOUT'].includes(JSON.parse(waited.text).errorType), waited.text);
        // what the functions say later is for nobody
        await box.call();
        for (const { id } of [http, event, holder]) box.open(id);
        await box.expectWhole(holder);
      },
    };
  },

  async 'a client leaves'(start) {
    const box = await start();
    const other = box.send({ act: 'gate' });
    const sent = box.send({ act: 'gate', timeout: TOO_SHORT });
    await Promise.all([other, sent].map(({ id }) => box.reached(id)));
    sent.leave();
    box.instance.freeze();
    return {
      box,
      async thawed() {
        await box.call();
        box.open(sent.id);
        box.open(other.id);
        await box.expectWhole(other);
      },
    };
  },

  async draining(start) {
    const box = await start();
    const sent = box.send({ act: 'gate' });
    await box.reached(sent.id);
    const stop = box.send({ control: '/pre-stop', runs: [0] });
    await box.said(`FC PreStop Start RequestId: ${stop.id}`);
    box.instance.freeze();
    return {
      box,
      isOver: true,
      async thawed() {
        box.open(sent.id);
        await box.expectWhole(sent);
        assert.is((await stop.answer()).status, 200);
      },
    };
  },
};

/** All agents begin with the first test: what one's containers are frozen for, the others use to start. */
let results: ReadonlyMap<string, Promise<void>> | undefined;
for (const agent of AGENTS) {
  const frozen = suite(`frozen for ${FREEZE_MS / 1000} s :: ${agent}`, { skip: NOT_LINUX });
  for (const state of Object.keys(STATES)) {
    frozen(state, async () => {
      results ??= freezeAll();
      await results.get(`${agent} ${state}`);
    });
  }
  frozen.run();
}

/** Brings a container of each agent into each state. */
function freezeAll(): ReadonlyMap<string, Promise<void>> {
  const turns = createTurns(AWAKE);
  const all = AGENTS.flatMap(agent => {
    const run = temporary();
    return Object.entries(STATES).map(
      ([name, state]) => [`${agent} ${name}`, kept(freezeOne(agent, run, state, turns))] as const,
    );
  });
  return new Map(all);
}

async function freezeOne(agent: AgentName, run: string, state: State, turns: Turns): Promise<void> {
  let box: BoxToEnd | undefined;
  const start = async (options?: Start): Promise<Box> => {
    box = await startBox(agent, run, options);
    return box;
  };
  try {
    const rest = await turns(() => state(start));
    await pause(FREEZE_MS / 2);
    rest.frozen?.();
    await pause(FREEZE_MS / 2);
    await turns(async () => {
      assert.ok(rest.box.instance.frozen, 'the container was thawed too early');
      if (rest.thawed !== undefined) {
        rest.box.instance.thaw();
        await rest.thawed();
      }
      if (rest.isOver !== true) await rest.box.next();
      await box?.end();
    }, true);
  } catch (error) {
    if (error instanceof Error) error.message += `\n${box?.output()}`;
    throw error;
  } finally {
    await box?.destroy();
  }
}

interface BoxToEnd extends Box {
  /** Stops the container and checks what it leaves behind. */
  end(): Promise<void>;
  destroy(): Promise<void>;
  output(): string;
}

let boxes = 0;

async function startBox(agent: AgentName, run: string, { gated, prepare = true }: Start = {}): Promise<BoxToEnd> {
  const name = `${agent}-${++boxes}`;
  const gate = `${name}-gate`;
  const code = source(run);
  const held = { environments: [{ key: 'GATE', value: gate }] };
  const folder = project(
    { act: code, one: code, late: code },
    { routes: ROUTES },
    {
      act: { initializer: 'index.initializer', worker: { reservationCount: 1 }, ...(gated === 'act' && held) },
      one: { worker: { replicaCountLimit: 1, maxActivateRequests: 1 } },
      late: { initializer: 'index.initializer', ...(gated === 'late' && held) },
    },
  );
  const life = createLife();
  const settings = functionSettings({
    ...containerOf(agent, folder, { SERVER_FC_LOG: 'on' }),
    flavour: '2.0',
    initializer: { timeout: 300 },
    preStop: { timeout: 20 },
    freeze: false,
  });
  const instance = await startInstance(settings, life.tell);
  try {
    if (prepare) await within(ENTER_MS, instance.prepare(`${name}-start`), 'the container to be ready');
  } catch (error) {
    // what is left running would keep this process from ending
    instance.crash();
    throw error;
  }
  const expected = new Map<string, readonly number[]>();
  const lines = (): string[] => life.events.flatMap(({ event, line }) => (event === 'log' ? [String(line)] : []));
  const output = (): string => lines().slice(-40).join('\n');
  const said = (text: string): Promise<unknown> =>
    within(
      ENTER_MS,
      life.until(({ event, line }) => event === 'log' && String(line).includes(text)),
      `"${text}" in the log`,
    );

  function send({
    act = 'answer',
    path = '/',
    body,
    timeout = 600,
    control = '/http-invoke',
    runs = [1],
  }: Request = {}): Sent {
    const id = `${name}-${expected.size + 1}`;
    expected.set(id, runs);
    const controller = new AbortController();
    const isHook = control !== '/http-invoke' && control !== '/invoke';
    const method = control === '/initialize' || body !== undefined || control === '/invoke' ? 'POST' : 'GET';
    const own: HeaderPairs = [
      ['Host', 'app.example.com'],
      ['x-do', act],
      ...(body instanceof Readable
        ? [['Transfer-Encoding', 'chunked'] as const]
        : [['Content-Length', String(body?.length ?? 0)] as const]),
    ];
    const common = commonHeaders(
      { ...settings, timeout, initializer: { timeout } },
      { requestId: id, controlPath: control },
    );
    const head = kept(
      instance.connections.exchange({
        method,
        path: isHook || control === '/invoke' ? control : path,
        headers: [...own, ...common],
        body: body instanceof Readable ? body : body && Readable.from([body]),
        signal: controller.signal,
        reset: true,
      }),
    );
    return {
      id,
      head,
      async answer() {
        const response = await within(SOON_MS, head, `an answer to ${id}`);
        const text = (await within(SOON_MS, read(response), `the body of ${id}`)).toString();
        return { status: response.statusCode ?? 0, text, headers: response.headers };
      },
      leave: () => controller.abort(),
    };
  }

  async function expectWhole(sent: Sent, body: Buffer = Buffer.alloc(0)): Promise<void> {
    const { status, text } = await sent.answer();
    const hash = createHash('sha256').update(body).digest('hex');
    assert.equal([status, text], [200, JSON.stringify({ id: sent.id, bytes: body.length, hash })]);
  }

  async function expectPooled({ id, head }: Sent): Promise<void> {
    // node:http's own, though no type tells
    const { req } = (await head) as IncomingMessage & { req: ClientRequest };
    assert.ok(req.reusedSocket, `${id} needed a connection of its own`);
  }

  return {
    instance,
    gate,
    send,
    expectWhole,
    expectPooled,
    said,
    output,
    call: request => expectWhole(send(request)),
    reached: id => said(`at ${id}`),
    open: id => writeFileSync(join(run, id), ''),
    async next() {
      const body = Buffer.from('next');
      const sent = send({ body });
      await expectWhole(sent, body);
      await expectPooled(sent);
      assert.not.match(lines().join('\n'), '"message":"worker exited"');
    },
    async end() {
      await within(20_000, instance.stop('the end of the test'), 'the container to stop');
      assert.is(await instance.exited, 0);
      assert.equal(holders('FC_INSTANCE_ID', instance.id), []);
      const ran = readFileSync(join(run, 'calls'), 'utf8').split('\n');
      for (const [id, runs] of expected) {
        const times = ran.filter(item => item === id).length;
        assert.ok(runs.includes(times), `${id} ran ${times} times, expected ${runs}`);
        const logged = lines().filter(
          line => line.includes('"message":"request"') && line.includes(`"requestId":"${id}"`),
        );
        assert.is(logged.length, 1, `access lines of ${id}`);
      }
    },
    async destroy() {
      instance.thaw();
      instance.crash();
      await instance.exited;
    },
  };
}

/** Waits until few enough others are at it. */
type Turns = <T>(work: () => Promise<T>, isUrgent?: boolean) => Promise<T>;

function createTurns(most: number): Turns {
  let running = 0;
  const queue: (() => void)[] = [];
  return async (work, isUrgent = false) => {
    if (running < most) running += 1;
    else await new Promise<void>(done => (isUrgent ? queue.unshift(done) : queue.push(done)));
    try {
      return await work();
    } finally {
      const next = queue.shift();
      if (next === undefined) running -= 1;
      else next();
    }
  };
}

/** A promise that is waited for later, and may reject before. */
function kept<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

const firstChunk = (stream: Readable): Promise<unknown[]> =>
  new Promise(done =>
    stream.once('data', chunk => {
      stream.pause();
      done([chunk]);
    }),
  );

const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms));
