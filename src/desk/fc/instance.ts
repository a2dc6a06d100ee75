import { type ChildProcess, spawn } from 'node:child_process';
import type { IncomingMessage } from 'node:http';
import { connect, createServer } from 'node:net';
import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import { now } from '../../clock.ts';
import { FcError, platformError } from './answers.ts';
import { type Connections, createConnections, type Exchange, resetSocket } from './connections.ts';
import { type ControlPath, commonHeaders, environment, instanceId, requestId } from './headers.ts';
import type { Happenings, Tell } from './life.ts';
import { LIMITS } from './limits.ts';
import { holders, peakMemory, signalAll, tree } from './processes.ts';
import type { FunctionSettings } from './settings.ts';
import { createSpeakers } from './speakers.ts';

/** A server that listens on loopback only cannot be reached from FC; here it cannot at this address. */
const HOST = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1';
const PROBE_INTERVAL_MS = 10;
/** A process that ends has broken its connections some time before it is known to have ended; with its port closed, longer. */
const EXIT_LAG_MS = 250;
const CLOSED_EXIT_MS = 10_000;
/** What of a hook's answer an error may quote. */
const MAX_BODY_OF_HOOK = 1024;

/** `ready`: initialized, and may be called. `frozen` is apart from these: every one of them can be. */
export type State = 'starting' | 'accepting' | 'ready' | 'stopping' | 'exited';

/** One running container. */
export interface Instance {
  /** `c-…` */
  readonly id: string;
  readonly host: string;
  readonly port: number;
  /** Of the command's own process. */
  readonly pid: number;
  readonly state: State;
  readonly frozen: boolean;
  readonly healthy: boolean;
  /** Requests that it has now. */
  readonly inFlight: number;
  /** Resolves when it has ended, with exit code or signal. */
  readonly exited: Promise<number | NodeJS.Signals>;
  /** Resolves when it is known whether a connection has broken because the process has ended. */
  aftermath(): Promise<void>;
  readonly connections: Connections;
  /**
   * Probes the port, initializes, and has the first health check made. Together for all that call while it goes on;
   * once it has succeeded, at once.
   *
   * @throws {FcError} rejected: FunctionNotStarted, CAExited, InitializationError.
   */
  prepare(requestId: string): Promise<void>;
  /** When it was first ready, by the clock. */
  readonly readyAt: number | undefined;
  /** Counts a request in, and thaws. */
  take(requestId: string): void;
  /** Counts a request out; after the last one the instance rests. */
  release(requestId: string): void;
  /** Freezes, by and by, what has nothing to do; the id is that of the last request. */
  rest(requestId: string): void;
  /** Stops all its processes, whatever they do. */
  freeze(): void;
  thaw(): void;
  /** Kills it, as the kernel does that is out of memory: all of a container's processes end with the first one. */
  crash(): void;
  /** Waits for what is in flight; then pre-stop, SIGTERM, SIGKILL. Resolves when no process of it is left. */
  stop(reason: string): Promise<void>;
  /** What it has printed since, at most the 4 KiB that FC gives. */
  logTail(since: number): string;
  /** Bytes that it has printed. */
  readonly logLength: number;
  /** MB. */
  peakMemory(): number;
}

/** Containers that run. Each is a session of its own, which would outlive a platform that ends without stopping it. */
const running = new Set<() => void>();
process.on('exit', () => {
  for (const kill of running) kill();
});

/** Events that tell of an instance. */
type OfInstance = { [K in keyof Happenings]: Happenings[K] extends { instance: string } ? K : never }[keyof Happenings];

