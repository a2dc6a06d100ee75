import { join } from 'node:path';
import type { Readable } from 'node:stream';
import * as assert from 'uvu/assert';
import type { Answer } from '../../../src/desk/fc/answers.ts';
import type { HeaderPairs } from '../../../src/desk/fc/headers.ts';
import type { LifeEvent } from '../../../src/desk/fc/life.ts';
import { createPlatform, type Platform } from '../../../src/desk/fc/platform.ts';
import { holders } from '../../../src/desk/fc/processes.ts';
import type { FunctionOptions } from '../../../src/desk/fc/settings.ts';
import { read, temporary, within, write } from '../../helpers.ts';

/** What the stand-in is to do with one request; with none of these it answers with what it was asked, as JSON. */
export interface Order {
  readonly status?: number;
  /** Name, value, name, value. */
  readonly headers?: readonly string[];
  readonly body?: string;
  /** Printed before the answer. */
  readonly print?: string;
  /** The body's first part; the rest comes with the end of `hold`. */
  readonly first?: string;
  /** Answers only when another request says `release` with the same name. */
  readonly hold?: string;
  readonly release?: string;
  /** Ends the process with this code; `exitOnce` only that of the first instance. */
  readonly exit?: number;
  readonly exitOnce?: number;
  /** Breaks the connection off in the middle of the body. */
  readonly half?: true;
  /** The status of health checks from now on. */
  readonly health?: number;
}

/** How the stand-in behaves apart from single requests. */
export interface Conduct {
  readonly listenAfterMs?: number;
  readonly host?: string;
  /** Printed at once. */
  readonly says?: string;
  /** Ends before it listens, with a code or by a signal. */
  readonly exitAtStart?: number | string;
  /** Closes connections that idle so long. */
  readonly idleMs?: number;
  /** What hooks answer, by path; the last again and again. */
  readonly hooks?: Readonly<Record<string, readonly Order[]>>;
  readonly health?: number;
  /** How long health checks take. */
  readonly healthMs?: number;
  /** Stays when SIGTERM comes. */
  readonly stubborn?: true;
  /** Counts up in this file, and a child of its own in the file with `.child` after its name. */
  readonly ticks?: string;
}

