import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { now } from '../../../src/clock.ts';
import type { Answer } from '../../../src/desk/fc/answers.ts';
import { ClientGone } from '../../../src/desk/fc/call.ts';
import type { HeaderPairs } from '../../../src/desk/fc/headers.ts';
import type { LifeEvent } from '../../../src/desk/fc/life.ts';
import { REPEATABLE } from '../../../src/desk/fc/limits.ts';
import { createPlatform, type Platform } from '../../../src/desk/fc/platform.ts';
import { holders } from '../../../src/desk/fc/processes.ts';
import type { State } from '../../../src/desk/fc/state.ts';
import type { AgentName } from '../../agents.ts';
import { project, temporary, within } from '../../helpers.ts';
import { containerOf } from './containers.ts';

/*
 * 200 callers against one function, while instances are frozen, thawed, killed, stopped and started. What a
 * call may come to:
 *
 *   whole    every byte of its own answer; of HEAD the head
 *   failed   the function threw: an event 200 and UnhandledInvocationError, an HTTP trigger 502, both with the
 *            gateway's JSON; it broke off: the body breaks, too
 *   late     only when its time has passed: an event 200 and UnhandledInvocationError, an HTTP trigger 504; after
 *            the head the body breaks
 *   crashed  only when its instance was killed: an event 200 and UnhandledInvocationError, an HTTP trigger 502;
 *            after the head the body breaks. Before it GET, HEAD and OPTIONS are made again, once
 *   unborn   only when an instance was killed before it was ready: 412 and CAExited
 *   gone     only when the client left
 *
 * Broken bodies are the beginning of its own one. Events and the methods that are not made again run at most once;
 * those that ended whole ran. Whatever else happens is a fault of the gateway or of the platform.
 */

const SECONDS = Number(process.env['CHAOS_SECONDS'] ?? 20);
const SEED = Number(process.env['CHAOS_SEED'] ?? Math.floor(Math.random() * 1e6));
const CALLERS = 200;
/** s, of the function. */
const TIMEOUT = 8;
/** What makes 200 callers a bearable load: each waits up to this between two calls. */
const THINK_MS = 2500;
/** Every so often nobody calls for a moment, for a platform that is never idle never freezes. */
const WAVE_MS = 7000;
const LULL_MS = 1500;
/** A call without an end by then is lost. */
const LOST_MS = 60_000;
const SIZES = [0, 1, 100, 8192, 65_535, 65_537, 300_000];
const INSTANCES = { fewest: 4, most: 6 };
const CONCURRENCY = 50;
/** Steps of what disturbs them, of 0.4 s on average, from one kill to the next. */
const KILL_EVERY = 16;
const FIRST_KILL = 3;

const source = (run: string): string => `
  const { appendFileSync } = require('node:fs');
  const { createHash } = require('node:crypto');
  const { once } = require('node:events');
  const sleep = ms => new Promise(done => setTimeout(done, ms));
  async function whole(req) {
    const chunks = [];
    for await (const chunk of req) chunks.push(chunk);
    return Buffer.concat(chunks);
  }
  exports.handler = async (ctx, req, res) => {
    const given = req.headers['x-plan'];
    const payload = given === undefined ? await whole(req) : undefined;
    const { id, act, size, ms } = JSON.parse(given ?? payload.subarray(0, payload.indexOf('\\n')));
    appendFileSync(${JSON.stringify(join(run, 'calls'))}, id + '\\n');
    if (act === 'hang') return new Promise(() => {});
    if (act === 'throw') { await sleep(ms); throw new Error('thrown for ' + id); }
    if (act === 'echo') {
      res.writeHead(200);
      for await (const chunk of payload === undefined ? req : [payload]) if (!res.write(chunk)) await once(res, 'drain');
      return res.end();
    }
    const hash = createHash('sha256').update(payload ?? await whole(req)).digest('hex');
    const body = Buffer.concat([Buffer.from(hash), Buffer.alloc(size, id + ' ')]);
    if (act === 'answer') {
      await sleep(ms);
      res.writeHead(200, size % 2 === 0 ? {} : { 'content-length': String(body.length) });
      return res.end(body);
    }
    res.writeHead(200);
    const step = Math.ceil(body.length / 8);
    for (let at = 0; at < body.length; at += step) {
      if (act === 'break' && at > body.length / 2) { await sleep(20); throw new Error('broken off for ' + id); }
      if (!res.write(body.subarray(at, at + step))) await once(res, 'drain');
      await sleep(ms / 8);
    }
    res.end();
  };`;

