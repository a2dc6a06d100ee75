import { mkdirSync } from 'node:fs';
import { createServer as createH2Server } from 'node:http2';
import { connect, createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import * as assert from 'uvu/assert';
import { growth } from './growth.ts';
import { Flag, framesOf, headers, type Peer, Setting, settings, Type, watch, windowUpdate } from './h2/peer.ts';
import { ask, eventually, get, open, type Server, startServer, suite, temporary, within } from './helpers.ts';
import { encode, socketFile } from './planes/protocol.ts';

// Whatever is bounded is bounded in bytes, and a piece of one byte takes more than that: these bodies come in such pieces,
// to someone who stands still.

const KIB = 1024;
const MIB = 1024 * KIB;

/** What a stream may hold for a reader that stands still. */
const HELD = 256 * KIB;
/** What V8 may take besides, on any release of Node: garbage, where every piece is an object of node:http's first. */
const ALLOWANCE = { worker: 256 * MIB, uploads: 384 * MIB, rest: 128 * MIB };
/** Bodies that stand still at once. */
const STREAMS = 20;
/** Uploads at once, and the chunks of each. */
const UPLOADS = 10;
const CHUNKS = 260_000;
/** Looks at a number that has not changed, one after the other, before nothing moves any more. */
const STILL_LOOKS = 10;
const LOOK_MS = 100;

/** Resolves with a number when it has come to a stand. */
async function still(what: string, look: () => Promise<number>): Promise<number> {
  let last = -1;
  let looks = 0;
  await eventually(
    what,
    async () => {
      const now = await look();
      looks = now === last ? looks + 1 : 0;
      last = now;
      await new Promise(done => setTimeout(done, LOOK_MS));
      return looks === STILL_LOOKS;
    },
    60_000,
  );
  return last;
}

/** A client that sends text and reads nothing. */
async function deaf(port: number, text: string | Buffer): Promise<Socket> {
  const socket = connect(port, '127.0.0.1').pause();
  socket.on('error', () => {});
  await within(5000, new Promise(done => socket.once('connect', done)), 'a connection');
  socket.write(text);
  return socket;
}

/** An upload of one-byte chunks that never ends. */
const upload = (path: string): Buffer =>
  Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n${'1\r\nx\r\n'.repeat(CHUNKS)}`,
  );

function expectGrowth(bytes: number, held: number, allowance: keyof typeof ALLOWANCE): void {
  if (process.env['SHOW_MEMORY']) console.log(`+${(bytes / MIB).toFixed(1)} MiB`);
  assert.ok(bytes < held + ALLOWANCE[allowance], `grew by ${(bytes / MIB).toFixed(1)} MiB`);
}

/** Resolves when clients, and what they wait for, are gone. */
async function leave(sockets: readonly Socket[]): Promise<void> {
  for (const socket of sockets) socket.destroy();
}

const local = suite('cuts: local agent');

const FUNCTIONS = {
  // /FILL/COUNT: FILL bytes in large pieces, then COUNT of one byte; /written: how far that has come
  down: `
    let written = 0;
    exports.handler = async (ctx, req, res) => {
      const [, fill, count] = req.url.split('/');
      res.writeHead(200);
      if (fill === 'written') return res.end(String(written));
      const write = piece => new Promise(done => res.write(piece, done));
      for (let left = Number(fill); left > 0; left -= 65536, written += 65536) await write(Buffer.alloc(Math.min(left, 65536)));
      for (let i = 0; i < Number(count); i++, written++) {
        await write('x');
        if (i % 100 === 0) await new Promise(setImmediate);
      }
      res.end();
    };`,
  // /stand: never reads
  up: `
    exports.handler = async (ctx, req, res) => {
      if (req.url === '/stand') return new Promise(() => {});
      let bytes = 0;
      for await (const chunk of req) bytes += chunk.length;
      res.writeHead(200);
      res.end(String(bytes));
    };`,
};
const PROFILE = { routes: [{ path: '/stand', function: 'up' }, { path: '/up', function: 'up' }, { function: 'down' }] };

async function withLocal(body: (server: Server) => Promise<void>): Promise<void> {
  const one = { worker: { maxActivateRequests: 100, replicaCountLimit: 1 } };
  const server = await startServer({
    functions: FUNCTIONS,
    profile: PROFILE,
    overrides: { down: one, up: one },
    env: { SERVER_AGENT: 'local' },
  });
  try {
    await body(server);
  } finally {
    await server.stop();
  }
}

// only Linux tells how much memory another process has
const isLinux = process.platform === 'linux';

if (isLinux) {
  local('should hold no more of one-byte writes than of others', async () => {
    await withLocal(async server => {
      const written = async (): Promise<number> => Number((await ask(server.port, { path: '/written' })).body);
      // as much as sockets take that nobody reads, and the gateway holds
      const first = await deaf(server.port, get(`/${64 * MIB}/0`));
      const fill = (await still('the first body', written)) - HELD;
      first.destroy();
      let sockets: Socket[] = [];
      const grown = await growth(server, async () => {
        sockets = await Promise.all(Array.from({ length: STREAMS }, () => deaf(server.port, get(`/${fill}/${MIB}`))));
        await still('the bodies', written);
      });
      expectGrowth(grown, STREAMS * HELD, 'worker');
      leave(sockets);
    });
  });

  local('should hold no more of one-byte chunks than of others, for a function that does not read', async () => {
    await withLocal(async server => {
      assert.is((await ask(server.port, { path: '/up', method: 'POST', body: 'four' })).body.toString(), '4');
      let sockets: Socket[] = [];
      const grown = await growth(server, async () => {
        const body = upload('/stand');
        sockets = await Promise.all(Array.from({ length: UPLOADS }, () => deaf(server.port, body)));
        await still('the uploads', async () => sockets.reduce((sum, { writableLength }) => sum + writableLength, 0));
        // the same worker: it lives
        assert.is((await ask(server.port, { path: '/up', method: 'POST', body: 'four' })).body.toString(), '4');
      });
      expectGrowth(grown, UPLOADS * HELD, 'rest');
      leave(sockets);
    });
  });
}

local.run();

const native = suite('cuts: native agent');

/** What the client says of its streams. */
const WINDOW = 256 * KIB;
const GRPC = [':status', '200', 'content-type', 'application/grpc'];

/** A message with its prefix. */
function message(fields: object): Buffer {
  const bytes = encode('noslated.data.InvokeResponse', fields);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}
const RESULT = message({ result: { status: 200 } });
const bodyOf = (bytes: number): Buffer => message({ result: { body: Buffer.alloc(bytes) } });

/** Cuts bytes into DATA frames. */
function toFrames(streamId: number, bytes: Buffer, cut: number): Buffer {
  const out = Buffer.alloc(bytes.length + 9 * Math.ceil(bytes.length / cut));
  let to = 0;
  for (let at = 0; at < bytes.length; at += cut) {
    const size = Math.min(cut, bytes.length - at);
    out.writeUIntBE(size, to, 3);
    out.writeUInt32BE(streamId, to + 5);
    to = bytes.copy(out, to + 9, at, at + size) + to + 9;
  }
  return out;
}

/** A response that keeps to the windows that it is given. */
interface Pouring {
  readonly peer: Peer;
  /** Bytes of DATA that were taken. */
  taken: number;
  /** Sends the same bytes `count` times, in frames of `cut` bytes, as fast as they are taken. */
  pour(bytes: Buffer, count: number, cut: number): Promise<void>;
  end(): void;
}

function answer(peer: Peer, streamId: number): Pouring {
  const window = (): number =>
    framesOf(peer.frames, Type.WINDOW_UPDATE, streamId).reduce(
      (sum, { payload }) => sum + payload.readUInt32BE(0),
      WINDOW - pouring.taken,
    );
  const pouring: Pouring = {
    peer,
    taken: 0,
    async pour(bytes, count, cut) {
      // as many of them at a time as one window holds
      const atOnce = Math.max(1, Math.min(count, Math.floor(WINDOW / bytes.length)));
      for (let left = count; left > 0 && !peer.socket.destroyed; left -= atOnce) {
        const all = Buffer.concat(Array<Buffer>(Math.min(left, atOnce)).fill(bytes));
        for (let at = 0; at < all.length && !peer.socket.destroyed; ) {
          const size = Math.min(all.length - at, cut * Math.floor(window() / cut));
          if (size > 0) peer.send(toFrames(streamId, all.subarray(at, at + size), cut));
          pouring.taken += size;
          at += size;
          await new Promise(done => setTimeout(done, size > 0 ? 0 : 10));
        }
      }
    },
    end: () => peer.send(headers(streamId, ['grpc-status', '0'], Flag.END_STREAM)),
  };
  peer.send(headers(streamId, GRPC));
  return pouring;
}

/** Runs a test's body with a gateway whose data plane is a script: `serve` gets each call. */
async function withScript(
  serve: (answer: Pouring, nth: number) => Promise<void>,
  body: (server: Server) => Promise<void>,
): Promise<void> {
  const workdir = temporary();
  mkdirSync(dirname(socketFile(workdir, 'dp-0')), { recursive: true });
  let isOver = false;
  let calls = 0;
  async function accept(socket: Socket): Promise<void> {
    const peer = watch(socket);
    peer.send(settings([Setting.INITIAL_WINDOW_SIZE, 2 ** 30]), windowUpdate(0, 2 ** 30));
    for (let seen = 0; !isOver; await new Promise(done => setTimeout(done, 5))) {
      const begun = framesOf(peer.frames, Type.HEADERS);
      for (; seen < begun.length; seen++) serve(answer(peer, begun[seen]?.streamId ?? 0), calls++);
    }
    socket.destroy();
  }
  const dataPlane = createServer({ allowHalfOpen: true }, accept);
  await new Promise<void>(done => dataPlane.listen(socketFile(workdir, 'dp-0'), done));
  // a control plane that takes everything
  const controlPlane = createH2Server().on('stream', stream => {
    stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
    stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
    stream.resume().end(Buffer.alloc(5));
  });
  await new Promise<void>(done => controlPlane.listen(socketFile(workdir, 'cp-0'), done));
  const server = await startServer({
    functions: { f: '' },
    profile: { routes: [{ path: '/*', function: 'f' }] },
    env: { SERVER_AGENT: 'native', NOSLATED_WORKDIR: workdir },
  });
  try {
    await body(server);
  } finally {
    isOver = true;
    await server.stop();
    dataPlane.close();
    controlPlane.close();
  }
}

if (isLinux) {
  native('should hold no more of one-byte messages than of others', async () => {
    const large = bodyOf(16_000);
    const small = bodyOf(1);
    const answers: Pouring[] = [];
    const taken = async (): Promise<number> => answers.reduce((sum, item) => sum + item.taken, 0);
    let fill = 0;
    await withScript(
      async (pouring, nth) => {
        answers.push(pouring);
        await pouring.pour(RESULT, 1, RESULT.length);
        await pouring.pour(large, nth === 0 ? 4096 : fill, large.length);
        await pouring.pour(small, MIB, small.length);
      },
      async server => {
        const first = await deaf(server.port, get('/'));
        // as much as sockets take that nobody reads, and the gateway holds
        fill = Math.floor(((await still('the first body', taken)) - HELD) / large.length);
        first.destroy();
        let sockets: Socket[] = [];
        const grown = await growth(server, async () => {
          sockets = await Promise.all(Array.from({ length: STREAMS }, () => deaf(server.port, get('/'))));
          await still('the bodies', taken);
        });
        expectGrowth(grown, STREAMS * HELD, 'rest');
        leave(sockets);
      },
    );
  });

  native('should hold no more of one-byte chunks than of others, for a plane that has not answered', async () => {
    const peers = new Set<Peer>();
    const received = async (): Promise<number> =>
      [...peers]
        .flatMap(({ frames }) => framesOf(frames, Type.DATA))
        .reduce((sum, { payload }) => sum + payload.length, 0);
    await withScript(
      async ({ peer }) => {
        peers.add(peer);
      },
      async server => {
        let sockets: Socket[] = [];
        const grown = await growth(server, async () => {
          const body = upload('/');
          sockets = await Promise.all(Array.from({ length: UPLOADS }, () => deaf(server.port, body)));
          await eventually('the uploads', async () => (await received()) >= UPLOADS * CHUNKS);
          await still('the uploads', received);
        });
        expectGrowth(grown, UPLOADS * HELD, 'uploads');
        leave(sockets);
      },
    );
  });

  native('should hold no more of bodies beside a status than of others', async () => {
    const both = message({ result: { status: 200, body: Buffer.alloc(MIB) } });
    const answers: Pouring[] = [];
    await withScript(
      async pouring => {
        answers.push(pouring);
        await pouring.pour(both, 512, 16_384);
      },
      async server => {
        let sockets: Socket[] = [];
        const grown = await growth(server, async () => {
          sockets = [await deaf(server.port, get('/'))];
          await still('the body', async () => answers[0]?.taken ?? 0);
        });
        expectGrowth(grown, HELD, 'rest');
        leave(sockets);
      },
    );
  });

  native('should hand on a first message that comes byte by byte, and hold none of it', async () => {
    const size = 4 * MIB;
    await withScript(
      async pouring => {
        await pouring.pour(message({ result: { status: 200, body: Buffer.alloc(size) } }), 1, 1);
        pouring.end();
      },
      async server => {
        let bytes = 0;
        const grown = await growth(server, async () => {
          for await (const chunk of await open(server.port, {}).reply) bytes += chunk.length;
        });
        assert.is(bytes, size);
        expectGrowth(grown, HELD, 'rest');
      },
    );
  });
}

native.run();
