import { figure } from './figure.mjs';

const PANEL = 500;
const LABEL = 235;
const BAR = { length: 190, height: 14, step: 20 };
const HEAD = 52;
const GAP = 24;
export const COLORS = { ours: '#e0234e', theirs: '#8a94a3' };

/** Draws panels of bars, two panels beside each other. A shorter bar is better. */
export function svgOf(panels) {
  const rows = Array.from({ length: Math.ceil(panels.length / 2) }, (_, i) => panels.slice(2 * i, 2 * i + 2));
  let top = 0;
  const drawn = rows.flatMap((row) => {
    const height = HEAD + Math.max(...row.map(({ bars }) => bars.length)) * BAR.step + GAP;
    const groups = row.map((panel, i) => `<g transform="translate(${i * PANEL} ${top})">${draw(panel)}</g>`);
    top += height;
    return groups;
  });
  return picture(drawn, { width: PANEL * Math.min(2, panels.length), height: top });
}

/**
 * Joins the parts to one picture, whose colors can be read on light and on dark backgrounds.
 */
export function picture(parts, { width, height }) {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12">
<style>text { fill: #57606a } .title { font-weight: 600; font-size: 14px } .ours { fill: ${COLORS.ours}; font-weight: 600 } @media (prefers-color-scheme: dark) { text { fill: #b8c0cc } }</style>
${parts.join('\n')}
</svg>
`;
}

function draw({ title, unit, bars }) {
  const longest = Math.max(...bars.map(({ value }) => value));
  const head = `<text class="title" x="4" y="20">${escaped(title)}</text><text x="4" y="38">${escaped(unit)}, shorter is better</text>`;
  return (
    head +
    bars
      .map(({ label, value, ours }, i) => {
        const y = HEAD + i * BAR.step;
        const length = Math.max(1, (value / longest) * BAR.length);
        const mark = ours ? ' class="ours"' : '';
        return (
          `<text${mark} x="${LABEL - 6}" y="${y + 11}" text-anchor="end">${escaped(label)}</text>` +
          `<rect x="${LABEL}" y="${y}" width="${length.toFixed(1)}" height="${BAR.height}" rx="2" fill="${ours ? COLORS.ours : COLORS.theirs}"/>` +
          `<text${mark} x="${LABEL + length + 6}" y="${y + 11}">${figure(value)}</text>`
        );
      })
      .join('')
  );
}

export function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
