import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { TriggerResponse } from './agent.ts';
import { now } from './clock.ts';
import { type Code, GatewayError, toGatewayError } from './errors.ts';
import type { Exchange, Gateway } from './gateway.ts';
import { type RawHeaders, type ResponseHead, responseHeaders } from './headers.ts';

/** What a function may still send when nobody reads it (HEAD, 204, …) before it is cancelled. */
const DISCARD_BYTES = 64 * 1024;

/**
 * Sends a function's answer: the head at once, the body as it comes and as fast as the client takes it.
 *
 * An event call's caller gets the body alone, so a status other than 2xx becomes FC's sign of failure.
 * A body that breaks off, or does not keep to the function's own Content-Length, destroys the socket:
 * ended politely, it would pass for a whole one.
 *
 * @throws {GatewayError} BAD_RESPONSE, before anything was sent. The response's body is then destroyed.
 */
export function respond(gateway: Gateway, exchange: Exchange, response: TriggerResponse): void {
  const { req, res, kind, handedMs } = exchange;
  const { body } = response;
  // until `pump` has its own listener a failing body must not be an uncaught exception
  body.on('error', () => {});
  // while the head was on its way the client may have left, or the gateway given up
  if (res.destroyed || res.headersSent) {
    body.destroy();
    return;
  }

  let head: ResponseHead;
  try {
    head = checkHead(response);
  } catch (error) {
    body.destroy();
    throw error;
  }
  const { headers } = head;
  if (gateway.draining || exchange.isLast) headers.push('connection', 'close');
  let { status } = response;
  if (kind === 'event') {
    if (status < 200 || status > 299) {
      headers.push('x-fc-status', '404', 'x-noslate-status', String(status));
      status = 404;
    } else status = 200;
  }

  // node:http would send chunks to whoever says "TE: chunked" there (RFC 9112 §6.1)
  if (req.httpVersion === '1.0') res.useChunkedEncodingByDefault = false;
  exchange.firstByteMs = now() - exchange.startedAt;
  if (handedMs !== undefined) {
    const functionMs = exchange.firstByteMs - handedMs;
    headers.push('server-timing', `queue;dur=${handedMs.toFixed(2)}, function;dur=${functionMs.toFixed(2)}`);
  }
  const isEmpty = status === 204 || status === 205;
  if (req.method !== 'HEAD' && !isEmpty && status !== 304) {
    res.writeHead(status, headers);
    pump(gateway, exchange, response, head.contentLength);
    return;
  }
  res.writeHead(status, isEmpty ? withoutLength(headers, status) : headers);
  res.end();
  discard(exchange, response);
}

/** Failures after which the connection ends: what it brings further cannot be told, or is not wanted. */
const ENDS_CONNECTION: ReadonlySet<Code> = new Set<Code>([
  'BAD_REQUEST',
  'BODY_TOO_LARGE',
  'CLIENT_TOO_SLOW',
  'DRAINING',
  'EXPECTATION_FAILED',
  'HEADERS_TOO_LARGE',
  'NOT_IMPLEMENTED',
]);

/** More than this of a request is not waited for before the next one. */
const MAX_UNREAD_BYTES = 1024 * 1024;

/**
 * Answers with an error: JSON with `errorType`, `errorMessage` and `requestId`. An event call is answered
 * 404 with `x-fc-status`, all that FC takes for a failure. After the head, the connection is broken off.
 */
export function respondError(gateway: Gateway, exchange: Exchange, reason: unknown): void {
  const { log } = gateway;
  const { res, req, requestId, kind } = exchange;
  const error = toGatewayError(reason);
  exchange.error ??= error;
  if (res.destroyed || res.writableEnded) return;
  if (error.status >= 500 && error.code !== 'DRAINING' && error.code !== 'OVERLOADED') {
    log.error(`${kind === 'http' || kind === 'event' ? 'invocation' : kind} failed`, {
      requestId,
      function: exchange.function,
      error,
    });
  }
  if (res.headersSent) {
    breakOff(exchange);
    return;
  }
  const body = JSON.stringify({ errorType: error.code, errorMessage: error.message, requestId });
  const headers = [
    'content-type',
    'application/json; charset=utf-8',
    'content-length',
    String(Buffer.byteLength(body)),
  ];
  if (error.code === 'OVERLOADED' || error.code === 'QUEUE_TIMEOUT') headers.push('retry-after', '1');
  if (gateway.draining || exchange.isLast || ENDS_CONNECTION.has(error.code) || isLongToRead(exchange)) {
    headers.push('connection', 'close');
  }
  if (kind === 'event') headers.push('x-fc-status', '404', 'x-noslate-status', String(error.status));
  exchange.firstByteMs = now() - exchange.startedAt;
  res.writeHead(kind === 'http' || kind === 'health' ? error.status : 404, headers);
  if (req.method !== 'HEAD') {
    exchange.bytesOut = Buffer.byteLength(body);
    res.end(body);
  } else res.end();
}

