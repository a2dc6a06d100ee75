import { spawn } from 'node:child_process';
import { resolve } from 'node:path';
import { endWithUs, type LogLine, type Observed, observe, temporary, within } from '../helpers.ts';
import { KNOBS, type Knobs } from './knobs.ts';
import type { Command, MainOptions, Report } from './main.ts';
import type { Counters } from './server.ts';

const MAIN = resolve('dist-test/planes/main.js');

/** Longest start of a process. */
const START_MS = 20_000;

export interface PlanesOptions {
  /** NOSLATED_WORKDIR; a folder of its own by default. */
  workdir?: string;
  /** Ids; `[0]` by default. */
  dataPlanes?: readonly number[];
  /** True by default. Without a data plane it never serves, as Noslate's. */
  controlPlane?: boolean;
  /** One process each; by default one for all. */
  separate?: boolean;
  /** Resolves at once, with no socket there yet. */
  late?: boolean;
  /** Binary of Node.js; our own by default. */
  node?: string;
  knobs?: Partial<Knobs>;
}

/** Running test planes. `plane` is for example `dp-0`, and needed only with `separate`; by default all are meant. */
export interface Planes {
  readonly workdir: string;
  pid(plane?: string): number;
  /** Resolves with the exit code or signal of the process that runs now. */
  exit(plane?: string): Promise<number | string>;
  /** Sends a signal (SIGKILL by default) and resolves when the process has ended. */
  kill(signal?: NodeJS.Signals, plane?: string): Promise<void>;
  /** Kills what still runs, starts it again with the knobs as they are now, and resolves when it accepts. */
  restart(plane?: string): Promise<void>;
  /** Ends all processes. */
  stop(): Promise<void>;
  /** What functions and planes have printed, by process, restarts included. */
  output(): string;
  lines(): LogLine[];
  /** Changes knobs, also of planes started later. */
  setKnobs(knobs: Partial<Knobs>): Promise<void>;
  counters(plane: string): Promise<Counters>;
}

/** One process and its planes. */
interface Host {
  readonly planes: readonly string[];
  /** One for each start. */
  readonly observed: Observed[];
  start(): Promise<void>;
  kill(signal: NodeJS.Signals): Promise<void>;
  /** Has a command done; a process that does not run has no counters. */
  ask(command: Wish): Promise<Record<string, Counters>>;
  readonly pid: number;
  readonly exit: Promise<number | string>;
}

type Wish = { command: 'knobs'; knobs: Partial<Knobs> } | { command: 'counters' };

/** Starts test planes and resolves when their sockets accept. They end with this process at the latest. */
export async function startPlanes(options: PlanesOptions = {}): Promise<Planes> {
  const { workdir = temporary(), dataPlanes = [0], controlPlane = true, separate = false, late = false } = options;
  const { node = process.execPath } = options;
  const knobs = { ...KNOBS, ...options.knobs };
  const names = [...dataPlanes.map(id => `dp-${id}`), ...(controlPlane ? ['cp-0'] : [])];
  const hosts = (separate ? names.map(name => [name]) : [names]).map(planes =>
    createHost(node, () => ({ workdir, planes, knobs })),
  );

  const hostsOf = (plane?: string): Host[] =>
    plane === undefined ? hosts : hosts.filter(({ planes }) => planes.includes(plane));
  function hostOf(plane?: string): Host {
    const [host] = hostsOf(plane);
    if (host === undefined) throw new Error(`expected a plane out of ${names}, got ${plane}`);
    return host;
  }
  const each = async (plane: string | undefined, act: (host: Host) => Promise<unknown>): Promise<void> => {
    await Promise.all(hostsOf(plane).map(act));
  };

  const started = each(undefined, host => host.start());
  if (late) started.catch(() => {});
  else await started;
  return {
    workdir,
    pid: plane => hostOf(plane).pid,
    exit: plane => hostOf(plane).exit,
    kill: (signal = 'SIGKILL', plane) => each(plane, host => host.kill(signal)),
    restart: plane =>
      each(plane, async host => {
        await host.kill('SIGKILL');
        await host.start();
      }),
    stop: () => each(undefined, host => host.kill('SIGKILL')),
    output: () => hosts.flatMap(({ observed }) => observed.map(item => item.output())).join(''),
    lines: () => hosts.flatMap(({ observed }) => observed.flatMap(item => item.lines())),
    async setKnobs(changed) {
      Object.assign(knobs, changed);
      await each(undefined, host => host.ask({ command: 'knobs', knobs: changed }));
    },
    async counters(plane) {
      const counters = (await hostOf(plane).ask({ command: 'counters' }))[plane];
      if (counters === undefined) throw new Error(`${plane} does not serve yet`);
      return counters;
    },
  };
}

/** Runs a test's body with planes of its own. */
export async function withPlanes(options: PlanesOptions, body: (planes: Planes) => Promise<void>): Promise<void> {
  const planes = await startPlanes(options);
  try {
    await body(planes);
  } catch (error) {
    if (error instanceof Error) error.message += `\n--- output of the planes\n${planes.output().slice(-2000)}`;
    throw error;
  } finally {
    await planes.stop();
  }
}

function createHost(node: string, options: () => MainOptions): Host {
  const observed: Observed[] = [];
  const waiting = new Map<number, (counters: Record<string, Counters>) => void>();
  let child: ReturnType<typeof spawn> | undefined;
  let lastId = 0;
  let exit: Promise<number | string> = Promise.resolve(0);

  return {
    planes: options().planes,
    observed,
    get pid() {
      return child?.pid ?? 0;
    },
    get exit() {
      return exit;
    },
    async start() {
      const current = endWithUs(
        spawn(node, [MAIN, JSON.stringify(options())], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] }),
      );
      child = current;
      const watched = observe(current);
      observed.push(watched);
      exit = watched.exit;
      const listening = new Promise<string>(done => {
        current.on('message', (report: Report) => {
          if (report.event === 'listening') done('listening');
          else {
            waiting.get(report.id)?.(report.counters);
            waiting.delete(report.id);
          }
        });
      });
      const first = await within(START_MS, Promise.race([listening, exit]), `planes to start\n${watched.output()}`);
      if (first !== 'listening') throw new Error(`the planes ended with ${first}: ${watched.output()}`);
    },
    async kill(signal) {
      child?.kill(signal);
      await within(START_MS, exit, 'the planes to end');
    },
    async ask(wish) {
      if (child?.connected !== true) return {};
      const id = ++lastId;
      const command: Command = { id, ...wish };
      const answer = new Promise<Record<string, Counters>>(done => waiting.set(id, done));
      child.send(command);
      return within(START_MS, answer, `an answer of the planes to ${wish.command}`);
    },
  };
}
