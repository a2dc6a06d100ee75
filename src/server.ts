import {
  createServer,
  type IncomingMessage,
  type Server,
  type ServerOptions,
  type ServerResponse,
  STATUS_CODES,
} from 'node:http';
import type { Agent } from './agent.ts';
import { afterRunning, now } from './clock.ts';
import type { Config } from './config.ts';
import { type Handler, serveConnections } from './connection.ts';
import { GatewayError } from './errors.ts';
import type { Exchange, Gateway, Kind, Outcome } from './gateway.ts';
import { malformed, secondsOf } from './headers.ts';
import { invoke } from './invoke.ts';
import { hooks } from './lifecycle.ts';
import { limitClients, tooLarge } from './limits.ts';
import type { Log } from './log.ts';
import type { Profile } from './profile.ts';
import { createQueue } from './queue.ts';
import { createReadiness, describeReadiness } from './ready.ts';
import { cutOff, respondError } from './respond.ts';
import { authorityOf, createRouter, kindOf, pathOf, urlOf } from './router.ts';
import { Cancellation } from './signal.ts';
import { createSummary } from './summary.ts';
import { Table } from './table.ts';
import { newDigits, traceOf } from './trace.ts';

const OPTIONS: ServerOptions & { requireHostHeader: boolean } = {
  noDelay: true,
  // `malformed` says it with our words, and on the Nodes that do not check it too
  requireHostHeader: false,
};

/** Time for answers that the end of the process cuts short to leave it, ms. */
const CUT_MS = 500;

/** What is asked again and again, and told of nowhere. */
type Check = 'health' | 'ready';

const isCheck = (kind: Kind): kind is Check => kind === 'health' || kind === 'ready';

/** FC's name for each hook in its log markers; an invocation is `Invoke`. */
const MARKER: Readonly<Record<Exclude<Kind, Check>, string>> = {
  initialize: 'Initialize',
  'pre-freeze': 'PreFreeze',
  'pre-stop': 'PreStop',
  event: 'Invoke',
  http: 'Invoke',
};

/** The server, and what is behind it. */
export interface Served {
  readonly server: Server;
  readonly gateway: Gateway;
  /** Lets the invocations through that wait for an agent. */
  setAgent(agent: Agent): void;
  /** Ends the connections on which nothing is being answered. */
  closeIdle(): void;
}

/**
 * Makes the server, not yet listening, and the gateway behind it.
 *
 * @param stop - ends the process; called after `/pre-stop` was answered.
 */
export function createGateway(config: Config, log: Log, profile: Profile, stop: () => void): Served {
  let resolveReady: (agent: Agent) => void = () => {};
  const gateway: Gateway = {
    config,
    log,
    agent: undefined,
    ready: new Promise(resolve => {
      resolveReady = resolve;
    }),
    router: createRouter(profile, config.agent === 'local'),
    profile,
    reloads: { total: 0, succeeded: true },
    summary: createSummary(log, config.summary),
    metrics: undefined,
    traces: undefined,
    hasInvoked: false,
    draining: false,
    invocations: new Table(),
    queue: createQueue(config.maxConcurrency, config.maxQueue),
    readiness: () => readiness(),
    drain: () => drain(gateway),
    stop,
  };

  const readiness = createReadiness(gateway);
  const server = createServer({ ...OPTIONS, maxHeaderSize: config.maxHeaderBytes });
  // node:http drops what comes after its thousandth line, FC's own fields with it; the bytes have their limit
  server.maxHeadersCount = 0;
  // FC keeps its connections open and does not repeat a POST: whoever closes one, or lets a timer do it
  // after a thaw, turns the next call into a 502 (FC contract §1)
  server.keepAliveTimeout = 0;
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.timeout = 0;
  server.maxRequestsPerSocket = 0;
  const handler: Handler = {
    begin: (req, res, fault) => begin(gateway, req, res, fault),
    spoil: (exchange, fault) => spoil(gateway, exchange, fault),
    end: exchange => end(gateway, exchange),
    drop: (req, res) => drop(gateway, req, res),
    refuse: (fault, reason) => refuse(gateway, fault, reason),
  };
  const connections = serveConnections(server, handler, config.maxHeaderBytes);
  limitClients(server, connections, gateway);

  return {
    server,
    gateway,
    closeIdle: connections.closeIdle,
    setAgent(agent) {
      gateway.agent = agent;
      resolveReady(agent);
    },
  };
}

