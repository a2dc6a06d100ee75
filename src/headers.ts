import { type IncomingMessage, validateHeaderName, validateHeaderValue } from 'node:http';
import { GatewayError } from './errors.ts';
import { IS_LAX } from './strict.ts';

/**
 * Header fields as node:http's `rawHeaders` has them: name, value, name, value, …, in the order and
 * letters they came in, duplicates kept. The shape is the same on both sides of the gateway, so that a
 * request's fields are filtered and not rebuilt.
 */
export type RawHeaders = readonly string[];

/** Fields about one connection, not about the message (RFC 9110 §7.6.1); `expect` is answered by us. */
const HOP_BY_HOP = new Set([
  'connection',
  'expect',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);

/** Fields in which FC hands the instance credentials or addresses with tokens: no function sees them. */
const SECRET = new Set([
  'x-fc-access-key-id',
  'x-fc-access-key-secret',
  'x-fc-security-token',
  'x-fc-tracing-jaeger-endpoint',
  'x-fc-http-params',
]);

/** Those of them that a function may ask for. */
const CREDENTIALS = new Set(['x-fc-access-key-id', 'x-fc-access-key-secret', 'x-fc-security-token']);

/** Fields that carry a trace across processes; they travel as Noslate baggage too. */
const TRACE = new Set([
  'traceparent',
  'tracestate',
  'baggage',
  'x-fc-tracing-opentracing-span-context',
  'x-fc-tracing-opentracing-span-baggages',
]);

/** Fields of a response of which a recipient takes one, and not all the same one if there are two (RFC 9110 §5.3). */
const SINGLETON = new Set([
  'access-control-allow-credentials',
  'access-control-allow-origin',
  'access-control-max-age',
  'age',
  'content-disposition',
  'content-location',
  'content-range',
  'content-type',
  'date',
  'etag',
  'expires',
  'last-modified',
  'location',
  'retry-after',
  'server',
  'strict-transport-security',
]);

/** By the length of a name, whether it can be one of a set: of most fields one look tells. */
const lengthsOf = (...sets: readonly ReadonlySet<string>[]): readonly boolean[] => {
  const lengths: boolean[] = [];
  for (const set of sets) for (const name of set) lengths[name.length] = true;
  return lengths;
};
const CAN_BE_NAMED = lengthsOf(HOP_BY_HOP, SECRET, TRACE);

/**
 * Sorts a request's fields in one pass. `headers` are for the function: no hop-by-hop field, none that
 * `Connection` names, no secret. `baggage` is the trace context among them, names in lower case.
 *
 * @param authority - of a target in absolute form: it takes the place of `Host`.
 * @param isTrusted - the function has asked for FC's credentials; it has them under names in lower case.
 * @param trace - takes the place of all `traceparent` and `tracestate`: name, value, ….
 */
export function requestHeaders(
  raw: RawHeaders,
  connection: string | undefined,
  authority?: string,
  isTrusted: boolean = false,
  trace?: RawHeaders,
): { headers: string[]; baggage: string[] } {
  const nominated = nominatedBy(connection);
  const headers: string[] = [];
  const baggage: string[] = [];
  if (authority !== undefined) headers.push('Host', authority);
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    if (nominated === undefined && authority === undefined && CAN_BE_NAMED[name.length] !== true) {
      headers.push(name, value);
      continue;
    }
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || nominated?.has(key)) continue;
    if (SECRET.has(key)) {
      // FC has sent them in letters of either case
      if (isTrusted && CREDENTIALS.has(key)) headers.push(key, value);
      continue;
    }
    if (authority !== undefined && key === 'host') continue;
    if (trace !== undefined && (key === 'traceparent' || key === 'tracestate')) continue;
    headers.push(name, value);
    if (TRACE.has(key)) baggage.push(key, value);
  }
  if (trace !== undefined) {
    headers.push(...trace);
    baggage.push(...trace);
  }
  return { headers, baggage };
}

/** Node's timers hold 2^31-1 ms; a timeout beyond that would pass at once. */
export const MAX_SECONDS = 2_147_483;

