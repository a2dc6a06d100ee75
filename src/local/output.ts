import { StringDecoder } from 'node:string_decoder';
import type { Log } from '../log.ts';

/** Characters that a worker has printed and the gateway has not taken: here the worker waits, in the middle of its print. */
const MAX_HELD = 256 * 1024;
/** Longest text of a message, in characters. */
const PIECE = 64 * 1024;
/** What a message costs beside its text. */
const MESSAGE = 128;

/** Counts what is on its way from a worker to the gateway, in memory that both see. */
export type Held = Int32Array;

export const createHeld = (): Held => new Int32Array(new SharedArrayBuffer(4));

/**
 * Has what this thread prints posted at once, and waited for when the gateway does not come after. Node's own way
 * holds all that is printed in one turn, twice: a function that prints 100 MB in a loop costs 200.
 */
export function sendOutput(held: Held, post: (stream: 'stdout' | 'stderr', text: string) => void): void {
  for (const name of ['stdout', 'stderr'] as const) {
    const decoder = new StringDecoder();
    const send = (text: string): void => {
      for (let from = 0; from < text.length; from += PIECE) {
        const piece = text.slice(from, from + PIECE);
        Atomics.add(held, 0, costOf(piece));
        post(name, piece);
        for (let now = Atomics.load(held, 0); now > MAX_HELD; now = Atomics.load(held, 0)) Atomics.wait(held, 0, now);
      }
    };
    // the stream stays what it is: the console of code that was loaded before has it already
    Object.assign(process[name], {
      _write(chunk: string | Buffer, encoding: BufferEncoding, done: () => void) {
        if (typeof chunk === 'string' && /^utf-?8$/i.test(encoding)) send(chunk);
        else send(decoder.write(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk));
        done();
      },
      _writev: undefined,
    });
  }
}

/**
 * Makes the function that is told of each text that was taken from a worker. The worker hears of it when the log has
 * room for more.
 */
export function createTaker(held: Held, log: Log): (text: string) => void {
  let taken = 0;
  function tell(): void {
    Atomics.sub(held, 0, taken);
    Atomics.notify(held, 0);
    taken = 0;
  }
  return text => {
    if (taken === 0) log.whenRead(tell);
    taken += costOf(text);
  };
}

const costOf = (text: string): number => text.length + MESSAGE;

/** A line longer than this is cut into several: a function could print without ever ending one. */
const MAX_LINE_CHARS = 64 * 1024;

/** Cuts what is printed into lines. */
export interface Lines {
  add(text: string): void;
  /** Nothing more will come: a last line may have no end. */
  end(): void;
}

export function createLines(onLine: (line: string) => void): Lines {
  let rest = '';
  return {
    add(text) {
      const lines = (rest + text).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) onLine(line);
      if (rest.length <= MAX_LINE_CHARS) return;
      onLine(rest);
      rest = '';
    },
    end() {
      if (rest !== '') onLine(rest);
      rest = '';
    },
  };
}