/** Works on a request whose turn it is. */
function begin(
  gateway: Gateway,
  req: IncomingMessage,
  res: ServerResponse,
  broken: GatewayError | undefined,
): Exchange {
  const exchange = describe(gateway, req, res);
  const { kind } = exchange;
  gateway.metrics?.begin();
  open(gateway, exchange);
  const fault = broken ?? malformed(req, gateway.config.maxHeaderBytes) ?? tooLarge(req, gateway.config);
  if (fault !== undefined) {
    respondError(gateway, exchange, fault);
  } else if (kind === 'http' || kind === 'event') {
    invoke(gateway, exchange).catch(error => respondError(gateway, exchange, error));
  } else if (kind === 'health') {
    respondShort(gateway, exchange, gateway.draining ? 503 : 200);
  } else if (kind === 'ready') {
    respondReady(gateway, exchange);
  } else {
    hooks[kind](gateway, exchange).then(
      () => respondShort(gateway, exchange, 200),
      error => respondError(gateway, exchange, error),
    );
  }
  return exchange;
}

/** Notes a request that nobody waits for any more, before its turn. */
function drop(gateway: Gateway, req: IncomingMessage, res: ServerResponse): void {
  const exchange = describe(gateway, req, res);
  gateway.metrics?.begin();
  open(gateway, exchange);
  end(gateway, exchange);
}

/** Ends the work on a request the rest of which cannot be read. */
function spoil(gateway: Gateway, exchange: Exchange, fault: GatewayError): void {
  const { res, cancellation, error } = exchange;
  if (error !== undefined || res.writableEnded) return;
  cancellation.abort(fault);
  respondError(gateway, exchange, fault);
}

/** Tells who asks for what, and by when. */
function describe({ config, traces }: Gateway, req: IncomingMessage, res: ServerResponse): Exchange {
  const url = urlOf(req);
  const startedAt = now();
  const asked = secondsOf(req.headers['x-fc-function-timeout'], config.timeout);
  // a client's own word there
  const timeout = config.exposed === 'on' ? Math.min(asked, config.timeout) : asked;
  const kind = kindOf(req, url, config);
  return {
    req,
    res,
    kind,
    url,
    authority: authorityOf(req),
    requestId: req.headers['x-fc-request-id']?.toString() || newRequestId(),
    startedAt,
    deadline: startedAt + timeout * 1000,
    cancellation: new Cancellation(),
    trace: kind === 'event' || kind === 'http' ? traceOf(req.headers, traces !== undefined, config) : undefined,
    invocation: 0,
    function: '',
    worker: undefined,
    route: '',
    isCold: false,
    isLast: req.headers.upgrade !== undefined,
    hasPlace: false,
    queuedMs: undefined,
    handedMs: undefined,
    bytesIn: 0,
    bytesOut: 0,
    body: undefined,
    isBetweenEvents: undefined,
    firstByteMs: undefined,
    error: undefined,
  };
}

/** Says that work on a request begins. */
function open({ config, log }: Gateway, { kind, requestId }: Exchange): void {
  if (config.fcLog === 'on' && !isCheck(kind)) log.line(`FC ${MARKER[kind]} Start RequestId: ${requestId}`);
}

