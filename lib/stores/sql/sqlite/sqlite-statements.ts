import { GRACE_LABEL, RESERVED_KEY } from '../grace-period.js';
import { NEVER } from '../lock-row.js';
import { PURGE_SLICE } from '../lock-statements.js';
import { tableName, type LockTable } from '../lock-table.ddl.js';

/**
 * The clock in milliseconds. 'now' stands still within a statement, but SQLite never waits
 * inside a statement, so it is also the time of the write.
 */
const MS = `(CAST(strftime('%s','now') AS INTEGER) * 1000 + CAST(substr(strftime('%f','now'), 4, 3) AS INTEGER))`;
const US = `(${MS} * 1000)`; // rounded, since SQLite's clock has no microseconds
const UNTIL = `MIN(${MS} + @ttl, ${NEVER})`;

/** The tick of a run that begins now. It is NULL for an attempt without conditions. */
const TICK = `COALESCE(@tick, ${MS} - ${MS} % @slot, CASE WHEN @gap > 0 THEN ${MS} END)`;
const NOT_AHEAD = `COALESCE(@tick <= ${MS} + @ahead, TRUE)`;
/**
 * The condition under which an attempt gets a key. An option that the attempt does not set is
 * NULL: then each tick counts as new, and no lease as old enough to steal.
 */
const FREE = `NOT paused
            AND (COALESCE(tick_ms < COALESCE(${MS} - @gap + 1, excluded.tick_ms), TRUE)
                 OR owner IS NOT NULL AND tick_ms = @failOver OR tick_ms = @ignored)
            AND (expires_ms <= ${MS} OR owner IS NOT NULL AND renewed_ms <= ${MS} - @stealAfter)`;

// A purge may delete a row only after the clock has passed its token. Otherwise, the next
// token of the key could be smaller.
const UNUSED = `NOT paused AND token < ${US}
         AND MAX(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= ${MS} - @olderThan`;

const ROW = `key, owner IS NOT NULL AS owned, token, expires_ms, label, started_ms, renewed_ms, tick_ms, paused,
             last_label, last_started_ms, last_ended_ms, last_outcome, ${MS} AS now_ms`;

export type SqliteStatements = ReturnType<typeof sqliteStatements>;

