import * as assert from 'uvu/assert';
import type { LifeEvent } from '../../../../src/desk/fc/life.ts';
import { createLife } from '../../../../src/desk/fc/life.ts';
import { createLedger, type Ledger } from '../../../../src/desk/view/console/costs.ts';
import { createQuantiles } from '../../../../src/desk/view/quantiles.ts';
import { suite } from '../../../helpers.ts';

const costs = suite('costs of a run');

const settings = { memory: 1024, cpu: 0.5, instanceConcurrency: 2 };

/** A ledger that is told events at moments of our own. */
function ledger(...events: (Partial<LifeEvent> & { at: number; event: string })[]): Ledger {
  const made = createLedger(settings);
  const life = createLife(false);
  life.on(made.on);
  for (const event of events) made.on({ instance: 'c-1', ...event } as LifeEvent);
  return made;
}

const start = (instance: string, at: number): (Partial<LifeEvent> & { at: number; event: string })[] => [
  { at, event: 'starting', instance },
  { at: at + 100, event: 'initialized', instance, ms: 20.5 },
  { at: at + 100, event: 'ready', instance, ms: 100 },
];

costs('should count an instance as frozen, idle or busy, whatever is the case', () => {
  const made = ledger(
    ...start('c-1', 0),
    { at: 110, event: 'frozen' },
    { at: 210, event: 'request' },
    { at: 211, event: 'thawed' },
    { at: 220.5, event: 'request' },
    { at: 230, event: 'answer', status: 200, totalMs: 20, isCold: false },
    { at: 240.5, event: 'answer', status: 502, totalMs: 20, isCold: true },
    { at: 250.5, event: 'frozen' },
  );
  const { frozenMs, idleMs, busyMs, billedMs, gbSeconds, vcpuSeconds, per1000, ...rest } = made.costs(350.5, [], 0);
  assert.equal([frozenMs, idleMs, busyMs], [200, 20, 30.5]);
  // two calls that share an instance are billed once; the initializer on top
  assert.is(billedMs, 31 + 21);
  assert.equal([gbSeconds, vcpuSeconds], [0.052, 0.026]);
  assert.is(per1000?.billedMs, 26_000);
  assert.equal([rest.calls, rest.failed, rest.coldStarts, rest.warm.count], [2, 1, 1, 1]);
});

costs('should count what goes on, and what ends in the middle', () => {
  const made = ledger(...start('c-1', 0), { at: 100, event: 'request' });
  assert.equal([made.costs(150, [], 0).busyMs, made.costs(160, [], 0).billedMs], [50, 60 + 21]);
  made.on({ at: 170, event: 'exited', instance: 'c-1', expected: false });
  assert.equal([made.costs(500, [], 0).busyMs, made.costs(500, [], 0).billedMs], [70, 70 + 21]);
  // its answer comes later
  made.on({ at: 180, event: 'answer', instance: 'c-1', status: 502, totalMs: 80 });
  assert.is(made.costs(500, [], 0).busyMs, 70);
});

costs('should have nothing to say of nothing', () => {
  const none = createLedger(settings).costs(0, [], 0);
  assert.equal([none.calls, none.all.p50, none.per1000, none.gbSeconds], [0, undefined, undefined, 0]);
  assert.equal(
    none.others.map(({ instanceConcurrency, isSet, instances }) => [instanceConcurrency, isSet, instances]),
    [
      [1, false, 0],
      [2, true, 0],
      [10, false, 0],
      [20, false, 0],
    ],
  );
});

costs('should play the same calls at other concurrencies', () => {
  const made = ledger(...start('c-0', 0));
  const twenty = Array.from({ length: 20 }, (_, i) => ({ at: 1000 + i, runMs: 50 }));
  const [one, two, ten, all] = made.costs(2000, twenty, 0).others;
  assert.equal([one?.instances, two?.instances, ten?.instances, all?.instances], [20, 10, 2, 1]);
  assert.equal([one?.coldStarts, all?.coldStarts], [20, 20]);
  assert.is(one?.billedMs, 20 * (50 + 21));
  assert.ok((all?.billedMs ?? 0) < 100, 'calls that share are billed once');
  // one after the other: the first waits for the start, all others find it there
  const serial = Array.from({ length: 5 }, (_, i) => ({ at: 1000 + i * 1000, runMs: 10 }));
  const [cold] = made.costs(2000, serial, 0).others;
  assert.equal([cold?.instances, cold?.coldStarts, cold?.billedMs], [1, 1, 5 * 10 + 21]);
  const [warm] = made.costs(2000, serial, 1).others;
  assert.equal([warm?.instances, warm?.coldStarts, warm?.billedMs], [1, 0, 50]);
});

costs('should tell quantiles to the hundredth', () => {
  const times = createQuantiles();
  assert.is(times.at(0.5), undefined);
  for (let ms = 1; ms <= 1000; ms++) times.add(ms);
  for (const part of [0.01, 0.5, 0.9, 0.99, 1]) {
    const exact = part * 1000;
    assert.ok(Math.abs((times.at(part) ?? 0) - exact) <= exact * 0.01 + 0.01, `${part}: ${times.at(part)}`);
  }
  times.add(0);
  assert.is(times.count, 1001);
});

costs.run();
