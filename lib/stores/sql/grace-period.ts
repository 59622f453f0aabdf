import type { Refusal } from '../../interfaces/lock-store.interface.js';
import type { HolderRow } from './lock-row.js';

/**
 * The key of a row that is no lock, since no lock can have an empty key. It holds the grace
 * period of a table that was created again.
 *
 * When a table disappears, holders still believe in the locks whose rows are gone. So the new
 * table grants no key until the longest ttl has passed. The row says when the table was
 * created (`started_ms`) and when the grace period ends (`expires_ms`). Every process finds
 * it, also a process that starts later, and each adds the longest ttl that it uses. On SQLite
 * the row also keeps tokens, see sqlite/sqlite-statements.ts.
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
