import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import type { TriggerResponse } from '../../src/agent.ts';
import { now } from '../../src/clock.ts';
import { type Code, GatewayError } from '../../src/errors.ts';
import { PREFIX_BYTES } from '../../src/grpc/message.ts';
import { InvokeRequest } from '../../src/noslate/messages.ts';
import { EMPTY_PROFILE, type Profile } from '../../src/profile.ts';
import { listen, settings, Type } from '../h2/peer.ts';
import { eventually, type Functions, read, suite, temporary, within } from '../helpers.ts';
import type { PlanesOptions } from '../planes/index.ts';
import {
  bodyOf,
  codeOf,
  metadata,
  named,
  nextOf,
  noBody,
  openBody,
  type PlaneBench,
  pattern,
  profileOf,
  SOON_MS,
  textOf,
  wholeBody,
  withAgent,
  withPlanesAgent,
} from './bench.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Answers with its own name, stage and URL. */
const TELL = `exports.handler = async (ctx, req, res) => {
  res.writeHead(200);
  res.end([__dirname.split('/').pop(), process.env.STAGE, req.url].join(' '));
};`;

/** The same with a profile set. */
function withProfile(
  functions: Functions,
  body: (bench: PlaneBench & { profile: Profile }) => Promise<void>,
  overrides: Record<string, object> = {},
  fields: Record<string, unknown> = {},
): Promise<void> {
  const profile = profileOf(functions, fields, overrides);
  return withPlanesAgent({}, async bench => {
    await within(20_000, bench.agent.setProfile(profile), 'the profile');
    await body({ ...bench, profile });
  });
}

/** How often a plane has been called. */
const begun = async ({ planes }: PlaneBench, plane: string, method: string): Promise<number> =>
  (await planes.counters(plane)).begun[method] ?? 0;

const setting = suite('native agent: profile');

setting('should be set, and every later one in its place', async () => {
  await withPlanesAgent({}, async bench => {
    const { agent, text } = bench;
    const both = profileOf({ a: TELL, b: TELL });
    const one = { ...both, functions: both.functions.slice(1) };
    await within(SOON_MS, agent.setProfile(both), 'the profile');
    assert.equal([await text('a'), await text('b')], ['a  /', 'b  /']);
    await within(SOON_MS, agent.setProfile(one), 'the next profile');
    assert.is(await text('b'), 'b  /');
    assert.is(await codeOf(text('a')), 'FUNCTION_NOT_FOUND');
    assert.is(await begun(bench, 'cp-0', 'setFunctionProfile'), 2);
    await within(SOON_MS, agent.setProfile(EMPTY_PROFILE), 'no profile');
    assert.is(await codeOf(text('b')), 'FUNCTION_NOT_FOUND');
  });
});

setting('should not be sent to a control plane that has it, whatever that has filled in', async () => {
  const worker = { reservationCount: 0, shrinkCooldownOnStartup: false, emaConcurrencyAlpha: 0.1, v8Options: ['--x'] };
  const profile: Profile = {
    ...EMPTY_PROFILE,
    functions: [
      ...named('plain').functions,
      {
        ...(named('full').functions[0] as Profile['functions'][number]),
        initializer: 'a.i',
        worker,
        resourceLimit: { cpu: 0.3 },
        environments: [{ key: 'A', value: '' }],
        rateLimit: { maxTokenCount: 0, tokensPerFill: 1 },
        namespace: '',
      },
      { name: 'aw', runtime: 'aworker', url: 'file:///f', signature: '1', sourceFile: 'a.js', handler: 'a.b' },
    ],
  };
  await withPlanesAgent({}, async bench => {
    const { agent } = bench;
    await within(SOON_MS, agent.setProfile(profile), 'the profile');
    assert.is(await begun(bench, 'cp-0', 'setFunctionProfile'), 1);
    await within(SOON_MS, agent.setProfile({ ...profile, functions: [...profile.functions].reverse() }), 'the same');
    // another gateway, as after a restart of ours
    await withAgent(`${bench.planes.workdir}/socks`, async other => {
      await within(SOON_MS, other.agent.setProfile(profile), 'the profile again');
    });
    assert.is(await begun(bench, 'cp-0', 'getFunctionProfile'), 3);
    assert.is(await begun(bench, 'cp-0', 'setFunctionProfile'), 1);
    const functions = profile.functions.map(item => (item.name === 'full' ? { ...item, signature: '2' } : item));
    await within(SOON_MS, agent.setProfile({ ...profile, functions }), 'a changed one');
    assert.is(await begun(bench, 'cp-0', 'setFunctionProfile'), 2);
  });
});