const ACTS = ['answer', 'answer', 'answer', 'answer', 'stream', 'stream', 'echo', 'echo', 'throw', 'break'] as const;
type Act = (typeof ACTS)[number] | 'hang';

/** What a caller will do: all of it follows from the seed. */
interface Plan {
  readonly id: string;
  readonly kind: 'event' | 'http';
  readonly method: string;
  readonly act: Act;
  readonly body: Buffer;
  readonly isChunked: boolean;
  /** Of the answer. */
  readonly size: number;
  /** What the function takes, and a slow body. */
  readonly ms: number;
  /** ms until the client leaves; undefined stays. */
  readonly leavesAfter: number | undefined;
}

/** What became of it. */
interface Outcome {
  readonly answer: Answer | undefined;
  readonly received: Buffer;
  readonly isWhole: boolean;
  readonly ms: number;
  readonly error: unknown;
}

type Random = () => number;

/** The same numbers for the same seed. @see mulberry32 */
function randomOf(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

const between = (random: Random, low: number, high: number): number => low + random() * (high - low);

function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[Math.floor(random() * values.length)] as T;
}

function planOf(random: Random, id: string): Plan {
  const kind = random() < 0.4 ? 'event' : 'http';
  const method =
    kind === 'event'
      ? 'POST'
      : oneOf(random, ['GET', 'GET', 'HEAD', 'OPTIONS', 'POST', 'POST', 'PUT', 'PATCH', 'DELETE']);
  const act: Act = random() < 0.02 ? 'hang' : oneOf(random, ACTS);
  const hasBody = !REPEATABLE.includes(method);
  const size = oneOf(random, SIZES);
  const ms = between(random, 0, 1) ** 3 * 2000;
  const plan = { id, act, size, ms };
  const filler = Buffer.alloc(hasBody ? oneOf(random, SIZES) : 0, `${id}-`);
  return {
    ...plan,
    kind,
    method,
    body: kind === 'event' ? Buffer.concat([Buffer.from(`${JSON.stringify(plan)}\n`), filler]) : filler,
    isChunked: random() < 0.5,
    leavesAfter: random() < 0.1 ? between(random, 0, 1500) : undefined,
  };
}

/** Every byte that the function sends. */
function answerOf({ id, act, body, size }: Plan): Buffer {
  if (act === 'echo') return body;
  const hash = createHash('sha256').update(body).digest('hex');
  return Buffer.concat([Buffer.from(hash), Buffer.alloc(size, `${id} `)]);
}

/** The body in some pieces, as slow as the function. */
async function* piecesOf({ body, ms, act }: Plan): AsyncGenerator<Buffer> {
  const step = Math.max(1, Math.ceil(body.length / 4));
  for (let at = 0; at < body.length; at += step) {
    yield body.subarray(at, at + step);
    if (act === 'echo') await pause(ms / 4);
  }
}

