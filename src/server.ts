import { createServer, type IncomingMessage, type Server, type ServerOptions, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Agent } from './agent.ts';
import { now } from './clock.ts';
import type { Config } from './config.ts';
import { GatewayError } from './errors.ts';
import type { Exchange, Gateway, Kind, Outcome } from './gateway.ts';
import { malformed, secondsOf } from './headers.ts';
import { invoke } from './invoke.ts';
import { hooks } from './lifecycle.ts';
import type { Log } from './log.ts';
import type { Profile } from './profile.ts';
import { respondError } from './respond.ts';
import { createRouter, kindOf, pathOf, urlOf } from './router.ts';
import { Cancellation } from './signal.ts';
import { Table } from './table.ts';

/** 8 KiB of the client's, FC's own two dozen, and an STS token; node:http's 16 KiB would be tight. */
const MAX_HEADER_BYTES = 64 * 1024;

const OPTIONS: ServerOptions & { requireHostHeader: boolean } = {
  maxHeaderSize: MAX_HEADER_BYTES,
  noDelay: true,
  // `malformed` says it with our words, and on the Nodes that do not check it too
  requireHostHeader: false,
};

/** FC's name for each hook in its log markers; an invocation is `Invoke`. */
const MARKER: Readonly<Record<Kind, string>> = {
  initialize: 'Initialize',
  'pre-freeze': 'PreFreeze',
  'pre-stop': 'PreStop',
  event: 'Invoke',
  http: 'Invoke',
};

/**
 * Makes the server, not yet listening, and the gateway behind it. `setAgent` lets the invocations
 * through that arrived before there was one.
 *
 * @param stop - ends the process; called after `/pre-stop` was answered.
 */
export function createGateway(
  config: Config,
  log: Log,
  profile: Profile,
  stop: () => void,
): { server: Server; gateway: Gateway; setAgent(agent: Agent): void } {
  let resolveReady: (agent: Agent) => void = () => {};
  const gateway: Gateway = {
    config,
    log,
    agent: undefined,
    ready: new Promise(resolve => {
      resolveReady = resolve;
    }),
    router: createRouter(profile, config.agent === 'local'),
    draining: false,
    invocations: new Table(),
    drain: () => drain(gateway),
    stop,
  };

  const onRequest = (req: IncomingMessage, res: ServerResponse): void => handle(gateway, req, res);
  const server = createServer(OPTIONS, onRequest);
  // without this node:http asks for the whole body before it is known whether anyone wants it
  server.on('checkContinue', onRequest);
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Duplex) => refuse(gateway, error, socket));
  // FC keeps its connections open and does not repeat a POST: whoever closes one, or lets a timer do it
  // after a thaw, turns the next call into a 502 (FC contract §1)
  server.keepAliveTimeout = 0;
  server.headersTimeout = 0;
  server.requestTimeout = 0;
  server.timeout = 0;
  server.maxRequestsPerSocket = 0;

  return {
    server,
    gateway,
    setAgent(agent) {
      gateway.agent = agent;
      resolveReady(agent);
    },
  };
}

function handle(gateway: Gateway, req: IncomingMessage, res: ServerResponse): void {
  const exchange = describe(gateway.config, req, res);
  if (isHealthCheck(exchange, gateway.config.healthPath)) {
    respondOk(exchange, gateway.draining ? 503 : 200);
    return;
  }
  open(gateway, exchange);
  const fault = malformed(req.httpVersion, req.rawHeaders);
  if (fault !== undefined) {
    respondError(gateway, exchange, new GatewayError('BAD_REQUEST', fault));
  } else if (exchange.kind === 'http' || exchange.kind === 'event') {
    invoke(gateway, exchange).catch(error => respondError(gateway, exchange, error));
  } else {
    hooks[exchange.kind](gateway, exchange).then(
      () => respondOk(exchange, 200),
      error => respondError(gateway, exchange, error),
    );
  }
}

/** Tells who asks for what, and by when. */
function describe(config: Config, req: IncomingMessage, res: ServerResponse): Exchange {
  const url = urlOf(req);
  const startedAt = now();
  const timeout = secondsOf(req.headers['x-fc-function-timeout'], config.timeout);
  return {
    req,
    res,
    kind: kindOf(req, url),
    url,
    requestId: req.headers['x-fc-request-id']?.toString() || newRequestId(),
    startedAt,
    deadline: startedAt + timeout * 1000,
    cancellation: new Cancellation(),
    invocation: 0,
    function: '',
    bytesIn: 0,
    bytesOut: 0,
    firstByteMs: undefined,
    error: undefined,
  };
}

