import * as assert from 'uvu/assert';
import { FcError, platformError } from '../../../src/desk/fc/answers.ts';
import { type Assignable, type Assignment, createAssignment } from '../../../src/desk/fc/assignment.ts';
import { ClientGone } from '../../../src/desk/fc/call.ts';
import { createSessions } from '../../../src/desk/fc/sessions.ts';
import { type FunctionOptions, functionSettings } from '../../../src/desk/fc/settings.ts';
import type { State } from '../../../src/desk/fc/state.ts';
import { deferred, suite, within } from '../../helpers.ts';

const assignment = suite('assignment');

/** An instance that is what the test makes it. */
interface Fake extends Assignable {
  readonly number: number;
  state: State;
  frozen: boolean;
  healthy: boolean;
  inFlight: number;
  /** How its start ends. */
  ready(): void;
  fail(error: Error): void;
  /** Why it was stopped. */
  reason: string | undefined;
  end(): void;
}

function fake(number: number): Fake {
  const started = deferred<Error | undefined>();
  const ended = deferred<number>();
  const instance: Fake = {
    id: `c-${number}`,
    number,
    state: 'starting',
    frozen: false,
    healthy: true,
    inFlight: 0,
    exited: ended.promise,
    reason: undefined,
    ready() {
      instance.state = 'ready';
      started.resolve(undefined);
    },
    fail(error) {
      started.resolve(error);
    },
    end() {
      instance.state = 'exited';
      ended.resolve(0);
    },
    async prepare() {
      const error = await started.promise;
      if (error !== undefined) throw error;
    },
    take() {
      instance.inFlight += 1;
      instance.frozen = false;
    },
    release() {
      instance.inFlight -= 1;
      if (instance.inFlight === 0) instance.rest('');
    },
    rest() {
      instance.frozen = true;
    },
    async stop(reason) {
      instance.reason ??= reason;
      if (instance.state !== 'exited') instance.state = 'stopping';
      if (instance.inFlight === 0) instance.end();
    },
  };
  return instance;
}

/** An assignment of fakes, and those that it has started. */
function assigning(options: Partial<FunctionOptions> = {}): {
  slots: Assignment<Fake>;
  started: Fake[];
  told: string[];
} {
  const started: Fake[] = [];
  const told: string[] = [];
  const settings = functionSettings({ command: ['none'], ...options });
  const tell = (event: string): void => void told.push(event);
  const { sessionAffinity } = settings;
  const sessions = sessionAffinity && createSessions(sessionAffinity, tell);
  const slots = createAssignment(
    settings,
    tell,
    async () => {
      const instance = fake(started.length);
      started.push(instance);
      return instance;
    },
    sessions,
  );
  return { slots, started, told };
}

/** Lets what is settled be heard. */
const turn = (): Promise<void> => new Promise(done => setImmediate(done));

const codeOf = (call: Promise<unknown>): Promise<string> =>
  within(
    5000,
    call.then(
      () => 'assigned',
      error => (error instanceof FcError ? error.code : error.constructor.name),
    ),
    'an end of the wait',
  );

assignment('should start nothing before the first call, then one instance for as many as it takes', async () => {
  const { slots, started, told } = assigning({ instanceConcurrency: 2 });
  assert.is(started.length, 0);
  const calls = ['a', 'b', 'c'].map(id => slots.acquire(id));
  await turn();
  assert.is(started.length, 2);
  for (const instance of started) instance.ready();
  const got = await within(5000, Promise.all(calls), 'instances');
  assert.equal(
    got.map(({ number }) => number),
    [0, 0, 1],
  );
  assert.equal(told, ['scaled']);
  assert.equal(
    started.map(({ inFlight }) => inFlight),
    [2, 1],
  );
});

assignment('should prefer who is awake, and pass over who is unhealthy or being stopped', async () => {
  const { slots, started } = assigning();
  const all = slots.scale(3);
  await turn();
  for (const instance of started) instance.ready();
  await within(5000, all, 'three');
  const [first, second, third] = started as [Fake, Fake, Fake];
  assert.equal(
    started.map(({ frozen }) => frozen),
    [true, true, true],
    'who is started for nobody rests',
  );
  second.frozen = false;
  assert.is(await slots.acquire('a'), second);
  first.healthy = false;
  third.state = 'stopping';
  const waiting = slots.acquire('b');
  await turn();
  assert.is(started.length, 4, 'a new one, for want of another');
  first.healthy = true;
  slots.look();
  assert.is(await within(5000, waiting, 'an instance'), first);
});

assignment('should give a slot to who has waited longest, whatever was started for him', async () => {
  const { slots, started } = assigning();
  const first = slots.acquire('a');
  const second = slots.acquire('b');
  await turn();
  const [slow, quick] = started as [Fake, Fake];
  quick.ready();
  assert.is(await within(5000, first, 'the first'), quick);
  slow.fail(platformError('CAExited', 412, ''));
  assert.is(await codeOf(second), 'CAExited');
  assert.is(slow.reason, 'start failed');
});

assignment('should hand a released slot to who waits', async () => {
  const { slots, started } = assigning({ maxInstances: 1, instanceConcurrency: 1 });
  const first = slots.acquire('a');
  await turn();
  started[0]?.ready();
  const instance = await within(5000, first, 'the first');
  assert.is(await codeOf(slots.acquire('b')), 'ResourceExhausted');
  slots.release(instance, 'a');
  assert.is(await within(5000, slots.acquire('c'), 'the next'), instance);
});

