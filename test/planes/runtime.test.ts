import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { createLog } from '../../src/log.ts';
import type { FunctionProfile } from '../../src/profile.ts';
import { eventually, type Functions, project, read, suite, within } from '../helpers.ts';
import type { NoslateError } from './errors.ts';
import { createRuntime, type Runtime, type RuntimeRequest } from './runtime.ts';

const request = (fields: Partial<RuntimeRequest> = {}): RuntimeRequest => ({
  method: 'POST',
  url: '/',
  headers: [],
  baggage: [],
  requestId: 'r1',
  deadline: Date.now() + 20_000,
  body: Readable.from([]),
  signal: new AbortController().signal,
  ...fields,
});

interface Bench {
  runtime: Runtime;
  profile(name: string, fields?: Partial<FunctionProfile>): FunctionProfile;
  output(): string;
}

async function withRuntime(functions: Functions, body: (bench: Bench) => Promise<void>): Promise<void> {
  const folder = project(functions);
  let output = '';
  const runtime = createRuntime(
    createLog('json', text => {
      output += text;
    }),
  );
  const profile: Bench['profile'] = (name, fields) => ({
    name,
    runtime: 'nodejs',
    url: pathToFileURL(join(folder, name)).href,
    signature: '1',
    handler: 'index.handler',
    ...fields,
  });
  try {
    await runtime.setFunctionProfile(
      Object.keys(functions).map(name => profile(name)),
      [],
    );
    await body({ runtime, profile, output: () => output });
  } finally {
    await runtime.close();
  }
}

/** Fields of the error that a call is rejected with, its stack aside. */
async function failure(call: Promise<unknown>): Promise<Partial<NoslateError>> {
  const error = await within(20_000, call, 'a rejection').then(
    () => assert.unreachable('expected a rejection'),
    (reason: NoslateError) => reason,
  );
  const { name, message, operation, code } = error ?? {};
  return JSON.parse(JSON.stringify({ name, message, operation, code }));
}

const trigger = (canonical: string, text: string, code: number) => ({
  name: 'NoslatedError',
  message: `Noslated request failed: CanonicalCode::${canonical} request kind(Trigger), ${text}`,
  operation: 'Trigger',
  code,
});

const test = suite('runtime of the test planes');

