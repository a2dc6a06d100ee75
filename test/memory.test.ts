import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { withServerOn } from './agents.ts';
import { growth } from './growth.ts';
import { NOT_LINUX, open, type Server, suite, within } from './helpers.ts';

const MIB = 1024 * 1024;
/** A gateway that holds what it cannot pass on would grow by most of it. MEMORY_MIB=1024 for more. */
const TOTAL = Number(process.env['MEMORY_MIB'] ?? 256) * MIB;
const GROWTH = 32 * MIB;
/** How long the reader stands still; the wait itself is what is tested. */
const STALL_MS = 5000;

const functions = {
  down: `
    const { pipeline } = require('stream/promises');
    function* chunks(left) {
      const chunk = Buffer.alloc(65536, 1);
      for (; left > 0; left -= chunk.length) yield chunk;
    }
    exports.handler = async (ctx, req, res) => {
      res.writeHead(200);
      await pipeline(chunks(Number(req.url.slice(6))), res);
    };`,
  up: `
    exports.handler = async (ctx, req, res) => {
      let taken = 0;
      for await (const chunk of req) {
        if (taken === 0 && req.url !== '/up') await new Promise(done => setTimeout(done, ${STALL_MS}));
        taken += chunk.length;
      }
      res.writeHead(200);
      res.end(String(taken));
    };`,
};
const profile = { routes: [{ path: '/down/*', function: 'down' }, { function: 'up' }] };

async function download(server: Server, bytes: number, stall: boolean): Promise<number> {
  const { reply } = open(server.port, { path: `/down/${bytes}` });
  const response = await reply;
  let received = 0;
  if (stall) {
    response.once('data', chunk => {
      received += chunk.length;
      response.pause();
      setTimeout(() => {
        response.on('data', next => (received += next.length));
        response.resume();
      }, STALL_MS);
    });
  } else response.on('data', chunk => (received += chunk.length));
  await within(80_000, new Promise(done => response.on('end', done)), 'the download to end');
  return received;
}

async function upload(server: Server, bytes: number, path: string): Promise<number> {
  const chunk = Buffer.alloc(65536, 2);
  let left = bytes;
  const body = new Readable({
    read() {
      this.push(left > 0 ? chunk : null);
      left -= chunk.length;
    },
  });
  const { reply } = open(server.port, { method: 'POST', path, body });
  const response = await within(80_000, reply, 'the reply to the upload');
  let text = '';
  for await (const part of response) text += part;
  return Number(text);
}

// the SDK holds nothing back
for (const agent of ['local', 'native'] as const) {
  // only Linux tells how much memory another process has
  const memory = suite(`memory :: ${agent}`, { skip: NOT_LINUX });

  memory(
    `should not grow by more than 32 MiB while ${TOTAL / MIB} MiB come down to a reader that stands still for 5 s`,
    async () => {
      await withServerOn(agent, { functions, profile }, async server => {
        await download(server, 64 * MIB, false);
        let received = 0;
        const grown = await growth(server, async () => {
          received = await download(server, TOTAL, true);
        });
        assert.is(received, TOTAL);
        if (process.env['SHOW_MEMORY']) console.log(`+${(grown / MIB).toFixed(1)} MiB`);
        assert.ok(grown <= GROWTH, `grew by ${(grown / MIB).toFixed(1)} MiB`);
      });
    },
  );

  memory(
    `should not grow by more than 32 MiB while ${TOTAL / MIB} MiB go up to a function that stands still for 5 s`,
    async () => {
      await withServerOn(agent, { functions, profile }, async server => {
        await upload(server, 64 * MIB, '/up');
        let taken = 0;
        const grown = await growth(server, async () => {
          taken = await upload(server, TOTAL, '/stall');
        });
        assert.is(taken, TOTAL);
        if (process.env['SHOW_MEMORY']) console.log(`+${(grown / MIB).toFixed(1)} MiB`);
        assert.ok(grown <= GROWTH, `grew by ${(grown / MIB).toFixed(1)} MiB`);
      });
    },
  );

  memory.run();
}
