import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { type Answer, errorAnswer, FcError } from './answers.ts';
import { ClientGone, type HttpCall } from './call.ts';
import type { Fields, Invocation, Invoke } from './invocation.ts';
import type { Tell } from './life.ts';
import { REPEATABLE } from './limits.ts';
import { answerHeaders, download, objection, triggerHeaders } from './relay.ts';
import type { FunctionSettings } from './settings.ts';

/** What events of life tell of a call. */
export const ofRequest = ({ method, path }: HttpCall): Fields => ({ kind: 'http', method, path });

/** How often a request may be made, and which time this is. */
type Attempt = 'first' | 'second' | 'only';

/**
 * Makes an HTTP trigger's request to the function, and once more where FC does. The head of the answer; the call is over
 * when its body has been read or destroyed.
 *
 * @param openBody - is called when there is an instance: before that nobody would hear of it if it broke off.
 * @throws {ClientGone} rejected. {FcError} rejected: no instance could be had. Whatever else happens is an answer.
 */
export function requestTrigger(
  settings: FunctionSettings,
  invoke: Invoke,
  tell: Tell,
  id: string,
  call: HttpCall,
  openBody: (() => Readable) | undefined,
  attempt: Attempt,
  retryCount: number = 0,
): Promise<Answer> {
  const { method, path, signal } = call;
  return invoke(id, ofRequest(call), signal, async one => {
    const { instance } = one;
    const body = openBody?.();
    try {
      const response = await instance.connections.exchange({
        method,
        path,
        headers: triggerHeaders(settings, id, call, body !== undefined, retryCount),
        body,
        fresh: attempt === 'second',
        signal: one.signal,
        reset: settings.switches.clientCancel === 'reset',
      });
      const answer = relay(settings, one, call, response);
      return { ...answer, headers: [...answer.headers, ...(await one.logResult(call.logType))] };
    } catch (error) {
      if (error instanceof FcError) {
        one.end(error.status, error.code);
        return errorAnswer(settings, error, id, instance.id);
      }
      const failed = error instanceof ClientGone ? error : await one.broken('http').catch(gone => gone);
      if (!(failed instanceof FcError)) {
        one.end(499);
        throw failed;
      }
      const again = attempt === 'first' && !one.timedOut() && body === undefined && REPEATABLE.includes(method);
      one.end(failed.status, failed.code, error);
      if (!again) return errorAnswer(settings, failed, id, instance.id);
      tell('retry', { requestId: id, method });
      return requestTrigger(settings, invoke, tell, id, call, undefined, 'second');
    }
  });
}

/** The container's answer as the caller gets it; the invocation ends with the body. */
function relay(settings: FunctionSettings, one: Invocation, call: HttpCall, response: IncomingMessage): Answer {
  const { requestId, instance } = one;
  const { statusCode: status = 0 } = response;
  const problem = objection(settings, response);
  if (problem !== undefined) {
    response.destroy();
    throw problem;
  }
  const body = download(settings, response, call.signal, one.leave);
  response.on('close', async () => {
    if (!response.complete && !one.timedOut() && !one.signal.aborted) await instance.aftermath();
    one.end(response.complete ? status : one.timedOut() ? settings.switches.timeoutStatus : 502);
  });
  return {
    status,
    headers: answerHeaders(settings, requestId, call, response),
    body,
    requestId,
    instance: instance.id,
    errorType: undefined,
  };
}
