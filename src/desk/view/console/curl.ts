import type { HeaderPairs } from '../../fc/headers.ts';
import { type CallRecord, masked } from '../../fc/record.ts';
import type { CallRow } from './api.ts';

/** What curl says itself, or what only the one connection was about. */
const NOT_COPIED = /^(host|content-length|connection|transfer-encoding|accept-encoding|x-forwarded-for)$/i;

/** A line for a terminal that makes a call again. What is secret in it is masked. */
export function curlOf(
  { kind }: Pick<CallRow, 'kind'>,
  { sent, requestBody }: CallRecord,
  { url, invoke }: { readonly url: string; readonly invoke: string },
): string {
  const { first } = requestBody;
  const words = ['curl'];
  const isEvent = kind === 'event';
  const { method, path } = sent;
  const hasBody = first.length > 0 || isEvent;
  // --head also reads no body, which a -X HEAD would wait for
  if (method === 'HEAD') words.push('--head');
  else if (method !== (hasBody ? 'POST' : 'GET')) words.push(`-X ${quoted(method)}`);
  if (!isEvent) {
    const headers: HeaderPairs = masked(sent.headers).filter(([name]) => !NOT_COPIED.test(name));
    for (const [name, value] of headers) words.push(`-H ${quoted(value === '' ? `${name};` : `${name}: ${value}`)}`);
    // curl would say that it is a form
    const hasType = headers.some(([name]) => /^content-type$/i.test(name));
    if (hasBody && !hasType) words.push("-H 'content-type:'");
  }
  words.push(quoted(isEvent ? invoke : url + path));
  if (!hasBody) return words.join(' ');
  const text = first.toString();
  // what is no text goes through a pipe: no shell takes it as an argument
  const isText = Buffer.from(text).equals(first) && !text.includes('\0');
  if (isText) return [...words, `--data-raw ${quoted(text)}`].join(' ');
  return `printf ${quoted(first.toString('base64'))} | base64 -d | ${words.join(' ')} --data-binary @-`;
}

/** As a POSIX shell takes it for one word. */
const quoted = (text: string): string => (/^[\w./:=@%+,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);
