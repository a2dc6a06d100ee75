import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Agent, Metadata, TriggerResponse } from '../../src/agent.ts';
import { now } from '../../src/clock.ts';
import { type Code, GatewayError } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { createNativeAgent } from '../../src/noslate/agent.ts';
import { EMPTY_PROFILE, type Profile } from '../../src/profile.ts';
import { loadProfile } from '../../src/profile-load.ts';
import { type Functions, project, read, within } from '../helpers.ts';
import { type Planes, type PlanesOptions, withPlanes } from '../planes/index.ts';

/** Longest wait for anything that should happen at once, ms. */
export const SOON_MS = 5000;

/** A native agent in this process. */
export interface Bench {
  readonly agent: Agent;
  output(): string;
  /** Invokes `name`, and resolves with the head. */
  invoke(name: string, fields?: Partial<Metadata>, body?: Readable): Promise<TriggerResponse>;
  /** Invokes `name`, and resolves with the body as text. */
  text(name: string, fields?: Partial<Metadata>, body?: Readable): Promise<string>;
}

/** The same, and its planes. */
export interface PlaneBench extends Bench {
  readonly planes: Planes;
}

/** Runs a test's body with an agent on the sockets of a folder. */
export async function withAgent(folder: string, body: (bench: Bench) => Promise<void>): Promise<void> {
  let output = '';
  const log = createLog('json', text => {
    output += text;
  });
  const agent = createNativeAgent(folder, log);
  async function head(name: string, fields: Partial<Metadata> = {}, input = noBody()): Promise<TriggerResponse> {
    const response = await within(20_000, agent.invoke(name, input, metadata(fields)), `the head of ${name}`);
    response.body.on('error', () => {});
    return response;
  }
  const invoke: Bench['invoke'] = (...args) => tame(head(...args));
  try {
    await body({
      agent,
      invoke,
      text: (...args) => tame(head(...args).then(({ body: reply }) => textOf(reply))),
      output() {
        log.flush();
        return output;
      },
    });
  } finally {
    await within(SOON_MS, agent.close(), 'the agent to close');
  }
}

/** The same with test planes. */
export function withPlanesAgent(options: PlanesOptions, body: (bench: PlaneBench) => Promise<void>): Promise<void> {
  return withPlanes(options, planes => withAgent(join(planes.workdir, 'socks'), bench => body({ ...bench, planes })));
}

/** A profile of functions with their sources. */
export function profileOf(
  functions: Functions,
  fields: Record<string, unknown> = {},
  overrides: Record<string, object> = {},
): Profile {
  return loadProfile(join(project(functions, fields, overrides), 'noslate.json'));
}

/** A profile of functions that a plane is told of and nobody runs. */
export const named = (...names: string[]): Profile => ({
  ...EMPTY_PROFILE,
  functions: names.map(name => ({ name, runtime: 'nodejs', url: 'file:///f', signature: '1', handler: 'a.b' })),
});

export const metadata = (fields: Partial<Metadata> = {}): Metadata => ({
  url: '/',
  method: 'POST',
  headers: [],
  baggage: [],
  requestId: 'r',
  deadline: now() + 60_000,
  signal: new AbortController().signal,
  ...fields,
});

export const bodyOf = (...chunks: (string | Buffer)[]): Readable =>
  Readable.from(
    chunks.map(chunk => Buffer.from(chunk)),
    { objectMode: false },
  );
export const noBody = (): Readable => bodyOf();
/** A body that says, as a request of node:http does, that nothing of it is still to come. */
export const wholeBody = (): Readable => Object.assign(bodyOf(), { complete: true });
/** A body that goes on as it is pushed. */
export const openBody = (): Readable => new Readable({ read() {} });

/** Reads a body to its end. */
export const textOf = async (body: Readable): Promise<string> =>
  (await within(20_000, read(body), 'the end of a body')).toString();

/** Resolves with a body's next piece, and leaves the rest. */
export async function nextOf(body: Readable): Promise<Buffer> {
  const piece = new Promise<Buffer>(done => {
    body.once('data', (chunk: Buffer) => {
      body.pause();
      done(chunk);
    });
  });
  body.resume();
  return within(SOON_MS, piece, 'a piece of a body');
}

/** Resolves with the code that something fails with. */
export function codeOf(promise: Promise<unknown>, ms: number = SOON_MS): Promise<Code | 'OK'> {
  const code = within(ms, promise, 'a failure').then(
    () => 'OK' as const,
    error => (error instanceof GatewayError ? error.code : Promise.reject(error)),
  );
  return tame(code);
}

/** A test that fails leaves calls and bodies that nobody waits for any more, and these fail with the agent. */
function tame<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

/** Bytes of which each says where it is. */
export function pattern(size: number): Buffer {
  const bytes = Buffer.allocUnsafe(size);
  for (let i = 0; i < size; i++) bytes[i] = i ^ (i >>> 8) ^ (i >>> 16);
  return bytes;
}
