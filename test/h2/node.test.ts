import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type Server } from 'node:net';
import * as assert from 'uvu/assert';
import type { Connection } from '../../src/h2/connection.ts';
import { encodeBlock } from '../../src/h2/hpack.ts';
import type { Stream } from '../../src/h2/stream.ts';
import { suite, within } from '../helpers.ts';
import { type Heard, hear, OK, openWatched, type Peer, socketPath, Type, type Watched, watch } from './peer.ts';

/** A node:http2 server that echoes bodies, or does as its path says. */
const SERVER = `
const { createServer } = require('node:http2');
const server = createServer();
server.on('sessionError', () => {});
server.on('stream', (stream, headers) => {
  stream.on('error', () => {});
  const path = headers[':path'];
  if (path === '/early') {
    stream.respond({ ':status': 200 }, { endStream: true });
    return;
  }
  if (path === '/close') stream.session.close();
  if (path === '/destroy') { stream.session.destroy(); return; }
  if (path === '/two') stream.session.settings({ maxConcurrentStreams: 2 });
  stream.respond({ ':status': 200 }, { waitForTrailers: true, sendDate: false });
  stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
  stream.pipe(stream);
});
server.listen(process.argv[1], () => console.log('up'));
`;

interface NodeServer extends Watched {
  readonly child: ChildProcess;
  /** What passes between the connection and the server, as the server sees it. */
  readonly peer: Peer;
}

/** Runs a test's body with a connection to a server in a process of its own. */
async function withNode(body: (server: NodeServer) => Promise<void>): Promise<void> {
  const [near, far] = [socketPath(), socketPath()];
  const child = spawn(process.execPath, ['-e', SERVER, far], { stdio: ['ignore', 'pipe', 'inherit'], env: {} });
  let proxy: Server | undefined;
  let watched: Watched | undefined;
  try {
    await within(10_000, once(child.stdout, 'data'), 'the server');
    const accepted = new Promise<Peer>(done => {
      proxy = createServer(socket => {
        const upstream = connect(far);
        socket.pipe(upstream).pipe(socket);
        upstream.on('error', () => socket.destroy());
        done(watch(socket));
      }).listen(near);
    });
    watched = openWatched(near);
    await watched.opened();
    await body({ ...watched, child, peer: await accepted });
  } finally {
    watched?.connection.close();
    proxy?.close();
    child.kill('SIGKILL');
  }
}

const requestBlock = (path: string): Buffer =>
  encodeBlock([':method', 'POST', ':scheme', 'http', ':path', path, ':authority', 'localhost']);

/** Makes a request with a body, whose response is read as it comes. */
function post(connection: Connection, path: string, body: Buffer, isEnd = true): Heard & { stream: Stream } {
  const heard = hear(piece => connection.consume(stream, piece.length));
  const stream = connection.request(requestBlock(path), heard.listener);
  connection.write(stream, [body], isEnd);
  return { ...heard, stream };
}

const resetsOf = (peer: Peer): number => peer.frames.filter(({ type }) => type === Type.RST_STREAM).length;

const interop = suite('h2 connection with node:http2');

interop('should make 5000 requests, one after the other, and reset none', async () => {
  await withNode(async ({ connection, peer, events }) => {
    const body = Buffer.from('a body');
    for (let i = 0; i < 5000; i++) {
      const heard = post(connection, '/', body);
      assert.is(await heard.closed(), undefined, `request ${i}`);
      assert.equal(heard.sections, [OK, ['grpc-status', '0']]);
      assert.ok(heard.body().equals(body));
    }
    assert.is(resetsOf(peer), 0);
    assert.equal(events, ['open']);
    assert.is(connection.held, 0);
  });
});

interop('should reset none that are answered before their end either', async () => {
  await withNode(async ({ connection, peer }) => {
    for (let i = 0; i < 2000; i++) {
      const heard = post(connection, '/early', Buffer.alloc(10), false);
      assert.is(await heard.closed(), undefined, `request ${i}`);
      assert.equal(heard.events, ['headers', 'close']);
    }
    assert.is(resetsOf(peer), 0);
    assert.is(connection.state, 'open');
  });
});

