import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const WIDTHS = { bug: 76, layer: 12, after: 16, ms: 9 };

/**
 * Returns the head of the table on the screen, to which each search adds a line when it ends.
 */
export function tableHead() {
  return [
    'bug'.padEnd(WIDTHS.bug),
    'found by'.padEnd(WIDTHS.layer),
    'after'.padEnd(WIDTHS.after),
    'ms'.padStart(WIDTHS.ms),
  ].join(' ');
}

export function tableRow({ bug, layer, after, ms, found }) {
  const what = found === undefined ? 'NOT FOUND' : layer;
  return [
    bug.padEnd(WIDTHS.bug),
    what.padEnd(WIDTHS.layer),
    (after ?? '').padEnd(WIDTHS.after),
    String(ms).padStart(WIDTHS.ms),
  ].join(' ');
}

export function summary(rows) {
  const bugs = new Set(rows.map(({ bug }) => bug));
  const missed = new Set(rows.filter(({ found }) => found === undefined).map(({ bug }) => bug));
  return `planted: ${bugs.size} bugs, ${bugs.size - missed.size} found, ${missed.size} not found`;
}

/** Writes planted.json and planted.md into the folder. */
export function writeReport(folder, rows) {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'planted.json'), `${JSON.stringify(rows, undefined, 2)}\n`);
  const cell = (text) => String(text ?? '').replaceAll('|', '\\|');
  const lines = rows.map(
    ({ bug, seenIn, layer, found, after, ms, replay }) =>
      `| ${cell(bug)} | ${cell(seenIn)} | ${found === undefined ? '**not found**' : layer} | ${cell(after)} | ${ms} | ${cell(found)} | ${replay ? `\`${cell(replay)}\`` : ''} |`,
  );
  const head = ['| bug | seen in | found by | after | ms | as | again |', '|---|---|---|---|---|---|---|'];
  writeFileSync(join(folder, 'planted.md'), [...head, ...lines, '', summary(rows), ''].join('\n'));
}
