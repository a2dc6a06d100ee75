import { Agent, type ClientRequest, type IncomingMessage, type OutgoingHttpHeaders, request } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Readable } from 'node:stream';
import type { HeaderPairs } from './headers.ts';
import { pass } from './pass.ts';

/** More than FC takes, so that it is FC's own limit that a response exceeds. */
const MAX_HEADER_BYTES = 64 * 1024;

/** One request to a container. */
export interface Exchange {
  readonly method: string;
  /** With the query. */
  readonly path: string;
  readonly headers: HeaderPairs;
  /** Undefined sends none. A body without Content-Length goes in chunks. */
  readonly body?: Readable | undefined;
  /** Ends the exchange: aborted before the head it rejects, after it the body fails. */
  readonly signal: AbortSignal;
  /** An end by the signal resets the connection, which closes it otherwise. */
  readonly reset?: boolean;
  /** Opens a connection of its own, and gives up those that idle: one of them has just turned out to be dead. */
  readonly fresh?: boolean;
}

/** The connections of FC to one instance: pooled, and closed by nobody but the container. */
export interface Connections {
  /** Resolves with the head. Rejects when the connection breaks before it. */
  exchange(exchange: Exchange): Promise<IncomingMessage>;
  /** A connection of its own, for what is no plain request. */
  open(): Socket;
  close(): void;
}

/** What Node lets an agent of one's own decide. @see Node.js, `agent.keepSocketAlive`, `agent.reuseSocket` */
interface Reuse {
  keepSocketAlive(socket: Socket): boolean;
  reuseSocket(socket: Socket, request: ClientRequest): void;
}

/**
 * Opens connections to an instance as they are needed, and keeps each for the next request.
 *
 * @param idleSeconds - FC's own idle limit; 0 is none.
 */
export function createConnections(host: string, port: number, idleSeconds: number): Connections {
  const agent: Agent & Partial<Reuse> = new Agent({ keepAlive: true, maxFreeSockets: Number.POSITIVE_INFINITY });
  const sockets = new Set<Socket>();
  const reuse = agent.reuseSocket?.bind(agent);
  // Node's own would heed the container's `Keep-Alive: timeout=5` and close in time; FC does not
  agent.keepSocketAlive = socket => {
    socket.setTimeout(idleSeconds * 1000);
    return true;
  };
  agent.reuseSocket = (socket, next) => {
    socket.setTimeout(0);
    reuse?.(socket, next);
  };
  return {
    exchange({ method, path, headers, body, signal, reset = false, fresh = false }) {
      return new Promise((resolve, reject) => {
        if (fresh) for (const socket of Object.values(agent.freeSockets).flat()) socket?.destroy();
        const outgoing = request({
          agent,
          host,
          port,
          method,
          path,
          headers: grouped(headers),
          setHost: false,
          maxHeaderSize: MAX_HEADER_BYTES,
        });
        const abort = (): void => {
          if (reset && outgoing.socket !== null) resetSocket(outgoing.socket);
          outgoing.destroy(new Error('aborted'));
        };
        if (signal.aborted) abort();
        signal.addEventListener('abort', abort);
        outgoing.on('close', () => signal.removeEventListener('abort', abort));
        outgoing.on('socket', socket => {
          if (sockets.has(socket)) return;
          sockets.add(socket);
          socket.once('close', () => sockets.delete(socket));
          socket.on('timeout', () => socket.destroy());
        });
        outgoing.on('response', response => {
          // who has been given the body hears of its end there; without a listener it would end this process
          response.on('error', () => {});
          resolve(response);
        });
        outgoing.on('error', reject);
        if (body === undefined) {
          outgoing.end();
          return;
        }
        // the container may answer before there is any body
        outgoing.flushHeaders();
        // before that ends the request, and leaves only "socket hang up" to be told
        body.on('error', reject);
        pass(body, outgoing);
      });
    },
    open: () => connect(port, host),
    close() {
      agent.destroy();
      for (const socket of sockets) socket.destroy();
    },
  };
}

/** Headers as node:http wants them: those of one name together. */
export function grouped(headers: HeaderPairs): OutgoingHttpHeaders {
  const result = new Map<string, [string, string | string[]]>();
  for (const [name, value] of headers) {
    const before = result.get(name.toLowerCase());
    if (before === undefined) result.set(name.toLowerCase(), [name, value]);
    else before[1] = [...(typeof before[1] === 'string' ? [before[1]] : before[1]), value];
  }
  return Object.fromEntries(result.values());
}

/** Ends a connection with RST where Node can, from 18.3 on, else with FIN. */
export function resetSocket(socket: Socket): void {
  const resettable: Socket & { resetAndDestroy?(): void } = socket;
  if (resettable.resetAndDestroy === undefined) socket.destroy();
  else resettable.resetAndDestroy();
}