async function perform(platform: Platform, plan: Plan): Promise<Outcome> {
  const { id, kind, method, act, size, ms, body, isChunked, leavesAfter } = plan;
  const client = new AbortController();
  const leaving = leavesAfter === undefined ? undefined : setTimeout(() => client.abort(), leavesAfter);
  const begun = now();
  const received: Buffer[] = [];
  let answer: Answer | undefined;
  let isWhole = false;
  let error: unknown;
  try {
    const { signal } = client;
    if (kind === 'event') answer = await platform.invoke({ payload: body, signal });
    else {
      const headers: HeaderPairs = [
        ['x-plan', JSON.stringify({ id, act, size, ms })],
        ...(body.length === 0 || isChunked ? [] : [['Content-Length', String(body.length)] as const]),
      ];
      const sent = body.length === 0 ? {} : { body: Readable.from(piecesOf(plan)) };
      answer = await platform.http({ method, path: `/${id}`, headers, signal, ...sent });
    }
    for await (const chunk of answer.body) received.push(chunk as Buffer);
    isWhole = true;
  } catch (reason) {
    error = reason;
  }
  clearTimeout(leaving);
  return { answer, received: Buffer.concat(received), isWhole, ms: Math.round(now() - begun), error };
}

const VERDICTS = ['whole', 'failed', 'late', 'crashed', 'unborn', 'gone'] as const;
type Verdict = (typeof VERDICTS)[number];

/** What has happened to instances. */
interface Fates {
  readonly killed: Set<string>;
  /** Killed before they were ready. */
  readonly unborn: Set<string>;
}

/** Says what a call came to, by the table above. @throws {Error} with what it should not have come to. */
function judge(plan: Plan, { answer, received, isWhole, ms, error }: Outcome, { killed, unborn }: Fates): Verdict {
  const { kind, method, act, leavesAfter } = plan;
  // our clock and FC's are read a moment apart
  const isLate = ms >= TIMEOUT * 1000 - 50;
  const hasLeft = leavesAfter !== undefined && ms >= leavesAfter - 50;
  if (answer === undefined) {
    if (error instanceof ClientGone && hasLeft) return 'gone';
    throw new Error(`no answer: ${error}`);
  }
  const { status, errorType, instance } = answer;
  const wasKilled = instance !== undefined && killed.has(instance);
  if (status === 200 && errorType === undefined) {
    const expected = method === 'HEAD' ? Buffer.alloc(0) : answerOf(plan);
    if (!received.equals(expected.subarray(0, received.length))) {
      throw new Error(`${received.length} bytes that are not its own: ${received.subarray(0, 100)}`);
    }
    if (isWhole) {
      if (received.length < expected.length)
        throw new Error(`${received.length} of ${expected.length} bytes, as a whole`);
      if (method === 'HEAD' || (act !== 'throw' && act !== 'break' && act !== 'hang')) return 'whole';
      throw new Error('whole, though the function failed');
    }
    if (hasLeft) return 'gone';
    if (act === 'break') return 'failed';
    if (wasKilled) return 'crashed';
    if (isLate) return 'late';
    throw new Error(`broken after ${received.length} of ${expected.length} bytes: ${error}`);
  }

  if (!isWhole) {
    if (hasLeft) return 'gone';
    throw new Error(`status ${status}, broken off: ${error}`);
  }
  const text = received.toString();
  const told = failureIn(text, answer.requestId);
  // of HEAD the status must do
  const isTold = (verdict: Verdict): boolean => told === verdict || (method === 'HEAD' && text === '');
  const isStatus = (http: number): boolean =>
    kind === 'event' ? status === 200 && errorType === 'UnhandledInvocationError' : status === http;
  if (status === 412 && isTold('unborn') && unborn.size > 0) return 'unborn';
  if (act === 'throw' && isStatus(502) && isTold('failed')) return 'failed';
  if (wasKilled && isStatus(502) && isTold('crashed')) return 'crashed';
  // nothing of an event is sent before it is whole
  if (act === 'break' && kind === 'event' && isStatus(502) && isTold('crashed')) return 'failed';
  if (isLate && isStatus(504) && isTold('late')) return 'late';
  throw new Error(`status ${status}, ${errorType}: ${text.slice(0, 300)}`);
}

