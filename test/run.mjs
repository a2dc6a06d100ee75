// Runs the built tests, each file in a process of its own, three at a time: they wait more than they compute. Takes parts
// of test files' paths; with some, only those files.
//
//   node test/run.mjs [PART]...
//
// Ends with `N passed, N failed`, and `, N skipped` where any were left out, each with its reason.
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Longest run of a file, ms: a test that hangs has had its own deadline by then, and has a name. */
const FILE_MS = 600_000;
/** So long it may live on after its last test, ms. */
const AFTER_MS = 30_000;
/** So long it has to end its children, ms. */
const GRACE_MS = 5000;
const AT_A_TIME = 3;

/**
 * Runs a file's tests. Gives their counts and what was printed; a run that ends without counts, or not by itself,
 * has failed.
 */
function runFile(node, file, env) {
  return new Promise(done => {
    const pattern = `^${file.replace(/\W/g, '\\$&')}$`;
    const child = spawn(node, ['node_modules/uvu/bin.js', 'dist-test', pattern], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let isLate = false;
    let timer = setTimeout(end, FILE_MS, `no end within ${FILE_MS / 1000} s`);

    function end(why) {
      isLate = true;
      output += `\n${file}: ${why}\n`;
      child.kill('SIGTERM');
      timer = setTimeout(() => {
        child.kill('SIGKILL');
        // a child that it has left behind may hold them open
        child.stdout.destroy();
        child.stderr.destroy();
      }, GRACE_MS);
    }

    child.stdout.on('data', text => {
      output += text;
      if (isLate || !/^ +Duration:/m.test(output)) return;
      clearTimeout(timer);
      timer = setTimeout(end, AFTER_MS, `no end within ${AFTER_MS / 1000} s of its last test`);
    });
    child.stderr.on('data', text => (output += text));
    child.on('close', code => {
      clearTimeout(timer);
      const count = name => Number(new RegExp(`^ +${name}: +(\\d+)`, 'm').exec(output)?.[1] ?? 0);
      const [passed, skipped] = [count('Passed'), count('Skipped')];
      // uvu's total is without those that were skipped
      const isWhole = code === 0 && passed + skipped > 0 && !isLate;
      const failed = Math.max(count('Total') - passed, isWhole ? 0 : 1);
      const reasons = output.split('\n').filter(line => line.startsWith('skipped: '));
      done({ passed, failed, skipped, reasons, output });
    });
  });
}

/** Nothing has run yet. */
export const noCounts = () => ({ passed: 0, failed: 0, skipped: 0, reasons: [] });

/** The last line of a run. */
export const total = ({ passed, failed, skipped }) =>
  `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`;

/**
 * Runs the tests of files with one of the patterns in their path, with variables of theirs, and adds to the counts. A file
 * that fails is run once more when nothing runs beside it, since a busy machine fails what waits; that it was is said.
 *
 * @throws {Error} for a pattern that no file matches.
 */
export async function runTests(node, patterns, env, counts) {
  const files = readdirSync('dist-test', { recursive: true }).filter(file => file.endsWith('.test.js'));
  for (const pattern of patterns) {
    if (!files.some(file => pattern.test(file)))
      throw new Error(`no test file matches ${pattern.source}, expected a part of a path such as h2/frame.test.js`);
  }
  const queue = files.filter(file => patterns.some(pattern => pattern.test(file))).sort();
  const failed = [];
  function add({ passed, failed, skipped, reasons }) {
    counts.passed += passed;
    counts.failed += failed;
    counts.skipped += skipped;
    counts.reasons.push(...reasons);
  }
  async function work() {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const result = await runFile(node, file, env);
      console.log(result.output);
      if (result.failed > 0) failed.push(file);
      else add(result);
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, work));
  for (const file of failed) {
    const result = await runFile(node, file, env);
    console.log(
      `${result.output}\n${file} failed beside others; alone: ${result.passed} passed, ${result.failed} failed`,
    );
    add(result);
  }
}

/** Runs all, or some, and sets the exit code. Resolves with the last line, when it is written. */
export async function main(parts) {
  const counts = noCounts();
  try {
    await runTests(process.execPath, parts.length === 0 ? [/./] : parts.map(part => new RegExp(part)), {}, counts);
    // the container once more, with what its image has to start Noslate sooner
    if (parts.length === 0)
      await runTests(process.execPath, [/^container\/(start|stop)\./], { TEST_WARM: '1' }, counts);
  } catch (error) {
    console.error(error.message);
    counts.failed++;
  }
  for (const reason of new Set(counts.reasons)) console.log(reason);
  console.log(total(counts));
  process.exitCode = counts.failed === 0 ? 0 : 1;
  return total(counts);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(process.argv.slice(2));
