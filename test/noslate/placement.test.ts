import { join } from 'node:path';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { now } from '../../src/clock.ts';
import type { Profile } from '../../src/profile.ts';
import { eventually, suite, within } from '../helpers.ts';
import { type PlanesOptions, withPlanes } from '../planes/index.ts';
import {
  bodyOf,
  codeOf,
  metadata,
  noBody,
  type PlaneBench,
  pattern,
  profileOf,
  SOON_MS,
  textOf,
  withAgent,
  withPlanesAgent,
} from './bench.ts';

const MIB = 1024 * 1024;

/** Says which call it runs, and how much of a body there was; `/slow` takes as long as the test, `/exit` ends the worker. */
const COUNTS = `exports.handler = async (ctx, req, res) => {
  console.log('ran ' + req.url);
  if (req.url === '/exit') process.exit();
  if (req.url === '/slow') return new Promise(() => {});
  let bytes = 0;
  for await (const chunk of req) bytes += chunk.length;
  res.end(String(bytes));
};`;

const ONE = { worker: { replicaCountLimit: 1 } };

interface Bench extends PlaneBench {
  /** Runs a call to its end. */
  call(name: string, url: string, body?: Readable, ms?: number): Promise<string>;
  /** How often each call has run. What a worker prints may come after its answer. */
  runs(): Record<string, number>;
  /** Resolves when the calls have run so often, and no others. */
  haveRun(expected: Record<string, number>): Promise<void>;
  /** The data planes on which calls of a function were made. */
  seenBy(name: string): Promise<string[]>;
}

/** Runs a test's body with two data planes that know the functions, and on which workers are put as the knob says. */
async function withTwo(
  profile: Profile,
  body: (bench: Bench) => Promise<void>,
  { knobs = {}, ...options }: PlanesOptions = {},
): Promise<void> {
  await withPlanesAgent({ dataPlanes: [0, 1], knobs: { placeOn: 'dp-1', ...knobs }, ...options }, async bench => {
    const { planes, agent, text } = bench;
    await within(SOON_MS, agent.setProfile(profile), 'the profile');
    await eventually('both data planes to be listened to, and known', async () => {
      const counters = await Promise.all(['dp-0', 'dp-1'].map(plane => planes.counters(plane)));
      return counters.every(({ hosted, begun }) => hosted === 2 && begun['setFunctionProfile'] === 1);
    });
    const runs = (): Record<string, number> => {
      const found: Record<string, number> = {};
      for (const [, url = ''] of planes.output().matchAll(/ran (\/\S*?)"/g)) found[url] = (found[url] ?? 0) + 1;
      return found;
    };
    const said = (counts: Record<string, number>): string => JSON.stringify(Object.entries(counts).sort());
    await body({
      ...bench,
      call: (name, url, input = noBody(), ms = 20_000) => text(name, { url, deadline: now() + ms }, input),
      runs,
      haveRun: expected => eventually(said(expected), async () => said(runs()) === said(expected)),
      async seenBy(name) {
        const seen: string[] = [];
        for (const plane of ['dp-0', 'dp-1']) {
          if ((await planes.counters(plane)).calls.some(item => item.name === name)) seen.push(plane);
        }
        return seen;
      },
    });
  });
}

/** `{ '/0': 1, '/1': 1, … }`: each call once. */
const once = (count: number): Record<string, number> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`/${i}`, 1]));

const placing = suite('placement on several data planes');

placing('should run every one of many cold calls once, wherever the worker comes up', async () => {
  for (const placeOn of ['dp-0', 'dp-1', '']) {
    await withTwo(
      profileOf({ f: COUNTS }, {}, { f: ONE }),
      async ({ call, haveRun }) => {
        const calls = Array.from({ length: 8 }, (_, i) => call('f', `/${i}`, bodyOf('12345')));
        assert.equal(
          await Promise.all(calls),
          calls.map(() => '5'),
        );
        await haveRun(once(8));
      },
      { knobs: { placeOn } },
    );
  }
});

placing('should run the calls of many functions, one after the other', async () => {
  const names = ['a', 'b', 'c', 'd', 'e', 'f'];
  const functions = Object.fromEntries(names.map(name => [name, COUNTS]));
  const overrides = Object.fromEntries(names.map(name => [name, ONE]));
  await withTwo(
    profileOf(functions, {}, overrides),
    async ({ call, haveRun }) => {
      for (const [i, name] of names.entries()) assert.is(await call(name, `/${i}`), '0');
      await haveRun(once(6));
    },
    { knobs: { placeOn: '' } },
  );
});

