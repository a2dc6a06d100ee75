import type { Readable } from 'node:stream';
import type { Metadata, TriggerResponse } from '../agent.ts';
import { now } from '../clock.ts';
import { GatewayError } from '../errors.ts';
import { fromNoslate, type NoslateError, unknownFunction } from '../noslate/errors.ts';
import type { SdkResponse } from './client.ts';
import { toTriggerResponse } from './download.ts';
import { createUpload, type Upload } from './upload.ts';

/** What a call needs of the SDK. */
export interface Line {
  /** Starts the SDK's call. */
  send(input: Readable): Promise<SdkResponse>;
  /** Resolves after another call's way to a data plane and back. */
  roundTrip(): Promise<unknown>;
  /** The target is registered, but a data plane that has just come back may not have heard of it yet. */
  isReturning(): boolean;
}

/** A call in flight. */
export interface Call {
  /** Rejects with a GatewayError. */
  readonly response: Promise<TriggerResponse>;
  /** Ends it, before the head or after. */
  fail(error: GatewayError): void;
}

/** A data plane notices the deadline too, and says what was late: a worker or the answer. */
const GRACE_MS = 250;
const RETRY_MS = 100;

/**
 * Starts a call that ends by itself when its deadline passes or its signal fires, for the SDK's does not.
 * The signal has not fired yet.
 *
 * @param target - for the client: `function "x"` or `service "y"`.
 * @param onOver - called once or more when the call is over.
 */
export function startCall(
  target: string,
  line: Line,
  body: Readable,
  { deadline, signal }: Metadata,
  onOver: () => void,
): Call {
  let resolve: (response: TriggerResponse) => void = () => {};
  let reject: (error: GatewayError) => void = () => {};
  const response = new Promise<TriggerResponse>((onResolve, onReject) => {
    resolve = onResolve;
    reject = onReject;
  });
  let upload: Upload | undefined;
  let answer: TriggerResponse | undefined;
  let isSettled = false;
  let retry: NodeJS.Timeout | undefined;

  const timer = setTimeout(
    () => {
      const code = retry === undefined ? 'TIMEOUT' : 'UNAVAILABLE';
      fail(new GatewayError(code, `${target} gave no answer by the deadline`));
    },
    Math.max(0, deadline - now()) + GRACE_MS,
  );
  const onAbort = (): void => fail(signal.reason as GatewayError);
  signal.addEventListener('abort', onAbort);

  function settle(): void {
    isSettled = true;
    clearTimeout(timer);
    clearTimeout(retry);
    signal.removeEventListener('abort', onAbort);
  }
  function fail(error: GatewayError): void {
    answer?.body.destroy(error);
    if (isSettled) return;
    settle();
    upload?.cancel();
    onOver();
    reject(error);
  }

  function attempt(): void {
    retry = undefined;
    const current = createUpload(body, line.roundTrip, line.isReturning());
    upload = current;
    line.send(current.input).then(
      head => onHead(head, current),
      error => onError(error, current),
    );
  }
  function onHead(head: SdkResponse, { stop }: Upload): void {
    const made = toTriggerResponse(head, target, () => {
      stop();
      onOver();
    });
    if (isSettled) {
      made.body.destroy();
      return;
    }
    settle();
    answer = made;
    resolve(made);
  }
  function onError(error: NoslateError, { hasStarted, cancel }: Upload): void {
    // the SDK leaves its call open, a day by our deadline
    cancel();
    if (isSettled) return;
    if (!unknownFunction(error) || !line.isReturning()) fail(fromNoslate(error, target));
    else if (hasStarted()) fail(new GatewayError('UNAVAILABLE', `${target}: the data plane is not ready again`, error));
    else retry = setTimeout(attempt, RETRY_MS);
  }

  attempt();
  return { response, fail };
}
