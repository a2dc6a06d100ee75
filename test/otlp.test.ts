import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import * as assert from 'uvu/assert';
import { readConfig } from '../src/config.ts';
import { freePort } from '../src/desk/fc/port.ts';
import type { Exchange } from '../src/gateway.ts';
import { createLog } from '../src/log.ts';
import { createTraces } from '../src/otlp.ts';
import { AGENTS, withServerOn } from './agents.ts';
import { ask, deferred, eventually, open, read, run, type Server, suite, within, withServer } from './helpers.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';

const FUNCTION = `
  exports.handler = async (ctx, req, res) => {
    const { pathname, searchParams } = new URL(req.url, 'http://a');
    if (pathname === '/throw') throw new Error('canary-thrown');
    if (pathname === '/hang') return console.log('hanging');
    res.writeHead(Number(searchParams.get('status') ?? 200), { 'x-canary': 'canary-response' });
    res.end(JSON.stringify({ headers: req.headers, baggage: req.baggage }));
  };`;
const OPTIONS = {
  functions: { f: FUNCTION },
  profile: {
    routes: [
      { path: '/a/*', function: 'f' },
      { event: true, function: 'f' },
      { method: 'PUT', function: 'f' },
      { path: '/throw', function: 'f' },
      { path: '/hang', function: 'f' },
    ],
  },
};

type Value = { stringValue: string } | { intValue: string } | { boolValue: boolean };

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly traceState?: string;
  readonly flags: number;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly status: { code?: number };
}

/** What a collector has got. */
interface Got {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
  readonly resource: Readonly<Record<string, unknown>>;
  readonly spans: readonly Span[];
}

/** Attributes as they must be in OTLP's JSON: each key once, with one value of one type. */
function attributesOf(list: readonly { key: string; value: Value }[]): Record<string, unknown> {
  const pairs = list.map(({ key, value, ...rest }) => {
    assert.equal(rest, {});
    const [[type, given] = ['', undefined], ...more] = Object.entries(value);
    assert.equal(more, []);
    if (type === 'intValue') assert.match(String(given), /^\d+$/);
    assert.type(given, type === 'boolValue' ? 'boolean' : 'string');
    assert.ok(['boolValue', 'intValue', 'stringValue'].includes(type), type);
    return [key, type === 'intValue' ? Number(given) : given] as const;
  });
  assert.is(new Set(pairs.map(([key]) => key)).size, pairs.length);
  return Object.fromEntries(pairs);
}

/** Takes one request apart as a collector does that is strict. */
function parse({ url, method, headers }: IncomingMessage, text: string): Got {
  assert.equal([method, headers['content-type']], ['POST', 'application/json']);
  assert.is(headers['content-length'], String(Buffer.byteLength(text)));
  const { resourceSpans, ...rest } = JSON.parse(text);
  assert.equal([Object.keys(rest), resourceSpans.length], [[], 1]);
  const [{ resource, scopeSpans }] = resourceSpans;
  assert.is(scopeSpans.length, 1);
  const [{ scope, spans }] = scopeSpans;
  assert.is(scope.name, 'noslate-fc');
  assert.ok(spans.length > 0 && spans.length <= 512, `${spans.length} spans`);
  for (const span of spans) {
    assert.match(span.traceId, /^(?!0{32})[\da-f]{32}$/);
    assert.match(span.spanId, /^(?!0{16})[\da-f]{16}$/);
    assert.ok(span.parentSpanId === undefined || /^(?!0{16})[\da-f]{16}$/.test(span.parentSpanId));
    assert.is(span.kind, 2);
    const [from, to] = [BigInt(span.startTimeUnixNano), BigInt(span.endTimeUnixNano)];
    assert.ok(from <= to && Math.abs(Number(to / 1_000_000n) - Date.now()) < 3_600_000, `${from} to ${to}`);
    span.attributes = attributesOf(span.attributes);
  }
  return { url, headers, text, resource: attributesOf(resource.attributes), spans };
}

