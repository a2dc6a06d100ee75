import * as assert from 'uvu/assert';
import { ClientGone } from '../../../src/desk/fc/call.ts';
import type { Platform } from '../../../src/desk/fc/platform.ts';
import { ask, eventually, suite, within } from '../../helpers.ts';
import { elapse, envelope, event, eventsOf, happens, tells, told, whole, withFc } from './stand-in.ts';

const dispatch = suite('platform: dispatch');

/** A call that holds its slot until it is let go. */
async function hold(fc: Platform, name: string): Promise<{ instance: string; letGo(): Promise<void> }> {
  const answer = whole(event(fc, { hold: name }));
  const { instance } = await tells(fc, 'holding', item => item.hold === name);
  return {
    instance,
    async letGo() {
      const port = fc.instances().find(({ id }) => id === instance)?.port ?? 0;
      await ask(port, { headers: { do: JSON.stringify({ release: name }) } });
      assert.is((await answer).text, 'released');
    },
  };
}

dispatch('should start an instance for each call that finds none free, and use a free one again', async () => {
  await withFc({}, async fc => {
    const first = await hold(fc, 'first');
    const second = await hold(fc, 'second');
    assert.is.not(first.instance, second.instance);
    assert.is(fc.instances().length, 2);
    await second.letGo();
    assert.is((await whole(fc.invoke())).answer.instance, second.instance);
    assert.is(eventsOf(fc, 'starting').length, 2);
    assert.equal(
      eventsOf(fc, 'scaled').map(({ instances }) => instances),
      [2],
    );
    await first.letGo();
  });
});

dispatch('should give an instance as many calls as instanceConcurrency says, and the next to another', async () => {
  await withFc({ instanceConcurrency: 2 }, async fc => {
    const held = await Promise.all(['a', 'b', 'c'].map(name => hold(fc, name)));
    const [a, b, c] = held.map(({ instance }) => instance);
    const [first, second] = fc.instances();
    assert.equal([first?.inFlight, second?.inFlight].sort(), [1, 2]);
    assert.is(new Set([a, b, c]).size, 2);
    for (const { letGo } of held) await letGo();
    assert.equal([first?.inFlight, second?.inFlight], [0, 0]);
  });
});

dispatch('should prefer an instance that is awake', async () => {
  await withFc({ instanceConcurrency: 2 }, async fc => {
    await fc.scale(2);
    const [first, second] = fc.instances();
    for (const one of [first, second]) await happens(fc, 'frozen', ({ instance }) => instance === one?.id);
    second?.thaw();
    assert.is((await whole(fc.invoke())).answer.instance, second?.id);
  });
});

dispatch('should refuse with 429 what is above maxInstances, and take calls again after it', async () => {
  await withFc({ maxInstances: 1 }, async fc => {
    const held = await hold(fc, 'only');
    for (const call of [() => fc.invoke(), () => fc.http({ method: 'GET', path: '/' })]) {
      const refused = await whole(call());
      assert.equal([refused.status, envelope(refused)['Code']], [429, 'ResourceExhausted']);
    }
    await held.letGo();
    assert.is((await whole(fc.invoke())).status, 200);
  });
});

dispatch('should have calls wait for the place of an instance that is being stopped', async () => {
  await withFc({ maxInstances: 1 }, async fc => {
    const held = await hold(fc, 'last');
    const [old] = fc.instances();
    const stopped = old?.stop('code changed');
    const next = whole(fc.invoke());
    await held.letGo();
    await stopped;
    const { status, answer } = await next;
    assert.is(status, 200);
    assert.is.not(answer.instance, old?.id);
  });
});

dispatch('should lose no call whose instance went to another, when that one’s own fails to start', async () => {
  const starts = [{ says: 'slow', listenAfterMs: 1500, exitAtStart: 1 }, {}];
  await withFc({ starts, maxInstances: 2 }, async fc => {
    const first = hold(fc, 'first');
    await happens(fc, 'log');
    const second = whole(fc.invoke());
    // what has been started for the second is ready first, and goes to who has waited longest
    const { instance } = await within(20_000, first, 'the first call');
    assert.is(instance, eventsOf(fc, 'starting')[1]?.instance);
    assert.is(envelope(await second)['Code'], 'CAExited');
    await (await first).letGo();
  });
});

dispatch('should let a caller leave who waits for an instance, and give that to the next', async () => {
  await withFc({ conduct: { listenAfterMs: 100 } }, async fc => {
    const client = new AbortController();
    const gone = fc.invoke({ signal: client.signal }).then(
      () => 'answered',
      error => error,
    );
    await happens(fc, 'starting');
    client.abort();
    assert.instance(await gone, ClientGone);
    await happens(fc, 'frozen');
    assert.is((await whole(fc.invoke())).status, 200);
    assert.is(eventsOf(fc, 'starting').length, 1);
    assert.is(told(fc, 'request').length, 1);
    assert.instance(await fc.invoke({ signal: client.signal }).catch(error => error), ClientGone);
  });
});

