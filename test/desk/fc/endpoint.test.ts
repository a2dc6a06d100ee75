import { Agent } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import * as assert from 'uvu/assert';
import { type Endpoint, openEndpoint } from '../../../src/desk/fc/endpoint.ts';
import type { LifeEvent } from '../../../src/desk/fc/life.ts';
import { createPlatform, type Platform } from '../../../src/desk/fc/platform.ts';
import type { FunctionOptions } from '../../../src/desk/fc/settings.ts';
import { frameParser } from '../../../src/desk/fc/websocket.ts';
import { ask, eventually, get, open, raw, read, suite, temporary, within, write } from '../../helpers.ts';

const endpoint = suite('platform: endpoint');

/** A container that tells what reached it. Its WebSocket sends back every byte. */
const SERVER = `
const { createServer } = require('node:http');
const server = createServer((req, res) => {
  const [path] = req.url.split('?');
  if (path === '/half') {
    res.writeHead(200, { 'content-length': 100 });
    res.write('half', () => setTimeout(() => res.destroy(), 20));
    return;
  }
  if (path === '/never') {
    console.log('never');
    res.on('close', () => console.log('closed'));
    return;
  }
  if (path === '/big') {
    res.setHeader('content-length', 3);
    res.end(req.method === 'HEAD' ? undefined : 'big');
    return;
  }
  const chunks = [];
  if (path === '/echo') {
    res.flushHeaders();
    req.pipe(res);
    return;
  }
  req.on('data', chunk => chunks.push(chunk));
  req.on('end', () => {
    const body = Buffer.concat(chunks).toString();
    const { method, url, headers } = req;
    console.log('saw ' + body.slice(0, 20));
    if (path === '/crash') process.exit(1);
    if (body === 'fail') res.statusCode = 404, res.setHeader('x-fc-status', '404');
    res.setHeader('set-cookie', ['a=1', 'b=2']);
    res.end(JSON.stringify({ method, url, headers, body: body.slice(0, 100), bytes: body.length }));
  });
});
server.on('upgrade', (req, socket) => {
  socket.on('error', () => {});
  if (req.url === '/refused') {
    socket.end('HTTP/1.1 403 Forbidden\\r\\nContent-Length: 2\\r\\n\\r\\nno');
    return;
  }
  if (req.url === '/silent') return;
  console.log(JSON.stringify({ upgrade: req.headers }));
  socket.write('HTTP/1.1 101 Switching Protocols\\r\\nUpgrade: websocket\\r\\nConnection: Upgrade\\r\\nSec-WebSocket-Accept: x\\r\\n\\r\\n');
  socket.pipe(socket);
  socket.on('close', () => console.log('websocket closed'));
});
server.listen(process.env.FC_CUSTOM_LISTEN_PORT, '0.0.0.0');
`;

/** Runs a test's body with FC and its endpoint. */
async function withEndpoint(
  options: Partial<FunctionOptions>,
  body: (port: number, platform: Platform, endpoint: Endpoint) => Promise<void>,
): Promise<void> {
  const folder = temporary();
  write(join(folder, 'server.js'), SERVER);
  const platform = createPlatform({ command: [process.execPath, 'server.js'], cwd: folder, ...options });
  const opened = await openEndpoint(platform, 'localhost', 0);
  try {
    await body(opened.port, platform, opened);
  } finally {
    opened.close();
    await within(20_000, platform.stop(), 'the platform to stop');
  }
}

const when = (platform: Platform, what: string, test: (event: LifeEvent) => boolean): Promise<LifeEvent> =>
  within(20_000, platform.life.until(test), what);

const printed = (platform: Platform, text: string): Promise<LifeEvent> =>
  when(platform, `"${text}" in the log`, ({ event, line }) => event === 'log' && String(line).includes(text));

const INVOKE = '/2023-03-30/functions/app/invocations';

