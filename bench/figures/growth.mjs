// What a request costs as things become more: connections, routes, headers, functions. The curve, not one point.

import { resolve } from 'node:path';
import { accepted, drain, open } from '../client.mjs';
import { memory, stop } from '../process.mjs';
import { charge, load, say, warmUp } from '../run.mjs';
import { gateway, targets } from '../targets.mjs';

const MIB = 1024 * 1024;
const BODY = 'x'.repeat(1024);
/** Not a larger folder: the planes' doubles watch it once for each function. */
const HELLO = resolve('bench/functions/hello');
const ECHO = [{ path: '/*', function: '@echo' }];
const profile = name => ({ name, runtime: 'nodejs', url: HELLO, handler: 'index.handler', signature: '1' });
const functionsOf = count => ['@echo', ...Array.from({ length: count - 1 }, (_, i) => `f${i}`)].map(profile);

const INITIALIZE = { headers: { 'x-fc-control-path': '/initialize', 'x-fc-initialization-timeout': '60' } };

/** Steps, and what is started and asked at each. */
const DIMENSIONS = {
  connections: {
    steps: [1, 10, 100, 1000],
    launches: { native: () => targets.native.launch('@echo'), floor: () => targets.floor.launch() },
    ask: count => ({ connections: count }),
  },
  routes: {
    steps: [1, 100, 1000, 10_000],
    launches: {
      native: count =>
        gateway('native', {
          routes: [...Array.from({ length: count - 1 }, (_, i) => ({ path: `/r${i}`, function: '@echo' })), ...ECHO],
        }),
    },
    // the last of them
    ask: () => ({ connections: 32, path: '/last' }),
  },
  headers: {
    steps: [5, 20, 50, 100],
    launches: { native: () => targets.native.launch('@echo'), floor: () => targets.floor.launch() },
    ask: count => ({
      connections: 32,
      headers: Object.fromEntries(Array.from({ length: count - 4 }, (_, i) => [`x-header-${i}`, `value-${i}`])),
    }),
  },
  functions: {
    steps: [1, 10, 100, 1000],
    launches: { native: count => gateway('native', { functions: functionsOf(count), routes: ECHO }) },
    ask: () => ({ connections: 32 }),
  },
};

export async function growth({ amount }) {
  const curves = [];
  for (const [dimension, { steps, launches, ask }] of Object.entries(DIMENSIONS)) {
    say(`growth: ${dimension} ${steps.join(', ')}`);
    const cpu = {};
    const rss = {};
    for (const [name, launch] of Object.entries(launches)) {
      cpu[name] = [];
      rss[name] = [];
      for (const step of steps) {
        const started = await launch(step)();
        (await accepted(started.port)).destroy();
        // when the planes have taken all functions: with many they take long, and answer nothing else meanwhile
        await drain(await open(started.port, INITIALIZE));
        await warmUp(started, amount);
        const options = { body: BODY, amount: Math.max(amount, 5 * step), ...ask(step) };
        const taken = await charge(started, () => load(started.port, options));
        cpu[name].push([step, taken.cpu]);
        rss[name].push([step, memory(started.child).peak / MIB]);
        await stop(started.child);
      }
    }
    curves.push(
      {
        id: `growth-${dimension}-cpu`,
        title: `CPU per request by ${dimension}`,
        x: dimension,
        y: 'µs',
        isLog: true,
        series: cpu,
      },
      { id: `growth-${dimension}-rss`, title: `RSS by ${dimension}`, x: dimension, y: 'MiB', isLog: true, series: rss },
    );
  }
  return { tables: [], curves };
}
