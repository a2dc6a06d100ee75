import { existsSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import * as assert from 'uvu/assert';
import type { TriggerResponse } from '../../src/agent.ts';
import { now } from '../../src/clock.ts';
import { type Code, GatewayError } from '../../src/errors.ts';
import { EMPTY_PROFILE } from '../../src/profile.ts';
import { data, Flag, goaway, headers, listen, type Peer, rstStream, settings, Type } from '../h2/peer.ts';
import { eventually, suite, temporary, within } from '../helpers.ts';
import { withPlanes } from '../planes/index.ts';
import { encode, socketFile } from '../planes/protocol.ts';
import {
  type Bench,
  bodyOf,
  codeOf,
  nextOf,
  openBody,
  type PlaneBench,
  profileOf,
  SOON_MS,
  textOf,
  withAgent,
  withPlanesAgent,
} from './bench.ts';

const MIB = 1024 * 1024;
const TELL = 'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end("told"); };';

/** What becomes of a call. */
interface InFlight {
  /** Its code in the end; `OK` also for a body that was given up. */
  readonly outcome: Promise<Code | 'OK'>;
  /** Gives it up. */
  cancel(): void;
}

type Begin = (bench: PlaneBench) => Promise<InFlight>;

const streams = async ({ planes }: PlaneBench): Promise<number> => (await planes.counters('dp-0')).streams;

/** Begins a call that has no head yet; resolves when the plane has it, and so much of its body. */
async function beforeHead(bench: PlaneBench, name: string, body?: Readable, bytes = 0): Promise<InFlight> {
  const controller = new AbortController();
  const before = await streams(bench);
  const outcome = codeOf(bench.invoke(name, { signal: controller.signal }, body), 20_000);
  await eventually(`${name} to be on the plane`, async () => {
    const { calls } = await bench.planes.counters('dp-0');
    return (await streams(bench)) > before && calls[calls.length - 1]?.bytes === bytes;
  });
  const reason = new GatewayError('CLIENT_GONE', 'gone');
  return { outcome, cancel: () => (controller as { abort(reason: unknown): void }).abort(reason) };
}

/** A call whose head is there. */
function afterHead({ body }: TriggerResponse): InFlight {
  const outcome = new Promise<Code | 'OK'>((done, fail) => {
    body.on('end', () => done('OK'));
    body.on('error', error => (error instanceof GatewayError ? done(error.code) : fail(error)));
    // given up
    body.on('close', () => done('OK'));
  });
  return { outcome: within(20_000, outcome, 'the end of a body'), cancel: () => body.destroy() };
}

/** Calls in every state. */
const STATES: Readonly<Record<string, Begin>> = {
  'sent and unanswered': bench => beforeHead(bench, '@hang'),

  'its body half sent': bench => {
    const input = openBody();
    input.push('half');
    return beforeHead(bench, '@sink', input, 4);
  },

  'its head received': async ({ invoke }) => afterHead(await invoke('@echo', {}, openBody())),

  'its response half received': async ({ invoke }) => {
    const input = openBody();
    input.push('half');
    const response = await invoke('@echo', {}, input);
    assert.is(String(await nextOf(response.body)), 'half');
    return afterHead(response);
  },

  'its reader standing still': async ({ invoke }) => {
    const response = await invoke('@source', { url: `/${4 * MIB}` });
    await nextOf(response.body);
    return afterHead(response);
  },
};

/** As an agent without a control plane finds it. */
const ALONE = { controlPlane: false };

const absent = suite('faults: a plane that is absent');

absent('should have calls wait until there is a data plane', async () => {
  await withPlanesAgent({ ...ALONE, late: true, knobs: { lateSocketMs: 3000 } }, async ({ text, planes }) => {
    const socket = socketFile(planes.workdir, 'dp-0');
    let hadSocket = false;
    const call = text('@hello').then(reply => {
      hadSocket = existsSync(socket);
      return reply;
    });
    assert.is(await codeOf(text('@hello', { deadline: now() + 200 })), 'UNAVAILABLE');
    assert.is(await call, 'hello');
    assert.is(hadSocket, true);
  });
});

absent('should have the first calls wait for the profile, too', async () => {
  const profile = profileOf({ f: TELL });
  await withPlanesAgent({ late: true }, async ({ agent, text }) => {
    const set = agent.setProfile(profile);
    assert.is(await text('f'), 'told');
    await within(SOON_MS, set, 'the profile');
  });
});

absent('should forget a waiting call whose client has gone', async () => {
  await withAgent(temporary(), async ({ invoke }) => {
    const controller = new AbortController();
    const reason = new GatewayError('CLIENT_GONE', 'gone');
    const call = codeOf(invoke('@hello', { signal: controller.signal }));
    await new Promise(done => setImmediate(done));
    (controller as { abort(reason: unknown): void }).abort(reason);
    assert.is(await call, 'CLIENT_GONE');
  });
});

absent.run();

const killed = suite('faults: a plane that is killed');

for (const signal of ['SIGKILL', 'SIGTERM'] as const) {
  killed(`should fail every call in flight at once, and serve again when it is back :: ${signal}`, async () => {
    await withPlanesAgent(ALONE, async bench => {
      const { planes, text, output } = bench;
      assert.is(await text('@hello'), 'hello');
      const calls: [string, InFlight][] = [];
      for (const [state, begin] of Object.entries(STATES)) calls.push([state, await begin(bench)]);
      await planes.kill(signal);
      const outcomes = calls.map(async ([state, { outcome }]) => [state, await within(SOON_MS, outcome, state)]);
      assert.equal(
        await Promise.all(outcomes),
        calls.map(([state]) => [state, 'UNAVAILABLE']),
      );
      await eventually('the plane to be missed', async () => output().includes('plane down'));
      const waiting = text('@hello');
      await planes.restart();
      assert.is(await within(2000, waiting, 'the waiting call'), 'hello');
      assert.is(await within(2000, text('@hello'), 'a later call'), 'hello');
    });
  });
}

killed('should be told once more what it knew, and its functions be waited for', async () => {
  const profile = profileOf({ f: TELL });
  await withPlanesAgent({ separate: true }, async ({ agent, text, planes }) => {
    await within(SOON_MS, agent.setProfile(profile), 'the profile');
    assert.is(await text('f'), 'told');
    await planes.setKnobs({ lateProfilesMs: 2000 });
    await planes.restart('dp-0');
    const order: string[] = [];
    const note = <T>(what: string, outcome: Promise<T>): Promise<T> => {
      const push = (): void => void order.push(what);
      outcome.then(push, push);
      return outcome;
    };
    const known = note('known', text('f'));
    const large = note('large', codeOf(text('f', {}, bodyOf(Buffer.alloc(MIB))), 20_000));
    const hasty = note('hasty', codeOf(text('f', { deadline: now() + 500 }), 20_000));
    const unknown = note('unknown', codeOf(text('nobody'), 20_000));
    assert.is(await unknown, 'FUNCTION_NOT_FOUND');
    // more of it is gone than was kept: it cannot be sent again
    assert.is(await large, 'UNAVAILABLE');
    // whoever notices first
    assert.ok(['UNAVAILABLE', 'TIMEOUT'].includes(await hasty));
    assert.is(await known, 'told');
    assert.is(order[order.length - 1], 'known');
  });
});

killed('should not matter to warm functions when it is the control plane', async () => {
  const profile = profileOf({ f: TELL });
  await withPlanesAgent({ separate: true }, async ({ agent, text, planes, output }) => {
    await within(SOON_MS, agent.setProfile(profile), 'the profile');
    assert.is(await text('f'), 'told');
    await planes.kill('SIGKILL', 'cp-0');
    await eventually('it to be missed', async () => output().includes('plane down'));
    assert.is(await text('f'), 'told');
    assert.is(await codeOf(text('nobody')), 'FUNCTION_NOT_FOUND');
    await planes.restart('cp-0');
    await eventually('the profile', async () => (await planes.counters('cp-0')).begun['setFunctionProfile'] === 1);
    assert.is(await text('f'), 'told');
  });
});

killed.run();

const replaced = suite('faults: a plane that is replaced');

replaced('should finish its calls, and the new one get all others', async () => {
  await withPlanesAgent(ALONE, async bench => {
    const { invoke, text, planes } = bench;
    const input = openBody();
    input.push('old');
    const { body } = await invoke('@echo', {}, input);
    assert.is(String(await nextOf(body)), 'old');
    await withPlanes({ ...ALONE, workdir: planes.workdir }, async successor => {
      await eventually('a call to come to the new one', async () => {
        assert.is(await text('@hello'), 'hello');
        return (await successor.counters('dp-0')).calls.length > 0;
      });
      const { begun } = await planes.counters('dp-0');
      for (let i = 0; i < 5; i++) assert.is(await text('@hello'), 'hello');
      assert.equal((await planes.counters('dp-0')).begun, begun);
      input.push(' still');
      assert.is(String(await nextOf(body)), ' still');
      input.push(null);
      assert.is(await textOf(body), '');
      await eventually('the old connection to close', async () => (await planes.counters('dp-0')).sessions === 0);
      await planes.kill();
      assert.is(await text('@hello'), 'hello');
    });
  });
});

replaced('should be told the profile, whatever is still being said to the old one', async () => {
  const folder = temporary();
  const path = join(folder, 'cp-0.sock');
  const old = await listen(path);
  await withAgent(folder, async ({ agent }) => {
    const set = agent.setProfile(EMPTY_PROFILE);
    const first = await old.accept();
    first.send(settings());
    const asked = await first.take(Type.HEADERS);
    // another process has the path, and this one does not answer yet
    const next = await listen(join(folder, 'next'));
    renameSync(join(folder, 'next'), path);
    const second = await next.accept();
    second.send(settings());
    const { streamId } = await second.take(Type.HEADERS);
    first.send(...reply(asked.streamId, Buffer.alloc(0)));
    second.send(...reply(streamId, Buffer.alloc(0)));
    await within(SOON_MS, set, 'the profile');
    next.close();
  });
  old.close();
});

replaced.run();

/** A message with its prefix. */
function message(bytes: Buffer): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([prefix, bytes]);
}

