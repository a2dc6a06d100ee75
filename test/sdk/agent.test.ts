import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import type { Agent, Metadata, TriggerResponse } from '../../src/agent.ts';
import { epochOf, now } from '../../src/clock.ts';
import { type Code, ConfigError, GatewayError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { EMPTY_PROFILE, type Profile } from '../../src/profile.ts';
import { loadProfile } from '../../src/profile-load.ts';
import { createSdkAgent } from '../../src/sdk/agent.ts';
import { deferred, eventually, project, read, suite, within, write } from '../helpers.ts';
import type { Handler, Planes } from './noslate/planes.ts';

const NOSLATE_PATH = resolve('dist-test/sdk/noslate');
const { planes } = createRequire(__filename)(NOSLATE_PATH) as { planes: Planes };

const profileOf = (...names: string[]): Profile => ({
  ...EMPTY_PROFILE,
  functions: names.map(name => ({ name, runtime: 'nodejs', url: 'file:///f', signature: '1', handler: 'a.b' })),
});

const SERVICES: Profile = {
  ...profileOf('f'),
  services: [{ name: 's', type: 'default', selector: { functionName: 'f' } }],
  environments: [{ key: 'STAGE', value: 'test' }],
};

interface Bench {
  agent: Agent;
  output(): string;
}

/** Runs a test's body with an agent on planes of its own. */
async function withAgent(body: (bench: Bench) => Promise<void>): Promise<void> {
  let output = '';
  const log = createLog('json', text => {
    output += text;
  });
  const agent = createSdkAgent(NOSLATE_PATH, log);
  // a test that fails leaves bodies without a reader, and `close` fails these
  const tame = (response: TriggerResponse): TriggerResponse => {
    response.body.on('error', () => {});
    return response;
  };
  try {
    await body({
      agent: {
        ...agent,
        invoke: (...args) => agent.invoke(...args).then(tame),
        invokeService: (...args) => agent.invokeService(...args).then(tame),
      },
      output() {
        log.flush();
        return output;
      },
    });
  } finally {
    await within(5000, agent.close(), 'the agent to close');
    await planes.reset();
  }
}

/** The same with function `f` registered, which is the handler. */
async function withFunction(handler: Handler, body: (agent: Agent) => Promise<void>): Promise<void> {
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(SERVICES), 'the profile');
    planes.handlers.set('f', handler);
    await body(agent);
  });
}

const metadata = (fields: Partial<Metadata> = {}): Metadata => ({
  url: '/',
  method: 'POST',
  headers: [],
  baggage: [],
  requestId: 'r',
  deadline: now() + 60_000,
  signal: new AbortController().signal,
  ...fields,
});

const answer = (body: string | Readable = '', status = 200): TriggerResponse => ({
  status,
  headers: [],
  body: typeof body === 'string' ? Readable.from(body === '' ? [] : [Buffer.from(body)], { objectMode: false }) : body,
});

const bodyOf = (...chunks: (string | Buffer)[]): Readable =>
  Readable.from(
    chunks.map(chunk => Buffer.from(chunk)),
    { objectMode: false },
  );
const noBody = (): Readable => bodyOf();
/** A body that goes on. */
const openBody = (): Readable => new Readable({ read() {} });

/** Never settles; resolves `reached` when it was called. */
function silence(): { handler: Handler; reached: Promise<void> } {
  const { promise, resolve: reach } = deferred();
  return {
    reached: promise,
    handler() {
      reach();
      return new Promise(() => {});
    },
  };
}

const failureOf = (promise: Promise<unknown>): Promise<GatewayError> =>
  within(
    5000,
    promise.then(
      () => Promise.reject(new Error('no failure')),
      error => error,
    ),
    'a failure',
  );

/** Ends when nothing of a call is left in gRPC. */
const noTrips = (): Promise<void> => eventually('no call left in gRPC', async () => planes.trips.size === 0);

const loading = suite('loading the SDK');

