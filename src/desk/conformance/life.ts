import { once } from 'node:events';
import { connect } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Readable } from 'node:stream';
import { resetSocket } from '../fc/connections.ts';
import { commonHeaders } from '../fc/headers.ts';
import type { LifeEvent } from '../fc/life.ts';
import type { Platform } from '../fc/platform.ts';
import {
  type Check,
  expect,
  expectThat,
  happening,
  http,
  invoke,
  pause,
  printing,
  WAIT_MS,
  whole,
  wishPath,
  within,
} from './check.ts';

/** Longer than the 5 s after which node:http, by default, closes an idle connection. */
const FROZEN_MS = 7000;

const happened = (fc: Platform, name: LifeEvent['event']): LifeEvent | undefined =>
  fc.life.events.find(({ event }) => event === name);

const START: readonly Check[] = [
  {
    id: 'start.port',
    title: 'listens on the port that it is told',
    contract: "The server listens on the function's CAPort, FC_CUSTOM_LISTEN_PORT, within 120 s.",
    source: '§1, §8 [S1 S2 S3 S48]',
    level: 'must',
    async run({ shared }) {
      expectThat('an open port', happened(shared, 'accepting') !== undefined);
    },
  },
  {
    id: 'start.address',
    title: 'listens on every address',
    contract: 'A server that listens on loopback only cannot be reached, and its start fails.',
    source: '§1 [S1 S3]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      await http(fc, { body: 'up' });
      const outside = Object.values(networkInterfaces())
        .flatMap(list => list ?? [])
        .find(({ internal, family }) => !internal && String(family).endsWith('4'));
      const port = fc.instances()[0]?.port ?? 0;
      // a machine without a network has the loopback's other addresses
      const open = await accepts(outside?.address ?? '127.0.0.3', port);
      expect(`a connection to ${outside?.address ?? '127.0.0.3'}`, open, true);
    },
  },
  {
    id: 'start.probe',
    title: 'makes nothing of a probe that connects and leaves',
    contract: 'The readiness test is a TCP connection that sends nothing and is closed or reset.',
    source: '§1 [S3 S5]',
    level: 'must',
    async run({ platform }) {
      for (const probeEnd of ['fin', 'rst'] as const) {
        const fc = platform({ freeze: false, switches: { probeEnd } });
        await http(fc, { body: 'up' });
        const [instance] = fc.instances();
        for (let i = 0; i < 20; i++) {
          const socket = connect(instance?.port ?? 0, instance?.host ?? '');
          await within(WAIT_MS, once(socket, 'connect'), 'a connection');
          if (probeEnd === 'rst') resetSocket(socket);
          else socket.destroy();
        }
        expect('a request after it', (await http(fc, { body: 'ok' })).text, 'ok');
      }
    },
  },
  {
    id: 'start.without-initialize',
    title: 'serves without /initialize when none is configured',
    contract: 'Hooks are called only when they are configured.',
    source: '§2 [S11 S16]',
    level: 'must',
    async run({ platform }) {
      expect('the first request', (await http(platform(), { body: 'ok' })).text, 'ok');
    },
  },
  {
    id: 'start.several',
    title: 'runs in several instances',
    contract: 'When an instance is full, the next is started.',
    source: '§7 [S6 S22]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ instanceConcurrency: 1, maxInstances: 3 });
      const answers = await Promise.all([1, 2, 3].map(() => http(fc, { sleep: 3000, body: 'ok' })));
      expect(
        'statuses',
        answers.map(({ status }) => status),
        [200, 200, 200],
      );
      expect('instances', new Set(answers.map(({ instance }) => instance)).size, 3);
    },
  },
];

const INITIALIZE: readonly Check[] = [
  {
    id: 'initialize.ok',
    alone: true,
    title: 'answers POST /initialize with 2xx',
    contract: 'The initializer is POST /initialize, and 2xx within its timeout is success.',
    source: '§2, §2.1 [S11 S16 S46]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ initializer: { timeout: 20 } });
      await invoke(fc, { body: 'ok' });
      const status = Number(happened(fc, 'initialized')?.['status']);
      expectThat('a status of 2xx', status >= 200 && status < 300, status);
    },
  },
  {
    id: 'initialize.repeat',
    title: 'may be initialized again',
    contract: 'FC keeps trying until one initialize has succeeded; a second must do no harm.',
    source: '§2.1 [S11 S16 S17]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ initializer: { timeout: 10 }, freeze: false });
      await invoke(fc, { body: 'ok' });
      for (const status of await Promise.all([hook(fc, 'POST', '/initialize'), hook(fc, 'POST', '/initialize')])) {
        expectThat('a status of 2xx', status >= 200 && status < 300, status);
      }
      expect('the next call', (await invoke(fc, { body: 'ok' })).text, 'ok');
    },
  },
  {
    id: 'initialize.then-frozen',
    title: 'may be frozen between initialize and the first call',
    contract: 'The instance is frozen whenever nothing is in flight, after initialize too.',
    source: '§7 [S6 S20]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ initializer: { timeout: 10 } });
      await fc.scale(1);
      await frozen(fc);
      await pause(2000);
      expect('the first call', (await invoke(fc, { body: 'ok' })).text, 'ok');
    },
  },
];

