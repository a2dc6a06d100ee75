import * as assert from 'uvu/assert';
import { createLife, type Happenings } from '../../../../src/desk/fc/life.ts';
import { createRecord, type Recording } from '../../../../src/desk/fc/record.ts';
import { type Calls, createCalls, MOST_CALLS } from '../../../../src/desk/view/console/calls.ts';
import { readLine } from '../../../../src/desk/view/line.ts';
import { suite } from '../../../helpers.ts';

const calls = suite('calls of the console');

/** A life that is told by hand, and the calls that listen to it. */
function listening(): {
  calls: Calls;
  call(id: string, fields?: Partial<Happenings['call']>): Recording;
  request(id: string, fields?: Partial<Happenings['request']>): void;
  answer(id: string, fields?: Partial<Happenings['answer']>): void;
  log(id: string | undefined, line: string): void;
  tell: ReturnType<typeof createLife>['tell'];
} {
  const life = createLife(false);
  const made = createCalls({ initializer: undefined });
  life.on(event => {
    const line = event.event === 'log' ? readLine('stdout', String(event['line'])) : undefined;
    made.on(event, line);
  });
  const { tell } = life;
  const http = { kind: 'http', method: 'GET', path: '/' } as const;
  const on = { instance: 'c-1', queuedMs: 0, isCold: false, wasFrozen: false, retryCount: 0 };
  return {
    calls: made,
    tell,
    call(requestId, fields) {
      const record = createRecord({ method: 'GET', path: '/', headers: [] }, 64 * 1024);
      tell('call', { ...http, requestId, isAsync: false, record, ...fields });
      return record;
    },
    request: (requestId, fields) => tell('request', { ...http, ...on, requestId, ...fields }),
    answer: (requestId, fields) => tell('answer', { ...http, requestId, status: 200, totalMs: 1, ...fields } as never),
    log: (requestId, line) => tell('log', { instance: 'c-1', stream: 'stdout', line, ...(requestId && { requestId }) }),
  };
}

const ids = (rows: readonly { id: string }[]): string[] => rows.map(({ id }) => id);

calls('should give what has changed since it was taken, each call once', () => {
  const { calls: made, call, request, answer } = listening();
  call('a');
  call('b');
  request('a');
  answer('a');
  const { calls: rows, omitted } = made.take();
  assert.equal(
    rows.map(({ id, isDone, status }) => [id, isDone, status]),
    [
      ['a', true, 200],
      ['b', false, undefined],
    ],
  );
  assert.equal([omitted, made.hasChanged, ids(made.take().calls)], [0, false, []]);
  answer('b', { status: 500 });
  assert.equal(ids(made.take().calls), ['b']);
  // a row that has been given does not go on to change
  assert.is(rows[1]?.status, undefined);
});

calls('should keep a thousand, those that are not over before all others', () => {
  const { calls: made, call, answer } = listening();
  call('open');
  for (let i = 0; i < 2 * MOST_CALLS; i++) {
    call(`c${i}`);
    answer(`c${i}`);
  }
  const kept = ids(made.rows());
  assert.equal([kept.length, kept[0], kept[1], kept[kept.length - 1]], [MOST_CALLS, 'open', 'c1001', 'c1999']);
  assert.equal([made.find('c0'), made.find('open')?.row.isDone], [undefined, false]);
});

calls('should leave calls out that come too fast, and say how many; never one that failed', () => {
  const { calls: made, call, answer } = listening();
  for (let i = 0; i < 5000; i++) {
    call(`c${i}`);
    answer(`c${i}`, i % 1000 === 500 ? { status: 502 } : {});
  }
  const { calls: rows, omitted } = made.take();
  assert.is(rows.length + omitted, 5000);
  assert.ok(rows.length <= 501, String(rows.length));
  // of those that are still kept
  assert.ok(ids(rows).includes('c4500'));
  assert.is(rows[rows.length - 1]?.id, 'c4999');
});

calls('should tell of the end of every call that it has told of', () => {
  const { calls: made, call, answer } = listening();
  call('told');
  made.take();
  for (let i = 0; i < 3000; i++) {
    call(`c${i}`);
    answer(`c${i}`);
  }
  answer('told');
  const { calls: rows } = made.take();
  assert.ok(rows.some(({ id, isDone }) => id === 'told' && isDone));
});

calls('should forget nothing of what changes while nobody takes it, but be bounded', () => {
  const { calls: made, call, answer } = listening();
  for (let i = 0; i < 20_000; i++) {
    call(`c${i}`);
    answer(`c${i}`);
    if (i % 5000 !== 0) continue;
    // somebody looks, and leaves again
    made.take();
    made.rows();
  }
  const { calls: rows, omitted } = made.take();
  assert.ok(rows.length <= 2 * MOST_CALLS, String(rows.length));
  assert.ok(omitted > 2000, String(omitted));
});

calls('should let go of the oldest records when all that is kept is too much', () => {
  const { calls: made, call, answer } = listening();
  const body = Buffer.alloc(64 * 1024);
  for (let i = 0; i < 600; i++) {
    const record = call(`c${i}`);
    record.requestBody.add(body);
    answer(`c${i}`);
  }
  assert.is(made.find('c0')?.record, undefined);
  assert.is(made.find('c0')?.row.status, 200, 'its row stays');
  const kept = [...made.all()].filter(({ record }) => record !== undefined);
  assert.is(kept.length, 512);
  assert.is(kept[0]?.row.id, 'c88');
});

calls('should show a call that is made again as one', () => {
  const { calls: made, call, request, answer, tell } = listening();
  call('a', { isAsync: true });
  request('a', { isCold: true });
  answer('a', { status: 500, errorType: 'UnhandledInvocationError', message: 'no' } as never);
  tell('retry', { requestId: 'a', count: 1 });
  const [again] = made.take().calls;
  assert.equal([again?.isDone, again?.retries], [false, 1]);
  request('a');
  answer('a', { ms: 3, billedMs: 3 });
  const [done] = made.take().calls;
  assert.equal([done?.isDone, done?.status, done?.errorType, done?.message], [true, 200, undefined, undefined]);
  assert.is(done?.isCold, true, 'it has waited for a start');
  assert.is(made.find('a')?.runMs, 3);
});

calls('should put down to a call what was printed for it, whenever that comes', () => {
  const { calls: made, call, answer, log } = listening();
  call('a');
  log('a', 'plain');
  answer('a', { status: 502 });
  log('a', JSON.stringify({ message: 'worker ready', function: 'f', worker: 'f-1' }));
  // the line names another one itself
  call('b');
  log('b', JSON.stringify({ level: 'error', message: 'failed', requestId: 'a', error: { code: 'X', message: 'why' } }));
  log(undefined, 'nobody');
  const kept = made.find('a');
  assert.equal(
    kept?.lines.map(({ text }) => text.split('\n')[0]),
    ['plain', 'worker ready f worker=f-1', 'failed'],
  );
  assert.equal([kept?.row.function, kept?.row.message, kept?.fault?.code], ['f', 'why', 'X']);
  assert.equal(made.find('b')?.lines, []);
});

calls('should hold only the beginning of a flood of lines', () => {
  const { calls: made, call, log } = listening();
  call('a');
  for (let i = 0; i < 1000; i++) log('a', 'x'.repeat(1000));
  const kept = made.find('a')?.lines ?? [];
  assert.is(
    kept.reduce((sum, { text }) => sum + text.length, 0),
    64 * 1024,
  );
});

calls.run();
