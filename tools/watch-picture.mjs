// Makes docs/images/watch.svg: the output of `nestjs-locked watch` on a terminal beside the
// instances of the demo. Needs script(1) of Linux.
//   node tools/watch-picture.mjs
import { spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Instance } from '../scripts/demo/instance.mjs';
import { ready } from '../scripts/ready.mjs';
import { step } from '../scripts/step.mjs';

process.chdir(fileURLToPath(new URL('..', import.meta.url)));
await ready({ build: true });
await step('compile sample/01-cron-sqlite', process.execPath, [
  'node_modules/typescript/bin/tsc',
  '-p',
  'sample/01-cron-sqlite',
]);

const [COLUMNS, ROWS] = [100, 9];
const CHARACTER = 8.4;
const LINE = 19;
const MARGIN = 20;
const BAR = 34;
const ESCAPE = '\x1b';
/** Matches a line of the terminal, which has either one style as a whole or none. */
const STYLED = new RegExp(`^(?:${ESCAPE}\\[(\\d+)m)?(.*?)(?:${ESCAPE}\\[22m)?$`);
const CLASSES = { 1: 'strong', 2: 'faint' };

const folder = mkdtempSync(join(tmpdir(), 'nestjs-locked-picture-'));
const file = join(folder, 'demo.sqlite');
const env = { ...process.env, LOCKS_URL: `sqlite:${file}`, TERM: 'xterm-256color' };
const cli = `${process.execPath} dist/esm/cli/main.js`;
const children = [];
const instances = ['api-1', 'api-2'].map((name) => new Instance(name, file, new EventEmitter()));
try {
  for (const instance of instances) await instance.start(AbortSignal.timeout(60_000));
  for (const [key, label, ttl] of [
    ['backup:orders', 'cron@db-2', '1m'],
    ['deploy', 'ci-4711', '10m'],
    ['invoice:2026-0815', 'api-2', '30s'],
  ]) {
    const holder = run(['hold', key, '--label', label, '--ttl', ttl, '--', 'sh', '-c', 'echo held; cat']);
    await once(holder.stdout, 'data');
  }
  writeFileSync('docs/images/watch.svg', draw(await frameWith(4)));
} finally {
  for (const child of children) child.stdin.end();
  for (const instance of instances) instance.destroy();
  await Promise.all(children.map((child) => child.exitCode ?? once(child, 'exit')));
  rmSync(folder, { recursive: true, force: true });
}

/** Returns the first picture on the terminal that shows this number of locks. */
async function frameWith(count) {
  const command = `stty cols ${COLUMNS} rows ${ROWS}; ${cli} watch --interval 200ms`;
  const terminal = spawn('script', ['-qec', command, '/dev/null'], { env });
  children.push(terminal);
  let text = '';
  for await (const data of terminal.stdout) {
    text += data;
    const found = text
      .split('\x1b[H')
      .find((frame) => frame.includes(`${count} locks held`) && frame.endsWith('\x1b[J'));
    if (found) {
      terminal.stdin.end('\x03');
      terminal.stdout.resume();
      return found.replaceAll('\x1b[K', '').replaceAll('\x1b[J', '').split('\r\n');
    }
  }
  throw new Error(`watch ended without ${count} locks:\n${text}`);
}

function run(args) {
  const child = spawn(process.execPath, ['dist/esm/cli/main.js', ...args], { env });
  children.push(child);
  return child;
}

function draw(lines) {
  const [width, height] = [
    Math.ceil(COLUMNS * CHARACTER) + 2 * MARGIN,
    lines.length * LINE + 2 * MARGIN + BAR,
  ];
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="nestjs-locked watch in a terminal">
<style>
text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:#e6edf3;white-space:pre}
.faint{fill:#8b949e}.strong{fill:#ffffff;font-weight:bold}
</style>
<rect x=".5" y=".5" width="${width - 1}" height="${height - 1}" rx="8" fill="#0d1117" stroke="#30363d"/>
${['#ff5f57', '#febc2e', '#28c840'].map((fill, i) => `<circle cx="${MARGIN + 2 + i * 20}" cy="${BAR / 2 + 2}" r="6" fill="${fill}"/>`).join('')}
<text class="faint" x="${width / 2}" y="${BAR / 2 + 7}" text-anchor="middle">npx nestjs-locked watch</text>
${lines.map(drawLine).join('\n')}
</svg>
`;
}

/** Places each word at its column, so that columns line up in every font. */
function drawLine(line, row) {
  const [, style, text] = STYLED.exec(line);
  const tspans = [...text.matchAll(/\S+(?: \S+)*/g)].map(
    ({ 0: words, index }) =>
      `<tspan x="${(MARGIN + index * CHARACTER).toFixed(1)}" textLength="${(words.length * CHARACTER).toFixed(1)}">${words.replaceAll('&', '&amp;').replaceAll('<', '&lt;')}</tspan>`,
  );
  return `<text${style ? ` class="${CLASSES[style]}"` : ''} y="${BAR + MARGIN + (row + 0.5) * LINE}">${tspans.join('')}</text>`;
}
