import * as assert from 'uvu/assert';
import { eventually, suite } from './helpers.ts';

const helpers = suite('helpers');

helpers('eventually should ask no more after its deadline', async () => {
  let asked = 0;
  const probe = async (): Promise<boolean> => {
    asked += 1;
    return false;
  };
  const error = await eventually('what never comes', probe, 10).catch(error => error);
  assert.is(error.message, 'waited 40 ms for what never comes');
  const before = asked;
  // one that was still asked would be by then
  await new Promise(done => setTimeout(done, 100));
  assert.is(asked, before);
});

helpers.run();
