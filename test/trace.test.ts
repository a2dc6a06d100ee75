import fastCheck from 'fast-check';
import * as assert from 'uvu/assert';
import { readConfig } from '../src/config.ts';
import { SAMPLED, type Sampling, type Trace, traceFields, traceOf } from '../src/trace.ts';
import { AGENTS, withServerOn } from './agents.ts';
import { ask, suite } from './helpers.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const SPAN = 'b7ad6b7169203331';
const PARENT = `00-${TRACE}-${SPAN}-01`;
const OWN = 'x-fc-tracing-opentracing-span-context';
const FORM = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-0[0-3]$/;
const SAMPLING: Sampling = { sampler: 'parentbased_always_on', samplerArg: 1 };

type Headers = Record<string, string>;

/** The trace of a call whose spans are recorded, or not. */
const read = (headers: Headers, isRecorded = false, sampling = SAMPLING): Trace | undefined =>
  traceOf(headers, isRecorded, sampling);

const told = (headers: Headers): string => {
  const trace = read(headers);
  return trace === undefined ? 'nothing' : `${trace.traceId} ${trace.parentId} ${trace.flags}`;
};

const contexts = suite('trace contexts');

contexts('should be read as W3C has them', () => {
  const good: [text: string, flags: number][] = [
    [PARENT, 1],
    [`00-${TRACE}-${SPAN}-00`, 0],
    [`00-${TRACE}-${SPAN}-03`, 3],
    // the other flags have no meaning yet
    [`00-${TRACE}-${SPAN}-ff`, 3],
    [`00-${TRACE}-${SPAN}-0c`, 0],
    [`01-${TRACE}-${SPAN}-01`, 1],
    [`cc-${TRACE}-${SPAN}-01`, 1],
    [`cc-${TRACE}-${SPAN}-01-what-the-future-will-be-like`, 1],
    [`fe-${TRACE}-${SPAN}-01-`, 1],
  ];
  for (const [traceparent, flags] of good) assert.is(told({ traceparent }), `${TRACE} ${SPAN} ${flags}`, traceparent);
});

contexts('should begin anew where they are malformed, without tracestate', () => {
  const bad = [
    '',
    'x',
    `ff-${TRACE}-${SPAN}-01`,
    `FE-${TRACE}-${SPAN}-01`,
    `0-${TRACE}-${SPAN}-01`,
    `000-${TRACE}-${SPAN}-01`,
    `.0-${TRACE}-${SPAN}-01`,
    `00-${TRACE.slice(1)}-${SPAN}-01`,
    `00-${TRACE}0-${SPAN}-01`,
    `00-${TRACE.toUpperCase()}-${SPAN}-01`,
    `00-${'0'.repeat(32)}-${SPAN}-01`,
    `00-${TRACE}-${'0'.repeat(16)}-01`,
    `00-${TRACE}-${SPAN.slice(1)}-01`,
    `00-${TRACE}-${SPAN}0-01`,
    `00-${TRACE}-${SPAN.toUpperCase()}-01`,
    `00-${TRACE}-${SPAN}-0`,
    `00-${TRACE}-${SPAN}-001`,
    `00-${TRACE}-${SPAN}-.1`,
    `00-${TRACE}-${SPAN}`,
    `${PARENT}-`,
    `${PARENT}-more`,
    `${PARENT}.`,
    `cc-${TRACE}-${SPAN}-01.more`,
    `cc-${TRACE}-${SPAN}-012`,
    ` ${PARENT}`,
    // as node:http joins several lines
    `${PARENT}, ${PARENT}`,
    `cc-${TRACE}-${SPAN}-01, cc-${TRACE}-${SPAN}-01`,
    `cc-${TRACE}-${SPAN}-01-x, cc-${TRACE}-${SPAN}-01-x`,
  ];
  for (const traceparent of bad) {
    const trace = read({ traceparent, tracestate: 'a=1' }) as Trace;
    const fields = traceFields(trace);
    assert.match(fields[1] ?? '', FORM);
    assert.equal([fields.length, trace.parentId], [2, ''], traceparent);
    assert.not.match(fields[1] ?? '', TRACE);
    assert.not.match(fields[1] ?? '', SPAN);
  }
});

