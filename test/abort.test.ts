import { resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { type Config, readConfig } from '../src/config.ts';
import type { Gateway } from '../src/gateway.ts';
import { createLocalAgent } from '../src/local/agent.ts';
import { createLog } from '../src/log.ts';
import { loadProfile } from '../src/profile.ts';
import { createGateway } from '../src/server.ts';
import { ask, get, project, type Raw, raw, SERVER_FILE, suite, within } from './helpers.ts';

/** One worker, one slot: a call that kept it would block the next. */
const ONE_SLOT = { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } };

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
  body: (port: number, gateway: Gateway, seen: (text: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  const folder = project({ f: FUNCTION }, {}, { f: ONE_SLOT });
  let output = '';
  const listeners = new Set<() => void>();
  const log = createLog('json', text => {
    output += text;
    for (const check of [...listeners]) check();
  });
  const seen = (text: string): Promise<void> =>
    within(
      10_000,
      new Promise<void>(done => {
        const check = (): void => {
          if (output.includes(text)) done();
        };
        listeners.add(check);
        check();
      }),
      `${text} in the log:\n${output}`,
    );
  const profile = loadProfile(resolve(folder, 'noslate.json'));
  const config: Config = { ...readConfig({}, ['--timeout', '20'], () => false).config };
  const { server, gateway, setAgent } = createGateway(config, log, profile, () => {});
  const agent = createLocalAgent(SERVER_FILE, log);
  await agent.setProfile(profile);
  setAgent(agent);
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  try {
    await body((server.address() as { port: number }).port, gateway, seen);
  } finally {
    await agent.close();
    server.close();
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
    await client.until('\0'.repeat(65536));
    client.socket.pause();
    return client;
  },
  'after the end': async (port, id) => {
    const client = await raw(port, head('/done', id, 0));
    await client.until('done');
    return client;
  },
};

const abort = suite('client gone');

for (const [moment, reach] of Object.entries(moments)) {
  for (const how of ['end', 'destroy'] as const) {
    // a half-closed connection is not a client that is gone until it has its answer
    if (how === 'end' && moment === 'after the end') continue;
    abort(`should leave nothing behind: ${moment} :: ${how}`, async () => {
      await withGateway(async (port, gateway, seen) => {
        assert.is((await ask(port, { path: '/done' })).body.toString(), 'done');
        const before = timers();
        const id = `${moment} ${how}`;
        const client = await reach(port, id, seen);
        client.socket[how]();
        if (how === 'end') client.socket.resume();
        await seen(`"requestId":"${id}"`);
        // the only slot is free again
        assert.is((await ask(port, { path: '/done' })).body.toString(), 'done');
        assert.is(gateway.invocations.size, 0);
        assert.is(timers(), before, 'timers');
      });
    });
  }
}

abort('should say so in the access line, and not log it as a failure', async () => {
  await withGateway(async (port, _, seen) => {
    const client = await moments['after the head']?.(port, 'gone', seen);
    client?.socket.destroy();
    await seen('"outcome":"client gone"');
  });
});

abort('should not take the place of one who waits in the queue and leaves', async () => {
  await withGateway(async (port, gateway, seen) => {
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
  await withGateway(async port => {
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