const FREEZE: readonly Check[] = [
  {
    id: 'freeze.pooled',
    title: 'answers a POST on a connection that was frozen for longer than idle timeouts',
    contract: 'FC reuses its connections after a thaw and does not repeat a POST: a closed one is a 502.',
    source: '§1, §7 [S6 S8]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      await http(fc, { body: 'first' }, { method: 'POST' });
      // frozen in its sleep, not at work
      await pause(500);
      fc.instances()[0]?.freeze();
      await pause(FROZEN_MS);
      const { status, text } = await http(fc, { body: 'second' }, { method: 'POST' });
      expect('after 7 s', [status, text], [200, 'second']);
    },
  },
  {
    id: 'freeze.again',
    title: 'may be frozen and thawed at every request',
    contract: 'The instance is frozen whenever nothing is in flight.',
    source: '§7 [S6]',
    level: 'must',
    async run({ platform }) {
      const fc = platform();
      const freezes = (): number => fc.life.events.filter(({ event }) => event === 'frozen').length;
      for (let i = 0; i < 30; i++) {
        const before = freezes();
        expect('the answer', (await invoke(fc, { body: String(i) })).text, String(i));
        await fc.life.until(() => freezes() > before);
      }
    },
  },
  {
    id: 'freeze.in-flight',
    title: 'ends a call that stood still in the middle',
    contract: 'Clocks jump at a thaw; timers fire late.',
    source: '§7',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ timeout: 30 });
      const answer = http(fc, { sleep: 1000, body: 'late' });
      await standStill(fc, 2000);
      expect('the answer', (await answer).text, 'late');
    },
  },
  {
    id: 'freeze.in-stream',
    title: 'ends a stream that stood still in the middle',
    contract: 'Clocks jump at a thaw; timers fire late.',
    source: '§7',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ timeout: 30 });
      const answer = http(fc, { chunks: { count: 20, size: 1000, every: 50 } });
      await standStill(fc, 2000);
      expect('bytes', (await answer).bytes.length, 20_000);
    },
  },
  {
    id: 'freeze.in-upload',
    title: 'takes the rest of a body after it stood still',
    contract: 'Clocks jump at a thaw; timers fire late.',
    source: '§7',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ timeout: 30 });
      const body = new Readable({ read() {} });
      body.push('first ');
      const headers = [['Content-Type', 'application/octet-stream']] as const;
      const answer = whole(fc.http({ method: 'POST', path: '/', headers, body }));
      await standStill(fc, 2000);
      body.push('second');
      body.push(null);
      expect('the body', (await answer).text, 'first second');
    },
  },
  {
    id: 'freeze.deadline',
    title: 'gives a call after the thaw its whole time',
    contract: 'Deadlines are per request; time in the freezer is nobody’s.',
    source: '§7',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ timeout: 8 });
      await invoke(fc, { body: 'first' });
      await pause(9000);
      expect('a call of 3 s', (await invoke(fc, { sleep: 3000, body: 'second' })).text, 'second');
    },
  },
  {
    id: 'freeze.pre-freeze',
    title: 'answers GET /pre-freeze with 2xx',
    contract: 'Before a freeze, when all requests have ended, FC 2.0 calls GET /pre-freeze.',
    source: '§2, §7 [S11 S24]',
    level: 'must',
    flavour: '2.0',
    async run({ platform }) {
      const fc = platform({ preFreeze: { timeout: 5 } });
      await invoke(fc, { body: 'ok' });
      const { status } = await happening(fc, 'pre-freeze');
      expect('the status', status, 200);
      expect('the next call', (await invoke(fc, { body: 'ok' })).text, 'ok');
    },
  },
  {
    id: 'freeze.health',
    title: 'passes a health check while requests run',
    contract: 'A custom health check is a GET that succeeds with 200 to 399 within its timeout.',
    source: '§1.2 [S7 S15]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({
        freeze: false,
        instanceConcurrency: 10,
        healthCheck: { httpGetUrl: '/healthz', periodSeconds: 1 },
        environment: { SERVER_HEALTH_PATH: '/healthz' },
      });
      const answers = await Promise.all([1, 2, 3, 4].map(() => http(fc, { sleep: 2500, body: 'ok' })));
      expect(
        'the answers',
        answers.map(({ text }) => text),
        ['ok', 'ok', 'ok', 'ok'],
      );
      expect('unhealthy', happened(fc, 'unhealthy'), undefined);
    },
  },
];

