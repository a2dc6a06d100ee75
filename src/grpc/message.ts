import { breach } from './status.ts';
import * as Status from './status-code.ts';

/** Compressed flag and length. @see gRPC over HTTP2, "Length-Prefixed-Message" */
export const PREFIX_BYTES = 5;

/** Noslate's limit of a serialized message, either way. */
export const MAX_MESSAGE_BYTES: number = 10 * 1024 * 1024;

/** What hears of the messages in a byte stream. */
export interface MessageSink {
  /** A message of so many bytes begins. */
  onMessage(length: number): void;
  /** Some of its bytes, a view of what was read. */
  onPiece(piece: Buffer): void;
  /** It is whole. */
  onMessageEnd(): void;
}

/** Cuts a byte stream into messages. */
export interface MessageReader {
  /**
   * Takes the next bytes, cut anywhere. Gives how many of them were prefixes, and not handed on.
   *
   * @throws {GrpcError} RESOURCE_EXHAUSTED for a message above `maxBytes`, before any of it is handed on;
   *   INTERNAL for a compressed one, since no compression was agreed on.
   */
  read(piece: Buffer): number;
  /** False in the middle of a message. */
  isBetweenMessages(): boolean;
}

/** Makes a reader; no byte of a message is copied. */
export function createMessageReader(sink: MessageSink, maxBytes: number = MAX_MESSAGE_BYTES): MessageReader {
  /** Bytes of the prefix so far, what they say, and bytes of the message to come. */
  let prefixSize = 0;
  let length = 0;
  let left = 0;

  return {
    read(piece) {
      let at = 0;
      let prefixes = 0;
      while (at < piece.length) {
        if (left > 0) {
          const size = Math.min(left, piece.length - at);
          left -= size;
          sink.onPiece(size === piece.length ? piece : piece.subarray(at, at + size));
          at += size;
          if (left === 0) sink.onMessageEnd();
          continue;
        }
        const byte = piece[at++] as number;
        prefixes++;
        if (prefixSize === 0) {
          if (byte !== 0) throw breach(Status.INTERNAL, `compressed message (flag ${byte})`);
          length = 0;
        } else length = length * 256 + byte;
        if (++prefixSize < PREFIX_BYTES) continue;
        prefixSize = 0;
        if (length > maxBytes) {
          throw breach(Status.RESOURCE_EXHAUSTED, `message of ${length} bytes, expected at most ${maxBytes}`);
        }
        left = length;
        sink.onMessage(length);
        if (length === 0) sink.onMessageEnd();
      }
      return prefixes;
    },
    isBetweenMessages: () => left === 0 && prefixSize === 0,
  };
}

/** Writes a message's prefix into `target`. */
export function writePrefix(target: Buffer, at: number, length: number): void {
  target[at] = 0;
  target.writeUInt32BE(length, at + 1);
}

/** Makes one message of its serialized form. */
export function frameMessage(bytes: Uint8Array): Buffer {
  const message = Buffer.allocUnsafe(PREFIX_BYTES + bytes.length);
  writePrefix(message, 0, bytes.length);
  message.set(bytes, PREFIX_BYTES);
  return message;
}
