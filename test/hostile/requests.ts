/** A request that a proxy has sent. */
export interface SentRequest {
  /** Of the row that it is of; empty without one. */
  readonly mark: string;
  /** Method and URL, as the function says them. */
  readonly line: string;
}

const FIELD = (name: string): RegExp => new RegExp(`^${name}:[ \\t]*(.*?)[ \\t]*$`, 'im');

/**
 * Cuts what a proxy has sent on one connection into its requests, by what the proxy means: it frames bodies by itself,
 * and in one way. What does not end is one, too.
 *
 * @param sent - as latin1.
 */
export function requestsIn(sent: string): SentRequest[] {
  const requests: SentRequest[] = [];
  for (let rest = sent; rest !== ''; ) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) return requests;
    const head = rest.slice(0, end);
    const [, method = '', target = ''] = /^(\S+) (.*) [A-Z]+\/1\.[01](?:\r\n|$)/.exec(head) ?? [];
    const url = target.replace(/^https?:\/\/[^/?]*/i, '');
    const line = `${method} ${url.startsWith('?') ? `/${url}` : url}`;
    requests.push({ mark: /mark-[a-z]\d{3}/.exec(head)?.[0] ?? '', line });
    rest = rest.slice(end + 4);
    if (/chunked$/i.test(FIELD('transfer-encoding').exec(head)?.[1] ?? '')) rest = behindChunks(rest);
    else rest = rest.slice(Number(FIELD('content-length').exec(head)?.[1] ?? 0));
  }
  return requests;
}

function behindChunks(text: string): string {
  for (let at = 0; ; ) {
    const line = text.indexOf('\r\n', at);
    const size = Number.parseInt(text.slice(at, line), 16);
    if (line < 0 || Number.isNaN(size)) return '';
    if (size > 0) at = line + 2 + size + 2;
    else if (text.startsWith('\r\n', line + 2)) return text.slice(line + 4);
    else {
      const end = text.indexOf('\r\n\r\n', line);
      return end < 0 ? '' : text.slice(end + 4);
    }
  }
}
