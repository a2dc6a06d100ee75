import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';

/**
 * Byte streams over a MessagePort, which itself holds whatever is posted: the sender may post only what
 * the receiver has given it credit for. A stalled stream thus holds at most WINDOW bytes on their way
 * and one chunk at the reader.
 */
const WINDOW = 192 * 1024;
/** Largest piece that is posted. WINDOW and one piece make the 256 KiB that a stalled stream may hold. */
const PIECE = 64 * 1024;

/** The sending end. */
export interface Outlet {
  /**
   * Posts a chunk as far as credit reaches and the rest as credit comes in. Calls `done` when all of it
   * is posted; until then there must be no other `write`. The chunk is copied. With `isLast` the last
   * piece carries the end.
   */
  write(chunk: Uint8Array, isLast: boolean, done: () => void): void;
  /** Takes credit from the receiving end. */
  grant(bytes: number): void;
  /** Drops what could not be posted yet, and calls its `done`. */
  close(): void;
}

/** Makes a sending end. `post` gets each piece with a memory of its own, fit to be transferred. */
export function createOutlet(post: (piece: Uint8Array, isEnd: boolean) => void): Outlet {
  let credit = WINDOW;
  let rest: { chunk: Uint8Array; isLast: boolean; done: () => void } | undefined;

  function flush(): void {
    while (rest !== undefined && credit > 0) {
      const { chunk, isLast, done } = rest;
      const size = Math.min(chunk.length, credit, PIECE);
      const isDone = size === chunk.length;
      credit -= size;
      rest = isDone ? undefined : { chunk: chunk.subarray(size), isLast, done };
      post(copy(chunk, size), isDone && isLast);
      if (isDone) done();
    }
  }

  return {
    write(chunk, isLast, done) {
      rest = { chunk, isLast, done };
      flush();
    },
    grant(bytes) {
      credit += bytes;
      flush();
    },
    close() {
      const dropped = rest;
      rest = undefined;
      dropped?.done();
    },
  };
}

/**
 * Sends a body as far as credit allows. What has arrived already travels with the head: most requests are
 * one message. Returns the function that stops it and leaves the rest unread.
 */
export function sendBody(
  body: Readable & Partial<Pick<IncomingMessage, 'complete'>>,
  outlet: Outlet,
  send: (piece: undefined, isEnd: boolean) => void,
): () => void {
  let isWritten = true;
  let hasEnded = false;
  let isStopped = false;

  function write(chunk: Buffer, isLast: boolean): void {
    isWritten = false;
    outlet.write(chunk, isLast, () => {
      isWritten = true;
      if (isStopped || isLast) return;
      if (hasEnded) send(undefined, true);
      else if (body.isPaused()) body.resume();
    });
    if (!isWritten) body.pause();
  }
  const onData = (chunk: Buffer): void => write(chunk, false);
  const onEnd = (): void => {
    // a paused stream still says that its last chunk was the last
    if (isWritten) send(undefined, true);
    else hasEnded = true;
  };

  const first: Buffer | null = body.read();
  const isWhole = body.complete === true && body.readableLength === 0;
  if (first === null) send(undefined, isWhole);
  else write(first, isWhole);
  if (isWhole) return () => {};

  body.on('data', onData);
  body.on('end', onEnd);
  if (isWritten) body.resume();
  return () => {
    // only once: after the answer the rest is let run out, and must not be stopped again
    if (isStopped) return;
    isStopped = true;
    body.off('data', onData);
    body.off('end', onEnd);
    outlet.close();
    body.pause();
  };
}

/**
 * Small chunks are views of a pool that other requests share: posted as they are, the whole pool would
 * be copied to the function's thread, other callers' bytes and all.
 */
function copy(chunk: Uint8Array, size: number): Uint8Array {
  return new Uint8Array(chunk.subarray(0, size));
}
