import type { IncomingMessage } from 'node:http';
import { now } from '../../clock.ts';
import { type Answer, errorAnswer, FcError } from './answers.ts';
import { type Call, ClientGone, type EventCall } from './call.ts';
import type { Invoke } from './invocation.ts';
import { eventHeaders, readAnswer, readable } from './relay.ts';
import type { FunctionSettings, Switches } from './settings.ts';

/**
 * Calls the function with an event, once. Its caller gets the body alone.
 *
 * @throws {ClientGone} rejected. {FcError} rejected: no instance could be had. Whatever else happens is an answer.
 */
export function invokeEvent(
  settings: FunctionSettings,
  invoke: Invoke,
  call: Call,
  { payload = Buffer.alloc(0), signal, logType }: EventCall,
): Promise<Answer> {
  const { requestId } = call.fields;
  return invoke(call, signal, async one => {
    const { instance } = one;
    try {
      call.record.requestBody.add(payload);
      const response = await one.send({
        method: 'POST',
        path: '/invoke',
        headers: eventHeaders(settings, requestId, instance.port, payload.length, call.retryCount),
        body: readable(payload),
      });
      const body = await readAnswer(settings, response, call.record.responseBody.add);
      if (signal?.aborted === true) throw new ClientGone();
      const errorType = hasFailed(response, settings.switches) ? 'UnhandledInvocationError' : undefined;
      const log = await one.logResult(logType);
      one.end(200, errorType);
      return {
        status: 200,
        headers: [
          ['Content-Type', 'application/octet-stream'],
          ['Content-Length', String(body.length)],
          ['X-Fc-Request-Id', requestId],
          ['X-Fc-Instance-Id', instance.id],
          ['X-Fc-Invocation-Duration', String(Math.round(now() - one.begun))],
          ['X-Fc-Max-Memory-Usage', instance.peakMemory().toFixed(2)],
          ...(errorType === undefined ? [] : [['X-Fc-Error-Type', errorType] as const]),
          ...(call.session?.headers ?? []),
          ...log,
        ],
        body: readable(body),
        requestId,
        instance: instance.id,
        errorType,
      };
    } catch (error) {
      const known = error instanceof FcError ? error : await one.broken('event').catch(gone => gone);
      if (!(known instanceof FcError)) {
        one.end(499);
        throw known;
      }
      one.end(known.status, known.code, error, known.message);
      return errorAnswer(settings, known, requestId, instance.id);
    }
  });
}

/** `x-fc-status` decides where there is one. @see FC contract §4.1 */
function hasFailed({ headers, statusCode = 0 }: IncomingMessage, { plainFailure }: Switches): boolean {
  const told = headers['x-fc-status'];
  if (told !== undefined) return !/^2/.test(String(told));
  return plainFailure === 'error' && (statusCode < 200 || statusCode > 299);
}