endpoint('should be the HTTP trigger on every other path', async () => {
  await withEndpoint({}, async port => {
    const agent = new Agent({ keepAlive: true });
    const first = await ask(port, {
      path: '/a/b?c=d',
      body: 'text',
      agent,
      headers: { 'x-own': 'kept', 'x-fc-function-name': 'forged', cookie: 'c=1', 'x-forwarded-for': '192.0.2.1' },
    });
    assert.is(first.status, 200);
    const { method, url, headers, body } = first.json() as Record<string, Record<string, string>>;
    assert.equal({ method, url, body }, { method: 'POST', url: '/a/b?c=d', body: 'text' });
    assert.is(headers?.['x-own'], 'kept');
    assert.is(headers?.['cookie'], 'c=1');
    assert.is(headers?.['x-fc-function-name'], 'app');
    assert.is(headers?.['x-fc-control-path'], '/http-invoke');
    assert.is(headers?.['x-forwarded-for'], '192.0.2.1, 127.0.0.1');
    assert.is(headers?.['host'], `127.0.0.1:${port}`);
    assert.equal(first.headers['set-cookie'], ['a=1', 'b=2']);
    assert.match(String(first.headers['x-fc-request-id']), /^1-[0-9a-f]{8}-/);
    assert.ok(first.headers.date);
    assert.is(first.headers.connection, 'keep-alive');
    const { request, reply } = open(port, { path: '/again', agent });
    await read(await within(10_000, reply, 'a second reply'));
    assert.ok(request.reusedSocket, 'the connection stays open');
    agent.destroy();
  });
});

endpoint('should answer on both addresses of localhost', async () => {
  await withEndpoint({}, async (port, _, { url }) => {
    assert.is(url, `http://localhost:${port}`);
    const socket = connect(port, '::1');
    const answered = new Promise<string>((resolve, reject) => {
      socket.on('error', (error: NodeJS.ErrnoException) =>
        error.code === 'EADDRNOTAVAIL' || error.code === 'EAFNOSUPPORT' ? resolve('no IPv6 here') : reject(error),
      );
      socket.setEncoding('latin1').on('data', (text: string) => resolve(text));
      socket.write(get('/'));
    });
    assert.match(await within(20_000, answered, 'an answer'), /^HTTP\/1.1 200|no IPv6/);
    socket.destroy();
  });
});

endpoint('should answer HEAD without a body', async () => {
  await withEndpoint({}, async port => {
    const connection = await raw(port, `HEAD /big HTTP/1.1\r\nhost: x\r\n\r\n${get('/big')}`);
    const text = await connection.until('big', 1);
    const [head = '', ...rest] = text.split('\r\n\r\n');
    assert.match(head, /Content-Length: 3/i);
    assert.match(rest[0] ?? '', /^HTTP\/1.1 200/);
    connection.socket.destroy();
  });
});

endpoint('should stream a body in both directions', async () => {
  await withEndpoint({}, async port => {
    const body = new PassThrough();
    const { reply, request } = open(port, { path: '/echo', method: 'POST', body });
    request.flushHeaders();
    const response = await within(20_000, reply, 'the head before the body');
    for (const part of ['one', 'two']) {
      const came = new Promise<string>(done => response.once('data', chunk => done(String(chunk))));
      body.write(part);
      assert.is(await within(10_000, came, part), part);
    }
    body.end();
    await within(10_000, read(response), 'the end');
  });
});

endpoint('should ask for an expected body only when it is wanted', async () => {
  await withEndpoint({}, async port => {
    const wanted = await raw(
      port,
      'POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n',
    );
    await wanted.until('100 Continue');
    wanted.socket.write('body');
    await wanted.until('body');
    wanted.socket.destroy();
    const size = 33 * 1024 * 1024;
    const refused = await raw(
      port,
      `POST /echo HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: ${size}\r\n\r\n`,
    );
    const text = await refused.until('EntityTooLarge');
    assert.match(text, /^HTTP\/1.1 400/);
    refused.socket.destroy();
  });
});

endpoint('should cancel the call of a client that leaves', async () => {
  await withEndpoint({ instanceConcurrency: 2 }, async (port, platform) => {
    const client = await raw(port, get('/never'));
    await printed(platform, 'never');
    client.socket.destroy();
    const answer = await when(platform, 'the answer', ({ event }) => event === 'answer');
    assert.is(answer['status'], 499);
    // frozen at once, it learns of it only now
    for (const instance of platform.instances()) instance.thaw();
    await printed(platform, 'closed');
  });
});

endpoint('should break the connection when the container breaks off', async () => {
  await withEndpoint({}, async port => {
    const client = await raw(port, get('/half'));
    const text = await within(10_000, client.closed, 'the end of the connection');
    assert.match(text, /Content-Length: 100/i);
    assert.match(text, /half$/);
  });
});

