import { connectionError } from './error.ts';
import * as ErrorCode from './error-code.ts';

/**
 * Bits of each byte's code. The code is canonical: codes of one length count up in the order of the bytes,
 * and each length goes on where the shorter one ended, so that the lengths are all there is to know.
 *
 * @see RFC 7541 appendix B
 */
const LENGTHS = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28,
  28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6,
  5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23,
  22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22, 21, 20, 22, 22,
  23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26,
  20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27,
  27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27,
  27, 27, 27, 26, 30,
];
const END_OF_STRING = 256;
const MAX_BITS = 30;

/** Pairs of places, for a 0 and a 1: a node's number, or ~byte. Node 0 is the root; 0 is a place not filled yet. */
let tree: Int16Array | undefined;

function buildTree(): Int16Array {
  const nodes = new Int16Array(2 * LENGTHS.length);
  let size = 1;
  let code = 0;
  for (let bits = 1; bits <= MAX_BITS; bits++, code *= 2) {
    for (let byte = 0; byte < LENGTHS.length; byte++) {
      if (LENGTHS[byte] !== bits) continue;
      let node = 0;
      for (let bit = bits - 1; bit > 0; bit--) {
        const place = 2 * node + ((code >>> bit) & 1);
        if (nodes[place] === 0) nodes[place] = size++;
        node = nodes[place] as number;
      }
      nodes[2 * node + (code & 1)] = ~byte;
      code++;
    }
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
