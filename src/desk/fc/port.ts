import { connect, createServer, type Server } from 'node:net';
import { resetSocket } from './connections.ts';

/** Below the range that outgoing connections are given. */
let nextPort = 10_000 + ((process.pid * 97) % 20_000);

/** A port that nobody listens on. @throws {Error} rejected: it is no matter of the port. */
export async function freePort(): Promise<number> {
  for (;;) {
    nextPort = nextPort >= 30_000 ? 10_000 : nextPort + 1;
    const port = nextPort;
    const server = createServer();
    const free = await new Promise<boolean>((done, fail) => {
      // what is no matter of the port would be one of every next
      server.on('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? done(false) : fail(error)));
      server.listen(port, () => done(true));
    });
    if (!free) continue;
    await new Promise(done => server.close(done));
    return port;
  }
}

/** FC's probe: whether the port accepts a connection, which is ended at once. */
export function accepts(host: string, port: number, end: 'fin' | 'rst'): Promise<boolean> {
  return new Promise(done => {
    const socket = connect(port, host);
    socket.on('connect', () => {
      if (end === 'rst') resetSocket(socket);
      else socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}

/** Has a server listen. @throws {Error} rejected, with node:net's code: the port cannot be had. */
export function listen(server: Server, host: string, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      server.off('error', reject);
      resolve();
    });
  });
}
