import type { Change, LockDialect, Run } from './lock-dialect.js';
import { isStaleRead } from './store-failure.js';
import { isHeld, NEVER, refusalOf, type LockRow } from './lock-row.js';

// 'now' stands still within a statement, and SQLite never waits inside one, so both are the clock at the write.
const MS = `(CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))`;
const US = `(${MS} * 1000)`; // its clock is no finer

const ROW = `key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms,
  last_label, last_started_ms, last_ended_ms, last_outcome, ${MS} AS now_ms`;

/** The statements of SQLite (3.35 or newer, for `RETURNING`). A connection that cannot write gets BUSY, and the session tries again. */
export function sqliteDialect(table: string): LockDialect {
  const until = (ttl: string) => `MIN(${MS} + ${ttl}, ${NEVER})`;

  // The token comes from the clock, so that it also grows across deleted rows.
  const acquire = (mine: string) => `
    INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms)
    VALUES (?, ?, ${US}, ?, ${MS}, ${MS}, ${until('?')})
    ON CONFLICT (key) DO UPDATE
       SET token = CASE WHEN ${mine} THEN token ELSE MAX(token + 1, excluded.token) END,
           last_label      = CASE WHEN owner IS NULL OR ${mine} THEN last_label      ELSE label END,
           last_started_ms = CASE WHEN owner IS NULL OR ${mine} THEN last_started_ms ELSE started_ms END,
           last_ended_ms   = CASE WHEN owner IS NULL OR ${mine} THEN last_ended_ms   ELSE expires_ms END,
           last_outcome    = CASE WHEN owner IS NULL OR ${mine} THEN last_outcome    ELSE 'failed' END,
           owner = excluded.owner, label = excluded.label,
           started_ms = CASE WHEN ${mine} THEN started_ms ELSE excluded.started_ms END,
           renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
     WHERE expires_ms <= ${MS} OR ${mine}
    RETURNING token`;
  const firstTry = acquire('FALSE');
  const resend = acquire('owner IS excluded.owner');

  const lease = `key = ? AND owner = ? AND expires_ms > ${MS}`;
  const renew = `UPDATE ${table} SET renewed_ms = ${MS}, expires_ms = ${until('?')} WHERE ${lease}`;
  // 0 and not the clock: after a clock that stepped back the key would stay taken.
  const release = `
    UPDATE ${table}
       SET owner = NULL, expires_ms = CASE WHEN ? > 0 THEN ${until('?')} ELSE 0 END,
           last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ?
     WHERE ${lease}`;
  const forceRelease = `
    UPDATE ${table}
       SET owner = NULL, expires_ms = 0,
           last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
           last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
           last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE ${MS} END,
           last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END
     WHERE key = ? AND expires_ms > ${MS}`;

  // A read would lock nothing.
  const guard = `UPDATE ${table} SET token = token WHERE key = ? AND owner = ? AND token = ? AND expires_ms > ${MS}`;

  // Each lease is [key, owner, ttl].
  const renewMany = `
    UPDATE ${table} SET renewed_ms = ${MS}, expires_ms = ${until('lease.ttl')}
      FROM (SELECT json_extract(value, '$[0]') AS k, json_extract(value, '$[1]') AS o,
                   json_extract(value, '$[2]') AS ttl FROM json_each(?)) AS lease
     WHERE key = lease.k AND owner = lease.o AND expires_ms > ${MS}
    RETURNING key, owner`;

  const find = `SELECT ${ROW} FROM ${table} WHERE key = ?`;
  const list = `
    SELECT ${ROW} FROM ${table}
     WHERE key > ? AND key >= ? AND substr(key, 1, length(?)) = ? AND expires_ms > ${MS}
     ORDER BY key LIMIT ?`;

  // A token that the clock has not passed stays: without its row the next one could be smaller.
  const unused = `NOT paused AND token < ${US}
    AND MAX(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0)) <= ${MS} - ?`;
  // Read first: what only reads keeps nobody from writing.
  const slice = `
    SELECT key, substr(key, 1, length(?)) = ? AND ${unused} AS unused FROM ${table}
     WHERE key > ? AND key >= ? ORDER BY key LIMIT ?`;
  const purge = `DELETE FROM ${table} WHERE key IN (SELECT value FROM json_each(?)) AND ${unused}`;

  const row = async (run: Run, key: string) => (await run(find, [key])).rows[0] as LockRow | undefined;
  const changing = async (run: Run, sql: string, values: unknown[]): Promise<Change> =>
    (await run(sql, values)).affected > 0 ? 'done' : 'gone';

  return {
    async acquire(run, { key, owner, label, ttl, ...attempt }) {
      const holder = attempt.resend ? undefined : await row(run, key); // a read waits for nobody
      if (holder && isHeld(holder)) return refusalOf(holder);
      const [won] = (await run(attempt.resend ? resend : firstTry, [key, owner, label, ttl])).rows;
      return won ? { acquired: true, fencingToken: Number(won.token) } : refusalOf(await row(run, key));
    },
    renew: (run, { key, owner, ttl }) => changing(run, renew, [ttl, key, owner]),
    release: (run, { key, owner, keepFor, outcome }) =>
      changing(run, release, [keepFor, keepFor, outcome, key, owner]),
    forceRelease: (run, key) => changing(run, forceRelease, [key]),
    async guard(run, { key, owner, token }) {
      try {
        return (await run(guard, [key, owner, token])).affected > 0 ? 'held' : 'gone';
      } catch (error) {
        if (isStaleRead(error)) return 'changed';
        throw error;
      }
    },
    async renewMany(run, leases) {
      const asked = JSON.stringify(leases.map(({ key, owner, ttl }) => [key, owner, ttl]));
      const { rows } = await run(renewMany, [asked]);
      const renewed = new Set(rows.map(identityOf));
      return leases.map((one) => (renewed.has(identityOf(one)) ? 'renewed' : 'lost'));
    },
    find: row,
    list: async (run, { after, prefix, limit }) =>
      (await run(list, [after, prefix, prefix, prefix, limit])).rows as unknown as LockRow[],
    async purge(run, { after, prefix, limit, olderThan }) {
      const { rows } = await run(slice, [prefix, prefix, olderThan, after, prefix, limit]);
      const keys = rows.filter((found) => found.unused === 1).map((found) => String(found.key));
      const last = rows.length === limit ? String(rows.at(-1)?.key) : undefined;
      if (keys.length === 0) return { purged: 0, last };
      return { purged: (await run(purge, [JSON.stringify(keys), olderThan])).affected, last };
    },
  };
}

function identityOf({ key, owner }: { key?: unknown; owner?: unknown }): string {
  return JSON.stringify([key, owner]);
}