const SOURCE = `
const { spawn } = require('node:child_process');
const { writeFileSync } = require('node:fs');
const { createServer } = require('node:http');

const { folder, starts, ...rest } = JSON.parse(process.env.STAND_IN);
/** The how-manieth instance this is. */
let nth = 0;
for (; ; nth++) {
  try {
    writeFileSync(folder + '/' + nth, '', { flag: 'wx' });
    break;
  } catch {}
}
const conduct = { ...rest, ...starts[nth] };
const tell = (what, fields) => console.log(JSON.stringify({ what, ...fields }));
if (conduct.says) console.log(conduct.says);

const ticking = file => {
  let n = 0;
  setInterval(() => require('node:fs').writeFileSync(file, String(++n)), 5);
};
if (conduct.ticks) {
  ticking(conduct.ticks);
  // one that no polite signal ends
  const child = \`process.on('SIGTERM', () => {}); (\${ticking})(\${JSON.stringify(conduct.ticks + '.child')})\`;
  spawn(process.execPath, ['-e', child], { stdio: 'inherit' });
}

process.on('SIGTERM', () => {
  tell('SIGTERM');
  if (!conduct.stubborn) process.exit(0);
});

let { health = 200 } = conduct;
const hooks = Object.entries(conduct.hooks || {}).map(([path, orders]) => [path, [...orders]]);
const held = new Map();
let connections = 0;

const server = createServer((req, res) => {
  const chunks = [];
  req.on('data', chunk => chunks.push(chunk));
  req.on('error', () => {});
  const { method, url, rawHeaders } = req;
  if (req.headers['x-early']) tell('early', { url });
  req.on('end', () => {
    const bytes = Buffer.concat(chunks);
    const body = bytes.length > 10000 ? '' : bytes.toString();
    const seen = { method, url, headers: rawHeaders, body, bytes: bytes.length, connection: req.socket.number };
    const [path] = url.split('?');
    if (path === '/health') {
      tell('health', seen);
      res.statusCode = health;
      setTimeout(() => res.end(), conduct.healthMs ?? 0);
      return;
    }
    tell('request', seen);
    const orders = req.headers['x-fc-control-path'] === path && hooks.find(([of]) => of === path);
    if (orders) act(orders[1].length > 1 ? orders[1].shift() : orders[1][0], seen, req, res);
    else if (req.headers.do) act(JSON.parse(req.headers.do), seen, req, res);
    else if (body.startsWith('{')) act(JSON.parse(body), seen, req, res);
    else act({}, seen, req, res);
  });
});

function act(order, seen, req, res) {
  if (order.exit !== undefined) process.exit(order.exit);
  if (order.exitOnce !== undefined && nth === 0) process.exit(order.exitOnce);
  if (order.health) health = order.health;
  if (order.print) console.log(order.print);
  if (order.release) {
    // after its own answer: the end of the other call may be a freeze
    res.on('finish', held.get(order.release));
  }
  const own = order.body ?? JSON.stringify({ ...seen, env: process.env });
  res.writeHead(order.status ?? 200, order.headers ?? []);
  if (order.first) res.write(order.first);
  if (order.half) res.write('half', () => req.socket.destroy());
  else if (order.hold) {
    held.set(order.hold, () => res.end(order.body ?? 'released'));
    tell('holding', { hold: order.hold });
  } else if (req.method === 'HEAD') res.end();
  else res.end(own);
}

server.on('connection', socket => {
  const number = connections++;
  socket.number = number;
  let end = 'FIN';
  socket.on('error', () => { end = 'RST'; });
  socket.on('close', () => tell('closed', { connection: number, end }));
});
server.on('clientError', (error, socket) => socket.destroy());
server.keepAliveTimeout = 0;
if (conduct.idleMs) server.on('request', (req, res) => {
  res.on('finish', () => req.socket.setTimeout(conduct.idleMs, () => req.socket.destroy()));
});

const at = conduct.exitAtStart;
const start = () => {
  if (typeof at === 'string') process.kill(process.pid, at);
  else if (at !== undefined) process.exit(at);
  else server.listen(Number(process.env.FC_CUSTOM_LISTEN_PORT), conduct.host ?? '0.0.0.0');
};
setTimeout(start, conduct.listenAfterMs ?? 0);
`;

const folder = temporary();
const FILE = join(folder, 'server.js');
write(FILE, SOURCE);

/** A platform for a stand-in; `starts` say what is different with the first instance, the second and so on. */
export interface StandIn extends Partial<FunctionOptions> {
  readonly conduct?: Conduct;
  readonly starts?: readonly Conduct[];
}

/** FC, with the stand-in as its function. */
export function standIn({ conduct, starts = [], ...options }: StandIn = {}): Platform {
  const own = { folder: temporary(), starts, ...conduct };
  return createPlatform({
    command: [process.execPath, FILE],
    ...options,
    environment: { STAND_IN: JSON.stringify(own), ...options.environment },
  });
}

/** Runs a test's body, stops the platform, and finds no process of its instances. */
export async function withFc(options: StandIn, body: (fc: Platform) => Promise<void>): Promise<void> {
  const fc = standIn(options);
  try {
    await body(fc);
  } catch (error) {
    if (error instanceof Error) {
      const events = fc.life.events.map(event => JSON.stringify(event).slice(0, 200));
      error.message += `\n--- the platform's events\n${events.join('\n')}`;
    }
    throw error;
  } finally {
    await within(20_000, fc.stop(), 'the platform to stop');
  }
  for (const { instance = '' } of eventsOf(fc, 'starting')) {
    assert.equal(holders('FC_INSTANCE_ID', instance), [], 'no process is left');
  }
}

