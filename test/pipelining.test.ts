import { connect, type Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { startServerOn, withServerOn } from './agents.ts';
import { rss } from './growth.ts';
import { ask, eventually, get, raw, type Server, suite, within } from './helpers.ts';
import { parseAnswers } from './http-answers.ts';

const MIB = 1024 * 1024;

/** By path: waits to be let go, answers at once, or with more than a socket takes; and says that it was asked. */
const FUNCTION = `
  let go;
  exports.handler = async (ctx, req, res) => {
    const [, what, size] = req.url.split('/');
    if (what !== 'large' && what !== 'long' && what !== 'quick') console.log('asked for ' + what);
    if (what === 'go') go();
    if (what === 'slow') await new Promise(done => (go = done));
    if (what === 'hang') return;
    res.writeHead(200, { 'x-for': what });
    if (what === 'stream') return res.write('first');
    if (what === 'long') {
      for (let left = Number(size); left > 0 && !res.destroyed; left -= 65536) {
        if (!res.write(Buffer.alloc(65536))) await new Promise(done => res.once('drain', done).once('close', done));
      }
      return res.end();
    }
    res.end(what === 'large' ? Buffer.alloc(Number(size)) : what);
  };`;

const options = { functions: { f: FUNCTION } };

const accessLines = (server: Server) => server.lines().filter(({ message }) => message === 'request');

/** Resolves when no more requests end, with the most memory that was in use meanwhile, in bytes. */
async function untilStill(server: Server): Promise<number> {
  let most = 0;
  let seen = -1;
  await eventually('all to stand still', async () => {
    await new Promise(done => setTimeout(done, 500));
    most = Math.max(most, rss(server));
    const before = seen;
    seen = accessLines(server).length;
    return seen === before;
  });
  return most;
}

// the SDK stands behind the same connections
for (const agent of ['local', 'native'] as const) {
  const pipelining = suite(`pipelined requests :: ${agent}`);

  pipelining('should begin when the answer before them is out, and be answered in order', async () => {
    await withServerOn(agent, options, async server => {
      const body = 'POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\nabc';
      const client = await raw(server.port, get('/slow') + get('/fast') + body);
      await server.line('the first', ({ message }) => message === 'asked for slow');
      // a call of another connection goes all the way meanwhile
      assert.is((await ask(server.port, { path: '/other' })).body.toString(), 'other');
      assert.not.match(server.output(), 'asked for fast');
      await ask(server.port, { path: '/go' });
      await client.untilThat(text => parseAnswers(text).length === 3, 'three answers');
      const answers = parseAnswers(client.received());
      assert.equal(
        answers.map(({ headers }) => headers.get('x-for')),
        ['slow', 'fast', 'echo'],
      );
      client.socket.destroy();
    });
  });

  pipelining('should all end with their socket, and leave nothing behind', async () => {
    for (const first of ['/hang', '/stream']) {
      const env = { SERVER_MAX_CONCURRENCY: '1', SERVER_DRAIN_TIMEOUT: '600' };
      const server = await startServerOn(agent, { ...options, env });
      try {
        const id = (name: string): string => `x-fc-request-id: ${name}\r\n`;
        const client = await raw(
          server.port,
          get(first, id('one')) + get('/fast', id('two')) + get('/hang', id('three')),
        );
        await server.line('the first', ({ message }) => message === `asked for ${first.slice(1)}`);
        client.socket.destroy();
        for (const name of ['one', 'two', 'three']) {
          assert.is((await server.access(name))['outcome'], 'client gone', `${first} ${name}`);
        }
        assert.not.match(server.output(), 'asked for fast');
        await eventually(
          'the only place to be free',
          async () => (await ask(server.port, { path: '/quick' })).status === 200,
        );
        server.kill('SIGTERM');
        assert.is(await within(10_000, server.exit, 'the end, long before the drain timeout'), 0);
      } finally {
        await server.stop();
      }
    }
  });

  pipelining('should be seen to end with their socket behind a CONNECT, too', async () => {
    await withServerOn(agent, { ...options, env: { SERVER_MAX_CONCURRENCY: '1' } }, async server => {
      for (const end of ['end', 'destroy'] as const) {
        const connect = 'CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n';
        const client = await raw(server.port, get('/hang', `x-fc-request-id: ${end}\r\n`) + connect);
        await eventually(
          'the call',
          async () => server.output().split('asked for hang').length === (end === 'end' ? 2 : 3),
        );
        client.socket[end]();
        assert.is((await server.access(end))['outcome'], 'client gone');
      }
      assert.is((await ask(server.port, { path: '/quick' })).status, 200);
    });
  });

  pipelining('should each be told of, when so many wait that their end is seen only by the next answer', async () => {
    await withServerOn(agent, options, async server => {
      const count = 20;
      const quick = Array.from({ length: count }, (_, i) => get('/quick', `x-fc-request-id: ${i}\r\n`)).join('');
      const client = await raw(server.port, get('/hang', 'x-fc-function-timeout: 1\r\n') + quick);
      await server.line('the first', ({ message }) => message === 'asked for hang');
      client.socket.destroy();
      for (let i = 0; i < count; i++) assert.is((await server.access(`${i}`))['outcome'], 'client gone');
    });
  });

  pipelining('should not take what they need from others when nobody reads their answers', async () => {
    await withServerOn(agent, options, async server => {
      const client = await raw(server.port);
      client.socket.pause();
      client.socket.write(get('/large/1000000').repeat(150));
      await eventually('the first to be answered', async () => {
        assert.is((await ask(server.port, { path: '/quick' })).status, 200);
        return accessLines(server).length > 1;
      });
      client.socket.destroy();
      // 150 would wait for 64 KiB each, and 15 each take a slot of the local agent's ten times ten
      for (let i = 0; i < 20; i++) assert.is((await ask(server.port, { path: '/quick' })).status, 200);
      await eventually('all to be over', async () => accessLines(server).length >= 150 + 20);
    });
  });

  pipelining('should be as many as are sent, whatever their number', async () => {
    await withServerOn(agent, options, async server => {
      const count = 500;
      const client = await raw(server.port, get('/quick').repeat(count));
      await client.untilThat(text => text.split('\r\n0\r\n\r\n').length === count + 1, `${count} answers`);
      assert.is(parseAnswers(client.received()).length, count);
      client.socket.destroy();
    });
  });

  // only Linux tells how much memory another process has
  if (process.platform === 'linux') {
    pipelining('should not be read ahead of an answer that is read all the time', async () => {
      await withServerOn(agent, options, async server => {
        await ask(server.port, { path: '/quick' });
        const before = rss(server);
        const socket = connect(server.port, '127.0.0.1');
        socket.on('error', () => {});
        const size = 64 * MIB;
        socket.write(get(`/long/${size}`));
        const many = get('/quick').repeat(2000);
        const send = (): void => {
          while (socket.write(many));
        };
        socket.on('drain', send);
        send();
        let received = 0;
        let most = 0;
        const whole = new Promise<void>((done, fail) => {
          socket.on('error', fail);
          socket.on('close', () => fail(new Error(`closed after ${received} bytes`)));
          socket.on('data', ({ length }) => {
            received += length;
            if (received % MIB < length) most = Math.max(most, rss(server) - before);
            if (received > size) done();
          });
        });
        await within(30_000, whole, 'the answer');
        socket.destroy();
        if (process.env['SHOW_MEMORY']) console.log(`+${(most / MIB).toFixed(1)} MiB`);
        assert.ok(most < 192 * MIB, `grew by ${(most / MIB).toFixed(0)} MiB`);
        assert.is((await ask(server.port, { path: '/quick' })).status, 200);
      });
    });

    pipelining('should cost no more than what is read of them, when nobody reads their answers', async () => {
      await withServerOn(agent, options, async server => {
        await ask(server.port, { path: '/quick' });
        const before = rss(server);
        const sockets: Socket[] = [];
        for (let i = 0; i < 5; i++) {
          const socket = connect(server.port, '127.0.0.1');
          socket.on('error', () => {});
          socket.pause();
          socket.write(get('/large/65536').repeat(10_000));
          sockets.push(socket);
        }
        // each has filled its socket; all begun at once took 9 GiB
        const most = await untilStill(server);
        for (const socket of sockets) socket.destroy();
        await untilStill(server);
        if (process.env['SHOW_MEMORY']) console.log(`+${((most - before) / MIB).toFixed(1)} MiB`);
        assert.ok(most - before < 256 * MIB, `grew by ${((most - before) / MIB).toFixed(0)} MiB`);
        assert.is((await ask(server.port, { path: '/quick' })).status, 200);
      });
    });
  }

  pipelining.run();
}