contexts('should be read as Jaeger has them, which FC sends', () => {
  const good: [text: string, trace: string, span: string, flags: number][] = [
    [`${TRACE}:${SPAN}:0:1`, TRACE, SPAN, 1],
    [`${TRACE}:${SPAN}:${SPAN}:00`, TRACE, SPAN, 0],
    // debug; without the first bit it says nothing
    [`${TRACE}:${SPAN}:0:3`, TRACE, SPAN, 1],
    [`${TRACE}:${SPAN}:0:2`, TRACE, SPAN, 0],
    [`${SPAN}:a1:0:1`, SPAN.padStart(32, '0'), 'a1'.padStart(16, '0'), 1],
    [`1:2::1`, '1'.padStart(32, '0'), '2'.padStart(16, '0'), 1],
    [`${TRACE.toUpperCase()}:${SPAN.toUpperCase()}:0:1`, TRACE, SPAN, 1],
    [`${TRACE}%3A${SPAN}%3A0%3A1`, TRACE, SPAN, 1],
  ];
  for (const [text, trace, span, flags] of good) assert.is(told({ [OWN]: text }), `${trace} ${span} ${flags}`, text);
  const bad = [
    `0:${SPAN}:0:1`,
    `${TRACE}:0:0:1`,
    `${TRACE}0:${SPAN}:0:1`,
    `${TRACE}:${SPAN}0:0:1`,
    `${TRACE}:${SPAN}:1`,
    `${TRACE}:${SPAN}:0:111`,
    `${TRACE}:${SPAN}:0:x`,
    `${TRACE}:${SPAN}:0:`,
    `${TRACE}-${SPAN}-0-1`,
    `${TRACE}:${SPAN}%3A0:1`,
    PARENT,
    `${TRACE}:${SPAN}:0:1, ${TRACE}:${SPAN}:0:1`,
  ];
  for (const text of bad) {
    const trace = read({ [OWN]: text, tracestate: 'a=1' }) as Trace;
    assert.is(trace.parentId, '', text);
    assert.equal(traceFields(trace).length, 2);
    assert.not.match(trace.traceId, TRACE);
  }
});

contexts('should be taken of the client, else of FC, else of nobody', () => {
  const other = `${'1'.repeat(32)}:${'2'.repeat(16)}:0:0`;
  assert.is(told({ traceparent: PARENT, [OWN]: other }), `${TRACE} ${SPAN} 1`);
  // FC's span is within the client's
  assert.is(told({ traceparent: PARENT, [OWN]: `${TRACE}:${'2'.repeat(16)}:0:1` }), `${TRACE} ${'2'.repeat(16)} 1`);
  assert.is(told({ traceparent: 'x', [OWN]: other }), `${'1'.repeat(32)} ${'2'.repeat(16)} 0`);
  assert.is(told({ traceparent: PARENT, [OWN]: 'x' }), `${TRACE} ${SPAN} 1`);
  // what FC sends where its tracing is off
  assert.is(told({ [OWN]: '' }), 'nothing');
  assert.is(told({ [OWN]: '', tracestate: 'a=1', baggage: 'b=2' }), 'nothing');
  assert.equal(read({ [OWN]: other, tracestate: 'a=1' })?.state, '');
});

contexts('should have our span between, where it is recorded', () => {
  const sampled = read({ traceparent: PARENT }, true) as Trace;
  assert.equal([sampled.traceId, sampled.parentId, sampled.flags], [TRACE, SPAN, 1]);
  assert.is.not(sampled.spanId, SPAN);
  assert.equal(traceFields(sampled), ['traceparent', `00-${TRACE}-${sampled.spanId}-01`]);
  // nobody has a span of ours
  assert.equal(traceFields(read({ traceparent: PARENT }) as Trace), ['traceparent', PARENT]);
  const root = read({}, true) as Trace;
  assert.equal([root.parentId, root.flags, root.state], ['', 3, '']);
});

contexts('should keep tracestate within its limits', () => {
  const state = (tracestate: string): string | undefined => read({ traceparent: PARENT, tracestate })?.state;
  const many = Array.from({ length: 33 }, (_, i) => `k${i}=v`);
  const long = 'k'.repeat(256);
  const same = ['a=1', 'a=1,b=2', 'a@b=1', '0a=1', 'a_-*/=~', 'a=b c', `${long}=${'v'.repeat(256)}`];
  for (const text of [...same, many.slice(1).join()]) assert.is(state(text), text);
  assert.is(state(' a=1 ,\t, b=2,'), 'a=1,b=2');
  assert.is(state('a=1, b=2, a=3'), 'a=1,b=2');
  assert.is(state(`,${many.slice(1).join(', ,')},`), many.slice(1).join());
  const bad = ['a', '=1', 'a=', 'A=1', 'a b=1', 'a=1=2', 'a =1', '@a=1', 'a=\u00e9', 'a=1,b'];
  for (const text of [...bad, many.join(), `${long}k=v`, `k=${'v'.repeat(257)}`, '', ' , ']) assert.is(state(text), '');
});

