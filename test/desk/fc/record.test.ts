import { PassThrough } from 'node:stream';
import * as assert from 'uvu/assert';
import { type Happenings, is, type LifeEvent } from '../../../src/desk/fc/life.ts';
import { createPlatform, type Platform } from '../../../src/desk/fc/platform.ts';
import { type CallRecord, createRecord, masked } from '../../../src/desk/fc/record.ts';
import { ask, suite, temporary, within, write } from '../../helpers.ts';
import { event, eventsOf, get, happens, order, standIn, whole, withFc } from './stand-in.ts';

const record = suite('record of a call');

const head = { method: 'GET', path: '/', headers: [['Authorization', 'secret']] } as const;

record('should count all of a body, and keep its beginning', () => {
  const { requestBody, responseBody } = createRecord(head, 5);
  for (const part of ['abc', 'def', 'ghi']) requestBody.add(Buffer.from(part));
  assert.equal([requestBody.bytes, requestBody.first.toString()], [9, 'abcde']);
  // looked at while it grows
  responseBody.add(Buffer.from('ab'));
  assert.is(responseBody.first.toString(), 'ab');
  responseBody.add(Buffer.from('cdef'));
  assert.equal([responseBody.bytes, responseBody.first.toString()], [6, 'abcde']);
});

record('should keep no more memory than it shows', () => {
  const { requestBody } = createRecord(head, 5);
  requestBody.add(Buffer.alloc(1_000_000));
  assert.is(requestBody.first.buffer.byteLength < 100_000, true);
});

record('should forget an attempt with the next', () => {
  const one = createRecord(head, 5);
  one.request = head;
  one.response = { status: 500, headers: [] };
  one.requestBody.add(Buffer.from('abc'));
  one.restart();
  assert.equal([one.request, one.response, one.requestBody.bytes], [undefined, undefined, 0]);
  assert.equal(one.sent, head);
});

record('should not be in any JSON, and be shown without secrets', () => {
  assert.is(JSON.stringify({ record: createRecord(head, 5) }), '{}');
  assert.equal(
    masked([
      ['authorization', 'Bearer x'],
      ['Cookie', 'a=b'],
      ['X-Fc-Security-Token', 'CAIS'],
      ['x-fc-access-key-id', ''],
      ['X-Own', 'shown'],
    ]),
    [
      ['authorization', '***'],
      ['Cookie', '***'],
      ['X-Fc-Security-Token', '***'],
      ['x-fc-access-key-id', ''],
      ['X-Own', 'shown'],
    ],
  );
});

record.run();

const told = suite('what is told of a call');

/** The only event of a kind that there is for a call. */
function only<K extends keyof Happenings>(fc: Platform, kind: K, requestId: string): Happenings[K] & LifeEvent {
  const found = fc.life.events.filter(item => is(item, kind) && item.requestId === requestId);
  assert.is(found.length, 1, kind);
  return found[0] as Happenings[K] & LifeEvent;
}

told('should say when it came, got an instance, was answered and ended, in sums that come out', async () => {
  await withFc({ conduct: { listenAfterMs: 100 } }, async fc => {
    const cold = (await whole(get(fc, { body: 'cold' }))).answer;
    await happens(fc, 'frozen');
    const [first, ready] = [only(fc, 'request', cold.requestId), eventsOf(fc, 'ready')[0]];
    assert.equal([first.isCold, first.wasFrozen, first.kind, first.path], [true, false, 'http', '/']);
    assert.ok(first.at >= Number(ready?.at), 'it waited for the whole start');
    const warm = (await whole(get(fc, { body: 'warm' }))).answer;
    const second = only(fc, 'request', warm.requestId);
    assert.equal([second.isCold, second.wasFrozen], [false, true]);
    for (const { requestId } of [cold, warm]) {
      await happens(fc, 'answer', item => item.requestId === requestId);
      const call = only(fc, 'call', requestId);
      const request = only(fc, 'request', requestId);
      const begun = only(fc, 'head', requestId);
      const answer = only(fc, 'answer', requestId);
      const { ms = 0, totalMs = 0, billedMs = 0, memory = 0 } = answer;
      const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 0.05, `${a} and ${b}`);
      near(request.at - call.at, request.queuedMs);
      near(begun.at - call.at, begun.firstByteMs);
      near(answer.at - call.at, totalMs);
      near(request.queuedMs + ms, totalMs);
      assert.ok(request.queuedMs <= begun.firstByteMs && begun.firstByteMs <= totalMs);
      assert.is(billedMs, Math.ceil(ms));
      assert.equal([begun.status, answer.status, answer.instance], [200, 200, request.instance]);
      assert.equal([answer.bytesIn, answer.bytesOut], [0, 4]);
      assert.ok(process.platform !== 'linux' || memory > 1, `${memory} MB`);
    }
  });
});

