import { HARMLESS, header, isReserved } from '../../fc/headers.ts';
import { is, type LifeEvent } from '../../fc/life.ts';
import { REPEATABLE } from '../../fc/limits.ts';
import type { FunctionSettings } from '../../fc/settings.ts';
import type { Line } from '../line.ts';
import { waitingWords } from '../words.ts';
import type { Finding } from './api.ts';
import type { Kept } from './calls.ts';

/** Different ones that are kept. */
const MOST_FINDINGS = 200;
/** Calls that each is remembered of. */
const MOST_CALLS = 1000;
/** A line that comes so much later than its call's answer was not on its way already, ms. */
const LATE_MS = 20;

/** Connections that were there, and are not any more. */
const BROKEN = /ECONNRESET|EPIPE|socket hang up/;

/** What the local agent says of a function that goes on. @see src/local/worker.ts */
const LEFT = /^left (\d+ timers?) behind its answer/;

/** A kind of breach: what FC's contract says, and what to do. */
type Kind = Pick<Finding, 'severity' | 'title' | 'contract' | 'mend'>;

const KINDS = {
  reserved: {
    severity: 'warning',
    title: 'A response header is lost',
    contract:
      'Reserved in responses of a function: x-fc-*, connection, content-length, date, keep-alive, server, upgrade, content-disposition: attachment. FC drops or overwrites them.',
    mend: 'Send it under another name, or not at all.',
  },
  redirect: {
    severity: 'warning',
    title: 'A redirect that the default domain refuses',
    contract: 'On the default domain fcapp.run any 3xx of a function becomes 400 ExternalRedirectForbidden.',
    mend: 'Bind a custom domain, or answer 200 and let the page go there itself.',
  },
  headers: {
    severity: 'error',
    title: 'Response headers are too large',
    contract: 'Response headers: 8 KB of names and values together, else 502 BadResponse.',
    mend: 'Send less in headers; what is long belongs in the body.',
  },
  requestSize: {
    severity: 'error',
    title: 'A request was too large',
    contract: 'Request headers 8 KB, path with query 4 KB, body 32 MB, of an asynchronous call 128 KB; above it 400.',
    mend: 'Send large things through OSS, and their names in the request.',
  },
  timeout: {
    severity: 'error',
    title: 'The function was not done in time',
    contract:
      'FC gives up on a call after the timeout of the function, and answers "Function time out after N seconds".',
    mend: 'Set a longer timeout, make the work shorter, or call it asynchronously.',
  },
  crash: {
    severity: 'error',
    title: 'The process ended by itself',
    contract:
      'A crash ends every call in flight with "Process exited unexpectedly before completing request"; FC destroys the instance and starts another.',
    mend: 'Look at the last lines of the instance; catch what is thrown outside of a call.',
  },
  start: {
    severity: 'error',
    title: 'The instance does not start',
    contract: 'The server has to accept on 0.0.0.0 and its port within 120 s, else FunctionNotStarted or CAExited.',
    mend: 'Listen on all addresses at the port in FC_CUSTOM_LISTEN_PORT.',
  },
  elsewhere: {
    severity: 'error',
    title: 'The server listens elsewhere',
    contract: 'The server has to accept on 0.0.0.0 and its port within 120 s, else FunctionNotStarted.',
    mend: 'Listen on all addresses at the port in FC_CUSTOM_LISTEN_PORT.',
  },
  initializer: {
    severity: 'error',
    title: 'The initializer fails',
    contract: 'An initializer that answers other than 2xx, or too late, fails the call: 200 with InitializationError.',
    mend: 'Answer POST /initialize with 200 in time, or configure no initializer.',
  },
  hook: {
    severity: 'warning',
    title: 'A hook fails',
    contract: 'A pre-freeze or pre-stop that fails does not keep FC from freezing or stopping the instance.',
    mend: 'Answer the hook with 200 within its timeout, or do not configure it.',
  },
  health: {
    severity: 'error',
    title: 'The health check fails',
    contract: 'An instance that fails its check again and again gets no calls; they go to others, or to a new one.',
    mend: 'Answer the path of the check with 200 to 399 within its timeout.',
  },
  closes: {
    severity: 'error',
    title: 'The server closes connections that FC keeps',
    contract:
      'FC keeps its connections to the server. One that the server has closed while it was frozen breaks the next call: GET, HEAD, OPTIONS and TRACE are made again, others fail with 502.',
    mend: 'Switch the idle timeout of the server off; Node.js: server.keepAliveTimeout = 0.',
  },
  close: {
    severity: 'warning',
    title: 'A connection for each call',
    contract: 'FC speaks HTTP/1.1 with persistent connections.',
    mend: 'Do not send Connection: close; each call pays for a new connection.',
  },
  after: {
    severity: 'warning',
    title: 'Work after the answer',
    contract:
      'Between calls the instance is frozen: timers and threads stand still, and what they had to do may be lost.',
    mend: 'Finish the work before the answer ends, or call another function asynchronously.',
  },
  memory: {
    severity: 'error',
    title: 'More memory than the function has',
    contract: 'The kernel kills a container that needs more memory than is configured: exit 137, CAExited.',
    mend: 'Configure more memory, or hold less; here it is not enforced.',
  },
} as const satisfies Record<string, Kind>;

