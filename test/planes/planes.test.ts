import { type ClientHttp2Stream, connect, constants } from 'node:http2';
import { createConnection } from 'node:net';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceDefinition,
  type ServiceError,
  type StatusObject,
} from '@grpc/grpc-js';
import * as assert from 'uvu/assert';
import { eventually, type Functions, project, suite, within } from '../helpers.ts';
import { type Planes, type PlanesOptions, withPlanes } from './index.ts';
import type {
  Empty,
  FunctionProfileMessage,
  GetFunctionProfileResponse,
  HostRequest,
  InvokeRequest,
  InvokeResponse,
  PlaneHealthyResponse,
  ServiceProfilesAccessor,
  SetResponse,
  SubscriptionChunk,
  WorkerStatsSnapshotResponse,
  WorkerTrafficStatsResponse,
} from './messages.ts';
import {
  CONTROL_PLANE,
  DATA_PLANE,
  encode,
  HOST,
  MAX_MESSAGE_BYTES,
  method,
  PUSH_SERVER,
  socketFile,
} from './protocol.ts';

const MIB = 1024 * 1024;
const TIMEOUT = 20_000;

/** An invoke as its client sees it. */
interface Seen {
  readonly call: ClientDuplexStream<InvokeRequest, InvokeResponse>;
  readonly messages: InvokeResponse[];
  /** How it ended, if it has. */
  readonly status: StatusObject | undefined;
  /** The bodies in one. */
  body(): Buffer;
  /** Resolves with the n-th message. */
  message(n: number): Promise<InvokeResponse>;
  /** Resolves with how it ended. */
  end(): Promise<StatusObject>;
}

interface Peer {
  planes: Planes;
  /** Begins an invoke; without a head nothing is sent. */
  invoke(head?: InvokeRequest, options?: { method?: string; timeout?: number }): Seen;
  /** Sends one message and END_STREAM, and waits for the end. */
  run(head: InvokeRequest): Promise<Seen>;
  /** Sends one message and END_STREAM, waits for the first message and cancels. */
  first(head: InvokeRequest): Promise<InvokeResponse>;
  unary<Response>(service: ServiceDefinition, name: string, request?: object): Promise<Response>;
  profile(name: string, fields?: FunctionProfileMessage): FunctionProfileMessage;
  setProfiles(...profiles: FunctionProfileMessage[]): Promise<SetResponse>;
}

async function withPeer(
  { functions = {}, ...options }: PlanesOptions & { functions?: Functions },
  body: (peer: Peer) => Promise<void>,
): Promise<void> {
  const folder = project(functions);
  await withPlanes(options, async planes => {
    const clients = ['dp-0', 'cp-0'].map(
      plane =>
        new Client(`unix:${socketFile(planes.workdir, plane)}`, credentials.createInsecure(), {
          'grpc.initial_reconnect_backoff_ms': 50,
          'grpc.max_reconnect_backoff_ms': 100,
          'grpc.max_receive_message_length': -1,
          'grpc.max_send_message_length': -1,
          // connections of its own
          'grpc.use_local_subchannel_pool': 1,
        }),
    );
    const [dataPlane, controlPlane] = clients as [Client, Client];
    const invoke: Peer['invoke'] = (head, how) => observe(dataPlane, head, how);
    const peer: Peer = {
      planes,
      invoke,
      async run(head) {
        const seen = invoke(head);
        seen.call.end();
        await seen.end();
        return seen;
      },
      async first(head) {
        const seen = invoke(head);
        seen.call.end();
        const message = await seen.message(0);
        seen.call.cancel();
        return message;
      },
      unary: (service, name, request = {}) =>
        unary(service === CONTROL_PLANE ? controlPlane : dataPlane, service, name, request),
      profile: (name, fields) => ({
        name,
        runtime: 'nodejs',
        url: pathToFileURL(join(folder, name)).href,
        signature: '1',
        handler: 'index.handler',
        ...fields,
      }),
      setProfiles: (...profiles) => peer.unary(CONTROL_PLANE, 'setFunctionProfile', { profiles, mode: 'IMMEDIATELY' }),
    };
    try {
      await body(peer);
    } finally {
      for (const client of clients) client.close();
    }
  });
}

function observe(
  client: Client,
  head: InvokeRequest | undefined,
  { method: name = 'invoke', timeout }: { method?: string; timeout?: number } = {},
): Seen {
  const { path, requestSerialize, responseDeserialize } = method<InvokeRequest, InvokeResponse>(PUSH_SERVER, name);
  const call = client.makeBidiStreamRequest(
    path,
    requestSerialize,
    responseDeserialize,
    timeout === undefined ? {} : { deadline: Date.now() + timeout },
  );
  const messages: InvokeResponse[] = [];
  let status: StatusObject | undefined;
  call.on('data', (message: InvokeResponse) => messages.push(message));
  call.on('status', (value: StatusObject) => {
    status = value;
  });
  call.on('error', () => {});
  if (head !== undefined) call.write(head);
  return {
    call,
    messages,
    get status() {
      return status;
    },
    body: () => Buffer.concat(messages.map(({ result }) => result?.body ?? Buffer.alloc(0))),
    async message(n) {
      await until(call, 'data', `message ${n} for ${head?.name}`, () => messages.length > n);
      return messages[n] as InvokeResponse;
    },
    async end() {
      await until(call, 'status', `the end of ${head?.name}`, () => status !== undefined);
      return status as StatusObject;
    },
  };
}

