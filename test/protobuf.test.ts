import fc from 'fast-check';
import protobufjs from 'protobufjs';
import * as assert from 'uvu/assert';
import {
  bool,
  bytes,
  double,
  float,
  int32,
  type MessageCodec,
  message,
  ProtobufError,
  Reader,
  repeated,
  single,
  string,
  uint32,
  Writer,
} from '../src/protobuf.ts';
import { suite } from './helpers.ts';

// The other implementation: protobufjs, which Noslate's planes use too. A message of every type that we write;
// explicit presence, since what is there is written, zero or not.
const { root } = protobufjs.parse(`
  syntax = "proto3";
  message Inner { optional string text = 1; optional int32 number = 2; repeated Inner nested = 3; }
  message All {
    optional int32 i = 1;
    optional uint32 u = 2;
    optional bool b = 3;
    optional double d = 4;
    optional float f = 5;
    optional string s = 6;
    optional bytes y = 7;
    optional Inner m = 8;
    repeated string ss = 15;
    repeated Inner ms = 16;
    repeated bytes ys = 2047;
    optional string far = 2048;
    optional bool farther = 536870911;
  }
  message More { optional int64 big = 100; optional fixed64 fixed = 3000; optional fixed32 small = 101;
    optional string text = 102; optional sint32 zigzag = 103; repeated int32 packed = 104 [packed = true];
    repeated double doubles = 105; optional Inner inner = 106; }
`);
const Theirs = root.lookupType('All');

const Leaf = message({ text: single(1, string), number: single(2, int32) });
const Inner = message({ text: single(1, string), number: single(2, int32), nested: repeated(3, Leaf) });
const All = message({
  i: single(1, int32),
  u: single(2, uint32),
  b: single(3, bool),
  d: single(4, double),
  f: single(5, float),
  s: single(6, string),
  y: single(7, bytes),
  m: single(8, Inner),
  ss: repeated(15, string),
  ms: repeated(16, Inner),
  ys: repeated(2047, bytes),
  far: single(2048, string),
});
type Value = typeof All extends MessageCodec<infer T> ? T : never;

