import { libraryOf } from '../peers/library-of.mjs';
import { figure } from './figure.mjs';
import { DATABASES } from './kept-results.mjs';
import { runsOf } from './runs.mjs';
import { markdownTable } from './markdown-table.mjs';

const OURS = 'nestjs-locked';
const UNBATCHED = 'batching: false';
/** The numbers of callers that the table shows. The chart shows more of them. */
const SHOWN = [1, 10, 100, 1_000];
/** The databases that the chart shows. */
const DRAWN = ['postgres', 'mariadb'];
const NOT_MEASURED = 'Not measured yet.';
const PICTURE =
  '![Pairs of acquire and release per second, for 1 to 1,000 callers, beside other libraries](images/callers.svg)';

/**
 * The rows of the table of costs: a text, the id and the variant of the measure, and how to
 * read the value in milliseconds.
 */
const COSTS = [
  ['acquire and release a free key', 'P1', undefined, ({ ms }) => ms.pair.p50],
  [
    'the same, as a multiple of two durable writes',
    'P1',
    undefined,
    (_, measured) => `${figure(measured)} ×`,
  ],
  ['the same with `asyncRelease`', 'P1', 'asynchronous release', ({ ms }) => ms.pair.p50],
  ['a try for a key that is held', 'P4', undefined, ({ ms }) => ms.fail.p50],
  ['hand-over inside a process, 100 waiters', 'P5', undefined, meanHandOver],
  ['hand-over between 8 processes', 'P7', undefined, meanHandOver],
  [
    'take-over after a crash, counted from the end of the ttl, p90',
    'P11',
    undefined,
    (_, measured) => measured,
  ],
  ['added to the start of an application', 'S8', undefined, (_, measured) => measured],
  ['100 callers: 99 of 100 pairs are faster than', 'S5', undefined, (details) => details['p99, ms'].with],
  ['the same with `batching: false`', 'S5', undefined, (details) => details['p99, ms'].without],
];

function meanHandOver(details) {
  return details['hand-off, ms']?.mean;
}

export function costTable(rows) {
  const found = COSTS.map(([label, id, variant, valueOf]) => ({
    label,
    valueOf,
    rows: rows.filter((row) => isOf(row, id, variant)),
  }));
  const used = found.flatMap((cost) => cost.rows);
  const stores = Object.keys(DATABASES).filter((store) => used.some((row) => row.store === store));
  if (stores.length === 0) return NOT_MEASURED;
  const table = markdownTable(
    ['milliseconds', ...stores.map((store) => DATABASES[store])],
    found
      .filter((cost) => cost.rows.length > 0)
      .map((cost) => [cost.label, ...stores.map((store) => cellOf(cost, store))]),
  );
  return `${table}\n\n${runsOf(used)}`;
}

function isOf({ id, details }, wanted, variant) {
  const isTitled = id !== 'P5' && id !== 'P7' ? true : details?.['hand-off, ms'] !== undefined;
  return id === wanted && details?.variant === variant && !details?.peer && isTitled;
}

function cellOf({ rows, valueOf }, store) {
  const row = rows.find((each) => each.store === store);
  return row?.measured === undefined ? '' : figure(valueOf(row.details, row.measured));
}

/**
 * The table of locks per second by number of callers: this library, and the best of its peers.
 */
export function callersTable(rows) {
  const found = rowsWithCurves(rows);
  if (found.length === 0) return NOT_MEASURED;
  const columns = found.flatMap(({ store }) => [
    DATABASES[store],
    `${DATABASES[store]}, \`batching: false\``,
    `${DATABASES[store]}, the best other`,
  ]);
  const table = markdownTable(
    ['callers', ...columns],
    SHOWN.map((callers) => [
      figure(callers),
      ...found.flatMap(({ details: { curves } }) => {
        const { ours, unbatched, peers } = linesOf(curves);
        return [ours, unbatched, bestOf(peers)].map((line) => figure(line[callers]));
      }),
    ]),
  );
  return `${PICTURE}\n\n${table}\n\n${runsOf(found)}`;
}

/**
 * The table of locks per second for a hundred callers: this library on PostgreSQL, and the
 * libraries for Redis.
 */
export function redisTable(rows) {
  const found = rows.filter(({ id, details }) => id === 'S4' && details?.redis);
  if (found.length === 0) return NOT_MEASURED;
  const kinds = [...new Set(found.map(({ details }) => details.redis))];
  const rateOf = (peer, kind, isOurs = false) => {
    const rates = found
      .filter(({ details }) => details.redis === kind && (isOurs || details.peer === peer))
      .map(({ details }) => Object.entries(details['per second']))
      .map(([ours, theirs]) => (isOurs ? ours : theirs)[1]);
    return figure(Math.round(Math.max(...rates)));
  };
  const table = markdownTable(
    ['pairs/s of 100 callers', ...kinds],
    [
      [`${OURS} on PostgreSQL, in the same run`, ...kinds.map((kind) => rateOf(undefined, kind, true))],
      ...[...new Set(found.map(({ details }) => details.peer))].map((peer) => [
        peer,
        ...kinds.map((kind) => rateOf(peer, kind)),
      ]),
    ],
  );
  return `${table}\n\n${runsOf(found)}`;
}

/** Returns the data of the chart of rates, with the faster variant of each peer. */
export function panelsOfCallers(rows) {
  return rowsWithCurves(rows)
    .filter(({ store }) => DRAWN.includes(store))
    .map(({ store, details: { curves } }) => {
      const { ours, unbatched, peers } = linesOf(curves);
      const names = [...new Set(Object.keys(peers).map(libraryOf))];
      return {
        title: `${DATABASES[store]}, 10 connections`,
        lines: [
          { label: OURS, ours: true, values: ours },
          { label: 'without batching', ours: true, values: unbatched },
          ...names.map((name) => ({
            label: name,
            ours: false,
            values: bestOf(
              Object.fromEntries(Object.entries(peers).filter(([key]) => libraryOf(key) === name)),
            ),
          })),
        ],
      };
    });
}

function rowsWithCurves(rows) {
  const found = rows.filter(({ details }) => details?.curves);
  return Object.keys(DATABASES).flatMap((store) => found.find((row) => row.store === store) ?? []);
}

function linesOf({ [UNBATCHED]: unbatched, typeOrmStore: _, ...others }) {
  const [[, ours], ...peers] = Object.entries(others);
  return { ours, unbatched, peers: Object.fromEntries(peers) };
}

/** Returns the highest rate for each number of callers. */
function bestOf(lines) {
  const best = {};
  for (const line of Object.values(lines))
    for (const [callers, rate] of Object.entries(line)) best[callers] = Math.max(best[callers] ?? 0, rate);
  return best;
}
