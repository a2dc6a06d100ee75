import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import {
  type Ask,
  ask,
  eventually,
  get,
  open,
  type Reply,
  raw,
  type Server,
  type ServerOptions,
  suite,
  withServer,
  write,
} from '../helpers.ts';

/** Serves one function and hands over a way to call it. */
async function serve(
  source: string,
  options: ServerOptions & { override?: object },
  body: (call: (options?: Ask) => Promise<Reply>, server: Server) => Promise<void>,
): Promise<void> {
  const { override = {}, ...rest } = options;
  await withServer({ functions: { f: source }, overrides: { f: override }, ...rest }, server =>
    body(options => ask(server.port, options), server),
  );
}

const json = 'const json = (res, value) => { res.writeHead(200); res.end(JSON.stringify(value)); };';

const runtime = suite('nodejs runtime');

runtime('should give the handler the request of the contract', async () => {
  const source = `${json}
    exports.handler = async (ctx, req, res) => {
      const chunks = [];
      for await (const chunk of req) { if (!Buffer.isBuffer(chunk)) throw new Error('no Buffer'); chunks.push(chunk); }
      json(res, { url: req.url, method: req.method, headers: req.headers, raw: req.rawHeaders.length, baggage: req.baggage,
        body: Buffer.concat(chunks).toString(), isReadable: req instanceof require('stream').Readable, classes: [req.constructor.name, res.constructor.name] });
    };`;
  await serve(source, {}, async call => {
    const reply = await call({
      method: 'PATCH',
      path: '/p?q',
      headers: { 'X-Case': '1', 'x-twice': ['a', 'b'], tracestate: 't' },
      body: 'body',
    });
    const { headers, raw, ...rest } = reply.json() as { headers: Record<string, string>; raw: number };
    assert.equal(rest, {
      url: '/p?q',
      method: 'PATCH',
      baggage: { tracestate: 't' },
      body: 'body',
      isReadable: true,
      classes: ['IncomingMessage', 'ServerResponse'],
    });
    assert.is(headers['X-Case'], '1');
    assert.is(headers['x-twice'], 'b');
    assert.ok(raw >= 12);
  });
});

runtime('should give the handler the response of the contract', async () => {
  const source = `
    exports.handler = async (ctx, req, res) => {
      const seen = [res.statusCode, res.statusMessage, res.headersSent];
      res.setHeader('X-One', '1');
      res.setHeader('x-one', 'other');
      res.setHeader('x-list', ['a', 'b']);
      res.setHeader('x-gone', 'x');
      res.removeHeader('x-gone');
      seen.push(res.getHeader('X-One'), res.getHeader('x-ONE') ?? null, res.hasHeader('x-list'), res.hasHeader('x-gone'), res.getHeaderNames().length);
      res.statusCode = 201;
      seen.push(res.statusMessage, Object.keys(res.getHeaders()).length);
      if (req.url === '/flat') res.writeHead(202, ['x-flat', '1', 'x-one', '2']);
      else if (req.url === '/message') res.writeHead(203, 'Ignored', { 'x-object': '1' });
      else if (req.url === '/odd') res.writeHead(200, ['x']);
      else if (req.url === '/text') res.writeHead('204');
      else res.flushHeaders();
      seen.push(res.headersSent);
      // on Noslate it gives nothing, and what is chained to it fails
      seen.push(String(res.writeHead(500)));
      res.end(JSON.stringify(seen));
    };`;
  await serve(source, {}, async call => {
    const reply = await call();
    assert.is(reply.status, 201);
    assert.equal(JSON.parse(reply.body.toString()), [
      200,
      'OK',
      false,
      '1',
      null,
      true,
      false,
      3,
      'Created',
      3,
      true,
      'undefined',
    ]);
    const flat = reply.rawHeaders.join('\n');
    assert.match(flat, 'X-One\n1\nx-one\nother\nx-list\na\nx-list\nb');
    const other = await call({ path: '/flat' });
    assert.equal([other.status, other.headers['x-flat']], [202, '1']);
    assert.match(other.rawHeaders.join('\n'), 'x-one\n2');
    const message = await call({ path: '/message' });
    assert.equal([message.status, message.headers['x-object']], [203, '1']);
    assert.is((await call({ path: '/odd' })).status, 502);
    assert.is((await call({ path: '/text' })).status, 204);
  });
});

