import { COLORS, escaped, picture } from './svg.mjs';

const PLOT = { left: 52, top: 52, width: 245, height: 250 };
const PANEL = { width: 500, height: PLOT.top + PLOT.height + 46 };
/** The vertical distance in pixels between the labels at the ends of the lines. */
const LABEL_STEP = 15;
const DASHES = ['', '6 3', '2 3', '8 3 2 3'];
const TICKS = [1, 3];

/**
 * Draws lines of locks per second over the number of callers, both on logarithmic scales. A
 * higher line is better.
 *
 * @param panels `[{ title, lines: [{ label, ours, values: { callers: rate } }] }]`
 */
export function curvesSvgOf(panels) {
  const drawn = panels.map(
    (panel, i) => `<g transform="translate(${i * PANEL.width} 0)">${panelOf(panel)}</g>`,
  );
  return picture(drawn, { width: PANEL.width * panels.length, height: PANEL.height });
}

function panelOf({ title, lines }) {
  const points = lines.flatMap(({ values }) => Object.entries(values).map(([x, y]) => [Number(x), y]));
  const x = scaleOf(
    points.map(([callers]) => callers),
    PLOT.left,
    PLOT.left + PLOT.width,
  );
  const y = scaleOf(
    points.map(([, rate]) => rate),
    PLOT.top + PLOT.height,
    PLOT.top,
  );
  return [
    `<text class="title" x="4" y="20">${escaped(title)}</text>`,
    `<text x="4" y="38">pairs of acquire and release per second, higher is better</text>`,
    ...y.ticks.map(
      (rate) =>
        `<line x1="${PLOT.left}" x2="${PLOT.left + PLOT.width}" y1="${y.at(rate)}" y2="${y.at(rate)}" stroke="${COLORS.theirs}" stroke-opacity="0.3"/>` +
        `<text x="${PLOT.left - 6}" y="${y.at(rate) + 4}" text-anchor="end">${rate.toLocaleString('en')}</text>`,
    ),
    ...x.ticks.map(
      (callers) =>
        `<text x="${x.at(callers)}" y="${PLOT.top + PLOT.height + 18}" text-anchor="middle">${callers.toLocaleString('en')}</text>`,
    ),
    `<text x="${PLOT.left + PLOT.width / 2}" y="${PLOT.top + PLOT.height + 36}" text-anchor="middle">callers at once</text>`,
    ...linesOf(lines, x, y),
  ].join('');
}

function linesOf(lines, x, y) {
  const drawn = lines.map((line, i) => {
    const places = Object.entries(line.values).map(([callers, rate]) => [x.at(Number(callers)), y.at(rate)]);
    const dash = DASHES[lines.slice(0, i).filter(({ ours }) => ours === line.ours).length % DASHES.length];
    return { ...line, places, dash, end: places.at(-1) };
  });
  let lowest = -Infinity;
  return drawn
    .toSorted((a, b) => a.end[1] - b.end[1])
    .map(({ label, ours, places, dash, end }) => {
      const color = ours ? COLORS.ours : COLORS.theirs;
      lowest = Math.max(end[1] + 4, lowest + LABEL_STEP);
      const path = places.map((place) => place.map((value) => value.toFixed(1)).join(',')).join(' ');
      return (
        `<polyline points="${path}" fill="none" stroke="${color}" stroke-width="${ours ? 2.5 : 1.5}" stroke-dasharray="${dash}"/>` +
        `<text${ours ? ' class="ours"' : ''} x="${PLOT.left + PLOT.width + 8}" y="${lowest.toFixed(1)}">${escaped(label)}</text>`
      );
    });
}

/** Returns a logarithmic scale with ticks at 1, 3, 10, 30 and so on. */
function scaleOf(values, from, to) {
  const decades = Array.from({ length: 7 }, (_, i) => 10 ** i);
  const all = decades.flatMap((decade) => TICKS.map((tick) => tick * decade));
  const least = all.findLast((tick) => tick <= Math.min(...values)) ?? Math.min(...values);
  const most = all.find((tick) => tick >= Math.max(...values)) ?? Math.max(...values);
  const at = (value) =>
    Number((from + ((to - from) * Math.log(value / least)) / Math.log(most / least)).toFixed(1));
  return { at, ticks: all.filter((tick) => tick >= least && tick <= most) };
}