const HEAD = [':status', '200', 'content-type', 'application/grpc'];

/** A whole response of some messages. */
const reply = (streamId: number, ...messages: Buffer[]): Buffer[] => [
  headers(streamId, HEAD),
  ...messages.map(bytes => data(streamId, message(bytes))),
  headers(streamId, ['grpc-status', '0'], Flag.END_STREAM),
];

const invokeResponse = (fields: object): Buffer => encode('noslated.data.InvokeResponse', fields);
const RESULT = invokeResponse({ result: { status: 200 } });
const resultOf = (text: string): Buffer[] => [RESULT, invokeResponse({ result: { body: Buffer.from(text) } })];

interface Scripted extends Bench {
  /** Resolves with the next connection, its settings sent. */
  accept(...pairs: Parameters<typeof settings>): Promise<Peer>;
}

/** Runs a test's body with an agent whose data plane is a script. */
async function withScript(body: (bench: Scripted) => Promise<void>): Promise<void> {
  const folder = temporary();
  const server = await listen(join(folder, 'dp-0.sock'));
  const peers: Peer[] = [];
  const accept: Scripted['accept'] = async (...pairs) => {
    const peer = await server.accept();
    peers.push(peer);
    peer.send(settings(...pairs));
    return peer;
  };
  try {
    await withAgent(folder, bench => body({ ...bench, accept }));
  } finally {
    for (const { socket } of peers) socket.destroy();
    server.close();
  }
}

