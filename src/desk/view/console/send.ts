import { METHODS as NODE_METHODS } from 'node:http';
import { Readable } from 'node:stream';
import type { Answer } from '../../fc/answers.ts';
import type { HeaderPairs } from '../../fc/headers.ts';
import { is } from '../../fc/life.ts';
import { LIMITS } from '../../fc/limits.ts';
import type { Platform } from '../../fc/platform.ts';
import { masked } from '../../fc/record.ts';
import type { Change, Sending, Sent, SentBody } from './api.ts';
import type { Kept } from './calls.ts';
import { whyNotAgain } from './detail.ts';
import { list, object, oneOf, optional, pair, type Reader, Refused, text, truth } from './reader.ts';

/** What a browser sends in the place of what it is not told. */
const MASK = '***';

const body: Reader<SentBody> = (value, at) =>
  object(value, at) && 'base64' in (value as object)
    ? { base64: text((value as { base64: unknown }).base64, `${at}.base64`) }
    : { text: text((value as { text?: unknown }).text, `${at}.text`) };

const headers: Reader<HeaderPairs> = (value, at) => list(pair)(value, at).map(one => checked(one, at));

/** node:http would throw. */
function checked([name, value]: readonly [string, string], at: string): readonly [string, string] {
  if (!/^[!#$%&'*+\-.^_`|~\w]+$/.test(name)) throw new Refused(400, `${at}: expected a header's name, got "${name}"`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what a value must not have
  if (/[\0-\x08\n-\x1f\x7f]|[^\0-\xff]/.test(value)) {
    throw new Refused(400, `${at}: expected the value of ${name} without line ends and the like`);
  }
  return [name, value];
}

const method: Reader<string> = (value, at) => {
  const name = text(value, at).toUpperCase();
  // it takes over the connection: not what a trigger is for
  if (name === 'CONNECT' || !NODE_METHODS.includes(name)) {
    throw new Refused(400, `${at}: expected a method of HTTP, got "${name}"`);
  }
  return name;
};

const path: Reader<string> = (value, at) => {
  const given = text(value, at);
  if (/^\/[\x21-\x7e]*$/.test(given)) return given;
  throw new Refused(400, `${at}: expected a path that starts with "/", percent-encoded, got "${given}"`);
};

/**
 * Reads what the page asks for.
 *
 * @throws {Refused} naming the field and what was expected.
 */
export function readSending(value: unknown): Sending {
  const fields = object(value, 'body');
  const kind = oneOf('http', 'event')(fields['kind'], 'kind');
  const isAsync = optional(truth)(fields['isAsync'], 'isAsync') ?? false;
  const sent = optional(body)(fields['body'], 'body') ?? { text: '' };
  if (kind === 'event') return { kind, isAsync, body: sent };
  return {
    kind,
    isAsync,
    body: sent,
    method: method(fields['method'], 'method'),
    path: path(fields['path'], 'path'),
    headers: optional(headers)(fields['headers'], 'headers') ?? [],
  };
}

/**
 * Reads what is to be different when a call is made again.
 *
 * @throws {Refused} naming the field and what was expected.
 */
export function readChange(value: unknown): Change {
  const fields = object(value, 'body');
  const changed: Record<string, unknown> = {};
  const readers = { method, path, headers, body };
  for (const [name, reader] of Object.entries(readers) as [keyof typeof readers, Reader<unknown>][]) {
    const given = optional(reader)(fields[name], name);
    if (given !== undefined) changed[name] = given;
  }
  return changed;
}

/** Makes a call, as a client would. Gives its id at once: what comes of it is told in the platform's life. */
export function send(platform: Platform, asked: Sending): Sent {
  const payload = bytesOf(asked.body);
  const invocationType = asked.isAsync ? 'Async' : 'Sync';
  let id = '';
  // told before anything is waited for
  const off = platform.life.on(event => {
    if (is(event, 'call') && id === '') id = event.requestId;
  });
  const answer =
    asked.kind === 'event'
      ? platform.invoke({ payload, invocationType })
      : platform.http({ method: asked.method, path: asked.path, invocationType, ...withBody(asked.headers, payload) });
  off();
  drain(answer);
  return { id };
}

/**
 * Makes a call again, with changes. A header that is masked where it is shown is sent as it was.
 *
 * @throws {Refused} it cannot be made again.
 */
export function replay(platform: Platform, kept: Kept, change: Change): Sent {
  const { record, row } = kept;
  const reason = change.body === undefined || record === undefined ? whyNotAgain(kept) : undefined;
  if (record === undefined || reason !== undefined) throw new Refused(409, `not made again: ${reason}`);
  const { sent, requestBody } = record;
  const { isAsync } = row;
  const content = change.body ?? { base64: requestBody.first.toString('base64') };
  if (row.kind === 'event') return send(platform, { kind: 'event', body: content, isAsync });
  const shown = masked(sent.headers);
  const given = change.headers?.map(([name, value]): readonly [string, string] => {
    const at = shown.findIndex(([known, mask]) => mask === MASK && known.toLowerCase() === name.toLowerCase());
    return [name, value === MASK ? (sent.headers[at]?.[1] ?? value) : value];
  });
  return send(platform, {
    kind: 'http',
    method: change.method ?? sent.method,
    path: change.path ?? sent.path,
    headers: given ?? sent.headers,
    body: content,
    isAsync,
  });
}

const bytesOf = (content: SentBody): Buffer =>
  'text' in content ? Buffer.from(content.text) : Buffer.from(content.base64, 'base64');

/** A body with its length; what was said of another one's is gone. */
function withBody(given: HeaderPairs, payload: Buffer): { headers: HeaderPairs; body?: Readable } {
  const rest = given.filter(([name]) => !/^(content-length|transfer-encoding|expect)$/i.test(name));
  if (payload.length === 0) return { headers: rest };
  return { headers: [...rest, ['Content-Length', String(payload.length)]], body: Readable.from([payload]) };
}

/** Reads an answer to its end: that is when its call is over. */
async function drain(answer: Promise<Answer>): Promise<void> {
  try {
    const { body: stream } = await answer;
    stream.on('error', () => {});
    stream.resume();
  } catch {
    // it has been told in the platform's life
  }
}

/** The largest body that the page may send, as JSON; a little more than what FC takes as base64. */
export const MOST_SENT: number = Math.ceil(LIMITS.syncBody * 1.4);