interface Collector {
  readonly port: number;
  readonly got: readonly Got[];
  spans(): readonly Span[];
  /** The spans, when there are so many of them. */
  until(count: number): Promise<readonly Span[]>;
}

type Answer = (req: IncomingMessage, res: ServerResponse, index: number) => void;

/** A collector that answers as a test says, with 200 otherwise. What it cannot read fails the test. */
async function withCollector(body: (collector: Collector) => Promise<void>, answer?: Answer): Promise<void> {
  const got: Got[] = [];
  let fault: unknown;
  const server = createServer(async (req, res) => {
    try {
      const index = got.push(parse(req, String(await read(req)))) - 1;
      if (answer === undefined) res.end('{"partialSuccess":{}}');
      else answer(req, res, index);
    } catch (error) {
      fault ??= error;
      res.destroy();
    }
  });
  const sockets = new Set<Socket>();
  server.on('connection', socket => void sockets.add(socket));
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  const spans = (): readonly Span[] => got.flatMap(item => item.spans);
  try {
    await body({
      port: (server.address() as AddressInfo).port,
      got,
      spans,
      async until(count) {
        await eventually(`${count} spans`, async () => spans().length >= count || fault !== undefined);
        return spans();
      },
    });
    if (fault !== undefined) throw fault;
  } finally {
    server.close();
    // those that hang
    for (const socket of sockets) socket.destroy();
  }
}

