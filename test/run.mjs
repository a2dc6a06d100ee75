// Runs the built tests, in two processes side by side: they wait more than they compute. Takes parts of test files' paths;
// with some, only those files.
//
//   node test/run.mjs [PART]...
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** Tests of the FC platform and on it, and all others; each about half of the time. */
const GROUPS = ['^platform/.*\\.test\\.js$', '^(?!platform/).*\\.test\\.js$'];

/** Longest run of a group, ms. */
const GROUP_MS = 2_400_000;

/**
 * Runs the tests whose path, relative to dist-test, matches the pattern, with variables of theirs. Gives their counts and what was printed; a run
 * that ends without counts has failed.
 */
export function runTests(node, pattern, env = {}) {
  return new Promise(done => {
    const child = spawn(node, ['node_modules/uvu/bin.js', 'dist-test', pattern], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: GROUP_MS,
      killSignal: 'SIGKILL',
    });
    let output = '';
    child.stdout.on('data', text => (output += text));
    child.stderr.on('data', text => (output += text));
    child.on('close', code => {
      const count = name => Number(new RegExp(`^ +${name}: +(\\d+)`, 'm').exec(output)?.[1] ?? 0);
      const failed = count('Total') - count('Passed') - count('Skipped');
      done({ passed: count('Passed'), failed: Math.max(failed, code === 0 && count('Total') > 0 ? 0 : 1), output });
    });
  });
}

/** The sum of several runs. */
export function sum(results) {
  return results.reduce((all, { passed, failed }) => ({ passed: all.passed + passed, failed: all.failed + failed }), {
    passed: 0,
    failed: 0,
  });
}

async function main(parts) {
  const patterns = parts.length === 0 ? GROUPS : [`(${parts.join('|')}).*\\.test\\.js$`];
  const results = await Promise.all(
    patterns.map(async pattern => {
      const result = await runTests(process.execPath, pattern);
      console.log(result.output);
      return result;
    }),
  );
  const { passed, failed } = sum(results);
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main(process.argv.slice(2));
