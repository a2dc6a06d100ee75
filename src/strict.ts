import type { Socket } from 'node:net';

/**
 * Whether this Node.js has a parser that takes what later ones refuse: lines that end in CR or LF alone, folded lines,
 * chunk sizes with something behind them, targets and names that are none. Whoever stands before us may see the end of a
 * request elsewhere then, and let a second one through in the first.
 */
export const IS_LAX: boolean = Number.parseInt(process.versions.node, 10) < 20;

const CR = 13;
const LF = 10;
const SPACE = 32;
const TAB = 9;

/** Longest line that is held; the parser refuses a longer head by itself, but not the line of a chunk's size. */
const MAX_LINE = 128 * 1024;

const LENGTH = /^content-length:[ \t]*(\d+)/i;
const CHUNKED = /^transfer-encoding:.*\bchunked[ \t]*$/i;
const SIZE = /^[\da-f]{1,13}(?=$|;(?:[^"]|"(?:[^"\\]|\\.)*")+$)/i;
const FIELD = /^[-!#$%&'*+.^_`|~\w]+:/;

/** What the next byte is of. */
type Place = 'start' | 'head' | 'size' | 'trailer' | 'body' | 'chunk' | 'raw';

/**
 * Makes what follows a client's bytes, in pieces as they come. It tells where in a piece the first byte stands that must
 * not be there, -1 if none does; after that it is of no more use. What the parser refuses by itself it need not see.
 *
 * @see RFC 9112 §2.2 (line ends), §5.2 (folding), §7.1 (chunks)
 */
export function createScanner(): (piece: Buffer) => number {
  let place: Place = 'start';
  /** A line that has not come to its end. */
  let held = '';
  /** Bytes that are left of a body or a chunk, of which nothing is looked at. */
  let rest = 0;
  let isChunked = false;
  let isConnect = false;

  /** Takes a line without its end; false for one that is none of its place. */
  function take(line: string): boolean {
    switch (place) {
      case 'start':
        isConnect = line.startsWith('CONNECT ');
        isChunked = false;
        rest = 0;
        place = 'head';
        return true;
      case 'head':
        if (line !== '') {
          isChunked ||= CHUNKED.test(line);
          rest = Number(LENGTH.exec(line)?.[1] ?? rest);
        } else if (isConnect) place = 'raw';
        else if (isChunked) place = 'size';
        else place = rest > 0 ? 'body' : 'start';
        return true;
      case 'size': {
        const size = SIZE.exec(line)?.[0];
        if (size === undefined) return false;
        rest = Number.parseInt(size, 16);
        place = rest > 0 ? 'chunk' : 'trailer';
        return true;
      }
      case 'chunk':
        place = 'size';
        return line === '';
      default:
        if (line === '') place = 'start';
        return line === '' || FIELD.test(line);
    }
  }

  return piece => {
    for (let i = 0; i < piece.length; ) {
      if (place === 'raw') return -1;
      if (rest > 0 && (place === 'body' || place === 'chunk')) {
        const skipped = Math.min(rest, piece.length - i);
        rest -= skipped;
        i += skipped;
        if (rest === 0 && place === 'body') place = 'start';
        continue;
      }
      const first = piece[i];
      if (held === '') {
        // before a request there may be empty lines, however they end
        if (place === 'start' && (first === CR || first === LF)) {
          i++;
          continue;
        }
        if ((place === 'head' || place === 'trailer') && (first === SPACE || first === TAB)) return i;
      }
      if (place === 'chunk' && held === '' && first !== CR) return i;
      if (held.endsWith('\r') && first !== LF) return i;
      const end = piece.indexOf(LF, i);
      const cr = piece.indexOf(CR, i);
      const last = end < 0 ? piece.length : end;
      if (cr >= 0 && cr < last - 1) return cr + 1;
      held += piece.toString('latin1', i, last);
      if (held.length > MAX_LINE) return i;
      if (end < 0) return -1;
      if (!held.endsWith('\r') || !take(held.slice(0, -1))) return end;
      held = '';
      i = end + 1;
    }
    return -1;
  };
}

/** What a socket has of node:http's parser, in no types. */
interface Parser {
  execute?(piece: Buffer): number | Error;
}

/**
 * Has the parser of a client's connection refuse what it would let through.
 *
 * @param socket - as the server's `connection` has it.
 */
export function beStrict(socket: Socket): void {
  const { parser } = socket as Socket & { parser?: Parser };
  if (parser === undefined) return;
  // else the parser reads from the kernel by itself
  socket.on('data', () => {});
  const scan = createScanner();
  const execute = (Object.getPrototypeOf(parser) as Required<Parser>).execute.bind(parser);
  let fault: Error | undefined;
  parser.execute = piece => {
    const at = fault === undefined ? scan(piece) : 0;
    if (at < 0) return execute(piece);
    // the requests before it are whole
    const result = at > 0 ? execute(piece.subarray(0, at)) : at;
    if (result instanceof Error) return result;
    fault ??= Object.assign(new Error('Parse Error'), {
      code: 'HPE_STRICT',
      reason: 'a byte out of place',
      bytesParsed: at,
    });
    return fault;
  };
  // node:http uses it again, for whatever comes next
  socket.on('close', () => {
    delete parser.execute;
  });
}
