import type { Readable } from 'node:stream';
import { now } from '../../clock.ts';
import { type Answer, errorAnswer, FcError } from './answers.ts';
import { createAssignment } from './assignment.ts';
import { createAsync } from './async.ts';
import { type Call, type CallOptions, ClientGone, type EventCall, type HttpCall } from './call.ts';
import { invokeEvent } from './event.ts';
import { type HeaderPairs, header, requestId } from './headers.ts';
import { type Instance, startInstance } from './instance.ts';
import { createInvoke } from './invocation.ts';
import { between, type CallFields, createLife, type Life } from './life.ts';
import { collect, LIMITS, refusal, tooLarge } from './limits.ts';
import { createRecord, type RequestHead } from './record.ts';
import { type Passed, readable, upload } from './relay.ts';
import { type CallSession, createSessions } from './sessions.ts';
import { type FunctionOptions, type FunctionSettings, functionSettings } from './settings.ts';
import { requestTrigger } from './trigger.ts';

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
   * @param session - id, of a call that has one.
   * @throws {FcError} rejected: no instance could be had. {ClientGone} rejected.
   */
  acquire(requestId: string, signal?: AbortSignal, session?: string): Promise<Instance>;
  /** What such a call has of a session; undefined of a function without. @throws {FcError} it names none that could be. */
  session(method: string, headers: HeaderPairs): CallSession | undefined;
  /** Of the sessions that an instance has, so much as may be told; undefined of a function without. */
  sessions(instance: string): readonly string[] | undefined;
  /** Tells that such a call has come. */
  receive(fields: Omit<CallFields, 'requestId'>, sent: RequestHead): Call;
  /** Gives the slot back, to whoever waits for one. */
  release(instance: Instance, requestId: string, session?: string): void;
  /** Starts instances until there are so many, or stops those that are too many. They freeze. */
  scale(count: number): Promise<void>;
  /** Stops all instances. Resolves when no process is left. */
  stop(): Promise<void>;
}

/**
 * Plays FC's part for one function. Nothing is started before the first call.
 *
 * @param keptBytes - of each body that a call's record has; none unless told.
 */
export function createPlatform(options: FunctionOptions, life: Life = createLife(), keptBytes: number = 0): Platform {
  const settings = functionSettings(options);
  const { tell } = life;
  const { sessionAffinity } = settings;
  const sessions = sessionAffinity && createSessions(sessionAffinity, tell);
  const assignment = createAssignment(settings, tell, () => startInstance(settings, tell), sessions);
  const invoke = createInvoke(settings, tell, assignment);
  const later = createAsync(settings, tell);
  life.on(({ event }) => {
    if (event === 'healthy') assignment.look();
  });

  function receive(fields: Omit<CallFields, 'requestId'>, sent: RequestHead, isAsync: boolean = false): Call {
    const call = {
      fields: { requestId: requestId(settings), ...fields },
      came: now(),
      record: createRecord(sent, keptBytes),
      retryCount: 0,
    };
    tell('call', { ...call.fields, isAsync, record: call.record }, call.came);
    return call;
  }

  /** An answer, whatever happened; but for a client that has left. */
  async function answered({ fields, came }: Call, work: () => Promise<Answer>): Promise<Answer> {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof FcError)) throw error;
      const { status, code, message } = error;
      const moment = now();
      tell('answer', { ...fields, status, totalMs: between(came, moment), errorType: code, message }, moment);
      return errorAnswer(settings, error, fields.requestId, undefined);
    }
  }

  /** The answer that the caller gets. */
  async function reply(call: Call, work: () => Promise<Answer>): Promise<Answer> {
    const answer = await answered(call, work);
    const { status, headers } = answer;
    call.record.answer = { status, headers };
    return answer;
  }

  /** Accepts a call, and makes it later. */
  const accept = (call: Call, attempt: (call: Call) => Promise<Answer>): Answer =>
    later(call.fields.requestId, retryCount => {
      const again = { ...call, came: now(), retryCount };
      return answered(again, () => attempt(again));
    });

  const { instances, acquire, release, scale, stop } = assignment;
  return {
    settings,
    life,
    instances,
    acquire,
    release,
    scale,
    stop,
    receive,
    session: (method, headers) => sessions?.open(method, headers),
    sessions: instance => sessions?.told(instance),
    async invoke(event = {}) {
      const bytes = event.payload?.length ?? 0;
      const isAsync = event.invocationType === 'Async';
      const limit = isAsync ? LIMITS.asyncBody : LIMITS.syncBody;
      const call = receive({ kind: 'event', bytes }, { method: 'POST', path: '/invoke', headers: [] }, isAsync);
      return reply(call, async () => {
        if (bytes > limit) throw tooLarge(limit);
        if (!isAsync) {
          const session = sessions?.open('POST', event.headers ?? []);
          return invokeEvent(settings, invoke, { ...call, session }, event);
        }
        const detached = withoutClient(event);
        return accept(call, attempt => invokeEvent(settings, invoke, attempt, detached));
      });
    },
    async http(asked) {
      const { method, path, headers = [], body } = asked;
      const isAsync = asked.invocationType === 'Async';
      const call = receive({ kind: 'http', method, path }, { method, path, headers }, isAsync);
      return reply(call, async () => {
        const refused = refusal({ method, path, headers }, settings);
        if (refused !== undefined) throw refused;
        const told = header(headers, 'content-length');
        if (told !== undefined && Number(told) > LIMITS.syncBody) throw tooLarge(LIMITS.syncBody);
        if (!isAsync) {
          const openBody = body && ((passed: Passed) => upload(body, passed));
          const placed = { ...call, session: sessions?.open(method, headers) };
          return requestTrigger(settings, invoke, tell, placed, asked, openBody, 'first');
        }
        const payload = body && (await collect(body, LIMITS.asyncBody).catch(brokenOff));
        const openBody = payload && ((passed: Passed) => whole(payload, passed));
        const detached = withoutClient(asked);
        return accept(call, attempt => requestTrigger(settings, invoke, tell, attempt, detached, openBody, 'only'));
      });
    },
  };
}

/** A body that is there. */
function whole(bytes: Buffer, passed: Passed): Readable {
  passed(bytes);
  return readable(bytes);
}

/** An accepted asynchronous call goes on when its client leaves. */
function withoutClient<C extends CallOptions>({ signal, ...call }: C): Omit<C, 'signal'> {
  return call;
}

/** A client that leaves while its body is collected is no error of FC's. */
function brokenOff(error: unknown): never {
  throw error instanceof FcError ? error : new ClientGone();
}