/** True for a request whose body nobody has asked for, or most of whose body is still to come. */
function isLongToRead({ req, bytesIn }: Exchange): boolean {
  if (req.complete) return false;
  // a client that has not been told to go on may send its next request instead
  if (req.headers.expect !== undefined && bytesIn === 0) return true;
  return Number(req.headers['content-length'] ?? 0) - bytesIn > MAX_UNREAD_BYTES;
}

/**
 * Ends an answer in its middle so that nobody takes what was sent for all of it: where a client can tell that only by
 * the end of its connection, in HTTP/1.0, by a reset.
 */
export function breakOff({ req, res }: Exchange): void {
  // not in the types of the oldest Node that has it, 16.17
  const socket = res.socket as (Socket & { resetAndDestroy(): void }) | null;
  if (req.httpVersion === '1.0') socket?.resetAndDestroy();
  else res.destroy();
}

/**
 * Ends an exchange that must not go on, since the process ends: before its head with an error, after it by breaking off.
 * An answer of server-sent events that stands between two of them is whole, and ends as if it were over.
 */
export function cutOff(exchange: Exchange): void {
  const { res, body, isBetweenEvents, cancellation } = exchange;
  const error = new GatewayError('DRAINING', 'the instance stopped before the answer was complete');
  if (!res.headersSent) {
    cancellation.abort(error);
  } else if (isBetweenEvents === true) {
    body?.destroy();
    res.end();
  } else {
    exchange.error ??= error;
    breakOff(exchange);
  }
}

function checkHead({ status, headers }: TriggerResponse): ResponseHead {
  if (!Number.isInteger(status) || status < 200 || status > 599) {
    throw new GatewayError('BAD_RESPONSE', `the function answered with status ${status}, expected 200 to 599`);
  }
  return responseHeaders(headers);
}

function pump(gateway: Gateway, exchange: Exchange, { headers, body }: TriggerResponse, contentLength: number): void {
  const { res } = exchange;
  exchange.body = body;
  if (isEventStream(headers)) followEvents(exchange, body);

  // What comes within one turn of the loop leaves in one packet: a plane that is not busy sends head, body and end at
  // once. A head without a body must not wait for one.
  const { socket } = res;
  socket?.cork();
  const turn = setImmediate(() => {
    if (exchange.bytesOut === 0 && !res.writableEnded) res.flushHeaders();
    socket?.uncork();
  });
  function release(): void {
    clearImmediate(turn);
    socket?.uncork();
  }
  function resume(): void {
    body.resume();
  }
  function fail(reason: unknown): void {
    // destroyed as it is, the socket would drop what the client is to have
    release();
    body.destroy();
    respondError(gateway, exchange, reason);
  }

  function failLength(how: 'more' | 'less'): void {
    const expected = `than its content-length of ${contentLength} bytes`;
    fail(new GatewayError('BAD_RESPONSE', `the function sent ${how} ${expected}`));
  }

  body.on('data', (chunk: Buffer) => {
    exchange.bytesOut += chunk.length;
    if (contentLength >= 0 && exchange.bytesOut > contentLength) {
      failLength('more');
      return;
    }
    // the socket counts bytes, and a piece of one takes far more: what comes behind one that the client has not taken
    // waits in the body, where it is joined
    const isBehind = socket !== null && socket.writableLength > 0 && socket.writableCorked === 0;
    const isTaken = res.write(chunk, isBehind ? resume : undefined) && !isBehind;
    if (!isTaken) body.pause();
    // nothing to wait for: the client has to make room, or has all
    if (!isTaken || exchange.bytesOut === contentLength) release();
  });
  body.on('end', () => {
    if (exchange.bytesOut < contentLength) {
      failLength('less');
      return;
    }
    res.end();
    release();
  });
  body.on('error', fail);
  res.on('drain', resume);
  res.on('close', () => body.destroy());
}

function isEventStream(headers: RawHeaders): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    if (/^content-type$/i.test(headers[i] as string)) return /^text\/event-stream\b/i.test(headers[i + 1] as string);
  }
  return false;
}

/** Keeps an eye on where events end: at an empty line. */
function followEvents(exchange: Exchange, body: Readable): void {
  let tail = '';
  exchange.isBetweenEvents = true;
  body.on('data', (chunk: Buffer) => {
    tail = (tail + chunk.toString('latin1', Math.max(0, chunk.length - 4))).slice(-4);
    exchange.isBetweenEvents = /(\n\n|\r\r|\r\n\r\n)$/.test(tail);
  });
}

/** Lets a body that has no reader run out, or cancels it when it does not: nobody else would end it. */
function discard({ deadline }: Exchange, { body }: TriggerResponse): void {
  let bytes = 0;
  const timer = setTimeout(() => body.destroy(), Math.max(0, deadline - now()));
  body.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes > DISCARD_BYTES) body.destroy();
  });
  body.on('close', () => clearTimeout(timer));
}

/** RFC 9110 §8.6, §15.3.6: 204 has no Content-Length, 205 has none but 0. */
function withoutLength(headers: string[], status: number): string[] {
  const kept: string[] = status === 205 ? ['content-length', '0'] : [];
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] as string;
    if (name.toLowerCase() !== 'content-length') kept.push(name, headers[i + 1] as string);
  }
  return kept;
}
