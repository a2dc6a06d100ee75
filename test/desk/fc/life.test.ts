import { readFileSync } from 'node:fs';
import * as assert from 'uvu/assert';
import { ClientGone } from '../../../src/desk/fc/call.ts';
import { tree } from '../../../src/desk/fc/processes.ts';
import { ask, eventually, suite, temporary, within } from '../../helpers.ts';
import {
  elapse,
  envelope,
  event,
  eventsOf,
  get,
  happens,
  type StandIn,
  tells,
  told,
  type Whole,
  whole,
  withFc,
} from './stand-in.ts';

const freezing = suite('platform: freeze');

const TWO = { flavour: '2.0', preFreeze: { timeout: 3 } } as const;

const count = (file: string): number => {
  try {
    return Number(readFileSync(file, 'utf8'));
  } catch {
    return 0;
  }
};

/** Waits until a file's count has gone up. */
const moves = async (file: string): Promise<void> => {
  const before = count(file);
  await eventually(`${file} to count on`, async () => count(file) > before);
};

freezing('should stand still between calls, with its children, and go on with the next', async () => {
  const ticks = `${temporary()}/ticks`;
  await withFc({ conduct: { ticks } }, async fc => {
    const call = whole(event(fc, { hold: 'a' }));
    await tells(fc, 'holding');
    const [instance] = fc.instances();
    for (const file of [ticks, `${ticks}.child`]) await moves(file);
    assert.is(tree(instance?.pid ?? 0).length, 2);
    await ask(instance?.port ?? 0, { headers: { do: '{"release":"a"}' } });
    await call;
    await happens(fc, 'frozen');
    assert.ok(instance?.frozen);
    const before = [count(ticks), count(`${ticks}.child`)];
    await elapse(200);
    assert.equal([count(ticks), count(`${ticks}.child`)], before);
    const again = whole(event(fc, { hold: 'b' }));
    await tells(fc, 'holding', ({ hold }) => hold === 'b');
    for (const file of [ticks, `${ticks}.child`]) await moves(file);
    await ask(instance?.port ?? 0, { headers: { do: '{"release":"b"}' } });
    assert.is((await again).answer.instance, instance?.id);
    assert.ok(Number(eventsOf(fc, 'thawed')[0]?.['ms']) >= 200);
  });
});

freezing('should happen before the first call of an instance that nobody waits for', async () => {
  await withFc({}, async fc => {
    await fc.scale(1);
    await happens(fc, 'frozen');
    assert.is((await whole(fc.invoke())).status, 200);
  });
});

freezing('should wait for the last of several calls, and for the end of its body', async () => {
  await withFc({ instanceConcurrency: 2 }, async fc => {
    const streamed = await get(fc, { first: 'first ', hold: 'body', body: 'last' });
    const [instance] = fc.instances();
    await whole(fc.invoke());
    assert.not.ok(instance?.frozen);
    await whole(event(fc, { release: 'body' }));
    assert.is((await whole(streamed)).text, 'first last');
    await happens(fc, 'frozen');
    assert.is(eventsOf(fc, 'frozen').length, 1);
  });
});

freezing('should not happen where freezing is off', async () => {
  await withFc({ freeze: false }, async fc => {
    await whole(fc.invoke());
    await fc.scale(2);
    await elapse(100);
    assert.is(eventsOf(fc, 'frozen').length, 0);
  });
});

freezing('should be announced in 2.0 by pre-freeze, once, with the id of the last request', async () => {
  await withFc({ ...TWO, conduct: { hooks: { '/pre-freeze': [{ first: 'x', hold: 'hook' }, {}] } } }, async fc => {
    const { answer } = await whole(fc.invoke());
    await tells(fc, 'holding');
    const [instance] = fc.instances();
    assert.not.ok(instance?.frozen, 'not before its answer');
    await ask(instance?.port ?? 0, { headers: { do: '{"release":"hook"}' } });
    const told = await happens(fc, 'pre-freeze', ({ requestId }) => requestId === answer.requestId);
    assert.is(told['status'], 200);
    await happens(fc, 'frozen');
    const { method, headers } = await tells(fc, 'request', ({ url }) => url === '/pre-freeze');
    assert.is(method, 'GET');
    assert.ok(headers.includes(answer.requestId));
  });
});

freezing('should give way to a call that comes during pre-freeze', async () => {
  const hooks = { '/pre-freeze': [{ first: 'x', hold: 'hook' }, {}] };
  await withFc({ ...TWO, conduct: { hooks } }, async fc => {
    await whole(fc.invoke());
    await tells(fc, 'holding');
    const call = whole(event(fc, { hold: 'call' }));
    await tells(fc, 'holding', ({ hold }) => hold === 'call');
    const [instance] = fc.instances();
    const release = (what: string) => ask(instance?.port ?? 0, { headers: { do: JSON.stringify({ release: what }) } });
    await release('hook');
    await happens(fc, 'pre-freeze');
    assert.not.ok(instance?.frozen);
    await release('call');
    assert.is((await call).status, 200);
    await happens(fc, 'frozen');
    assert.equal(
      fc.life.events.map(({ event }) => event).filter(name => name === 'pre-freeze' || name === 'frozen'),
      ['pre-freeze', 'pre-freeze', 'frozen'],
    );
  });
});

