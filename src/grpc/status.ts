import type { H2Error } from '../h2/error.ts';
import * as ErrorCode from '../h2/error-code.ts';
import * as Status from './status-code.ts';

/** By code. */
const NAMES =
  'OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS UNAUTHENTICATED'.split(
    ' ',
  );

/** How a call failed. */
export class GrpcError extends Error {
  override readonly name = 'GrpcError';
  /** One of `status-code.ts`, or what else the peer sent as one. */
  readonly code: number;
  /** The status message. */
  readonly details: string;
  /** True when the peer has said that it did nothing with the call: making it again is safe. */
  readonly isRefused: boolean;
  /** True when it is we who found fault with the peer: what it sent is no answer to a call. */
  readonly isBreach: boolean;

  constructor(code: number, details: string, isRefused = false, isBreach = false) {
    super(`${code} ${NAMES[code] ?? 'status'}: ${details}`);
    this.code = code;
    this.details = details;
    this.isRefused = isRefused;
    this.isBreach = isBreach;
  }
}

/** Says that what the peer sent is no answer to a call. */
export function breach(code: number, details: string): GrpcError {
  return new GrpcError(code, details, false, true);
}

/** Tells a number that is a status of gRPC's. */
export function isStatus(text: string): boolean {
  return /^\d{1,4}$/.test(text) && Number(text) < NAMES.length;
}

/** @see gRPC over HTTP2, "HTTP2 Transport Mapping: Errors" */
const BY_RESET: Readonly<Record<number, number>> = {
  [ErrorCode.REFUSED_STREAM]: Status.UNAVAILABLE,
  [ErrorCode.CANCEL]: Status.CANCELLED,
  [ErrorCode.ENHANCE_YOUR_CALM]: Status.RESOURCE_EXHAUSTED,
  [ErrorCode.INADEQUATE_SECURITY]: Status.PERMISSION_DENIED,
};

/** Says as a status what ended a stream. A connection that was lost, or is going away, is UNAVAILABLE. */
export function fromH2Error({ code, message, from, isRefused }: H2Error): GrpcError {
  const status = from === undefined || isRefused ? Status.UNAVAILABLE : (BY_RESET[code] ?? Status.INTERNAL);
  return new GrpcError(status, message, isRefused, from === 'local');
}

/** @see gRPC "HTTP to gRPC Status Code Mapping" */
const BY_HTTP_STATUS: Readonly<Record<string, number>> = {
  '400': Status.INTERNAL,
  '401': Status.UNAUTHENTICATED,
  '403': Status.PERMISSION_DENIED,
  '404': Status.UNIMPLEMENTED,
  '429': Status.UNAVAILABLE,
  '502': Status.UNAVAILABLE,
  '503': Status.UNAVAILABLE,
  '504': Status.UNAVAILABLE,
};

/** Says as a status what an answer means that is not gRPC's 200. */
export function fromHttpStatus(status: string): GrpcError {
  const code = BY_HTTP_STATUS[status] ?? Status.UNKNOWN;
  // who says that it is busy speaks HTTP alone, but sense
  return new GrpcError(code, `HTTP status ${status}, expected 200`, false, code !== Status.UNAVAILABLE);
}

/**
 * Reads a status message: UTF-8, percent-encoded where it is not printable ASCII. What is encoded badly
 * stays as it is, for a message must not hide its status.
 *
 * @see gRPC over HTTP2, "Status-Message"
 */
export function decodeStatusMessage(value: string): string {
  const bytes = Buffer.alloc(value.length);
  let size = 0;
  for (let i = 0; i < value.length; i++) {
    const hex = value[i] === '%' ? value.slice(i + 1, i + 3) : '';
    if (/^[0-9a-f]{2}$/i.test(hex)) {
      bytes[size++] = Number.parseInt(hex, 16);
      i += 2;
    } else bytes[size++] = value.charCodeAt(i);
  }
  return bytes.toString('utf8', 0, size);
}
