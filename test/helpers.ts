import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import {
  Agent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { connect, type Socket } from 'node:net';
import { constants as osConstants, tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import type { Readable } from 'node:stream';
import { suite as uvuSuite } from 'uvu';
import { createPlatform, type Platform } from '../src/desk/fc/platform.ts';
import { signalAll, tree } from '../src/desk/fc/processes.ts';
import type { FunctionOptions } from '../src/desk/fc/settings.ts';

/** The product, as built. */
export const SERVER_FILE: string = resolve('dist/server.js');

/** What is left behind when this process ends: children to kill, folders to remove. */
const leftovers = new Set<() => void>();
// each bundled test file has a copy of this module, and uvu runs them all in one process
process.setMaxListeners(0);
process.on('exit', () => {
  for (const remove of leftovers) remove();
});
// containers are sessions of their own, which Ctrl-C does not reach
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  process.on(signal, () => process.exit(128 + osConstants.signals[signal]));
}

/** No test of ours takes this long; one that does hangs. */
const TEST_MS = 90_000;

/** How many times longer than they should everything may take: what hangs never ends, and a machine can be slow. */
const PATIENCE = 4;

/** Resolves or rejects with the promise, or rejects when it takes far longer, saying what was waited for. */
export async function within<T>(ms: number, promise: Promise<T>, what: string): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms * PATIENCE} ms for ${what}`)), ms * PATIENCE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Resolves when the probe gives true, asked again and again. */
export async function eventually(what: string, probe: () => Promise<boolean>, ms: number = 20_000): Promise<void> {
  let isLate = false;
  const work = async (): Promise<void> => {
    // who asks for ever keeps the process from ending, long after its test has failed
    while (!isLate && !(await probe())) await new Promise(done => setTimeout(done, 20));
  };
  try {
    await within(ms, work(), what);
  } finally {
    isLate = true;
  }
}

/** A promise and the means to settle it. */
export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let settle: (value: T) => void = () => {};
  const promise = new Promise<T>(resolve => {
    settle = resolve;
  });
  return { promise, resolve: settle };
}

type Test = (title: string, run: () => Promise<void> | void) => void;

/**
 * A uvu suite whose tests each have a deadline: a hang is a failure with a name.
 *
 * @param skip - the reason to leave it out. It is counted, and said on a line that run.mjs says again at its end.
 */
export function suite(
  name: string,
  { ms = TEST_MS, skip }: { ms?: number; skip?: string | undefined } = {},
): Test & { run(): void } {
  const tests = uvuSuite(name);
  let skipped = 0;
  const add: Test = (title, run) => {
    if (skip === undefined) tests(title, () => within(ms, Promise.resolve(run()), `"${title}"`));
    else {
      skipped++;
      tests.skip(title, run);
    }
  };
  const run = (): void => {
    if (skip !== undefined) console.log(`skipped: ${name}, ${skipped} tests: ${skip}`);
    tests.run();
  };
  return Object.assign(add, { run });
}

/**
 * A suite whose tests run side by side, a few at a time: for those that wait more than they compute. Each is still
 * told by its own name.
 */
export function suiteOfMany(name: string, atATime: number = 5): Test & { run(): void } {
  const tests = uvuSuite(name);
  const queue: { run: () => Promise<void> | void; done: ReturnType<typeof deferred<unknown>> }[] = [];
  const work = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const { run, done } = next;
      await within(TEST_MS, Promise.resolve().then(run), 'the test to end').then(
        () => done.resolve(undefined),
        error => done.resolve(error ?? new Error('failed')),
      );
    }
  };
  let started = false;
  const add: Test = (title, run) => {
    const done = deferred<unknown>();
    queue.push({ run, done });
    tests(title, async () => {
      if (!started) for (let i = 0; i < atATime; i++) work();
      started = true;
      const error = await done.promise;
      if (error !== undefined) throw error;
    });
  };
  return Object.assign(add, { run: () => tests.run() });
}

/** Why a suite is left out on other systems than Linux. */
export const NOT_LINUX: string | undefined = process.platform === 'linux' ? undefined : 'needs Linux';

/** The file of a program on PATH, or in the sbin beside a bin there, which is not on everybody's; undefined without. */
export function which(program: string): string | undefined {
  return (process.env['PATH'] ?? '')
    .split(':')
    .flatMap(folder => [folder, folder.replace(/\bbin$/, 'sbin')])
    .map(folder => join(folder, program))
    .find(file => {
      try {
        accessSync(file, constants.X_OK);
        return statSync(file).isFile();
      } catch {
        return false;
      }
    });
}

/** Why a suite that needs a program is left out; undefined where it is there, and in CI, where it must be. */
export function without(program: string, debianPackage: string): string | undefined {
  if (which(program) !== undefined || process.env['CI'] !== undefined) return undefined;
  return `${program} is not installed (Debian: ${debianPackage})`;
}

/** Source of a function's module, by its name. */
export type Functions = Readonly<Record<string, string>>;

/** An empty folder, removed when the process ends. */
export function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-'));
  leftovers.add(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** A folder for one test, with functions and a noslate.json; removed when the process ends. */
export function project(
  functions: Functions,
  profile: Record<string, unknown> = {},
  overrides: Record<string, object> = {},
): string {
  const folder = temporary();
  for (const [name, source] of Object.entries(functions)) write(join(folder, name, 'index.js'), source);
  // V8 coverage reaches a worker only through its environment
  const coverage = process.env['NODE_V8_COVERAGE'];
  write(
    join(folder, 'noslate.json'),
    JSON.stringify({
      functions: Object.keys(functions).map(name => ({
        name,
        runtime: 'nodejs',
        url: `./${name}`,
        handler: 'index.handler',
        signature: '1',
        ...overrides[name],
      })),
      ...(coverage === undefined ? {} : { environments: [{ key: 'NODE_V8_COVERAGE', value: coverage }] }),
      ...profile,
    }),
  );
  return folder;
}

/** Writes a file and the folders above it. */
export function write(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
}

/** One line of the server's log. */
export interface LogLine {
  level: string;
  message: string;
  [field: string]: unknown;
}

/** What a process of ours prints, and its end. */
export interface Observed {
  /** Everything it has printed. */
  output(): string;
  /** Every JSON line it has logged. */
  lines(): LogLine[];
  /** Resolves with the first line, earlier or later, that passes. */
  line(what: string, test: (line: LogLine) => boolean): Promise<LogLine>;
  /** Resolves with the exit code or signal. */
  exit: Promise<number | string>;
}

/** A running server, in a container that FC's part is played for. */
export interface Server extends Observed {
  port: number;
  pid: number;
  folder: string;
  /** Function Compute, with this one instance. It freezes only when a test says so. */
  fc: Platform;
  kill(signal: NodeJS.Signals): void;
  /** The access line of a request. */
  access(requestId: string): Promise<LogLine>;
  /** Ends it and waits until it has. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  functions?: Functions;
  /** Fields of noslate.json besides `functions`. */
  profile?: Record<string, unknown>;
  /** Fields of single functions' profiles. */
  overrides?: Record<string, object>;
  env?: Record<string, string>;
  args?: string[];
  /** What FC is told of the function. */
  fc?: Partial<FunctionOptions>;
}

/** Has FC start the built server, and waits until it listens. */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const folder = project(options.functions ?? {}, options.profile, options.overrides);
  const fc = createPlatform({
    instanceConcurrency: 200,
    maxInstances: 1,
    freeze: false,
    ...options.fc,
    command: [process.execPath, SERVER_FILE, ...(options.args ?? [])],
    cwd: folder,
    environment: { ...options.env },
  });
  const observed = observeInstance(fc);
  // an initializer that fails is for the test to see
  await fc.scale(1).catch(error => {
    if (fc.instances().length === 0) throw error;
  });
  const [instance] = fc.instances();
  if (instance === undefined) throw new Error(`the server ended: ${observed.output()}`);
  const { port, pid, exited } = instance;
  const kill = (): void => signalAll(tree(pid), 'SIGKILL');
  leftovers.add(kill);
  exited.then(() => leftovers.delete(kill));
  return {
    port,
    pid,
    folder,
    fc,
    ...observed,
    exit: exited,
    kill: signal => signalAll([pid], signal),
    access: id => observed.line(`access ${id}`, ({ message, requestId }) => message === 'request' && requestId === id),
    async stop() {
      signalAll([pid], 'SIGINT');
      try {
        await within(10_000, exited, 'the server to end');
      } finally {
        // one that is left would keep this process from ending, too
        kill();
      }
    },
  };
}

/** What a container prints. */
function observeInstance({ life }: Platform): Omit<Observed, 'exit'> {
  let output = '';
  const lines: LogLine[] = [];
  life.on(({ event, line: text }) => {
    if (event !== 'log') return;
    output += `${text}\n`;
    lines.push(...parseLog(`${text}\n`));
  });
  return {
    output: () => output,
    lines: () => lines,
    async line(what, test) {
      const found = lines.find(test);
      if (found !== undefined) return found;
      await within(
        20_000,
        life.until(({ event }) => event === 'log' && lines.slice(-1).some(test)),
        `log line: ${what}\n${output}`,
      );
      return lines.find(test) as LogLine;
    },
  };
}

/** The JSON lines of a log. The last one of a process may be cut short: it waits for its reader no longer than a second. */
const parseLog = (text: string): LogLine[] =>
  text
    .slice(0, text.lastIndexOf('\n') + 1)
    .split('\n')
    .filter(line => line.startsWith('{') && line.endsWith('}'))
    .map(line => JSON.parse(line) as LogLine);

/** Collects what a process prints. */
export function observe(child: ChildProcess): Observed {
  let output = '';
  const listeners = new Set<() => void>();
  const collect = (stream: Readable | null): void => {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      for (const check of [...listeners]) check();
    });
  };
  collect(child.stdout);
  collect(child.stderr);
  const exit = new Promise<number | string>(done =>
    child.on('exit', (code, signal) => done(code ?? signal ?? 'unknown')),
  );

  const lines = (): LogLine[] => parseLog(output);
  const line: Server['line'] = (what, test) =>
    within(
      20_000,
      new Promise(done => {
        const check = (): void => {
          const found = lines().find(test);
          if (found === undefined) return;
          listeners.delete(check);
          done(found);
        };
        listeners.add(check);
        check();
      }),
      `log line: ${what}\n${output}`,
    );
  return { output: () => output, lines, line, exit };
}

/** Spawns the built server; ended with this process at the latest. */
export function launch(args: string[], env: Record<string, string> = {}, cwd: string = process.cwd()): ChildProcess {
  const clean = Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(SERVER|FC|NOSLATED?|TURF)_/.test(name)),
  );
  return endWithUs(spawn(process.execPath, [SERVER_FILE, ...args], { cwd, env: { ...clean, ...env } }));
}

/** Kills a child when this process ends. */
export function endWithUs(child: ChildProcess): ChildProcess {
  const end = (): boolean => child.kill('SIGKILL');
  leftovers.add(end);
  child.on('exit', () => leftovers.delete(end));
  return child;
}

/** Runs the built server to its end. */
export async function run(
  args: string[],
  env: Record<string, string> = {},
  cwd?: string,
): Promise<{ code: number | string; stdout: string; stderr: string }> {
  const child = launch(args, env, cwd);
  let stdout = '';
  let stderr = '';
  child.stdout?.on('data', text => (stdout += text));
  child.stderr?.on('data', text => (stderr += text));
  const code = await within(
    10_000,
    new Promise<number | string>(done => child.on('close', (status, signal) => done(status ?? signal ?? 'unknown'))),
    'the process to end',
  );
  return { code, stdout, stderr };
}

/** Runs a test's body with a server of its own. */
export async function withServer(options: ServerOptions, body: (server: Server) => Promise<void>): Promise<void> {
  const server = await startServer(options);
  try {
    await body(server);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- output of the server\n${server.output().slice(-2000)}`;
    throw error;
  } finally {
    await server.stop();
  }
}

