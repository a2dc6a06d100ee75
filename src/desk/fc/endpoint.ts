import { createServer, type IncomingMessage, ServerResponse } from 'node:http';
import { type AddressInfo, createServer as createNetServer, type Socket } from 'node:net';
import { now } from '../../clock.ts';
import { type Answer, errorAnswer, FcError, platformError } from './answers.ts';
import { ClientGone, type HttpCall } from './call.ts';
import { type HeaderPairs, header, pairs, requestId } from './headers.ts';
import { between } from './life.ts';
import { collect, LIMITS } from './limits.ts';
import { pass } from './pass.ts';
import type { Platform } from './platform.ts';
import { listen } from './port.ts';
import type { FunctionSettings } from './settings.ts';
import { isWebSocket, tunnel } from './websocket.ts';

/** More than FC takes, so that it is FC's own answer that refuses them. */
const MAX_HEADER_BYTES = 64 * 1024;
/** A client's connection may idle so long. */
const KEEP_ALIVE_MS = 60_000;

/** Where a platform can be reached by HTTP. */
export interface Endpoint {
  /** The HTTP trigger, without a path. */
  readonly url: string;
  readonly port: number;
  /** Closes every connection, whatever is under way. */
  close(): void;
}

/** The address of InvokeFunction. @see FC contract §2 */
export const invokePath = ({ flavour, service, name }: FunctionSettings): string =>
  flavour === '3.0'
    ? `/2023-03-30/functions/${encodeURIComponent(name)}/invocations`
    : `/2016-08-15/services/${encodeURIComponent(service)}/functions/${encodeURIComponent(name)}/invocations`;

/**
 * Opens the port behind which a platform looks like FC: InvokeFunction on its path, the HTTP trigger on all others.
 *
 * @param host - `localhost` is both of its addresses, where there are two.
 * @throws {Error} rejected, with node:net's code: the port cannot be had.
 */
