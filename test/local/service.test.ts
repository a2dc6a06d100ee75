import { join } from 'node:path';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import type { Agent, Metadata } from '../../src/agent.ts';
import { now } from '../../src/clock.ts';
import { GatewayError } from '../../src/errors.ts';
import { createLocalAgent } from '../../src/local/agent.ts';
import { createLog } from '../../src/log.ts';
import type { Profile, ServiceProfile } from '../../src/profile.ts';
import { loadProfile } from '../../src/profile-load.ts';
import { pickFunction } from '../../src/service.ts';
import { ask, project, read, SERVER_FILE, suite, within, withServer, write } from '../helpers.ts';

const single = (name: string, functionName: string): ServiceProfile => ({
  name,
  type: 'default',
  selector: { functionName },
});

const shared = (name: string, ...shares: [string, number][]): ServiceProfile => ({
  name,
  type: 'proportional-load-balance',
  selectors: shares.map(([functionName, proportion]) => ({ selector: { functionName }, proportion })),
});

/** Answers with its own name and what it was asked. */
const NAMED = (name: string): string => `
  exports.handler = async (ctx, req, res) => {
    res.writeHead(200);
    res.write('${name} ' + req.method + ' ' + req.url + ' ');
    for await (const chunk of req) res.write(chunk);
    res.end();
  };`;

const FUNCTIONS = { a: NAMED('a'), b: NAMED('b') };

const choice = suite('pickFunction');

choice('should give the function of a default service, whatever the random number', () => {
  for (const random of [0, 0.5, 1 - Number.EPSILON]) assert.is(pickFunction(single('s', 'a'), random), 'a');
});

choice('should give the first function whose share of the sum lies above the random number', () => {
  const service = shared('s', ['a', 0.25], ['b', 0.5], ['c', 0.25]);
  const cases: [number, string][] = [
    [0, 'a'],
    [0.2499, 'a'],
    [0.25, 'b'],
    [0.7499, 'b'],
    [0.75, 'c'],
    [1 - Number.EPSILON, 'c'],
  ];
  for (const [random, expected] of cases) assert.is(pickFunction(service, random), expected, String(random));
});

choice('should share the calls out by proportion', () => {
  const service = shared('s', ['a', 0.125], ['b', 0.625], ['none', 0], ['c', 0.25]);
  const counts: Record<string, number> = {};
  for (let i = 0; i < 1000; i++) {
    const name = pickFunction(service, i / 1000);
    counts[name] = (counts[name] ?? 0) + 1;
  }
  assert.equal(counts, { a: 125, b: 625, c: 250 });
});

choice('should leave to the last what the proportions do not share out', () => {
  const service = shared('s', ['a', 0.25], ['b', 0.25]);
  assert.equal(
    [0.2, 0.3, 0.5, 0.99].map(random => pickFunction(service, random)),
    ['a', 'b', 'b', 'b'],
  );
  assert.is(pickFunction(shared('s', ['a', 0], ['b', 0]), 0), 'b');
  assert.is(pickFunction(shared('s', ['a', 1], ['b', 1]), 0.99), 'a');
});

choice.run();

const services = suite('services of the local agent');

/** A local agent in this process and the profile of its two functions. */
async function withAgent(body: (agent: Agent, profile: Profile) => Promise<void>): Promise<void> {
  const agent = createLocalAgent(SERVER_FILE, createLog('off'));
  try {
    await body(agent, loadProfile(join(project(FUNCTIONS), 'noslate.json')));
  } finally {
    await within(10_000, agent.close(), 'the agent to close');
  }
}

const metadata = (): Metadata => ({
  url: '/x',
  method: 'POST',
  headers: [],
  baggage: [],
  requestId: 'id',
  deadline: now() + 20_000,
  signal: new AbortController().signal,
});

async function call(agent: Agent, service: string): Promise<string> {
  const reply = agent.invokeService(service, Readable.from([Buffer.from('body')], { objectMode: false }), metadata());
  const { body } = await within(20_000, reply, `an answer of ${service}`);
  return String(await within(20_000, read(body), `the body of ${service}`));
}

async function refusal(agent: Agent, service: string): Promise<[string, string]> {
  try {
    await call(agent, service);
  } catch (error) {
    assert.instance(error, GatewayError);
    const { code, message } = error as GatewayError;
    return [code, message];
  }
  throw new Error('not refused');
}

services('should pass a call on to the function of a default service', async () => {
  await withAgent(async (agent, profile) => {
    await agent.setProfile({ ...profile, services: [single('one', 'b'), single('b', 'a')] });
    assert.is(await call(agent, 'one'), 'b POST /x body');
    assert.is(await call(agent, 'b'), 'a POST /x body');
  });
});

