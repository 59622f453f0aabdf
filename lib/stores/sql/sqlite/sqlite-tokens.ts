import { tableName, type LockTable } from '../lock-table.ddl.js';
import { RESERVED_KEY } from '../grace-period.js';
import { US } from './sqlite-expressions.js';

/**
 * The trigger that keeps tokens growing over deleted rows. SQLite's clock counts milliseconds,
 * and a key may be granted several times within a millisecond: then its token is ahead of the
 * clock. When such a row is deleted, by any program, the trigger copies its token to the row
 * of the reserved key. If that row is deleted, the trigger creates it again.
 */
export function createTrigger(table: LockTable): string {
  const name = tableName('better-sqlite3', { ...table, table: `${table.table}_token` });
  return `CREATE TRIGGER IF NOT EXISTS ${name} AFTER DELETE ON "${table.table}" WHEN OLD.token >= ${US}
    BEGIN
      INSERT INTO "${table.table}" (key, token, expires_ms) VALUES ('${RESERVED_KEY}', OLD.token, 0)
      ON CONFLICT (key) DO UPDATE SET token = MAX(token, excluded.token);
    END`;
}

/** The smallest token that a key without a row may get. */
export function firstToken(table: string): string {
  return `MAX(${US}, COALESCE((SELECT token + 1 FROM ${table} WHERE key = '${RESERVED_KEY}'), 0))`;
}
