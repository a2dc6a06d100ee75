import * as assert from 'uvu/assert';
import { STREAM_WINDOW } from '../../src/h2/connection.ts';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { suite, within } from '../helpers.ts';
import {
  block,
  data,
  Flag,
  frameOf,
  goaway,
  headers,
  hear,
  listen,
  OK,
  openWatched,
  type Pair,
  PREFACE,
  REQUEST,
  type Received,
  rstStream,
  settings,
  socketPath,
  Type,
  uint32,
  windowUpdate,
  withPeer,
} from './peer.ts';

const { END_STREAM, END_HEADERS, PADDED, PRIORITY, ACK } = Flag;
const HEADER_TABLE_SIZE = 1;
const ENABLE_PUSH = 2;
const MAX_CONCURRENT_STREAMS = 3;
const INITIAL_WINDOW_SIZE = 4;
const MAX_FRAME_SIZE = 5;
const MAX_HEADER_LIST_SIZE = 6;
const MIB = 1024 * 1024;

const of = (frames: readonly Received[], type: number, streamId?: number): Received[] =>
  frames.filter(frame => frame.type === type && (streamId === undefined || frame.streamId === streamId));

/** Bytes of body that the peer has got on a stream. */
const bodyOf = (frames: readonly Received[], streamId: number): Buffer =>
  Buffer.concat(of(frames, Type.DATA, streamId).map(({ payload }) => payload));

/** Credit that the client has given on a stream, or on the connection after its opening. */
const creditOf = (frames: readonly Received[], streamId: number): number =>
  of(frames, Type.WINDOW_UPDATE, streamId)
    .slice(streamId === 0 ? 1 : 0)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);

/** A body whose every byte says where it is. */
function pattern(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) bytes[i] = i ^ (i >>> 8) ^ (i >>> 16);
  return bytes;
}

const opening = suite('h2 connection: opening');

opening('should send the preface, its settings and an open window, and nothing else', async () => {
  const server = await listen();
  const { connection } = openWatched(server.path);
  const peer = await server.accept();
  await peer.take(Type.WINDOW_UPDATE);
  const expected = Buffer.concat([
    PREFACE,
    settings(
      [HEADER_TABLE_SIZE, 0],
      [ENABLE_PUSH, 0],
      [INITIAL_WINDOW_SIZE, STREAM_WINDOW],
      [MAX_HEADER_LIST_SIZE, 65_536],
    ),
    windowUpdate(0, 2 ** 31 - 1 - 65_535),
  ]);
  assert.equal(peer.reads, [expected]);
  assert.is(STREAM_WINDOW, 262_144);
  assert.is(connection.state, 'connecting');
  assert.is(connection.canRequest(), false);
  connection.close();
  server.close();
});

opening('should be open with the settings of the peer, which it acknowledges each time', async () => {
  await withPeer(async ({ connection, peer, events }) => {
    assert.is(connection.state, 'open');
    assert.is(connection.canRequest(), true);
    assert.equal(await peer.take(Type.SETTINGS, 0), peer.frames[0]);
    const acknowledgement = { type: Type.SETTINGS, flags: ACK, streamId: 0, payload: Buffer.alloc(0) };
    assert.equal(await peer.take(Type.SETTINGS, 0), acknowledgement);
    peer.send(settings([99, 5]), settings());
    assert.equal(await peer.take(Type.SETTINGS, 0), acknowledgement);
    assert.equal(await peer.take(Type.SETTINGS, 0), acknowledgement);
    assert.equal(events, ['open']);
  });
});

opening('should be closed when nobody listens', async () => {
  const missing = openWatched(socketPath());
  const error = await missing.closed();
  assert.match(error.message, /ENOENT/);
  assert.is(error.from, undefined);
  assert.is(missing.connection.state, 'closed');
  assert.equal(missing.events, ['close']);
});

opening('should be closed when the path is too long for a socket', async () => {
  const { closed } = openWatched(`/tmp/${'x'.repeat(200)}`);
  assert.instance(await closed(), Error);
});

opening('should give up a peer that sends no settings', async () => {
  const server = await listen();
  const { closed, connection, events } = openWatched(server.path);
  const peer = await server.accept();
  const error = await closed();
  assert.is(error.code, ErrorCode.SETTINGS_TIMEOUT);
  assert.is(connection.state, 'closed');
  assert.equal(events, ['close']);
  await within(5000, peer.closed, 'the socket to close');
  server.close();
});

opening('should be closed by a peer that closes before its settings', async () => {
  const server = await listen();
  const { closed, events } = openWatched(server.path);
  const peer = await server.accept();
  peer.socket.end();
  assert.is((await closed()).from, undefined);
  assert.equal(events, ['close']);
  server.close();
});

const exchanges = suite('h2 connection: requests and responses');

exchanges('should number its streams 1, 3, 5, and send what belongs together in one write', async () => {
  await withPeer(async ({ connection, peer }) => {
    await peer.settle();
    const before = peer.reads.length;
    for (const body of ['a', 'b', 'c']) {
      const stream = connection.request(REQUEST, hear().listener);
      assert.is(connection.write(stream, [Buffer.from(body)], true), true);
    }
    await peer.take(Type.DATA, 5);
    assert.equal(peer.reads.slice(before), [
      Buffer.concat(
        [1, 3, 5].flatMap((id, i) => [
          frameOf(Type.HEADERS, END_HEADERS, id, REQUEST),
          data(id, 'abc'.charAt(i), END_STREAM),
        ]),
      ),
    ]);
    assert.is(connection.streams, 3);
  });
});

exchanges('should hear head, body and trailers', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear(piece => connection.consume(stream, piece.length));
    const stream = request(heard);
    connection.write(stream, [], true);
    peer.send(
      headers(1, [...OK, 'a', 'b']),
      data(1, 'first '),
      data(1, ''),
      data(1, 'second'),
      headers(1, ['grpc-status', '0'], END_STREAM),
    );
    assert.is(await heard.closed(), undefined);
    assert.equal(heard.events, ['headers', 'data', 'headers', 'close']);
    assert.equal(heard.sections, [
      [':status', '200', 'a', 'b'],
      ['grpc-status', '0'],
    ]);
    assert.is(heard.body().toString(), 'first second');
    assert.is(connection.streams, 0);
    assert.is(connection.held, 0);
    await peer.settle();
    assert.equal(of(peer.frames, Type.RST_STREAM), []);
  });
});

exchanges('should hear a response that is a head alone, or ends with an empty DATA frame', async () => {
  await withPeer(async ({ peer, request }) => {
    const [alone, empty] = [hear(), hear()];
    request(alone);
    request(empty);
    peer.send(headers(1, [...OK, 'grpc-status', '5'], END_STREAM), headers(3, OK), data(3, '', END_STREAM));
    assert.is(await alone.closed(), undefined);
    assert.equal(alone.events, ['headers', 'close']);
    assert.is(await empty.closed(), undefined);
    assert.equal(empty.events, ['headers', 'close']);
  });
});

exchanges('should not take one head for another', async () => {
  await withPeer(async ({ peer, request }) => {
    // the same bytes as a head, as a head that ends the stream, and in trailers
    const fields = [...OK, 'x', 'y'];
    const all = [hear(), hear(), hear(), hear(), hear()] as const;
    for (const heard of all) request(heard);
    peer.send(
      headers(1, fields),
      headers(3, fields, END_STREAM),
      headers(5, fields),
      headers(5, ['x', 'y'], END_STREAM),
      headers(1, ['x', 'y'], END_STREAM),
      // no head, and trailers that do not end
      headers(7, ['x', 'y'], END_STREAM),
      headers(9, fields),
      headers(9, ['x', 'y']),
    );
    for (const heard of all.slice(0, 3)) assert.is(await heard.closed(), undefined);
    assert.equal(all[0].sections, [fields, ['x', 'y']]);
    assert.equal(all[1].sections, [fields]);
    assert.equal(all[2].sections, [fields, ['x', 'y']]);
    assert.is((await all[3].closed())?.code, ErrorCode.PROTOCOL_ERROR);
    assert.is((await all[4].closed())?.code, ErrorCode.PROTOCOL_ERROR);
  });
});

exchanges('should pass over interim heads', async () => {
  await withPeer(async ({ peer, request }) => {
    const heard = hear();
    request(heard);
    peer.send(
      headers(1, [':status', '100']),
      headers(1, [':status', '103', 'link', '</a>']),
      headers(1, [':status', '103', 'link', '</a>']),
      headers(1, [':status', '404'], END_STREAM),
    );
    assert.is(await heard.closed(), undefined);
    assert.equal(heard.sections, [[':status', '404']]);
  });
});

