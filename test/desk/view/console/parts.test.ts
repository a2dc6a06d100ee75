import * as assert from 'uvu/assert';
import { partsOf, type Timing } from '../../../../src/desk/view/console/parts.ts';
import { suite } from '../../../helpers.ts';

const parts = suite('parts of a call');

const known = { attempt: 0, hasInitializer: true };

/** `name ms`, in their order; that they leave no gap, and add up, holds for all of them. */
function told(timing: Timing): string[] {
  const found = partsOf(timing);
  let at = 0;
  for (const { fromMs, ms } of found) {
    assert.ok(Math.abs(fromMs - at) < 0.001, `${fromMs} follows ${at}`);
    at = fromMs + ms;
  }
  assert.ok(Math.abs(at - timing.end) < 0.006, `${at} is ${timing.end}`);
  return found.map(({ name, ms }) => `${name} ${ms}`);
}

parts('should tell of a cold start what it was made of', () => {
  const timing = {
    ...known,
    starting: 2,
    accepting: 102,
    ready: 120,
    request: 121,
    head: 130,
    functionMs: 5,
    end: 131.5,
  };
  assert.equal(told(timing), [
    'queued 2',
    'instance start 100',
    'initializer 18',
    'queued 1',
    'gateway 4',
    'function 5',
    'body 1.5',
  ]);
  assert.equal(told({ ...timing, hasInitializer: false }).slice(1, 3), ['instance start 100', 'instance start 18']);
});

parts('should tell of a start that was under way only what this call waited for', () => {
  const timing = { ...known, starting: -80, accepting: -10, ready: 15, request: 15.25, head: 20, end: 20 };
  assert.equal(told(timing), ['initializer 15', 'queued 0.25', 'function 4.75']);
});

parts('should tell of a thaw, and of what comes after it', () => {
  assert.equal(told({ ...known, request: 1, thawed: 4, head: 10, functionMs: 2, end: 12 }), [
    'queued 1',
    'thaw 3',
    'gateway 4',
    'function 2',
    'body 2',
  ]);
});

parts('should heed that two clocks do not agree', () => {
  assert.equal(told({ ...known, request: 1, thawed: 4, head: 5, functionMs: 9, end: 6 }), [
    'queued 1',
    'thaw 3',
    'function 1',
    'body 1',
  ]);
});

parts('should tell what a call is waiting for that is not over', () => {
  assert.equal(told({ ...known, end: 7 }), ['queued 7']);
  assert.equal(told({ ...known, request: 2, end: 7 }), ['queued 2', 'function 5']);
  assert.equal(told({ ...known, request: 2, head: 3, end: 7 }), ['queued 2', 'function 1', 'body 4']);
});

parts('should keep what earlier attempts took apart', () => {
  assert.equal(told({ ...known, attempt: 50, request: 51, head: 60, end: 60 }), [
    'earlier attempts 50',
    'queued 1',
    'function 9',
  ]);
});

parts.run();
