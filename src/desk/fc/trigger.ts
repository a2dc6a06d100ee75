import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { type Answer, errorAnswer, FcError } from './answers.ts';
import { type Call, ClientGone, type HttpCall } from './call.ts';
import type { Invocation, Invoke } from './invocation.ts';
import type { Tell } from './life.ts';
import { REPEATABLE } from './limits.ts';
import { answerHeaders, download, objection, triggerHeaders } from './relay.ts';
import type { FunctionSettings } from './settings.ts';

/** How often a request may be made, and which time this is. */
type Attempt = 'first' | 'second' | 'only';

/**
 * Makes an HTTP trigger's request to the function, and once more where FC does. The head of the answer; the call is over
 * when its body has been read or destroyed.
 *
 * @param openBody - is called when there is an instance: before that nobody would hear of it if it broke off. It is to tell
 *   of each chunk that passes.
 * @throws {ClientGone} rejected. {FcError} rejected: no instance could be had. Whatever else happens is an answer.
 */
export function requestTrigger(
  settings: FunctionSettings,
  invoke: Invoke,
  tell: Tell,
  call: Call,
  asked: HttpCall,
  openBody: ((passed: (chunk: Buffer) => void) => Readable) | undefined,
  attempt: Attempt,
): Promise<Answer> {
  const { method, path, signal } = asked;
  const { requestId } = call.fields;
  return invoke(call, signal, async one => {
    const { instance } = one;
    const body = openBody?.(call.record.requestBody.add);
    try {
      const response = await one.send({
        method,
        path,
        headers: triggerHeaders(settings, requestId, asked, body !== undefined, call.retryCount),
        body,
        fresh: attempt === 'second',
      });
      const answer = relay(settings, one, asked, response);
      const own = call.session?.headers ?? [];
      return { ...answer, headers: [...answer.headers, ...own, ...(await one.logResult(asked.logType))] };
    } catch (error) {
      if (error instanceof FcError) {
        one.end(error.status, error.code, undefined, error.message);
        return errorAnswer(settings, error, requestId, instance.id);
      }
      const failed = error instanceof ClientGone ? error : await one.broken('http').catch(gone => gone);
      if (!(failed instanceof FcError)) {
        one.end(499);
        throw failed;
      }
      const again = attempt === 'first' && !one.timedOut() && body === undefined && REPEATABLE.includes(method);
      one.end(failed.status, failed.code, error, failed.message);
      if (!again) return errorAnswer(settings, failed, requestId, instance.id);
      tell('retry', { requestId, method });
      return requestTrigger(settings, invoke, tell, call, asked, undefined, 'second');
    }
  });
}

/** The container's answer as the caller gets it; the invocation ends with the body. */
function relay(settings: FunctionSettings, one: Invocation, asked: HttpCall, response: IncomingMessage): Answer {
  const { call, instance } = one;
  const { requestId } = call.fields;
  const { statusCode: status = 0 } = response;
  const problem = objection(settings, response);
  if (problem !== undefined) {
    response.destroy();
    throw problem;
  }
  const body = download(settings, response, asked.signal, one.leave, call.record.responseBody.add);
  response.on('close', async () => {
    if (!response.complete && !one.timedOut() && !one.signal.aborted) await instance.aftermath();
    one.end(response.complete ? status : one.timedOut() ? settings.switches.timeoutStatus : 502);
  });
  return {
    status,
    headers: answerHeaders(settings, requestId, asked, response),
    body,
    requestId,
    instance: instance.id,
    errorType: undefined,
  };
}
