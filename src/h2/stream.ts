import type { H2Error } from './error.ts';
import type { Fields } from './hpack.ts';

/** What hears of a stream. After `onClose` nothing more comes. */
export interface StreamListener {
  /** The response's head, and then its trailers if there are any; `:status` is checked and comes first in a head. */
  onHeaders(fields: Fields): void;
  /** Bytes of the body, a view of what was read. They must be returned with `consume` when they are done with. */
  onData(piece: Buffer): void;
  /** Everything that was written is on its way. */
  onDrain(): void;
  /** The response is whole, or the stream came to its end before that. */
  onClose(error: H2Error | undefined): void;
}

/** One request and its response. Only its connection changes it. */
export interface Stream {
  readonly id: number;
  readonly listener: StreamListener;
  /** Bytes that the peer takes, and that it may send. */
  sendWindow: number;
  receiveWindow: number;
  /** Bytes handed out and not consumed, and consumed but not given back to the peer yet. */
  held: number;
  unreturned: number;
  /** What was written and waits for a window. */
  readonly queue: Buffer[];
  queuedBytes: number;
  isEndQueued: boolean;
  /** END_STREAM has been sent. */
  isLocalEnded: boolean;
  /** The response's head has come. */
  hasHead: boolean;
  /** Bytes of the body to come, when its head has said how many. */
  bodyLeft: number | undefined;
  /** True once it is no longer among the connection's streams. */
  isClosed: boolean;
}

/** Makes a stream in the state `open`. */
export function createStream(id: number, listener: StreamListener, sendWindow: number, receiveWindow: number): Stream {
  return {
    id,
    listener,
    sendWindow,
    receiveWindow,
    held: 0,
    unreturned: 0,
    queue: [],
    queuedBytes: 0,
    isEndQueued: false,
    isLocalEnded: false,
    hasHead: false,
    bodyLeft: undefined,
    isClosed: false,
  };
}

/** Removes up to `size` bytes from the front of a stream's queue, appending views of them to `out`. */
export function dequeue(stream: Stream, size: number, out: Buffer[]): void {
  const { queue } = stream;
  stream.queuedBytes -= size;
  let left = size;
  while (left > 0) {
    const first = queue[0] as Buffer;
    if (first.length <= left) {
      out.push(first);
      left -= first.length;
      queue.shift();
    } else {
      out.push(first.subarray(0, left));
      queue[0] = first.subarray(left);
      return;
    }
  }
}
