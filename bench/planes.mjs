// The test planes that all targets call.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { start, within } from './process.mjs';

/** Longest start of the planes, ms. */
const START_MS = 20_000;

/** Sockets and configuration, gone with this process. */
export const folder = mkdtempSync(join(tmpdir(), 'noslate-fc-bench-'));
process.on('exit', () => rmSync(folder, { recursive: true, force: true }));

export const dataPlane = join(folder, 'socks/dp-0.sock');

/** Starts a process with test planes that heed backpressure, and resolves when they accept. */
export async function startPlanes() {
  const knobs = { lateSocketMs: 0, lateProfilesMs: 0, slowReaderMs: 0, heedBackpressure: true, unhealthy: false };
  const options = { workdir: folder, planes: ['dp-0', 'cp-0'], knobs };
  const child = start('dist-test/planes/main.js', { args: [JSON.stringify(options)], stdio: 'ipc' });
  const heard = () => within(START_MS, new Promise(done => child.once('message', done)), 'the planes');
  await heard();
  return {
    child,
    async setKnobs(changed) {
      const done = heard();
      child.send({ id: 1, command: 'knobs', knobs: changed });
      await done;
    },
  };
}
