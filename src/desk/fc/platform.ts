import type { IncomingMessage } from 'node:http';
import { PassThrough, pipeline, type Readable, Transform } from 'node:stream';
import { now } from '../../clock.ts';
import { type Answer, errorAnswer, FcError, platformError } from './answers.ts';
import type { Exchange } from './connections.ts';
import { commonHeaders, fromClient, type HeaderPairs, header, isReserved, pairs, requestId } from './headers.ts';
import { type Instance, startInstance } from './instance.ts';
import { createLife, type Life } from './life.ts';
import { collect, LIMITS, REPEATABLE, refusal, sizeOf, tooLarge } from './limits.ts';
import { type FunctionOptions, type FunctionSettings, functionSettings } from './settings.ts';

/** How a caller wants it. @see FC contract §2, "Invocation type at the caller" */
interface CallOptions {
  readonly invocationType?: 'Sync' | 'Async';
  /** `Tail`: the last 4 KiB that the instance printed come as `X-Fc-Log-Result`. */
  readonly logType?: 'None' | 'Tail';
  /** The caller leaves. */
  readonly signal?: AbortSignal;
}

/** InvokeFunction. */
export interface EventCall extends CallOptions {
  readonly payload?: Buffer;
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

/** The caller has left; there is nobody to answer. */
export class ClientGone extends Error {}

/** Function Compute, with one function. */
export interface Platform {
  readonly settings: FunctionSettings;
  readonly life: Life;
  /** Those that have not ended. */
  instances(): readonly Instance[];
  /** @throws {ClientGone} rejected. Whatever else happens is an answer. */
  invoke(call?: EventCall): Promise<Answer>;
  /**
   * The head of the answer; the call is over when its body has been read or destroyed.
   *
   * @throws {ClientGone} rejected. Whatever else happens is an answer.
   */
  http(call: HttpCall): Promise<Answer>;
  /**
   * An instance with a free slot, counted in, until it is released. For what is no plain request.
   *
   * @throws {FcError} rejected: no instance could be had. {ClientGone} rejected.
   */
  acquire(requestId: string, signal?: AbortSignal): Promise<Instance>;
  /** Gives the slot back, to whoever waits for one. */
  release(instance: Instance, requestId: string): void;
  /** Starts instances until there are so many, or stops those that are too many. They freeze. */
  scale(count: number): Promise<void>;
  /** Stops all instances. Resolves when no process is left. */
  stop(): Promise<void>;
}

/** Someone who waits for a slot. */
interface Waiter {
  readonly requestId: string;
  /** What is to give him an instance. He takes whichever has room first. */
  start: Promise<Instance> | undefined;
  resolve(instance: Instance): void;
  reject(error: unknown): void;
}

/** What a call's events say of it. */
type Fields = Readonly<Record<string, unknown>>;

/** An invocation on an instance, from slot to slot. */
interface Invocation {
  readonly requestId: string;
  readonly instance: Instance;
  /** What FC ends it with: the exchange's signal. */
  readonly signal: AbortSignal;
  readonly begun: number;
  readonly logBegun: number;
  timedOut(): boolean;
  /** The caller wants no more of it. */
  leave(): void;
  /** Ends it, once. `cause` is for who looks at the platform, not for the caller. */
  end(status: number, errorType?: string, cause?: unknown): void;
}

/** Plays FC's part for one function. Nothing is started before the first call. */
export function createPlatform(options: FunctionOptions, life: Life = createLife()): Platform {
  const settings = functionSettings(options);
  const { switches } = settings;
  const { tell } = life;
  const instances = new Set<Instance>();
  /** Those on their way; what they become decides what their waiters get. */
  const starting = new Set<Promise<Instance>>();
  /** Those whose initializer has failed, and which the next call tries again. */
  const uninitialized = new Set<Instance>();
  /** Of the quota. */
  let taken = 0;
  let queue: Waiter[] = [];
  let stopped = false;
  life.on(({ event }) => {
    if (event === 'healthy') pump();
  });

  const hasRoomIfHealthy = ({ state, inFlight }: Instance): boolean =>
    state === 'ready' && inFlight < settings.instanceConcurrency;
  const hasRoom = (instance: Instance): boolean => instance.healthy && hasRoomIfHealthy(instance);

  /** One that is awake costs no thaw. */
  function pick(): Instance | undefined {
    const free = [...instances].filter(hasRoom);
    return free.find(({ frozen }) => !frozen) ?? free[0];
  }

  function pump(): void {
    for (let free = pick(); free !== undefined && queue.length > 0; free = pick()) {
      free.take();
      queue.shift()?.resolve(free);
    }
    // another has taken what was started for these
    for (const waiter of queue.filter(({ start }) => start === undefined || !starting.has(start))) {
      if (place(waiter) || makesRoom()) continue;
      queue = queue.filter(other => other !== waiter);
      waiter.reject(full());
    }
  }

  /** Ties a waiter to a start that has room for him, a new one if need be; false above the quota. */
  function place(waiter: Waiter): boolean {
    const roomy = [...starting].find(start => waitersOf(start).length < settings.instanceConcurrency);
    waiter.start = roomy ?? begin(waiter.requestId);
    return waiter.start !== undefined;
  }

  /** Whether one is about to end, and with it to leave its place in the quota. */
  const makesRoom = (): boolean => [...instances].some(({ state }) => state === 'stopping');

  const full = (): FcError =>
    [...instances].some(hasRoomIfHealthy)
      ? platformError('FunctionUnhealthy', switches.startErrorStatus, 'no instance passes its health check')
      : platformError('ResourceExhausted', 429, `expected at most ${settings.maxInstances} instances`);

  async function acquire(id: string, client?: AbortSignal): Promise<Instance> {
    if (client?.aborted === true) throw new ClientGone();
    if (stopped) throw platformError('FunctionNotFound', 404, 'the function has been deleted');
    const free = queue.length === 0 ? pick() : undefined;
    if (free !== undefined) {
      free.take();
      return free;
    }
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { requestId: id, start: undefined, resolve, reject };
      if (!place(waiter) && !makesRoom()) return reject(full());
      queue.push(waiter);
      client?.addEventListener('abort', () => {
        queue = queue.filter(other => other !== waiter);
        reject(new ClientGone());
      });
    });
  }

  const waitersOf = (wanted: Promise<Instance>): Waiter[] => queue.filter(({ start }) => start === wanted);

  /** Starts an instance, or prepares one that was kept after its initializer failed; undefined above the quota. */
  function begin(id: string): Promise<Instance> | undefined {
    const [kept] = uninitialized;
    if (kept === undefined && taken >= settings.maxInstances) return undefined;
    if (kept !== undefined) uninitialized.delete(kept);
    const start = kept === undefined ? launch() : Promise.resolve(kept);
    const prepared = start.then(instance => prepare(instance, id));
    starting.add(prepared);
    prepared.then(
      instance => {
        starting.delete(prepared);
        pump();
        // it was started for nobody, or for one who has left
        if (instance.inFlight === 0) {
          instance.take();
          instance.release(requestId(settings));
        }
      },
      error => {
        starting.delete(prepared);
        const failed = waitersOf(prepared);
        queue = queue.filter(waiter => !failed.includes(waiter));
        for (const waiter of failed) waiter.reject(error);
        pump();
      },
    );
    return prepared;
  }

  async function launch(): Promise<Instance> {
    taken += 1;
    if (taken > 1) tell('scaled', { instances: taken });
    const instance = await startInstance(settings, tell).catch(error => {
      taken -= 1;
      throw error;
    });
    instances.add(instance);
    if (stopped) instance.stop('deleted');
    instance.exited.then(() => {
      taken -= 1;
      instances.delete(instance);
      uninitialized.delete(instance);
      pump();
    });
    return instance;
  }

  async function prepare(instance: Instance, id: string): Promise<Instance> {
    try {
      await instance.prepare(id);
    } catch (error) {
      const initializer = error instanceof FcError && error.code === 'InitializationError';
      const keep = switches.initFailure === 'keep' && instance.state === 'accepting';
      if (initializer && keep) uninitialized.add(instance);
      else instance.stop('start failed');
      throw error;
    }
    return instance;
  }

  function release(instance: Instance, id: string): void {
    instance.release(id);
    pump();
  }

  /** Takes a slot and lets FC's clock run; the callback ends the invocation, or its answer's body does. */
  async function invocation<T>(
    id: string,
    fields: Fields,
    client: AbortSignal | undefined,
    perform: (invocation: Invocation) => Promise<T>,
  ): Promise<T> {
    const instance = await acquire(id, client);
    if (client?.aborted === true) {
      release(instance, id);
      throw new ClientGone();
    }
    const controller = new AbortController();
    const begun = now();
    let timedOut = false;
    let ended = false;
    tell('request', { instance: instance.id, requestId: id, ...fields });
    const timer = setTimeout(() => {
      timedOut = true;
      controller.abort();
      if (switches.timeoutKills === 'yes') instance.stop('timeout');
    }, settings.timeout * 1000);
    const end: Invocation['end'] = (status, errorType, cause) => {
      if (ended) return;
      ended = true;
      clearTimeout(timer);
      client?.removeEventListener('abort', leave);
      const ms = Math.round(now() - begun);
      const why = { errorType, cause: cause && String(cause) };
      tell('answer', { instance: instance.id, requestId: id, ...fields, status, ms, ...why });
      release(instance, id);
    };
    const leave = (): void => {
      // the container goes on, for nobody
      if (switches.clientCancel === 'finish') return;
      controller.abort();
      // one that serves a single request may be stuck in it; FC does not wait to see, and starts another first
      if (settings.instanceConcurrency === 1 && settings.healthCheck === undefined && instance.state === 'ready') {
        begin(requestId(settings));
        instance.stop('client gone');
      }
      end(499);
    };
    client?.addEventListener('abort', leave);
    const { signal } = controller;
    const logBegun = instance.logLength;
    const work = perform({ requestId: id, instance, signal, begun, logBegun, timedOut: () => timedOut, leave, end });
    return client === undefined ? work : Promise.race([work, goneOf(client)]);
  }

  const send = (
    { signal, instance }: Invocation,
    exchange: Omit<Exchange, 'signal' | 'reset'>,
  ): Promise<IncomingMessage> =>
    instance.connections.exchange({ ...exchange, signal, reset: switches.clientCancel === 'reset' });

  /** What a call that got no whole answer is told. @see FC contract §1.1, §4.1 */
  async function broken(call: Invocation, client: AbortSignal | undefined, kind: 'event' | 'http'): Promise<FcError> {
    if (client?.aborted === true) throw new ClientGone();
    // an instance that is gone must not be given to the next
    if (!call.timedOut()) await call.instance.aftermath();
    const memory = `${call.instance.peakMemory().toFixed(2)}MB`;
    const [status, text] = call.timedOut()
      ? [switches.timeoutStatus, `Function time out after ${settings.timeout} seconds (maxMemoryUsage: ${memory})`]
      : [
          502,
          `Process exited unexpectedly before completing request (duration: ${Math.round(now() - call.begun)}ms, maxMemoryUsage: ${memory})`,
        ];
    return new FcError('function', 'UnhandledInvocationError', kind === 'event' ? 200 : status, text);
  }

  /** An answer, whatever happened; but for a client that has left. */
  async function answered(id: string, fields: Fields, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof FcError)) throw error;
      const { status, code, message } = error;
      tell('answer', { requestId: id, ...fields, status, errorType: code, message });
      return errorAnswer(settings, error, id, undefined);
    }
  }

  async function once(id: string, event: EventCall, retryCount: number): Promise<Answer> {
    const { payload, signal, logType } = event;
    return invocation(id, ofEvent(event), signal, async call => {
      const { instance } = call;
      try {
        const body = payload ?? Buffer.alloc(0);
        const response = await send(call, {
          method: 'POST',
          path: '/invoke',
          headers: [
            ['Host', `21.0.0.1:${instance.port}`],
            ['Content-Type', 'application/octet-stream'],
            ...commonHeaders(settings, { requestId: id, controlPath: '/invoke', retryCount }),
            ['Content-Length', String(body.length)],
          ],
          body: readable(body),
        });
        const chunks: Buffer[] = [];
        let length = 0;
        for await (const chunk of response as AsyncIterable<Buffer>) {
          chunks.push(chunk);
          length += chunk.length;
          if (switches.maxResponse > 0 && length > switches.maxResponse) {
            throw platformError('ResponseTooLarge', 502, `response: expected at most ${switches.maxResponse} bytes`);
          }
        }
        if (signal?.aborted === true) throw new ClientGone();
        const errorType = failureOf(response) ? 'UnhandledInvocationError' : undefined;
        const log = await logResult(call, logType);
        call.end(200, errorType);
        return {
          status: 200,
          headers: [
            ['Content-Type', 'application/octet-stream'],
            ['Content-Length', String(length)],
            ['X-Fc-Request-Id', id],
            ['X-Fc-Instance-Id', instance.id],
            ['X-Fc-Invocation-Duration', String(Math.round(now() - call.begun))],
            ['X-Fc-Max-Memory-Usage', instance.peakMemory().toFixed(2)],
            ...(errorType === undefined ? [] : [['X-Fc-Error-Type', errorType] as const]),
            ...log,
          ],
          body: readable(Buffer.concat(chunks)),
          requestId: id,
          instance: instance.id,
          errorType,
        };
      } catch (error) {
        const known = error instanceof FcError ? error : await broken(call, signal, 'event').catch(gone => gone);
        if (!(known instanceof FcError)) {
          call.end(499);
          throw known;
        }
        call.end(known.status, known.code, error);
        return errorAnswer(settings, known, id, instance.id);
      }
    });
  }

  /** What the invocation has printed; of an HTTP trigger's, which goes on, until its head. @see FC contract §5 */
  async function logResult({ instance, logBegun }: Invocation, logType: CallOptions['logType']): Promise<HeaderPairs> {
    if (logType !== 'Tail') return [];
    // what was printed before the answer has come, but may not have been read
    await new Promise(setImmediate);
    return [['X-Fc-Log-Result', Buffer.from(instance.logTail(logBegun)).toString('base64')]];
  }

  /** `x-fc-status` decides where there is one. @see FC contract §4.1 */
  function failureOf(response: IncomingMessage): boolean {
    const told = response.headers['x-fc-status'];
    if (told !== undefined) return !/^2/.test(String(told));
    return switches.plainFailure === 'error' && !isSuccess(response.statusCode);
  }

  /** Accepted at once, done later, and again if it fails. */
  function later(id: string, attempt: (retryCount: number) => Promise<Answer>): Answer {
    const work = async (): Promise<void> => {
      for (let count = 0; count <= settings.asyncRetries; count++) {
        if (count > 0) tell('retry', { requestId: id, count });
        const answer = await attempt(count).catch(() => undefined);
        answer?.body.resume();
        if (answer !== undefined && answer.errorType === undefined && answer.status < 500) return;
      }
    };
    work();
    return {
      status: 202,
      headers: [
        ['Content-Length', '0'],
        ['X-Fc-Request-Id', id],
      ],
      body: readable(Buffer.alloc(0)),
      requestId: id,
      instance: undefined,
      errorType: undefined,
    };
  }

  async function exchange(
    id: string,
    call: HttpCall,
    openBody: (() => Readable) | undefined,
    attempt: 'first' | 'second' | 'only',
    retryCount: number = 0,
  ): Promise<Answer> {
    const { method, path, signal } = call;
    return invocation(id, ofRequest(call), signal, async one => {
      const { instance } = one;
      const [pathname = '/'] = path.split('?');
      const headers = call.headers ?? [];
      // not before there is an instance: nobody would hear of it if it broke off
      const body = openBody?.();
      try {
        const response = await send(one, {
          method,
          path,
          headers: [
            ...(header(headers, 'host') === undefined
              ? [['Host', `${settings.name}-abcdefghij.${settings.region}.fcapp.run`] as const]
              : []),
            ...fromClient(headers),
            ...commonHeaders(settings, { requestId: id, controlPath: '/http-invoke', path: pathname, retryCount }),
            ...(body !== undefined && header(headers, 'content-length') === undefined
              ? [['Transfer-Encoding', 'chunked'] as const]
              : []),
          ],
          body,
          fresh: attempt === 'second',
        });
        const answer = relay(one, call, response);
        return { ...answer, headers: [...answer.headers, ...(await logResult(one, call.logType))] };
      } catch (error) {
        if (error instanceof FcError) {
          one.end(error.status, error.code);
          return errorAnswer(settings, error, id, instance.id);
        }
        const failed = error instanceof ClientGone ? error : await broken(one, signal, 'http').catch(gone => gone);
        if (!(failed instanceof FcError)) {
          one.end(499);
          throw failed;
        }
        const again = attempt === 'first' && !one.timedOut() && body === undefined && REPEATABLE.includes(method);
        one.end(failed.status, failed.code, error);
        if (!again) return errorAnswer(settings, failed, id, instance.id);
        tell('retry', { requestId: id, method });
        return exchange(id, call, undefined, 'second');
      }
    });
  }

  /** The body as far as the caller may have it. One who has left does not keep the container from ending. */
  function passOn(response: IncomingMessage, client: AbortSignal | undefined, leave: () => void): Readable {
    const body = counting(switches.maxResponse || Number.POSITIVE_INFINITY, 'response');
    let broken = false;
    // nobody else may be listening when it breaks off
    body.on('error', () => {
      broken = true;
    });
    // before the pipeline destroys the one with the other
    body.on('close', () => {
      if (!broken && !body.readableEnded && !response.destroyed) leave();
    });
    if (switches.clientCancel !== 'finish') {
      pipeline(response, body, () => {});
      return body;
    }
    response.pipe(body);
    response.on('close', () => {
      if (!response.complete) body.destroy(new Error('the container broke off'));
    });
    const drain = (): void => {
      response.unpipe(body);
      response.resume();
    };
    body.on('close', drain);
    if (client?.aborted === true) drain();
    return body;
  }

  /** Why FC does not pass a response on; undefined if it does. */
  function objection(status: number, headers: HeaderPairs): FcError | undefined {
    if (sizeOf(headers) > LIMITS.responseHeaders) {
      return platformError('BadResponse', 502, `response headers: expected at most ${LIMITS.responseHeaders} bytes`);
    }
    const reserved = headers.find(pair => isReserved(settings, pair) && !HARMLESS.has(pair[0].toLowerCase()));
    if (reserved !== undefined && switches.reservedHeaders === 'reject') {
      return platformError('InvalidResponse', 502, `response header ${reserved[0]}: expected none that is reserved`);
    }
    if (settings.domain === 'default' && status >= 300 && status < 400 && status !== 304) {
      return platformError('ExternalRedirectForbidden', 400, 'redirects are forbidden on this domain');
    }
    return undefined;
  }

  /** The container's answer as the caller gets it; the invocation ends with the body. */
  function relay(one: Invocation, call: HttpCall, response: IncomingMessage): Answer {
    const { requestId: id, instance } = one;
    const status = response.statusCode ?? 0;
    const given = pairs(response.rawHeaders);
    const problem = objection(status, given);
    if (problem !== undefined) {
      response.destroy();
      throw problem;
    }
    const body = passOn(response, call.signal, one.leave);
    response.on('close', async () => {
      if (!response.complete && !one.timedOut() && !one.signal.aborted) await instance.aftermath();
      one.end(response.complete ? status : one.timedOut() ? switches.timeoutStatus : 502);
    });
    const length = response.headers['content-length'];
    return {
      status,
      headers: [
        ...given.filter(pair => !isReserved(settings, pair)),
        ...cors(call.headers ?? [], given),
        ...(length === undefined ? [] : [['Content-Length', length] as const]),
        ...(settings.domain === 'default' ? [['Content-Disposition', 'attachment'] as const] : []),
        ['X-Fc-Request-Id', id],
      ],
      body,
      requestId: id,
      instance: instance.id,
      errorType: undefined,
    };
  }

  return {
    settings,
    life,
    instances: () => [...instances],
    acquire,
    release,
    async invoke(call = {}) {
      const id = requestId(settings);
      const limit = call.invocationType === 'Async' ? LIMITS.asyncBody : LIMITS.syncBody;
      return answered(id, ofEvent(call), async () => {
        if ((call.payload?.length ?? 0) > limit) throw tooLarge(limit);
        if (call.invocationType !== 'Async') return once(id, call, 0);
        const detached = withoutClient(call);
        return later(id, count => answered(id, ofEvent(call), () => once(id, detached, count)));
      });
    },
    async http(call) {
      const id = requestId(settings);
      return answered(id, ofRequest(call), async () => {
        const refused = refusal({ headers: [], ...call });
        if (refused !== undefined) throw refused;
        const told = header(call.headers ?? [], 'content-length');
        if (told !== undefined && Number(told) > LIMITS.syncBody) throw tooLarge(LIMITS.syncBody);
        if (call.invocationType !== 'Async') {
          const { body } = call;
          return exchange(id, call, body && (() => limited(body)), 'first');
        }
        const payload = call.body && (await collect(call.body, LIMITS.asyncBody).catch(brokenOff));
        const detached = withoutClient(call);
        return later(id, count =>
          answered(id, ofRequest(call), () =>
            exchange(id, detached, payload && (() => readable(payload)), 'only', count),
          ),
        );
      });
    },
    async scale(count) {
      const surplus = [...instances].slice(count);
      const starts = Array.from({ length: Math.max(0, count - taken) }, () => begin(requestId(settings)));
      await Promise.all([...surplus.map(instance => instance.stop('scaled in')), ...starts]);
      if (surplus.length > 0) tell('scaled', { instances: taken });
    },
    async stop() {
      stopped = true;
      for (const waiter of queue)
        waiter.reject(platformError('FunctionNotFound', 404, 'the function has been deleted'));
      queue = [];
      const all = (): Promise<unknown> => Promise.all([...instances].map(instance => instance.stop('deleted')));
      await all();
      // one that was about to be there
      await Promise.allSettled(starting);
      await all();
    },
  };
}

