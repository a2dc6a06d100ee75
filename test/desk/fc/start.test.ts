import { Server } from 'node:net';
import * as assert from 'uvu/assert';
import { eventually, suite, temporary, within, write } from '../../helpers.ts';
import { envelope, eventsOf, type Order, type StandIn, seen, standIn, told, whole, withFc } from './stand-in.ts';

const start = suite('platform: start');

start('should wait for a port that opens late, and only then call', async () => {
  await withFc({ conduct: { listenAfterMs: 300 }, freeze: false }, async fc => {
    assert.is((await whole(fc.invoke())).status, 200);
    const events = fc.life.events.map(({ event }) => event).filter(name => name !== 'log');
    assert.equal(events, ['call', 'starting', 'accepting', 'ready', 'request', 'head', 'answer']);
  });
});

/** Each fails to start in its way. */
const FAILURES: [string, StandIn, string, RegExp][] = [
  [
    'listens on loopback only',
    { conduct: { host: '127.0.0.1', says: 'only here' }, startTimeout: 2 },
    'FunctionNotStarted',
    /^Function instance health check failed on port \d+ in 2 seconds\. Logs:only here\n$/,
  ],
  [
    'never listens',
    { conduct: { listenAfterMs: 60_000 }, startTimeout: 0.3 },
    'FunctionNotStarted',
    /in 0\.3 seconds\. Logs:$/,
  ],
  [
    'exits',
    { conduct: { exitAtStart: 3, says: 'no database' } },
    'CAExited',
    /^Function instance exited unexpectedly\(code 3, message:exit status\) with start command '.*server\.js'\. Logs:no database\n$/,
  ],
  ['is killed', { conduct: { exitAtStart: 'SIGKILL' } }, 'CAExited', /\(code 137, message:SIGKILL\)/],
  ['crashes', { conduct: { exitAtStart: 'SIGSEGV' } }, 'CAExited', /\(code 139, message:SIGSEGV\)/],
  ['has no binary', { command: ['/nowhere/server'] }, 'CAFileNotFound', /^start command '\/nowhere\/server': .*ENOENT/],
];

for (const [what, options, code, message] of FAILURES) {
  // elsewhere than on Linux, loopback has one address
  if (what === 'listens on loopback only' && process.platform !== 'linux') continue;
  start(`should say why it failed, and try anew with the next call: the server ${what}`, async () => {
    await withFc({ ...options, maxInstances: 1 }, async fc => {
      for (const call of [() => fc.invoke(), () => fc.http({ method: 'GET', path: '/' })]) {
        const answer = await whole(call());
        assert.equal([answer.status, answer.errorType], [412, 'FCCommonError']);
        assert.is(envelope(answer)['Code'], code);
        assert.match(envelope(answer)['Message'] ?? '', message);
        assert.is(envelope(answer)['RequestId'], answer.answer.requestId);
        await Promise.all(fc.instances().map(({ exited }) => exited));
      }
      assert.is(eventsOf(fc, 'starting').length, 2);
    });
  });
}

start('should look for a port no longer when no port would do, and give the place back', async () => {
  await withFc({ maxInstances: 1 }, async fc => {
    const { listen } = Server.prototype;
    Server.prototype.listen = function (): Server {
      process.nextTick(() => this.emit('error', Object.assign(new Error('no more files'), { code: 'EMFILE' })));
      return this;
    };
    const call = fc.invoke();
    Server.prototype.listen = listen;
    const error = await within(2000, call, 'the error').catch(error => error);
    assert.is(error.message, 'no more files');
    assert.is((await whole(fc.invoke())).status, 200);
  });
});

start('should give the container FC’s variables, and of the machine’s own only the usual', async () => {
  process.env['CANARY'] = 'of this machine';
  try {
    await withFc({ environment: { OWN: 'value' } }, async fc => {
      const { env } = seen(await whole(fc.invoke()));
      const [instance] = fc.instances();
      assert.equal(
        [env['FC_FUNCTION_NAME'], env['FC_REGION'], env['FC_ACCOUNT_ID'], env['FC_FUNCTION_MEMORY_SIZE']],
        ['app', 'cn-hangzhou', '1234567890123456', '512'],
      );
      assert.equal([env['FC_INSTANCE_ID'], env['FC_CUSTOM_LISTEN_PORT']], [instance?.id, String(instance?.port)]);
      assert.match(env['FC_INSTANCE_ID'] ?? '', /^c-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}$/);
      assert.match(env['ALIBABA_CLOUD_ACCESS_KEY_ID'] ?? '', /^STS\./);
      assert.equal([env['OWN'], env['CANARY'], env['FC_SERVICE_NAME']], ['value', undefined, undefined]);
      assert.ok(env['PATH']);
    });
  } finally {
    delete process.env['CANARY'];
  }
  await withFc({ flavour: '2.0', role: false }, async fc => {
    const { env } = seen(await whole(fc.invoke()));
    assert.equal([env['FC_SERVICE_NAME'], env['FC_QUALIFIER']], ['service', 'LATEST']);
    const names = Object.keys(env).filter(name => /ALIBABA|accessKey|securityToken/.test(name));
    assert.equal(names, [], 'no credentials without a role');
  });
});