const envOf = (port: number): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}/canary-token/`,
  OTEL_EXPORTER_OTLP_HEADERS: 'Authorization=Bearer%20canary-header, x-empty=,',
});

/** What FC does before it freezes an instance: all that is held leaves. */
async function freeze(port: number): Promise<void> {
  assert.is((await ask(port, { path: '/pre-freeze' })).status, 200);
}

const warnings = ({ lines }: Server): string[] =>
  lines()
    .filter(({ level, message }) => level !== 'info' || message === 'spans exported again')
    .map(({ message, reason, spans }) => `${message} ${reason ?? spans ?? ''}`.trim());

for (const agent of AGENTS) {
  const calls = suite(`spans :: ${agent}`);

  calls('should stand between the caller’s and the function’s', async () => {
    await withCollector(async collector => {
      await withServerOn(agent, { ...OPTIONS, env: envOf(collector.port) }, async server => {
        const context = { traceparent: `00-${TRACE}-${SPAN}-01`, tracestate: 'a=1' };
        const headers = { ...context, 'x-fc-request-id': 'one', cookie: 'canary-cookie' };
        const { headers: told, baggage } = (
          await ask(server.port, { path: '/a/b?canary=query', headers })
        ).json() as Record<string, Record<string, string>>;
        const parent = /^00-([\da-f]{32})-([\da-f]{16})-01$/.exec(told?.['traceparent'] ?? '');
        assert.is(parent?.[1], TRACE);
        assert.is.not(parent?.[2], SPAN);
        assert.equal(baggage, { traceparent: told?.['traceparent'], tracestate: 'a=1' });
        assert.is((await server.access('one'))['traceId'], TRACE);
        await freeze(server.port);
        await collector.until(1);

        const [got, ...rest] = collector.got;
        assert.equal([got?.url, rest], ['/canary-token/v1/traces', []]);
        assert.equal([got?.headers.authorization, got?.headers['x-empty']], ['Bearer canary-header', '']);
        const { resource = {}, spans: [span] = [], text = '' } = got ?? {};
        assert.not.match(text, 'canary');
        assert.equal(
          [resource['service.name'], resource['cloud.platform'], resource['faas.name'], resource['faas.max_memory']],
          ['noslate-fc', 'alibaba_cloud_fc', server.fc.settings.name, server.fc.settings.memory * 1024 * 1024],
        );
        assert.equal(
          [span?.traceId, span?.parentSpanId, span?.spanId, span?.traceState, span?.flags],
          [TRACE, SPAN, parent?.[2], 'a=1', 0x301],
        );
        assert.equal([span?.name, span?.status], ['GET /a/*', {}]);
        assert.equal(span?.attributes, {
          'http.request.method': 'GET',
          'http.route': '/a/*',
          'http.response.status_code': 200,
          'url.path': '/a/b',
          'url.scheme': 'http',
          'faas.trigger': 'http',
          'faas.invocation_id': 'one',
          'faas.invoked_name': 'f',
          'faas.coldstart': true,
        });
      });
    });
  });

  calls('should say how each call ended', async () => {
    await withCollector(async collector => {
      await withServerOn(agent, { ...OPTIONS, env: envOf(collector.port) }, async server => {
        const { port } = server;
        const call = async (id: string, path: string, method?: string): Promise<void> => {
          const headers = { 'x-fc-request-id': id, 'x-forwarded-proto': 'https' };
          await ask(port, { path, headers, ...(method !== undefined && { method }) });
        };
        await call('throws', '/throw?canary');
        await call('own', '/a/x?status=500');
        await call('mine', '/a/x?status=404');
        await call('none', '/nowhere');
        await call('event', '/invoke', 'POST');
        await call('put', '/x', 'PUT');
        await call('bad', '/invoke?status=503', 'POST');
        await call('odd', '/a/x', 'PROPFIND');
        const left = open(port, { path: '/hang', headers: { 'x-fc-request-id': 'left' } });
        await server.line('the call', ({ message }) => message === 'hanging');
        left.request.destroy();
        await server.access('left');
        await ask(port, { path: '/a/x', headers: { traceparent: `00-${TRACE}-${SPAN}-00` } });
        await freeze(port);

        const spans = new Map((await collector.until(9)).map(item => [item.attributes['faas.invocation_id'], item]));
        const told = (id: string): unknown[] => {
          const { name, attributes, status, parentSpanId, flags } = spans.get(id) ?? {};
          assert.equal(
            [parentSpanId, flags, attributes?.['url.scheme']],
            [undefined, 0x103, id === 'left' ? 'http' : 'https'],
          );
          const { 'http.response.status_code': code, 'error.type': type, 'faas.trigger': trigger } = attributes ?? {};
          return [name, code, type, status?.code, trigger];
        };
        assert.equal(told('throws'), ['GET /throw', 502, 'FUNCTION_FAILED', 2, 'http']);
        assert.equal(told('own'), ['GET /a/*', 500, '500', 2, 'http']);
        assert.equal(told('mine'), ['GET /a/*', 404, undefined, undefined, 'http']);
        assert.equal(told('none'), ['GET', 404, 'ROUTE_NOT_FOUND', undefined, 'http']);
        assert.equal(told('event'), ['POST /invoke', 200, undefined, undefined, 'other']);
        assert.equal(told('put'), ['PUT', 200, undefined, undefined, 'http']);
        assert.equal(told('bad'), ['POST /invoke', 404, '404', 2, 'other']);
        assert.equal(told('odd'), ['HTTP /a/*', 200, undefined, undefined, 'http']);
        assert.equal(told('left'), ['GET /hang', undefined, 'CLIENT_GONE', 2, 'http']);
        // what is not sampled is not there
        assert.is(collector.spans().length, 9);
        assert.not.match(collector.got.map(({ text }) => text).join(), 'canary');
      });
    });
  });

  calls.run();
}

const sending = suite('collector', { ms: 120_000 });

sending('should get spans by themselves, and the last ones at the end', async () => {
  for (const end of ['SIGTERM', 'SIGINT', '/pre-stop']) {
    await withCollector(async collector => {
      await withServer({ ...OPTIONS, env: envOf(collector.port) }, async ({ port, kill, exit, line }) => {
        await ask(port, { path: '/a/1' });
        if (end === 'SIGTERM') assert.is((await collector.until(1)).length, 1);
        else await freeze(port);
        await ask(port, { path: '/a/2' });
        const held = open(port, { path: '/hang', headers: { 'x-fc-function-timeout': '1' } });
        await line('the call', ({ message }) => message === 'hanging');
        if (end === '/pre-stop') await ask(port, { path: end });
        else kill(end as NodeJS.Signals);
        await within(10_000, exit, 'the end');
        const paths = collector.spans().map(({ attributes }) => attributes['url.path']);
        assert.equal([...paths].sort(), ['/a/1', '/a/2', '/hang'], end);
        held.request.destroy();
      });
    });
  }
});

/** What goes wrong, and what is said of it: with each a retry, or none. */
const FAULTS: Record<string, { answer: Answer; reason: RegExp; tries: number }> = {
  'it resets': { answer: req => req.socket.destroy(), reason: /socket hang up|ECONNRESET/, tries: 1 },
  'it closes within its head': {
    answer: req => req.socket.end('HTTP/1.1 200 OK\r\ncontent-le'),
    reason: /socket hang up|Parse Error|ECONNRESET/,
    tries: 1,
  },
  'it is no HTTP': { answer: req => req.socket.end('canary-collector\r\n\r\n'), reason: /Parse Error/, tries: 1 },
  'it answers 400': {
    answer: (_, res) => res.writeHead(400).end('canary-collector'),
    reason: /^status 400$/,
    tries: 1,
  },
  'it answers 302': {
    answer: (_, res) => res.writeHead(302, { location: 'http://canary-collector' }).end(),
    reason: /^status 302$/,
    tries: 1,
  },
  'it answers 503': { answer: (_, res) => res.writeHead(503).end(), reason: /^status 503$/, tries: 2 },
  'it answers 429': {
    answer: (_, res) => res.writeHead(429, { 'retry-after': '3600' }).end(),
    reason: /^status 429$/,
    tries: 2,
  },
};

for (const [what, { answer, reason, tries }] of Object.entries(FAULTS)) {
  sending(`should be said once where ${what}, and keep no call`, async () => {
    let isWell = false;
    await withCollector(
      async collector => {
        await withServer({ ...OPTIONS, env: envOf(collector.port) }, async server => {
          const { port, output, lines } = server;
          for (let i = 0; i < 3; i++) {
            assert.is((await ask(port, { path: '/a/x' })).status, 200);
            await freeze(port);
          }
          // each freeze may be the last
          const dropped = (): number => lines().reduce((sum, { spans }) => sum + Number(spans ?? 0), 0);
          await eventually('all to be dropped', async () => {
            await freeze(port);
            return dropped() === 3;
          });
          assert.is(collector.got.length % tries, 0);
          assert.ok(collector.got.length <= 3 * tries, `${collector.got.length} requests`);
          const failures = (): string[] => warnings(server).filter(line => !line.startsWith('spans dropped '));
          const [first = '', ...rest] = failures();
          assert.match(first, /^spans not exported /);
          assert.match(first.slice('spans not exported '.length), reason);
          assert.equal(rest, []);
          isWell = true;
          await ask(port, { path: '/a/x' });
          await freeze(port);
          await server.line('a good end', ({ message }) => message === 'spans exported again');
          assert.equal([failures().length, dropped()], [2, 3]);
          assert.not.match(output(), 'canary');
        });
      },
      (req, res, index) => (isWell ? res.end() : answer(req, res, index)),
    );
  });
}

sending('should be tried once more when it says so', async () => {
  const first = deferred();
  await withCollector(
    async collector => {
      await withServer({ ...OPTIONS, env: envOf(collector.port) }, async server => {
        await ask(server.port, { path: '/a/x' });
        await within(10_000, first.promise, 'a first try');
        await ask(server.port, { path: '/a/y' });
        await eventually('a second try, and what came meanwhile', async () => collector.got.length === 3);
        const [one, two, three] = collector.got;
        assert.is(one?.text, two?.text);
        assert.is(three?.spans[0]?.attributes['url.path'], '/a/y');
        assert.equal(warnings(server), []);
      });
    },
    (_, res, index) => {
      if (index > 0) res.end();
      else {
        res.writeHead(503, { 'retry-after': new Date(Date.now() + 2000).toUTCString() }).end();
        first.resolve();
      }
    },
  );
});

sending('should have nobody wait for it where it hangs, or sends without end', async () => {
  const endless = (res: ServerResponse): void => {
    while (res.write('x'.repeat(65_536)));
    res.once('drain', () => endless(res));
  };
  for (const answer of [() => {}, (_: unknown, res: ServerResponse) => endless(res)]) {
    const isHanging = answer.length === 0;
    await withCollector(async collector => {
      await withServer({ ...OPTIONS, env: envOf(collector.port) }, async server => {
        const { port, kill, exit } = server;
        for (let i = 0; i < 3; i++) {
          assert.is((await ask(port, { path: '/a/x' })).status, 200);
          await freeze(port);
        }
        if (!isHanging) await collector.until(3);
        // one request is on its way at a time
        else assert.is(collector.got.length, 1);
        if (isHanging) await server.line('the reason', ({ reason }) => reason === 'no answer within 10 s');
        await ask(port, { path: '/a/x' });
        kill('SIGTERM');
        await within(10_000, exit, 'the end');
        assert.equal(warnings(server).slice(isHanging ? 1 : 0), isHanging ? ['spans dropped 4'] : []);
      });
    }, answer);
  }
});

sending('should be told where none is there', async () => {
  const port = await freePort();
  for (const env of [
    { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` },
    { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `https://user:canary@127.0.0.1:${port}/canary` },
  ]) {
    await withServer({ ...OPTIONS, env }, async server => {
      assert.is((await ask(server.port, { path: '/a/x' })).status, 200);
      await freeze(server.port);
      const line = await server.line('no collector', ({ message }) => message === 'spans not exported');
      assert.match(String(line['reason']), 'ECONNREFUSED');
      assert.match(String(line['to']), new RegExp(`^https?://127.0.0.1:${port}$`));
      assert.not.match(server.output(), 'canary');
    });
  }
});