/** What events tell of a call. */
const ofEvent = ({ payload }: EventCall): { kind: string; bytes: number } => ({
  kind: 'event',
  bytes: payload?.length ?? 0,
});
const ofRequest = ({ method, path }: HttpCall): { kind: string; method: string; path: string } => ({
  kind: 'http',
  method,
  path,
});

/** An accepted asynchronous call goes on when its client leaves. */
function withoutClient<C extends CallOptions>({ signal, ...call }: C): Omit<C, 'signal'> {
  return call;
}

/** Rejects when the client leaves. */
const goneOf = (client: AbortSignal): Promise<never> =>
  new Promise((_, reject) => client.addEventListener('abort', () => reject(new ClientGone())));

const isSuccess = (status: number | undefined): boolean => status !== undefined && status >= 200 && status < 300;

/** What node:http and every other server sends, and FC replaces without a word; and `x-fc-status`, which is for FC. */
const HARMLESS = new Set([
  'connection',
  'content-length',
  'date',
  'keep-alive',
  'server',
  'transfer-encoding',
  'x-fc-status',
]);

/** FC answers for CORS where the function does not. @see FC contract §4.2 */
function cors(request: HeaderPairs, response: HeaderPairs): HeaderPairs {
  const origin = header(request, 'origin');
  if (origin === undefined || response.some(([name]) => /^access-control-/i.test(name))) return [];
  return [
    ['Access-Control-Allow-Origin', origin],
    ['Access-Control-Allow-Credentials', 'true'],
    ['Access-Control-Expose-Headers', 'Date,X-Fc-Request-Id,X-Fc-Error-Type'],
  ];
}

/** Passes bytes on, up to a limit. */
function counting(limit: number, what: string): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      if (bytes > limit) done(what === 'request' ? tooLarge(limit) : new Error(`${what}: more than ${limit} bytes`));
      else done(null, chunk);
    },
  });
}

/** A request's body up to FC's limit. What is over it stays unread: the connection still has to carry the answer. */
function limited(source: Readable): Readable {
  const body = counting(LIMITS.syncBody, 'request');
  source.on('error', () => {});
  source.on('close', () => {
    if (!source.readableEnded) body.destroy(new ClientGone());
  });
  return source.pipe(body);
}

/** A client that leaves while its body is collected is no error of FC's. */
function brokenOff(error: unknown): never {
  throw error instanceof FcError ? error : new ClientGone();
}

function readable(bytes: Buffer): Readable {
  const stream = new PassThrough();
  stream.end(bytes);
  return stream;
}
