import { execFileSync } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import * as assert from 'uvu/assert';
import { suite, temporary, write } from './helpers.ts';

const SOURCES = {
  'src/main.ts': `import { Worker, isMainThread } from 'node:worker_threads';
import {
  either,
} from './parts.ts';

/** A comment. */
if (isMainThread) {
  either(true);
  new Worker(__filename);
} else {
  either(false);
}
`,
  'src/parts.ts': `export type Text = string;

export function either(isFirst: boolean): Text {
  if (isFirst) {
    return 'first';
  }
  const text = 'second';
  if (text === 'never') {
    return text;
  }
  return isFirst
    ? \`only \${text}\`
    : text;
}

export function unused(): Text {
  return 'unused';
}
`,
  'src/lonely.ts': `export const lonely = (): number =>
  1;
`,
};

/** Builds as build.mjs does for coverage, runs what is built, and prints what was missed of each file. */
const SCRIPT = `import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync } from 'node:fs';
import { build } from 'esbuild';
import { codeLines, ranges, reachedLines } from ${JSON.stringify(pathToFileURL(resolve('test/coverage.mjs')).href)};
const files = ['src/lonely.ts', 'src/main.ts', 'src/parts.ts'];
await build({ entryPoints: ['src/main.ts'], bundle: true, platform: 'node', outdir: 'dist', sourcemap: 'external' });
mkdirSync('coverage/maps/dist', { recursive: true });
renameSync('dist/main.js.map', 'coverage/maps/dist/main.js.map');
execFileSync(process.execPath, ['dist/main.js'], { env: { NODE_V8_COVERAGE: 'left' } });
const lines = await codeLines(files);
const reached = reachedLines('left', lines);
const missed = [...lines].map(([file, found]) => {
  const code = [...found].sort((a, b) => a - b);
  return [code.length, ranges(code, new Set(code.filter(line => !reached.get(file).has(line))))];
});
console.log(JSON.stringify(missed));
`;

const coverage = suite('coverage');

coverage('should tell the lines that no thread has run, of all files', () => {
  const cwd = temporary();
  symlinkSync(resolve('node_modules'), join(cwd, 'node_modules'));
  for (const [name, source] of Object.entries({ ...SOURCES, 'script.mjs': SCRIPT })) write(join(cwd, name), source);
  const printed = execFileSync(process.execPath, ['script.mjs'], { cwd, encoding: 'utf8' });
  assert.equal(JSON.parse(printed), [
    // nothing loads it
    [2, '1-2'],
    // the thread runs what the process does not, and the other way round
    [5, ''],
    // a branch, half of an expression, and what was left out of the bundle
    [11, '9, 12, 16-17'],
  ]);
});

coverage.run();