/** Starts a container's command. */
export async function startInstance(settings: FunctionSettings, tell: Tell): Promise<Instance> {
  const { switches, initializer, healthCheck } = settings;
  const id = instanceId();
  const port = settings.port === 0 ? await freePort() : settings.port;
  const connections = createConnections(HOST, port, switches.pooledIdle);
  const say = <K extends OfInstance>(event: K, fields: Omit<Happenings[K], 'instance'>): void =>
    tell(event, { instance: id, ...fields } as Happenings[K]);

  const [file = '', ...args] = settings.command.map(part => part.replace(/\bPORT\b/g, String(port)));
  say('starting', { command: [file, ...args].join(' '), port });
  const started = now();
  const child = spawn(file, args, {
    cwd: settings.cwd,
    env: { ...inherited(), ...environment(settings, id, port), ...settings.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    // a terminal's Ctrl-C is for the platform, which stops its instances itself
    detached: true,
  });
  const speakers = createSpeakers();
  const log = collectLog(child, switches.logLine, (stream, line) => {
    const requestId = speakers.of(line);
    say('log', { stream, line, ...(requestId !== undefined && { requestId }) });
  });

  let state: State = 'starting';
  let frozenAt: number | undefined;
  let healthy = true;
  let readyAt: number | undefined;
  let inFlight = 0;
  /** Changes with every request; who finds it changed has been overtaken. */
  let turn = 0;
  /** Changes with every freeze. */
  let freezes = 0;
  let stopped = false;
  /** MB; nobody tells it of a process that has ended. */
  let peak = 0;
  let failure: FcError | undefined;
  let preparing: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;
  let checks: NodeJS.Timeout | undefined;
  let idle: NodeJS.Timeout | undefined;
  const waiting = new Set<() => void>();

  /** Kills its processes; by their group, too: one that is just being started has no variables to be found by. */
  const kill = (): void => {
    const group = child.pid === undefined ? [] : [-child.pid];
    signalAll([...group, ...holders('FC_INSTANCE_ID', id)], 'SIGKILL');
  };
  running.add(kill);
  const exited = new Promise<number | NodeJS.Signals>(done => {
    const settleExit = (how: number | NodeJS.Signals, error: FcError): void => {
      if (state === 'exited') return;
      state = 'exited';
      failure = error;
      running.delete(kill);
      clearTimeout(checks);
      clearTimeout(idle);
      say('exited', { ...(typeof how === 'number' ? { code: how } : { signal: how }), expected: stopped });
      connections.close();
      done(how);
    };
    child.on('exit', () => {
      // until all that it printed has come, it must get no more requests
      state = 'stopping';
      // a container's processes end with its first one
      kill();
    });
    // all that it printed has come
    child.on('close', (code, signal) => {
      const status = signal === null ? code : 128 + constants.signals[signal];
      const text = `code ${status}, message:${signal ?? 'exit status'}`;
      const command = settings.command.join(' ');
      const message = `Function instance exited unexpectedly(${text}) with start command '${command}'. Logs:${log.tail(0)}`;
      settleExit(signal ?? code ?? 0, platformError('CAExited', switches.startErrorStatus, message));
    });
    child.on('error', (error: NodeJS.ErrnoException) => {
      const code = error.code === 'EACCES' ? switches.permissionError : 'CAFileNotFound';
      settleExit(127, platformError(code, switches.startErrorStatus, `start command '${file}': ${error.message}`));
    });
  });

  async function prepare(request: string): Promise<void> {
    if (state === 'starting') {
      await probe();
      if (state !== 'starting') return ended();
      state = 'accepting';
      say('accepting', { port, ms: Math.round(now() - started) });
    }
    if (state === 'accepting') {
      if (initializer !== undefined) await initialize(request, initializer.timeout);
      if (healthCheck !== undefined) await firstCheck();
      if (state !== 'accepting') return ended();
      state = 'ready';
      readyAt = now();
      say('ready', { ms: Math.round(now() - started) });
    }
    if (state !== 'ready') return ended();
  }

  /** Why it will never be ready. */
  async function ended(): Promise<never> {
    if (stopped) throw platformError('FunctionNotStarted', switches.startErrorStatus, 'the instance has been stopped');
    await exited;
    throw failure;
  }

  /** FC's readiness test: the port accepts. */
  async function probe(): Promise<void> {
    const deadline = started + settings.startTimeout * 1000;
    while (state === 'starting') {
      if (await accepts(HOST, port, switches.probeEnd)) return;
      if (now() > deadline) {
        const message = `Function instance health check failed on port ${port} in ${settings.startTimeout} seconds. Logs:${log.tail(0)}`;
        throw platformError('FunctionNotStarted', switches.startErrorStatus, message);
      }
      await pause(PROBE_INTERVAL_MS);
    }
  }

  async function initialize(request: string, timeout: number): Promise<void> {
    const own = switches.initializeId === 'shared' ? request : requestId(settings);
    const { status, body, ms } = await hook('/initialize', own, timeout);
    const ok = status >= 200 && status < 300;
    const late = status === 0 && ms >= timeout * 1000;
    if (status === 0 && !late) await aftermath();
    say(ok ? 'initialized' : 'initialize failed', { requestId: own, status, ms });
    if (ok) return;
    if (state !== 'accepting') return ended();
    // FC restarts it then, whatever it does after other failures
    if (status >= 500) stop('initialize failed');
    const reason = late
      ? `no answer from /initialize within ${timeout} seconds`
      : `/initialize ${status === 0 ? 'broke off' : `answered ${status}: ${body}`}`;
    throw new FcError('function', 'InitializationError', switches.initErrorStatus, `Initialization failed: ${reason}`);
  }

  /** Calls a lifecycle hook; status 0 is no answer. */
  async function hook(
    path: ControlPath,
    request: string,
    timeout: number,
  ): Promise<{ status: number; body: string; ms: number }> {
    const most = path === '/initialize' ? 0 : switches.hookTimeoutMax;
    const seconds = most === 0 ? timeout : Math.min(most, timeout);
    const headers = commonHeaders(settings, { requestId: request, controlPath: path });
    return ask(path === '/initialize' ? 'POST' : 'GET', path, headers, seconds * 1000);
  }

  async function aftermath(): Promise<void> {
    // a process that ends has its port closed by then, though it may be long until we are told
    const isOpen = await accepts(HOST, port, switches.probeEnd);
    await Promise.race([exited, pause(isOpen ? EXIT_LAG_MS : CLOSED_EXIT_MS)]);
  }

  async function ask(
    method: string,
    path: string,
    headers: Exchange['headers'],
    ms: number,
  ): Promise<{ status: number; body: string; ms: number }> {
    const begun = now();
    const controller = new AbortController();
    const timer = setTimeout(() => controller.abort(), ms);
    const length: Exchange['headers'] = method === 'POST' ? [['Content-Length', '0']] : [];
    try {
      const response = await connections.exchange({
        method,
        path,
        headers: [['Host', `21.0.0.1:${port}`], ...headers, ...length],
        signal: controller.signal,
      });
      const body = await text(response, MAX_BODY_OF_HOOK);
      return { status: response.statusCode ?? 0, body, ms: Math.round(now() - begun) };
    } catch {
      return { status: 0, body: '', ms: Math.round(now() - begun) };
    } finally {
      clearTimeout(timer);
    }
  }

  async function check(): Promise<boolean> {
    if (healthCheck === undefined) return true;
    const common: Exchange['headers'] =
      switches.probeHeaders === 'none'
        ? []
        : commonHeaders(settings, { requestId: requestId(settings), controlPath: '/http-invoke' });
    const { status } = await ask('GET', healthCheck.httpGetUrl, common, healthCheck.timeoutSeconds * 1000);
    return status >= 200 && status < 400;
  }

  async function firstCheck(): Promise<void> {
    await pause((healthCheck?.initialDelaySeconds ?? 0) * 1000);
    if (!(await check())) {
      const message = `Function instance health check failed on ${healthCheck?.httpGetUrl}. Logs:${log.tail(0)}`;
      throw platformError('FunctionNotStarted', switches.startErrorStatus, message);
    }
    scheduleCheck(0);
  }

  /** `row` counts the checks that differ from what the instance is held for. */
  function scheduleCheck(row: number): void {
    if (healthCheck === undefined || state === 'stopping' || state === 'exited') return;
    checks = setTimeout(async () => {
      // a frozen one cannot answer, and is not asked
      const before = freezes;
      const good = frozenAt === undefined ? await check() : healthy;
      const count = good === healthy || freezes !== before ? 0 : row + 1;
      const needed = healthy ? healthCheck.failureThreshold : healthCheck.successThreshold;
      if (count < needed) return scheduleCheck(count);
      healthy = good;
      say(healthy ? 'healthy' : 'unhealthy', {});
      scheduleCheck(0);
    }, healthCheck.periodSeconds * 1000);
  }

  function freeze(): void {
    if (frozenAt !== undefined || child.pid === undefined || !isRunning()) return;
    frozenAt = now();
    freezes += 1;
    signalAll(tree(child.pid), 'SIGSTOP');
    say('frozen', {});
  }

  function thaw(): void {
    if (frozenAt === undefined || child.pid === undefined || !isRunning()) return;
    const ms = Math.round(now() - frozenAt);
    frozenAt = undefined;
    // children first: a parent must not find them standing still
    signalAll(tree(child.pid).reverse(), 'SIGCONT');
    say('thawed', { ms });
  }

  async function rest(request: string): Promise<void> {
    for (const wake of waiting) wake();
    const mine = ++turn;
    if (state !== 'ready') return;
    if (settings.idleTimeout > 0) idle = setTimeout(() => stop('idle'), settings.idleTimeout * 1000);
    if (!settings.freeze) return;
    if (settings.preFreeze !== undefined) {
      const { status, ms } = await hook('/pre-freeze', request, settings.preFreeze.timeout);
      say('pre-freeze', { requestId: request, status, ms });
    }
    if (turn === mine && state === 'ready') freeze();
  }

  function stop(reason: string): Promise<void> {
    stopping ??= end(reason);
    return stopping;
  }

  async function end(reason: string): Promise<void> {
    if (!isRunning()) {
      await exited;
      return;
    }
    const before = state;
    stopped = true;
    state = 'stopping';
    clearTimeout(checks);
    clearTimeout(idle);
    say('stopping', { reason });
    if (inFlight > 0) {
      const drained = new Promise<void>(done => waiting.add(done));
      await Promise.race([drained, exited, pause(settings.timeout * 1000)]);
    }
    thaw();
    if (before === 'ready' && settings.preStop !== undefined && isRunning()) {
      const own = requestId(settings);
      const { status, ms } = await hook('/pre-stop', own, settings.preStop.timeout);
      say('pre-stop', { requestId: own, status, ms });
    }
    if (isRunning() && switches.sigterm === 'yes') {
      child.kill('SIGTERM');
      await Promise.race([exited, pause(switches.stopGrace * 1000)]);
    }
    if (isRunning()) child.kill('SIGKILL');
    await exited;
    // killed is not yet gone
    for (; holders('FC_INSTANCE_ID', id).length > 0; await pause(PROBE_INTERVAL_MS)) kill();
  }

  function measure(): number {
    peak = Math.max(peak, peakMemory(child.pid ?? 0));
    return peak;
  }

  const isRunning = (): boolean => child.exitCode === null && child.signalCode === null && child.pid !== undefined;

  return {
    id,
    host: HOST,
    port,
    pid: child.pid ?? 0,
    get state() {
      return state;
    },
    get frozen() {
      return frozenAt !== undefined;
    },
    get healthy() {
      return healthy;
    },
    get readyAt() {
      return readyAt;
    },
    get inFlight() {
      return inFlight;
    },
    get logLength() {
      return log.length();
    },
    exited,
    aftermath,
    connections,
    prepare(request) {
      preparing ??= Promise.race([prepare(request), exited.then(ended)]).finally(() => {
        preparing = undefined;
      });
      return preparing;
    },
    take(request) {
      measure();
      inFlight += 1;
      speakers.begin(request);
      turn += 1;
      clearTimeout(idle);
      // the request is on its way before the processes run again: a server whose timers had closed its connection
      // meanwhile closes it in the face of the request, as the real ones do
      setImmediate(() => {
        if (inFlight > 0) thaw();
      });
    },
    release(request) {
      inFlight -= 1;
      speakers.end(request);
      if (inFlight === 0) rest(request);
    },
    rest,
    freeze,
    thaw,
    crash() {
      // children first: what one of them said of its parent's death would still get out
      if (child.pid !== undefined && isRunning()) signalAll(tree(child.pid).reverse(), 'SIGKILL');
    },
    stop,
    logTail: log.tail,
    peakMemory: measure,
  };
}

/** What a container has of its own of the machine's environment. */
function inherited(): Record<string, string> {
  const names = /^(PATH|HOME|LANG|TZ|TMPDIR|NODE_.*|NO_COLOR)$/;
  return Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      names.test(name) && value !== undefined ? [[name, value]] : [],
    ),
  );
}

