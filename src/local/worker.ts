import { createRequire } from 'node:module';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { getHeapStatistics } from 'node:v8';
import { isMainThread, parentPort, workerData } from 'node:worker_threads';
import { Table } from '../table.ts';
import { type Context, createContext } from './context.ts';
import { tellLoaded } from './loaded.ts';
import type { FromWorker, InvokeHead, RemoteError, ToWorker, WorkerInit } from './messages.ts';
import { IncomingMessage, ServerResponse } from './nodejs.ts';
import { sendOutput } from './output.ts';

export { isMainThread };

/** The release of noslated whose nodejs runtime this one follows; functions may look for it. */
const NOSLATED = '0.25.0';

/** turfd looks at a worker's memory each second and ends it when it is over the limit more than this often. */
const WEIGH_EVERY_MS = 1000;
const WEIGH_STRIKES = 3;

/** Calls of a worker after which it is looked for what they leave behind. */
const LOOKS = 20;

type Handler = (ctx: Context, req: IncomingMessage, res: ServerResponse) => unknown;
type Initializer = (ctx: Context) => unknown;

/** One call in this worker. */
interface Call {
  req: IncomingMessage;
  res: ServerResponse;
  hasReturned: boolean;
  isCancelled: boolean;
}

/**
 * Runs a function inside its worker thread: loads it, runs the initializer, says `ready`, then serves calls
 * until the thread is ended. A handler that cannot be loaded fails each call; an initializer fails the
 * worker, as on Noslate.
 */
export async function runWorker(): Promise<void> {
  const port = parentPort;
  if (port === null) throw new Error('runWorker: expected a worker thread');
  // the function's arguments are its own
  process.argv.length = 2;
  const init = workerData as WorkerInit;
  const calls = new Table<Call>();
  let looks = LOOKS;
  let hasComplained = false;
  let handler: Handler;
  const post = (message: FromWorker): void => port.postMessage(message);
  /** A piece has a memory of its own, so it is handed over and not copied once more. */
  const postPiece = (message: FromWorker, piece: Uint8Array | undefined): void =>
    port.postMessage(message, piece === undefined ? [] : [piece.buffer as ArrayBuffer]);
  const context = (): Context => createContext((type, format, data) => postPiece(['beacon', type, format, data], data));

  Object.defineProperty(process, 'versions', { value: Object.freeze({ ...process.versions, noslated: NOSLATED }) });
  weigh(init.memory, bytes => post(['overweight', bytes]));

  async function invoke(id: number, head: InvokeHead, piece: Uint8Array | undefined, isEnd: boolean): Promise<void> {
    const req = new IncomingMessage(head, bytes => post(['credit', id, bytes]));
    const res = new ServerResponse({
      head(status, headers, piece, isEnd) {
        postPiece(['head', id, status, headers, piece, isEnd], piece);
        if (isEnd) end();
      },
      data(piece, isEnd) {
        postPiece(['data', id, piece, isEnd], piece);
        if (isEnd) end();
      },
      failed(error) {
        post(['failed', id, toRemote(error)]);
        end();
      },
    });
    const call: Call = { req, res, hasReturned: false, isCancelled: false };
    function end(): void {
      calls.delete(id);
      // nobody sends the rest of a body whose answer is complete
      req.destroy();
    }
    // of one among others nobody could say what it leaves
    const isLooked = looks > 0 && calls.size === 0;
    const before = isLooked ? timers() : 0;
    if (isLooked) looks -= 1;
    calls.set(id, call);
    req.receive(piece, isEnd);
    try {
      await handler(context(), req, res);
    } catch (error) {
      if (res.writableFinished && !call.isCancelled) {
        process.stderr.write(`the handler failed after its response: ${inspect(error)}\n`);
      }
      res.destroy(error instanceof Error ? error : new Error(`the handler rejected with ${inspect(error)}`));
    }
    call.hasReturned = true;
    if (call.isCancelled) post(['settled', id]);
    if (isLooked && calls.size === 0) setImmediate(look, before);
  }

  /** Complains of work that FC would freeze away. Once is enough. */
  function look(before: number): void {
    if (calls.size > 0 || hasComplained) return;
    const left = timers() - before;
    if (left <= 0) return;
    hasComplained = true;
    looks = 0;
    const what = left === 1 ? '1 timer' : `${left} timers`;
    process.stderr.write(`left ${what} behind its answer: FC freezes the instance between calls, and they wait\n`);
  }

  function cancel(id: number): void {
    const call = calls.get(id);
    calls.delete(id);
    post(['cancelled', id, call?.hasReturned ?? true]);
    if (call === undefined) return;
    call.isCancelled = true;
    call.req.destroy();
    call.res.cancel();
  }

  // before the initializer: a thread that listens to nothing ends
  port.on('message', (message: ToWorker) => {
    switch (message[0]) {
      case 'invoke':
        invoke(message[1], message[2], message[3], message[4]);
        break;
      case 'data':
        calls.get(message[1])?.req.receive(message[2], message[3]);
        break;
      case 'credit':
        calls.get(message[1])?.res.grant(message[2]);
        break;
      case 'cancel':
        cancel(message[1]);
        break;
    }
  });
  sendOutput(init.held, (stream, text) => post(['output', stream, text]));
  tellLoaded(files => post(['loaded', files]));
  let failure: RemoteError | undefined;
  try {
    const initializer =
      init.initializer === undefined ? undefined : load<Initializer>(init.folder, init.initializer, 'Initializer');
    try {
      handler = load(init.folder, init.handler, 'Handler');
    } catch (error) {
      failure = toRemote(error);
      handler = () => {
        throw error;
      };
    }
    await initializer?.(context());
  } catch (error) {
    post(['broken', toRemote(error)]);
    return;
  }
  post(['ready', failure]);
}

/** What Node.js has of itself, though its types do not. */
const { getActiveResourcesInfo } = process as unknown as { getActiveResourcesInfo(): string[] };

/** Timers that run, of those that keep a process alive. */
const timers = (): number => getActiveResourcesInfo().filter(name => name === 'Timeout').length;

/** Loads `FILE.EXPORT` out of a folder. */
function load<T>(folder: string, key: string, what: string): T {
  const dot = key.indexOf('.');
  const file = join(folder, key.slice(0, dot));
  const value: unknown = createRequire(join(folder, 'index.js'))(file)[key.slice(dot + 1)];
  if (typeof value !== 'function') throw new Error(`${what} ${key} is not a function.`);
  return value as T;
}

/**
 * V8 limits the heap alone. Buffers live outside of it, so they are looked at, as turfd does.
 *
 * V8 is asked, not `process.memoryUsage()`: that reads a file for what is not needed here, and throws where it cannot,
 * such as in a function that has opened as many as it may.
 */
function weigh(limit: number, onOver: (bytes: number) => void): void {
  let strikes = 0;
  setInterval(() => {
    const { total_heap_size: heap, external_memory: external } = getHeapStatistics();
    strikes = heap + external > limit ? strikes + 1 : 0;
    if (strikes > WEIGH_STRIKES) onOver(heap + external);
  }, WEIGH_EVERY_MS).unref();
}

function toRemote(error: unknown): RemoteError {
  if (!(error instanceof Error)) return { name: 'Error', message: inspect(error), stack: undefined };
  return { name: error.name, message: error.message, stack: error.stack };
}
