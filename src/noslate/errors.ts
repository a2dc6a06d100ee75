import { MAX_ENVIRONMENT_BYTES } from '../environment.ts';
import { type Code, GatewayError } from '../errors.ts';
import * as Status from '../grpc/status-code.ts';

/** A failure as a data plane, a worker behind it, or gRPC between us tells it; every field may be missing. */
export interface NoslateError {
  readonly name?: string | undefined;
  /** May hold the server's paths and stacks. */
  readonly message?: string | undefined;
  readonly stack?: string | undefined;
  /** The user's stack, from inside the worker. */
  readonly peerStack?: string | undefined;
  /** What the worker was asked for; only its own failures carry one. */
  readonly operation?: string | undefined;
  /** A number of one of two tables, or of none: see `fromNoslate`. */
  readonly code?: number | undefined;
  /** Set by gRPC alone. */
  readonly details?: string | undefined;
  /** True for an answer that the protocol does not allow. */
  readonly isBreach?: boolean | undefined;
}

/** Codes that a failure on the planes can come to. */
type PlaneCode = Extract<
  Code,
  | 'FUNCTION_NOT_FOUND'
  | 'SERVICE_NOT_FOUND'
  | 'BODY_TOO_LARGE'
  | 'RATE_LIMITED'
  | 'CLIENT_GONE'
  | 'INTERNAL'
  | 'FUNCTION_FAILED'
  | 'INVALID_RUNTIME'
  | 'CODE_UNAVAILABLE'
  | 'INITIALIZER_FAILED'
  | 'WORKER_EXITED'
  | 'BAD_RESPONSE'
  | 'UNAVAILABLE'
  | 'QUEUE_TIMEOUT'
  | 'NO_WORKER'
  | 'INITIALIZER_TIMEOUT'
  | 'TIMEOUT'
>;

/** What the client is told, behind the target's name. */
const WORDS: Readonly<Record<PlaneCode, string>> = {
  FUNCTION_NOT_FOUND: ': no such function on the data plane',
  SERVICE_NOT_FOUND: ': no such service on the data plane',
  BODY_TOO_LARGE: ': expected no message above 10 MiB on the way there',
  RATE_LIMITED: ': the rate limit was passed',
  CLIENT_GONE: ': the request was broken off',
  INTERNAL: ': the data plane failed in a way that is not known',
  FUNCTION_FAILED: ' failed',
  INVALID_RUNTIME: ': its runtime is not known to the control plane',
  CODE_UNAVAILABLE: ': its code could not be found or read',
  INITIALIZER_FAILED: ': its worker could not be started',
  WORKER_EXITED: ': its worker exited',
  BAD_RESPONSE: ': the data plane gave no answer that could be understood',
  UNAVAILABLE: ': no data plane could serve it',
  QUEUE_TIMEOUT: ': no worker became free before the deadline',
  NO_WORKER: ': no worker is free and no more can be started',
  INITIALIZER_TIMEOUT: ': its worker was not initialized in time',
  TIMEOUT: ' gave no answer by the deadline',
};

/** noslated's CanonicalCode, without those that say no more than that the function failed. */
const CANONICAL: Readonly<Record<number, PlaneCode>> = {
  2: 'TIMEOUT',
  4: 'WORKER_EXITED', // CONNECTION_RESET
  6: 'UNAVAILABLE', // CANCELLED: the data plane let go of the worker
};

/** Statuses of gRPC's own for a call that was lost: CANCELLED, the session's memory, a reset, no connection. */
const LOST: readonly number[] = [Status.CANCELLED, Status.RESOURCE_EXHAUSTED, Status.INTERNAL, Status.UNAVAILABLE];

/** gRPC statuses that a data plane raises itself, where the message is not one of MESSAGES. */
const RAISED: Readonly<Record<number, PlaneCode>> = {
  4: 'QUEUE_TIMEOUT',
  5: 'FUNCTION_NOT_FOUND',
  8: 'RATE_LIMITED',
  9: 'UNAVAILABLE', // the circuit breaker
};

const UNKNOWN_FUNCTION = /^No function named /;

/** Nothing of the call has come to a worker: it was handed to one that has just gone. A function's own words stand behind INTERNAL_ERROR. */
const UNSENT =
  /^(worker has not connected yet|client not connected yet|Noslated request failed: CanonicalCode::CONNECTION_RESET request kind\(Trigger\), session not connected)$/;

/** turfd is told of one worker more than it takes: all that it is told of just then fails. */
const BROKEN_OFF = /^Internal error: Error: (read ECONNRESET|write EPIPE)/;

type Row = readonly [pattern: RegExp, code: PlaneCode, words?: string];