loading('should say what NOSLATE_PATH should name', async () => {
  const folder = project({});
  write(join(folder, 'other/index.js'), 'exports.other = 1;');
  write(
    join(folder, 'broken/index.js'),
    'exports.NoslatedClient = class { constructor() { throw new TypeError("odd config"); } };',
  );
  for (const [name, reason] of [
    ['missing', "Cannot find module '"],
    ['other', 'it exports no NoslatedClient'],
    ['broken', 'odd config'],
  ] as const) {
    const path = join(folder, name);
    assert.throws(
      () => createSdkAgent(path, createLog('off')),
      (error: unknown) =>
        error instanceof ConfigError &&
        error.problems.length === 1 &&
        error.message.startsWith('NOSLATE_PATH: expected') &&
        error.message.includes(JSON.stringify(path)) &&
        error.message.includes(reason) &&
        !error.message.includes('\n'),
    );
  }
});

loading.run();

const profiles = suite('profiles on the planes');

profiles('should wait for planes that come after the SDK has given up', async () => {
  planes.stop('data');
  planes.stop('control');
  planes.firstConnectionTimeout = 20;
  await withAgent(async ({ agent, output }) => {
    let isSet = false;
    const set = agent.setProfile(SERVICES).then(() => {
      isSet = true;
    });
    await eventually('the SDK to give up', async () => output().includes('Timeout on waiting'));
    planes.start('control');
    await new Promise(setImmediate);
    assert.is(isSet, false);
    planes.start('data');
    await within(5000, set, 'the profile');
    assert.equal(planes.received, ['environments STAGE=test', 'functions f', 'services s']);
  });
});

profiles('should not take the SDK’s word for it while no control plane is there', async () => {
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(profileOf('f')), 'the first profile');
    planes.stop('control');
    planes.received = [];
    let isSet = false;
    const set = agent.setProfile(profileOf('g')).then(() => {
      isSet = true;
    });
    for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    assert.is(isSet, false);
    planes.start('control');
    await within(5000, set, 'the second profile');
    assert.ok(planes.received.includes('functions g'));
  });
});

profiles('should send one profile after the other', async () => {
  await withAgent(async ({ agent }) => {
    const { promise, resolve: open } = deferred();
    planes.gate = promise;
    const both = Promise.all([agent.setProfile(profileOf('f')), agent.setProfile(profileOf('g'))]);
    await eventually('the first profile to be sent', async () => planes.received.includes('functions f'));
    assert.not(planes.received.includes('functions g'));
    open();
    await within(5000, both, 'both profiles');
    assert.ok(planes.received.includes('functions g'));
  });
});

profiles('should send environments before the functions that start workers with them', async () => {
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(SERVICES), 'the profile');
    assert.equal(planes.received, ['environments STAGE=test', 'functions f', 'services s']);
    planes.stop('control');
    planes.received = [];
    planes.start('control');
    assert.equal(planes.received, ['environments STAGE=test', 'functions f']);
  });
});

profiles('should not send again what the planes have', async () => {
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(SERVICES), 'the profile');
    planes.received = [];
    await within(5000, agent.setProfile(SERVICES), 'the same profile');
    assert.equal(planes.received, []);
    await within(5000, agent.setProfile({ ...SERVICES, environments: [] }), 'another profile');
    assert.equal(planes.received, ['environments NO_PLATFORM_ENVIRONMENT=1']);
  });
});

profiles('should not send environments where there are none to send or to take away', async () => {
  await withAgent(async ({ agent }) => {
    for (const name of ['f', 'g']) await within(5000, agent.setProfile(profileOf(name)), name);
    assert.equal(planes.received, ['functions f', 'services ', 'functions g']);
    for (const kind of ['data', 'control'] as const) planes.stop(kind);
    planes.received = [];
    for (const kind of ['data', 'control'] as const) planes.start(kind);
    assert.equal(planes.received, ['services ', 'functions g']);
  });
});

profiles('should set functions whatever becomes of their environments, and try these again', async () => {
  await withAgent(async ({ agent, output }) => {
    planes.refusesEnvironments = true;
    await within(5000, agent.setProfile(SERVICES), 'the profile');
    assert.equal(planes.received, ['environments STAGE=test', 'functions f', 'services s']);
    assert.match(output(), 'environments not sent, trying again');
    planes.refusesEnvironments = false;
    planes.received = [];
    await eventually('the environments', async () => planes.received.length > 0);
    assert.equal(planes.received, ['environments STAGE=test']);
  });
});

