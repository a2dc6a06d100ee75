// Tells which lines of src/ the tests reach:
//
//   npm run coverage                  by all tests
//   npm run coverage -- ^h2/          by some; a part as for npm test
//
// Node.js writes what V8 has counted for each process and each worker thread that ends by itself, whichever they start
// in turn, to the folder that NODE_V8_COVERAGE names. Here that is laid over src/ by the maps that the build leaves: the
// product's, that of copies of it, and that of modules within the tests' own bundles. What is killed leaves nothing.
// Every file of src/ is counted, whether or not something loads it; lines without code (types, comments, imports, closing
// brackets) are not.
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { main } from './run.mjs';

/** Where the build leaves its maps. */
const MAPS = 'coverage/maps';
/** Where processes leave their counts. */
const COUNTS = resolve('coverage/counts');
const DIGITS = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/';

const IMPORT = /^(?:import|export)\s[^;=(]*?\bfrom '[^']+';/gm;
const NO_CODE = /^\s*(?:\/[/*].*|\*.*|[)\]};,\s]*)$/;

/** Reads a source map's mappings: for each, where it stands in what was built, its source and its line there, from 1. */
function readMap(text, map) {
  const { sources, mappings } = JSON.parse(map);
  const found = [];
  let lineStart = 0;
  // of the four, only the column begins anew with each line
  let [source, line, column] = [0, 0, 0];
  for (const row of mappings.split(';')) {
    let at = 0;
    for (const segment of row === '' ? [] : row.split(',')) {
      const fields = readNumbers(segment);
      at += fields[0];
      if (fields.length < 4) continue;
      source += fields[1];
      line += fields[2];
      column += fields[3];
      found.push({ offset: lineStart + at, source: sources[source], line: line + 1, column });
    }
    const end = text.indexOf('\n', lineStart);
    lineStart = end < 0 ? text.length : end + 1;
  }
  return found.sort((a, b) => a.offset - b.offset);
}

/** Reads base64 VLQ numbers. @see ECMA-426, "Mappings structure" */
function readNumbers(segment) {
  const numbers = [];
  let [value, shift] = [0, 0];
  for (const letter of segment) {
    const digit = DIGITS.indexOf(letter);
    value += (digit & 31) << shift;
    shift += 5;
    if (digit & 32) continue;
    numbers.push(value & 1 ? -(value >> 1) : value >> 1);
    [value, shift] = [0, 0];
  }
  return numbers;
}

/** Calls `onReached` with those of the mappings, in order, that were run: the innermost of V8's ranges around it decides. */
function eachReached(mappings, functions, onReached) {
  const ranges = functions.flatMap(item => item.ranges);
  ranges.sort((a, b) => a.startOffset - b.startOffset || b.endOffset - a.endOffset);
  const open = [];
  let next = 0;
  for (const mapping of mappings) {
    for (; next < ranges.length && ranges[next].startOffset <= mapping.offset; next++) open.push(ranges[next]);
    while (open.length > 0 && open[open.length - 1].endOffset <= mapping.offset) open.pop();
    if (open.length > 0 && open[open.length - 1].count > 0) onReached(mapping);
  }
}

/** Lines of each source file that hold code. */
export async function codeLines(files) {
  const { outputFiles } = await build({
    entryPoints: files,
    bundle: true,
    platform: 'node',
    // with require, each file would have code for its exports
    format: 'esm',
    outdir: 'coverage/all',
    sourcemap: 'external',
    // what nobody imports is code, too
    treeShaking: false,
    define: { VERSION: '""', CODE: '""', CODE_HASH: '""' },
    write: false,
  });
  const lines = new Map(files.map(file => [resolve(file), new Set()]));
  for (const { path, text } of outputFiles.filter(({ path }) => path.endsWith('.js'))) {
    const map = outputFiles.find(item => item.path === `${path}.map`).text;
    for (const { source, line } of readMap(text, map)) lines.get(resolve(dirname(path), source))?.add(line);
  }
  for (const [file, found] of lines) {
    const source = readFileSync(file, 'utf8')
      .replace(IMPORT, text => text.replace(/./g, ' '))
      .split('\n');
    for (const line of found) if (NO_CODE.test(source[line - 1] ?? '')) found.delete(line);
  }
  return lines;
}

/** Lines of each source file that were run, by what processes have left in a folder. */
export function reachedLines(folder, lines) {
  const reached = new Map([...lines.keys()].map(file => [file, new Set()]));
  const known = new Map();
  for (const name of readdirSync(folder)) {
    let written;
    try {
      written = JSON.parse(readFileSync(join(folder, name), 'utf8'));
    } catch {
      continue; // of a process that was killed as it wrote
    }
    for (const { url, functions } of written.result) {
      const file = url.startsWith('file:') ? fileURLToPath(url) : url;
      if (!known.has(file)) known.set(file, ownMappings(file, lines));
      eachReached(known.get(file), functions, ({ source, line }) => reached.get(source).add(line));
    }
  }
  return reached;
}

/** Of what was built, where it holds something of the source files; nothing of any other file. */
function ownMappings(file, lines) {
  const map = join(MAPS, `${relative('', file)}.map`);
  if (!existsSync(map)) return [];
  return readMap(readFileSync(file, 'utf8'), readFileSync(map, 'utf8'))
    .map(mapping => ({ ...mapping, source: resolve(dirname(file), mapping.source) }))
    .filter(({ source }) => lines.has(source));
}

/** Writes those lines of code that were missed as a person would: `3, 7-9`; lines without code do not part two. */
export function ranges(code, missed) {
  const parts = [];
  let from = 0;
  for (const [i, line] of code.entries()) {
    if (!missed.has(line)) continue;
    if (!missed.has(code[i - 1])) from = line;
    if (!missed.has(code[i + 1])) parts.push(from === line ? `${line}` : `${from}-${line}`);
  }
  return parts.join(', ');
}

const percent = (part, whole) => (whole === 0 ? 100 : (100 * part) / whole).toFixed(1).padStart(5);

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  rmSync('coverage', { recursive: true, force: true });
  execFileSync(process.execPath, ['build.mjs', '--test', '--coverage'], { stdio: 'inherit' });
  process.env.NODE_V8_COVERAGE = COUNTS;
  const counts = await main(process.argv.slice(2));

  const lines = await codeLines(
    readdirSync('src', { recursive: true })
      .filter(name => name.endsWith('.ts'))
      .map(name => `src/${name}`)
      .sort(),
  );
  const reached = reachedLines(COUNTS, lines);
  let [all, hit] = [0, 0];
  console.log('\n    % of  lines  file, and lines that no test has reached');
  for (const [file, found] of lines) {
    const code = [...found].sort((a, b) => a - b);
    const missed = new Set(code.filter(line => !reached.get(file).has(line)));
    all += code.length;
    hit += code.length - missed.size;
    const share = percent(code.length - missed.size, code.length);
    console.log(
      `${share} % ${String(code.length).padStart(6)}  ${relative('', file)}  ${ranges(code, missed)}`.trimEnd(),
    );
  }
  // dist/ is left as it is shipped
  delete process.env.NODE_V8_COVERAGE;
  rmSync('coverage', { recursive: true });
  rmSync('dist', { recursive: true });
  execFileSync(process.execPath, ['build.mjs', '--test'], { stdio: ['ignore', 'ignore', 'inherit'] });
  console.log(`\n${counts}; they reach ${hit} of ${all} lines of src, ${percent(hit, all).trim()} %`);
}