placing('should leave nothing behind that a later worker would run once more', async () => {
  await withTwo(profileOf({ f: COUNTS }, {}, { f: { worker: { maxActivateRequests: 1 } } }), async bench => {
    const { call, haveRun, runs, planes, seenBy } = bench;
    assert.is(await call('f', '/0'), '0');
    assert.equal(await seenBy('f'), ['dp-0', 'dp-1']);
    // busy: the next worker comes up where the first call has waited
    await planes.setKnobs({ placeOn: 'dp-0' });
    const slow = codeOf(call('f', '/slow', noBody(), 5000), 20_000);
    await eventually('the slow call', async () => runs()['/slow'] === 1);
    assert.is(await call('f', '/1'), '0');
    await haveRun({ '/0': 1, '/slow': 1, '/1': 1 });
    assert.is(await slow, 'TIMEOUT');
  });
});

placing('should have warm calls go where the workers are, and part them by load', async () => {
  const profile = profileOf({ f: COUNTS }, {}, { f: { worker: { maxActivateRequests: 2, replicaCountLimit: 2 } } });
  await withTwo(profile, async ({ call, planes, runs }) => {
    assert.is(await call('f', '/0'), '0');
    const before = (await planes.counters('dp-0')).calls.length;
    for (let i = 1; i < 6; i++) assert.is(await call('f', `/${i}`), '0');
    assert.is((await planes.counters('dp-0')).calls.length, before);
    await planes.setKnobs({ placeOn: 'dp-0' });
    const slow = [1, 2, 3, 4].map(() => codeOf(call('f', '/slow', noBody(), 8000), 20_000));
    // the third and the fourth have waited for the second worker, and gone there
    await eventually('four at work', async () => runs()['/slow'] === 4);
    const open = async (plane: string) => (await planes.counters(plane)).calls.filter(({ isOpen }) => isOpen).length;
    assert.equal([await open('dp-0'), await open('dp-1')], [2, 2]);
    await Promise.all(slow);
  });
});

placing('should send the whole of a large body that had to wait, however often it is begun', async () => {
  await withTwo(profileOf({ f: COUNTS }, {}, { f: ONE }), async ({ call, haveRun }) => {
    const bytes = pattern(5 * MIB);
    const slices = function* (): Generator<Buffer> {
      for (let at = 0; at < bytes.length; at += 65_521) yield bytes.subarray(at, at + 65_521);
    };
    const bodies = [bodyOf(bytes), Readable.from(slices(), { objectMode: false })];
    const calls = bodies.map((body, i) => call('f', `/${i}`, body));
    assert.equal(
      await Promise.all(calls),
      calls.map(() => String(bytes.length)),
    );
    await haveRun(once(2));
  });
});

placing('should draw the function of a service, and place its call like any other', async () => {
  const services = [
    {
      name: 's',
      type: 'proportional-load-balance',
      selectors: [
        { selector: { functionName: 'a' }, proportion: 0 },
        { selector: { functionName: 'b' }, proportion: 1 },
      ],
    },
  ];
  await withTwo(profileOf({ a: COUNTS, b: COUNTS }, { services }, { b: ONE }), async ({ agent, haveRun }) => {
    const calls = [0, 1, 2].map(async i =>
      textOf((await agent.invokeService('s', noBody(), metadata({ url: `/${i}` }))).body),
    );
    assert.equal(await within(SOON_MS, Promise.all(calls), 'three calls'), ['0', '0', '0']);
    await haveRun(once(3));
    assert.is(await codeOf(agent.invokeService('t', noBody(), metadata())), 'SERVICE_NOT_FOUND');
  });
});

placing('should run each call of a disposable function on a worker of its own', async () => {
  const profile = profileOf({ f: COUNTS }, {}, { f: { worker: { disposable: true } } });
  await withTwo(
    profile,
    async ({ call, haveRun }) => {
      const calls = Array.from({ length: 6 }, (_, i) => call('f', `/${i}`, bodyOf('12')));
      assert.equal(
        await Promise.all(calls),
        calls.map(() => '2'),
      );
      await haveRun(once(6));
    },
    { knobs: { placeOn: '' } },
  );
});

