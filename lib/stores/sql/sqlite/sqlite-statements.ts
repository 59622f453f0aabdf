import {
  PURGE_SLICE,
  type ChangeResult,
  type LockStatements,
  type Run,
  type SqlAcquireRequest,
} from '../lock-statements.js';
import { isStaleRead } from '../store-failure.js';
import { MS, US } from './sqlite-expressions.js';
import { firstToken } from './sqlite-tokens.js';
import { RESERVED_KEY, refusalInGrace } from '../grace-period.js';
import { CONTENTION } from '../../shared/conditions.js';
import { NEVER, refusalOf, unpassed, type LockRow, type NoRow } from '../lock-row.js';

const ROW = `key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms, tick_ms, paused,
  last_label, last_started_ms, last_ended_ms, last_outcome, ${MS} AS now_ms`;

/** The statements of SQLite (3.35 or newer, for `RETURNING`). A connection that cannot write gets BUSY, and the session tries again. */
export function sqliteDialect(table: string): LockStatements {
  const until = (ttl: string) => `MIN(${MS} + ${ttl}, ${NEVER})`;

  // @stealAfter to @ignored are null in an attempt without them. Compared with null, a tick is
  // new, and no lease is old enough to steal.
  const tick = `COALESCE(@tick, ${MS} - ${MS} % @slot, CASE WHEN @gap > 0 THEN ${MS} END)`;
  const free = `
    NOT paused
    AND (COALESCE(tick_ms < COALESCE(${MS} - @gap + 1, excluded.tick_ms), TRUE)
         OR owner IS NOT NULL AND tick_ms = @failOver OR tick_ms = @ignored)
    AND (expires_ms <= ${MS} OR owner IS NOT NULL AND renewed_ms <= ${MS} - @stealAfter)`;

  // The token comes from the clock, so that it also grows across deleted rows. Who is robbed has ended now.
  const acquire = (mine: string) => `
    INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
    SELECT @key, @owner, ${firstToken(table)}, @label, ${MS}, ${MS}, ${until('@ttl')}, ${tick}
     WHERE COALESCE(@tick <= ${MS} + @ahead, TRUE)
    ON CONFLICT (key) DO UPDATE
       SET token = CASE WHEN ${mine} THEN token ELSE MAX(token + 1, excluded.token) END,
           last_label      = CASE WHEN owner IS NULL OR ${mine} THEN last_label      ELSE label END,
           last_started_ms = CASE WHEN owner IS NULL OR ${mine} THEN last_started_ms ELSE started_ms END,
           last_ended_ms   = CASE WHEN owner IS NULL OR ${mine} THEN last_ended_ms   ELSE MIN(expires_ms, ${MS}) END,
           last_outcome    = CASE WHEN owner IS NULL OR ${mine} THEN last_outcome    ELSE 'failed' END,
           tick_ms = CASE WHEN ${mine} THEN tick_ms ELSE COALESCE(excluded.tick_ms, tick_ms) END,
           owner = excluded.owner, label = excluded.label,
           started_ms = CASE WHEN ${mine} THEN started_ms ELSE excluded.started_ms END,
           renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
     WHERE ${free} OR ${mine}
    RETURNING token`;
  const firstTry = acquire('FALSE');
  const resend = acquire('owner IS excluded.owner');
  // It tells the clock also for a key that has no row.
  const grace = (column: string) =>
    `(SELECT ${column} FROM ${table} WHERE key = '${RESERVED_KEY}') AS grace_${column}`;
  const look = `SELECT ${ROW}, ${grace('started_ms')}, ${grace('expires_ms')} FROM (SELECT 1) LEFT JOIN ${table} ON key = ?`;

  const lease = `key = ? AND owner = ? AND expires_ms > ${MS}`;
  const renew = `UPDATE ${table} SET renewed_ms = ${MS}, expires_ms = ${until('?')} WHERE ${lease}`;
  // 0 and not the clock: after a clock that stepped back the key would stay taken.
  const release = `
    UPDATE ${table}
       SET owner = NULL, expires_ms = CASE WHEN ? > 0 THEN ${until('?')} ELSE 0 END,
           last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ?
     WHERE ${lease}`;
  const releaseToWaiter = `
    UPDATE ${table}
       SET token = MAX(token + 1, ${US}),
           last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ?,
           owner = ?, label = ?, started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = ${until('?')}
     WHERE ${lease} AND NOT paused
    RETURNING token`;
  const leaseOf = `SELECT paused FROM ${table} WHERE ${lease}`;
  const forceRelease = `
    UPDATE ${table}
       SET owner = NULL, expires_ms = 0,
           last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
           last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
           last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE ${MS} END,
           last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END
     WHERE key = ? AND expires_ms > ${MS}`;

  // A table that was created again may not grant the key yet, paused or not.
  const keptByGrace = `COALESCE((SELECT expires_ms FROM ${table} WHERE key = '${RESERVED_KEY}'), 0)`;
  const pause = `
    INSERT INTO ${table} (key, token, expires_ms, paused) VALUES (?, ${firstToken(table)}, ${keptByGrace}, TRUE)
    ON CONFLICT (key) DO UPDATE SET paused = TRUE WHERE NOT paused`;
  const resume = `UPDATE ${table} SET paused = FALSE WHERE key = ? AND paused`;

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
    AND MAX(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= ${MS} - ?`;
  // Read first: what only reads keeps nobody from writing.
  const slice = `
    SELECT key, substr(key, 1, length(?)) = ? AND ${unused} AS unused FROM ${table}
     WHERE key > ? AND key >= ? ORDER BY key LIMIT ?`;
  const purge = `DELETE FROM ${table} WHERE key IN (SELECT value FROM json_each(?)) AND ${unused}`;

  /**
   * Reads first, since a read never waits. A repeated attempt may find its own lock, so the
   * row does not refuse it; only the grace period does.
   */
  const refusalBy = async (run: Run, attempt: SqlAcquireRequest) => {
    const [row] = (await run(look, [attempt.key])).rows as unknown as ((LockRow | NoRow) & GracePeriod)[];
    const refusal = row && !attempt.resend ? refusalOf(row, attempt) : undefined;
    if (refusal || row?.key !== null) return refusal;
    return refusalInGrace(
      { ...row, started_ms: row.grace_started_ms, expires_ms: row.grace_expires_ms },
      attempt,
    );
  };
  const changing = async (run: Run, sql: string, values: unknown[]): Promise<ChangeResult> =>
    (await run(sql, values)).affected > 0 ? 'done' : 'gone';

  return {
    clock: MS,
    async acquire(run, attempt) {
      const refused = await refusalBy(run, attempt);
      if (refused) return refused;
      const { resend: again, ...values } = attempt;
      const [won] = (await run(again ? resend : firstTry, [values])).rows;
      if (won) return { acquired: true, fencingToken: Number(won.token) };
      return (await refusalBy(run, { ...attempt, resend: false })) ?? CONTENTION;
    },
    renew: (run, { key, owner, ttl }) => changing(run, renew, [ttl, key, owner]),
    release: (run, { key, owner, keepFor, outcome }) =>
      changing(run, release, [keepFor, keepFor, outcome, key, owner]),
    async releaseToWaiter(run, { key, owner, outcome, nextOwner, ttl, label }) {
      const [passed] = (await run(releaseToWaiter, [outcome, nextOwner, label, ttl, key, owner])).rows;
      if (passed) return { acquired: true, fencingToken: Number(passed.token) };
      return unpassed((await run(leaseOf, [key, owner])).rows[0] as { paused: unknown } | undefined);
    },
    forceRelease: (run, key) => changing(run, forceRelease, [key]),
    pause: (run, key) => changing(run, pause, [key]),
    resume: (run, key) => changing(run, resume, [key]),
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
    readClock: async (run) => Number((await run(`SELECT ${MS} AS now_ms`)).rows[0]?.now_ms),
    find: async (run, key) => (await run(find, [key])).rows[0] as LockRow | undefined,
    list: async (run, { after, prefix, limit }) =>
      (await run(list, [after, prefix, prefix, prefix, limit])).rows as unknown as LockRow[],
    async purge(run, { after, prefix, olderThan }) {
      const { rows } = await run(slice, [prefix, prefix, olderThan, after, prefix, PURGE_SLICE]);
      const keys = rows.filter((found) => found.unused === 1).map((found) => String(found.key));
      const last = rows.length === PURGE_SLICE ? String(rows.at(-1)?.key) : undefined;
      if (keys.length === 0) return { purged: 0, last };
      return { purged: (await run(purge, [JSON.stringify(keys), olderThan])).affected, last };
    },
  };
}

/** The beginning and end of the grace period; null for a table that was not created again. */
interface GracePeriod {
  grace_started_ms: unknown;
  grace_expires_ms: unknown;
}

function identityOf({ key, owner }: { key?: unknown; owner?: unknown }): string {
  return JSON.stringify([key, owner]);
}