/** Returns the statements of SQLite (3.35 or newer, for `RETURNING`). */
export function sqliteStatements(table: string) {
  const reserved = `FROM ${table} WHERE key = '${RESERVED_KEY}'`;
  // The smallest token that a key without a row may get, see createTrigger().
  const firstToken = `MAX(${US}, COALESCE((SELECT token + 1 ${reserved}), 0))`;
  return {
    // The token comes from the clock, so that tokens grow even after a row was deleted. If the
    // lock is stolen, the run of its former holder ends now, and becomes the last run of the
    // key.
    acquire: `
      INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
      SELECT @key, @owner, ${firstToken}, @label, ${MS}, ${MS}, ${UNTIL}, ${TICK}
       WHERE ${NOT_AHEAD}
      ON CONFLICT (key) DO UPDATE
         SET token = MAX(token + 1, excluded.token),
             last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
             last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
             last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE MIN(expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END,
             tick_ms = COALESCE(excluded.tick_ms, tick_ms),
             owner = excluded.owner, label = excluded.label, started_ms = excluded.started_ms,
             renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
       WHERE ${FREE}
      RETURNING token`,

    // Repeats an attempt whose outcome is unknown. If the first attempt was granted, the lock
    // keeps its token, its tick and its start.
    'acquire-again': `
      INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
      SELECT @key, @owner, ${firstToken}, @label, ${MS}, ${MS}, ${UNTIL}, ${TICK}
       WHERE ${NOT_AHEAD}
      ON CONFLICT (key) DO UPDATE
         SET token = CASE WHEN owner IS excluded.owner THEN token ELSE MAX(token + 1, excluded.token) END,
             last_label      = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_label      ELSE label END,
             last_started_ms = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_started_ms ELSE started_ms END,
             last_ended_ms   = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_ended_ms   ELSE MIN(expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN owner IS NULL OR owner IS excluded.owner THEN last_outcome    ELSE 'failed' END,
             tick_ms = CASE WHEN owner IS excluded.owner THEN tick_ms ELSE COALESCE(excluded.tick_ms, tick_ms) END,
             owner = excluded.owner, label = excluded.label,
             started_ms = CASE WHEN owner IS excluded.owner THEN started_ms ELSE excluded.started_ms END,
             renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
       WHERE ${FREE} OR owner IS excluded.owner
      RETURNING token`,

    // Grants free keys to many requests. Each request is [key, owner, ttl, label]; all keys
    // are different. The statement writes to the disk once for all requests. If it fails, none
    // of them is granted.
    'acquire-many': `
      INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms)
      SELECT json_extract(value, '$[0]'), json_extract(value, '$[1]'), ${firstToken}, json_extract(value, '$[3]'),
             ${MS}, ${MS}, MIN(${MS} + json_extract(value, '$[2]'), ${NEVER})
        FROM json_each(@requests)
       WHERE TRUE
      ON CONFLICT (key) DO UPDATE
         SET token = MAX(token + 1, excluded.token),
             last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
             last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
             last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE MIN(expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END,
             owner = excluded.owner, label = excluded.label, started_ms = excluded.started_ms,
             renewed_ms = excluded.renewed_ms, expires_ms = excluded.expires_ms
       WHERE NOT paused AND expires_ms <= ${MS}
      RETURNING key, token`,

    // The key is joined to a constant row, so that the query reports the clock and the grace
    // period even if the key has no row.
    'acquire-look': `
      SELECT ${ROW},
             (SELECT started_ms ${reserved}) AS grace_started_ms, (SELECT expires_ms ${reserved}) AS grace_expires_ms
        FROM (SELECT 1) LEFT JOIN ${table} ON key = @key`,

    // Finds the requests of a batch that may be refused, and those whose owner already has the
    // lock. Each request is [key, owner]; only a re-sent request has an owner. Free keys are
    // left out.
    'acquire-many-look': `
      SELECT wanted, COALESCE(owner = wanted_by, FALSE) AS own, ${ROW},
             (SELECT started_ms ${reserved}) AS grace_started_ms, (SELECT expires_ms ${reserved}) AS grace_expires_ms
        FROM (SELECT json_extract(value, '$[0]') AS wanted, json_extract(value, '$[1]') AS wanted_by
                FROM json_each(@requests)) LEFT JOIN ${table} ON key = wanted
       WHERE paused OR expires_ms > ${MS} OR owner = wanted_by OR key IS NULL AND grace_started_ms IS NOT NULL`,

    renew: `
      UPDATE ${table} SET renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE key = @key AND owner = @owner AND expires_ms > ${MS}`,

    // Renews many leases. Each lease is [key, owner, ttl].
    'renew-many': `
      UPDATE ${table} SET renewed_ms = ${MS}, expires_ms = MIN(${MS} + lease.ttl, ${NEVER})
        FROM (SELECT json_extract(value, '$[0]') AS k, json_extract(value, '$[1]') AS o,
                     json_extract(value, '$[2]') AS ttl FROM json_each(@leases)) AS lease
       WHERE key = lease.k AND owner = lease.o AND expires_ms > ${MS}
      RETURNING key, owner`,

    // A free key expires at 0 and not at the present time: if the clock stepped back, the key
    // would stay taken.
    release: `
      UPDATE ${table}
         SET owner = NULL, expires_ms = CASE WHEN @keepFor > 0 THEN MIN(${MS} + @keepFor, ${NEVER}) ELSE 0 END,
             last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = @outcome
       WHERE key = @key AND owner = @owner AND expires_ms > ${MS}`,

    // Releases many keys. Each release is [key, owner, outcome].
    'release-many': `
      UPDATE ${table}
         SET owner = NULL, expires_ms = 0,
             last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ended.outcome
        FROM (SELECT json_extract(value, '$[0]') AS k, json_extract(value, '$[1]') AS o,
                     json_extract(value, '$[2]') AS outcome FROM json_each(@releases)) AS ended
       WHERE key = ended.k AND owner = ended.o AND expires_ms > ${MS}
      RETURNING key`,

    'release-to-waiter': `
      UPDATE ${table}
         SET token = MAX(token + 1, ${US}),
             last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = @outcome,
             owner = @nextOwner, label = @label, started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE key = @key AND owner = @owner AND expires_ms > ${MS} AND NOT paused
      RETURNING token`,

    'lease-look': `SELECT paused FROM ${table} WHERE key = @key AND owner = @owner AND expires_ms > ${MS}`,

    'force-release': `
      UPDATE ${table}
         SET owner = NULL, expires_ms = 0,
             last_label      = CASE WHEN owner IS NULL THEN last_label      ELSE label END,
             last_started_ms = CASE WHEN owner IS NULL THEN last_started_ms ELSE started_ms END,
             last_ended_ms   = CASE WHEN owner IS NULL THEN last_ended_ms   ELSE ${MS} END,
             last_outcome    = CASE WHEN owner IS NULL THEN last_outcome    ELSE 'failed' END
       WHERE key = @key AND expires_ms > ${MS}`,

    // If the table was created again, the key stays taken until the end of the grace period.
    pause: `
      INSERT INTO ${table} (key, token, expires_ms, paused)
      VALUES (@key, ${firstToken}, COALESCE((SELECT expires_ms ${reserved}), 0), TRUE)
      ON CONFLICT (key) DO UPDATE SET paused = TRUE WHERE NOT paused`,

    resume: `UPDATE ${table} SET paused = FALSE WHERE key = @key AND paused`,

    // Guards a transaction by an update, since in SQLite a read locks nothing.
    guard: `
      UPDATE ${table} SET token = token
       WHERE key = @key AND owner = @owner AND token = @token AND expires_ms > ${MS}`,

    'read-clock': `SELECT ${MS} AS now_ms`,

    inspect: `
      SELECT ${ROW}
        FROM ${table} WHERE key = @key`,

    list: `
      SELECT ${ROW}
        FROM ${table}
       WHERE key > @after AND key >= @prefix AND substr(key, 1, length(@prefix)) = @prefix AND expires_ms > ${MS}
       ORDER BY key LIMIT @limit`,

    // A purge first reads which keys are unused, since a read does not keep other connections
    // from writing.
    'purge-look': `
      SELECT key, substr(key, 1, length(@prefix)) = @prefix AND ${UNUSED} AS unused
        FROM ${table} WHERE key > @after AND key >= @prefix ORDER BY key LIMIT ${PURGE_SLICE}`,

    purge: `DELETE FROM ${table} WHERE key IN (SELECT value FROM json_each(@keys)) AND ${UNUSED}`,
  };
}

