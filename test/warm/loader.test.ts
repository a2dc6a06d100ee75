import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { suite, temporary, write } from '../helpers.ts';

/** The loader, as built. */
const WARM = resolve('dist/warm/preload.js');

/** A program of many habits, whose output says what each module found around it. */
function program(): { folder: string; entry: string } {
  const folder = temporary();
  const put = (name: string, text: string): void => write(join(folder, name), text);
  put(
    'package.json',
    '{ "name": "app", "imports": { "#self/*": "./build/*.js", "#self/package.json": "./package.json" } }',
  );
  put(
    'bin/app',
    `#!/usr/bin/env node
const report = (name, value) => console.log(name + ': ' + JSON.stringify(value));
report('main', [require.main === module, process.mainModule === module, module.parent ?? null, __filename, __dirname, process.argv.slice(1)]);
report('imports', [require('#self/lib/here'), require('#self/package.json').name]);
report('json', require('../data.json'));
report('own copy of json', require('../data.json') === require('../data'));
report('package', require('dep').name);
report('nested package', require('dep').inner());
report('optional', (() => { try { require('not-there'); return 'there'; } catch (error) { return error.code; } })());
const name = ['..', 'build', 'lib', 'late'].join('/');
report('computed', require(name)());
report('resolve', [require.resolve('dep'), require.resolve.paths('dep')[0], require.resolve('fs')]);
report('resolve from', require.resolve('./here', { paths: [require('path').join(__dirname, '../build/lib')] }));
report('cache', Object.keys(require.cache).length);
report('extensions', Object.keys(require.extensions));
report('circular', require('../build/a').seen);
report('sloppy and strict', [require('../build/sloppy'), require('../build/strict')]);
report('text', require('../build/text'));
report('stack', require('../build/throws')().split('\\n').slice(0, 2));
report('children', module.children.map(child => require('path').basename(child.id)));
report('this', this === module.exports);
report('beside', require('../build/beside'));
report('addon', (() => { try { require('../build/addon.node'); return 'loaded'; } catch (error) { return error.code ?? error.name; } })());
report('source', String(require('../build/text').constructor).length);
import('../build/module.mjs').then(async ({ default: value, url }) => {
  report('typed', require('../build/typed'));
  report('module', [value, url, (await require('../build/dynamic')()).default]);
  report('variable', process.env.NOSLATE_FC_WARM ?? null);
  report('child', require('child_process').execFileSync(process.execPath, ['-p', 'process.env.NOSLATE_FC_WARM'], { encoding: 'utf8' }).trim());
});
`,
  );
  put('build/lib/here.js', 'module.exports = [__dirname, __filename, module.id, module.path, require.main.filename];');
  put('build/lib/late.js', 'module.exports = function late() { return late.name; };');
  put('data.json', '\uFEFF{ "a": [1, "ü"] }');
  put('node_modules/dep/package.json', '{ "name": "dep", "main": "./lib/main.js" }');
  put(
    'node_modules/dep/lib/main.js',
    'exports.name = require("../package.json").name; exports.inner = () => require("inner");',
  );
  put('node_modules/dep/node_modules/inner/index.js', 'module.exports = __dirname;');
  put('node_modules/inner/index.js', 'throw new Error("the wrong one");');
  put('build/a.js', 'exports.early = 1; exports.seen = require("./b").seen;');
  put('build/b.js', 'exports.seen = Object.keys(require("./a"));');
  put('build/sloppy.js', 'module.exports = (function () { return this === undefined; })();');
  put('build/strict.js', '// first\n"use strict";\nmodule.exports = (function () { return this === undefined; })();');
  put('build/text.js', 'const ж = "ü € 😀"; module.exports = [ж, `\\u00e9é`, /[€]/.test("€")];');
  put(
    'build/throws.js',
    'module.exports = () => { try { null.x; } catch (error) { return error.stack; } };\n// no newline at the end',
  );
  put(
    'build/beside.js',
    'module.exports = require("fs").readFileSync(__dirname + "/beside.proto", "utf8");\n//# sourceMappingURL=nowhere',
  );
  put('build/beside.proto', 'message Beside {}');
  put('build/addon.node', 'not an add-on');
  put('build/module.mjs', 'export default "esm"; export const url = import.meta.url;');
  put('build/typed.js', '/** @type {import("./a")} */\nmodule.exports = "typed";');
  put('build/dynamic.js', '/** @type {import("./a")} */ module.exports = () => import("./module.mjs");');
  // one that Node resolves to where it really is
  put('elsewhere/linked/index.js', 'module.exports = __filename;');
  symlinkSync(join(folder, 'elsewhere/linked'), join(folder, 'node_modules/linked'));
  put('build/link.js', 'module.exports = require("linked");');
  return { folder, entry: join(folder, 'bin/app') };
}

