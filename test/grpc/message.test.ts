import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { createMessageReader, frameMessage, MAX_MESSAGE_BYTES, writePrefix } from '../../src/grpc/message.ts';
import { GrpcError } from '../../src/grpc/status.ts';
import * as Status from '../../src/grpc/status-code.ts';
import { suite } from '../helpers.ts';

/** Reads chunks: the messages, prefixes counted, and whether it ends between messages. */
function cut(
  chunks: readonly Buffer[],
  maxBytes?: number,
): { messages: string[]; prefixes: number; isBetween: boolean } {
  const messages: string[] = [];
  let pieces: Buffer[] = [];
  let length = -1;
  const reader = createMessageReader(
    {
      onMessage(bytes) {
        assert.is(length, -1, 'a message begins after the end of the last');
        length = bytes;
      },
      onPiece(piece) {
        assert.ok(piece.length > 0 && length >= 0);
        pieces.push(piece);
      },
      onMessageEnd() {
        const message = Buffer.concat(pieces);
        assert.is(message.length, length);
        messages.push(message.toString('latin1'));
        pieces = [];
        length = -1;
      },
    },
    maxBytes,
  );
  let prefixes = 0;
  for (const chunk of chunks) prefixes += reader.read(chunk);
  return { messages, prefixes, isBetween: reader.isBetweenMessages() };
}

function inSteps(bytes: Buffer, step: number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += step) chunks.push(bytes.subarray(at, at + step));
  return chunks;
}

const failsWith =
  (code: number) =>
  (error: unknown): boolean =>
    error instanceof GrpcError && error.code === code;

const reading = suite('grpc message reader');

const MESSAGES = ['hello', '', 'x', '', '', 'v'.repeat(300), '\0\0\0\0\0'];
const BYTES = Buffer.concat(MESSAGES.map(message => frameMessage(Buffer.from(message))));
const WHOLE = { messages: MESSAGES, prefixes: 5 * MESSAGES.length, isBetween: true };

reading('should cut messages wherever a chunk ends', () => {
  assert.equal(cut([BYTES]), WHOLE);
  for (let at = 0; at <= BYTES.length; at++) assert.equal(cut([BYTES.subarray(0, at), BYTES.subarray(at)]), WHOLE);
  for (const step of [1, 2, 3, 5, 6, 7]) assert.equal(cut(inSteps(BYTES, step)), WHOLE, `${step} bytes at a time`);
});

reading('should cut any messages, cut anywhere', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 10 }),
      fc.array(fc.nat(40), { maxLength: 40 }),
      (messages, sizes) => {
        const bytes = Buffer.concat(messages.map(frameMessage));
        const chunks: Buffer[] = [];
        let at = 0;
        for (const size of sizes) {
          chunks.push(bytes.subarray(at, at + size));
          at += size;
        }
        chunks.push(bytes.subarray(at));
        const expected = messages.map(message => Buffer.from(message).toString('latin1'));
        assert.equal(cut(chunks), { messages: expected, prefixes: 5 * messages.length, isBetween: true });
      },
    ),
    { numRuns: 2000 },
  );
});

reading('should know whether it is inside a message', () => {
  const ends = new Set([0]);
  let sum = 0;
  for (const message of MESSAGES) {
    sum += 5 + message.length;
    ends.add(sum);
  }
  for (let at = 0; at <= BYTES.length; at++) {
    assert.is(cut([BYTES.subarray(0, at)]).isBetween, ends.has(at), `${at} bytes`);
  }
});

reading('should hand a piece on as soon as it is there, without a copy', () => {
  const pieces: Buffer[] = [];
  const heard: string[] = [];
  const reader = createMessageReader({
    onMessage: length => heard.push(`begin ${length}`),
    onPiece: piece => pieces.push(piece),
    onMessageEnd: () => heard.push('end'),
  });
  const bytes = frameMessage(Buffer.from('abcdef'));
  assert.is(reader.read(bytes.subarray(0, 8)), 5);
  assert.equal(heard, ['begin 6']);
  assert.equal(pieces.map(String), ['abc']);
  assert.is(pieces[0]?.buffer, bytes.buffer);
  assert.is(reader.read(bytes.subarray(8)), 0);
  assert.equal(pieces.map(String), ['abc', 'def']);
  assert.equal(heard, ['begin 6', 'end']);
});

reading('should refuse a message above the limit at its prefix', () => {
  assert.is(MAX_MESSAGE_BYTES, 10_485_760);
  const prefix = (length: number): Buffer => {
    const bytes = Buffer.alloc(5);
    writePrefix(bytes, 0, length);
    return bytes;
  };
  for (const length of [MAX_MESSAGE_BYTES + 1, 2 ** 31, 2 ** 32 - 1]) {
    assert.throws(() => cut([prefix(length)]), failsWith(Status.RESOURCE_EXHAUSTED), `${length}`);
    assert.throws(() => cut(inSteps(prefix(length), 1)), failsWith(Status.RESOURCE_EXHAUSTED), `${length}`);
  }
  assert.equal(cut([prefix(MAX_MESSAGE_BYTES)]), { messages: [], prefixes: 5, isBetween: false });
  assert.throws(() => cut([prefix(11)], 10), failsWith(Status.RESOURCE_EXHAUSTED));
  assert.equal(cut([prefix(10), Buffer.alloc(10, 'x')], 10).messages, ['xxxxxxxxxx']);
});

reading('should take 10 MiB in one message', () => {
  const bytes = frameMessage(Buffer.alloc(MAX_MESSAGE_BYTES, 'm'));
  let size = 0;
  let ends = 0;
  const reader = createMessageReader({
    onMessage() {},
    onPiece(piece) {
      size += piece.length;
    },
    onMessageEnd: () => ends++,
  });
  for (const chunk of inSteps(bytes, 16_384)) reader.read(chunk);
  assert.equal([size, ends, reader.isBetweenMessages()], [MAX_MESSAGE_BYTES, 1, true]);
});

reading('should refuse a compressed message by its first byte', () => {
  for (const flag of [1, 2, 255]) {
    assert.throws(() => cut([Buffer.of(flag)]), failsWith(Status.INTERNAL), `${flag}`);
    assert.throws(() => cut([BYTES, Buffer.of(flag, 0, 0, 0, 0)]), failsWith(Status.INTERNAL), `${flag}`);
  }
});

const writing = suite('grpc message writer');

writing('should put the flag and the length before a message', () => {
  assert.is(frameMessage(Buffer.alloc(0)).toString('hex'), '0000000000');
  assert.is(frameMessage(Buffer.from('abc')).toString('hex'), '0000000003616263');
  assert.is(frameMessage(Buffer.alloc(0x01_02_03)).subarray(0, 5).toString('hex'), '0000010203');
  const target = Buffer.alloc(9, 0xee);
  writePrefix(target, 2, 0xfedcba98);
  assert.is(target.toString('hex'), 'eeee00fedcba98eeee');
});

reading.run();
writing.run();