profiles('should send again what broke off on the way', async () => {
  await withAgent(async ({ agent, output }) => {
    planes.failure = Object.assign(new Error('14 UNAVAILABLE: gone'), { code: 14, details: 'gone' });
    await within(5000, agent.setProfile(profileOf('f')), 'the profile');
    assert.equal(planes.received, ['functions f', 'functions f', 'services ']);
    assert.match(output(), 'profile not sent, trying again');
  });
});

profiles('should say that the planes refuse a profile, and take the next', async () => {
  await withAgent(async ({ agent }) => {
    planes.failure = new Error("Platform environment variables didn't set.");
    const error = await failureOf(agent.setProfile(SERVICES));
    assert.equal([error.code, error.message], ['INTERNAL', 'the planes refused the profile']);
    await within(5000, agent.setProfile(profileOf('f')), 'the next profile');
  });
});

profiles('should be warm when the reserved workers are there', async () => {
  const folder = project(
    { hello: 'exports.handler = async (ctx, req, res) => res.end();' },
    {},
    { hello: { worker: { reservationCount: 1 } } },
  );
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(loadProfile(join(folder, 'noslate.json'))), 'the profile');
    await within(10_000, agent.warm(now() + 10_000), 'a warm worker');
    assert.is(planes.runtime.activeWorkers('hello'), 1);
  });
});

profiles('should say what is not warm, and outlive a missing control plane', async () => {
  await withAgent(async ({ agent }) => {
    const [item] = profileOf('f').functions;
    const functions = item === undefined ? [] : [{ ...item, url: 'file:///nowhere', worker: { reservationCount: 1 } }];
    await within(5000, agent.setProfile({ ...EMPTY_PROFILE, functions }), 'the profile');
    planes.stop('control');
    const error = await failureOf(agent.warm(now() + 60));
    assert.equal([error.code, error.message], ['UNAVAILABLE', 'function "f": 0 of 1 reserved workers active']);
  });
});

profiles.run();

const calls = suite('calls through the SDK');

calls('should run a real function, both ways', async () => {
  const folder = project({
    echo: `exports.handler = async (ctx, req, res) => {
      res.setHeader('set-cookie', ['a=1', 'b=2']);
      res.writeHead(201, { 'X-Url': req.url });
      for await (const chunk of req) res.write(chunk);
      res.end(req.headers['X-Case']);
    };`,
  });
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(loadProfile(join(folder, 'noslate.json'))), 'the profile');
    const call = agent.invoke('echo', bodyOf('one', 'two'), metadata({ url: '/p?q', headers: ['X-Case', '!'] }));
    const { status, headers, body } = await within(10_000, call, 'the head');
    assert.equal([status, headers], [201, ['set-cookie', 'a=1', 'set-cookie', 'b=2', 'X-Url', '/p?q']]);
    assert.is((await within(5000, read(body), 'the body')).toString(), 'onetwo!');
    await noTrips();
  });
});

calls('should tell the function what it is told of the request', async () => {
  const seen = deferred<{ deadline: number; body: string }>();
  const handler: Handler = async ({ body, signal: _, ...request }) => {
    seen.resolve({ ...request, body: (await read(body)).toString() });
    return answer();
  };
  await withFunction(handler, async agent => {
    const { signal: _, ...told } = metadata({
      url: '/p?q',
      method: 'PATCH',
      headers: ['X-A', '1', 'x-a', '2'],
      baggage: ['traceparent', 't'],
      requestId: 'id',
    });
    await within(5000, agent.invoke('f', bodyOf('text'), metadata(told)), 'the head');
    // the planes have another clock: they are told the time of day
    const { deadline, ...rest } = await seen.promise;
    assert.ok(Math.abs(Number(deadline) - epochOf(told.deadline)) < 1000, `deadline ${deadline}`);
    assert.equal({ ...rest, deadline: told.deadline }, { ...told, body: 'text' });
  });
});