const resets = (peer: Peer): number[][] =>
  peer.frames
    .filter(({ type }) => type === Type.RST_STREAM)
    .map(({ streamId, payload }) => [streamId, payload.readUInt32BE(0)]);

const scripted = suite('faults: a peer that misbehaves');

scripted('should cost a call no more than its deadline, and later calls nothing, when it falls silent', async () => {
  await withScript(async ({ text, accept }) => {
    const late = codeOf(text('f', { deadline: now() + 300 }));
    const peer = await accept();
    const { streamId } = await peer.take(Type.HEADERS);
    const [head = Buffer.alloc(0)] = reply(streamId);
    peer.send(head.subarray(0, head.length / 2));
    assert.is(await late, 'TIMEOUT');
    const next = text('f');
    const other = await accept();
    const asked = await other.take(Type.HEADERS);
    other.send(...reply(asked.streamId, ...resultOf('other')));
    assert.is(await next, 'other');
    await within(SOON_MS, peer.closed, 'the silent one to be left');
  });
});

scripted('should have what it refused by GOAWAY done elsewhere, and finish the rest', async () => {
  await withScript(async ({ text, accept }) => {
    const calls = ['a', 'b', 'c'].map(name => text(name));
    const peer = await accept();
    for (const streamId of [1, 3, 5]) await peer.take(Type.HEADERS, streamId);
    peer.send(goaway(3, 0));
    const other = await accept();
    const { streamId } = await other.take(Type.HEADERS);
    other.send(...reply(streamId, ...resultOf('again')));
    assert.is(await calls[2], 'again');
    peer.send(...reply(3, ...resultOf('second')), ...reply(1, ...resultOf('first')));
    assert.equal(await Promise.all(calls), ['first', 'second', 'again']);
    await within(SOON_MS, peer.closed, 'the one that goes to be left');
    assert.is(other.frames.filter(({ type }) => type === Type.HEADERS).length, 1);
    assert.equal([...resets(peer), ...resets(other)], []);
  });
});