runtime('should hold a body written before the head until the end, whatever its size', async () => {
  const source = `
    exports.handler = async (ctx, req, res) => {
      res.write('a'.repeat(1000));
      for (let i = 0; i < 30; i++) await new Promise(done => res.write(Buffer.alloc(65536, 98), done));
      if (req.url === '/late') { res.setHeader('x-late', '1'); res.writeHead(206); res.write('c'); }
      res.end('d');
    };`;
  await serve(source, {}, async call => {
    const reply = await call();
    assert.equal([reply.status, reply.body.length], [200, 1000 + 30 * 65536 + 1]);
    const late = await call({ path: '/late' });
    assert.equal([late.status, late.headers['x-late'], late.body.subarray(-2).toString()], [206, '1', 'cd']);
    assert.is(late.body.length, 1000 + 30 * 65536 + 2);
    assert.is(late.body.subarray(999, 1001).toString(), 'ab');
  });
});

runtime('should take a body to its last byte from a function that stands still for a while', async () => {
  const source = `
    exports.handler = async (ctx, req, res) => {
      await new Promise(done => setTimeout(done, 20));
      let bytes = 0;
      for await (const chunk of req) bytes += chunk.length;
      res.writeHead(200);
      res.end(String(bytes));
    };`;
  await serve(source, {}, async call => {
    for (let size = 100_000; size < 600_000; size += 33_333) {
      const reply = await call({ body: Buffer.alloc(size) });
      assert.is(Number(reply.body), size);
    }
  });
});

runtime('should answer with nothing but a head, and with one large write', async () => {
  const source = `
    exports.handler = async (ctx, req, res) => {
      if (req.url === '/empty') return res.end();
      res.writeHead(200);
      res.end(Buffer.alloc(Number(req.url.slice(1)), 1));
    };`;
  await serve(source, {}, async (call, { line }) => {
    const empty = await call({ path: '/empty' });
    assert.equal([empty.status, empty.body.length], [200, 0]);
    const most = 10 * 1024 * 1024;
    assert.is((await call({ path: `/${most}` })).body.length, most);
    // as on Noslate, whose messages end there
    const failure = await call({ path: `/${most + 1}` }).then(
      () => 'answered',
      error => (error as NodeJS.ErrnoException).code,
    );
    assert.is(failure, 'ECONNRESET');
    await line('the reason', item => JSON.stringify(item).includes('expected at most 10485760 bytes at a time'));
  });
});

runtime('should give each call a context with Dapr and sendBeacon', async () => {
  const source = `${json}
    exports.handler = async (ctx, req, res) => {
      const { ServiceRequest, BindingRequest, invoke, binding } = ctx.Dapr['1.0'];
      const service = new ServiceRequest({ app: 'a', method: 'm', body: 'b' });
      const bound = new BindingRequest({ name: 'n', metadata: { k: 1 }, operation: 'o', body: Buffer.from('c'), timeout: 5 });
      const refused = await Promise.all([invoke(service), binding(bound)].map(call => call.catch(error => error.message)));
      const seen = ctx.seen;
      ctx.seen = true;
      json(res, {
        service: [service.app, service.method, service.timeout, (await service.buffer()).toString()],
        bound: [bound.name, bound.metadata, bound.operation, bound.timeout, (await bound.buffer()).toString()],
        refused, seen,
        sent: ctx.sendBeacon('trace', { format: 'zipkin' }, 'span'),
        dropped: ctx.sendBeacon('other', {}, 'nothing'),
      });
    };`;
  await serve(source, {}, async (call, server) => {
    await call();
    const reply = (await call()).json();
    assert.equal(reply['service'], ['a', 'm', 10000, 'b']);
    assert.equal(reply['bound'], ['n', { k: '1' }, 'o', 5, 'c']);
    assert.match(String(reply['refused']), /not implemented.*not implemented/);
    assert.equal([reply['seen'], reply['sent'], reply['dropped']], [undefined, true, true]);
    const line = await server.line('the beacon', ({ beacon }) => beacon === 'zipkin');
    assert.is(line.message, 'span');
    assert.not.match(server.output(), 'nothing');
  });
});