calls('should give an aworker an absolute URL', async () => {
  await withAgent(async ({ agent }) => {
    const aworker = { name: 'f', runtime: 'aworker', url: 'file:///f', signature: '1', sourceFile: 'f.js' } as const;
    await within(5000, agent.setProfile({ ...EMPTY_PROFILE, functions: [aworker] }), 'the profile');
    const seen = deferred<string>();
    planes.handlers.set('f', async ({ url }) => {
      seen.resolve(url);
      return answer();
    });
    const request = metadata({ url: '/p?q', headers: ['Host', 'h:1'] });
    await within(5000, agent.invoke('f', noBody(), request), 'the head');
    assert.is(await within(5000, seen.promise, 'the call'), 'http://h:1/p?q');
  });
});

calls('should run the function of a service', async () => {
  const folder = project(
    { f: 'exports.handler = async (ctx, req, res) => res.end("f");' },
    { services: [{ name: 's', type: 'default', selector: { functionName: 'f' } }] },
  );
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(loadProfile(join(folder, 'noslate.json'))), 'the profile');
    const { body } = await within(10_000, agent.invokeService('s', noBody(), metadata()), 'the head');
    assert.is((await within(5000, read(body), 'the body')).toString(), 'f');
    const error = await failureOf(agent.invokeService('nope', noBody(), metadata()));
    assert.equal(
      [error.code, error.message],
      ['SERVICE_NOT_FOUND', 'service "nope": no such service on the data plane'],
    );
  });
});

calls('should not cut a body that takes longer than the deadline', async () => {
  const source = openBody();
  await withFunction(
    async () => answer(source),
    async agent => {
      const deadline = now() + 50;
      const { body } = await within(5000, agent.invoke('f', noBody(), metadata({ deadline })), 'the head');
      const text = read(body);
      source.push('a');
      // the SDK's own limit is 1 s after the deadline: there is nothing else to wait for
      await new Promise(done => setTimeout(done, deadline + 1200 - now()));
      source.push('b');
      source.push(null);
      assert.is((await within(5000, text, 'the body')).toString(), 'ab');
    },
  );
});

calls('should give up at the deadline when nothing is heard', async () => {
  await withFunction(silence().handler, async agent => {
    const error = await failureOf(agent.invoke('f', openBody(), metadata({ deadline: now() + 20 })));
    assert.equal([error.code, error.message], ['TIMEOUT', 'function "f" gave no answer by the deadline']);
    await noTrips();
  });
});

calls('should let the data plane say what the deadline found', async () => {
  const folder = project(
    { f: 'exports.handler = () => new Promise(() => {});' },
    {},
    { f: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } } },
  );
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(loadProfile(join(folder, 'noslate.json'))), 'the profile');
    const deadline = now() + 1500;
    const [first, second] = await Promise.all([
      failureOf(agent.invoke('f', noBody(), metadata({ deadline: deadline + 500 }))),
      failureOf(agent.invoke('f', noBody(), metadata({ deadline }))),
    ]);
    assert.equal([first.code, second.code], ['TIMEOUT', 'QUEUE_TIMEOUT']);
  });
});

for (const [state, make] of [
  ['has ended', noBody],
  ['goes on', openBody],
] as const) {
  calls(`should cancel a call before its head, when its body ${state}`, async () => {
    const { handler, reached } = silence();
    await withFunction(handler, async agent => {
      const controller = new AbortController();
      const reason = new GatewayError('CLIENT_GONE', 'the client left');
      const body = make();
      const failure = failureOf(agent.invoke('f', body, metadata({ signal: controller.signal })));
      await within(5000, reached, 'the function');
      if (state === 'has ended') await eventually('the end of the body', async () => body.readableEnded);
      controller.abort(reason);
      assert.is(await failure, reason);
      await noTrips();
      // it belongs to the request
      if (state === 'goes on') assert.is(body.destroyed, false);
    });
  });
}

calls('should not start a call that nobody waits for', async () => {
  await withFunction(silence().handler, async agent => {
    const controller = new AbortController();
    controller.abort(new GatewayError('CLIENT_GONE', 'gone'));
    const error = await failureOf(agent.invoke('f', noBody(), metadata({ signal: controller.signal })));
    assert.is(error.code, 'CLIENT_GONE');
    assert.is(planes.trips.size, 0);
  });
});