/** Resolves when the test passes, now or after one of the events. */
function until(
  call: ClientDuplexStream<InvokeRequest, InvokeResponse>,
  event: string,
  what: string,
  test: () => boolean,
): Promise<void> {
  return within(
    TIMEOUT,
    new Promise(done => {
      const check = (): void => {
        if (!test()) return;
        call.off(event, check);
        done();
      };
      call.on(event, check);
      check();
    }),
    what,
  );
}

function unary<Response>(client: Client, service: ServiceDefinition, name: string, request: object): Promise<Response> {
  const { path, requestSerialize, responseDeserialize } = method<object, object>(service, name);
  return within(
    TIMEOUT,
    new Promise((done, fail) => {
      client.makeUnaryRequest(
        path,
        requestSerialize,
        responseDeserialize,
        request,
        new Metadata({ waitForReady: true }),
        (error, response) => (error === null ? done(response as unknown as Response) : fail(error)),
      );
    }),
    name,
  );
}

const SERVICES = [
  { name: 'plain', type: 'default', selector: [{ key: 'functionName', value: 'hello' }] },
  {
    name: 'split',
    type: 'proportional-load-balance',
    selectors: [{ selector: [{ key: 'functionName', value: 'hello' }], proportion: 1 }],
  },
];

const HELLO = 'exports.handler = async (ctx, req, res) => { res.end("hello"); };';

const NOT_FOUND = (name: string) => `No function named ${name} registered in this node.`;

const wire = suite('messages of the test planes');

wire('should be encoded as the golden vectors say, explicit zeros included', () => {
  const invoke = method<InvokeRequest, InvokeResponse>(PUSH_SERVER, 'invoke');
  const connect = method<HostRequest, SubscriptionChunk>(HOST, 'connect');
  const set = method<object, SetResponse>(CONTROL_PLANE, 'setFunctionProfile');
  const request = (message: InvokeRequest) => invoke.requestSerialize(message).toString('hex');
  const response = (message: InvokeResponse) => invoke.responseSerialize(message).toString('hex');

  const headers = [{ key: 'k', value: 'v' }];
  const head = { name: 'hello', url: '/a', method: 'POST', headers, deadline: 1700000000000, requestId: 'r1' };
  assert.is(
    request({ ...head, body: Buffer.from('hi') }),
    '0a0568656c6c6f12022f611a04504f535422060a016b1201763100008056febc78423a02686942027231',
  );
  assert.is(request({ body: Buffer.from('hi') }), '3a026869');
  assert.is(response({ result: { status: 200, headers } }), '120b08c80112060a016b120176');
  assert.is(response({ result: { body: Buffer.from('hi') } }), '12041a026869');
  assert.is(response({ error: { name: 'Error', message: 'x', code: 5 } }), '0a0c0a054572726f721201783805');

  const typeUrl = 'noslated.LivenessProbeEventData';
  const data = { typeUrl, data: encode(typeUrl, { timestamp: 1 }) };
  assert.is(
    connect.responseSerialize({ timestamp: 1, events: [{ name: 'host.liveness', data }] }).toString('hex'),
    '080112360a0d686f73742e6c6976656e65737312250a1f6e6f736c617465642e4c6976656e65737350726f62654576656e744461746112020801',
  );
  assert.is(
    connect
      .requestSerialize({ type: 1, subscription: { eventName: 'requestQueueing', subscribe: true } })
      .toString('hex'),
    '08015a130a0f726571756573745175657565696e671001',
  );
  const alive = { component_liveness: { key: 'a' } };
  assert.is(encode('noslated.LivenessProbeEventData', alive).toString('hex'), '12030a0161');
  const profile: FunctionProfileMessage = {
    name: 'f',
    runtime: 'nodejs',
    url: 'file:///x',
    signature: 's',
    handler: 'a.b',
    resourceLimit: { memory: 128 * MIB, cpu: 0.5 },
    worker: { reservationCount: 1, shrinkCooldownOnStartup: false },
  };
  assert.is(
    set.requestSerialize({ profiles: [profile], mode: 'IMMEDIATELY' }).toString('hex'),
    '0a310a016612066e6f64656a731a0966696c653a2f2f2f782201732a03612e62420a0880808040150000003f4a051801b80100120b494d4d4544494154454c59',
  );
});

wire('should be decoded with nothing in place of what is absent', () => {
  const { requestDeserialize } = method<InvokeRequest, InvokeResponse>(PUSH_SERVER, 'invoke');
  assert.equal(Object.keys(requestDeserialize(Buffer.from('3a026869', 'hex'))), ['body']);
});

wire.run();

const invoking = suite('data plane');

