// Spans of invocations for a collector, as OTLP/HTTP has them in JSON. Loaded when there is one.
import { request as httpRequest } from 'node:http';
import { afterRunning } from './clock.ts';
import type { Config } from './config.ts';
import type { Exchange, Outcome, Traces } from './gateway.ts';
import type { Log } from './log.ts';
import { knownMethod, OTHER } from './method.ts';
import { pathOf } from './router.ts';
import { SAMPLED } from './trace.ts';

/** Spans in one request. */
const BATCH = 512;
/** What is held with those on their way; what comes then is dropped. */
const MAX_HELD = 2048;
/** So much running time is between a span and its way, unless there are enough for a request, ms. */
const INTERVAL_MS = 5000;
/** A collector that has not answered by then is not there, ms of running time. */
const ANSWER_MS = 10_000;
/** More than this of an answer is not read. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Until the one retry, where a collector does not say when, and the longest that it may say, ms of running time. */
const RETRY_MS = 1000;
const MAX_RETRY_MS = 30_000;
/** Longest flush, ms. */
const FLUSH_MS = 1000;
/** Of texts that a client has a hand in, so many characters are held. */
const MAX_TEXT = 1024;
const MAX_STATE = 512;

/** @see OTLP Specification, "Retryable Response Codes" */
const RETRIED: ReadonlySet<number> = new Set([429, 502, 503, 504]);

const SPACE = 0x20;

// opentelemetry.proto.trace.v1: SpanKind, StatusCode, SpanFlags
const SERVER = 2;
const ERROR = 2;
const KNOWS_REMOTE = 0x100;
const IS_REMOTE = 0x200;

interface Answer {
  readonly status: number;
  readonly retryAfter?: string | undefined;
  /** Undefined where the spans have arrived. */
  readonly problem?: string | undefined;
}

/**
 * Sends spans of sampled invocations to a collector, together. No invocation waits for it; what it does not take is
 * dropped, and the log says how much.
 *
 * @param version - of this product.
 * @param env - FC says in it where we run.
 * @see OpenTelemetry Protocol Specification, "OTLP/HTTP"; semantic conventions: HTTP server spans, FaaS
 */
export function createTraces(
  version: string,
  url: URL,
  config: Pick<Config, 'otlpHeaders' | 'serviceName'>,
  env: Readonly<Record<string, string | undefined>>,
  log: Log,
): Traces {
  const resource = attributesOf(resourceOf(version, config.serviceName, env));
  const scope = JSON.stringify({ name: 'noslate-fc', version });
  const head = Buffer.from(`{"resourceSpans":[{"resource":{${resource}},"scopeSpans":[{"scope":${scope},"spans":[`);
  const tail = Buffer.from(']}]}]}');
  /** Each as JSON behind a comma: of a fixed size at most, and nothing of the request lives on with it. */
  const held: Buffer[] = [];
  let sending = 0;
  let lost = 0;
  let flushes = 0;
  let isFailing = false;
  let running: Promise<void> | undefined;
  let callOff: (() => void) | undefined;
  let hurry: (() => void) | undefined;

  function post(body: Buffer): Promise<Answer> {
    const answered = new Promise<Answer>(resolve => {
      // what https needs takes many times as long to load as all of this
      const request =
        url.protocol === 'https:' ? (require('node:https') as typeof import('node:https')).request : httpRequest;
      const headers = { ...config.otlpHeaders, 'content-type': 'application/json', 'content-length': body.length };
      // a connection of its own: one that was kept is dead after a thaw
      const req = request(url, { method: 'POST', headers, agent: false });
      let answer: Answer | undefined;
      const settle = afterRunning(ANSWER_MS, () => req.destroy(new Error(`no answer within ${ANSWER_MS / 1000} s`)));
      req.on('response', res => {
        const { statusCode: status = 0 } = res;
        const problem = status >= 200 && status < 300 ? undefined : `status ${status}`;
        answer = { status, problem, retryAfter: res.headers['retry-after'] };
        let bytes = 0;
        res.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > MAX_ANSWER_BYTES) req.destroy();
        });
        res.on('error', () => {});
      });
      req.on('error', ({ message }) => {
        answer ??= { status: 0, problem: message };
      });
      req.on('close', () => {
        settle();
        resolve(answer ?? { status: 0, problem: 'the connection was closed' });
      });
      req.end(body);
    });
    // header fields that node:http does not send
    return answered.catch(({ message }) => ({ status: 0, problem: message }));
  }

  /** Who flushes has no time for what a collector asks for: it may be the last chance. */
  function pause(ms: number): Promise<void> | undefined {
    if (flushes > 0) return undefined;
    return new Promise(resolve => {
      const stop = afterRunning(ms, resolve);
      hurry = () => {
        stop();
        resolve();
      };
    });
  }

  async function deliver(batch: readonly Buffer[]): Promise<void> {
    const body = Buffer.concat([head, ...batch, tail]);
    // no comma before the first
    body[head.length] = SPACE;
    let answer = await post(body);
    if (RETRIED.has(answer.status)) {
      await pause(retryMsOf(answer.retryAfter));
      answer = await post(body);
    }
    const { problem } = answer;
    if (problem !== undefined) lost += batch.length;
    // the path may have a token in it
    if (problem !== undefined && !isFailing) log.warn('spans not exported', { to: url.origin, reason: problem });
    if (problem === undefined && isFailing) log.info('spans exported again');
    isFailing = problem !== undefined;
  }

  async function run(): Promise<void> {
    do {
      const batch = held.splice(0, BATCH);
      sending = batch.length;
      await deliver(batch);
      sending = 0;
    } while (held.length >= (flushes > 0 ? 1 : BATCH));
    running = undefined;
    if (!isFailing) tellLost();
    if (held.length > 0) wait();
  }

  function start(): Promise<void> {
    callOff?.();
    callOff = undefined;
    running ??= run();
    return running;
  }

  function wait(): void {
    callOff ??= afterRunning(INTERVAL_MS, start);
  }

  function tellLost(): void {
    if (lost > 0) log.warn('spans dropped', { spans: lost });
    lost = 0;
  }

  return {
    end(exchange, outcome, totalMs) {
      if (((exchange.trace?.flags ?? 0) & SAMPLED) === 0) return;
      if (held.length + sending >= MAX_HELD) {
        lost++;
        return;
      }
      held.push(Buffer.from(`,${spanOf(exchange, outcome, totalMs)}`));
      if (running !== undefined) return;
      if (held.length >= BATCH) start();
      else wait();
    },
    async flush(isEnd) {
      if (held.length + sending > 0) {
        flushes++;
        hurry?.();
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<void>(resolve => {
          timer = setTimeout(resolve, FLUSH_MS);
        });
        await Promise.race([start(), late]);
        clearTimeout(timer);
        flushes--;
      }
      if (isEnd) lost += held.length + sending;
      tellLost();
    },
  };
}