sending('should cost spans, and no more, where its fields are none that can be sent', async () => {
  const env = { ...envOf(1), OTEL_EXPORTER_OTLP_HEADERS: 'trailer=x' };
  await withServer({ ...OPTIONS, env }, async ({ port, line, kill, exit }) => {
    await ask(port);
    await line('the failure', ({ message }) => message === 'spans not exported');
    await ask(port);
    kill('SIGTERM');
    assert.is(await within(20_000, exit, 'the end'), 0);
  });
});

sending('should take no more memory than there is for it', async () => {
  const long = 'x'.repeat(50_000);
  const exchange = (path: string): Exchange =>
    ({
      req: { method: 'GET', headers: {} },
      res: { statusCode: 200 },
      kind: 'http',
      url: `/${path}?${long}`,
      requestId: long,
      function: long,
      route: '',
      isCold: false,
      firstByteMs: 1,
      trace: { traceId: TRACE, spanId: SPAN, parentId: SPAN, flags: 1, state: `a=${long}` },
    }) as unknown as Exchange;
  const written: string[] = [];
  const log = createLog('json', text => void written.push(text));
  const gate = deferred();
  await withCollector(
    async collector => {
      const url = new URL(`http://127.0.0.1:${collector.port}/own`);
      const traces = createTraces('1', url, { otlpHeaders: undefined, serviceName: 'mine' }, {}, log);
      for (let i = 0; i < 5000; i++) traces.end(exchange(`${i}${long}`), 'ok', 1.5);
      await collector.until(512);
      gate.resolve();
      // within a second each, and the machine may be slow
      await eventually('the spans', async () => {
        await traces.flush(false);
        return collector.spans().length >= 2048;
      });
      await within(10_000, traces.flush(true), 'the end');
      assert.equal(
        collector.got.map(({ spans }) => spans.length),
        [512, 512, 512, 512],
      );
      const [
        {
          resource,
          text,
          url: path,
          spans: [span],
        } = { resource: {}, text: '', url: '', spans: [] },
      ] = collector.got;
      assert.is(path, '/own');
      assert.ok(text.length < 512 * 4000, `${text.length} characters`);
      assert.equal([span?.traceState, String(span?.attributes['url.path']).length], [undefined, 1024]);
      const { startTimeUnixNano: from = '', endTimeUnixNano: to = '' } = span ?? {};
      assert.is(BigInt(to) - BigInt(from), 1_500_000n);
      assert.equal(resource, {
        'service.name': 'mine',
        'service.version': '1',
        'telemetry.sdk.name': 'noslate-fc',
        'telemetry.sdk.language': 'nodejs',
        'telemetry.sdk.version': '1',
      });
      log.flush();
      const { message, spans } = JSON.parse(written.join('').trim());
      assert.equal([message, spans], ['spans dropped', 5000 - 2048]);
    },
    async (_, res) => {
      await gate.promise;
      res.end();
    },
  );
});

