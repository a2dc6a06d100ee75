import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { readConfig } from '../../src/config.ts';
import { createLog } from '../../src/log.ts';
import { EMPTY_PROFILE, type Profile } from '../../src/profile.ts';
import { createSdkAgent } from '../../src/sdk/agent.ts';
import { createGateway } from '../../src/server.ts';
import { ask, deferred, eventually, raw, suite, within } from '../helpers.ts';
import type { Handler, Planes } from './noslate/planes.ts';

const NOSLATE_PATH = resolve('dist-test/sdk/noslate');
const { planes } = createRequire(__filename)(NOSLATE_PATH) as { planes: Planes };

const PROFILE: Profile = {
  ...EMPTY_PROFILE,
  functions: [{ name: 'f', runtime: 'nodejs', url: 'file:///f', signature: '1', handler: 'a.b' }],
};

/** A gateway in this process, in front of function `f`, which is the handler. */
async function withGateway(
  handler: Handler,
  body: (port: number, output: () => string) => Promise<void>,
): Promise<void> {
  let output = '';
  const log = createLog('json', text => {
    output += text;
  });
  const agent = createSdkAgent(NOSLATE_PATH, log);
  planes.handlers.set('f', handler);
  const { config } = readConfig({}, [], () => false);
  const { server, setAgent } = createGateway(config, log, PROFILE, () => {});
  try {
    await within(5000, agent.setProfile(PROFILE), 'the profile');
    setAgent(agent);
    await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
    await body((server.address() as AddressInfo).port, () => output);
  } finally {
    server.close();
    await within(5000, agent.close(), 'the agent to close');
    await planes.reset();
  }
}

const served = suite('the SDK behind HTTP');

served('should bring a request there and an answer back', async () => {
  const handler: Handler = async ({ url, headers, body }) => ({
    status: 201,
    headers: [
      'x-url',
      url,
      'set-cookie',
      'a=1',
      'set-cookie',
      'b=2',
      'X-Sent',
      headers[headers.indexOf('x-own') + 1] ?? '',
    ],
    body,
  });
  await withGateway(handler, async port => {
    const text = 'x'.repeat(300_000);
    const reply = await ask(port, { path: '/p?q', headers: { 'x-own': '1' }, body: text });
    assert.equal([reply.status, reply.headers['x-url'], reply.headers['x-sent']], [201, '/p?q', '1']);
    assert.equal(reply.headers['set-cookie'], ['a=1', 'b=2']);
    assert.is(reply.body.toString(), text);
  });
});

served('should cancel the call of a client that leaves before the head', async () => {
  const { promise, resolve: reach } = deferred();
  const handler: Handler = () => {
    reach();
    return new Promise(() => {});
  };
  await withGateway(handler, async (port, output) => {
    const client = await raw(port, 'POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 10\r\n\r\nhalf');
    await within(5000, promise, 'the function');
    client.socket.destroy();
    await eventually('no call left in gRPC', async () => planes.trips.size === 0);
    await eventually('the access line', async () => output().includes('"outcome":"client gone"'));
  });
});

served('should keep a connection whose body nobody read', async () => {
  const source = new Readable({ read() {} });
  const handler: Handler = async ({ method }) => ({
    status: 204,
    headers: [],
    body: method === 'POST' ? source : Readable.from([]),
  });
  await withGateway(handler, async port => {
    const head = 'POST / HTTP/1.1\r\nhost: t\r\ncontent-length: 300000\r\n\r\n';
    const client = await raw(port, head + 'x'.repeat(100_000));
    await client.until('204');
    // the answer is out, and now the call ends
    source.push(null);
    await eventually('no call left in gRPC', async () => planes.trips.size === 0);
    client.socket.write(`${'x'.repeat(200_000)}GET / HTTP/1.1\r\nhost: t\r\n\r\n`);
    await client.until('204', client.received().indexOf('204') + 3);
    client.socket.destroy();
  });
});

served('should break the connection when the answer breaks off', async () => {
  const source = new Readable({ read() {} });
  await withGateway(
    async () => ({ status: 200, headers: [], body: source }),
    async port => {
      const client = await raw(port, 'GET / HTTP/1.1\r\nhost: t\r\n\r\n');
      source.push('half');
      await client.until('half');
      planes.stop('data');
      assert.not.match(await within(5000, client.closed, 'the connection to break'), '\r\n0\r\n');
    },
  );
});

served.run();