function retryMsOf(text: string = ''): number {
  const ms = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - Date.now();
  return Math.min(Math.max(ms || RETRY_MS, 0), MAX_RETRY_MS);
}

type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** JSON at once: of objects, a span would take four times as long. */
function attributesOf(attributes: Attributes): string {
  let text = '';
  for (const key in attributes) {
    const value = attributes[key];
    if (value === undefined || value === '') continue;
    let json = `"boolValue":${value}`;
    if (typeof value === 'number') json = `"intValue":"${value}"`;
    if (typeof value === 'string') json = `"stringValue":${JSON.stringify(value.slice(0, MAX_TEXT))}`;
    text += `${text === '' ? '' : ','}{"key":"${key}","value":{${json}}}`;
  }
  return `"attributes":[${text}]`;
}

/** @see FC contract §9, the variables of a container */
function resourceOf(version: string, service: string, env: Readonly<Record<string, string | undefined>>): Attributes {
  const { FC_FUNCTION_NAME: name, FC_FUNCTION_MEMORY_SIZE: memory } = env;
  return {
    'service.name': service,
    'service.version': version,
    'telemetry.sdk.name': 'noslate-fc',
    'telemetry.sdk.language': 'nodejs',
    'telemetry.sdk.version': version,
    ...(name && {
      'cloud.provider': 'alibaba_cloud',
      'cloud.platform': 'alibaba_cloud_fc',
      'cloud.region': env['FC_REGION'],
      'cloud.account.id': env['FC_ACCOUNT_ID'],
      'faas.name': name,
      'faas.version': env['FC_FUNCTION_VERSION'] ?? env['FC_VER_ID'] ?? env['FC_QUALIFIER'],
      'faas.instance': env['FC_INSTANCE_ID'],
      'faas.max_memory': Number(memory) * 1024 * 1024 || undefined,
    }),
  };
}

/** As JSON. Never a query, nor a header: they may hold secrets. */
function spanOf(exchange: Exchange, outcome: Outcome, totalMs: number): string {
  const { req, res, kind, trace, error } = exchange;
  const { traceId, spanId, parentId, flags = 0, state = '' } = trace ?? {};
  const isEvent = kind === 'event';
  const method = knownMethod(req.method);
  const route = isEvent ? '/invoke' : exchange.route;
  const name = `${method === OTHER ? 'HTTP' : method} ${route}`.trimEnd();
  // nothing was sent to who left before
  const status = exchange.firstByteMs === undefined ? undefined : res.statusCode;
  const isBad = status !== undefined && (status >= 500 || (isEvent && status !== 200));
  const isGone = outcome === 'client gone';
  const isFailed = isBad || isGone || (error?.status ?? 0) >= 500;
  const endedAt = Date.now();
  const attributes = attributesOf({
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'url.path': pathOf(exchange.url),
    'url.scheme': req.headers['x-forwarded-proto'] === 'https' ? 'https' : 'http',
    'faas.trigger': isEvent ? 'other' : 'http',
    'faas.invocation_id': exchange.requestId,
    'faas.invoked_name': exchange.function,
    'faas.coldstart': exchange.isCold,
    'error.type': error?.code ?? (isGone ? 'CLIENT_GONE' : isBad ? String(status) : undefined),
  });
  const parent = parentId ? `"parentSpanId":"${parentId}",` : '';
  const states = state === '' || state.length > MAX_STATE ? '' : `"traceState":${JSON.stringify(state)},`;
  const bits = flags | KNOWS_REMOTE | (parentId ? IS_REMOTE : 0);
  const times = `"startTimeUnixNano":"${nanoseconds(endedAt - totalMs)}","endTimeUnixNano":"${nanoseconds(endedAt)}"`;
  const code = isFailed ? `"code":${ERROR}` : '';
  const ids = `"traceId":"${traceId}","spanId":"${spanId}",${parent}`;
  const what = `"name":${JSON.stringify(name)},"kind":${SERVER}`;
  return `{${ids}${states}"flags":${bits},${what},${times},${attributes},"status":{${code}}}`;
}

/** Since 1970: more digits than a number holds, of which µs are known. */
const nanoseconds = (ms: number): string => `${Math.round(ms * 1000)}000`;
