import * as assert from 'uvu/assert';
import type { Exchange } from '../src/gateway.ts';
import type { Fields, Log } from '../src/log.ts';
import { createSummary } from '../src/summary.ts';
import { ask, type LogLine, suite, within, withServer } from './helpers.ts';

const summary = suite('summary');

/** A log that keeps what is said. */
function keeping(): { log: Log; said: Fields[] } {
  const said: Fields[] = [];
  const log = { info: (_: string, fields: Fields) => void said.push(fields) } as unknown as Log;
  return { log, said };
}

summary('should tell quantiles to a tenth, and begin anew', () => {
  const { log, said } = keeping();
  const made = createSummary(log, 0);
  made.write('stop');
  assert.equal(said, []);
  for (let i = 1; i <= 1000; i++)
    made.end({ isCold: i === 1, bytesIn: 1, bytesOut: 2 } as Exchange, i % 10 === 0 ? 'error TIMEOUT' : 'ok', i);
  made.write('interval');
  const [{ p50Ms, p90Ms, p99Ms, peakRssBytes, ...rest } = {}] = said;
  for (const [got, wanted] of [
    [p50Ms, 500],
    [p90Ms, 900],
    [p99Ms, 990],
  ] as const)
    assert.ok(Math.abs(Number(got) / wanted - 1) <= 0.1, `${got}, expected ${wanted}`);
  assert.ok(Number(peakRssBytes) > 1e6);
  const outcomes = { ok: 900, 'error TIMEOUT': 100 };
  const others = { longestMs: 1000, coldStarts: 1, bytesIn: 1000, bytesOut: 2000 };
  assert.equal(rest, { occasion: 'interval', calls: 1000, outcomes, ...others });
  made.write('stop');
  assert.is(said.length, 1);
  for (const ms of [0, 1e-9, 1e12]) made.end({ isCold: false, bytesIn: 0, bytesOut: 0 } as Exchange, 'ok', ms);
  made.write('stop');
  assert.equal([said[1]?.['calls'], said[1]?.['longestMs'], said[1]?.['p50Ms']], [3, 1e12, 0.05]);
});

const HELLO = { hello: 'exports.handler = async (ctx, req, res) => { res.writeHead(200); res.end("hello"); };' };

/** Finds the line for an occasion. */
const isOf =
  (occasion: string) =>
  (item: LogLine): boolean =>
    item.message === 'summary' && item['occasion'] === occasion;

summary('should be written at pre-freeze and at the end, if there was an invocation', async () => {
  await withServer({ functions: HELLO }, async ({ port, line, kill, exit, lines }) => {
    const freeze = () => ask(port, { path: '/pre-freeze', headers: { 'x-fc-control-path': '/pre-freeze' } });
    await freeze();
    for (let i = 0; i < 2; i++) await ask(port, { path: '/' });
    await freeze();
    const { calls, coldStarts, outcomes } = await line('pre-freeze', isOf('pre-freeze'));
    assert.equal([calls, coldStarts, outcomes], [2, 1, { ok: 2 }]);
    await ask(port, { path: '/none' });
    kill('SIGTERM');
    await within(10_000, exit, 'the end');
    assert.equal(
      lines()
        .filter(isOf('stop'))
        .map(item => item['calls']),
      [1],
    );
    assert.is(lines().filter(({ message }) => message === 'summary').length, 2);
  });
});

summary('should be written as often as SERVER_SUMMARY_S says', async () => {
  await withServer({ functions: HELLO, env: { SERVER_SUMMARY_S: '1' } }, async ({ port, line }) => {
    await ask(port, { path: '/' });
    assert.is((await line('interval', isOf('interval')))['calls'], 1);
  });
});

summary.run();
