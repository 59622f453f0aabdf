import { figure } from './figure.mjs';

/** The columns of the table, each with the function that returns the text of a cell. */
export const COLUMNS = [
  ['', ({ id }) => id],
  ['measure', ({ title, details }) => (details?.variant ? `${title}: ${details.variant}` : title)],
  ['store', ({ store }) => (store === 'none' ? '' : store)],
  ['goal', ({ goal }) => goal],
  ['measured', ({ measured, unit }) => `${figure(measured)} ${unit}`.trim()],
  ['verdict', ({ verdict }) => verdict],
];
const WIDTHS = [4, 74, 9, 9, 16, 12];

/** Formats results as a table for a terminal. */
export function tableOf(results, { heading = true } = {}) {
  const rows = results.map((result) => COLUMNS.map(([, cellOf]) => cellOf(result)));
  if (heading) rows.unshift(COLUMNS.map(([name]) => name));
  return rows.map(lineOf).join('\n');
}

function lineOf(cells) {
  return cells
    .map((cell, i) => cell.padEnd(WIDTHS[i]))
    .join(' ')
    .trimEnd();
}

/** Counts the rows by their verdicts, such as `12 reached, 2 missed`. */
export function tally(results) {
  const counts = {};
  for (const { verdict } of results) counts[verdict] = (counts[verdict] ?? 0) + 1;
  return Object.entries(counts)
    .map(([verdict, count]) => `${count} ${verdict}`)
    .join(', ');
}
