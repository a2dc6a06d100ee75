import { spawn } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { project, SERVER_FILE, suite, within } from './helpers.ts';

/** Tells on stderr, as `used`, `refused` or `none`, what V8 made of a code cache. */
const SPY = `const vm = require('node:vm');
const { Script } = vm;
vm.Script = class extends Script {
  constructor(code, options) {
    super(code, options);
    if (!options.filename.endsWith('server.js')) return;
    const { cachedData } = options;
    process.stderr.write(cachedData === undefined ? 'none' : this.cachedDataRejected ? 'refused' : 'used');
  }
};`;

/** A folder with a copy of the server, which nothing has been compiled for yet. */
function install(): { folder: string; cache: string } {
  const folder = project({ f: 'exports.handler = async (ctx, req, res) => res.end("f");' });
  copyFileSync(SERVER_FILE, join(folder, 'server.js'));
  writeFileSync(join(folder, 'spy.cjs'), SPY);
  return { folder, cache: join(folder, 'server.js.cache') };
}

/** Starts a copy, has it answer, and ends it. Gives what was made of its cache. */
async function start(folder: string, env: Record<string, string> = {}): Promise<string> {
  const args = ['-r', './spy.cjs', 'server.js', '--port', '0', '--log', 'json'];
  const child = spawn(process.execPath, args, { cwd: folder, env });
  let said = '';
  child.stderr.on('data', text => {
    said += text;
  });
  const ended = new Promise<number | null>(done => child.on('close', done));
  child.stdout.once('data', () => child.kill('SIGTERM'));
  try {
    assert.is(await within(10_000, ended, 'the server to end'), 0, said);
  } finally {
    child.kill('SIGKILL');
  }
  return said;
}

const boot = suite('code cache');

boot('should be made when asked for, whole, and used from then on', async () => {
  const { folder, cache } = install();
  assert.is(await start(folder), 'none');
  assert.is(existsSync(cache), false);
  await start(folder, { NOSLATE_FC_CACHE: 'make' });
  assert.ok(statSync(cache).size > 50_000);
  assert.is(await start(folder), 'used');
});

boot('should not be used for other code, or by another Node.js', async () => {
  const { folder, cache } = install();
  await start(folder, { NOSLATE_FC_CACHE: 'make' });
  const bytes = readFileSync(cache);
  for (const part of [process.version, process.arch, / ([0-9a-f]{16}) /.exec(bytes.toString('latin1', 0, 64))?.[1]]) {
    assert.type(part, 'string');
    const other = Buffer.from(bytes);
    other.write('x', other.indexOf(String(part)) + 1);
    writeFileSync(cache, other);
    assert.is(await start(folder), 'none', String(part));
  }
});

boot('should cost nothing but its gain when it is cut short or empty', async () => {
  const { folder, cache } = install();
  await start(folder, { NOSLATE_FC_CACHE: 'make' });
  const { size } = statSync(cache);
  for (const [left, expected] of [
    [size - 8, 'refused'],
    [size >> 1, 'refused'],
    [64, 'refused'],
    [20, 'none'],
    [0, 'none'],
  ] as const) {
    truncateSync(cache, left);
    assert.is(await start(folder), expected, `${left} bytes`);
  }
});

boot.run();

const built = suite('code cache of the build', {
  skip: process.env['NODE_V8_COVERAGE'] === undefined ? undefined : 'lines are counted without a cache',
});

built('should lie beside the server', () => {
  assert.ok(readFileSync(`${SERVER_FILE}.cache`, 'latin1').startsWith('noslate-fc '));
});

built.run();