setting('should come to the last of several set at once', async () => {
  await withPlanesAgent({}, async ({ agent, text }) => {
    const [first, second] = [profileOf({ a: TELL }), profileOf({ b: TELL })];
    await within(SOON_MS, Promise.all([agent.setProfile(first), agent.setProfile(second)]), 'both');
    assert.is(await text('b'), 'b  /');
    assert.is(await codeOf(text('a')), 'FUNCTION_NOT_FOUND');
  });
});

setting('should set the environments of workers that start later, and take them away again', async () => {
  await withProfile(
    { a: TELL, b: TELL, c: TELL },
    async ({ agent, text, profile }) => {
      assert.is(await text('a'), 'a prod /');
      await within(SOON_MS, agent.setProfile({ ...profile, environments: [{ key: 'STAGE', value: 'test' }] }), 'other');
      assert.is(await text('b'), 'b test /');
      await within(SOON_MS, agent.setProfile({ ...profile, environments: [] }), 'none');
      assert.is(await text('c'), 'c  /');
    },
    {},
    { environments: [{ key: 'STAGE', value: 'prod' }] },
  );
});

setting('should take a new file that has no environments, as the one before had none', async () => {
  await withPlanesAgent({ separate: true }, async bench => {
    const { agent, text, planes } = bench;
    await within(SOON_MS, agent.setProfile(profileOf({ a: TELL })), 'the first profile');
    assert.is(await text('a'), 'a  /');
    await within(SOON_MS, agent.setProfile(profileOf({ b: TELL })), 'the second profile');
    assert.is(await text('b'), 'b  /');
    await planes.restart();
    assert.is(await text('b'), 'b  /');
    assert.is(await begun(bench, 'cp-0', 'setPlatformEnvironmentVariables'), 0);
  });
});

setting('should set functions whatever becomes of their environments, and try these again', async () => {
  const profile = profileOf({ a: TELL, b: TELL }, { environments: [{ key: 'STAGE', value: 'prod' }] });
  await withPlanesAgent({ knobs: { refuseEnvironments: true } }, async bench => {
    const { agent, text, planes, output } = bench;
    await within(SOON_MS, agent.setProfile(profile), 'the profile');
    assert.is(await text('a'), 'a  /');
    assert.match(output(), 'the control plane refuses the environments');
    const refused = await begun(bench, 'cp-0', 'setPlatformEnvironmentVariables');
    await planes.setKnobs({ refuseEnvironments: false });
    await eventually(
      'the environments to be sent again',
      async () => (await begun(bench, 'cp-0', 'setPlatformEnvironmentVariables')) > refused,
    );
    await eventually('a worker with them', async () => (await text('b')) === 'b prod /');
    // the functions are what they were: they are not set again
    assert.is(await begun(bench, 'cp-0', 'setFunctionProfile'), 1);
  });
});

setting('should set services of both types, and take them away again', async () => {
  const services = [
    { name: 'plain', type: 'default', selector: { functionName: 'a' } },
    {
      name: 'split',
      type: 'proportional-load-balance',
      selectors: [
        { selector: { functionName: 'a' }, proportion: 0 },
        { selector: { functionName: 'b' }, proportion: 1 },
      ],
    },
  ];
  await withProfile(
    { a: TELL, b: TELL },
    async ({ agent, profile }) => {
      const call = async (name: string): Promise<string> =>
        textOf((await agent.invokeService(name, noBody(), metadata())).body);
      assert.equal([await call('plain'), await call('split')], ['a  /', 'b  /']);
      assert.is(await codeOf(call('other')), 'SERVICE_NOT_FOUND');
      await within(SOON_MS, agent.setProfile({ ...profile, services: profile.services.slice(1) }), 'one service');
      assert.is(await codeOf(call('plain')), 'SERVICE_NOT_FOUND');
      assert.is(await call('split'), 'b  /');
      await within(SOON_MS, agent.setProfile({ ...profile, services: [] }), 'no service');
      // the data plane is told beside the control plane
      await eventually('no service', async () => (await codeOf(call('split'))) === 'SERVICE_NOT_FOUND');
    },
    {},
    { services },
  );
});