scripted('should have what it refused done elsewhere, with the same body', async () => {
  await withScript(async ({ text, accept }) => {
    const input = openBody();
    input.push('one ');
    const call = text('f', {}, input);
    const peer = await accept();
    const sent = await peer.take(Type.DATA, 1);
    input.push('two');
    const more = await peer.take(Type.DATA, 1);
    // ENHANCE_YOUR_CALM: the session is out of memory
    peer.send(rstStream(1, 11));
    const other = await accept();
    const again = await other.take(Type.DATA, 1);
    const bytes = Buffer.concat([sent.payload, more.payload]);
    assert.ok(bytes.includes('one ') && bytes.includes('two'));
    // the first message has all of it now
    assert.ok(again.payload.includes('one two'));
    input.push(null);
    assert.is((await other.take(Type.DATA, 1)).flags, Flag.END_STREAM);
    other.send(...reply(1, ...resultOf('answer')));
    assert.is(await call, 'answer');
  });
});

scripted('should fail a call that is refused again and again', async () => {
  await withScript(async ({ text, accept }) => {
    const call = codeOf(text('f'));
    const peer = await accept();
    for (const streamId of [1, 3, 5, 7]) {
      await peer.take(Type.HEADERS, streamId);
      peer.send(rstStream(streamId, 7));
    }
    assert.is(await call, 'UNAVAILABLE');
  });
});