assignment('should have who comes wait for the place of one that is being stopped', async () => {
  const { slots, started } = assigning({ maxInstances: 1 });
  const first = slots.acquire('a');
  await turn();
  started[0]?.ready();
  const instance = await within(5000, first, 'the first');
  instance.stop('code changed');
  const next = slots.acquire('b');
  await turn();
  assert.is(started.length, 1);
  instance.end();
  await turn();
  assert.is(started.length, 2);
  started[1]?.ready();
  assert.is((await within(5000, next, 'the next')).number, 1);
});

assignment('should tell an unhealthy function from one that is at its limit', async () => {
  const { slots, started } = assigning({ maxInstances: 1 });
  const up = slots.scale(1);
  await turn();
  started[0]?.ready();
  await within(5000, up, 'one');
  Object.assign(started[0] as Fake, { healthy: false });
  assert.is(await codeOf(slots.acquire('a')), 'FunctionUnhealthy');
});

assignment('should initialize an instance again that was kept, for the next call', async () => {
  const { slots, started } = assigning({ switches: { initFailure: 'keep' } });
  const first = slots.acquire('a');
  await turn();
  const [kept] = started as [Fake];
  kept.state = 'accepting';
  kept.fail(new FcError('function', 'InitializationError', 200, ''));
  assert.is(await codeOf(first), 'InitializationError');
  assert.is(kept.reason, undefined);
  kept.prepare = async () => {
    kept.state = 'ready';
  };
  assert.is(await within(5000, slots.acquire('b'), 'the kept one'), kept);
  assert.is(started.length, 1);
});

assignment('should forget who has left, and let what was started for him rest', async () => {
  const { slots, started } = assigning();
  const client = new AbortController();
  const call = slots.acquire('a', client.signal);
  await turn();
  client.abort();
  assert.is(await codeOf(call), 'ClientGone');
  started[0]?.ready();
  await turn();
  assert.equal([started[0]?.inFlight, started[0]?.frozen], [0, true]);
  assert.instance(await slots.acquire('b', client.signal).catch(error => error), ClientGone);
});

assignment('should start another before it stops one that is stuck', async () => {
  const { slots, started } = assigning();
  const first = slots.acquire('a');
  await turn();
  started[0]?.ready();
  const stuck = await within(5000, first, 'the first');
  slots.replace(stuck, 'client gone');
  await turn();
  assert.equal([started.length, stuck.reason], [2, 'client gone']);
});

assignment('should give a place back whose start has failed', async () => {
  const settings = functionSettings({ command: ['none'], maxInstances: 1 });
  const instance = fake(0);
  let starts = 0;
  const slots = createAssignment(
    settings,
    () => {},
    async () => {
      starts += 1;
      if (starts === 1) throw platformError('CAFileNotFound', 412, '');
      return instance;
    },
  );
  assert.is(await codeOf(slots.acquire('a')), 'CAFileNotFound');
  instance.ready();
  assert.is(await within(5000, slots.acquire('b'), 'the second'), instance);
});

assignment('should stop all at the end, one on its way too, and refuse who waits and who comes', async () => {
  const { slots, started } = assigning({ instanceConcurrency: 1 });
  const up = slots.scale(1);
  await turn();
  const [ready] = started as [Fake];
  ready.ready();
  await within(5000, up, 'one');
  await slots.acquire('a');
  const waiting = slots.acquire('b');
  await turn();
  const ended = slots.stop();
  assert.is(await codeOf(waiting), 'FunctionNotFound');
  assert.is(await codeOf(slots.acquire('c')), 'FunctionNotFound');
  const [, coming] = started as [Fake, Fake];
  assert.equal([ready.reason, coming.reason], ['deleted', 'deleted']);
  coming.fail(platformError('FunctionNotStarted', 412, ''));
  ready.end();
  await within(5000, ended, 'the end');
  assert.equal(slots.instances(), []);
});

assignment('should give the calls of a session one instance, and an instance so many sessions', async () => {
  const { slots, started } = assigning({ sessionAffinity: { by: 'cookie', perInstance: 2 } });
  const calls = ['a', 'b', 'a', 'c', 'b'].map((session, i) => slots.acquire(`r${i}`, undefined, session));
  await turn();
  assert.is(started.length, 2, 'the third session has no room with the first two');
  for (const instance of started) instance.ready();
  const numbers = (await within(5000, Promise.all(calls), 'all calls')).map(({ number }) => number);
  assert.equal(numbers, [0, 0, 0, 1, 0]);
  assert.is((await slots.acquire('r5', undefined, 'c')).number, 1);
  assert.is((await slots.acquire('r6', undefined, 'd')).number, 1);
  const [first] = started;
  first?.end();
  await turn();
  const again = slots.acquire('r7', undefined, 'a');
  await turn();
  assert.is(started.length, 3, 'a session whose instance is gone begins anew');
  started[2]?.ready();
  assert.is((await within(5000, again, 'the call')).number, 2);
});

assignment('should not move a session whose instance is full, but refuse its call', async () => {
  const { slots, started } = assigning({ sessionAffinity: { by: 'cookie' } });
  const calls = Array.from({ length: 200 }, (_, i) => slots.acquire(`r${i}`, undefined, 'a'));
  await turn();
  started[0]?.ready();
  const [held] = await within(5000, Promise.all(calls), 'all calls');
  assert.is(await codeOf(slots.acquire('one more', undefined, 'a')), 'ResourceExhausted');
  const other = slots.acquire('another', undefined, 'b');
  await turn();
  assert.is(started.length, 2, 'another session goes elsewhere');
  started[1]?.ready();
  assert.is((await within(5000, other, 'the call')).number, 1);
  if (held !== undefined) slots.release(held, 'r0', 'a');
  assert.is((await slots.acquire('one more', undefined, 'a')).number, 0);
});

assignment.run();
