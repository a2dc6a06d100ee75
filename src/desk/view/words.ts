import type { LifeEvent } from '../fc/life.ts';

/** Colours a text by the codes of a terminal, or does not. */
export type Paint = (codes: string, text: string) => string;

/** Colours, or none of them. */
export const painter =
  (colour: boolean): Paint =>
  (codes, text) =>
    colour ? `\x1b[${codes}m${text}\x1b[0m` : text;

export const GREEN = '32';
export const YELLOW = '33';
export const RED = '31';
const BLUE = '34';
export const DIM = '2';
export const BOLD = '1';

/** So long a call has waited for an instance that it is told, ms. */
const NOTABLE_MS = 10;

/** `106 ms`, `1.2 s`. */
export const duration = (ms: number): string => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** The time below which a part of them is, by the nearest rank; 0 of none. @param sorted - ms, ascending. */
export const quantile = (sorted: readonly number[], part: number): string =>
  duration(sorted[Math.ceil(sorted.length * part) - 1] ?? 0);

/** What became of a call: whether that needs looking at, and by whom. */
export function verdict({ status, errorType }: Readonly<Record<string, unknown>>): 'good' | 'refused' | 'failed' {
  const code = Number(status);
  if (code >= 500 || (errorType !== undefined && code < 400)) return 'failed';
  return code >= 400 || errorType !== undefined ? 'refused' : 'good';
}

/** `POST /echo → 200 in 106 ms (74 start, 32 run)`. The time is what the caller has waited. */
export function answerWords(answer: Readonly<Record<string, unknown>>, paint: Paint): string {
  const { kind, method, path, status, errorType, ended, requestId } = answer;
  const what =
    kind === 'event'
      ? `invoke ${answer['bytes']} bytes`
      : `${kind === 'websocket' ? 'WebSocket' : (method ?? '')} ${path ?? ''}`.trim() || 'request';
  const outcome = verdict(answer);
  const result = Number(status) === 499 ? 'client gone' : [status, errorType].filter(Boolean).join(' ');
  const why = reason(answer);
  const words = [
    what,
    '→',
    paint(outcome === 'good' ? GREEN : outcome === 'refused' ? YELLOW : RED, result),
    ...time(answer),
    ...(ended === undefined ? [] : [`ended by ${ended}`]),
  ];
  const line = why === undefined ? words.join(' ') : `${words.join(' ')}: ${why}`;
  // what went well is looked for by nobody
  return outcome === 'good' ? line : `${line}  ${paint(DIM, String(requestId))}`;
}

function time({ totalMs, queuedMs, ms, isCold }: Readonly<Record<string, unknown>>): string[] {
  const total = totalMs ?? ms;
  if (typeof total !== 'number') return [];
  const waited = Number(queuedMs ?? 0);
  if (typeof ms !== 'number' || waited < NOTABLE_MS) return [`in ${duration(total)}`];
  return [
    `in ${duration(total)} (${Math.round(waited)} ${isCold === true ? 'start' : 'queued'}, ${Math.round(ms)} run)`,
  ];
}

/** Why a call failed: in FC's words, or else what has happened to the connection. */
function reason({ message, cause }: Readonly<Record<string, unknown>>): string | undefined {
  const text = message ?? cause;
  if (text === undefined) return undefined;
  const line = String(text).split('\n', 1)[0] ?? '';
  const [, seconds] = /^Function time out after (\d+) seconds/.exec(line) ?? [];
  return seconds === undefined ? line.replace(/^Error: /, '') : `timed out after ${seconds} s`;
}

/** What keeps a server from being called, and what to do. */
export function waitingWords(port: number, ms: number, found: readonly string[]): string {
  if (found.length === 0) return `nothing accepts on 0.0.0.0:${port} after ${duration(ms)}`;
  const elsewhere = `it listens on ${found.join(' and ')}, not on 0.0.0.0:${port}`;
  const other = found.find(address => !address.endsWith(`:${port}`));
  return other === undefined
    ? `${elsewhere}: listen on all addresses`
    : `${elsewhere}: listen at the port in FC_CUSTOM_LISTEN_PORT, or say --port ${other.replace(/^.*:/, '')}`;
}

/** What a person reads of an event. */
export function eventWords(event: LifeEvent, paint: Paint): string {
  const { ms, status, port } = event;
  const after = duration(Number(ms));
  const hook = `in ${after}: ${Number(status) === 0 ? 'no answer' : status}`;
  switch (event.event) {
    case 'starting':
      return `starting ${String(event['command']).replace(process.execPath, 'node')}`;
    case 'accepting':
      return `accepting on ${port} after ${after}`;
    case 'waiting':
      return paint(YELLOW, waitingWords(Number(port), Number(ms), event['found'] as readonly string[]));
    case 'initialized':
      return paint(GREEN, `initialized ${hook}`);
    case 'initialize failed':
      return paint(RED, `initialize failed ${hook}`);
    case 'ready':
      return `ready after ${after}`;
    case 'frozen':
      return paint(BLUE, 'frozen');
    case 'thawed':
      return `thawed after ${after}`;
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
    case 'session':
      return `session ${event['session']}… begins, of ${event['sessions']} here`;
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
