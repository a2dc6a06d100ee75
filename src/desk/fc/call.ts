import type { Readable } from 'node:stream';
import type { HeaderPairs } from './headers.ts';
import type { CallFields } from './life.ts';
import type { Recording } from './record.ts';
import type { CallSession } from './sessions.ts';

/** How a caller wants it. @see FC contract §2, "Invocation type at the caller" */
export interface CallOptions {
  readonly invocationType?: 'Sync' | 'Async';
  /** `Tail`: the last 4 KiB that the instance printed come as `X-Fc-Log-Result`. */
  readonly logType?: 'None' | 'Tail';
  /** The caller leaves. */
  readonly signal?: AbortSignal;
}

/** InvokeFunction. */
export interface EventCall extends CallOptions {
  readonly payload?: Buffer;
  /** Those of the caller's request, of which the function sees none. */
  readonly headers?: HeaderPairs;
}

/** A request to an HTTP trigger. */
export interface HttpCall extends CallOptions {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers?: HeaderPairs;
  /** Without Content-Length it goes on in chunks. */
  readonly body?: Readable;
}

/** A call on its way through the platform, or an attempt of an asynchronous one. */
export interface Call {
  /** What events tell of it. */
  readonly fields: CallFields;
  /** When it came. */
  readonly came: number;
  readonly record: Recording;
  readonly retryCount: number;
  /** Of a function with session affinity; asynchronous calls have none. */
  readonly session?: CallSession | undefined;
}

/** The caller has left; there is nobody to answer. */
export class ClientGone extends Error {}
