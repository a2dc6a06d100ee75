import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { Connection } from '../../src/h2/connection.ts';
import { encodeBlock, type Fields, field } from '../../src/h2/hpack.ts';
import type { Stream } from '../../src/h2/stream.ts';
import { eventually, project, suite, which, within, without, write } from '../helpers.ts';
import { type Heard, hear, openWatched, type Peer, socketPath, Type, type Watched, watch } from './peer.ts';

// A server that is not Node: nghttp2's own, of Debian's package nghttp2-server.

const NGHTTPD = which('nghttpd') ?? 'nghttpd';
const LARGE = 5_000_000;
const folder = project({});
write(join(folder, 'hello.txt'), 'hello\n');
write(join(folder, 'empty.txt'), '');
write(join(folder, 'large.txt'), '0123456789'.repeat(LARGE / 10));

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await new Promise(done => server.close(done));
  return port;
}

/** Runs a test's body with a connection to nghttpd, which listens on TCP alone: a proxy is between them. */
async function withNghttpd(args: string[], body: (watched: Watched & { peer: Peer }) => Promise<void>): Promise<void> {
  const port = await freePort();
  const path = socketPath();
  const child = spawn(NGHTTPD, ['--no-tls', '-a', '127.0.0.1', '-d', folder, ...args, `${port}`], {
    stdio: 'ignore',
  });
  const accepts = (): Promise<boolean> =>
    new Promise(done => {
      const socket = connect(port, '127.0.0.1');
      socket.on('connect', () => done(true)).on('error', () => done(false));
      socket.on('connect', () => socket.destroy());
    });
  let peer: Peer | undefined;
  const proxy = createServer(socket => {
    const upstream = connect(port, '127.0.0.1');
    socket.pipe(upstream).pipe(socket);
    upstream.on('error', () => socket.destroy());
    socket.on('close', () => upstream.destroy());
    peer = watch(socket);
  }).listen(path);
  let watched: Watched | undefined;
  try {
    await eventually('nghttpd', accepts);
    watched = openWatched(path);
    await watched.opened();
    await body({ ...watched, peer: peer as Peer });
    assert.not.ok(watched.events.includes('close'), 'the connection lives on');
  } finally {
    watched?.connection.close();
    proxy.close();
    child.kill('SIGKILL');
  }
}

/** Makes a request whose response is read as it comes. */
function post(
  connection: Connection,
  path: string,
  { body = Buffer.alloc(0), isEnd = true, fields = [] }: { body?: Buffer; isEnd?: boolean; fields?: Fields } = {},
): Heard & { stream: Stream } {
  const heard = hear(piece => connection.consume(stream, piece.length));
  const block = encodeBlock([
    ':method',
    'POST',
    ':scheme',
    'http',
    ':path',
    path,
    ':authority',
    'localhost',
    'te',
    'trailers',
    ...fields,
  ]);
  const stream = connection.request(block, heard.listener);
  connection.write(stream, [body], isEnd);
  return { ...heard, stream };
}

const resetsOf = (peer: Peer): number => peer.frames.filter(({ type }) => type === Type.RST_STREAM).length;
const statusOf = ({ sections }: Heard): string | undefined => sections[0]?.[1];

const interop = suite('h2 connection with nghttpd', { skip: without('nghttpd', 'nghttp2-server') });

interop('should read a file, an empty one, and none', async () => {
  await withNghttpd([], async ({ connection, peer }) => {
    const files = ['/hello.txt', '/empty.txt', '/none.txt', '/hello.txt'];
    const replies = files.map(path => post(connection, path));
    for (const reply of replies) assert.is(await reply.closed(), undefined);
    assert.equal(replies.map(statusOf), ['200', '200', '404', '200']);
    assert.equal(
      replies.filter((_, i) => i !== 2).map(({ body }) => body().toString()),
      ['hello\n', '', 'hello\n'],
    );
    assert.is(field(replies[0]?.sections[0] ?? [], 'content-length'), '6');
    assert.is(resetsOf(peer), 0);
  });
});

interop('should read 5 MB, slowly', async () => {
  await withNghttpd([], async ({ connection }) => {
    const pieces: number[] = [];
    const heard = hear(piece => pieces.push(piece.length));
    const block = encodeBlock([':method', 'GET', ':scheme', 'http', ':path', '/large.txt', ':authority', 'a']);
    const stream = connection.request(block, heard.listener);
    connection.write(stream, [], true);
    let most = 0;
    const closed = heard.closed();
    let isOpen = true;
    closed.then(() => {
      isOpen = false;
    });
    while (isOpen) {
      // a piece or so each turn
      await new Promise(done => setImmediate(done));
      most = Math.max(most, connection.held);
      connection.consume(stream, pieces.shift() ?? 0);
    }
    assert.is(await closed, undefined);
    assert.is(heard.body().length, LARGE);
    assert.is(heard.body().toString('latin1', LARGE - 10), '0123456789');
    assert.ok(most > 0 && most <= 262_144, `${most} bytes held`);
  });
});

