import type { HeaderPairs } from './headers.ts';

/** A body, as far as it is kept. */
export interface Excerpt {
  /** Of all of it that has passed so far. */
  readonly bytes: number;
  /** The first of them. */
  readonly first: Buffer;
}

/** The head of a request. */
export interface RequestHead {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: HeaderPairs;
}

/** The head of an answer. */
export interface AnswerHead {
  readonly status: number;
  readonly headers: HeaderPairs;
}

/**
 * What was sent and answered in a call, as it is so far. Of what was made again, the last attempt.
 *
 * It has whatever clients and FC keep secret: credentials, cookies, tokens. It is for repeating a call, and to be shown
 * only through `masked`; in JSON there is nothing of it.
 */
export interface CallRecord {
  /** As the client sent it; of an event without headers. */
  readonly sent: RequestHead;
  /** As the container got it. */
  readonly request: RequestHead | undefined;
  readonly requestBody: Excerpt;
  /** As the container gave it. */
  readonly response: AnswerHead | undefined;
  readonly responseBody: Excerpt;
  /** As the caller got it. */
  readonly answer: AnswerHead | undefined;
  toJSON(): undefined;
}

/** A record that is being written. */
export interface Recording extends CallRecord {
  request: RequestHead | undefined;
  response: AnswerHead | undefined;
  answer: AnswerHead | undefined;
  readonly requestBody: Excerpt & { add(chunk: Buffer): void };
  readonly responseBody: Excerpt & { add(chunk: Buffer): void };
  /** Forgets what there is of an earlier attempt. */
  restart(): void;
}

/**
 * Begins a record.
 *
 * @param most - bytes of each body that are kept.
 */
export function createRecord(sent: RequestHead, most: number): Recording {
  const [requestBody, responseBody] = [createExcerpt(most), createExcerpt(most)];
  return {
    sent,
    request: undefined,
    requestBody,
    response: undefined,
    responseBody,
    answer: undefined,
    restart() {
      this.request = undefined;
      this.response = undefined;
      requestBody.clear();
      responseBody.clear();
    },
    toJSON: () => undefined,
  };
}

function createExcerpt(most: number): Excerpt & { add(chunk: Buffer): void; clear(): void } {
  let chunks: Buffer[] = [];
  let kept = 0;
  let bytes = 0;
  return {
    get bytes() {
      return bytes;
    },
    get first() {
      chunks = [Buffer.concat(chunks)];
      return chunks[0] ?? Buffer.alloc(0);
    },
    add(chunk) {
      bytes += chunk.length;
      const part = chunk.subarray(0, most - kept);
      if (part.length === 0) return;
      // a copy: the rest of what a socket has read must not be kept with it
      chunks.push(Buffer.from(part));
      kept += part.length;
    },
    clear() {
      chunks = [];
      kept = 0;
      bytes = 0;
    },
  };
}

const SECRET =
  /^(authorization|proxy-authorization|cookie|set-cookie|x-api-key|x-fc-access-key-(id|secret)|x-fc-security-token|x-fc-tracing-jaeger-endpoint)$/i;

/** Headers as anybody may see them. */
export const masked = (headers: HeaderPairs): HeaderPairs =>
  headers.map(([name, value]) => [name, value !== '' && SECRET.test(name) ? '***' : value]);
