import { connect, type Socket } from 'node:net';
import { Pieces } from '../pieces.ts';
import { Table } from '../table.ts';
import { connectionError, H2Error } from './error.ts';
import * as ErrorCode from './error-code.ts';
import {
  ACK,
  CONTINUATION,
  createFrameReader,
  DATA,
  DEFAULT_FRAME_BYTES,
  ENABLE_PUSH,
  END_HEADERS,
  END_STREAM,
  FRAME_HEADER_BYTES,
  type FrameSink,
  frame,
  GOAWAY,
  goawayFrame,
  HEADER_TABLE_SIZE,
  HEADERS,
  headerFragment,
  INITIAL_WINDOW_SIZE,
  MAX_CONCURRENT_STREAMS,
  MAX_FRAME_SIZE,
  MAX_HEADER_LIST_SIZE,
  numberFrame,
  PING,
  PREFACE,
  PRIORITY,
  PUSH_PROMISE,
  RST_STREAM,
  SETTINGS,
  settingsFrame,
  WINDOW_UPDATE,
  writeFrameHeader,
} from './frame.ts';
import { createSectionReader, MAX_HEADER_BYTES, malformed } from './section.ts';
import { createStream, dequeue, type Stream, type StreamListener } from './stream.ts';

/** Before either side says otherwise. @see RFC 9113 §6.9.2 */
const DEFAULT_WINDOW = 65_535;
const MAX_WINDOW = 2 ** 31 - 1;
const MAX_STREAM_ID = 2 ** 31 - 1;
/** A client's stream ids are odd. */
const MAX_REQUESTS = 2 ** 30;

/** What a stream may hold for a reader that stands still. */
export const STREAM_WINDOW: number = 256 * 1024;
/** Open to the full: streams that stand still must not use up what the others need. Each has its own bound. */
const CONNECTION_WINDOW = MAX_WINDOW;

/** What may wait in the socket for a peer that does not read, before bodies wait, and before acknowledgements end it. */
const MAX_UNSENT_BYTES = 1024 * 1024;
/** Writes of one turn up to this size are joined: one copy is cheaper than a vector of small pieces. */
const JOIN_BYTES = 32 * 1024;

/** Memory that the socket is read into. Small reads share it; the least that a read is given. */
const SLAB_BYTES = 64 * 1024;
const MIN_READ_BYTES = 16 * 1024;

/**
 * A plane on newer Node takes about 1000 resets of one connection, and 33 more a second, before it drops all
 * that is in flight there. A connection that has made half of them takes no more requests.
 */
const MAX_RESETS = 500;

/** Time for the peer's first SETTINGS, and for taking what is sent last, ms. */
const SETTINGS_TIMEOUT_MS = 5000;
const CLOSE_TIMEOUT_MS = 1000;
/** Time for its answer to a PING, 5 s: a plane on a tenth of a vCPU can be silent for long. */
const PING_STEPS = 10;
const PING_STEP_MS = 500;

const OPENING = Buffer.concat([
  Buffer.from(PREFACE, 'latin1'),
  settingsFrame([
    [HEADER_TABLE_SIZE, 0],
    [ENABLE_PUSH, 0],
    [INITIAL_WINDOW_SIZE, STREAM_WINDOW],
    [MAX_HEADER_LIST_SIZE, MAX_HEADER_BYTES],
  ]),
  numberFrame(WINDOW_UPDATE, 0, CONNECTION_WINDOW - DEFAULT_WINDOW),
]);
const SETTINGS_ACK = frame(SETTINGS, ACK, 0, Buffer.alloc(0));

/** `draining`: no new streams; it closes with the last one. */
export type ConnectionState = 'connecting' | 'open' | 'draining' | 'closed';

/** What hears of a connection. */
export interface ConnectionListener {
  /** The peer's settings are there: requests can be made. */
  onOpen(): void;
  /** It takes no new streams; those it has go on. */
  onDraining(): void;
  /** It may take more streams than a moment ago. */
  onCapacity(): void;
  /** Every stream has heard of it already. */
  onClose(error: H2Error): void;
}

