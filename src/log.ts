import { GatewayError } from './errors.ts';

/** `json`: one object per line, for machines. `pretty`: for a person at a terminal. `off`: nothing. */
export type LogMode = 'json' | 'pretty' | 'off';

/** More about an event. Values are written as JSON; an Error is written with its code, stack and causes. */
export type Fields = Readonly<Record<string, unknown>>;

/** What the access line says. `status` is 0 when nothing was sent; the times are ms from arrival. */
export interface Access {
  requestId: string;
  kind: string;
  method: string;
  /** Without the query, which may hold secrets. */
  path: string;
  function: string;
  status: number;
  bytesIn: number;
  bytesOut: number;
  firstByteMs: number | undefined;
  totalMs: number;
  /** `ok`, `client gone` or `error CODE`. */
  outcome: string;
}

/** Where a function's line came from. */
export interface Source {
  function: string;
  worker: string;
  stream: 'stdout' | 'stderr';
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
  /** Writes what is held. */
  flush(): void;
}

/** Lines are held until the loop's turn ends or this much is there: one write for many lines. */
const HOLD_CHARS = 16 * 1024;

/** Makes the log. `write` takes whole lines. */
export function createLog(mode: LogMode, write: (text: string) => void = text => process.stdout.write(text)): Log {
  let held = '';
  let due: NodeJS.Immediate | undefined;

  function flush(): void {
    if (due !== undefined) clearImmediate(due);
    due = undefined;
    if (held === '') return;
    const text = held;
    held = '';
    write(text);
  }
  function line(text: string): void {
    held += `${text}\n`;
    if (held.length > HOLD_CHARS) flush();
    else due ??= setImmediate(flush);
  }

  if (mode === 'off') {
    const nothing = (): void => {};
    return { info: nothing, warn: nothing, error: nothing, access: nothing, output: nothing, line, flush };
  }
  const format = mode === 'pretty' ? pretty : json;
  return {
    info: (message, fields) => line(format.event('info', message, fields)),
    warn: (message, fields) => line(format.event('warn', message, fields)),
    error: (message, fields) => line(format.event('error', message, fields)),
    access: entry => line(format.access(entry)),
    output: (text, source) => line(format.output(text, source)),
    line,
    flush,
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