scripted('should get no new call where others stand still, once there is another connection', async () => {
  await withScript(async ({ invoke, text, accept }) => {
    const heads = [invoke('a'), invoke('b')];
    const peer = await accept();
    const body = message(invokeResponse({ result: { body: Buffer.alloc(300_000) } })).subarray(0, 262_000);
    for (const id of [1, 3]) {
      await peer.take(Type.HEADERS, id);
      peer.send(headers(id, HEAD), data(id, message(RESULT)));
      for (let at = 0; at < body.length; at += 16_384) peer.send(data(id, body.subarray(at, at + 16_384)));
    }
    await peer.settle();
    const first = text('c');
    await peer.take(Type.HEADERS, 5);
    const other = await accept();
    await other.settle();
    const next = text('d');
    await other.take(Type.HEADERS, 1);
    peer.send(...reply(5, ...resultOf('first')));
    other.send(...reply(1, ...resultOf('next')));
    assert.equal([await first, await next], ['first', 'next']);
    for (const { body: stalled } of await Promise.all(heads)) stalled.destroy();
  });
});

scripted('should be at fault itself for an answer that is none', async () => {
  const end = (id: number, ...fields: string[]): Buffer => headers(id, fields, Flag.END_STREAM);
  const announced = (length: number): Buffer => Buffer.from([0, length >>> 24, length >>> 16, length >>> 8, length]);
  const http =
    (...fields: string[]) =>
    (id: number) => [headers(id, fields), data(id, 'hello', Flag.END_STREAM)];
  const grpc =
    (...bytes: Buffer[]) =>
    (id: number) => [headers(id, HEAD), data(id, Buffer.concat(bytes))];
  const status =
    (value: string, words = '') =>
    (id: number) => [end(id, ...HEAD, 'grpc-status', value, 'grpc-message', words)];
  const long = { key: 'k', value: 'v'.repeat(9 * MIB) };
  const answers: readonly (readonly [string, Code, (id: number) => Buffer[]])[] = [
    ['message of 4 GiB', 'BAD_RESPONSE', grpc(announced(0xffffffff))],
    ['message above 10 MiB', 'BAD_RESPONSE', grpc(announced(10 * MIB + 1))],
    ['compressed message', 'BAD_RESPONSE', grpc(Buffer.of(1, 0, 0, 0, 0))],
    ['empty message', 'BAD_RESPONSE', grpc(announced(0))],
    ['many empty messages', 'BAD_RESPONSE', grpc(...Array<Buffer>(3000).fill(announced(0)))],
    ['junk', 'BAD_RESPONSE', grpc(message(Buffer.from('0a05', 'hex')))],
    ['grpc-status abc', 'BAD_RESPONSE', status('abc')],
    ['grpc-status 99', 'BAD_RESPONSE', status('99')],
    ['grpc-status -1', 'BAD_RESPONSE', status('-1')],
    ['grpc-status of a method that it lacks', 'BAD_RESPONSE', status('12', 'no such method')],
    ['HTTP 302', 'BAD_RESPONSE', http(':status', '302', 'location', '/')],
    ['HTTP 503', 'UNAVAILABLE', http(':status', '503')],
    ['text', 'BAD_RESPONSE', http(':status', '200', 'content-type', 'text/plain')],
    ['two lengths', 'BAD_RESPONSE', http(...HEAD, 'content-length', '5', 'content-length', '6')],
    ['another length', 'BAD_RESPONSE', http(...HEAD, 'content-length', '6')],
    ['header list above 64 KiB', 'BAD_RESPONSE', id => [headers(id, [...HEAD, ...Array<string>(4000).fill('a')])]],
    [
      'function’s head of 9 MiB',
      'BAD_RESPONSE',
      grpc(message(invokeResponse({ result: { headers: [long] } })).subarray(0, 16_000)),
    ],
    // what the client, or the function, has made too large
    ['request too large', 'BODY_TOO_LARGE', status('8', 'Received message larger than max (11534336 vs. 10485760)')],
    ['write too large', 'FUNCTION_FAILED', status('8', 'Sent message larger than max (11534336 vs. 10485760)')],
  ];
  await withScript(async ({ text, accept }) => {
    let peer: Peer | undefined;
    for (const [what, code, answer] of answers) {
      const call = codeOf(text('f'));
      peer ??= await accept();
      const { streamId } = await peer.take(Type.HEADERS);
      peer.send(...answer(streamId));
      assert.is(await call, code, what);
    }
    // it is still the same connection
    const call = text('f');
    const { streamId } = await (peer as Peer).take(Type.HEADERS);
    peer?.send(...reply(streamId, ...resultOf('well')));
    assert.is(await call, 'well');
  });
  for (const code of ['BAD_RESPONSE', 'FUNCTION_FAILED'] as const) assert.is(new GatewayError(code, '').status, 502);
});

