import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Connection, openConnection } from '../../src/h2/connection.ts';
import type { H2Error } from '../../src/h2/error.ts';
import type { Fields } from '../../src/h2/hpack.ts';
import type { Stream, StreamListener } from '../../src/h2/stream.ts';
import { within } from '../helpers.ts';

// A server's side of HTTP/2, by hand: what it writes may be wrong in any way. None of it comes from src/, so
// that a fault there is not made here too.

export const PREFACE: Buffer = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n');

export const Type = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = { END_STREAM: 1, ACK: 1, END_HEADERS: 4, PADDED: 8, PRIORITY: 0x20 } as const;

export const Setting = {
  HEADER_TABLE_SIZE: 1,
  ENABLE_PUSH: 2,
  MAX_CONCURRENT_STREAMS: 3,
  INITIAL_WINDOW_SIZE: 4,
  MAX_FRAME_SIZE: 5,
  MAX_HEADER_LIST_SIZE: 6,
} as const;

/** A whole frame. */
export function frameOf(type: number, flags: number, streamId: number, payload: Uint8Array | string = ''): Buffer {
  const body = Buffer.from(payload);
  const header = Buffer.alloc(9);
  header.writeUIntBE(body.length, 0, 3);
  header[3] = type;
  header[4] = flags;
  header.writeUInt32BE(streamId, 5);
  return Buffer.concat([header, body]);
}

/** Numbers of 32 bits, one after the other. */
export function uint32(...values: number[]): Buffer {
  const out = Buffer.alloc(4 * values.length);
  values.forEach((value, i) => {
    out.writeUInt32BE(value, 4 * i);
  });
  return out;
}

export function settings(...pairs: [id: number, value: number][]): Buffer {
  const payload = pairs.map(([id, value]) => Buffer.concat([Buffer.of(id >> 8, id & 0xff), uint32(value)]));
  return frameOf(Type.SETTINGS, 0, 0, Buffer.concat(payload));
}

export const data = (streamId: number, bytes: Uint8Array | string, flags: number = 0): Buffer =>
  frameOf(Type.DATA, flags, streamId, bytes);

export const windowUpdate = (streamId: number, increment: number): Buffer =>
  frameOf(Type.WINDOW_UPDATE, 0, streamId, uint32(increment));

export const rstStream = (streamId: number, code: number): Buffer =>
  frameOf(Type.RST_STREAM, 0, streamId, uint32(code));

export const goaway = (lastId: number, code: number): Buffer =>
  frameOf(Type.GOAWAY, 0, 0, Buffer.concat([uint32(lastId, code), Buffer.from('why')]));

/** A header block of literals, their names and values as they are. */
export function block(...fields: string[]): Buffer {
  const string = (text: string): Buffer => Buffer.concat([integer(text.length), Buffer.from(text, 'latin1')]);
  const integer = (value: number): Buffer => {
    if (value < 127) return Buffer.of(value);
    const bytes = [127];
    let rest = value - 127;
    for (; rest > 127; rest >>= 7) bytes.push((rest & 127) | 128);
    return Buffer.from([...bytes, rest]);
  };
  const parts: Buffer[] = [];
  for (let i = 0; i < fields.length; i += 2) {
    parts.push(Buffer.of(0), string(fields[i] as string), string(fields[i + 1] as string));
  }
  return Buffer.concat(parts);
}

/** A HEADERS frame with a whole block of literals. */
export const headers = (streamId: number, fields: readonly string[], flags: number = 0): Buffer =>
  frameOf(Type.HEADERS, Flag.END_HEADERS | flags, streamId, block(...fields));

/** A HEADERS frame with any bytes for a block, or the beginning of one. */
export const head = (streamId: number, flags: number, bytes: Uint8Array): Buffer =>
  frameOf(Type.HEADERS, flags, streamId, bytes);

export const continuation = (streamId: number, flags: number, bytes: Uint8Array | string = ''): Buffer =>
  frameOf(Type.CONTINUATION, flags, streamId, bytes);

/** What most responses begin with. */
export const OK: readonly string[] = [':status', '200'];

/** A frame that the client has sent. */
export interface Received {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  readonly payload: Buffer;
}