setting('should be told again to planes that have restarted, environments and services too', async () => {
  const services = [{ name: 's', type: 'default', selector: { functionName: 'a' } }];
  await withProfile(
    { a: TELL },
    async bench => {
      const { agent, planes } = bench;
      const call = async (): Promise<string> =>
        textOf((await within(20_000, agent.invokeService('s', noBody(), metadata()), 'a head')).body);
      assert.is(await call(), 'a prod /');
      await planes.restart();
      assert.is(await call(), 'a prod /');
      for (const [plane, method] of [
        ['cp-0', 'setFunctionProfile'],
        ['cp-0', 'setPlatformEnvironmentVariables'],
        ['dp-0', 'setServiceProfiles'],
      ] as const) {
        assert.is(await begun(bench, plane, method), 1, method);
      }
    },
    {},
    { services, environments: [{ key: 'STAGE', value: 'prod' }] },
  );
});

setting('should wait for a control plane, and fail when the agent is closed first', async () => {
  await withAgent(temporary(), async ({ agent, text }) => {
    const set = codeOf(agent.setProfile(named('f')));
    const called = codeOf(text('f'));
    const warmed = codeOf(agent.warm(now() + 60_000));
    await within(SOON_MS, agent.close(), 'the agent to close');
    assert.equal(await Promise.all([set, called, warmed]), ['DRAINING', 'DRAINING', 'DRAINING']);
    assert.is(await codeOf(text('f')), 'DRAINING');
    assert.is(await codeOf(agent.setProfile(named('f'))), 'DRAINING');
  });
});

setting('should leave nothing behind that keeps the process alive', async () => {
  await withPlanesAgent({}, async ({ agent, planes, invoke, text }) => {
    await within(SOON_MS, agent.setProfile(EMPTY_PROFILE), 'the profile');
    assert.is(await text('@hello'), 'hello');
    const hanging = codeOf(invoke('@hang'));
    const streaming = await invoke('@echo', {}, openBody());
    const broken = codeOf(textOf(streaming.body));
    await eventually('both calls', async () => (await planes.counters('dp-0')).streams === 2);
    await within(SOON_MS, agent.close(), 'the agent to close');
    assert.is(await hanging, 'DRAINING');
    assert.is(await broken, 'UNAVAILABLE');
    for (const plane of ['dp-0', 'cp-0']) {
      await eventually('no connection', async () => {
        const { sessions } = await planes.counters(plane);
        return sessions === (plane === 'dp-0' ? 1 : 0); // the control plane's own
      });
    }
  });
});

const early = suite('native agent: calls before a control plane has the profile');

early('should try a whole body, and wait when the function is not known yet', async () => {
  await withPlanesAgent({ controlPlane: false }, async bench => {
    bench.agent.setProfile(named('f')).catch(() => {});
    assert.is(await codeOf(bench.text('f', { deadline: now() + 300 }, wholeBody())), 'UNAVAILABLE');
    assert.is(await begun(bench, 'dp-0', 'invoke'), 1);
  });
});

early('should hold back a body that could not be sent again', async () => {
  await withPlanesAgent({ controlPlane: false }, async bench => {
    bench.agent.setProfile(named('f')).catch(() => {});
    assert.is(await codeOf(bench.text('f', { deadline: now() + 300 }, openBody())), 'UNAVAILABLE');
    assert.is(await begun(bench, 'dp-0', 'invoke'), 0);
  });
});

early('should not try a plane that came after us', async () => {
  await withPlanesAgent({ controlPlane: false, late: true }, async bench => {
    bench.agent.setProfile(named('f')).catch(() => {});
    await eventually('a connection', async () => (await bench.planes.counters('dp-0')).sessions === 1);
    assert.is(await codeOf(bench.text('f', { deadline: now() + 300 }, wholeBody())), 'UNAVAILABLE');
    assert.is(await begun(bench, 'dp-0', 'invoke'), 0);
  });
});

early('should answer them as soon as it has', async () => {
  await withPlanesAgent({ knobs: { lateProfilesMs: 500 } }, async ({ agent, text }) => {
    const set = agent.setProfile(profileOf({ f: TELL }));
    const texts = await Promise.all([text('f', {}, wholeBody()), text('f', {}, bodyOf('body'))]);
    assert.equal(texts, ['f  /', 'f  /']);
    await within(SOON_MS, set, 'the profile');
  });
});

const warming = suite('native agent: warm');

const soon = (): number => now() + 500;
const messageOf = (promise: Promise<void>): Promise<string> =>
  within(
    SOON_MS,
    promise.then(
      () => 'warm',
      ({ message }: GatewayError) => message,
    ),
    'warm to settle',
  );

warming('should resolve when the reserved workers are active', async () => {
  await withProfile(
    { a: TELL, b: TELL },
    async bench => {
      await within(10_000, bench.agent.warm(now() + 10_000), 'warm workers');
      await within(10_000, bench.agent.warm(now() + 10_000), 'warm workers again');
      assert.ok((await begun(bench, 'cp-0', 'getWorkerStatsSnapshot')) >= 2);
    },
    { a: { worker: { reservationCount: 2 } } },
  );
});