scripted('should get one stream at a time when it takes no more', async () => {
  await withScript(async ({ text, accept }) => {
    let most = 0;
    let answered = 0;
    const MAX_CONCURRENT_STREAMS = 3;
    const serve = async (peer: Peer): Promise<void> => {
      for (;;) {
        const { streamId } = await peer.take(Type.HEADERS);
        await peer.settle();
        const begun = peer.frames.filter(({ type }) => type === Type.HEADERS).length;
        most = Math.max(most, begun - (streamId - 1) / 2);
        answered++;
        peer.send(...reply(streamId, ...resultOf('one')));
      }
    };
    const calls = Array.from({ length: 60 }, () => text('f'));
    const accepting = (async () => {
      for (;;) serve(await accept([MAX_CONCURRENT_STREAMS, 1])).catch(() => {});
    })();
    accepting.catch(() => {});
    assert.equal(await Promise.all(calls), Array(60).fill('one'));
    assert.is(answered, 60);
    assert.is(most, 1);
  });
});

scripted('should be sent one CANCEL for a call given up, and none for one that is over', async () => {
  await withScript(async ({ invoke, text, accept }) => {
    const controllers = [new AbortController(), new AbortController()];
    const abort = (i: number): void => {
      (controllers[i] as { abort(reason?: unknown): void }).abort(new GatewayError('CLIENT_GONE', 'gone'));
    };
    const input = openBody();
    input.push('half');
    const unanswered = codeOf(invoke('f', { signal: controllers[0]?.signal as AbortSignal }));
    const uploading = codeOf(invoke('f', { signal: controllers[1]?.signal as AbortSignal }, input));
    const heads = [invoke('f'), invoke('f', {}, openBody())];
    const failed = codeOf(text('f'));
    const whole = text('f');
    const peer = await accept();
    for (const id of [1, 3, 5, 7, 9, 11]) await peer.take(Type.HEADERS, id);
    for (const id of [5, 7]) peer.send(headers(id, HEAD), ...[RESULT].map(bytes => data(id, message(bytes))));
    peer.send(data(7, message(resultOf('part')[1] as Buffer)));
    // after an error before the head a plane ends nothing itself
    peer.send(
      headers(9, HEAD),
      data(9, message(invokeResponse({ error: { message: 'rate limit exceeded', code: 8 } }))),
    );
    peer.send(...reply(11, ...resultOf('whole')));
    const [first, second] = await Promise.all(heads);
    assert.is(await failed, 'RATE_LIMITED');
    assert.is(await whole, 'whole');
    assert.is(String(await nextOf((second as TriggerResponse).body)), 'part');
    for (const [i, call] of [unanswered, uploading].entries()) {
      abort(i);
      assert.is(await call, 'CLIENT_GONE');
      abort(i);
    }
    for (const response of [first, second, first, second]) response?.body.destroy();
    input.push('more');
    await new Promise(done => setImmediate(done));
    await peer.settle();
    assert.equal(
      resets(peer).sort(([a = 0], [b = 0]) => a - b),
      [1, 3, 5, 7, 9].map(id => [id, 8]),
    );
  });
});

scripted.run();

const exhausted = suite('faults: a session without memory');

