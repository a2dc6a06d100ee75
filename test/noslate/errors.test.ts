import * as assert from 'uvu/assert';
import type { Code } from '../../src/errors.ts';
import { fromNoslate, isUnsent, type NoslateError, unknownFunction } from '../../src/noslate/errors.ts';
import { suite } from '../helpers.ts';

const trigger = (code: number, words: string): NoslateError => ({
  name: 'NoslatedError',
  message: `Noslated request failed: CanonicalCode::${words}`,
  operation: 'Trigger',
  code,
});
const raised = (message: string, code?: number): NoslateError => ({
  name: 'Error',
  message,
  ...(code === undefined ? {} : { code }),
});
const transport = (code: number, details: string): NoslateError => ({
  name: 'Error',
  message: `${code} STATUS: ${details}`,
  code,
  details,
});

/** Every failure that was seen on real planes or read in their source, and its HTTP status. */
const CASES: readonly (readonly [title: string, error: NoslateError, code: Code, status: number])[] = [
  ['an unknown function', raised('No function named nope registered in this node.', 5), 'FUNCTION_NOT_FOUND', 404],
  ['an unknown service', raised('Service not found.', 5), 'SERVICE_NOT_FOUND', 404],
  ['a passed rate limit', raised('rate limit exceeded', 8), 'RATE_LIMITED', 429],
  ['an open circuit breaker', raised('System circuit breaker opened.', 9), 'UNAVAILABLE', 503],
  [
    'a deadline that passed in the queue',
    raised('Waiting for worker has timed out at 1795399375875, request(unknown).', 4),
    'QUEUE_TIMEOUT',
    503,
  ],
  ['a function without queue', raised('No available worker process for noqueue now.'), 'NO_WORKER', 503],
  ['an exhausted replica limit', raised('Replica count exceeded limit (10 / 10)'), 'NO_WORKER', 503],
  ['an exhausted memory pool', raised('No enough virtual memory (used: 1073741824, ...'), 'NO_WORKER', 503],
  [
    'code that is missing',
    raised('Failed to ensure (or download) code: Error: ENOENT: no such file, /var/x'),
    'CODE_UNAVAILABLE',
    502,
  ],
  [
    'a worker that dies at start',
    raised(
      'Internal error: Error: Worker(badinit-5631cb1, status 3) stopped unexpected after start.\n    at x (/srv/y.js:1:1)',
    ),
    'INITIALIZER_FAILED',
    502,
  ],
  [
    'an initializer that is too slow',
    raised('Internal error: Error: Worker(slow-1) initialization timeout.\n    at x (/srv/y.js:1:1)'),
    'INITIALIZER_TIMEOUT',
    504,
  ],
  [
    'a worker whose specification turfd does not take',
    raised(
      'Internal error: Error: read ECONNRESET\n    at Pipe.onStreamRead (node:internal/stream_base_commons:217:20)',
    ),
    'INITIALIZER_FAILED',
    502,
  ],
  [
    'a worker whose specification has no length for turfd',
    raised('Internal error: RangeError [ERR_OUT_OF_RANGE]: The value of "value" is out of range. It must be >= 0'),
    'INITIALIZER_FAILED',
    502,
  ],
  [
    'a runtime without a program',
    raised('Internal error: TurfError: Turf response with non-zero code(-2)\n    at x (/srv/y.js:1:1)'),
    'INITIALIZER_FAILED',
    502,
  ],
  [
    'a start that fails in another way',
    raised('Internal error: Error: connect ENOENT /srv/turf.sock\n    at x (/srv/y.js:1:1)'),
    'INITIALIZER_FAILED',
    502,
  ],
  ['V8 options that V8 does not know', raised('Invalid v8 options: --nope'), 'INITIALIZER_FAILED', 502],
  [
    'a control plane that has no data plane',
    raised('Internal error: Error: No available data plane.\n    at x (/srv/y.js:1:1)'),
    'UNAVAILABLE',
    503,
  ],
  [
    'a control plane that does not know the function any more',
    raised('No function profile %s registered.'),
    'FUNCTION_NOT_FOUND',
    404,
  ],
  ['a worker that went as a call was handed to it', raised('worker has not connected yet'), 'WORKER_EXITED', 502],
  ['a runtime that does not exist', raised('Invalid runtime nodejs-v16'), 'INVALID_RUNTIME', 502],
  ['a handler that throws', trigger(1, 'INTERNAL_ERROR request kind(Trigger), boom sync'), 'FUNCTION_FAILED', 502],
  [
    'a handler that is missing',
    trigger(1, 'INTERNAL_ERROR request kind(Trigger), Handler index.nothere is not a function.'),
    'FUNCTION_FAILED',
    502,
  ],
  [
    'an aworker that does not answer',
    trigger(1, 'INTERNAL_ERROR request kind(Trigger), Event settled without response'),
    'FUNCTION_FAILED',
    502,
  ],
  ['no head by the deadline', trigger(2, 'TIMEOUT request kind(Trigger), Request Timeout'), 'TIMEOUT', 504],
  ['a method no worker has', trigger(3, 'NOT_IMPLEMENTED request kind(Trigger)'), 'FUNCTION_FAILED', 502],
  [
    'a worker that crashed or was replaced',
    trigger(4, 'CONNECTION_RESET request kind(Trigger), Session closed'),
    'WORKER_EXITED',
    502,
  ],
  ['a CLIENT_ERROR', trigger(5, 'CLIENT_ERROR request kind(Trigger)'), 'FUNCTION_FAILED', 502],
  ['a session that the data plane ended', trigger(6, 'CANCELLED Session terminated'), 'UNAVAILABLE', 503],
  ['a worker’s failure of a name not known', { name: 'Other', operation: 'Trigger' }, 'FUNCTION_FAILED', 502],
  ['a worker’s failure without operation', { name: 'NoslatedError', code: 2 }, 'TIMEOUT', 504],
  ['a worker that exits', raised('read ECONNRESET', 0), 'WORKER_EXITED', 502],
  [
    'a worker that dies mid-body',
    { name: 'PEER_CONNECTION_CLOSED', message: 'Peer connection closed' },
    'WORKER_EXITED',
    502,
  ],
  ['a function that breaks off mid-body', raised('peer reset stream'), 'FUNCTION_FAILED', 502],
  ['a call that ends without head', raised('No headers received'), 'FUNCTION_FAILED', 502],
  ['no data plane', raised('No activated data plane.'), 'UNAVAILABLE', 503],
  ['a large request', transport(8, 'Received message larger than max (1 vs. 0)'), 'BODY_TOO_LARGE', 413],
  ['a function’s large write', transport(8, 'Sent message larger than max (1 vs. 0)'), 'FUNCTION_FAILED', 502],
  ['a full session', transport(8, 'Bandwidth exhausted or memory limit exceeded'), 'UNAVAILABLE', 503],
  ['a data plane that was killed', transport(14, 'read ECONNRESET'), 'UNAVAILABLE', 503],
  ['a data plane that was ended', transport(1, 'Call cancelled'), 'UNAVAILABLE', 503],
  [
    'a session that was closed',
    transport(13, 'Received RST_STREAM with code 2 triggered by internal client error: Session closed'),
    'UNAVAILABLE',
    503,
  ],
  ['a call that was cut', transport(4, 'Deadline exceeded'), 'TIMEOUT', 504],
  ['a call that we cancelled', transport(1, 'Cancelled on client'), 'CLIENT_GONE', 499],
  ['a method no plane has', transport(12, 'The server does not implement the method'), 'BAD_RESPONSE', 502],
  ['a gRPC status that nobody has', transport(99, ''), 'BAD_RESPONSE', 502],
  ['an answer that is none', { ...transport(13, 'compressed message'), isBreach: true }, 'BAD_RESPONSE', 502],
  ['a gRPC status without words', transport(14, ''), 'UNAVAILABLE', 503],
  ['a failure not known', raised('something new'), 'INTERNAL', 500],
  ['a failure without any field', {}, 'INTERNAL', 500],
  [
    'fields that are empty',
    { ...raised('Service not found.', 5), operation: '', peerStack: '' },
    'SERVICE_NOT_FOUND',
    404,
  ],
];