exchanges('should pass over padding, priority, and what it does not know', async () => {
  await withPeer(async ({ connection, peer, request, events }) => {
    const heard = hear(piece => connection.consume(stream, piece.length));
    const stream = request(heard);
    const head = Buffer.concat([Buffer.from([3, 0, 0, 0, 1, 16]), block(...OK), Buffer.alloc(3)]);
    peer.send(
      frameOf(0x0a, 0xff, 0, 'altsvc'),
      frameOf(0xff, 0xff, 1, 'unknown'),
      frameOf(0x10, 0, 99, ''),
      frameOf(Type.PRIORITY, 0xff, 1, Buffer.alloc(5)),
      frameOf(Type.PRIORITY, 0, 99, Buffer.alloc(5)),
      settings([0, 0], [0xfff0, 0xffffffff], [8, 1]),
      // flags that mean nothing to their frames, and the reserved bit
      frameOf(Type.PING, 0xfe, 0, '12345678'),
      frameOf(Type.WINDOW_UPDATE, 0xff, 0x80000001, uint32(0x80000005)),
      frameOf(Type.HEADERS, END_HEADERS | PADDED | PRIORITY, 0x80000001, head),
      frameOf(Type.DATA, PADDED | 0xf6, 1, '\x04abc\0\0\0\0'),
      frameOf(Type.DATA, PADDED | END_STREAM, 1, '\x02\0\0'),
    );
    assert.is(await heard.closed(), undefined);
    assert.is(heard.body().toString(), 'abc');
    assert.equal(events, ['open']);
  });
});

exchanges('should hear a response in any number of reads', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const bytes = (id: number): Buffer =>
      Buffer.concat([
        headers(id, OK),
        frameOf(Type.DATA, PADDED, id, '\x02body\0\0'),
        headers(id, ['grpc-status', '0'], END_STREAM),
      ]);
    const { length } = bytes(1);
    for (let at = 1; at < length; at += 5) {
      const heard = hear(piece => connection.consume(stream, piece.length));
      const stream = request(heard);
      const whole = bytes(stream.id);
      peer.send(whole.subarray(0, at));
      await new Promise(done => setImmediate(done));
      peer.send(whole.subarray(at));
      assert.is(await heard.closed(), undefined, `${at}`);
      assert.is(heard.body().toString(), 'body');
    }
  });
});

exchanges('should leave alone what it has handed out', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const pieces: Buffer[] = [];
    const heard = hear(piece => {
      pieces.push(piece);
      connection.consume(stream, piece.length);
    });
    const stream = request(heard);
    const body = pattern(MIB);
    peer.send(headers(1, OK));
    for (let at = 0; at < body.length; at += 10_000) {
      peer.send(data(1, body.subarray(at, at + 10_000)), settings(), frameOf(Type.PING, 0, 0, 'overtake'));
    }
    peer.send(data(1, '', END_STREAM));
    assert.is(await heard.closed(), undefined);
    assert.ok(heard.body().equals(body), 'as it was handed out');
    assert.ok(Buffer.concat(pieces).equals(body), 'as it is now');
  });
});

exchanges('should end its side by END_STREAM when the response is whole before the request', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    const stream = request(heard);
    assert.is(connection.write(stream, [Buffer.alloc(100_000)], false), false);
    peer.send(headers(1, OK, END_STREAM));
    assert.is(await heard.closed(), undefined);
    // nothing more, though windows open
    peer.send(windowUpdate(0, 1_000_000), windowUpdate(1, 1_000_000));
    assert.is(connection.write(stream, [Buffer.from('more')], true), true);
    await peer.settle();
    const sent = of(peer.frames, Type.DATA, 1);
    assert.is(bodyOf(peer.frames, 1).length, 65_535);
    assert.equal(sent.map(({ flags }) => flags).slice(-2), [0, END_STREAM]);
    assert.is(sent[sent.length - 1]?.payload.length, 0);
    assert.equal(of(peer.frames, Type.RST_STREAM), []);
  });
});

exchanges('should end its side though its window is below zero', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const [early, late] = [hear(), hear()];
    const first = request(early);
    const second = request(late);
    connection.write(first, [Buffer.alloc(1000)], false);
    connection.write(second, [Buffer.alloc(1000)], false);
    await peer.settle();
    peer.send(settings([INITIAL_WINDOW_SIZE, 0]), headers(1, OK, END_STREAM));
    assert.is(await early.closed(), undefined);
    assert.is(connection.write(second, [], true), true);
    await peer.settle();
    for (const id of [1, 3]) {
      const [, end] = of(peer.frames, Type.DATA, id);
      assert.equal([end?.flags, end?.payload.length], [END_STREAM, 0], `stream ${id}`);
    }
    peer.send(headers(3, OK, END_STREAM));
    assert.is(await late.closed(), undefined);
  });
});

exchanges('should ignore what is written after the end', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const stream = request(hear());
    connection.write(stream, [Buffer.from('all')], true);
    assert.is(connection.write(stream, [Buffer.from('more')], true), true);
    await peer.settle();
    assert.is(bodyOf(peer.frames, 1).toString(), 'all');
    assert.is(of(peer.frames, Type.DATA).length, 1);
  });
});

exchanges('should take a body of exactly its content-length, and no other', async () => {
  for (const [length, sent, isRight] of [
    ['5', 'hello', true],
    ['0', '', true],
    ['00', '', true],
    ['5', 'hell', false],
    ['5', 'hello!', false],
    ['1', '', false],
    ['-1', '', false],
    ['1e0', 'a', false],
    ['', '', false],
    ['99999999999999999999', 'a', false],
  ] as const) {
    for (const hasTrailers of [false, true]) {
      await withPeer(async ({ connection, peer, request }) => {
        const heard = hear(piece => connection.consume(stream, piece.length));
        const stream = request(heard);
        peer.send(headers(1, [...OK, 'content-length', length]), data(1, sent, hasTrailers ? 0 : END_STREAM));
        if (hasTrailers) peer.send(headers(1, ['a', 'b'], END_STREAM));
        const error = await heard.closed();
        assert.is(error?.code, isRight ? undefined : ErrorCode.PROTOCOL_ERROR, `${length}: ${sent}`);
        if (!isRight) await peer.take(Type.RST_STREAM, 1);
      });
    }
  }
  await withPeer(async ({ peer, request }) => {
    const heard = hear();
    request(heard);
    peer.send(headers(1, [':status', '304', 'content-length', '100'], END_STREAM));
    assert.is(await heard.closed(), undefined);
  });
});

const sending = suite('h2 connection: what the peer takes');

sending('should send as much as the first windows allow, and the rest as they open', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    const stream = request(heard);
    const body = pattern(100_000);
    assert.is(connection.write(stream, [body.subarray(0, 7), body.subarray(7)], true), false);
    await peer.settle();
    assert.is(bodyOf(peer.frames, 1).length, 65_535);
    // one window alone lets nothing pass
    peer.send(windowUpdate(1, 50_000));
    await peer.settle();
    assert.is(bodyOf(peer.frames, 1).length, 65_535);
    peer.send(windowUpdate(0, 4465));
    await peer.settle();
    assert.is(bodyOf(peer.frames, 1).length, 70_000);
    assert.equal(heard.events, []);
    peer.send(windowUpdate(0, 1_000_000));
    await peer.settle();
    assert.ok(bodyOf(peer.frames, 1).equals(body));
    assert.equal(heard.events, ['drain']);
    const flags = of(peer.frames, Type.DATA).map(frame => frame.flags);
    assert.equal(flags.slice(-1), [END_STREAM]);
    assert.is(flags.filter(flag => flag === END_STREAM).length, 1);
    assert.ok(of(peer.frames, Type.DATA).every(({ payload }) => payload.length <= 16_384 && payload.length > 0));
  });
});

sending('should wait for the window of the stream alone, too', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      const heard = hear();
      const stream = request(heard);
      assert.is(connection.write(stream, [Buffer.from('hello')], false), false);
      assert.is(connection.write(stream, [Buffer.from(' world')], true), false);
      for (const increment of [1, 4, 5]) {
        peer.send(windowUpdate(1, increment));
        await peer.settle();
      }
      assert.equal(
        of(peer.frames, Type.DATA).map(({ payload }) => payload.toString()),
        ['h', 'ello', ' worl'],
      );
      peer.send(windowUpdate(1, 1));
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).toString(), 'hello world');
      assert.equal(heard.events, ['drain']);
    },
    settings([INITIAL_WINDOW_SIZE, 0]),
  );
});

sending('should send an end without bytes through a closed window', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      const stream = request(hear());
      assert.is(connection.write(stream, [Buffer.alloc(0)], true), true);
      assert.equal(await peer.take(Type.DATA, 1), {
        type: 0,
        flags: END_STREAM,
        streamId: 1,
        payload: Buffer.alloc(0),
      });
    },
    settings([INITIAL_WINDOW_SIZE, 0]),
  );
});

sending('should follow INITIAL_WINDOW_SIZE up and down, below zero as well', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      const heard = hear();
      const stream = request(heard);
      connection.write(stream, [pattern(5000)], true);
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).length, 1000);
      // 100 - 1000: 900 below zero
      peer.send(settings([INITIAL_WINDOW_SIZE, 100]), windowUpdate(1, 900));
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).length, 1000);
      peer.send(windowUpdate(1, 1));
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).length, 1001);
      // up by 200, down by 100 at once: each counts, the last one holds
      peer.send(settings([INITIAL_WINDOW_SIZE, 300], [INITIAL_WINDOW_SIZE, 200]));
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).length, 1201);
      peer.send(windowUpdate(1, 100));
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).length, 1201);
      // a new stream begins with the last one
      connection.write(request(hear()), [pattern(5000)], true);
      await peer.settle();
      assert.is(bodyOf(peer.frames, 3).length, 200);
      peer.send(settings([INITIAL_WINDOW_SIZE, 2 ** 31 - 1 - 6000]));
      await peer.settle();
      assert.ok(bodyOf(peer.frames, 1).equals(pattern(5000)));
      assert.ok(bodyOf(peer.frames, 3).equals(pattern(5000)));
      assert.equal(heard.events, ['drain']);
    },
    settings([INITIAL_WINDOW_SIZE, 1000]),
  );
});

