import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { GatewayError } from './errors.ts';
import type { Exchange } from './gateway.ts';
import { beStrict, IS_LAX } from './strict.ts';
import { Table } from './table.ts';

/** What node:http takes of a body's chunk extensions, where it counts them. */
const MAX_EXTENSION_BYTES = 16 * 1024;

/** Requests that may wait for their turn before no more are read; those of one read may be more. */
const MAX_WAITING = 16;

/** What a client may still send of a request whose answer is out, before its connection ends. FC takes no more in all. */
const MAX_REST_BYTES = 32 * 1024 * 1024;

/** What is read of it, and the time for the client to take the answer, ms, when the connection ends with that. */
const LINGER_BYTES = 1024 * 1024;
const LINGER_MS = 1000;

/** What the requests of a connection are handed to, one at a time. */
export interface Handler {
  /** A request's turn has come; it ends with `close` of its response. With a fault it came broken, and is answered so. */
  begin(req: IncomingMessage, res: ServerResponse, fault: GatewayError | undefined): Exchange;
  /** What is being worked on turns out to be broken: the rest of it cannot be read. */
  spoil(exchange: Exchange, fault: GatewayError): void;
  /** The response is out, or its connection gone. */
  end(exchange: Exchange): void;
  /** The connection is gone before the request's turn came. */
  drop(req: IncomingMessage, res: ServerResponse): void;
  /** Gives the whole answer, head and all, to bytes that are no request. */
  refuse(fault: GatewayError, reason: string | undefined): string;
}

/** A request whose turn has not come. */
interface Waiting {
  readonly req: IncomingMessage;
  readonly res: ServerResponse;
  fault: GatewayError | undefined;
}

/** One client's connection. */
export interface Connection {
  readonly socket: Socket;
  /** Requests that have begun. */
  requests: number;
  /** Being worked on. */
  current: Exchange | undefined;
  /** The last one that was answered before all of it had come. */
  answered: IncomingMessage | undefined;
  readonly waiting: Waiting[];
  /** So much waits, or has come behind the last answer, that nothing more is read. */
  isPaused: boolean;
  /** The last answer is out. */
  isOver: boolean;
  /** What came behind the last request and cannot be read; it is answered when all before it is. */
  fault: GatewayError | undefined;
  reason: string | undefined;
}

/** Where a socket keeps what is known of it: a lookup in a map would cost each request more. */
const CONNECTION = Symbol('connection');
type ClientSocket = Socket & { [CONNECTION]: Connection };

/** The connections of a server. */
export interface Connections {
  /** All that are open. */
  all(): readonly Connection[];
  /** Ends one, and what is being answered on it. */
  close(connection: Connection): void;
  /** Answers what is not a request yet, and ends the connection. */
  refuse(connection: Connection, fault: GatewayError): void;
  /** Ends the work on its request, the rest of which is not waited for. */
  spoil(connection: Connection, fault: GatewayError): void;
  /** Ends those on which nothing is being answered. */
  closeIdle(): void;
}

/**
 * Lets a server work on one request of a connection at a time, in order: the next begins when the last byte of the
 * answer before it is handed over. What waits has not begun, and ends with the socket.
 *
 * What cannot be parsed is answered once, after all requests that came whole before it, and ends the connection.
 * Behind a request or answer that ends it, nothing is read any more.
 *
 * @param maxHeaderBytes - what node:http takes of a head, for who sends more.
 * @see RFC 9112 §9.3.2 (pipelining), §9.6 (tear-down), §2.2 (invalid messages)
 */
