import { once } from 'node:events';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { now } from '../../clock.ts';
import type { Platform } from '../fc/platform.ts';
import { type Check, expect, expectThat, http, pause, WAIT_MS, type Wish, whole, wishPath, within } from './check.ts';

const MIB = 1024 * 1024;
/** Longer than the 5 s after which node:http, by default, closes an idle connection. */
const IDLE_MS = 6500;
/** Without a type some servers read no body; that is for one check to see, and not for all. */
const BYTES = 'Content-Type: application/octet-stream\r\n';

/** Bodies that go on. */
const STREAMS: readonly Check[] = [
  {
    id: 'stream.chunked',
    title: 'streams with Transfer-Encoding: chunked',
    contract: 'FC streams an answer that is chunked, and holds one that is not.',
    source: '§6 [S50]',
    level: 'must',
    async run({ shared }) {
      const head = await withSocket(shared, async socket => {
        socket.write(request('GET', wishPath({ chunks: { count: 2, size: 1, every: 50 } })));
        return until(socket, /\r\n0\r\n\r\n$/);
      });
      expectThat('Transfer-Encoding: chunked', /\r\ntransfer-encoding: chunked\r\n/i.test(head), head);
    },
  },
  {
    id: 'stream.head-first',
    title: 'sends the head before the first byte of the body',
    contract: "An event stream's client sees its head at once.",
    source: '§6 [S50]',
    level: 'must',
    async run({ shared }) {
      const path = wishPath({ chunks: { count: 1, size: 1, every: 3000 } });
      const { body } = await shared.http({ method: 'GET', path });
      const begun = now();
      await within(WAIT_MS, once(body.resume(), 'end'), 'the end of the body');
      expectThat('a head long before a byte that comes 3 s after it', now() - begun > 500, Math.round(now() - begun));
    },
  },
  {
    id: 'stream.as-it-comes',
    title: 'sends each chunk when it is there',
    contract: 'Streamed answers reach the client as the function writes them.',
    source: '§6 [S50]',
    level: 'must',
    async run({ shared }) {
      const { body } = await shared.http({
        method: 'GET',
        path: wishPath({ chunks: { count: 3, size: 10, every: 1500 } }),
      });
      const times: number[] = [];
      body.on('data', () => times.push(now()));
      await within(WAIT_MS, once(body, 'end'), 'the end of the body');
      const [first = 0] = times;
      expectThat('three chunks, 1.5 s apart', (times[times.length - 1] ?? 0) - first > 700, times);
    },
  },
  {
    id: 'stream.length',
    title: "keeps the function's Content-Length",
    contract: 'An answer with Content-Length is not a stream.',
    source: '§0.10 [S50]',
    level: 'should',
    async run({ shared }) {
      const { headers } = await http(shared, { headers: { 'content-length': '4' }, body: 'four' });
      const length = headers.find(([name]) => name.toLowerCase() === 'content-length')?.[1];
      expect('content-length', length, '4');
    },
  },
  {
    id: 'stream.upload',
    title: 'gives the function the body as it comes',
    contract: 'A body may come slowly; the function may answer while it comes.',
    source: '§2 [S9b]',
    level: 'should',
    async run({ shared }) {
      await withSocket(shared, async socket => {
        socket.write(request('POST', '/', `${BYTES}Transfer-Encoding: chunked\r\n`));
        for (const part of ['one', 'two', 'three']) {
          socket.write(`${part.length.toString(16)}\r\n${part}\r\n`);
          await until(socket, new RegExp(part));
        }
        socket.write('0\r\n\r\n');
        await until(socket, /(^|\r\n)0\r\n\r\n$/);
      });
    },
  },
  {
    id: 'stream.bytewise',
    title: 'takes a request byte by byte',
    contract: 'TCP keeps no boundaries.',
    source: 'RFC 9293 §3.9.1',
    level: 'must',
    async run({ shared }) {
      const text = await withSocket(shared, async socket => {
        for (const byte of `${request('POST', wishPath({ seen: true }), `${BYTES}Content-Length: 4\r\n`)}byte`) {
          socket.write(byte);
          await pause(1);
        }
        return until(socket, /"bytes":4\}/);
      });
      expectThat('200', text.startsWith('HTTP/1.1 200'), text);
    },
  },
  {
    id: 'stream.large',
    alone: true,
    title: 'sends 64 MiB whole',
    contract: 'A streamed answer has no limit that the contract knows.',
    source: '§13.8',
    level: 'should',
    async run({ shared }) {
      const { bytes } = await http(shared, { chunks: { count: 1024, size: 65_536 } });
      expect('bytes', bytes.length, 64 * MIB);
    },
  },
  {
    id: 'stream.broken',
    title: 'ends no broken answer as if it were whole',
    contract: 'A client must be able to tell half an answer from a whole one.',
    source: 'RFC 9112 §8',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ instanceConcurrency: 5 });
      const wish: Wish = { chunks: { count: 3, size: 100, every: 20, breakOff: true } };
      const outcome = await whole(fc.http({ method: 'GET', path: wishPath(wish) })).then(
        () => 'whole',
        () => 'broken',
      );
      expect('the answer', outcome, 'broken');
    },
  },
];