export async function openEndpoint(platform: Platform, host: string, port: number): Promise<Endpoint> {
  const sockets = new Set<Socket>();
  const server = createServer({ maxHeaderSize: MAX_HEADER_BYTES, noDelay: true });
  const onRequest = (req: IncomingMessage, res: ServerResponse): void => void serve(platform, req, res);
  server.on('request', onRequest);
  server.on('checkContinue', (req: IncomingMessage, res: ServerResponse) => {
    // only who is going to read the body asks for it
    req.once('resume', () => {
      if (!res.headersSent) res.writeContinue();
    });
    onRequest(req, res);
  });
  server.on('upgrade', (req: IncomingMessage, socket: Socket, head: Buffer) => {
    socket.on('error', () => {});
    if (isWebSocket(req)) tunnel(platform, req, socket, head);
    else serveUnchanged(platform, req, socket);
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => refuseBytes(platform, error, socket));
  server.on('connection', (socket: Socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  // an upload may take as long as the function's own limit allows
  server.requestTimeout = 0;

  await listen(server, host === 'localhost' ? '127.0.0.1' : host, port);
  const { port: chosen } = server.address() as AddressInfo;
  // some clients know localhost by its IPv6 address alone
  const sixth = createNetServer(socket => server.emit('connection', socket));
  if (host === 'localhost') await listen(sixth, '::1', chosen).catch(() => {});
  return {
    url: `http://${host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host}:${chosen}`,
    port: chosen,
    close() {
      server.close();
      sixth.close();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Has a request answered by the platform. A client that leaves is a call that FC cancels. */
async function serve(platform: Platform, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const gone = new AbortController();
  req.on('error', () => {});
  res.on('error', () => {});
  res.on('close', () => {
    if (!res.writableFinished) gone.abort();
  });
  // what nobody has read of the body stands between this answer and the next request
  res.on('finish', () => {
    req.resume();
    req.on('pause', () => req.resume());
  });
  try {
    send(await answer(platform, req, gone.signal), res);
  } catch (error) {
    res.destroy();
    if (!(error instanceof ClientGone)) throw error;
  }
}

async function answer(platform: Platform, req: IncomingMessage, signal: AbortSignal): Promise<Answer> {
  const { settings, life } = platform;
  const headers = pairs(req.rawHeaders);
  const { method = 'GET', url: path = '/' } = req;
  const taskHeader = settings.flavour === '3.0' ? 'X-Fc-Async-Task-Id' : 'X-Fc-Stateful-Async-Invocation-Id';
  try {
    const isInvocation = namesFunction(settings, path);
    const options = {
      invocationType: oneOf(headers, 'x-fc-invocation-type', 'Sync', 'Async'),
      logType: oneOf(headers, 'x-fc-log-type', 'None', 'Tail'),
      signal,
    };
    const task = header(headers, taskHeader.toLowerCase());
    if (task !== undefined && !/^[A-Za-z_][A-Za-z0-9_-]{0,127}$/.test(task)) {
      throw platformError('InvalidArgument', 400, `${taskHeader}: expected a name of at most 128 characters`);
    }
    const made = isInvocation
      ? await invokeFunction(platform, req, options)
      : await platform.http({ ...options, ...triggered(req, method, path, headers) });
    return task === undefined || made.status !== 202
      ? made
      : { ...made, headers: [...made.headers, [taskHeader, task]] };
  } catch (error) {
    if (!(error instanceof FcError)) throw error;
    const { fields, came } = platform.receive({ kind: 'http', method, path }, { method, path, headers });
    const { status, code, message } = error;
    life.tell('answer', { ...fields, status, totalMs: between(came, now()), errorType: code, message });
    return errorAnswer(settings, error, fields.requestId, undefined);
  }
}

async function invokeFunction(
  platform: Platform,
  req: IncomingMessage,
  options: Pick<HttpCall, 'invocationType' | 'logType' | 'signal'>,
): Promise<Answer> {
  if (req.method !== 'POST') throw platformError('MethodNotAllowed', 405, `method ${req.method}: expected POST`);
  const payload = await collect(req, options.invocationType === 'Async' ? LIMITS.asyncBody : LIMITS.syncBody).catch(
    error => {
      throw error instanceof FcError ? error : new ClientGone();
    },
  );
  return platform.invoke({ ...options, payload, headers: pairs(req.rawHeaders) });
}

/** What reaches the HTTP trigger. */
function triggered(
  req: IncomingMessage,
  method: string,
  path: string,
  headers: HeaderPairs,
): Pick<HttpCall, 'method' | 'path' | 'headers' | 'body'> {
  const before = header(headers, 'x-forwarded-for');
  const address = req.socket.remoteAddress ?? '';
  const hasBody = Number(req.headers['content-length'] ?? 0) > 0 || req.headers['transfer-encoding'] !== undefined;
  return {
    method,
    path,
    headers: [
      // the one is answered here, the other is told anew
      ...headers.filter(([name]) => !/^(expect|x-forwarded-for)$/i.test(name)),
      ['X-Forwarded-For', before === undefined ? address : `${before}, ${address}`],
    ],
    ...(hasBody && { body: req }),
  };
}

const INVOKE_3 = /^\/2023-03-30\/functions\/([^/?]+)\/invocations(?:\?|$)/;
const INVOKE_2 = /^\/(?:2016-08-15|2021-04-06)\/services\/([^/?]+)\/functions\/([^/?]+)\/invocations(?:\?|$)/;
const PROXY = /^\/2016-08-15\/proxy\/([^/?]+)\/([^/?]+)/;

/**
 * True for InvokeFunction, false for the HTTP trigger.
 *
 * @throws {FcError} FunctionNotFound, ServiceNotFound: it is another function that the path names.
 */
function namesFunction({ flavour, service, name }: FunctionSettings, path: string): boolean {
  const [, three] = INVOKE_3.exec(path) ?? [];
  const [, of, two] = INVOKE_2.exec(path) ?? [];
  const [, proxyOf, proxied] = (flavour === '2.0' && PROXY.exec(path)) || [];
  const asked = three ?? two ?? proxied;
  if (asked === undefined) return false;
  const asks = two !== undefined ? '2.0' : three !== undefined ? '3.0' : flavour;
  // of a service only the name before the qualifier
  const [servedBy] = (of ?? proxyOf ?? service).split('.');
  if (flavour === '2.0' && decoded(servedBy ?? '') !== service) {
    throw platformError('ServiceNotFound', 404, `service '${servedBy}' does not exist`);
  }
  if (asks !== flavour || decoded(asked) !== name) {
    throw platformError('FunctionNotFound', 404, `function '${decoded(asked)}' does not exist in FC ${asks}`);
  }
  return proxied === undefined;
}

function decoded(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** A control header's value; FC's default where there is none. */
function oneOf<T extends string>(headers: HeaderPairs, name: string, otherwise: T, other: T): T {
  const given = header(headers, name);
  if (given === undefined || given === otherwise) return otherwise;
  if (given === other) return other;
  throw platformError('InvalidArgument', 400, `${name}: expected ${otherwise} or ${other}, got ${given}`);
}

function send({ status, headers, body }: Answer, res: ServerResponse): void {
  if (res.destroyed) {
    body.destroy();
    return;
  }
  res.writeHead(status, headers.flat());
  // a stream's head must not wait for its first byte
  res.flushHeaders();
  // a body that breaks off breaks the connection: ended politely, it would pass for a whole one
  pass(body, res);
}

/** What is no WebSocket stays what it was without the Upgrade: FC speaks nothing else. */
function serveUnchanged(platform: Platform, req: IncomingMessage, socket: Socket): void {
  const res = new ServerResponse(req);
  res.shouldKeepAlive = false;
  res.assignSocket(socket);
  res.on('finish', () => socket.end(() => socket.destroy()));
  const hasBody = req.headers['content-length'] !== undefined || req.headers['transfer-encoding'] !== undefined;
  if (!hasBody) {
    serve(platform, req, res);
    return;
  }
  // node:http has stopped reading requests from this connection, and this one's body with them
  const error = platformError('InvalidArgument', 400, 'upgrade: expected websocket, or no body');
  send(errorAnswer(platform.settings, error, requestId(platform.settings), undefined), res);
}

/** Answers bytes that are no request. */
function refuseBytes({ settings, life }: Platform, error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const id = requestId(settings);
  const message =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? `request headers: expected at most ${LIMITS.headers} bytes`
      : 'not an HTTP/1.1 request';
  const refusal = platformError('InvalidArgument', 400, message);
  life.tell('answer', { requestId: id, kind: 'http', status: 400, errorType: refusal.code, message });
  const { headers, body } = errorAnswer(settings, refusal, id, undefined);
  const head = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.write(`HTTP/1.1 400 Bad Request\r\n${head}Connection: close\r\n\r\n`);
  body.pipe(socket);
}
