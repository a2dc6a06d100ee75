import { type Answer, errorAnswer, FcError } from './answers.ts';
import { createAssignment } from './assignment.ts';
import { createAsync } from './async.ts';
import { type CallOptions, ClientGone, type EventCall, type HttpCall } from './call.ts';
import { invokeEvent, ofEvent } from './event.ts';
import { header, requestId } from './headers.ts';
import { type Instance, startInstance } from './instance.ts';
import { createInvoke, type Fields } from './invocation.ts';
import { createLife, type Life } from './life.ts';
import { collect, LIMITS, refusal, tooLarge } from './limits.ts';
import { readable, upload } from './relay.ts';
import { type FunctionOptions, type FunctionSettings, functionSettings } from './settings.ts';
import { ofRequest, requestTrigger } from './trigger.ts';

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

/** Plays FC's part for one function. Nothing is started before the first call. */
export function createPlatform(options: FunctionOptions, life: Life = createLife()): Platform {
  const settings = functionSettings(options);
  const { tell } = life;
  const assignment = createAssignment(settings, tell, () => startInstance(settings, tell));
  const invoke = createInvoke(settings, tell, assignment);
  const later = createAsync(settings, tell);
  life.on(({ event }) => {
    if (event === 'healthy') assignment.look();
  });

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

  const { instances, acquire, release, scale, stop } = assignment;
  return {
    settings,
    life,
    instances,
    acquire,
    release,
    scale,
    stop,
    async invoke(call = {}) {
      const id = requestId(settings);
      const fields = ofEvent(call);
      const limit = call.invocationType === 'Async' ? LIMITS.asyncBody : LIMITS.syncBody;
      return answered(id, fields, async () => {
        if ((call.payload?.length ?? 0) > limit) throw tooLarge(limit);
        if (call.invocationType !== 'Async') return invokeEvent(settings, invoke, id, call, 0);
        const detached = withoutClient(call);
        return later(id, count => answered(id, fields, () => invokeEvent(settings, invoke, id, detached, count)));
      });
    },
    async http(call) {
      const id = requestId(settings);
      const fields = ofRequest(call);
      return answered(id, fields, async () => {
        const refused = refusal({ headers: [], ...call });
        if (refused !== undefined) throw refused;
        const told = header(call.headers ?? [], 'content-length');
        if (told !== undefined && Number(told) > LIMITS.syncBody) throw tooLarge(LIMITS.syncBody);
        if (call.invocationType !== 'Async') {
          const { body } = call;
          return requestTrigger(settings, invoke, tell, id, call, body && (() => upload(body)), 'first');
        }
        const payload = call.body && (await collect(call.body, LIMITS.asyncBody).catch(brokenOff));
        const openBody = payload && (() => readable(payload));
        const detached = withoutClient(call);
        return later(id, count =>
          answered(id, fields, () => requestTrigger(settings, invoke, tell, id, detached, openBody, 'only', count)),
        );
      });
    },
  };
}

/** An accepted asynchronous call goes on when its client leaves. */
function withoutClient<C extends CallOptions>({ signal, ...call }: C): Omit<C, 'signal'> {
  return call;
}

/** A client that leaves while its body is collected is no error of FC's. */
function brokenOff(error: unknown): never {
  throw error instanceof FcError ? error : new ClientGone();
}
