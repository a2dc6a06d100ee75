import { execFile } from 'node:child_process';
import { Agent } from 'node:http';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { type Whole, whole } from '../src/desk/conformance/check.ts';
import { AGENTS, startServerOn, withServerOn } from './agents.ts';
import { ask, eventually, get, open, raw, read, type Server, suite, within } from './helpers.ts';
import { parseAnswers } from './http-answers.ts';

const ECHO = `
  const { pipeline } = require('stream/promises');
  exports.handler = async (ctx, req, res) => { res.writeHead(200); await pipeline(req, res); };`;

/** Answers with what it was told: its request, as JSON. */
const MIRROR = `
  exports.handler = async (ctx, req, res) => {
    let bytes = 0;
    for await (const chunk of req) bytes += chunk.length;
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(JSON.stringify({ url: req.url, method: req.method, rawHeaders: req.rawHeaders, baggage: req.baggage, bytes, env: process.env }));
  };`;

/** Answers with what the query says: status, headers, body. */
const SAY = `
  exports.handler = async (ctx, req, res) => {
    const [, query] = req.url.split('?');
    let text = '';
    if (query === undefined) for await (const chunk of req) text += chunk;
    const { status, headers, body } = JSON.parse(query === undefined ? text : decodeURIComponent(query));
    res.writeHead(status, headers ?? []);
    res.end(body);
  };`;

const say = (answer: { status: number; headers?: string[]; body?: string }): string =>
  `/say?${encodeURIComponent(JSON.stringify(answer))}`;

const routes = [
  { event: true, function: 'say' },
  { path: '/:name', function: ':name' },
];
/** Breaks off in the middle of its answer. */
const HALF = `
  exports.handler = async (ctx, req, res) => {
    res.writeHead(200);
    res.write('half', () => setImmediate(() => res.destroy(new Error('half'))));
  };`;

const functions = { echo: ECHO, mirror: MIRROR, say: SAY, half: HALF };

