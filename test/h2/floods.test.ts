import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as assert from 'uvu/assert';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { suite, within } from '../helpers.ts';
import {
  block,
  continuation,
  data,
  Flag,
  frameOf,
  head,
  headers,
  hear,
  OK,
  rstStream,
  Setting,
  settings,
  Type,
  uint32,
  windowUpdate,
  withPeer,
} from './peer.ts';

const { END_STREAM, END_HEADERS, PADDED } = Flag;
const MIB = 1024 * 1024;

setFlagsFromString('--expose-gc');
const gc: () => void = runInNewContext('gc');

function heap(): number {
  gc();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return heapUsed + arrayBuffers;
}

/** Frames of a flood, and how many go into one write. */
const FRAMES = 200_000;
const AT_ONCE = 1000;

/** Streams of a connection that is to be flooded. */
const WAITING = 1;
const ANSWERED = 3;
const OVER = 5;

/** What a peer may send without end, as far as the protocol goes, and which says nothing. */
const FLOODS: readonly (readonly [string, Buffer])[] = [
  ['empty DATA', data(ANSWERED, '')],
  ['DATA that is padding alone', frameOf(Type.DATA, PADDED, ANSWERED, Buffer.of(0))],
  ['interim heads', headers(WAITING, [':status', '103', 'link', '</a>'])],
  ['WINDOW_UPDATE of nothing much', windowUpdate(OVER, 1)],
  ['RST_STREAM for what is over', rstStream(OVER, 8)],
  ['PRIORITY', frameOf(Type.PRIORITY, 0, WAITING, Buffer.alloc(5))],
  ['frames of no known type', frameOf(0xee, 0, 0, '')],
  ['acknowledgements', frameOf(Type.SETTINGS, Flag.ACK, 0)],
  ['PING that is acknowledged', frameOf(Type.PING, Flag.ACK, 0, '12345678')],
  ['PING', frameOf(Type.PING, 0, 0, '12345678')],
  ['SETTINGS', settings([Setting.INITIAL_WINDOW_SIZE, 1000])],
];

const floods = suite('h2 connection: floods');

floods('should each cost no memory, and hold up no stream', async () => {
  for (const [name, frame] of FLOODS) {
    await withPeer(async ({ connection, peer, request, events }) => {
      // what it answers is thrown away unread
      peer.socket.removeAllListeners('data');
      peer.socket.resume();
      const [waiting, answered, over] = [hear(), hear(), hear()];
      for (const heard of [waiting, answered, over]) request(heard);
      peer.send(headers(ANSWERED, OK), headers(OVER, OK, END_STREAM));
      await over.closed();
      const part = Buffer.concat(Array<Buffer>(AT_ONCE).fill(frame));
      const flood = async (frames: number): Promise<void> => {
        for (let left = frames; left > 0; left -= AT_ONCE) {
          if (!peer.socket.write(part)) {
            await within(20_000, new Promise(done => peer.socket.once('drain', done)), `${name}: room`);
          }
        }
      };
      await flood(FRAMES / 10);
      const before = heap();
      await flood(FRAMES);
      peer.send(headers(WAITING, OK, END_STREAM), data(ANSWERED, 'x', END_STREAM));
      assert.is(await waiting.closed(), undefined, name);
      assert.is(await answered.closed(), undefined, name);
      const grown = heap() - before;
      assert.ok(grown < 4 * MIB, `${name}: grew by ${(grown / MIB).toFixed(1)} MiB`);
      assert.equal([connection.state, events], ['open', ['open']], name);
    });
  }
});

floods('should be broken off when their answers pile up', async () => {
  for (const [name, frame] of FLOODS.filter(([what]) => what === 'PING' || what === 'SETTINGS')) {
    await withPeer(async ({ peer, closed }) => {
      peer.socket.pause();
      const part = Buffer.concat(Array<Buffer>(AT_ONCE).fill(frame));
      const before = heap();
      for (let i = 0; i < 1000 && !peer.socket.destroyed; i++) {
        if (!peer.socket.write(part)) await new Promise(done => setImmediate(done));
      }
      assert.is((await closed()).code, ErrorCode.ENHANCE_YOUR_CALM, name);
      assert.ok(heap() - before < 64 * MIB, name);
    });
  }
});

floods('should be broken off when a header block never ends, however small its pieces', async () => {
  for (const piece of ['', 'x']) {
    await withPeer(async ({ peer, request, closed }) => {
      request(hear());
      const before = heap();
      const part = Buffer.concat(Array<Buffer>(AT_ONCE).fill(continuation(WAITING, 0, piece)));
      peer.send(head(WAITING, 0, block(...OK)), part, part, part, part, part, part);
      await peer.take(Type.HEADERS, WAITING);
      await new Promise(done => setImmediate(done));
      const grown = heap() - before;
      assert.ok(grown < MIB, `grew by ${grown} bytes`);
      peer.send(part, part);
      assert.is((await closed()).code, ErrorCode.ENHANCE_YOUR_CALM);
      assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, ErrorCode.ENHANCE_YOUR_CALM));
    });
  }
});

floods('should end a stream alone when its trailers are too many', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    request(heard);
    peer.send(headers(WAITING, OK));
    const bytes = block(...Array<string>(6000).fill('a'));
    peer.send(
      head(WAITING, END_STREAM, bytes.subarray(0, 10_000)),
      continuation(WAITING, END_HEADERS, bytes.subarray(10_000)),
    );
    const error = await heard.closed();
    assert.equal([error?.code, error?.from], [ErrorCode.ENHANCE_YOUR_CALM, 'local']);
    assert.is(connection.state, 'open');
  });
});

floods.run();
