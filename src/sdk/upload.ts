import { Readable } from 'node:stream';
import { Pieces } from '../pieces.ts';

/** What the SDK gets of a request's body, in a stream of our own: to destroy a request is to destroy its socket. */
export interface Upload {
  readonly input: Readable;
  /** A byte of the body has been taken; it cannot be sent again. */
  hasStarted(): boolean;
  /** Ends the SDK's call, at any time. The rest of the body stays unread. */
  cancel(): void;
  /** The SDK's call is over; the rest of the body runs out. */
  stop(): void;
}

/** One HTTP/2 window of the data plane's: what a round trip moves. Far below the 10 MiB of a message, too. */
const WINDOW = 64 * 1024;
/** What a message takes of it at least. */
const MESSAGE_COST = 1024;

/**
 * Makes the input of a call.
 *
 * The SDK writes on without looking whether gRPC takes it, and shows nothing of that. What we can see is a
 * call's round trip on the same connection, so each WINDOW waits for one: as much as the data plane takes
 * in that time. Of a 300 MB upload gRPC then holds 66 MB at most, garbage included, instead of 348 MB;
 * yielding to the event loop alone leaves 314 MB. What comes in one turn goes as one message: each takes gRPC a KiB or
 * two besides its bytes. With several data planes the trip may go to another one,
 * and whatever the data plane holds for a slow function is out of reach.
 *
 * A body that breaks off cancels the call. Ended instead, it would look whole to the function.
 *
 * @param roundTrip - resolves after a call to a data plane; never rejects.
 * @param isHeld - the first byte waits for a round trip, too: what the data plane says at once comes before it.
 */
export function createUpload(body: Readable, roundTrip: () => Promise<unknown>, isHeld: boolean): Upload {
  const rest = new Pieces();
  let sinceTrip = isHeld ? WINDOW + 1 : 0;
  let isWanted = false;
  let isWaiting = false;
  let isReading = false;
  let isDue = false;
  let hasStarted = false;
  let hasEnded = false;
  let isStopped = false;

  const input = new Readable({
    // a stream that was destroyed emits no error, and a body that is over would do it by itself: without an
    // error nothing cancels the call
    autoDestroy: false,
    read() {
      isWanted = true;
      feed();
    },
  });
  // when the call fails early the SDK does not listen yet
  input.on('error', () => {});

  function feed(): void {
    if (!isWanted || isWaiting || isStopped) return;
    const size = Math.min(rest.bytes, WINDOW);
    const cost = size > 0 ? Math.max(size, MESSAGE_COST) : 0;
    if (sinceTrip + cost > WINDOW) {
      isWaiting = true;
      sinceTrip = 0;
      roundTrip().then(() => {
        isWaiting = false;
        feed();
      });
    } else if (size > 0) {
      sinceTrip += cost;
      isWanted = false;
      input.push(size === rest.bytes ? rest.all() : rest.take(size));
    } else if (hasEnded) input.push(null);
    else read();
  }

  function read(): void {
    if (isReading) body.resume();
    else if (body.readableEnded) onEnd();
    else if (body.destroyed) cancel();
    else {
      isReading = true;
      body.on('data', onData);
      body.on('end', onEnd);
      body.on('close', onClose);
      // never taken off: the error of a request that breaks off now comes a turn later
      body.on('error', () => {});
      body.resume();
    }
  }
  function onData(chunk: Buffer): void {
    hasStarted = true;
    rest.push(chunk);
    if (rest.bytes >= WINDOW) body.pause();
    if (isDue) return;
    isDue = true;
    setImmediate(endTurn);
  }
  function endTurn(): void {
    isDue = false;
    if (isStopped) return;
    body.pause();
    feed();
  }
  function onEnd(): void {
    hasEnded = true;
    feed();
  }
  function onClose(): void {
    if (!hasEnded) cancel();
  }

  function detach(): void {
    isStopped = true;
    rest.clear();
    body.off('data', onData);
    body.off('end', onEnd);
    body.off('close', onClose);
  }
  function cancel(): void {
    if (!isStopped) {
      detach();
      body.pause();
    }
    input.destroy(new Error('cancelled'));
  }
  function stop(): void {
    if (isStopped) return;
    detach();
    // the answer may be out already: a rest that nobody takes would block the connection
    body.resume();
  }

  return {
    input,
    hasStarted: () => hasStarted,
    cancel,
    stop,
  };
}