for (const [what, hook, timeout] of [
  ['fails', { status: 500 }, 3],
  ['does not answer', { first: 'x', hold: 'forever' }, 0.2],
  ['breaks off', { half: true }, 3],
] as const) {
  freezing(`should not be hindered by a pre-freeze that ${what}`, async () => {
    await withFc({ ...TWO, preFreeze: { timeout }, conduct: { hooks: { '/pre-freeze': [hook] } } }, async fc => {
      for (let i = 1; i <= 2; i++) {
        assert.is((await whole(fc.invoke())).status, 200);
        await happens(fc, 'frozen', () => eventsOf(fc, 'frozen').length === i);
      }
    });
  });
}

freezing('should end in a stop after idleTimeout; the next call starts another', async () => {
  await withFc({ idleTimeout: 0.2 }, async fc => {
    const first = (await whole(fc.invoke())).answer.instance;
    const stopping = await happens(fc, 'stopping');
    assert.equal([stopping.instance, stopping['reason']], [first, 'idle']);
    await happens(fc, 'exited');
    assert.is.not((await whole(fc.invoke())).answer.instance, first);
  });
});

freezing.run();

const stopping = suite('platform: stop');

const preStop = { timeout: 3 };

stopping('should thaw, let what is in flight finish, and call pre-stop before SIGTERM', async () => {
  await withFc({ preStop, instanceConcurrency: 2 }, async fc => {
    const held = whole(event(fc, { hold: 'call' }));
    await tells(fc, 'holding');
    const [instance] = fc.instances();
    const stopped = fc.stop();
    await happens(fc, 'stopping');
    assert.is(told(fc, 'request').length, 1, 'no pre-stop yet');
    await ask(instance?.port ?? 0, { headers: { do: '{"release":"call"}' } });
    assert.is((await held).text, 'released');
    await within(20_000, stopped, 'the stop');
    const events = fc.life.events.map(({ event }) => event).filter(name => name !== 'log');
    assert.equal(events.slice(-5), ['stopping', 'head', 'answer', 'pre-stop', 'exited']);
    const hook = await tells(fc, 'request', ({ url }) => url === '/pre-stop');
    assert.equal([hook.method, hook.bytes], ['GET', 0]);
    await tells(fc, 'SIGTERM');
    assert.equal(
      eventsOf(fc, 'exited').map(({ code, expected }) => [code, expected]),
      [[0, true]],
    );
  });
});

stopping('should thaw a frozen instance for it', async () => {
  await withFc({ preStop }, async fc => {
    await fc.scale(1);
    await happens(fc, 'frozen');
    await fc.stop();
    const events = fc.life.events.map(({ event }) => event).filter(name => name !== 'log');
    assert.equal(events.slice(-5), ['frozen', 'stopping', 'thawed', 'pre-stop', 'exited']);
    assert.is(eventsOf(fc, 'pre-stop')[0]?.['status'], 200);
  });
});

for (const [what, hook, timeout] of [
  ['fails', { status: 500 }, 3],
  ['does not answer', { first: 'x', hold: 'forever' }, 0.2],
  ['ends the process', { exit: 9 }, 3],
] as const) {
  stopping(`should not be hindered by a pre-stop that ${what}`, async () => {
    await withFc({ preStop: { timeout }, conduct: { hooks: { '/pre-stop': [hook] } } }, async fc => {
      await fc.scale(1);
      await within(10_000, fc.stop(), 'the stop');
      assert.is(eventsOf(fc, 'pre-stop').length, 1);
      assert.is(eventsOf(fc, 'exited')[0]?.['expected'], true);
    });
  });
}

stopping('should call no pre-stop on an instance that was never ready', async () => {
  await withFc(
    { preStop, conduct: { hooks: { '/initialize': [{ status: 404 }] } }, initializer: preStop },
    async fc => {
      await whole(fc.invoke());
      await happens(fc, 'exited');
      assert.is(eventsOf(fc, 'pre-stop').length, 0);
    },
  );
});

stopping('should kill what SIGTERM does not end, and what the first process leaves behind', async () => {
  const ticks = `${temporary()}/ticks`;
  await withFc({ conduct: { stubborn: true, ticks }, freeze: false, switches: { stopGrace: 1 } }, async fc => {
    await fc.scale(1);
    await eventually('the child to count', async () => count(`${ticks}.child`) > 0);
    await within(10_000, fc.stop(), 'the stop');
    await tells(fc, 'SIGTERM');
    assert.is(eventsOf(fc, 'exited')[0]?.['signal'], 'SIGKILL');
    // that no process is left is what withFc sees to
  });
});

stopping('should refuse calls, those that wait too', async () => {
  await withFc({ conduct: { listenAfterMs: 30_000 } }, async fc => {
    const waiting = whole(fc.invoke());
    await happens(fc, 'starting');
    const stopped = fc.stop();
    const answers: Whole[] = [await waiting, await whole(fc.invoke()), await whole(get(fc))];
    for (const answer of answers) assert.equal([answer.status, envelope(answer)['Code']], [404, 'FunctionNotFound']);
    await stopped;
  });
});