interop('should carry bodies of every size both ways at once', async () => {
  await withNode(async ({ connection }) => {
    const sizes = [0, 1, 16_383, 16_384, 16_385, 65_535, 65_536, 262_144, 262_145, 1_000_003, 5_000_000];
    const all = sizes.map(size => ({ body: Buffer.alloc(size, `${size} `), size }));
    const replies = all.map(({ body, size }) => ({ heard: post(connection, '/', body), body, size }));
    for (const { heard, body, size } of replies) {
      assert.is(await heard.closed(), undefined, `${size} bytes`);
      assert.ok(heard.body().equals(body), `${size} bytes`);
    }
    assert.is(connection.held, 0);
  });
});

interop('should hold a body for a reader that stands still, and then read on', async () => {
  await withNode(async ({ connection }) => {
    const body = Buffer.alloc(5_000_000, 'slow ');
    let isReading = false;
    const heard = hear(piece => {
      if (isReading) connection.consume(stream, piece.length);
    });
    const stream = connection.request(requestBlock('/'), heard.listener);
    connection.write(stream, [body], true);
    // the other stream overtakes it
    const other = post(connection, '/', Buffer.alloc(1_000_000));
    assert.is(await other.closed(), undefined);
    assert.is(connection.held, 262_144);
    isReading = true;
    connection.consume(stream, connection.held);
    assert.is(await heard.closed(), undefined);
    assert.ok(heard.body().equals(body));
  });
});

interop('should finish what it has when the server closes', async () => {
  await withNode(async ({ connection, events, closed }) => {
    const first = post(connection, '/', Buffer.from('first'), false);
    const last = post(connection, '/close', Buffer.from('last'), false);
    while (connection.state === 'open') await new Promise(done => setImmediate(done));
    connection.write(first.stream, [Buffer.from('!')], true);
    connection.write(last.stream, [Buffer.from('!')], true);
    const errors = [await first.closed(), await last.closed()];
    // a server on Node 16 closes its socket before it has ended its streams
    if (!process.version.startsWith('v16.')) assert.equal(errors, [undefined, undefined]);
    assert.is(first.body().toString() + last.body().toString(), 'first!last!');
    await closed();
    assert.equal(events, ['open', 'draining', 'close']);
  });
});

interop('should fail all streams when the server breaks off or dies', async () => {
  await withNode(async ({ connection, closed }) => {
    const waiting = post(connection, '/', Buffer.from('x'), false);
    post(connection, '/destroy', Buffer.alloc(0));
    assert.ok((await waiting.closed()) !== undefined);
    await closed();
  });
  await withNode(async ({ connection, closed, child }) => {
    const waiting = post(connection, '/', Buffer.from('x'), false);
    child.kill('SIGKILL');
    const error = await closed();
    assert.is(error.from, undefined);
    assert.is(await waiting.closed(), error);
  });
});

interop('should follow settings that change', async () => {
  await withNode(async ({ connection, events }) => {
    const first = post(connection, '/two', Buffer.from('a'), false);
    const second = post(connection, '/', Buffer.from('b'), false);
    while (connection.canRequest()) await new Promise(done => setImmediate(done));
    connection.write(first.stream, [], true);
    assert.is(await first.closed(), undefined);
    assert.equal(events, ['open', 'capacity']);
    assert.is(connection.canRequest(), true);
    connection.write(second.stream, [], true);
    assert.is(await second.closed(), undefined);
  });
});

interop('should hear of a reset for a cancelled request no more', async () => {
  await withNode(async ({ connection, peer }) => {
    for (let i = 0; i < 400; i++) {
      const heard = post(connection, '/', Buffer.alloc(1000), i % 2 === 0);
      if (i % 3 === 0) await new Promise(done => setImmediate(done));
      connection.cancel(heard.stream);
    }
    const last = post(connection, '/', Buffer.from('last'));
    assert.is(await last.closed(), undefined);
    assert.ok(resetsOf(peer) <= 400);
    assert.is(connection.state, 'open');
    assert.is(connection.held, 0);
  });
});

interop.run();