test('should run a function, bodies and head both ways', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    res.writeHead(201, ['X-Url', req.url, 'x-baggage', req.baggage.b]);
    for await (const chunk of req) res.write(chunk);
    res.end();
  };`;
  await withRuntime({ echo: source }, async ({ runtime }) => {
    const { status, headers, body } = await runtime.invoke(
      'echo',
      request({ url: '/x?y', baggage: ['b', '1'], body: Readable.from([Buffer.from('ping')], { objectMode: false }) }),
    );
    assert.equal([status, headers], [201, ['X-Url', '/x?y', 'x-baggage', '1']]);
    assert.is((await read(body)).toString(), 'ping');
  });
});

test('should fail before the head with the errors of a data plane', async () => {
  const functions = {
    throws: 'exports.handler = async () => { throw new TypeError("boom"); };',
    hangs: 'exports.handler = async (ctx, req, res) => { if (req.url === "/ok") res.end(); };',
    exits: 'exports.handler = async () => process.exit(3);',
    crashes:
      'exports.handler = async () => { setTimeout(() => { throw new Error("late"); }); await new Promise(() => {}); };',
    badinit: 'exports.initializer = async () => { throw new Error("no"); }; exports.handler = async () => {};',
    slowinit: 'exports.initializer = () => new Promise(() => {}); exports.handler = async () => {};',
    undef: 'exports.handler = async () => { throw undefined; };',
  };
  await withRuntime(functions, async ({ runtime, profile }) => {
    await runtime.setFunctionProfile(
      [
        ...['throws', 'crashes', 'exits', 'undef'].map(name => profile(name)),
        profile('hangs', { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } }),
        profile('badinit', { initializer: 'index.initializer' }),
        profile('slowinit', { initializer: 'index.initializer', worker: { initializationTimeout: 100 } }),
        profile('nohandler', { url: profile('throws').url, handler: 'index.nothere' }),
        profile('nocode'),
        profile('aworker', { runtime: 'aworker', sourceFile: 'index.js' }),
        profile('noqueue', { url: profile('hangs').url, worker: { disableRequestQueue: true } }),
        profile('failsfast', {
          url: profile('hangs').url,
          worker: { fastFailRequestsOnStarting: true, maxActivateRequests: 1, replicaCountLimit: 1 },
        }),
      ],
      [],
    );
    const fails = (name: string, fields?: Partial<RuntimeRequest>) => failure(runtime.invoke(name, request(fields)));
    const message = async (name: string) => (await fails(name)).message ?? '';

    assert.equal(await fails('nope'), {
      name: 'Error',
      message: 'No function named nope registered in this node.',
      code: 5,
    });
    assert.equal(await fails('throws'), trigger('INTERNAL_ERROR', 'boom', 1));
    const thrown: NoslateError = await runtime.invoke('throws', request()).catch(error => error);
    assert.match(thrown.peerStack ?? '', /TypeError: boom\n.*throws/s);
    assert.equal(await fails('nohandler'), trigger('INTERNAL_ERROR', 'Handler index.nothere is not a function.', 1));
    assert.equal(await fails('exits'), { name: 'Error', message: 'read ECONNRESET', code: 0 });
    assert.equal(await fails('crashes'), trigger('CONNECTION_RESET', 'Session closed', 4));
    assert.match(
      await message('badinit'),
      /^Internal error: Error: Worker\(badinit.* stopped unexpected after start\.\n/,
    );
    assert.match(await message('slowinit'), /^Internal error: Error: Worker\(slowinit.* initialization timeout\.\n/);
    assert.match(await message('nocode'), /^Failed to ensure \(or download\) code: Error: ENOENT/);
    assert.equal(await fails('aworker'), { name: 'Error', message: 'Invalid runtime aworker' });
    assert.equal(await fails('noqueue'), {
      name: 'Error',
      message: 'No available worker process for noqueue now.',
    });

    await read((await runtime.invoke('hangs', request({ url: '/ok' }))).body);
    const deadline = Date.now() + 300;
    const [holding, queued] = await Promise.all([
      fails('hangs', { deadline: deadline + 200 }),
      fails('hangs', { deadline, requestId: 'q' }),
    ]);
    assert.equal(holding, trigger('TIMEOUT', 'Request Timeout', 2));
    assert.equal(queued, {
      name: 'Error',
      message: `Waiting for worker has timed out at ${deadline}, request(q).`,
      code: 4,
    });

    await read((await runtime.invoke('failsfast', request({ url: '/ok' }))).body);
    const first = fails('failsfast', { deadline: Date.now() + 500 });
    assert.equal(await fails('failsfast'), { name: 'Error', message: 'Replica count exceeded limit (1 / 1)' });
    await first;

    const { status, body } = await runtime.invoke('undef', request());
    assert.equal([status, (await read(body)).length], [200, 0]);
  });
});

test('should fail after the head with the errors of a data plane', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    res.writeHead(200);
    res.write('part');
    if (req.url === '/exit') setTimeout(() => process.exit(), 100);
    else setTimeout(() => res.destroy(), 100);
  };`;
  await withRuntime({ breaks: source }, async ({ runtime }) => {
    const broken = await runtime.invoke('breaks', request());
    assert.equal(await failure(read(broken.body)), { name: 'Error', message: 'peer reset stream' });
    const exited = await runtime.invoke('breaks', request({ url: '/exit' }));
    assert.equal(await failure(read(exited.body)), {
      name: 'PEER_CONNECTION_CLOSED',
      message: 'Peer connection closed',
    });
  });
});

