// Measures the gateway beside its floors and its rivals, in one run.
//
//   npm run bench                    all of it; writes results/ and REPORT.md
//   npm run bench -- cold stream     parts: cold, container, load, stream, growth, micro
//   npm run bench -- --quick         to see that it runs: few and short rounds, nothing written
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release } from 'node:os';
import { parseArgs } from 'node:util';
import { cold } from './figures/cold.mjs';
import { container, kind } from './figures/container.mjs';
import { growth } from './figures/growth.mjs';
import { load } from './figures/load.mjs';
import { micro } from './figures/micro.mjs';
import { stream } from './figures/stream.mjs';
import { prepare } from './prepare.mjs';
import { comparison, runBefore, showParts, showTables, writeReport } from './report.mjs';
import { say } from './run.mjs';
import { targets } from './targets.mjs';

const MIB = 1024 * 1024;
const PARTS = { cold, container, load, stream, growth, micro };
/** Without these no report is made: the README shows them. */
const REPORTED = ['cold', 'load'];
const FULL = {
  cold: { rounds: 11 },
  container: { rounds: 5, cpus: [1] },
  load: { rounds: 3, seconds: 0.8, warm: 10_000, paced: { rounds: 3, seconds: 1 } },
  stream: { rounds: 3, bytes: 1024 * MIB, stallMs: 5000, streams: 500 },
  growth: { rounds: 3, amount: 2000 },
  micro: {},
};
const QUICK = {
  cold: { rounds: 1 },
  container: { rounds: 1, cpus: [1] },
  load: { rounds: 1, seconds: 0.5, warm: 500, paced: { rounds: 1, seconds: 0.5 } },
  stream: { rounds: 1, bytes: 32 * MIB, stallMs: 500, streams: 20 },
  growth: { rounds: 1, amount: 500 },
  micro: {},
};

const { values, positionals } = parseArgs({
  options: { quick: { type: 'boolean', default: false } },
  allowPositionals: true,
});
for (const part of positionals) {
  if (!(part in PARTS)) throw new Error(`bench: expected ${Object.keys(PARTS).join(', ')}, got ${part}`);
}
const parts = positionals.length === 0 ? Object.keys(PARTS) : positionals;

const planes = await prepare();
const begun = new Date();
const results = { seconds: {}, tables: [], curves: [], timelines: [], micro: {} };
for (const part of parts) {
  const since = performance.now();
  const { tables, curves, timelines = [], ns = {} } = await PARTS[part]((values.quick ? QUICK : FULL)[part], planes);
  results.tables.push(...tables);
  results.curves.push(...curves);
  results.timelines.push(...timelines);
  Object.assign(results.micro, ns);
  results.seconds[part] = (performance.now() - since) / 1000;
  console.log(part === 'micro' ? showParts(ns) : showTables(tables));
  say(`${part}: took ${results.seconds[part].toFixed(0)} s`);
}
const version = folder => JSON.parse(readFileSync(`${folder}/package.json`, 'utf8')).version;
const { dependencies } = JSON.parse(readFileSync('bench/package.json', 'utf8'));
const report = {
  date: begun.toISOString(),
  minutes: (Date.now() - begun) / 60_000,
  command: ['npm run bench', ...(process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : [])].join(' '),
  node: process.version,
  noslate: kind,
  machine: `${availableParallelism()} cores, ${cpus()[0]?.model}, Linux ${release()}`,
  versions: {
    'noslate-fc': version('.'),
    autocannon: version('node_modules/autocannon'),
    ...Object.fromEntries(Object.keys(dependencies).map(name => [name, version(`bench/node_modules/${name}`)])),
  },
  targets: Object.fromEntries(
    Object.entries(targets).map(([name, { title, isOurs = false }]) => [name, { title, isOurs }]),
  ),
  ...results,
};
if (!values.quick) {
  mkdirSync('bench/results', { recursive: true });
  const kind = positionals.length === 0 ? process.version : `${process.version}-${parts.join('-')}`;
  const earlier = readdirSync('bench/results').filter(name => name.endsWith('.json'));
  const runs = earlier.map(name => JSON.parse(readFileSync(`bench/results/${name}`, 'utf8')));
  const file = `bench/results/${report.date.slice(0, 16).replace(':', '')}-${kind}.json`;
  writeFileSync(file, `${JSON.stringify(report)}\n`);
  console.log(`${file}, after ${report.minutes.toFixed(1)} minutes`);
  const before = runBefore(report, runs);
  console.log(comparison(report, before).join('\n'));
  if (REPORTED.every(part => parts.includes(part))) writeReport(report, before);
}
process.exit();