export interface Reply {
  status: number;
  headers: IncomingHttpHeaders;
  rawHeaders: string[];
  body: Buffer;
  /** `body` as JSON. */
  json(): Record<string, unknown>;
}

export interface Ask {
  method?: string;
  path?: string;
  headers?: Record<string, string | string[]>;
  body?: string | Buffer | Readable;
  agent?: Agent;
}

/** Opens a request; `reply` resolves with its head. A body that is no stream goes with a Content-Length. */
export function open(
  port: number,
  { method, path = '/', headers = {}, body, agent }: Ask,
): {
  request: ReturnType<typeof httpRequest>;
  reply: Promise<IncomingMessage>;
} {
  const options: RequestOptions = {
    host: '127.0.0.1',
    port,
    path,
    headers: { ...headers },
    agent: agent ?? new Agent(),
  };
  options.method = method ?? (body === undefined ? 'GET' : 'POST');
  const request = httpRequest(options);
  const reply = new Promise<IncomingMessage>((done, fail) => {
    request.on('response', done);
    request.on('error', fail);
  });
  // who destroys a request does not wait for its reply
  reply.catch(() => {});
  if (body === undefined || typeof body === 'string' || Buffer.isBuffer(body)) {
    if (body !== undefined) request.setHeader('content-length', Buffer.byteLength(body));
    request.end(body);
  } else body.pipe(request);
  return { request, reply };
}

