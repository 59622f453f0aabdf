import { tableName } from './lock-table.ddl.js';
import { AGE_KEY } from './table-age.js';
import { US } from './sqlite.expressions.js';
import type { LockTable } from './typeorm-store.options.js';

/**
 * SQLite's clock counts milliseconds, and a key may be granted several times within one: then its token is ahead of the clock. A trigger keeps the token of such
 * a row when it is deleted, whoever deletes it, in the row of a key that no lock can have. Deleted itself, that row comes back.
 */
export function createTrigger(table: LockTable): string {
  const name = tableName('better-sqlite3', { ...table, table: `${table.table}_token` });
  return `CREATE TRIGGER IF NOT EXISTS ${name} AFTER DELETE ON "${table.table}" WHEN OLD.token >= ${US}
    BEGIN
      INSERT INTO "${table.table}" (key, token, expires_ms) VALUES ('${AGE_KEY}', OLD.token, 0)
      ON CONFLICT (key) DO UPDATE SET token = MAX(token, excluded.token);
    END`;
}

/** The least token of a key that has no row. */
export function firstToken(table: string): string {
  return `MAX(${US}, COALESCE((SELECT token + 1 FROM ${table} WHERE key = '${AGE_KEY}'), 0))`;
}
