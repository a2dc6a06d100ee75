import * as assert from 'uvu/assert';
import { GatewayError } from '../src/errors.ts';
import { type Access, createLog, type LogMode } from '../src/log.ts';
import { eventually, suite, within } from './helpers.ts';

const log = suite('log');

/** What a log of this mode writes, and in how many writes. */
function written(mode: LogMode, work: (log: ReturnType<typeof createLog>) => void): string[] {
  const writes: string[] = [];
  const made = createLog(mode, text => void writes.push(text));
  work(made);
  made.flush();
  return writes;
}

const ACCESS: Access = {
  requestId: 'id',
  traceId: undefined,
  kind: 'http',
  method: 'GET',
  path: '/a',
  function: 'f',
  worker: undefined,
  status: 200,
  bytesIn: 1,
  bytesOut: 2,
  firstByteMs: 0.5,
  totalMs: 1,
  queuedMs: undefined,
  coldStart: undefined,
  outcome: 'ok',
};

log('should write one JSON object per line, errors with code, stack and cause', () => {
  const cause = Object.assign(new Error('inner'), { stack: 'Error: inner\n    at x' });
  const [text = ''] = written('json', ({ error }) =>
    error('failed', { error: new GatewayError('TIMEOUT', 'late', cause) }),
  );
  assert.ok(text.endsWith('\n'));
  assert.is(text.split('\n').length, 2);
  const { time, ...rest } = JSON.parse(text) as Record<string, unknown>;
  assert.match(String(time), /^\d{4}-/);
  assert.equal(rest, {
    level: 'error',
    message: 'failed',
    error: { code: 'TIMEOUT', message: 'late', cause: { stack: 'Error: inner\n    at x', message: 'inner' } },
  });
});

log('should write the lines of one turn together', () => {
  const writes = written('json', ({ info, access, line }) => {
    info('one');
    access(ACCESS);
    line('three');
  });
  assert.is(writes.length, 1);
  assert.is(writes[0]?.split('\n').length, 4);
});

log('should write by itself when the turn is over', async () => {
  let text = '';
  createLog('json', part => {
    text += part;
  }).info('held');
  assert.is(text, '');
  await new Promise(done => setImmediate(() => setImmediate(done)));
  assert.match(text, 'held');
});

log('should be readable for a person when pretty, and silent when off', () => {
  const [text = ''] = written('pretty', ({ warn, access }) => {
    warn('careful', { function: 'f', error: new GatewayError('TIMEOUT', 'late', 'why') });
    access(ACCESS);
    access({ ...ACCESS, status: 504, outcome: 'error TIMEOUT' });
  });
  assert.match(text, /^\d\d:\d\d:\d\d warn: careful f\n {2}TIMEOUT: late\n {2}why\n/);
  assert.match(text, 'GET /a → 200 f 2 B 1 ms id\n');
  assert.match(text, 'GET /a → 504 error TIMEOUT f');
  const [printed = ''] = written('pretty', ({ output }) =>
    output('said', { function: 'f', worker: 'f-1', stream: 'stdout' }),
  );
  assert.match(printed, /^\d\d:\d\d:\d\d f-1 \| said\n$/);
  assert.equal(
    written('off', made => {
      made.error('x');
      made.info('x');
      made.output('x', { function: 'f', worker: 'f-1', stream: 'stderr' });
      made.access(ACCESS);
    }),
    [],
  );
});

/** A reader of which a test says when it reads. */
function reader(mode: LogMode): {
  made: ReturnType<typeof createLog>;
  lines: () => string[];
  read: () => void;
  text: () => string;
} {
  let text = '';
  let unread = 0;
  let waiting: (() => void)[] = [];
  const made = createLog(
    mode,
    (part, done) => {
      text += part;
      unread += part.length;
      waiting.push(done);
    },
    () => unread,
  );
  const read = (): void => {
    unread = 0;
    for (const done of waiting.splice(0)) done();
    waiting = [];
  };
  return { made, lines: () => text.split('\n').slice(0, -1), read, text: () => text };
}

const MIB = 1024 * 1024;
const KIB_TEXT = 'x'.repeat(1024);

log('should hold a few MiB for who does not read, and say what was dropped when it is read again', async () => {
  const { made, lines, read, text } = reader('json');
  const source = { function: 'f', worker: 'f-1', stream: 'stdout' } as const;
  let logged = 0;
  for (; logged < 20_000; logged += 4) {
    made.output(`${logged} ${KIB_TEXT}`, source);
    made.info(`${logged + 1} ${KIB_TEXT}`);
    made.warn(`${logged + 2} ${KIB_TEXT}`);
    made.access({ ...ACCESS, path: `${logged + 3} ${KIB_TEXT}` });
  }
  made.flush();
  assert.ok(text().length > 4 * MIB && text().length < 5 * MIB, `${text().length}`);
  const kept = lines().length;
  // these are few, and wanted most
  made.line('FC Invoke End RequestId: last');
  made.flush();
  assert.is(lines().pop(), 'FC Invoke End RequestId: last');
  for (let i = 0; i < 200_000; i++) made.line(`FC Invoke Start RequestId: ${i} ${KIB_TEXT.slice(900)}`);
  made.flush();
  assert.ok(text().length < 9 * MIB, `${text().length}`);
  const markers = lines().length - kept;

  read();
  await eventually('word of what was dropped', async () => lines().some(line => line.includes('dropped')));
  made.info('later');
  made.flush();
  const [notice = '', later = ''] = lines().slice(-2);
  const { level, message } = JSON.parse(notice);
  assert.equal([level, message], ['warn', `log lines dropped: ${logged - kept + 200_001 - markers}`]);
  assert.is(JSON.parse(later).message, 'later');
  const order = lines()
    .slice(0, kept)
    .map(line => JSON.parse(line))
    .map(line => Number.parseInt(line.path ?? line.message, 10));
  assert.equal(order, [...order.keys()]);
});

log('should hold no more when it is off but for markers', async () => {
  const { made, text, read, lines } = reader('off');
  for (let i = 0; i < 20_000; i++) made.line(KIB_TEXT);
  made.flush();
  assert.ok(text().length < 9 * MIB, `${text().length}`);
  read();
  await eventually('a marker', async () => {
    made.line('marker');
    made.flush();
    return lines().pop() === 'marker';
  });
  assert.not.match(text(), 'dropped');
});

log('should call back when what was logged is read, or when nobody does', async () => {
  const { made, read, lines } = reader('json');
  const room = (): Promise<void> => within(5000, new Promise(made.whenRead), 'room');
  await room();
  for (let i = 0; i < 1000; i++) made.info(KIB_TEXT);
  made.flush();
  let isCalled = false;
  made.whenRead(() => (isCalled = true));
  // in whatever was due
  for (let i = 0; i < 3; i++) await new Promise(done => setImmediate(done));
  assert.is(isCalled, false);
  read();
  assert.is(isCalled, true);

  for (let i = 0; i < 1000; i++) made.info(KIB_TEXT);
  made.flush();
  await room();
  const before = lines().length;
  made.info('nobody reads');
  made.flush();
  assert.is(lines().length, before);
  await room();
  read();
  await eventually('word of what was dropped', async () => lines().some(line => line.includes('dropped: 1"')));
});

log.run();
