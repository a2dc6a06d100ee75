import { spawn } from 'node:child_process';
import { constants } from 'node:os';
import { now } from '../../clock.ts';
import { type FcError, platformError } from './answers.ts';
import { environment } from './headers.ts';
import { type ContainerLog, collectLog } from './log.ts';
import { holders, peakMemory, signalAll, tree } from './processes.ts';
import type { FunctionSettings } from './settings.ts';

const SWEEP_INTERVAL_MS = 10;
/** Memory that was looked at within this time is not looked at again: a thousand calls a second ask for it. */
const FRESH_MS = 5;

/** How a process ended: its exit code, or the signal. */
export type Exit = number | NodeJS.Signals;

/** The processes of one container. */
export interface Container {
  /** Of the command's own process; 0 where there is none. */
  readonly pid: number;
  readonly log: ContainerLog;
  isRunning(): boolean;
  /** Stops all its processes, whatever they do. */
  freeze(): void;
  thaw(): void;
  /** Kills it, as the kernel does that is out of memory: all of a container's processes end with the first one. */
  crash(): void;
  terminate(): void;
  kill(): void;
  /** Resolves when no process of it is left, all of which are killed. */
  sweep(): Promise<void>;
  /** The most memory that it has had, MB; of one that has ended what it had when it was asked last. */
  peakMemory(): number;
}

/** Who is told of a container. */
export interface Watcher {
  line(stream: 'stdout' | 'stderr', line: string): void;
  /** Its first process has ended; what it printed may not have come. */
  ending(): void;
  /** All of it has come, or there never was a process. The error is what FC says of it. */
  ended(how: Exit, error: FcError): void;
}

/** Containers that run. Each is a session of its own, which would outlive a platform that ends without stopping it. */
const running = new Set<() => void>();
process.on('exit', () => {
  for (const kill of running) kill();
});

/** A container's start command, its port filled in. */
export const commandOf = ({ command }: FunctionSettings, port: number): string[] =>
  command.map(part => part.replace(/\bPORT\b/g, String(port)));

/** Starts a container's command. */
export function startContainer(settings: FunctionSettings, id: string, port: number, watcher: Watcher): Container {
  const { switches } = settings;
  const [file = '', ...args] = commandOf(settings, port);
  const child = spawn(file, args, {
    cwd: settings.cwd,
    env: { ...inherited(), ...environment(settings, id, port), ...settings.environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    // a terminal's Ctrl-C is for the platform, which stops its instances itself
    detached: true,
  });
  const { pid = 0 } = child;
  const log = collectLog(child, switches.logLine, watcher.line);
  let peak = 0;
  let lookedAt = Number.NEGATIVE_INFINITY;

  /** Kills its processes; by their group, too: one that is just being started has no variables to be found by. */
  const killAll = (): void => {
    const group = pid === 0 ? [] : [-pid];
    signalAll([...group, ...holders('FC_INSTANCE_ID', id)], 'SIGKILL');
  };
  running.add(killAll);

  child.on('exit', () => {
    watcher.ending();
    // a container's processes end with its first one
    killAll();
  });
  // all that it printed has come
  child.on('close', (code, signal) => {
    // there has never been one, and it is told
    if (pid === 0) return;
    running.delete(killAll);
    const status = signal === null ? code : 128 + constants.signals[signal];
    const text = `code ${status}, message:${signal ?? 'exit status'}`;
    const command = settings.command.join(' ');
    const message = `Function instance exited unexpectedly(${text}) with start command '${command}'. Logs:${log.tail(0)}`;
    watcher.ended(signal ?? code ?? 0, platformError('CAExited', switches.startErrorStatus, message));
  });
  child.on('error', (error: NodeJS.ErrnoException) => {
    if (pid !== 0) return;
    running.delete(killAll);
    const code = error.code === 'EACCES' ? switches.permissionError : 'CAFileNotFound';
    const message = `start command '${file}': ${error.message}`;
    watcher.ended(127, platformError(code, switches.startErrorStatus, message));
  });

  const isRunning = (): boolean => pid !== 0 && child.exitCode === null && child.signalCode === null;
  return {
    pid,
    log,
    isRunning,
    freeze: () => signalAll(tree(pid), 'SIGSTOP'),
    // children first: a parent must not find them standing still
    thaw: () => signalAll(tree(pid).reverse(), 'SIGCONT'),
    crash() {
      // children first: what one of them said of its parent's death would still get out
      if (isRunning()) signalAll(tree(pid).reverse(), 'SIGKILL');
    },
    terminate: () => void child.kill('SIGTERM'),
    kill: () => void child.kill('SIGKILL'),
    async sweep() {
      // killed is not yet gone
      while (holders('FC_INSTANCE_ID', id).length > 0) {
        killAll();
        await new Promise(done => setTimeout(done, SWEEP_INTERVAL_MS).unref());
      }
    },
    peakMemory() {
      const moment = now();
      if (pid === 0 || moment - lookedAt < FRESH_MS) return peak;
      lookedAt = moment;
      peak = Math.max(peak, peakMemory(pid));
      return peak;
    },
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