const text = fc.oneof(
  fc.string({ maxLength: 80 }),
  // protobufjs writes a lone surrogate as it is; UTF-8 has none
  fc.string({ unit: 'grapheme', maxLength: 80 }),
  fc.integer({ min: 60, max: 70 }).map(size => 'e'.repeat(size)),
  fc.integer({ min: 40, max: 70 }).map(size => `${'e'.repeat(size)}ü`),
  fc.constantFrom('', '\0', 'ü'.repeat(63), '\u{10ffff}'),
);
const binary = fc.uint8Array({ maxLength: 40 }).map(array => Buffer.from(array));
const number = fc.oneof(
  fc.integer(),
  fc.constantFrom(
    0,
    1,
    -1,
    127,
    128,
    16_383,
    16_384,
    2 ** 21 - 1,
    2 ** 21,
    2 ** 28 - 1,
    2 ** 28,
    2 ** 31 - 1,
    -(2 ** 31),
  ),
);
const unsigned = number.map(value => value >>> 0);
const leaf = fc.record({ text, number }, { requiredKeys: [] });
const list = <T>(item: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(item, { minLength: 1, maxLength: 5 });
const inner = fc.record({ text, number, nested: list(leaf) }, { requiredKeys: [] });
const value: fc.Arbitrary<Value> = fc.record(
  {
    i: number,
    u: unsigned,
    b: fc.boolean(),
    d: fc.double(),
    f: fc.float(),
    s: text,
    y: binary,
    m: inner,
    ss: list(text),
    ms: list(inner),
    ys: list(binary),
    far: text,
  },
  { requiredKeys: [] },
);

/** Buffers and views as what they hold: for comparing. */
function plain(item: unknown): unknown {
  if (item instanceof Uint8Array) return `bytes ${Buffer.from(item).toString('hex')}`;
  if (Array.isArray(item)) return item.map(plain);
  if (typeof item !== 'object' || item === null) return Object.is(item, -0) ? '-0' : item;
  return Object.fromEntries(Object.entries(item).map(([name, field]) => [name, plain(field)]));
}

const theirsOf = (item: object): Buffer => Buffer.from(Theirs.encode(item).finish());

/** Either a value, or a ProtobufError: anything else is thrown. */
function attempt(data: Buffer): Value | undefined {
  try {
    return All.decode(data);
  } catch (error) {
    if (error instanceof ProtobufError) return undefined;
    throw error;
  }
}

const interop = suite('protobuf with protobufjs');

interop('should write the same bytes, and read the same values', () => {
  fc.assert(
    fc.property(value, item => {
      const ours = All.encode(item);
      assert.is(ours.toString('hex'), theirsOf(item).toString('hex'));
      assert.equal(plain(All.decode(ours)), plain(item));
      const read = Theirs.toObject(Theirs.decode(ours));
      assert.equal(plain(All.decode(ours)), plain(read));
    }),
    { numRuns: 3000 },
  );
});

interop('should write nested lengths of one, two, three and four bytes', () => {
  for (const size of [
    0, 1, 123, 124, 125, 126, 127, 128, 16_379, 16_380, 16_381, 16_382, 16_384, 2_097_144, 2_097_147, 2_097_152,
  ]) {
    const filler = 'n'.repeat(size);
    for (const item of [
      { m: { text: filler } },
      { i: 7, ms: [{ text: filler, nested: [{ text: filler }] }, { text: 'end' }], far: 'after' },
      { ss: ['x', filler, ''] },
    ]) {
      const ours = All.encode(item);
      assert.ok(ours.equals(theirsOf(item)), `${size}`);
      assert.equal(All.decode(ours), item);
    }
  }
});

interop('should write after room for a prefix', () => {
  const item = { i: -1, s: 'text' };
  const ours = All.encode(item, 5);
  assert.ok(ours.subarray(5).equals(theirsOf(item)));
});

interop('should write negative numbers in ten bytes', () => {
  for (const i of [
    -1,
    -2,
    -127,
    -128,
    -129,
    -(2 ** 7),
    -(2 ** 14),
    -(2 ** 21),
    -(2 ** 28),
    -(2 ** 28) - 1,
    -(2 ** 31),
  ]) {
    const ours = All.encode({ i });
    assert.is(ours.length, 11);
    assert.is(ours.toString('hex'), theirsOf({ i }).toString('hex'), `${i}`);
    assert.equal(All.decode(ours), { i });
  }
});

interop('should skip fields that it does not know, wherever they are', () => {
  const More = root.lookupType('More');
  fc.assert(
    fc.property(value, fc.integer({ min: 0, max: 1000 }), text, (item, n, other) => {
      const unknown = Buffer.from(
        More.encode({
          big: n,
          fixed: n,
          small: n,
          text: other,
          zigzag: -n,
          packed: [n, 1, 2],
          doubles: [n, 0.5],
          inner: { text: other },
        }).finish(),
      );
      const bytesOf = All.encode(item);
      const group = Buffer.from('cb0608010a01ffd306d406cc06', 'hex');
      for (const data of [
        Buffer.concat([unknown, bytesOf]),
        Buffer.concat([bytesOf, unknown]),
        Buffer.concat([group, bytesOf, group]),
      ]) {
        assert.equal(plain(All.decode(data)), plain(item));
      }
    }),
    { numRuns: 300 },
  );
});

const reading = suite('protobuf reader');

reading('should take a known field of another wire type for an unknown one', () => {
  // i as fixed32, s as varint, b as bytes
  assert.equal(All.decode(Buffer.from('0d010000003007' + '1a0101' + '1801', 'hex')), { b: true });
});

reading('should let the last occurrence count', () => {
  assert.equal(All.decode(Buffer.from('080108023201613201621801', 'hex')), { i: 2, s: 'b', b: true });
});

reading('should throw or end between fields when bytes are cut short', () => {
  fc.assert(
    fc.property(value, item => {
      const whole = All.encode(item);
      // where fields end: each of them alone has its length
      const ends = new Set([0]);
      let end = 0;
      for (const [name, field] of Object.entries(item)) {
        const parts = Array.isArray(field) ? field.map(part => ({ [name]: [part] })) : [{ [name]: field }];
        for (const part of parts) {
          end += All.encode(part as Value).length;
          ends.add(end);
        }
      }
      for (let at = 0; at < whole.length; at++) {
        const read = attempt(whole.subarray(0, at));
        assert.is(read !== undefined, ends.has(at), `${at} of ${whole.length} bytes`);
      }
    }),
    { numRuns: 200 },
  );
});

reading('should not read beyond its end into what the buffer goes on with', () => {
  const buffer = Buffer.from('0a0568656c6c6f', 'hex');
  const Text = message({ text: single(1, string) });
  assert.equal(Text.decode(buffer), { text: 'hello' });
  for (let at = 1; at < buffer.length; at++) {
    assert.throws(
      () => Text.decode(buffer.subarray(0, at)),
      (error: unknown) => error instanceof ProtobufError,
      `${at}`,
    );
  }
});

reading('should take varints of ten bytes, and no more', () => {
  for (const [hex, expected] of [
    ['00', 0],
    ['8000', 0],
    ['ffffffff0f', 2 ** 32 - 1],
    ['80808080808080808001', 0],
    ['ffffffffffffffffff01', 2 ** 32 - 1],
    ['81808080808080808000', 1],
  ] as const) {
    assert.is(new Reader(Buffer.from(hex, 'hex')).varint(), expected, hex);
  }
  for (const hex of ['', '80', 'ffffffffffffffffff', 'ffffffffffffffffffff00', '8080808080808080808000']) {
    assert.throws(
      () => new Reader(Buffer.from(hex, 'hex')).varint(),
      (error: unknown) => error instanceof ProtobufError,
    );
  }
});

reading('should refuse lengths beyond the end, the largest ones too', () => {
  for (const hex of [
    '3a01',
    '3affffffff0f',
    '3affffffff07',
    '32ffffffffffffffffff01',
    '4205',
    '42040a05616263',
    '7affffffff0f',
  ]) {
    assert.is(attempt(Buffer.from(hex, 'hex')), undefined, hex);
  }
});

reading('should refuse lengths beyond the message that they are in, though not beyond the bytes', () => {
  // m of three bytes, whose text has three, too; what follows is b
  for (const hex of ['42030a03611801', '42020a011801', '8201030a0261621801']) {
    assert.is(attempt(Buffer.from(hex, 'hex')), undefined, hex);
  }
});

reading('should refuse field number 0', () => {
  for (const hex of ['0000', '010000000000000000', '0200', '0304', '0500000000', '80000000', '8000']) {
    assert.is(attempt(Buffer.from(hex, 'hex')), undefined, hex);
  }
});

reading('should refuse groups that do not end, end wrongly, or nest without end', () => {
  for (const hex of ['cb06', 'cb060801', 'cb06cc07', 'cc06', 'cb06cb06cc06', 'cb06'.repeat(100_000)]) {
    assert.is(attempt(Buffer.from(hex, 'hex')), undefined, hex.slice(0, 20));
  }
  assert.equal(attempt(Buffer.from('cb06'.repeat(64) + 'cc06'.repeat(64), 'hex')), {});
});

reading('should read a field that occurs 200 000 times', () => {
  const { ss } = All.decode(Buffer.from('7a00'.repeat(200_000), 'hex'));
  assert.is(ss?.length, 200_000);
});

reading('should give bytes without a copy', () => {
  const data = All.encode({ y: Buffer.from('view') });
  assert.is((All.decode(data).y as Buffer).buffer, data.buffer);
});

const writing = suite('protobuf writer');

writing('should write nothing for what is absent, and zeros for what is zero', () => {
  assert.is(All.encode({}).length, 0);
  assert.is(All.encode({ i: undefined, s: undefined, ss: [] }).length, 0);
  assert.is(
    All.encode({ i: 0, u: 0, b: false, d: 0, f: 0, s: '', y: Buffer.alloc(0), m: {} }).toString('hex'),
    '0800100018002100000000000000002d0000000032003a004200',
  );
});

writing('should grow as it needs, and forget a message that failed', () => {
  const item = { s: 'x'.repeat(100_000), ss: ['y'.repeat(50_000), 'z'] };
  assert.equal(All.decode(All.encode(item)), item);
  assert.throws(() => All.encode({ i: 1, ms: [{ text: 'a' }, null as unknown as object] }));
  assert.equal(All.decode(All.encode({ i: 2 })), { i: 2 });
  const writer = new Writer();
  for (let i = 0; i < 3000; i++) writer.varint(i);
  const reader = new Reader(writer.finish());
  for (let i = 0; i < 3000; i++) assert.is(reader.varint(), i);
  assert.is(reader.isAtEnd, true);
});

interop.run();
reading.run();
writing.run();
