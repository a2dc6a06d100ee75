import type { Server } from 'node:http';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import type { Agent, Metadata, TriggerResponse } from '../src/agent.ts';
import { epochOf, now } from '../src/clock.ts';
import { readConfig } from '../src/config.ts';
import { GatewayError } from '../src/errors.ts';
import type { Gateway } from '../src/gateway.ts';
import { createLog } from '../src/log.ts';
import type { Profile } from '../src/profile.ts';
import { createGateway } from '../src/server.ts';
import { ask, deferred, eventually, get, open, raw, read, suite, within } from './helpers.ts';

const PROFILE: Profile = {
  functions: [{ name: 'f', runtime: 'nodejs', url: 'file:///f', signature: '1', handler: 'a.b' }],
  services: [{ name: 's', type: 'default', selector: { functionName: 'f' } }],
  routes: [{ path: '/s', service: 's' }, { function: 'f' }],
  environments: [],
};

interface Bench {
  port: number;
  gateway: Gateway;
  setAgent(agent: Agent): void;
  output(): string;
}

type Invoke = (name: string, body: Readable, metadata: Metadata) => Promise<TriggerResponse>;

const agentOf = (invoke: Invoke): Agent => ({
  setProfile: async () => {},
  warm: async () => {},
  faults: async () => [],
  invoke,
  invokeService: () => Promise.reject(new Error('no service was asked for')),
  close: async () => {},
});

const answer = (body: string | Readable, status = 200): TriggerResponse => ({
  status,
  headers: ['content-type', 'text/plain'],
  body: typeof body === 'string' ? Readable.from([Buffer.from(body)], { objectMode: false }) : body,
});

/** A gateway in this process, its agent still missing. */
async function withGateway(args: string[], body: (bench: Bench) => Promise<void>): Promise<void> {
  let output = '';
  const log = createLog('json', text => {
    output += text;
  });
  const { config } = readConfig({}, args, () => false);
  const made = createGateway(config, log, PROFILE, () => {});
  const server: Server = made.server;
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  try {
    const { port } = server.address() as { port: number };
    await body({ port, gateway: made.gateway, setAgent: made.setAgent, output: () => output });
  } finally {
    server.close();
  }
}

const waiting = suite('before the agent is ready');

waiting('should let an invocation wait, its body unread, until there is an agent', async () => {
  await withGateway([], async ({ port, gateway, setAgent }) => {
    const reply = ask(port, { path: '/x', body: 'ping' });
    while (gateway.invocations.size === 0) await new Promise(done => setImmediate(done));
    const [exchange] = gateway.invocations.values();
    assert.is(exchange?.bytesIn, 0);
    setAgent(
      agentOf(async (_, body) => {
        let text = '';
        for await (const chunk of body) text += chunk;
        return answer(`${text} pong`);
      }),
    );
    assert.is((await reply).body.toString(), 'ping pong');
  });
});

waiting('should keep to its deadline when the time of day is set back or forth meanwhile', async () => {
  const { now: timeOfDay } = Date;
  for (const step of [-3_600_000, 3_600_000]) {
    await withGateway(['--timeout', '7'], async ({ port, gateway, setAgent }) => {
      const reply = ask(port);
      while (gateway.invocations.size === 0) await new Promise(done => setImmediate(done));
      Date.now = () => timeOfDay() + step;
      let seconds = 0;
      let epochSeconds = 0;
      setAgent(
        agentOf(async (_, __, { deadline }) => {
          seconds = Math.round((deadline - now()) / 1000);
          epochSeconds = Math.round((epochOf(deadline) - Date.now()) / 1000);
          return answer('ok');
        }),
      );
      try {
        assert.is((await reply).body.toString(), 'ok');
      } finally {
        Date.now = timeOfDay;
      }
      assert.equal([seconds, epochSeconds], [7, 7]);
    });
  }
});

waiting('should answer 503 when the deadline passes first', async () => {
  await withGateway(['--timeout', '1'], async ({ port }) => {
    const reply = await ask(port);
    assert.equal([reply.status, reply.json()['errorType']], [503, 'UNAVAILABLE']);
    assert.is(reply.json()['errorMessage'], 'no agent was ready before the deadline');
  });
});

