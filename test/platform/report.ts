import type { LifeEvent } from './life.ts';

/** How events are shown. */
export interface Report {
  readonly show: (event: LifeEvent) => void;
  /** Shows what is held back. */
  flush(): void;
}

/** Lines of one second; what is more becomes one line at its end. */
const MAX_LINES = 30;

/** One JSON line for each event. */
export function jsonReport(write: (line: string) => void): Report {
  return { show: event => write(`${JSON.stringify(event)}\n`), flush() {} };
}

/** Lines for a person. With many calls a second they become one line, with counts. */
export function textReport(write: (line: string) => void, color: boolean): Report {
  const paint = painter(color);
  let second = -1;
  let lines = 0;
  let held: LifeEvent[] = [];
  let timer: NodeJS.Timeout | undefined;

  const flush = (): void => {
    clearTimeout(timer);
    timer = undefined;
    if (held.length > 0) write(`${summary(held)}\n`);
    held = [];
  };
  return {
    flush,
    show(event) {
      const text = describe(event, paint);
      if (text === undefined) return;
      const now = Math.floor(event.at / 1000);
      if (now !== second) {
        flush();
        second = now;
        lines = 0;
      }
      // what happens with every call can be many; the rest is told each time
      const often = event.event === 'answer' || event.event === 'frozen' || event.event === 'thawed';
      if (often && lines >= MAX_LINES) {
        held.push(event);
        timer ??= setTimeout(flush, 1000 - (event.at % 1000));
        return;
      }
      if (event.event !== 'log') lines += 1;
      write(`${line(event, text)}\n`);
    },
  };
}

type Color = 'dim' | 'red' | 'green' | 'yellow' | 'cyan';
type Paint = (color: Color, text: string) => string;

const CODES: Readonly<Record<Color, number>> = { dim: 2, red: 31, green: 32, yellow: 33, cyan: 36 };

const painter =
  (color: boolean): Paint =>
  (name, text) =>
    color ? `\u001b[${CODES[name]}m${text}\u001b[0m` : text;

/** When, to which instance, what. */
function line({ at, instance = '' }: LifeEvent, text: string): string {
  return `${(at / 1000).toFixed(3).padStart(9)} s  ${instance.slice(0, 10).padEnd(10)}  ${text}`;
}

/** An event in words; undefined for what a person need not see. */
function describe(event: LifeEvent, paint: Paint): string | undefined {
  switch (event.event) {
    case 'listening':
      return undefined;
    case 'starting':
      return `starting ${event['command']}`;
    case 'accepting':
      return paint('green', `accepting on port ${event['port']} after ${event['ms']} ms`);
    case 'initialized':
      return paint('green', `initialized in ${event['ms']} ms: ${event['status']}`);
    case 'initialize failed':
      return paint('red', `initialize failed after ${event['ms']} ms: ${event['status'] || 'no answer'}`);
    case 'ready':
    case 'request':
      return undefined;
    case 'answer':
      return answer(event, paint);
    case 'retry':
      return paint('yellow', `retry  ${event.requestId}`);
    case 'pre-freeze':
    case 'pre-stop':
      return `${event.event} in ${event['ms']} ms: ${event['status'] || 'no answer'}`;
    case 'frozen':
      return paint('cyan', 'frozen');
    case 'thawed':
      return paint('cyan', `thawed after ${duration(Number(event['ms']))}`);
    case 'healthy':
      return paint('green', 'healthy');
    case 'unhealthy':
      return paint('red', 'unhealthy');
    case 'scaled':
      return `scaled to ${event['instances']} instance${event['instances'] === 1 ? '' : 's'}`;
    case 'stopping':
      return `stopping: ${event['reason']}`;
    case 'exited': {
      const how = event['signal'] === undefined ? `code ${event['code']}` : String(event['signal']);
      return event['expected'] === true ? `exited with ${how}` : paint('red', `exited with ${how}, unexpectedly`);
    }
    case 'log':
      return containerLine(String(event['line']), paint);
  }
}

/** What our server logs as JSON, and any other as it likes. */
interface ServerLine {
  readonly level?: string;
  readonly message?: string;
  readonly function?: string;
  readonly stream?: string;
  readonly error?: LoggedError;
}

interface LoggedError {
  readonly code?: string;
  readonly message?: string;
  readonly stack?: string;
  readonly cause?: LoggedError;
}

/** A line that the container printed; undefined for what the platform shows itself. */
function containerLine(text: string, paint: Paint): string | undefined {
  const line = parse(text);
  if (line?.message === undefined) return paint('dim', text);
  const { level, message, function: name, stream, error } = line;
  if (stream !== undefined) return `${paint('dim', `${name} |`)} ${message}`;
  if (level === 'info') return undefined;
  const details = error === undefined ? '' : `: ${rootOf(error)}`;
  return paint(level === 'error' ? 'red' : 'yellow', `${level}: ${message}${details}`);
}

function parse(text: string): ServerLine | undefined {
  if (!text.startsWith('{')) return undefined;
  try {
    return JSON.parse(text) as ServerLine;
  } catch {
    return undefined;
  }
}

/** What it all began with: of its stack, what is the function's. */
function rootOf(error: LoggedError): string {
  if (error.cause !== undefined) return rootOf(error.cause);
  const [first = error.message ?? '', ...frames] = (error.stack ?? '').split('\n').filter(Boolean);
  const own = frames.filter(frame => !/server\.js|node:internal/.test(frame)).slice(0, 3);
  return [first, ...own].join('\n'.padEnd(26));
}

function answer(event: LifeEvent, paint: Paint): string {
  const status = Number(event['status']);
  const what = event['method'] === undefined ? 'event' : `${event['method']} ${event['path']}`;
  const took = event['ms'] === undefined ? '' : ` in ${duration(Number(event['ms']))}`;
  const error = event['errorType'] === undefined ? '' : `, ${event['errorType']}`;
  const text = `${what} → ${status === 499 ? '499, client gone' : status}${error}${took}`;
  const bad = status >= 500 || error !== '';
  return `${bad ? paint('red', text) : status >= 400 ? paint('yellow', text) : text}  ${paint('dim', String(event.requestId))}`;
}

/** Many events of one second in one line. */
function summary(events: readonly LifeEvent[]): string {
  const answers = events.filter(({ event }) => event === 'answer');
  const statuses = new Map<unknown, number>();
  for (const { status } of answers) statuses.set(status, (statuses.get(status) ?? 0) + 1);
  const times = answers.map(({ ms }) => Number(ms ?? 0)).sort((a, b) => a - b);
  const frozen = events.filter(({ event }) => event === 'frozen').length;
  const parts = [
    `${answers.length} more answers`,
    ...[...statuses].map(([status, count]) => `${count} × ${status}`),
    `median ${times[Math.floor(times.length / 2)] ?? 0} ms, longest ${times[times.length - 1] ?? 0} ms`,
    ...(frozen > 0 ? [`frozen ${frozen} times`] : []),
  ];
  return line({ at: events[events.length - 1]?.at ?? 0, event: 'answer' }, parts.join(', '));
}

const duration = (ms: number): string => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);