/** What an error's body says; what the gateway says must be for this request. */
function failureIn(text: string, id: string): Verdict | undefined {
  if (text === '') return undefined;
  const { errorType, errorMessage = '', requestId, Code } = JSON.parse(text) as Record<string, string>;
  if (Code !== undefined) return Code === 'CAExited' ? 'unborn' : undefined;
  if (errorMessage.startsWith('Function time out')) return 'late';
  if (errorMessage.startsWith('Process exited unexpectedly')) return 'crashed';
  if (requestId !== id) return undefined;
  if (errorType === 'FUNCTION_FAILED') return 'failed';
  return errorType === 'TIMEOUT' || errorType === 'QUEUE_TIMEOUT' ? 'late' : undefined;
}

/** A call that is over. */
interface Entry {
  readonly plan: Omit<Plan, 'body'>;
  /** Undefined for a fault. */
  readonly verdict: Verdict | undefined;
  /** Undefined where FC gave no answer. */
  readonly requestId: string | undefined;
  readonly instance: string | undefined;
  readonly bytes: number;
}

interface Diary extends Fates {
  readonly entries: Entry[];
  readonly faults: string[];
}

// CHAOS_AGENTS=local,native takes twice as long; the SDK's own way of ending can outlast a stop
for (const agent of (process.env['CHAOS_AGENTS'] ?? 'native').split(',') as AgentName[]) {
  const chaos = suite(`chaos :: ${agent}`);
  chaos(`should answer every call for ${SECONDS} s as FC would, whatever becomes of the instances`, () =>
    within((SECONDS + 180) * 1000, unleash(agent), 'the chaos to end'),
  );
  chaos.run();
}

async function unleash(agent: AgentName): Promise<void> {
  process.stdout.write(`CHAOS_SEED=${SEED} CHAOS_SECONDS=${SECONDS} `);
  const run = temporary();
  const worker = { worker: { reservationCount: 1, maxActivateRequests: 2 * CONCURRENCY } };
  const folder = project({ f: source(run) }, {}, { f: worker });
  const flavour = SEED % 2 === 0 ? '3.0' : '2.0';
  const platform = createPlatform({
    ...containerOf(agent, folder, { SERVER_FC_LOG: 'on' }),
    flavour,
    timeout: TIMEOUT,
    instanceConcurrency: CONCURRENCY,
    maxInstances: 2 * INSTANCES.most,
    initializer: { timeout: 60 },
    preStop: { timeout: 20 },
    ...(flavour === '2.0' && { preFreeze: { timeout: 20 } }),
  });
  const diary: Diary = { entries: [], faults: [], killed: new Set(), unborn: new Set() };
  try {
    await within(LOST_MS, platform.scale(INSTANCES.fewest), 'the first instances');
    const start = now();
    const callers = Array.from({ length: CALLERS }, (_, index) => keepCalling(platform, index, start, diary));
    await Promise.all([disturb(platform, start, diary), ...callers]);
    await within(LOST_MS, expectOrder(platform), 'the platform to serve as ever');
  } finally {
    await within(LOST_MS, platform.stop(), 'the instances to end');
  }
  const { events } = platform.life;
  const faults = [...diary.faults, ...executionFaults(run, diary, events), ...logFaults(diary, events)];
  const count = (event: LifeEvent['event']): number => events.filter(one => one.event === event).length;
  const came = (to: Verdict, act?: Act): number =>
    diary.entries.filter(({ verdict, plan }) => verdict === to && (act ?? plan.act) === plan.act).length;
  process.stdout.write(
    `${diary.entries.length} calls: ${VERDICTS.map(verdict => `${came(verdict)} ${verdict}`).join(', ')}; ` +
      `${count('starting')} instances, ${diary.killed.size} killed, ${count('frozen')} freezes `,
  );
  assert.is(faults.length, 0, `${faults.length} faults\n${faults.slice(0, 12).join('\n')}${livesOf(faults, events)}`);
  assert.equal(platform.instances(), []);
  for (const { event, instance } of events) {
    if (event === 'starting') assert.equal(holders('FC_INSTANCE_ID', String(instance)), []);
  }
  // what never happened was not tested
  assert.ok(diary.killed.size > 0, 'no instance was killed');
  assert.ok(count('frozen') > 0, 'no instance was frozen');
  for (const act of ['answer', 'stream', 'echo'] as const) assert.ok(came('whole', act) > 0, `no ${act} was whole`);
  for (const act of ['throw', 'break'] as const) assert.ok(came('failed', act) > 0, `no ${act} has failed`);
}