invoking('should answer a function head first, then chunk by chunk, and take its body alike', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    res.writeHead(201, ['X-One', req.method + req.url, 'x-rid', req.headers.A + req.baggage.b]);
    for await (const chunk of req) res.write(chunk);
    res.end();
  };`;
  await withPeer({ functions: { echo: source } }, async ({ setProfiles, profile, invoke }) => {
    assert.equal(await setProfiles(profile('echo')), { set: true });
    const { call, messages, message, end } = invoke({
      name: 'echo',
      url: '/x',
      headers: [{ key: 'A', value: 'a' }],
      baggage: [{ key: 'b', value: 'b' }],
      body: Buffer.from('one'),
    });
    // GET by default; dispatched on the first message
    assert.equal(await message(0), {
      result: {
        status: 201,
        headers: [
          { key: 'X-One', value: 'GET/x' },
          { key: 'x-rid', value: 'ab' },
        ],
      },
    });
    assert.equal(await message(1), { result: { body: Buffer.from('one') } });
    call.write({ body: Buffer.from('two') });
    assert.equal(await message(2), { result: { body: Buffer.from('two') } });
    call.end();
    assert.is((await end()).code, 0);
    assert.is(messages.length, 3);
  });
});

invoking('should give a deadline of its own, and an id, to a request without', async () => {
  const source = 'exports.handler = async () => { await new Promise(() => {}); };';
  await withPeer({ functions: { hangs: source } }, async ({ setProfiles, profile, invoke, first }) => {
    await setProfiles(profile('hangs', { worker: { maxActivateRequests: 1, replicaCountLimit: 1 } }));
    const holding = invoke({ name: 'hangs', deadline: Date.now() + TIMEOUT });
    assert.is((await first({ name: 'hangs', deadline: Date.now() - 1 })).error?.code, 4);
    const before = Date.now();
    const [, at, id] = /at (\d+), request\((.*)\)/.exec((await first({ name: 'hangs' })).error?.message ?? '') ?? [];
    assert.is(id, 'unknown');
    assert.ok(Number(at) >= before + 10_000 && Number(at) < before + 15_000, `${at} for ${before}`);
    holding.call.cancel();
  });
});

invoking('should send one error before the head, and then nothing until the client resets', async () => {
  await withPeer({}, async ({ planes, invoke, run }) => {
    for (const name of ['@error', 'nope']) {
      const seen = invoke({ name });
      const { call, messages } = seen;
      call.end();
      await seen.message(0);
      // time enough for an end to come
      await run({ name: '@hello' });
      assert.is(seen.status, undefined);
      assert.is(messages.length, 1);
      assert.is(messages[0]?.result, undefined);
      if (name === 'nope') {
        const { stack, ...error } = messages[0]?.error ?? {};
        assert.equal(error, { name: 'Error', message: NOT_FOUND('nope'), code: 5 });
        assert.type(stack, 'string');
      } else {
        const { code, operation, name: kind } = messages[0]?.error ?? {};
        assert.equal([kind, operation, code], ['NoslatedError', 'Trigger', 1]);
      }
      call.cancel();
      assert.is((await seen.end()).code, 1);
    }
    await eventually('the resets to be seen', async () => (await planes.counters('dp-0')).cancelled === 2);
    const { calls, streams } = await planes.counters('dp-0');
    assert.is(streams, 0);
    assert.equal(
      calls.map(({ name, resetCode }) => [name, resetCode]),
      [
        ['@error', 8],
        ['@hello', undefined],
        ['nope', 8],
        ['@hello', undefined],
      ],
    );
  });
});

invoking('should end an error before the head at grpc-timeout', async () => {
  await withPeer({}, async ({ invoke }) => {
    const { call, message, end } = invoke({ name: '@error' }, { timeout: 1000 });
    call.end();
    await message(0);
    assert.is((await end()).code, 4);
  });
});

invoking('should end with status 0 after an error behind the head', async () => {
  await withPeer({}, async ({ run }) => {
    const { messages, status } = await run({ name: '@error-after' });
    assert.is(status?.code, 0);
    assert.is(messages.length, 3);
    assert.is(messages[0]?.result?.status, 200);
    assert.equal(messages[1], { result: { body: Buffer.from('part') } });
    assert.is(messages[2]?.error?.message, 'peer reset stream');
    assert.is(messages[2]?.error?.code, undefined);
  });
});

invoking('should not answer a client that sends nothing', async () => {
  await withPeer({}, async ({ invoke, run }) => {
    const silent = invoke();
    silent.call.end();
    await run({ name: '@hello' });
    assert.equal([silent.messages.length, silent.status], [0, undefined]);
    silent.call.cancel();
  });
});

invoking('should not tell a worker of a reset, but end its request body', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    console.log('began');
    let bytes = 0;
    for await (const chunk of req) bytes += chunk.length;
    console.log('read ' + bytes);
    await new Promise(done => setTimeout(done, 100));
    res.end('x', () => console.log('finished'));
  };`;
  // a data plane that does not read on does not see the end by itself
  const options = { functions: { reads: source }, knobs: { slowReaderMs: 60_000 } };
  await withPeer(options, async ({ planes, setProfiles, profile, invoke }) => {
    await setProfiles(profile('reads'));
    const { call } = invoke({ name: 'reads', body: Buffer.from('12345') });
    await eventually('the function to begin', async () => planes.output().includes('began'));
    call.cancel();
    await eventually('the function to read', async () => planes.output().includes('read 5'));
    await eventually('the function to finish', async () => planes.output().includes('finished'));
    const line = planes.lines().find(({ message }) => message === 'read 5');
    assert.equal([line?.['function'], line?.['stream']], ['reads', 'stdout']);
  });
});