calls('should drop an answer that comes as the call is given up', async () => {
  const controller = new AbortController();
  const source = openBody();
  const reason = new GatewayError('CLIENT_GONE', 'gone');
  // the SDK has its head, and we have not
  source.on('newListener', event => {
    if (event === 'data') controller.abort(reason);
  });
  await withFunction(
    async () => answer(source),
    async agent => {
      assert.is(await failureOf(agent.invoke('f', noBody(), metadata({ signal: controller.signal }))), reason);
      await noTrips();
      assert.is(source.destroyed, true);
    },
  );
});

calls('should cancel a call whose answer is not wanted any more', async () => {
  const source = openBody();
  await withFunction(
    async () => answer(source),
    async agent => {
      const { body } = await within(5000, agent.invoke('f', openBody(), metadata()), 'the head');
      body.destroy();
      await noTrips();
      assert.is(source.destroyed, true);
    },
  );
});

calls('should end the SDK’s call that failed before its head', async () => {
  const folder = project({ f: 'exports.handler = async () => { throw new Error("secret"); };' });
  await withAgent(async ({ agent }) => {
    await within(5000, agent.setProfile(loadProfile(join(folder, 'noslate.json'))), 'the profile');
    for (const body of [noBody(), openBody()]) {
      const error = await failureOf(agent.invoke('f', body, metadata()));
      assert.equal([error.code, error.message], ['FUNCTION_FAILED', 'function "f" failed']);
      assert.match((error.cause as Error).stack ?? '', /secret.*index\.js/s);
      await noTrips();
    }
  });
});

calls('should fail at once without a data plane', async () => {
  await withFunction(silence().handler, async agent => {
    planes.stop('data');
    const error = await failureOf(agent.invoke('f', bodyOf('x'), metadata()));
    assert.is(error.code, 'UNAVAILABLE');
  });
});

calls('should fail the body of an answer that breaks off, read or not', async () => {
  for (const isRead of [true, false]) {
    const source = openBody();
    await withFunction(
      async () => answer(source),
      async agent => {
        const { body } = await within(5000, agent.invoke('f', noBody(), metadata()), 'the head');
        const failed = new Promise<GatewayError>(done => body.on('error', done));
        if (isRead) body.resume();
        source.push('half');
        await new Promise(setImmediate);
        source.destroy(Object.assign(new Error('Peer connection closed'), { name: 'PEER_CONNECTION_CLOSED' }));
        const error = await within(5000, failed, 'an error of the body');
        assert.equal([error instanceof GatewayError, error.code], [true, 'WORKER_EXITED']);
        await noTrips();
      },
    );
  }
});

calls('should fail the body of an answer when the data plane goes', async () => {
  await withFunction(
    async () => answer(openBody()),
    async agent => {
      const { body } = await within(5000, agent.invoke('f', noBody(), metadata()), 'the head');
      const failed = new Promise<GatewayError>(done => body.on('error', done));
      planes.stop('data');
      assert.is((await within(5000, failed, 'an error of the body')).code, 'UNAVAILABLE');
    },
  );
});

calls('should give all of a large answer to a slow reader', async () => {
  const chunk = Buffer.alloc(65_536, 1);
  await withFunction(
    async () => answer(bodyOf(...Array.from({ length: 48 }, () => chunk))),
    async agent => {
      const { body } = await within(5000, agent.invoke('f', noBody(), metadata()), 'the head');
      let bytes = 0;
      const slow = async (): Promise<void> => {
        for await (const part of body) {
          bytes += (part as Buffer).length;
          await new Promise(setImmediate);
        }
      };
      await within(10_000, slow(), 'the body');
      assert.is(bytes, 48 * 65_536);
    },
  );
});

calls.run();

const uploads = suite('uploads through the SDK');

const count: Handler = async ({ body }) => {
  let bytes = 0;
  for await (const chunk of body) bytes += (chunk as Buffer).length;
  return answer(String(bytes));
};

uploads('should write no faster than the data plane takes', async () => {
  const chunk = Buffer.alloc(40_000);
  await withFunction(count, async agent => {
    const { body } = await within(
      20_000,
      agent.invoke('f', bodyOf(...Array.from({ length: 200 }, () => chunk)), metadata()),
      'the head',
    );
    assert.is((await read(body)).toString(), '8000000');
    assert.ok(planes.mostWritten <= 2 * 65_536, `gRPC held ${planes.mostWritten} bytes`);
  });
});

