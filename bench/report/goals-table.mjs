import { measureIds } from '../arguments.mjs';
import { figure } from './figure.mjs';
import { DATABASES } from './kept-results.mjs';
import { markdownTable } from './markdown-table.mjs';
import { runsOf } from './runs.mjs';

/** Makes the table of all goals, each with its latest figures, without the peers. */
export function goalsTable(rows) {
  const ids = measureIds();
  const ours = rows.filter(({ id, details }) => ids.includes(id) && !details?.peer);
  const stores = Object.keys(DATABASES);
  const names = [...new Set(ours.map(titleOf))];
  const table = markdownTable(
    ['', 'measure', 'goal', ...stores.map((store) => DATABASES[store])],
    names
      .map((name) => ours.filter((row) => titleOf(row) === name))
      .toSorted(([a], [b]) => ids.indexOf(a.id) - ids.indexOf(b.id))
      .map((found) => [
        found[0].id,
        titleOf(found[0]).slice(found[0].id.length + 1),
        [...new Set(found.map(({ goal }) => goal).filter(Boolean))].join(' / '),
        ...cellsOf(found, stores),
      ]),
  );
  return `${table}\n\n${runsOf(ours)}`;
}

function titleOf({ id, title, details }) {
  return [`${id} ${title}`, details?.variant].filter(Boolean).join(': ');
}

/**
 * Returns the cells of one goal. The figure of a measure that needs no database is in the
 * first column.
 */
function cellsOf(found, stores) {
  const without = found.find(({ store }) => store === 'none');
  if (without) return [cellOf(without), ...stores.slice(1).map(() => '')];
  return stores.map((store) => cellOf(found.find((row) => row.store === store)));
}

function cellOf(row) {
  if (!row) return '';
  const { measured, unit, verdict, details } = row;
  if (measured === undefined) return verdict;
  const range = details?.['p10–p90 of the blocks'];
  const value = `${`${figure(measured)} ${unit}`.trim()}${range ? ` (${range.map(figure).join('–')})` : ''}`;
  return verdict === 'reported' ? value : `${value}, ${verdict}`;
}
