/**
 * What JSON.parse says of a text differs from one Node.js to the next, and not all tell where. This tells where, and what
 * was expected there, in one way.
 */

/** A place in a text, and what is to be said of it. */
export interface Remark {
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units as editors count. */
  readonly column: number;
  readonly text: string;
}

/** What a file that should be JSON is found to be. */
export interface Reading {
  /** The first thing that is not JSON; undefined where JSON.parse takes the text. */
  readonly fault: Remark | undefined;
  /** Keys that come twice in one object: JSON.parse takes the last. */
  readonly duplicates: readonly Remark[];
}

/** Deeper than any file that a person writes, and shallower than the stack. */
const MAX_DEPTH = 500;

const SPACE = /[ \t\n\r]*/y;
/** A string, up to what should be its end: neither quotes nor control characters, and of backslashes only these. */
const STRING = /"(?:[ !#-[\]-\uffff]+|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*/y;
const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?/y;
const ESCAPES = String.raw`\" \\ \/ \b \f \n \r \t \u0000`;
/** What a person would take for one thing. */
const WORD = /"[^"\n]*"?|[^\s,:[\]{}"']+|./suy;

class Fault extends Error {
  readonly at: number;

  constructor(at: number, message: string) {
    super(message);
    this.at = at;
  }
}

/** Reads a text that should be JSON. */
export function readJson(text: string): Reading {
  const duplicates: Remark[] = [];
  try {
    scan(text, (at, key, first) => {
      duplicates.push(remark(text, at, `the key ${key} is there already, on line ${remark(text, first, '').line}`));
    });
    return { fault: undefined, duplicates };
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return { fault: remark(text, error.at, error.message), duplicates };
  }
}

/** Writes a place, and what is said of it. */
export function describe({ line, column, text }: Remark): string {
  return `line ${line}, column ${column}: ${text}`;
}

function remark(text: string, at: number, message: string): Remark {
  const lines = text.slice(0, at).split(/\r\n|\r|\n/);
  return { line: lines.length, column: (lines[lines.length - 1] ?? '').length + 1, text: message };
}

/** @throws {Fault} at the first thing that is not JSON. */
function scan(text: string, onDuplicate: (at: number, key: string, first: number) => void): void {
  let at = 0;

  /** Takes what the pattern matches here, if it does. */
  function take(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const [found] = pattern.exec(text) ?? [];
    at += found?.length ?? 0;
    return found;
  }

  /** Passes over space, and stops at what people take for space. */
  function skip(): void {
    take(SPACE);
    const start = text.slice(at, at + 2);
    if (start === '//' || start === '/*' || start.startsWith('#'))
      throw new Fault(at, 'expected no comment: JSON has none');
  }

  /** What stands here, in words. */
  function here(): string {
    if (at >= text.length) return 'the end of the file';
    WORD.lastIndex = at;
    const [word = ''] = WORD.exec(text) ?? [];
    if (/^[\s\p{C}]/u.test(word)) return `U+${text.charCodeAt(at).toString(16).toUpperCase().padStart(4, '0')}`;
    return word.length > 30 ? `${word.slice(0, 27)}...` : word;
  }

  function string(what: string): string {
    const start = at;
    if (text[at] === "'") throw new Fault(at, `expected ${what} in double quotes, got single ones`);
    take(STRING);
    switch (text[at]) {
      case '"':
        return text.slice(start, ++at);
      case '\\':
        throw new Fault(at, `expected one of ${ESCAPES}, got ${text.slice(at, at + 2)}`);
      case '\t':
        throw new Fault(at, 'expected \\t in a string, got a tab');
      case undefined:
        throw new Fault(start, 'expected a " that ends the string, got the end of the file');
      case '\n':
      case '\r':
        throw new Fault(start, 'expected a " that ends the string, got the end of the line');
      default:
        throw new Fault(at, 'expected \\u and four digits in a string, got a control character');
    }
  }

  /** Reads what a bracket has opened: items with commas between them. */
  function items(close: ']' | '}', item: () => void): void {
    const opened = at++;
    /** Gives what stands here; that is never the end of the file. */
    function next(): string {
      skip();
      const found = text[at];
      if (found !== undefined) return found;
      const { line } = remark(text, opened, '');
      throw new Fault(at, `expected ${close} for the ${text[opened]} of line ${line}, got the end of the file`);
    }
    if (next() !== close) {
      for (;;) {
        item();
        const after = next();
        if (after === close) break;
        if (after !== ',') throw new Fault(at, `expected a comma or ${close}, got ${here()}`);
        const comma = at++;
        if (next() === close) throw new Fault(comma, `expected no comma before ${close}`);
      }
    }
    at++;
  }

  function value(depth: number): void {
    const next = text[at] ?? '';
    if (depth > MAX_DEPTH) throw new Fault(at, `expected no more than ${MAX_DEPTH} levels`);
    if (next === '[') items(']', () => value(depth + 1));
    else if (next === '{') object(depth);
    else if (next === '"' || next === "'") string('a string');
    else if (/[-+.\d]/.test(next)) number();
    else if (take(/(?:true|false|null)(?![\w$])/y) === undefined)
      throw new Fault(at, `expected a value, got ${here()}`);
  }

  function number(): void {
    const start = at;
    take(NUMBER);
    // what goes on is no number: 01, 1., .5, +1, 0x1
    if (start !== at && !/[\w.+]/.test(text[at] ?? '')) return;
    at = start;
    throw new Fault(at, `expected a number as JSON has them, got ${here()}`);
  }

  function object(depth: number): void {
    const keys = new Map<string, number>();
    items('}', () => {
      const start = at;
      if (text[at] !== '"' && text[at] !== "'") {
        throw new Fault(at, `expected a key in double quotes, got ${here()}`);
      }
      const key = string('a key');
      const name = String(JSON.parse(key));
      const first = keys.get(name);
      if (first === undefined) keys.set(name, start);
      else onDuplicate(start, key, first);
      skip();
      if (text[at] !== ':') throw new Fault(at, `expected a colon after the key ${key}, got ${here()}`);
      at++;
      skip();
      value(depth + 1);
    });
  }

  if (/^\ufffd|\0/.test(text)) throw new Fault(at, 'expected UTF-8, got another encoding');
  skip();
  if (at >= text.length) throw new Fault(at, 'expected an object, got an empty file');
  value(0);
  skip();
  if (at < text.length) throw new Fault(at, `expected the end of the file, got ${here()}`);
}