/** Frames of a type, of one stream or of all. */
export const framesOf = (frames: readonly Received[], type: number, streamId?: number): Received[] =>
  frames.filter(frame => frame.type === type && (streamId === undefined || frame.streamId === streamId));

/** Bytes of body that came on a stream. */
export const bodyOf = (frames: readonly Received[], streamId: number): Buffer =>
  Buffer.concat(framesOf(frames, Type.DATA, streamId).map(({ payload }) => payload));

/** A body whose every byte says where it is. */
export function pattern(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) bytes[i] = i ^ (i >>> 8) ^ (i >>> 16);
  return bytes;
}

/** A connection, seen by its server. */
export interface Peer {
  readonly socket: Socket;
  /** What came, one entry for each read. */
  readonly reads: Buffer[];
  /** Every frame that came, after the preface. */
  readonly frames: Received[];
  /** Sends bytes in one write. */
  send(...bytes: Uint8Array[]): void;
  /** Resolves with the next frame that passes, and was not given before. */
  take(type: number, streamId?: number): Promise<Received>;
  /** Resolves when all that was sent has been read and answered: the client has answered a PING after it. */
  settle(): Promise<void>;
  /** Resolves when the client has closed. */
  readonly closed: Promise<void>;
}

/** A server for scripts. */
export interface PeerServer {
  readonly path: string;
  /** Resolves with the next connection. */
  accept(): Promise<Peer>;
  close(): void;
}

/** Path of a socket in a folder of its own, which is removed when the process ends. */
export function socketPath(): string {
  const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return join(folder, 'h2.sock');
}

/** Listens on a unix socket. */
export async function listen(path: string = socketPath()): Promise<PeerServer> {
  const sockets: Socket[] = [];
  const takers: ((socket: Socket) => void)[] = [];
  const server = createServer({ allowHalfOpen: true }, socket => {
    const taker = takers.shift();
    if (taker === undefined) sockets.push(socket.pause());
    else taker(socket);
  });
  await new Promise<void>(done => server.listen(path, done));
  return {
    path,
    accept: () =>
      within(
        5000,
        new Promise<Socket>(done => {
          const socket = sockets.shift();
          if (socket === undefined) takers.push(done);
          else done(socket);
        }).then(watch),
        'a connection',
      ),
    close: () => server.close(),
  };
}

/** Collects what a client sends. */
export function watch(socket: Socket): Peer {
  const reads: Buffer[] = [];
  const frames: Received[] = [];
  const untaken: Received[] = [];
  const checks = new Set<() => void>();
  let rest: Buffer = Buffer.alloc(0);
  let isPrefaceDue = true;
  let pings = 0;

  socket.on('data', (chunk: Buffer) => {
    reads.push(chunk);
    rest = Buffer.concat([rest, chunk]);
    if (isPrefaceDue && rest.length >= PREFACE.length) {
      isPrefaceDue = false;
      rest = rest.subarray(PREFACE.length);
    }
    while (!isPrefaceDue && rest.length >= 9 && rest.length >= 9 + rest.readUIntBE(0, 3)) {
      const end = 9 + rest.readUIntBE(0, 3);
      const received = {
        type: rest[3] as number,
        flags: rest[4] as number,
        streamId: rest.readUInt32BE(5),
        payload: rest.subarray(9, end),
      };
      rest = rest.subarray(end);
      frames.push(received);
      untaken.push(received);
    }
    for (const check of [...checks]) check();
  });
  const closed = new Promise<void>(done => {
    socket.on('end', () => socket.end());
    socket.on('close', () => done());
  });
  // a client that has gone may leave an ECONNRESET
  socket.on('error', () => {});
  socket.resume();

  function find(what: string, passes: (frame: Received) => boolean): Promise<Received> {
    const found = new Promise<Received>(done => {
      const check = (): void => {
        const at = untaken.findIndex(passes);
        if (at < 0) return;
        checks.delete(check);
        done(...(untaken.splice(at, 1) as [Received]));
      };
      checks.add(check);
      check();
    });
    return within(5000, found, what);
  }

  return {
    socket,
    reads,
    frames,
    send: (...bytes) => {
      socket.write(Buffer.concat(bytes));
    },
    take: (type, streamId) =>
      find(
        `frame ${type} on stream ${streamId}`,
        frame => frame.type === type && (streamId === undefined || frame.streamId === streamId),
      ),
    async settle() {
      const payload = Buffer.concat([Buffer.from('ping'), uint32(++pings)]);
      socket.write(frameOf(Type.PING, 0, 0, payload));
      await find(
        'the answer to a PING',
        frame => frame.type === Type.PING && frame.flags === Flag.ACK && frame.payload.equals(payload),
      );
    },
    closed: closed,
  };
}