waiting('should forget an invocation whose client has left', async () => {
  await withGateway([], async ({ port, gateway, setAgent }) => {
    const client = await raw(port, get('/'));
    while (gateway.invocations.size === 0) await new Promise(done => setImmediate(done));
    client.socket.destroy();
    while (gateway.invocations.size > 0) await new Promise(done => setImmediate(done));
    let invoked = 0;
    setAgent(
      agentOf(async () => {
        invoked++;
        return answer('ok');
      }),
    );
    assert.is((await ask(port)).body.toString(), 'ok');
    assert.is(invoked, 1);
  });
});

waiting('should not be initialized, and answered in time', async () => {
  await withGateway([], async ({ port }) => {
    const reply = await ask(port, {
      method: 'POST',
      path: '/initialize',
      headers: { 'x-fc-initialization-timeout': '1' },
    });
    assert.equal([reply.status, reply.json()['errorMessage']], [404, 'no agent was ready within 900 ms']);
  });
});

waiting.run();

const seam = suite('agent');

seam('should be given the deadline, FC’s before ours, and never a time in the past', async () => {
  await withGateway(['--timeout', '7'], async ({ port, setAgent }) => {
    const seconds: number[] = [];
    setAgent(
      agentOf(async (_, __, { deadline }) => {
        seconds.push(Math.round((deadline - now()) / 1000));
        return answer('ok');
      }),
    );
    for (const value of ['', '3', '0', '-1', 'x', '1.5', '99999999999'])
      await ask(port, { headers: { 'x-fc-function-timeout': value } });
    assert.equal(seconds, [7, 3, 7, 7, 7, 7, 2_147_483]);
  });
});

seam('should be given the time by which to be warm: nine tenths of the initialization timeout', async () => {
  await withGateway([], async ({ port, setAgent }) => {
    const seconds: number[] = [];
    setAgent({
      ...agentOf(async () => answer('ok')),
      warm: async deadline => {
        seconds.push(Math.round((deadline - now()) / 1000));
      },
    });
    for (const value of ['20', '100']) {
      const headers = { 'x-fc-initialization-timeout': value };
      assert.is((await ask(port, { method: 'POST', path: '/initialize', headers })).status, 200);
    }
    assert.equal(seconds, [18, 90]);
  });
});

seam('should be asked for a service where the route names one, and the access line say so', async () => {
  await withGateway([], async ({ port, setAgent, output }) => {
    setAgent({
      ...agentOf(async name => answer(`function ${name}`)),
      invokeService: async (name, body, { url }) => {
        let text = '';
        for await (const chunk of body) text += chunk;
        return answer(`service ${name} ${url} ${text}`);
      },
    });
    assert.is((await ask(port, { path: '/s?q', body: 'body' })).body.toString(), 'service s /s?q body');
    assert.is((await ask(port, { path: '/other' })).body.toString(), 'function f');
    await eventually('two access lines', async () => output().split('"message":"request"').length === 3);
    assert.match(output(), '"path":"/s","function":"service:s"');
    assert.match(output(), '"path":"/other","function":"f"');
  });
});

seam('should hear of a client that leaves before the head, with a reason', async () => {
  await withGateway([], async ({ port, setAgent, gateway }) => {
    const aborted = deferred<unknown>();
    const invoked = deferred();
    setAgent(
      agentOf((_, __, { signal }) => {
        invoked.resolve();
        return new Promise((___, reject) => {
          signal.addEventListener('abort', () => {
            aborted.resolve(signal.reason);
            reject(signal.reason);
          });
        });
      }),
    );
    const client = await raw(port, get('/'));
    await within(5000, invoked.promise, 'the invocation');
    client.socket.destroy();
    const reason = await within(5000, aborted.promise, 'the abort');
    assert.instance(reason, GatewayError);
    assert.is((reason as GatewayError).code, 'CLIENT_GONE');
    assert.is(gateway.invocations.size, 0);
  });
});

