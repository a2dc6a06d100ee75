import * as assert from 'uvu/assert';
import { H2Error } from '../../src/h2/error.ts';
import * as ErrorCode from '../../src/h2/error-code.ts';
import {
  createFrameReader,
  frame,
  goawayFrame,
  headerFragment,
  numberFrame,
  settingsFrame,
  writeFrameHeader,
} from '../../src/h2/frame.ts';
import { suite } from '../helpers.ts';
import { block, data, Flag, frameOf, goaway, headers, settings, Type, uint32, windowUpdate } from './peer.ts';

/** What a reader makes of chunks, each a line; the pieces of one DATA frame are joined. */
function cut(chunks: readonly Buffer[]): string[] {
  const lines: string[] = [];
  let pieces: Buffer[] = [];
  let begin = '';
  const read = createFrameReader({
    onFrame(type, flags, streamId, payload) {
      lines.push(`${type} ${flags} ${streamId} ${payload.toString('hex')}`);
    },
    onDataFrame(flags, streamId, length) {
      begin = `DATA ${flags} ${streamId} ${length}`;
    },
    onDataPiece(piece) {
      assert.ok(piece.length > 0, 'a piece has bytes');
      pieces.push(piece);
    },
    onDataEnd() {
      lines.push(`${begin} ${Buffer.concat(pieces).toString('hex')}`);
      pieces = [];
    },
  });
  for (const chunk of chunks) read(chunk);
  return lines;
}

const byByte = (bytes: Buffer): Buffer[] => [...bytes].map(byte => Buffer.of(byte));

const reading = suite('frame reader');

const SEQUENCE: readonly [Buffer, string][] = [
  [settings([3, 100]), '4 0 0 000300000064'],
  [settings(), '4 0 0 '],
  [headers(1, [':status', '200'], Flag.END_STREAM), `1 5 1 ${block(':status', '200').toString('hex')}`],
  [data(1, ''), 'DATA 0 1 0 '],
  [data(3, 'abc', Flag.END_STREAM), 'DATA 1 3 3 616263'],
  // three bytes of padding after two of data; nothing but padding; neither
  [data(3, '\x03ab\0\0\0', Flag.PADDED), 'DATA 8 3 6 6162'],
  [data(3, '\x02\0\0', Flag.PADDED), 'DATA 8 3 3 '],
  [data(3, '\0', Flag.PADDED), 'DATA 8 3 1 '],
  [data(3, '\0z', Flag.PADDED | Flag.END_STREAM), 'DATA 9 3 2 7a'],
  // flags and types that mean nothing, the reserved bit, the last stream id
  [frameOf(0xfa, 0xff, 0xffffffff, 'ext'), '250 255 2147483647 657874'],
  [frameOf(Type.PRIORITY, 0, 5, '\0\0\0\x03\x10'), '2 0 5 0000000310'],
  [windowUpdate(0, 1000), '8 0 0 000003e8'],
  [frameOf(Type.PING, Flag.ACK, 0, '12345678'), '6 1 0 3132333435363738'],
  [goaway(7, 2), '7 0 0 0000000700000002776879'],
];
const BYTES = Buffer.concat(SEQUENCE.map(([bytes]) => bytes));
const LINES = SEQUENCE.map(([, line]) => line);

reading('should cut frames that come together', () => {
  assert.equal(cut([BYTES]), LINES);
});

reading('should cut the same frames wherever a read ends', () => {
  for (let at = 0; at <= BYTES.length; at++) assert.equal(cut([BYTES.subarray(0, at), BYTES.subarray(at)]), LINES);
});

reading('should cut the same frames out of three reads', () => {
  for (let at = 0; at <= BYTES.length; at++) {
    for (let end = at; end <= Math.min(at + 24, BYTES.length); end++) {
      assert.equal(cut([BYTES.subarray(0, at), BYTES.subarray(at, end), BYTES.subarray(end)]), LINES);
    }
  }
});

