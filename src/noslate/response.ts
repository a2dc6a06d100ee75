import type { GatewayError } from '../errors.ts';
import type { MessageSink } from '../grpc/message.ts';
import { breach, type GrpcError } from '../grpc/status.ts';
import * as Status from '../grpc/status-code.ts';
import { headTooLarge, MAX_HEAD_BYTES, type RawHeaders } from '../headers.ts';
import { Pieces } from '../pieces.ts';
import { FIXED32, FIXED64, LENGTH_DELIMITED, ProtobufError, VARINT } from '../protobuf.ts';
import type { NoslateError } from './errors.ts';
import { InvokeErrorResponse, KeyValuePair } from './messages.ts';

/** Fields of InvokeResponse, and of InvokeResultResponse in its `result`. */
const ERROR = (1 << 3) | LENGTH_DELIMITED;
const RESULT = (2 << 3) | LENGTH_DELIMITED;
const STATUS = (1 << 3) | VARINT;
const HEADERS = (2 << 3) | LENGTH_DELIMITED;
const BODY = (3 << 3) | LENGTH_DELIMITED;

/** The most that is held of an error: a function may throw one of any size. */
const MAX_ERROR_BYTES = 1024 * 1024;

/** What hears of a response. */
export interface ResponseListener {
  /** Once. */
  onHead(status: number, headers: RawHeaders): void;
  /** A piece of the body, a view of what was read; its bytes are to be consumed. */
  onBody(piece: Buffer): void;
  /** The plane reports a failure, before or after the head, or what it sends makes no sense. Nothing more comes. */
  onError(error: NoslateError | GrpcError | GatewayError): void;
}

/**
 * Reads InvokeResponse messages as they come in, cut anywhere. The body is handed on at once, wherever in a message it
 * is: a message may be forty times what a stream's window holds.
 */
export class ResponseReader implements MessageSink {
  readonly #listener: ResponseListener;
  readonly #consume: (bytes: number) => void;
  #hasHead = false;
  #status = 0;
  readonly #headers: string[] = [];
  #headBytes = 0;
  #isOver = false;

  /** Bytes to come of the message, and of the `result` in it, or -1 when we are in none. */
  #messageLeft = 0;
  #resultLeft = -1;
  /** The message has had a `result`. */
  #isResult = false;
  /** What comes next: a number, or so many bytes of a value. */
  #step: 'tag' | 'length' | 'varint' | 'skip' | 'keep' | 'body' = 'tag';
  #number = 0;
  #shift = 0;
  #tag = 0;
  #left = 0;
  /** What of a value is needed as a whole. */
  readonly #kept: Pieces = new Pieces();

  /** @param consume - gives back bytes that are not handed on. */
  constructor(listener: ResponseListener, consume: (bytes: number) => void) {
    this.#listener = listener;
    this.#consume = consume;
  }

  onMessage(length: number): void {
    this.#messageLeft = length;
    this.#resultLeft = -1;
    this.#isResult = false;
    this.#expect('tag');
  }

  onPiece(piece: Buffer): void {
    try {
      this.#read(piece);
    } catch (error) {
      this.#failFor(error);
    }
  }