invoking('should run services', async () => {
  await withPeer({ functions: { hello: HELLO } }, async ({ unary, setProfiles, profile, invoke }) => {
    await setProfiles(profile('hello'));
    await unary(DATA_PLANE, 'setServiceProfiles', { profiles: SERVICES });
    assert.equal(await unary<ServiceProfilesAccessor>(DATA_PLANE, 'getServiceProfiles'), { profiles: SERVICES });
    for (const name of ['plain', 'split']) {
      const { call, end, body } = invoke({ name }, { method: 'invokeService' });
      call.end();
      assert.is((await end()).code, 0);
      assert.is(body().toString(), 'hello');
    }
    const unknown = invoke({ name: 'hello' }, { method: 'invokeService' });
    assert.equal((await unknown.message(0)).error?.message, 'Service not found.');
    unknown.call.cancel();
  });
});

invoking('should limit messages to 10 MiB both ways', async () => {
  await withPeer({}, async ({ run, invoke }) => {
    const fits = await run({ name: '@sink', body: Buffer.alloc(MAX_MESSAGE_BYTES - 20) });
    assert.is(fits.body().toString(), String(MAX_MESSAGE_BYTES - 20));
    const first = await run({ name: '@sink', body: Buffer.alloc(MAX_MESSAGE_BYTES) });
    assert.is(first.status?.code, 8);
    assert.match(first.status?.details ?? '', /^Received message larger than max \(\d+ vs\.? 10485760\)$/);
    const later = invoke({ name: '@sink', body: Buffer.from('1') });
    later.call.write({ body: Buffer.alloc(MAX_MESSAGE_BYTES + 1) });
    assert.is((await later.end()).code, 8);
    const answer = await run({ name: '@source', url: `/${11 * MIB}/${11 * MIB}` });
    assert.equal([answer.status?.code, answer.messages[0]?.result?.status], [8, 200]);
  });
});

invoking('should refuse new streams of a session that leaves too much unread, and of no other', async () => {
  await withPeer({}, async ({ planes, run }) => {
    // grpc-js would read on
    const session = connect('http://localhost', {
      createConnection: () => createConnection(socketFile(planes.workdir, 'dp-0')),
    });
    const { path, requestSerialize } = method<InvokeRequest, InvokeResponse>(PUSH_SERVER, 'invoke');
    const open = (head: InvokeRequest): ClientHttp2Stream => {
      const message = requestSerialize(head);
      const prefix = Buffer.alloc(5);
      prefix.writeUInt32BE(message.length, 1);
      const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' });
      stream.on('error', () => {});
      stream.end(Buffer.concat([prefix, message]));
      return stream;
    };
    for (let i = 0; i < 14; i++) open({ name: '@source', url: `/${2 * MIB}/${MIB}` });
    await eventually('the streams', async () => (await planes.counters('dp-0')).streams === 14);
    let code: number | undefined;
    await eventually('a stream to be refused', async () => {
      const stream = open({ name: '@hello' }).resume();
      await within(TIMEOUT, new Promise<void>(done => stream.on('close', done)), 'an end');
      code = stream.rstCode;
      return code !== 0;
    });
    assert.is(code, constants.NGHTTP2_ENHANCE_YOUR_CALM);
    assert.is((await run({ name: '@hello' })).status?.code, 0);
    session.destroy();
  });
});

invoking('should stop reading when told to', async () => {
  await withPeer({ knobs: { slowReaderMs: 60_000 } }, async ({ planes, invoke, run }) => {
    const { call } = invoke({ name: '@sink' });
    for (let i = 0; i < 100; i++) call.write({ body: Buffer.alloc(16 * 1024) });
    // behind the first of them
    for (let i = 0; i < 3; i++) await run({ name: '@hello' });
    assert.is((await planes.counters('dp-0')).calls[0]?.messages, 1);
    call.cancel();
  });
});

invoking('should take an answer at once, whether it is read or not, unless told to heed that', async () => {
  const source = `exports.handler = async (ctx, req, res) => {
    console.log('began ' + req.url);
    res.writeHead(200);
    for (let i = 0; i < 32; i++) await new Promise(done => res.write(Buffer.alloc(1024 * 1024), done));
    console.log('wrote ' + req.url);
    res.end();
  };`;
  await withPeer({ functions: { writes: source } }, async ({ planes, setProfiles, profile, invoke, run }) => {
    await setProfiles(profile('writes'));
    const stall = async (url: string): Promise<Seen> => {
      const stalled = invoke({ name: 'writes', url });
      stalled.call.pause();
      stalled.call.end();
      await eventually(`${url} to begin`, async () => planes.output().includes(`began ${url}`));
      return stalled;
    };
    const unheeded = await stall('/unheeded');
    await eventually('all to be taken', async () => planes.output().includes('wrote /unheeded'));
    unheeded.call.cancel();

    await planes.setKnobs({ heedBackpressure: true });
    const heeded = await stall('/heeded');
    assert.is((await run({ name: 'writes', url: '/read' })).body().length, 32 * MIB);
    assert.ok(planes.output().includes('wrote /read'));
    assert.not(planes.output().includes('wrote /heeded'));
    heeded.call.resume();
    assert.is((await heeded.end()).code, 0);
    assert.is(heeded.body().length, 32 * MIB);
  });
});

