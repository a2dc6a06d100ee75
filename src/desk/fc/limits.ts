import type { Readable } from 'node:stream';
import { type FcError, platformError } from './answers.ts';
import type { HeaderPairs } from './headers.ts';
import type { FunctionSettings } from './settings.ts';

/** FC's limits, bytes. @see FC contract §6 */
export const LIMITS = {
  headers: 8 * 1024,
  path: 4 * 1024,
  responseHeaders: 8 * 1024,
  syncBody: 32 * 1024 * 1024,
  asyncBody: 128 * 1024,
  logTail: 4 * 1024,
} as const;

/** FC makes a request again on another connection when one breaks, but only these. @see FC contract §1 */
export const REPEATABLE: readonly string[] = ['GET', 'HEAD', 'OPTIONS', 'TRACE'];

/** Bytes of names and values; node:http has one character for each. */
export const sizeOf = (headers: HeaderPairs): number =>
  headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0);

/** Why FC does not even look for an instance; undefined if it does. */
export function refusal(
  request: { readonly method: string; readonly path: string; readonly headers: HeaderPairs },
  { methods }: Pick<FunctionSettings, 'methods'>,
): FcError | undefined {
  if (sizeOf(request.headers) > LIMITS.headers) {
    return platformError('InvalidArgument', 400, `request headers: expected at most ${LIMITS.headers} bytes`);
  }
  if (Buffer.byteLength(request.path) > LIMITS.path) {
    return platformError('InvalidArgument', 400, `request path: expected at most ${LIMITS.path} bytes`);
  }
  if (!methods.includes(request.method)) {
    return platformError('MethodNotAllowed', 405, `method ${request.method}: expected ${methods.join(', ')}`);
  }
  return undefined;
}

/** The answer to a body over the limit. */
export const tooLarge = (limit: number): FcError =>
  platformError('EntityTooLarge', 400, `request body: expected at most ${limit} bytes`);

/**
 * Reads a body that has to be there as a whole before FC accepts the call. What is over the limit stays unread.
 *
 * @throws {FcError} rejected: EntityTooLarge. Whatever else rejects is the body's own error: it broke off.
 */
export function collect(body: Readable, limit: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const take = (chunk: Buffer): void => {
      length += chunk.length;
      chunks.push(chunk);
      if (length <= limit) return;
      // not destroyed: the connection of an incoming request still has to carry the answer
      body.off('data', take);
      body.pause();
      reject(tooLarge(limit));
    };
    body.on('data', take);
    body.on('end', () => resolve(Buffer.concat(chunks)));
    body.on('error', reject);
    body.on('close', () => reject(new Error('the body broke off')));
  });
}
