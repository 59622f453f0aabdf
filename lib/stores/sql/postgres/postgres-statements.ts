import { GRACE_LABEL, RESERVED_KEY } from '../grace-period.js';
import { NEVER } from '../lock-row.js';
import { PURGE_SLICE } from '../lock-statements.js';
import { acquireStatements, ALONE, DURABLE, MS, NOT_DURABLE, US } from './acquire-statements.js';
import { asyncReleaseStatements, queueStatements, releaseStatements } from './release-statements.js';

const ROW = `t.key, t.owner IS NOT NULL AS owned, t.token, t.expires_ms, t.label, t.started_ms, t.renewed_ms, t.tick_ms, t.paused,
           ${MS} AS now_ms, t.last_label, t.last_started_ms, t.last_ended_ms, t.last_outcome`;

export type PostgresStatements = ReturnType<typeof postgresStatements>;

/**
 * Returns all statements for a table, under the names that traces and `pg_prepared_statements`
 * show.
 *
 * Statements lock rows with `SKIP LOCKED` before they write: no session waits for a row, and a
 * failed attempt writes nothing. After a statement that changed no row, the store sends its
 * `-look`. If that statement finds the row, another session has locked it or has just changed
 * it. Names of common table expressions end with `$`, since an expression with the table's
 * name would hide the table.
 *
 * @param options `asyncRelease`: releases do not wait for the disk if a crash may undo them;
 * `weak`: no statement waits for the disk; `alone`: statements fail inside a transaction
 */
export function postgresStatements(
  table: string,
  { asyncRelease = false, weak = false, alone: isAlone = false } = {},
) {
  const alone = isAlone ? ` AND ${ALONE}` : '';
  const durable = (weak ? NOT_DURABLE : DURABLE) + alone;
  return {
    ...acquireStatements(table, durable),
    ...leaseStatements(table, durable, alone),
    ...(asyncRelease ? asyncReleaseStatements(table, alone) : releaseStatements(table, alone)),
    ...queueStatements(table, alone),
    ...administrationStatements(table, durable, alone),
  };
}

/**
 * The statements for renewals, and for releases that keep the key taken or grant it to a
 * waiter. $1 is the key, $2 the owner.
 */
const leaseStatements = (table: string, durable: string, alone: string) => ({
  renew: `
    UPDATE ${table} AS t SET renewed_ms = ${MS}, expires_ms = LEAST(${MS} + $3::bigint, ${NEVER})
     WHERE t.key = (SELECT t.key FROM ${table} AS t
                     WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} FOR UPDATE SKIP LOCKED)
       AND ${durable}`,

  // Finds the lease after a renewal or a release that changed no row.
  'lease-look': `
    SELECT t.paused FROM ${table} AS t WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS}${alone}`,

  'renew-many': `
    WITH mine$ AS (
      SELECT t.key, l.ttl, l.place
        FROM ${table} AS t
        JOIN unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS l (key, owner, ttl, place)
          ON t.key = l.key AND t.owner = l.owner
       WHERE t.expires_ms > ${MS} FOR UPDATE OF t SKIP LOCKED
    )
    UPDATE ${table} AS t SET renewed_ms = ${MS}, expires_ms = LEAST(${MS} + mine.ttl::bigint, ${NEVER})
      FROM mine$ AS mine WHERE t.key = mine.key AND ${durable}
    RETURNING mine.place`,

  'renew-many-look': `
    SELECT l.place
      FROM ${table} AS t
      JOIN unnest($1::text[], $2::text[], $3::bigint[]) WITH ORDINALITY AS l (key, owner, ttl, place)
        ON t.key = l.key AND t.owner = l.owner
     WHERE t.expires_ms > ${MS}${alone}`,

  // Releases many keys, all different. The commit waits for the disk, even if some releases
  // would not have to. A key with a queue is left out, and released by a separate statement.
  'release-many': `
    WITH mine$ AS MATERIALIZED (
      SELECT t.key, l.outcome, l.place
        FROM unnest($1::text[], $2::text[], $3::text[]) WITH ORDINALITY AS l (key, owner, outcome, place),
             LATERAL (SELECT t.key FROM ${table} AS t
                       WHERE t.key = l.key AND t.owner = l.owner AND t.expires_ms > ${MS} AND t.waiting IS NULL
                      OFFSET 0 FOR UPDATE SKIP LOCKED) AS t
    )
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = 0,
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = mine.outcome
      FROM mine$ AS mine WHERE t.key = mine.key${alone}
    RETURNING mine.place`,

  'release-later': `
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = LEAST(${MS} + $3::bigint, ${NEVER}),
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $4
     WHERE t.key = (SELECT t.key FROM ${table} AS t
                     WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} FOR UPDATE SKIP LOCKED)
       AND ${durable}`,

  'release-to-waiter': `
    UPDATE ${table} AS t
       SET token = GREATEST(t.token + 1, ${US}),
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3,
           owner = $4, label = $6, started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = LEAST(${MS} + $5::bigint, ${NEVER})
     WHERE t.key = (SELECT t.key FROM ${table} AS t
                     WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} AND NOT t.paused FOR UPDATE SKIP LOCKED)
       AND ${durable}
    RETURNING t.token`,
});

/**
 * The statements for operators, and the guard of transactions. $1 is the key in those that are
 * about one key.
 */
