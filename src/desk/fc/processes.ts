import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

/** A process and all below it, each before its children. Where there is no /proc, the process alone. */
export function tree(pid: number): number[] {
  const found = [pid];
  for (const parent of found) found.push(...children(parent));
  return found;
}

function children(pid: number): number[] {
  return list(`/proc/${pid}/task`).flatMap(task =>
    (readProc(`/proc/${pid}/task/${task}/children`) ?? '').split(' ').filter(Boolean).map(Number),
  );
}

/** The processes that have been given a variable, and their descendants' descendants, whoever their parent is now. */
export function holders(name: string, value: string): number[] {
  const wanted = `${name}=${value}`;
  return list('/proc')
    .filter(entry => /^\d+$/.test(entry))
    .filter(pid => readProc(`/proc/${pid}/environ`)?.split('\0').includes(wanted))
    .map(Number);
}

/** What of freezing cannot be played on a system, for who develops there; undefined: nothing is left out. */
export function unplayed(system: NodeJS.Platform): string | undefined {
  if (system === 'linux') return undefined;
  return system === 'win32'
    ? 'Windows has no SIGSTOP: functions go on while they are said to be frozen'
    : 'frozen is the process alone, and no child of it: for those this takes Linux';
}

/** Sends a signal to each that is still there. */
export function signalAll(pids: readonly number[], signal: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // it has ended by itself
    }
  }
}

/** The most memory that a process has had, MB; 0 where nobody tells. */
export function peakMemory(pid: number): number {
  const [, kilobytes = 0] = /^VmHWM:\s+(\d+) kB$/m.exec(readProc(`/proc/${pid}/status`) ?? '') ?? [];
  return Number(kilobytes) / 1024;
}

/** The names in a folder; none where it cannot be read. */
export function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/** A file's text; undefined where it cannot be read. */
export function readProc(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return undefined;
  }
}

/** Where a link leads; empty where that cannot be read. */
export function linkOf(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

/** What processes use. */
export interface Usage {
  /** MB that they hold now. */
  readonly memory: number;
  /** ms of CPU so far. */
  readonly cpuMs: number;
}

/** The kernel's tick, ms: Linux tells processes of 100 a second, whatever its own are. */
const TICK_MS = 10;

/** What a process and all below it use; 0 where nobody tells. */
export function usage(pid: number): Usage {
  let memory = 0;
  let cpuMs = 0;
  for (const one of tree(pid)) {
    const [, kilobytes = 0] = /^VmRSS:\s+(\d+) kB$/m.exec(readProc(`/proc/${one}/status`) ?? '') ?? [];
    memory += Number(kilobytes) / 1024;
    // after the name, which may hold anything: utime and stime are the 14th and 15th of all
    const fields = (readProc(`/proc/${one}/stat`) ?? '').replace(/^.*\) /s, '').split(' ');
    cpuMs += (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS;
  }
  return { memory: Math.round(memory * 10) / 10, cpuMs };
}