interop('should send a body through narrow windows', async () => {
  for (const args of [
    ['-w', '10'],
    ['-W', '16', '-w', '30'],
    ['-w', '16', '-W', '20'],
    ['-w', '30', '-W', '30'],
  ]) {
    await withNghttpd(['--echo-upload', ...args], async ({ connection, peer }) => {
      const body = Buffer.alloc(300_000, args.join());
      const replies = [1, 2, 3].map(() => post(connection, '/echo', { body }));
      for (const reply of replies) {
        assert.is(await reply.closed(), undefined, args.join(' '));
        assert.ok(reply.body().equals(body), args.join(' '));
      }
      assert.is(resetsOf(peer), 0);
    });
  }
});

interop('should hear trailers, also when they need CONTINUATION', async () => {
  const long = 'v'.repeat(20_000);
  await withNghttpd(['--trailer', 'grpc-status: 0', '--trailer', `x-long: ${long}`], async ({ connection }) => {
    const reply = post(connection, '/hello.txt');
    assert.is(await reply.closed(), undefined);
    assert.equal(reply.events, ['headers', 'data', 'headers', 'close']);
    assert.equal(reply.sections[1], ['grpc-status', '0', 'x-long', long]);
  });
});

interop('should have its own long blocks understood', async () => {
  await withNghttpd([], async ({ connection }) => {
    const reply = post(connection, '/hello.txt', { fields: ['x-long', 'v'.repeat(16_000), 'x-odd', '\xe4\t~'] });
    assert.is(await reply.closed(), undefined);
    assert.is(statusOf(reply), '200');
  });
});

interop('should be understood by a decoder with a small table, or none', async () => {
  for (const size of ['0', '100', '4095', '64K']) {
    await withNghttpd(['-c', size, '--encoder-header-table-size', size], async ({ connection }) => {
      for (let i = 0; i < 3; i++) {
        const reply = post(connection, '/hello.txt', { fields: ['x-a', 'b'] });
        assert.is(await reply.closed(), undefined, `table of ${size}`);
      }
    });
  }
});

interop('should keep to the number of streams that it allows', async () => {
  await withNghttpd(['-m', '3'], async ({ connection, peer, events }) => {
    const replies: Heard[] = [];
    for (let i = 0; i < 30; i++) {
      while (!connection.canRequest()) {
        const before = events.length;
        await Promise.race(replies.map(reply => reply.closed()));
        await eventually('capacity', async () => events.length > before || connection.canRequest());
      }
      replies.push(post(connection, '/hello.txt'));
      assert.ok(connection.streams <= 3);
    }
    for (const reply of replies) assert.is(await reply.closed(), undefined);
    assert.ok(events.includes('capacity'));
    assert.is(resetsOf(peer), 0);
  });
});

interop('should take padding', async () => {
  await withNghttpd(['-b', '255', '--echo-upload'], async ({ connection }) => {
    const body = Buffer.alloc(2_000_000, 'padded');
    const reply = post(connection, '/echo', { body });
    assert.is(await reply.closed(), undefined);
    assert.ok(reply.body().equals(body));
    assert.is(connection.held, 0);
  });
});

interop('should end its side when the response is early', async () => {
  await withNghttpd(['--early-response'], async ({ connection, peer }) => {
    for (let i = 0; i < 20; i++) {
      const reply = post(connection, '/hello.txt', { body: Buffer.alloc(200_000), isEnd: false });
      assert.is(await within(5000, reply.closed(), 'an early response'), undefined);
      assert.is(reply.body().toString(), 'hello\n');
    }
    assert.is(resetsOf(peer), 0);
  });
});

interop('should cancel a large response, and go on', async () => {
  await withNghttpd([], async ({ connection, peer }) => {
    for (let i = 0; i < 50; i++) {
      const heard = hear(() => connection.cancel(stream));
      const block = encodeBlock([':method', 'GET', ':scheme', 'http', ':path', '/large.txt', ':authority', 'a']);
      const stream = connection.request(block, heard.listener);
      connection.write(stream, [], true);
      await eventually('a cancel', async () => stream.isClosed);
    }
    const reply = post(connection, '/large.txt');
    assert.is(await reply.closed(), undefined);
    assert.is(reply.body().length, LARGE);
    assert.is(resetsOf(peer), 50);
    assert.is(connection.held, 0);
  });
});

interop.run();
