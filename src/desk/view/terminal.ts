import { is, type LifeEvent } from '../fc/life.ts';
import { type Line, readLine } from './line.ts';
import { answerWords, BOLD, DIM, eventWords, painter, quantile, RED, verdict, YELLOW } from './words.ts';

/** Above so many of a kind in a window, the next ones are counted instead of printed. */
const CALM = 20;
const WINDOW_MS = 1000;

/** What an instance is shown by: FC's ids are long. */
const ID_CHARS = 10;
/** Before the words of a line: its time, and the instance. */
const INDENT = ' '.repeat(9 + 2 + ID_CHARS + 2);

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

/** Lines of one turn go out together: under load each would take as long as all. */
function jsonReport({ log }: ReportOptions, write: (text: string) => void): Report {
  let pending = '';
  function flush(): void {
    if (pending !== '') write(pending);
    pending = '';
  }
  function add(value: object): void {
    if (pending === '') setImmediate(flush);
    pending += `${JSON.stringify(value)}\n`;
  }
  return {
    event(event) {
      if (log || event.event !== 'log') add(event);
    },
    note: (event, fields) => add({ event, ...fields }),
    flush,
  };
}

/** What came so often that it is only counted. */
interface Tally {
  readonly statuses: Map<string, number>;
  readonly times: number[];
  lines: number;
}

const empty = (): Tally => ({ statuses: new Map(), times: [], lines: 0 });

/**
 * One line per call, and one for each thing that happens to an instance. Under load the calls of a second that went well,
 * and lines that complain of nothing, are summed up in one. What failed, warns or is an error is printed; only where the
 * very same comes again and again, it is said how often.
 */
