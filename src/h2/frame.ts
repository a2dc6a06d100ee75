import { connectionError } from './error.ts';
import * as ErrorCode from './error-code.ts';

/** Frame types. @see RFC 9113 §6 */
export const DATA = 0x0;
export const HEADERS = 0x1;
export const PRIORITY = 0x2;
export const RST_STREAM = 0x3;
export const SETTINGS = 0x4;
export const PUSH_PROMISE = 0x5;
export const PING = 0x6;
export const GOAWAY = 0x7;
export const WINDOW_UPDATE = 0x8;
export const CONTINUATION = 0x9;

/** Frame flags. */
export const END_STREAM = 0x1;
export const ACK = 0x1;
export const END_HEADERS = 0x4;
export const PADDED = 0x8;
export const HAS_PRIORITY = 0x20;

/** Settings. @see RFC 9113 §6.5.2 */
export const HEADER_TABLE_SIZE = 0x1;
export const ENABLE_PUSH = 0x2;
export const MAX_CONCURRENT_STREAMS = 0x3;
export const INITIAL_WINDOW_SIZE = 0x4;
export const MAX_FRAME_SIZE = 0x5;
export const MAX_HEADER_LIST_SIZE = 0x6;

/** Bytes of a frame's header. */
export const FRAME_HEADER_BYTES = 9;
/** Largest payload before either side allows more, and the least that must be allowed. */
export const DEFAULT_FRAME_BYTES = 16_384;

/** What a client sends first. @see RFC 9113 §3.4 */
export const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

/** What hears of the frames that a reader cuts. Each method may throw an H2Error, which ends the connection. */
export interface FrameSink {
  /** A whole frame of any type but DATA. `payload` may be a view of the chunk read. */
  onFrame(type: number, flags: number, streamId: number, payload: Buffer): void;
  /** The beginning of a DATA frame; `length` is what counts for flow control, with padding. */
  onDataFrame(flags: number, streamId: number, length: number): void;
  /** Some of its bytes without padding, a view of the chunk read, as soon as they are there. */
  onDataPiece(piece: Buffer): void;
  /** Its end, the padding's included. */
  onDataEnd(): void;
}

/**
 * Makes a function that cuts chunks of any size into frames. The bytes of DATA frames are passed on as they
 * come; other frames, which are small, are joined when a chunk ends within one.
 *
 * @throws {H2Error} from the returned function: FRAME_SIZE_ERROR for a payload above 16 384 bytes,
 *   PROTOCOL_ERROR for padding longer than its frame, and whatever the sink throws.
 * @see RFC 9113 §4.1
 */
export function createFrameReader(sink: FrameSink): (chunk: Buffer) => void {
  const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
  let headerSize = 0;
  let type = 0;
  let flags = 0;
  let streamId = 0;
  /** Of a DATA frame: bytes to come, how many of them are padding, and whether its length is yet to be read. */
  let left = 0;
  let padding = 0;
  let isPadLengthDue = false;
  let isInData = false;
  /** Of any other frame that a chunk ended within: its payload so far. */
  let payload: Buffer | undefined;
  let payloadSize = 0;

  /** Reads a frame header, gives its payload's length. */
  function begin(bytes: Buffer, at: number): number {
    const length = bytes.readUIntBE(at, 3);
    type = bytes[at + 3] as number;
    flags = bytes[at + 4] as number;
    streamId = bytes.readUInt32BE(at + 5) & 0x7fffffff;
    if (length > DEFAULT_FRAME_BYTES) {
      throw connectionError(ErrorCode.FRAME_SIZE_ERROR, `frame of ${length} bytes, expected at most 16384`);
    }
    return length;
  }

  function beginData(length: number): void {
    isPadLengthDue = (flags & PADDED) !== 0;
    if (isPadLengthDue && length === 0) {
      throw connectionError(ErrorCode.FRAME_SIZE_ERROR, 'padded DATA frame without its pad length');
    }
    left = length;
    padding = 0;
    sink.onDataFrame(flags, streamId, length);
    isInData = left > 0;
    if (!isInData) sink.onDataEnd();
  }

  /** Takes what the chunk has of a DATA frame; gives where it goes on. */
  function readData(chunk: Buffer, from: number): number {
    let at = from;
    if (isPadLengthDue) {
      isPadLengthDue = false;
      padding = chunk[at++] as number;
      if (--left < padding) throw connectionError(ErrorCode.PROTOCOL_ERROR, 'padding longer than its frame');
    }
    const size = Math.min(left - padding, chunk.length - at);
    if (size > 0) {
      left -= size;
      sink.onDataPiece(chunk.subarray(at, at + size));
      at += size;
    }
    if (left <= padding) {
      const skipped = Math.min(left, chunk.length - at);
      left -= skipped;
      padding -= skipped;
      at += skipped;
    }
    if (left === 0) {
      isInData = false;
      sink.onDataEnd();
    }
    return at;
  }

  return chunk => {
    let at = 0;
    while (at < chunk.length) {
      if (isInData) {
        at = readData(chunk, at);
        continue;
      }
      if (payload !== undefined) {
        const copied = chunk.copy(payload, payloadSize, at);
        payloadSize += copied;
        at += copied;
        if (payloadSize < payload.length) return;
        const whole = payload;
        payload = undefined;
        sink.onFrame(type, flags, streamId, whole);
        continue;
      }

      let length: number;
      if (headerSize === 0 && chunk.length - at >= FRAME_HEADER_BYTES) {
        length = begin(chunk, at);
        at += FRAME_HEADER_BYTES;
      } else {
        const copied = chunk.copy(header, headerSize, at);
        headerSize += copied;
        at += copied;
        if (headerSize < FRAME_HEADER_BYTES) return;
        headerSize = 0;
        length = begin(header, 0);
      }
      if (type === DATA) {
        beginData(length);
      } else if (chunk.length - at >= length) {
        const end = at + length;
        sink.onFrame(type, flags, streamId, chunk.subarray(at, end));
        at = end;
      } else {
        payload = Buffer.allocUnsafe(length);
        payloadSize = 0;
      }
    }
  };
}

