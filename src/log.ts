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

/** Writes one line per event to stdout, the only stream that FC collects for sure. */
export interface Log {
  info(message: string, fields?: Fields): void;
  warn(message: string, fields?: Fields): void;
  error(message: string, fields?: Fields): void;
  /** The line of a request that is over. */
  access(access: Access): void;
  /** A line that must reach stdout letter for letter, such as FC's markers. */
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
    if (mode === 'off') return;
    held += `${text}\n`;
    if (held.length > HOLD_CHARS) flush();
    else due ??= setImmediate(flush);
  }

  const render = mode === 'pretty' ? pretty : json;
  const log = (level: string) => (message: string, fields?: Fields) => {
    if (mode !== 'off') line(render(level, message, fields ?? {}));
  };
  function access(entry: Access): void {
    if (mode === 'off') return;
    const time = new Date().toISOString();
    line(
      mode === 'pretty' ? prettyAccess(entry) : JSON.stringify({ time, level: 'info', message: 'request', ...entry }),
    );
  }
  return { info: log('info'), warn: log('warn'), error: log('error'), access, line, flush };
}

function json(level: string, message: string, fields: Fields): string {
  return JSON.stringify({ time: new Date().toISOString(), level, message, ...fields }, (_, value) =>
    value instanceof Error ? describe(value) : value,
  );
}

const COLOUR: Record<string, string> = { info: '\x1b[2m', warn: '\x1b[33m', error: '\x1b[31m' };
const PLAIN = '\x1b[0m';

function prettyAccess({ requestId, method, path, function: name, status, bytesOut, totalMs, outcome }: Access): string {
  const [dim, plain] = process.stdout.isTTY ? [COLOUR['info'], PLAIN] : ['', ''];
  const result = outcome === 'ok' ? String(status) : `${status} ${outcome}`;
  const target = name === '' ? '' : ` ${name}`;
  return `${dim}${clock()}${plain} ${method} ${path} → ${result}${target} ${bytesOut} B ${totalMs} ms ${dim}${requestId}${plain}`;
}

const clock = (): string => new Date().toTimeString().slice(0, 8);

function pretty(level: string, message: string, fields: Fields): string {
  const colour = process.stdout.isTTY ? (COLOUR[level] ?? '') : '';
  const plain = colour === '' ? '' : PLAIN;
  const details: string[] = [];
  const errors: string[] = [];
  for (const [key, value] of Object.entries(fields)) {
    if (value instanceof Error) errors.push(trace(value));
    else if (value !== undefined && value !== '') details.push(typeof value === 'string' ? value : `${key}=${value}`);
  }
  const head = `${colour}${clock()}${plain} ${level === 'info' ? '' : `${level}: `}${message}`;
  return [details.length === 0 ? head : `${head} ${details.join(' ')}`, ...errors].join('\n');
}

function describe(error: Error): Fields {
  const cause = (error as { cause?: unknown }).cause;
  return {
    ...(error instanceof GatewayError ? { code: error.code } : { stack: error.stack }),
    message: error.message,
    ...(cause === undefined ? {} : { cause: cause instanceof Error ? describe(cause) : String(cause) }),
  };
}

function trace(error: Error): string {
  const cause = (error as { cause?: unknown }).cause;
  const own = error instanceof GatewayError ? `${error.code}: ${error.message}` : (error.stack ?? error.message);
  const text = cause === undefined ? own : `${own}\n${cause instanceof Error ? trace(cause) : String(cause)}`;
  return text.replace(/^(?! {2})/gm, '  ');
}
