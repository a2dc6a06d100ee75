import type { Readable } from 'node:stream';
import type { Answer } from '../fc/answers.ts';
import type { HttpCall } from '../fc/call.ts';
import type { HeaderPairs } from '../fc/headers.ts';
import type { LifeEvent } from '../fc/life.ts';
import type { Platform } from '../fc/platform.ts';
import type { Flavour, FunctionOptions } from '../fc/settings.ts';

/** One sentence of the contract, and how to see whether a server keeps to it. */
export interface Check {
  /** `chapter.name` */
  readonly id: string;
  /** What the server does. */
  readonly title: string;
  /** What FC does or asks for, in a sentence. */
  readonly contract: string;
  /** Section of the FC contract, and the pages it rests on. */
  readonly source: string;
  /** `must`: FC's documents say so. `should`: samples or reports do, or it is what callers expect. */
  readonly level: 'must' | 'should';
  /** Where it is not the same in both. */
  readonly flavour?: Flavour;
  /** It needs the machine for itself. */
  readonly alone?: true;
  /** @throws {Error} saying what was expected and what came. */
  run(context: Context): Promise<void>;
}

/** What a check has. */
export interface Context {
  readonly flavour: Flavour;
  /** A platform that other checks use, too. It takes many calls at a time, freezes, and knows an initializer. */
  readonly shared: Platform;
  /** One of the check's own; stopped after it. */
  platform(options?: Partial<FunctionOptions>): Platform;
}

/** What the conformance function is asked to do. */
export interface Wish {
  /** ms before anything else. */
  readonly sleep?: number;
  readonly throw?: string;
  /** Ends the process, or what stands for it. */
  readonly exit?: number;
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string | readonly string[]>>;
  readonly body?: string;
  /** The answer is JSON: `method`, `url`, `headers` (flat), `bytes` of body. */
  readonly seen?: true;
  /** The head, then so many chunks, each after `every` ms; then a failure, if it is to break off. */
  readonly chunks?: {
    readonly count: number;
    readonly size: number;
    readonly every?: number;
    readonly breakOff?: true;
  };
}

/** What the conformance function has to do, for who writes one. */
export const FUNCTION = `The server under test hosts one function. It answers every HTTP trigger request and every event alike:

- An HTTP request has a wish if its query has: ?wish=JSON. An event has one if its body is JSON with a key "wish".
- Without a wish the request's body comes back, byte for byte and as it comes, with status 200.
- A wish is an object; in this order:
    sleep    wait so many ms
    throw    fail with this text, before any answer
    exit     end the process with this code
    status   of the answer, 200 otherwise;  headers  of the answer: name to value or list of values
    seen     answer with JSON: method, url, headers (as they came: name, value, name, value, …), bytes (of the body)
    body     answer with this text
    chunks   { count, size, every, breakOff }: send the head; then, each after "every" ms, "count" chunks of "size"
             bytes "x"; then end, or fail if breakOff is true
- GET and POST /healthz may be answered by the server itself, with 200.`;

/** The path with a wish in its query. */
export const wishPath = (wish: Wish, path: string = '/'): string =>
  `${path}?wish=${encodeURIComponent(JSON.stringify(wish))}`;

/** An event that is a wish. */
export const wishEvent = (wish: Wish): Buffer => Buffer.from(JSON.stringify({ wish }));

/** An answer and its body. */
export interface Whole extends Answer {
  readonly bytes: Buffer;
  readonly text: string;
}

/** Reads an answer to its end. @throws {Error} the body broke off. */
export function whole(answer: Answer | Promise<Answer>): Promise<Whole> {
  const read = async (): Promise<Whole> => {
    const given = await answer;
    const chunks: Buffer[] = [];
    for await (const chunk of given.body as AsyncIterable<Buffer>) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    return { ...given, bytes, text: bytes.toString() };
  };
  return within(CALL_MS, read(), 'a whole answer');
}

/** Calls the HTTP trigger with a wish, and reads the answer. */
export function http(fc: Platform, wish: Wish, call: Partial<HttpCall> = {}): Promise<Whole> {
  return whole(fc.http({ method: 'GET', ...call, path: wishPath(wish, call.path) }));
}

/** Calls the function with a payload, or a wish. */
export function invoke(fc: Platform, payload: Buffer | Wish): Promise<Whole> {
  return whole(fc.invoke({ payload: Buffer.isBuffer(payload) ? payload : wishEvent(payload) }));
}

/** Sends a body to the HTTP trigger and gives what comes back. */
export function echo(fc: Platform, body: Readable, headers: HeaderPairs = []): Promise<Whole> {
  return whole(fc.http({ method: 'POST', path: '/', headers, body }));
}

/** What the function has seen of a request. */
export interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly bytes: number;
}

/** Has the function tell what it sees. */
export async function see(fc: Platform, call: Partial<HttpCall> = {}): Promise<Seen> {
  return JSON.parse((await http(fc, { seen: true }, call)).text) as Seen;
}

/** All values of a header that the function saw, joined as HTTP allows. */
export function seenHeader({ headers }: Seen, wanted: string): string | undefined {
  const values = headers.filter((_, i) => i % 2 === 1 && headers[i - 1]?.toLowerCase() === wanted);
  return values.length === 0 ? undefined : values.join(', ');
}

/** @throws {Error} the two differ. */
export function expect(what: string, got: unknown, wanted: unknown): void {
  const [a, b] = [JSON.stringify(got), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: expected ${cut(b)}, got ${cut(a)}`);
}

/** @throws {Error} it is not so. */
export function expectThat(what: string, holds: boolean, got: unknown = undefined): void {
  if (!holds) throw new Error(`expected ${what}${got === undefined ? '' : `, got ${cut(JSON.stringify(got))}`}`);
}

const cut = (text: string | undefined): string => (text ?? 'nothing').slice(0, 300);

/** As long as the checks' function may take: FC itself waits no longer for it. */
export const WAIT_MS = 30_000;
/** An instance's start, its initializer and the function's time: FC has ended a call by then. */
const CALL_MS = 90_000;

/** Resolves or rejects with the promise. @throws {Error} rejected: it takes longer; says what was waited for. */
export async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms / 1000} s for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** The first event of a name, earlier or later, that passes. */
export const happening = (
  { life }: Platform,
  name: LifeEvent['event'],
  test: (event: LifeEvent) => boolean = () => true,
  what: string = `the event "${name}"`,
): Promise<LifeEvent> =>
  within(
    WAIT_MS,
    life.until(event => event.event === name && test(event)),
    what,
  );

/** A line that it prints, earlier or later. */
export const printing = (fc: Platform, what: string, test: (line: string) => boolean): Promise<LifeEvent> =>
  happening(fc, 'log', ({ line }) => test(String(line)), `a line ${what}`);

export const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms));