/** A response as its listener heard it. */
export interface Heard {
  readonly listener: StreamListener;
  /** `headers`, `drain` and `close` in order; a body between them is one `data`. */
  readonly events: string[];
  /** Heads and trailers. */
  readonly sections: Fields[];
  body(): Buffer;
  /** Resolves when the stream has come to its end, within 5 s. */
  closed(): Promise<H2Error | undefined>;
}

/** Makes a listener that remembers. `onData` gets each piece, too. */
export function hear(onData: (piece: Buffer) => void = () => {}): Heard {
  const events: string[] = [];
  const sections: Fields[] = [];
  const pieces: Buffer[] = [];
  let settle: (error: H2Error | undefined) => void = () => {};
  const closed = new Promise<H2Error | undefined>(done => {
    settle = done;
  });
  return {
    events,
    sections,
    body: () => Buffer.concat(pieces),
    closed: () => within(5000, closed, 'the end of a stream'),
    listener: {
      onHeaders(fields) {
        events.push('headers');
        sections.push(fields);
      },
      onData(piece) {
        if (events[events.length - 1] !== 'data') events.push('data');
        // a copy: that what was handed out stays as it is has its own test
        pieces.push(Buffer.from(piece));
        onData(piece);
      },
      onDrain: () => events.push('drain'),
      onClose(error) {
        events.push('close');
        settle(error);
      },
    },
  };
}

/** What a connection has said of itself. */
export interface Watched {
  readonly connection: Connection;
  /** `open`, `draining`, `capacity`, `close`. */
  readonly events: string[];
  /** Resolves when it is open, within 5 s. */
  opened(): Promise<void>;
  /** Resolves when it is closed, within 10 s. */
  closed(): Promise<H2Error>;
}

/** Opens a connection and remembers what it says. */
export function openWatched(path: string, maxRequests?: number): Watched {
  const events: string[] = [];
  let opened: () => void = () => {};
  let closed: (error: H2Error) => void = () => {};
  const onOpened = new Promise<void>(done => {
    opened = done;
  });
  const onClosed = new Promise<H2Error>(done => {
    closed = done;
  });
  const connection = openConnection(
    path,
    {
      onOpen() {
        events.push('open');
        opened();
      },
      onDraining: () => events.push('draining'),
      onCapacity: () => events.push('capacity'),
      onClose(error) {
        events.push('close');
        closed(error);
      },
    },
    maxRequests,
  );
  return {
    connection,
    events,
    opened: () => within(5000, onOpened, 'an open connection'),
    closed: () => within(10_000, onClosed, 'the end of a connection'),
  };
}

/** A connection and its peer, both by hand. */
export interface Pair extends Watched {
  readonly peer: Peer;
  /** Opens a stream with a block that the peer does not look at. */
  request(heard: Heard): Stream;
}

/** What a request of these tests sends. */
export const REQUEST: Buffer = block(':method', 'POST');

/** Runs a test's body with an open connection. */
export async function withPeer(
  body: (pair: Pair) => Promise<void>,
  opening: Buffer = settings(),
  maxRequests?: number,
): Promise<void> {
  const server = await listen();
  const accepted = server.accept();
  const watched = openWatched(server.path, maxRequests);
  const peer = await accepted;
  try {
    peer.send(opening);
    await watched.opened();
    await body({ ...watched, peer, request: ({ listener }) => watched.connection.request(REQUEST, listener) });
  } finally {
    watched.connection.close();
    peer.socket.destroy();
    server.close();
  }
}
