import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import { afterRunning } from './clock.ts';
import type { Config } from './config.ts';
import type { Connection, Connections } from './connection.ts';
import { GatewayError } from './errors.ts';
import type { Gateway } from './gateway.ts';

/** All connections are looked at so often, ms of running time: an instance that was frozen does not take it for their fault. */
const LOOK_MS = 1000;

/**
 * So much of a body or an answer must move within its limit of time. An answer moves when the kernel takes more of it,
 * which may be only when the client has taken a third of what that holds, up to 4 MiB.
 */
const STRETCH_BYTES = 64 * 1024;

/** Whom a connection waits for, and with what. */
type Phase = 'us' | 'head' | 'idle' | 'body' | 'answer';

/** What was seen of a connection when it last moved. */
interface Seen {
  phase: Phase;
  requests: number;
  /** Bytes that had been read, or taken by the client. */
  bytes: number;
  /** Looks since then. */
  looks: number;
}

/** Refuses a request whose head is larger than allowed. */
export function tooLarge(
  { url = '', rawHeaders }: IncomingMessage,
  { maxUrl, maxHeaders }: Config,
): GatewayError | undefined {
  if (maxUrl > 0 && url.length > maxUrl)
    return new GatewayError('URL_TOO_LONG', `target: expected at most ${maxUrl} bytes`);
  if (maxHeaders > 0 && rawHeaders.length > 2 * maxHeaders)
    return new GatewayError('HEADERS_TOO_LARGE', `headers: expected at most ${maxHeaders} lines`);
  return undefined;
}

/**
 * Has clients keep to the limits of numbers and times that are set. Times are whole seconds, and may take one more.
 *
 * Behind FC none is: it keeps its connections open, and does not repeat a POST.
 */
export function limitClients(server: Server, connections: Connections, gateway: Gateway): void {
  const { config } = gateway;
  const { maxConnections, maxAddressConnections, headTimeout, bodyTimeout, answerTimeout, idleTimeout } = config;
  const refuse = refuser(gateway);
  // 0 would have Node refuse all
  if (maxConnections > 0) server.maxConnections = maxConnections;
  // from Node 16.17 on; not in the types of all
  (server as NodeJS.EventEmitter).on('drop', () => refuse('all'));
  if (maxAddressConnections > 0) limitAddresses(server, maxAddressConnections, () => refuse('address'));
  const seconds: Readonly<Record<Phase, number>> = {
    us: 0,
    head: headTimeout,
    idle: idleTimeout,
    body: bodyTimeout,
    answer: answerTimeout,
  };
  if (headTimeout + bodyTimeout + answerTimeout + idleTimeout > 0) limitTimes(connections, seconds);
}

/** Counts connections that are refused, and logs their number, once a second at most: they come by the thousand. */
function refuser(gateway: Gateway): (reason: 'all' | 'address') => void {
  let counts: Record<string, number> | undefined;
  return reason => {
    gateway.metrics?.refuseConnection(reason);
    if (counts === undefined) {
      counts = {};
      afterRunning(LOOK_MS, () => {
        gateway.log.warn('connections refused', counts);
        counts = undefined;
      });
    }
    counts[reason] = (counts[reason] ?? 0) + 1;
  };
}

function limitAddresses(server: Server, max: number, onRefused: () => void): void {
  const counts = new Map<string, number>();
  server.on('connection', (socket: Socket) => {
    const address = networkOf(socket.remoteAddress ?? '');
    const count = counts.get(address) ?? 0;
    if (count >= max) {
      socket.destroy();
      onRefused();
      return;
    }
    counts.set(address, count + 1);
    socket.on('close', () => {
      const left = (counts.get(address) ?? 1) - 1;
      if (left > 0) counts.set(address, left);
      else counts.delete(address);
    });
  });
}

/** What one client has for certain: an address of IPv4, or the first half of one of IPv6. */
export function networkOf(address: string): string {
  const v4 = /^::ffff:([\d.]+)$/i.exec(address)?.[1];
  if (v4 !== undefined || !address.includes(':')) return v4 ?? address;
  const [head = '', tail] = address.split('::');
  const groups = head === '' ? [] : head.split(':');
  const rest = tail === undefined || tail === '' ? [] : tail.split(':');
  // only where something is left out are there fewer than eight
  while (groups.length + rest.length < 8) groups.push('0');
  return [...groups, ...rest].slice(0, 4).join(':');
}

function limitTimes(connections: Connections, seconds: Readonly<Record<Phase, number>>): void {
  const seen = new WeakMap<Connection, Seen>();

  function look(connection: Connection): void {
    const { socket, requests } = connection;
    const before = seen.get(connection);
    const phase = phaseOf(connection, before);
    const bytes = phase === 'answer' ? socket.bytesWritten - socket.writableLength : socket.bytesRead;
    const isSame = before?.phase === phase && before.requests === requests;
    const stretch = phase === 'body' || phase === 'answer' ? STRETCH_BYTES : Number.POSITIVE_INFINITY;
    if (!isSame || bytes - before.bytes >= stretch) {
      seen.set(connection, { phase, requests, bytes, looks: 0 });
      return;
    }
    // what was written in one piece is taken in one piece, as far as can be seen
    const stretches = phase === 'answer' ? Math.max(1, socket.writableLength / STRETCH_BYTES) : 1;
    if (++before.looks > seconds[phase] * stretches && seconds[phase] > 0)
      expire(connections, connection, phase, seconds);
  }

  function lookAtAll(): void {
    for (const connection of connections.all()) look(connection);
    afterRunning(LOOK_MS, lookAtAll);
  }
  lookAtAll();
}

function phaseOf({ socket, requests, current, answered, isOver }: Connection, before: Seen | undefined): Phase {
  // that has a limit of its own
  if (isOver) return 'us';
  if (socket.writableLength > 0) return 'answer';
  const req = current?.req ?? answered;
  // what is not read is not missed yet
  if (req?.complete === false) return req.isPaused() || req.readableLength > 0 ? 'us' : 'body';
  if (current !== undefined) return 'us';
  if (requests === 0) return 'head';
  if (before?.requests !== requests) return 'idle';
  return before.phase === 'head' || (before.phase === 'idle' && before.bytes < socket.bytesRead) ? 'head' : 'idle';
}

function expire(
  connections: Connections,
  connection: Connection,
  phase: Phase,
  seconds: Readonly<Record<Phase, number>>,
): void {
  const { socket, answered } = connection;
  const isSilent = phase === 'idle' || (phase === 'head' && socket.bytesRead === 0) || answered?.complete === false;
  if (isSilent) connections.close(connection);
  else if (phase === 'head') {
    connections.refuse(connection, new GatewayError('CLIENT_TOO_SLOW', `head: expected within ${seconds.head} s`));
  } else {
    const what =
      phase === 'body' ? `request body: expected the next ${STRETCH_BYTES} bytes` : 'answer: expected to be taken';
    const message = `${what} within ${seconds[phase]} s`;
    connections.spoil(connection, new GatewayError('CLIENT_TOO_SLOW', message));
    // nobody takes an answer there
    if (phase === 'answer') socket.destroy();
  }
}