sending('should be nobody’s but the collector’s to know', async () => {
  await withCollector(async collector => {
    const admin = await freePort();
    const env = { ...envOf(collector.port), SERVER_ADMIN_PORT: String(admin) };
    const showing = { f: 'exports.handler = async (ctx, req, res) => res.end(JSON.stringify(process.env));' };
    await withServer({ functions: showing, env }, async ({ port, line, output }) => {
      await line('admin port open', ({ message }) => message === 'admin port open');
      const config = await ask(admin, { path: '/config' });
      const settings = config.json()['settings'] as Record<string, unknown>;
      assert.is(settings['OTEL_EXPORTER_OTLP_TRACES_HEADERS'], '***');
      assert.is(settings['OTEL_EXPORTER_OTLP_TRACES_ENDPOINT'], '***');
      const seen = [config, await ask(port, { path: '/' }), await ask(admin, { path: '/metrics' })];
      await freeze(port);
      await collector.until(1);
      assert.is(collector.got[0]?.headers.authorization, 'Bearer canary-header');
      assert.not.match([...seen.map(({ body }) => body), output()].join('\n'), 'canary');
    });
    for (const flag of ['--doctor', '--check', '--help']) {
      const { stdout, stderr } = await run([flag], env);
      assert.not.match(stdout + stderr, 'canary');
    }
    const bad = {
      OTEL_EXPORTER_OTLP_HEADERS: ['canary', 'a=1,canary', 'a b=canary', 'a=%canary', 'a=canary%0a', 'a=canär'],
      OTEL_EXPORTER_OTLP_TRACES_HEADERS: ['=canary'],
      OTEL_EXPORTER_OTLP_ENDPOINT: ['canary', 'file:///canary', 'canary:4317', '//canary'],
      OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: ['canary', 'unix:/canary'],
    };
    for (const [name, values] of Object.entries(bad)) {
      for (const value of values) {
        const { problems } = readConfig({ [name]: value }, [], () => false);
        assert.is(problems.length, 1, value);
        assert.match(problems[0] ?? '', new RegExp(`^${name}: expected .*, got something else$`));
      }
    }
    const { code, stderr } = await run([], { OTEL_EXPORTER_OTLP_HEADERS: 'canary' });
    assert.equal(
      [code, stderr],
      [
        78,
        'noslate-fc: OTEL_EXPORTER_OTLP_HEADERS: expected NAME=VALUE,NAME=VALUE with values percent-encoded, got something else\n',
      ],
    );
  });
});

sending('should be found as OpenTelemetry’s variables say', () => {
  const url = (env: Record<string, string>): string | undefined =>
    readConfig(env, [], () => false).config.otlpEndpoint?.href;
  assert.is(url({}), undefined);
  for (const base of ['http://a:4318', 'http://a:4318/'])
    assert.is(url({ OTEL_EXPORTER_OTLP_ENDPOINT: base }), 'http://a:4318/v1/traces');
  assert.is(url({ OTEL_EXPORTER_OTLP_ENDPOINT: 'https://a/b/?c' }), 'https://a/b/v1/traces?c');
  const own = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://a', OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://b/own' };
  assert.is(url(own), 'https://b/own');
  const fields = (value: string) =>
    readConfig({ OTEL_EXPORTER_OTLP_HEADERS: value }, [], () => false).config.otlpHeaders;
  assert.equal(fields('A=1, key = x%20y=z ,b=%2C,'), { a: '1', key: 'x y=z', b: ',' });
});

sending.run();