const table = suite('fromNoslate');

for (const [title, error, code, status] of CASES) {
  table(`should tell ${title} as ${code}`, () => {
    const made = fromNoslate(error, 'function "x"');
    assert.equal([made.code, made.status], [code, status]);
    assert.match(made.message, 'function "x"');
    assert.is((made.cause as Error).message, error.message ?? '');
  });
}

table('should keep the plane’s words from the client, and the user’s stack for the log', () => {
  const error = { ...trigger(1, 'secret /srv'), stack: 'plane /srv', peerStack: 'user /srv' };
  const made = fromNoslate(error, 'service "y"');
  assert.is(made.message, 'service "y" failed');
  const cause = made.cause as Error;
  assert.equal([cause.name, cause.message, cause.stack], ['NoslatedError', error.message, 'user /srv']);
  const { peerStack: _, ...rest } = error;
  assert.is((fromNoslate(rest, '').cause as Error).stack, 'plane /srv');
  assert.is((fromNoslate(raised('text'), '').cause as Error).stack, 'Error: text');
});

table('should tell an unknown function from all else', () => {
  const unknown = CASES.filter(([, error]) => unknownFunction(error)).map(([title]) => title);
  assert.equal(unknown, ['an unknown function']);
});

table('should tell a call that no worker has seen from one that a function has words for', () => {
  const unsent = CASES.filter(([, error]) => isUnsent(error)).map(([title]) => title);
  assert.equal(unsent, ['a worker that went as a call was handed to it']);
  assert.ok(isUnsent(trigger(4, 'CONNECTION_RESET request kind(Trigger), session not connected')));
  for (const words of ['session not connected', 'worker has not connected yet', 'x\nsession not connected']) {
    assert.not(isUnsent(trigger(1, `INTERNAL_ERROR request kind(Trigger), ${words}`)));
  }
});

table.run();