runtime('should give workers their environment and nothing of the gateway’s', async () => {
  const source = `${json} exports.handler = async (ctx, req, res) => json(res, { env: process.env, noslated: process.versions.noslated });`;
  const environments = [
    { key: 'STAGE', value: 'profile' },
    { key: 'PATH', value: '/evil' },
    { key: 'HOME', value: '/evil' },
  ];
  const options: ServerOptions & { override: object } = {
    override: { environments },
    profile: {
      environments: [
        { key: 'STAGE', value: 'platform' },
        { key: 'PLATFORM', value: '1' },
      ],
    },
    env: { ALIBABA_CLOUD_ACCESS_KEY_SECRET: 'canary', TZ: 'Asia/Shanghai' },
  };
  await serve(source, options, async (call, { folder }) => {
    const { env, noslated } = (await call()).json() as { env: Record<string, string>; noslated: string };
    assert.equal(env, {
      STAGE: 'profile',
      PLATFORM: '1',
      PATH: '/bin:/usr/bin',
      TERM: 'xterm',
      HOME: join(folder, 'f'),
      TZ: 'Asia/Shanghai',
      NOSLATE_WORKER_ID: 'f-1',
    });
    assert.match(noslated, /^\d+\.\d+\.\d+$/);
  });
});

runtime('should tag what a function prints with its function and worker', async () => {
  const source = `exports.handler = async (ctx, req, res) => { console.log('to stdout\\nin two lines'); console.error('to stderr'); res.end(); };`;
  await serve(source, {}, async (call, { line }) => {
    await call();
    for (const [message, stream] of [
      ['to stdout', 'stdout'],
      ['in two lines', 'stdout'],
      ['to stderr', 'stderr'],
    ]) {
      const found = await line(String(message), item => item.message === message);
      assert.equal([found['function'], found['worker'], found['stream']], ['f', 'f-1', stream]);
    }
  });
});

runtime.run();

const failures = suite('failures');

/** Fails as the path says; works otherwise. */
const FAIL = `
  const ways = {
    throw() { throw new Error('secret detail'); },
    async reject() { await null; throw new Error('secret detail'); },
    async undefined() { throw undefined; },
    bare() { throw Object.create(null); },
    symbol() { throw Symbol('s'); },
    exit() { process.exit(0); },
    uncaught() { setTimeout(() => { throw new Error('secret detail'); }); return new Promise(() => {}); },
    twice(res) { res.end('a'); res.end('b'); },
    after(res) { res.end('a'); res.write('b'); },
    destroyed(res) { res.destroy(); },
    middle(res) { res.writeHead(200); res.write('half', () => res.destroy(new Error('secret detail'))); },
    rejectmiddle(res) { res.writeHead(200); return new Promise((_, fail) => res.write('half', () => fail(new Error('secret detail')))); },
    silentmiddle(res) { res.writeHead(200); res.write('half', () => res.destroy()); },
    exitmiddle(res) { res.writeHead(200); res.write('half', () => setTimeout(() => process.exit(1), 50)); },
    type(res) { res.write(42); },
  };
  exports.handler = async (ctx, req, res) => {
    const way = ways[req.url.slice(1)];
    if (way) return way(res);
    res.writeHead(200); res.end('works');
  };`;

