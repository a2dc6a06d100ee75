import { createServer, type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from 'node:http';
import { pipeline } from 'node:stream';
import { type Answer, errorAnswer, FcError, platformError } from './answers.ts';
import { header, pairs, requestId } from './headers.ts';
import { LIMITS, tooLarge } from './limits.ts';
import { ClientGone, type Platform } from './platform.ts';
import { tunnel } from './websocket.ts';

/** InvokeFunction, of 3.0 and of 2.0; the last part is the function's name. */
const INVOKE = [
  /^\/2023-03-30\/functions\/([^/]+)\/invocations$/,
  /^\/(?:2016-08-15|2021-04-06)\/services\/[^/]+\/functions\/([^/]+)\/invocations$/,
] as const;

/**
 * FC's public side: every request is the HTTP trigger's, but for `POST /2023-03-30/functions/NAME/invocations`
 * (2.0: `/2016-08-15/services/SERVICE/functions/NAME/invocations`), which is InvokeFunction.
 */
export function createEndpoint(platform: Platform): Server {
  const server = createServer({ maxHeaderSize: 64 * 1024 }, (req, res) => serve(platform, req, res));
  // a function may stream for as long as its timeout allows
  Object.assign(server, { timeout: 0, keepAliveTimeout: 0, requestTimeout: 0, headersTimeout: 0 });
  server.on('upgrade', (req, socket, head) => tunnel(platform, req, socket, head));
  return server;
}

async function serve(platform: Platform, req: IncomingMessage, res: ServerResponse): Promise<void> {
  const controller = new AbortController();
  res.on('close', () => {
    if (!res.writableFinished) controller.abort();
  });
  const { signal } = controller;
  const headers = pairs(req.rawHeaders);
  const { method = 'GET', url: path = '/' } = req;
  const invocationType = header(headers, 'x-fc-invocation-type') === 'Async' ? 'Async' : 'Sync';
  const logType = header(headers, 'x-fc-log-type') === 'Tail' ? 'Tail' : 'None';
  const name = nameOf(platform, method, path);
  try {
    if (name === undefined) {
      const hasBody =
        header(headers, 'transfer-encoding') !== undefined || Number(header(headers, 'content-length')) > 0;
      const call = { method, path, headers, invocationType, logType, signal, ...(hasBody && { body: req }) } as const;
      return send(await platform.http(call), req, res);
    }
    const id = requestId(platform.settings);
    if (name !== platform.settings.name) {
      const error = platformError('FunctionNotFound', 404, `function ${name}: expected ${platform.settings.name}`);
      return send(errorAnswer(platform.settings, error, id, undefined), req, res);
    }
    const payload = await read(req, invocationType === 'Async' ? LIMITS.asyncBody : LIMITS.syncBody);
    if (payload instanceof FcError) return send(errorAnswer(platform.settings, payload, id, undefined), req, res);
    send(await platform.invoke({ payload, invocationType, logType, signal }), req, res);
  } catch (error) {
    if (!(error instanceof ClientGone)) throw error;
    res.destroy();
  }
}

/** The function that InvokeFunction names; undefined for the HTTP trigger. */
function nameOf({ settings }: Platform, method: string, path: string): string | undefined {
  const [pathname = ''] = path.split('?');
  const form = INVOKE[settings.flavour === '3.0' ? 0 : 1];
  const name = method === 'POST' ? form.exec(pathname)?.[1] : undefined;
  return name === undefined ? undefined : decodeURIComponent(name).replace(/\$.*/s, '');
}

function send({ status, headers, body }: Answer, req: IncomingMessage, res: ServerResponse): void {
  const flat = headers.flat();
  // Node sets Date and the connection's own headers
  res.writeHead(status, STATUS_CODES[status] ?? 'Unknown', flat);
  // an event stream's head may be long before its first byte
  res.flushHeaders();
  pipeline(body, res, error => {
    // who sends a body that nobody has read would wait for ever
    if (error === null || error === undefined) req.resume();
    else res.destroy();
  });
}

/** Reads a payload, up to a limit; the rest of a larger one is let pass. */
async function read(req: IncomingMessage, limit: number): Promise<Buffer | FcError> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of req as AsyncIterable<Buffer>) {
    length += chunk.length;
    if (length <= limit) chunks.push(chunk);
    else chunks.length = 0;
  }
  return length > limit ? tooLarge(limit) : Buffer.concat(chunks);
}
