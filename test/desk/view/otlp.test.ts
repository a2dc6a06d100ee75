import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as assert from 'uvu/assert';
import { now } from '../../../src/clock.ts';
import type { Platform } from '../../../src/desk/fc/platform.ts';
import { createTraces, readTarget, type Target, type Traces } from '../../../src/desk/view/otlp.ts';
import { eventually, read, suite, within } from '../../helpers.ts';
import { event, get, whole, withFc } from '../fc/stand-in.ts';

const otlp = suite('traces');

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly attributes: readonly { key: string; value: Record<string, unknown> }[];
  readonly status: { code?: number; message?: string };
}

/** What a collector has got. */
interface Got {
  readonly url: string | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly resource: Record<string, unknown>;
  readonly spans: readonly Span[];
}

const attributesOf = (list: Span['attributes']): Record<string, unknown> =>
  Object.fromEntries(list.map(({ key, value }) => [key, Object.values(value)[0]]));

/** A collector, as far as a test needs one. */
async function withCollector(
  body: (port: number, got: readonly Got[]) => Promise<void>,
  status: () => number = () => 200,
): Promise<void> {
  const got: Got[] = [];
  const server = createServer(async (req, res) => {
    const { resourceSpans } = JSON.parse(String(await read(req)));
    const [{ resource, scopeSpans }] = resourceSpans;
    const { url, headers } = req;
    got.push({ url, headers, resource: attributesOf(resource.attributes), spans: scopeSpans[0].spans });
    res.statusCode = status();
    res.end('{}');
  });
  await new Promise<void>(done => server.listen(0, '127.0.0.1', done));
  try {
    await body((server.address() as AddressInfo).port, got);
  } finally {
    server.close();
  }
}

const target = (env: Record<string, string>): Target => readTarget(env) as Target;

/** Has a platform's calls sent as traces. */
function follow(fc: Platform, env: Record<string, string>): { traces: Traces; problems: readonly string[] } {
  const zero = now();
  const problems: string[] = [];
  const traces = createTraces(
    target(env),
    fc.settings,
    () => now() - zero,
    text => void problems.push(text),
  );
  fc.life.on(traces.event);
  return { traces, problems };
}

otlp('should go where OpenTelemetry’s variables say', () => {
  assert.is(readTarget({}), undefined);
  const common = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://localhost:4318/' };
  assert.is(readTarget({ ...common, OTEL_SDK_DISABLED: 'true' }), undefined);
  assert.is(readTarget({ ...common, OTEL_TRACES_EXPORTER: 'none' }), undefined);
  assert.is(target(common).url.href, 'http://localhost:4318/v1/traces');
  assert.is(target({ ...common, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'https://a.b/own' }).url.href, 'https://a.b/own');
  assert.equal(target({ ...common, OTEL_EXPORTER_OTLP_HEADERS: 'a=1, key = x%20y=z ,bad,=no' }).headers, {
    a: '1',
    key: 'x y=z',
  });
  const attributes = { OTEL_RESOURCE_ATTRIBUTES: 'team=desk,service.name=no', OTEL_SERVICE_NAME: 'mine' };
  assert.equal(target({ ...common, ...attributes }).attributes, { team: 'desk', 'service.name': 'mine' });
  for (const [name, value, text] of [
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'nowhere', /^OTEL_EXPORTER_OTLP_ENDPOINT: expected a URL, got "nowhere"$/],
    ['OTEL_EXPORTER_OTLP_ENDPOINT', 'file:///x', /^OTEL_EXPORTER_OTLP_ENDPOINT: expected http or https, got file:$/],
    ['OTEL_EXPORTER_OTLP_PROTOCOL', 'grpc', /^OTEL_EXPORTER_OTLP_PROTOCOL: expected http\/json, got "grpc"$/],
  ] as const) {
    assert.throws(() => readTarget({ ...common, [name]: value }), text);
  }
});

otlp('should make a span of each call, and of each part of its time', async () => {
  await withCollector(async (port, got) => {
    await withFc({ initializer: { timeout: 3 }, name: 'shop' }, async fc => {
      const begun = Date.now();
      const { traces, problems } = follow(fc, {
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_EXPORTER_OTLP_HEADERS: 'x-key=k',
      });
      const [trace, parent] = ['0af7651916cd43dd8448eb211c80319c', 'b7ad6b7169203331'];
      const headers = [['traceparent', `00-${trace}-${parent}-01`]] as const;
      await whole(get(fc, { status: 503 }, { path: '/a?secret=canary', headers }));
      await whole(event(fc, {}));
      await within(10_000, traces.flush(), 'the traces to be sent');
      assert.equal(problems, []);
      const [first, ...rest] = got;
      assert.equal([first?.url, first?.headers['x-key'], rest], ['/v1/traces', 'k', []]);
      assert.equal(
        [first?.resource['service.name'], first?.resource['cloud.platform'], first?.resource['faas.max_memory']],
        ['shop', 'alibaba_cloud_fc', String(512 * 1024 * 1024)],
      );
      assert.not.ok(JSON.stringify(got).includes('canary'));

      const spans = first?.spans ?? [];
      const [http, invoke] = ['GET /a', 'invoke'].map(name => spans.find(span => span.name === name));
      assert.equal([http?.traceId, http?.parentSpanId, http?.kind, http?.status.code], [trace, parent, 2, 2]);
      const attributes = attributesOf(http?.attributes ?? []);
      assert.equal(
        [attributes['faas.coldstart'], attributes['http.response.status_code'], attributes['url.path']],
        [true, '503', '/a'],
      );
      assert.equal([invoke?.kind, invoke?.parentSpanId, invoke?.status], [5, undefined, {}]);
      assert.is(attributesOf(invoke?.attributes ?? [])['faas.coldstart'], false);

      const parts = spans.filter(span => span.parentSpanId === http?.spanId);
      const names = parts.map(({ name }) => name);
      for (const name of ['instance start', 'initializer', 'function']) assert.ok(names.includes(name), String(names));
      assert.ok(parts.every(({ traceId }) => traceId === trace));
      const ms = (nano: string | undefined): number => Number(nano) / 1e6;
      assert.is(parts[0]?.startTimeUnixNano, http?.startTimeUnixNano);
      for (const [i, part] of parts.entries()) {
        const next = parts[i + 1]?.startTimeUnixNano ?? http?.endTimeUnixNano;
        assert.ok(Math.abs(ms(part.endTimeUnixNano) - ms(next)) < 0.1, `${part.name} ends where the next begins`);
      }
      assert.ok(Math.abs(ms(http?.startTimeUnixNano) - begun) < 10_000, 'since 1970');
    });
  });
});

otlp('should say once that no trace arrives, and lose no call for it', async () => {
  let status = 500;
  await withCollector(
    async (port, got) => {
      await withFc({}, async fc => {
        const { traces, problems } = follow(fc, { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` });
        for (const code of [500, 500, 200, 500]) {
          status = code;
          assert.is((await whole(get(fc))).status, 200);
          await within(10_000, traces.flush(), 'the traces to be sent');
        }
        assert.equal(problems, Array(2).fill(`traces do not get to http://127.0.0.1:${port}: status 500`));
        assert.is(got.length, 4);
        // by themselves, a while later
        await whole(get(fc));
        await eventually('the next', async () => got.length === 5);
      });
    },
    () => status,
  );
});

otlp.run();
