import { readdirSync, readFileSync } from 'node:fs';

/**
 * Reads the rows of all results that are kept, each with the `run` that measured it. If
 * several runs measured the same, the last one counts.
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

/** What tells the rows of one store apart. */
export function nameOf({ id, title, store, details = {} }) {
  return [id, title, details.variant, details.peer, details.redis, store].join('|');
}

/** The names of the databases, for people. */
export const DATABASES = {
  postgres: 'PostgreSQL',
  mariadb: 'MariaDB',
  mysql: 'MySQL',
  sqlite: 'SQLite',
  mongodb: 'MongoDB',
};
