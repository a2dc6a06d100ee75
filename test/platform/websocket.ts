import type { IncomingMessage } from 'node:http';
import { type Duplex, Transform } from 'node:stream';
import { FcError } from './answers.ts';
import { commonHeaders, fromClient, pairs, requestId } from './headers.ts';
import type { Platform } from './platform.ts';

/**
 * Connects a client that asked for an upgrade with an instance. The connection is one invocation: it counts against
 * the concurrency, keeps the instance awake, and is cut at the function's timeout.
 *
 * @see FC contract §6, "WebSocket"
 */
export async function tunnel(platform: Platform, req: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
  const { settings, life } = platform;
  const { switches } = settings;
  const id = requestId(settings);
  const path = req.url ?? '/';
  client.on('error', () => {});
  let instance: Awaited<ReturnType<Platform['acquire']>>;
  try {
    instance = await platform.acquire(id);
  } catch (error) {
    const status = error instanceof FcError ? error.status : 502;
    client.end(
      `HTTP/1.1 ${status} Refused\r\nX-Fc-Request-Id: ${id}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`,
    );
    return;
  }
  const fields = { instance: instance.id, requestId: id, kind: 'websocket', method: req.method, path };
  life.tell('request', fields);
  const begun = Date.now();
  const server = instance.connections.open();
  const cut = (): void => {
    client.destroy();
    server.destroy();
  };
  const timers = [setTimeout(cut, settings.timeout * 1000)];
  if (switches.webSocketIdle > 0) {
    const idle = setTimeout(cut, switches.webSocketIdle * 1000);
    timers.push(idle);
    for (const side of [client, server]) side.on('data', () => idle.refresh());
  }
  server.on('error', cut);
  client.on('close', () => server.destroy());
  server.on('close', () => {
    client.destroy();
    for (const timer of timers) clearTimeout(timer);
    life.tell('answer', { ...fields, status: 101, ms: Date.now() - begun });
    instance.release(id);
  });
  const headers = [
    ...fromClient(pairs(req.rawHeaders)),
    ...commonHeaders(settings, { requestId: id, controlPath: '/http-invoke', path: path.split('?')[0] ?? '/' }),
    ['Connection', 'Upgrade'] as const,
    ['Upgrade', req.headers.upgrade ?? 'websocket'] as const,
  ];
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  server.write(`${req.method} ${path} HTTP/1.1\r\n${lines}\r\n`, 'latin1');
  client.pipe(frames(switches.webSocketFrame, cut)).pipe(server);
  server.pipe(client);
  // what came with the upgrade comes first
  if (head.length > 0) client.unshift(head);
}

/** Passes WebSocket frames on, and cuts at one whose payload is over the limit; 0 is none. @see RFC 6455 §5.2 */
function frames(limit: number, cut: () => void): Transform {
  let header = Buffer.alloc(0);
  let payload = 0;
  return new Transform({
    transform(chunk: Buffer, _, done) {
      for (let at = 0; limit > 0 && at < chunk.length; ) {
        if (payload > 0) {
          const step = Math.min(payload, chunk.length - at);
          payload -= step;
          at += step;
          continue;
        }
        header = Buffer.concat([header, chunk.subarray(at, at + 1)]);
        at += 1;
        const length = payloadLength(header);
        if (length === undefined) continue;
        if (length > limit) return cut();
        payload = length;
        header = Buffer.alloc(0);
      }
      done(null, chunk);
    },
  });
}

/** Length of a frame's payload, once its header is whole, mask included. */
function payloadLength(header: Buffer): number | undefined {
  if (header.length < 2) return undefined;
  const short = (header[1] ?? 0) & 0x7f;
  const extended = short === 126 ? 2 : short === 127 ? 8 : 0;
  const mask = ((header[1] ?? 0) & 0x80) === 0 ? 0 : 4;
  if (header.length < 2 + extended + mask) return undefined;
  if (extended === 0) return short;
  return extended === 2 ? header.readUInt16BE(2) : Number(header.readBigUInt64BE(2));
}