uploads('should write as one message what comes in one turn', async () => {
  const counts: Handler = async ({ body }) => {
    let bytes = 0;
    let messages = 0;
    for await (const chunk of body) {
      bytes += (chunk as Buffer).length;
      messages++;
    }
    return answer(`${bytes} ${messages}`);
  };
  await withFunction(counts, async agent => {
    const body = openBody();
    const reply = agent.invoke('f', body, metadata());
    for (let i = 0; i < 20_000; i++) body.push('x');
    await new Promise(done => setImmediate(done));
    for (let i = 0; i < 20_000; i++) body.push('x');
    body.push(null);
    const [bytes, messages] = (await read((await within(20_000, reply, 'the head')).body)).toString().split(' ');
    assert.is(bytes, '40000');
    assert.ok(Number(messages) < 10, `${messages} messages`);
  });
});

uploads('should split what is larger than a message', async () => {
  await withFunction(count, async agent => {
    const bytes = 10 * 1024 * 1024 + 1;
    const { body } = await within(20_000, agent.invoke('f', bodyOf(Buffer.alloc(bytes)), metadata()), 'the head');
    assert.is((await read(body)).toString(), String(bytes));
  });
});

for (const reason of [undefined, new Error('aborted')]) {
  uploads(`should not end a body that breaks off ${reason === undefined ? 'silently' : 'with an error'}`, async () => {
    const taken = deferred();
    let hasEnded = false;
    const handler: Handler = ({ body }) => {
      body.on('data', () => taken.resolve());
      body.on('end', () => {
        hasEnded = true;
      });
      return new Promise(() => {});
    };
    await withFunction(handler, async agent => {
      const body = openBody();
      const failure = failureOf(agent.invoke('f', body, metadata()));
      body.push('half');
      await within(5000, taken.promise, 'a byte');
      body.destroy(reason);
      assert.is((await failure).code, 'CLIENT_GONE');
      await noTrips();
      assert.is(hasEnded, false);
    });
  });
}

uploads('should send nothing of a body that is gone already', async () => {
  await withFunction(silence().handler, async agent => {
    const body = openBody();
    body.destroy();
    assert.is((await failureOf(agent.invoke('f', body, metadata()))).code, 'CLIENT_GONE');
    await noTrips();
  });
});

uploads('should let a rest run out that the function did not read', async () => {
  await withFunction(
    async () => answer('early'),
    async agent => {
      const body = openBody();
      const reply = await within(5000, agent.invoke('f', body, metadata()), 'the head');
      assert.is((await read(reply.body)).toString(), 'early');
      const ended = new Promise<void>(done => body.on('end', done));
      for (let i = 0; i < 10; i++) body.push(Buffer.alloc(65_536));
      body.push(null);
      await within(5000, ended, 'the end of the body');
    },
  );
});

uploads('should end at once with a body that was read before', async () => {
  await withFunction(count, async agent => {
    const body = noBody();
    await read(body);
    const reply = await within(5000, agent.invoke('f', body, metadata()), 'the head');
    assert.is((await read(reply.body)).toString(), '0');
  });
});

uploads.run();

const restarts = suite('a data plane that comes back');

/** Leaves the data plane as it is after a restart, until the control plane has sent the profiles. */
function restart(): void {
  planes.stop('data');
  planes.isForgetful = true;
  planes.start('data');
}

restarts('should be waited for until it knows its functions again', async () => {
  const handler: Handler = async ({ body }) => answer((await read(body)).toString());
  await withFunction(handler, async agent => {
    restart();
    const whole = agent.invoke('f', bodyOf('one', 'two'), metadata());
    const empty = agent.invokeService('s', noBody(), metadata());
    planes.handlers.set('s', handler);
    await eventually('both calls to be refused twice', async () => planes.refused >= 4);
    planes.isForgetful = false;
    const replies = await within(5000, Promise.all([whole, empty]), 'the heads');
    assert.equal((await Promise.all(replies.map(({ body }) => read(body)))).map(String), ['onetwo', '']);
    await noTrips();
  });
});