start('should put the port into the command where PORT stands', async () => {
  const file = `${temporary()}/server.js`;
  write(file, `require('node:http').createServer((_, res) => res.end(process.argv[2])).listen(process.argv[3]);`);
  await withFc({ command: [process.execPath, file, 'SUPPORT', 'PORT'] }, async fc => {
    assert.is((await whole(fc.invoke())).text, 'SUPPORT');
  });
});

start.run();

const initialize = suite('platform: initialize');

const initializer = { timeout: 3 };
const hooked = (...orders: Order[]): StandIn => ({ conduct: { hooks: { '/initialize': orders } }, initializer });

initialize('should be called once, before all calls that have come meanwhile', async () => {
  await withFc({ ...hooked({ status: 204 }), instanceConcurrency: 3 }, async fc => {
    const answers = await Promise.all([1, 2, 3].map(() => whole(fc.invoke())));
    assert.equal(
      answers.map(({ status }) => status),
      [200, 200, 200],
    );
    await whole(fc.invoke());
    await eventually('the last one told', async () => told(fc, 'request').length === 5);
    const requests = told(fc, 'request').map(({ method, url, bytes }) => `${method} ${url} ${bytes}`);
    assert.equal(requests, ['POST /initialize 0', ...Array(4).fill('POST /invoke 0')]);
    assert.equal(
      eventsOf(fc, 'initialized').map(({ status }) => status),
      [204],
    );
  });
});

initialize('should not be called unless it is configured', async () => {
  await withFc({ conduct: { hooks: { '/initialize': [{ status: 404 }] } } }, async fc => {
    assert.is((await whole(fc.invoke())).status, 200);
    assert.is(told(fc, 'request').length, 1);
  });
});

for (const [what, order, timeout, message] of [
  ['404', { status: 404, body: 'no database' }, 30, '/initialize answered 404: no database'],
  ['500', { status: 500, body: '' }, 30, '/initialize answered 500: '],
  ['300', { status: 300, body: '' }, 30, '/initialize answered 300: '],
  ['no answer', { first: 'x', hold: 'forever' }, 0.3, 'no answer from /initialize within 0.3 seconds'],
  ['half an answer', { half: true }, 30, '/initialize broke off'],
] as const) {
  initialize(`should fail the call and discard the instance: ${what}`, async () => {
    await withFc({ ...hooked(order), initializer: { timeout } }, async fc => {
      for (const call of [() => fc.invoke(), () => fc.http({ method: 'POST', path: '/' })]) {
        const answer = await whole(call());
        assert.equal([answer.status, answer.errorType], [200, 'InitializationError']);
        assert.equal(envelope(answer), { errorMessage: `Initialization failed: ${message}` });
      }
      assert.is(eventsOf(fc, 'starting').length, 2);
      assert.is(eventsOf(fc, 'ready').length, 0);
    });
  });
}

initialize('should be told from an end of the process', async () => {
  await withFc(hooked({ exit: 7 }), async fc => {
    const answer = await whole(fc.invoke());
    assert.is(envelope(answer)['Code'], 'CAExited');
    assert.match(envelope(answer)['Message'] ?? '', '(code 7,');
  });
});

initialize('should be called again on the same instance where FC keeps it, for calls that come together', async () => {
  const options = {
    ...hooked({ status: 404 }, {}),
    instanceConcurrency: 2,
    switches: { initFailure: 'keep' },
  } as const;
  await withFc(options, async fc => {
    assert.is((await whole(fc.invoke())).errorType, 'InitializationError');
    const both = await Promise.all([whole(fc.invoke()), whole(fc.invoke())]);
    assert.equal(
      both.map(({ errorType, status }) => [errorType, status]),
      [
        [undefined, 200],
        [undefined, 200],
      ],
    );
    assert.is(eventsOf(fc, 'starting').length, 1);
    assert.is(told(fc, 'request').filter(({ url }) => url === '/initialize').length, 2);
  });
});

initialize('should have each of two calls given an instance of its own, though one was kept', async () => {
  const options = { ...hooked({ status: 404 }, {}), switches: { initFailure: 'keep' } } as const;
  await withFc({ ...options, starts: [{}, { hooks: {} }] }, async fc => {
    assert.is((await whole(fc.invoke())).errorType, 'InitializationError');
    const both = await Promise.all([whole(fc.invoke()), whole(fc.invoke())]);
    assert.equal(both.map(answer => seen(answer).env['FC_INSTANCE_ID']).length, 2);
    assert.is(eventsOf(fc, 'starting').length, 2);
  });
});

initialize('should restart the instance after 500, even where FC keeps it', async () => {
  await withFc({ ...hooked({ status: 500 }), switches: { initFailure: 'keep' } }, async fc => {
    for (let i = 0; i < 2; i++) assert.is((await whole(fc.invoke())).errorType, 'InitializationError');
    assert.is(eventsOf(fc, 'starting').length, 2);
  });
});

initialize.run();

const settings = suite('platform: settings');

settings('should refuse pre-freeze in 3.0, which has none', () => {
  assert.throws(() => standIn({ preFreeze: { timeout: 1 } }), /preFreeze: expected no such hook in 3\.0/);
});

settings.run();
