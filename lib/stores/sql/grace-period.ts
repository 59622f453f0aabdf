import type { Refusal } from '../../interfaces/lock-store.interface.js';
import type { HolderRow } from './lock-row.js';

/**
 * The key of the row that keeps the grace period of a lock table. No lock can have an empty
 * key.
 *
 * When the lock table disappears while processes run, holders still believe in the locks whose
 * rows are gone. So the new table grants no key until the longest ttl has passed. The row says
 * when the table was created (`started_ms`) and when the grace period ends (`expires_ms`).
 * Every process reads the row, even if it was started later, and extends the period if its own
 * longest ttl is longer. On SQLite the row also keeps tokens, see sqlite/sqlite-statements.ts.
 */
export const RESERVED_KEY = '';

/** The label that people see as the holder of every key during the grace period. */
export const GRACE_LABEL = 'the lock table, which was made again';

/**
 * Returns the refusal of a key that has no row yet, or `undefined` if the grace period of the
 * table is over.
 */
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