sending('should send larger frames when the peer takes them, and smaller ones when not', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      const first = request(hear());
      connection.write(first, [pattern(50_000), pattern(10_000)], true);
      await peer.settle();
      peer.send(settings([MAX_FRAME_SIZE, 16_384]));
      await peer.settle();
      const second = request(hear());
      connection.write(second, [pattern(50_000)], true);
      await peer.settle();
      const sizes = (id: number): number[] => of(peer.frames, Type.DATA, id).map(({ payload }) => payload.length);
      assert.equal(sizes(1), [60_000]);
      assert.equal(sizes(3), [16_384, 16_384, 16_384, 848]);
    },
    Buffer.concat([settings([MAX_FRAME_SIZE, 2 ** 24 - 1], [INITIAL_WINDOW_SIZE, 2 ** 20]), windowUpdate(0, 2 ** 20)]),
  );
});

sending('should let streams that wait for the connection send in turns', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      const bodies = [1, 2, 3].map(() => pattern(200_000));
      const streams = bodies.map(() => request(hear()));
      streams.forEach((stream, i) => {
        connection.write(stream, [bodies[i] as Buffer], true);
      });
      await peer.settle();
      const before = of(peer.frames, Type.DATA).length;
      peer.send(windowUpdate(0, 6 * 16_384));
      await peer.settle();
      const turns = of(peer.frames, Type.DATA).slice(before);
      assert.ok(turns.every(({ payload }) => payload.length === 16_384));
      const share = streams.map(({ id }) => turns.filter(({ streamId }) => streamId === id).length);
      assert.equal(share, [2, 2, 2]);
      // byte by byte, too: whoever went goes to the end of the line
      for (let i = 0; i < 6; i++) {
        peer.send(windowUpdate(0, 1));
        await peer.settle();
      }
      const last = of(peer.frames, Type.DATA).slice(-6);
      assert.equal(
        streams.map(({ id }) => last.filter(({ streamId }) => streamId === id).length),
        [2, 2, 2],
      );
      peer.send(windowUpdate(0, 1_000_000));
      await peer.settle();
      streams.forEach(({ id }, i) => {
        assert.ok(bodyOf(peer.frames, id).equals(bodies[i] as Buffer), `stream ${id}`);
      });
    },
    settings([INITIAL_WINDOW_SIZE, 1_000_000]),
  );
});

sending('should let none of those that wait be overtaken by one that writes on', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      // a stream that writes a window's worth whenever it may, and one that has waited for as long
      const greedy = connection.request(REQUEST, {
        ...hear().listener,
        onDrain: () => connection.write(greedy, [Buffer.alloc(65_536)], false),
      });
      const patient = request(hear());
      connection.write(greedy, [Buffer.alloc(65_536)], false);
      connection.write(patient, [Buffer.alloc(65_536)], true);
      for (let i = 0; i < 16; i++) {
        peer.send(windowUpdate(0, 16_384));
        await peer.settle();
      }
      assert.is(bodyOf(peer.frames, patient.id).length, 65_536);
    },
    settings([INITIAL_WINDOW_SIZE, 1_000_000]),
  );
});

sending('should let a socket that is full hold bodies back, and lose none of their bytes', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      await peer.settle();
      peer.socket.pause();
      const heard = hear();
      const stream = request(heard);
      const body = pattern(8 * MIB);
      for (let at = 0; at < body.length; at += MIB) connection.write(stream, [body.subarray(at, at + MIB)], false);
      const other = request(hear());
      assert.is(connection.write(other, [Buffer.from('small')], true), false);
      await new Promise(done => setImmediate(done));
      assert.ok(stream.queuedBytes > 6 * MIB, `${stream.queuedBytes} bytes wait`);
      peer.socket.resume();
      assert.is(connection.write(stream, [], true), false);
      await within(
        10_000,
        (async () => {
          while ((await peer.take(Type.DATA, 1)).flags !== END_STREAM);
        })(),
        'the end of the body',
      );
      assert.ok(bodyOf(peer.frames, 1).equals(body));
      assert.is(bodyOf(peer.frames, 3).toString(), 'small');
      assert.equal(heard.events, ['drain']);
    },
    Buffer.concat([settings([INITIAL_WINDOW_SIZE, 2 ** 30]), windowUpdate(0, 2 ** 30)]),
  );
});

sending('should open a stream from within onDrain', async () => {
  await withPeer(
    async ({ connection, peer }) => {
      const stream = connection.request(REQUEST, {
        ...hear().listener,
        onDrain() {
          connection.write(connection.request(REQUEST, hear().listener), [Buffer.alloc(50)], true);
        },
      });
      connection.write(stream, [Buffer.alloc(20)], true);
      peer.send(settings([INITIAL_WINDOW_SIZE, 30]));
      await peer.settle();
      assert.is(bodyOf(peer.frames, 1).length, 20);
      assert.is(bodyOf(peer.frames, 3).length, 30);
    },
    settings([INITIAL_WINDOW_SIZE, 10]),
  );
});

const receiving = suite('h2 connection: what it takes');

receiving('should take a whole window for a reader that stands still, and not one byte more', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    request(heard);
    peer.send(headers(1, OK));
    for (let i = 0; i < STREAM_WINDOW / 16_384; i++) peer.send(data(1, Buffer.alloc(16_384)));
    await peer.settle();
    assert.is(heard.body().length, STREAM_WINDOW);
    assert.is(connection.held, STREAM_WINDOW);
    assert.is(creditOf(peer.frames, 1), 0);
    peer.send(data(1, 'x'));
    const error = await heard.closed();
    assert.is(error?.code, ErrorCode.FLOW_CONTROL_ERROR);
    assert.equal((await peer.take(Type.RST_STREAM, 1)).payload, uint32(ErrorCode.FLOW_CONTROL_ERROR));
    assert.is(connection.held, 0);
    assert.is(connection.state, 'open');
  });
});

receiving('should give credit for what was consumed, half a window at a time', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const stream = request(hear());
    peer.send(headers(1, OK));
    for (let i = 0; i < STREAM_WINDOW / 16_384; i++) peer.send(data(1, Buffer.alloc(16_384)));
    await peer.settle();
    connection.consume(stream, STREAM_WINDOW / 2 - 1);
    await peer.settle();
    assert.is(creditOf(peer.frames, 1), 0);
    connection.consume(stream, 1);
    await peer.settle();
    assert.is(creditOf(peer.frames, 1), STREAM_WINDOW / 2);
    // exactly so much more may come
    for (let i = 0; i < STREAM_WINDOW / 2 / 16_384; i++) peer.send(data(1, Buffer.alloc(16_384)));
    await peer.settle();
    assert.is(connection.held, STREAM_WINDOW);
    // more than there is cannot be given back
    connection.consume(stream, 10 * STREAM_WINDOW);
    await peer.settle();
    assert.is(creditOf(peer.frames, 1), STREAM_WINDOW * 1.5);
    assert.is(connection.held, 0);
    assert.is(stream.receiveWindow, STREAM_WINDOW);
  });
});

receiving('should give padding back by itself', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    request(hear());
    peer.send(headers(1, OK));
    const frames = Math.ceil(STREAM_WINDOW / 2 / 256);
    for (let i = 0; i < frames; i++) peer.send(frameOf(Type.DATA, PADDED, 1, Buffer.alloc(256, 255)));
    await peer.settle();
    assert.is(creditOf(peer.frames, 1), STREAM_WINDOW / 2);
    assert.is(connection.held, 0);
  });
});

receiving('should give no credit to a stream that is over', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    const stream = request(heard);
    peer.send(headers(1, OK));
    for (let i = 0; i < 12; i++) peer.send(data(1, Buffer.alloc(16_384), i === 11 ? END_STREAM : 0));
    assert.is(await heard.closed(), undefined);
    assert.is(connection.held, 12 * 16_384);
    connection.consume(stream, 12 * 16_384);
    assert.is(connection.held, 0);
    await peer.settle();
    assert.is(creditOf(peer.frames, 1), 0);
  });
});