endpoint('should invoke the function on its path in 3.0', async () => {
  await withEndpoint({}, async (port, platform) => {
    const reply = await ask(port, {
      path: `${INVOKE}?qualifier=LATEST`,
      body: 'event',
      headers: { 'x-fc-log-type': 'Tail' },
    });
    assert.is(reply.status, 200);
    const { method, url, headers } = reply.json() as Record<string, Record<string, string>>;
    assert.equal({ method, url }, { method: 'POST', url: '/invoke' });
    assert.is(headers?.['x-fc-control-path'], '/invoke');
    assert.is(headers?.['content-type'], 'application/octet-stream');
    assert.is(reply.headers['set-cookie'], undefined);
    assert.match(String(reply.headers['x-fc-instance-id']), /^c-/);
    assert.match(Buffer.from(String(reply.headers['x-fc-log-result']), 'base64').toString(), /saw event/);

    const failed = await ask(port, { path: INVOKE, body: 'fail' });
    assert.is(failed.status, 200);
    assert.is(failed.headers['x-fc-error-type'], 'UnhandledInvocationError');
    assert.is(failed.headers['x-fc-log-result'], undefined);

    const unknown = await ask(port, { path: INVOKE.replace('app', 'other'), body: 'event' });
    assert.is(unknown.status, 404);
    assert.is(unknown.json()['Code'], 'FunctionNotFound');
    assert.is(unknown.headers['x-fc-error-type'], 'FCCommonError');
    // no function of 2.0's has that name, whatever it is
    const older = await ask(port, { path: '/2016-08-15/services/service/functions/app/invocations', body: 'event' });
    assert.is(older.json()['Code'], 'FunctionNotFound');

    assert.is((await ask(port, { path: INVOKE })).status, 405);
    const type = await ask(port, { path: INVOKE, body: '', headers: { 'x-fc-invocation-type': 'Later' } });
    assert.is(type.json()['Code'], 'InvalidArgument');
    assert.is(platform.instances().length, 1);
  });
});

endpoint('should know services and the proxy path in 2.0', async () => {
  await withEndpoint({ flavour: '2.0', service: 'shop', name: 'cart' }, async port => {
    for (const version of ['2016-08-15', '2021-04-06']) {
      const reply = await ask(port, { path: `/${version}/services/shop.LATEST/functions/cart/invocations`, body: 'x' });
      assert.is(reply.json()['url'], '/invoke');
    }
    const proxied = await ask(port, { path: '/2016-08-15/proxy/shop.LATEST/cart/a?b=c' });
    assert.is(proxied.json()['url'], '/2016-08-15/proxy/shop.LATEST/cart/a?b=c');
    assert.match(String(proxied.headers['x-fc-request-id']), /^[0-9a-f]{8}-[0-9a-f]{4}-4/);

    const code = async (path: string): Promise<unknown> => (await ask(port, { path, body: 'x' })).json()['ErrorCode'];
    assert.is(await code('/2016-08-15/services/other/functions/cart/invocations'), 'ServiceNotFound');
    assert.is(await code('/2016-08-15/services/shop/functions/other/invocations'), 'FunctionNotFound');
    assert.is(await code('/2016-08-15/proxy/other/cart/'), 'ServiceNotFound');
    assert.is(await code('/2016-08-15/proxy/shop/other/'), 'FunctionNotFound');
  });
});

endpoint('should accept an asynchronous call and make it without its client', async () => {
  await withEndpoint({}, async (port, platform) => {
    const headers = { 'x-fc-invocation-type': 'Async', 'x-fc-async-task-id': 'task_1' };
    for (const [path, body] of [
      [INVOKE, 'by event'],
      ['/trigger', 'by trigger'],
    ] as const) {
      const reply = await ask(port, { path, body, headers });
      assert.is(reply.status, 202);
      assert.is(reply.headers['x-fc-async-task-id'], 'task_1');
      assert.is(reply.body.length, 0);
      await printed(platform, `saw ${body}`);
      const id = reply.headers['x-fc-request-id'];
      await when(
        platform,
        'the answer',
        ({ event, requestId, status }) => event === 'answer' && requestId === id && status === 200,
      );
      const large = await ask(port, { path, body: Buffer.alloc(129 * 1024), headers });
      assert.is(large.status, 400);
      assert.is(large.json()['Code'], 'EntityTooLarge');
      const named = await ask(port, { path, body, headers: { ...headers, 'x-fc-async-task-id': '1st' } });
      assert.is(named.json()['Code'], 'InvalidArgument');
    }
  });
});

endpoint('should make a failed asynchronous trigger call again with its body', async () => {
  await withEndpoint({ asyncRetries: 1 }, async (port, platform) => {
    const headers = { 'x-fc-invocation-type': 'Async' };
    assert.is((await ask(port, { path: '/crash', body: 'again', headers })).status, 202);
    await when(platform, 'the retry', ({ event }) => event === 'retry');
    await eventually('both attempts', async () => {
      const seen = platform.life.events.filter(({ event, line }) => event === 'log' && line === 'saw again');
      return seen.length === 2;
    });
  });
});