restarts('should not be waited for with a function that nobody has registered', async () => {
  await withFunction(silence().handler, async agent => {
    restart();
    const error = await failureOf(agent.invoke('nope', noBody(), metadata({ deadline: now() + 600_000 })));
    assert.is(error.code, 'FUNCTION_NOT_FOUND');
  });
});

restarts('should not be waited for when it has not gone', async () => {
  await withFunction(silence().handler, async agent => {
    planes.isForgetful = true;
    assert.is((await failureOf(agent.invoke('f', noBody(), metadata()))).code, 'FUNCTION_NOT_FOUND');
  });
});

restarts('should be unavailable by the deadline', async () => {
  await withFunction(silence().handler, async agent => {
    // what comes too late for the deadline is TIMEOUT
    await eventually('it to be unavailable', async () => {
      restart();
      const error = await failureOf(agent.invoke('f', bodyOf('x'), metadata({ deadline: now() + 500 })));
      return error.code === 'UNAVAILABLE';
    });
    await noTrips();
  });
});

restarts('should not be asked again with half a body', async () => {
  let asked = 0;
  const handler: Handler = async ({ body }) => {
    asked++;
    await new Promise(done => body.once('data', done));
    throw Object.assign(new Error('No function named f registered in this node.'), { code: 5 });
  };
  await withFunction(handler, async agent => {
    restart();
    planes.isForgetful = false;
    const error = await failureOf(agent.invoke('f', bodyOf('one', 'two'), metadata()));
    assert.equal([error.code, asked], ['UNAVAILABLE' satisfies Code, 1]);
  });
});

restarts.run();

const closing = suite('closing the agent');

closing('should fail the calls in flight, and leave none of them', async () => {
  const { handler, reached } = silence();
  await withFunction(handler, async agent => {
    const waiting = failureOf(agent.invoke('f', openBody(), metadata()));
    planes.handlers.set('g', async () => answer(openBody()));
    const { body } = await within(5000, agent.invoke('g', openBody(), metadata()), 'the head');
    const broken = new Promise<GatewayError>(done => body.on('error', done));
    await within(5000, reached, 'the function');
    await within(5000, agent.close(), 'the agent to close');
    assert.is((await waiting).code, 'DRAINING');
    assert.is((await within(5000, broken, 'an error of the body')).code, 'DRAINING');
    await noTrips();
    assert.is((await failureOf(agent.invoke('f', noBody(), metadata()))).code, 'DRAINING');
  });
});

closing('should end what waits for the planes', async () => {
  await withAgent(async ({ agent }) => {
    const [item] = profileOf('f').functions;
    const functions = item === undefined ? [] : [{ ...item, worker: { reservationCount: 1 } }];
    await within(5000, agent.setProfile({ ...EMPTY_PROFILE, functions }), 'the profile');
    planes.stop('control');
    const set = failureOf(agent.setProfile(profileOf('g')));
    const warm = failureOf(agent.warm(now() + 600_000));
    await within(5000, agent.close(), 'the agent to close');
    assert.equal([(await set).code, (await warm).code], ['DRAINING', 'DRAINING']);
    assert.is(planes.clients, 0);
  });
});

closing('should leave no timer', async () => {
  // Node 16 cannot tell
  const { getActiveResourcesInfo } = process as { getActiveResourcesInfo?: () => string[] };
  if (getActiveResourcesInfo === undefined) return;
  const timers = (): number => getActiveResourcesInfo().filter(type => type === 'Timeout').length;
  const { handler, reached } = silence();
  await withFunction(handler, async agent => {
    const before = timers();
    const failure = failureOf(agent.invoke('f', noBody(), metadata()));
    await within(5000, reached, 'the function');
    restart();
    await failure;
    const waiting = failureOf(agent.invoke('f', noBody(), metadata()));
    await eventually('a call that waits for the data plane', async () => planes.trips.size === 0);
    await agent.close();
    await waiting;
    await noTrips();
    // one of an earlier test's may have run out
    assert.ok(timers() <= before, `${timers()} timers, ${before} before`);
  });
});

closing.run();