  onMessageEnd(): void {
    if (this.#isOver) return;
    try {
      if (this.#step !== 'tag' || this.#shift > 0 || this.#resultLeft > 0) throw new ProtobufError('truncated');
      if (!this.#isResult) throw new ProtobufError('neither result nor error');
      this.#makeHead();
    } catch (error) {
      this.#failFor(error);
    }
  }

  #read(piece: Buffer): void {
    let at = 0;
    let returned = 0;
    while (at < piece.length && !this.#isOver) {
      if (this.#left === 0) {
        // a number may be cut anywhere, too, but not by the end of what it is in
        if (this.#resultLeft === 0) {
          if (this.#step !== 'tag' || this.#shift > 0) throw new ProtobufError('truncated');
          this.#resultLeft = -1;
        }
        this.#advance(1);
        returned++;
        this.#onByte(piece[at++] as number);
        continue;
      }
      const size = Math.min(this.#left, piece.length - at);
      const part = size === piece.length ? piece : piece.subarray(at, at + size);
      at += size;
      this.#left -= size;
      this.#advance(size);
      if (this.#step === 'body') this.#listener.onBody(part);
      else {
        returned += size;
        if (this.#step === 'keep') this.#kept.push(part);
      }
      if (this.#left === 0) this.#onValue();
    }
    if (returned > 0) this.#consume(returned);
  }

  #advance(bytes: number): void {
    this.#messageLeft -= bytes;
    if (this.#resultLeft >= 0) this.#resultLeft -= bytes;
  }

  /** A number begins. */
  #expect(step: 'tag' | 'length' | 'varint'): void {
    this.#step = step;
    this.#number = 0;
    this.#shift = 0;
  }

  #onByte(byte: number): void {
    if (this.#shift < 32) this.#number |= (byte & 0x7f) << this.#shift;
    this.#shift += 7;
    if (byte >= 0x80) {
      if (this.#shift >= 70) throw new ProtobufError('varint of more than 10 bytes');
      return;
    }
    if (this.#step === 'tag') this.#onTag(this.#number >>> 0);
    else if (this.#step === 'length') this.#onLength(this.#number >>> 0);
    else {
      if (this.#resultLeft >= 0 && this.#tag === STATUS && !this.#hasHead) this.#status = this.#number | 0;
      this.#expect('tag');
    }
  }

  #onTag(tag: number): void {
    if (tag < 8) throw new ProtobufError('field number 0');
    this.#tag = tag;
    const wireType = tag & 7;
    if (wireType === VARINT) this.#expect('varint');
    else if (wireType === LENGTH_DELIMITED) this.#expect('length');
    else if (wireType === FIXED64 || wireType === FIXED32) {
      const length = wireType === FIXED64 ? 8 : 4;
      this.#checkRoom(length);
      this.#begin('skip', length);
    } else throw new ProtobufError(`wire type ${wireType}`);
  }

  #onLength(length: number): void {
    const tag = this.#tag;
    this.#checkRoom(length);
    if (this.#resultLeft >= 0) {
      if (tag === BODY) {
        if (length > 0) this.#makeHead();
        this.#begin('body', length);
      } else if (tag === HEADERS && !this.#hasHead) {
        this.#headBytes += length;
        if (this.#headBytes > MAX_HEAD_BYTES) this.#fail(headTooLarge());
        else this.#begin('keep', length);
      } else this.#begin('skip', length);
    } else if (tag === RESULT) {
      this.#isResult = true;
      this.#resultLeft = length;
      this.#expect('tag');
    } else if (tag === ERROR && length > MAX_ERROR_BYTES) {
      this.#fail({ name: 'NoslatedError', message: `error of ${length} bytes` });
    } else this.#begin(tag === ERROR ? 'keep' : 'skip', length);
  }

  #checkRoom(length: number): void {
    const room = this.#resultLeft < 0 ? this.#messageLeft : this.#resultLeft;
    if (length > room) throw new ProtobufError(`value of ${length} bytes, ${room} left`);
  }

  /** A value begins. */
  #begin(step: 'skip' | 'keep' | 'body', length: number): void {
    this.#step = step;
    this.#left = length;
    if (length === 0) this.#onValue();
  }

  /** A value is whole. */
  #onValue(): void {
    if (this.#step === 'keep') {
      const bytes = this.#kept.all();
      if (this.#tag === ERROR) {
        this.#fail(InvokeErrorResponse.decode(bytes));
        return;
      }
      const { key = '', value = '' } = KeyValuePair.decode(bytes);
      this.#headers.push(key, value);
    }
    this.#expect('tag');
  }

  #makeHead(): void {
    if (this.#hasHead) return;
    this.#hasHead = true;
    this.#listener.onHead(this.#status, this.#headers);
  }

  #failFor(error: unknown): void {
    if (!(error instanceof ProtobufError)) throw error;
    this.#fail(breach(Status.INTERNAL, `InvokeResponse: ${error.message}`));
  }

  #fail(error: Parameters<ResponseListener['onError']>[0]): void {
    this.#isOver = true;
    this.#kept.clear();
    this.#listener.onError(error);
  }
}
