import { randomBytes } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { header } from '../fc/headers.ts';
import { is, type LifeEvent } from '../fc/life.ts';
import type { FunctionSettings } from '../fc/settings.ts';
import { createCalls, hasFailed, type Kept } from './console/calls.ts';
import { partsOf } from './console/parts.ts';
import { readLine } from './line.ts';

/** What a container prints of a call may come after its end; calls are sent together, too. */
const DELAY_MS = 1000;
/** Calls in one request. */
const MOST_CALLS = 500;
/** A collector that does not answer by then is not there. */
const PATIENCE_MS = 5000;

/** Where traces go. @see OpenTelemetry, Environment Variable Specification */
export interface Target {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Of the resource, besides ours. */
  readonly attributes: Readonly<Record<string, string>>;
}

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Reads where traces go; undefined if nowhere.
 *
 * @throws {Error} naming the variable and what was expected.
 */
export function readTarget(env: Environment): Target | undefined {
  if (/^true$/i.test(env['OTEL_SDK_DISABLED'] ?? '') || env['OTEL_TRACES_EXPORTER'] === 'none') return undefined;
  const own = 'OTEL_EXPORTER_OTLP_TRACES_ENDPOINT';
  const common = 'OTEL_EXPORTER_OTLP_ENDPOINT';
  const name = env[own] ? own : common;
  const given = env[name];
  if (!given) return undefined;
  const protocol = env['OTEL_EXPORTER_OTLP_TRACES_PROTOCOL'] ?? env['OTEL_EXPORTER_OTLP_PROTOCOL'] ?? 'http/json';
  if (!protocol.startsWith('http/')) {
    throw new Error(`OTEL_EXPORTER_OTLP_PROTOCOL: expected http/json, got ${JSON.stringify(protocol)}`);
  }
  let url: URL;
  try {
    url = new URL(name === own ? given : `${given.replace(/\/$/, '')}/v1/traces`);
  } catch {
    throw new Error(`${name}: expected a URL, got ${JSON.stringify(given)}`);
  }
  if (!/^https?:$/.test(url.protocol)) throw new Error(`${name}: expected http or https, got ${url.protocol}`);
  const headers = env['OTEL_EXPORTER_OTLP_TRACES_HEADERS'] ?? env['OTEL_EXPORTER_OTLP_HEADERS'];
  const service = env['OTEL_SERVICE_NAME'];
  const attributes = { ...pairsOf(env['OTEL_RESOURCE_ATTRIBUTES']), ...(service && { 'service.name': service }) };
  return { url, headers: pairsOf(headers), attributes };
}

/** `a=1,b=2`, percent-encoded. */
function pairsOf(text: string | undefined): Record<string, string> {
  const pairs: [string, string][] = [];
  for (const item of (text ?? '').split(',')) {
    const [, name, value] = /^\s*([^=\s]+)\s*=\s*(.*?)\s*$/.exec(item) ?? [];
    if (name !== undefined && value !== undefined) pairs.push([name, decoded(value)]);
  }
  return Object.fromEntries(pairs);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Sends calls as traces. */
export interface Traces {
  event(event: LifeEvent): void;
  /** Sends the rest. Resolves when that has arrived, or could not. */
  flush(): Promise<void>;
}

/**
 * Makes a trace of each call: a span for it, and below that one for each part of its time.
 *
 * @param now - of the platform's clock, ms.
 * @param complain - is told once what keeps traces from arriving, until some have arrived again.
 * @see OpenTelemetry semantic conventions: HTTP server spans, FaaS
 */
export function createTraces(
  target: Target,
  settings: FunctionSettings,
  now: () => number,
  complain: (problem: string) => void,
): Traces {
  const calls = createCalls(settings);
  const zero = Date.now() - now();
  const resource = { attributes: attributesOf({ ...resourceOf(settings), ...target.attributes }) };
  let ended = new Set<string>();
  let timer: NodeJS.Timeout | undefined;
  let sending = Promise.resolve();
  let isComplaining = false;

  async function deliver(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const kept = [...ended].flatMap(id => calls.find(id) ?? []);
    ended = new Set();
    if (kept.length === 0) return;
    const spans = kept.flatMap(call => spansOf(call, zero, now()));
    const body = JSON.stringify({
      resourceSpans: [{ resource, scopeSpans: [{ scope: { name: 'noslate-fc' }, spans }] }],
    });
    const problem = await post(target, body);
    if (problem !== undefined && !isComplaining) complain(`traces do not get to ${target.url.origin}: ${problem}`);
    isComplaining = problem !== undefined;
  }

  function send(): Promise<void> {
    sending = sending.then(deliver);
    return sending;
  }

  return {
    event(event) {
      calls.on(event, is(event, 'log') ? readLine(event.stream, event.line) : undefined);
      if (event.event === 'retry' && event.requestId !== undefined) ended.delete(event.requestId);
      if (event.event !== 'answer' || event.requestId === undefined) return;
      ended.add(event.requestId);
      // once: while a collector is slow, more of them wait for the next
      if (ended.size === MOST_CALLS) send();
      else timer ??= setTimeout(send, DELAY_MS).unref();
    },
    flush: send,
  };
}

/** Resolves with what went wrong; undefined: nothing. */
function post({ url, headers }: Target, body: string): Promise<string | undefined> {
  const request = url.protocol === 'https:' ? httpsRequest : httpRequest;
  return new Promise(resolve => {
    const req = request(url, {
      method: 'POST',
      headers: { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) },
      timeout: PATIENCE_MS,
    });
    req.on('response', res => {
      const { statusCode: status = 0 } = res;
      res.resume();
      resolve(status >= 200 && status < 300 ? undefined : `status ${status}`);
    });
    req.on('timeout', () => req.destroy(new Error(`no answer within ${PATIENCE_MS / 1000} s`)));
    req.on('error', error => resolve(error.message));
    // nobody waits for a collector before a process may end
    req.on('socket', socket => socket.unref());
    req.end(body);
  });
}

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

