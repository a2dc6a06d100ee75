// Charts as SVG: horizontal bars with the floor drawn in, and lines.

const FONT = 'font-family="system-ui, sans-serif" font-size="12"';
const INK = '#6b7280';
const OURS = '#2563eb';
const OTHERS = '#9ca3af';
const FLOOR = '#dc2626';
const COLOURS = ['#2563eb', '#9ca3af', '#d97706', '#059669', '#7c3aed', '#dc2626'];

const escaped = text => String(text).replace(/&/g, '&amp;').replace(/</g, '&lt;');
const label = (x, y, text, more = '') =>
  `<text x="${x}" y="${y}" fill="${INK}" ${FONT} ${more}>${escaped(text)}</text>`;

function svg(width, height, title, parts) {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img">`;
  return `${head}\n<title>${escaped(title)}</title>\n${parts.join('\n')}\n</svg>\n`;
}

/**
 * Bars.
 *
 * @param bars - `{ title, value, isOurs, isFloor }`; a line goes up from the floor's.
 */
export function bars(title, unit, digits, items) {
  const [left, right, step, top] = [220, 90, 26, 40];
  const width = 760;
  const most = Math.max(...items.map(({ value }) => value));
  const scale = value => (value / most) * (width - left - right);
  const height = top + items.length * step + 10;
  const parts = [label(0, 18, `${title}${unit === '' ? '' : `, ${unit}`}`, 'font-weight="bold"')];
  items.forEach(({ title: name, value, isOurs, isFloor }, i) => {
    const y = top + i * step;
    const fill = isFloor ? FLOOR : isOurs ? OURS : OTHERS;
    parts.push(
      label(left - 8, y + 13, name, 'text-anchor="end"'),
      `<rect x="${left}" y="${y}" width="${Math.max(1, scale(value)).toFixed(1)}" height="18" fill="${fill}"/>`,
      label(left + scale(value) + 6, y + 13, value.toFixed(digits)),
    );
  });
  const floor = items.find(({ isFloor }) => isFloor);
  if (floor !== undefined) {
    const x = (left + scale(floor.value)).toFixed(1);
    parts.push(
      `<line x1="${x}" y1="${top - 6}" x2="${x}" y2="${height - 6}" stroke="${FLOOR}" stroke-dasharray="3 3"/>`,
    );
  }
  return svg(width, height, title, parts);
}

/**
 * Lines, from zero up.
 *
 * @param series - points `[x, y]` by name; with `isLog` the x are powers.
 */
export function lines(title, { x: xTitle, y: yTitle, isLog = false }, series) {
  const [left, right, top, bottom] = [60, 170, 40, 40];
  const [width, height] = [760, 300];
  const points = Object.values(series).flat();
  const at = x => (isLog ? Math.log10(x) : x);
  const [least, most] = [Math.min(...points.map(([x]) => at(x))), Math.max(...points.map(([x]) => at(x)))];
  const highest = Math.max(...points.map(([, y]) => y), 1);
  const px = x => left + ((at(x) - least) / (most - least || 1)) * (width - left - right);
  const py = y => height - bottom - (Math.max(0, y) / highest) * (height - top - bottom);
  const parts = [label(0, 18, title, 'font-weight="bold"'), label(left, top - 6, yTitle, 'text-anchor="end"')];
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    const y = py(highest * share).toFixed(1);
    parts.push(
      `<line x1="${left}" y1="${y}" x2="${width - right}" y2="${y}" stroke="${INK}" stroke-opacity="0.25"/>`,
      label(left - 6, Number(y) + 4, (highest * share).toFixed(highest < 10 ? 1 : 0), 'text-anchor="end"'),
    );
  }
  const ticks = isLog
    ? [...new Set(points.map(([x]) => x))]
    : [0, 0.25, 0.5, 0.75, 1].map(share => least + share * (most - least));
  for (const x of ticks) parts.push(label(px(x), height - bottom + 18, Number(x.toFixed(1)), 'text-anchor="middle"'));
  parts.push(label(width - right, height - 6, xTitle, 'text-anchor="end"'));
  Object.entries(series).forEach(([name, line], i) => {
    const colour = COLOURS[i % COLOURS.length];
    const path = line.map(([x, y]) => `${px(x).toFixed(1)},${py(y).toFixed(1)}`).join(' ');
    const last = line.at(-1);
    parts.push(
      `<polyline points="${path}" fill="none" stroke="${colour}" stroke-width="2"/>`,
      `<rect x="${width - right + 12}" y="${top + i * 20 - 9}" width="10" height="10" fill="${colour}"/>`,
      label(width - right + 28, top + i * 20, `${name}: ${last[1].toFixed(1)}`),
    );
  });
  return svg(width, height, title, parts);
}

/**
 * What works when: for each start one bar per process, from when it is there until it is ready, and a line where the first
 * reply comes.
 *
 * @param starts - `{ title, replied, processes: [{ name, from, to, cpu }] }`, ms; all on one axis.
 */
export function timeline(title, starts) {
  const [left, right, step, top] = [120, 130, 22, 40];
  const width = 760;
  const most = Math.max(...starts.map(({ replied }) => replied));
  const at = ms => left + (ms / most) * (width - left - right);
  const parts = [label(0, 18, `${title}, ms`, 'font-weight="bold"')];
  let y = top;
  for (const { title: name, replied, processes, isOurs } of starts) {
    parts.push(label(0, y + 13, name, 'font-style="italic"'));
    y += step;
    const first = y;
    for (const { name: who, from, to, cpu } of processes) {
      const x = at(from);
      parts.push(
        label(left - 8, y + 13, who, 'text-anchor="end"'),
        `<rect x="${x.toFixed(1)}" y="${y}" width="${Math.max(1, at(to) - x).toFixed(1)}" height="16" fill="${isOurs ? OURS : OTHERS}"/>`,
        label(at(to) + 6, y + 13, `${from.toFixed(0)}–${to.toFixed(0)}, ${cpu.toFixed(0)} of CPU`),
      );
      y += step;
    }
    const x = at(replied).toFixed(1);
    parts.push(
      `<line x1="${x}" y1="${first - 4}" x2="${x}" y2="${y}" stroke="${FLOOR}" stroke-dasharray="3 3"/>`,
      label(x, y + 12, `first reply, ${replied.toFixed(0)}`, 'text-anchor="end"'),
    );
    y += step * 1.5;
  }
  return svg(width, y, title, parts);
}
