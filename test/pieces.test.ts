import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Pieces } from '../src/pieces.ts';
import { suite } from './helpers.ts';

const LARGE = 16 * 1024;

/** All that waits, as it is handed on. */
function drain(pieces: Pieces): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) out.push(piece);
  return out;
}

const waiting = suite('pieces');

waiting('should give the same bytes in the same order, however they are pushed and taken', () => {
  const sizes = fc.oneof(fc.integer({ min: 0, max: 40 }), fc.integer({ min: LARGE - 2, max: 2 * LARGE }));
  const steps = fc.array(fc.tuple(fc.constantFrom('push', 'push', 'push', 'shift', 'take', 'all', 'clear'), sizes), {
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, all => {
      const pieces = new Pieces();
      let expected = Buffer.alloc(0);
      let next = 0;
      for (const [step, size] of all) {
        let given: Uint8Array | undefined;
        if (step === 'push') {
          const piece = Buffer.from(Array.from({ length: size }, () => next++ & 0xff));
          pieces.push(piece);
          expected = Buffer.concat([expected, piece]);
        } else if (step === 'shift') given = pieces.shift();
        else if (step === 'take') given = pieces.take(Math.min(size, pieces.bytes));
        else if (step === 'all') given = pieces.all();
        else {
          pieces.clear();
          expected = Buffer.alloc(0);
        }
        if (given !== undefined) {
          assert.ok(expected.subarray(0, given.length).equals(given), step);
          expected = expected.subarray(given.length);
        }
        assert.is(pieces.bytes, expected.length);
      }
      assert.ok(Buffer.concat(drain(pieces)).equals(expected));
      assert.is(pieces.shift(), undefined);
    }),
    { numRuns: 300 },
  );
});

waiting('should hand on as it came what waits alone, and what is large', () => {
  const pieces = new Pieces();
  const small = Buffer.from('small');
  const large = Buffer.alloc(LARGE);
  pieces.push(small);
  assert.is(pieces.shift(), small);
  pieces.push(small);
  assert.is(pieces.all(), small);
  for (const piece of [small, large, large, small]) pieces.push(piece);
  assert.equal(
    drain(pieces).map(piece => piece === small || piece === large),
    [true, true, true, true],
  );
});

waiting('should join small ones in memory of its own, of about their size', () => {
  const read = Buffer.allocUnsafeSlow(64 * 1024);
  for (const size of [1, 7, 1000, LARGE - 1]) {
    const pieces = new Pieces();
    const total = 20 * LARGE;
    for (let left = total; left > 0; left -= size) pieces.push(read.subarray(0, Math.min(left, size)));
    const out = drain(pieces);
    assert.ok(out.length <= total / LARGE + 1, `${out.length} pieces`);
    const memory = new Set(out.map(({ buffer }) => buffer));
    assert.is(memory.has(read.buffer), false);
    const held = [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0);
    assert.ok(held <= total + LARGE, `${held} bytes for ${total}`);
  }
});

waiting('should take bytes in a memory that holds nothing else', () => {
  const pieces = new Pieces();
  const pool = Buffer.from('secret before|body|secret after');
  pieces.push(pool.subarray(14, 18));
  const taken = pieces.take(4);
  assert.equal([Buffer.from(taken).toString(), taken.buffer.byteLength], ['body', 4]);
});

waiting.run();
