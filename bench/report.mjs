// What has been measured, as tables, as REPORT.md with charts, and as the block of the README.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bars, lines, timeline } from './chart.mjs';
import { targets } from './targets.mjs';

/** What others are measured by, where it takes part. */
const FLOORS = ['floor', 'pipe', 'shipped'];

/** Charts of the report by table, and the README's. */
const BARS = [
  'cold-accept',
  'cold-reply',
  'cold-rss',
  'container-1-replied',
  'load-32-1024-rate',
  'load-32-1024-cpu',
  'stream-down-speed',
  'stall-down',
];
const README_CHART = 'cold-reply';
const README_TABLES = [
  'cold-accept',
  'cold-reply',
  'cold-rss',
  'load-32-1024-rate',
  'load-32-1024-p99',
  'load-32-1024-cpu',
  'paced-cpu',
  'stream-down-speed',
  'stall-down',
];
const START = '<!-- made by npm run bench -->';
const END = '<!-- end of what is made -->';

/** The middle of the samples. */
export function median(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The middle of the ratios of two targets, round by round where the rounds are the same. */
export function ratio(samples, over) {
  if (samples.length !== over.length) return median(samples) / median(over);
  return median(samples.map((sample, i) => sample / over[i]));
}

/** Half of the way from the least to the most of samples, as a share of their middle; what a single sample says nothing of. */
function spread(samples) {
  return (Math.max(...samples) - Math.min(...samples)) / 2 / median(samples);
}

/** Each round's ratio of two targets, where they were measured in the same rounds. */
const ratios = (samples, over) => (samples.length === over.length ? samples.map((sample, i) => sample / over[i]) : []);

const floorOf = samples => FLOORS.find(name => samples[name]?.length > 0);
const isMeasured = samples => samples?.length > 0;

function cell(table, name) {
  const samples = table.samples[name];
  if (!isMeasured(samples)) return '';
  const floor = floorOf(table.samples);
  const value = median(samples).toFixed(table.digits);
  const over = table.isAbsolute ? undefined : ratioIn(table, name, floor);
  if (over === undefined) return value;
  const each = ratios(samples, table.samples[floor]);
  const width = each.length > 1 && each.every(Number.isFinite) ? ` ±${(100 * spread(each)).toFixed(0)}%` : '';
  return `${value} ×${over.toFixed(2)}${width}`;
}

/** A target's ratio to another of a table; undefined where there is none. */
function ratioIn({ samples }, name, base) {
  if (base === undefined || base === name || !isMeasured(samples[name]) || !isMeasured(samples[base])) return undefined;
  const over = ratio(samples[name], samples[base]);
  return Number.isFinite(over) ? over : undefined;
}

/** How far the ratios of two runs may be from each other. */
const AGREEMENT = 0.1;

/** The latest of earlier runs that measured the same parts, with the same Node.js and Noslate on such a machine. */
export function runBefore(report, runs) {
  const facts = ['node', 'noslate', 'machine'];
  const isAlike = run => facts.every(key => run[key] === report[key]) && partsOf(run) === partsOf(report);
  return runs.filter(isAlike).sort((a, b) => (a.date < b.date ? 1 : -1))[0];
}

const partsOf = ({ seconds }) =>
  Object.keys(seconds ?? {})
    .sort()
    .join();

/**
 * Says which ratios a run before had otherwise: to the floor, or, where that takes no part, to the first that does.
 * Where all are one sample only, as growths of memory, there is nothing to compare.
 */
export function comparison({ tables }, before) {
  if (before === undefined) {
    return [
      'There was no run before of these parts, with this Node.js and Noslate on such a machine, to compare with.',
    ];
  }
  const lines = [];
  let compared = 0;
  for (const table of tables) {
    const earlier = before.tables.find(({ id }) => id === table.id);
    if (earlier === undefined || table.isAbsolute) continue;
    const base = floorOf(table.samples) ?? Object.keys(table.samples).find(name => table.samples[name].length > 1);
    for (const name of Object.keys(table.samples)) {
      const [now, then] = [ratioIn(table, name, base), ratioIn(earlier, name, base)];
      if (now === undefined || then === undefined) continue;
      compared++;
      if (Math.abs(now / then - 1) <= AGREEMENT) continue;
      const titles = columnsOf([table]);
      const which = `${titles[name].title} / ${titles[base].title}`;
      lines.push(`- ${table.title}, ${which}: ×${then.toFixed(2)}, now ×${now.toFixed(2)}`);
    }
  }
  const share = 100 * AGREEMENT;
  return [
    `${compared - lines.length} of ${compared} ratios are within ${share} % of those of the run before (${before.date}).`,
    ...(lines.length > 0 ? [`The others, which no conclusion should rest on:\n\n${lines.join('\n')}`] : []),
  ];
}

/** One line for each part of a request's way. */
export function showParts(ns) {
  const rows = Object.entries(ns).map(([name, value]) => [name, value.toFixed(0)]);
  return rows.length === 0 ? '' : `\n${markdown([['', 'ns'], ...rows])}\n`;
}

/** Lays out lines of cells as a Markdown table. */
function markdown(rows) {
  const widths = rows[0].map((_, i) => Math.max(...rows.map(cells => cells[i].length), 3));
  const line = cells => `| ${cells.map((text, i) => text.padEnd(widths[i])).join(' | ')} |`;
  const [head, ...rest] = rows.map(line);
  return [head, line(widths.map(width => '-'.repeat(width))), ...rest].join('\n');
}

/** What the columns of tables are, by name and in order: targets, or what a table says itself. */
const columnsOf = tables => Object.assign({}, targets, ...tables.map(({ columns }) => columns));

/** One line for each of the tables, one column for each target. */
export function showTables(tables) {
  const columns = columnsOf(tables);
  const names = Object.keys(columns).filter(name => tables.some(({ samples }) => isMeasured(samples[name])));
  if (names.length === 0) return '';
  const rows = tables.map(table => [
    `${table.title}${table.unit === '' ? '' : `, ${table.unit}`}`,
    ...names.map(name => cell(table, name)),
  ]);
  return `\n${markdown([['', ...names.map(name => columns[name].title)], ...rows])}\n`;
}

function chartOf(table) {
  const { title, unit, digits, samples } = table;
  const columns = columnsOf([table]);
  const names = Object.keys(columns).filter(name => isMeasured(samples[name]));
  const items = names.map(name => ({
    title: columns[name].title,
    value: median(samples[name]),
    isOurs: columns[name].isOurs,
    isFloor: name === floorOf(samples),
  }));
  return bars(title, unit, digits, items);
}

function facts({ date, command, minutes, seconds, node, noslate, machine, versions }) {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  const parts = Object.entries(seconds).map(([part, each]) => `${part} ${each.toFixed(0)} s`);
  return [
    `${date.slice(0, 10)}, \`${command}\`, ${minutes.toFixed(0)} minutes (${parts.join(', ')}), Node.js ${node.slice(1)},`,
    `${noslate}, ${machine}.`,
    `${list.join(', ')}.`,
  ].join('\n');
}

const HOW = `Medians of interleaved rounds. × is the ratio to \`node:http\` (for streams: to \`node:http2\` piped to \`node:http\`;
for the container: to Noslate as shipped), the median of each round's, ± half of the way from the least to the most of
them. Of a large body rivals carry a quarter, and their CPU is told for the whole. "One hop" is \`node:http\` with one
write to another process and one read of its answer, of no protocol: what a gateway cannot do without. Nothing logs here,
rivals neither: of ours \`SERVER_LOG\` is \`off\`, but for a target of the load that says "with its log", which writes its
line for each request to a pipe, as shipped.`;

const SECTIONS = {
  cold: 'Cold start',
  container: 'Start of the container',
  load: 'Load',
  paced: 'At an even rate',
  stream: 'Streams',
  stall: 'Readers that stand still',
  idle: 'Open streams',
  growth: 'As things become more',
};

/**
 * Writes REPORT.md, its charts, and the block of the README.
 *
 * @param before - the run to compare with, if there is one.
 */
export function writeReport(report, before) {
  const { tables, curves, timelines, micro } = report;
  mkdirSync('bench/charts', { recursive: true });
  // the console's picture is not made here
  for (const name of readdirSync('bench/charts')) if (name.endsWith('.svg')) rmSync(join('bench/charts', name));
  const parts = ['# What was measured', facts(report), HOW];
  for (const [key, title] of Object.entries(SECTIONS)) {
    const own = tables.filter(({ id }) => id.startsWith(key));
    if (own.length === 0) continue;
    parts.push(`## ${title}`, showTables(own).trim());
    for (const table of own.filter(({ id }) => BARS.includes(id))) {
      writeFileSync(`bench/charts/${table.id}.svg`, chartOf(table));
      parts.push(`![${table.title}](charts/${table.id}.svg)`);
    }
    parts.push(...curves.filter(({ id }) => id.startsWith(key)).map(drawn));
    for (const { id, title: what, starts } of timelines.filter(({ id }) => id.startsWith(key))) {
      writeFileSync(`bench/charts/${id}.svg`, timeline(what, starts));
      parts.push(`![${what}](charts/${id}.svg)`);
    }
  }
  if (Object.keys(micro).length > 0) parts.push('## Parts of a request', showParts(micro).trim());
  parts.push('## Beside the run before', ...comparison(report, before));
  writeFileSync('bench/REPORT.md', `${parts.join('\n\n')}\n`);

  const block = [
    START,
    showTables(README_TABLES.flatMap(id => tables.filter(table => table.id === id))).trim(),
    `![spawn to first reply](bench/charts/${README_CHART}.svg)`,
    facts(report),
    END,
  ].join('\n\n');
  const readme = readFileSync('README.md', 'utf8');
  const [start, end] = [readme.indexOf(START), readme.indexOf(END)];
  if (start < 0 || end < 0) throw new Error(`README.md: expected ${START} and ${END}`);
  writeFileSync('README.md', readme.slice(0, start) + block + readme.slice(end + END.length));
}

/** Draws a curve, and gives the line that shows it. */
function drawn({ id, title, series, ...axes }) {
  const named = Object.fromEntries(Object.entries(series).map(([name, line]) => [targets[name]?.title ?? name, line]));
  writeFileSync(`bench/charts/${id}.svg`, lines(title, axes, named));
  return `![${title}](charts/${id}.svg)`;
}