for (const agent of AGENTS) {
  const http = suite(`http :: ${agent}`);

  let server: Server;
  http('should start', async () => {
    server = await startServerOn(agent, { functions, profile: { routes } });
  });

  http('should tell the function the request as it was sent', async () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
    const reply = await ask(server.port, {
      path: '/mirror?a=b&a=%20c',
      headers: { 'X-Mixed-Case': 'One', 'x-list': ['1', '2'], traceparent, 'x-fc-region': 'cn-hangzhou' },
    });
    const { url, method, rawHeaders, baggage } = reply.json() as {
      url: string;
      method: string;
      rawHeaders: string[];
      baggage: object;
    };
    assert.is(url, '/mirror?a=b&a=%20c');
    assert.is(method, 'GET');
    assert.equal(baggage, { traceparent });
    const text = rawHeaders.join('\n');
    for (const part of [
      'X-Mixed-Case\nOne',
      'x-list\n1\nx-list\n2',
      'x-fc-region\ncn-hangzhou',
      `traceparent\n${traceparent}`,
    ]) {
      assert.match(text, part);
    }
    assert.not.match(text.toLowerCase(), 'connection');
  });

  http('should strip the proxy prefix of FC 2.0', async () => {
    const reply = await ask(server.port, { path: '/2016-08-15/proxy/svc.LATEST/fn/mirror?x' });
    assert.is(reply.json()['url'], '/mirror?x');
  });

  http('should lose no header line, whatever their number', async () => {
    const lines = Array.from({ length: 1100 }, (_, i) => `a${i}: 1\r\n`).join('');
    const last = 'x-last: 2\r\n';
    // FC's own come last for all we know: without them this would end the instance, and be no call
    const hook = await raw(server.port, get('/pre-stop', `${lines}x-fc-control-path: /http-invoke\r\n${last}`));
    await hook.untilThat(text => parseAnswers(text).length === 1, 'an answer');
    assert.is(parseAnswers(hook.received())[0]?.status, 404);
    hook.socket.write(get('/mirror', lines + last));
    await hook.untilThat(text => parseAnswers(text).length === 2, 'another answer');
    const { rawHeaders } = JSON.parse(parseAnswers(hook.received())[1]?.body ?? '') as { rawHeaders: string[] };
    assert.equal([rawHeaders.length, rawHeaders.slice(-2)], [2 * 1102, ['x-last', '2']]);
    hook.socket.destroy();
    const event = `POST /invoke HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n${lines}x-fc-control-path: /http-invoke\r\n\r\n`;
    const invoke = await raw(server.port, event);
    await invoke.untilThat(text => parseAnswers(text).length === 1, 'an answer');
    assert.is(parseAnswers(invoke.received())[0]?.headers.get('x-fc-status'), undefined);
    invoke.socket.destroy();
  });

  http('should let no credential reach the function or the log', async () => {
    const names = [
      'x-fc-access-key-id',
      'X-Fc-Access-Key-Secret',
      'x-fc-security-token',
      'x-fc-tracing-jaeger-endpoint',
    ];
    const headers = Object.fromEntries(names.map((name, i) => [name, `canary-${i}`]));
    const seen = await ask(server.port, { path: '/mirror', headers });
    assert.not.match(seen.body.toString(), 'canary');
    const failed = await ask(server.port, { path: '/nowhere', headers: { ...headers, 'x-fc-request-id': 'canaries' } });
    assert.is(failed.status, 404);
    assert.not.match(failed.body.toString(), 'canary');
    await server.access('canaries');
    assert.not.match(server.output(), 'canary');
  });

  http('should keep the function’s status and headers, duplicates and Content-Length', async () => {
    const agent = new Agent({ keepAlive: true });
    const reply = await ask(server.port, {
      agent,
      path: say({
        status: 207,
        headers: ['X-A', '1', 'Set-Cookie', 'a=1', 'content-length', '4', 'x-fc-status', '1', 'Connection', 'close'],
        body: 'four',
      }),
    });
    assert.is(reply.status, 207);
    assert.is(reply.headers['content-length'], '4');
    assert.is(reply.headers['transfer-encoding'], undefined);
    assert.is(reply.headers['x-fc-status'], undefined);
    assert.is(reply.headers['connection'], 'keep-alive');
    assert.ok(reply.rawHeaders.includes('X-A'));
    agent.destroy();
  });

  http('should invent no Content-Length', async () => {
    const reply = await ask(server.port, { path: say({ status: 200, body: 'x' }) });
    assert.is(reply.headers['transfer-encoding'], 'chunked');
  });

  http('should send no body with HEAD, 204, 205 and 304', async () => {
    const length = ['content-length', '4'];
    const connection = await raw(server.port);
    const exchange = async (request: string, expected: RegExp): Promise<void> => {
      const before = connection.received().length;
      connection.socket.write(request);
      await connection.until('\r\n\r\n', before);
      // a body, if there were one, would be there before the answer to a later request
      const fresh = await ask(server.port, { path: say({ status: 200, body: 'still in step' }) });
      assert.is(fresh.body.toString(), 'still in step');
      const head = connection.received().slice(before);
      assert.match(head, expected);
      assert.ok(head.endsWith('\r\n\r\n'), JSON.stringify(head));
    };
    const answer = (status: number): string => say({ status, headers: ['x-end', '1', ...length], body: 'body' });
    await exchange(`HEAD ${answer(200)} HTTP/1.1\r\nhost: a\r\n\r\n`, /^HTTP\/1\.1 200[\s\S]*content-length: 4/);
    await exchange(get(answer(204)), /^HTTP\/1\.1 204/);
    assert.not.match(connection.received().split('HTTP/1.1 204')[1] ?? '', 'content-length');
    await exchange(get(answer(205)), /^HTTP\/1\.1 205[\s\S]*content-length: 0/);
    await exchange(get(answer(304)), /^HTTP\/1\.1 304[\s\S]*content-length: 4/);
    connection.socket.destroy();
  });

  http('should refuse a status or header that is not HTTP', async () => {
    for (const status of [0, 99, 100, 101, 600, 99999]) {
      const reply = await ask(server.port, { path: say({ status }) });
      assert.is(reply.status, 502, String(status));
      assert.is(reply.json()['errorType'], 'BAD_RESPONSE');
      assert.match(String(reply.json()['errorMessage']), `status ${status}, expected 200 to 599`);
    }
    const reply = await ask(server.port, { path: say({ status: 200, headers: ['x-bad', 'a\nb'] }) });
    assert.equal([reply.status, reply.json()['errorMessage']], [502, 'the function sent an illegal header "x-bad"']);
  });

  http('should let no answer that is broken off look whole, in HTTP/1.0 either', async () => {
    for (const version of ['--http1.0', '--http1.1']) {
      // Node's own client, up to 22, takes a reset for a clean end
      const code = await within(
        10_000,
        new Promise<unknown>(done => {
          const url = `http://127.0.0.1:${server.port}/half`;
          execFile('curl', ['-s', version, url], error => done(error === null ? 0 : error.code));
        }),
        'curl',
      );
      // 56: reset; 18: less than was announced
      assert.is(code, version === '--http1.0' ? 56 : 18, version);
    }
  });

  http('should break off a body that does not keep to its Content-Length', async () => {
    for (const length of ['3', '5']) {
      const { reply } = open(server.port, {
        path: say({ status: 200, headers: ['content-length', length], body: 'four' }),
      });
      const outcome = await within(
        5000,
        reply.then(read).then(
          () => 'whole',
          error => (error as NodeJS.ErrnoException).code,
        ),
        'the end',
      );
      assert.is.not(outcome, 'whole', length);
    }
  });

  http('should answer an event with the body alone, and say what the status was', async () => {
    const event = (answer: object): Promise<Whole> =>
      whole(server.fc.invoke({ payload: Buffer.from(JSON.stringify(answer)) }));
    const ok = await event({ status: 201, body: 'made' });
    assert.equal([ok.text, ok.errorType], ['made', undefined]);
    const failed = await event({ status: 422, body: 'no' });
    assert.equal([failed.text, failed.errorType], ['no', 'UnhandledInvocationError']);
    const broken = await event({ status: 99 });
    assert.equal(JSON.parse(broken.text), {
      errorType: 'BAD_RESPONSE',
      errorMessage: 'the function answered with status 99, expected 200 to 599',
      requestId: broken.requestId,
    });
    // what FC keeps from the caller
    for (const [status, noslate] of [
      [422, '422'],
      [99, '502'],
    ] as const) {
      const headers = { 'x-fc-control-path': '/invoke' };
      const reply = await ask(server.port, { path: '/invoke', body: JSON.stringify({ status }), headers });
      assert.equal(
        [reply.status, reply.headers['x-fc-status'], reply.headers['x-noslate-status']],
        [404, '404', noslate],
      );
    }
  });

  http('should give the request id of FC, or one of its form', async () => {
    const given = await ask(server.port, { path: '/none', headers: { 'x-fc-request-id': 'given' } });
    assert.is(given.json()['requestId'], 'given');
    const made = await ask(server.port, { path: '/none' });
    assert.match(String(made.json()['requestId']), /^1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}$/);
  });

  http('should refuse what is not HTTP with 400, and close', async () => {
    const cases: [string, string][] = [
      ['GET / HTTP/1.1\r\n\r\n', 'got none'],
      ['GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n', 'got 2'],
      ['GET / HTTP/1.1\r\nhost: a b\r\n\r\n', 'expected a name or address'],
      ['GET / HTTP/2.0\r\nhost: a\r\n\r\n', 'HTTP version 2.0'],
      ['POST / HTTP/1.0\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n', 'HTTP/1.0'],
      ['GARBAGE\r\n\r\n', 'not an HTTP/1.1 request'],
      ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'not an HTTP/1.1 request'],
      [
        'POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n',
        'not an HTTP/1.1 request',
      ],
    ];
    for (const [request, expected] of cases) {
      const connection = await raw(server.port, request);
      const reply = await within(5000, connection.closed, `the answer to ${JSON.stringify(request)}`);
      assert.match(reply, /^HTTP\/1\.1 400 Bad Request\r\n/);
      assert.match(reply, expected);
      assert.match(reply.toLowerCase(), 'connection: close');
    }
    const large = await raw(server.port, get('/', `x: ${'a'.repeat(70_000)}\r\n`));
    assert.match(await within(5000, large.closed, 'the answer'), /^HTTP\/1\.1 431 [\s\S]*expected at most 65536 bytes/);
  });

  http('should log one access line for each request', async () => {
    await ask(server.port, {
      method: 'POST',
      path: '/echo?secret',
      body: 'ten bytes!',
      headers: { 'x-fc-request-id': 'line' },
    });
    const { time, level, totalMs, firstByteMs, ...rest } = await server.access('line');
    assert.equal(rest, {
      message: 'request',
      requestId: 'line',
      kind: 'http',
      method: 'POST',
      path: '/echo',
      function: 'echo',
      ...(agent === 'local' && { worker: 'echo-1' }),
      status: 200,
      bytesIn: 10,
      bytesOut: 10,
      outcome: 'ok',
    });
    assert.match(String(time), /^\d{4}-\d\d-\d\dT/);
    assert.type(firstByteMs, 'number');
    assert.ok(Number(totalMs) >= Number(firstByteMs));
  });

  http('should go on with a connection whose body nobody read, though the answer has none', async () => {
    const body = Buffer.alloc(1024 * 1024);
    const head = `POST ${say({ status: 204 })} HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n`;
    const connection = await raw(server.port, head);
    connection.socket.write(body.subarray(0, 100_000));
    await connection.until('HTTP/1.1 204');
    connection.socket.write(body.subarray(100_000));
    connection.socket.write(get(say({ status: 200, body: 'next' })));
    await connection.until('next');
    connection.socket.destroy();
  });

  http('should give a client that still sends the whole of an answer behind which the connection ends', async () => {
    const path = say({ status: 200, body: 'z'.repeat(50_000) });
    const length = 8_000_000;
    const heads = {
      'HTTP/1.0': `POST ${path} HTTP/1.0\r\n`,
      close: `POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n`,
      upgrade: `POST ${path} HTTP/1.1\r\nhost: a\r\nupgrade: x\r\n`,
    };
    for (const [name, head] of Object.entries(heads)) {
      const client = await raw(server.port);
      client.socket.pause();
      client.socket.write(`${head}x-fc-request-id: ${name}\r\ncontent-length: ${length}\r\n\r\n`);
      client.socket.write(Buffer.alloc(length));
      await server.access(name);
      // closed over what it still sends, the connection would have been reset
      client.socket.resume();
      const reply = await within(10_000, client.closed, `the end of the connection :: ${name}`);
      assert.is(reply.split('z').length - 1, 50_000, name);
    }
  });

  http('should not read the rest of a request for ever', async () => {
    for (const path of [say({ status: 200 }), '/initialize', '/nowhere']) {
      const client = await raw(server.port, `POST ${path} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n`);
      await client.until('\r\n\r\n');
      const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
      let sent = 0;
      const push = (): void => {
        while (!client.socket.destroyed && sent < 128 * 1024 * 1024) {
          sent += chunk.length;
          if (!client.socket.write(chunk)) return;
        }
      };
      client.socket.on('drain', push);
      push();
      await within(10_000, client.closed, `the end of the connection :: ${path}`);
      assert.ok(sent < 64 * 1024 * 1024, `${path}: ${sent} bytes taken`);
    }
  });

  http('should ask for a body only when it is wanted', async () => {
    const head = (path: string): string =>
      `POST ${path} HTTP/1.1\r\nhost: a\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n`;
    const wanted = await raw(server.port, head('/echo'));
    await wanted.until('HTTP/1.1 100 Continue\r\n\r\n');
    wanted.socket.write('ok');
    await wanted.until('\r\nok\r\n');
    wanted.socket.destroy();
    const refused = await raw(server.port, head('/'));
    await refused.until('HTTP/1.1 404');
    assert.not.match(refused.received(), '100 Continue');
    refused.socket.destroy();
  });

  http('should answer pipelined requests in order', async () => {
    const bodies = ['first', 'second', 'third'];
    const connection = await raw(server.port, bodies.map(body => get(say({ status: 200, body }))).join(''));
    const all = await connection.until('third');
    assert.ok(all.indexOf('first') < all.indexOf('second') && all.indexOf('second') < all.indexOf('third'));
    connection.socket.destroy();
  });

  http('should answer all that autocannon asks, one at a time and pipelined', async () => {
    for (const pipelining of [1, 4]) {
      const url = `http://127.0.0.1:${server.port}${say({ status: 200, body: 'ok' })}`;
      const args = ['-c', '50', '-a', '500', '-p', `${pipelining}`, '--json', '--no-progress', url];
      const output = await within(
        30_000,
        new Promise<string>((done, fail) =>
          execFile(process.execPath, ['node_modules/autocannon/autocannon.js', ...args], (error, stdout) =>
            error === null ? done(stdout) : fail(error),
          ),
        ),
        'autocannon',
      );
      const result = JSON.parse(output) as Record<string, number>;
      assert.equal([result['errors'], result['timeouts'], result['non2xx']], [0, 0, 0]);
      // A connection is closed as the last request is written, so what was sent ahead of it is not read.
      assert.ok(Number(result['2xx']) >= 500 - 50 * (pipelining - 1), `${result['2xx']} answers`);
    }
  });

  http('should stop', async () => {
    await server.stop();
    assert.is(await server.exit, 0);
  });

  http.run();

  const streaming = suite(`streaming :: ${agent}`);

  const SSE = `
  const { once } = require('events');
  const open = new Map();
  exports.handler = async (ctx, req, res) => {
    const [, , id, event] = req.url.split('/');
    if (event === undefined) {
      res.writeHead(200, { 'content-type': 'text/event-stream' });
      open.set(id, res);
      return;
    }
    if (event === 'end') open.get(id).end();
    else open.get(id).write('data: ' + event + '\\n\\n');
    res.writeHead(204);
    res.end();
  };`;

  streaming('should show an SSE client the head before the first event, and each event when it is sent', async () => {
    await withServerOn(agent, { functions: { sse: SSE } }, async ({ port }) => {
      const client = await raw(port, get('/sse/a'));
      const head = await client.until('\r\n\r\n');
      assert.match(head, 'text/event-stream');
      for (const event of ['one', 'two', 'three']) {
        assert.not.match(client.received(), event);
        await ask(port, { path: `/sse/a/${event}` });
        await client.until(`data: ${event}\n\n`);
      }
      await ask(port, { path: '/sse/a/end' });
      await client.until('0\r\n\r\n');
      client.socket.destroy();
    });
  });

  // Noslate's SDK holds nothing back, and a real data plane only what the gateway does not take
  if (agent !== 'sdk') {
    streaming('should slow the client down to the function’s pace, and the function to the client’s', async () => {
      // the function counts what it could write; the client reads nothing until it stands still
      const functions = {
        source: `
      let written = 0;
      exports.handler = async (ctx, req, res) => {
        if (req.url !== '/go') { res.writeHead(200); return res.end(String(written)); }
        res.writeHead(200);
        const chunk = Buffer.alloc(65536);
        for (let i = 0; i < 16384 && !res.destroyed; i++) {
          written += chunk.length;
          if (!res.write(chunk)) await new Promise(done => { res.once('drain', done); res.once('close', done); });
        }
        res.end();
      };`,
        sink: `
      let taken = 0;
      exports.handler = async (ctx, req, res) => {
        if (req.url !== '/go') { res.writeHead(200); return res.end(String(taken)); }
        req.on('data', chunk => { taken += chunk.length; req.pause(); });
      };`,
      };
      const routes = [{ method: 'POST', function: 'sink' }, { function: 'source' }];
      await withServerOn(
        agent,
        { functions, profile: { routes }, planes: { knobs: { heedBackpressure: true } } },
        async ({ port }) => {
          /** The count once it has begun and stands still. */
          const settled = async (probe: () => Promise<number>): Promise<number> => {
            for (let last = 0; ; ) {
              const now = await probe();
              if (now > 0 && now === last) return now;
              last = now;
              await new Promise(done => setTimeout(done, 300));
            }
          };
          const { request, reply } = open(port, { path: '/go' });
          const response = await within(5000, reply, 'the head');
          response.pause();
          const written = await settled(async () => Number((await ask(port, { path: '/count' })).body));
          // 256 KiB in the gateway, the rest in both ends' socket buffers
          assert.ok(written < 16 * 1024 * 1024, `written ${written}`);
          request.destroy();

          let sent = 0;
          const endless = new Readable({
            read() {
              sent += 65536;
              this.push(Buffer.alloc(65536));
            },
          });
          const upload = open(port, { method: 'POST', path: '/go', body: endless });
          const offered = await settled(async () => sent);
          assert.ok(offered < 16 * 1024 * 1024, `offered ${offered}`);
          const taken = await settled(async () => Number((await ask(port, { method: 'POST', path: '/count' })).body));
          assert.ok(taken < offered, `taken ${taken}`);
          upload.request.destroy();
          endless.destroy();
        },
      );
    });
  }

  streaming.run();

  const limits = suite(`limits :: ${agent}`);

  limits('should refuse a body above SERVER_MAX_BODY, announced or not', async () => {
    await withServerOn(
      agent,
      { functions, profile: { routes }, env: { SERVER_MAX_BODY: '1000' } },
      async ({ port, access }) => {
        const ok = await ask(port, { path: '/echo', body: Buffer.alloc(1000) });
        assert.is(ok.body.length, 1000);
        const announced = await ask(port, { path: '/mirror', body: Buffer.alloc(1001) });
        assert.equal([announced.status, announced.json()['errorType']], [413, 'BODY_TOO_LARGE']);
        assert.is(announced.json()['errorMessage'], 'request body: expected at most 1000 bytes');
        const headers = { 'x-fc-request-id': 'chunked' };
        const chunked = await ask(port, {
          method: 'POST',
          path: '/mirror',
          body: Readable.from([Buffer.alloc(900), Buffer.alloc(900)]),
          headers,
        });
        assert.equal([chunked.status, chunked.json()['errorType']], [413, 'BODY_TOO_LARGE']);
        assert.is((await access('chunked'))['outcome'], 'error BODY_TOO_LARGE');
      },
    );
  });

  limits('should end a connection whose body is too large after a bounded reading', async () => {
    const env = { SERVER_MAX_BODY: '1000' };
    await withServerOn(agent, { functions, profile: { routes }, env }, async ({ port, line }) => {
      const heads = {
        announced: 'content-length: 1000000000',
        chunked: 'transfer-encoding: chunked',
        expected: 'expect: 100-continue\r\ncontent-length: 1001',
      };
      for (const [name, head] of Object.entries(heads)) {
        for (const endless of [false, true]) {
          const client = await raw(
            port,
            `POST /echo HTTP/1.1\r\nhost: a\r\nx-fc-request-id: ${name}\r\n${head}\r\n\r\n`,
          );
          const chunk = `4000\r\n${'x'.repeat(0x4000)}\r\n`;
          let sent = 0;
          const push = (): void => {
            while (!client.socket.destroyed && sent < 64 * 1024 * 1024) {
              sent += chunk.length;
              if (!client.socket.write(chunk)) return;
            }
          };
          if (endless) {
            client.socket.on('drain', push);
            push();
          } else if (name === 'chunked') client.socket.write(chunk);
          const reply = await within(10_000, client.closed, `the end of the connection :: ${name}`);
          // who goes on sending may lose the answer to a reset
          if (reply !== '' || !endless) {
            assert.match(reply, /^HTTP\/1\.1 413 [\s\S]*connection: close[\s\S]*"BODY_TOO_LARGE"/i, name);
            assert.is(reply.split('HTTP/1.1').length, 2, 'one answer');
          }
          assert.ok(sent < 32 * 1024 * 1024, `${name}: ${sent} bytes taken`);
        }
        await line(name, ({ requestId, outcome }) => requestId === name && outcome === 'error BODY_TOO_LARGE');
      }
    });
  });

  limits('should refuse invocations above SERVER_MAX_CONCURRENCY', async () => {
    const functions = {
      hold: 'exports.handler = async (ctx, req, res) => { if (req.url !== "/hold") res.end("ok"); else console.log("holding"); };',
    };
    await withServerOn(agent, { functions, args: ['--max-concurrency=1'] }, async ({ port, access, line }) => {
      const held = open(port, { path: '/hold', headers: { 'x-fc-request-id': 'held' } });
      await line('the call', ({ message }) => message === 'holding');
      const refused = await ask(port, { path: '/' });
      assert.equal(
        [refused.status, refused.headers['retry-after'], refused.json()['errorType']],
        [503, '1', 'OVERLOADED'],
      );
      held.request.destroy();
      await access('held');
      assert.is((await ask(port, { path: '/' })).body.toString(), 'ok');
    });
  });

  limits('should have invocations above it wait as SERVER_MAX_QUEUE says', async () => {
    const functions = {
      hold: `exports.handler = async (ctx, req, res) => {
        if (!req.url.startsWith('/hold')) return res.end('ok');
        console.log('holding ' + req.url);
        for await (const chunk of req);
        res.end('held');
      };`,
    };
    const args = ['--max-concurrency=1', '--max-queue=2', '--fc-log=on'];
    await withServerOn(agent, { functions, args }, async ({ port, access, line, kill, exit, output }) => {
      const hold = async (path: string, id: string): Promise<() => void> => {
        const body = new Readable({ read() {} });
        body.push('x');
        open(port, { method: 'POST', path, headers: { 'x-fc-request-id': id }, body });
        await line(path, ({ message }) => message === `holding ${path}`);
        return () => body.push(null);
      };
      /** Resolves when the request has come. */
      const call = async (id: string, headers: Record<string, string> = {}) => {
        const { request, reply } = open(port, { path: '/', headers: { 'x-fc-request-id': id, ...headers } });
        await eventually(id, async () => output().includes(`FC Invoke Start RequestId: ${id}`));
        return { request, answer: reply.then(async answer => ({ head: answer, body: String(await read(answer)) })) };
      };
      const release = await hold('/hold/1', 'first');
      const late = await call('late', { 'x-fc-function-timeout': '1' });
      const gone = await call('gone');
      gone.answer.catch(() => {});
      const refused = await ask(port, { path: '/' });
      assert.equal([refused.status, refused.headers['retry-after']], [503, '1']);
      assert.match(String(refused.body), 'at most 1 invocations in flight and 2 in the queue');
      gone.request.destroy();
      assert.is((await access('gone'))['outcome'], 'client gone');
      const next = await call('next');
      const { head, body } = await late.answer;
      assert.equal([head.statusCode, head.headers['retry-after']], [503, '1']);
      assert.match(body, 'QUEUE_TIMEOUT');
      assert.type((await access('late'))['queuedMs'], 'number');
      release();
      assert.is((await next.answer).body, 'ok');
      assert.type((await access('next'))['queuedMs'], 'number');
      assert.is((await access('first'))['queuedMs'], undefined);

      // what waits when the end comes was let in, and is served
      const releaseLast = await hold('/hold/2', 'held');
      const last = await call('last');
      kill('SIGTERM');
      await line('draining', ({ message }) => message === 'draining');
      releaseLast();
      assert.is((await last.answer).body, 'ok');
      await within(10_000, exit, 'the end');
    });
  });

  limits.run();
}