contexts('should be sampled as OpenTelemetry’s variables say', () => {
  const traces = (sampler: Sampling['sampler'], samplerArg: number, traceparent?: string): number => {
    const headers = traceparent === undefined ? {} : { traceparent };
    const flags = Array.from({ length: 1000 }, () => read(headers, true, { sampler, samplerArg })?.flags ?? 0);
    return flags.filter(flag => flag & SAMPLED).length;
  };
  const unsampled = `00-${TRACE}-${SPAN}-00`;
  const cases: [Sampling['sampler'], root: number, sampled: number, unsampled: number][] = [
    ['parentbased_always_on', 1000, 1000, 0],
    ['parentbased_always_off', 0, 1000, 0],
    ['always_on', 1000, 1000, 1000],
    ['always_off', 0, 0, 0],
  ];
  for (const [sampler, ...expected] of cases)
    assert.equal(
      [undefined, PARENT, unsampled].map(parent => traces(sampler, 1, parent)),
      expected,
    );
  for (const sampler of ['traceidratio', 'parentbased_traceidratio'] as const) {
    assert.equal([traces(sampler, 0), traces(sampler, 1)], [0, 1000]);
    const some = traces(sampler, 0.5);
    assert.ok(some > 300 && some < 700, `${some} of 1000`);
  }
  assert.equal([traces('parentbased_traceidratio', 0, PARENT), traces('traceidratio', 0, PARENT)], [1000, 0]);
  // by the trace alone: all who are asked say the same
  assert.equal(
    ['0', '7', '8', 'f'].map(digit => traces('traceidratio', 0.5, `00-${digit.repeat(31)}1-${SPAN}-00`)),
    [0, 0, 1000, 1000],
  );
});

contexts('should be well-formed whatever came', () => {
  const digits = (length: number) =>
    fastCheck.array(fastCheck.constantFrom(...'0123456789abcdefA'), { minLength: length });
  const near = fastCheck
    .tuple(digits(2), digits(32), digits(16), digits(2), fastCheck.constantFrom('-', ':', '%3A', '.'))
    .map(([a, b, c, d, by]) =>
      [a.slice(0, 2), b.slice(0, 32), c.slice(0, 16), d.slice(0, 2)].map(x => x.join('')).join(by),
    );
  const text = fastCheck.oneof(near, fastCheck.string(), fastCheck.constantFrom(PARENT, '', `${TRACE}:${SPAN}:0:1`));
  const member = fastCheck
    .tuple(fastCheck.string({ maxLength: 3 }), fastCheck.string({ maxLength: 3 }))
    .map(x => x.join('='));
  const list = fastCheck.oneof(
    fastCheck.string(),
    fastCheck.array(member, { maxLength: 40 }).map(x => x.join()),
  );
  fastCheck.assert(
    fastCheck.property(text, text, list, fastCheck.boolean(), (traceparent, own, tracestate, isRecorded) => {
      const trace = read({ traceparent, [OWN]: own, tracestate }, isRecorded) as Trace;
      const [name, value, ...rest] = traceFields(trace);
      assert.is(name, 'traceparent');
      assert.match(value ?? '', FORM);
      if (rest.length === 0) return;
      assert.equal([rest[0], rest.length, trace.parentId !== ''], ['tracestate', 2, true]);
      const members = rest[1]?.split(',') ?? [];
      for (const item of members) assert.match(item, /^[a-z\d][-a-z\d_*/@]{0,255}=[^,=]{0,255}[^,= ]$/);
      assert.ok(members.length <= 32 && new Set(members.map(item => item.split('=')[0])).size === members.length);
    }),
    { numRuns: 2000 },
  );
});