/** Connections: FC keeps them, and only it closes them. */
const CONNECTIONS: readonly Check[] = [
  {
    id: 'connection.kept',
    title: 'answers a hundred requests on one connection',
    contract: 'FC speaks HTTP/1.1 over connections that last.',
    source: '§1 [S8 S9]',
    level: 'must',
    async run({ shared }) {
      await withSocket(shared, async socket => {
        for (let i = 0; i < 100; i++) {
          socket.write(request('GET', wishPath({ headers: { 'content-length': '5' }, body: '-body' })));
          const reply = await until(socket, /-body$/);
          expectThat('no Connection: close', !/\r\nconnection: close\r\n/i.test(reply), reply);
        }
      });
    },
  },
  {
    id: 'connection.idle',
    title: 'leaves an idle connection open',
    contract: 'The idle timeout is off, or 15 minutes at least; else FC meets a closed connection and answers 502.',
    source: '§1 [S8 S9]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      await http(fc, { body: 'up' });
      await withSocket(fc, async socket => {
        socket.write(request('GET', wishPath({ body: 'first' })));
        await until(socket, /first/);
        await pause(IDLE_MS);
        socket.write(request('POST', wishPath({ body: 'second' }), 'Content-Length: 0\r\n'));
        await until(socket, /second/);
      });
    },
  },
  {
    id: 'connection.silent',
    title: 'leaves a connection alone that has sent nothing yet',
    contract: 'Connections that send nothing are tolerated; read timeouts are off.',
    source: '§1 [S3 S5 S9]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      await http(fc, { body: 'up' });
      await withSocket(fc, async socket => {
        await pause(IDLE_MS);
        socket.write(request('GET', wishPath({ body: 'late' })));
        await until(socket, /late/);
      });
    },
  },
  {
    id: 'connection.slow-head',
    title: 'waits for a head that comes slowly',
    contract: 'Read timeouts are off.',
    source: '§1 [S9]',
    level: 'should',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      await http(fc, { body: 'up' });
      const [first = '', second = ''] = request('GET', wishPath({ body: 'late' })).split(/(?<=Host)/);
      await withSocket(fc, async socket => {
        socket.write(first);
        await pause(IDLE_MS);
        socket.write(second);
        await until(socket, /late/);
      });
    },
  },
  {
    id: 'connection.continue',
    title: 'asks for a body that waits to be asked for',
    contract: 'HTTP/1.1: who expects 100-continue is told, or gets the final answer.',
    source: 'RFC 9110 §10.1.1',
    level: 'should',
    async run({ shared }) {
      await withSocket(shared, async socket => {
        socket.write(request('POST', '/', `${BYTES}Expect: 100-continue\r\nContent-Length: 2\r\n`));
        await until(socket, /^HTTP\/1\.1 100 /);
        socket.write('ok');
        await until(socket, /ok/);
      });
    },
  },
  {
    id: 'connection.unread',
    title: 'goes on with a connection whose body nobody read',
    contract: 'The connection is pooled: the next request on it must not be harmed by the last.',
    source: '§1 [S8]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ freeze: false });
      const body = Readable.from([Buffer.alloc(3 * MIB)]);
      await http(fc, { status: 200, body: 'early' }, { method: 'POST', body });
      for (let i = 0; i < 5; i++) {
        expect('the next', (await http(fc, { body: 'next' }, { method: 'POST' })).text, 'next');
      }
    },
  },
  {
    id: 'connection.many',
    alone: true,
    title: 'takes 200 connections at a time',
    contract: 'Instance concurrency goes up to 200.',
    source: '§6, §10 [S20]',
    level: 'must',
    async run({ platform }) {
      const fc = platform({ instanceConcurrency: 200, maxInstances: 1, timeout: 30 });
      await http(fc, { body: 'up' });
      const answers = await Promise.all(Array.from({ length: 200 }, () => http(fc, { sleep: 300, body: 'x' })));
      expect('statuses', [...new Set(answers.map(({ status }) => status))], [200]);
    },
  },
];

const request = (method: string, path: string, headers: string = ''): string =>
  `${method} ${path} HTTP/1.1\r\nHost: localhost\r\nX-Fc-Control-Path: /http-invoke\r\nX-Fc-Request-Id: raw\r\n${headers}\r\n`;

/** A connection of one's own to an instance, which stays awake for it. */
async function withSocket<T>(fc: Platform, use: (socket: Socket) => Promise<T>): Promise<T> {
  const instance = await fc.acquire('raw');
  const socket = instance.connections.open();
  socket.on('error', () => {});
  try {
    await within(WAIT_MS, once(socket, 'connect'), 'a connection');
    return await use(socket);
  } finally {
    socket.destroy();
    fc.release(instance, 'raw');
  }
}

/** Resolves with what has come since, when it matches. @throws {Error} the other side has closed before, or is late. */
function until(socket: Socket, wanted: RegExp): Promise<string> {
  let received = '';
  const match = new Promise<string>((resolve, reject) => {
    const onData = (chunk: Buffer): void => {
      received += chunk.toString('latin1');
      if (!wanted.test(received)) return;
      settle();
      resolve(received);
    };
    const onClose = (): void => {
      settle();
      reject(new Error(`expected ${wanted}, got a closed connection after ${JSON.stringify(received.slice(0, 200))}`));
    };
    const settle = (): void => {
      // what comes meanwhile is for the next who waits
      socket.pause();
      socket.off('data', onData);
      socket.off('close', onClose);
    };
    // closed while nobody waited: there will be no event
    if (socket.destroyed) return onClose();
    socket.on('data', onData);
    socket.on('close', onClose);
    socket.resume();
  });
  return within(WAIT_MS, match, `${wanted} on the connection`);
}

/** Streams and connections. */
export const FLOWS: readonly Check[] = [...STREAMS, ...CONNECTIONS];
