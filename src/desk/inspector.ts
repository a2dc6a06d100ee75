import { connect, createServer, type Socket } from 'node:net';
import { is, type Life } from './fc/life.ts';
import { listen } from './fc/port.ts';

/** What Node.js prints when it can be debugged. */
const LISTENING = /^Debugger listening on ws:\/\/127\.0\.0\.1:(\d+)\//;
/** So long a debugger that comes too early waits for a process. */
const PATIENCE_MS = 5000;

/** The variable that opens a process to a debugger, at a port of its own. */
export const inspectOptions = (given: string | undefined): string =>
  [given, '--inspect=127.0.0.1:0'].filter(Boolean).join(' ');

/** Where a debugger finds whichever process there is. */
export interface Inspector {
  /** Whether one is connected. */
  isAttached(): boolean;
  close(): void;
}

/** What debuggers want of instances. */
export interface Debugged {
  /** Someone asks: a process that stands still would not answer. */
  wake(): void;
  /** The last one has left, who has only asked what there is to debug. */
  rest(): void;
  /** The last debugger has left. Node.js leaves its breakpoints in worker threads, which would stop there for good. */
  replace(): void;
}

/** The opening handshake of a debugger, in a request's first bytes. */
const UPGRADE = /^GET .*\r\nupgrade: *websocket\r\n/is;

/**
 * Opens a port for debuggers that stays the same while instances come and go. What comes in goes to the process that was
 * the last to say that it can be debugged: with a launcher before the server that is the server.
 *
 * @throws {Error} rejected, with node:net's code: the port cannot be had.
 */
export async function openInspector(life: Life, port: number, { wake, rest, replace }: Debugged): Promise<Inspector> {
  /** Ports of processes, by instance. */
  const ports = new Map<string, number>();
  const waiting = new Set<() => void>();
  const sockets = new Map<Socket, string>();
  let isDebugged = false;

  const off = life.on(event => {
    const { instance = '' } = event;
    if (is(event, 'log') && event.stream === 'stderr') {
      const [, own] = LISTENING.exec(event.line) ?? [];
      if (own === undefined) return;
      ports.delete(instance);
      ports.set(instance, Number(own));
      for (const go of waiting) go();
    } else if (event.event === 'stopping' || event.event === 'exited') {
      ports.delete(instance);
      // a process does not end before its debugger has left
      for (const [socket, of] of sockets) if (of === instance) socket.destroy();
    }
  });

  function accept(client: Socket): void {
    sockets.set(client, '');
    client.on('error', () => {});
    client.on('close', () => {
      sockets.delete(client);
      waiting.delete(go);
      clearTimeout(timer);
      if (sockets.size > 0) return;
      if (isDebugged) replace();
      else rest();
      isDebugged = false;
    });
    client.once('data', first => {
      isDebugged ||= UPGRADE.test(String(first));
    });
    client.pause();
    const timer = setTimeout(() => client.destroy(), PATIENCE_MS);
    function go(): void {
      const last = [...ports].pop();
      if (last === undefined) return;
      waiting.delete(go);
      clearTimeout(timer);
      const [instance, own] = last;
      sockets.set(client, instance);
      wake();
      const process = connect(own, '127.0.0.1');
      process.on('error', () => {});
      process.on('close', () => client.destroy());
      client.on('close', () => process.destroy());
      client.pipe(process).pipe(client);
    }
    waiting.add(go);
    go();
  }

  const server = createServer(accept);
  await listen(server, '127.0.0.1', port);
  return {
    isAttached: () => sockets.size > 0,
    close() {
      off();
      server.close();
      for (const socket of sockets.keys()) socket.destroy();
    },
  };
}
