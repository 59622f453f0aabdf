// Makes the picture in the README from a recording:
// npm run demo -- --record FILE && node scripts/demo/svg.mjs FILE docs/images/demo.svg
import { readFileSync, writeFileSync } from 'node:fs';

const CHARACTER = 8.4;
const LINE = 19;
const MARGIN = 20;
const BAR = 34;
/** How many seconds each picture is shown, and how many seconds the last one. */
const PACE = 0.25;
const REST = 8;

const PLAIN = '#e6edf3';
const COLOURS = {
  faint: '#8b949e',
  strong: '#ffffff',
  good: '#3fb950',
  bad: '#ff7b72',
  cold: '#58a6ff',
};

const [source, target] = process.argv.slice(2);
writeFileSync(target, draw(JSON.parse(readFileSync(source, 'utf8'))));

/**
 * Draws an animated picture: the frames are placed one below the other, and move past a
 * window. Readers who turn off animations, and viewers without animations, see the last frame.
 */
function draw(recording) {
  const frames = select(recording);
  const columns = Math.max(...frames.flatMap(({ lines }) => lines.map((line) => textOf(line).length)));
  const rows = Math.max(...frames.map(({ lines }) => lines.length));
  const [width, height] = [Math.ceil(columns * CHARACTER) + 2 * MARGIN, rows * LINE + 2 * MARGIN + BAR];
  const film = rows * LINE;
  const duration = frames.at(-1).at + REST;

  const ids = new Map(); // each different line is drawn once, however many frames contain it
  const use = (line, y) => {
    const drawn = drawLine(line);
    if (drawn === '') return '';
    if (!ids.has(drawn)) ids.set(drawn, `l${ids.size}`);
    return `<use href="#${ids.get(drawn)}" y="${y}"/>`;
  };
  const strip = frames.flatMap(({ lines }, i) => lines.map((line, row) => use(line, i * film + row * LINE)));
  const cuts = frames.map(({ at }, i) => `${percent(at / duration)}{transform:translateY(${-i * film}px)}`);
  const colours = Object.entries(COLOURS).map(([style, colour]) => `.${style}{fill:${colour}}`);

  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="The demo of nestjs-locked in a terminal">
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:${PLAIN};white-space:pre}
${colours.join('')}.strong{font-weight:bold}
#film{transform:translateY(${-(frames.length - 1) * film}px)}
@media (prefers-reduced-motion:no-preference){#film{animation:play ${duration.toFixed(1)}s step-end infinite}}
@keyframes play{${cuts.join('')}}
</style>
<defs>
${[...ids].map(([line, id]) => `<text id="${id}">${line}</text>`).join('\n')}
</defs>
<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="8" fill="#0d1117" stroke="#30363d"/>
${['#ff5f57', '#febc2e', '#28c840'].map((fill, i) => `<circle cx="${MARGIN + 2 + i * 20}" cy="${BAR / 2 + 2}" r="6" fill="${fill}"/>`).join('')}
<text class="faint" x="${width / 2}" y="${BAR / 2 + 7}" text-anchor="middle">npm run demo</text>
<svg x="${MARGIN}" y="${BAR + MARGIN / 2}" width="${width - 2 * MARGIN}" height="${film}"><g id="film">
${strip.filter(Boolean).join('\n')}
</g></svg>
</svg>
`;
}

/**
 * Selects one frame for each quarter of a second, and adds a last frame with the last line
 * that the demo printed.
 */
function select({ frames, summary }) {
  const selected = frames.filter(
    ({ at }, i) => i === 0 || Math.floor(at / PACE) > Math.floor(frames[i - 1].at / PACE),
  );
  const { at, lines } = frames.at(-1);
  return [...selected, { at: at + PACE, lines: [...lines, [], [[textOf(summary.at(-1)), 'strong']]] }];
}

function drawLine(line) {
  let column = 0;
  return line
    .map(([text, style]) => {
      const indent = text.length - text.trimStart().length;
      const x = ((column + indent) * CHARACTER).toFixed(1);
      column += text.length;
      const shown = text.trim();
      // Each text gets a fixed length, so that columns are aligned in every font.
      return (
        shown &&
        `<tspan${style ? ` class="${style}"` : ''} x="${x}" y="14" textLength="${(shown.length * CHARACTER).toFixed(1)}">${escaped(shown)}</tspan>`
      );
    })
    .join('');
}

function textOf(line) {
  return line.map(([text]) => text).join('');
}

function percent(part) {
  return `${(part * 100).toFixed(2)}%`;
}

function escaped(text) {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}