receiving('should lose no credit of the connection, whatever becomes of the bytes', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    // consumed at once; never consumed and cancelled; still coming for a cancelled stream; only padding
    const reader = hear();
    let taken = 0;
    const stream = connection.request(REQUEST, {
      ...reader.listener,
      onData(piece) {
        taken += piece.length;
        connection.consume(stream, piece.length);
      },
    });
    const stuck = request(hear());
    peer.send(headers(1, OK), headers(3, OK));
    const chunk = Buffer.alloc(16_384, 200);
    peer.send(data(3, chunk));
    await peer.settle();
    connection.cancel(stuck);
    assert.is(connection.held, 0);
    await peer.settle();
    const part = (id: number): Buffer => Buffer.concat(Array<Buffer>(16).fill(data(id, chunk)));
    const padding = frameOf(Type.DATA, PADDED, 1, Buffer.alloc(201, 200));
    let sent = 16_384;
    const quarter = 2 ** 28;
    while (sent < 2 * quarter) {
      peer.send(part(3));
      sent += 16 * 16_384;
      if (peer.socket.writableLength > MIB) await new Promise(done => peer.socket.once('drain', done));
    }
    // twice: what was given counts again
    while (creditOf(peer.frames, 0) < 8 * quarter) {
      assert.ok(sent < 9 * quarter, 'credit comes by half of the window');
      // the stream's own window is opened as it reads
      peer.send(part(1), padding);
      sent += 16 * 16_384 + 201;
      await peer.settle();
    }
    const credit = creditOf(peer.frames, 0);
    assert.ok(credit <= sent, `${credit} of ${sent}`);
    assert.ok(sent - credit <= 16 * 16_384 + 201, `${sent - credit} bytes lost`);
    assert.ok(taken > 5 * quarter);
  });
});

const settling = suite('h2 connection: settings');

settling('should open no more streams than the peer wants, and say when it may', async () => {
  await withPeer(
    async ({ connection, peer, request, events }) => {
      assert.is(connection.canRequest(), false);
      peer.send(settings([MAX_CONCURRENT_STREAMS, 1]));
      await peer.settle();
      assert.equal(events, ['open', 'capacity']);
      const [first, second, third] = [hear(), hear(), hear()];
      request(first);
      assert.is(connection.canRequest(), false);
      peer.send(settings([MAX_CONCURRENT_STREAMS, 3]));
      await peer.settle();
      assert.equal(events.splice(0), ['open', 'capacity', 'capacity']);
      request(second);
      request(third);
      assert.is(connection.canRequest(), false);
      // fewer than there are: those go on
      peer.send(settings([MAX_CONCURRENT_STREAMS, 1]), headers(1, OK, END_STREAM), headers(3, OK, END_STREAM));
      assert.is(await second.closed(), undefined);
      assert.is(connection.canRequest(), false);
      assert.equal(events, []);
      peer.send(headers(5, OK, END_STREAM));
      assert.is(await third.closed(), undefined);
      assert.is(connection.canRequest(), true);
      assert.equal(events, ['capacity']);
      // room already: nothing new
      peer.send(settings([MAX_CONCURRENT_STREAMS, 2 ** 32 - 1]), settings());
      await peer.settle();
      assert.equal(events, ['capacity']);
    },
    settings([MAX_CONCURRENT_STREAMS, 0]),
  );
});

settling('should have capacity again after a cancel, a reset and an error', async () => {
  await withPeer(
    async ({ connection, peer, request, events }) => {
      events.length = 0;
      connection.cancel(request(hear()));
      assert.equal(events, ['capacity']);
      const [reset, failed] = [hear(), hear()];
      request(reset);
      peer.send(rstStream(3, ErrorCode.REFUSED_STREAM));
      await reset.closed();
      assert.equal(events, ['capacity', 'capacity']);
      request(failed);
      peer.send(data(5, 'no head'));
      await failed.closed();
      assert.equal(events, ['capacity', 'capacity', 'capacity']);
    },
    settings([MAX_CONCURRENT_STREAMS, 1]),
  );
});

settling('should speak of no capacity once it is draining or closed', async () => {
  await withPeer(
    async ({ connection, peer, request, events }) => {
      const heard = [hear(), hear()];
      heard.forEach(request);
      connection.drain();
      peer.send(headers(1, OK, END_STREAM));
      await heard[0]?.closed();
      connection.close();
      assert.equal(events, ['open', 'draining', 'close']);
    },
    settings([MAX_CONCURRENT_STREAMS, 2]),
  );
});

const blocks = suite('h2 connection: header blocks');

const head = (id: number, flags: number, bytes: Buffer): Buffer => frameOf(Type.HEADERS, flags, id, bytes);
const continuation = (id: number, flags: number, bytes: Buffer | string = ''): Buffer =>
  frameOf(Type.CONTINUATION, flags, id, bytes);

blocks('should join a block out of frames, empty ones and single bytes included', async () => {
  await withPeer(async ({ peer, request }) => {
    const fields = [...OK, 'x-long', 'value '.repeat(33).concat('.')];
    const bytes = block(...fields);
    const splits: [string, Buffer[]][] = [
      ['at once', [head(1, END_HEADERS, bytes)]],
      ['empty at the end', [head(3, 0, bytes), continuation(3, END_HEADERS)]],
      ['empty at the beginning', [head(5, 0, Buffer.alloc(0)), continuation(5, END_HEADERS, bytes)]],
      [
        'empty between',
        [
          head(7, 0, bytes.subarray(0, 3)),
          continuation(7, 0),
          continuation(7, 0),
          continuation(7, END_HEADERS, bytes.subarray(3)),
        ],
      ],
      [
        'byte by byte',
        [
          head(9, END_STREAM, bytes.subarray(0, 1)),
          ...[...bytes.subarray(1)].map((byte, i, rest) =>
            continuation(9, i === rest.length - 1 ? END_HEADERS : 0, Buffer.of(byte)),
          ),
        ],
      ],
      [
        'in reads that overwrite each other',
        [0, 40, 80, 120, 160].map((at, i) =>
          i === 0
            ? head(11, 0, bytes.subarray(0, 40))
            : continuation(11, i === 4 ? END_HEADERS : 0, bytes.subarray(at, i === 4 ? bytes.length : at + 40)),
        ),
      ],
      [
        'padded, with a priority',
        [
          head(
            13,
            PADDED | PRIORITY,
            Buffer.concat([Buffer.of(2, 0, 0, 0, 0, 9), bytes.subarray(0, 9), Buffer.alloc(2)]),
          ),
          continuation(13, END_HEADERS, bytes.subarray(9)),
        ],
      ],
    ];
    const all = splits.map(([name, frames]) => ({ name, frames, heard: hear() }));
    for (const { heard } of all) request(heard);
    for (const { name, frames, heard } of all) {
      for (const bytesOf of frames) {
        peer.send(bytesOf);
        // each in a read of its own
        if (frames.length < 6) await new Promise(done => setImmediate(done));
      }
      await peer.settle();
      assert.equal(heard.sections, [fields], name);
    }
    // END_STREAM came with HEADERS, and counts from the block's end
    assert.is(await all[4]?.heard.closed(), undefined);
  });
});

blocks('should take a list of 64 KiB, and reset a stream that has a larger one', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const [fits, large] = [hear(), hear()];
    request(fits);
    request(large);
    const inFrames = (id: number, bytes: Buffer): Buffer[] => {
      const frames = [head(id, END_STREAM, bytes.subarray(0, 16_384))];
      for (let at = 16_384; at < bytes.length; at += 16_384) {
        const isLast = at + 16_384 >= bytes.length;
        frames.push(continuation(id, isLast ? END_HEADERS : 0, bytes.subarray(at, at + 16_384)));
      }
      return frames;
    };
    const most = 65_536 - (7 + 3 + 32) - (1 + 32);
    peer.send(...inFrames(1, block(...OK, 'x', 'v'.repeat(most))));
    assert.is(await fits.closed(), undefined);
    assert.is(fits.sections[0]?.[3]?.length, most);
    peer.send(...inFrames(3, block(...OK, 'x', 'v'.repeat(most + 1))));
    assert.is((await large.closed())?.code, ErrorCode.ENHANCE_YOUR_CALM);
    assert.equal((await peer.take(Type.RST_STREAM, 3)).payload, uint32(ErrorCode.ENHANCE_YOUR_CALM));
    assert.is(connection.state, 'open');
  });
});

blocks('should end a connection whose block does not end', async () => {
  for (const [size, most] of [
    [16_384, 4],
    [1000, 65],
    [1, 6554],
    [0, 7282],
  ] as const) {
    await withPeer(async ({ peer, request, closed }) => {
      const heard = hear();
      request(heard);
      peer.send(head(1, 0, block(...OK)), ...Array<Buffer>(most + 1).fill(continuation(1, 0, Buffer.alloc(size))));
      assert.is((await closed()).code, ErrorCode.ENHANCE_YOUR_CALM, `${size} bytes each`);
      assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, ErrorCode.ENHANCE_YOUR_CALM));
      assert.is((await heard.closed())?.code, ErrorCode.ENHANCE_YOUR_CALM);
    });
  }
});

blocks('should pass over the blocks of a stream that it has reset', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    const stream = request(heard);
    const other = hear();
    request(other);
    connection.cancel(stream);
    peer.send(
      head(1, 0, Buffer.from('what')),
      continuation(1, END_HEADERS, 'ever'),
      data(1, 'body'),
      windowUpdate(1, 5),
      headers(1, ['a', 'b'], END_STREAM),
      rstStream(1, 0),
      headers(3, OK, END_STREAM),
    );
    assert.is(await other.closed(), undefined);
    assert.equal(heard.events, []);
    await peer.settle();
    assert.is(of(peer.frames, Type.RST_STREAM).length, 1);
  });
});