stopping.run();

const crash = suite('platform: crash');

crash('should end the calls in flight and be followed by a new instance', async () => {
  const ticks = `${temporary()}/ticks`;
  await withFc({ instanceConcurrency: 2, conduct: { ticks } }, async fc => {
    const held = whole(event(fc, { hold: 'a' }));
    const posted = whole(fc.http({ method: 'POST', path: '/', headers: [['Do', '{"hold":"b"}']] }));
    await tells(fc, 'holding', ({ hold }) => hold === 'a');
    await tells(fc, 'holding', ({ hold }) => hold === 'b');
    const [first] = fc.instances();
    first?.crash();
    assert.equal([(await held).status, (await held).errorType], [200, 'UnhandledInvocationError']);
    assert.is((await posted).status, 502);
    const text =
      /^Process exited unexpectedly before completing request \(duration: \d+ms, maxMemoryUsage: [\d.]+MB\)$/;
    for (const answer of [await held, await posted]) assert.match(envelope(answer)['errorMessage'] ?? '', text);
    const [exited] = eventsOf(fc, 'exited');
    assert.equal([exited?.['signal'], exited?.['expected']], ['SIGKILL', false]);
    const after = await whole(fc.invoke());
    assert.equal([after.status, after.errorType], [200, undefined]);
    assert.is.not(after.answer.instance, first?.id);
  });
});

crash('should end a frozen instance as well', async () => {
  await withFc({}, async fc => {
    await fc.scale(1);
    fc.instances()[0]?.crash();
    await happens(fc, 'exited');
    assert.is((await whole(fc.invoke())).errorType, undefined);
  });
});

crash('should have a GET in flight made again on another instance, and a POST not', async () => {
  for (const [method, status, requests] of [
    ['GET', 200, 2],
    ['OPTIONS', 200, 2],
    ['POST', 502, 1],
    ['PATCH', 502, 1],
  ] as const) {
    await withFc({ preStop }, async fc => {
      const answer = await whole(fc.http({ method, path: '/', headers: [['Do', '{"exitOnce":1}']] }));
      assert.equal([method, answer.status, told(fc, 'request').length], [method, status, requests]);
      assert.is(eventsOf(fc, 'retry').length, requests - 1);
    });
  }
});

crash('should be the end of a call made again, too', async () => {
  await withFc({}, async fc => {
    assert.is((await whole(get(fc, { exit: 1 }))).status, 502);
    assert.is(told(fc, 'request').length, 2);
    assert.is(eventsOf(fc, 'starting').length, 2);
  });
});

crash.run();

const suspect = suite('platform: client gone');

/** Leaves in the middle of a call, and gives what became of its instance. */
async function leaveOne(options: StandIn, events: { same: boolean; stopped: number }): Promise<void> {
  await withFc(options, async fc => {
    const client = new AbortController();
    const call = event(fc, { hold: 'a' }, { signal: client.signal }).catch(error => error);
    await tells(fc, 'holding');
    client.abort();
    assert.instance(await call, ClientGone);
    assert.is(eventsOf(fc, 'answer')[0]?.['status'], 499);
    const [first] = eventsOf(fc, 'starting');
    // another does not wait for the next call
    if (!events.same) await happens(fc, 'starting', ({ instance }) => instance !== first?.instance);
    const next = await whole(fc.invoke());
    assert.is(next.status, 200);
    assert.is(next.answer.instance === first?.instance, events.same);
    assert.is(eventsOf(fc, 'stopping').length, events.stopped);
  });
}

suspect('should cost an instance of concurrency 1 its place', () => leaveOne({}, { same: false, stopped: 1 }));

suspect('should not, with more concurrency', () => leaveOne({ instanceConcurrency: 2 }, { same: true, stopped: 0 }));

suspect('should not, with a health check', () =>
  leaveOne({ healthCheck: { httpGetUrl: '/health' } }, { same: true, stopped: 0 }),
);

suspect('should end the body of an answer that has begun, and so does destroying it', async () => {
  await withFc({ instanceConcurrency: 9 }, async fc => {
    const client = new AbortController();
    const left = await get(fc, { first: 'x', hold: 'a' }, { signal: client.signal });
    const broken = new Promise<Error>(done => left.body.on('error', done));
    client.abort();
    await within(5000, broken, 'the body to break');
    const dropped = await get(fc, { first: 'x', hold: 'b' });
    dropped.body.destroy();
    await happens(fc, 'answer', ({ requestId, status }) => requestId === dropped.requestId && status === 499);
    assert.is(fc.instances()[0]?.inFlight, 0);
    // thawed, it sees that both are gone
    await whole(fc.invoke());
    for (const number of [1, 2]) await tells(fc, 'closed', ({ connection }) => connection === number);
    assert.equal(
      eventsOf(fc, 'answer').map(({ status }) => status),
      [499, 499, 200],
    );
  });
});

suspect.run();