/**
 * Gives a frame's payload without its padding and priority, or the payload itself when it has neither.
 *
 * @throws {H2Error} FRAME_SIZE_ERROR or PROTOCOL_ERROR when they do not fit into the payload.
 * @see RFC 9113 §6.2
 */
export function headerFragment(flags: number, payload: Buffer): Buffer {
  let start = 0;
  let end = payload.length;
  if ((flags & PADDED) !== 0) {
    if (end === 0) throw connectionError(ErrorCode.FRAME_SIZE_ERROR, 'padded HEADERS frame without its pad length');
    start = 1;
    end -= payload[0] as number;
  }
  if ((flags & HAS_PRIORITY) !== 0) {
    start += 5;
    if (start > payload.length) throw connectionError(ErrorCode.FRAME_SIZE_ERROR, 'HEADERS frame without its priority');
  }
  if (end < start) throw connectionError(ErrorCode.PROTOCOL_ERROR, 'padding longer than its frame');
  return start === 0 ? payload : payload.subarray(start, end);
}

/** Writes a frame header into `target`; gives where its payload goes. */
export function writeFrameHeader(
  target: Buffer,
  at: number,
  length: number,
  type: number,
  flags: number,
  streamId: number,
): number {
  target[at] = length >>> 16;
  target[at + 1] = length >>> 8;
  target[at + 2] = length;
  target[at + 3] = type;
  target[at + 4] = flags;
  target[at + 5] = streamId >>> 24;
  target[at + 6] = streamId >>> 16;
  target[at + 7] = streamId >>> 8;
  target[at + 8] = streamId;
  return at + FRAME_HEADER_BYTES;
}

/** Makes a whole frame. */
export function frame(type: number, flags: number, streamId: number, payload: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.length);
  bytes.set(payload, writeFrameHeader(bytes, 0, payload.length, type, flags, streamId));
  return bytes;
}

/** Makes a frame whose payload is one 32-bit number: RST_STREAM's error code, WINDOW_UPDATE's increment. */
export function numberFrame(type: number, streamId: number, value: number): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + 4);
  bytes.writeUInt32BE(value, writeFrameHeader(bytes, 0, 4, type, 0, streamId));
  return bytes;
}

/** Makes a SETTINGS frame of identifiers and values. */
export function settingsFrame(settings: readonly (readonly [id: number, value: number])[]): Buffer {
  const payload = Buffer.allocUnsafe(6 * settings.length);
  settings.forEach(([id, value], i) => {
    payload.writeUInt16BE(id, 6 * i);
    payload.writeUInt32BE(value, 6 * i + 2);
  });
  return frame(SETTINGS, 0, 0, payload);
}

/** Makes a GOAWAY frame. A client has no use for the last stream id: it takes no streams from a server. */
export function goawayFrame(code: number): Buffer {
  const payload = Buffer.alloc(8);
  payload.writeUInt32BE(code, 4);
  return frame(GOAWAY, 0, 0, payload);
}