/** Below the range that outgoing connections are given. */
let nextPort = 10_000 + ((process.pid * 97) % 20_000);

async function freePort(): Promise<number> {
  for (;;) {
    nextPort = nextPort >= 30_000 ? 10_000 : nextPort + 1;
    const port = nextPort;
    const server = createServer();
    const free = await new Promise<boolean>((done, fail) => {
      // what is no matter of the port would be one of every next
      server.on('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? done(false) : fail(error)));
      server.listen(port, () => done(true));
    });
    if (!free) continue;
    await new Promise(done => server.close(done));
    return port;
  }
}

function accepts(host: string, port: number, end: 'fin' | 'rst'): Promise<boolean> {
  return new Promise(done => {
    const socket = connect(port, host);
    socket.on('connect', () => {
      if (end === 'rst') resetSocket(socket);
      else socket.destroy();
      done(true);
    });
    socket.on('error', () => done(false));
  });
}

interface ContainerLog {
  tail(since: number): string;
  length(): number;
}

/** Collects what a process prints, and tells each line. */
function collectLog(
  child: ChildProcess,
  maxLine: number,
  tell: (stream: 'stdout' | 'stderr', line: string) => void,
): ContainerLog {
  let length = 0;
  let kept = '';
  const collect = (stream: Readable | null, name: 'stdout' | 'stderr'): void => {
    let rest = '';
    const print = (line: string): void => {
      const cut = maxLine === 0 ? line : line.slice(0, maxLine);
      length += cut.length + 1;
      kept = `${kept}${cut}\n`.slice(-LIMITS.logTail);
      tell(name, cut);
    };
    stream?.setEncoding('utf8');
    stream?.on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) print(line);
    });
    stream?.on('end', () => {
      if (rest !== '') print(rest);
    });
  };
  collect(child.stdout, 'stdout');
  collect(child.stderr, 'stderr');
  return { tail: since => (since >= length ? '' : kept.slice(-(length - since))), length: () => length };
}

async function text(response: IncomingMessage, limit: number): Promise<string> {
  let body = '';
  for await (const chunk of response) body = (body + String(chunk)).slice(0, limit);
  return body;
}

/** Keeps no process from ending. What it is for does: the container that is waited for. */
const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms).unref());