export function serveConnections(server: Server, handler: Handler, maxHeaderBytes: number): Connections {
  const connections = new Table<Connection>();

  function onConnection(socket: Socket): void {
    const connection: Connection = {
      socket,
      requests: 0,
      current: undefined,
      answered: undefined,
      waiting: [],
      isPaused: false,
      isOver: false,
      fault: undefined,
      reason: undefined,
    };
    Object.assign(socket, { [CONNECTION]: connection });
    if (IS_LAX) beStrict(socket);
    const id = connections.add(connection);
    socket.on('close', () => connections.delete(id));
    // so node:http closes it behind its last answer
    socket.destroySoon = () => linger(connection);
    // node:http reads on with each answer that has drained, however many wait
    socket.on('resume', () => {
      if (connection.isPaused) socket.pause();
    });
  }

  function onRequest(req: IncomingMessage, res: ServerResponse): void {
    const connection = (req.socket as ClientSocket)[CONNECTION];
    const { socket, current, waiting, isOver } = connection;
    if (isOver) {
      // there may be more of them
      socket.pause();
    } else if (current === undefined) {
      // of one read, a part can be parsed when the connection has been found to be gone
      if (socket.writable) begin(connection, req, res, undefined);
      else handler.drop(req, res);
    } else {
      waiting.push({ req, res, fault: undefined });
      // beyond that a client's requests are its kernel's to keep; while fewer wait, its leaving is noticed
      if (waiting.length < MAX_WAITING) return;
      connection.isPaused = true;
      socket.pause();
    }
  }

  function begin(
    connection: Connection,
    req: IncomingMessage,
    res: ServerResponse,
    fault: GatewayError | undefined,
  ): void {
    const exchange = handler.begin(req, res, fault);
    connection.requests++;
    connection.current = exchange;
    // what nobody has read must leave the connection before the next request can be read from it; before node:http, which
    // would read without a limit
    res.prependListener('finish', () => {
      if (!req.readableEnded) readRest(connection, req);
    });
    res.on('close', () => {
      handler.end(exchange);
      connection.answered = req.complete ? undefined : req;
      goOn(connection);
    });
  }

  /** The turn of the next request, if there may be one. */
  function goOn(connection: Connection): void {
    const { socket, waiting } = connection;
    connection.current = undefined;
    // behind the last answer, what waits does not count
    if (connection.isOver) return;
    if (!socket.writable) {
      for (const { req, res } of waiting.splice(0)) handler.drop(req, res);
      return;
    }
    const next = waiting.shift();
    if (connection.isPaused && waiting.length === 0) {
      connection.isPaused = false;
      socket.resume();
    }
    if (next !== undefined) begin(connection, next.req, next.res, next.fault);
    else if (connection.fault !== undefined) refuse(connection, connection.fault);
  }

  function onClientError(error: NodeJS.ErrnoException, duplex: unknown): void {
    const socket = duplex as ClientSocket;
    const connection = socket[CONNECTION];
    const { code = '' } = error;
    const { current, waiting } = connection;
    const last = waiting.at(-1) ?? current;
    const isCut = code === 'HPE_INVALID_EOF_STATE' && last === current && current?.req.complete === false;
    if (!code.startsWith('HPE_') || isCut) {
      // FC's TCP probe ends so, and so does whoever leaves in the middle: no news
      socket.destroy();
      return;
    }
    // node:http says it again with each read; and what is behind the last answer does not count
    if (connection.fault !== undefined || code === 'HPE_CLOSED_CONNECTION' || connection.isOver) return;
    refuseLater(connection, faultOf(code, maxHeaderBytes), code);
  }

  /** Node leaves a socket, unread, to whoever listens for CONNECT, and cuts it off when nobody does. */
  function onConnect(_: IncomingMessage, duplex: unknown): void {
    const socket = duplex as ClientSocket;
    const connection = socket[CONNECTION];
    socket.on('error', () => socket.destroy());
    socket.on('drain', () => connection.current?.res.emit('drain'));
    // whose calls are still being answered must be seen to leave
    socket.on('end', () => socket.end());
    socket.resume();
    if (connection.fault !== undefined || connection.isOver) return;
    const fault = new GatewayError('NOT_IMPLEMENTED', 'method CONNECT: this is no proxy');
    connection.fault = fault;
    connection.reason = 'CONNECT';
    if (connection.current === undefined) refuse(connection, fault);
  }

  function refuseLater(connection: Connection, fault: GatewayError, reason: string): void {
    const { current, waiting } = connection;
    const last = waiting.at(-1);
    connection.fault = fault;
    connection.reason = reason;
    if (current === undefined) refuse(connection, fault);
    // whose body is not to be read to its end is answered itself, and nothing after it
    else if (last !== undefined && !last.req.complete) last.fault = fault;
    else if (last === undefined && !current.req.complete) handler.spoil(current, fault);
  }

  function refuse({ socket, reason, answered }: Connection, fault: GatewayError): void {
    // one that is answered is not answered again
    if (answered?.complete !== false) socket.write(handler.refuse(fault, reason));
    socket.destroySoon();
  }

  server.on('connection', onConnection);
  server.on('request', onRequest);
  // without these node:http asks for the whole body before it is known whether anyone wants it, and answers itself
  server.on('checkContinue', onRequest);
  server.on('checkExpectation', onRequest);
  server.on('clientError', onClientError);
  server.on('connect', onConnect);

  return {
    all: () => connections.values(),
    close: linger,
    refuse(connection, fault) {
      connection.fault = fault;
      connection.reason = fault.code;
      refuse(connection, fault);
    },
    spoil({ current }, fault) {
      if (current !== undefined) handler.spoil(current, fault);
    },
    closeIdle() {
      for (const connection of connections.values()) if (connection.current === undefined) linger(connection);
    },
  };
}

/** Reads what is left of a request that is answered. */
function readRest(connection: Connection, req: IncomingMessage): void {
  let bytes = 0;
  req.on('data', (chunk: Buffer) => {
    bytes += chunk.length;
    if (bytes <= (connection.isOver ? LINGER_BYTES : MAX_REST_BYTES)) return;
    connection.isPaused = true;
    connection.socket.pause();
    linger(connection);
  });
  req.resume();
  // an agent that lets go of the body only now must not stop it
  req.on('pause', () => req.resume());
}

/**
 * Ends a connection, and goes on reading a while: closed over bytes that are unread or still come, the kernel resets it,
 * and the client may lose the answer.
 *
 * @see RFC 9112 §9.6
 */
function linger(connection: Connection): void {
  const { socket } = connection;
  if (connection.isOver) return;
  connection.isOver = true;
  // with the client's own end it is closed
  socket.end();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.on('close', () => clearTimeout(timer));
}

/** Says what node:http's parser found. */
function faultOf(code: string, maxHeaderBytes: number): GatewayError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new GatewayError(
        'HEADERS_TOO_LARGE',
        `request line and headers: expected at most ${maxHeaderBytes} bytes`,
      );
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new GatewayError('BODY_TOO_LARGE', `chunk extensions: expected at most ${MAX_EXTENSION_BYTES} bytes`);
    default:
      return new GatewayError('BAD_REQUEST', 'not an HTTP/1.1 request');
  }
}
