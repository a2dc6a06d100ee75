// How things are measured: in rounds, interleaved and in an order of chance.
import { createRequire } from 'node:module';
import { accepted, expectEcho } from './client.mjs';
import { ask, cpuSeconds, stop } from './process.mjs';

/** Longest run of a load besides its own time, ms. */
const GRACE_MS = 60_000;

/** How often autocannon looks whether it is done, ms: by default once a second, and a load takes no less. */
const SAMPLE_MS = 50;

const require = createRequire(import.meta.url);
const AUTOCANNON = require.resolve('autocannon/autocannon.js');

/** Progress, for a person. */
export const say = line => process.stderr.write(`${line}\n`);

function shuffled(items) {
  const rest = [...items];
  return items.map(() => rest.splice(Math.floor(Math.random() * rest.length), 1)[0]);
}

/**
 * Measures each once a round, in an order of chance, and once before to warm up. Gives, by measure and by name, one
 * sample for each round.
 *
 * @param measure - gives values by measure. Told that it is to warm up, it may be short.
 */
export async function interleave(rounds, names, measure) {
  const samples = {};
  for (let round = 0; round <= rounds; round++) {
    for (const name of shuffled(names)) {
      const taken = await measure(name, round === 0);
      if (round === 0) continue;
      for (const [key, value] of Object.entries(taken)) {
        samples[key] ??= Object.fromEntries(names.map(each => [each, []]));
        samples[key][name].push(value);
      }
    }
  }
  return samples;
}

/** Starts processes by name, and resolves when all their ports accept. */
export async function startAll(launches) {
  const started = {};
  for (const [name, launch] of Object.entries(launches)) {
    started[name] = await launch();
    (await accepted(started[name].port)).destroy();
  }
  return started;
}

export async function stopAll(started) {
  for (const { child } of Object.values(started)) await stop(child);
}

/**
 * Has autocannon, in a process of its own, send as fast as the target answers, for so many seconds or so many requests.
 *
 * @throws {Error} an answer was not a 200, or none came.
 */
export async function load(port, { connections, body, path = '/', headers = {}, seconds, amount }) {
  const limit = seconds === undefined ? ['-a', amount] : ['-d', seconds];
  const options = [
    '-j',
    '-L',
    SAMPLE_MS,
    '-c',
    connections,
    ...limit,
    '-m',
    'POST',
    ...(body.length > 0 ? ['-b', body] : []),
  ];
  for (const [name, value] of Object.entries({ 'content-type': 'text/plain', ...headers }))
    options.push('-H', `${name}=${value}`);
  const args = [...options.map(String), `http://127.0.0.1:${port}${path}`];
  const result = await ask(AUTOCANNON, args, (seconds ?? 0) * 1000 + GRACE_MS);
  const failed = result.non2xx + result.errors + result.timeouts;
  if (failed > 0) throw new Error(`${failed} of ${failed + result['2xx']} requests failed`);
  return { answered: result['2xx'], seconds: result.duration, latency: result.latency };
}

/** Sends 1 KiB POSTs at an even rate. @throws {Error} as `load`. */
export async function pace(port, { rate, seconds, connections }) {
  const args = [port, rate, seconds, connections].map(String);
  const { answered, failed } = await ask('bench/pace.mjs', args, seconds * 1000 + GRACE_MS);
  if (failed > 0) throw new Error(`${failed} of ${failed + answered} requests failed`);
  return { answered };
}

/** CPU of a target while a load runs, µs per answer, and the load's own figures. */
export async function charge({ child }, run) {
  const before = cpuSeconds(child);
  const result = await run();
  return { ...result, cpu: ((cpuSeconds(child) - before) / result.answered) * 1e6 };
}

/** Resolves when a target answers an echo as it should, and has answered so many that V8 has compiled what it will. */
export async function warmUp({ port }, amount, connections = 32) {
  const body = Buffer.alloc(1024, 'x');
  await expectEcho(port, body);
  await load(port, { connections, body: String(body), amount });
}
