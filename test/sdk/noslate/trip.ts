import { Readable } from 'node:stream';
import type { RuntimeRequest } from '../../planes/runtime.ts';
import { type Planes, toRpcError } from './planes.ts';

const LARGEST_MESSAGE = 10 * 1024 * 1024;

/** The SDK's response: it takes no notice of its reader, and is cancelled by being destroyed. */
export class TriggerResponse extends Readable {
  readonly status: number;
  readonly metadata: { headers: [string, string][] };
  readonly #cancel: () => void;

  constructor(status: number, headers: readonly string[], cancel: () => void) {
    super();
    this.status = status;
    this.metadata = { headers: [] };
    for (let i = 0; i < headers.length; i += 2) {
      this.metadata.headers.push([headers[i] as string, headers[i + 1] as string]);
    }
    this.#cancel = cancel;
  }

  override _read(): void {}

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#cancel();
    process.nextTick(() => callback(error));
  }
}

/** A call of gRPC's. It is open until it is cancelled, cut, or ended by the data plane. */
export class Trip {
  readonly head: Promise<TriggerResponse>;
  readonly #planes: Planes;
  /** The request's body, on the data plane. */
  readonly #body = new Readable({ read() {} });
  readonly #controller = new AbortController();
  readonly #timer: NodeJS.Timeout;
  readonly #written: Buffer[] = [];
  #hasEnded = false;
  #isWhole = false;
  #response: TriggerResponse | undefined;
  #resolve: (response: TriggerResponse) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(
    planes: Planes,
    method: 'invoke' | 'invokeService',
    name: string,
    deadline: number,
    request: Omit<RuntimeRequest, 'body' | 'signal'>,
  ) {
    this.#planes = planes;
    this.head = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    planes.trips.add(this);
    this.#timer = setTimeout(() => this.break(4, 'Deadline exceeded'), deadline - Date.now());
    setImmediate(() => this.#invoke(method, name, request));
  }

  /** As gRPC, without limit. */
  write(chunk: Buffer): void {
    if (chunk.length > LARGEST_MESSAGE) this.break(8, `Received message larger than max (${chunk.length})`);
    if (!this.#planes.trips.has(this)) return;
    this.#written.push(chunk);
    const held = this.#written.reduce((sum, { length }) => sum + length, 0);
    this.#planes.mostWritten = Math.max(this.#planes.mostWritten, held);
    this.#planes.wake();
  }

  end(): void {
    this.#hasEnded = true;
    this.#planes.wake();
  }

  /** Something is on its way to the data plane. */
  get isPending(): boolean {
    return this.#written.length > 0 || (this.#hasEnded && !this.#isWhole);
  }

  /** The data plane takes so much of what was written. */
  take(bytes: number): void {
    let left = bytes;
    while (left > 0 && this.#written.length > 0) {
      const chunk = this.#written.shift() as Buffer;
      if (chunk.length > left) this.#written.unshift(chunk.subarray(left));
      const piece = chunk.subarray(0, left);
      left -= piece.length;
      this.#body.push(piece);
    }
    if (this.#written.length > 0 || !this.#hasEnded) return;
    this.#isWhole = true;
    this.#body.push(null);
  }

  cancel(): void {
    this.break(1, 'Cancelled on client');
  }

  /** Ends the call with gRPC's own error. Nothing tells the function. */
  break(code: number, details: string): void {
    if (!this.#close()) return;
    setImmediate(() => this.#fail(toRpcError(code, details)));
  }

  async #invoke(
    method: 'invoke' | 'invokeService',
    name: string,
    request: Omit<RuntimeRequest, 'body' | 'signal'>,
  ): Promise<void> {
    try {
      const { signal } = this.#controller;
      const { status, headers, body } = await this.#planes.invoke(method, name, {
        ...request,
        body: this.#body,
        signal,
      });
      if (signal.aborted) {
        body.destroy();
        return;
      }
      signal.addEventListener('abort', () => body.destroy());
      const response = new TriggerResponse(status, headers, () => this.cancel());
      this.#response = response;
      this.#resolve(response);
      body.on('data', (chunk: Buffer) => response.push(chunk));
      body.on('end', () => {
        if (this.#close()) response.push(null);
      });
      // trailers follow with status 0
      body.on('error', error => {
        if (this.#close()) this.#fail(toSdkError(error));
      });
    } catch (error) {
      // and then nothing: the data plane neither ends the call nor resets it
      this.#fail(toSdkError(error as Error));
    }
  }

  #fail(error: Error): void {
    if (this.#response === undefined) this.#reject(error);
    else this.#response.destroy(error);
  }

  #close(): boolean {
    clearTimeout(this.#timer);
    this.#controller.abort();
    return this.#planes.trips.delete(this);
  }
}

/** The SDK copies the fields of the message that came over, the plane's stack among them. */
function toSdkError({ name, message, stack, ...rest }: Error): Error {
  return Object.assign(new Error(), { name, message, stack, ...rest });
}