failures('should answer every failure before the head with a short error, and go on', async () => {
  await serve(FAIL, {}, async (call, { line, output }) => {
    const cases: [string, string, string][] = [
      ['throw', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['reject', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['undefined', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['bare', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['symbol', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['exit', 'WORKER_EXITED', 'the worker of function "f" exited'],
      ['uncaught', 'WORKER_EXITED', 'the worker of function "f" crashed'],
      ['after', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['destroyed', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
      ['type', 'FUNCTION_FAILED', 'function "f" failed before it answered'],
    ];
    for (const [way, code, message] of cases) {
      const reply = await call({ path: `/${way}`, headers: { 'x-fc-request-id': way } });
      assert.is(reply.status, 502, way);
      assert.equal(reply.json(), { errorType: code, errorMessage: message, requestId: way });
      await line(`the failure of ${way}`, item => item.message === 'invocation failed' && item['requestId'] === way);
      assert.is((await call()).body.toString(), 'works', `after ${way}`);
    }
    assert.match(output(), 'secret detail');
    // what was written after the end did not reach the client, and harmed nobody
    const twice = await call({ path: '/twice' });
    assert.ok(twice.status === 502 || twice.body.toString() === 'a');
  });
});

failures('should break the connection when the function fails in the middle', async () => {
  await serve(FAIL, {}, async (call, { port, access }) => {
    for (const [way, code] of [
      ['middle', 'FUNCTION_FAILED'],
      ['rejectmiddle', 'FUNCTION_FAILED'],
      ['silentmiddle', 'FUNCTION_FAILED'],
      ['exitmiddle', 'WORKER_EXITED'],
    ]) {
      const client = await raw(port, get(`/${way}`, `x-fc-request-id: ${way}\r\n`));
      const received = await client.closed;
      assert.match(received, 'half');
      assert.not.match(received, '0\r\n\r\n');
      assert.is((await access(String(way)))['outcome'], `error ${code}`);
      assert.is((await call()).body.toString(), 'works', `after ${way}`);
    }
  });
});

failures('should fail an event with 404 and x-fc-status', async () => {
  await serve(FAIL, { profile: { routes: [{ function: 'f' }] } }, async call => {
    const reply = await call({ method: 'POST', path: '/throw', headers: { 'x-fc-control-path': '/invoke' } });
    assert.equal(
      [reply.status, reply.headers['x-fc-status'], reply.json()['errorType']],
      [404, '404', 'FUNCTION_FAILED'],
    );
  });
});

failures(
  'should fail by the deadline what never answers, and say in the log that the handler had returned',
  async () => {
    const source = 'exports.handler = async (ctx, req, res) => { if (req.url !== "/never") res.end("works"); };';
    await serve(
      source,
      { override: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } } },
      async (call, { line }) => {
        const reply = await call({ path: '/never', headers: { 'x-fc-function-timeout': '1' } });
        assert.equal([reply.status, reply.json()['errorType']], [504, 'TIMEOUT']);
        await line('the hint', ({ message }) => message === 'function "f" returned, but never ended its response');
        assert.is((await call()).body.toString(), 'works');
      },
    );
  },
);

failures('should end a worker that blocks its thread, and serve the next call from a new one', async () => {
  const source =
    'exports.handler = async (ctx, req, res) => { if (req.url === "/block") for (;;); res.end(process.env.NOSLATE_WORKER_ID); };';
  for (const replicaCountLimit of [1, 10]) {
    await serve(source, { override: { worker: { replicaCountLimit } } }, async (call, { line }) => {
      const reply = await call({ path: '/block', headers: { 'x-fc-function-timeout': '1' } });
      assert.equal([reply.status, reply.json()['errorType']], [504, 'TIMEOUT']);
      assert.is((await call()).body.toString(), 'f-2');
      await line('the end of the worker', ({ message }) => message === 'worker exited');
    });
  }
});

failures('should end a worker that exceeds its memory, on the heap or beside it', async () => {
  const source = `
    const hoard = [];
    exports.handler = async (ctx, req, res) => {
      if (req.url === '/heap') for (;;) hoard.push({ size: hoard.length });
      if (req.url === '/buffers') { for (let i = 0; i < 40; i++) hoard.push(Buffer.alloc(4 << 20, 1)); return; }
      res.end(process.env.NOSLATE_WORKER_ID);
    };`;
  await serve(source, { override: { resourceLimit: { memory: 64 << 20 } } }, async call => {
    for (const [path, next] of [
      ['/heap', 'f-2'],
      ['/buffers', 'f-3'],
    ]) {
      const reply = await call({ path: String(path) });
      assert.is(reply.status, 502);
      assert.is(reply.json()['errorMessage'], 'the worker of function "f" exceeded its memory of 64 MiB');
      assert.is((await call()).body.toString(), next);
    }
  });
});

failures('should say what is wrong with code that cannot be loaded', async () => {
  const cases: [object, string | null, string, string][] = [
    [{ url: './missing' }, '', 'CODE_UNAVAILABLE', 'ENOENT'],
    [{ url: 'https://localhost/x.zip' }, '', 'CODE_UNAVAILABLE', 'expected a path or a file:// URL'],
    [{ url: './f/index.js' }, '', 'CODE_UNAVAILABLE', 'expected a folder'],
    [{ handler: 'nowhere.handler' }, '', 'FUNCTION_FAILED', 'Cannot find module'],
    [{ handler: 'index.nothere' }, '', 'FUNCTION_FAILED', 'Handler index.nothere is not a function.'],
    [{}, 'this is no JavaScript', 'FUNCTION_FAILED', 'SyntaxError'],
    [
      { initializer: 'index.nothere' },
      'exports.handler = () => {}',
      'INITIALIZER_FAILED',
      'Initializer index.nothere is not a function.',
    ],
    [
      { initializer: 'index.init' },
      'exports.handler = () => {}; exports.init = () => process.exit(9)',
      'INITIALIZER_FAILED',
      'exit code 9',
    ],
    [
      { worker: { execArgv: ['--no-such-flag'] } },
      'exports.handler = () => {}',
      'INITIALIZER_FAILED',
      '--no-such-flag',
    ],
    [{ runtime: 'aworker', handler: undefined, sourceFile: 'x.js' }, '', 'INVALID_RUNTIME', ''],
  ];
  for (const [override, source, code, detail] of cases) {
    await serve(source ?? '', { override }, async (call, { line }) => {
      const reply = await call();
      assert.equal([reply.status, reply.json()['errorType']], [502, code], JSON.stringify(override));
      assert.not.match(reply.body.toString(), /\/|\\n/);
      const failure = await line('the failure', item => item.message === 'invocation failed');
      assert.match(JSON.stringify(failure), detail);
      assert.is((await call()).status, 502);
    });
  }
});

failures('should give up on an initializer after initializationTimeout', async () => {
  const source = 'exports.handler = () => {}; exports.init = () => new Promise(() => {});';
  await serve(
    source,
    { override: { initializer: 'index.init', worker: { initializationTimeout: 200 } } },
    async call => {
      const reply = await call();
      assert.equal([reply.status, reply.json()['errorType']], [504, 'INITIALIZER_TIMEOUT']);
      assert.is(reply.json()['errorMessage'], 'function "f" was not initialized within 200 ms');
    },
  );
});

failures('should answer 404 for a function that does not exist', async () => {
  await serve('', { profile: { routes: [{ path: '/:name', function: ':name' }] } }, async call => {
    const reply = await call({ path: '/g' });
    assert.equal([reply.status, reply.json()['errorMessage']], [404, 'no function named "g"']);
  });
});

failures.run();

const pool = suite('pool');

/** Holds each call until `/release`, which the worker's own file system hears of. */
const HOLD = `
  const fs = require('fs');
  const path = require('path');
  let active = 0;
  exports.init = async () => { exports.initialized = true; };
  exports.handler = async (ctx, req, res) => {
    active++;
    console.log('holding');
    const gate = path.join(process.env.HOME, '..', 'gate');
    while (req.url === '/hold' && !fs.existsSync(gate)) await new Promise(done => setTimeout(done, 10));
    res.writeHead(200);
    res.end(JSON.stringify({ active, worker: process.env.NOSLATE_WORKER_ID, initialized: exports.initialized }));
    active--;
  };`;

const holding = (server: Server, count: number): Promise<unknown> =>
  server.line(`${count} holding`, () => server.lines().filter(({ message }) => message === 'holding').length >= count);

async function hold(
  call: (options?: Ask) => Promise<Reply>,
  server: Server,
  calls: number,
  atOnce: number,
): Promise<{ active: number; worker: string }[]> {
  const replies = Array.from({ length: calls }, () => call({ path: '/hold' }));
  await holding(server, atOnce);
  write(join(server.folder, 'gate'), '');
  return (await Promise.all(replies)).map(reply => reply.json() as { active: number; worker: string });
}

pool('should run no more than maxActivateRequests in a worker, and queue the rest', async () => {
  await serve(
    HOLD,
    { override: { worker: { maxActivateRequests: 2, replicaCountLimit: 1 } } },
    async (call, server) => {
      const replies = await hold(call, server, 7, 2);
      assert.equal([...new Set(replies.map(({ worker }) => worker))], ['f-1']);
      assert.ok(replies.every(({ active }) => active <= 2));
    },
  );
});

pool('should start workers as they are needed, up to replicaCountLimit', async () => {
  await serve(
    HOLD,
    { override: { worker: { maxActivateRequests: 1, replicaCountLimit: 3 } } },
    async (call, server) => {
      const replies = await hold(call, server, 6, 3);
      assert.equal([...new Set(replies.map(({ worker }) => worker))].sort(), ['f-1', 'f-2', 'f-3']);
      assert.ok(replies.every(({ active }) => active === 1));
    },
  );
});

pool('should run the initializer once per worker, before its first call', async () => {
  await serve(HOLD, { override: { initializer: 'index.init' } }, async call => {
    assert.is((await call()).json()['initialized'], true);
  });
});

pool('should use a disposable worker for one call', async () => {
  await serve(HOLD, { override: { worker: { disposable: true, reservationCount: 3 } } }, async (call, { lines }) => {
    const workers = [];
    for (let i = 0; i < 3; i++) workers.push((await call()).json()['worker']);
    assert.equal(workers, ['f-1', 'f-2', 'f-3']);
    assert.is(lines().filter(({ message }) => message === 'worker exited').length, 0);
  });
});

pool('should fail with 503 what waits for a worker until its deadline', async () => {
  await serve(
    HOLD,
    { override: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } } },
    async (call, server) => {
      const held = open(server.port, { path: '/hold' });
      await holding(server, 1);
      const reply = await call({ headers: { 'x-fc-function-timeout': '1' } });
      assert.equal([reply.status, reply.json()['errorType']], [503, 'QUEUE_TIMEOUT']);
      held.request.destroy();
    },
  );
});

pool('should not queue with disableRequestQueue, nor with fastFailRequestsOnStarting at the limit', async () => {
  for (const worker of [{ disableRequestQueue: true }, { fastFailRequestsOnStarting: true }]) {
    await serve(
      HOLD,
      { override: { worker: { maxActivateRequests: 1, replicaCountLimit: 1, reservationCount: 1, ...worker } } },
      async (call, server) => {
        await server.line('the worker', ({ message }) => message === 'worker ready');
        const held = open(server.port, { path: '/hold' });
        await holding(server, 1);
        const reply = await call();
        assert.equal([reply.status, reply.json()['errorType']], [503, 'NO_WORKER'], JSON.stringify(worker));
        held.request.destroy();
      },
    );
  }
});

pool('should keep a call’s slot while its handler runs, also when the caller has gone', async () => {
  await serve(
    HOLD,
    { override: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } } },
    async (call, server) => {
      const held = open(server.port, { path: '/hold', headers: { 'x-fc-request-id': 'held' } });
      await holding(server, 1);
      held.request.destroy();
      await server.access('held');
      const next = call();
      write(join(server.folder, 'gate'), '');
      assert.is((await next).json()['active'], 1);
    },
  );
});

pool('should let one call crash its worker and fail all of its calls alone', async () => {
  const source = `
    exports.handler = async (ctx, req, res) => {
      if (req.url === '/crash') process.exit(1);
      if (req.url === '/hold') { console.log('holding'); return; }
      res.end('works');
    };`;
  await serve(source, {}, async (call, server) => {
    const held = call({ path: '/hold' });
    await holding(server, 1);
    const crash = call({ path: '/crash' });
    for (const reply of [await held, await crash])
      assert.equal([reply.status, reply.json()['errorType']], [502, 'WORKER_EXITED']);
    assert.is((await call()).body.toString(), 'works');
  });
});

pool('should serve hundreds of calls at once', async () => {
  const source =
    'exports.handler = async (ctx, req, res) => { const all = []; for await (const c of req) all.push(c); res.writeHead(200); res.end(Buffer.concat(all)); };';
  await serve(source, { override: { worker: { replicaCountLimit: 2 } } }, async call => {
    const replies = await Promise.all(Array.from({ length: 300 }, (_, i) => call({ body: `body ${i}` })));
    assert.equal(
      replies.map(reply => reply.body.toString()),
      Array.from({ length: 300 }, (_, i) => `body ${i}`),
    );
  });
});

pool.run();

const reload = suite('reload');

reload(
  'should serve new code after a file of the function changed, and let calls in flight finish on the old',
  async () => {
    const source = (version: string): string => `
    const { text } = require('./lib/text');
    exports.handler = async (ctx, req, res) => {
      res.writeHead(200);
      res.write('${version} ' + text);
      if (req.method === 'POST') { for await (const chunk of req); }
      res.end('.');
    };`;
    await withServer({ functions: { f: source('old') } }, async ({ port, folder }) => {
      const answers = (expected: string): Promise<void> =>
        eventually(`the answer ${expected}`, async () => (await ask(port)).body.toString() === expected);
      mkdirSync(join(folder, 'f/lib'));
      write(join(folder, 'f/lib/text.js'), 'exports.text = "a";');
      await answers('old a.');
      const client = await raw(port, 'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\n\r\n');
      await client.until('old a');
      write(join(folder, 'f/index.js'), source('new'));
      await answers('new a.');
      client.socket.write('x');
      await client.until('.\r\n0\r\n\r\n');
      client.socket.destroy();

      write(join(folder, 'f/index.js'), 'syntax error');
      await eventually('an error', async () => (await ask(port)).status === 502);
      write(join(folder, 'f/index.js'), source('mended'));
      write(join(folder, 'f/lib/text.js'), 'exports.text = "b";');
      await answers('mended b.');
    });
  },
);

reload(
  'should read noslate.json again when it changes or on SIGHUP, and keep the old when the new is bad',
  async () => {
    const hello = (name: string): string =>
      `exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end('${name} ' + process.env.STAGE); };`;
    await withServer({ functions: { a: hello('a') } }, async ({ port, folder, line, lines, kill }) => {
      assert.is((await ask(port)).body.toString(), 'a undefined');
      const reloads = (count: number): Promise<unknown> =>
        line(
          `reload ${count}`,
          () => lines().filter(({ message }) => message === 'configuration reloaded').length >= count,
        );
      const file = join(folder, 'noslate.json');
      const profile = (names: string[], rest: object): string =>
        JSON.stringify({
          functions: names.map(name => ({
            name,
            runtime: 'nodejs',
            url: `./${name}`,
            handler: 'index.handler',
            signature: '1',
          })),
          ...rest,
        });
      write(join(folder, 'b/index.js'), hello('b'));
      write(
        file,
        profile(['a', 'b'], {
          routes: [{ path: '/:f', function: ':f' }],
          environments: [{ key: 'STAGE', value: 'two' }],
        }),
      );
      await reloads(1);
      assert.is((await ask(port, { path: '/a' })).body.toString(), 'a two');
      assert.is((await ask(port, { path: '/b' })).body.toString(), 'b two');

      write(file, '{ "functions": [{ "name": 1 }] }');
      await line(
        'the refusal',
        ({ message }) => message.startsWith('configuration not reloaded: ') && message.includes('functions[0].name'),
      );
      assert.is((await ask(port, { path: '/b' })).body.toString(), 'b two');
      rmSync(file);
      await line('the missing file', ({ message }) => message.includes('no such file'));
      assert.is((await ask(port, { path: '/b' })).body.toString(), 'b two');

      write(file, profile(['b'], {}));
      await reloads(2);
      assert.is((await ask(port, { path: '/a' })).body.toString(), 'b undefined');
      const before = lines().filter(({ message }) => message === 'configuration reloaded').length;
      kill('SIGHUP');
      await reloads(before + 1);
    });
  },
);

reload.run();
