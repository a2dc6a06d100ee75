import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { Pieces } from '../pieces.ts';

/**
 * Byte streams over a MessagePort, which itself holds whatever is posted: the sender may post only what
 * the receiver has given it credit for. A stalled stream thus holds at most WINDOW bytes on their way
 * and one chunk at the reader.
 */
const WINDOW = 192 * 1024;
/** Largest piece that is posted. WINDOW and one piece make the 256 KiB that a stalled stream may hold. */
const PIECE = 64 * 1024;
/** A piece below this size may have others behind it in the same turn. */
const SMALL = 16 * 1024;
/** What a message takes on its way besides its bytes is about half of this: so much credit even the smallest uses up. */
export const MESSAGE_COST: number = 1024;

/** The sending end. */
export interface Outlet {
  /**
   * Posts chunks as far as credit reaches and the rest as credit comes in. Calls `done` when they may be changed and
   * the next ones come; until then there must be no other `write`. With `isLast` the last piece carries the end, and
   * `done` means that it is posted.
   *
   * The first piece of a turn is posted at once. What comes behind a small one is joined, and posted at the turn's end.
   */
  write(chunks: readonly Uint8Array[], isLast: boolean, done: () => void): void;
  /** Posts the end, behind all that was written. */
  end(): void;
  /** Takes credit from the receiving end. */
  grant(bytes: number): void;
  /** Drops what could not be posted yet, and calls its `done`. */
  close(): void;
}

/** Makes a sending end. `post` gets each piece with a memory of its own, fit to be transferred. */
export function createOutlet(post: (piece: Uint8Array | undefined, isEnd: boolean) => void): Outlet {
  let credit = WINDOW;
  const waiting = new Pieces();
  let isEnded = false;
  let done: (() => void) | undefined;
  /** Something small was posted in this turn. */
  let isBusy = false;

  function flush(): void {
    while (waiting.bytes > 0 && credit > 0) {
      // a copy: small chunks are views of a pool that other requests share, and posted as they are, the whole pool would
      // be copied to the function's thread, other callers' bytes and all
      const piece = waiting.take(Math.min(waiting.bytes, credit, PIECE));
      credit -= Math.max(piece.length, MESSAGE_COST);
      post(piece, isEnded && waiting.bytes === 0);
    }
    if (waiting.bytes > 0) return;
    const written = done;
    done = undefined;
    written?.();
  }
  function endTurn(): void {
    isBusy = false;
    if (waiting.bytes === 0 || credit <= 0) return;
    waitForTurn();
    flush();
  }
  function waitForTurn(): void {
    isBusy = true;
    setImmediate(endTurn);
  }

  return {
    write(chunks, isLast, written) {
      isEnded = isLast;
      let bytes = waiting.bytes;
      for (const { length } of chunks) bytes += length;
      if (isBusy && !isLast && credit > 0 && bytes < PIECE) {
        for (const chunk of chunks) waiting.push(Buffer.from(chunk));
        written();
        return;
      }
      if (!isBusy && !isLast && bytes < SMALL) waitForTurn();
      for (const chunk of chunks) waiting.push(chunk);
      done = written;
      if (isLast && waiting.bytes === 0) post(undefined, true);
      flush();
    },
    end() {
      isEnded = true;
      if (waiting.bytes === 0) post(undefined, true);
      else flush();
    },
    grant(bytes) {
      const wasOut = credit <= 0;
      credit += bytes;
      if (wasOut) flush();
    },
    close() {
      waiting.clear();
      const dropped = done;
      done = undefined;
      dropped?.();
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
  let isStopped = false;

  function onWritten(): void {
    isWritten = true;
    if (!isStopped && body.isPaused()) body.resume();
  }
  function onData(chunk: Buffer): void {
    isWritten = false;
    outlet.write([chunk], false, onWritten);
    if (!isWritten) body.pause();
  }

  const first: Buffer | null = body.read();
  const isWhole = body.complete === true && body.readableLength === 0;
  if (first === null) send(undefined, isWhole);
  else if (isWhole) outlet.write([first], true, () => {});
  else onData(first);
  if (isWhole) return () => {};

  body.on('data', onData);
  // a paused stream still says that its last chunk was the last
  body.on('end', outlet.end);
  if (isWritten) body.resume();
  return () => {
    // only once: after the answer the rest is let run out, and must not be stopped again
    if (isStopped) return;
    isStopped = true;
    body.off('data', onData);
    body.off('end', outlet.end);
    outlet.close();
    body.pause();
  };
}
