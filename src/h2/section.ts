import { H2Error } from './error.ts';
import * as ErrorCode from './error-code.ts';
import { decodeBlock, type Fields } from './hpack.ts';

/** The most that a header block may have, encoded and decoded, bytes. gRPC needs a few hundred. */
export const MAX_HEADER_BYTES: number = 64 * 1024;

/** What a header block is to its stream. */
type Section = 'head' | 'interim' | 'trailers';

/** A header block of a response, decoded and checked. */
export interface HeaderSection {
  readonly section: Section;
  readonly fields: Fields;
  /** Bytes of the body, of a head that says it. */
  readonly contentLength: number | undefined;
}

/**
 * Decodes and checks a header block. Gives the error when it is the stream's alone.
 *
 * @throws {H2Error} COMPRESSION_ERROR: the connection's.
 */
export type SectionReader = (block: Buffer, hasHead: boolean, isEnd: boolean) => HeaderSection | H2Error;

/** Makes a reader for a connection. It remembers the last head and trailers: most are the same bytes again. */
export function createSectionReader(): SectionReader {
  type Known = HeaderSection & { readonly block: Buffer; readonly isEnd: boolean };
  let lastHead: Known | undefined;
  let lastTrailers: Known | undefined;

  return (block, hasHead, isEnd) => {
    const last = hasHead ? lastTrailers : lastHead;
    if (last !== undefined && last.isEnd === isEnd && last.block.equals(block)) return last;
    const fields = decodeBlock(block, MAX_HEADER_BYTES);
    if (fields === undefined) {
      return new H2Error(ErrorCode.ENHANCE_YOUR_CALM, `header list above ${MAX_HEADER_BYTES} bytes`, 'local');
    }
    try {
      const section = checkSection(fields, hasHead, isEnd);
      const length = section === 'head' ? contentLength(fields) : undefined;
      const known = { section, fields, contentLength: length, block: Buffer.from(block), isEnd };
      if (section === 'trailers') lastTrailers = known;
      else if (section === 'head') lastHead = known;
      return known;
    } catch (error) {
      return error as H2Error;
    }
  };
}

/** Fields that speak of an HTTP/1 connection. @see RFC 9113 §8.2.2 */
const CONNECTION_SPECIFIC = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

/**
 * Checks a decoded header block against RFC 9113 §8: field names and values, pseudo-header fields, and the
 * place of the block in its stream.
 *
 * @throws {H2Error} PROTOCOL_ERROR: the response is malformed, which is an error of the stream alone.
 */
function checkSection(fields: Fields, hasHead: boolean, isEnd: boolean): Section {
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (name.charCodeAt(0) === 0x3a) {
      if (hasHead || i > 0 || name !== ':status') throw malformed(`unexpected ${name}`);
    } else if (!isFieldName(name) || CONNECTION_SPECIFIC.has(name)) {
      throw malformed(`field name ${JSON.stringify(name)}`);
    } else if (!isFieldValue(fields[i + 1] as string)) {
      throw malformed(`value of ${name}`);
    }
  }
  if (hasHead) {
    if (!isEnd) throw malformed('trailers that do not end the stream');
    return 'trailers';
  }
  const status = fields[0] === ':status' ? (fields[1] as string) : '';
  if (!/^[1-9]\d\d$/.test(status)) throw malformed('no :status');
  if (!status.startsWith('1')) return 'head';
  if (isEnd || status === '101') throw malformed(`status ${status}`);
  return 'interim';
}

/**
 * Gives the length of the body that a head announces; undefined when it does not say.
 *
 * @throws {H2Error} PROTOCOL_ERROR, the stream's.
 * @see RFC 9113 §8.1.1, RFC 9110 §8.6
 */
function contentLength(head: Fields): number | undefined {
  let length: number | undefined;
  for (let i = 0; i < head.length; i += 2) {
    if (head[i] !== 'content-length') continue;
    const value = head[i + 1] as string;
    if (!/^\d{1,15}$/.test(value)) throw malformed(`content-length ${value}`);
    if (length !== undefined && length !== Number(value)) throw malformed('two lengths of its content');
    length = Number(value);
  }
  // 304 tells the length of what it leaves out
  return head[1] === '304' ? undefined : length;
}

/** An error of a stream whose response is not HTTP. */
export function malformed(what: string): H2Error {
  return new H2Error(ErrorCode.PROTOCOL_ERROR, `malformed response: ${what}`, 'local');
}

/** @see RFC 9113 §8.2.1: no control characters, space, upper case, colon, or anything beyond ASCII */
function isFieldName(name: string): boolean {
  for (let i = 0; i < name.length; i++) {
    const char = name.charCodeAt(i);
    if (char <= 0x20 || (char >= 0x41 && char <= 0x5a) || char === 0x3a || char >= 0x7f) return false;
  }
  return name.length > 0;
}

function isFieldValue(value: string): boolean {
  for (let i = 0; i < value.length; i++) {
    const char = value.charCodeAt(i);
    if (char === 0 || char === 0x0a || char === 0x0d) return false;
  }
  return !/^[ \t]|[ \t]$/.test(value);
}