services('should draw lots anew for each call of a proportional one', async () => {
  await withAgent(async (agent, profile) => {
    await agent.setProfile({ ...profile, services: [shared('many', ['a', 0.5], ['b', 0.5])] });
    const { random } = Math;
    const drawn = [0.7, 0.2, 0.5, 0.4];
    const answers: string[] = [];
    try {
      Math.random = () => drawn.shift() ?? random();
      for (let i = 0; i < 4; i++) answers.push((await call(agent, 'many')).slice(0, 1));
    } finally {
      Math.random = random;
    }
    assert.equal(answers, ['b', 'a', 'b', 'a']);
  });
});

services('should be replaced all at once, and be gone where the new profile has none', async () => {
  await withAgent(async (agent, profile) => {
    await agent.setProfile({ ...profile, services: [single('kept', 'a'), single('gone', 'a')] });
    assert.is(await call(agent, 'kept'), 'a POST /x body');
    await agent.setProfile({ ...profile, services: [single('kept', 'b')] });
    assert.is(await call(agent, 'kept'), 'b POST /x body');
    assert.equal(await refusal(agent, 'gone'), ['SERVICE_NOT_FOUND', 'no service named "gone"']);
    await agent.setProfile(profile);
    assert.equal(await refusal(agent, 'kept'), ['SERVICE_NOT_FOUND', 'no service named "kept"']);
  });
});

services('should say which function is missing when a service’s function is gone', async () => {
  await withAgent(async (agent, profile) => {
    const some = [single('one', 'a'), shared('many', ['b', 0], ['a', 1])];
    await agent.setProfile({ ...profile, services: some });
    assert.is(await call(agent, 'one'), 'a POST /x body');
    await agent.setProfile({
      ...profile,
      functions: profile.functions.filter(({ name }) => name !== 'a'),
      services: some,
    });
    for (const name of ['one', 'many'])
      assert.equal(await refusal(agent, name), ['FUNCTION_NOT_FOUND', 'no function named "a"']);
  });
});

services.run();

const routed = suite('services over HTTP');

const PROFILE = {
  services: [single('one', 'a'), shared('many', ['a', 0], ['b', 1])],
  routes: [
    { event: true, service: 'many' },
    { path: '/one/*', service: 'one' },
    { path: '/of/:name', service: ':name' },
    { function: 'a' },
  ],
  dispatchHeader: 'x-dispatch',
};

routed('should be reached by route, by parameter, by event and by dispatch header', async () => {
  await withServer({ functions: FUNCTIONS, profile: PROFILE }, async ({ port, access }) => {
    assert.is((await ask(port, { path: '/one/x?y', body: 'body' })).body.toString(), 'a POST /one/x?y body');
    assert.is((await ask(port, { path: '/of/many' })).body.toString(), 'b GET /of/many ');
    assert.is((await ask(port, { path: '/invoke', body: 'event' })).body.toString(), 'b POST /invoke event');
    for (const [value, expected] of [
      ['service:many', 'b'],
      ['function:b', 'b'],
      ['b', 'b'],
      ['service:one', 'a'],
    ] as const) {
      const reply = await ask(port, { path: '/', headers: { 'x-dispatch': value, 'x-fc-request-id': value } });
      assert.is(reply.body.toString(), `${expected} GET / `, value);
    }
    assert.is((await access('service:many'))['function'], 'service:many');
    assert.is((await access('function:b'))['function'], 'b');
  });
});

routed('should be answered 404 when they are unknown', async () => {
  await withServer({ functions: FUNCTIONS, profile: PROFILE }, async ({ port }) => {
    for (const ways of [{ path: '/of/a' }, { path: '/', headers: { 'x-dispatch': 'service:a' } }]) {
      const { status, json } = await ask(port, ways);
      assert.equal(
        [status, json()['errorType'], json()['errorMessage']],
        [404, 'SERVICE_NOT_FOUND', 'no service named "a"'],
      );
    }
  });
});

routed('should be replaced when noslate.json changes', async () => {
  await withServer({ functions: FUNCTIONS, profile: PROFILE }, async ({ port, folder, line }) => {
    assert.is((await ask(port, { path: '/of/one' })).body.toString(), 'a GET /of/one ');
    const { functions } = loadProfile(join(folder, 'noslate.json'));
    write(
      join(folder, 'noslate.json'),
      JSON.stringify({ functions, services: [single('one', 'b')], routes: [{ path: '/of/:name', service: ':name' }] }),
    );
    await line('the reload', ({ message }) => message === 'configuration reloaded');
    assert.is((await ask(port, { path: '/of/one' })).body.toString(), 'b GET /of/one ');
    assert.is((await ask(port, { path: '/of/many' })).status, 404);
  });
});

routed.run();
