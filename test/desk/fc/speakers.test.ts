import * as assert from 'uvu/assert';
import { createSpeakers } from '../../../src/desk/fc/speakers.ts';
import { suite } from '../../helpers.ts';

const speakers = suite('speakers');

const turn = (): Promise<void> => new Promise(done => setImmediate(done));

speakers('should put nothing down to a call before there is one', () => {
  assert.is(createSpeakers().of('a line'), undefined);
});

speakers('should put a line down to the only call, and after it to the last', async () => {
  const { begin, end, of } = createSpeakers();
  begin('r1');
  await turn();
  assert.is(of('a line'), 'r1');
  end('r1');
  assert.is(of('read with the answer'), 'r1');
  await turn();
  assert.is(of('printed later'), 'r1');
});

speakers('should put down to a call what it printed before the next can have begun', async () => {
  const { begin, end, of } = createSpeakers();
  begin('r1');
  await turn();
  end('r1');
  begin('r2');
  assert.is(of('read with the answer of the first'), 'r1');
  await turn();
  assert.is(of('a line'), 'r2');
});

speakers('should put a line of several down to the one that it names, else to none', async () => {
  const { begin, end, of } = createSpeakers();
  begin('r1');
  begin('r2');
  await turn();
  assert.equal([of('a line'), of('of r2')], [undefined, 'r2']);
  end('r2');
  assert.is(of('a line'), undefined, 'it may still be of either');
  await turn();
  assert.equal([of('a line'), of('late, of r2')], ['r1', 'r2']);
});

speakers.run();
