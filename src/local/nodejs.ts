import { STATUS_CODES } from 'node:http';
import { Writable } from 'node:stream';
import { Inlet } from '../inlet.ts';
import { Pieces } from '../pieces.ts';
import { createOutlet, MESSAGE_COST, type Outlet } from './channel.ts';
import type { InvokeHead } from './messages.ts';

/** A write is one message of the data plane's, which takes 10 MiB. */
const MAX_WRITE = 10 * 1024 * 1024;

type HeaderValue = string | readonly string[];

/**
 * `req` of a nodejs function: a Readable of Buffers with the request's head.
 *
 * @see Noslate contract §5, "nodejs"
 */
export class IncomingMessage extends Inlet {
  /** What a developer sees who prints `req`; the build shortens names. */
  static override readonly name = 'IncomingMessage';
  /** Exactly what the client sent. */
  readonly url: string;
  readonly method: string;
  /** Name, value, name, value, …; all of them, in order. */
  readonly rawHeaders: readonly string[];
  readonly #baggage: readonly string[];

  constructor(head: InvokeHead, grant: (bytes: number) => void) {
    super(grant, () => {}, MESSAGE_COST);
    this.url = head.url;
    this.method = head.method;
    this.rawHeaders = head.headers;
    this.#baggage = head.baggage;
  }

  /** Names as sent; of duplicates the last. */
  get headers(): Record<string, string> {
    return toObject(this.rawHeaders);
  }

  get baggage(): Record<string, string> {
    return toObject(this.#baggage);
  }
}

/** Where a response goes. */
export interface ResponseSink {
  head(status: number, headers: readonly string[], piece: Uint8Array | undefined, isEnd: boolean): void;
  data(piece: Uint8Array | undefined, isEnd: boolean): void;
  failed(error: unknown): void;
}

/**
 * `res` of a nodejs function. As on Noslate, a body written before `writeHead` waits for the end:
 * `writeHead` (or `flushHeaders`) first is what makes a response stream.
 *
 * A response destroyed before its end counts as failed, so that nobody takes it for a whole one.
 *
 * @see Noslate contract §5, "nodejs"
 */
export class ServerResponse extends Writable {
  /** What a developer sees who prints `res`. */
  static override readonly name = 'ServerResponse';
  /** Sent with the head. */
  statusCode: number = 200;
  readonly #sink: ResponseSink;
  readonly #outlet: Outlet;
  readonly #headers: Record<string, HeaderValue> = Object.create(null);
  /** Body written before the head. */
  #held: Pieces | undefined;
  #pending: { chunks: readonly Uint8Array[]; bytes: number; done: () => void } | undefined;
  /** The head until it is out, as it was at `writeHead`: what is set later does not count. */
  #head: { status: number; headers: readonly string[] } | undefined;
  #headersSent = false;
  #isEndOut = false;
  #isDue = false;
  #isBusy = false;
  #isCancelled = false;

  constructor(sink: ResponseSink) {
    super();
    this.#sink = sink;
    this.#outlet = createOutlet((piece, isEnd) => this.#post(piece, isEnd));
  }

  get statusMessage(): string | undefined {
    return STATUS_CODES[this.statusCode];
  }

  get headersSent(): boolean {
    return this.#headersSent;
  }

  /** Names are case-sensitive. */
  setHeader(name: string, value: HeaderValue): void {
    this.#headers[name] = value;
  }

  getHeader(name: string): HeaderValue | undefined {
    return this.#headers[name];
  }