interface Ended {
  stdout: string;
  stderr: string;
  status: number | null;
}

function run(entry: string, wish: string | undefined, options: readonly string[] = []): Ended {
  const env = { PATH: process.env['PATH'], ...(wish !== undefined && { NOSLATE_FC_WARM: wish }) };
  const preload = wish === undefined ? [] : ['-r', WARM];
  const { stdout, stderr, status } = spawnSync(process.execPath, [...preload, ...options, entry, 'argument'], {
    env,
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { stdout, stderr, status };
}

const loader = suite('warm :: loader');

loader('should run a program from its pack just as without', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  const shipped = run(entry, undefined);
  assert.equal([shipped.status, shipped.stderr], [0, '']);
  const made = run(entry, `make:${pack}`);
  const used = run(entry, `use:${pack}`);
  assert.equal([made.stderr, used.stderr], ['', '']);
  assert.is(made.stdout, shipped.stdout);
  assert.is(used.stdout, shipped.stdout);
  assert.match(shipped.stdout, 'own copy of json: true');
});

loader('should look for, read and compile nothing that is in the pack', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  run(entry, `make:${pack}`);
  // the same length and time, other words: what runs is the pack's
  const file = join(folder, 'build/lib/here.js');
  write(file, 'throw new Error("read again");');
  write(join(folder, 'build/typed.js'), 'throw new Error("read again");');
  const used = run(entry, `use:${pack}`);
  assert.equal([used.status, used.stderr], [0, '']);
  assert.match(used.stdout, 'imports: [["');
});

loader('should load by itself what the pack does not have', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  write(join(folder, 'bin/small'), `if (process.env.MORE) console.log(require('../build/lib/late')());`);
  const small = join(folder, 'bin/small');
  assert.is(run(small, `make:${pack}`).stdout, '');
  const more = execFileSync(process.execPath, ['-r', WARM, small], {
    env: { PATH: process.env['PATH'], NOSLATE_FC_WARM: `use:${pack}`, MORE: '1' },
    encoding: 'utf8',
  });
  assert.is(more, 'late\n');
  assert.is(run(entry, undefined).status, 0);
});

loader('should not use a pack of another installation, with a line', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  run(entry, `make:${pack}`);
  const shipped = run(entry, undefined);
  utimesSync(join(folder, 'package.json'), 1, 1);
  const used = run(entry, `use:${pack}`);
  assert.is(used.stdout, shipped.stdout);
  assert.is(used.stderr, `noslate-fc warm: ${pack} is not used: made of another installation, or by another Node.js\n`);
});

loader('should not use what is no pack, with a line', () => {
  const { folder, entry } = program();
  const shipped = run(entry, undefined);
  for (const [name, text] of [
    ['missing', undefined],
    ['empty', ''],
    ['garbage', 'garbage, and more garbage'],
  ] as const) {
    const pack = join(folder, name);
    if (text !== undefined) write(pack, text);
    const used = run(entry, `use:${pack}`);
    assert.is(used.stdout, shipped.stdout, name);
    assert.match(used.stderr, /^noslate-fc warm: \S+ is not used: [^\n]+\n$/);
  }
});

loader('should not use a pack that is cut short, with a line', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  const shipped = run(entry, undefined);
  run(entry, `make:${pack}`);
  const bytes = readFileSync(pack);
  // in the texts, in the index, in the length of that
  for (const size of [bytes.length - 1, bytes.length - 1000, 100, 3]) {
    writeFileSync(pack, bytes.subarray(0, size));
    const used = run(entry, `use:${pack}`);
    assert.equal([used.stdout, used.status], [shipped.stdout, 0], `${size} bytes`);
    assert.is(used.stderr, `noslate-fc warm: ${pack} is not used: damaged\n`);
  }
});

