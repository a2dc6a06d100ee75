import { validateHeaderName, validateHeaderValue } from 'node:http';
import { GatewayError } from './errors.ts';

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

/** Fields that carry a trace across processes; they travel as Noslate baggage too. */
const TRACE = new Set([
  'traceparent',
  'tracestate',
  'baggage',
  'x-fc-tracing-opentracing-span-context',
  'x-fc-tracing-opentracing-span-baggages',
]);

/** By the length of a name, whether it can be one of those: of most fields one look tells. */
const CAN_BE_NAMED: readonly boolean[] = [...HOP_BY_HOP, ...SECRET, ...TRACE].reduce<boolean[]>((lengths, name) => {
  lengths[name.length] = true;
  return lengths;
}, []);

/**
 * Sorts a request's fields in one pass. `headers` are for the function: no hop-by-hop field, none that
 * `Connection` names, no secret. `baggage` is the trace context among them, names in lower case.
 */
export function requestHeaders(
  raw: RawHeaders,
  connection: string | undefined,
): { headers: string[]; baggage: string[] } {
  const nominated = nominatedBy(connection);
  const headers: string[] = [];
  const baggage: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = raw[i + 1] as string;
    if (nominated === undefined && CAN_BE_NAMED[name.length] !== true) {
      headers.push(name, value);
      continue;
    }
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || SECRET.has(key) || nominated?.has(key)) continue;
    headers.push(name, value);
    if (TRACE.has(key)) baggage.push(key, value);
  }
  return { headers, baggage };
}

/** Node's timers hold 2^31-1 ms; a timeout beyond that would pass at once. */
export const MAX_SECONDS = 2_147_483;

/** Reads a timeout that FC sent, whole seconds; anything else gives the fallback. */
export function secondsOf(value: string | string[] | undefined, fallback: number): number {
  const seconds = Number(value);
  return Number.isInteger(seconds) && seconds > 0 ? Math.min(seconds, MAX_SECONDS) : fallback;
}

/** A response head that is valid HTTP. */
export interface ResponseHead {
  /** Ready for `writeHead`. */
  headers: string[];
  /** Bytes the function promised with `content-length`; -1 if it promised nothing. */
  contentLength: number;
}

/**
 * Makes valid HTTP of a function's header fields: drops hop-by-hop fields and `x-fc-*` (a function could
 * forge FC's metrics with them), and writes text that Latin-1 cannot hold as UTF-8, as browsers read it.
 *
 * @throws {GatewayError} BAD_RESPONSE for a field that is not HTTP; the message names the field.
 */
export function responseHeaders(raw: RawHeaders): ResponseHead {
  const headers: string[] = [];
  let contentLength = -1;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    const value = toBytes(raw[i + 1] as string);
    const key = name.toLowerCase();
    if (HOP_BY_HOP.has(key) || key.startsWith('x-fc-')) continue;
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
    }
    headers.push(name, value);
  }
  return { headers, contentLength };
}

/**
 * Says what is wrong with a request that node:http let through, or nothing. A gateway that is laxer than
 * its neighbours can be made to disagree with them about who is asked and where a message ends.
 *
 * @see RFC 9112 §3.2 (Host), §6.1 (Transfer-Encoding in HTTP/1.0)
 */
export function malformed(httpVersion: string, raw: RawHeaders): string | undefined {
  if (httpVersion !== '1.1' && httpVersion !== '1.0') return `HTTP version ${httpVersion}: expected 1.1 or 1.0`;
  let hosts = 0;
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') {
      hosts++;
      if (!/^[^\s/?#@\\,]*$/.test(raw[i + 1] as string))
        return 'host: expected a name or address with an optional port';
    } else if (httpVersion === '1.0' && name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      return 'transfer-encoding: not allowed in HTTP/1.0';
    }
  }
  if (hosts > 1) return `host: expected one, got ${hosts}`;
  return hosts === 0 && httpVersion === '1.1' ? 'host: expected one, got none' : undefined;
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
