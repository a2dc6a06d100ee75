import * as assert from 'uvu/assert';
import { now } from '../../../src/clock.ts';
import { type Call, ClientGone } from '../../../src/desk/fc/call.ts';
import { createConnections } from '../../../src/desk/fc/connections.ts';
import { createInvoke, type Invocation, type Invoke, type Invoked } from '../../../src/desk/fc/invocation.ts';
import { createLife, type LifeEvent } from '../../../src/desk/fc/life.ts';
import { createRecord } from '../../../src/desk/fc/record.ts';
import { type FunctionOptions, functionSettings } from '../../../src/desk/fc/settings.ts';
import { deferred, suite, within } from '../../helpers.ts';

const invocation = suite('invocation');

const call = (came: number = now()): Call => ({
  fields: { requestId: 'r', kind: 'http', method: 'GET', path: '/' },
  came,
  record: createRecord({ method: 'GET', path: '/', headers: [] }, 0),
  retryCount: 0,
});

/** What makes invocations on one instance, and what became of that. */
function invoking(options: Partial<FunctionOptions> = {}): {
  invoke: Invoke;
  answers(): readonly LifeEvent[];
  released: string[];
  replaced: string[];
  stopped: string[];
  print(text: string): void;
} {
  const settings = functionSettings({ command: ['none'], ...options });
  const life = createLife();
  const [released, replaced, stopped]: [string[], string[], string[]] = [[], [], []];
  let log = '';
  const instance: Invoked = {
    id: 'c-1',
    state: 'ready',
    frozen: true,
    readyAt: now(),
    port: 1,
    connections: createConnections('127.0.0.1', 1, 0),
    get logLength() {
      return log.length;
    },
    logTail: since => log.slice(since),
    peakMemory: () => 12.3,
    aftermath: async () => {},
    stop: async reason => void stopped.push(reason),
  };
  const invoke = createInvoke(settings, life.tell, {
    acquire: async () => instance,
    release: (_, id) => void released.push(id),
    replace: (_, reason) => void replaced.push(reason),
  });
  const answers = (): readonly LifeEvent[] => life.events.filter(({ event }) => event === 'answer');
  return { invoke, answers, released, replaced, stopped, print: text => (log += text) };
}

/** One that goes on until the test ends it. */
async function open(
  { invoke }: { invoke: Invoke },
  client?: AbortSignal,
): Promise<{ one: Invocation; done: Promise<unknown> }> {
  const begun = deferred<Invocation>();
  const over = deferred();
  const done = invoke(call(), client, async one => {
    begun.resolve(one);
    one.signal.addEventListener('abort', () => over.resolve());
    await over.promise;
    return 'done';
  }).catch(error => error);
  return { one: await within(5000, begun.promise, 'the invocation'), done };
}

invocation('should end once, and give its slot back', async () => {
  const all = invoking();
  const { one } = await open(all);
  one.end(200);
  one.end(502, 'again');
  assert.equal(all.released, ['r']);
  const [answer, ...more] = all.answers();
  assert.equal([answer?.instance, answer?.requestId, answer?.['kind'], answer?.['status']], ['c-1', 'r', 'http', 200]);
  assert.is(more.length, 0);
});

invocation('should be ended by FC at the function’s timeout, and say so', async () => {
  const all = invoking({ timeout: 0.05 });
  const { one, done } = await open(all);
  assert.is(await within(5000, done, 'the end'), 'done');
  assert.ok(one.timedOut() && one.signal.aborted);
  const told = await one.broken('http');
  assert.equal(
    [told.status, told.code, told.message],
    [504, 'UnhandledInvocationError', 'Function time out after 0.05 seconds (maxMemoryUsage: 12.30MB)'],
  );
  assert.is((await one.broken('event')).status, 200);
  assert.equal(all.stopped, []);
});

invocation('should end the instance at the timeout where that is switched', async () => {
  const all = invoking({ timeout: 0.05, switches: { timeoutKills: 'yes' } });
  await within(5000, (await open(all)).done, 'the end');
  assert.equal(all.stopped, ['timeout']);
});

invocation('should run no clock after its end', async () => {
  const all = invoking({ timeout: 0.05 });
  const { one } = await open(all);
  one.end(200);
  await new Promise(done => setTimeout(done, 100));
  assert.not.ok(one.timedOut());
});

invocation('should be cancelled when the client leaves, and have a stuck instance replaced', async () => {
  for (const [options, replaced] of [
    [{}, ['client gone']],
    [{ instanceConcurrency: 2 }, []],
    [{ healthCheck: { httpGetUrl: '/' } }, []],
  ] as const) {
    const all = invoking(options);
    const client = new AbortController();
    const { one, done } = await open(all, client.signal);
    client.abort();
    assert.instance(await within(5000, done, 'the end'), ClientGone);
    assert.ok(one.signal.aborted);
    assert.equal([all.answers()[0]?.['status'], all.released, all.replaced], [499, ['r'], replaced]);
    assert.instance(await one.broken('http').catch(error => error), ClientGone);
  }
});

invocation('should go on for nobody where that is switched', async () => {
  const all = invoking({ switches: { clientCancel: 'finish' } });
  const client = new AbortController();
  const { one, done } = await open(all, client.signal);
  client.abort();
  assert.instance(await within(5000, done, 'the end'), ClientGone);
  assert.not.ok(one.signal.aborted);
  assert.equal(all.released, []);
  one.end(200);
  assert.equal(all.released, ['r']);
});

invocation('should give a slot back whose client has left while it waited for that', async () => {
  const all = invoking();
  const client = new AbortController();
  client.abort();
  const left = all.invoke(call(), client.signal, async () => 'performed');
  assert.instance(await left.catch(error => error), ClientGone);
  assert.equal([all.released, all.answers().length], [['r'], 0]);
});

invocation('should give what was printed since it began', async () => {
  const all = invoking();
  all.print('before\n');
  const { one } = await open(all);
  all.print('its own\n');
  assert.equal(await one.logResult('None'), []);
  const [[name, value] = []] = await one.logResult('Tail');
  assert.equal([name, Buffer.from(value ?? '', 'base64').toString()], ['X-Fc-Log-Result', 'its own\n']);
  one.end(200);
});

invocation.run();