loader('should compile what is damaged, on Node.js 16 as Noslate has it', () => {
  if (!process.version.startsWith('v16.')) return;
  const { folder } = program();
  const pack = join(folder, 'app.warm');
  const file = join(folder, 'bin/small');
  write(file, `console.log(require('../build/lib/late')());`);
  run(file, `make:${pack}`);
  const bytes = readFileSync(pack);
  // code lies between the index and the texts
  const texts = bytes.indexOf('(function (exports, ');
  for (let at = 4 + bytes.readUInt32LE(); at < texts; at += 50) bytes.fill(0x5a, at, at + 1);
  writeFileSync(pack, bytes);
  const used = run(file, `use:${pack}`);
  assert.equal([used.stdout, used.status], ['late\n', 0]);
  assert.is(used.stderr, `noslate-fc warm: ${pack}: V8 refused the code of 2 modules, which were compiled instead\n`);
});

loader('should take code whatever the size of the heap, and leave that as it is told', () => {
  const { folder } = program();
  const pack = join(folder, 'app.warm');
  const file = join(folder, 'bin/sizes');
  write(
    file,
    `const { Worker } = require('worker_threads');
const { getHeapStatistics } = require('v8');
require('../build/lib/late');
console.log(process.execArgv, getHeapStatistics().heap_size_limit >> 20);
const thread = 'console.log(require("v8").getHeapStatistics().heap_size_limit >> 20)';
setImmediate(() => new Worker(thread, { eval: true }));
`,
  );
  for (const option of ['--max-heap-size=120', '--max-old-space-size=90', '--max_semi_space_size=2']) {
    assert.equal(run(file, `make:${pack}`, []).stderr, '');
    const shipped = run(file, undefined, [option]);
    const used = run(file, `use:${pack}`, [option]);
    assert.equal([used.status, used.stderr], [0, ''], option);
    assert.is(used.stdout, shipped.stdout);
    assert.equal(run(file, `make:${pack}`, [option]).stderr, '', option);
    assert.equal(run(file, `use:${pack}`, []).stderr, '', option);
  }
});

loader('should keep only what belongs to the package of the program', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  const other = temporary();
  write(join(other, 'index.js'), 'module.exports = require("./text").value;');
  write(join(other, 'text.js'), 'exports.value = "first";');
  const file = join(folder, 'bin/worker');
  write(file, `console.log(require('../build/lib/late').name, require(${JSON.stringify(other)}));`);
  assert.is(run(file, `make:${pack}`).stdout, 'late first\n');
  write(join(other, 'text.js'), 'exports.value = "other";');
  assert.is(run(file, `use:${pack}`).stdout, 'late other\n');
  assert.is(run(entry, undefined).status, 0);

  const stray = join(other, 'stray');
  write(stray, 'console.log("runs");');
  const made = run(stray, `make:${join(other, 'pack')}`);
  assert.equal([made.stdout, made.status], ['runs\n', 0]);
  assert.match(made.stderr, /^noslate-fc warm: \S+ is not made: no package\.json above \S+\n$/);
});

loader('should compile what V8 refuses, with a line', () => {
  const { folder, entry } = program();
  const pack = join(folder, 'app.warm');
  run(entry, `make:${pack}`);
  const shipped = run(entry, undefined, ['--max-lazy']);
  const used = run(entry, `use:${pack}`, ['--max-lazy']);
  assert.is(used.stdout, shipped.stdout);
  assert.match(
    used.stderr,
    /^noslate-fc warm: \S+: V8 refused the code of \d+ modules, which were compiled instead\n$/,
  );
});

loader('should write the pack of a program that is ended by SIGTERM', () => {
  const { folder } = program();
  const pack = join(folder, 'app.warm');
  const file = join(folder, 'bin/server');
  write(file, `require('../build/lib/late'); setInterval(() => {}, 1000); process.kill(process.pid, 'SIGTERM');`);
  const made = run(file, `make:${pack}`);
  assert.is(made.status, 143);
  write(file, `console.log('changed');`);
  assert.match(run(file, `use:${pack}`).stderr, 'is not used');
});

loader.run();
