/** By code. */
const NAMES =
  'NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED'.split(
    ' ',
  );

/** What ends a stream or a connection before its time. */
export class H2Error extends Error {
  override readonly name = 'H2Error';
  /** One of `error-code.ts`, or what else the peer sent as one. */
  readonly code: number;
  /** Who found fault: this side with the peer, or the peer. Undefined when the connection was lost. */
  readonly from: 'local' | 'peer' | undefined;
  /** True when the peer has said that it did nothing with the request: sending it again is safe. */
  readonly isRefused: boolean;

  constructor(code: number, message: string, from?: 'local' | 'peer', isRefused = false) {
    // of a connection that was lost the message says all
    super(from === undefined && code === 0 ? message : `${message} (${NAMES[code] ?? `error code ${code}`})`);
    this.code = code;
    this.from = from;
    this.isRefused = isRefused;
  }
}

/** A breach of the protocol by the peer that ends the connection. */
export function connectionError(code: number, message: string): H2Error {
  return new H2Error(code, message, 'local');
}
