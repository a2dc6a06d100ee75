import { GatewayError } from './errors.ts';
import { createSink, type Write } from './sink.ts';

/** `json`: one object per line, for machines. `pretty`: for a person at a terminal. `off`: nothing. */
export type LogMode = 'json' | 'pretty' | 'off';

/** More about an event. Values are written as JSON; an Error is written with its code, stack and causes. */
export type Fields = Readonly<Record<string, unknown>>;

/** What the access line says. `status` is 0 when nothing was sent; the times are ms from arrival. */
export interface Access {
  requestId: string;
  /** Of the trace that it belongs to, if it does. */
  traceId: string | undefined;
  kind: string;
  method: string;
  /** Without the query, which may hold secrets. */
  path: string;
  function: string;
  /** Which worker answered, where the agent can know. */
  worker: string | undefined;
  status: number;
  bytesIn: number;
  bytesOut: number;
  firstByteMs: number | undefined;
  totalMs: number;
  /** For which it waited for a place among `SERVER_MAX_CONCURRENCY`; absent where it did not. */
  queuedMs: number | undefined;
  /** It was the instance's first invocation; else absent. */
  coldStart: true | undefined;
  /** `ok`, `client gone` or `error CODE`. */
  outcome: string;
}

/** Where a function's line came from. */
export interface Source {
  function: string;
  worker: string;
  stream: 'stdout' | 'stderr';
  /** Of the call that it was printed in, where there was but one. */
  requestId?: string;
}

/** Writes one line per event to stdout, the only stream that FC collects for sure. */
export interface Log {
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The line of a request that is over. */
  access(access: Access): void;
  /** A line that a function printed. */
  output(text: string, source: Source): void;
  /** A line that must reach stdout letter for letter, also when the log is off: FC's markers. */
  line(text: string): void;
  /** How many lines nobody has read, and that were dropped for it. */
  dropped(): number;
  /** Writes what is held. */
  flush(): void;
  /**
   * Calls back in another turn, as soon as what was logged is read or will be dropped: for who logs as much as it
   * likes, and can wait.
   */
  whenRead(callback: () => void): void;
}

/**
 * Makes the log. When nobody reads it, it drops lines, and says how many once it is read again.
 *
 * @param write - takes whole lines, and calls back when they are out, if anybody is to wait for that.
 * @param unread - characters that were written and that nobody has read.
 */
export function createLog(
  mode: LogMode,
  write: Write = (text, done) => process.stdout.write(text, done),
  unread: () => number = () => process.stdout.writableLength,
): Log {
  const format = mode === 'pretty' ? pretty : json;
  const sink = createSink(write, unread, dropped => {
    if (mode !== 'off') sink.add(format.event('warn', `log lines dropped: ${dropped}`));
  });
  const { addImportant, dropped, flush, whenRead } = sink;
  if (mode === 'off') {
    const nothing = (): void => {};
    const silent = { info: nothing, warn: nothing, error: nothing, access: nothing, output: nothing };
    return { ...silent, line: addImportant, dropped, flush, whenRead };
  }

  function event(level: Level, message: string, fields?: Fields): void {
    if (sink.isFull) sink.drop();
    else sink.add(format.event(level, message, fields));
  }
  return {
    info: (message, fields) => event('info', message, fields),
    warn: (message, fields) => event('warn', message, fields),
    error: (message, fields) => event('error', message, fields),
    access(entry) {
      if (sink.isFull) sink.drop();
      else sink.add(format.access(entry));
    },
    output(text, source) {
      if (sink.isFull) sink.drop();
      else sink.add(format.output(text, source));
    },
    line: addImportant,
    dropped,
    flush,
    whenRead,
  };
}

type Level = 'info' | 'warn' | 'error';

interface Format {
  event(level: Level, message: string, fields?: Fields): string;
  access(entry: Access): string;
  output(text: string, source: Source): string;
}

const json: Format = {
  event(level, message, fields) {
    const line = { time: new Date().toISOString(), level, message, ...fields };
    return JSON.stringify(line, (_, value) => (value instanceof Error ? describe(value) : value));
  },
  access: entry => JSON.stringify({ time: new Date().toISOString(), level: 'info', message: 'request', ...entry }),
  output: (message, source) => JSON.stringify({ time: new Date().toISOString(), level: 'info', message, ...source }),
};

const pretty: Format = {
  event(level, message, fields = {}) {
    const details: string[] = [];
    const errors: string[] = [];
    for (const [key, value] of Object.entries(fields)) {
      if (value instanceof Error) errors.push(trace(value));
      else if (value !== undefined && value !== '') details.push(typeof value === 'string' ? value : `${key}=${value}`);
    }
    const head = `${paint(level, clock())} ${level === 'info' ? '' : `${level}: `}${message}`;
    return [[head, ...details].join(' '), ...errors].join('\n');
  },
  access({ requestId, method, path, function: name, status, bytesOut, totalMs, outcome }) {
    const result = outcome === 'ok' ? String(status) : `${status} ${outcome}`;
    const target = name === '' ? '' : ` ${name}`;
    return `${paint('info', clock())} ${method} ${path} → ${result}${target} ${bytesOut} B ${totalMs} ms ${paint('info', requestId)}`;
  },
  output: (text, { worker, stream }) =>
    `${paint(stream === 'stderr' ? 'warn' : 'info', `${clock()} ${worker} |`)} ${text}`,
};

/** Dim, yellow, red. */
const COLOUR: Readonly<Record<Level, string>> = { info: '\x1b[2m', warn: '\x1b[33m', error: '\x1b[31m' };

function paint(level: Level, text: string): string {
  return process.stdout.isTTY ? `${COLOUR[level]}${text}\x1b[0m` : text;
}

function clock(): string {
  return new Date().toTimeString().slice(0, 8);
}

/** An error as JSON. The gateway's own have a code; of others the stack says where they came from. */
function describe(error: Error): Fields {
  const cause = (error as { cause?: unknown }).cause;
  return {
    ...(error instanceof GatewayError ? { code: error.code } : { stack: error.stack }),
    message: error.message,
    ...(cause === undefined ? {} : { cause: cause instanceof Error ? describe(cause) : String(cause) }),
  };
}

/** An error and its causes, indented. */
function trace(error: Error): string {
  const cause = (error as { cause?: unknown }).cause;
  const own = error instanceof GatewayError ? `${error.code}: ${error.message}` : (error.stack ?? error.message);
  const text = cause === undefined ? own : `${own}\n${cause instanceof Error ? trace(cause) : String(cause)}`;
  return text.replace(/^(?! {2})/gm, '  ');
}