/** Sends a request and reads the whole reply. */
export async function ask(port: number, options: Ask = {}): Promise<Reply> {
  const reply = await within(30_000, open(port, options).reply, `a reply to ${options.path ?? '/'}`);
  const body = await within(30_000, read(reply), `the body of ${options.path ?? '/'}`);
  return {
    status: reply.statusCode ?? 0,
    headers: reply.headers,
    rawHeaders: reply.rawHeaders,
    body,
    json: () => JSON.parse(body.toString()) as Record<string, unknown>,
  };
}

/** Reads a stream to its end. */
export async function read(stream: Readable): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** A bare connection, for what an HTTP client would not do. */
export interface Raw {
  socket: Socket;
  received(): string;
  /** Resolves with all that came, when the text has come in at or after `from`. */
  until(text: string, from?: number): Promise<string>;
  /** Resolves with all that came, when the test passes. @param what - is waited for, in words. */
  untilThat(test: (received: string) => boolean, what: string): Promise<string>;
  /** Resolves with all that came, when the other side has closed. */
  closed: Promise<string>;
}

/** Connects, and sends text at once if there is any. */
export async function raw(port: number, text: string = ''): Promise<Raw> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  const listeners = new Set<() => void>();
  socket.setEncoding('latin1');
  socket.on('data', (chunk: string) => {
    received += chunk;
    for (const check of [...listeners]) check();
  });
  socket.on('error', () => {});
  const closed = new Promise<string>(done => socket.on('close', () => done(received)));
  await within(5000, new Promise<void>(done => socket.on('connect', () => done())), 'a connection');
  if (text !== '') socket.write(text, 'latin1');
  const untilThat: Raw['untilThat'] = (test, what) =>
    within(
      10_000,
      new Promise((done, fail) => {
        const check = (): void => {
          try {
            if (!test(received)) return;
            done(received);
          } catch (error) {
            fail(error);
          }
          listeners.delete(check);
        };
        listeners.add(check);
        check();
      }),
      `${what} on the socket, got ${JSON.stringify(received.slice(-200))}`,
    );
  return {
    socket,
    received: () => received,
    untilThat,
    until: (part, from = 0) => untilThat(text => text.includes(part, from), JSON.stringify(part)),
    closed: closed,
  };
}

/** Head of a request without body, for `raw`. */
export const get = (path: string, headers: string = ''): string =>
  `GET ${path} HTTP/1.1\r\nhost: test\r\n${headers}\r\n`;
