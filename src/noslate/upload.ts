import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { Pieces } from '../pieces.ts';

/** What is kept of a body so that a call which was refused can be made again. A refusal comes in the first round trip. */
const MAX_KEPT_BYTES = 256 * 1024;
/** What comes in one turn is handed on together, up to this size. */
const MAX_JOINED_BYTES = 64 * 1024;

/** Takes a piece of a body, first of all what is there already, if anything; false when the next one must wait. */
export type Take = (chunk: Buffer | undefined, isEnd: boolean) => boolean;

/** A request's body on its way to a data plane, perhaps in more than one attempt. */
export interface Upload {
  /**
   * False once more of the body is gone than was kept. A method: an accessor in a literal gives each object a
   * hidden class of its own, which keeps all it can reach until a full collection.
   */
  isRepeatable(): boolean;
  /** True when nothing of the body is still to come. */
  isWhole(): boolean;
  /** Hands the body on from its beginning, as fast as it is taken, until its end or `stop`. */
  start(take: Take): void;
  /** Goes on after `take` gave false. */
  resume(): void;
  /** Leaves the rest of the body unread. */
  stop(): void;
  /** The call will not be made again: nothing needs to be kept. */
  release(): void;
  /** Has it hand on no more than is kept, until `letGo`. */
  hold(): void;
  letGo(): void;
}

/** Makes an upload of a body that nobody has read from. It is never destroyed. */
export function createUpload(body: Readable & Partial<Pick<IncomingMessage, 'complete' | 'headers'>>): Upload {
  const length = lengthOf(body.headers);
  const kept = new Pieces();
  /** What came in this turn: each of its pieces would be a message of its own. */
  const joined = new Pieces();
  let isDue = false;
  let isRepeatable = true;
  let isKeeping = true;
  let isHeld = false;
  let hasEnded = false;
  let take: Take | undefined;

  function keep(chunk: Buffer): void {
    if (!isKeeping) return;
    // while it is held, no chunk follows the one that passes the limit
    if (isHeld || kept.bytes + chunk.length <= MAX_KEPT_BYTES) {
      kept.push(chunk);
      return;
    }
    isRepeatable = false;
    release();
  }
  function release(): void {
    isKeeping = false;
    kept.clear();
  }

  const mustWait = (): boolean => isHeld && kept.bytes >= MAX_KEPT_BYTES;

  function onData(chunk: Buffer): void {
    keep(chunk);
    joined.push(chunk);
    if (mustWait()) body.pause();
    if (joined.bytes >= MAX_JOINED_BYTES) hand();
    else if (!isDue) {
      isDue = true;
      setImmediate(endTurn);
    }
  }
  function endTurn(): void {
    isDue = false;
    if (joined.bytes > 0) hand();
  }
  function hand(): void {
    if (take?.(joined.all(), false) === false) body.pause();
  }
  function onEnd(): void {
    hasEnded = true;
    unlisten();
    take?.(joined.bytes > 0 ? joined.all() : undefined, true);
  }
  function listen(): void {
    body.on('data', onData);
    body.on('end', onEnd);
  }
  function unlisten(): void {
    body.off('data', onData);
    body.off('end', onEnd);
  }

  return {
    isRepeatable: () => isRepeatable,
    isWhole: () => body.readableLength === length || body.complete === true,

    start(newTake) {
      take = newTake;
      let first = kept.bytes > 0 ? kept.all() : undefined;
      if (first !== undefined) kept.push(first);
      else if (!hasEnded) {
        first = body.read() ?? undefined;
        // node:http says so only in the loop's next turn
        const isWhole = (first?.length ?? 0) === length || (body.complete === true && body.readableLength === 0);
        hasEnded = body.readableEnded || isWhole;
        if (first !== undefined) keep(first);
      }
      const isTaken = take(first, hasEnded);
      if (hasEnded) return;
      listen();
      if (isTaken && !mustWait()) body.resume();
    },

    resume() {
      if (take !== undefined && !hasEnded && !mustWait()) body.resume();
    },

    stop() {
      // only once: after the answer the rest is let run out, and must not be stopped again
      if (take === undefined) return;
      take = undefined;
      // another attempt has them from what was kept
      joined.clear();
      unlisten();
      if (!hasEnded) body.pause();
    },

    release,

    hold() {
      isHeld = true;
    },

    letGo() {
      if (!isHeld) return;
      isHeld = false;
      if (take !== undefined && !hasEnded) body.resume();
    },
  };
}

/** How many bytes a request has by its header fields; undefined where that is open. @see RFC 9112 §6.3 */
function lengthOf(headers: IncomingMessage['headers'] | undefined): number | undefined {
  if (headers === undefined || headers['transfer-encoding'] !== undefined) return undefined;
  return Number(headers['content-length'] ?? 0);
}
