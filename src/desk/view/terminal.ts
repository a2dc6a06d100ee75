import type { LifeEvent } from '../fc/life.ts';

/** Above so many of a kind in a window, the next ones are counted instead of printed. */
const CALM = 20;
const WINDOW_MS = 1000;

/** What an instance is shown by: FC's ids are long. */
const ID_CHARS = 10;

/** Prints what happens. */
export interface Report {
  event(event: LifeEvent): void;
  /** Something of the command's own: an event for a machine, its text for a person. */
  note(event: string, fields: Readonly<Record<string, unknown>>, text: string): void;
  /** Prints what is held. */
  flush(): void;
}

/** How to print. */
export interface ReportOptions {
  /** One JSON object per event and line, all of them. */
  readonly json: boolean;
  readonly colour: boolean;
  /** Whether the containers' own lines are printed. */
  readonly log: boolean;
}

/** Makes a report. `write` takes whole lines. */
export function createReport(options: ReportOptions, write: (text: string) => void): Report {
  return options.json ? jsonReport(options, write) : textReport(options, write);
}

function jsonReport({ log }: ReportOptions, write: (text: string) => void): Report {
  return {
    event(event) {
      if (log || event.event !== 'log') write(`${JSON.stringify(event)}\n`);
    },
    note: (event, fields) => write(`${JSON.stringify({ event, ...fields })}\n`),
    flush() {},
  };
}

/** What came so often that it is only counted. */
interface Tally {
  statuses: Map<string, number>;
  times: number[];
  freezes: number;
  lines: number;
}

const empty = (): Tally => ({ statuses: new Map(), times: [], freezes: 0, lines: 0 });

/**
 * One line per event. Under load the calls of a second, their freezes and thaws, and their lines of the log are
 * summed up in one.
 */
function textReport({ colour, log }: ReportOptions, write: (text: string) => void): Report {
  const paint = (codes: string, text: string): string => (colour ? `\x1b[${codes}m${text}\x1b[0m` : text);
  /** What calls have been asked for, until they are answered. */
  const asked = new Map<string, LifeEvent>();
  let due: NodeJS.Timeout | undefined;
  let tally = empty();
  let seen = { calls: 0, lines: 0 };
  let busy = { calls: false, lines: false };
  let lastAt = 0;

  function line(at: number, instance: string | undefined, words: string): void {
    const seconds = `${(at / 1000).toFixed(2)} s`.padStart(9);
    const id = (instance ?? '').slice(0, ID_CHARS).padEnd(ID_CHARS);
    write(`${paint('2', `${seconds}  ${id}`)}  ${words}\n`);
  }

  /** Counts one of a kind; true if it is one too many to be printed. */
  function isTooMany(kind: 'calls' | 'lines'): boolean {
    if (due === undefined) due = setTimeout(turn, WINDOW_MS).unref();
    seen[kind] += 1;
    return busy[kind] || seen[kind] > CALM;
  }

  /** The window is over. Where it was busy, the next one is, too, until it turns out not to be. */
  function turn(): void {
    due = undefined;
    summarize();
    busy = { calls: seen.calls > CALM, lines: seen.lines > CALM };
    seen = { calls: 0, lines: 0 };
    if (busy.calls || busy.lines) due = setTimeout(turn, WINDOW_MS).unref();
  }

  function summarize(): void {
    const words = summary(tally);
    tally = empty();
    if (words !== '') line(lastAt, undefined, paint('1', words));
  }

  function event(entry: LifeEvent): void {
    const { at, instance, requestId = '' } = entry;
    lastAt = at;
    switch (entry.event) {
      case 'call':
      case 'head':
        return;
      case 'request':
        asked.set(requestId, entry);
        return;
      case 'answer': {
        const request = asked.get(requestId);
        asked.delete(requestId);
        if (!isTooMany('calls')) {
          line(at, instance, answerWords({ ...request, ...entry }, paint));
          return;
        }
        const status = String(entry['status']);
        tally.statuses.set(status, (tally.statuses.get(status) ?? 0) + 1);
        if (typeof entry['ms'] === 'number') tally.times.push(entry['ms']);
        return;
      }
      case 'frozen':
      case 'thawed':
      case 'pre-freeze':
        if (!busy.calls && seen.calls <= CALM) line(at, instance, words(entry, paint));
        else if (entry.event === 'frozen') tally.freezes += 1;
        return;
      case 'log': {
        const text = log ? logWords(String(entry['line'])) : undefined;
        if (text === undefined) return;
        if (isTooMany('lines')) tally.lines += 1;
        else line(at, instance, paint('2', text));
        return;
      }
      default:
        line(at, instance, words(entry, paint));
    }
  }

  return {
    event,
    note(_event, _fields, text) {
      if (text !== '') write(`${text}\n`);
    },
    flush: summarize,
  };
}

