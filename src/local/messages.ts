import type { Held } from './output.ts';

/** First argument of a worker thread's process, which runs the same file as the main thread. */
export const WORKER_THREAD = 'worker-thread';

/**
 * What the gateway's thread and a worker's thread say to each other. Tuples, not objects: their keys
 * would be copied with every message. `id` numbers the calls of one worker.
 */

/** What a worker thread is started with. */
export interface WorkerInit {
  /** Folder of the code. */
  folder: string;
  /** `FILE.EXPORT`. */
  handler: string;
  initializer: string | undefined;
  /** Bytes that heap and buffers together may take; beyond, the worker asks to be ended. */
  memory: number;
  /** Printed and not taken yet. */
  held: Held;
}

/** The head of a call. Header fields and baggage are flat: name, value, name, value, … */
export interface InvokeHead {
  url: string;
  method: string;
  headers: readonly string[];
  baggage: readonly string[];
}

/** An error that crossed the threads: classes do not. */
export interface RemoteError {
  name: string;
  message: string;
  stack: string | undefined;
}

/** A file of code by its real path, and its stamp just before it was loaded. */
export type LoadedFile = readonly [file: string, stamp: string];

/** Gateway to worker. A body's piece and the end of the body travel with the head when they are there. */
export type ToWorker =
  | readonly ['invoke', id: number, head: InvokeHead, piece: Uint8Array | undefined, isEnd: boolean]
  | readonly ['data', id: number, piece: Uint8Array | undefined, isEnd: boolean]
  | readonly ['credit', id: number, bytes: number]
  | readonly ['cancel', id: number];

/** Worker to gateway. */
export type FromWorker =
  /** Initialized: calls may come. With an error the handler could not be loaded, and each of them will fail. */
  | readonly ['ready', RemoteError | undefined]
  | readonly ['loaded', files: readonly LoadedFile[]]
  /** The initializer failed; the worker ends. */
  | readonly ['broken', RemoteError]
  /** The function has printed this. */
  | readonly ['output', 'stdout' | 'stderr', string]
  /** Over its memory for too long; the worker asks to be ended. */
  | readonly ['overweight', bytes: number]
  | readonly [
      'head',
      id: number,
      status: number,
      headers: readonly string[],
      piece: Uint8Array | undefined,
      isEnd: boolean,
    ]
  | readonly ['data', id: number, piece: Uint8Array | undefined, isEnd: boolean]
  | readonly ['credit', id: number, bytes: number]
  /** The call failed, before its head or after it. */
  | readonly ['failed', id: number, RemoteError]
  /** A `cancel` has arrived: the worker's thread is not blocked. */
  | readonly ['cancelled', id: number, hasReturned: boolean]
  /** A cancelled call's handler has settled. */
  | readonly ['settled', id: number]
  /** `ctx.sendBeacon`. */
  | readonly ['beacon', type: string, format: string | undefined, data: Uint8Array];