/** Reads a timeout that FC sent, whole seconds; anything else gives the fallback. */
export function secondsOf(value: string | string[] | undefined, fallback: number): number {
  // only digits: Number would take 0x10 and 1e3 too
  const seconds = /^\d+$/.test(String(value)) ? Number(value) : 0;
  return Number.isInteger(seconds) && seconds > 0 ? Math.min(seconds, MAX_SECONDS) : fallback;
}

/** The most that a function's header fields may have, as they are sent. FC passes on 8 KB of them. */
export const MAX_HEAD_BYTES: number = 64 * 1024;

/** @see MAX_HEAD_BYTES */
export function headTooLarge(): GatewayError {
  return new GatewayError('BAD_RESPONSE', `the function's headers: expected at most ${MAX_HEAD_BYTES} bytes`);
}

/** A response head that is valid HTTP. */
export interface ResponseHead {
  /** Ready for `writeHead`. */
  headers: string[];
  /** Bytes the function promised with `content-length`; -1 if it promised nothing. */
  contentLength: number;
}

/**
 * Makes valid HTTP of a function's header fields: drops hop-by-hop fields, those that its `Connection` names, and
 * `x-fc-*` (a function could forge FC's metrics with them), keeps the last of a field that there may be one of, and
 * writes text that Latin-1 cannot hold as UTF-8, as browsers read it.
 *
 * @throws {GatewayError} BAD_RESPONSE for a field that is not HTTP, which the message names, or for too many.
 */
export function responseHeaders(raw: RawHeaders): ResponseHead {
  const headers: string[] = [];
  let contentLength = -1;
  let nominated: Set<string> | undefined;
  let bytes = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = toBytes(raw[i + 1] as string);
    // with a colon, a space and the line's end
    bytes += name.length + value.length + 4;
    if (bytes > MAX_HEAD_BYTES) throw headTooLarge();
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || key.startsWith('x-fc-')) {
      if (key === 'connection') nominated = new Set([...(nominated ?? []), ...(nominatedBy(value) ?? [])]);
      continue;
    }
    try {
      validateHeaderName(name);
      validateHeaderValue(name, value);
    } catch (error) {
      const { message } = error as Error;
      throw new GatewayError('BAD_RESPONSE', `the function sent an illegal header ${JSON.stringify(name)}`, message);
    }
    if (key === 'content-length') {
      if (!/^\d{1,15}$/.test(value) || (contentLength >= 0 && contentLength !== Number(value))) {
        throw new GatewayError('BAD_RESPONSE', `the function sent an illegal content-length ${JSON.stringify(value)}`);
      }
      if (contentLength >= 0) continue;
      contentLength = Number(value);
    } else if (SINGLETON.has(key)) remove(headers, item => item === key);
    headers.push(name, value);
  }
  // it may stand behind the fields that it names
  if (nominated !== undefined) remove(headers, key => key !== 'content-length' && nominated?.has(key) === true);
  return { headers, contentLength };
}

/** Removes the fields whose name, in lower case, passes. */
function remove(headers: string[], test: (key: string) => boolean): void {
  for (let i = headers.length - 2; i >= 0; i -= 2) {
    if (test((headers[i] as string).toLowerCase())) headers.splice(i, 2);
  }
}

/** `uri-host [ ":" port ]`, without user; a list of two is none. @see RFC 9110 §4.2, RFC 3986 §3.2.2 */
const AUTHORITY = /^(\[[\da-f:.]+\]|\[v[\da-f]+\.[-.\w~!$&'()*+;=:]+\]|(?:[-.\w~!$&'()*+;=]|%[\da-f]{2})+)(?::\d*)?$/i;

