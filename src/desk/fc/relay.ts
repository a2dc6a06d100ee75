import type { IncomingMessage } from 'node:http';
import { PassThrough, type Readable, Transform } from 'node:stream';
import { type FcError, platformError } from './answers.ts';
import { ClientGone, type HttpCall } from './call.ts';
import { commonHeaders, fromClient, HARMLESS, type HeaderPairs, header, isReserved, pairs } from './headers.ts';
import { LIMITS, sizeOf, tooLarge } from './limits.ts';
import { pass } from './pass.ts';
import type { FunctionSettings } from './settings.ts';

/** Is told of each chunk of a body. */
export type Passed = (chunk: Buffer) => void;

/** Headers of an event's request to the container. */
export const eventHeaders = (
  settings: FunctionSettings,
  id: string,
  port: number,
  bytes: number,
  retryCount: number,
): HeaderPairs => [
  ['Host', `21.0.0.1:${port}`],
  ['Content-Type', 'application/octet-stream'],
  ...commonHeaders(settings, { requestId: id, controlPath: '/invoke', retryCount }),
  ['Content-Length', String(bytes)],
];

/** Headers of an HTTP trigger's request to the container. */
export function triggerHeaders(
  settings: FunctionSettings,
  id: string,
  { headers = [], path }: HttpCall,
  hasBody: boolean,
  retryCount: number,
): HeaderPairs {
  const [pathname = '/'] = path.split('?');
  return [
    ...(header(headers, 'host') === undefined
      ? [['Host', `${settings.name}-abcdefghij.${settings.region}.fcapp.run`] as const]
      : []),
    ...fromClient(headers),
    ...commonHeaders(settings, { requestId: id, controlPath: '/http-invoke', path: pathname, retryCount }),
    ...(hasBody && header(headers, 'content-length') === undefined ? [['Transfer-Encoding', 'chunked'] as const] : []),
  ];
}

/**
 * Reads the body of an event's answer, which its caller gets as a whole.
 *
 * @param passed - is told of each chunk.
 * @throws {FcError} rejected: ResponseTooLarge. Whatever else rejects is the body's own error: it broke off.
 */
export async function readAnswer({ switches }: FunctionSettings, response: Readable, passed: Passed): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    passed(chunk);
    length += chunk.length;
    if (switches.maxResponse > 0 && length > switches.maxResponse) {
      throw platformError('ResponseTooLarge', 502, `response: expected at most ${switches.maxResponse} bytes`);
    }
  }
  return Buffer.concat(chunks);
}

/** Headers of an HTTP trigger's answer as its caller gets them. */
export function answerHeaders(
  settings: FunctionSettings,
  id: string,
  call: HttpCall,
  response: IncomingMessage,
): HeaderPairs {
  const given = pairs(response.rawHeaders);
  const length = response.headers['content-length'];
  return [
    ...given.filter(pair => !isReserved(settings, pair)),
    ...cors(call.headers ?? [], given),
    ...(length === undefined ? [] : [['Content-Length', length] as const]),
    ...(settings.domain === 'default' ? [['Content-Disposition', 'attachment'] as const] : []),
    ['X-Fc-Request-Id', id],
  ];
}

/** FC answers for CORS where the function does not. @see FC contract §4.2 */
function cors(request: HeaderPairs, response: HeaderPairs): HeaderPairs {
  const origin = header(request, 'origin');
  if (origin === undefined || response.some(([name]) => /^access-control-/i.test(name))) return [];
  return [
    ['Access-Control-Allow-Origin', origin],
    ['Access-Control-Allow-Credentials', 'true'],
    ['Access-Control-Expose-Headers', 'Date,X-Fc-Request-Id,X-Fc-Error-Type'],
  ];
}

/** Why FC does not pass an HTTP trigger's response on; undefined if it does. */
export function objection(settings: FunctionSettings, response: IncomingMessage): FcError | undefined {
  const headers = pairs(response.rawHeaders);
  const { statusCode: status = 0 } = response;
  if (sizeOf(headers) > LIMITS.responseHeaders) {
    return platformError('BadResponse', 502, `response headers: expected at most ${LIMITS.responseHeaders} bytes`);
  }
  const reserved = headers.find(pair => isReserved(settings, pair) && !HARMLESS.has(pair[0].toLowerCase()));
  if (reserved !== undefined && settings.switches.reservedHeaders === 'reject') {
    return platformError('InvalidResponse', 502, `response header ${reserved[0]}: expected none that is reserved`);
  }
  if (settings.domain === 'default' && status >= 300 && status < 400 && status !== 304) {
    return platformError('ExternalRedirectForbidden', 400, 'redirects are forbidden on this domain');
  }
  return undefined;
}

/** The body as far as the caller may have it. One who has left does not keep the container from ending. */
export function download(
  { switches }: FunctionSettings,
  response: IncomingMessage,
  client: AbortSignal | undefined,
  leave: () => void,
  passed: Passed,
): Readable {
  const most = switches.maxResponse || Number.POSITIVE_INFINITY;
  const body = counting(most, () => new Error(`response: more than ${most} bytes`), passed);
  let broken = false;
  // nobody else may be listening when it breaks off
  body.on('error', () => {
    broken = true;
  });
  // before the one is destroyed with the other
  body.on('close', () => {
    if (!broken && !body.readableEnded && !response.destroyed) leave();
  });
  if (switches.clientCancel !== 'finish') {
    pass(response, body);
    return body;
  }
  response.pipe(body);
  response.on('close', () => {
    if (!response.complete) body.destroy(new Error('the container broke off'));
  });
  const drain = (): void => {
    response.unpipe(body);
    response.resume();
  };
  body.on('close', drain);
  if (client?.aborted === true) drain();
  return body;
}

/** A request's body up to FC's limit. What is over it stays unread: the connection still has to carry the answer. */
export function upload(source: Readable, passed: Passed): Readable {
  const body = counting(LIMITS.syncBody, () => tooLarge(LIMITS.syncBody), passed);
  source.on('error', () => {});
  source.on('close', () => {
    if (!source.readableEnded) body.destroy(new ClientGone());
  });
  return source.pipe(body);
}

/** Passes bytes on, up to a limit. */
function counting(limit: number, over: () => Error, passed: Passed): Transform {
  let bytes = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length;
      if (bytes > limit) {
        done(over());
        return;
      }
      passed(chunk);
      done(null, chunk);
    },
  });
}

/** Bytes as a stream. */
export function readable(bytes: Buffer): Readable {
  const stream = new PassThrough();
  stream.end(bytes);
  return stream;
}
