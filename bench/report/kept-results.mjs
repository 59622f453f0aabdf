import { readdirSync, readFileSync } from 'node:fs';

/**
 * Reads the rows of all results in the folder, each with the `run` that measured it. If
 * several runs measured the same value, the latest run counts.
 *
 * @param folder the URL of the folder with the results
 */
export function keptRows(folder) {
  const runs = readdirSync(folder)
    .filter((file) => file.endsWith('.json'))
    .map((file) => JSON.parse(readFileSync(new URL(file, folder), 'utf8')))
    .toSorted((a, b) => a.date.localeCompare(b.date));
  const rows = new Map();
  for (const { results, ...run } of runs) for (const row of results) rows.set(nameOf(row), { ...row, run });
  return [...rows.values()];
}

/**
 * Returns a name that is different for each measured value, so that later runs replace earlier
 * ones.
 */
export function nameOf({ id, title, store, details = {} }) {
  return [id, title, details.variant, details.peer, details.redis, store].join('|');
}

/** The names of the databases in the documents. */
export const DATABASES = {
  postgres: 'PostgreSQL',
  mariadb: 'MariaDB',
  mysql: 'MySQL',
  sqlite: 'SQLite',
  mongodb: 'MongoDB',
};