  getHeaders(): Record<string, HeaderValue> {
    return { ...this.#headers };
  }

  getHeaderNames(): string[] {
    return Object.keys(this.#headers);
  }

  hasHeader(name: string): boolean {
    return name in this.#headers;
  }

  removeHeader(name: string): void {
    delete this.#headers[name];
  }

  flushHeaders(): void {
    this.writeHead(this.statusCode);
  }

  /**
   * Sends the head, once; a second call has no effect on the client. `headers` may be flat or an object. Gives nothing, as
   * on Noslate: `res.writeHead(200).end()` fails there, after the head.
   */
  writeHead(
    statusCode: number,
    statusMessage?: string | Record<string, HeaderValue> | readonly string[],
    headers: Record<string, HeaderValue> | readonly string[] = {},
  ): void {
    this.statusCode = statusCode;
    const fields = typeof statusMessage === 'string' || statusMessage === undefined ? headers : statusMessage;
    if (Array.isArray(fields)) {
      if (fields.length % 2 !== 0) throw new Error('headers: expected name, value, name, value, …');
      for (let i = 0; i < fields.length; i += 2) this.setHeader(fields[i], fields[i + 1]);
    } else {
      for (const [name, value] of Object.entries(fields)) this.setHeader(name, value);
    }
    if (!this.#headersSent) {
      this.#headersSent = true;
      // a number in a string is a number on Noslate, too
      this.#head = { status: Number(statusCode), headers: flatten(this.#headers) };
      this.#schedule();
    }
  }

  override _write(chunk: Buffer, _: BufferEncoding, callback: (error?: Error) => void): void {
    this.#take([chunk], callback);
  }

  /** What was written while a chunk was on its way goes together. */
  override _writev(items: readonly { chunk: Buffer }[], callback: (error?: Error) => void): void {
    this.#take(
      items.map(({ chunk }) => chunk),
      callback,
    );
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    if (error === null && this.writableFinished) {
      this.flushHeaders();
      this.#flush();
    } else {
      if (!this.#isCancelled && !this.#isEndOut) {
        this.#sink.failed(error ?? new Error('the response was destroyed before its end'));
      }
      this.#isEndOut = true;
      this.#outlet.close();
      this.#pending?.done();
    }
    // no 'error' event: it has been reported, and without a listener it would end the worker
    callback(null);
  }

  /** The caller has gone: what is still written goes nowhere, and `close` tells the function. */
  cancel(): void {
    this.#isCancelled = true;
    this.destroy();
  }

  /** Takes credit for the body. */
  grant(bytes: number): void {
    this.#outlet.grant(bytes);
  }

  #take(chunks: readonly Buffer[], done: (error?: Error) => void): void {
    let bytes = 0;
    for (const { length } of chunks) {
      bytes += length;
      if (length <= MAX_WRITE) continue;
      done(new Error(`res.write: expected at most ${MAX_WRITE} bytes at a time, got ${length}`));
      return;
    }
    if (this.#headersSent) {
      this.#pending = { chunks, bytes, done };
      this.#schedule();
      return;
    }
    this.#held ??= new Pieces();
    // copied: after its callback a chunk is the function's again
    for (const chunk of chunks) this.#held.push(Buffer.from(chunk));
    done();
  }

  /** What is written in one turn leaves as one message: head, body and end of most answers. */
  #schedule(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    process.nextTick(() => {
      this.#isDue = false;
      this.#flush();
    });
  }

  /** Sends what is there, in order: the body held from before the head, the chunk being written, the end. */
  #flush(): void {
    if (this.#isBusy || this.#isEndOut || !this.#headersSent) return;
    const held = this.#held;
    const pending = this.#pending;
    if (held !== undefined) {
      this.#held = undefined;
      this.#send([held.all()], 0, () => this.#flush());
    } else if (pending !== undefined) {
      this.#pending = undefined;
      this.#send(pending.chunks, pending.bytes, pending.done);
    } else if (this.#isLast(0)) this.#outlet.end();
    else if (this.#head !== undefined) this.#post(undefined, false);
  }

  /** @param unfinished - bytes of `chunks` that the Writable still counts as not written. */
  #send(chunks: readonly Uint8Array[], unfinished: number, done: () => void): void {
    this.#isBusy = true;
    this.#outlet.write(chunks, this.#isLast(unfinished), () => {
      this.#isBusy = false;
      done();
    });
  }

  #isLast(unfinished: number): boolean {
    return this.writableEnded && this.writableLength === unfinished;
  }

  #post(piece: Uint8Array | undefined, isEnd: boolean): void {
    if (isEnd) this.#isEndOut = true;
    const head = this.#head;
    this.#head = undefined;
    if (head === undefined) this.#sink.data(piece, isEnd);
    else this.#sink.head(head.status, head.headers, piece, isEnd);
  }
}

function toObject(flat: readonly string[]): Record<string, string> {
  const pairs: [string, string][] = [];
  for (let i = 0; i < flat.length; i += 2) pairs.push([flat[i] as string, flat[i + 1] as string]);
  return Object.fromEntries(pairs);
}

function flatten(headers: Readonly<Record<string, HeaderValue>>): string[] {
  const flat: string[] = [];
  for (const [name, value] of Object.entries(headers)) {
    for (const item of Array.isArray(value) ? value : [value]) flat.push(name, String(item));
  }
  return flat;
}