warming('should say which workers are missing at its deadline', async () => {
  const never = 'exports.initializer = () => new Promise(() => {}); exports.handler = async () => {};';
  await withProfile(
    { a: never },
    async ({ agent }) => {
      const reason = 'function "a": 0 of 1 reserved workers active';
      assert.is(await messageOf(agent.warm(soon())), reason);
    },
    { a: { initializer: 'index.initializer', worker: { reservationCount: 1 } } },
  );
});

warming('should say which plane is missing', async () => {
  await withAgent(temporary(), async ({ agent }) => {
    agent.setProfile(EMPTY_PROFILE).catch(() => {});
    assert.is(await messageOf(agent.warm(soon())), 'no data plane is up');
  });
  await withPlanesAgent({ controlPlane: false }, async ({ agent }) => {
    agent.setProfile(EMPTY_PROFILE).catch(() => {});
    assert.is(await messageOf(agent.warm(soon())), 'no control plane is up');
  });
  await withPlanesAgent({}, async ({ agent }) => {
    assert.is(await messageOf(agent.warm(soon())), 'the control plane has not taken the profile');
  });
});

warming('should fail while the circuit breaker of the data plane is open', async () => {
  await withPlanesAgent({ knobs: { unhealthy: true } }, async ({ agent, planes }) => {
    await within(SOON_MS, agent.setProfile(EMPTY_PROFILE), 'the profile');
    const failure = await agent.warm(soon()).catch(error => error as GatewayError);
    assert.equal([failure?.code, failure?.message], ['UNAVAILABLE', 'the data plane is not healthy']);
    assert.match(String(failure?.cause), 'Circuit Breaker Enabled');
    await planes.setKnobs({ unhealthy: false });
    assert.is(await messageOf(agent.warm(soon())), 'warm');
  });
});

const several = suite('native agent: several data planes');

const TWO: PlanesOptions = { dataPlanes: [0, 1], separate: true };

/** Names of the functions called, by plane. */
async function callsOf({ planes }: PlaneBench, plane: string): Promise<string[]> {
  return (await planes.counters(plane)).calls.map(({ name }) => name);
}

several('should have calls go where the fewest are in flight', async () => {
  await withPlanesAgent(TWO, async bench => {
    const { invoke, output } = bench;
    await eventually('both planes', async () => output().split('plane up').length >= 4);
    // they part evenly; what we ask a plane ourselves counts as well
    for (let i = 0; i < 6; i++) invoke('@hang').catch(() => {});
    await eventually('six calls', async () => {
      const counts = await Promise.all(['dp-0', 'dp-1'].map(plane => callsOf(bench, plane)));
      return counts.flat().length === 6;
    });
    for (const plane of ['dp-0', 'dp-1']) assert.ok((await callsOf(bench, plane)).length >= 2, plane);
  });
});

several('should use a plane that comes later, before one that is busy', async () => {
  await withPlanesAgent(TWO, async bench => {
    const { planes, invoke, text, output } = bench;
    await eventually('both planes', async () => output().includes('"plane":"dp-1"'));
    await planes.kill('SIGKILL', 'dp-1');
    await eventually('one to be gone', async () => output().includes('plane down'));
    for (let i = 0; i < 3; i++) invoke('@hang').catch(() => {});
    await eventually('three calls', async () => (await callsOf(bench, 'dp-0')).length === 3);
    assert.is(await text('@hello'), 'hello');
    assert.equal(await callsOf(bench, 'dp-0'), ['@hang', '@hang', '@hang', '@hello']);
    await planes.restart('dp-1');
    await eventually('it to be back', async () => output().split('"plane":"dp-1"').length >= 4);
    for (let i = 0; i < 4; i++) assert.is(await text('@hello'), 'hello');
    assert.equal(await callsOf(bench, 'dp-1'), ['@hello', '@hello', '@hello', '@hello']);
  });
});

several('should tell each of them the services, and run on what is left', async () => {
  const profile = profileOf(
    { a: TELL },
    { services: [{ name: 's', type: 'default', selector: { functionName: 'a' } }] },
  );
  await withPlanesAgent(TWO, async bench => {
    const { agent, planes } = bench;
    await within(10_000, agent.setProfile(profile), 'the profile');
    for (const plane of ['dp-0', 'dp-1']) {
      await eventually('the services', async () => (await begun(bench, plane, 'setServiceProfiles')) === 1);
    }
    await planes.kill('SIGKILL', 'dp-0');
    const call = async (): Promise<string> =>
      textOf((await within(SOON_MS, agent.invokeService('s', noBody(), metadata()), 'a head')).body);
    let failures = 0;
    await eventually('a call to succeed', async () => {
      const code = await codeOf(call());
      if (code !== 'OK') failures++;
      return code === 'OK';
    });
    // only what was on its way to a plane that nobody had seen die yet
    assert.ok(failures <= 1, `${failures} failures`);
    assert.is(await call(), 'a  /');
  });
});