invoking('should take a request at once, whether it is read or not, unless told to heed that', async () => {
  await withPeer({}, async ({ planes, invoke, run }) => {
    const received = async (i: number) => (await planes.counters('dp-0')).calls[i]?.messages;
    const upload = (): Seen => {
      const seen = invoke({ name: '@hang' });
      for (let i = 0; i < 99; i++) seen.call.write({ body: Buffer.alloc(16 * 1024) });
      return seen;
    };
    const unheeded = upload();
    await eventually('all to be taken', async () => (await received(0)) === 100);
    unheeded.call.cancel();

    await planes.setKnobs({ heedBackpressure: true });
    const heeded = upload();
    for (let i = 0; i < 3; i++) await run({ name: '@hello' });
    // the head, and one chunk that fills the body
    assert.is(await received(1), 2);
    heeded.call.cancel();
  });
});

invoking('should answer checkHealth, useInspector and Host.connect, and nothing that it does not know', async () => {
  await withPeer({}, async ({ planes, unary }) => {
    const health = () => unary<PlaneHealthyResponse>(DATA_PLANE, 'checkHealth');
    assert.equal(await health(), { name: 'DataPlane', health: true, reason: '' });
    await planes.setKnobs({ unhealthy: true });
    assert.equal(await health(), { name: 'DataPlane', health: false, reason: 'Circuit Breaker Enabled' });
    assert.equal(await unary<Empty>(DATA_PLANE, 'useInspector', { funcName: 'f', use: true }), {});
    assert.equal((await planes.counters('dp-0')).begun['checkHealth'], 2);

    const client = new Client(`unix:${socketFile(planes.workdir, 'dp-0')}`, credentials.createInsecure());
    const { path, requestSerialize, responseDeserialize } = method<HostRequest, SubscriptionChunk>(HOST, 'connect');
    const host = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
    host.on('error', () => {});
    const chunks: SubscriptionChunk[] = [];
    host.on('data', chunk => chunks.push(chunk));
    await eventually('a first chunk', async () => chunks.length === 1);
    assert.equal(
      chunks[0]?.events?.map(({ name, data }) => [name, data?.typeUrl]),
      [['host.liveness', 'noslated.LivenessProbeEventData']],
    );
    host.write({ type: 1, subscription: { eventName: 'requestQueueing', subscribe: true } });
    host.write({ type: 2, liveness: { timestamp: 1 } });
    await eventually('a second chunk', async () => chunks.length === 2);
    host.cancel();

    const code = await new Promise<number>(done =>
      client.makeUnaryRequest(
        '/noslated.data.DataPlane/getInspectorTargets',
        () => Buffer.alloc(0),
        value => value,
        {},
        new Metadata(),
        (error: ServiceError | null) => done(error?.code ?? 0),
      ),
    );
    assert.is(code, 12);
    client.close();
  });
});

invoking.run();

const scripted = suite('scripted functions');

scripted('should echo at once, count, give bytes and say hello', async () => {
  await withPeer({}, async ({ planes, invoke, run }) => {
    const echo = invoke({ name: '@echo', requestId: 'r7' });
    assert.is((await echo.message(0)).result?.status, 200);
    for (const [i, text] of ['one', 'two'].entries()) {
      echo.call.write({ body: Buffer.from(text) });
      assert.equal(await echo.message(i + 1), { result: { body: Buffer.from(text) } });
    }
    const open = (await planes.counters('dp-0')).calls[0];
    assert.equal(open, {
      method: 'invoke',
      name: '@echo',
      requestId: 'r7',
      messages: 3,
      bytes: 6,
      isOpen: true,
    });
    echo.call.end();
    assert.is((await echo.end()).code, 0);

    const sink = invoke({ name: '@sink', body: Buffer.alloc(3) });
    for (let i = 0; i < 3; i++) sink.call.write({ body: Buffer.alloc(MIB) });
    sink.call.end();
    await sink.end();
    assert.is(sink.body().toString(), String(3 * MIB + 3));

    const sizes = async (url: string) =>
      (await run({ name: '@source', url })).messages.slice(1).map(({ result }) => result?.body?.length);
    assert.equal(await sizes('/100000'), [65536, 34464]);
    assert.equal(await sizes('/25/10'), [10, 10, 5]);

    assert.is((await run({ name: '@hello' })).body().toString(), 'hello');
    const { sessions, streams, cancelled } = await planes.counters('dp-0');
    // the control plane's connection is the other one
    assert.equal([sessions, streams, cancelled], [2, 0, 0]);
  });
});

scripted('should hang, and end with any status', async () => {
  await withPeer({}, async ({ invoke, run }) => {
    const hanging = invoke({ name: '@hang' });
    hanging.call.end();
    for (const code of [0, 4, 13, 14]) {
      const { status, messages } = await run({ name: `@status/${code}` });
      assert.equal([status?.code, messages.length], [code, 0]);
    }
    assert.equal([hanging.messages.length, hanging.status], [0, undefined]);
    hanging.call.cancel();
  });
});

scripted('should cut the connection in the middle, and leave out trailers', async () => {
  await withPeer({}, async ({ planes, run }) => {
    const half = await run({ name: '@half' });
    assert.is(half.body().toString(), 'part');
    assert.is(half.status?.code, 14);
    for (const url of ['/', '/rst']) {
      const { status, body } = await run({ name: '@no-trailers', url });
      assert.is(body().toString(), 'part');
      assert.is.not(status?.code, 0);
    }
    assert.is((await planes.counters('dp-0')).cancelled, 0);
  });
});

