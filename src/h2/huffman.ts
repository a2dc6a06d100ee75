import { connectionError } from './error.ts';
import * as ErrorCode from './error-code.ts';

/**
 * Bits of each byte's code, and of the end of a string, in digits of base 36. The code is canonical: codes of one length count up in the order of the bytes,
 * and each length goes on where the shorter one ended, so that the lengths are all there is to know.
 *
 * @see RFC 7541 appendix B
 */
const LENGTHS = `dnsssssssoussussssssssusssssssss6aacd68baa8b8666555666666678f6cad67777777777777777777777878djde6f565\
65666577666567655677777fbedskmkkmmmnmnnnnnonoomnonnnnlmnmnnomlkmmnnlnmmolmnnllmlnmnnkmmmnmmnqqkjmnmp\
qqqrrqopjlqrrqrollqqsrrrkoklmllnmmppooqnqrqqrrrrrsrrrrrqu`;
const END_OF_STRING = 256;
const MAX_BITS = 30;

/** Pairs of places, for a 0 and a 1: a node's number, or ~byte. Node 0 is the root. */
let tree: Int16Array | undefined;

function buildTree(): Int16Array {
  const byLength: number[][] = Array.from({ length: MAX_BITS + 1 }, () => []);
  for (let byte = 0; byte <= END_OF_STRING; byte++) byLength[Number.parseInt(LENGTHS[byte] as string, 36)]?.push(byte);
  const nodes = new Int16Array(2 * LENGTHS.length);
  let size = 1;
  let place = 0;
  // by their length: whole codes are the first places there, and the others lead on to nodes of the next length
  for (const bytes of byLength.slice(1)) {
    const end = 2 * size;
    for (const byte of bytes) nodes[place++] = ~byte;
    while (place < end) nodes[place++] = size++;
  }
  return nodes;
}

/**
 * Decodes a Huffman-coded string; each byte becomes one character (latin1).
 *
 * @throws {H2Error} COMPRESSION_ERROR for an end-of-string code, or padding that is longer than 7 bits or
 *   not all ones.
 * @see RFC 7541 §5.2
 */
export function decodeHuffman(bytes: Buffer, start: number, end: number): string {
  tree ??= buildTree();
  // the shortest code has 5 bits
  const out = Buffer.allocUnsafe(Math.ceil(((end - start) * 8) / 5));
  let size = 0;
  let node = 0;
  /** Bits since the last whole code, and whether all were ones. */
  let bits = 0;
  let isOnes = true;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] as number;
    for (let bit = 7; bit >= 0; bit--) {
      const value = (byte >>> bit) & 1;
      const next = tree[2 * node + value] as number;
      bits++;
      if (value === 0) isOnes = false;
      if (next >= 0) {
        node = next;
        continue;
      }
      if (~next === END_OF_STRING) throw connectionError(ErrorCode.COMPRESSION_ERROR, 'end of string within a string');
      out[size++] = ~next;
      node = 0;
      bits = 0;
      isOnes = true;
    }
  }
  if (bits > 7 || !isOnes) throw connectionError(ErrorCode.COMPRESSION_ERROR, 'a Huffman-coded string ends badly');
  return out.toString('latin1', 0, size);
}
