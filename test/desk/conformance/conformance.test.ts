import { type ChildProcess, spawn } from 'node:child_process';
import { copyFileSync, existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import * as assert from 'uvu/assert';
import { CHECKS, type Result, runChecks, type Subject } from '../../../src/desk/conformance/run.ts';
import { endWithUs, eventually, observe, SERVER_FILE, suiteOfMany, temporary, within, write } from '../../helpers.ts';

/** The least that a server needs. */
const PLAIN = resolve('test/desk/conformance/plain.cjs');

/** Runs some checks, and gives those that failed. */
async function failed(subject: Subject, ids: readonly string[]): Promise<Result[]> {
  const checks = CHECKS.filter(({ id }) => ids.includes(id));
  assert.is(checks.length, ids.length, 'unknown check');
  const results = await runChecks(subject, '3.0', checks, () => {});
  return results.filter(({ failure }) => failure !== undefined);
}

const plain = (bad: string): Subject => ({
  command: [process.execPath, PLAIN],
  environment: { BAD: bad },
});

/** What a server does wrong, and the checks that must see it. */
const WRONGS: Record<string, readonly string[]> = {
  loopback: ['start.address', 'start.port'],
  path: ['http.reserved-paths'],
  status: ['event.failure', 'event.failure-status'],
  buffer: ['stream.as-it-comes', 'stream.upload'],
  whole: ['stream.broken'],
  close: ['connection.kept'],
  idle: ['connection.idle', 'freeze.pooled'],
  stubborn: ['stop.sigterm'],
};

const conformance = suiteOfMany('conformance', 3);

for (const [wrong, ids] of Object.entries(WRONGS)) {
  conformance(`should see a server that is wrong: ${wrong}`, async () => {
    const results = await failed(plain(wrong), ids);
    assert.equal(results.map(({ check }) => check.id).sort(), [...ids].sort());
    // each says what is missing, and none only that the check is late
    for (const { failure = '' } of results) assert.not.match(failure, 'the check to end');
  });
}

conformance('should tell at once of a connection that was closed while nobody waited', async () => {
  const [result] = await failed(plain('idle'), ['connection.idle']);
  assert.match(result?.failure ?? '', /^expected \/second\/, got a closed connection/);
});

conformance('should find nothing wrong with a plain server that does it right', async () => {
  assert.equal(await failed(plain(''), Object.values(WRONGS).flat()), []);
});

conformance('should ask for at least 60 things, each by a name of its own, with its source', () => {
  assert.ok(CHECKS.length >= 60);
  assert.is(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  for (const { id, contract, source } of CHECKS) assert.ok(contract !== '' && /§|RFC/.test(source), id);
});

/** Runs the command, and gives what came of it. */
async function run(
  args: readonly string[],
  cwd: string = process.cwd(),
  whileItRuns: (child: ChildProcess) => Promise<void> = async () => {},
): Promise<{ exit: number | string; output: string }> {
  const child = endWithUs(spawn(process.execPath, [SERVER_FILE, 'conformance', ...args], { cwd }));
  const { output } = observe(child);
  const exit = new Promise<number | string>(done => child.on('close', (code, signal) => done(code ?? signal ?? '')));
  await whileItRuns(child);
  return { exit: await within(60_000, exit, 'the command to end'), output: output() };
}

conformance('should run a command where the user is, and count for people and machines', async () => {
  const folder = temporary();
  copyFileSync(PLAIN, join(folder, 'own.cjs'));
  const command = (by: string): string[] => ['--command', `${by} own.cjs`, '--fc', '3.0', '--only'];
  const good = await run([...command('node'), 'event.body'], folder);
  assert.is(good.exit, 0, good.output);
  assert.match(good.output, /\n {2}ok {4}event\.body .*\n\n1 passed, 0 failed\n$/);
  const bad = await run([...command('env BAD=status node'), 'event.failure-status', '--json'], folder);
  assert.is(bad.exit, 1, bad.output);
  const [{ id, outcome, failure, source }] = JSON.parse(bad.output);
  assert.equal([id, outcome, source], ['event.failure-status', 'failed', '§4.1 [S9b]']);
  assert.match(failure, 'UnhandledInvocationError');
});

conformance('should leave no container behind at Ctrl-C', async () => {
  const folder = temporary();
  const file = join(folder, 'pids');
  write(file, '');
  // a line that is whole: one that is killed before it has written has told no pid
  const pids = (): string[] => readFileSync(file, 'utf8').split('\n').slice(0, -1);
  const server = `require('node:fs').appendFileSync('pids', process.pid + '\\n'); require(${JSON.stringify(PLAIN)});`;
  write(join(folder, 'own.cjs'), server);
  // shows no variables to be found by, like a process that is just being started: its group must do
  const command = `env -u FC_INSTANCE_ID ${process.execPath} own.cjs`;
  const { exit } = await run(['--command', command, '--fc', '3.0', '--only', 'then-frozen'], folder, async child => {
    await eventually('a container', async () => pids().length > 0);
    child.kill('SIGINT');
  });
  assert.is(exit, 130);
  for (const pid of pids()) await eventually('its end', async () => !existsSync(`/proc/${pid}`));
});

conformance('should say what --express needs', async () => {
  if (existsSync('node_modules/express')) return;
  const { exit, output } = await run(['--express', '--only', 'event.body']);
  assert.is(exit, 78);
  assert.match(output, /--express: expected express to be installed, got none; npm install --no-save express/);
});

conformance.run();
