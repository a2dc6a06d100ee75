import * as assert from 'uvu/assert';
import type { Answer } from '../../../src/desk/fc/answers.ts';
import { createAsync } from '../../../src/desk/fc/async.ts';
import { createLife } from '../../../src/desk/fc/life.ts';
import { readable } from '../../../src/desk/fc/relay.ts';
import { eventually, read, suite } from '../../helpers.ts';

const later = suite('asynchronous calls');

const answer = (status: number, errorType?: string): Answer => ({
  status,
  headers: [],
  body: readable(Buffer.from('body')),
  requestId: 'r',
  instance: 'c-1',
  errorType,
});

/** Makes a call whose attempts end as told; the last again and again. Gives what happened when the last is done. */
async function make(
  ends: readonly (Answer | Error)[],
  { asyncRetries = 3, asyncMaxAge = 60, each = 0 }: { asyncRetries?: number; asyncMaxAge?: number; each?: number },
  attempts: number,
): Promise<{ counts: number[]; told: string[] }> {
  let clock = 1000;
  const counts: number[] = [];
  const life = createLife();
  const accept = createAsync({ asyncRetries, asyncMaxAge }, life.tell, () => clock);
  const accepted = accept('r', async count => {
    counts.push(count);
    clock += each;
    const end = ends[Math.min(count, ends.length - 1)];
    if (end instanceof Error) throw end;
    return end as Answer;
  });
  assert.equal([accepted.status, (await read(accepted.body)).length, accepted.requestId], [202, 0, 'r']);
  await eventually('the attempts', async () => counts.length >= attempts);
  // nothing comes after them
  for (let i = 0; i < 5; i++) await new Promise(setImmediate);
  return { counts, told: life.events.map(({ event, requestId, count }) => `${event} ${requestId} ${count}`) };
}

later('should be made once where it goes well, and where it fails of itself', async () => {
  assert.equal(await make([answer(200)], {}, 1), { counts: [0], told: [] });
  // a client error is an answer, too
  assert.equal(await make([answer(404)], {}, 1), { counts: [0], told: [] });
});

later('should be made again after an error, a broken answer and none, and count', async () => {
  const ends = [answer(200, 'UnhandledInvocationError'), answer(502), new Error('nobody'), answer(200)];
  const { counts, told } = await make(ends, {}, 4);
  assert.equal(counts, [0, 1, 2, 3]);
  assert.equal(told, ['retry r 1', 'retry r 2', 'retry r 3']);
});

later('should be given up after as many retries as are configured', async () => {
  assert.equal((await make([answer(500)], { asyncRetries: 2 }, 3)).counts, [0, 1, 2]);
  assert.equal((await make([answer(500)], { asyncRetries: 0 }, 1)).counts, [0]);
});

later('should be given up when it is too old', async () => {
  const { counts, told } = await make([answer(500)], { asyncMaxAge: 5, each: 3000 }, 2);
  assert.equal(counts, [0, 1]);
  assert.equal(told, ['retry r 1', 'expired r 2']);
});

later.run();
