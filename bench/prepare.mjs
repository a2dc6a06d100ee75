// What each run needs: the built server, the rivals, and planes.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { startPlanes } from './planes.mjs';

/** Builds, installs the rivals when they are missing, and starts the planes. */
export function prepare() {
  execFileSync(process.execPath, ['build.mjs', '--test'], { stdio: ['ignore', 2, 2] });
  if (!existsSync('bench/node_modules')) {
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund'];
    execFileSync('npm', args, { cwd: 'bench', stdio: ['ignore', 2, 2] });
  }
  return startPlanes();
}