const TARGET = /^[!-~]+$/;
const TOKEN = /^[-!#$%&'*+.^_`|~\w]+$/;

/**
 * Says what is wrong with a request that node:http let through, or nothing. A gateway that is laxer than
 * its neighbours can be made to disagree with them about who is asked and where a message ends.
 *
 * @param maxBytes - of the head.
 * @see RFC 9112 §3.2 (target and Host), §6.1 (Transfer-Encoding); RFC 9110 §10.1.1 (Expect)
 */
export function malformed(
  {
    httpVersion,
    method,
    url = '',
    rawHeaders: raw,
  }: Pick<IncomingMessage, 'httpVersion' | 'method' | 'url' | 'rawHeaders'>,
  maxBytes: number,
): GatewayError | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return bad(`HTTP version ${httpVersion}: expected 1.1 or 1.0`);
  const isOld = httpVersion === '1.0';
  if (!url.startsWith('/') && !(url === '*' && method === 'OPTIONS')) {
    const authority = /^https?:\/\/([^/?]+)(?:[/?]|$)/i.exec(url)?.[1];
    if (authority === undefined || !AUTHORITY.test(authority)) return bad('target: expected a path or an http URL');
  }
  // a neighbour may take the fragment for a part of the path, or not
  if (url.includes('#')) return bad('target: expected no fragment');
  if (IS_LAX && !TARGET.test(url)) return bad('target: expected ASCII without spaces');
  let hosts = 0;
  let codings: string | undefined;
  let hasLength = false;
  let bytes = url.length;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    bytes += name.length + (raw[i + 1] as string).length + 4;
    if (IS_LAX && !TOKEN.test(name)) return bad(`header ${JSON.stringify(name)}: expected a name`);
    switch (name.length) {
      case 4:
        if (name.toLowerCase() !== 'host') break;
        hosts++;
        // empty, it says that there is none (RFC 9112 §3.3)
        if (raw[i + 1] !== '' && !AUTHORITY.test(raw[i + 1] as string))
          return bad('host: expected a name or address with an optional port');
        break;
      case 14:
        if (name.toLowerCase() === 'content-length') hasLength = true;
        break;
      case 17:
        if (name.toLowerCase() !== 'transfer-encoding') break;
        codings = codings === undefined ? (raw[i + 1] as string) : `${codings}, ${raw[i + 1]}`;
        break;
      case 6:
        if (name.toLowerCase() !== 'expect' || isOld || /^100-continue$/i.test(raw[i + 1] as string)) break;
        return new GatewayError('EXPECTATION_FAILED', 'expect: only 100-continue can be met');
    }
  }
  // node:http counts names and values alone: of short lines it would take hundreds of KiB
  if (bytes > maxBytes) {
    return new GatewayError('HEADERS_TOO_LARGE', `request line and headers: expected at most ${maxBytes} bytes`);
  }
  if (hosts > 1) return bad(`host: expected one, got ${hosts}`);
  if (hosts === 0 && !isOld) return bad('host: expected one, got none');
  return codings === undefined ? undefined : badCoding(codings, isOld, hasLength);
}

const bad = (message: string): GatewayError => new GatewayError('BAD_REQUEST', message);

/** What is wrong with a Transfer-Encoding, which alone is to say where the body ends. */
function badCoding(codings: string, isOld: boolean, hasLength: boolean): GatewayError | undefined {
  if (isOld) return bad('transfer-encoding: not allowed in HTTP/1.0');
  if (hasLength) return bad('transfer-encoding: not allowed beside content-length');
  const names = codings.split(',').map(name => name.trim().toLowerCase());
  if (names.length === 1 && names[0] === 'chunked') return undefined;
  if (names.indexOf('chunked') !== names.length - 1)
    return bad('transfer-encoding: expected chunked as the last coding');
  return new GatewayError('NOT_IMPLEMENTED', 'transfer-encoding: expected no coding but chunked');
}

function nominatedBy(connection: string | undefined): Set<string> | undefined {
  // 'keep-alive' and 'close' are all that most connections ever say
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return undefined;
  return new Set(connection.split(',').map(name => name.trim().toLowerCase()));
}

function toBytes(value: string): string {
  for (let i = 0; i < value.length; i++) {
    if (value.charCodeAt(i) > 0xff) return Buffer.from(value).toString('latin1');
  }
  return value;
}
