import { connect } from 'node:net';
import * as assert from 'uvu/assert';
import { freePort } from '../src/desk/fc/port.ts';
import { networkOf } from '../src/limits.ts';
import {
  ask,
  eventually,
  get,
  open,
  type Raw,
  raw,
  type Server,
  suite,
  suiteOfMany,
  within,
  withServer,
} from './helpers.ts';

/** Takes bodies in, tells how much there was, and sends what is asked for. */
const FUNCTION = `
  exports.handler = async (ctx, req, res) => {
    const size = Number(new URL(req.url, 'http://x').searchParams.get('size') ?? 0);
    if (req.url.startsWith('/slow')) await new Promise(done => setTimeout(done, 5000));
    if (req.url.startsWith('/early')) return res.end('early');
    let bytes = 0;
    for await (const chunk of req) bytes += chunk.length;
    res.writeHead(200, { 'x-bytes': String(bytes) });
    for (let left = size; left > 0; left -= 65536) {
      if (!res.write(Buffer.alloc(Math.min(left, 65536), 'x'))) await new Promise(done => res.once('drain', done));
    }
    res.end('told');
  };`;
const functions = { f: FUNCTION };

/** Without defaults: what is not set is no limit. */
const TIMES = {
  SERVER_HEAD_TIMEOUT: '1',
  SERVER_BODY_TIMEOUT: '2',
  SERVER_ANSWER_TIMEOUT: '2',
  SERVER_IDLE_TIMEOUT: '1',
};

const ENDED_MS = 10_000;

const ended = (client: Raw): Promise<string> => within(ENDED_MS, client.closed, 'the connection to end');

const statusOf = (answer: string): string => answer.slice(9, 12);

/** Sends so much every 100 ms, until it is told to stop or the connection ends. */
function trickle({ socket }: Raw, text: string): () => void {
  const timer = setInterval(() => socket.write(text, 'latin1'), 100);
  socket.on('close', () => clearInterval(timer));
  return () => clearInterval(timer);
}

// most of their time they wait
const times = suiteOfMany('limits of time');

