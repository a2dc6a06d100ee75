import type { Readable } from 'node:stream';
import type { Metadata, TriggerResponse } from '../agent.ts';
import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';

/** An invocation on its way: first in a pool's queue, then in a replica. It is answered or fails, once. */
export interface Call {
  readonly body: Readable;
  readonly metadata: Metadata;
  /** Set by who holds the call: lets go of it after it failed by its deadline or its signal. */
  release: () => void;
  /** Set by who holds the call: what it means when the deadline passes now. */
  onDeadline: () => GatewayError;
  answer(response: TriggerResponse): void;
  fail(error: GatewayError): void;
}

/** Makes a call that ends by itself when its deadline passes or its signal fires. */
export function createCall(
  body: Readable,
  metadata: Metadata,
  resolve: (response: TriggerResponse) => void,
  reject: (error: GatewayError) => void,
): Call {
  const { signal, deadline } = metadata;
  let isSettled = false;

  function settle(): boolean {
    if (isSettled) return false;
    isSettled = true;
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
    return true;
  }
  function fail(error: GatewayError): void {
    if (settle()) reject(error);
  }
  function giveUp(error: GatewayError): void {
    fail(error);
    call.release();
  }
  function onAbort(): void {
    giveUp(signal.reason as GatewayError);
  }

  const call: Call = {
    body,
    metadata,
    release: () => {},
    onDeadline: () => new GatewayError('TIMEOUT', 'the deadline has passed'),
    answer(response) {
      if (settle()) resolve(response);
      else response.body.destroy();
    },
    fail,
  };
  const timer = setTimeout(() => giveUp(call.onDeadline()), Math.max(0, deadline - now()));
  if (signal.aborted) onAbort();
  else signal.addEventListener('abort', onAbort);
  return call;
}
