// What has been measured, as tables, as REPORT.md with charts, and as the block of the README.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { bars, lines } from './chart.mjs';
import { targets } from './targets.mjs';

/** What others are measured by, where it takes part. */
const FLOORS = ['floor', 'pipe'];

/** Charts of the report by table, and the README's. */
const BARS = [
  'cold-accept',
  'cold-reply',
  'cold-rss',
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
  const over = floorRatio(table, name);
  if (over === undefined) return value;
  const each = ratios(samples, table.samples[floor]);
  const width = each.length > 1 && each.every(Number.isFinite) ? ` ±${(100 * spread(each)).toFixed(0)}%` : '';
  return `${value} ×${over.toFixed(2)}${width}`;
}

/** A target's ratio to the floor of its table; undefined where there is none. */
function floorRatio({ samples, isAbsolute = false }, name) {
  const floor = floorOf(samples);
  if (isAbsolute || floor === undefined || floor === name || !isMeasured(samples[name])) return undefined;
  const over = ratio(samples[name], samples[floor]);
  return Number.isFinite(over) ? over : undefined;
}

/** How far the ratios of two runs may be from each other. */
const AGREEMENT = 0.1;

/** Says which ratios to the floor a run before had otherwise. */
function disagreements({ tables }, before) {
  const lines = [];
  let compared = 0;
  for (const table of tables) {
    const earlier = before.tables.find(({ id }) => id === table.id);
    for (const name of Object.keys(table.samples)) {
      const [now, then] = [floorRatio(table, name), earlier && floorRatio(earlier, name)];
      if (now === undefined || then === undefined) continue;
      compared++;
      if (Math.abs(now / then - 1) <= AGREEMENT) continue;
      lines.push(`- ${table.title}, ${targets[name].title}: ×${then.toFixed(2)}, now ×${now.toFixed(2)}`);
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

/** One line for each of the tables, one column for each target. */
export function showTables(tables) {
  const names = Object.keys(targets).filter(name => tables.some(({ samples }) => isMeasured(samples[name])));
  if (names.length === 0) return '';
  const rows = tables.map(table => [
    `${table.title}${table.unit === '' ? '' : `, ${table.unit}`}`,
    ...names.map(name => cell(table, name)),
  ]);
  return `\n${markdown([['', ...names.map(name => targets[name].title)], ...rows])}\n`;
}

function chartOf({ title, unit, digits, samples }) {
  const names = Object.keys(targets).filter(name => isMeasured(samples[name]));
  const items = names.map(name => ({
    title: targets[name].title,
    value: median(samples[name]),
    isOurs: targets[name].isOurs,
    isFloor: name === floorOf(samples),
  }));
  return bars(title, unit, digits, items);
}

function facts({ date, command, minutes, node, machine, versions }) {
  const list = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `${date.slice(0, 10)}, \`${command}\`, ${minutes.toFixed(0)} minutes, Node.js ${node.slice(1)}, ${machine}.`,
    `${list.join(', ')}.`,
  ].join('\n');
}

const HOW = `Medians of interleaved rounds. × is the ratio to \`node:http\` (for streams: to \`node:http2\` piped to \`node:http\`), the
median of each round's, ± half of the way from the least to the most of them. "One hop" is \`node:http\` with one write to another process and one read of its answer, of no
protocol: what a gateway cannot do without.`;

const SECTIONS = {
  cold: 'Cold start',
  load: 'Load',
  paced: 'At an even rate',
  stream: 'Streams',
  stall: 'Readers that stand still',
  idle: 'Open streams',
};

/**
 * Writes REPORT.md, its charts, and the block of the README.
 *
 * @param before - the run to compare with, if there is one.
 */
export function writeReport(report, before) {
  const { tables, curves, micro } = report;
  rmSync('bench/charts', { recursive: true, force: true });
  mkdirSync('bench/charts', { recursive: true });
  const parts = ['# What was measured', facts(report), HOW];
  for (const [key, title] of Object.entries(SECTIONS)) {
    const own = tables.filter(({ id }) => id.startsWith(key));
    if (own.length === 0) continue;
    parts.push(`## ${title}`, showTables(own).trim());
    for (const table of own.filter(({ id }) => BARS.includes(id))) {
      writeFileSync(`bench/charts/${table.id}.svg`, chartOf(table));
      parts.push(`![${table.title}](charts/${table.id}.svg)`);
    }
    if (key === 'stall') parts.push(...curves.filter(({ id }) => id === 'stall').map(drawn));
  }
  const growth = curves.filter(({ id }) => id !== 'stall').map(drawn);
  if (growth.length > 0) parts.push('## As things become more', ...growth);
  if (Object.keys(micro).length > 0) parts.push('## Parts of a request', showParts(micro).trim());
  if (before !== undefined) parts.push('## Beside the run before', ...disagreements(report, before));
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
