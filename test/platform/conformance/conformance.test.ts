import * as assert from 'uvu/assert';
import { suiteOfMany } from '../../helpers.ts';
import { CHECKS, runChecks } from './run.ts';
import { here, type Subject } from './subjects.ts';

/** Runs some checks, and gives the ids of those that failed. */
async function failures(subject: Subject, ids: readonly string[]): Promise<string[]> {
  const checks = CHECKS.filter(({ id }) => ids.includes(id));
  assert.is(checks.length, ids.length, 'unknown check');
  const results = await runChecks(subject, '3.0', checks, () => {});
  return results.filter(({ failure }) => failure !== undefined).map(({ check }) => check.id);
}

const plain = (bad: string): Subject => ({
  command: [process.execPath, here('test/platform/conformance/plain.cjs')],
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
    assert.equal((await failures(plain(wrong), ids)).sort(), [...ids].sort());
  });
}

conformance('should find nothing wrong with a plain server that does it right', async () => {
  assert.equal(await failures(plain(''), Object.values(WRONGS).flat()), []);
});

conformance('should ask for at least 60 things, each by a name of its own, with its source', () => {
  assert.ok(CHECKS.length >= 60);
  assert.is(new Set(CHECKS.map(({ id }) => id)).size, CHECKS.length);
  for (const { id, contract, source } of CHECKS) assert.ok(contract !== '' && /§|RFC/.test(source), id);
});

conformance.run();