const passing = suite('native agent: what a function gets and gives');

const ECHO_HEAD = `exports.handler = async (ctx, req, res) => {
  res.writeHead(201, { 'X-One': ['1', '2'], 'set-cookie': ['a=1', 'b=2'], 'x-empty': '' });
  res.end(JSON.stringify({ method: req.method, url: req.url, raw: req.rawHeaders, baggage: req.baggage }));
};`;

passing('should pass method, url, headers with their duplicates, and baggage', async () => {
  await withProfile({ f: ECHO_HEAD }, async ({ invoke }) => {
    const raw = ['Host', 'h:1', 'X-Two', 'b', 'x-two', 'a', 'x-utf', 'ä', 'x-empty', ''];
    const response = await invoke('f', { method: 'PATCH', url: '/p?q=%20', headers: raw, baggage: ['trace', 'id'] });
    assert.is(response.status, 201);
    const expected = ['X-One', '1', 'X-One', '2', 'set-cookie', 'a=1', 'set-cookie', 'b=2', 'x-empty', ''];
    assert.equal(response.headers, expected);
    assert.equal(JSON.parse(await textOf(response.body)), {
      method: 'PATCH',
      url: '/p?q=%20',
      raw,
      baggage: { trace: 'id' },
    });
  });
});

passing('should pass the request’s id', async () => {
  await withPlanesAgent({}, async ({ text, planes }) => {
    await text('@hello', { requestId: 'id 1' });
    assert.equal(
      (await planes.counters('dp-0')).calls.map(({ requestId }) => requestId),
      ['id 1'],
    );
  });
});

for (const size of [0, 1, 64 * KIB, 25 * MIB]) {
  passing(`should carry ${size} bytes both ways unchanged`, async () => {
    const bytes = pattern(size);
    await withPlanesAgent({ knobs: { heedBackpressure: true } }, async ({ invoke }) => {
      for (const input of [bodyOf(bytes), Readable.from(slices(bytes, 65_521), { objectMode: false })]) {
        const { status, body } = await invoke('@echo', {}, input);
        assert.is(status, 200);
        assert.ok((await within(30_000, read(body), 'the body')).equals(bytes));
      }
    });
  });
}

function* slices(bytes: Buffer, size: number): Generator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

passing('should send each chunk at once and as one message, and hand on what comes back at once', async () => {
  await withPlanesAgent({}, async ({ invoke, planes }) => {
    const input = openBody();
    const { body } = await invoke('@echo', {}, input);
    for (const [i, size] of [1, 100, 70_000, 3].entries()) {
      const chunk = pattern(size);
      input.push(chunk);
      let back = Buffer.alloc(0);
      while (back.length < size) back = Buffer.concat([back, await nextOf(body)]);
      assert.ok(back.equals(chunk));
      // the first message has the metadata alone
      assert.is((await planes.counters('dp-0')).calls[0]?.messages, i + 2);
    }
    input.push(null);
    assert.is(await textOf(body), '');
  });
});

passing('should put what there is of a body into the first message', async () => {
  await withPlanesAgent({}, async ({ text, planes }) => {
    assert.is(await text('@sink', {}, bodyOf('body')), '4');
    assert.is(await text('@sink', {}, noBody()), '0');
    assert.equal(
      (await planes.counters('dp-0')).calls.map(({ messages }) => messages),
      [1, 1],
    );
  });
});

passing('should part a chunk above 1 MiB', async () => {
  await withPlanesAgent({}, async ({ text, planes }) => {
    const size = 25 * MIB + 1;
    const input = new PassThrough({ highWaterMark: 2 * size });
    input.end(Buffer.alloc(size));
    assert.is(await text('@sink', {}, input), String(size));
    const [call] = (await planes.counters('dp-0')).calls;
    assert.is(call?.bytes, size);
    assert.is(call?.messages, 26);
  });
});