placing('should ask for a worker again when the last one has gone, and hear why none can be started', async () => {
  await withTwo(profileOf({ f: COUNTS, g: COUNTS }, {}, { f: ONE }), async ({ call, haveRun, planes }) => {
    assert.is(await call('f', '/0'), '0');
    assert.is(await codeOf(call('f', '/exit'), 20_000), 'WORKER_EXITED');
    await planes.setKnobs({ placeOn: 'dp-0' });
    assert.is(await call('f', '/1'), '0');
    await haveRun({ '/0': 1, '/exit': 1, '/1': 1 });
    await planes.setKnobs({ noBinary: true });
    const failing = [1, 2, 3].map(() => codeOf(call('g', '/never'), 20_000));
    assert.equal(await Promise.all(failing), ['INITIALIZER_FAILED', 'INITIALIZER_FAILED', 'INITIALIZER_FAILED']);
  });
});

placing('should place anew what waits where the last worker has gone', async () => {
  const profile = profileOf({ f: COUNTS }, {}, { f: { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } } });
  await withTwo(profile, async ({ agent, call, haveRun, runs, planes }) => {
    assert.is(await call('f', '/0'), '0');
    const slow = codeOf(call('f', '/slow'), 20_000);
    await eventually('the slow call', async () => runs()['/slow'] === 1);
    const waiting = call('f', '/1');
    await eventually('a call to wait', async () => {
      const { calls } = await planes.counters('dp-1');
      return calls.filter(({ isOpen }) => isOpen).length === 2;
    });
    await planes.setKnobs({ placeOn: 'dp-0' });
    // the worker is ended, and what it ran; what waited there has not run
    const functions = profile.functions.map(item => ({ ...item, signature: '2' }));
    await within(SOON_MS, agent.setProfile({ ...profile, functions }), 'the next profile');
    assert.is(await slow, 'WORKER_EXITED');
    assert.is(await waiting, '0');
    await haveRun({ '/0': 1, '/slow': 1, '/1': 1 });
  });
});

placing('should find the workers that were there before it', async () => {
  const profile = profileOf({ f: COUNTS }, {}, { f: { worker: { replicaCountLimit: 1, reservationCount: 1 } } });
  await withTwo(profile, async ({ planes, agent }) => {
    await within(SOON_MS, agent.warm(now() + 20_000), 'a worker');
    // a gateway that comes later
    await withAgent(join(planes.workdir, 'socks'), async second => {
      await within(SOON_MS, second.agent.setProfile(profile), 'the profile');
      for (let i = 0; i < 3; i++) assert.is(await second.text('f', { url: `/${i}` }), '0');
    });
  });
});

placing('should go on when the one with the workers has died, and come back to it', async () => {
  await withTwo(
    profileOf({ f: COUNTS, g: COUNTS }, {}, { f: ONE, g: ONE }),
    async ({ call, planes, output }) => {
      assert.is(await call('f', '/0'), '0');
      await planes.kill('SIGKILL', 'dp-1');
      await eventually('it to be missed', async () => output().includes('plane down'));
      assert.is(await call('f', '/1'), '0');
      await planes.restart('dp-1');
      await eventually('it to be listened to', async () => (await planes.counters('dp-1')).hosted === 2);
      // of a function without workers the call goes anywhere, and then to dp-1
      assert.is(await call('g', '/2'), '0');
      assert.is(await call('f', '/3'), '0');
    },
    { separate: true },
  );
});

placing('should listen to nobody while there is one data plane, and to both when another comes', async () => {
  const profile = profileOf({ f: COUNTS }, {}, { f: ONE });
  await withPlanesAgent({ knobs: { placeOn: 'dp-1' } }, async ({ planes, agent, text }) => {
    await within(SOON_MS, agent.setProfile(profile), 'the profile');
    assert.is(await text('f', { url: '/0' }), '0');
    const { hosted, begun } = await planes.counters('dp-0');
    // the control plane's
    assert.is(hosted, 1);
    assert.equal([begun['getWorkerTrafficStats'], begun['startWorkerFastFail']], [undefined, undefined]);
    await withPlanes({ workdir: planes.workdir, dataPlanes: [1], controlPlane: false }, async other => {
      await eventually('both', async () => {
        const counters = [await planes.counters('dp-0'), await other.counters('dp-1')];
        return counters.every(item => item.hosted === 2);
      });
      assert.is(await text('f', { url: '/1' }), '0');
    });
  });
});

placing.run();
