import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { Inlet } from '../inlet.ts';
import type { Log } from '../log.ts';
import { WORKER_DEFAULTS } from '../profile.ts';
import { Table } from '../table.ts';
import type { Call } from './call.ts';
import { createOutlet, MESSAGE_COST, type Outlet, sendBody } from './channel.ts';
import type { FromWorker, InvokeHead, LoadedFile, RemoteError, ToWorker } from './messages.ts';
import { createHeld, createLines, createTaker, type Lines } from './output.ts';
import { memoryOf, startThread, type ThreadSpec } from './thread.ts';

/** What a replica tells its pool. */
export interface ReplicaEvents {
  /** With an error its code could not be loaded, and each call will fail. */
  onReady(failure: Error | undefined): void;
  /** It has loaded files of code. */
  onLoaded(files: readonly LoadedFile[]): void;
  /** A call has let go of its slot. */
  onRelease(): void;
  /** It is gone, and its calls have failed. `error` says why unless it was told to end. */
  onExit(error: GatewayError | undefined, wasReady: boolean): void;
}

/** One worker of a function. */
export interface Replica {
  readonly name: string;
  /** `silent` while it does not hear that a deadline has passed; `ending` once it was told to, or has died. */
  readonly state: 'starting' | 'ready' | 'silent' | 'ending';
  /** Its code could not be loaded. */
  readonly isBroken: boolean;
  /** Calls that hold a slot. */
  readonly active: number;
  invoke(call: Call): void;
  /** Ends it; calls in flight fail. Resolves when its thread is gone. */
  end(): Promise<void>;
}

/** A call in this replica. It holds its slot from `invoke` to `release`. */
interface Entry {
  readonly call: Call;
  readonly outlet: Outlet;
  /** The response's body, from the head on. */
  inlet: Inlet | undefined;
  /** The worker has nothing more to say about it. */
  isOver: boolean;
  isCancelled: boolean;
  /** The worker has heard of the cancel. */
  isHeard: boolean;
  timer: NodeJS.Timeout | undefined;
  stopBody: () => void;
}

/** A worker that does not hear of a cancel for this long after the call's deadline is blocked for good. */
const BLOCKED_MS = 1000;
/** A timer that is later than this was frozen. */
const FROZEN_MS = 1000;
const MIB = 1024 * 1024;

/** A process that was opened to a debugger may stand at a breakpoint for as long as somebody thinks. */
const isInspected = (): boolean =>
  [...process.execArgv, process.env['NODE_OPTIONS'] ?? ''].some(option => option.includes('--inspect'));

/**
 * Starts a worker thread for a function.
 *
 * @throws {GatewayError} INVALID_RUNTIME, CODE_UNAVAILABLE, INITIALIZER_FAILED: it cannot even be started.
 */
