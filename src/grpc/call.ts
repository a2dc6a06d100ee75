import type { Connection } from '../h2/connection.ts';
import { encodeBlock, type Fields, field } from '../h2/hpack.ts';
import type { StreamListener } from '../h2/stream.ts';
import { Pieces } from '../pieces.ts';
import { createMessageReader, type MessageSink } from './message.ts';
import { breach, decodeStatusMessage, fromH2Error, fromHttpStatus, GrpcError, isStatus } from './status.ts';
import * as Status from './status-code.ts';

/** What hears of a call. After `onClose` nothing more comes. */
export interface CallListener extends MessageSink {
  /** Everything that was sent is on its way. */
  onDrain(): void;
  /** The call is over: with status OK, all messages handed on, or with an error. */
  onClose(error: GrpcError | undefined): void;
}

/** One call in both directions. */
export interface Call {
  /**
   * Sends bytes of messages, prefix and all; cut anywhere. False when some had to wait: `onDrain` follows.
   * Ignored once the call is over.
   */
  send(chunks: readonly Buffer[], isEnd: boolean): boolean;
  /** Gives bytes of pieces that are done with back to the peer's window. */
  consume(bytes: number): void;
  /** Ends the call; `onClose` does not follow. What was handed on and not consumed is given back. */
  cancel(): void;
}

/** The heads of calls, by method: the few that there are, each encoded at its first call. */
const heads = new Map<string, Buffer>();

/** Encodes the head of a call to a method. @see gRPC over HTTP2, "Requests" */
function encodeHead(path: string): Buffer {
  const head = encodeBlock([
    ':method',
    'POST',
    ':scheme',
    'http',
    ':path',
    path,
    ':authority',
    'localhost',
    'content-type',
    'application/grpc',
    'te',
    'trailers',
  ]);
  heads.set(path, head);
  return head;
}

/**
 * Begins a call on a connection that can take one (`canRequest`).
 *
 * @param path - the method's, `/package.Service/method`.
 */
export function openCall(connection: Connection, path: string, listener: CallListener): Call {
  let head: Fields | undefined;
  let trailers: Fields | undefined;
  let isOver = false;
  // one read may hold more messages than the call that they end or cancel
  const reader = createMessageReader({
    onMessage(length) {
      if (!isOver) listener.onMessage(length);
    },
    onPiece(piece) {
      if (!isOver) listener.onPiece(piece);
    },
    onMessageEnd() {
      if (!isOver) listener.onMessageEnd();
    },
  });

  /** Ends the call for a fault of the peer's. */
  function abort(error: GrpcError): void {
    if (isOver) return;
    isOver = true;
    connection.cancel(stream);
    listener.onClose(error);
  }

  const onStream: StreamListener = {
    onHeaders(fields) {
      if (head !== undefined) {
        trailers = fields;
        return;
      }
      head = fields;
      const fault = checkHead(fields);
      if (fault !== undefined) abort(fault);
    },
    onData(piece) {
      try {
        connection.consume(stream, reader.read(piece));
      } catch (error) {
        if (!(error instanceof GrpcError)) throw error;
        abort(error);
      }
    },
    onDrain: () => listener.onDrain(),
    onClose(error) {
      if (isOver) return;
      isOver = true;
      if (error !== undefined) listener.onClose(fromH2Error(error));
      else listener.onClose(statusOf(trailers ?? head ?? [], reader.isBetweenMessages()));
    },
  };
  const stream = connection.request(heads.get(path) ?? encodeHead(path), onStream);

  return {
    send: (chunks, isEnd) => connection.write(stream, chunks, isEnd),
    consume: bytes => connection.consume(stream, bytes),
    cancel() {
      isOver = true;
      connection.cancel(stream);
    },
  };
}

/**
 * Makes a call of one message each way; resolves with the response's bytes.
 *
 * @param message - with its prefix.
 * @throws {GrpcError} rejected: DEADLINE_EXCEEDED after `timeoutMs`, UNIMPLEMENTED for a response of no
 *   message or more than one, and whatever the peer answers.
 * @see gRPC "Status codes and their use in gRPC", response cardinality
 */
export function unaryCall(connection: Connection, path: string, message: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces = new Pieces();
    let isWhole = false;
    const timer = setTimeout(() => {
      call.cancel();
      reject(new GrpcError(Status.DEADLINE_EXCEEDED, `no answer within ${timeoutMs} ms`));
      connection.verify();
    }, timeoutMs);
    const call = openCall(connection, path, {
      onMessage() {
        if (!isWhole) return;
        call.cancel();
        clearTimeout(timer);
        reject(new GrpcError(Status.UNIMPLEMENTED, 'more than one message in the response'));
      },
      onPiece(piece) {
        pieces.push(piece);
        call.consume(piece.length);
      },
      onMessageEnd() {
        isWhole = true;
      },
      onDrain() {},
      onClose(error) {
        clearTimeout(timer);
        if (error !== undefined) reject(error);
        else if (!isWhole) reject(new GrpcError(Status.UNIMPLEMENTED, 'no message in the response'));
        else resolve(pieces.all());
      },
    });
    call.send([message], true);
  });
}

function checkHead(fields: Fields): GrpcError | undefined {
  // what gRPC says counts for more than what HTTP says
  if (field(fields, 'grpc-status') !== undefined) return undefined;
  const status = fields[1] as string;
  if (status !== '200') return fromHttpStatus(status);
  const type = field(fields, 'content-type') ?? '';
  return /^application\/grpc([+;]|$)/.test(type)
    ? undefined
    : breach(Status.UNKNOWN, `content-type ${JSON.stringify(type)}, expected application/grpc`);
}

/** What trailers, or a head that is trailers too, say of the call's end. */
function statusOf(fields: Fields, isBetweenMessages: boolean): GrpcError | undefined {
  const value = field(fields, 'grpc-status');
  const code = value === undefined || !/^\d{1,4}$/.test(value) ? Status.UNKNOWN : Number(value);
  if (value !== undefined && code !== Status.OK) {
    const details = decodeStatusMessage(field(fields, 'grpc-message') ?? '');
    if (isStatus(value)) return new GrpcError(code, details);
    return breach(code, `grpc-status ${JSON.stringify(value)}, expected 0 to 16: ${details}`);
  }
  if (!isBetweenMessages) return new GrpcError(Status.DATA_LOSS, 'the call ended inside a message');
  return value === undefined ? new GrpcError(Status.UNKNOWN, 'the call ended without a status') : undefined;
}