/** Ties an exchange to its connection: what happens when the answer is out, and when it is all over. */
function open(gateway: Gateway, exchange: Exchange): void {
  const { req, res, kind, requestId } = exchange;
  if (gateway.config.fcLog === 'on') gateway.log.line(`FC ${MARKER[kind]} Start RequestId: ${requestId}`);
  // what the function left unread must leave the connection before the next request can be read from it
  res.on('finish', () => {
    if (req.readableEnded) return;
    req.resume();
    // an agent that lets go of the body only now must not stop it
    req.on('pause', () => req.resume());
  });
  res.on('close', () => close(gateway, exchange));
}

function close(gateway: Gateway, exchange: Exchange): void {
  const { req, res, cancellation, requestId, error } = exchange;
  gateway.invocations.delete(exchange.invocation);
  const isGone = error === undefined && !res.writableFinished;
  if (isGone) cancellation.abort(new GatewayError('CLIENT_GONE', 'the client left'));

  const outcome: Outcome = isGone ? 'client gone' : error === undefined ? 'ok' : `error ${error.code}`;
  if (gateway.config.fcLog === 'on') {
    const suffix = outcome === 'ok' && res.statusCode < 400 ? '' : ', Error: Unhandled function error';
    gateway.log.line(`FC ${MARKER[exchange.kind]} End RequestId: ${requestId}${suffix}`);
  }
  gateway.log.access({
    requestId,
    kind: exchange.kind,
    method: req.method ?? '',
    path: pathOf(exchange.url),
    function: exchange.function,
    status: exchange.firstByteMs === undefined ? 0 : res.statusCode,
    bytesIn: exchange.bytesIn,
    bytesOut: exchange.bytesOut,
    firstByteMs: exchange.firstByteMs === undefined ? undefined : round(exchange.firstByteMs),
    totalMs: round(now() - exchange.startedAt),
    outcome,
  });
}

function respondOk(exchange: Exchange, status: number): void {
  exchange.firstByteMs = now() - exchange.startedAt;
  exchange.res.writeHead(status, ['content-length', '0']);
  exchange.res.end();
}

function isHealthCheck({ req, url, kind }: Exchange, path: string | undefined): boolean {
  return (
    path !== undefined && kind === 'http' && (req.method === 'GET' || req.method === 'HEAD') && pathOf(url) === path
  );
}

/** Answers bytes that are no HTTP request. A connection that breaks (FC's TCP probe ends so) is no news. */
function refuse(gateway: Gateway, error: NodeJS.ErrnoException, socket: Duplex): void {
  const isBusy = gateway.invocations.values().some(({ req }) => req.socket === socket);
  if (error.code === 'ECONNRESET' || !socket.writable || isBusy) {
    socket.destroy();
    return;
  }
  const refusal =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? new GatewayError('HEADERS_TOO_LARGE', `request headers: expected at most ${MAX_HEADER_BYTES} bytes`)
      : new GatewayError('BAD_REQUEST', 'not an HTTP/1.1 request');
  const body = JSON.stringify({ errorType: refusal.code, errorMessage: refusal.message, requestId: newRequestId() });
  const reason = refusal.status === 431 ? '431 Request Header Fields Too Large' : '400 Bad Request';
  gateway.log.warn('request refused', { code: refusal.code, reason: error.code });
  socket.end(
    `HTTP/1.1 ${reason}\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
  );
}

function drain(gateway: Gateway): Promise<void> {
  const { config, log } = gateway;
  gateway.draining = true;
  // those of now: what comes later is refused, and must not be waited for
  const pending = new Set(gateway.invocations.values());
  return new Promise(resolve => {
    const timer = setTimeout(() => {
      log.warn('drain timeout passed', { invocations: pending.size });
      resolve();
    }, config.drainTimeout * 1000);
    const settle = (): void => {
      if (pending.size > 0) return;
      clearTimeout(timer);
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
  // four digits at a time: larger numbers take V8 ten times as long
  const hex = (): string => ((Math.random() * 0x10000) | 0x10000).toString(16).slice(1);
  return `1-${Math.floor(Date.now() / 1000).toString(16)}-${hex()}${hex()}-${hex()}${hex()}${hex()}`;
}

const round = (ms: number): number => Math.round(ms * 100) / 100;