/** One HTTP/2 connection, the client's side. */
export interface Connection {
  readonly state: ConnectionState;
  /** Streams open. */
  readonly streams: number;
  /** Bytes handed out and not consumed. */
  readonly held: number;
  /** True while nothing has come since `verify`. */
  readonly isSuspect: boolean;
  /** Whether one more stream can be opened now. */
  canRequest(): boolean;
  /** Opens a stream with an encoded header block of at most 16 384 bytes. Only when `canRequest`. */
  request(block: Buffer, listener: StreamListener): Stream;
  /**
   * Sends bytes as far as the windows reach, and the rest as they open. False when something had to wait:
   * `onDrain` follows. The chunks must not be changed afterwards. Ignored when the stream is closed.
   */
  write(stream: Stream, chunks: readonly Buffer[], isEnd: boolean): boolean;
  /** Gives bytes that `onData` handed out back to the peer's window. */
  consume(stream: Stream, bytes: number): void;
  /**
   * Ends a stream by RST_STREAM with CANCEL; one that is closed only gives back what it holds. `onClose` does
   * not follow.
   */
  cancel(stream: Stream): void;
  /** Closes the connection unless something comes within 5 s; asks the peer for it. */
  verify(): void;
  /** Takes no new streams, and closes when those it has are done. */
  drain(): void;
  /** Closes at once; streams fail. */
  close(): void;
}

/**
 * Connects to a unix socket with prior knowledge of HTTP/2. Complete for a client that neither takes pushed
 * streams nor keeps an HPACK table. Nothing the peer sends makes it throw: what breaches the protocol is
 * answered with RST_STREAM or GOAWAY and the code that RFC 9113 asks for.
 *
 * What is written during one turn of the event loop leaves in one system call.
 *
 * @param maxRequests - after so many it drains; by default when it has used up its stream ids.
 * @see RFC 9113
 */
