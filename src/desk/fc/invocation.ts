import type { IncomingMessage } from 'node:http';
import { now } from '../../clock.ts';
import { FcError } from './answers.ts';
import { type Call, type CallOptions, ClientGone } from './call.ts';
import type { Exchange } from './connections.ts';
import { deadline } from './deadline.ts';
import { type HeaderPairs, pairs } from './headers.ts';
import type { Instance } from './instance.ts';
import { between, type Tell } from './life.ts';
import type { FunctionSettings } from './settings.ts';

/** Of an instance, what an invocation needs. */
export type Invoked = Pick<
  Instance,
  | 'id'
  | 'state'
  | 'frozen'
  | 'readyAt'
  | 'connections'
  | 'port'
  | 'logLength'
  | 'logTail'
  | 'peakMemory'
  | 'aftermath'
  | 'stop'
>;

/** An invocation on an instance, from slot to slot. */
export interface Invocation<I extends Invoked = Invoked> {
  readonly call: Call;
  readonly instance: I;
  /** What FC ends it with: the exchange's signal. */
  readonly signal: AbortSignal;
  readonly begun: number;
  /** Makes the request to the container; resolves with the head of its response. */
  send(request: Omit<Exchange, 'signal' | 'reset'>): Promise<IncomingMessage>;
  timedOut(): boolean;
  /** The caller wants no more of it. */
  leave(): void;
  /** Ends it, once. `cause` and `message`, of an error of FC's, are for who looks at the platform, too. */
  end(status: number, errorType?: string, cause?: unknown, message?: string): void;
  /** What it has printed, as a header; of an HTTP trigger's, which goes on, until its head. @see FC contract §5 */
  logResult(logType: CallOptions['logType']): Promise<HeaderPairs>;
  /**
   * What a caller is told who gets no whole answer. @see FC contract §1.1, §4.1
   *
   * @throws {ClientGone} rejected: the caller has left.
   */
  broken(kind: 'event' | 'http'): Promise<FcError>;
}

/** Where instances come from, and go to. */
export interface Slots<I> {
  acquire(requestId: string, client?: AbortSignal, session?: string): Promise<I>;
  release(instance: I, requestId: string, session?: string): void;
  replace(instance: I, reason: string): void;
}

/** Makes invocations: takes a slot and lets FC's clock run; the callback ends the invocation, or its answer's body does. */
export type Invoke<I extends Invoked = Invoked> = <T>(
  call: Call,
  client: AbortSignal | undefined,
  perform: (invocation: Invocation<I>) => Promise<T>,
) => Promise<T>;

/** Gives what makes invocations of a function. */
export function createInvoke<I extends Invoked>(settings: FunctionSettings, tell: Tell, slots: Slots<I>): Invoke<I> {
  const { switches } = settings;
  return async (call, client, perform) => {
    const { fields, came, record, retryCount, session } = call;
    const { requestId } = fields;
    const instance = await slots.acquire(requestId, client, session?.id);
    if (client?.aborted === true) {
      slots.release(instance, requestId, session?.id);
      throw new ClientGone();
    }
    const controller = new AbortController();
    const { signal } = controller;
    const begun = now();
    const logBegun = instance.logLength;
    let timedOut = false;
    let ended = false;
    const assigned = {
      instance: instance.id,
      queuedMs: between(came, begun),
      isCold: instance.readyAt !== undefined && instance.readyAt > came,
      wasFrozen: instance.frozen,
      retryCount,
    };
    record.restart();
    tell('request', { ...fields, ...assigned }, begun);
    const stopClock = deadline(settings.timeout * 1000, settings.isHeld, () => {
      timedOut = true;
      controller.abort();
      if (switches.timeoutKills === 'yes') instance.stop('timeout');
    });

    const send: Invocation['send'] = async request => {
      const { method, path, headers } = request;
      record.request = { method, path, headers };
      const reset = switches.clientCancel === 'reset';
      const response = await instance.connections.exchange({ ...request, signal, reset });
      const { statusCode: status = 0, rawHeaders } = response;
      record.response = { status, headers: pairs(rawHeaders) };
      session?.answered(instance.id, status, record.response.headers);
      const moment = now();
      const firstByteMs = between(came, moment);
      if (!ended) tell('head', { instance: instance.id, requestId, status, firstByteMs }, moment);
      return response;
    };

    const end: Invocation['end'] = (status, errorType, cause, message) => {
      if (ended) return;
      ended = true;
      stopClock();
      client?.removeEventListener('abort', leave);
      const moment = now();
      const ms = between(begun, moment);
      const told = {
        ...fields,
        ...assigned,
        status,
        ms,
        totalMs: between(came, moment),
        billedMs: Math.ceil(ms),
        memory: instance.peakMemory(),
        bytesIn: record.requestBody.bytes,
        bytesOut: record.responseBody.bytes,
        errorType,
        cause: cause === undefined ? undefined : String(cause),
        ...(message !== undefined && { message }),
      };
      tell('answer', told, moment);
      slots.release(instance, requestId, session?.id);
    };

    const leave = (): void => {
      // the container goes on, for nobody
      if (switches.clientCancel === 'finish') return;
      controller.abort();
      // one that serves a single request may be stuck in it; FC does not wait to see, and starts another first
      if (settings.instanceConcurrency === 1 && settings.healthCheck === undefined && instance.state === 'ready') {
        slots.replace(instance, 'client gone');
      }
      end(499);
    };

    async function logResult(logType: CallOptions['logType']): Promise<HeaderPairs> {
      if (logType !== 'Tail') return [];
      // what was printed before the answer has come, but may not have been read
      await new Promise(setImmediate);
      return [['X-Fc-Log-Result', Buffer.from(instance.logTail(logBegun)).toString('base64')]];
    }

    async function broken(kind: 'event' | 'http'): Promise<FcError> {
      if (client?.aborted === true) throw new ClientGone();
      // an instance that is gone must not be given to the next
      if (!timedOut) await instance.aftermath();
      const memory = `${instance.peakMemory().toFixed(2)}MB`;
      const [status, text] = timedOut
        ? [switches.timeoutStatus, `Function time out after ${settings.timeout} seconds (maxMemoryUsage: ${memory})`]
        : [
            502,
            `Process exited unexpectedly before completing request (duration: ${Math.round(now() - begun)}ms, maxMemoryUsage: ${memory})`,
          ];
      return new FcError('function', 'UnhandledInvocationError', kind === 'event' ? 200 : status, text);
    }

    client?.addEventListener('abort', leave);
    const work = perform({
      call,
      instance,
      signal,
      begun,
      send,
      timedOut: () => timedOut,
      leave,
      end,
      logResult,
      broken,
    });
    return client === undefined ? work : Promise.race([work, goneOf(client)]);
  };
}

/** Rejects when the client leaves. */
const goneOf = (client: AbortSignal): Promise<never> =>
  new Promise((_, reject) => client.addEventListener('abort', () => reject(new ClientGone())));
