/** One answer in what a raw connection received. */
export interface RawAnswer {
  readonly status: number;
  /** By name in lower case; of several the last. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * Cuts what a connection received into the answers that are whole. An answer without a length reaches to the end, and
 * so counts as whole whenever it is asked.
 *
 * @param text - the bytes, as latin1.
 * @throws {Error} what is there is no answer.
 */
export function parseAnswers(text: string): RawAnswer[] {
  const answers: RawAnswer[] = [];
  for (let rest = text; ; ) {
    const end = rest.indexOf('\r\n\r\n');
    if (end < 0) {
      if (rest !== '' && !'HTTP/1.1 '.startsWith(rest.slice(0, 9)))
        throw new Error(`no answer: ${JSON.stringify(rest)}`);
      return answers;
    }
    const [first = '', ...lines] = rest.slice(0, end).split('\r\n');
    const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? Number.NaN);
    if (Number.isNaN(status)) throw new Error(`no answer: ${JSON.stringify(first)}`);
    const pairs = lines.map(line => /^([^:]+):\s*(.*)$/.exec(line) ?? []);
    const headers = new Map(pairs.map(([, name = '', value = '']) => [name.toLowerCase(), value]));
    rest = rest.slice(end + 4);
    const body = bodyOf(status, headers, rest);
    if (body === undefined) return answers;
    answers.push({ status, headers, body: body.text });
    rest = rest.slice(body.size);
  }
}

/** The body at the beginning of `rest` and its size on the wire; undefined while it is not whole. */
function bodyOf(
  status: number,
  headers: ReadonlyMap<string, string>,
  rest: string,
): { text: string; size: number } | undefined {
  if (status < 200 || status === 204 || status === 304) return { text: '', size: 0 };
  const length = headers.get('content-length');
  if (length !== undefined) {
    return rest.length < Number(length) ? undefined : { text: rest.slice(0, Number(length)), size: Number(length) };
  }
  if (headers.get('transfer-encoding') !== 'chunked') return { text: rest, size: rest.length };
  let text = '';
  for (let at = 0; ; ) {
    const line = rest.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = Number.parseInt(rest.slice(at, line), 16);
    const next = line + 2 + size + 2;
    if (rest.length < next) return undefined;
    text += rest.slice(line + 2, line + 2 + size);
    at = next;
    if (size === 0) return { text, size: at };
  }
}
