// The stand-in for turfd: takes no orders, but starts and ends like it.
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { behave, die, folder, whenDue } from './manners.ts';

/** `turf -D -f`, and `turf ps`, which the control plane asks once a second. */
function turf(): void {
  const args = process.argv.slice(2).join(' ');
  if (args === 'ps') return;
  if (args !== '-D -f') die(`command line parse failed: ${args}`);
  // it never sees more of it than this
  process.on('SIGTERM', () => process.stderr.write('SIGTERM\n'));

  const manner = behave('turf');
  const workdir = folder('TURF_WORKDIR');
  for (const part of ['sandbox', 'overlay', 'runtime/nodejs/bin/node', 'runtime/aworker/bin'])
    if (!existsSync(join(workdir, part))) die(`turf: no ${part}`);
  // the first spawn would fail: setpgid is not for the leader of a session
  if (sessionOf(process.pid) === process.pid) die('turf: setpgid');

  whenDue(manner, () => {
    const socket = join(workdir, 'turf.sock');
    rmSync(socket, { force: true });
    createServer().listen(socket);
    for (let i = 0; i < (manner.workers ?? 0); i++) start(workdir, 'exec sleep 1000');
    if (manner.orphanMs !== undefined) start(workdir, `sleep ${manner.orphanMs / 1000} &`);
  });
}

/** Runs a command as turf runs workers. */
function start(workdir: string, command: string): void {
  const env = { PATH: '/bin:/usr/bin', TERM: 'xterm', HOME: join(workdir, 'overlay') };
  spawn('/bin/sh', ['-c', command], { detached: true, stdio: 'ignore', env });
}

/** Leader of a process's session. */
function sessionOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[3]);
}

turf();
