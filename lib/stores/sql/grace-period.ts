import type { LockDatabase } from './lock-statements.js';
import type { Refusal } from '../shared/conditions.js';
import { NEVER, type HolderRow } from './lock-row.js';
import { tableName, type LockTable } from './lock-table.ddl.js';

/**
 * The key of a row that is no lock, since no lock can have an empty key. It holds the grace
 * period of a table that was created again.
 *
 * When a table disappears, holders still believe in the locks whose rows are gone. So the new
 * table grants no key until the longest ttl has passed. The row says when the table was
 * created (`started_ms`) and when the grace period ends (`expires_ms`). Every process finds
 * it, also a process that starts later, and each adds the longest ttl that it uses. On SQLite
 * the row also keeps tokens, see sqlite.tokens.ts.
 */
export const RESERVED_KEY = '';

/** The label that people see in place of a holder. */
export const GRACE_LABEL = 'the lock table, which was made again';

/** The refusal of a key that has no row, while the grace period of the table lasts. */
export function refusalInGrace(
  row: Pick<HolderRow, 'started_ms' | 'expires_ms' | 'now_ms'> | undefined,
  { key, longest }: { key: string; longest: number },
): Refusal | undefined {
  if (!row || row.started_ms === null) return undefined;
  const until = Math.max(Number(row.expires_ms), Number(row.started_ms) + longest);
  if (until <= Number(row.now_ms)) return undefined;
  const now = Number(row.now_ms);
  const since = new Date(Number(row.started_ms));
  const record = { key, label: GRACE_LABEL, fencingToken: 0, startedAt: since, renewedAt: since };
  return {
    acquired: false,
    reason: 'held',
    holder: { ...record, expiresAt: new Date(until), remaining: until - now },
  };
}

/**
 * Lets the grace period end `longest` milliseconds after the table was created, unless it
 * already ends later.
 */
export function graceStatement(
  { kind, statements }: Pick<LockDatabase, 'kind' | 'statements'>,
  table: LockTable,
  longest: number,
): string {
  const mysql = kind === 'mysql' || kind === 'mariadb';
  const MS = statements.clock;
  const [least, greatest] = kind === 'better-sqlite3' ? ['MIN', 'MAX'] : ['LEAST', 'GREATEST'];
  const own = mysql ? '' : 't.';
  const key = mysql ? '`key`' : 'key';
  return `
    INSERT INTO ${tableName(kind, table)} ${mysql ? '' : 'AS t '}(${key}, token, expires_ms, label, started_ms, renewed_ms)
    VALUES ('${RESERVED_KEY}', 0, ${least}(${MS} + ${longest}, ${NEVER}), '${GRACE_LABEL}', ${MS}, ${MS})
    ${mysql ? 'ON DUPLICATE KEY UPDATE' : 'ON CONFLICT (key) DO UPDATE SET'}
      expires_ms = ${greatest}(${own}expires_ms, ${least}(COALESCE(${own}started_ms, ${MS}) + ${longest}, ${NEVER})),
      label = '${GRACE_LABEL}', renewed_ms = COALESCE(${own}started_ms, ${MS}), started_ms = COALESCE(${own}started_ms, ${MS})`;
}
