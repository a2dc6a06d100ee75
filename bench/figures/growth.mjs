// What a request costs as things become more: connections, routes, headers, functions. The curve, not one point.
import { resolve } from 'node:path';
import { accepted, drain, expectEcho, open } from '../client.mjs';
import { memory, stop } from '../process.mjs';
import { median } from '../report.mjs';
import { charge, interleave, load, say } from '../run.mjs';
import { gateway, targets } from '../targets.mjs';

const MIB = 1024 * 1024;
const BODY = 'x'.repeat(1024);
/** Not a larger folder: the planes' doubles watch it once for each function. */
const HELLO = resolve('bench/functions/hello');
const ECHO = [{ path: '/*', function: '@echo' }];
const profile = name => ({ name, runtime: 'nodejs', url: HELLO, handler: 'index.handler', signature: '1' });

const routesOf = count => [
  ...Array.from({ length: count - 1 }, (_, i) => ({ path: `/r${i}`, function: '@echo' })),
  ...ECHO,
];
const functionsOf = count => ['@echo', ...Array.from({ length: count - 1 }, (_, i) => `f${i}`)].map(profile);
const headersOf = count => Object.fromEntries(Array.from({ length: count }, (_, i) => [`x-header-${i}`, `value-${i}`]));

const INITIALIZE = { headers: { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': '60' } };

/** What every request of autocannon has: host, connection, content-type, content-length. */
const OWN_HEADERS = 4;

/** Requests over each connection at least. */
const REUSES = 5;

const plain = () => targets.native.launch('@echo');

/** Steps, how ours is launched for each, and what it is asked. The floor is asked the same. */
const DIMENSIONS = {
  connections: {
    steps: [1, 10, 100, 1000],
    launch: plain,
    ask: (count, amount) => ({ connections: count, amount: Math.max(amount, REUSES * count) }),
  },
  routes: {
    steps: [1, 100, 1000, 10_000],
    launch: count => gateway('native', { routes: routesOf(count) }),
    // the last of them
    ask: () => ({ path: '/last' }),
  },
  headers: { steps: [5, 20, 50, 100], launch: plain, ask: count => ({ headers: headersOf(count - OWN_HEADERS) }) },
  functions: {
    steps: [1, 10, 100, 1000],
    launch: count => gateway('native', { functions: functionsOf(count), routes: ECHO }),
    ask: () => ({}),
  },
};

/** Starts a target, and resolves when the planes have taken all functions: with many they answer nothing meanwhile. */
async function begin(launch) {
  const started = await launch();
  (await accepted(started.port)).destroy();
  await drain(await open(started.port, INITIALIZE));
  await expectEcho(started.port, Buffer.from(BODY));
  return started;
}

/** Starts ours and the floor at a step, and asks both in turns: the machine is as busy for one as for the other. */
async function atStep(launches, options, rounds) {
  const started = {};
  for (const [name, launch] of Object.entries(launches)) started[name] = await begin(launch);
  const { cpu } = await interleave(rounds, Object.keys(launches), async name => {
    const { cpu } = await charge(started[name], () => load(started[name].port, options));
    return { cpu };
  });
  const peaks = Object.entries(started).map(([name, { child }]) => [name, [memory(child).peak / MIB]]);
  for (const { child } of Object.values(started)) await stop(child);
  return { cpu, rss: Object.fromEntries(peaks) };
}

/** A line for each target: its middle at each step. */
function curve(id, title, dimension, unit, steps, samples) {
  const names = Object.keys(samples[0]);
  const series = names.map(name => [name, steps.map((step, i) => [step, median(samples[i][name])])]);
  return { id, title, x: dimension, y: unit, isLog: true, series: Object.fromEntries(series) };
}

export async function growth({ rounds, amount }) {
  const tables = [];
  const curves = [];
  for (const [dimension, { steps, launch, ask }] of Object.entries(DIMENSIONS)) {
    say(`growth: ${dimension} ${steps.join(', ')}, ${rounds} rounds of ${amount} requests each`);
    const found = { cpu: [], rss: [] };
    for (const step of steps) {
      const options = { connections: 32, body: BODY, amount, ...ask(step, amount) };
      const { cpu, rss } = await atStep({ native: launch(step), floor: targets.floor.launch() }, options, rounds);
      found.cpu.push(cpu);
      found.rss.push(rss);
    }
    for (const [key, what, unit] of [
      ['cpu', 'CPU per request', 'µs'],
      ['rss', 'RSS, most', 'MiB'],
    ]) {
      const id = `growth-${dimension}-${key}`;
      for (const [i, step] of steps.entries()) {
        const title = `${what}, ${step} ${dimension}`;
        tables.push({ id: `${id}-${step}`, title, unit, digits: 1, samples: found[key][i] });
      }
      curves.push(curve(id, `${what}, by ${dimension}`, dimension, unit, steps, found[key]));
    }
  }
  return { tables, curves };
}
