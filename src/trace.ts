import type { IncomingHttpHeaders } from 'node:http';

/** Where a call stands among those that belong together. Ids are lower-case hex, none of them all zero. */
export interface Trace {
  /** 32 digits. */
  readonly traceId: string;
  /** 16 digits: what the function's spans are children of. */
  readonly spanId: string;
  /** 16 digits: of the caller's span; empty where the trace begins here. */
  readonly parentId: string;
  /** `SAMPLED`, `RANDOM` */
  readonly flags: number;
  /** A whole `tracestate`, or empty. */
  readonly state: string;
}

/** Bit of a trace's flags: its spans are recorded. */
export const SAMPLED = 1;
/** Bit of a trace's flags: the last 14 digits of its id are random. @see Trace Context Level 2, "Random Trace ID Flag" */
const RANDOM = 2;

/** Who decides what is sampled. @see OpenTelemetry, Environment Variable Specification, "OTEL_TRACES_SAMPLER" */
export const SAMPLERS = [
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
  'always_on',
  'always_off',
  'traceidratio',
] as const;

/** A sampler, and of `traceidratio` the share of traces that it takes, 0 to 1. */
export interface Sampling {
  readonly sampler: (typeof SAMPLERS)[number];
  readonly samplerArg: number;
}

/** What came with a call of its trace. */
type Context = Pick<Trace, 'traceId' | 'spanId' | 'flags'>;

const NONE = /^0*$/;

/** Several lines are joined by a comma, which none of a later version is known to have. */
const PARENT = /^(?!ff)([\da-f]{2})-([\da-f]{32})-([\da-f]{16})-([\da-f]{2})(-[^,]*)?$/;

/** @see Trace Context §3.2.2, §3.2.4 */
function readParent(text: string): Context | undefined {
  const [, version, traceId = '', spanId = '', flags = '', more] = PARENT.exec(text) ?? [];
  if ((version === '00' && more !== undefined) || NONE.test(traceId) || NONE.test(spanId)) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags, 16) & (SAMPLED | RANDOM) };
}

/** Some senders have the colons percent-encoded. */
const JAEGER = /^([\da-f]{1,32})(:|%3a)([\da-f]{1,16})\2[\da-f]{0,16}\2([\da-f]{1,2})$/i;

/** @see Jaeger, Client Libraries, "Propagation Format": leading zeros may be cut, the parent is not to be looked at */
function readJaeger(text: string): Context | undefined {
  const [, traceId = '', , spanId = '', flags = ''] = JAEGER.exec(text) ?? [];
  if (NONE.test(traceId) || NONE.test(spanId)) return undefined;
  return {
    traceId: traceId.toLowerCase().padStart(32, '0'),
    spanId: spanId.toLowerCase().padStart(16, '0'),
    flags: Number.parseInt(flags, 16) & SAMPLED,
  };
}

const MEMBER = /^([a-z\d][-a-z\d_*/@]{0,255})=[ -+\--<>-~]{0,255}[!-+\--<>-~]$/;
const MAX_MEMBERS = 32;

/** A `tracestate` without empty members and with each key once, the first; empty if it is malformed. @see Trace Context §3.3 */
function readState(text: string): string {
  const members = new Map<string, string>();
  let count = 0;
  for (const part of text.split(',')) {
    const member = part.trim();
    if (member === '') continue;
    const key = MEMBER.exec(member)?.[1];
    if (key === undefined || ++count > MAX_MEMBERS) return '';
    if (!members.has(key)) members.set(key, member);
  }
  return [...members.values()].join();
}

/**
 * Finds a call's trace: that of `traceparent`, else of FC's own context, else a new one where one of them is malformed or
 * spans are recorded; undefined where nobody has asked for a trace.
 *
 * A client's `traceparent` wins: with it, it asks for one trace through all that it calls, while FC's is of FC's own
 * backend, and goes to the function as it came. Where both are of one trace, FC's span is the nearer parent.
 *
 * @param isRecorded - spans of ours are sent. Where they are not, the function's are children of the caller's: of one that
 *   nobody has, trees would fall apart.
 */
export function traceOf(headers: IncomingHttpHeaders, isRecorded: boolean, sampling: Sampling): Trace | undefined {
  const { traceparent, tracestate } = headers;
  // FC sends it empty where its tracing is off
  const own = headers['x-fc-tracing-opentracing-span-context'] || undefined;
  if (traceparent === undefined && own === undefined && !isRecorded) return undefined;
  const asked = readParent(String(traceparent));
  const near = readJaeger(String(own));
  const parent = asked ?? near;
  if (parent === undefined) {
    const traceId = newId(32);
    return { traceId, spanId: newId(16), parentId: '', flags: RANDOM | sample(sampling, traceId), state: '' };
  }
  const { traceId } = parent;
  const parentId = near?.traceId === traceId ? near.spanId : parent.spanId;
  const state = asked === undefined || tracestate === undefined ? '' : readState(String(tracestate));
  if (!isRecorded) return { traceId, spanId: parentId, parentId, flags: parent.flags, state };
  const flags = (parent.flags & RANDOM) | sample(sampling, traceId, parent.flags & SAMPLED);
  return { traceId, spanId: newId(16), parentId, flags, state };
}

/** @param parent - `SAMPLED` or 0, as the caller has it; undefined without one. */
function sample({ sampler, samplerArg }: Sampling, traceId: string, parent?: number): number {
  if (parent !== undefined && sampler.startsWith('parentbased')) return parent;
  if (sampler.endsWith('_on')) return SAMPLED;
  // 13 digits: as many as a number holds
  return sampler.endsWith('ratio') && Number.parseInt(traceId.slice(19), 16) >= (1 - samplerArg) * 2 ** 52
    ? SAMPLED
    : 0;
}

/** The fields that tell a trace, flat: name, value, … */
export function traceFields({ traceId, spanId, flags, state }: Trace): string[] {
  const fields = ['traceparent', `00-${traceId}-${spanId}-0${flags}`];
  if (state !== '') fields.push('tracestate', state);
  return fields;
}

/** So many random hex digits, a multiple of four; in a log or a trace they only have to be told from others. */
export function newDigits(count: number): string {
  let digits = '';
  // four at a time: larger numbers take V8 ten times as long
  while (digits.length < count) digits += ((Math.random() * 0x10000) | 0x10000).toString(16).slice(1);
  return digits;
}

function newId(length: number): string {
  let id = '';
  while (NONE.test(id)) id = newDigits(length);
  return id;
}