/** Bytes of each body. */
const KEPT = 1000;

/** Runs a test's body with a platform that keeps bodies, and the record of each of its calls. */
async function withRecords(body: (fc: Platform, records: CallRecord[]) => Promise<void>): Promise<void> {
  const shape = standIn();
  const { command, environment } = shape.settings;
  const fc = createPlatform({ command, environment, instanceConcurrency: 5 }, shape.life, KEPT);
  const records: CallRecord[] = [];
  fc.life.on(item => {
    if (is(item, 'call')) records.push(item.record);
  });
  try {
    await body(fc, records);
  } finally {
    await within(20_000, fc.stop(), 'the platform to stop');
  }
}

told('should have both heads and the beginnings of both bodies', async () => {
  await withRecords(async (fc, records) => {
    const body = new PassThrough();
    body.end(Buffer.alloc(5000, 'a'));
    const headers = [
      ...order({ body: 'small', headers: ['X-Fc-Own', '1', 'X-Own', '2'] }),
      ['X-Fc-Request-Id', 'forged'],
    ] as const;
    const { requestId } = (await whole(fc.http({ method: 'POST', path: '/a?b', headers, body }))).answer;
    const [one] = records;
    assert.equal([one?.sent.method, one?.sent.path, one?.sent.headers], ['POST', '/a?b', headers]);
    const has = (pairs: readonly (readonly [string, string])[] | undefined, name: string): string | undefined =>
      pairs?.find(([key]) => key.toLowerCase() === name)?.[1];
    assert.equal([one?.request?.path, has(one?.request?.headers, 'x-fc-request-id')], ['/a?b', requestId]);
    assert.equal([one?.response?.status, has(one?.response?.headers, 'x-fc-own')], [200, '1']);
    assert.equal([one?.answer?.status, has(one?.answer?.headers, 'x-fc-own')], [200, undefined]);
    assert.equal([one?.requestBody.bytes, one?.requestBody.first.length], [5000, KEPT]);
    assert.equal([one?.responseBody.bytes, one?.responseBody.first.toString()], [5, 'small']);

    const payload = { body: 'b'.repeat(3000) };
    await whole(event(fc, payload));
    const [, invoked] = records;
    assert.is(invoked?.requestBody.first.toString(), JSON.stringify(payload).slice(0, KEPT));
    assert.equal([invoked?.request?.path, invoked?.response?.status], ['/invoke', 200]);
    assert.equal([invoked?.responseBody.bytes, invoked?.responseBody.first.toString()], [3000, 'b'.repeat(KEPT)]);
  });
});

told('should tell of a refusal what it was, and that no instance had it', async () => {
  await withRecords(async (fc, records) => {
    const { requestId } = (await whole(fc.http({ method: 'TRACE', path: '/' }))).answer;
    const { status, errorType, totalMs, instance } = only(fc, 'answer', requestId);
    assert.equal([status, errorType, instance], [405, 'MethodNotAllowed', undefined]);
    assert.type(totalMs, 'number');
    assert.equal([records[0]?.request, records[0]?.answer?.status], [undefined, 405]);
    assert.is(eventsOf(fc, 'request').length, 0);
  });
});

