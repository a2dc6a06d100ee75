import { Readable } from 'node:stream';
import type { HeaderPairs } from './headers.ts';
import type { FunctionSettings } from './settings.ts';

/** What a caller gets. */
export interface Answer {
  readonly status: number;
  /** Neither Date nor those of the connection. */
  readonly headers: HeaderPairs;
  /** Errors when the container broke off in the middle; the caller's connection has to be broken, too. */
  readonly body: Readable;
  readonly requestId: string;
  /** Undefined when no instance was reached. */
  readonly instance: string | undefined;
  /** `X-Fc-Error-Type`, if there is one. */
  readonly errorType: string | undefined;
}

/** An answer of FC's own instead of the container's. */
export class FcError extends Error {
  readonly kind: 'platform' | 'function';
  readonly code: string;
  readonly status: number;

  /**
   * @param kind - `function`: the invocation failed in the container, and the body is `{"errorMessage"}`;
   *   `platform`: FC refused or could not, and the body is its envelope.
   * @param code - `X-Fc-Error-Type` of the one, `Code` of the other.
   */
  constructor(kind: FcError['kind'], code: string, status: number, message: string) {
    super(message);
    this.kind = kind;
    this.code = code;
    this.status = status;
  }
}

/** FC has accepted the call and found no instance, or refused it. @see FC contract §1.1 */
export const platformError = (code: string, status: number, message: string): FcError =>
  new FcError('platform', code, status, message);

/** Body and headers of an error. @see FC contract §1.1, §4.1 */
export function errorAnswer(
  { flavour }: FunctionSettings,
  error: FcError,
  requestId: string,
  instance: string | undefined,
): Answer {
  const body =
    error.kind === 'function'
      ? { errorMessage: error.message }
      : flavour === '2.0'
        ? { ErrorCode: error.code, ErrorMessage: error.message }
        : { Code: error.code, Message: error.message, RequestId: requestId };
  const errorType = error.kind === 'function' ? error.code : 'FCCommonError';
  const text = JSON.stringify(body);
  return {
    status: error.status,
    headers: [
      ['Content-Type', 'application/json'],
      ['Content-Length', String(Buffer.byteLength(text))],
      ['X-Fc-Error-Type', errorType],
      ['X-Fc-Request-Id', requestId],
    ],
    body: Readable.from([Buffer.from(text)]),
    requestId,
    instance,
    errorType,
  };
}
