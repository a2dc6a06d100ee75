import * as assert from 'uvu/assert';
import { createHealth } from '../../../src/desk/fc/health.ts';
import { HEALTH_CHECK } from '../../../src/desk/fc/settings.ts';
import { eventually, suite } from '../../helpers.ts';

const health = suite('health of an instance');

const RULES = { ...HEALTH_CHECK, httpGetUrl: '/', periodSeconds: 0.002, failureThreshold: 3, successThreshold: 2 };

/** Gives these results one after another, the last again and again, until `ends` says so. */
async function checking(results: readonly boolean[], ends: (checks: number) => boolean): Promise<string[]> {
  const told: string[] = [];
  let checks = 0;
  const one = createHealth(
    RULES,
    {
      check: async () => results[Math.min(checks++, results.length - 1)] === true,
      isFrozen: () => false,
      freezes: () => 0,
    },
    healthy => told.push(`${healthy} after ${checks}`),
  );
  one.start();
  await eventually('the checks', async () => ends(checks));
  one.stop();
  return told;
}

health('should change after so many checks in a row, and back', async () => {
  const results = [true, false, false, true, false, false, false, true, false, true, true];
  assert.equal(await checking(results, checks => checks >= 14), ['false after 7', 'true after 11']);
});

health('should be healthy until it is told otherwise, and stay so', async () => {
  assert.equal(await checking([true], checks => checks >= 5), []);
});

health('should not ask one that is frozen, nor believe a check that met a freeze', async () => {
  let [checks, freezes, isFrozen] = [0, 0, true];
  const told: boolean[] = [];
  const one = createHealth(
    { ...RULES, failureThreshold: 1 },
    {
      async check() {
        checks += 1;
        // it is frozen and thawed meanwhile
        freezes += 1;
        return false;
      },
      isFrozen: () => isFrozen,
      freezes: () => freezes,
    },
    healthy => told.push(healthy),
  );
  one.start();
  await new Promise(done => setTimeout(done, 30));
  assert.is(checks, 0);
  isFrozen = false;
  await eventually('checks', async () => checks > 3);
  one.stop();
  assert.equal([told, one.healthy], [[], true]);
});

health('should ask no more after its end', async () => {
  let checks = 0;
  const patient = { check: async () => ++checks > 0, isFrozen: () => false, freezes: () => 0 };
  const one = createHealth(RULES, patient, () => {});
  one.start();
  await eventually('a check', async () => checks > 0);
  one.stop();
  const before = checks;
  await new Promise(done => setTimeout(done, 30));
  assert.ok(checks <= before + 1);
});

health.run();
