import { connect, Socket } from 'node:net';
import { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import { type Whole, whole } from '../../../src/desk/conformance/check.ts';
import { ClientGone, type HttpCall } from '../../../src/desk/fc/call.ts';
import { header } from '../../../src/desk/fc/headers.ts';
import type { LifeEvent } from '../../../src/desk/fc/life.ts';
import type { Platform } from '../../../src/desk/fc/platform.ts';
import { parseSwitches, type Switches } from '../../../src/desk/fc/settings.ts';
import { eventually, suiteOfMany, within } from '../../helpers.ts';
import { printed, withPlatform } from './server.ts';

const get = (fc: Platform, path: string, call: Partial<HttpCall> = {}): Promise<Whole> =>
  whole(fc.http({ method: 'GET', path, ...call }));
const post = (fc: Platform, path: string, body: string = ''): Promise<Whole> =>
  whole(fc.http({ method: 'POST', path, body: Readable.from([Buffer.from(body)]) }));
const event = (fc: Platform, wish: object = {}): Promise<Whole> =>
  whole(fc.invoke({ payload: Buffer.from(JSON.stringify(wish)) }));
const happened = (fc: Platform, name: LifeEvent['event']): LifeEvent[] =>
  fc.life.events.filter(({ event: one }) => one === name);
const until = (fc: Platform, name: LifeEvent['event']): Promise<LifeEvent> =>
  within(
    10_000,
    fc.life.until(({ event: one }) => one === name),
    name,
  );
const saw = (fc: Platform, path: string): string[] =>
  printed(fc).filter(line => line.startsWith(`saw`) && line.includes(` ${path}`));
const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms));
const body = ({ text }: Whole): Record<string, string> => JSON.parse(text) as Record<string, string>;

const calls = suiteOfMany('platform :: calls');

calls('should give the caller of an event the body alone', async () => {
  await withPlatform({}, {}, async fc => {
    const reply = await event(fc, { status: 201, header: 'x-own:1', body: 'made' });
    assert.equal([reply.status, reply.text, header(reply.headers, 'x-own')], [200, 'made', undefined]);
    assert.match(String(header(reply.headers, 'x-fc-request-id')), /^1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}$/);
    assert.is((await event(fc, { status: 404, header: 'x-fc-status:404' })).errorType, 'UnhandledInvocationError');
    assert.is((await event(fc, { status: 200 })).errorType, undefined);
  });
});

calls('should filter headers both ways', async () => {
  await withPlatform({}, {}, async fc => {
    const headers = [
      ['X-Fc-Request-Id', 'forged'],
      ['Connection', 'close'],
      ['X-Own', 'kept'],
      ['X-Fc-Log-Type', 'Tail'],
    ] as const;
    const seen = JSON.parse((await get(fc, '/?headers', { headers })).text) as string[];
    const text = seen.join('\n');
    assert.match(text, 'X-Own\nkept');
    assert.match(text, 'X-Fc-Log-Type\nTail');
    assert.match(text, 'X-Fc-Control-Path\n/http-invoke');
    assert.not.match(text, 'forged');
    const reply = await get(fc, '/?header=x-fc-own:1&header=server:me&header=x-own:2&body=x');
    assert.equal(
      [header(reply.headers, 'x-fc-own'), header(reply.headers, 'server'), header(reply.headers, 'x-own')],
      [undefined, undefined, '2'],
    );
    assert.is(header(reply.headers, 'x-fc-request-id'), reply.requestId);
  });
});

calls('should hold FC’s limits, in the words of each generation', async () => {
  for (const flavour of ['2.0', '3.0'] as const) {
    const key = flavour === '2.0' ? 'ErrorCode' : 'Code';
    await withPlatform({}, { flavour }, async fc => {
      const cases: [Promise<Whole>, number, string][] = [
        [get(fc, '/', { headers: [['x', 'a'.repeat(8200)]] }), 400, 'InvalidArgument'],
        [get(fc, `/${'a'.repeat(4100)}`), 400, 'InvalidArgument'],
        [get(fc, '/', { method: 'TRACE' }), 405, 'MethodNotAllowed'],
        [
          get(fc, '/', { method: 'POST', headers: [['Content-Length', '33554433']], body: Readable.from(['x']) }),
          400,
          'EntityTooLarge',
        ],
        [whole(fc.invoke({ payload: Buffer.alloc(33_554_433) })), 400, 'EntityTooLarge'],
        [whole(fc.invoke({ payload: Buffer.alloc(131_073), invocationType: 'Async' })), 400, 'EntityTooLarge'],
      ];
      for (const [reply, status, code] of cases) {
        const answer = await reply;
        assert.equal([answer.status, body(answer)[key], answer.instance], [status, code, undefined]);
      }
      assert.is(happened(fc, 'starting').length, 0, 'no instance was needed');
      const chunk = Buffer.alloc(1024 * 1024);
      const endless = Readable.from(
        (function* () {
          for (let i = 0; i < 40; i++) yield chunk;
        })(),
      );
      assert.is(body(await get(fc, '/', { method: 'POST', body: endless }))[key], 'EntityTooLarge');
    });
  }
});