times('should end a head that does not come, and no other', async () => {
  await withServer({ functions, env: { SERVER_HEAD_TIMEOUT: '1' } }, async ({ port, lines }) => {
    const silent = await raw(port);
    const half = await raw(port, 'GET / HTTP/1.1\r\nhost: a\r\n');
    const slow = await raw(port, 'GET / HTTP/1.1\r\nhost: a\r\n');
    trickle(slow, 'x-a: 1\r\n');
    const second = await raw(port, get('/'));
    await second.until('told');
    second.socket.write('GET / HTTP/1.1\r\n');
    trickle(second, 'x-a: 1\r\n');
    const waits = await raw(port, get('/slow'));
    const idle = await raw(port, get('/'));
    const answers = await Promise.all([silent, half, slow, second].map(ended));
    assert.is(answers[0], '');
    assert.equal(answers.slice(1, 3).map(statusOf), ['408', '408']);
    assert.match(answers[1] ?? '', '"errorType":"CLIENT_TOO_SLOW","errorMessage":"head: expected within 1 s"');
    assert.match(answers[1] ?? '', /connection: close/i);
    // behind an answer, which must stay the first
    assert.equal(answers[3]?.match(/HTTP\/1.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 408']);
    await waits.until('told');
    idle.socket.write(get('/again'));
    await idle.until('told', (await idle.until('told')).length);
    assert.is(lines().filter(({ message }) => message === 'request refused').length, 3);
  });
});

times('should end a body that does not come on, and no other', async () => {
  await withServer({ functions, env: { SERVER_BODY_TIMEOUT: '2' } }, async ({ port, access }) => {
    const head = 'POST / HTTP/1.1\r\nhost: a\r\nx-fc-request-id: slow-body\r\ncontent-length: 1000000\r\n\r\n';
    const slow = await raw(port, head);
    trickle(slow, 'x');
    const none = await raw(port, 'POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n');
    const answered = await raw(port, 'POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n');
    const steady = await raw(port, `POST / HTTP/1.1\r\nhost: a\r\ncontent-length: ${20 * 65_536}\r\n\r\n`);
    const stop = trickle(steady, 'x'.repeat(65_536));
    const waits = await raw(port, 'POST /slow HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello');
    const answers = await Promise.all([slow, none, answered].map(ended));
    assert.equal(answers.map(statusOf), ['408', '408', '200']);
    assert.match(answers[0] ?? '', 'request body: expected the next 65536 bytes within 2 s');
    assert.match(await steady.until('told'), `x-bytes: ${20 * 65_536}`);
    stop();
    assert.match(await waits.until('told'), 'x-bytes: 5');
    assert.is((await access('slow-body'))['outcome'], 'error CLIENT_TOO_SLOW');
  });
});

times('should not miss a body before its turn has come', async () => {
  const env = { SERVER_BODY_TIMEOUT: '1', SERVER_MAX_CONCURRENCY: '1', SERVER_MAX_QUEUE: '1' };
  await withServer({ functions, env }, async ({ port }) => {
    const before = await raw(port, get('/slow'));
    await eventually(
      'it to run',
      async () => (await ask(port, { path: '/slow', headers: { 'x-fc-function-timeout': '1' } })).status === 503,
    );
    const waits = await raw(port, 'POST / HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n');
    await waits.until('HTTP/1.1 100');
    waits.socket.write('hello');
    assert.match(await waits.until('told'), 'x-bytes: 5');
    await before.until('told');
  });
});

times('should end an answer that is not taken, and no other', async () => {
  await withServer({ functions, env: { SERVER_ANSWER_TIMEOUT: '2' } }, async ({ port, access }) => {
    const size = 32 * 1024 * 1024;
    const stalled = open(port, { path: `/?size=${size}`, headers: { 'x-fc-request-id': 'stalled' } });
    const reply = await stalled.reply;
    const steady = open(port, { path: `/?size=${size}` });
    let bytes = 0;
    (await steady.reply).on('data', (chunk: Buffer) => {
      bytes += chunk.length;
      // 64 KiB take 10 ms: less than the limit, and altogether more than it
      steady.request.socket?.pause();
      setTimeout(() => steady.request.socket?.resume(), 10);
    });
    const { outcome } = await access('stalled');
    assert.ok(outcome === 'error CLIENT_TOO_SLOW', String(outcome));
    reply.destroy();
    await eventually('the other answer', async () => bytes === size + 4, 60_000);
  });
});

times('should end a connection on which nothing is asked, and no other', async () => {
  await withServer({ functions, env: { SERVER_IDLE_TIMEOUT: '1' } }, async ({ port, lines }) => {
    const idle = await raw(port, get('/'));
    const waits = await raw(port, get('/slow'));
    const half = await raw(port, get('/'));
    await half.until('told');
    half.socket.write('GET / HTTP/1.1\r\n');
    const answer = await ended(idle);
    assert.match(answer, 'told');
    assert.not.match(answer, '408');
    await waits.until('told');
    const silent = await raw(port);
    silent.socket.write(get('/'));
    await silent.until('told');
    assert.not(lines().some(({ level, message }) => level === 'warn' && message !== undefined && /slow/.test(message)));
  });
});

times('should have no limit that is not set', async () => {
  await withServer({ functions }, async ({ port }) => {
    const silent = await raw(port);
    const half = await raw(port, 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n');
    const { status } = await ask(port, { path: '/slow' });
    assert.is(status, 200);
    half.socket.write('x');
    silent.socket.write(get('/'));
    await Promise.all([half.until('told'), silent.until('told')]);
  });
});

times('should not count the time for which the process was frozen', async () => {
  await withServer({ functions, env: TIMES }, async ({ port, kill, pid, fc }) => {
    assert.ok(pid > 0 && fc.instances().length === 1);
    const idle = await raw(port, get('/'));
    await idle.until('told');
    kill('SIGSTOP');
    await new Promise(done => setTimeout(done, 3000));
    kill('SIGCONT');
    idle.socket.write(get('/again'));
    await idle.until('told', idle.received().length);
  });
});

times.run();

const numbers = suite('limits of number and size');

/** Opens connections, and resolves with how many of them answer. */
async function answered(port: number, count: number, localAddress: string): Promise<number> {
  const clients = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise<boolean>(done => {
          const socket = connect({ port, host: '127.0.0.1', localAddress });
          socket.on('connect', () => socket.write(get('/')));
          socket.on('data', () => done(true));
          socket.on('error', () => done(false));
          socket.on('close', () => done(false));
          clientsOpen.push(() => socket.destroy());
        }),
    ),
  );
  return clients.filter(Boolean).length;
}
const clientsOpen: (() => void)[] = [];
const closeAll = (): void => {
  for (const close of clientsOpen.splice(0)) close();
};

numbers('should refuse an address more connections, and no other address', async () => {
  const adminPort = await freePort();
  const env = { SERVER_MAX_ADDRESS_CONNECTIONS: '3', SERVER_ADMIN_PORT: String(adminPort) };
  await withServer({ functions, env }, async ({ port, line }) => {
    await line('the admin port', ({ message }) => message === 'admin port open');
    assert.is(await answered(port, 10, '127.0.0.2'), 3);
    assert.is(await answered(port, 3, '127.0.0.3'), 3);
    const { address } = await line('refused', ({ message }) => message === 'connections refused');
    assert.ok(Number(address) >= 1 && Number(address) <= 7);
    const metrics = String((await ask(adminPort, { path: '/metrics' })).body);
    assert.match(metrics, 'noslate_fc_connections_refused_total{reason="address"} 7\n');
    closeAll();
    await eventually('places', async () => {
      const count = await answered(port, 3, '127.0.0.2');
      closeAll();
      return count === 3;
    });
  });
});

numbers('should refuse more connections in all', async () => {
  // FC's pool is among them
  await withServer({ functions, env: { SERVER_MAX_CONNECTIONS: '5' } }, async ({ port }) => {
    const count = await answered(port, 20, '127.0.0.2');
    assert.ok(count >= 3 && count <= 5, String(count));
    closeAll();
    await eventually('a place', async () => (await answered(port, 1, '127.0.0.3')) === 1);
    closeAll();
  });
});

numbers('should tell networks apart', () => {
  const cases = [
    ['127.0.0.1', '127.0.0.1'],
    ['::ffff:10.1.2.3', '10.1.2.3'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8:1:2::6', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::', 'fe80:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['', ''],
  ];
  for (const [address = '', expected] of cases) assert.is(networkOf(address), expected, address);
});

numbers('should refuse heads that are too large, by their own limits', async () => {
  const env = { SERVER_MAX_HEADERS: '5', SERVER_MAX_HEADER_BYTES: '2000', SERVER_MAX_URL: '100' };
  await withServer({ functions, env }, async ({ port }) => {
    const status = async (path: string, headers: string): Promise<string> => {
      const client = await raw(port, get(path, headers));
      const answer = await client.until('\r\n\r\n');
      client.socket.destroy();
      return statusOf(answer);
    };
    assert.is(await status(`/${'a'.repeat(99)}`, ''), '200');
    assert.is(await status(`/${'a'.repeat(100)}`, ''), '414');
    assert.is(await status('/', 'a: b\r\n'.repeat(4)), '200');
    assert.is(await status('/', 'a: b\r\n'.repeat(5)), '431');
    assert.is(await status('/', `a: ${'b'.repeat(1900)}\r\n`), '200');
    assert.is(await status('/', `a: ${'b'.repeat(2100)}\r\n`), '431');
  });
});

numbers.run();

const exposed = suite('exposed');

const withExposed = (env: Record<string, string>, body: (server: Server) => Promise<void>): Promise<void> =>
  withServer({ functions, env: { SERVER_EXPOSED: '1', ...env } }, body);

exposed('should keep hooks and deadlines from clients', async () => {
  await withExposed({ SERVER_TIMEOUT: '1' }, async ({ port, lines, access }) => {
    for (const path of ['/pre-stop', '/pre-freeze']) {
      assert.is(String((await ask(port, { path })).body), 'told');
      const forged = { 'x-fc-control-path': path };
      assert.is(String((await ask(port, { path, headers: forged })).body), 'told');
    }
    assert.is(String((await ask(port, { path: '/initialize', body: '' })).body), 'told');
    const headers = { 'x-fc-function-timeout': '600', 'x-fc-request-id': 'long' };
    assert.is((await ask(port, { path: '/slow', headers })).status, 504);
    assert.is((await access('long'))['outcome'], 'error TIMEOUT');
    assert.not(lines().some(({ message }) => message === 'draining'));
    // FC's simulator says where it runs
    assert.ok(lines().some(({ message }) => message.startsWith('SERVER_EXPOSED: expected off behind FC')));
  });
});

exposed('should take hooks by the control path where that is asked for', async () => {
  await withExposed({ SERVER_HOOKS: 'control-path' }, async ({ port, exit }) => {
    assert.is(String((await ask(port, { path: '/pre-stop' })).body), 'told');
    const headers = { 'x-fc-control-path': '/pre-stop' };
    assert.is((await ask(port, { path: '/pre-stop', headers })).status, 200);
    assert.is(await within(ENDED_MS, exit, 'the end'), 0);
  });
});

exposed('should set limits, each of which a setting of its own goes before', async () => {
  await withExposed({ SERVER_MAX_URL: '50', SERVER_MAX_HEADERS: '0' }, async ({ port }) => {
    const client = await raw(port, get(`/${'a'.repeat(50)}`));
    assert.is(statusOf(await client.until('\r\n\r\n')), '414');
    const many = await raw(port, get('/', 'a: b\r\n'.repeat(200)));
    assert.is(statusOf(await many.until('\r\n\r\n')), '200');
    for (const { socket } of [client, many]) socket.destroy();
    assert.ok((await answered(port, 100, '127.0.0.2')) === 64);
    closeAll();
  });
});

exposed.run();
