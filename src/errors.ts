/**
 * What can go wrong, the HTTP status each failure is answered with, and who may try again.
 *
 * @see Noslate's error table: the causes on the planes that each code stands for.
 */
const STATUS = {
  /** The request itself is malformed. */
  BAD_REQUEST: 400,
  /** No route leads anywhere. */
  ROUTE_NOT_FOUND: 404,
  /** The route names a function that is not registered. */
  FUNCTION_NOT_FOUND: 404,
  /** The route names a service that is not registered. */
  SERVICE_NOT_FOUND: 404,
  /** The client takes longer than the limits of time allow. */
  CLIENT_TOO_SLOW: 408,
  /** `SERVER_MAX_BODY` was passed. */
  BODY_TOO_LARGE: 413,
  /** `SERVER_MAX_URL` was passed. */
  URL_TOO_LONG: 414,
  /** The client expects something that is not there. */
  EXPECTATION_FAILED: 417,
  /** Noslate's rate limit of the function was passed. */
  RATE_LIMITED: 429,
  /** `SERVER_MAX_HEADER_BYTES` or `SERVER_MAX_HEADERS` was passed. */
  HEADERS_TOO_LARGE: 431,
  /** The client left; nobody reads an answer. */
  CLIENT_GONE: 499,
  /** A fault of the gateway's own. */
  INTERNAL: 500,
  /** A method or transfer coding that no part of the gateway knows. */
  NOT_IMPLEMENTED: 501,
  /** The function threw, rejected or broke off. */
  FUNCTION_FAILED: 502,
  /** The agent cannot run functions of this runtime. */
  INVALID_RUNTIME: 502,
  /** The function's code could not be found or read. */
  CODE_UNAVAILABLE: 502,
  /** The initializer threw, or the worker died before it was ready. */
  INITIALIZER_FAILED: 502,
  /** The worker exited, crashed or passed its memory limit with the call in flight. */
  WORKER_EXITED: 502,
  /** The function's status or headers are not HTTP, or the data plane's answer is none. */
  BAD_RESPONSE: 502,
  /** The agent was not ready before the deadline. */
  UNAVAILABLE: 503,
  /** The gateway is stopping. */
  DRAINING: 503,
  /** `SERVER_MAX_CONCURRENCY` was passed. */
  OVERLOADED: 503,
  /** No worker became free before the deadline. */
  QUEUE_TIMEOUT: 503,
  /** No free worker, and the function does not queue (`disableRequestQueue`) or fails fast. */
  NO_WORKER: 503,
  /** The initializer took longer than `initializationTimeout`. */
  INITIALIZER_TIMEOUT: 504,
  /** The function gave no status before the deadline. */
  TIMEOUT: 504,
} as const;

/** Stable name of a failure; part of the public contract (error bodies, access log). */
export type Code = keyof typeof STATUS;

/**
 * The one error type of the gateway.
 *
 * `message` is for the client: it names the thing and what was expected, and holds no path, stack or
 * text of the function's. What a developer needs beyond that is the `cause`, which only the log shows.
 */
export class GatewayError extends Error {
  override readonly name = 'GatewayError';
  readonly code: Code;
  declare readonly cause?: unknown;

  constructor(code: Code, message: string, cause?: unknown) {
    super(message);
    this.code = code;
    if (cause !== undefined) this.cause = cause;
  }

  /** HTTP status that answers this failure. */
  get status(): number {
    return STATUS[this.code];
  }
}

/** Passes a GatewayError on and wraps anything else as INTERNAL, whose text stays in the log. */
export function toGatewayError(error: unknown): GatewayError {
  return error instanceof GatewayError ? error : new GatewayError('INTERNAL', 'internal error of the gateway', error);
}

/** A configuration that cannot be used; `problems` has one line per fault, each naming its key. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly problems: readonly string[];

  constructor(problems: readonly string[]) {
    super(problems.join('\n'));
    this.problems = problems;
  }
}