calls('should tell both kinds of caller of a crash, and have an instance for the next', async () => {
  await withPlatform({}, {}, async fc => {
    const failed = await event(fc, { exit: 1 });
    assert.equal([failed.status, failed.errorType], [200, 'UnhandledInvocationError']);
    assert.match(
      String(body(failed)['errorMessage']),
      /^Process exited unexpectedly before completing request \(duration: \d+ms, maxMemoryUsage: [1-9]\d*\.\d\dMB\)$/,
    );
    const trigger = await post(fc, '/?exit=1');
    assert.equal([trigger.status, body(trigger)['errorMessage'] !== undefined], [502, true]);
    assert.is((await event(fc, { body: 'next' })).text, 'next');
    assert.is(saw(fc, '/?exit=1').length, 1, 'a POST is never repeated');
  });
});

calls('should repeat a GET once on another connection, not a POST', async () => {
  await withPlatform({ EXIT_ON: '/boom' }, {}, async fc => {
    assert.is((await get(fc, '/boom')).status, 502);
    assert.is(saw(fc, '/boom').length, 2);
    assert.is((await post(fc, '/boom')).status, 502);
    assert.is(saw(fc, '/boom').length, 3);
  });
});

calls('should meet a connection that the server closed while it was frozen', async () => {
  await withPlatform({ KEEP_ALIVE_MS: '1000' }, { freeze: false }, async fc => {
    const outlast = async (): Promise<void> => {
      await post(fc, '/');
      // frozen in its sleep: one that is at work would find the request before its timer is due
      await pause(300);
      fc.instances()[0]?.freeze();
      await pause(3500);
    };
    await outlast();
    const lost = await post(fc, '/?body=lost');
    assert.equal([lost.status, saw(fc, '/?body=lost').length], [502, 0]);
    await outlast();
    assert.is((await get(fc, '/?body=repeated')).text, 'repeated');
    assert.is(happened(fc, 'retry').length, 1);
  });
});

calls('should end no half answer as if it were whole', async () => {
  await withPlatform({}, {}, async fc => {
    const { status, body: half } = await fc.http({ method: 'GET', path: '/?half' });
    assert.is(status, 200);
    const end = new Promise(done => {
      half.on('end', () => done('whole')).on('error', () => done('broken'));
    });
    half.resume();
    assert.is(await within(20_000, end, 'the end'), 'broken');
    const reply = await event(fc, { half: 1 });
    assert.is(reply.errorType, 'UnhandledInvocationError');
  });
});

calls('should give up at the function’s timeout', async () => {
  await withPlatform({}, { timeout: 3, instanceConcurrency: 2 }, async fc => {
    const [late, trigger] = await Promise.all([event(fc, { sleep: 9000 }), post(fc, '/?sleep=9000')]);
    assert.equal([late.status, late.errorType], [200, 'UnhandledInvocationError']);
    assert.match(String(body(late)['errorMessage']), 'Function time out after 3 seconds');
    assert.is(trigger.status, 504);
    const { body: stream } = await fc.http({ method: 'GET', path: '/?stream=30000' });
    const end = new Promise(done => void stream.on('error', () => done('broken')).on('end', () => done('whole')));
    stream.resume();
    assert.is(await within(20_000, end, 'the end'), 'broken');
  });
});