const pings = suite('h2 connection: PING');

pings('should answer with the same bytes', async () => {
  await withPeer(async ({ peer }) => {
    peer.send(frameOf(Type.PING, 0, 0, 'abcdefgh'), frameOf(Type.PING, ACK, 0, 'unasked!'));
    assert.equal(await peer.take(Type.PING, 0), {
      type: Type.PING,
      flags: ACK,
      streamId: 0,
      payload: Buffer.from('abcdefgh'),
    });
    await peer.settle();
    assert.is(of(peer.frames, Type.PING).length, 2);
  });
});

pings('should be closed when nothing answers its own', async () => {
  await withPeer(async ({ connection, peer, request, closed, events }) => {
    const heard = hear();
    request(heard);
    await peer.settle();
    connection.verify();
    connection.verify();
    assert.is(connection.isSuspect, true);
    assert.is(connection.canRequest(), true);
    const error = await closed();
    assert.is(error.from, undefined);
    assert.is(await heard.closed(), error);
    assert.equal(events, ['open', 'close']);
    const [ping, ...more] = of(peer.frames, Type.PING).filter(({ flags }) => flags === 0);
    assert.is(ping?.payload.length, 8);
    assert.equal(more, []);
    await within(5000, peer.closed, 'the socket to close');
  });
});

pings('should not be closed when anything comes', async () => {
  const answers = [frameOf(Type.PING, ACK, 0, Buffer.alloc(8)), Buffer.of(0)];
  const runs = answers.map(answer =>
    withPeer(async ({ connection, peer, events }) => {
      connection.verify();
      await peer.take(Type.PING);
      peer.send(answer);
      await within(
        900,
        (async () => {
          while (connection.isSuspect) await new Promise(done => setImmediate(done));
        })(),
        'the suspicion to end',
      );
      // past the time when it would have been closed
      await new Promise(done => setTimeout(done, 1100));
      assert.is(connection.state, 'open');
      assert.equal(events, ['open']);
    }),
  );
  await Promise.all(runs);
});

pings('should end with a peer that asks and does not read', async () => {
  for (const question of [frameOf(Type.PING, 0, 0, 'question'), settings()]) {
    await withPeer(async ({ peer, request, closed }) => {
      const heard = hear();
      request(heard);
      await peer.settle();
      peer.socket.pause();
      const many = Buffer.concat(Array<Buffer>(10_000).fill(question));
      for (let i = 0; i < 40; i++) peer.send(many);
      assert.is((await closed()).code, ErrorCode.ENHANCE_YOUR_CALM);
      assert.is((await heard.closed())?.code, ErrorCode.ENHANCE_YOUR_CALM);
      peer.socket.resume();
      await within(5000, peer.closed, 'the socket to close');
    });
  }
});

const resets = suite('h2 connection: RST_STREAM');

resets('should tell each code, and which of them refuse', async () => {
  for (const hasHead of [false, true]) {
    for (const code of [...Object.values(ErrorCode), 0xff, 0xffffffff]) {
      await withPeer(async ({ connection, peer, request }) => {
        const heard = hear();
        const other = request(hear());
        const { id } = request(heard);
        if (hasHead) peer.send(headers(id, OK));
        peer.send(rstStream(id, code));
        const error = await heard.closed();
        assert.is(error?.code, code);
        assert.is(error?.from, 'peer');
        const isExhausted = code === ErrorCode.ENHANCE_YOUR_CALM && !hasHead;
        assert.is(error?.isRefused, isExhausted || code === ErrorCode.REFUSED_STREAM, `${code}, ${hasHead}`);
        assert.equal(heard.events, hasHead ? ['headers', 'close'] : ['close']);
        await peer.settle();
        // a peer without memory for one stream has none for the next
        assert.is(connection.state, isExhausted ? 'draining' : 'open');
        assert.is(connection.streams, 1);
        assert.is(other.isClosed, false);
        assert.equal(of(peer.frames, Type.RST_STREAM), []);
      });
    }
  }
});

resets('should pass over one for a stream that is over', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    const stream = request(heard);
    connection.write(stream, [], true);
    peer.send(headers(1, OK, END_STREAM), rstStream(1, 0), windowUpdate(1, 100), rstStream(1, 8));
    assert.is(await heard.closed(), undefined);
    await peer.settle();
    assert.is(connection.state, 'open');
    assert.equal(heard.events, ['headers', 'close']);
  });
});

resets('should give back what a stream held', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const heard = hear();
    request(heard);
    peer.send(headers(1, OK), data(1, 'held'), rstStream(1, 2));
    await heard.closed();
    assert.is(connection.held, 0);
  });
});

resets('should be sent once by a cancel, in every state of a stream', async () => {
  const states: [string, (pair: Pair, id: number) => void][] = [
    ['just opened', () => {}],
    ['with a head', ({ peer }, id) => peer.send(headers(id, OK))],
    ['with a body', ({ peer }, id) => peer.send(headers(id, OK), data(id, 'body'))],
  ];
  for (const isEnded of [false, true]) {
    for (const [bytes, initialWindow] of [
      [100, 65_535],
      [100_000, 1_000_000],
      [100_000, 1000],
    ] as const) {
      for (const [name, prepare] of states) {
        await withPeer(
          async pair => {
            const { connection, peer, request } = pair;
            const heard = hear();
            const stream = request(heard);
            connection.write(stream, [Buffer.alloc(bytes)], isEnded);
            prepare(pair, stream.id);
            await peer.settle();
            const before = heard.events.length;
            connection.cancel(stream);
            connection.cancel(stream);
            connection.write(stream, [Buffer.from('late')], true);
            connection.consume(stream, 10);
            peer.send(windowUpdate(0, 100_000), windowUpdate(1, 100_000), data(1, 'more'), data(1, '', END_STREAM));
            await peer.settle();
            assert.equal(
              of(peer.frames, Type.RST_STREAM).map(({ streamId, payload }) => [streamId, payload.readUInt32BE(0)]),
              [[1, ErrorCode.CANCEL]],
              name,
            );
            assert.is(peer.frames.filter(({ streamId }) => streamId === 1).pop()?.type, Type.RST_STREAM, name);
            assert.is(heard.events.length, before, name);
            assert.is(connection.streams, 0);
            assert.is(connection.held, 0);
            assert.is(connection.state, 'open');
            // the first windows of the connection and of the stream: it waits for one of them
          },
          settings([INITIAL_WINDOW_SIZE, initialWindow]),
        );
      }
    }
  }
});

resets('should not be sent by a cancel after the end', async () => {
  await withPeer(async ({ connection, peer, request }) => {
    const [whole, reset] = [hear(), hear()];
    const first = request(whole);
    const second = request(reset);
    peer.send(headers(1, OK), data(1, 'held', END_STREAM), rstStream(3, 2));
    await whole.closed();
    await reset.closed();
    assert.is(connection.held, 4);
    connection.cancel(first);
    connection.cancel(second);
    assert.is(connection.held, 0);
    await peer.settle();
    assert.equal(of(peer.frames, Type.RST_STREAM), []);
  });
});

resets('should be sent by a cancel from within each event of a stream', async () => {
  for (const event of ['onHeaders', 'onData'] as const) {
    await withPeer(async ({ connection, peer }) => {
      const heard = hear();
      const stream = connection.request(REQUEST, { ...heard.listener, [event]: () => connection.cancel(stream) });
      peer.send(headers(1, OK), data(1, 'body'), headers(1, ['a', 'b'], END_STREAM));
      await peer.settle();
      assert.is(of(peer.frames, Type.RST_STREAM).length, 1, event);
      assert.is(heard.events.includes('close'), false, event);
      assert.is(connection.held, 0, event);
      assert.is(connection.state, 'open');
    });
  }
});

resets('should make it retire after 500 of its own', async () => {
  await withPeer(async ({ connection, peer, request, events, closed }) => {
    for (let i = 0; i < 499; i++) connection.cancel(request(hear()));
    assert.is(connection.state, 'open');
    const [last, staying] = [hear(), hear()];
    const stream = request(last);
    request(staying);
    connection.cancel(stream);
    assert.is(connection.state, 'draining');
    assert.is(connection.canRequest(), false);
    assert.equal(events, ['open', 'draining']);
    peer.send(headers(1001, OK, END_STREAM));
    assert.is(await staying.closed(), undefined);
    assert.is((await closed()).code, ErrorCode.NO_ERROR);
    assert.is(of(peer.frames, Type.RST_STREAM).length, 500);
  });
});

resets('should tell the last stream of its end before the connection', async () => {
  const order: string[] = [];
  await withPeer(async ({ connection, peer, request, events, closed }) => {
    for (let i = 0; i < 499; i++) connection.cancel(request(hear()));
    connection.request(REQUEST, { ...hear().listener, onClose: () => order.push(`stream, ${events.join()}`) });
    peer.send(data(999, 'no head'));
    await closed();
    assert.equal(order, ['stream, open,draining']);
  });
});

