// How soon FC finds the port open: start.sh with stand-ins for Noslate, beside the server alone. In turns, so that a
// busy machine bears on both alike.
//
//   npm run bench:container [-- --rounds 15]
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import noslate from '../dist-test/container/noslate/index.js';
import { freePort, within } from './process.mjs';
import { median } from './table.mjs';

const START_MS = 60_000;

const { values } = parseArgs({ options: { rounds: { type: 'string', default: '15' } } });
const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-'));
const noslatePath = join(folder, 'noslate');
noslate.installNoslate(noslatePath);

const targets = {
  server: { command: process.execPath, args: [resolve('dist/server.js')] },
  container: { command: resolve('start.sh'), args: [] },
};

/** Resolves when the port accepts. */
function accepts(port) {
  return new Promise(done => {
    const attempt = () => {
      const socket = connect(port, '127.0.0.1', () => done(socket.destroy()));
      socket.on('error', () => setTimeout(attempt, 1));
    };
    attempt();
  });
}

/** ms from the spawn to the open port. */
async function measure({ command, args }) {
  const workdir = mkdtempSync(join(folder, 'work-'));
  const port = await freePort();
  const env = {
    PATH: process.env.PATH,
    NOSLATE_PATH: noslatePath,
    NOSLATE_WORKDIR: workdir,
    NOSLATED_WORKDIR: join(workdir, 'noslated'),
    TURF_WORKDIR: join(workdir, 'turf'),
    SERVER_PATH: resolve('.'),
    SERVER_PORT: String(port),
    SERVER_LOG: 'off',
  };
  const begun = process.hrtime.bigint();
  const child = spawn(command, args, { env, cwd: resolve('.'), stdio: 'ignore', detached: true });
  const ended = new Promise(done => child.on('exit', done));
  await within(START_MS, accepts(port), 'the port');
  const ms = Number(process.hrtime.bigint() - begun) / 1e6;
  child.kill('SIGTERM');
  await within(START_MS, ended, 'the end');
  return ms;
}

const rounds = [];
try {
  for (let round = 0; round <= Number(values.rounds); round++) {
    const names = Object.keys(targets);
    if (round % 2 === 1) names.reverse();
    const ms = {};
    for (const name of names) ms[name] = await measure(targets[name]);
    // the first fills caches
    if (round > 0) rounds.push(ms);
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
for (const name of Object.keys(targets)) {
  console.log(`${name.padEnd(10)} port open after ${median(rounds.map(ms => ms[name])).toFixed(0)} ms`);
}
const ratios = rounds.map(ms => ms.container / ms.server).sort((a, b) => a - b);
console.log(
  `ratio      ${median(ratios).toFixed(2)} (${ratios[0].toFixed(2)} to ${ratios.at(-1).toFixed(2)}), ${rounds.length} rounds, Node.js ${process.version}`,
);
