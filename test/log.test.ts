import * as assert from 'uvu/assert';
import { GatewayError } from '../src/errors.ts';
import { type Access, createLog, type LogMode } from '../src/log.ts';
import { suite } from './helpers.ts';

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
  kind: 'http',
  method: 'GET',
  path: '/a',
  function: 'f',
  status: 200,
  bytesIn: 1,
  bytesOut: 2,
  firstByteMs: 0.5,
  totalMs: 1,
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

log.run();