exhausted('should hold up neither new calls nor those that go on beside it', async () => {
  await withPlanesAgent(ALONE, async bench => {
    const { invoke, text, planes } = bench;
    const input = openBody();
    input.push('0');
    const { body } = await invoke('@echo', {}, input);
    assert.is(String(await nextOf(body)), '0');
    // all at once, so that they share its connection
    const url = `/${2 * MIB}/${MIB}`;
    const stalled = await Promise.all(Array.from({ length: 14 }, () => invoke('@source', { url })));
    assert.is((await planes.counters('dp-0')).sessions, 1);
    for (let i = 0; i < 40; i++) {
      assert.is(await text('@hello'), 'hello');
      input.push(`${i}`);
      assert.is(String(await nextOf(body)), `${i}`);
    }
    assert.ok((await planes.counters('dp-0')).sessions > 1);
    for (const { body: late } of stalled) assert.is((await textOf(late)).length, 2 * MIB);
    input.push(null);
    assert.is(await textOf(body), '');
    await eventually('all calls to end', async () => (await streams(bench)) === 0);
    assert.is((await planes.counters('dp-0')).cancelled, 0);
  });
});

exhausted('should not hold up calls made at the very moment when it is', async () => {
  await withPlanesAgent(ALONE, async ({ invoke, text }) => {
    const url = `/${2 * MIB}/${MIB}`;
    const stalled = await Promise.all(Array.from({ length: 14 }, () => invoke('@source', { url })));
    // most of them on the one connection that there is
    const calls = Array.from({ length: 40 }, () => text('@hello'));
    assert.equal(await Promise.all(calls), Array(40).fill('hello'));
    for (const { body } of stalled) body.destroy();
  });
});

exhausted.run();

const many = suite('faults: many calls');

setFlagsFromString('--expose-gc');
const gc: () => void = runInNewContext('gc');

function heap(): number {
  gc();
  return process.memoryUsage().heapUsed;
}

/** Runs `count` times, some at a time. */
async function repeat(count: number, concurrency: number, work: () => Promise<void>): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left-- > 0) await work();
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}

many('should each be cancelled on the plane, whatever their state', async () => {
  await withPlanesAgent(ALONE, async bench => {
    const { planes, text } = bench;
    for (const [state, begin] of Object.entries(STATES)) {
      const { cancel } = await begin(bench);
      cancel();
      await eventually(`${state}: the call to end`, async () => (await streams(bench)) === 0);
      const { calls } = await planes.counters('dp-0');
      assert.equal([state, calls[calls.length - 1]?.resetCode], [state, 8]);
    }
    assert.is(await text('@hello'), 'hello');
    const { cancelled, calls } = await planes.counters('dp-0');
    assert.is(cancelled, Object.keys(STATES).length);
    assert.is(calls[calls.length - 1]?.resetCode, undefined);
  });
});

many.run();

const { node } = process.versions;
const failures = suite('faults: many resets', {
  skip: Number(node.split('.')[0]) < 20 ? `a plane on Node.js ${node} takes any number of them` : undefined,
});

failures('should leave no stream and no memory behind when 10 000 of them fail', async () => {
  await withPlanesAgent(ALONE, async bench => {
    const { invoke } = bench;
    const fail = async (): Promise<void> => assert.is(await codeOf(invoke('@error')), 'FUNCTION_FAILED');
    await repeat(2000, 50, fail);
    const before = heap();
    await repeat(8000, 50, fail);
    await eventually('all calls to end', async () => (await streams(bench)) === 0);
    const grown = heap() - before;
    assert.ok(grown < 4 * MIB, `grew by ${grown} bytes`);
    assert.ok((await bench.planes.counters('dp-0')).sessions <= 2);
    // a connection after so many resets makes room for another one
    assert.not.match(bench.output(), 'plane down');
  });
});

failures('should need no reset, and one connection, when 5 000 of them succeed one after the other', async () => {
  await withPlanesAgent(ALONE, async bench => {
    await repeat(5000, 1, async () => assert.is(await bench.text('@hello'), 'hello'));
    const { cancelled, sessions, begun } = await bench.planes.counters('dp-0');
    assert.equal([cancelled, sessions, begun['invoke']], [0, 1, 5000]);
  });
});

failures.run();
