import { GatewayError, toGatewayError } from '../../src/errors.ts';

/**
 * An error as a data plane raises it: the fields of `InvokeErrorResponse` that were set.
 *
 * @see Noslate contract §11; `code` is a CanonicalCode when `operation` is set, else a gRPC status
 */
export interface NoslateError extends Error {
  /** Stack in the function, when it was the function that failed. */
  peerStack?: string;
  operation?: string;
  code?: number;
}

/** What the words of an error name. */
export interface Failed {
  /** The function. */
  name: string;
  runtime: string;
  requestId: string;
  /** Epoch ms. */
  deadline: number;
}

/** An error of the data plane's own, with a gRPC status or without a code. */
export function planeError(message: string, code?: number): NoslateError {
  return Object.assign(new Error(message), code === undefined ? {} : { code });
}

/** A failed trigger, with a CanonicalCode. */
export function triggerError(code: number, canonical: string, text: string, peerStack?: string): NoslateError {
  const error = new Error(`Noslated request failed: CanonicalCode::${canonical} request kind(Trigger), ${text}`);
  return Object.assign(error, {
    name: 'NoslatedError',
    operation: 'Trigger',
    code,
    ...(peerStack === undefined ? {} : { peerStack }),
  });
}

/** What a data plane says when a call fails before its head, for what the local agent said. */
export function errorBeforeHead(reason: unknown, { name, runtime, requestId, deadline }: Failed): NoslateError {
  const { code, message, cause } = toGatewayError(reason);
  switch (code) {
    case 'FUNCTION_NOT_FOUND':
      return planeError(`No function named ${name} registered in this node.`, 5);
    case 'QUEUE_TIMEOUT':
      return planeError(`Waiting for worker has timed out at ${deadline}, request(${requestId}).`, 4);
    case 'NO_WORKER': {
      const limit = /all (\d+) workers are busy/.exec(message)?.[1];
      return limit === undefined
        ? planeError(`No available worker process for ${name} now.`)
        : planeError(`Replica count exceeded limit (${limit} / ${limit})`);
    }
    case 'CODE_UNAVAILABLE':
      return planeError(
        `Failed to ensure (or download) code: ${cause instanceof Error ? cause.stack : `Error: ${cause}`}`,
      );
    case 'INITIALIZER_FAILED':
      return internalError(new Error(`Worker(${name}-1, status 3) stopped unexpected after start.`));
    case 'INITIALIZER_TIMEOUT':
      return internalError(new Error(`Worker(${name}-1) initialization timeout.`));
    case 'INVALID_RUNTIME':
      return planeError(`Invalid runtime ${runtime}`);
    case 'FUNCTION_FAILED': {
      const { message: text, stack } = cause instanceof Error ? cause : new Error(String(cause));
      return triggerError(1, 'INTERNAL_ERROR', text, stack);
    }
    case 'TIMEOUT':
      return triggerError(2, 'TIMEOUT', 'Request Timeout');
    case 'WORKER_EXITED':
      // process.exit closes the worker's socket under the data plane; a crash is noticed in time
      return typeof cause === 'string' ? planeError('read ECONNRESET', 0) : sessionClosed();
    case 'DRAINING':
      return triggerError(6, 'CANCELLED', 'Session terminated');
    default:
      return planeError(message);
  }
}

/** What a data plane says when a call fails after its head. */
export function errorAfterHead(reason: unknown): NoslateError {
  if (reason instanceof GatewayError && reason.code === 'WORKER_EXITED')
    return Object.assign(planeError('Peer connection closed'), { name: 'PEER_CONNECTION_CLOSED' });
  return planeError('peer reset stream');
}

/** What a data plane says of calls whose worker it has ended. */
export function sessionClosed(): NoslateError {
  return triggerError(4, 'CONNECTION_RESET', 'Session closed');
}

/** What the control plane says of a worker that could not be started: the error's stack is in the message. */
export function internalError({ stack }: Error): NoslateError {
  return planeError(`Internal error: ${stack}`);
}

/** What turfd says when there is no binary of the runtime. */
export function turfError(): NoslateError {
  const error = new Error('Turf response with non-zero code(-2)');
  return internalError(Object.assign(error, { stack: `Turf${error.stack}` }));
}