passing('should end a call whose function answers before it has read the body', async () => {
  await withPlanesAgent({}, async ({ invoke, planes }) => {
    const input = openBody();
    input.push('some');
    const { body } = await invoke('@hello', {}, input);
    assert.is(await textOf(body), 'hello');
    await eventually('the call to end', async () => (await planes.counters('dp-0')).streams === 0);
    // by END_STREAM
    assert.is((await planes.counters('dp-0')).cancelled, 0);
    // nobody reads on, and nothing that comes does harm
    assert.is(input.isPaused(), true);
    assert.is(input.destroyed, false);
    input.push('more');
    input.push(null);
    input.resume();
  });
});

passing('should read no more of a body than a slow function takes', async () => {
  const knobs = { heedBackpressure: true };
  await withProfile(
    {
      f: 'exports.handler = (ctx, req, res) => { res.writeHead(200); res.write("head"); return new Promise(() => {}); };',
    },
    async ({ planes, invoke }) => {
      await planes.setKnobs(knobs);
      let taken = 0;
      const input = new Readable({
        read() {
          taken += 64 * KIB;
          this.push(Buffer.alloc(64 * KIB));
        },
      });
      const { body } = await invoke('f', {}, input);
      assert.is(String(await nextOf(body)), 'head');
      let before = -1;
      await eventually('the upload to stand still', async () => {
        const isStill = taken === before;
        before = taken;
        await new Promise(done => setTimeout(done, 100));
        return isStill;
      });
      assert.ok(taken < 8 * MIB, `took ${taken} bytes`);
      body.destroy();
    },
  );
});

passing('should hand on a message of 10 MiB piece by piece, and fail on a larger one', async () => {
  // what surrounds the body: two tags, two lengths
  const largest = 10 * MIB - 10;
  await withPlanesAgent({}, async ({ invoke }) => {
    const { body } = await invoke('@source', { url: `/${largest}/${largest}` });
    // nothing more than the stream's window may be there before it is read
    await nextOf(body);
    let bytes = 0;
    let most = 0;
    for await (const piece of body) {
      bytes += piece.length;
      most = Math.max(most, piece.length);
    }
    assert.ok(bytes > 9 * MIB);
    assert.ok(most <= 64 * KIB, `a piece of ${most} bytes`);
    const larger = await invoke('@source', { url: `/${11 * MIB}/${11 * MIB}` });
    // the function's fault, and not the client's
    assert.is(await codeOf(textOf(larger.body)), 'FUNCTION_FAILED');
  });
});

passing('should hold no more of a large message than a stream’s window while nobody reads', async () => {
  const memory = (): number => process.memoryUsage().arrayBuffers;
  await withPlanesAgent({}, async ({ invoke }) => {
    const url = `/${10 * MIB - 10}/${10 * MIB - 10}`;
    await textOf((await invoke('@source', { url })).body);
    const before = memory();
    const responses: TriggerResponse[] = [];
    for (let i = 0; i < 8; i++) responses.push(await invoke('@source', { url }));
    await Promise.all(responses.map(({ body }) => nextOf(body)));
    const grown = memory() - before;
    assert.ok(grown < 20 * MIB, `grew by ${grown} bytes`);
    for (const { body } of responses) body.destroy();
  });
});

passing('should give an aworker an absolute URL, and all else the one that was sent', async () => {
  const folder = temporary();
  const server = await listen(join(folder, 'dp-0.sock'));
  await withAgent(folder, async ({ agent }) => {
    const peer = await server.accept();
    peer.send(settings());
    const aworker = { name: 'aw', runtime: 'aworker', url: 'file:///f', signature: '1', sourceFile: 'a.js' } as const;
    const profile = { ...EMPTY_PROFILE, functions: [...named('node').functions, aworker] };
    agent.setProfile(profile).catch(() => {});
    for (const [streamId, name, url] of [
      [1, 'node', '/p?q'],
      [3, 'aw', 'http://h:1/p?q'],
    ] as const) {
      agent.invoke(name, wholeBody(), metadata({ url: '/p?q', headers: ['Host', 'h:1'] })).catch(() => {});
      const { payload } = await peer.take(Type.DATA, streamId);
      assert.is(InvokeRequest.decode(payload.subarray(PREFIX_BYTES)).url, url);
    }
  });
  server.close();
});

const failing = suite('native agent: failures');

