// What the parts of a request's way take by themselves.
import { build } from 'esbuild';
import { ask } from '../process.mjs';
import { say } from '../run.mjs';

const FILE = 'bench/node_modules/.cache/micro.mjs';
const LAST_MS = 120_000;

export async function micro() {
  say('micro: parts of a request, by mitata');
  await build({
    entryPoints: ['bench/micro.mjs'],
    outfile: FILE,
    bundle: true,
    platform: 'node',
    format: 'esm',
    packages: 'external',
    logLevel: 'warning',
  });
  return { tables: [], curves: [], ns: await ask(FILE, [], LAST_MS) };
}