reading('should cut the same frames byte by byte', () => {
  assert.equal(cut(byByte(BYTES)), LINES);
});

reading('should say a DATA frame before its bytes, and hand them on as they come', () => {
  const heard: string[] = [];
  const read = createFrameReader({
    onFrame: () => heard.push('frame'),
    onDataFrame: () => heard.push('begin'),
    onDataPiece: piece => heard.push(piece.toString()),
    onDataEnd: () => heard.push('end'),
  });
  const bytes = data(1, '\x02abcd\0\0', Flag.PADDED);
  let start = 0;
  for (const [end, news] of [
    [9, ['begin']],
    [10, []],
    [12, ['ab']],
    [13, ['c']],
    [15, ['d']],
    [16, ['end']],
  ] as const) {
    read(bytes.subarray(start, end));
    assert.equal(heard.splice(0), [...news], `${end} bytes`);
    start = end;
  }
});

reading('should copy no byte of a DATA frame', () => {
  const bytes = data(1, 'abcdef');
  const pieces: Buffer[] = [];
  const read = createFrameReader({
    onFrame() {},
    onDataFrame() {},
    onDataPiece: piece => pieces.push(piece),
    onDataEnd() {},
  });
  read(bytes);
  assert.is(pieces.length, 1);
  assert.is(pieces[0]?.buffer, bytes.buffer);
});

reading('should take 16 384 bytes, and refuse one more as soon as it is announced', () => {
  const largest = Buffer.alloc(16_384, 1);
  assert.equal(cut([frameOf(9, 0, 1, largest), data(1, largest)]), [
    `9 0 1 ${largest.toString('hex')}`,
    `DATA 0 1 16384 ${largest.toString('hex')}`,
  ]);
  for (const type of [Type.DATA, Type.HEADERS, Type.SETTINGS, 0xfa]) {
    const header = frameOf(type, 0, 1, Buffer.alloc(16_385)).subarray(0, 9);
    throwsH2(() => cut([header]), 'FRAME_SIZE_ERROR');
    throwsH2(() => cut(byByte(header)), 'FRAME_SIZE_ERROR');
  }
  throwsH2(() => cut([Buffer.from('ffffff000000000001', 'hex')]), 'FRAME_SIZE_ERROR');
});

reading('should refuse padding that its DATA frame has no room for', () => {
  throwsH2(() => cut([data(1, '', Flag.PADDED)]), 'FRAME_SIZE_ERROR');
  for (const payload of ['\x01', '\x03ab', '\xff']) {
    const bytes = frameOf(Type.DATA, Flag.PADDED, 1, Buffer.from(payload, 'latin1'));
    throwsH2(() => cut([bytes]), 'PROTOCOL_ERROR');
    throwsH2(() => cut(byByte(bytes)), 'PROTOCOL_ERROR');
  }
});

reading('should say nothing of a frame that is cut short', () => {
  for (let at = 0; at < 16; at++) assert.equal(cut([goaway(1, 0).subarray(0, at)]), []);
  for (let at = 0; at < 12; at++) assert.equal(cut([data(1, 'abc').subarray(0, at)]), []);
});

const fragments = suite('header fragment');

fragments('should take padding and priority away', () => {
  for (const [flags, payload, fragment] of [
    [0, 'abc', 'abc'],
    [0, '', ''],
    [Flag.PADDED, '\x02abc\0\0', 'abc'],
    [Flag.PADDED, '\0abc', 'abc'],
    [Flag.PADDED, '\x03\0\0\0', ''],
    [Flag.PADDED, '\0', ''],
    [Flag.PRIORITY, '\0\0\0\x01\x10abc', 'abc'],
    [Flag.PRIORITY, '\0\0\0\x01\x10', ''],
    [Flag.PADDED | Flag.PRIORITY, '\x01\0\0\0\x01\x10abc\0', 'abc'],
    [Flag.PADDED | Flag.PRIORITY, '\x01\0\0\0\x01\x10\0', ''],
  ] as const) {
    assert.is(headerFragment(flags, Buffer.from(payload)).toString(), fragment);
  }
});

