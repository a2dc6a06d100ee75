import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { type Config, readConfig } from '../src/config.ts';
import type { Gateway } from '../src/gateway.ts';
import { createLog } from '../src/log.ts';
import { loadProfile } from '../src/profile-load.ts';
import { createGateway } from '../src/server.ts';
import { type AgentName, createAgent, type Surroundings, surround } from './agents.ts';
import { ask, eventually, get, project, type Raw, raw, suite } from './helpers.ts';

/** One worker, one slot: a call that kept it would block the next. Noslate's workers never hear of a client that left. */
const SLOTS: Partial<Record<AgentName, object>> = {
  local: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } },
  native: { worker: { replicaCountLimit: 1 } },
};

const FUNCTION = `
  const { once } = require('events');
  exports.handler = async (ctx, req, res) => {
    const way = req.url.slice(1);
    if (way === 'read') { for await (const chunk of req); res.writeHead(200); return res.end('read'); }
    if (way === 'silent') { for await (const chunk of req); console.log('waiting'); return once(res, 'close'); }
    if (way === 'head') { res.writeHead(200); return once(res, 'close'); }
    if (way === 'flood') {
      res.writeHead(200);
      while (!res.destroyed) if (!res.write(Buffer.alloc(65536))) await Promise.race([once(res, 'drain'), once(res, 'close')]);
      return;
    }
    res.writeHead(200, { 'content-length': '4' });
    res.end('done');
  };`;

/** A gateway in this process, so that what it leaves behind can be seen. */
async function withGateway(
  name: AgentName,
  body: (
    port: number,
    gateway: Gateway,
    seen: (text: string) => Promise<void>,
    surroundings: Surroundings,
    inside: { server: Server; untilClosed(): Promise<void> },
  ) => Promise<void>,
): Promise<void> {
  const folder = project({ f: FUNCTION }, {}, { f: SLOTS[name] ?? {} });
  const surroundings = await surround(name);
  let output = '';
  const log = createLog('json', text => {
    output += text;
  });
  const seen = (text: string): Promise<void> =>
    eventually(`${text} in the log`, async () => (output + surroundings.output()).includes(text));
  const profile = loadProfile(resolve(folder, 'noslate.json'));
  const config: Config = { ...readConfig({}, ['--timeout', '20', '--health-path', '/healthz'], () => false).config };
  const { server, gateway, setAgent } = createGateway(config, log, profile, () => {});
  const agent = createAgent(name, surroundings, log);
  await agent.setProfile(profile);
  setAgent(agent);
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  let connections = 0;
  server.on('connection', socket => {
    connections++;
    socket.on('close', () => connections--);
  });
  // while a connection ends it has a timer
  const untilClosed = (): Promise<void> => eventually('all connections to be closed', async () => connections === 0);
  try {
    await body((server.address() as { port: number }).port, gateway, seen, surroundings, {
      server,
      untilClosed,
    });
  } finally {
    await agent.close();
    server.close();
    await surroundings.stop();
  }
}

/** Timers that keep the process alive; Node 16 does not tell. */
function timers(): number {
  const list = (process as unknown as { getActiveResourcesInfo?: () => string[] }).getActiveResourcesInfo?.() ?? [];
  return list.filter(name => name === 'Timeout').length;
}

const head = (path: string, id: string, length: number): string =>
  `POST ${path} HTTP/1.1\r\nhost: a\r\nx-fc-request-id: ${id}\r\ncontent-length: ${length}\r\n\r\n`;

/** Each moment leaves when the exchange is where its name says. */
const moments: Record<string, (port: number, id: string, seen: (text: string) => Promise<void>) => Promise<Raw>> = {
  'before the body': async (port, id) => raw(port, head('/read', id, 10)),
  'in the body': async (port, id) => raw(port, `${head('/read', id, 10)}12345`),
  'after the body, before the head': async (port, id, seen) => {
    const client = await raw(port, `${head('/silent', id, 2)}ok`);
    await seen('waiting');
    return client;
  },
  'after the head': async (port, id) => {
    const client = await raw(port, head('/head', id, 0));
    await client.until('\r\n\r\n');
    return client;
  },
  'in the middle of the stream': async (port, id) => {
    const client = await raw(port, head('/flood', id, 0));
    await client.until('\0'.repeat(1000));
    client.socket.pause();
    return client;
  },
  'after the end': async (port, id) => {
    const client = await raw(port, head('/done', id, 0));
    await client.until('done');
    return client;
  },
};