const resourceOf = ({ name, memory, region, accountId }: FunctionSettings): Attributes => ({
  'service.name': name,
  'cloud.provider': 'alibaba_cloud',
  'cloud.platform': 'alibaba_cloud_fc',
  'cloud.region': region,
  'cloud.account.id': accountId,
  'deployment.environment.name': 'noslate-fc dev',
  'faas.name': name,
  'faas.max_memory': memory * 1024 * 1024,
});

/** A call's own span and those of its parts, as OTLP's JSON has them. */
function spansOf(call: Kept, zero: number, moment: number): object[] {
  const { row, record } = call;
  const { id, kind, method, path, function: target, status, errorType, message, at } = row;
  const [, given, parent] =
    /^00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}$/.exec(header(record?.sent.headers ?? [], 'traceparent') ?? '') ??
    [];
  const traceId = given ?? randomBytes(16).toString('hex');
  const spanId = randomBytes(8).toString('hex');
  const begun = zero + at;
  const time = (ms: number): string => nanoseconds(begun + ms);
  // a query may have secrets
  const pathname = path?.split('?', 1)[0];
  const attributes: Attributes = {
    'faas.invocation_id': id,
    'faas.trigger': kind === 'event' ? 'other' : 'http',
    'faas.coldstart': row.isCold,
    'faas.instance': row.instance,
    'faas.invoked_name': target,
    'http.request.method': kind === 'event' ? undefined : method,
    'url.path': pathname,
    'http.response.status_code': kind === 'event' ? undefined : status,
    'error.type': errorType,
  };
  const root = {
    traceId,
    spanId,
    ...(parent !== undefined && { parentSpanId: parent }),
    name: kind === 'event' ? `invoke ${target ?? ''}`.trim() : `${method} ${pathname}`,
    kind: kind === 'event' ? CONSUMER : SERVER,
    startTimeUnixNano: time(0),
    endTimeUnixNano: time(row.totalMs ?? 0),
    attributes: attributesOf(attributes),
    status: hasFailed(row) ? { code: ERROR, ...(message !== undefined && { message }) } : {},
  };
  const parts = partsOf(call.timing(moment)).map(({ name, fromMs, ms }) => ({
    traceId,
    spanId: randomBytes(8).toString('hex'),
    parentSpanId: spanId,
    name,
    kind: INTERNAL,
    startTimeUnixNano: time(fromMs),
    endTimeUnixNano: time(fromMs + ms),
    attributes: [],
    status: {},
  }));
  return [root, ...parts];
}

// opentelemetry.proto.trace.v1.Span.SpanKind and Status.StatusCode
const INTERNAL = 1;
const SERVER = 2;
const CONSUMER = 5;
const ERROR = 2;

/** Since 1970: more digits than a number has, of which µs are known. */
const nanoseconds = (ms: number): string => `${Math.round(ms * 1000)}000`;

const attributesOf = (attributes: Attributes): object[] =>
  Object.entries(attributes).flatMap(([key, value]): object[] => {
    if (value === undefined) return [];
    if (typeof value === 'number') return [{ key, value: { intValue: String(value) } }];
    return [{ key, value: typeof value === 'boolean' ? { boolValue: value } : { stringValue: value } }];
  });