const administrationStatements = (table: string, durable: string, alone: string) => ({
  // If the table was created again, the key stays taken until the end of the grace period.
  pause: `
    WITH changed$ AS (
      UPDATE ${table} AS t SET paused = true
       WHERE t.key = (SELECT t.key FROM ${table} AS t WHERE t.key = $1 AND NOT t.paused FOR UPDATE SKIP LOCKED)
         AND ${durable}
      RETURNING t.key
    ), added$ AS (
      INSERT INTO ${table} (key, token, expires_ms, paused)
      SELECT $1, ${US}, COALESCE((SELECT GREATEST(expires_ms, started_ms) FROM ${table} WHERE key = '${RESERVED_KEY}'), 0), true
       WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE key = $1) AND ${durable}
      ON CONFLICT (key) DO NOTHING
      RETURNING key
    )
    SELECT CASE WHEN EXISTS (SELECT 1 FROM changed$) OR EXISTS (SELECT 1 FROM added$) THEN 'done'
                WHEN EXISTS (SELECT 1 FROM ${table} WHERE key = $1 AND paused) THEN 'gone'
                ELSE 'locked' END AS change`,

  resume: `
    UPDATE ${table} AS t SET paused = false
     WHERE t.key = (SELECT t.key FROM ${table} AS t WHERE t.key = $1 AND t.paused FOR UPDATE SKIP LOCKED)${alone}`,

  'resume-look': `
    SELECT 1 FROM ${table} AS t WHERE t.key = $1 AND t.paused${alone}`,

  // Guards a transaction. $2 owner, $3 token. FOR SHARE is needed, since FOR KEY SHARE does
  // not prevent updates of other columns. The lease is checked after the row was locked. If
  // the holder freezes before its commit, the server ends the session when the lease ends, so
  // that the row does not stay locked for ever. If the client does not show the status of the
  // session, the statement reports whether it is outside a transaction.
  guard: `
    WITH mine$ AS (
      SELECT t.expires_ms FROM ${table} AS t
       WHERE t.key = $1 AND t.owner = $2 AND t.token = $3
         AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') FOR SHARE
    ), guarded$ AS (
      SELECT set_config('idle_in_transaction_session_timeout',
                        LEAST(GREATEST(mine.expires_ms - ${MS}, 1000), 10000,
                              NULLIF(date_part('epoch', current_setting('idle_in_transaction_session_timeout')::interval) * 1000, 0))::bigint::text,
                        true)
        FROM mine$ AS mine WHERE mine.expires_ms > ${MS}
    )
    SELECT CASE ${
      alone &&
      `WHEN statement_timestamp() = transaction_timestamp() THEN 'outside'
                `
    }WHEN NOT current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN 'snapshot'
                WHEN EXISTS (SELECT 1 FROM guarded$) THEN 'held'
                ELSE 'gone' END AS guarded`,

  'read-clock': `SELECT ${MS} AS now_ms`,

  inspect: `SELECT ${ROW} FROM ${table} AS t WHERE t.key = $1`,

  // Reads a page of held locks. $1 after, $2 prefix.
  list: `
    SELECT ${ROW} FROM ${table} AS t
     WHERE t.key > $1 AND t.key >= $2 AND starts_with(t.key, $2) AND t.expires_ms > ${MS}
     ORDER BY t.key LIMIT $3`,

  // Deletes the unused keys of a slice. $1 after, $2 prefix, $3 olderThan. A row may be
  // deleted only after the clock has passed its token. Otherwise, the next token of the key
  // could be smaller. There are no joins: for a join, the planner expected a single row, and
  // read the whole table for each key.
  purge: `
    WITH slice$ AS (
      SELECT key FROM ${table} WHERE key > $1 AND key >= $2 ORDER BY key LIMIT ${PURGE_SLICE}
    ), unused$ AS (
      SELECT t.key FROM ${table} AS t
       WHERE t.key > $1 AND t.key >= $2 AND t.key <= (SELECT max(key) FROM slice$) AND starts_with(t.key, $2)
         AND NOT t.paused AND t.token < ${US}
         AND GREATEST(t.expires_ms, t.renewed_ms, t.last_ended_ms, t.tick_ms) <= ${MS} - $3::bigint
         FOR UPDATE SKIP LOCKED
    ), purged$ AS (
      DELETE FROM ${table} WHERE key = ANY (ARRAY(SELECT key FROM unused$))${alone} RETURNING key
    )
    SELECT (SELECT count(*) FROM purged$) AS purged,
           (SELECT CASE WHEN count(*) = ${PURGE_SLICE} THEN max(key) END FROM slice$) AS last`,
});

/**
 * Starts the grace period or extends it. It ends at the earliest `longest` milliseconds after
 * the creation of the table.
 */
export const gracePeriod = (table: string, longest: number) => `
  INSERT INTO ${table} AS t (key, token, expires_ms, label, started_ms, renewed_ms)
  VALUES ('${RESERVED_KEY}', 0, LEAST(${MS} + ${longest}, ${NEVER}), '${GRACE_LABEL}', ${MS}, ${MS})
  ON CONFLICT (key) DO UPDATE
     SET expires_ms = GREATEST(t.expires_ms, LEAST(COALESCE(t.started_ms, ${MS}) + ${longest}, ${NEVER})),
         label = '${GRACE_LABEL}', renewed_ms = COALESCE(t.started_ms, ${MS}), started_ms = COALESCE(t.started_ms, ${MS})`;