const goaways = suite('h2 connection: GOAWAY');

goaways('should refuse the streams above the last one, and let the rest finish', async () => {
  await withPeer(async ({ connection, peer, request, events, closed }) => {
    const [first, second, third] = [hear(), hear(), hear()];
    const stream = request(first);
    request(second);
    request(third);
    peer.send(goaway(1, 0));
    for (const heard of [second, third]) {
      const error = await heard.closed();
      assert.is(error?.isRefused, true);
      assert.is(error?.from, 'peer');
    }
    assert.is(connection.state, 'draining');
    assert.is(connection.canRequest(), false);
    assert.is(connection.streams, 1);
    assert.equal(events, ['open', 'draining']);
    // the rest goes on in both directions
    connection.write(stream, [Buffer.from('still here')], true);
    await peer.take(Type.DATA, 1);
    peer.send(headers(1, OK), data(1, 'so am I', END_STREAM));
    assert.is(await first.closed(), undefined);
    assert.is(first.body().toString(), 'so am I');
    assert.is((await closed()).code, 0);
    assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, 0));
    assert.is(connection.state, 'closed');
    assert.equal(events, ['open', 'draining', 'close']);
    await within(5000, peer.closed, 'the socket to close');
  });
});

goaways('should take a warning first, and the last stream later', async () => {
  await withPeer(async ({ peer, request, events, closed }) => {
    const [first, second] = [hear(), hear()];
    request(first);
    request(second);
    peer.send(goaway(2 ** 31 - 1, 0));
    await peer.settle();
    assert.equal(events, ['open', 'draining']);
    peer.send(goaway(1, 0));
    assert.is((await second.closed())?.isRefused, true);
    peer.send(goaway(1, 0), headers(1, OK, END_STREAM));
    assert.is(await first.closed(), undefined);
    await closed();
    assert.equal(events, ['open', 'draining', 'close']);
  });
});

goaways('should refuse a higher last stream than before', async () => {
  await withPeer(async ({ peer, request, closed }) => {
    const heard = hear();
    request(heard);
    peer.send(goaway(1, 0), goaway(3, 0));
    assert.is((await closed()).code, ErrorCode.PROTOCOL_ERROR);
    assert.is((await heard.closed())?.code, ErrorCode.PROTOCOL_ERROR);
    assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, ErrorCode.PROTOCOL_ERROR));
  });
});

goaways('should end at once when nothing is open', async () => {
  await withPeer(async ({ peer, closed, events }) => {
    peer.send(goaway(0, 0));
    assert.is((await closed()).code, 0);
    assert.equal(events, ['open', 'draining', 'close']);
  });
});

goaways('should end at once for an error: a peer may leave its socket open', async () => {
  await withPeer(async ({ peer, request, closed, events }) => {
    const [kept, refused] = [hear(), hear()];
    request(kept);
    request(refused);
    peer.send(goaway(1, ErrorCode.INTERNAL_ERROR));
    const error = await closed();
    assert.is(error.code, ErrorCode.INTERNAL_ERROR);
    assert.is(await kept.closed(), error);
    assert.is(error.isRefused, false);
    assert.is(error.from, undefined);
    assert.is((await refused.closed())?.isRefused, true);
    assert.equal(events, ['open', 'draining', 'close']);
  });
});

goaways('should be sent when it is closed, and its streams fail', async () => {
  await withPeer(async ({ connection, peer, request, closed, events }) => {
    const heard = hear();
    const stream = request(heard);
    connection.write(stream, [Buffer.from('on its way')], false);
    connection.close();
    connection.close();
    assert.is(connection.state, 'closed');
    assert.equal(events, ['open', 'close']);
    assert.is((await closed()).code, ErrorCode.CANCEL);
    assert.is((await heard.closed())?.from, undefined);
    assert.is(bodyOf([await peer.take(Type.DATA, 1)], 1).toString(), 'on its way');
    assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, 0));
    await within(5000, peer.closed, 'the socket to close');
    // nothing can be done with it any more
    connection.write(stream, [Buffer.from('late')], true);
    connection.cancel(stream);
    connection.consume(stream, 1);
    connection.verify();
    connection.drain();
    assert.equal(events, ['open', 'close']);
  });
});

goaways('should be closed from within an event, in the middle of a read', async () => {
  await withPeer(async ({ connection, peer, request, closed }) => {
    const [heard, other] = [hear(() => connection.close()), hear()];
    request(heard);
    request(other);
    peer.send(
      headers(1, OK),
      data(1, 'a'),
      data(1, 'b'),
      headers(3, OK),
      settings(),
      frameOf(Type.PING, 0, 0, '12345678'),
    );
    assert.is((await closed()).code, ErrorCode.CANCEL);
    assert.equal(heard.events, ['headers', 'data', 'close']);
    assert.is(heard.body().toString(), 'a');
    assert.equal(other.events, ['close']);
  });
});

const draining = suite('h2 connection: draining');

draining('should finish what it has, and then close', async () => {
  await withPeer(async ({ connection, peer, request, closed, events }) => {
    const heard = hear();
    request(heard);
    connection.drain();
    connection.drain();
    assert.is(connection.state, 'draining');
    assert.is(connection.canRequest(), false);
    peer.send(headers(1, OK, END_STREAM));
    assert.is(await heard.closed(), undefined);
    assert.is((await closed()).code, 0);
    assert.equal(events, ['open', 'draining', 'close']);
    assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, 0));
  });
});

draining('should close when it has nothing', async () => {
  await withPeer(async ({ connection, closed, events }) => {
    connection.drain();
    await closed();
    assert.equal(events, ['open', 'draining', 'close']);
  });
});

draining('should close before it was open', async () => {
  const server = await listen();
  const { connection, closed, events } = openWatched(server.path);
  const peer = await server.accept();
  connection.drain();
  await closed();
  assert.equal(events, ['close']);
  await within(5000, peer.closed, 'the socket to close');
  server.close();
});

draining('should begin with the last request that it takes', async () => {
  await withPeer(
    async ({ connection, peer, request, closed, events }) => {
      const all = [hear(), hear(), hear()];
      request(all[0] as (typeof all)[0]);
      request(all[1] as (typeof all)[0]);
      assert.is(connection.canRequest(), true);
      assert.equal(events, ['open']);
      const last = request(all[2] as (typeof all)[0]);
      assert.is(last.id, 5);
      assert.is(connection.canRequest(), false);
      assert.equal(events, ['open', 'draining']);
      peer.send(...[1, 3, 5].map(id => headers(id, OK, END_STREAM)));
      for (const heard of all) assert.is(await heard.closed(), undefined);
      assert.is((await closed()).code, 0);
    },
    settings(),
    3,
  );
});

const ends = suite('h2 connection: the socket');

ends('should be closed when the socket ends', async () => {
  for (const end of ['end', 'destroy'] as const) {
    await withPeer(async ({ connection, peer, request, closed, events }) => {
      const heard = hear();
      request(heard);
      await peer.settle();
      // within a frame, which is no excuse
      peer.send(headers(1, OK), data(1, 'half').subarray(0, 11));
      peer.socket[end]();
      const error = await closed();
      assert.is(error.from, undefined);
      assert.is(error.isRefused, false);
      assert.is(await heard.closed(), error);
      assert.is(connection.state, 'closed');
      assert.equal(events, ['open', 'close']);
    });
  }
});

ends('should be closed when the socket ends that is full', async () => {
  await withPeer(
    async ({ connection, peer, request, closed }) => {
      await peer.settle();
      peer.socket.pause();
      const heard = hear();
      connection.write(request(heard), [Buffer.alloc(4 * MIB)], false);
      await new Promise(done => setImmediate(done));
      peer.socket.end();
      await closed();
      assert.ok((await heard.closed()) !== undefined);
    },
    Buffer.concat([settings([INITIAL_WINDOW_SIZE, 2 ** 30]), windowUpdate(0, 2 ** 30)]),
  );
});

ends('should let go of a socket that nobody reads', async () => {
  await withPeer(
    async ({ connection, peer, request }) => {
      await peer.settle();
      peer.socket.pause();
      connection.write(request(hear()), [Buffer.alloc(4 * MIB)], false);
      await new Promise(done => setImmediate(done));
      connection.close();
      // a peer that writes learns that nobody is there
      const gone = new Promise<void>(done => peer.socket.once('error', () => done()));
      const write = setInterval(() => peer.socket.write('?'), 50);
      await within(5000, gone, 'the socket to close');
      clearInterval(write);
    },
    Buffer.concat([settings([INITIAL_WINDOW_SIZE, 2 ** 30]), windowUpdate(0, 2 ** 30)]),
  );
});

ends('should stay open with half a frame and silence, until it is asked to verify', async () => {
  const parts = [data(1, 'half').subarray(0, 11), headers(1, OK).subarray(0, 4), headers(1, OK).subarray(0, 12)];
  const runs = parts.map(part =>
    withPeer(async ({ connection, peer, request, closed }) => {
      const heard = hear();
      request(heard);
      peer.send(headers(1, OK), part);
      await peer.take(Type.HEADERS, 1);
      connection.verify();
      await peer.take(Type.PING, 0);
      assert.is((await closed()).from, undefined);
      assert.ok((await heard.closed()) !== undefined);
    }),
  );
  await Promise.all(runs);
});

