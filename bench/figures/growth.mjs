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

/** What is told at each step. */
const FIGURES = [
  ['cpu', 'CPU per request', 'µs'],
  ['rss', 'RSS, most', 'MiB'],
];

const INITIALIZE = { headers: { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': '60' } };

/** What every request of autocannon has: host, connection, content-type, content-length. */
const OWN_HEADERS = 4;

/** Requests over each connection at least. */
const REUSES = 5;

const plain = () => targets.native.launch('@echo');

/**
 * Steps, how ours is launched for each, and what it is asked. The floor is asked the same, once for all steps where these
 * are nothing to it.
 */
const DIMENSIONS = {
  connections: {
    steps: [1, 10, 100, 1000],
    launch: plain,
    ask: (count, amount) => ({ connections: count, amount: Math.max(amount, REUSES * count) }),
  },
  routes: {
    steps: [1, 100, 1000, 10_000],
    isOurs: true,
    launch: count => gateway('native', { routes: routesOf(count) }),
    // the last of them
    ask: () => ({ path: '/last' }),
  },
  headers: { steps: [5, 20, 50, 100], launch: plain, ask: count => ({ headers: headersOf(count - OWN_HEADERS) }) },
  functions: {
    steps: [1, 10, 100, 1000],
    isOurs: true,
    launch: count => gateway('native', { functions: functionsOf(count), routes: ECHO }),
    ask: () => ({}),
  },
};

/**
 * Starts a target, and gives its CPU per request and its memory; a first load has warmed it up. A new process each time:
 * what a step leaves behind must not weigh on the next.
 */
async function measure(launch, options) {
  const started = await launch();
  (await accepted(started.port)).destroy();
  // when the planes have taken all functions: with many they take long, and answer nothing else meanwhile
  await drain(await open(started.port, INITIALIZE));
  await expectEcho(started.port, Buffer.from(BODY));
  await load(started.port, options);
  const { cpu } = await charge(started, () => load(started.port, options));
  const rss = memory(started.child).peak / MIB;
  await stop(started.child);
  return { cpu, rss };
}

/**
 * Measures ours and the floor at all steps of a dimension in turns: the machine is as busy for one as for the other. Gives
 * samples by figure, by target and by step.
 */
async function atSteps({ steps, isOurs = false, launch, ask }, { rounds, amount }) {
  const runs = {};
  for (const step of steps) {
    const options = { connections: 32, body: BODY, amount, ...ask(step, amount) };
    runs[`native ${step}`] = [launch(step), options];
    if (!isOurs || step === steps[0]) runs[`floor ${step}`] = [targets.floor.launch(), options];
  }
  // nothing is warmed up for a next round
  const found = await interleave(rounds, Object.keys(runs), async (name, isWarmUp) =>
    isWarmUp ? {} : measure(...runs[name]),
  );
  const named = (samples, name) => steps.map(step => samples[`${name} ${step}`] ?? samples[`${name} ${steps[0]}`]);
  const both = samples => ({ floor: named(samples, 'floor'), native: named(samples, 'native') });
  return { cpu: both(found.cpu), rss: both(found.rss) };
}

export async function growth(settings) {
  const tables = [];
  const curves = [];
  for (const [dimension, { steps, ...rest }] of Object.entries(DIMENSIONS)) {
    say(`growth: ${dimension} ${steps.join(', ')}, ${settings.rounds} rounds of ${settings.amount} requests each`);
    const found = await atSteps({ steps, ...rest }, settings);
    for (const [key, what, unit] of FIGURES) {
      const id = `growth-${dimension}-${key}`;
      const { floor, native } = found[key];
      for (const [i, step] of steps.entries()) {
        const samples = { floor: floor[i], native: native[i] };
        tables.push({ id: `${id}-${step}`, title: `${what}, ${dimension}: ${step}`, unit, digits: 1, samples });
      }
      const line = target => steps.map((step, i) => [step, median(target[i])]);
      const series = { floor: line(floor), native: line(native) };
      curves.push({ id, title: `${what}, by ${dimension}`, x: dimension, y: unit, isLog: true, series });
    }
  }
  return { tables, curves };
}