/** Messages that settle it. The first that matches counts. A control plane begins with `Internal error: ` what else keeps a worker from its start. */
const MESSAGES: readonly Row[] = [
  [UNKNOWN_FUNCTION, 'FUNCTION_NOT_FOUND'],
  [/^No function profile /, 'FUNCTION_NOT_FOUND'],
  [/^Service not found/, 'SERVICE_NOT_FOUND'],
  [/^No (available worker process for|enough virtual memory)|^Replica count exceeded limit/, 'NO_WORKER'],
  [/^Failed to ensure \(or download\) code/, 'CODE_UNAVAILABLE'],
  [/^Internal error: .*initialization timeout/s, 'INITIALIZER_TIMEOUT'],
  [/^Internal error: Error: No available data plane/, 'UNAVAILABLE'],
  [
    BROKEN_OFF,
    'INITIALIZER_FAILED',
    `: its worker could not be started, turfd broke off: expected an environment of at most ${MAX_ENVIRONMENT_BYTES} bytes`,
  ],
  [
    /^Internal error: RangeError \[ERR_OUT_OF_RANGE\]/,
    'INITIALIZER_FAILED',
    `: its worker could not be started, turfd cannot be told of it: expected an environment of at most ${MAX_ENVIRONMENT_BYTES} bytes`,
  ],
  [
    /^Internal error: TurfError: .*code\(-2\)/,
    'INITIALIZER_FAILED',
    ': its worker could not be started, turfd found no program of its runtime',
  ],
  [/^(Internal error: |Invalid v8 options: )/, 'INITIALIZER_FAILED'],
  [/^Invalid runtime /, 'INVALID_RUNTIME'],
  [UNSENT, 'WORKER_EXITED'],
  [/^(read ECONNRESET|Peer connection closed)/, 'WORKER_EXITED'],
  [/^(peer reset stream|No headers received)/, 'FUNCTION_FAILED'],
  [/^No activated data plane/, 'UNAVAILABLE'],
];

/** Messages of gRPC's that say more than its status. */
const DETAILS: readonly Row[] = [
  // a data plane that was killed can look like one that ended the call
  [/^the call ended (inside a message|without a status)/, 'UNAVAILABLE'],
  [/^the call ended without a response/, 'FUNCTION_FAILED'],
  [/^Received message larger than max/, 'BODY_TOO_LARGE'],
  // what the function wrote at once, which is not the client's fault
  [/^Sent message larger than max/, 'FUNCTION_FAILED'],
  [/Cancelled on client/, 'CLIENT_GONE'],
];

/**
 * Makes a GatewayError of whatever a call of a data plane ended with.
 *
 * Two tables share `code`. A failure of the worker's (`name` NoslatedError, or `operation` set) has
 * noslated's CanonicalCode; one with `details` is gRPC's own; any other has the gRPC status that the data
 * plane raised, or none, and then its message tells what it is. A worker's failure that is not known is
 * FUNCTION_FAILED, one of gRPC's BAD_RESPONSE, any other INTERNAL.
 *
 * The plane's words, which may hold paths and stacks, go into `cause` alone.
 *
 * @param target - what was invoked, for the client: `function "x"` or `service "y"`.
 * @see noslated src/lib/rpc/error.ts, `CanonicalCode`
 */
export function fromNoslate(error: NoslateError, target: string): GatewayError {
  const [code, words] = meaningOf(error);
  return new GatewayError(code, target + (words ?? WORDS[code]), causeOf(error));
}

/**
 * Tells that a data plane does not know the function. After a restart it does not know any, until the
 * control plane has sent the profiles again.
 */
export function unknownFunction({ code, message = '', operation }: NoslateError): boolean {
  return code === 5 && isAbsent(operation) && UNKNOWN_FUNCTION.test(message);
}

/** Tells that a data plane has had no worker for a call that it took out of its queue: it can be made again. */
export function isUnsent({ message = '' }: Pick<NoslateError, 'message'>): boolean {
  return UNSENT.test(message);
}

/** Tells that turfd broke off before it had started a worker for a call. If another worker was to blame, it can be made again. */
export function isBrokenOff({ message = '' }: Pick<NoslateError, 'message'>): boolean {
  return BROKEN_OFF.test(message);
}

function meaningOf({
  name,
  message = '',
  operation,
  code = 0,
  details,
  isBreach,
}: NoslateError): [code: PlaneCode, words?: string | undefined] {
  if (isBreach === true) return ['BAD_RESPONSE'];
  if (name === 'NoslatedError' || !isAbsent(operation)) return [CANONICAL[code] ?? 'FUNCTION_FAILED'];
  if (details !== undefined) return find(DETAILS, details) ?? [codeOfStatus(code)];
  return find(MESSAGES, message) ?? [RAISED[code] ?? 'INTERNAL'];
}

/** For statuses of gRPC's own: the call never reached the function, or was cut off. */
function codeOfStatus(status: number): PlaneCode {
  if (status === Status.DEADLINE_EXCEEDED) return 'TIMEOUT';
  return LOST.includes(status) ? 'UNAVAILABLE' : 'BAD_RESPONSE';
}

function find(table: readonly Row[], text: string): [code: PlaneCode, words?: string | undefined] | undefined {
  const row = table.find(([pattern]) => pattern.test(text));
  return row && [row[1], row[2]];
}

/** protobuf's decoders differ in what they make of a string that was not sent. */
function isAbsent(text: string | undefined): boolean {
  return text === undefined || text === '';
}

function causeOf({ name, message, stack, peerStack }: NoslateError): Error {
  const cause = new Error(message);
  if (name !== undefined) cause.name = name;
  // the place where this object was made helps nobody
  cause.stack = peerStack || stack || `${cause.name}: ${cause.message}`;
  return cause;
}
