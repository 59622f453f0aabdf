import type { LockDatabase } from './lock-dialect.js';
import { NEVER, type HolderRow, type Refusal } from './lock-row.js';
import { tableName } from './lock-table.ddl.js';
import type { LockTable } from './typeorm-store.options.js';

/**
 * A table that disappears takes the rows of locks with it whose holders still believe in them. So the table that replaces it has a row, under a key that no lock
 * can have, until whose end no key is granted: every process of the deployment finds it, also one that starts later. It says since when the table is
 * there (`started_ms`), and each process adds the longest ttl that it knows of.
 */
export const AGE_KEY = '';

/** In place of a holder, for people. */
export const AGE_LABEL = 'the lock table, which was made again';

/** The refusal of a key that has no row, in a table that was made again too short a time ago. */
export function refusalByAge(
  age: Pick<HolderRow, 'started_ms' | 'expires_ms' | 'now_ms'> | undefined,
  { key, longest }: { key: string; longest: number },
): Refusal | undefined {
  if (!age || age.started_ms === null) return undefined;
  const until = Math.max(Number(age.expires_ms), Number(age.started_ms) + longest);
  if (until <= Number(age.now_ms)) return undefined;
  const now = Number(age.now_ms);
  const since = new Date(Number(age.started_ms));
  const record = { key, label: AGE_LABEL, fencingToken: 0, startedAt: since, renewedAt: since };
  return {
    acquired: false,
    reason: 'held',
    holder: { ...record, expiresAt: new Date(until), remaining: until - now },
  };
}

/** Puts off grants to `longest` milliseconds after the table was made, unless they are put off for longer. */
export function ageStatement(
  { kind, dialect }: Pick<LockDatabase, 'kind' | 'dialect'>,
  table: LockTable,
  longest: number,
): string {
  const mysql = kind === 'mysql' || kind === 'mariadb';
  const MS = dialect.clock;
  const [least, greatest] = kind === 'better-sqlite3' ? ['MIN', 'MAX'] : ['LEAST', 'GREATEST'];
  const own = mysql ? '' : 't.';
  const key = mysql ? '`key`' : 'key';
  return `
    INSERT INTO ${tableName(kind, table)} ${mysql ? '' : 'AS t '}(${key}, token, expires_ms, label, started_ms, renewed_ms)
    VALUES ('${AGE_KEY}', 0, ${least}(${MS} + ${longest}, ${NEVER}), '${AGE_LABEL}', ${MS}, ${MS})
    ${mysql ? 'ON DUPLICATE KEY UPDATE' : 'ON CONFLICT (key) DO UPDATE SET'}
      expires_ms = ${greatest}(${own}expires_ms, ${least}(COALESCE(${own}started_ms, ${MS}) + ${longest}, ${NEVER})),
      label = '${AGE_LABEL}', renewed_ms = COALESCE(${own}started_ms, ${MS}), started_ms = COALESCE(${own}started_ms, ${MS})`;
}