const STOP: readonly Check[] = [
  {
    id: 'stop.pre-stop',
    title: 'answers GET /pre-stop with 2xx',
    contract: 'Before it stops an instance, FC calls GET /pre-stop.',
    source: '§2, §7 [S11 S16]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ preStop: { timeout: 10 } });
      await invoke(fc, { body: 'ok' });
      await fc.stop();
      expect('the status', happened(fc, 'pre-stop')?.['status'], 200);
    },
  },
  {
    id: 'stop.clean',
    title: 'ends with 0 after /pre-stop',
    contract: 'A stopped instance is no failed one.',
    source: '§7 [S6]',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ preStop: { timeout: 10 } });
      await invoke(fc, { body: 'ok' });
      await fc.stop();
      expect('the exit code', happened(fc, 'exited')?.['code'], 0);
    },
  },
  {
    id: 'stop.sigterm',
    title: 'ends with 0 on SIGTERM',
    contract: 'SIGTERM may be all that a container hears of its end.',
    source: '§7, §13.7 [S11]',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ switches: { stopGrace: 10 } });
      await invoke(fc, { body: 'ok' });
      await fc.stop();
      expect('the exit code', happened(fc, 'exited')?.['code'], 0);
    },
  },
  {
    id: 'stop.in-flight',
    title: 'finishes what is in flight when SIGTERM comes',
    contract: 'Running requests finish when the function is updated.',
    source: '§7 [S26]',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      const answer = await fc.http({ method: 'GET', path: wishPath({ chunks: { count: 2, size: 5, every: 500 } }) });
      process.kill(fc.instances()[0]?.pid ?? 0, 'SIGTERM');
      expect('bytes of the answer', (await whole(answer)).bytes.length, 10);
      const { code } = await happening(fc, 'exited');
      expect('the exit code', code, 0);
    },
  },
  {
    id: 'stop.frozen',
    title: 'stops out of the freezer',
    contract: 'A frozen instance is thawed for its pre-stop.',
    source: '§7',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ preStop: { timeout: 10 } });
      await invoke(fc, { body: 'ok' });
      await frozen(fc);
      await pause(3000);
      await fc.stop();
      expect('status and code', [happened(fc, 'pre-stop')?.['status'], happened(fc, 'exited')?.['code']], [200, 0]);
    },
  },
];

const LOGS: readonly Check[] = [
  {
    id: 'log.request-id',
    title: 'logs with the request id',
    contract: 'The log service finds the lines of a request by its id.',
    source: '§5 [S17]',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      const { requestId } = await http(fc, { body: 'ok' });
      await printing(fc, `with ${requestId}`, line => line.includes(requestId));
    },
  },
  {
    id: 'log.fc-markers',
    title: "prints FC's marker lines when asked to",
    contract: '2.0 groups the lines of a request by `FC Invoke Start RequestId: ID` and `FC Invoke End RequestId: ID`.',
    source: '§5 [S17 S38]',
    level: 'should',
    flavour: '2.0',
    async run({ platform }) {
      const fc = platform({ freeze: false, environment: { SERVER_FC_LOG: 'on' }, initializer: { timeout: 10 } });
      const { requestId } = await invoke(fc, { body: 'ok' });
      for (const text of ['FC Initialize Start RequestId: ', `FC Invoke Start RequestId: ${requestId}`]) {
        await printing(fc, `that begins with ${text}`, line => line.startsWith(text));
      }
      const end = `FC Invoke End RequestId: ${requestId}`;
      await printing(fc, `that begins with ${end}`, line => line.startsWith(end));
    },
  },
];

/** Freezes the one instance in the middle of a call, for so long. */
async function standStill(fc: Platform, ms: number): Promise<void> {
  await happening(fc, 'request');
  await pause(300);
  const [instance] = fc.instances();
  instance?.freeze();
  await pause(ms);
  instance?.thaw();
}

async function frozen(fc: Platform): Promise<void> {
  await happening(fc, 'frozen');
}

/** Calls a hook of the one instance, past the platform; gives the status. */
async function hook(fc: Platform, method: string, path: '/initialize'): Promise<number> {
  const [instance] = fc.instances();
  if (instance === undefined) return 0;
  const exchange = instance.connections.exchange({
    method,
    path,
    headers: [
      ['Host', 'localhost'],
      ...commonHeaders(fc.settings, { requestId: 'again', controlPath: path }),
      ['Content-Length', '0'],
    ],
    signal: new AbortController().signal,
  });
  const response = await within(WAIT_MS, exchange, `a head from ${path}`);
  response.resume();
  return response.statusCode ?? 0;
}

function accepts(host: string, port: number): Promise<boolean> {
  const answer = new Promise<boolean>(done => {
    const socket = connect(port, host);
    socket.on('connect', () => {
      socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
  return within(WAIT_MS, answer, `an answer from ${host}:${port}`);
}

/** An instance's life, from its start to its end. */
export const LIFE: readonly Check[] = [...START, ...INITIALIZE, ...FREEZE, ...STOP, ...LOGS];