function textReport({ colour, log }: ReportOptions, write: (text: string) => void): Report {
  const paint = painter(colour);
  /** What calls have been asked for, until they are answered. */
  const asked = new Map<string, LifeEvent>();
  /** Calls that instances have now. */
  const inFlight = new Map<string, number>();
  /** Those that somebody has thawed: their next freeze is no ordinary one. */
  const awake = new Set<string>();
  let due: NodeJS.Timeout | undefined;
  let tally = empty();
  let seen = { calls: 0, lines: 0 };
  let busy = { calls: false, lines: false };
  /** Complaints of this window, by their words. */
  let complaints = new Map<string, number>();
  let lastAt = 0;

  function line(at: number, instance: string | undefined, words: string): void {
    const seconds = `${(at / 1000).toFixed(2)} s`.padStart(9);
    const id = (instance ?? '').slice(0, ID_CHARS).padEnd(ID_CHARS);
    write(`${paint(DIM, `${seconds}  ${id}`)}  ${words.split('\n').join(`\n${INDENT}`)}\n`);
  }

  const begin = (): void => {
    if (due === undefined) due = setTimeout(turn, WINDOW_MS).unref();
  };

  /** Counts one of a kind; true if it is one too many to be printed. */
  function isTooMany(kind: 'calls' | 'lines'): boolean {
    begin();
    seen[kind] += 1;
    return busy[kind] || seen[kind] > CALM;
  }

  /** @param words - what it says, without what differs from one to the next. */
  function complain(at: number, instance: string | undefined, words: string, text: string): void {
    begin();
    const count = (complaints.get(words) ?? 0) + 1;
    complaints.set(words, count);
    if (count <= CALM) line(at, instance, text);
  }

  /** The window is over. Where it was busy, the next one is, too, until it turns out not to be. */
  function turn(): void {
    due = undefined;
    summarize();
    busy = { calls: seen.calls > CALM, lines: seen.lines > CALM };
    seen = { calls: 0, lines: 0 };
    if (busy.calls || busy.lines) begin();
  }

  function summarize(): void {
    for (const [words, count] of complaints) {
      if (count > CALM) line(lastAt, undefined, paint(RED, `${count - CALM} more of: ${words.split('\n', 1)}`));
    }
    complaints = new Map();
    const words = summary(tally);
    tally = empty();
    if (words !== '') line(lastAt, undefined, paint(BOLD, words));
  }

  function answer(entry: LifeEvent): void {
    const { at, instance, requestId = '' } = entry;
    const request = asked.get(requestId);
    asked.delete(requestId);
    if (instance !== undefined) inFlight.set(instance, Math.max(0, (inFlight.get(instance) ?? 0) - 1));
    const told = { ...request, ...entry };
    if (verdict(told) === 'failed') {
      // neither its id nor its time makes it another one
      const same = answerWords({ ...told, totalMs: undefined, ms: undefined, requestId: '' }, (_, text) => text).trim();
      complain(at, instance, same, answerWords(told, paint));
      return;
    }
    if (!isTooMany('calls')) {
      line(at, instance, answerWords(told, paint));
      return;
    }
    const status = String(entry['status']);
    tally.statuses.set(status, (tally.statuses.get(status) ?? 0) + 1);
    const time = entry['totalMs'] ?? entry['ms'];
    if (typeof time === 'number') tally.times.push(time);
  }

  function printed(at: number, instance: string | undefined, { level, from, text }: Line): void {
    // FC's own line has said it; and where debuggers are to go, which is not where it listens
    if (from === 'request' || from === 'debugger') return;
    if (level === 'info') {
      if (isTooMany('lines')) tally.lines += 1;
      else line(at, instance, paint(DIM, `| ${text}`));
      return;
    }
    const [first = '', ...rest] = text.split('\n');
    const head = paint(level === 'error' ? RED : YELLOW, from === 'server' ? `${level}: ${first}` : `| ${first}`);
    complain(at, instance, text, [head, ...rest].join('\n'));
  }

  /** Whether a freeze or a thaw is no ordinary one, around a call. */
  function isByHand(instance: string, isThaw: boolean): boolean {
    const isIdle = (inFlight.get(instance) ?? 0) === 0;
    if (isThaw) {
      if (isIdle) awake.add(instance);
      return isIdle;
    }
    return awake.delete(instance) || !isIdle;
  }

  function event(entry: LifeEvent): void {
    const { at, instance = '', requestId = '' } = entry;
    lastAt = at;
    switch (entry.event) {
      case 'call':
      case 'head':
        return;
      case 'request':
        asked.set(requestId, entry);
        inFlight.set(instance, (inFlight.get(instance) ?? 0) + 1);
        awake.delete(instance);
        return;
      case 'answer':
        answer(entry);
        return;
      case 'frozen':
      case 'thawed':
        if (isByHand(instance, entry.event === 'thawed')) line(at, instance, eventWords(entry, paint));
        return;
      case 'pre-freeze':
        if (Number(entry['status']) < 200 || Number(entry['status']) > 299)
          line(at, instance, eventWords(entry, paint));
        return;
      case 'log':
        if (log && is(entry, 'log')) printed(at, instance, readLine(entry.stream, entry.line));
        return;
      case 'exited':
        inFlight.delete(instance);
        awake.delete(instance);
        break;
    }
    line(at, entry.instance, eventWords(entry, paint));
  }

  return {
    event,
    note(_event, _fields, text) {
      if (text !== '') write(`${text}\n`);
    },
    flush: summarize,
  };
}

/** `1234 requests, 1230 × 200, 4 × 404, p50 2 ms`; empty when there was nothing. */
function summary({ statuses, times, lines }: Tally): string {
  const counts = [...statuses].sort(([, a], [, b]) => b - a);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  times.sort((a, b) => a - b);
  return [
    ...(total > 0 ? [`${total} requests`, ...counts.map(([status, count]) => `${count} × ${status}`)] : []),
    ...(times.length > 0 ? [`p50 ${quantile(times, 0.5)}`, `p99 ${quantile(times, 0.99)}`] : []),
    ...(lines > 0 ? [`${lines} lines of log`] : []),
  ].join(', ');
}
