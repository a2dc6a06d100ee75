import type { Socket } from 'node:net';
import { createServer } from 'node:net';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { type CallListener, openCall } from '../src/grpc/call.ts';
import { createMessageReader, frameMessage } from '../src/grpc/message.ts';
import { GrpcError } from '../src/grpc/status.ts';
import { H2Error } from '../src/h2/error.ts';
import { createFrameReader } from '../src/h2/frame.ts';
import { decodeBlock, encodeBlock, type Fields } from '../src/h2/hpack.ts';
import {
  FunctionProfile,
  InvokeErrorResponse,
  InvokeRequest,
  ServiceProfilesAccessor,
  WorkerStatsSnapshotResponse,
} from '../src/noslate/messages.ts';
import { ResponseReader } from '../src/noslate/response.ts';
import { type MessageCodec, ProtobufError } from '../src/protobuf.ts';
import { block, Flag, frameOf, OK, openWatched, settings, socketPath, Type, uint32 } from './h2/peer.ts';
import { suite } from './helpers.ts';
import { encode } from './planes/protocol.ts';

// Bytes that no peer in its right mind would send, to everything that reads a peer's bytes: each of them ends in a
// right result or in an error of the reader's own type, and in the same one wherever the bytes are cut.
//
//   FUZZ_RUNS   cases in all, 100 000 by default
//   FUZZ_SEED   to repeat a run; in CI always the same

const RUNS = Number(process.env['FUZZ_RUNS'] ?? 100_000);
const SEED = Number(process.env['FUZZ_SEED'] ?? (process.env['CI'] === undefined ? Date.now() % 2 ** 31 : 1));

/** Cases that were run. */
let cases = 0;

const options = (share: number): fc.Parameters<unknown> => ({ seed: SEED, numRuns: Math.ceil(RUNS * share) });

/** Bytes, with some of them changed, left out, or put in. */
function mutated(bytes: fc.Arbitrary<Buffer>): fc.Arbitrary<Buffer> {
  const edit = fc.record({
    // a part of the whole, since its length is not known yet
    at: fc.integer({ min: 0, max: 0xffff }),
    kind: fc.constantFrom('set', 'flip', 'cut', 'put', 'end', 'again'),
    byte: fc.integer({ min: 0, max: 255 }),
  });
  return fc.tuple(bytes, fc.array(edit, { maxLength: 4 })).map(([original, edits]) => {
    let result = original;
    for (const { at, kind, byte } of edits) {
      const place = Math.floor((at * result.length) / 0x10000);
      const [before, after] = [result.subarray(0, place), result.subarray(place)];
      if (kind === 'set') result = Buffer.concat([before, Buffer.of(byte), after.subarray(1)]);
      else if (kind === 'flip')
        result = Buffer.concat([before, Buffer.of((after[0] ?? 0) ^ (1 << (byte & 7))), after.subarray(1)]);
      else if (kind === 'cut') result = Buffer.concat([before, after.subarray(byte & 15)]);
      else if (kind === 'put') result = Buffer.concat([before, Buffer.alloc(byte & 15, byte), after]);
      else if (kind === 'end') result = before;
      else result = Buffer.concat([result, after]);
    }
    return result;
  });
}

const noise = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map(array => Buffer.from(array));

/** Where reads end: sizes of chunks; what is left is the last one. */
const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 });