endpoint('should refuse with FC’s words what is over its limits, and go on', async () => {
  await withEndpoint({}, async port => {
    for (const size of [9 * 1024, 100 * 1024]) {
      const reply = await ask(port, { headers: { 'x-large': 'x'.repeat(size) } });
      assert.is(reply.status, 400);
      assert.is(reply.json()['Code'], 'InvalidArgument');
    }
    const long = await ask(port, { path: `/${'p'.repeat(4096)}` });
    assert.is(long.json()['Code'], 'InvalidArgument');

    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const large = Buffer.alloc(33 * 1024 * 1024);
    for (const path of ['/', INVOKE]) {
      const told = await ask(port, { path, body: large, agent });
      assert.equal([told.status, told.json()['Code']], [400, 'EntityTooLarge'], path);
      const untold = new PassThrough();
      untold.end(large);
      const streamed = await ask(port, { path, method: 'POST', body: untold, agent });
      assert.equal([streamed.status, streamed.json()['Code']], [400, 'EntityTooLarge'], `${path}, chunked`);
    }
    // what was not read of those bodies does not stand in the next one's way
    assert.is((await ask(port, { path: '/', body: 'small', agent })).json()['body'], 'small');
    agent.destroy();
  });
});

endpoint('should answer what is no HTTP', async () => {
  await withEndpoint({}, async port => {
    const client = await raw(port, 'EHLO example.com\r\n\r\n');
    const text = await within(10_000, client.closed, 'the end');
    assert.match(text, /^HTTP\/1.1 400 /);
    assert.match(text, /"Code":"InvalidArgument"/);
  });
});

endpoint('should not upgrade to what FC does not speak', async () => {
  await withEndpoint({}, async port => {
    const h2c = 'connection: upgrade\r\nupgrade: h2c\r\n';
    const client = await raw(port, get('/plain', h2c));
    const text = await within(20_000, client.closed, 'the end');
    assert.match(text, /^HTTP\/1.1 200 /);
    assert.match(text, /"url":"\/plain"/);
    assert.not.match(text, /h2c/);
    const body = await raw(port, `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\n${h2c}\r\nx`);
    assert.match(await within(20_000, body.closed, 'the end'), /^HTTP\/1.1 400 /);
  });
});

const HANDSHAKE =
  'connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-key: a2V5\r\nsec-websocket-version: 13\r\n';

/** A masked text frame. */
function frame(text: string): Buffer {
  const length = Buffer.byteLength(text);
  const head = length < 126 ? [0x81, 0x80 | length] : [0x81, 0x80 | 126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), Buffer.from(text)]);
}

endpoint('should keep a WebSocket, and what comes after it, with the session’s instance', async () => {
  await withEndpoint({ sessionAffinity: { by: 'cookie', perInstance: 1 } }, async (port, platform) => {
    const client = await raw(port, get('/chat', HANDSHAKE));
    const head = await client.until('\r\n\r\n');
    const [, cookie] = /^Set-Cookie: (x-fc-cookie-session-id=[^;]+);/m.exec(head) ?? [];
    assert.ok(cookie !== undefined, head);
    const [instance] = platform.instances();
    const own = await ask(port, { headers: { cookie } });
    assert.equal([own.status, own.headers['set-cookie']], [200, ['a=1', 'b=2']]);
    assert.is(platform.instances().length, 1);
    const other = await raw(port, get('/chat', HANDSHAKE));
    await other.until('\r\n\r\n');
    assert.equal(
      platform.instances().map(({ inFlight }) => inFlight),
      [1, 1],
      'another client has another instance',
    );
    client.socket.destroy();
    other.socket.destroy();
    await when(platform, 'the end', ({ event, instance: of }) => event === 'answer' && of === instance?.id);
  });
});

endpoint('should carry a WebSocket as one invocation', async () => {
  await withEndpoint({ maxInstances: 1 }, async (port, platform) => {
    const client = await raw(port, get('/chat?room=1', HANDSHAKE));
    const head = await client.until('\r\n\r\n');
    assert.match(head, /^HTTP\/1.1 101 Switching Protocols\r\n/);
    assert.match(head, /Upgrade: websocket/i);
    assert.match(head, /Sec-WebSocket-Accept: x/i);
    assert.match(head, /X-Fc-Request-Id: 1-/);
    client.socket.write(frame('hello there'));
    await client.until('hello there');
    const [instance] = platform.instances();
    assert.is(instance?.inFlight, 1);
    assert.not.ok(instance?.frozen);
    const { line } = await printed(platform, '"upgrade"');
    const { upgrade } = JSON.parse(String(line)) as { upgrade: Record<string, string> };
    assert.is(upgrade['x-fc-control-path'], '/http-invoke');
    assert.is(upgrade['sec-websocket-key'], 'a2V5');
    assert.is((await ask(port)).status, 429);

    client.socket.end();
    await within(10_000, client.closed, 'the end of the tunnel');
    const answer = await when(platform, 'the answer', ({ event, kind }) => event === 'answer' && kind === 'websocket');
    assert.is(answer['status'], 101);
    await when(platform, 'the freeze', ({ event, at }) => event === 'frozen' && at >= answer.at);
    assert.is((await ask(port)).status, 200);
  });
});

