import type { IncomingMessage } from 'node:http';
import { now } from '../../clock.ts';
import { type Answer, errorAnswer, FcError } from './answers.ts';
import { ClientGone, type EventCall } from './call.ts';
import type { Fields, Invoke } from './invocation.ts';
import { eventHeaders, readAnswer, readable } from './relay.ts';
import type { FunctionSettings, Switches } from './settings.ts';

/** What events of life tell of a call. */
export const ofEvent = ({ payload }: EventCall): Fields => ({ kind: 'event', bytes: payload?.length ?? 0 });

/**
 * Calls the function with an event, once. Its caller gets the body alone.
 *
 * @throws {ClientGone} rejected. {FcError} rejected: no instance could be had. Whatever else happens is an answer.
 */
export function invokeEvent(
  settings: FunctionSettings,
  invoke: Invoke,
  id: string,
  event: EventCall,
  retryCount: number,
): Promise<Answer> {
  const { payload = Buffer.alloc(0), signal, logType } = event;
  return invoke(id, ofEvent(event), signal, async call => {
    const { instance } = call;
    try {
      const response = await instance.connections.exchange({
        method: 'POST',
        path: '/invoke',
        headers: eventHeaders(settings, id, instance.port, payload.length, retryCount),
        body: readable(payload),
        signal: call.signal,
        reset: settings.switches.clientCancel === 'reset',
      });
      const body = await readAnswer(settings, response);
      if (signal?.aborted === true) throw new ClientGone();
      const errorType = hasFailed(response, settings.switches) ? 'UnhandledInvocationError' : undefined;
      const log = await call.logResult(logType);
      call.end(200, errorType);
      return {
        status: 200,
        headers: [
          ['Content-Type', 'application/octet-stream'],
          ['Content-Length', String(body.length)],
          ['X-Fc-Request-Id', id],
          ['X-Fc-Instance-Id', instance.id],
          ['X-Fc-Invocation-Duration', String(Math.round(now() - call.begun))],
          ['X-Fc-Max-Memory-Usage', instance.peakMemory().toFixed(2)],
          ...(errorType === undefined ? [] : [['X-Fc-Error-Type', errorType] as const]),
          ...log,
        ],
        body: readable(body),
        requestId: id,
        instance: instance.id,
        errorType,
      };
    } catch (error) {
      const known = error instanceof FcError ? error : await call.broken('event').catch(gone => gone);
      if (!(known instanceof FcError)) {
        call.end(499);
        throw known;
      }
      call.end(known.status, known.code, error);
      return errorAnswer(settings, known, id, instance.id);
    }
  });
}

/** `x-fc-status` decides where there is one. @see FC contract §4.1 */
function hasFailed({ headers, statusCode = 0 }: IncomingMessage, { plainFailure }: Switches): boolean {
  const told = headers['x-fc-status'];
  if (told !== undefined) return !/^2/.test(String(told));
  return plainFailure === 'error' && (statusCode < 200 || statusCode > 299);
}
