import { mkdirSync, rmSync } from 'node:fs';
import type { ServerHttp2Stream } from 'node:http2';
import { createServer, type Socket } from 'node:net';
import { dirname } from 'node:path';
import { type Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js';
import type { HostRequest, SubscriptionChunk } from './messages.ts';
import { encode } from './protocol.ts';

/** What has come in at a plane. */
export interface Counters {
  /** Connections open now. */
  sessions: number;
  /** Streams open now, without those of Host.connect. */
  streams: number;
  /** Streams of Host.connect open now. */
  hosted: number;
  /** Calls begun since the start, by method. */
  begun: Record<string, number>;
  /** Calls that the client reset before they were answered to the end. */
  cancelled: number;
  /** The last calls of `invoke` and `invokeService`, oldest first. */
  calls: CallCounters[];
}

export interface CallCounters {
  method: string;
  /** Of the function or service, and the id that the client gave; empty until the first message. */
  name: string;
  requestId: string;
  /** Messages received. */
  messages: number;
  /** Body received. */
  bytes: number;
  isOpen: boolean;
  /** Code of the RST_STREAM received. */
  resetCode?: number;
}

/** Calls that are remembered: a load test must not fill the memory. */
const MAX_CALLS = 256;

/** A gRPC server on a plane's socket. */
export interface Listener {
  readonly counters: Counters;
  /** Counts a call; to be called first of all in its handler. */
  begin(call: object, method: string): CallCounters;
  /** Ends all connections, as a plane does on SIGTERM. */
  close(): void;
}

/** What a plane's gRPC server is asked about. */
interface Hosting {
  readonly hosted: number;
}

/** The raw socket of a session hangs on itself under this name: the session hides it behind a proxy. */
const RAW = Symbol('socket');

/** Serves on a unix socket. An old file in its place is removed, and the folder made, as planes do. */
export async function listen(server: Server, file: string, host: Hosting): Promise<Listener> {
  const sockets = new Set<Socket>();
  const calls: CallCounters[] = [];
  const begun: Record<string, number> = {};
  let streams = 0;
  let cancelled = 0;

  const injector = server.createConnectionInjector(ServerCredentials.createInsecure());
  const acceptor = createServer(socket => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    injector.injectConnection(Object.assign(socket, { [RAW]: socket }));
  });
  rmSync(file, { force: true });
  mkdirSync(dirname(file), { recursive: true });
  await new Promise<void>((done, fail) => {
    acceptor.on('error', fail);
    acceptor.listen(file, done);
  });

  return {
    get counters() {
      return { sessions: sockets.size, streams, hosted: host.hosted, begun, cancelled, calls };
    },
    begin(call, method) {
      const stream = streamOf(call);
      const { session } = stream;
      const entry: CallCounters = { method, name: '', requestId: '', messages: 0, bytes: 0, isOpen: true };
      begun[method] = (begun[method] ?? 0) + 1;
      streams++;
      stream.on('close', () => {
        entry.isOpen = false;
        streams--;
        // with its session gone a stream has a code as well, but nobody has sent it
        if (session?.destroyed !== false || resetByUs.has(stream)) return;
        if (stream.aborted) cancelled++;
        if (stream.aborted || stream.rstCode !== 0) entry.resetCode = stream.rstCode;
      });
      if (method.startsWith('invoke')) calls.push(entry);
      if (calls.length > MAX_CALLS) calls.shift();
      return entry;
    },
    close() {
      acceptor.close();
      server.forceShutdown();
    },
  };
}

/** The HTTP/2 stream under a call. grpc-js keeps it to itself, and no other way leads to codes and sockets. */
export function streamOf(call: object): ServerHttp2Stream {
  const { stream } = (call as { call: { stream?: ServerHttp2Stream } }).call;
  if (stream === undefined) throw new Error('grpc-js: expected call.call.stream');
  return stream;
}

const resetByUs = new WeakSet<ServerHttp2Stream>();

/** Sends RST_STREAM with NO_ERROR. */
export function resetStream(stream: ServerHttp2Stream): void {
  resetByUs.add(stream);
  stream.close();
}

/** The socket under a stream, to be cut. */
export function socketOf({ session }: ServerHttp2Stream): Socket | undefined {
  return (session?.socket as (Socket & { [RAW]?: Socket }) | undefined)?.[RAW];
}

/** What both planes serve beside their own methods. */
export interface Host {
  /** Host.connect: one liveness event at once, and one for each probe; and what was subscribed to. */
  readonly connect: (call: HostCall) => void;
  /** Streams open now. */
  readonly hosted: number;
  /** Tells it all subscribers. */
  broadcast(name: string, typeUrl: string, message: object): void;
}

type HostCall = ServerDuplexStream<HostRequest, SubscriptionChunk>;

const SUBSCRIBE = 1;
const LIVENESS_PROBE = 2;

/** Makes the host of a plane. */
export function createHost(): Host {
  const subscribers = new Map<string, Set<HostCall>>();
  const open = new Set<HostCall>();
  const send = (call: HostCall, name: string, typeUrl: string, message: object): void => {
    call.write({ timestamp: Date.now(), events: [{ name, data: { typeUrl, data: encode(typeUrl, message) } }] });
  };
  const live = (call: HostCall): void => {
    const message = { timestamp: Date.now(), component_liveness: { key: 'host', value: 'ok' } };
    send(call, 'host.liveness', 'noslated.LivenessProbeEventData', message);
  };

  return {
    get hosted() {
      return open.size;
    },
    connect(call) {
      const leave = (): void => {
        for (const calls of subscribers.values()) calls.delete(call);
        open.delete(call);
      };
      open.add(call);
      call.on('data', ({ type, subscription }) => {
        if (type === LIVENESS_PROBE) live(call);
        if (type !== SUBSCRIBE || subscription?.eventName === undefined) return;
        const calls = subscribers.get(subscription.eventName) ?? new Set();
        subscribers.set(subscription.eventName, calls);
        if (subscription.subscribe === true) calls.add(call);
        else calls.delete(call);
      });
      // whoever ends its side is no subscriber any more
      call.on('end', leave);
      call.on('cancelled', leave);
      live(call);
    },
    broadcast(name, typeUrl, message) {
      for (const call of subscribers.get(name) ?? []) send(call, name, typeUrl, message);
    },
  };
}