endpoint('should let the function refuse a WebSocket', async () => {
  await withEndpoint({}, async (port, platform) => {
    const client = await raw(port, get('/refused', HANDSHAKE));
    const text = await within(10_000, client.closed, 'the end');
    assert.match(text, /^HTTP\/1.1 403 /);
    assert.match(text, /no$/);
    const answer = await when(platform, 'the answer', ({ event }) => event === 'answer');
    assert.is(answer['status'], 403);
    await when(platform, 'the freeze', ({ event, at }) => event === 'frozen' && at >= answer.at);
  });
});

endpoint('should cut a WebSocket at the function’s timeout', async () => {
  await withEndpoint({ timeout: 3, instanceConcurrency: 2 }, async (port, platform) => {
    const open = await raw(port, get('/chat', HANDSHAKE));
    const silent = await raw(port, get('/silent', HANDSHAKE));
    assert.match(await within(20_000, open.closed, 'the cut'), /^HTTP\/1.1 101 .*\r\n\r\n$/s);
    const text = await within(20_000, silent.closed, 'the answer');
    assert.match(text, /^HTTP\/1.1 504 /);
    assert.match(text, /Function time out after 3 seconds/);
    const answers = platform.life.events.filter(({ event }) => event === 'answer');
    assert.equal(
      answers.map(({ ended }) => ended),
      ['timeout', 'timeout'],
    );
  });
});

endpoint('should end a WebSocket with its client and with its instance', async () => {
  await withEndpoint({}, async (port, platform) => {
    const leaving = await raw(port, get('/chat', HANDSHAKE));
    await leaving.until('\r\n\r\n');
    leaving.socket.destroy();
    await when(platform, 'the end by the client', ({ event, kind }) => event === 'answer' && kind === 'websocket');

    const staying = await raw(port, get('/chat', HANDSHAKE));
    await staying.until('\r\n\r\n');
    for (const instance of platform.instances()) instance.crash();
    await within(10_000, staying.closed, 'the end of the connection');
    assert.is((await ask(port)).status, 200, 'a new instance takes over');
  });
});

endpoint('should limit a WebSocket as the switches say', async () => {
  await withEndpoint(
    { instanceConcurrency: 2, switches: { webSocketIdle: 1, webSocketFrame: 10 } },
    async (port, platform) => {
      const idle = await raw(port, get('/chat', HANDSHAKE));
      const large = await raw(port, get('/chat', HANDSHAKE));
      await large.until('\r\n\r\n');
      large.socket.write(frame('ten bytes.'));
      await large.until('ten bytes.');
      large.socket.write(frame('eleven bytes'));
      await within(10_000, large.closed, 'the cut for its frame');
      await within(10_000, idle.closed, 'the cut for its silence');
      const ends = platform.life.events.filter(({ event }) => event === 'answer').map(({ ended }) => ended);
      assert.equal(ends, ['frame', 'idle']);
    },
  );
});

endpoint('should follow frames whatever the chunks', () => {
  const lengths = [0, 5, 125, 126, 65_535, 65_536, 1];
  const stream = Buffer.concat(
    lengths.map((length, i) => {
      const mask = i % 2 === 0 ? 0x80 : 0;
      const head = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
      head[0] = 0x82;
      head[1] = mask | Math.min(length, length < 126 ? length : length < 65_536 ? 126 : 127);
      if (head.length === 4) head.writeUInt16BE(length, 2);
      if (head.length === 10) head.writeBigUInt64BE(BigInt(length), 2);
      return Buffer.concat([head, Buffer.alloc(mask === 0 ? 0 : 4, 0xff), Buffer.alloc(length, 0xff)]);
    }),
  );
  for (const size of [1, 2, 3, 7, 14, 1000, stream.length]) {
    const seen: number[] = [];
    const push = frameParser(length => seen.push(length));
    for (let i = 0; i < stream.length; i += size) push(stream.subarray(i, i + size));
    assert.equal(seen, lengths, `chunks of ${size}`);
  }
});

endpoint.run();