/** What became of the instances that the faults name. */
function livesOf(faults: readonly string[], events: readonly LifeEvent[]): string {
  const isCall = (event: string): boolean => ['request', 'answer', 'log'].includes(event);
  return events
    .filter(({ event, instance }) => !isCall(event) && faults.some(fault => fault.includes(String(instance))))
    .map(event => `\n${JSON.stringify(event)}`)
    .join('');
}

/** One of the callers. */
async function keepCalling(platform: Platform, index: number, start: number, diary: Diary): Promise<void> {
  const random = randomOf(SEED * 1000 + index + 1);
  for (let n = 0; ; n++) {
    await pause(between(random, 0, THINK_MS));
    const at = Math.round(now() - start);
    const calm = (at % WAVE_MS) - (WAVE_MS - LULL_MS);
    if (calm > 0) await pause(LULL_MS - calm);
    if (at > SECONDS * 1000) return;
    const plan = planOf(random, `${index}-${n}`);
    const { id, kind, method, act } = plan;
    const outcome = await within(LOST_MS, perform(platform, plan), `the end of ${id}, ${kind} ${method} ${act}`);
    diary.entries.push(entryOf(plan, outcome, diary));
    if (diary.faults.length > 100) throw new Error(diary.faults.slice(0, 12).join('\n'));
  }
}

function entryOf({ body, ...plan }: Plan, outcome: Outcome, diary: Diary): Entry {
  const { answer, received, ms } = outcome;
  let verdict: Verdict | undefined;
  try {
    verdict = judge({ body, ...plan }, outcome, diary);
  } catch (error) {
    const { id, kind, method, act } = plan;
    const what = `${kind} ${method} ${act}, ${body.length} bytes, ${ms} ms, ${answer?.requestId}, ${answer?.instance}`;
    diary.faults.push(`${id} (${what}): ${(error as Error).message}`);
  }
  return { plan, verdict, requestId: answer?.requestId, instance: answer?.instance, bytes: received.length };
}

/** Freezes, thaws, kills, starts and stops instances. Each step takes as many random numbers as any other. */
async function disturb(platform: Platform, start: number, { killed, unborn }: Fates): Promise<void> {
  const random = randomOf(SEED);
  const thaws = new Set<NodeJS.Timeout>();
  let scaling: Promise<void> = Promise.resolve();
  for (let step = 0; ; step++) {
    await pause(between(random, 100, 700));
    if (Math.round(now() - start) > SECONDS * 1000) break;
    const what = random();
    const share = random();
    const ms = between(random, 50, 1500);
    const count = Math.round(between(random, INSTANCES.fewest, INSTANCES.most));
    const instances = platform.instances();
    const instance = instances[Math.floor(share * instances.length)];
    if (instance === undefined) continue;
    if (step % KILL_EVERY === FIRST_KILL) {
      const victim = instances.find(({ state }) => what < 0.5 && isUnborn(state)) ?? instance;
      killed.add(victim.id);
      if (isUnborn(victim.state)) unborn.add(victim.id);
      victim.crash();
    } else if (what < 0.5) {
      instance.freeze();
      thaws.add(setTimeout(() => instance.thaw(), ms));
    } else if (what < 0.7) instance.thaw();
    else if (what < 0.8) {
      // one that is killed on its way fails the rest
      scaling = Promise.all([scaling, platform.scale(count).catch(() => {})]).then(() => {});
    }
  }
  for (const timer of thaws) clearTimeout(timer);
  for (const instance of platform.instances()) instance.thaw();
  await within(LOST_MS, scaling, 'the instances to be as many as asked');
}