contexts('should be asked for by variables that are checked', () => {
  const { config } = readConfig(
    { OTEL_TRACES_SAMPLER: 'traceidratio', OTEL_TRACES_SAMPLER_ARG: '.25' },
    [],
    () => false,
  );
  assert.equal([config.sampler, config.samplerArg], ['traceidratio', 0.25]);
  for (const value of ['2', '1.1', '-1', 'x', '.', '1e-1'])
    assert.equal(readConfig({ OTEL_TRACES_SAMPLER_ARG: value }, [], () => false).problems, [
      `OTEL_TRACES_SAMPLER_ARG: expected a number from 0 to 1, got "${value}"`,
    ]);
});

contexts.run();

const MIRROR = `
  exports.handler = async (ctx, req, res) => {
    res.end(JSON.stringify({ raw: req.rawHeaders, baggage: req.baggage }));
  };`;

for (const agent of AGENTS) {
  const passing = suite(`traces :: ${agent}`);

  passing('should reach the function as a header and as baggage, and the log', async () => {
    await withServerOn(agent, { functions: { mirror: MIRROR } }, async ({ port, access }) => {
      const call = async (headers: Record<string, string | string[]>) => {
        const { raw, baggage } = (await ask(port, { headers })).json() as { raw: string[]; baggage: Headers };
        const fields = raw.flatMap((name, i) => (i % 2 === 0 && /^trace/i.test(name) ? [name, raw[i + 1]] : []));
        return { raw, baggage, fields };
      };
      const headers = { 'X-Before': '1', TraceParent: PARENT, TraceState: ['b=2 ,', 'a=1,b=3'], 'X-After': ['2', '3'] };
      const told = await call({ ...headers, baggage: 'c=4', 'x-fc-request-id': 'one' });
      const context = { traceparent: PARENT, tracestate: 'b=2,a=1' };
      assert.equal(told.fields, Object.entries(context).flat());
      assert.equal(told.baggage, { ...context, baggage: 'c=4' });
      const at = told.raw.indexOf('X-Before');
      assert.equal(told.raw.slice(at, at + 6), ['X-Before', '1', 'X-After', '2', 'X-After', '3']);
      assert.is((await access('one'))['traceId'], TRACE);

      const own = `${TRACE}:${SPAN}:0:1`;
      const ofFc = await call({ [OWN]: own, 'x-fc-tracing-opentracing-span-baggages': 'd=5' });
      assert.equal(ofFc.fields, ['traceparent', PARENT]);
      assert.equal(ofFc.baggage, {
        [OWN]: own,
        'x-fc-tracing-opentracing-span-baggages': 'd=5',
        traceparent: PARENT,
      });

      const bad = await call({ traceparent: [PARENT, PARENT], tracestate: 'a=1' });
      assert.equal([bad.fields.length, bad.fields[0]], [2, 'traceparent']);
      assert.match(bad.fields[1] ?? '', FORM);
      assert.not.match(bad.fields[1] ?? '', TRACE);

      const none = await call({ 'x-fc-request-id': 'none', [OWN]: '', tracestate: 'a=1' });
      assert.equal(none.fields, ['tracestate', 'a=1']);
      assert.is('traceId' in (await access('none')), false);
    });
  });

  passing('should be told to the client as Server-Timing where it is asked for', async () => {
    const functions = {
      f: `exports.handler = async (ctx, req, res) => {
        if (req.url === '/own') res.setHeader('Server-Timing', 'db;dur=1');
        if (req.url === '/empty') res.statusCode = 204;
        res.end('f');
      };`,
    };
    const OURS = /^queue;dur=\d+\.\d\d, function;dur=\d+\.\d\d$/;
    await withServerOn(agent, { functions, args: ['--timing', 'on'] }, async ({ port }) => {
      for (const path of ['/', '/own', '/empty']) {
        const { rawHeaders } = await ask(port, { path });
        const timings = rawHeaders.filter((_, i) => rawHeaders[i - 1]?.toLowerCase() === 'server-timing');
        assert.match(timings.pop() ?? '', OURS);
        assert.equal(timings, path === '/own' ? ['db;dur=1'] : []);
      }
      // no function has had it
      const failed = await ask(port, { headers: { expect: 'x' } });
      assert.equal([failed.status, failed.headers['server-timing']], [417, undefined]);
    });
    await withServerOn(agent, { functions }, async ({ port }) => {
      assert.is((await ask(port, {})).headers['server-timing'], undefined);
    });
  });

  passing.run();
}
