import * as assert from 'uvu/assert';
import { STREAM_WINDOW } from '../../src/h2/connection.ts';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { suite, within } from '../helpers.ts';
import {
  bodyOf,
  data,
  Flag,
  frameOf,
  framesOf,
  headers,
  hear,
  OK,
  pattern,
  REQUEST,
  type Received,
  Setting,
  settings,
  Type,
  uint32,
  windowUpdate,
  withPeer,
} from './peer.ts';

const { END_STREAM, PADDED } = Flag;
const { INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE } = Setting;
const MIB = 1024 * 1024;

/** Credit that the client has given on a stream, or on the connection after its opening. */
const creditOf = (frames: readonly Received[], streamId: number): number =>
  framesOf(frames, Type.WINDOW_UPDATE, streamId)
    .slice(streamId === 0 ? 1 : 0)
    .reduce((sum, { payload }) => sum + payload.readUInt32BE(0), 0);

const sending = suite('h2 flow control: what the peer takes');

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
    const flags = framesOf(peer.frames, Type.DATA).map(frame => frame.flags);
    assert.equal(flags.slice(-1), [END_STREAM]);
    assert.is(flags.filter(flag => flag === END_STREAM).length, 1);
    assert.ok(framesOf(peer.frames, Type.DATA).every(({ payload }) => payload.length <= 16_384 && payload.length > 0));
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
        framesOf(peer.frames, Type.DATA).map(({ payload }) => payload.toString()),
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
      const sizes = (id: number): number[] => framesOf(peer.frames, Type.DATA, id).map(({ payload }) => payload.length);
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
      const before = framesOf(peer.frames, Type.DATA).length;
      peer.send(windowUpdate(0, 6 * 16_384));
      await peer.settle();
      const turns = framesOf(peer.frames, Type.DATA).slice(before);
      assert.ok(turns.every(({ payload }) => payload.length === 16_384));
      const share = streams.map(({ id }) => turns.filter(({ streamId }) => streamId === id).length);
      assert.equal(share, [2, 2, 2]);
      // byte by byte, too: whoever went goes to the end of the line
      for (let i = 0; i < 6; i++) {
        peer.send(windowUpdate(0, 1));
        await peer.settle();
      }
      const last = framesOf(peer.frames, Type.DATA).slice(-6);
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

sending('should send nothing more of a stream that onDrain of another has cancelled', async () => {
  await withPeer(
    async ({ connection, peer }) => {
      const first = connection.request(REQUEST, { ...hear().listener, onDrain: () => connection.cancel(second) });
      const second = connection.request(REQUEST, hear().listener);
      for (const stream of [first, second]) connection.write(stream, [Buffer.alloc(20)], true);
      peer.send(settings([INITIAL_WINDOW_SIZE, 30]));
      await peer.settle();
      assert.is(bodyOf(peer.frames, first.id).length, 20);
      assert.is(bodyOf(peer.frames, second.id).length, 10);
      assert.is(peer.frames.filter(({ streamId }) => streamId === second.id).pop()?.type, Type.RST_STREAM);
    },
    settings([INITIAL_WINDOW_SIZE, 10]),
  );
});

const receiving = suite('h2 flow control: what it takes');

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

sending.run();
receiving.run();