function split(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const chunks: Buffer[] = [];
  let at = 0;
  for (const size of sizes) {
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return [...chunks, bytes.subarray(at)];
}

/** Runs a reader over bytes; gives the name and code of what it threw, if that is one of ours. */
function outcome(run: () => void): string {
  try {
    run();
  } catch (error) {
    if (error instanceof H2Error || error instanceof GrpcError) return `${error.name} ${error.code}`;
    if (error instanceof ProtobufError) return error.name;
    throw error;
  }
  return 'ok';
}

// ---- what a peer could send

const text = fc.string({ unit: fc.constantFrom(...'abcxyz-0129 \t\0\r\nA:\xe4'), maxLength: 20 });
const literals = fc.array(text, { maxLength: 8 }).map(texts => block(...texts.slice(0, texts.length & ~1)));
/** Header blocks: static, literal, Huffman-coded, and what looks like it. */
const headerBlock = fc.oneof(
  fc.constantFrom(
    ...['88', '8882', '20', '3f00', '48826402', '6e919d29ad171863c78f0b97c8e9ae82ae43d3', '0f2d0161', '7fffffff7f'].map(
      hex => Buffer.from(hex, 'hex'),
    ),
  ),
  literals,
  literals.map(bytes => Buffer.concat([block(...OK, 'content-type', 'application/grpc'), bytes])),
  fc.constant(block(...OK, 'content-type', 'application/grpc')),
  fc.constantFrom('0', '5', '99', 'x').map(code => block('grpc-status', code, 'grpc-message', 'a%20b%')),
);

const streamId = fc.constantFrom(0, 1, 1, 1, 3, 3, 5, 2, 7, 0x7fffffff, 0x80000001);
const bits = fc.constantFrom(0, 0, 1, 4, 5, 4, 8, 0x20, 0x2d, 0xff);
const word = fc.constantFrom(0, 1, 2, 5, 8, 11, 16_384, 65_535, 2 ** 31 - 1, 2 ** 32 - 1);
const grpcMessage = fc.oneof(
  noise(30).map(frameMessage),
  fc.constantFrom('0100000001', '00ffffffff', '0000', '0000a00001').map(hex => Buffer.from(hex, 'hex')),
);
const anyFrame = fc.oneof(
  fc.tuple(streamId, bits, grpcMessage).map(([id, flags, bytes]) => frameOf(Type.DATA, flags, id, bytes)),
  fc.tuple(streamId, bits, headerBlock).map(([id, flags, bytes]) => frameOf(Type.HEADERS, flags, id, bytes)),
  fc.tuple(streamId, bits, headerBlock).map(([id, flags, bytes]) => frameOf(Type.CONTINUATION, flags, id, bytes)),
  fc.tuple(streamId, word).map(([id, code]) => frameOf(Type.RST_STREAM, 0, id, uint32(code))),
  fc
    .array(fc.tuple(fc.integer({ min: 0, max: 8 }), word), { maxLength: 3 })
    .map(pairs => settings(...(pairs as [number, number][]))),
  fc.constantFrom(frameOf(Type.SETTINGS, Flag.ACK, 0), frameOf(Type.PING, 0, 0, '12345678')),
  fc
    .tuple(fc.constantFrom(0, 1, 3, 2 ** 31 - 1), word)
    .map(([id, code]) => frameOf(Type.GOAWAY, 0, 0, uint32(id, code))),
  fc.tuple(streamId, word).map(([id, increment]) => frameOf(Type.WINDOW_UPDATE, 0, id, uint32(increment))),
  fc
    .tuple(fc.integer({ min: 0, max: 255 }), bits, streamId, noise(20))
    .map(([type, flags, id, bytes]) => frameOf(type, flags, id, bytes)),
);
/** Responses as they should be: most of what is wrong with others comes from mutation. */
const response = fc
  .tuple(fc.constantFrom(1, 3, 5), fc.array(grpcMessage, { maxLength: 4 }), fc.constantFrom('0', '5'))
  .map(([id, bodies, status]) =>
    Buffer.concat([
      frameOf(Type.HEADERS, Flag.END_HEADERS, id, block(...OK, 'content-type', 'application/grpc')),
      ...bodies.map(body => frameOf(Type.DATA, 0, id, body)),
      frameOf(Type.HEADERS, Flag.END_HEADERS | Flag.END_STREAM, id, block('grpc-status', status)),
    ]),
  );
const frames = fc.array(fc.oneof(anyFrame, response), { maxLength: 8 }).map(all => Buffer.concat(all));
const traffic = fc.oneof({ weight: 1, arbitrary: noise(100) }, { weight: 6, arbitrary: mutated(frames) });

const fuzz = suite(`fuzz, seed ${SEED}`);

fuzz('should cut frames, or refuse them, the same wherever reads end', () => {
  const trace = (chunks: readonly Buffer[]): string[] => {
    const lines: string[] = [];
    const read = createFrameReader({
      onFrame: (type, flags, id, payload) => lines.push(`${type} ${flags} ${id} ${payload.toString('hex')}`),
      onDataFrame: (flags, id, length) => lines.push(`DATA ${flags} ${id} ${length} `),
      onDataPiece(piece) {
        lines[lines.length - 1] += piece.toString('hex');
      },
      onDataEnd: () => lines.push('end'),
    });
    const end = outcome(() => {
      for (const chunk of chunks) read(chunk);
    });
    return [...lines, end];
  };
  fc.assert(
    fc.property(traffic, cuts, (bytes, sizes) => {
      cases++;
      assert.equal(trace(split(bytes, sizes)), trace([bytes]));
    }),
    options(0.3),
  );
});

fuzz('should decode header blocks, or refuse them', () => {
  fc.assert(
    fc.property(fc.oneof(noise(60), mutated(fc.array(headerBlock, { maxLength: 4 }).map(Buffer.concat))), bytes => {
      cases++;
      let fields: Fields | undefined;
      const end = outcome(() => {
        fields = decodeBlock(bytes, 500);
      });
      if (end !== 'ok') {
        assert.is(end, 'H2Error 9');
        return;
      }
      if (fields === undefined) return;
      assert.is(fields.length % 2, 0);
      assert.ok(fields.join('').length + 16 * fields.length <= 500);
      assert.equal(decodeBlock(encodeBlock(fields), 500), fields);
    }),
    options(0.25),
  );
});

fuzz('should cut messages, or refuse them, the same wherever pieces end', () => {
  const trace = (chunks: readonly Buffer[]): string[] => {
    const lines: string[] = [];
    const reader = createMessageReader(
      {
        onMessage: length => lines.push(`${length} `),
        onPiece(piece) {
          lines[lines.length - 1] += piece.toString('hex');
        },
        onMessageEnd: () => lines.push('end'),
      },
      1000,
    );
    let prefixes = 0;
    const end = outcome(() => {
      for (const chunk of chunks) prefixes += reader.read(chunk);
    });
    return end === 'ok' ? [...lines, `${prefixes} ${reader.isBetweenMessages()}`] : [...lines, end];
  };
  const bodies = mutated(fc.array(grpcMessage, { maxLength: 6 }).map(Buffer.concat));
  fc.assert(
    fc.property(fc.oneof(noise(40), bodies), cuts, (bytes, sizes) => {
      cases++;
      assert.equal(trace(split(bytes, sizes)), trace([bytes]));
    }),
    options(0.15),
  );
});

fuzz('should read responses, or refuse them, the same wherever pieces end', () => {
  const trace = (chunks: readonly Buffer[]): string[] => {
    const lines: string[] = [''];
    let returned = 0;
    const reader = new ResponseReader(
      {
        onHead: (status, headers) => lines.push(`head ${status} ${headers}`, ''),
        onBody(piece) {
          lines[lines.length - 1] += piece.toString('hex');
        },
        onError: ({ name, message }) => lines.push(`${name} ${message}`),
      },
      bytes => {
        returned += bytes;
      },
    );
    const messages = createMessageReader(reader, 1000);
    const end = outcome(() => {
      for (const chunk of chunks) returned += messages.read(chunk);
    });
    // what is refused is given back with the call, and the reader need not have come to the piece's end
    return end === 'ok' && lines.length % 2 === 1 ? [...lines, `${returned}`] : lines;
  };
  const fields = fc.array(
    fc.oneof(
      noise(60).map(body => ({ result: { status: 200, body } })),
      noise(60).map(body => ({ result: { body } })),
      text.map(key => ({ result: { status: -1, headers: [{ key, value: key }] } })),
      fc.integer().map(code => ({ error: { name: 'Error', message: 'x', code } })),
    ),
    { maxLength: 4 },
  );
  const valid = fields.map(all =>
    Buffer.concat(all.map(item => frameMessage(encode('noslated.data.InvokeResponse', item)))),
  );
  const bodies = mutated(fc.oneof(valid, fc.array(noise(30).map(frameMessage), { maxLength: 4 }).map(Buffer.concat)));
  fc.assert(
    fc.property(bodies, cuts, (bytes, sizes) => {
      cases++;
      assert.equal(trace(split(bytes, sizes)), trace([bytes]));
    }),
    options(0.1),
  );
});

fuzz('should decode messages, or refuse them', () => {
  const codecs: readonly MessageCodec<object>[] = [
    InvokeRequest,
    InvokeErrorResponse,
    FunctionProfile,
    WorkerStatsSnapshotResponse,
    ServiceProfilesAccessor,
  ];
  const valid = fc.oneof(
    fc.record({ name: text, headers: fc.array(text, { maxLength: 4 }), body: noise(200) }).map(({ headers, ...rest }) =>
      InvokeRequest.encode({
        ...rest,
        headers: headers.slice(0, headers.length & ~1),
        deadline: 1.5,
        requestId: 'r',
      }),
    ),
    fc.integer().map(code => InvokeErrorResponse.encode({ name: 'Error', message: 'x', code })),
    fc.constant(
      FunctionProfile.encode({ name: 'f', resourceLimit: { memory: 5, cpu: 0.5 }, worker: { v8Options: ['a'] } }),
    ),
    fc.constant(
      WorkerStatsSnapshotResponse.encode({ brokers: [{ name: 'f', inspector: true, activeWorkerCount: 1 }] }),
    ),
  );
  fc.assert(
    fc.property(fc.oneof(noise(60), mutated(valid)), fc.constantFrom(...codecs), (bytes, codec) => {
      cases++;
      const end = outcome(() => {
        const value = codec.decode(bytes);
        assert.equal(codec.decode(codec.encode(value)), value);
      });
      assert.ok(end === 'ok' || end === 'ProtobufError', end);
    }),
    options(0.2),
  );
});

fuzz('should live through any traffic on a connection, and end it', async () => {
  const path = socketPath();
  let accepted: (socket: Socket) => void = () => {};
  const server = createServer(socket => accepted(socket)).listen(path);
  const METHOD = '/a/b';
  const opened = settings([4, 10]);
  await fc.assert(
    fc.asyncProperty(traffic, cuts, fc.boolean(), async (bytes, sizes, isConsumed) => {
      cases++;
      const socket = new Promise<Socket>(done => {
        accepted = done;
      });
      const { connection, ...watched } = openWatched(path);
      const peer = await socket;
      peer.on('error', () => {});
      peer.resume();
      peer.write(opened);
      await watched.opened();

      const ends: (GrpcError | undefined)[][] = [];
      let messages = 0;
      for (let i = 0; i < 3; i++) {
        const closes: (GrpcError | undefined)[] = [];
        ends.push(closes);
        const listener: CallListener = {
          onMessage() {
            assert.is(closes.length, 0, 'nothing after the end');
            messages++;
          },
          onPiece(piece) {
            if (isConsumed) call.consume(piece.length);
          },
          onMessageEnd() {},
          onDrain() {},
          onClose: error => closes.push(error),
        };
        const call = openCall(connection, METHOD, listener);
        call.send([frameMessage(Buffer.from('more than the window'))], true);
      }
      // each chunk is a read of its own, mostly
      for (const chunk of split(bytes, sizes)) {
        peer.write(chunk);
        if (chunk.length > 0 && sizes.length > 6) await new Promise(done => setImmediate(done));
      }
      peer.end();

      assert.instance(await watched.closed(), H2Error);
      assert.is(connection.state, 'closed');
      assert.is(connection.streams, 0);
      assert.ok(messages <= bytes.length);
      for (const closes of ends) {
        assert.is(closes.length, 1, 'each call ends once');
        assert.ok(closes[0] === undefined || closes[0] instanceof GrpcError);
      }
      peer.destroy();
    }),
    options(0.1),
  );
  server.close();
});

fuzz('should have used little memory', () => {
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  console.log(`${cases} cases, ${((heapUsed + arrayBuffers) / 2 ** 20).toFixed(0)} MiB in use`);
  assert.ok(cases >= RUNS);
  assert.ok(heapUsed + arrayBuffers < 512 * 2 ** 20);
});

fuzz.run();
