import { now } from '../../clock.ts';
import { FcError, platformError } from './answers.ts';
import { type Connections, createConnections } from './connections.ts';
import { commandOf, type Exit, startContainer } from './container.ts';
import { commonHeaders, instanceId, requestId } from './headers.ts';
import { createHealth } from './health.ts';
import { ask, callHook } from './hooks.ts';
import type { Happenings, Tell } from './life.ts';
import { listening } from './listening.ts';
import { accepts, freePort } from './port.ts';
import { holders, tree } from './processes.ts';
import type { FunctionSettings, HealthCheck } from './settings.ts';
import { createSpeakers } from './speakers.ts';
import { createStates, type State } from './state.ts';

/** A server that listens on loopback only cannot be reached from FC; here it cannot at this address. */
const HOST = process.platform === 'linux' ? '127.0.0.2' : '127.0.0.1';
const PROBE_INTERVAL_MS = 10;
/** Between two looks where it listens, of one that is slow to open its port. */
const LOOK_MS = 1000;
/** One that listens nowhere deserves a word by then; FC itself waits much longer. */
const PATIENCE_MS = 5000;
/** From the last answer to the freeze. */
const FREEZE_LAG_MS = 10;
/** A process that ends has broken its connections some time before it is known to have ended; with its port closed, longer. */
const EXIT_LAG_MS = 250;
const CLOSED_EXIT_MS = 10_000;

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
  readonly exited: Promise<Exit>;
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

/** Events that tell of an instance. */
type OfInstance = { [K in keyof Happenings]: Happenings[K] extends { instance: string } ? K : never }[keyof Happenings];