/**
 * Returns the trigger that keeps tokens growing after rows were deleted. SQLite's clock counts
 * milliseconds: if a key is granted several times within a millisecond, its token is ahead of
 * the clock. When any program deletes such a row, the trigger copies its token to the row of
 * the reserved key. If that row is deleted, the trigger creates it again.
 */
export function createTrigger(table: LockTable): string {
  const name = tableName('better-sqlite3', { ...table, table: `${table.table}_token` });
  return `CREATE TRIGGER IF NOT EXISTS ${name} AFTER DELETE ON "${table.table}" WHEN OLD.token >= ${US}
    BEGIN
      INSERT INTO "${table.table}" (key, token, expires_ms) VALUES ('${RESERVED_KEY}', OLD.token, 0)
      ON CONFLICT (key) DO UPDATE SET token = MAX(token, excluded.token);
    END`;
}

/**
 * Starts the grace period or extends it. It ends at the earliest `longest` milliseconds after
 * the creation of the table.
 */
export function gracePeriod(table: string, longest: number): string {
  return `
    INSERT INTO ${table} AS t (key, token, expires_ms, label, started_ms, renewed_ms)
    VALUES ('${RESERVED_KEY}', 0, MIN(${MS} + ${longest}, ${NEVER}), '${GRACE_LABEL}', ${MS}, ${MS})
    ON CONFLICT (key) DO UPDATE
       SET expires_ms = MAX(t.expires_ms, MIN(COALESCE(t.started_ms, ${MS}) + ${longest}, ${NEVER})),
           label = '${GRACE_LABEL}', renewed_ms = COALESCE(t.started_ms, ${MS}), started_ms = COALESCE(t.started_ms, ${MS})`;
}