scripted('should kill the process', async () => {
  await withPeer({}, async ({ planes, run }) => {
    const exit = planes.exit();
    assert.is((await run({ name: '@exit' })).status?.code, 14);
    assert.is(await within(TIMEOUT, exit, 'the process to die'), 'SIGKILL');
  });
});

scripted.run();

const control = suite('control plane');

control('should give profiles back with the defaults of Noslate', async () => {
  await withPeer({ functions: { hello: HELLO } }, async ({ unary, setProfiles, profile }) => {
    const get = async () => (await unary<GetFunctionProfileResponse>(CONTROL_PLANE, 'getFunctionProfile')).profiles;
    assert.is(await get(), undefined);
    const { url, ...rest } = profile('hello', { namespace: '', worker: { shrinkCooldownOnStartup: false } });
    await setProfiles(
      { ...rest, url: 'file:///old' },
      { name: 'junk', runtime: 'cobol', sourceFile: 'x' },
      {
        ...rest,
        ...(url === undefined ? {} : { url }),
      },
    );
    const [hello, junk, ...others] = (await get()) ?? [];
    assert.is(others.length, 0);
    assert.equal(hello, {
      name: 'hello',
      runtime: 'nodejs',
      url,
      signature: '1',
      handler: 'index.handler',
      resourceLimit: { memory: 512 * MIB },
      worker: {
        initializationTimeout: 10_000,
        maxActivateRequests: 10,
        reservationCount: 0,
        fastFailRequestsOnStarting: false,
        replicaCountLimit: 10,
        shrinkStrategy: 'LCC',
        disableRequestQueue: false,
        concurrencySlidingWindowSize: 60_000,
        concurrencySlidingBucketCount: 6,
        emaConcurrencyAlpha: 0.5,
        concurrencyExpandThreshold: Math.fround(0.7),
        concurrencyShrinkThreshold: Math.fround(0.3),
        expandCooldown: 1000,
        shrinkCooldown: 60_000,
        scaleFactor: 0.5,
        precisionZeroThreshold: Math.fround(0.01),
        concurrencyStatsMode: 'instant',
        shrinkCooldownOnStartup: false,
      },
    });
    assert.equal([junk?.name, junk?.sourceFile, junk?.handler, junk?.url], ['junk', 'x', undefined, '']);
    assert.equal(await unary<PlaneHealthyResponse>(CONTROL_PLANE, 'checkHealth'), {
      name: 'ControlPlane',
      health: true,
      reason: '',
    });
  });
});

control(
  'should put reserved workers on one data plane or another, count them all, and pass environments on',
  async () => {
    const source = 'exports.handler = async (ctx, req, res) => { res.end(process.env.STAGE); };';
    const options = { functions: { warm: source }, dataPlanes: [0, 1], knobs: { placeOn: 'dp-1' } };
    await withPeer(options, async ({ planes, unary, setProfiles, profile, run }) => {
      await unary(CONTROL_PLANE, 'setPlatformEnvironmentVariables', { envs: [{ key: 'STAGE', value: 'prod' }] });
      await eventually('both data planes', async () => {
        const counters = await Promise.all(['dp-0', 'dp-1'].map(plane => planes.counters(plane)));
        return counters.every(({ sessions }) => sessions > 0);
      });
      const brokers = async () =>
        (await unary<WorkerStatsSnapshotResponse>(CONTROL_PLANE, 'getWorkerStatsSnapshot')).brokers;
      const onFirst = async () =>
        (await unary<WorkerTrafficStatsResponse>(DATA_PLANE, 'getWorkerTrafficStats')).brokers?.map(
          ({ functionName, workers = [] }) => [functionName, workers.length],
        );
      await setProfiles(profile('warm', { worker: { reservationCount: 1 } }), profile('cold'));
      await eventually('a worker', async () => (await brokers())?.[0]?.activeWorkerCount === 1);
      assert.is(await onFirst(), undefined);
      await planes.setKnobs({ placeOn: 'dp-0' });
      await setProfiles(profile('warm', { worker: { reservationCount: 2 } }), profile('cold'));
      await eventually('another', async () => (await brokers())?.[0]?.activeWorkerCount === 2);
      assert.equal(await onFirst(), [['warm', 1]]);
      const [broker, ...others] = (await brokers()) ?? [];
      assert.is(others.length, 0);
      assert.equal([broker?.name, broker?.inspector, broker?.initiatingWorkerCount], ['warm', false, 0]);
      assert.is(broker?.profile?.worker?.reservationCount, 2);
      assert.equal(broker?.workers?.[0]?.data, { activeRequestCount: 0, trafficOff: false });
      assert.is((await run({ name: 'warm' })).body().toString(), 'prod');
    });
  },
);

control('should put workers on either of two data planes', async () => {
  await withPeer(
    { functions: { hello: HELLO }, dataPlanes: [0, 1] },
    async ({ planes, unary, setProfiles, profile }) => {
      await eventually('both data planes', async () => (await planes.counters('dp-1')).sessions > 0);
      let reservationCount = 0;
      await eventually('a worker on each', async () => {
        // how they fall is chance
        await setProfiles(
          profile('hello', { worker: { reservationCount: ++reservationCount, replicaCountLimit: 100 } }),
        );
        const all = await unary<WorkerStatsSnapshotResponse>(CONTROL_PLANE, 'getWorkerStatsSnapshot');
        const first = await unary<WorkerTrafficStatsResponse>(DATA_PLANE, 'getWorkerTrafficStats');
        const there = first.brokers?.[0]?.workers?.length ?? 0;
        return there > 0 && (all.brokers?.[0]?.workers?.length ?? 0) > there;
      });
    },
  );
});

