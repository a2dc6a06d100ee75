// A container's first process: the gateway with test planes beside it, as one unit. Its arguments are the gateway's.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createLog } from '../../src/log.ts';
import { startControlPlane } from './control-plane.ts';
import { startDataPlane } from './data-plane.ts';
import { KNOBS } from './knobs.ts';

const workdir = mkdtempSync(join(tmpdir(), 'noslate-fc-container-'));
const server = spawn(process.execPath, [resolve(__dirname, '../../dist/server.js'), ...process.argv.slice(2)], {
  stdio: 'inherit',
  env: { ...process.env, SERVER_AGENT: 'native', NOSLATED_WORKDIR: workdir },
});
server.on('exit', (code, signal) => {
  rmSync(workdir, { recursive: true, force: true });
  if (signal === null) process.exit(code ?? 1);
  else process.kill(process.pid, signal);
});
for (const signal of ['SIGTERM', 'SIGINT'] as const) process.on(signal, () => server.kill(signal));

async function main(): Promise<void> {
  const log = createLog('json');
  // Noslate's holds all that a slow client does not read; then its memory would be all one sees
  await startDataPlane({ workdir, id: 0, log, knobs: { ...KNOBS, heedBackpressure: true } });
  await startControlPlane({ workdir, id: 0, log });
}

main();
