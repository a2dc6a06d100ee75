import * as assert from 'uvu/assert';
import { readLine } from '../../../src/desk/view/line.ts';
import { suite } from '../../helpers.ts';

const line = suite('line of a container');

const json = (fields: object): string => JSON.stringify({ time: '2026-11-26T10:00:00.000Z', level: 'info', ...fields });

line('should take any text for what it is', () => {
  for (const text of ['', 'plain', '{', '{}', '[1]', 'null', '{"message":1}', '{"level":"error"}']) {
    const read = readLine('stdout', text);
    assert.equal([read.text, read.level, read.from], [text, 'info', 'other']);
  }
  assert.is(readLine('stderr', 'plain').level, 'warn');
});

line('should read what a function prints', () => {
  const read = readLine('stdout', json({ message: 'hi', function: 'f', worker: 'f-1', stream: 'stderr' }));
  assert.equal([read.text, read.level, read.from, read.function], ['hi', 'warn', 'function', 'f']);
});

line('should read the line of a request', () => {
  const fields = { message: 'request', requestId: '1-a', kind: 'http', method: 'GET', path: '/x', function: 'f' };
  const rest = { status: 200, bytesIn: 0, bytesOut: 1, firstByteMs: 1.5, totalMs: 2, outcome: 'ok' };
  const read = readLine('stdout', json({ ...fields, ...rest }));
  assert.equal([read.text, read.from, read.requestId], ['GET /x → 200 in 2 ms', 'request', '1-a']);
  assert.equal(read.access, { requestId: '1-a', function: 'f', firstByteMs: 1.5, totalMs: 2 });
  const failed = readLine('stdout', json({ ...fields, ...rest, status: 502, outcome: 'error FUNCTION_FAILED' }));
  assert.is(failed.text, 'GET /x → 502 error FUNCTION_FAILED in 2 ms');
});

line('should show an error with the frames of the function, and no others', () => {
  const stack = [
    'TypeError: no such thing',
    '    at load (/app/hello/index.js:3:9)',
    '    at exports.handler (/app/hello/index.js:8:1)',
    '    at a (/app/dist/server.js:15:8653)',
    '    at process.processTicksAndRejections (node:internal/process/task_queues:95:5)',
  ].join('\n');
  const error = {
    code: 'FUNCTION_FAILED',
    message: 'function "hello" failed before it answered',
    cause: { stack, message: 'no such thing' },
  };
  const text = json({ level: 'error', message: 'invocation failed', requestId: '1-a', function: 'hello', error });
  const read = readLine('stdout', text);
  assert.equal([read.level, read.from, read.function, read.requestId], ['error', 'server', 'hello', '1-a']);
  assert.equal(read.fault, {
    code: 'FUNCTION_FAILED',
    message: 'function "hello" failed before it answered: TypeError: no such thing',
    frames: ['at load (/app/hello/index.js:3:9)', 'at exports.handler (/app/hello/index.js:8:1)'],
  });
  assert.is(
    read.text,
    [
      'invocation failed hello',
      '  FUNCTION_FAILED: function "hello" failed before it answered: TypeError: no such thing',
      '    at load (/app/hello/index.js:3:9)',
      '    at exports.handler (/app/hello/index.js:8:1)',
    ].join('\n'),
  );
});

line('should make do with an error that has less to tell', () => {
  const read = (error: unknown): unknown => readLine('stdout', json({ level: 'error', message: 'm', error })).fault;
  assert.equal(read('gone'), { code: 'Error', message: 'gone', frames: [] });
  assert.equal(read({ message: 'gone', cause: 'away' }), { code: 'Error', message: 'gone: away', frames: [] });
  assert.equal(read({ stack: 'RangeError: gone\n  at f (/f.js:1:1)', message: 'gone' }), {
    code: 'RangeError',
    message: 'gone',
    frames: ['at f (/f.js:1:1)'],
  });
  assert.is(read(undefined), undefined);
});

line('should take what Node.js says of debuggers for no complaint', () => {
  for (const text of [
    'Debugger listening on ws://127.0.0.1:45043/fa354d11-298e-42c5-90db-40aad4b45938',
    'For help, see: https://nodejs.org/en/docs/inspector',
    'Debugger attached.',
    'Waiting for the debugger to disconnect...',
    'Debugger ending on ws://127.0.0.1:45043/fa354d11-298e-42c5-90db-40aad4b45938',
  ]) {
    const { from, level } = readLine('stderr', text);
    assert.equal([from, level], ['debugger', 'info'], text);
    assert.is(readLine('stdout', text).from, 'other');
  }
  assert.equal(readLine('stderr', 'Debugger of mine').level, 'warn');
});

line.run();