control('should refuse an empty list of environments, as it is none at all, and keep what it has', async () => {
  const source = 'exports.handler = async (ctx, req, res) => { res.end(process.env.STAGE); };';
  await withPeer({ functions: { tells: source } }, async ({ unary, setProfiles, profile, run }) => {
    const set = (...envs: object[]) => unary(CONTROL_PLANE, 'setPlatformEnvironmentVariables', { envs });
    await set({ key: 'STAGE', value: 'prod' });
    const error = await set().then(
      () => undefined,
      (reason: ServiceError) => reason,
    );
    assert.equal([error?.code, error?.details], [2, "Cannot read properties of undefined (reading 'reduce')"]);
    await setProfiles(profile('tells'));
    assert.is((await run({ name: 'tells' })).body().toString(), 'prod');
  });
});

control(
  'should tell data planes of a set at once, unless a function with workers has other code or is gone',
  async () => {
    const gives = (status: number) =>
      `exports.handler = async (ctx, req, res) => { res.writeHead(${status}); res.end(); };`;
    const functions = { changed: gives(200), kept: gives(200), gone: gives(200), new: gives(201) };
    // longer than any wait of this test
    await withPeer({ functions, knobs: { replaceMs: 600_000 } }, async ({ planes, setProfiles, profile, first }) => {
      const names = ['changed', 'kept', 'gone'];
      const status = async (name: string) => (await first({ name })).result?.status;
      await setProfiles(...names.map(name => profile(name)), profile('idle'));
      for (const name of names) assert.is(await status(name), 200);
      // the same but for what asks for no other workers, and a function without any that is gone
      await setProfiles(
        profile('changed', { environments: [{ key: 'A', value: 'b' }], worker: { maxActivateRequests: 5 } }),
        profile('kept', { resourceLimit: { memory: 512 * MIB } }),
        profile('gone'),
      );
      const told = async () => (await planes.counters('dp-0')).begun['setFunctionProfile'];
      assert.is(await told(), 2);

      const { url = '' } = profile('new');
      setProfiles(profile('changed', { url }), profile('kept'), profile('new')).catch(() => {});
      await eventually('new code', async () => (await status('changed')) === 201);
      assert.is(await status('kept'), 200);
      // what it has not been told of yet
      assert.is((await first({ name: 'new' })).error?.code, 5);
      assert.is((await first({ name: 'gone', deadline: Date.now() + 300 })).error?.code, 4);
      assert.is(await told(), 2);
    });
  },
);

control('should know a function that is gone as long as a data plane expects a worker of it', async () => {
  await withPeer({ functions: { hello: HELLO } }, async ({ planes, setProfiles, profile, first }) => {
    await planes.setKnobs({ noBinary: true });
    await setProfiles(profile('hello'), profile('other'));
    assert.match((await first({ name: 'hello' })).error?.message ?? '', /^Internal error: TurfError/);
    await setProfiles();
    assert.is((await first({ name: 'other' })).error?.code, 5);
    assert.is((await first({ name: 'hello', deadline: Date.now() + 300 })).error?.code, 4);
  });
});

const HANGS = 'exports.handler = async (ctx, req, res) => { console.log("began " + req.url); };';

control('should take a worker that starts as enough for the queues of all data planes', async () => {
  const options = { functions: { hangs: HANGS }, dataPlanes: [0, 1], knobs: { placeOn: 'dp-1' } };
  await withPeer(options, async ({ planes, setProfiles, profile, first, unary }) => {
    await eventually('both data planes', async () => (await planes.counters('dp-1')).sessions > 0);
    await setProfiles(profile('hangs', { worker: { maxActivateRequests: 4 } }));
    const deadline = Date.now() + 3000;
    const replies = await Promise.all([1, 2, 3].map(() => first({ name: 'hangs', deadline })));
    assert.equal(
      replies.map(({ error }) => error?.code),
      [4, 4, 4],
    );
    const { brokers } = await unary<WorkerStatsSnapshotResponse>(CONTROL_PLANE, 'getWorkerStatsSnapshot');
    assert.is(brokers?.[0]?.activeWorkerCount, 1);
    assert.not(planes.output().includes('began'));
  });
});

control('should run what waits on a data plane without its caller, and reject it when told to', async () => {
  const options = { functions: { hangs: HANGS }, dataPlanes: [0, 1], knobs: { placeOn: 'dp-1' } };
  await withPeer(options, async ({ planes, setProfiles, profile, invoke, unary }) => {
    await eventually('both data planes', async () => (await planes.counters('dp-1')).sessions > 0);
    await setProfiles(profile('hangs', { worker: { maxActivateRequests: 1 } }));
    const waits = (url: string) => invoke({ name: 'hangs', url, deadline: Date.now() + TIMEOUT });
    const queued = async () =>
      (await unary<WorkerTrafficStatsResponse>(DATA_PLANE, 'getWorkerTrafficStats')).brokers?.[0]?.concurrency;
    const rejected = waits('/rejected');
    await eventually('a call to wait', async () => (await queued()) === 1);
    const told = { funcName: 'hangs', inspect: false, message: 'elsewhere', fatal: true };
    await unary(DATA_PLANE, 'startWorkerFastFail', told);
    const { name, message, code } = (await rejected.message(0)).error ?? {};
    assert.equal([name, message, code], ['Error', 'elsewhere', undefined]);
    const left = waits('/left');
    await eventually('a call to wait', async () => (await queued()) === 1);
    left.call.cancel();
    await planes.setKnobs({ placeOn: 'dp-0' });
    waits('/second');
    await eventually('the one whose caller has gone to run', async () => planes.output().includes('began /left'));
    assert.not(planes.output().includes('began /rejected'));
  });
});