/** Starts a container's command. */
export async function startInstance(settings: FunctionSettings, tell: Tell): Promise<Instance> {
  const { switches, initializer, healthCheck } = settings;
  const id = instanceId();
  const port = settings.port === 0 ? await freePort() : settings.port;
  const connections = createConnections(HOST, port, switches.pooledIdle);
  const where = { connections, port };
  const say = <K extends OfInstance>(event: K, fields: Omit<Happenings[K], 'instance'>): void =>
    tell(event, { instance: id, ...fields } as Happenings[K]);

  const states = createStates();
  const speakers = createSpeakers();
  let readyAt: number | undefined;
  let frozenAt: number | undefined;
  let inFlight = 0;
  /** Changes with every request; who finds it changed has been overtaken. */
  let turn = 0;
  /** Changes with every freeze. */
  let freezes = 0;
  let stopped = false;
  let failure: FcError | undefined;
  let preparing: Promise<void> | undefined;
  let stopping: Promise<void> | undefined;
  let idle: NodeJS.Timeout | undefined;
  const waiting = new Set<() => void>();
  let settleExit: (how: Exit) => void = () => {};
  const exited = new Promise<Exit>(done => {
    settleExit = done;
  });

  const health =
    healthCheck &&
    createHealth(
      healthCheck,
      { check: () => check(healthCheck), isFrozen: () => frozenAt !== undefined, freezes: () => freezes },
      healthy => say(healthy ? 'healthy' : 'unhealthy', {}),
    );

  say('starting', { command: commandOf(settings, port).join(' '), port });
  const started = now();
  const container = startContainer(settings, id, port, {
    line(stream, line) {
      const of = speakers.of(line);
      say('log', { stream, line, ...(of !== undefined && { requestId: of }) });
    },
    ending() {
      // until all that it printed has come, it must get no more requests
      if (states.current !== 'stopping') states.move('stopping');
      health?.stop();
    },
    ended(how, error) {
      states.move('exited');
      failure = error;
      clearTimeout(idle);
      say('exited', { ...(typeof how === 'number' ? { code: how } : { signal: how }), expected: stopped });
      connections.close();
      settleExit(how);
    },
  });
  const { log, isRunning } = container;

  async function prepare(request: string): Promise<void> {
    if (states.current === 'starting') {
      await probe();
      if (states.current !== 'starting') return ended();
      states.move('accepting');
      say('accepting', { port, ms: Math.round(now() - started) });
    }
    if (states.current === 'accepting') {
      if (initializer !== undefined) await initialize(request, initializer.timeout);
      if (healthCheck !== undefined) await firstCheck(healthCheck);
      if (states.current !== 'accepting') return ended();
      states.move('ready');
      readyAt = now();
      say('ready', { ms: Math.round(now() - started) });
    }
    if (states.current !== 'ready') return ended();
  }

  /** Why it will never be ready. */
  async function ended(): Promise<never> {
    if (stopped) throw platformError('FunctionNotStarted', switches.startErrorStatus, 'the instance has been stopped');
    await exited;
    throw failure;
  }

  const notStarted = (what: string): FcError => {
    const message = `Function instance health check failed on ${what}. Logs:${log.tail(0)}`;
    return platformError('FunctionNotStarted', switches.startErrorStatus, message);
  };

  /** FC's readiness test: the port accepts. */
  async function probe(): Promise<void> {
    const deadline = started + settings.startTimeout * 1000;
    const look = createLook();
    while (states.current === 'starting') {
      if (await accepts(HOST, port, switches.probeEnd)) return;
      if (now() > deadline) throw notStarted(`port ${port} in ${settings.startTimeout} seconds`);
      look();
      await pause(PROBE_INTERVAL_MS);
    }
  }

  /** Looks, at times, where it listens instead. */
  function createLook(): () => void {
    let next = started + LOOK_MS;
    /** One that does not listen at all is told once. */
    let told: string | undefined;
    return () => {
      const moment = now();
      if (moment < next) return;
      next = moment + LOOK_MS;
      const ms = Math.round(moment - started);
      const pids = [...tree(container.pid), ...holders('FC_INSTANCE_ID', id)];
      const found = [...new Set(listening(pids).map(({ host, port: own }) => `${host}:${own}`))].sort();
      const words = found.join();
      if (words === told || (found.length === 0 && ms < PATIENCE_MS)) return;
      told = words;
      say('waiting', { port, ms, found });
    };
  }

  async function initialize(request: string, timeout: number): Promise<void> {
    const own = switches.initializeId === 'shared' ? request : requestId(settings);
    const { status, body, ms } = await callHook(settings, where, '/initialize', own, timeout);
    const ok = status >= 200 && status < 300;
    const late = status === 0 && ms >= timeout * 1000;
    if (status === 0 && !late) await aftermath();
    say(ok ? 'initialized' : 'initialize failed', { requestId: own, status, ms });
    if (ok) return;
    if (states.current !== 'accepting') return ended();
    // FC restarts it then, whatever it does after other failures
    if (status >= 500) stop('initialize failed');
    const reason = late
      ? `no answer from /initialize within ${timeout} seconds`
      : `/initialize ${status === 0 ? 'broke off' : `answered ${status}: ${body}`}`;
    throw new FcError('function', 'InitializationError', switches.initErrorStatus, `Initialization failed: ${reason}`);
  }

  async function aftermath(): Promise<void> {
    // a process that ends has its port closed by then, though it may be long until we are told
    const isOpen = await accepts(HOST, port, switches.probeEnd);
    await Promise.race([exited, pause(isOpen ? EXIT_LAG_MS : CLOSED_EXIT_MS)]);
  }

  async function check({ httpGetUrl, timeoutSeconds }: HealthCheck): Promise<boolean> {
    const headers =
      switches.probeHeaders === 'none'
        ? []
        : commonHeaders(settings, { requestId: requestId(settings), controlPath: '/http-invoke' });
    const { status } = await ask(where, 'GET', httpGetUrl, headers, timeoutSeconds * 1000, settings.isHeld);
    return status >= 200 && status < 400;
  }

  async function firstCheck(healthCheck: HealthCheck): Promise<void> {
    await pause(healthCheck.initialDelaySeconds * 1000);
    if (!(await check(healthCheck))) throw notStarted(healthCheck.httpGetUrl);
    health?.start();
  }

  function freeze(): void {
    if (frozenAt !== undefined || !isRunning()) return;
    frozenAt = now();
    freezes += 1;
    container.freeze();
    say('frozen', {});
  }

  function thaw(): void {
    if (frozenAt === undefined || !isRunning()) return;
    const ms = Math.round(now() - frozenAt);
    frozenAt = undefined;
    container.thaw();
    say('thawed', { ms });
  }

  async function rest(request: string): Promise<void> {
    for (const wake of waiting) wake();
    const mine = ++turn;
    if (states.current !== 'ready') return;
    if (settings.idleTimeout > 0) idle = setTimeout(() => stop('idle'), settings.idleTimeout * 1000);
    if (!settings.freeze || settings.isHeld()) return;
    if (settings.preFreeze !== undefined) {
      const { status, ms } = await callHook(settings, where, '/pre-freeze', request, settings.preFreeze.timeout);
      say('pre-freeze', { requestId: request, status, ms });
    }
    // what it has printed for the call is on its way, and would come with the next one
    await pause(FREEZE_LAG_MS);
    if (turn === mine && states.current === 'ready' && !settings.isHeld()) freeze();
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
    const before = states.current;
    stopped = true;
    states.move('stopping');
    health?.stop();
    clearTimeout(idle);
    say('stopping', { reason });
    if (inFlight > 0) {
      const drained = new Promise<void>(done => waiting.add(done));
      await Promise.race([drained, exited, pause(settings.timeout * 1000)]);
    }
    thaw();
    if (before === 'ready' && settings.preStop !== undefined && isRunning()) {
      const own = requestId(settings);
      const { status, ms } = await callHook(settings, where, '/pre-stop', own, settings.preStop.timeout);
      say('pre-stop', { requestId: own, status, ms });
    }
    if (isRunning() && switches.sigterm === 'yes') {
      container.terminate();
      await Promise.race([exited, pause(switches.stopGrace * 1000)]);
    }
    if (isRunning()) container.kill();
    await exited;
    await container.sweep();
  }

  return {
    id,
    host: HOST,
    port,
    pid: container.pid,
    get state() {
      return states.current;
    },
    get frozen() {
      return frozenAt !== undefined;
    },
    get healthy() {
      return health?.healthy !== false;
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
      container.peakMemory();
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
    crash: container.crash,
    stop,
    logTail: log.tail,
    peakMemory: container.peakMemory,
  };
}

/** Keeps no process from ending. What it is for does: the container that is waited for. */
const pause = (ms: number): Promise<void> => new Promise(done => setTimeout(done, ms).unref());