/** Events of one kind so far. */
export const eventsOf = (fc: Platform, kind: LifeEvent['event']): LifeEvent[] =>
  fc.life.events.filter(({ event }) => event === kind);

/** Resolves with the first event of a kind, earlier or later, that passes. */
export const happens = (
  fc: Platform,
  kind: LifeEvent['event'],
  test: (event: LifeEvent) => boolean = () => true,
): Promise<LifeEvent> =>
  within(
    20_000,
    fc.life.until(event => event.event === kind && test(event)),
    `event ${kind}`,
  );

/** What the stand-in has told: a request, the end of a connection, a signal. */
export interface Told {
  readonly what: 'request' | 'health' | 'closed' | 'holding' | 'early' | 'SIGTERM';
  readonly instance: string;
  readonly method: string;
  readonly url: string;
  readonly headers: readonly string[];
  readonly body: string;
  readonly bytes: number;
  readonly connection: number;
  readonly end: 'FIN' | 'RST';
  readonly hold: string;
}

const toldOf = ({ event, line, instance }: LifeEvent): Told | undefined =>
  event === 'log' && String(line).startsWith('{')
    ? { ...(JSON.parse(String(line)) as Omit<Told, 'instance'>), instance: instance ?? '' }
    : undefined;

/** All that it has told so far of one thing. */
export const told = (fc: Platform, what: Told['what']): Told[] =>
  fc.life.events.flatMap(event => toldOf(event) ?? []).filter(item => item.what === what);

/** Resolves with the first of what it tells, earlier or later, that passes. */
export async function tells(
  fc: Platform,
  what: Told['what'],
  test: (item: Told) => boolean = () => true,
): Promise<Told> {
  const event = await happens(fc, 'log', candidate => {
    const item = toldOf(candidate);
    return item !== undefined && item.what === what && test(item);
  });
  return toldOf(event) as Told;
}

/** The header that gives the stand-in an order. */
export const order = (what: Order): HeaderPairs => [['Do', JSON.stringify(what)]];

/** A GET by the HTTP trigger with an order. */
export const get = (fc: Platform, what: Order = {}, options: Partial<Parameters<Platform['http']>[0]> = {}) =>
  fc.http({ method: 'GET', path: '/', ...options, headers: [...order(what), ...(options.headers ?? [])] });

/** An event with an order. */
export const event = (fc: Platform, what: Order = {}, options: Parameters<Platform['invoke']>[0] = {}) =>
  fc.invoke({ payload: Buffer.from(JSON.stringify(what)), ...options });

/** An answer read to its end, as far as tests ask. */
export interface Whole {
  readonly status: number;
  readonly errorType: string | undefined;
  readonly text: string;
  readonly answer: Answer;
}

/** Reads an answer to its end. */
export function whole(pending: Promise<Answer> | Answer): Promise<Whole> {
  const work = async (): Promise<Whole> => {
    const answer = await within(20_000, Promise.resolve(pending), 'an answer');
    const text = (await within(20_000, read(answer.body), 'the body of an answer')).toString();
    return { status: answer.status, errorType: answer.errorType, text, answer };
  };
  const result = work();
  // it may be awaited later than it fails
  result.catch(() => {});
  return result;
}

/** What FC says of an error in an envelope's body. */
export const envelope = ({ text }: Whole): Record<string, string> => JSON.parse(text) as Record<string, string>;

/** What the stand-in was asked, by its own account. */
export interface Seen extends Told {
  readonly env: Readonly<Record<string, string>>;
}
export const seen = ({ text }: Whole): Seen => JSON.parse(text) as Seen;

/** How reading a body ends. */
export const ending = (body: Readable): Promise<'whole' | 'broken'> =>
  within(
    20_000,
    read(body).then(
      () => 'whole' as const,
      () => 'broken' as const,
    ),
    'the end of a body',
  );

/** Resolves when so much time has passed: where standing still, or nothing, is what is tested. */
export const elapse = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms));
