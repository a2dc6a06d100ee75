import { spawn } from 'node:child_process';
import { symlinkSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { endWithUs, observe, suite, temporary, within, without, write } from './helpers.ts';

/** Runs `test/run.mjs` over built test files, by name. Gives its exit code and what it has printed. */
async function runFiles(
  files: Readonly<Record<string, string>>,
  ...parts: [string, ...string[]]
): Promise<{ code: number | string; output: string }> {
  const cwd = temporary();
  symlinkSync(resolve('node_modules'), join(cwd, 'node_modules'));
  for (const [name, source] of Object.entries(files)) write(join(cwd, 'dist-test', name), source);
  const child = spawn(process.execPath, [resolve('test/run.mjs'), ...parts], { cwd, env: { NO_COLOR: '1' } });
  const { output, exit } = observe(endWithUs(child));
  const code = await within(20_000, exit, 'the run to end');
  return { code, output: output() };
}

const GOOD = "const { test } = require('uvu'); test('good', () => {}); test.run();";
const SKIPPED = `const { suite } = require('uvu');
const tests = suite('tool');
tests.skip('one', () => {});
tests.skip('two', () => {});
console.log('skipped: tool, 2 tests: it is not installed');
tests.run();`;
const BAD =
  "const { test } = require('uvu'); test('bad', () => { throw new Error('bad'); }); test.skip('s'); test.run();";

const last = (output: string, lines: number): string[] => output.trimEnd().split('\n').slice(-lines);

const runner = suite('run.mjs');

runner('should take what is skipped for no failure, count it, and say why at the end', async () => {
  const { code, output } = await runFiles({ 'good.test.js': GOOD, 'tool.test.js': SKIPPED }, '.');
  assert.equal(last(output, 2), ['skipped: tool, 2 tests: it is not installed', '1 passed, 0 failed, 2 skipped']);
  assert.is(code, 0);
  const all = await runFiles({ 'good.test.js': GOOD }, '.');
  assert.equal([all.code, last(all.output, 1)], [0, ['1 passed, 0 failed']]);
});

runner('should fail for a test that fails, also beside one that is skipped', async () => {
  const { code, output } = await runFiles({ 'bad.test.js': BAD, 'good.test.js': GOOD }, '.');
  assert.equal([code, last(output, 1)], [1, ['1 passed, 1 failed, 1 skipped']]);
});

runner('should fail for a file that runs no test, or ends before its end', async () => {
  for (const source of ['', 'process.exit(0)', 'throw new Error("x")']) {
    const { code, output } = await runFiles({ 'none.test.js': source }, '.');
    assert.equal([code, last(output, 1)], [1, ['0 passed, 1 failed']], source);
  }
});

runner('should say that no file matches, and run none', async () => {
  const { code, output } = await runFiles({ 'good.test.js': GOOD }, 'good', 'nosuch');
  assert.match(output, 'no test file matches nosuch, expected a part of a path such as h2/frame.test.js');
  assert.equal([code, last(output, 1)], [1, ['0 passed, 1 failed']]);
  assert.is((await runFiles({ 'good.test.js': GOOD }, '(')).code, 1);
});

runner('should skip what needs a program that is not there', async () => {
  const cwd = temporary();
  const file = resolve('dist-test/h2/nghttpd.test.js');
  const env = { PATH: cwd, NO_COLOR: '1' };
  const { output, exit } = observe(endWithUs(spawn(process.execPath, [file], { cwd, env })));
  assert.is(await within(20_000, exit, 'the end'), 0, output());
  assert.match(output(), /^skipped: h2 connection with nghttpd, \d+ tests: nghttpd is not installed/m);
  assert.match(output(), /Total: +0\n.*Passed: +0\n +Skipped: +[1-9]/);
});

runner('should find a program on PATH, or beside it, and want it in CI', () => {
  const folder = temporary();
  const { PATH = '', CI } = process.env;
  try {
    process.env['PATH'] = `/nowhere:${folder}/bin`;
    delete process.env['CI'];
    write(join(folder, 'bin/no-program'), '');
    assert.is(without('no-program', 'a-package'), 'no-program is not installed (Debian: a-package)');
    symlinkSync(process.execPath, join(folder, 'bin/program'));
    assert.is(without('program', 'a-package'), undefined);
    write(join(folder, 'sbin/x'), '');
    symlinkSync(process.execPath, join(folder, 'sbin/daemon'));
    assert.is(without('daemon', 'a-package'), undefined);
    process.env['CI'] = '1';
    assert.is(without('no-program', 'a-package'), undefined);
  } finally {
    process.env['PATH'] = PATH;
    if (CI === undefined) delete process.env['CI'];
    else process.env['CI'] = CI;
  }
});

runner.run();