/** Source, and what it fails with before its head. */
const FUNCTIONS: Readonly<Record<string, readonly [source: string, code: Code, overrides?: object]>> = {
  throws: ['exports.handler = async () => { throw new Error("no"); };', 'FUNCTION_FAILED'],
  missing: ['exports.other = 1;', 'FUNCTION_FAILED'],
  exits: ['exports.handler = () => process.exit(1);', 'WORKER_EXITED'],
  crashes: [
    'exports.handler = () => new Promise(() => { setTimeout(() => { throw new Error("crash"); }); });',
    'WORKER_EXITED',
  ],
  badinit: [
    'exports.init = async () => { throw new Error("no"); }; exports.handler = async () => {};',
    'INITIALIZER_FAILED',
    { initializer: 'index.init' },
  ],
  slowinit: [
    'exports.init = () => new Promise(() => {}); exports.handler = async () => {};',
    'INITIALIZER_TIMEOUT',
    { initializer: 'index.init', worker: { initializationTimeout: 100 } },
  ],
  nocode: ['', 'CODE_UNAVAILABLE', { url: 'file:///nowhere/at/all' }],
};

failing('should have the code of the table: functions', async () => {
  const sources = Object.fromEntries(Object.entries(FUNCTIONS).map(([name, [source]]) => [name, source]));
  const overrides = Object.fromEntries(Object.entries(FUNCTIONS).map(([name, [, , fields = {}]]) => [name, fields]));
  await withProfile(
    sources,
    async ({ text }) => {
      const got = await Promise.all(Object.keys(FUNCTIONS).map(async name => [name, await codeOf(text(name), 20_000)]));
      assert.equal(
        got,
        Object.entries(FUNCTIONS).map(([name, [, code]]) => [name, code]),
      );
    },
    overrides,
  );
});

failing('should have the code of the table: a lack of workers, and time', async () => {
  const wait = 'exports.handler = (ctx, req, res) => new Promise(() => {});';
  const one = { maxActivateRequests: 1, replicaCountLimit: 1 };
  await withProfile(
    { wait, noqueue: wait, fast: wait, gone: wait },
    async ({ agent, invoke, planes, profile }) => {
      const call = (name: string, ms = 60_000) => codeOf(invoke(name, { deadline: now() + ms }));
      assert.is(await call('noqueue'), 'NO_WORKER');
      assert.is(await call('wait', 5000), 'TIMEOUT');
      const first = call('wait');
      const fast = call('fast');
      const gone = call('gone');
      await eventually('three calls', async () => (await planes.counters('dp-0')).streams === 3);
      // before its worker is there, it would be among those that fail fast
      for (const name of ['fast', 'gone']) {
        const worker = new RegExp(`"worker ready","function":"${name}"`);
        await eventually(`a worker of ${name}`, async () => worker.test(planes.output()));
      }
      // a plane that is slow to say so is cut off: TIMEOUT
      await eventually('the end of the queue', async () => (await call('wait', 300)) === 'QUEUE_TIMEOUT');
      await eventually('no worker', async () => (await call('fast', 300)) === 'NO_WORKER');
      // its worker is replaced
      const functions = profile.functions.map(item => (item.name === 'gone' ? { ...item, signature: '2' } : item));
      await within(SOON_MS, agent.setProfile({ ...profile, functions }), 'the next profile');
      assert.is(await gone, 'WORKER_EXITED');
      await planes.kill();
      assert.equal([await first, await fast], ['UNAVAILABLE', 'UNAVAILABLE']);
    },
    {
      wait: { worker: one },
      noqueue: { worker: { disableRequestQueue: true } },
      fast: { worker: { ...one, fastFailRequestsOnStarting: true } },
    },
  );
});

failing(
  'should say of a worker that turfd does not start that it cannot be started, and hint at its environment',
  async () => {
    const reserved = { worker: { reservationCount: 1 } };
    const environments = [{ key: 'LONG', value: 'x'.repeat(3400) }];
    await withProfile(
      { large: TELL, small: TELL, reserved: TELL },
      async ({ agent, text, planes }) => {
        const messageOfCall = (name: string) => text(name).catch(error => [error.code, error.message]);
        assert.equal(await messageOfCall('large'), [
          'INITIALIZER_FAILED',
          'function "large": its worker could not be started, turfd broke off: expected an environment of at most 2500 bytes',
        ]);
        await planes.setKnobs({ noBinary: true });
        assert.equal(await messageOfCall('small'), [
          'INITIALIZER_FAILED',
          'function "small": its worker could not be started, turfd found no program of its runtime',
        ]);
        assert.is(
          await messageOf(agent.warm(now() + 5000)),
          'function "reserved": 0 of 1 reserved workers active, and none is starting: ' +
            'its environment has 3408 bytes, expected at most 2500',
        );
      },
      { large: { environments }, reserved: { ...reserved, environments } },
    );
  },
);