const isUnborn = (state: State): boolean => state === 'starting' || state === 'accepting';

/** Checks that no slot is lost. */
async function expectOrder(platform: Platform): Promise<void> {
  while (platform.instances().some(({ inFlight }) => inFlight > 0)) await pause(20);
  const random = randomOf(SEED);
  for (const kind of ['event', 'http'] as const) {
    const plan: Plan = {
      ...planOf(random, `last-${kind}`),
      kind,
      method: 'POST',
      act: 'answer',
      ms: 0,
      leavesAfter: undefined,
    };
    const { id, act, size, ms } = plan;
    const body = Buffer.from(`${JSON.stringify({ id, act, size, ms })}\n`);
    const outcome = await perform(platform, { ...plan, body });
    assert.is(judge({ ...plan, body }, outcome, { killed: new Set(), unborn: new Set() }), 'whole');
  }
}

/** Who ran too often, or not at all though he was answered. */
function executionFaults(run: string, { entries }: Diary, events: readonly LifeEvent[]): string[] {
  const times = new Map<string, number>();
  for (const id of readFileSync(join(run, 'calls'), 'utf8').split('\n')) times.set(id, (times.get(id) ?? 0) + 1);
  const repeated = new Set(events.flatMap(({ event, requestId }) => (event === 'retry' ? [requestId] : [])));
  return entries.flatMap(({ plan: { id, kind, method }, verdict, requestId }) => {
    const ran = times.get(id) ?? 0;
    // of one that got no answer nobody knows the request id
    const most = REPEATABLE.includes(method) && (requestId === undefined || repeated.has(requestId)) ? 2 : 1;
    const least = verdict === 'whole' ? 1 : 0;
    return ran >= least && ran <= most ? [] : [`${id} (${kind} ${method}) ran ${ran} times`];
  });
}

/** Where the logs of the instances that were not killed say otherwise than FC. */
function logFaults({ entries, killed }: Diary, events: readonly LifeEvent[]): string[] {
  const faults: string[] = [];
  /** By instance and request. */
  const starts = new Map<string, number>();
  const lines = new Map<string, { bytesOut: number; outcome: string; method: string }[]>();
  const isOpen = new Set<string>();
  for (const { event, instance, line, code, signal } of events) {
    const name = String(instance);
    if (killed.has(name)) continue;
    if (event === 'accepting') isOpen.add(name);
    // one that is not needed any more may be told to end before it can listen for that
    const isEarly = signal === 'SIGTERM' && !isOpen.has(name);
    if (event === 'exited' && code !== 0 && !isEarly) faults.push(`${name} ended with ${code ?? signal}`);
    if (event !== 'log') continue;
    const [, begun] = /^FC Invoke Start RequestId: (.*)$/.exec(String(line)) ?? [];
    if (begun !== undefined) starts.set(`${name} ${begun}`, (starts.get(`${name} ${begun}`) ?? 0) + 1);
    if (!String(line).includes('"message":"request"')) continue;
    const access = JSON.parse(String(line));
    if (access.kind !== 'event' && access.kind !== 'http') continue;
    const key = `${name} ${access.requestId}`;
    lines.set(key, [...(lines.get(key) ?? []), access]);
  }
  for (const key of new Set([...starts.keys(), ...lines.keys()])) {
    const came = starts.get(key) ?? 0;
    const logged = lines.get(key)?.length ?? 0;
    if (came !== 1 || logged !== 1) faults.push(`${key} came ${came} times, and has ${logged} access lines`);
  }
  for (const { plan, verdict, instance, requestId, bytes } of entries) {
    if (verdict !== 'whole' || instance === undefined || killed.has(instance)) continue;
    const [access] = lines.get(`${instance} ${requestId}`) ?? [];
    if (access?.outcome === 'ok' && (access.bytesOut === bytes || access.method === 'HEAD')) continue;
    faults.push(`${plan.id} got ${bytes} bytes, and its access line is ${JSON.stringify(access)}`);
  }
  return faults;
}

const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms));