// the sdk agent's own tests tell what its SDK leaves behind, and when
for (const agent of ['local', 'native'] as const) {
  const abort = suite(`client gone :: ${agent}`);

  for (const [moment, reach] of Object.entries(moments)) {
    for (const how of ['end', 'destroy'] as const) {
      // a half-closed connection is not a client that is gone until it has its answer
      if (how === 'end' && moment === 'after the end') continue;
      abort(`should leave nothing behind: ${moment} :: ${how}`, async () => {
        await withGateway(agent, async (port, gateway, seen, { openCalls }, { untilClosed }) => {
          assert.is((await ask(port, { path: '/done' })).body.toString(), 'done');
          await untilClosed();
          const before = timers();
          const id = `${moment} ${how}`;
          const client = await reach(port, id, seen);
          client.socket[how]();
          if (how === 'end') client.socket.resume();
          await seen(`"requestId":"${id}"`);
          // the slot is free again
          assert.is((await ask(port, { path: '/done' })).body.toString(), 'done');
          await eventually('no invocation in flight', async () => gateway.invocations.size === 0);
          await eventually('no call open on the plane', async () => (await openCalls()) === 0);
          await untilClosed();
          assert.is(timers(), before, 'timers');
        });
      });
    }
  }

  abort('should leave nothing behind of what is parsed when the connection has been found to be gone', async () => {
    await withGateway(agent, async (port, gateway, seen, { openCalls }, { server }) => {
      assert.is((await ask(port, { path: '/done' })).body.toString(), 'done');
      // as if the first answer could not be written: with the body of the second request all that is due is called, in
      // the middle of one read
      server.prependListener('request', ({ url, socket }: IncomingMessage, res: ServerResponse) => {
        if (url === '/healthz') res.on('finish', () => socket.destroy());
      });
      const client = await raw(
        port,
        `${get('/healthz')}${head('/silent', 'second', 2)}ok${get('/silent', 'x-fc-request-id: third\r\n')}`,
      );
      await client.closed;
      await seen('"requestId":"second"');
      await seen('"requestId":"third"');
      await eventually('no invocation in flight', async () => gateway.invocations.size === 0);
      await eventually('no call open on the plane', async () => (await openCalls()) === 0);
    });
  });

  abort('should say so in the access line, and not log it as a failure', async () => {
    await withGateway(agent, async (port, _, seen) => {
      const client = await moments['after the head']?.(port, 'gone', seen);
      client?.socket.destroy();
      await seen('"outcome":"client gone"');
    });
  });

  abort('should not take the place of one who waits in the queue and leaves', async () => {
    await withGateway(agent, async (port, gateway, seen) => {
      const first = await raw(port, head('/silent', 'first', 0));
      await seen('waiting');
      const waiting = await raw(port, get('/done', 'x-fc-request-id: waiting\r\n'));
      while (gateway.invocations.size < 2) await new Promise(done => setImmediate(done));
      waiting.socket.destroy();
      await seen('"requestId":"waiting"');
      assert.is(gateway.invocations.size, 1);
      first.socket.destroy();
      await seen('"requestId":"first"');
      assert.is((await ask(port, { path: '/done' })).body.toString(), 'done');
    });
  });

  abort('should leave no listeners behind after many calls on one connection', async () => {
    await withGateway(agent, async port => {
      const warnings: string[] = [];
      const onWarning = ({ message }: Error): void => void warnings.push(message);
      process.on('warning', onWarning);
      const client = await raw(port);
      for (let i = 0; i < 50; i++) {
        const length = client.received().length;
        client.socket.write(get('/done'));
        while (client.received().length === length || !client.received().endsWith('done'))
          await new Promise(done => setImmediate(done));
      }
      await new Promise(done => setImmediate(done));
      client.socket.destroy();
      process.off('warning', onWarning);
      assert.equal(warnings, []);
    });
  });

  abort.run();
}