dispatch('should give a slot of its own to who acquires one, and back', async () => {
  await withFc({ maxInstances: 1 }, async fc => {
    const instance = await fc.acquire('1-tunnel');
    assert.equal([instance.inFlight, instance.frozen], [1, false]);
    assert.is((await whole(fc.invoke())).status, 429);
    fc.release(instance, '1-tunnel');
    assert.is(instance.inFlight, 0);
    await happens(fc, 'frozen');
    assert.is((await whole(fc.invoke())).status, 200);
  });
});

dispatch('should scale to a number of instances, which freeze, and back', async () => {
  await withFc({}, async fc => {
    await fc.scale(2);
    for (const { id } of fc.instances()) await happens(fc, 'frozen', ({ instance }) => instance === id);
    assert.equal(
      fc.instances().map(({ state, frozen }) => [state, frozen]),
      [
        ['ready', true],
        ['ready', true],
      ],
    );
    await fc.scale(1);
    assert.is(fc.instances().length, 1);
    assert.is((await whole(fc.invoke())).status, 200);
    assert.is(eventsOf(fc, 'starting').length, 2);
  });
});

dispatch('should answer who waited for an instance that is scaled in before it is ready', async () => {
  await withFc({ conduct: { listenAfterMs: 30_000 } }, async fc => {
    const call = whole(fc.invoke());
    await happens(fc, 'starting');
    await fc.scale(0);
    assert.is(envelope(await call)['Code'], 'FunctionNotStarted');
  });
});

dispatch.run();

const health = suite('platform: health check');

const healthCheck = { httpGetUrl: '/health', periodSeconds: 0.05, failureThreshold: 2 };

health('should refuse the start when the first check fails', async () => {
  await withFc({ conduct: { health: 500 }, healthCheck }, async fc => {
    const refused = await whole(fc.invoke());
    assert.equal([refused.status, envelope(refused)['Code']], [412, 'FunctionNotStarted']);
    assert.match(envelope(refused)['Message'] ?? '', 'health check failed on /health');
    assert.is(told(fc, 'request').length, 0);
  });
});

health('should be a GET on the path, after initialize and before the first call', async () => {
  const hooks = { '/initialize': [{}] };
  await withFc({ conduct: { hooks, health: 302 }, healthCheck, initializer: { timeout: 20 } }, async fc => {
    await whole(fc.invoke());
    let urls: string[] = [];
    await eventually('the call in the log', async () => {
      urls = fc.life.events.flatMap(({ line }) => /"url":"(.*?)"/.exec(String(line))?.[1] ?? []);
      return urls.includes('/invoke');
    });
    assert.equal(urls.slice(0, 3), ['/initialize', '/health', '/invoke']);
    const [check] = told(fc, 'health');
    assert.equal([check?.method, check?.headers.filter(name => /^x-fc-/i.test(name))], ['GET', []]);
  });
});

health('should keep calls from an instance that fails it, until it passes again', async () => {
  await withFc({ healthCheck, instanceConcurrency: 2, freeze: false }, async fc => {
    const first = (await whole(event(fc, { health: 503 }))).answer.instance;
    await happens(fc, 'unhealthy', ({ instance }) => instance === first);
    const other = (await whole(fc.invoke())).answer.instance;
    assert.is.not(other, first);
    const port = fc.instances().find(({ id }) => id === first)?.port ?? 0;
    await ask(port, { headers: { do: JSON.stringify({ health: 200 }) } });
    await happens(fc, 'healthy', ({ instance }) => instance === first);
    assert.is((await whole(fc.invoke())).answer.instance, first);
  });
});

health('should be an error to the caller when no instance passes and none may be started', async () => {
  await withFc({ healthCheck, maxInstances: 1, freeze: false }, async fc => {
    await whole(event(fc, { health: 500 }));
    await happens(fc, 'unhealthy');
    const refused = await whole(fc.invoke());
    assert.equal([refused.status, envelope(refused)['Code']], [412, 'FunctionUnhealthy']);
  });
});

health('should find nothing wrong with an instance because it is frozen', async () => {
  const check = { ...healthCheck, timeoutSeconds: 3, failureThreshold: 1 };
  await withFc({ healthCheck: check, conduct: { healthMs: 200 }, freeze: false }, async fc => {
    await fc.scale(1);
    const [instance] = fc.instances();
    const checks = told(fc, 'health').length;
    await eventually('another check', async () => told(fc, 'health').length > checks);
    instance?.freeze();
    // longer than the check may take
    await elapse(3300);
    instance?.thaw();
    await eventually('a check after it', async () => told(fc, 'health').length > checks + 1);
    assert.is(eventsOf(fc, 'unhealthy').length, 0);
  });
});

health.run();