calls('should retry an asynchronous call that failed, and count', async () => {
  await withPlatform({}, { asyncRetries: 2 }, async fc => {
    const accepted = await whole(fc.invoke({ invocationType: 'Async', payload: Buffer.from('{"exit":1}') }));
    assert.equal([accepted.status, accepted.text], [202, '']);
    await within(
      10_000,
      fc.life.until(() => happened(fc, 'answer').length === 3),
      'three attempts',
    );
    const counts = saw(fc, '/invoke').map(line => line.split(' ')[5]);
    assert.equal(counts, ['0', '1', '2']);
    assert.is(new Set(saw(fc, '/invoke').map(line => line.split(' ')[4])).size, 1, 'one request id');
  });
});

calls('should give the end of the log to who asks', async () => {
  await withPlatform({}, {}, async fc => {
    await event(fc, { body: 'before' });
    await eventually('its line', async () => printed(fc).length === 2);
    const logOf = ({ headers }: Whole): string =>
      Buffer.from(header(headers, 'x-fc-log-result') ?? '', 'base64').toString();
    const reply = await whole(fc.invoke({ logType: 'Tail', payload: Buffer.from('{"body":"x"}') }));
    assert.match(logOf(reply), reply.requestId);
    assert.is(logOf(reply).split('saw POST /invoke').length, 2);
    const trigger = await get(fc, '/?body=x', { logType: 'Tail' });
    assert.match(logOf(trigger), new RegExp(`^saw GET /\\?body=x .*${trigger.requestId}`));
    assert.is(header((await get(fc, '/?body=x')).headers, 'x-fc-log-result'), undefined);
  });
});

calls('should leave nothing behind when callers leave, waiting or served', async () => {
  await withPlatform(
    { LATE_MS: '500' },
    { instanceConcurrency: 1, maxInstances: 1, healthCheck: { httpGetUrl: '/health' } },
    async fc => {
      const waiting = new AbortController();
      const gone = fc.http({ method: 'GET', path: '/', signal: waiting.signal }).then(
        () => 'answered',
        error => error instanceof ClientGone,
      );
      waiting.abort();
      assert.is(await within(2000, gone, 'the end'), true);
      const served = new AbortController();
      const left = event(fc, {})
        .then(() => fc.invoke({ payload: Buffer.from('{"sleep":5000}'), signal: served.signal }))
        .catch(error => error instanceof ClientGone);
      await within(
        5000,
        fc.life.until(({ line }) => String(line).startsWith('saw POST /invoke') && saw(fc, '/invoke').length === 2),
        'the call',
      );
      served.abort();
      assert.is(await within(2000, left, 'the end'), true);
      assert.is((await get(fc, '/?body=next')).text, 'next');
      assert.equal(
        fc.instances().map(({ inFlight }) => inFlight),
        [0],
      );
    },
  );
});

calls('should replace an instance of single requests whose client has left', async () => {
  await withPlatform({}, {}, async fc => {
    const controller = new AbortController();
    const gone = fc.http({ method: 'GET', path: '/?sleep=5000', signal: controller.signal }).catch(() => {});
    await until(fc, 'request');
    await pause(100);
    controller.abort();
    await gone;
    const { reason } = await until(fc, 'stopping');
    assert.is(reason, 'client gone');
    assert.is((await get(fc, '/?body=next')).text, 'next');
  });
});

calls('should answer for CORS where the function does not, and forbid on the default domain', async () => {
  await withPlatform({}, { domain: 'default' }, async fc => {
    const headers = [['Origin', 'https://example.com']] as const;
    const reply = await get(fc, '/?body=x', { headers });
    assert.is(header(reply.headers, 'access-control-allow-origin'), 'https://example.com');
    assert.is(header(reply.headers, 'content-disposition'), 'attachment');
    const own = await get(fc, '/?header=access-control-allow-origin:*&body=x', { headers });
    assert.is(header(own.headers, 'access-control-allow-origin'), '*');
    assert.is(body(await get(fc, '/?status=302'))['Code'], 'ExternalRedirectForbidden');
  });
});

calls.run();

/** Node 16 cannot end a connection with RST. */
const CAN_RESET = 'resetAndDestroy' in Socket.prototype;

const switches = suiteOfMany('platform :: switches');