seam('should have the body destroyed when the client leaves after the head', async () => {
  await withGateway([], async ({ port, setAgent }) => {
    const closed = deferred();
    const body = new Readable({ read() {} });
    body.on('close', () => closed.resolve());
    setAgent(agentOf(async () => answer(body)));
    const { request, reply } = open(port, {});
    await within(5000, reply, 'the head');
    request.destroy();
    await within(5000, closed.promise, 'the body to be destroyed');
  });
});

seam('should be drained of the calls in flight, and not wait for those that came later', async () => {
  await withGateway(['--drain-timeout', '60', '--health-path', '/health'], async ({ port, gateway, setAgent }) => {
    const body = new Readable({ read() {} });
    setAgent(agentOf(async () => answer(body)));
    const { reply } = open(port, {});
    await within(5000, reply, 'the head');
    const [inFlight] = gateway.invocations.values();
    assert.is((await ask(port, { path: '/health' })).status, 200);
    const drained = gateway.drain();
    assert.is((await ask(port, { path: '/health' })).status, 503);
    // one that is being refused at the moment when the last of the others ends
    if (inFlight !== undefined) gateway.invocations.add({ ...inFlight });
    assert.is((await ask(port)).status, 503);
    body.push(null);
    await within(5000, drained, 'the drain');
  });
});

seam('should count no refused call among those in flight', async () => {
  await withGateway(['--max-concurrency', '1'], async ({ port, gateway, setAgent }) => {
    const body = new Readable({ read() {} });
    setAgent(agentOf(async () => answer(body)));
    await within(5000, open(port, {}).reply, 'the head');
    const add = gateway.invocations.add.bind(gateway.invocations);
    let added = 0;
    gateway.invocations.add = exchange => {
      added++;
      return add(exchange);
    };
    const replies = await Promise.all(Array.from({ length: 10 }, () => ask(port)));
    assert.ok(replies.every(({ status }) => status === 503));
    assert.is(added, 0);
    body.push(null);
  });
});

seam('should have the body destroyed when nobody reads it: HEAD of an endless answer, and a bad head', async () => {
  await withGateway(['--timeout', '1'], async ({ port, setAgent }) => {
    for (const [method, status] of [
      ['HEAD', 200],
      ['GET', 99],
    ] as const) {
      const closed = deferred();
      const body = new Readable({ read() {} });
      body.on('close', () => closed.resolve());
      setAgent(agentOf(async () => answer(body, status)));
      await ask(port, { method });
      await within(5000, closed.promise, `the body of ${method} ${status} to be destroyed`);
    }
  });
});

seam('should leave small pieces with the body while the client takes none, and lose none of them', async () => {
  await withGateway([], async ({ port, gateway, setAgent }) => {
    const turn = (): Promise<void> => new Promise(done => setImmediate(done));
    const body = new Readable({ read() {} });
    setAgent(agentOf(async () => answer(body)));
    const reply = await within(5000, open(port, {}).reply, 'the head');
    const [exchange] = gateway.invocations.values();
    const waits = (): number => exchange?.res.socket?.writableLength ?? 0;
    let pushed = 0;
    for (; waits() === 0 && pushed < 2 ** 25; pushed += 4000) {
      body.push(Buffer.alloc(4000));
      await turn();
    }
    for (let i = 0; i < 1000; i++, pushed++) {
      body.push('x');
      await turn();
    }
    // two pieces, and what HTTP puts around them
    assert.ok(waits() > 0 && waits() < 2 * 4020, `${waits()} bytes`);
    assert.ok(body.readableLength >= 990, `${body.readableLength} bytes`);
    body.push(null);
    assert.is((await within(10_000, read(reply), 'the body')).length, pushed);
  });
});

seam('should fail with 500 and no detail when the agent fails in a way nobody foresaw', async () => {
  await withGateway([], async ({ port, setAgent, output }) => {
    setAgent(
      agentOf(async () => {
        throw new TypeError('secret detail');
      }),
    );
    const reply = await ask(port);
    assert.equal([reply.status, reply.json()['errorType']], [500, 'INTERNAL']);
    assert.not.match(reply.body.toString(), 'secret');
    assert.match(output(), 'secret detail');
  });
});

seam.run();