control('should tell of a worker that turfd cannot start, where the call waits', async () => {
  await withPeer({ functions: { hello: HELLO } }, async ({ planes, setProfiles, profile, first }) => {
    const message = async (length: number) => {
      await setProfiles(profile('hello', { environments: [{ key: 'LONG', value: 'x'.repeat(length) }] }));
      return (await first({ name: 'hello' })).error?.message ?? '';
    };
    assert.match(await message(3400), /^Internal error: Error: read ECONNRESET\n/);
    assert.match(await message(70_000), /^Internal error: RangeError \[ERR_OUT_OF_RANGE\]: .* Received 7\d{4}$/);
    await planes.setKnobs({ noBinary: true });
    assert.match(await message(0), /^Internal error: TurfError: Turf response with non-zero code\(-2\)\n/);
  });
});

control('should fail with a worker of which turfd is told too much those that it is told of beside it', async () => {
  await withPeer({ functions: { large: HELLO, small: HELLO } }, async ({ setProfiles, profile, first, run }) => {
    const environments = [{ key: 'LONG', value: 'x'.repeat(3400) }];
    await eventually('both to fail', async () => {
      // a function that has no worker
      await setProfiles();
      await setProfiles(profile('large', { environments }), profile('small'));
      const [large, small] = await Promise.all([first({ name: 'large' }), first({ name: 'small' })]);
      assert.match(large.error?.message ?? '', /^Internal error: Error: read ECONNRESET\n/);
      return /^Internal error: Error: read ECONNRESET\n/.test(small.error?.message ?? '');
    });
    assert.is((await run({ name: 'small' })).body().toString(), 'hello');
  });
});

control('should serve only once there is a data plane', async () => {
  await withPeer({ late: true, knobs: { lateSocketMs: 500 } }, async ({ planes, unary }) => {
    assert.is((await unary<PlaneHealthyResponse>(CONTROL_PLANE, 'checkHealth')).health, true);
    assert.is((await planes.counters('dp-0')).sessions, 1);
  });
});

control.run();

const restarts = suite('planes killed and restarted');

restarts('should lose calls in flight, and come back with the profiles a while later', async () => {
  const functions = { hello: HELLO };
  await withPeer({ functions, separate: true }, async ({ planes, setProfiles, profile, invoke, run, first }) => {
    await setProfiles(profile('hello'));
    assert.is((await run({ name: 'hello' })).body().toString(), 'hello');
    const hanging = invoke({ name: '@hang' });
    await eventually('the call', async () => (await planes.counters('dp-0')).streams > 0);
    const pid = planes.pid('dp-0');
    await planes.kill('SIGKILL', 'dp-0');
    assert.is(await planes.exit('dp-0'), 'SIGKILL');
    assert.is((await hanging.end()).code, 14);

    await planes.setKnobs({ lateProfilesMs: 60_000 });
    await planes.restart('dp-0');
    assert.is.not(planes.pid('dp-0'), pid);
    await eventually('it to accept again', async () => (await run({ name: '@hello' })).status?.code === 0);
    await eventually(
      'the control plane to push',
      async () => (await planes.counters('dp-0')).begun['setFunctionProfile'] === 1,
    );
    assert.is((await first({ name: 'hello' })).error?.message, NOT_FOUND('hello'));
    await planes.setKnobs({ lateProfilesMs: 0 });
    await eventually('the profiles', async () => (await first({ name: 'hello' })).result?.status === 200);
  });
});

restarts('should let warm traffic go on without a control plane, which forgets everything', async () => {
  const functions = { hello: HELLO };
  await withPeer({ functions, separate: true }, async ({ planes, setProfiles, profile, run, unary }) => {
    await setProfiles(profile('hello'));
    assert.is((await run({ name: 'hello' })).body().toString(), 'hello');
    await planes.kill('SIGKILL', 'cp-0');
    assert.is((await run({ name: 'hello' })).body().toString(), 'hello');
    await planes.restart('cp-0');
    const { profiles } = await unary<GetFunctionProfileResponse>(CONTROL_PLANE, 'getFunctionProfile');
    assert.is(profiles, undefined);
    assert.is((await run({ name: 'hello' })).body().toString(), 'hello');
  });
});

restarts('should cancel calls on SIGTERM', async () => {
  await withPeer({}, async ({ planes, invoke }) => {
    const hanging = invoke({ name: '@hang' });
    await eventually('the call', async () => (await planes.counters('dp-0')).calls.length === 1);
    await planes.kill('SIGTERM');
    assert.is(await planes.exit(), 0);
    assert.is((await hanging.end()).code, 1);
  });
});

restarts.run();