fragments('should refuse what does not fit', () => {
  for (const [flags, payload, code] of [
    [Flag.PADDED, '', 'FRAME_SIZE_ERROR'],
    [Flag.PADDED, '\x01', 'PROTOCOL_ERROR'],
    [Flag.PADDED, '\x04abc', 'PROTOCOL_ERROR'],
    [Flag.PRIORITY, '', 'FRAME_SIZE_ERROR'],
    [Flag.PRIORITY, '\0\0\0\x01', 'FRAME_SIZE_ERROR'],
    [Flag.PADDED | Flag.PRIORITY, '\0\0\0\0\x01', 'FRAME_SIZE_ERROR'],
    [Flag.PADDED | Flag.PRIORITY, '\x01\0\0\0\x01\x10', 'PROTOCOL_ERROR'],
    [Flag.PADDED | Flag.PRIORITY, '\x03\0\0\0\x01\x10ab', 'PROTOCOL_ERROR'],
  ] as const) {
    throwsH2(() => headerFragment(flags, Buffer.from(payload)), code);
  }
});

const writing = suite('frame writer');

writing('should write what a peer by hand writes', () => {
  assert.equal(frame(Type.PING, Flag.ACK, 0, Buffer.from('12345678')), frameOf(Type.PING, Flag.ACK, 0, '12345678'));
  assert.equal(numberFrame(Type.WINDOW_UPDATE, 0x7fffffff, 0x7fffffff), windowUpdate(0x7fffffff, 0x7fffffff));
  assert.equal(numberFrame(Type.RST_STREAM, 1, 0xffffffff), frameOf(Type.RST_STREAM, 0, 1, uint32(0xffffffff)));
  assert.equal(settingsFrame([]), settings());
  assert.equal(
    settingsFrame([
      [1, 0],
      [0xffff, 0xffffffff],
    ]),
    settings([1, 0], [0xffff, 0xffffffff]),
  );
  assert.equal(goawayFrame(11), frameOf(Type.GOAWAY, 0, 0, uint32(0, 11)));
});

writing('should write every bit of a header', () => {
  const bytes = Buffer.alloc(11, 0xee);
  assert.is(writeFrameHeader(bytes, 1, 0xabcdef, 0x12, 0xff, 0x7edcba98), 10);
  assert.is(bytes.toString('hex'), 'eeabcdef12ff7edcba98ee');
});

const errors = suite('h2 error');

errors('should name its code', () => {
  assert.is(new H2Error(ErrorCode.CANCEL, 'gone').message, 'gone (CANCEL)');
  assert.is(new H2Error(ErrorCode.HTTP_1_1_REQUIRED, 'no').message, 'no (HTTP_1_1_REQUIRED)');
  assert.is(new H2Error(0xdeadbeef, 'odd').message, 'odd (error code 3735928559)');
});

errors('should number the codes as RFC 9113 does', () => {
  const codes = Object.entries(ErrorCode);
  assert.equal(
    codes.map(([, code]) => code).sort((a, b) => a - b),
    [...Array(14).keys()],
  );
  for (const [name, code] of codes) assert.is(new H2Error(code, 'lost', 'peer').message, `lost (${name})`);
  // of a connection that was lost there is no more to say
  assert.is(new H2Error(0, 'lost').message, 'lost');
});

function throwsH2(run: () => unknown, code: keyof typeof ErrorCode): void {
  assert.throws(
    run,
    (error: unknown) => error instanceof H2Error && error.code === ErrorCode[code] && error.from === 'local',
    `expected ${code}`,
  );
}

reading.run();
fragments.run();
writing.run();
errors.run();
