import type { MessageSink } from '../grpc/message.ts';
import { GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import type { RawHeaders } from '../headers.ts';
import { ProtobufError } from '../protobuf.ts';
import type { NoslateError } from './errors.ts';
import { InvokeResponse } from './messages.ts';

/** `result`, field 2 of InvokeResponse, and `body`, field 3 of InvokeResultResponse. */
const RESULT_TAG = (2 << 3) | 2;
const BODY_TAG = (3 << 3) | 2;
/** Two tags and two lengths below 2^28. */
const MAX_BODY_HEADER_BYTES = 10;

/** What hears of a response. */
export interface ResponseListener {
  /** Once. */
  onHead(status: number, headers: RawHeaders): void;
  /** A piece of the body, a view of what was read; its bytes are to be consumed. */
  onBody(piece: Buffer): void;
  /** The plane reports a failure, before or after the head, or what it sends makes no sense. */
  onError(error: NoslateError | GrpcError): void;
}

/**
 * Makes a reader of InvokeResponse messages. The body of a message is handed on as it comes in: a message
 * may be forty times what a stream's window holds.
 *
 * @param consume - gives back bytes that are not handed on.
 */
export function createResponseReader(listener: ResponseListener, consume: (bytes: number) => void): MessageSink {
  let hasHead = false;
  let length = 0;
  /** The message so far, unless it is all body from here on. */
  let pieces: Buffer[] = [];
  let size = 0;
  let isInBody = false;

  function onWhole(bytes: Buffer): void {
    const { error, result } = InvokeResponse.decode(bytes);
    if (error !== undefined) {
      listener.onError(error);
      return;
    }
    if (result === undefined) throw new ProtobufError('neither result nor error');
    if (!hasHead) {
      hasHead = true;
      listener.onHead(result.status ?? 0, result.headers ?? []);
    }
    if (result.body !== undefined) listener.onBody(result.body as Buffer);
  }

  return {
    onMessage(messageLength) {
      length = messageLength;
      size = 0;
      isInBody = false;
    },
    onPiece(piece) {
      if (isInBody) {
        listener.onBody(piece);
        return;
      }
      // only the beginning of a message can tell, be it cut into pieces
      if (hasHead && size < MAX_BODY_HEADER_BYTES) {
        const beginning = pieces.length === 0 ? piece : Buffer.concat([...pieces, piece]);
        const start = bodyStart(beginning, length);
        if (start > 0) {
          isInBody = true;
          consume(start - size);
          pieces = [];
          if (start < beginning.length) listener.onBody(beginning.subarray(start));
          return;
        }
      }
      pieces.push(piece);
      size += piece.length;
      consume(piece.length);
    },
    onMessageEnd() {
      if (isInBody) return;
      const bytes = pieces.length === 1 ? (pieces[0] as Buffer) : Buffer.concat(pieces);
      pieces = [];
      try {
        onWhole(bytes);
      } catch (error) {
        if (!(error instanceof ProtobufError)) throw error;
        listener.onError(new GrpcError(Status.INTERNAL, `InvokeResponse: ${error.message}`));
      }
    },
  };
}

/** Where the body begins in a message that is nothing but `result { body }`; 0 if it is not, or too little is there. */
function bodyStart(bytes: Buffer, length: number): number {
  if (bytes[0] !== RESULT_TAG) return 0;
  const result = varint(bytes, 1);
  if (result === undefined || result.value !== length - result.end || bytes[result.end] !== BODY_TAG) return 0;
  const body = varint(bytes, result.end + 1);
  return body !== undefined && body.value === length - body.end ? body.end : 0;
}

function varint(bytes: Buffer, start: number): { value: number; end: number } | undefined {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const byte = bytes[start + i];
    if (byte === undefined) return undefined;
    value |= (byte & 0x7f) << (7 * i);
    if (byte < 0x80) return { value, end: start + i + 1 };
  }
  return undefined;
}
