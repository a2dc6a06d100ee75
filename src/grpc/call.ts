import type { Connection } from '../h2/connection.ts';
import { encodeBlock, type Fields, field } from '../h2/hpack.ts';
import type { StreamListener } from '../h2/stream.ts';
import { createMessageReader, type MessageSink } from './message.ts';
import { decodeStatusMessage, fromH2Error, fromHttpStatus, GrpcError, Status } from './status.ts';

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

/** Encodes the head of a call to a method, once for all calls. @see gRPC over HTTP2, "Requests" */
export function requestBlock(path: string): Buffer {
  return encodeBlock([
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
}

/** Begins a call on a connection that can take one (`canRequest`). */
export function openCall(connection: Connection, block: Buffer, listener: CallListener): Call {
  let head: Fields | undefined;
  let trailers: Fields | undefined;
  let isOver = false;
  const reader = createMessageReader(listener);

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
      else if (!reader.isBetweenMessages()) listener.onClose(new GrpcError(Status.DATA_LOSS, 'ended inside a message'));
      else listener.onClose(statusOf(trailers ?? head ?? []));
    },
  };
  const stream = connection.request(block, onStream);

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
 * @throws {GrpcError} rejected: DEADLINE_EXCEEDED after `timeoutMs`, INTERNAL without a response, and
 *   whatever the peer answers.
 */
export function unaryCall(connection: Connection, block: Buffer, message: Buffer, timeoutMs: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const pieces: Buffer[] = [];
    let isWhole = false;
    const timer = setTimeout(() => {
      call.cancel();
      reject(new GrpcError(Status.DEADLINE_EXCEEDED, `no answer within ${timeoutMs} ms`));
      connection.verify();
    }, timeoutMs);
    const call = openCall(connection, block, {
      onMessage() {},
      onPiece(piece) {
        // a copy: the view would keep far more than itself
        pieces.push(Buffer.from(piece));
        call.consume(piece.length);
      },
      onMessageEnd() {
        isWhole = true;
      },
      onDrain() {},
      onClose(error) {
        clearTimeout(timer);
        if (error !== undefined) reject(error);
        else if (!isWhole) reject(new GrpcError(Status.INTERNAL, 'no message in the response'));
        else resolve(Buffer.concat(pieces));
      },
    });
    call.send([message], true);
  });
}

function checkHead(fields: Fields): GrpcError | undefined {
  const status = fields[1] as string;
  if (status !== '200') return fromHttpStatus(status);
  const type = field(fields, 'content-type') ?? '';
  return /^application\/grpc([+;]|$)/.test(type)
    ? undefined
    : new GrpcError(Status.UNKNOWN, `content-type ${JSON.stringify(type)}, expected application/grpc`);
}

/** What trailers, or a head that is trailers too, say of the call's end. */
function statusOf(fields: Fields): GrpcError | undefined {
  const value = field(fields, 'grpc-status');
  if (value === undefined) return new GrpcError(Status.UNKNOWN, 'the call ended without a status');
  if (value === '0') return undefined;
  const details = decodeStatusMessage(field(fields, 'grpc-message') ?? '');
  return new GrpcError(/^\d{1,4}$/.test(value) ? Number(value) : Status.UNKNOWN, details);
}