/** A request is over, answered or not. */
function end(gateway: Gateway, exchange: Exchange): void {
  const { req, res, kind, cancellation, requestId, error } = exchange;
  if (gateway.invocations.delete(exchange.invocation)) gateway.queue.leave(exchange);
  // what could not be handed over counts as finished, too
  const isGone = error === undefined && (!res.writableFinished || req.socket.destroyed);
  if (isGone) cancellation.abort(new GatewayError('CLIENT_GONE', 'the client left'));

  const outcome: Outcome = isGone ? 'client gone' : error === undefined ? 'ok' : `error ${error.code}`;
  gateway.metrics?.end(exchange, outcome);
  if (isCheck(kind)) return;
  if (gateway.config.fcLog === 'on') {
    const suffix = outcome === 'ok' && res.statusCode < 400 ? '' : ', Error: Unhandled function error';
    gateway.log.line(`FC ${MARKER[kind]} End RequestId: ${requestId}${suffix}`);
  }
  const totalMs = now() - exchange.startedAt;
  if (kind === 'event' || kind === 'http') {
    gateway.summary.end(exchange, outcome, totalMs);
    gateway.traces?.end(exchange, outcome, totalMs);
  }
  gateway.log.access({
    requestId,
    traceId: exchange.trace?.traceId,
    kind,
    method: req.method ?? '',
    path: pathOf(exchange.url),
    function: exchange.function,
    worker: exchange.worker,
    status: exchange.firstByteMs === undefined ? 0 : res.statusCode,
    bytesIn: exchange.bytesIn,
    bytesOut: exchange.bytesOut,
    firstByteMs: exchange.firstByteMs === undefined ? undefined : round(exchange.firstByteMs),
    totalMs: round(totalMs),
    queuedMs: exchange.queuedMs === undefined ? undefined : round(exchange.queuedMs),
    coldStart: exchange.isCold || undefined,
    outcome,
  });
}

/** Answers with JSON, or with nothing. */
function respondShort(gateway: Gateway, exchange: Exchange, status: number, json: string = ''): void {
  const { req, res } = exchange;
  // a body that turned out to be broken meanwhile has its answer
  if (res.headersSent || res.destroyed) return;
  const headers = ['content-length', String(Buffer.byteLength(json))];
  if (json !== '') headers.push('content-type', 'application/json; charset=utf-8');
  if (gateway.draining || exchange.isLast) headers.push('connection', 'close');
  exchange.firstByteMs = now() - exchange.startedAt;
  res.writeHead(status, headers);
  res.end(req.method === 'HEAD' ? undefined : json);
}

/** Says whether calls would be answered now. An agent that fails to say is not ready. */
async function respondReady(gateway: Gateway, exchange: Exchange): Promise<void> {
  const { status, body } = describeReadiness(await gateway.readiness().catch(error => [String(error)]));
  respondShort(gateway, exchange, status, body);
}

/** Writes the answer to bytes that are no request. */
function refuse(
  { log, metrics }: Gateway,
  { code, message, status }: GatewayError,
  reason: string | undefined,
): string {
  log.warn('request refused', { code, reason });
  metrics?.refuse(code);
  const body = JSON.stringify({ errorType: code, errorMessage: message, requestId: newRequestId() });
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status]}`,
    `date: ${new Date().toUTCString()}`,
    'content-type: application/json; charset=utf-8',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
}

/**
 * Refuses what comes from now on, and waits for what is in flight. What is not answered when the time is up fails; an
 * answer that is being sent is cut off, at the end of an event where it consists of those.
 */
function drain(gateway: Gateway): Promise<void> {
  const { config, log } = gateway;
  gateway.draining = true;
  // those of now: what comes later is refused, and must not be waited for
  const pending = new Set(gateway.invocations.values());
  return new Promise(resolve => {
    let callOff = afterRunning(config.drainTimeout * 1000, () => {
      log.warn('drain timeout passed', { invocations: pending.size });
      callOff = afterRunning(CUT_MS, resolve);
      for (const exchange of pending) cutOff(exchange);
    });
    const settle = (): void => {
      if (pending.size > 0) return;
      callOff();
      resolve();
    };
    for (const exchange of pending) {
      exchange.res.on('close', () => {
        pending.delete(exchange);
        settle();
      });
    }
    settle();
  });
}

/** An id of FC 3.0's form. It only has to be told from others in a log, so it need not be unguessable. */
function newRequestId(): string {
  return `1-${Math.floor(Date.now() / 1000).toString(16)}-${newDigits(8)}-${newDigits(12)}`;
}

const round = (ms: number): number => Math.round(ms * 100) / 100;