test('should not tell a worker that its caller has gone', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    res.on('close', () => console.log('closed ' + res.writableFinished));
    for await (const _ of req);
    if (req.url === '/head') res.writeHead(200);
    console.log('at work');
    await new Promise(done => setTimeout(done, 300));
    for (let i = 0; i < 40; i++) await new Promise(done => res.write(Buffer.alloc(64 * 1024), done));
    res.end();
  };`;
  await withRuntime({ works: source }, async ({ runtime, output }) => {
    const controller = new AbortController();
    const call = runtime.invoke('works', request({ signal: controller.signal }));
    const failed = failure(call);
    await eventually('the function to be at work', async () => output().includes('at work'));
    controller.abort();
    assert.equal(await failed, { name: 'Error', message: 'Call cancelled', code: 1 });
    await eventually('the function to end', async () => output().includes('closed true'));

    const { body } = await runtime.invoke('works', request({ url: '/head' }));
    body.destroy();
    await eventually('the function to end', async () => output().split('closed true').length === 3);
  });
});

test('should end the workers of a function whose code changed or that is gone, and no others', async () => {
  const hangs =
    'exports.handler = async (ctx, req) => { console.log("at work " + req.url); await new Promise(() => {}); };';
  await withRuntime({ changed: hangs, gone: hangs, kept: hangs }, async ({ runtime, profile, output }) => {
    const calls = ['changed', 'gone', 'kept'].map(name => failure(runtime.invoke(name, request({ url: `/${name}` }))));
    for (const name of ['changed', 'gone', 'kept'])
      await eventually(`${name} to be at work`, async () => output().includes(`at work /${name}`));
    let hasFailed = false;
    calls[2]?.then(() => {
      hasFailed = true;
    });
    await runtime.setFunctionProfile([profile('changed', { signature: '2' }), profile('kept')], []);
    assert.equal(await calls[0], trigger('CONNECTION_RESET', 'Session closed', 4));
    assert.equal(await calls[1], trigger('CONNECTION_RESET', 'Session closed', 4));
    assert.equal((await failure(runtime.invoke('gone', request()))).code, 5);
    assert.not(hasFailed);
  });
});

test('should count reserved workers, and let new environments reach new workers only', async () => {
  const source =
    'exports.handler = async (ctx, req, res) => { if (req.url === "/exit") process.exit(); res.end(process.env.STAGE ?? "none"); };';
  await withRuntime({ warm: source, cold: source }, async ({ runtime, profile }) => {
    const profiles = [profile('warm', { worker: { reservationCount: 2 } }), profile('cold')];
    await runtime.setFunctionProfile(profiles, []);
    await eventually('two workers', async () => runtime.activeWorkers('warm') === 2);
    assert.equal([runtime.activeWorkers('cold'), runtime.activeWorkers('nope')], [0, 0]);

    await runtime.setFunctionProfile(profiles, [{ key: 'STAGE', value: 'prod' }]);
    const stage = async (name: string) => (await read((await runtime.invoke(name, request())).body)).toString();
    assert.equal([await stage('warm'), await stage('cold')], ['none', 'prod']);
    assert.is(runtime.activeWorkers('cold'), 1);
    await failure(runtime.invoke('cold', request({ url: '/exit' })));
    assert.is(runtime.activeWorkers('cold'), 0);
  });
});

test('should pick a function for a service', async () => {
  const named = (name: string) => `exports.handler = async (ctx, req, res) => { res.end("${name}"); };`;
  await withRuntime({ a: named('a'), b: named('b') }, async ({ runtime }) => {
    runtime.setServiceProfiles([
      { name: 'plain', type: 'default', selector: { functionName: 'b' } },
      {
        name: 'split',
        type: 'proportional-load-balance',
        selectors: [
          { selector: { functionName: 'a' }, proportion: 0.5 },
          { selector: { functionName: 'b' }, proportion: 0.5 },
        ],
      },
    ]);
    const ask = async (service: string) =>
      (await read((await runtime.invokeService(service, request())).body)).toString();
    assert.is(await ask('plain'), 'b');
    const seen = new Set<string>();
    for (let i = 0; i < 100 && seen.size < 2; i++) seen.add(await ask('split'));
    assert.is(seen.size, 2);
    assert.equal(await failure(runtime.invokeService('nope', request())), {
      name: 'Error',
      message: 'Service not found.',
      code: 5,
    });
  });
});

test.run();