failing(
  'should make calls again whose worker turfd did not start for another of which it is told too much',
  async () => {
    const names = Array.from({ length: 30 }, (_, i) => `small-${i}`);
    const functions = Object.fromEntries(['large', ...names].map(name => [name, TELL]));
    const environments = [{ key: 'LONG', value: 'x'.repeat(3400) }];
    await withProfile(
      functions,
      async ({ text, planes }) => {
        const isBroken = (): boolean =>
          planes.lines().some(line => line.message === 'worker not started' && line['function'] !== 'large');
        for (const name of names) {
          const [large, small] = await Promise.all([codeOf(text('large')), text(name)]);
          assert.equal([large, small], ['INITIALIZER_FAILED', `${name}  /`]);
          if (isBroken()) return;
        }
        assert.unreachable('none was broken off');
      },
      { large: { environments } },
    );
  },
);

failing('should make calls again that waited for a worker which has gone', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    console.log('ran ' + req.url);
    if (req.url === '/slow') await new Promise(done => setTimeout(done, 300)).then(() => process.exit());
    res.end('told');
  };`;
  await withProfile(
    { f: source },
    async ({ text, planes }) => {
      assert.is(await text('f'), 'told');
      const slow = codeOf(text('f', { url: '/slow' }), 20_000);
      await eventually('the slow call', async () => planes.output().includes('ran /slow'));
      assert.equal(await Promise.all([text('f'), text('f')]), ['told', 'told']);
      assert.is(await slow, 'WORKER_EXITED');
    },
    { f: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } } },
  );
});

failing('should have the code of the table: gRPC', async () => {
  await withPlanesAgent({}, async ({ text, agent }) => {
    const expected: [string, Code][] = [
      ['@status/0', 'FUNCTION_FAILED'],
      ['@status/1', 'UNAVAILABLE'],
      ['@status/2', 'BAD_RESPONSE'],
      ['@status/4', 'TIMEOUT'],
      ['@status/8', 'UNAVAILABLE'],
      ['@status/12', 'BAD_RESPONSE'],
      ['@status/13', 'UNAVAILABLE'],
      ['@status/14', 'UNAVAILABLE'],
      ['@error', 'FUNCTION_FAILED'],
      ['nobody', 'FUNCTION_NOT_FOUND'],
    ];
    for (const [name, code] of expected) assert.equal([name, await codeOf(text(name))], [name, code]);
    assert.is(await codeOf(agent.invokeService('nobody', noBody(), metadata())), 'SERVICE_NOT_FOUND');
    const large = ['x', 'x'.repeat(11 * MIB)];
    assert.is(await codeOf(text('@hello', { headers: large })), 'BODY_TOO_LARGE');
    assert.is(await text('@hello'), 'hello');
  });
});

failing('should destroy a body after the head with the code of the table', async () => {
  const functions = {
    exits:
      'exports.handler = (ctx, req, res) => { res.writeHead(200); res.write("part"); setTimeout(() => process.exit(1), 100); return new Promise(() => {}); };',
    breaks:
      'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.write("part"); setTimeout(() => res.destroy(new Error("no")), 100); return new Promise(() => {}); };',
  };
  await withProfile(functions, async ({ invoke }) => {
    const expected: [string, string, Code][] = [
      ['@error-after', '/', 'FUNCTION_FAILED'],
      ['@no-trailers', '/', 'UNAVAILABLE'],
      ['@no-trailers', '/rst', 'UNAVAILABLE'],
      ['@half', '/', 'UNAVAILABLE'],
      ['exits', '/', 'WORKER_EXITED'],
      ['breaks', '/', 'FUNCTION_FAILED'],
    ];
    for (const [name, url, code] of expected) {
      const { status, body } = await invoke(name, { url });
      assert.is(status, 200);
      assert.equal([name, url, await codeOf(textOf(body))], [name, url, code]);
    }
  });
});

failing('should fail with the signal’s reason, at once', async () => {
  await withPlanesAgent({}, async ({ invoke, planes }) => {
    const controller = new AbortController();
    const call = invoke('@hang', { signal: controller.signal }).catch(error => error);
    await eventually('the call', async () => (await planes.counters('dp-0')).streams === 1);
    const reason = new GatewayError('CLIENT_GONE', 'gone');
    (controller as { abort(reason: unknown): void }).abort(reason);
    assert.is(await within(SOON_MS, call, 'the call to fail'), reason);
    assert.is(
      await within(
        SOON_MS,
        invoke('@hello', { signal: controller.signal }).catch(error => error),
        '',
      ),
      reason,
    );
    await eventually('the plane to hear of it', async () => (await planes.counters('dp-0')).calls[0]?.resetCode === 8);
  });
});

setting.run();
early.run();
warming.run();
several.run();
passing.run();
failing.run();