told('should tell each attempt of an asynchronous call, whose record has the last', async () => {
  await withRecords(async (fc, records) => {
    const { requestId } = (await whole(event(fc, { exitOnce: 1, body: 'done' }, { invocationType: 'Async' }))).answer;
    await happens(fc, 'answer', ({ errorType, status }) => status === 200 && errorType === undefined);
    const of = <K extends keyof Happenings>(kind: K) =>
      fc.life.events.flatMap(item => (is(item, kind) && item.requestId === requestId ? [item] : []));
    assert.equal(
      of('request').map(({ retryCount }) => retryCount),
      [0, 1],
    );
    assert.equal(
      of('call').map(({ isAsync }) => isAsync),
      [true],
    );
    assert.equal([records[0]?.answer?.status, records[0]?.responseBody.first.toString()], [202, 'done']);
  });
});

told('should say which call a line belongs to', async () => {
  const file = `${temporary()}/server.js`;
  const source = `
    const waiting = [];
    console.log('before any');
    require('node:http').createServer((req, res) => {
      console.log('of ' + req.url);
      if (req.url === '/named') console.log('named ' + req.headers['x-fc-request-id']);
      if (req.url === '/hold') return void waiting.push(res);
      for (const one of waiting.splice(0)) one.end();
      res.end(() => req.url === '/late' && setTimeout(() => console.log('late'), 50));
    }).listen(process.env.FC_CUSTOM_LISTEN_PORT);`;
  write(file, source);
  await withFc({ command: [process.execPath, file], instanceConcurrency: 3, freeze: false }, async fc => {
    const call = async (path: string): Promise<string> => {
      const answer = await fc.http({ method: 'GET', path });
      answer.body.resume();
      return answer.requestId;
    };
    const line = (text: string): Promise<LifeEvent> =>
      happens(fc, 'log', item => String(item['line']).startsWith(text));
    const late = await call('/late');
    assert.is((await line('of /late')).requestId, late);
    assert.is((await line('late')).requestId, late, 'the last one in flight');
    assert.is((await line('before any')).requestId, undefined);
    const held = call('/hold');
    await line('of /hold');
    const named = await call('/named');
    assert.is((await line('named')).requestId, named);
    assert.is((await line('of /named')).requestId, undefined, 'of two it may be either');
    await within(5000, held, 'the held call');
  });
});

told('should tell a WebSocket’s bytes, without the handshake', async () => {
  const { openEndpoint } = await import('../../../src/desk/fc/endpoint.ts');
  const { raw } = await import('../../helpers.ts');
  const { withPlatform } = await import('./server.ts');
  await withPlatform({}, {}, async fc => {
    const endpoint = await openEndpoint(fc, '127.0.0.1', 0);
    try {
      const client = await raw(
        endpoint.port,
        'GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n',
      );
      await client.until('\r\n\r\n');
      client.socket.write('12345');
      await client.until('12345');
      client.socket.destroy();
      const end = await happens(fc, 'answer');
      assert.ok(is(end, 'answer'));
      assert.equal([end.kind, end.status, end.bytesIn, end.bytesOut], ['websocket', 101, 5, 5]);
      assert.equal([only(fc, 'head', end.requestId).status, only(fc, 'call', end.requestId).path], [101, '/chat']);
    } finally {
      endpoint.close();
    }
  });
});

told('should tell of each request to an endpoint, refused there or not', async () => {
  const { openEndpoint } = await import('../../../src/desk/fc/endpoint.ts');
  await withFc({}, async fc => {
    const endpoint = await openEndpoint(fc, '127.0.0.1', 0);
    try {
      const reply = await ask(endpoint.port, { path: '/2023-03-30/functions/other/invocations', body: '' });
      assert.is(reply.status, 404);
      const requestId = String(reply.headers['x-fc-request-id']);
      assert.is(only(fc, 'call', requestId).path, '/2023-03-30/functions/other/invocations');
      assert.is(only(fc, 'answer', requestId).status, 404);
    } finally {
      endpoint.close();
    }
  });
});

told.run();
