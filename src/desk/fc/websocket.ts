import { type IncomingMessage, request, STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { pipeline } from 'node:stream';
import { now } from '../../clock.ts';
import { type Answer, errorAnswer, FcError } from './answers.ts';
import { grouped } from './connections.ts';
import { deadline } from './deadline.ts';
import { commonHeaders, fromClient, type HeaderPairs, isReserved, pairs } from './headers.ts';
import type { Instance } from './instance.ts';
import { between } from './life.ts';
import { refusal } from './limits.ts';
import type { Platform } from './platform.ts';
import type { CallSession } from './sessions.ts';
import type { FunctionSettings } from './settings.ts';

/** True for the opening handshake of RFC 6455. */
export const isWebSocket = ({ headers }: IncomingMessage): boolean => /^websocket$/i.test(headers.upgrade ?? '');

/** Who or what ended a tunnel: one of its sides, or a limit of FC's. */
type End = 'client' | 'container' | 'timeout' | 'idle' | 'frame';

/**
 * Carries a WebSocket through to an instance. It is one invocation as long as it is open: it takes one of the
 * instance's slots, keeps it from freezing, and is cut at the function's timeout. FC says nothing at that:
 * the connection is gone.
 *
 * @see FC contract §6
 */
export async function tunnel(platform: Platform, req: IncomingMessage, client: Socket, head: Buffer): Promise<void> {
  const { settings, life } = platform;
  const { method = 'GET', url: path = '/' } = req;
  const given = pairs(req.rawHeaders);
  const { fields, came, record } = platform.receive(
    { kind: 'websocket', method, path },
    { method, path, headers: given },
  );
  const { requestId: id } = fields;
  const gone = new AbortController();
  client.on('close', () => gone.abort());

  let instance: Instance;
  let session: CallSession | undefined;
  try {
    const refused = refusal({ method, path, headers: given }, settings);
    if (refused !== undefined) throw refused;
    session = platform.session(method, given);
    instance = await platform.acquire(id, gone.signal, session?.id);
  } catch (error) {
    if (!(error instanceof FcError)) {
      client.destroy();
      return;
    }
    const { status, code, message } = error;
    life.tell('answer', { ...fields, status, totalMs: between(came, now()), errorType: code, message });
    respond(errorAnswer(settings, error, id, undefined), client);
    return;
  }

  const own = (): HeaderPairs => session?.headers ?? [];
  const begun = now();
  const on = {
    ...fields,
    instance: instance.id,
    queuedMs: between(came, begun),
    isCold: instance.readyAt !== undefined && instance.readyAt > came,
    wasFrozen: instance.frozen,
    retryCount: 0,
  };
  life.tell('request', on, begun);
  const upstream = instance.connections.open();
  /** What heads had taken when the tunnel opened. */
  let opened: { readonly written: number; readonly read: number } | undefined;
  let state: 'asking' | 'refusing' | 'open' | 'ended' = 'asking';

  function end(status: number, why: { ended?: End; errorType?: string | undefined }): void {
    if (state === 'ended') return;
    state = 'ended';
    stopClock();
    const moment = now();
    const ms = between(begun, moment);
    const told = {
      ...on,
      status,
      ms,
      totalMs: between(came, moment),
      billedMs: Math.ceil(ms),
      memory: instance.peakMemory(),
      bytesIn: opened === undefined ? 0 : upstream.bytesWritten - opened.written,
      bytesOut: opened === undefined ? 0 : upstream.bytesRead - opened.read,
      ...why,
    };
    life.tell('answer', told, moment);
    platform.release(instance, id, session?.id);
  }

  function cut(why: End): void {
    upstream.destroy();
    if (state === 'asking' && why !== 'client') {
      const answer = unanswered(settings, why, id, instance);
      respond(answer, client);
      end(answer.status, { errorType: answer.errorType, ended: why });
      return;
    }
    // what the container has sent still goes out
    if (why === 'container') client.end(() => client.destroy());
    else client.destroy();
    end(state === 'open' ? 101 : 499, { ended: why });
  }

  const stopClock = deadline(settings.timeout * 1000, settings.isHeld, () => {
    cut('timeout');
    if (settings.switches.timeoutKills === 'yes') instance.stop('timeout');
  });
  gone.signal.addEventListener('abort', () => cut('client'));

  const headers: HeaderPairs = [
    ...fromClient(given),
    ['Connection', 'Upgrade'],
    ['Upgrade', 'websocket'],
    ...commonHeaders(settings, { requestId: id, controlPath: '/http-invoke', path: path.split('?')[0] ?? '/' }),
  ];
  record.request = { method, path, headers };
  function begin({ statusCode: status = 0, rawHeaders }: IncomingMessage): void {
    record.response = { status, headers: pairs(rawHeaders) };
    if (state === 'ended') return;
    const moment = now();
    const firstByteMs = between(came, moment);
    life.tell('head', { instance: instance.id, requestId: id, status, firstByteMs }, moment);
  }
  const outgoing = request({
    createConnection: () => upstream,
    method,
    path,
    headers: grouped(headers),
    setHost: false,
  });
  outgoing.on('error', () => cut('container'));
  outgoing.on('response', response => {
    // the function would rather not, and says so in HTTP
    state = 'refusing';
    const passed = pairs(response.rawHeaders).filter(pair => !isReserved(settings, pair));
    const { statusCode: status = 502 } = response;
    begin(response);
    respond({ status, headers: [...passed, ...own(), ['X-Fc-Request-Id', id]], body: response }, client);
    response.on('close', () => end(status, {}));
  });
  outgoing.on('upgrade', (response, _, first) => {
    state = 'open';
    begin(response);
    opened = { written: upstream.bytesWritten, read: upstream.bytesRead - first.length };
    const passed = pairs(response.rawHeaders).filter(
      pair => !isReserved(settings, pair) && !/^upgrade$/i.test(pair[0]),
    );
    client.write(
      headOf(101, [...passed, ...own(), ['Connection', 'Upgrade'], ['Upgrade', 'websocket'], ['X-Fc-Request-Id', id]]),
    );
    if (first.length > 0) upstream.unshift(first);
    if (head.length > 0) client.unshift(head);
    watch(settings, [client, upstream], cut);
    client.pipe(upstream);
    upstream.pipe(client);
    upstream.on('error', () => {});
    upstream.on('close', () => cut('container'));
  });
  outgoing.end();
}

/** FC's limits of an open tunnel that nobody is certain of. */
function watch({ switches }: FunctionSettings, ends: readonly Socket[], cut: (why: End) => void): void {
  const { webSocketIdle, webSocketFrame } = switches;
  let timer: NodeJS.Timeout | undefined;
  const rest = (): void => {
    clearTimeout(timer);
    timer = setTimeout(() => cut('idle'), webSocketIdle * 1000);
  };
  if (webSocketIdle > 0) rest();
  for (const socket of ends) {
    if (webSocketIdle > 0) socket.on('data', rest);
    if (webSocketFrame > 0) {
      socket.on(
        'data',
        frameParser(length => {
          if (length > webSocketFrame) cut('frame');
        }),
      );
    }
    socket.on('close', () => clearTimeout(timer));
  }
}

/**
 * Follows a stream of frames by their headers alone, and tells the payload's length of each as soon as its header
 * is there. Takes chunks of any size.
 *
 * @see RFC 6455 §5.2
 */
export function frameParser(onFrame: (payloadBytes: number) => void): (chunk: Buffer) => void {
  let header = Buffer.alloc(0);
  /** Of the payload, still to come. */
  let skip = 0;
  return chunk => {
    let rest = chunk;
    while (rest.length > 0) {
      const passed = Math.min(skip, rest.length);
      skip -= passed;
      rest = rest.subarray(passed);
      if (rest.length === 0) return;
      const begun = header.length;
      header = Buffer.concat([header, rest.subarray(0, 14)]);
      const size = headerBytes(header);
      if (header.length < size) return;
      rest = rest.subarray(size - begun);
      skip = payloadBytes(header);
      header = Buffer.alloc(0);
      onFrame(skip);
    }
  };
}

function headerBytes(header: Buffer): number {
  const second = header[1];
  if (second === undefined) return 2;
  const short = second & 0x7f;
  return 2 + (short === 126 ? 2 : short === 127 ? 8 : 0) + (second & 0x80 ? 4 : 0);
}

function payloadBytes(header: Buffer): number {
  const short = header.readUInt8(1) & 0x7f;
  return short === 126 ? header.readUInt16BE(2) : short === 127 ? Number(header.readBigUInt64BE(2)) : short;
}

/** The container has not even said yes or no. */
function unanswered(settings: FunctionSettings, why: End, id: string, instance: Instance): Answer {
  const text =
    why === 'timeout'
      ? `Function time out after ${settings.timeout} seconds`
      : 'Process exited unexpectedly before completing request';
  const status = why === 'timeout' ? settings.switches.timeoutStatus : 502;
  return errorAnswer(settings, new FcError('function', 'UnhandledInvocationError', status, text), id, instance.id);
}

/** Answers in plain HTTP on a connection that has left node:http's hands, and closes it. */
function respond({ status, headers, body }: Pick<Answer, 'status' | 'headers' | 'body'>, client: Socket): void {
  client.write(headOf(status, [...headers, ['Connection', 'close']]));
  pipeline(body, client, () => {});
}

function headOf(status: number, headers: HeaderPairs): string {
  const lines = headers.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines}\r\n`;
}
