import { Readable } from 'node:stream';
import type { TriggerResponse } from '../agent.ts';
import { GatewayError } from '../errors.ts';
import { fromNoslate, type NoslateError } from '../noslate/errors.ts';
import type { SdkResponse } from './client.ts';

/**
 * Makes a TriggerResponse of the SDK's. Call it in the turn that the response came: the SDK's stream may
 * fail at any time, and that is an uncaught exception as long as nobody listens.
 *
 * Nothing slows the SDK down: what the reader leaves waits in the SDK's stream, however much it is. Ours
 * adds GatewayErrors, and 16 KiB.
 *
 * @param onOver - called once or more when the call is over or given up.
 */
export function toTriggerResponse(response: SdkResponse, target: string, onOver: () => void): TriggerResponse {
  const body = new Readable({
    read: () => response.resume(),
    destroy(error, callback) {
      onOver();
      response.destroy();
      callback(error);
    },
  });
  // who waits for the head must first be able to listen for errors
  const fail = (error: GatewayError): void => void setImmediate(() => body.destroy(error));
  response.on('error', (error: NoslateError) => fail(fromNoslate(error, target)));
  response.on('end', () => {
    onOver();
    body.push(null);
  });
  response.on('close', () => {
    if (!response.readableEnded) fail(new GatewayError('FUNCTION_FAILED', `${target} broke off its answer`));
  });
  response.on('data', chunk => {
    if (!body.push(chunk)) response.pause();
  });
  return { status: response.status, headers: response.metadata.headers.flat(), body };
}
