/** HTTP/2 error codes. @see RFC 9113 §7 */
export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;

const NAMES = Object.keys(ErrorCode);

/** What ends a stream or a connection before its time. */
export class H2Error extends Error {
  override readonly name = 'H2Error';
  /** An `ErrorCode`, or what else the peer sent as one. */
  readonly code: number;
  /** Who found fault: this side with the peer, or the peer. Undefined when the connection was lost. */
  readonly from: 'local' | 'peer' | undefined;
  /** True when the peer has said that it did nothing with the request: sending it again is safe. */
  readonly isRefused: boolean;

  constructor(code: number, message: string, from?: 'local' | 'peer', isRefused = false) {
    super(`${message} (${NAMES[code] ?? `error code ${code}`})`);
    this.code = code;
    this.from = from;
    this.isRefused = isRefused;
  }
}

/** A breach of the protocol by the peer that ends the connection. */
export function connectionError(code: number, message: string): H2Error {
  return new H2Error(code, message, 'local');
}