export function openConnection(
  path: string,
  events: ConnectionListener,
  maxRequests: number = MAX_REQUESTS,
): Connection {
  let state: ConnectionState = 'connecting';
  const streams = new Table<Stream>();
  let nextId = 1;
  /** Streams that we reset: the peer may not know yet, so what still comes for them is no fault. */
  const abandoned = new Set<number>();
  let held = 0;

  let peerFrameBytes = DEFAULT_FRAME_BYTES;
  let peerInitialWindow = DEFAULT_WINDOW;
  let peerMaxStreams = Number.POSITIVE_INFINITY;
  let peerLastId = MAX_STREAM_ID;
  let sendWindow = DEFAULT_WINDOW;
  let receiveWindow = CONNECTION_WINDOW;
  let unreturned = 0;
  /** Streams whose own window is open but which wait for the connection's, or for the socket. */
  const waiting = new Set<Stream>();

  /** A header block in several frames. */
  let block: { streamId: number; isEnd: boolean; fragments: Pieces; bytes: number } | undefined;
  /** The DATA frame being read: its stream, if that is still open, and what of its length is not handed out. */
  let dataStream: Stream | undefined;
  let dataFlags = 0;
  let dataPadding = 0;
  const readSection = createSectionReader();

  let unsent: Buffer[] = [OPENING];
  let unsentBytes = OPENING.length;
  let isFlushDue = false;

  let slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  let slabUsed = 0;
  let isSlabKept = false;

  let timer: NodeJS.Timeout | undefined;
  let isSuspect = false;

  // ---- writing

  function send(bytes: Buffer): void {
    if (state === 'closed') return;
    unsent.push(bytes);
    unsentBytes += bytes.length;
    if (isFlushDue) return;
    isFlushDue = true;
    setImmediate(flush);
  }

  function flush(): void {
    isFlushDue = false;
    if (unsentBytes === 0 || state === 'closed') return;
    if (unsentBytes <= JOIN_BYTES) {
      socket.write(unsent.length === 1 ? (unsent[0] as Buffer) : Buffer.concat(unsent, unsentBytes));
    } else {
      const pieces = new Pieces();
      for (const bytes of unsent) pieces.push(bytes);
      socket.cork();
      for (let bytes = pieces.shift(); bytes !== undefined; bytes = pieces.shift()) socket.write(bytes);
      socket.uncork();
    }
    unsent = [];
    unsentBytes = 0;
  }

  const isFull = (): boolean => unsentBytes + socket.writableLength > MAX_UNSENT_BYTES;

  /** Acknowledges; a peer that asks and never reads must not fill our memory. */
  function acknowledge(bytes: Buffer): void {
    if (isFull()) throw connectionError(ErrorCode.ENHANCE_YOUR_CALM, 'acknowledgements pile up');
    send(bytes);
  }

  /** Sends one DATA frame of a stream. False when a window, or the socket, is in the way. */
  function sendData(stream: Stream): boolean {
    let size = 0;
    // an end without bytes needs no window
    if (stream.queuedBytes > 0) {
      if (stream.sendWindow <= 0) return false;
      if (sendWindow === 0 || isFull()) {
        waiting.add(stream);
        return false;
      }
      size = Math.min(stream.queuedBytes, peerFrameBytes, stream.sendWindow, sendWindow);
    }
    const isEnd = stream.isEndQueued && size === stream.queuedBytes;
    const header = Buffer.allocUnsafe(FRAME_HEADER_BYTES);
    writeFrameHeader(header, 0, size, DATA, isEnd ? END_STREAM : 0, stream.id);
    send(header);
    const before = unsent.length;
    dequeue(stream, size, unsent);
    for (let i = before; i < unsent.length; i++) unsentBytes += (unsent[i] as Buffer).length;
    stream.sendWindow -= size;
    sendWindow -= size;
    stream.isLocalEnded = isEnd;
    return true;
  }

  const hasMore = (stream: Stream): boolean => stream.queuedBytes > 0 || (stream.isEndQueued && !stream.isLocalEnded);

  /** Sends what a stream has as far as it goes; true when all of it went. */
  function pump(stream: Stream): boolean {
    while (hasMore(stream)) if (!sendData(stream)) return false;
    return true;
  }

  /** Lets those that wait for the connection send in turns, a frame each. */
  function pumpWaiting(): void {
    for (const stream of waiting) {
      if (sendWindow <= 0 || isFull()) return;
      waiting.delete(stream);
      if (!sendData(stream)) continue;
      if (hasMore(stream)) waiting.add(stream);
      else stream.listener.onDrain();
    }
  }

  function reset(stream: Stream, code: number): void {
    send(numberFrame(RST_STREAM, stream.id, code));
    abandoned.add(stream.id);
    remove(stream);
    if (abandoned.size >= MAX_RESETS && state === 'open') drain();
  }

  // ---- streams

  function remove(stream: Stream): void {
    if (stream.isClosed) return;
    stream.isClosed = true;
    streams.delete(stream.id);
    waiting.delete(stream);
    stream.queue.length = 0;
    stream.queuedBytes = 0;
    // only once its owner has heard of its end
    if (state === 'draining' && streams.size === 0) setImmediate(finish);
    else if (state === 'open' && streams.size === peerMaxStreams - 1) events.onCapacity();
  }

  /** Ends a stream that fails: nobody will consume what it holds. */
  function fail(stream: Stream, error: H2Error): void {
    if (stream.isClosed) return;
    remove(stream);
    release(stream);
    stream.listener.onClose(error);
  }

  function failByUs(stream: Stream, error: H2Error): void {
    reset(stream, error.code);
    release(stream);
    stream.listener.onClose(error);
  }

  /** Gives back all that a stream holds. */
  function release(stream: Stream): void {
    const bytes = stream.held;
    stream.held = 0;
    held -= bytes;
    returnToConnection(bytes);
  }

  function returnToConnection(bytes: number): void {
    unreturned += bytes;
    if (unreturned < CONNECTION_WINDOW / 2) return;
    send(numberFrame(WINDOW_UPDATE, 0, unreturned));
    receiveWindow += unreturned;
    unreturned = 0;
  }

  function returnToStream(stream: Stream, bytes: number): void {
    stream.unreturned += bytes;
    if (stream.unreturned < STREAM_WINDOW / 2 || stream.isClosed) return;
    send(numberFrame(WINDOW_UPDATE, stream.id, stream.unreturned));
    stream.receiveWindow += stream.unreturned;
    stream.unreturned = 0;
  }

  /**
   * The response is whole, and nobody will look at the rest of the request. The stream closes by END_STREAM
   * all the same: a reset would count against us.
   */
  function complete(stream: Stream): void {
    if (stream.bodyLeft !== undefined && stream.bodyLeft !== 0) {
      failByUs(stream, malformed('body of another length than its content-length'));
      return;
    }
    if (!stream.isLocalEnded) {
      stream.queue.length = 0;
      stream.queuedBytes = 0;
      stream.isEndQueued = true;
      sendData(stream);
    }
    remove(stream);
    stream.listener.onClose(undefined);
  }

  /** The open stream that a frame is for; undefined when it is over and the frame has nothing to say. */
  function streamOf(streamId: number, what: string): Stream | undefined {
    const stream = streams.get(streamId);
    if (stream !== undefined) return stream;
    if (streamId === 0 || streamId % 2 === 0 || streamId >= nextId) {
      throw connectionError(ErrorCode.PROTOCOL_ERROR, `${what} on stream ${streamId}, which was never opened`);
    }
    return undefined;
  }

  /** As `streamOf`, for frames that a peer may not send once it has ended the stream. */
  function receivingStream(streamId: number, what: string): Stream | undefined {
    const stream = streamOf(streamId, what);
    if (stream !== undefined || abandoned.has(streamId)) return stream;
    throw connectionError(ErrorCode.STREAM_CLOSED, `${what} on stream ${streamId}, which is closed`);
  }

  // ---- reading

  const sink: FrameSink = {
    onDataFrame(flags, streamId, length) {
      if (block !== undefined || state === 'connecting') throw unexpected('DATA');
      const stream = receivingStream(streamId, 'DATA');
      if (length > receiveWindow) {
        throw connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window of the connection');
      }
      receiveWindow -= length;
      dataStream = stream;
      dataFlags = flags;
      dataPadding = length;
      if (stream === undefined) return;
      if (!stream.hasHead) {
        failByUs(stream, malformed('DATA before HEADERS'));
      } else if (length > stream.receiveWindow) {
        failByUs(stream, new H2Error(ErrorCode.FLOW_CONTROL_ERROR, 'DATA beyond the window of the stream', 'local'));
      }
      stream.receiveWindow -= length;
    },

    onDataPiece(piece) {
      const { length } = piece;
      dataPadding -= length;
      if (dataStream === undefined || dataStream.isClosed) {
        returnToConnection(length);
        return;
      }
      dataStream.held += length;
      held += length;
      if (dataStream.bodyLeft !== undefined) dataStream.bodyLeft -= length;
      isSlabKept = true;
      dataStream.listener.onData(piece);
    },

    onDataEnd() {
      const stream = dataStream;
      dataStream = undefined;
      returnToConnection(dataPadding);
      if (stream === undefined || stream.isClosed) return;
      returnToStream(stream, dataPadding);
      if ((dataFlags & END_STREAM) !== 0) complete(stream);
    },

    onFrame(type, flags, streamId, payload) {
      if (state === 'connecting' && (type !== SETTINGS || (flags & ACK) !== 0)) throw unexpected('first frame');
      if (block !== undefined && type !== CONTINUATION) throw unexpected('frame within a header block');
      switch (type) {
        case HEADERS:
          receivingHeaders(flags, streamId, headerFragment(flags, payload));
          break;
        case CONTINUATION:
          onContinuation(flags, streamId, payload);
          break;
        case PRIORITY:
          if (streamId === 0) throw unexpected('PRIORITY on stream 0');
          expectLength('PRIORITY', payload, 5);
          break;
        case RST_STREAM:
          onRstStream(streamId, payload);
          break;
        case SETTINGS:
          onSettings(flags, streamId, payload);
          break;
        case PUSH_PROMISE:
          throw unexpected('PUSH_PROMISE');
        case PING:
          if (streamId !== 0) throw unexpected('PING on a stream');
          expectLength('PING', payload, 8);
          if ((flags & ACK) === 0) acknowledge(frame(PING, ACK, 0, payload));
          break;
        case GOAWAY:
          onGoaway(streamId, payload);
          break;
        case WINDOW_UPDATE:
          onWindowUpdate(streamId, payload);
          break;
        default: // unknown types are ignored (RFC 9113 §5.5)
      }
    },
  };

  function receivingHeaders(flags: number, streamId: number, fragment: Buffer): void {
    streamOf(streamId, 'HEADERS');
    const isEnd = (flags & END_STREAM) !== 0;
    if ((flags & END_HEADERS) !== 0) onHeaders(streamId, isEnd, fragment);
    else {
      block = { streamId, isEnd, fragments: new Pieces(), bytes: fragment.length };
      // the view would not outlive this read
      block.fragments.push(Buffer.from(fragment));
    }
  }

  function onContinuation(flags: number, streamId: number, payload: Buffer): void {
    if (block === undefined || block.streamId !== streamId) throw unexpected('CONTINUATION');
    // with its header, or empty ones could go on for ever
    block.bytes += FRAME_HEADER_BYTES + payload.length;
    if (block.bytes > MAX_HEADER_BYTES) {
      throw connectionError(ErrorCode.ENHANCE_YOUR_CALM, `header block above ${MAX_HEADER_BYTES} bytes`);
    }
    block.fragments.push(Buffer.from(payload));
    if ((flags & END_HEADERS) === 0) return;
    const { isEnd, fragments } = block;
    block = undefined;
    onHeaders(streamId, isEnd, fragments.all());
  }

  function onHeaders(streamId: number, isEnd: boolean, bytes: Buffer): void {
    const stream = receivingStream(streamId, 'HEADERS');
    if (stream === undefined) return;
    const read = readSection(bytes, stream.hasHead, isEnd);
    if (read instanceof H2Error) {
      failByUs(stream, read);
      return;
    }
    if (read.section === 'interim') return;
    if (read.section === 'head') {
      stream.hasHead = true;
      stream.bodyLeft = read.contentLength;
    }
    stream.listener.onHeaders(read.fields);
    if (isEnd && !stream.isClosed) complete(stream);
  }

  function onRstStream(streamId: number, payload: Buffer): void {
    expectLength('RST_STREAM', payload, 4);
    const stream = streamOf(streamId, 'RST_STREAM');
    if (stream === undefined) return;
    const code = payload.readUInt32BE(0);
    // node:http2 refuses streams so while its session holds too much memory: it would refuse the next one, too
    const isExhausted = code === ErrorCode.ENHANCE_YOUR_CALM && !stream.hasHead;
    if (isExhausted) drain();
    const isRefused = isExhausted || code === ErrorCode.REFUSED_STREAM;
    fail(stream, new H2Error(code, 'stream reset by the peer', 'peer', isRefused));
  }

  function onSettings(flags: number, streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw unexpected('SETTINGS on a stream');
    if ((flags & ACK) !== 0) {
      expectLength('acknowledgement of SETTINGS', payload, 0);
      return;
    }
    if (payload.length % 6 !== 0) throw connectionError(ErrorCode.FRAME_SIZE_ERROR, 'SETTINGS of a broken length');
    const wasFull = !canRequest();
    for (let at = 0; at < payload.length; at += 6) applySetting(payload.readUInt16BE(at), payload.readUInt32BE(at + 2));
    acknowledge(SETTINGS_ACK);
    if (state === 'connecting') {
      clearTimeout(timer);
      state = 'open';
      events.onOpen();
    } else if (wasFull && canRequest()) events.onCapacity();
  }

  function applySetting(id: number, value: number): void {
    switch (id) {
      case ENABLE_PUSH:
        if (value !== 0) throw connectionError(ErrorCode.PROTOCOL_ERROR, `ENABLE_PUSH ${value} from a server`);
        break;
      case MAX_CONCURRENT_STREAMS:
        peerMaxStreams = value;
        break;
      case INITIAL_WINDOW_SIZE:
        if (value > MAX_WINDOW) throw connectionError(ErrorCode.FLOW_CONTROL_ERROR, `INITIAL_WINDOW_SIZE ${value}`);
        changeSendWindows(value);
        break;
      case MAX_FRAME_SIZE:
        if (value < DEFAULT_FRAME_BYTES || value > 2 ** 24 - 1) {
          throw connectionError(ErrorCode.PROTOCOL_ERROR, `MAX_FRAME_SIZE ${value}`);
        }
        peerFrameBytes = value;
        break;
      default: // we index no header field, and send a few hundred bytes of them; unknown ones are ignored
    }
  }

  function changeSendWindows(initial: number): void {
    const difference = initial - peerInitialWindow;
    // first: a listener may open a stream meanwhile, which needs no change
    peerInitialWindow = initial;
    for (const stream of streams.values()) {
      stream.sendWindow += difference;
      if (stream.sendWindow > MAX_WINDOW) {
        throw connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'INITIAL_WINDOW_SIZE makes a window overflow');
      }
      // a listener may have cancelled it
      if (difference > 0 && !stream.isClosed) resume(stream);
    }
  }

  /** A window of the stream has opened. */
  function resume(stream: Stream): void {
    if (waiting.has(stream) || !hasMore(stream)) return;
    if (pump(stream)) stream.listener.onDrain();
  }

  function onGoaway(streamId: number, payload: Buffer): void {
    if (streamId !== 0) throw unexpected('GOAWAY on a stream');
    if (payload.length < 8) throw connectionError(ErrorCode.FRAME_SIZE_ERROR, 'GOAWAY below 8 bytes');
    const lastId = payload.readUInt32BE(0) & 0x7fffffff;
    const code = payload.readUInt32BE(4);
    if (lastId > peerLastId) throw connectionError(ErrorCode.PROTOCOL_ERROR, 'GOAWAY with a higher stream than before');
    peerLastId = lastId;
    if (state === 'open') {
      state = 'draining';
      events.onDraining();
    }
    for (const stream of streams.values()) {
      if (stream.id > lastId) fail(stream, new H2Error(code, 'stream refused: the peer goes away', 'peer', true));
    }
    // after an error the peer must close (RFC 9113 §5.4.1), but node:http2 leaves its socket open
    if (streams.size === 0 || code !== ErrorCode.NO_ERROR) shut(new H2Error(code, 'connection closed by the peer'));
  }

  function onWindowUpdate(streamId: number, payload: Buffer): void {
    expectLength('WINDOW_UPDATE', payload, 4);
    const increment = payload.readUInt32BE(0) & 0x7fffffff;
    if (streamId === 0) {
      if (increment === 0) throw connectionError(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0');
      sendWindow += increment;
      if (sendWindow > MAX_WINDOW) throw connectionError(ErrorCode.FLOW_CONTROL_ERROR, 'window overflow');
      pumpWaiting();
      return;
    }
    const stream = streamOf(streamId, 'WINDOW_UPDATE');
    if (stream === undefined) return;
    if (increment === 0) {
      failByUs(stream, new H2Error(ErrorCode.PROTOCOL_ERROR, 'WINDOW_UPDATE of 0', 'local'));
    } else if (stream.sendWindow + increment > MAX_WINDOW) {
      failByUs(stream, new H2Error(ErrorCode.FLOW_CONTROL_ERROR, 'window overflow', 'local'));
    } else {
      stream.sendWindow += increment;
      resume(stream);
    }
  }

  // ---- the connection

  function canRequest(): boolean {
    return state === 'open' && streams.size < peerMaxStreams;
  }

  /** Ends the connection and all its streams; with a code the peer is told. */
  function shut(error: H2Error, code?: number): void {
    if (state === 'closed') return;
    clearTimeout(timer);
    if (code === undefined) socket.destroy();
    else {
      flush();
      socket.write(goawayFrame(code));
      socket.destroySoon();
      // a peer that does not read would hold the socket for ever
      timer = setTimeout(() => socket.destroy(), CLOSE_TIMEOUT_MS);
    }
    state = 'closed';
    unsent = [];
    for (const stream of streams.values()) fail(stream, error);
    events.onClose(error);
  }

  /** Closes a connection that has drained. */
  function finish(): void {
    shut(new H2Error(ErrorCode.NO_ERROR, 'connection drained'), ErrorCode.NO_ERROR);
  }

  function drain(): void {
    if (state !== 'open' && state !== 'connecting') return;
    const wasOpen = state === 'open';
    state = 'draining';
    if (wasOpen) events.onDraining();
    if (streams.size === 0) setImmediate(finish);
  }

  function onRead(size: number, bytes: Uint8Array): boolean {
    if (state === 'closed') return true;
    if (isSuspect) {
      isSuspect = false;
      clearTimeout(timer);
    }
    isSlabKept = false;
    try {
      readFrames(Buffer.from(bytes.buffer, bytes.byteOffset, size));
    } catch (error) {
      if (!(error instanceof H2Error)) throw error;
      shut(error, error.code);
    }
    // what was handed out stays where it is; the next read goes behind it
    if (isSlabKept) slabUsed += size;
    return true;
  }

  function nextSlab(): Uint8Array {
    if (slab.length - slabUsed < MIN_READ_BYTES) {
      slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
      slabUsed = 0;
    }
    return slab.subarray(slabUsed);
  }

  const readFrames = createFrameReader(sink);
  const socket: Socket = connect({ path, onread: { buffer: nextSlab, callback: onRead } });
  let cause = 'connection closed by the peer';
  const onEnd = (): void => shut(new H2Error(ErrorCode.NO_ERROR, cause));
  socket.on('error', error => {
    cause = error.message;
  });
  socket.on('end', onEnd);
  socket.on('close', () => {
    onEnd();
    clearTimeout(timer);
  });
  socket.on('drain', pumpWaiting);
  timer = setTimeout(
    () => shut(new H2Error(ErrorCode.SETTINGS_TIMEOUT, 'no SETTINGS from the peer', 'local')),
    SETTINGS_TIMEOUT_MS,
  );
  isFlushDue = true;
  flush();

  return {
    get state() {
      return state;
    },
    get streams() {
      return streams.size;
    },
    get held() {
      return held;
    },
    get isSuspect() {
      return isSuspect;
    },
    canRequest,

    request(headerBlock, listener) {
      const stream = createStream(nextId, listener, peerInitialWindow, STREAM_WINDOW);
      nextId += 2;
      streams.set(stream.id, stream);
      send(frame(HEADERS, END_HEADERS, stream.id, headerBlock));
      // a stream id is never used again: the next request needs another connection
      if (nextId > 2 * maxRequests) drain();
      return stream;
    },

    write(stream, chunks, isEnd) {
      if (stream.isClosed || stream.isEndQueued) return true;
      for (const chunk of chunks) {
        if (chunk.length === 0) continue;
        stream.queue.push(chunk);
        stream.queuedBytes += chunk.length;
      }
      stream.isEndQueued = isEnd;
      return !waiting.has(stream) && pump(stream);
    },

    consume(stream, bytes) {
      const given = Math.min(bytes, stream.held);
      if (given === 0) return;
      stream.held -= given;
      held -= given;
      returnToConnection(given);
      returnToStream(stream, given);
    },

    cancel(stream) {
      if (!stream.isClosed) reset(stream, ErrorCode.CANCEL);
      release(stream);
    },

    verify() {
      if (state === 'closed' || state === 'connecting' || isSuspect) return;
      isSuspect = true;
      send(frame(PING, 0, 0, Buffer.alloc(8)));
      // in steps: of a time in which we were frozen, and the peer with us, only one counts
      let steps = PING_STEPS;
      timer = setInterval(() => {
        if (--steps === 0) shut(new H2Error(ErrorCode.NO_ERROR, 'the peer does not answer'));
      }, PING_STEP_MS);
    },

    drain,
    close: () => shut(new H2Error(ErrorCode.CANCEL, 'connection closed'), ErrorCode.NO_ERROR),
  };
}

function unexpected(what: string): H2Error {
  return connectionError(ErrorCode.PROTOCOL_ERROR, `unexpected ${what}`);
}

function expectLength(what: string, payload: Buffer, length: number): void {
  if (payload.length === length) return;
  throw connectionError(ErrorCode.FRAME_SIZE_ERROR, `${what} of ${payload.length} bytes, expected ${length}`);
}
