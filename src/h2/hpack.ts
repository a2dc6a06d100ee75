import { connectionError } from './error.ts';
import * as ErrorCode from './error-code.ts';
import { decodeHuffman } from './huffman.ts';

/** Header fields in order: name, value, name, value, …; one character is one byte. */
export type Fields = readonly string[];

/** Gives the value of the first field with the name. */
export function field(fields: Fields, name: string): string | undefined {
  for (let i = 0; i < fields.length; i += 2) if (fields[i] === name) return fields[i + 1];
  return undefined;
}

/** The static table, from index 1 on: name, value. @see RFC 7541 appendix A */
const STATIC = `:authority||:method|GET|:method|POST|:path|/|:path|/index.html|:scheme|http|:scheme|https|:status|200|\
:status|204|:status|206|:status|304|:status|400|:status|404|:status|500|accept-charset||\
accept-encoding|gzip, deflate|accept-language||accept-ranges||accept||access-control-allow-origin||age||allow||\
authorization||cache-control||content-disposition||content-encoding||content-language||content-length||\
content-location||content-range||content-type||cookie||date||etag||expect||expires||from||host||if-match||\
if-modified-since||if-none-match||if-range||if-unmodified-since||last-modified||link||location||max-forwards||\
proxy-authenticate||proxy-authorization||range||referer||refresh||retry-after||server||set-cookie||\
strict-transport-security||transfer-encoding||user-agent||vary||via||www-authenticate|`.split('|');
const STATIC_SIZE = STATIC.length / 2;

/** What a field counts beyond its bytes towards MAX_HEADER_LIST_SIZE. @see RFC 9113 §6.5.2 */
const FIELD_OVERHEAD = 32;

/**
 * Decodes a header block of a peer that was told SETTINGS_HEADER_TABLE_SIZE 0, so that there is no dynamic
 * table and a block means the same whenever it comes.
 *
 * @param maxBytes - size of the decoded list, counted as in RFC 9113 §6.5.2.
 * @returns undefined for a list above `maxBytes`.
 * @throws {H2Error} COMPRESSION_ERROR for a block that is not HPACK, or refers to a dynamic table.
 * @see RFC 7541 §6
 */
export function decodeBlock(block: Buffer, maxBytes: number): Fields | undefined {
  const fields: string[] = [];
  let at = 0;
  let bytes = 0;

  function fail(what: string): never {
    throw connectionError(ErrorCode.COMPRESSION_ERROR, `header block: ${what}`);
  }

  /** An integer whose first byte has been read as far as the mask, its prefix. @see RFC 7541 §5.1 */
  function integer(mask: number): number {
    let value = (block[at++] as number) & mask;
    if (value < mask) return value;
    for (let shift = 0; ; shift += 7) {
      const byte = block[at++] ?? fail('ends within an integer');
      // more than 28 bits of it are a length or an index that nobody has
      if (shift > 21) fail('integer too large');
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  }

  function string(): string {
    const first = block[at] ?? fail('ends within a field');
    const length = integer(0x7f);
    const start = at;
    at += length;
    if (at > block.length) fail('ends within a string');
    return first >= 0x80 ? decodeHuffman(block, start, at) : block.toString('latin1', start, at);
  }

  function name(index: number): string {
    if (index === 0) return string();
    if (index > STATIC_SIZE) fail(`index ${index} without a dynamic table`);
    return STATIC[2 * index - 2] as string;
  }

  while (at < block.length) {
    const byte = block[at] as number;
    if (byte >= 0x80) {
      const index = integer(0x7f);
      if (index === 0) fail('index 0');
      fields.push(name(index), STATIC[2 * index - 1] as string);
    } else if (byte >= 0x40) {
      // to be indexed: an entry larger than the table leaves it empty
      fields.push(name(integer(0x3f)), string());
    } else if (byte >= 0x20) {
      if (fields.length > 0) fail('table size update after a field');
      if (integer(0x1f) > 0) fail('table size above what was allowed');
      continue;
    } else {
      fields.push(name(integer(0x0f)), string());
    }
    bytes += (fields.at(-2) as string).length + (fields.at(-1) as string).length + FIELD_OVERHEAD;
    if (bytes > maxBytes) return undefined;
  }
  return fields;
}

/** Sets the dynamic table's size to 0. @see RFC 7541 §6.3 */
const NO_TABLE = Buffer.of(0x20);

/**
 * Encodes a header block without Huffman or a dynamic table: it can be made once and sent any number of
 * times, on any connection.
 */
export function encodeBlock(fields: Fields): Buffer {
  // a peer that allows less than the default table waits to be told (RFC 9113 §4.3.1)
  const parts: Buffer[] = [NO_TABLE];
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    const exact = indexOf(name, value);
    if (exact > 0) {
      parts.push(encodeInteger(exact, 0x80, 0x7f));
      continue;
    }
    const index = indexOf(name);
    parts.push(encodeInteger(index, 0, 0x0f));
    if (index === 0) parts.push(encodeString(name));
    parts.push(encodeString(value));
  }
  return Buffer.concat(parts);
}

/** The index of a field, or of any field with the name; 0 if the static table has none. */
function indexOf(name: string, value?: string): number {
  for (let i = 0; i < STATIC.length; i += 2) {
    if (STATIC[i] === name && (value === undefined || STATIC[i + 1] === value)) return i / 2 + 1;
  }
  return 0;
}

function encodeInteger(value: number, flags: number, mask: number): Buffer {
  if (value < mask) return Buffer.of(flags | value);
  const bytes = [flags | mask];
  let rest = value - mask;
  for (; rest >= 0x80; rest >>>= 7) bytes.push((rest & 0x7f) | 0x80);
  bytes.push(rest);
  return Buffer.from(bytes);
}

function encodeString(text: string): Buffer {
  return Buffer.concat([encodeInteger(text.length, 0, 0x7f), Buffer.from(text, 'latin1')]);
}
