import { getHeapStatistics, setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import * as assert from 'uvu/assert';
import { Table } from '../src/table.ts';
import { suite } from './helpers.ts';

const table = suite('table');

table('should be a Map whose keys go up', () => {
  const steps = fc.array(fc.record({ isAdd: fc.boolean(), id: fc.nat(40), gap: fc.integer({ min: 1, max: 3000 }) }));
  fc.assert(
    fc.property(steps, fc.boolean(), (all, isNumbering) => {
      const ours = new Table<{ id: number }>();
      const model = new Map<number, { id: number }>();
      let last = 0;
      for (const { isAdd, id, gap } of all) {
        if (isAdd) {
          last += isNumbering ? 1 : gap;
          const item = { id: last };
          if (isNumbering) assert.is(ours.add(item), last);
          else ours.set(last, item);
          model.set(last, item);
        } else {
          const some = [...model.keys()][id] ?? id + last + 1;
          assert.is(ours.delete(some), model.delete(some));
          assert.is(ours.get(some), undefined);
        }
        assert.is(ours.size, model.size);
        assert.equal(ours.values(), [...model.values()]);
        for (const [key, item] of model) assert.is(ours.get(key), item);
      }
    }),
    { seed: 1, numRuns: 300 },
  );
});

table('should not keep what was in it through the collections of the young generation', () => {
  setFlagsFromString('--expose-gc');
  const collect: (options: { type: string }) => void = runInNewContext('gc');
  const things = new Table<number[]>();
  const churn = (i: number): void => {
    things.set(i, new Array(200).fill(0.5));
    things.delete(i - 8);
  };
  for (let i = 0; i < 200; i++) churn(i);
  collect({ type: 'major' });
  const before = getHeapStatistics().used_heap_size;
  for (let i = 200; i < 10_000; i++) {
    churn(i);
    if (i % 100 === 0) collect({ type: 'minor' });
  }
  const left = getHeapStatistics().used_heap_size - before;
  // 0.2 to 0.4 MB; a Map leaves 7 to 17
  assert.ok(left < 2_000_000, `${left} bytes`);
});

table.run();