const breaches = suite('h2 connection: breaches of the protocol');

/** Streams of a connection that is to be wronged. */
const WAITING = 1;
const ANSWERED = 3;
const COMPLETE = 5;
const CANCELLED = 7;
const IDLE = 9;

type Answer = { goaway: keyof typeof ErrorCode } | { reset: keyof typeof ErrorCode; stream: number } | 'nothing';
const goes = (code: keyof typeof ErrorCode): Answer => ({ goaway: code });
const resetsWith = (code: keyof typeof ErrorCode, stream: number = WAITING): Answer => ({ reset: code, stream });

const full = { ok: headers(WAITING, OK), end: END_STREAM | END_HEADERS };
const BREACHES: readonly [string, readonly Buffer[], Answer][] = [
  // §4.1, §4.2: frames
  ['frame above 16 384 bytes', [frameOf(0xee, 0, 0, Buffer.alloc(16_385))], goes('FRAME_SIZE_ERROR')],
  ['DATA above 16 384 bytes', [data(ANSWERED, Buffer.alloc(16_385))], goes('FRAME_SIZE_ERROR')],
  // §4.3: header blocks
  ['no HPACK', [head(WAITING, END_HEADERS, Buffer.of(0x80))], goes('COMPRESSION_ERROR')],
  ['index of a dynamic table', [head(WAITING, END_HEADERS, Buffer.of(0x88, 0xbe))], goes('COMPRESSION_ERROR')],
  ['block that ends within a field', [head(WAITING, END_HEADERS, Buffer.of(0x88, 0x00))], goes('COMPRESSION_ERROR')],
  ['table size above 0', [head(WAITING, END_HEADERS, Buffer.of(0x21, 0x88))], goes('COMPRESSION_ERROR')],
  ['no HPACK in trailers', [head(ANSWERED, full.end, Buffer.of(0x80))], goes('COMPRESSION_ERROR')],
  // §5.1: states
  ['HEADERS on an idle stream', [headers(IDLE, OK)], goes('PROTOCOL_ERROR')],
  ['DATA on an idle stream', [data(IDLE, 'x')], goes('PROTOCOL_ERROR')],
  ['RST_STREAM on an idle stream', [rstStream(IDLE, 0)], goes('PROTOCOL_ERROR')],
  ['WINDOW_UPDATE on an idle stream', [windowUpdate(IDLE, 1)], goes('PROTOCOL_ERROR')],
  ['HEADERS on a stream of the server', [headers(2, OK)], goes('PROTOCOL_ERROR')],
  ['DATA on a stream of the server', [data(2, 'x')], goes('PROTOCOL_ERROR')],
  ['HEADERS after END_STREAM', [headers(COMPLETE, OK)], goes('STREAM_CLOSED')],
  ['DATA after END_STREAM', [data(COMPLETE, 'x')], goes('STREAM_CLOSED')],
  ['DATA after RST_STREAM', [rstStream(WAITING, 8), data(WAITING, 'x')], goes('STREAM_CLOSED')],
  ['PRIORITY on an idle stream', [frameOf(Type.PRIORITY, 0, IDLE, Buffer.alloc(5))], 'nothing'],
  ['WINDOW_UPDATE, RST_STREAM after END_STREAM', [windowUpdate(COMPLETE, 1), rstStream(COMPLETE, 0)], 'nothing'],
  ['anything after our RST_STREAM', [headers(CANCELLED, OK), data(CANCELLED, 'x')], 'nothing'],
  // §6.1: DATA
  ['DATA on stream 0', [data(0, 'x')], goes('PROTOCOL_ERROR')],
  ['empty DATA on stream 0', [data(0, '')], goes('PROTOCOL_ERROR')],
  ['padding longer than its DATA', [frameOf(Type.DATA, PADDED, ANSWERED, '\x02ab')], 'nothing'],
  ['padding as long as its DATA', [frameOf(Type.DATA, PADDED, ANSWERED, '\x03ab')], goes('PROTOCOL_ERROR')],
  ['padded DATA without a length', [frameOf(Type.DATA, PADDED, ANSWERED, '')], goes('FRAME_SIZE_ERROR')],
  // §6.2: HEADERS
  ['HEADERS on stream 0', [headers(0, OK)], goes('PROTOCOL_ERROR')],
  ['padding as long as its HEADERS', [head(WAITING, END_HEADERS | PADDED, Buffer.of(2, 0x88))], goes('PROTOCOL_ERROR')],
  ['padded HEADERS without a length', [head(WAITING, END_HEADERS | PADDED, Buffer.alloc(0))], goes('FRAME_SIZE_ERROR')],
  ['HEADERS without its priority', [head(WAITING, END_HEADERS | PRIORITY, Buffer.alloc(4))], goes('FRAME_SIZE_ERROR')],
  // §6.3: PRIORITY
  ['PRIORITY on stream 0', [frameOf(Type.PRIORITY, 0, 0, Buffer.alloc(5))], goes('PROTOCOL_ERROR')],
  ['PRIORITY of 4 bytes', [frameOf(Type.PRIORITY, 0, WAITING, Buffer.alloc(4))], goes('FRAME_SIZE_ERROR')],
  // §6.4: RST_STREAM
  ['RST_STREAM on stream 0', [rstStream(0, 8)], goes('PROTOCOL_ERROR')],
  ['RST_STREAM of 3 bytes', [frameOf(Type.RST_STREAM, 0, WAITING, 'abc')], goes('FRAME_SIZE_ERROR')],
  ['RST_STREAM of 5 bytes', [frameOf(Type.RST_STREAM, 0, WAITING, 'abcde')], goes('FRAME_SIZE_ERROR')],
  // §6.5: SETTINGS
  ['SETTINGS on a stream', [frameOf(Type.SETTINGS, 0, WAITING)], goes('PROTOCOL_ERROR')],
  ['acknowledgement on a stream', [frameOf(Type.SETTINGS, ACK, WAITING)], goes('PROTOCOL_ERROR')],
  ['acknowledgement with settings', [frameOf(Type.SETTINGS, ACK, 0, Buffer.alloc(6))], goes('FRAME_SIZE_ERROR')],
  ['SETTINGS of 5 bytes', [frameOf(Type.SETTINGS, 0, 0, Buffer.alloc(5))], goes('FRAME_SIZE_ERROR')],
  ['ENABLE_PUSH 1', [settings([ENABLE_PUSH, 1])], goes('PROTOCOL_ERROR')],
  ['ENABLE_PUSH 2', [settings([ENABLE_PUSH, 2])], goes('PROTOCOL_ERROR')],
  ['ENABLE_PUSH 0', [settings([ENABLE_PUSH, 0])], 'nothing'],
  ['INITIAL_WINDOW_SIZE 2^31', [settings([INITIAL_WINDOW_SIZE, 2 ** 31])], goes('FLOW_CONTROL_ERROR')],
  ['MAX_FRAME_SIZE 16 383', [settings([MAX_FRAME_SIZE, 16_383])], goes('PROTOCOL_ERROR')],
  ['MAX_FRAME_SIZE 2^24', [settings([MAX_FRAME_SIZE, 2 ** 24])], goes('PROTOCOL_ERROR')],
  ['an unasked acknowledgement', [frameOf(Type.SETTINGS, ACK, 0)], 'nothing'],
  // §6.6: PUSH_PROMISE, which was switched off
  ['PUSH_PROMISE', [frameOf(Type.PUSH_PROMISE, END_HEADERS, WAITING, uint32(2))], goes('PROTOCOL_ERROR')],
  // §6.7: PING
  ['PING on a stream', [frameOf(Type.PING, 0, WAITING, '12345678')], goes('PROTOCOL_ERROR')],
  ['PING of 7 bytes', [frameOf(Type.PING, 0, 0, '1234567')], goes('FRAME_SIZE_ERROR')],
  ['PING of 9 bytes', [frameOf(Type.PING, ACK, 0, '123456789')], goes('FRAME_SIZE_ERROR')],
  // §6.8: GOAWAY
  ['GOAWAY on a stream', [frameOf(Type.GOAWAY, 0, WAITING, uint32(1, 0))], goes('PROTOCOL_ERROR')],
  ['GOAWAY of 7 bytes', [frameOf(Type.GOAWAY, 0, 0, Buffer.alloc(7))], goes('FRAME_SIZE_ERROR')],
  // §6.9: WINDOW_UPDATE
  ['WINDOW_UPDATE of 0', [windowUpdate(0, 0)], goes('PROTOCOL_ERROR')],
  ['WINDOW_UPDATE of 0 on a stream', [windowUpdate(WAITING, 0)], resetsWith('PROTOCOL_ERROR')],
  ['WINDOW_UPDATE of 3 bytes', [frameOf(Type.WINDOW_UPDATE, 0, 0, 'abc')], goes('FRAME_SIZE_ERROR')],
  ['WINDOW_UPDATE of 5 bytes', [frameOf(Type.WINDOW_UPDATE, 0, WAITING, 'abcde')], goes('FRAME_SIZE_ERROR')],
  ['window of 2^31', [windowUpdate(0, 2 ** 31 - 65_535)], goes('FLOW_CONTROL_ERROR')],
  ['window of 2^31 for a stream', [windowUpdate(WAITING, 2 ** 31 - 65_535)], resetsWith('FLOW_CONTROL_ERROR')],
  [
    'window of 2^31 for a stream by SETTINGS',
    [windowUpdate(WAITING, 1), settings([INITIAL_WINDOW_SIZE, 2 ** 31 - 1])],
    goes('FLOW_CONTROL_ERROR'),
  ],
  ['windows of 2^31 - 1', [windowUpdate(0, 2 ** 31 - 65_536), windowUpdate(WAITING, 2 ** 31 - 65_536)], 'nothing'],
  // §6.10: CONTINUATION
  ['CONTINUATION without HEADERS', [continuation(WAITING, END_HEADERS)], goes('PROTOCOL_ERROR')],
  ['CONTINUATION after the end', [full.ok, continuation(WAITING, END_HEADERS)], goes('PROTOCOL_ERROR')],
  [
    'CONTINUATION of another stream',
    [head(WAITING, 0, block(...OK)), continuation(ANSWERED, END_HEADERS)],
    goes('PROTOCOL_ERROR'),
  ],
  ['CONTINUATION on stream 0', [head(WAITING, 0, block(...OK)), continuation(0, END_HEADERS)], goes('PROTOCOL_ERROR')],
  ['HEADERS within a block', [head(WAITING, 0, block(...OK)), headers(ANSWERED, OK)], goes('PROTOCOL_ERROR')],
  ['DATA within a block', [head(WAITING, 0, block(...OK)), data(ANSWERED, 'x')], goes('PROTOCOL_ERROR')],
  [
    'PING within a block',
    [head(WAITING, 0, block(...OK)), frameOf(Type.PING, 0, 0, '12345678')],
    goes('PROTOCOL_ERROR'),
  ],
  ['an unknown frame within a block', [head(WAITING, 0, block(...OK)), frameOf(0xee, 0, 0)], goes('PROTOCOL_ERROR')],
  // §8.1: order of a response
  ['DATA before the head', [data(WAITING, 'x')], resetsWith('PROTOCOL_ERROR')],
  ['empty DATA before the head', [data(WAITING, '', END_STREAM)], resetsWith('PROTOCOL_ERROR')],
  [
    'DATA after an interim head',
    [headers(WAITING, [':status', '100']), data(WAITING, 'x')],
    resetsWith('PROTOCOL_ERROR'),
  ],
  ['interim head that ends', [headers(WAITING, [':status', '100'], END_STREAM)], resetsWith('PROTOCOL_ERROR')],
  ['status 101', [headers(WAITING, [':status', '101'])], resetsWith('PROTOCOL_ERROR')],
  ['a second head', [headers(ANSWERED, OK)], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  ['trailers that do not end', [headers(ANSWERED, ['a', 'b'])], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  ['trailers with a status', [headers(ANSWERED, OK, END_STREAM)], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  // §8.2: fields
  ...(
    [
      ['no fields', []],
      ['no status', ['a', 'b']],
      ['two statuses', [...OK, ...OK]],
      ['status after a field', ['a', 'b', ...OK]],
      ['status of two digits', [':status', '20']],
      ['status of four digits', [':status', '2000']],
      ['status below 100', [':status', '099']],
      ['status that is no number', [':status', 'abc']],
      ['empty status', [':status', '']],
      ['pseudo-header field of a request', [...OK, ':path', '/']],
      ['unknown pseudo-header field', [...OK, ':x', 'y']],
      ['empty pseudo-header name', [...OK, ':', 'y']],
      ['upper case', [...OK, 'Content-Type', 'x']],
      ['empty name', [...OK, '', 'x']],
      ['space in a name', [...OK, 'a b', 'x']],
      ['colon in a name', [...OK, 'a:b', 'x']],
      ['control character in a name', [...OK, 'a\x7f', 'x']],
      ['NUL in a name', [...OK, 'a\0', 'x']],
      ['byte beyond ASCII in a name', [...OK, '\xe4', 'x']],
      ['NUL in a value', [...OK, 'a', 'x\0y']],
      ['CR in a value', [...OK, 'a', 'x\ry']],
      ['LF in a value', [...OK, 'a', 'x\ny']],
      ['space before a value', [...OK, 'a', ' x']],
      ['space after a value', [...OK, 'a', 'x ']],
      ['tab before a value', [...OK, 'a', '\tx']],
      ['tab after a value', [...OK, 'a', 'x\t']],
      ['connection', [...OK, 'connection', 'close']],
      ['proxy-connection', [...OK, 'proxy-connection', 'close']],
      ['keep-alive', [...OK, 'keep-alive', 'x']],
      ['transfer-encoding', [...OK, 'transfer-encoding', 'chunked']],
      ['upgrade', [...OK, 'upgrade', 'h2c']],
    ] as const
  ).map(([name, fields]): [string, Buffer[], Answer] => [
    `head: ${name}`,
    [headers(WAITING, fields)],
    resetsWith('PROTOCOL_ERROR'),
  ]),
  ['trailers: upper case', [headers(ANSWERED, ['A', 'b'], END_STREAM)], resetsWith('PROTOCOL_ERROR', ANSWERED)],
  ['value of any other byte', [headers(WAITING, [...OK, 'a', '\x01\x7f\x80\xff x\ty', 'b', ''])], 'nothing'],
];

breaches('should each be answered with their code', async () => {
  for (const [name, bytes, answer] of BREACHES) {
    await withPeer(async ({ connection, peer, request, closed, events }) => {
      const [waiting, answered, complete, cancelled] = [hear(), hear(), hear(), hear()];
      request(waiting);
      request(answered);
      request(complete);
      const stream = request(cancelled);
      connection.cancel(stream);
      peer.send(headers(ANSWERED, OK), headers(COMPLETE, OK, END_STREAM));
      await complete.closed();
      await peer.take(Type.RST_STREAM, CANCELLED);

      peer.send(...bytes);
      if (typeof answer === 'object' && 'goaway' in answer) {
        const code = ErrorCode[answer.goaway];
        const error = await closed();
        assert.is(error.code, code, name);
        assert.is(error.from, 'local', name);
        assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, code), name);
        assert.is(await answered.closed(), error, name);
        await waiting.closed();
        assert.is(connection.state, 'closed', name);
        await within(5000, peer.closed, 'the socket to close');
        return;
      }
      await peer.settle();
      assert.is(connection.state, 'open', name);
      assert.equal(events, ['open'], name);
      const [reset, ...more] = of(peer.frames, Type.RST_STREAM).slice(1);
      assert.equal(more, [], name);
      if (answer === 'nothing') {
        assert.is(reset, undefined, name);
        assert.is(answered.events.includes('close'), false, name);
        return;
      }
      assert.equal([reset?.streamId, reset?.payload], [answer.stream, uint32(ErrorCode[answer.reset])], name);
      const [hurt, well] = answer.stream === WAITING ? [waiting, answered] : [answered, waiting];
      const error = await hurt.closed();
      assert.equal([error?.code, error?.from, error?.isRefused], [ErrorCode[answer.reset], 'local', false], name);
      // the others go on
      assert.is(well.events.includes('close'), false, name);
      peer.send(well === waiting ? headers(WAITING, OK, END_STREAM) : data(ANSWERED, '', END_STREAM));
      assert.is(await well.closed(), undefined, name);
    });
  }
});

breaches('should end a connection that does not begin with SETTINGS', async () => {
  for (const [name, bytes] of [
    ['HTTP/1.1', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['acknowledgement', frameOf(Type.SETTINGS, ACK, 0)],
    ['PING', frameOf(Type.PING, 0, 0, '12345678')],
    ['HEADERS', headers(1, OK)],
    ['DATA', data(1, 'x')],
    ['GOAWAY', goaway(0, 0)],
    ['WINDOW_UPDATE', windowUpdate(0, 1)],
    ['an unknown frame', frameOf(0xee, 0, 0)],
    ['bad SETTINGS', settings([ENABLE_PUSH, 1])],
  ] as const) {
    const server = await listen();
    const { closed, events, connection } = openWatched(server.path);
    const peer = await server.accept();
    peer.send(bytes);
    const error = await closed();
    const code = name === 'HTTP/1.1' ? ErrorCode.FRAME_SIZE_ERROR : ErrorCode.PROTOCOL_ERROR;
    assert.is(error.code, code, name);
    assert.equal((await peer.take(Type.GOAWAY)).payload, uint32(0, code), name);
    assert.equal(events, ['close'], name);
    assert.is(connection.state, 'closed', name);
    peer.socket.destroy();
    server.close();
  }
});

for (const tests of [
  opening,
  exchanges,
  sending,
  receiving,
  settling,
  blocks,
  pings,
  resets,
  goaways,
  draining,
  ends,
  breaches,
]) {
  tests.run();
}