/** What of FC's contract has been broken in a run. */
export interface Findings {
  /**
   * @param kept - the call that it is about, as it is after the event.
   * @param line - of a `log` event, as read.
   */
  on(event: LifeEvent, kept: Kept | undefined, line: Line | undefined): void;
  all(): Finding[];
  /** In that call. */
  of(call: string): Finding[];
  take(): Finding[];
  readonly hasChanged: boolean;
}

interface Entry {
  finding: Finding;
  readonly calls: Set<string>;
}

type Judged = Pick<FunctionSettings, 'flavour' | 'memory' | 'timeout' | 'domain' | 'initializer' | 'healthCheck'>;

/** Looks for what FC will not like, or what is lost there. */
export function createFindings(settings: Judged): Findings {
  const entries = new Map<string, Entry>();
  const changed = new Set<Entry>();
  /** Whose broken connections are no riddle. */
  const exited = new Set<string>();

  /** @param place - what the same kind may be found at again. */
  function see(kind: keyof typeof KINDS, place: string, detail: string, at: number, call: string | undefined): void {
    const id = `${kind} ${place}`;
    const known = entries.get(id);
    if (known === undefined && entries.size >= MOST_FINDINGS) return;
    const entry: Entry = known ?? {
      finding: { ...KINDS[kind], id, detail, count: 0, call: undefined, at },
      calls: new Set(),
    };
    const { finding, calls } = entry;
    entry.finding = { ...finding, detail, at, count: finding.count + 1, call: call ?? finding.call };
    if (call !== undefined && calls.size < MOST_CALLS) calls.add(call);
    entries.set(id, entry);
    changed.add(entry);
  }

  function onAnswer(event: LifeEvent, kept: Kept): void {
    if (!is(event, 'answer')) return;
    const { at, errorType, cause, memory = 0, ms = 0, message = '' } = event;
    const { row, record } = kept;
    const { id } = row;
    const place = placeOf(kept);
    if (memory > settings.memory) {
      see('memory', '', `${Math.ceil(memory)} MB, of ${settings.memory} MB configured`, at, id);
    }
    if (errorType !== undefined && ms >= settings.timeout * 1000) {
      see('timeout', place, `${place}: no end within ${settings.timeout} s`, at, id);
    } else if (!exited.has(event.instance ?? '') && record?.response === undefined && BROKEN.test(cause ?? '')) {
      see('closes', place, `${place}: ${cause?.replace(/^Error: /, '')}`, at, id);
    }
    if (errorType === 'InvalidArgument' || errorType === 'EntityTooLarge') {
      if (/expected at most/.test(message)) see('requestSize', message, `${place}: ${message}`, at, id);
    } else if (errorType === 'BadResponse') see('headers', place, `${place}: ${message || 'above 8 KB'}`, at, id);
    onResponse(kept, place, at);
  }

  /** A response that has come, whatever became of it. */
  function onResponse({ row, record }: Kept, place: string, at: number): void {
    const { response } = record ?? {};
    if (response === undefined) return;
    const { headers, status } = response;
    if (header(headers, 'connection')?.toLowerCase() === 'close' && row.kind !== 'websocket') {
      see('close', place, `${place}: Connection: close`, at, row.id);
    }
    // what an event is answered with besides its body is lost without anybody missing it
    if (row.kind !== 'http') return;
    for (const pair of headers) {
      const [name] = pair;
      if (!isReserved(settings, pair) || HARMLESS.has(name.toLowerCase())) continue;
      see('reserved', `${name.toLowerCase()} ${place}`, `${place}: ${name}`, at, row.id);
    }
    if (status >= 300 && status < 400 && status !== 304) {
      const to = header(headers, 'location');
      see('redirect', place, `${place}: ${status}${to === undefined ? '' : ` to ${to.split('?', 1)[0]}`}`, at, row.id);
    }
  }

  function onInstance(event: LifeEvent): void {
    const { at, instance = '' } = event;
    if (event.event === 'exited') exited.add(instance);
    if (is(event, 'exited') && !event.expected) {
      const how = event.code === undefined ? `by ${event.signal}` : `with code ${event.code}`;
      see('crash', how, `${instance} exited ${how}`, at, undefined);
    } else if (is(event, 'waiting') && event.found.length > 0) {
      see('elsewhere', '', waitingWords(event.port, event.ms, event.found), at, undefined);
    } else if (is(event, 'initialize failed')) {
      const how = event.status === 0 ? `no answer in ${Math.round(event.ms)} ms` : `status ${event.status}`;
      see('initializer', how, `POST /initialize: ${how}`, at, undefined);
    } else if (is(event, 'pre-freeze') || is(event, 'pre-stop')) {
      const { status, ms, event: name } = event;
      const how = status === 0 ? `no answer in ${Math.round(ms)} ms` : `status ${status}`;
      if (status < 200 || status > 299) see('hook', name, `GET /${name}: ${how}`, at, undefined);
    } else if (event.event === 'unhealthy') {
      see('health', '', `${instance}: ${settings.healthCheck?.httpGetUrl}`, at, undefined);
    } else if (is(event, 'stopping') && event.reason === 'start failed') {
      see('start', '', `${instance}: see its lines`, at, undefined);
    }
  }

  return {
    on(event, kept, line) {
      const { at } = event;
      if (line === undefined) {
        onInstance(event);
        if (kept === undefined) return;
        if (is(event, 'retry') && event.method !== undefined && REPEATABLE.includes(event.method)) {
          const place = placeOf(kept);
          see('closes', place, `${place}: made again on another connection`, at, kept.row.id);
        }
        onAnswer(event, kept);
        return;
      }
      // the server's own lines come when they come
      if (kept === undefined || (line.from !== 'function' && line.from !== 'other')) return;
      const { row } = kept;
      const [, timers] = LEFT.exec(line.text) ?? [];
      if (timers !== undefined) {
        const place = placeOf(kept);
        see('after', place, `${place}: left ${timers} behind`, at, row.id);
        return;
      }
      if (!row.isDone || at - row.at - (row.totalMs ?? 0) < LATE_MS) return;
      const place = placeOf(kept);
      see('after', place, `${place}: printed "${line.text.slice(0, 60)}" after its answer`, at, row.id);
    },
    all: () => [...entries.values()].map(({ finding }) => finding),
    of: call => [...entries.values()].filter(({ calls }) => calls.has(call)).map(({ finding }) => finding),
    get hasChanged() {
      return changed.size > 0;
    },
    take() {
      const findings = [...changed].map(({ finding }) => finding);
      changed.clear();
      return findings;
    },
  };
}

/** Where it was, for who reads: not one for each id in a path's query. */
const placeOf = ({ row: { kind, method, path, function: name } }: Kept): string =>
  kind === 'event' ? `event${name ? ` to ${name}` : ''}` : `${method} ${path?.split('?', 1)[0]}`;
