import * as assert from 'uvu/assert';
import { STREAM_WINDOW } from '../../src/h2/connection.ts';
import * as ErrorCode from '../../src/h2/error-code.ts';
import { suite, within } from '../helpers.ts';
import {
  block,
  bodyOf,
  continuation,
  data,
  Flag,
  frameOf,
  framesOf,
  goaway,
  head,
  headers,
  hear,
  listen,
  OK,
  openWatched,
  type Pair,
  PREFACE,
  pattern,
  REQUEST,
  rstStream,
  Setting,
  settings,
  socketPath,
  Type,
  uint32,
  windowUpdate,
  withPeer,
} from './peer.ts';

const { END_STREAM, END_HEADERS, PADDED, PRIORITY, ACK } = Flag;
const { HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_HEADER_LIST_SIZE } = Setting;
const MIB = 1024 * 1024;

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
  const { closed } = openWatched(`/nowhere/${'x'.repeat(200)}`);
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
    assert.equal(framesOf(peer.frames, Type.RST_STREAM), []);
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
    const sent = framesOf(peer.frames, Type.DATA, 1);
    assert.is(bodyOf(peer.frames, 1).length, 65_535);
    assert.equal(sent.map(({ flags }) => flags).slice(-2), [0, END_STREAM]);
    assert.is(sent[sent.length - 1]?.payload.length, 0);
    assert.equal(framesOf(peer.frames, Type.RST_STREAM), []);
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
      const [, end] = framesOf(peer.frames, Type.DATA, id);
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
    assert.is(framesOf(peer.frames, Type.DATA).length, 1);
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
    assert.is(framesOf(peer.frames, Type.RST_STREAM).length, 1);
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
    assert.is(framesOf(peer.frames, Type.PING).length, 2);
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
    const [ping, ...more] = framesOf(peer.frames, Type.PING).filter(({ flags }) => flags === 0);
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
      await new Promise(done => setTimeout(done, 5500));
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
        assert.equal(framesOf(peer.frames, Type.RST_STREAM), []);
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
              framesOf(peer.frames, Type.RST_STREAM).map(({ streamId, payload }) => [
                streamId,
                payload.readUInt32BE(0),
              ]),
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
    assert.equal(framesOf(peer.frames, Type.RST_STREAM), []);
  });
});

resets('should be sent by a cancel from within each event of a stream', async () => {
  for (const event of ['onHeaders', 'onData'] as const) {
    await withPeer(async ({ connection, peer }) => {
      const heard = hear();
      const stream = connection.request(REQUEST, { ...heard.listener, [event]: () => connection.cancel(stream) });
      peer.send(headers(1, OK), data(1, 'body'), headers(1, ['a', 'b'], END_STREAM));
      await peer.settle();
      assert.is(framesOf(peer.frames, Type.RST_STREAM).length, 1, event);
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
    assert.is(framesOf(peer.frames, Type.RST_STREAM).length, 500);
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

for (const tests of [opening, exchanges, settling, blocks, pings, resets, goaways, draining, ends]) tests.run();