export function startReplica(name: string, spec: ThreadSpec, log: Log, events: ReplicaEvents): Replica {
  const { profile } = spec;
  const what = `function ${JSON.stringify(profile.name)}`;
  const itself = `the worker of ${what}`;
  let entries = new Table<Entry>();
  let state: Replica['state'] = 'starting';
  let wasReady = false;
  let isBroken = false;
  let failure: GatewayError | undefined;

  const held = createHeld();
  const worker = startThread(name, spec, held);
  const initializationTimeout = profile.worker?.initializationTimeout ?? WORKER_DEFAULTS.initializationTimeout;
  let since = now();
  const initializing = setTimeout(() => {
    const ms = now() - since;
    // late by so much was frozen, and the worker with it: without its time anew it fails the call that thaws it
    if (ms > initializationTimeout + FROZEN_MS || isInspected()) {
      since += ms;
      initializing.refresh();
      return;
    }
    kill(new GatewayError('INITIALIZER_TIMEOUT', `${what} was not initialized within ${initializationTimeout} ms`));
  }, initializationTimeout);

  const tags = { function: profile.name, worker: name };
  const take = createTaker(held, log);
  const linesOf = (stream: 'stdout' | 'stderr'): Lines => {
    const source = { ...tags, stream };
    const lines = createLines(line => {
      const [entry] = entries.size === 1 ? entries.values() : [];
      log.output(line, entry === undefined ? source : { ...source, requestId: entry.call.metadata.requestId });
    });
    // what is printed before the worker's own code runs, by a module that it was told to load first
    worker[stream].setEncoding('utf8').on('data', lines.add);
    return lines;
  };
  const output = { stdout: linesOf('stdout'), stderr: linesOf('stderr') };

  worker.on('message', (message: FromWorker) => {
    switch (message[0]) {
      case 'ready':
        clearTimeout(initializing);
        if (state !== 'starting') break;
        state = 'ready';
        wasReady = true;
        isBroken = message[1] !== undefined;
        events.onReady(message[1] && toError(message[1]));
        break;
      case 'loaded':
        events.onLoaded(message[1]);
        break;
      case 'broken':
        kill(new GatewayError('INITIALIZER_FAILED', `${what} could not be initialized`, toError(message[1])));
        break;
      case 'output':
        output[message[1]].add(message[2]);
        take(message[2]);
        break;
      case 'overweight':
        kill(overMemory());
        break;
      case 'beacon':
        // a data plane writes beacons of this type out, and drops all others
        if (message[1] === 'trace') log.info(Buffer.from(message[3]).toString(), { ...tags, beacon: message[2] });
        break;
      default:
        onCallMessage(message);
    }
  });
  worker.on('error', (error: NodeJS.ErrnoException) => {
    state = 'ending';
    failure ??=
      error.code === 'ERR_WORKER_OUT_OF_MEMORY'
        ? overMemory()
        : new GatewayError('WORKER_EXITED', `${itself} crashed`, error);
  });
  worker.on('exit', code => {
    clearTimeout(initializing);
    output.stdout.end();
    output.stderr.end();
    const wasTold = state === 'ending' && failure === undefined;
    // first of all: a slot that becomes free here must not be taken again
    state = 'ending';
    let error = failure ?? new GatewayError('WORKER_EXITED', `${itself} exited`, `exit code ${code}`);
    for (const entry of entries.values()) fail(entry, error);
    entries = new Table();
    if (!wasReady && error.code === 'WORKER_EXITED') {
      error = new GatewayError('INITIALIZER_FAILED', `${itself} died before it was ready`, error);
    }
    events.onExit(wasTold ? undefined : error, wasReady);
  });

  function overMemory(): GatewayError {
    return new GatewayError(
      'WORKER_EXITED',
      `${itself} exceeded its memory of ${Math.round(memoryOf(profile) / MIB)} MiB`,
    );
  }

  function post(message: ToWorker, piece?: Uint8Array): void {
    worker.postMessage(message, piece === undefined ? [] : [piece.buffer as ArrayBuffer]);
  }

  function onCallMessage(message: Extract<FromWorker, readonly [string, number, ...unknown[]]>): void {
    const id = message[1];
    const entry = entries.get(id);
    if (entry === undefined) return;
    switch (message[0]) {
      case 'head': {
        const [, , status, headers, piece, isEnd] = message;
        if (entry.isCancelled) break;
        const inlet = new Inlet(
          bytes => post(['credit', id, bytes]),
          hasEnded => (hasEnded || entry.isOver ? release(id) : cancel(id)),
          MESSAGE_COST,
        );
        entry.inlet = inlet;
        entry.isOver = isEnd;
        if (isEnd) entry.stopBody();
        inlet.receive(piece, isEnd);
        entry.call.answer({ status, headers, body: inlet, worker: name });
        break;
      }
      case 'data':
        if (message[3]) {
          entry.isOver = true;
          entry.stopBody();
        }
        entry.inlet?.receive(message[2], message[3]);
        break;
      case 'credit':
        entry.outlet.grant(message[2]);
        break;
      case 'failed': {
        const when = entry.inlet === undefined ? 'before it answered' : 'in the middle of its answer';
        fail(entry, new GatewayError('FUNCTION_FAILED', `${what} failed ${when}`, toError(message[2])));
        release(id);
        break;
      }
      case 'cancelled':
        entry.isHeard = true;
        if (state === 'silent' && !entries.values().some(isUnheard)) {
          state = 'ready';
          events.onRelease();
        }
        if (message[2]) {
          if (now() >= entry.call.metadata.deadline && entry.inlet === undefined) {
            log.warn(`${what} returned, but never ended its response`, { requestId: entry.call.metadata.requestId });
          }
          release(id);
        }
        break;
      case 'settled':
        release(id);
        break;
    }
  }

  function fail(entry: Entry, error: GatewayError): void {
    entry.isOver = true;
    entry.stopBody();
    clearTimeout(entry.timer);
    const { inlet } = entry;
    if (inlet === undefined) entry.call.fail(error);
    // the head may have come in this turn: who waits for it must first be able to listen for errors
    else setImmediate(() => inlet.destroy(error));
  }

  /** Tells the worker that nobody waits. The slot stays taken while the handler runs, at most to the deadline. */
  function cancel(id: number): void {
    const entry = entries.get(id);
    if (entry === undefined || entry.isCancelled || entry.isOver) return;
    entry.isCancelled = true;
    entry.stopBody();
    post(['cancel', id]);
    // whoever leaves early says nothing about the worker; one that let a deadline pass may be stuck
    const left = Math.max(BLOCKED_MS, entry.call.metadata.deadline - now());
    if (left === BLOCKED_MS && state === 'ready') state = 'silent';
    const judge = (): void => {
      if (entry.isHeard || entries.get(id) === undefined) release(id);
      else kill(new GatewayError('WORKER_EXITED', `${itself} was ended: it blocked its event loop`));
    };
    // who is late itself first takes the messages that have come: the worker may have heard in time
    entry.timer = setTimeout(setImmediate, left, judge);
  }

  function release(id: number): void {
    const entry = entries.get(id);
    if (entry === undefined) return;
    entries.delete(id);
    entry.stopBody();
    clearTimeout(entry.timer);
    if (state === 'ready') events.onRelease();
  }

  function kill(error: GatewayError): void {
    failure ??= error;
    end();
  }

  async function end(): Promise<void> {
    state = 'ending';
    await worker.terminate();
  }

  return {
    name,
    get state() {
      return state;
    },
    get isBroken() {
      return isBroken;
    },
    get active() {
      return entries.size;
    },
    invoke(call) {
      const { url, method, headers, baggage } = call.metadata;
      const head: InvokeHead = { url, method, headers, baggage };
      let isHeadOut = false;
      const send = (piece: Uint8Array | undefined, isEnd: boolean): void => {
        if (isHeadOut) post(['data', id, piece, isEnd], piece);
        else post(['invoke', id, head, piece, isEnd], piece);
        isHeadOut = true;
      };
      const outlet = createOutlet(send);
      const entry: Entry = {
        call,
        outlet,
        inlet: undefined,
        isOver: false,
        isCancelled: false,
        isHeard: false,
        timer: undefined,
        stopBody: () => {},
      };
      const id = entries.add(entry);
      call.release = () => cancel(id);
      call.onDeadline = () => new GatewayError('TIMEOUT', `${what} gave no answer by the deadline`);
      entry.stopBody = sendBody(call.body, outlet, send);
    },
    end,
  };
}

const isUnheard = ({ isCancelled, isHeard }: Entry): boolean => isCancelled && !isHeard;

function toError({ name, message, stack }: RemoteError): Error {
  return Object.assign(new Error(message), { name, stack: stack ?? message });
}
