import { H2Error } from './error.ts';
import * as ErrorCode from './error-code.ts';
import { type Fields, field } from './hpack.ts';

/** What hears of a stream. After `onClose` nothing more comes. */
export interface StreamListener {
  /** The response's head, and then its trailers if there are any; `:status` is checked and comes first in a head. */
  onHeaders(fields: Fields): void;
  /** Bytes of the body, a view of what was read. They must be returned with `consume` when they are done with. */
  onData(piece: Buffer): void;
  /** Everything that was written is on its way. */
  onDrain(): void;
  /** The response is whole, or the stream came to its end before that. */
  onClose(error: H2Error | undefined): void;
}

/** One request and its response. Only its connection changes it. */
export interface Stream {
  readonly id: number;
  readonly listener: StreamListener;
  /** Bytes that the peer takes, and that it may send. */
  sendWindow: number;
  receiveWindow: number;
  /** Bytes handed out and not consumed, and consumed but not given back to the peer yet. */
  held: number;
  unreturned: number;
  /** What was written and waits for a window. */
  readonly queue: Buffer[];
  queuedBytes: number;
  isEndQueued: boolean;
  /** END_STREAM has been sent. */
  isLocalEnded: boolean;
  /** The response's head has come. */
  hasHead: boolean;
  /** Bytes of the body to come, when its head has said how many. */
  bodyLeft: number | undefined;
  /** True once it is no longer among the connection's streams. */
  isClosed: boolean;
}

/** Makes a stream in the state `open`. */
export function createStream(id: number, listener: StreamListener, sendWindow: number, receiveWindow: number): Stream {
  return {
    id,
    listener,
    sendWindow,
    receiveWindow,
    held: 0,
    unreturned: 0,
    queue: [],
    queuedBytes: 0,
    isEndQueued: false,
    isLocalEnded: false,
    hasHead: false,
    bodyLeft: undefined,
    isClosed: false,
  };
}

/** Removes up to `size` bytes from the front of a stream's queue, appending views of them to `out`. */
export function dequeue(stream: Stream, size: number, out: Buffer[]): void {
  const { queue } = stream;
  stream.queuedBytes -= size;
  let left = size;
  while (left > 0) {
    const first = queue[0] as Buffer;
    if (first.length <= left) {
      out.push(first);
      left -= first.length;
      queue.shift();
    } else {
      out.push(first.subarray(0, left));
      queue[0] = first.subarray(left);
      return;
    }
  }
}

/** What a header block is to its stream. */
export type Section = 'head' | 'interim' | 'trailers';

/** Fields that speak of an HTTP/1 connection. @see RFC 9113 §8.2.2 */
const CONNECTION_SPECIFIC = new Set(['connection', 'proxy-connection', 'keep-alive', 'transfer-encoding', 'upgrade']);

/**
 * Checks a decoded header block against RFC 9113 §8: field names and values, pseudo-header fields, and the
 * place of the block in its stream.
 *
 * @throws {H2Error} PROTOCOL_ERROR: the response is malformed, which is an error of the stream alone.
 */
export function checkSection(fields: Fields, hasHead: boolean, isEnd: boolean): Section {
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
 * @see RFC 9113 §8.1.1
 */
export function contentLength(head: Fields): number | undefined {
  const value = field(head, 'content-length');
  // 304 tells the length of what it leaves out
  if (value === undefined || head[1] === '304') return undefined;
  if (!/^\d{1,15}$/.test(value)) throw malformed(`content-length ${value}`);
  return Number(value);
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
