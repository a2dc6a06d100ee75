// Medians, ratios, and the table that shows them.

/** The middle of the samples. */
export function median(samples) {
  const sorted = [...samples].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** The samples' median, and their least and most where there are several. */
function show(samples, digits) {
  if (samples === undefined) return '';
  const [mid, least, most] = [median(samples), Math.min(...samples), Math.max(...samples)].map(value =>
    value.toFixed(digits),
  );
  return samples.length === 1 ? mid : `${mid} (${least}..${most})`;
}

/** A ratio, or another value, beside its bound if it has one: `{ least }` or `{ most }`. */
function judge(value, { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY } = {}) {
  return { value, least, most, isHeld: value >= least && value <= most };
}

function showJudged(judged) {
  if (judged === undefined) return '';
  const { value, least, most, isHeld } = judged;
  const bound = Number.isFinite(most) ? `≤ ${most}` : Number.isFinite(least) ? `≥ ${least}` : undefined;
  return bound === undefined ? value.toFixed(2) : `${value.toFixed(2)}, ${bound}: ${isHeld ? 'held' : 'NOT HELD'}`;
}

/**
 * A line of the result: samples of ours, of the floor and of the rival, as far as there are any, and the
 * ratios of their medians.
 *
 * @param digits - shown behind the point.
 * @param bounds - `{ least }` or `{ most }` each: of `ours` itself, of ours `overFloor`, of the `rival` over ours.
 */
export function row(what, digits, { ours, floor, rival }, bounds = {}) {
  const mid = median(ours);
  const overFloor = floor && judge(mid / median(floor), bounds.overFloor);
  const rivalOver = rival && judge(median(rival) / mid, bounds.rivalOver);
  const own = bounds.ours && judge(mid, bounds.ours);
  return {
    isHeld: [overFloor, rivalOver, own].every(judged => judged?.isHeld !== false),
    cells: [
      what,
      show(ours, digits),
      show(floor, digits),
      showJudged(own ?? overFloor),
      show(rival, digits),
      showJudged(rivalOver),
    ],
  };
}

/** Lays out the lines as a Markdown table. */
export function table(rows) {
  const lines = [
    ['what', 'ours', 'floor', 'ours / floor', 'Express + grpc-js', 'that / ours'],
    ...rows.map(item => item.cells),
  ];
  const widths = lines[0].map((_, i) => Math.max(...lines.map(cells => cells[i].length)));
  const line = cells => `| ${cells.map((text, i) => text.padEnd(widths[i])).join(' | ')} |`;
  const [head, ...rest] = lines.map(line);
  return [head, line(widths.map(width => '-'.repeat(width))), ...rest].join('\n');
}
