// Starts the processes that are measured, and asks Linux what they use.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';

/** Longest start or end of a process, ms. */
const PROCESS_MS = 20_000;

/** How the processes are started: with which Node.js, options and variables of all. */
export const settings = { node: process.execPath, options: [], env: {} };

const children = new Set();
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

const TICKS_PER_SECOND = Number(execFileSync('getconf', ['CLK_TCK']));

/** A kernel may be built without. */
const HAS_SCHEDSTAT = existsSync('/proc/self/schedstat');

/** Resolves or rejects with the promise, or rejects when it takes longer, saying what was waited for. */
export async function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${ms} ms for ${what}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** A TCP port of the loopback that nobody has just now. */
export async function freePort() {
  const server = createServer();
  await new Promise(done => server.listen(0, '127.0.0.1', done));
  const { port } = server.address();
  await new Promise(done => server.close(done));
  return port;
}

/**
 * Runs a file by `settings`, with nothing of our environment but PATH; killed when we end. What it says
 * on stderr is seen. `begun` is `performance.now()` of its start.
 *
 * @param stdio - `ipc` for messages, `pipe` for its stdout.
 */
export function start(file, { args = [], env = {}, stdio = 'ignore' } = {}) {
  const begun = performance.now();
  const child = spawn(settings.node, [...settings.options, file, ...args], {
    env: { PATH: process.env.PATH, ...settings.env, ...env },
    stdio: ['ignore', stdio === 'pipe' ? 'pipe' : 'ignore', 'inherit', ...(stdio === 'ipc' ? ['ipc'] : [])],
  });
  children.add(child);
  child.on('exit', () => children.delete(child));
  return Object.assign(child, { begun });
}

/** Kills a process and waits until it is gone. */
export async function stop(child) {
  if (!children.has(child)) return;
  const gone = new Promise(done => child.on('exit', done));
  child.kill('SIGKILL');
  await within(PROCESS_MS, gone, 'a process to end');
}

/** Resolves with what a file holds once it is there. */
export async function fileOf(file) {
  for (const last = Date.now() + PROCESS_MS; Date.now() < last; await new Promise(done => setTimeout(done, 10))) {
    const text = existsSync(file) ? readFileSync(file, 'utf8') : '';
    if (text !== '') return text;
  }
  throw new Error(`waited ${PROCESS_MS} ms for ${file}`);
}

/** Runs a file to its end and gives the JSON it has printed. */
export async function ask(file, args, ms) {
  const child = start(file, { args, stdio: 'pipe' });
  let output = '';
  child.stdout.on('data', text => (output += text));
  const code = await within(ms, new Promise(done => child.on('close', done)), file);
  if (code !== 0) throw new Error(`${file} ended with ${code}`);
  return JSON.parse(output);
}

/** CPU time of a process so far, all its threads, user and system, in seconds. */
export function cpuSeconds({ pid }) {
  // to the ns, of those threads that are there: none of a target's end while it is measured
  if (HAS_SCHEDSTAT) {
    const threads = readdirSync(`/proc/${pid}/task`);
    const ns = threads.map(id => Number(readFileSync(`/proc/${pid}/task/${id}/schedstat`, 'utf8').split(' ')[0]));
    return ns.reduce((sum, each) => sum + each, 0) / 1e9;
  }
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // fields 14 and 15; the second may hold spaces, in parentheses
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** Resident memory of a process in bytes: now, and at most since its start or `resetPeak`. */
export function memory({ pid }) {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const bytes = name => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)[1]) * 1024;
  return { now: bytes('VmRSS'), peak: bytes('VmHWM') };
}

/** Lets the peak begin at what is resident now. @see proc(5), clear_refs */
export function resetPeak({ pid }) {
  writeFileSync(`/proc/${pid}/clear_refs`, '5');
}
