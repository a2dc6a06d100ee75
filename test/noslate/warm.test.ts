import * as assert from 'uvu/assert';
import { now } from '../../src/clock.ts';
import { GatewayError } from '../../src/errors.ts';
import { type BrokerStats, untilWarm } from '../../src/noslate/warm.ts';
import type { FunctionProfile } from '../../src/profile.ts';
import { suite, within } from '../helpers.ts';

const profile = (name: string, reservationCount?: number): FunctionProfile => ({
  name,
  runtime: 'nodejs',
  url: 'file:///f',
  signature: '1',
  handler: 'a.b',
  ...(reservationCount === undefined ? {} : { worker: { reservationCount } }),
});

const of = (...functions: FunctionProfile[]) => ({ functions, environments: [] });

const soon = (): number => now() + 50;
const later = (): number => now() + 60_000;

/** Gives one answer after the other, and the last again and again. */
function script(...answers: readonly (() => Promise<readonly BrokerStats[]>)[]): {
  snapshot: () => Promise<readonly BrokerStats[]>;
  asked: () => number;
} {
  let asked = 0;
  return {
    snapshot: () => (answers[Math.min(asked++, answers.length - 1)] ?? (async () => []))(),
    asked: () => asked,
  };
}

const failureOf = (promise: Promise<void>): Promise<GatewayError> =>
  within(
    5000,
    promise.then(
      () => Promise.reject(new Error('resolved')),
      error => error,
    ),
    'a failure',
  );

const warm = suite('untilWarm');

warm('should ask nobody when no worker is reserved', async () => {
  const { snapshot, asked } = script();
  await within(
    5000,
    untilWarm(() => of(profile('a'), profile('b', 0)), snapshot, later()),
    'no wait',
  );
  assert.is(asked(), 0);
});

warm('should wait until every function has its workers', async () => {
  const { snapshot, asked } = script(
    async () => [],
    async () => [{ name: 'a', activeWorkerCount: 1 }],
    async () => [{ name: 'a', activeWorkerCount: 2 }, { name: 'b' }],
    async () => [
      { name: 'a', inspector: false, activeWorkerCount: 3 },
      { name: 'b', activeWorkerCount: 1 },
    ],
  );
  await within(
    5000,
    untilWarm(() => of(profile('a', 2), profile('b', 1)), snapshot, later()),
    'warm workers',
  );
  assert.is(asked(), 4);
});

warm('should say at the deadline what is missing', async () => {
  const { snapshot } = script(async () => [
    { name: 'a', activeWorkerCount: 1 },
    { name: 'c', activeWorkerCount: 1 },
  ]);
  const error = await failureOf(
    untilWarm(() => of(profile('a', 2), profile('b', 1), profile('c', 1)), snapshot, soon()),
  );
  assert.is(error.code, 'UNAVAILABLE');
  assert.is(
    error.message,
    'function "a": 1 of 2 reserved workers active; ' +
      'function "b": 0 of 1 reserved workers active, and none is starting: the control plane\'s log says why',
  );
});

warm('should not count the workers of an inspector', async () => {
  const { snapshot } = script(async () => [
    { name: 'a', inspector: false, activeWorkerCount: 0 },
    { name: 'a', inspector: true, activeWorkerCount: 1 },
  ]);
  const error = await failureOf(untilWarm(() => of(profile('a', 1)), snapshot, soon()));
  assert.match(error.message, '0 of 1');
});

warm('should ask again when a snapshot fails', async () => {
  const { snapshot, asked } = script(
    () => Promise.reject(new TypeError('no control plane')),
    async () => [{ name: 'a', activeWorkerCount: 1 }],
  );
  await within(
    5000,
    untilWarm(() => of(profile('a', 1)), snapshot, later()),
    'warm workers',
  );
  assert.is(asked(), 2);
});

warm('should tell the log why the last snapshot failed', async () => {
  const failure = new TypeError('no control plane');
  const { snapshot } = script(
    async () => [],
    () => Promise.reject(failure),
  );
  const error = await failureOf(untilWarm(() => of(profile('a', 1)), snapshot, soon()));
  assert.is(error.message, 'function "a": 0 of 1 reserved workers active');
  assert.is(error.cause, failure);
});

warm('should not wait for a snapshot beyond the deadline', async () => {
  const error = await failureOf(
    untilWarm(
      () => of(profile('a', 1)),
      () => new Promise(() => {}),
      soon(),
    ),
  );
  assert.is(error.code, 'UNAVAILABLE');
});

warm('should end with a snapshot that says there will be no other', async () => {
  const end = new GatewayError('UNAVAILABLE', 'closed');
  assert.is(
    await failureOf(
      untilWarm(
        () => of(profile('a', 1)),
        () => Promise.reject(end),
        later(),
      ),
    ),
    end,
  );
});

warm(
  'should tell a worker that is starting from one that cannot start, and whether its environment is too large',
  async () => {
    const { snapshot } = script(async () => [
      { name: 'starting', activeWorkerCount: 0, initiatingWorkerCount: 1 },
      { name: 'failed', activeWorkerCount: 0, initiatingWorkerCount: 0 },
    ]);
    const environments = [{ key: 'LONG', value: 'x'.repeat(3000) }];
    const functions = [profile('starting', 1), profile('failed', 1), { ...profile('large', 1), environments }];
    const error = await failureOf(untilWarm(() => of(...functions), snapshot, soon()));
    assert.equal(error.message.split('; '), [
      'function "starting": 0 of 1 reserved workers active',
      'function "failed": 0 of 1 reserved workers active, and none is starting: the control plane\'s log says why',
      'function "large": 0 of 1 reserved workers active, and none is starting: ' +
        'its environment has 3008 bytes, expected at most 2500',
    ]);
  },
);

warm.run();
