import type { Readable, Writable } from 'node:stream';

/**
 * Passes a stream on. If either ends before its time, so does the other.
 *
 * As `stream.pipeline`, which makes an AbortController for each, and an error with a stack to end it with: more than a
 * twentieth of what a call costs here.
 */
export function pass(source: Readable, sink: Writable): void {
  const fail = (error?: Error): void => void sink.destroy(error ?? new Error('what came before it broke off'));
  source.on('error', fail);
  source.on('close', () => {
    if (!source.readableEnded) fail();
  });
  sink.on('error', () => {});
  sink.on('close', () => source.destroy());
  source.pipe(sink);
}