/** `1234 requests, 1230 × 200, 4 × 504, p50 2 ms`; empty when there was nothing. */
function summary({ statuses, times, freezes, lines }: Tally): string {
  const counts = [...statuses].sort(([, a], [, b]) => b - a);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  times.sort((a, b) => a - b);
  const percentile = (part: number): string => duration(times[Math.floor((times.length - 1) * part)] ?? 0);
  return [
    ...(total > 0 ? [`${total} requests`, ...counts.map(([status, count]) => `${count} × ${status}`)] : []),
    ...(times.length > 0 ? [`p50 ${percentile(0.5)}`, `p99 ${percentile(0.99)}`] : []),
    ...(freezes > 0 ? [`frozen ${freezes} times`] : []),
    ...(lines > 0 ? [`${lines} lines of log`] : []),
  ].join(', ');
}

type Paint = (codes: string, text: string) => string;

const GREEN = '32';
const YELLOW = '33';
const RED = '31';
const BLUE = '34';
const DIM = '2';

/** `POST /echo → 200 in 3 ms  1-6b04…` */
function answerWords(answer: Readonly<Record<string, unknown>>, paint: Paint): string {
  const { kind, method, path, status, ms, errorType, message, cause, ended, requestId } = answer;
  const what =
    kind === 'event'
      ? `invoke ${answer['bytes']} bytes`
      : `${kind === 'websocket' ? 'WebSocket' : (method ?? '')} ${path ?? ''}`.trim() || 'request';
  const code = Number(status);
  const good = code < 400 && errorType === undefined;
  const result = code === 499 ? 'client gone' : [status, errorType].filter(Boolean).join(' ');
  const details = [
    ...(typeof ms === 'number' ? [`in ${duration(ms)}`] : []),
    ...(ended === undefined ? [] : [`ended by ${ended}`]),
    ...(message === undefined && cause === undefined ? [] : [`(${String(message ?? cause).split('\n')[0]})`]),
  ];
  const painted = paint(good ? GREEN : code < 500 && errorType === undefined ? YELLOW : RED, result);
  return [`${what} →`, painted, ...details, '', paint(DIM, String(requestId))].join(' ');
}

/** What a person reads of an event. */
function words(event: LifeEvent, paint: Paint): string {
  const { ms, status, port } = event;
  const time = duration(Number(ms));
  const hook = `in ${time}: ${Number(status) === 0 ? 'no answer' : status}`;
  switch (event.event) {
    case 'starting':
      return `starting ${String(event['command']).replace(process.execPath, 'node')}`;
    case 'accepting':
      return `accepting on ${port} after ${time}`;
    case 'initialized':
      return paint(GREEN, `initialized ${hook}`);
    case 'initialize failed':
      return paint(RED, `initialize failed ${hook}`);
    case 'ready':
      return `ready after ${time}`;
    case 'frozen':
      return paint(BLUE, 'frozen');
    case 'thawed':
      return `thawed after ${time}`;
    case 'pre-freeze':
    case 'pre-stop':
      return `${event.event} ${hook}`;
    case 'scaled':
      return `scaled to ${event['instances']} instance${event['instances'] === 1 ? '' : 's'}`;
    case 'stopping':
      return `stopping: ${event['reason']}`;
    case 'exited': {
      const how = event['code'] === undefined ? `by ${event['signal']}` : `with code ${event['code']}`;
      return event['expected'] ? `exited ${how}` : paint(RED, `exited ${how} (unexpected)`);
    }
    case 'healthy':
      return paint(GREEN, 'healthy again');
    case 'unhealthy':
      return paint(RED, 'unhealthy');
    case 'retry':
      return event['count'] === undefined
        ? `${event['method']} is made again on another connection  ${paint(DIM, String(event.requestId))}`
        : `asynchronous call, retry ${event['count']}  ${paint(DIM, String(event.requestId))}`;
    case 'expired':
      return paint(RED, `asynchronous call is too old for retry ${event['count']}`);
    default:
      return event.event;
  }
}

/**
 * A container's line. A JSON log, as noslate-fc writes, is shown as its message and fields; its lines of requests
 * that went well say nothing that FC's own have not.
 */
function logWords(line: string): string | undefined {
  const entry = jsonObject(line);
  if (typeof entry?.['message'] !== 'string') return `| ${line}`;
  const { time: _time, level, message, ...fields } = entry;
  if (message === 'request' && fields['outcome'] === 'ok') return undefined;
  const rest = Object.entries(fields).map(([name, value]) => `${name}=${plain(value)}`);
  return ['|', ...(level === 'info' || level === undefined ? [] : [`${level}:`]), message, ...rest].join(' ');
}

function jsonObject(line: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = line.startsWith('{') ? JSON.parse(line) : undefined;
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

const plain = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));

function duration(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