/** What each value of each switch changes. The type asks for every one. */
const TOLD: Record<keyof Switches, () => Promise<void>> = {
  startErrorStatus: () =>
    withPlatform({ EXIT_AT_START: '1' }, { switches: { startErrorStatus: 503 } }, async fc => {
      assert.is((await get(fc, '/')).status, 503);
    }),
  permissionError: () =>
    withPlatform({}, {}, async ({ settings }) => {
      const { createPlatform } = await import('../../../src/desk/fc/platform.ts');
      for (const permissionError of ['CAExited', 'CAFilePermission'] as const) {
        const fc = createPlatform({ flavour: settings.flavour, command: ['/'], switches: { permissionError } });
        assert.is(body(await get(fc, '/'))['Code'], permissionError);
      }
    }),
  hookTimeoutMax: () =>
    withPlatform({ HOOK_MS: '3000' }, { preStop: { timeout: 5 }, switches: { hookTimeoutMax: 1 } }, async fc => {
      await get(fc, '/');
      await fc.stop();
      assert.is((await until(fc, 'pre-stop'))['status'], 0);
    }),
  initFailure: () =>
    withPlatform(
      { INIT_STATUS: '404,404,200' },
      { initializer: { timeout: 10 }, switches: { initFailure: 'keep' } },
      async fc => {
        assert.is((await event(fc)).errorType, 'InitializationError');
        assert.is((await event(fc)).errorType, 'InitializationError');
        assert.is((await event(fc, { body: 'now' })).text, 'now');
        assert.is(happened(fc, 'starting').length, 1);
      },
    ),
  initErrorStatus: () =>
    withPlatform(
      { INIT_STATUS: '404' },
      { initializer: { timeout: 10 }, switches: { initErrorStatus: 500 } },
      async fc => {
        assert.is((await get(fc, '/')).status, 500);
      },
    ),
  plainFailure: () =>
    withPlatform({}, { switches: { plainFailure: 'error' } }, async fc => {
      assert.is((await event(fc, { status: 400 })).errorType, 'UnhandledInvocationError');
      assert.is((await event(fc, { status: 201 })).errorType, undefined);
    }),
  timeoutStatus: () =>
    withPlatform({}, { timeout: 1, switches: { timeoutStatus: 502 } }, async fc => {
      assert.is((await post(fc, '/?sleep=2000')).status, 502);
    }),
  timeoutKills: () =>
    withPlatform({}, { timeout: 3, switches: { timeoutKills: 'yes' } }, async fc => {
      await event(fc, { sleep: 9000 });
      assert.is((await until(fc, 'stopping'))['reason'], 'timeout');
      assert.is((await event(fc, { body: 'next' })).text, 'next');
    }),
  async clientCancel() {
    for (const [clientCancel, heard] of [
      ['reset', CAN_RESET ? /^socket ECONNRESET/ : /^aborted/],
      ['close', /^aborted/],
    ] as const) {
      await withPlatform({}, { instanceConcurrency: 2, freeze: false, switches: { clientCancel } }, async fc => {
        const controller = new AbortController();
        const gone = fc.http({ method: 'POST', path: '/unread?sleep=3000', signal: controller.signal }).catch(() => {});
        await within(
          5000,
          fc.life.until(({ line }) => String(line).startsWith('saw')),
          'the call',
        );
        controller.abort();
        await gone;
        await within(
          5000,
          fc.life.until(({ line }) => heard.test(String(line))),
          'what the server heard',
        );
        if (clientCancel === 'close') assert.not.match(printed(fc).join(), 'ECONNRESET');
      });
    }
    await withPlatform(
      {},
      { instanceConcurrency: 2, freeze: false, switches: { clientCancel: 'finish' } },
      async fc => {
        const controller = new AbortController();
        const gone = fc.http({ method: 'GET', path: '/?sleep=500', signal: controller.signal }).catch(error => error);
        await within(
          5000,
          fc.life.until(({ line }) => String(line).startsWith('saw')),
          'the call',
        );
        controller.abort();
        assert.instance(await gone, ClientGone);
        assert.is((await until(fc, 'answer'))['status'], 200, 'the container goes on');
      },
    );
  },
  sigterm: () =>
    withPlatform({ STUBBORN: '1' }, { switches: { sigterm: 'no' } }, async fc => {
      await get(fc, '/');
      await fc.stop();
      assert.not.ok(printed(fc).includes('SIGTERM'));
    }),
  stopGrace: () =>
    withPlatform({ STUBBORN: '1' }, { switches: { stopGrace: 1 } }, async fc => {
      await get(fc, '/');
      await within(4000, fc.stop(), 'the end');
      assert.is((await until(fc, 'exited'))['signal'], 'SIGKILL');
    }),
  maxResponse: () =>
    withPlatform({}, { switches: { maxResponse: 10 } }, async fc => {
      assert.is((await event(fc, { bytes: 10 })).text.length, 10);
      assert.is(body(await event(fc, { bytes: 11 }))['Code'], 'ResponseTooLarge');
      const cut = await get(fc, '/?bytes=11').then(
        () => 'whole',
        () => 'broken',
      );
      assert.is(cut, 'broken');
    }),
  async probeHeaders() {
    for (const [probeHeaders, id] of [
      ['none', ' - - '],
      ['common', ' /http-invoke 1-'],
    ] as const) {
      const healthCheck = { httpGetUrl: '/health' };
      await withPlatform({}, { healthCheck, switches: { probeHeaders } }, async fc => {
        await get(fc, '/');
        await within(
          5000,
          fc.life.until(() => saw(fc, '/health').length > 0),
          'the check',
        );
        assert.match(saw(fc, '/health')[0] ?? '', id);
      });
    }
  },
  async hookHeaders() {
    for (const [hookHeaders, more] of [
      ['few', false],
      ['common', true],
    ] as const) {
      const { commonHeaders } = await import('../../../src/desk/fc/headers.ts');
      await withPlatform({}, { switches: { hookHeaders } }, async ({ settings }) => {
        const headers = commonHeaders(settings, { requestId: 'id', controlPath: '/pre-stop' });
        assert.is(headers.length > 2, more);
        assert.ok(commonHeaders(settings, { requestId: 'id', controlPath: '/invoke' }).length > 2);
      });
    }
  },
  tracing: () =>
    inHeaders('tracing', { empty: /Jaeger-Endpoint\n\n/, on: /Jaeger-Endpoint\nhttp:/, absent: /^(?!.*Jaeger)/s }),
  basePath: () =>
    inHeaders('basePath', { path: /Base-Path\n\/\n/, prefix: /Base-Path\n\n/, absent: /^(?!.*Base-Path)/s }),
  credentials: async () => {
    for (const [credentials, count] of [
      ['fixed', 1],
      ['rotating', 2],
    ] as const) {
      await withPlatform({}, { switches: { credentials } }, async fc => {
        const tokens = [await get(fc, '/?headers'), await get(fc, '/?headers')].map(
          ({ text }) => /Security-Token","([^"]+)/.exec(text)?.[1],
        );
        assert.is(new Set(tokens).size, count);
      });
    }
  },
  webSocketIdle: () =>
    withSocket({ webSocketIdle: 1 }, async socket => {
      socket.write(frame(1));
      await within(5000, new Promise(done => socket.once('data', done)), 'the echo');
      await within(5000, new Promise(done => socket.on('close', done)), 'the end');
    }),
  webSocketFrame: () =>
    withSocket({ webSocketFrame: 300 }, async socket => {
      for (const size of [0, 125, 300]) {
        socket.write(frame(size));
        await within(5000, new Promise(done => socket.once('data', done)), 'the echo');
      }
      // a header that comes in two parts
      const large = frame(301);
      socket.write(large.subarray(0, 3));
      await pause(50);
      socket.write(large.subarray(3));
      await within(5000, new Promise(done => socket.on('close', done)), 'the end');
    }),
  logLine: () =>
    withPlatform({}, { switches: { logLine: 10 } }, async fc => {
      await get(fc, '/some/long/path');
      await eventually('two lines', async () => printed(fc).length === 2);
      assert.equal(printed(fc), ['up', 'saw GET /s']);
    }),
  reservedHeaders: () =>
    withPlatform({}, { switches: { reservedHeaders: 'reject' } }, async fc => {
      assert.is(body(await get(fc, '/?header=x-fc-own:1'))['Code'], 'InvalidResponse');
      assert.is((await get(fc, '/?header=x-own:1')).status, 200);
    }),
  async pooledIdle() {
    for (const [pooledIdle, count] of [
      [0, 1],
      [1, 2],
    ] as const) {
      await withPlatform({}, { freeze: false, switches: { pooledIdle } }, async fc => {
        await get(fc, '/');
        const [instance] = fc.instances();
        const ports = new Set<number>();
        for (let i = 0; i < 2; i++) {
          const response = await instance?.connections.exchange({
            method: 'GET',
            path: '/',
            headers: [['Host', 'x']],
            signal: new AbortController().signal,
          });
          ports.add(response?.socket.localPort ?? 0);
          await within(5000, new Promise(done => response?.on('end', done).resume()), 'the end');
          await pause(1500);
        }
        assert.is(ports.size, count);
      });
    }
  },
  requestId: async () => {
    for (const [form, pattern] of [
      ['uuid', /^[0-9a-f]{8}-[0-9a-f]{4}-4/],
      ['8-8-12', /^1-[0-9a-f]{8}-[0-9a-f]{8}-[0-9a-f]{12}$/],
      ['8-24', /^1-[0-9a-f]{8}-[0-9a-f]{24}$/],
    ] as const) {
      await withPlatform({}, { switches: { requestId: form } }, async fc => {
        assert.match((await get(fc, '/')).requestId, pattern);
      });
    }
  },
  async initializeId() {
    for (const initializeId of ['shared', 'own'] as const) {
      await withPlatform({}, { initializer: { timeout: 20 }, switches: { initializeId } }, async fc => {
        const { requestId } = await event(fc);
        assert.is(saw(fc, '/initialize')[0]?.includes(requestId), initializeId === 'shared');
      });
    }
  },
  headerCase: () => inHeaders('headerCase', { lower: /x-fc-request-id\n/, canonical: /X-Fc-Request-Id\n/ }),
  async probeEnd() {
    const { tells, withFc } = await import('./stand-in.ts');
    for (const [probeEnd, seen] of [
      ['fin', 'FIN'],
      ['rst', CAN_RESET ? 'RST' : 'FIN'],
    ] as const) {
      await withFc({ freeze: false, switches: { probeEnd } }, async fc => {
        await fc.scale(1);
        const { end } = await tells(fc, 'closed', ({ connection }) => connection === 0);
        assert.is(end, seen);
      });
    }
  },
};

async function inHeaders<K extends keyof Switches>(
  name: K,
  expected: Record<Switches[K] & string, RegExp>,
): Promise<void> {
  for (const [value, pattern] of Object.entries<RegExp>(expected)) {
    await withPlatform({}, { switches: { [name]: value } }, async fc => {
      const seen = JSON.parse((await get(fc, '/?headers')).text) as string[];
      assert.match(seen.join('\n'), pattern, `${name}=${value}`);
    });
  }
}

/** A WebSocket frame of a client's. */
function frame(size: number): Buffer {
  const head = size < 126 ? Buffer.from([0x82, 0x80 | size]) : Buffer.from([0x82, 0xfe, size >> 8, size & 0xff]);
  return Buffer.concat([head, Buffer.alloc(4), Buffer.alloc(size)]);
}

/** A connection that was upgraded through an endpoint. */
async function withSocket(
  changed: Partial<Switches>,
  use: (socket: ReturnType<typeof connect>) => Promise<void>,
): Promise<void> {
  const { openEndpoint } = await import('../../../src/desk/fc/endpoint.ts');
  await withPlatform({}, { switches: changed }, async fc => {
    const endpoint = await openEndpoint(fc, '127.0.0.1', 0);
    const socket = connect(endpoint.port, '127.0.0.1');
    try {
      socket.on('error', () => {});
      socket.write('GET /chat HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n');
      const head = await within(5000, new Promise<Buffer>(done => socket.once('data', done)), 'the upgrade');
      assert.match(head.toString(), /^HTTP\/1\.1 101 /);
      await use(socket);
    } finally {
      socket.destroy();
      endpoint.close();
    }
    await within(
      5000,
      fc.life.until(({ event: one, status }) => one === 'answer' && status === 101),
      'the end of the invocation',
    );
    assert.equal(
      fc.instances().map(({ inFlight }) => inFlight),
      [0],
    );
  });
}

for (const [name, test] of Object.entries(TOLD)) switches(`should play ${name} either way`, test);

switches('should name a switch that there is not, and what one may be', () => {
  assert.throws(() => parseSwitches(['sigtem=no']), /switch "sigtem": expected one of startErrorStatus, /);
  assert.throws(() => parseSwitches(['sigterm=maybe']), 'switch "sigterm": expected yes or no, got "maybe"');
  assert.throws(() => parseSwitches(['stopGrace=-1']), 'switch "stopGrace": expected a whole number ≥ 0, got "-1"');
  assert.equal(parseSwitches(['sigterm=no', 'stopGrace=3']), { sigterm: 'no', stopGrace: 3 });
});

switches.run();
