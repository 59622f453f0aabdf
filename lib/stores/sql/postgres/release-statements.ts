import { LONGEST_QUEUE, MS } from './acquire-statements.js';

/**
 * With `asyncRelease`, a crash may undo a release and so keep the key taken. Only leases that
 * end within this number of milliseconds may be released that way.
 */
const SHORT_LEASE = 60_000;

/**
 * The statements for releases that free the key at once. $1 is the key, $2 the owner, $3 the
 * outcome. A free key expires at 0 and not at the present time: if the clock stepped back, the
 * key would stay taken.
 *
 * `release` is for a key without a queue, like most keys. It is 10 % faster than
 * `release-and-notify`, which notifies the first other process in the queue. In that
 * statement, $4 is the channel of the releasing process, and $5 whether this process goes to
 * the end of the queue. No queued process is missed, since processes queue by a change to the
 * row, which this statement has locked. An empty queue is NULL.
 */
export const releaseStatements = (table: string, alone: string) => ({
  release: `
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = 0,
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3
     WHERE t.key = (SELECT t.key FROM ${table} AS t
                     WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} AND t.waiting IS NULL FOR UPDATE SKIP LOCKED)${alone}`,

  'release-and-notify': `
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = 0,
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3,
           waiting = CASE WHEN mine.others[1] IS NOT NULL
                          THEN NULLIF(mine.others[2:], '{}') || CASE WHEN $5::boolean THEN ARRAY[$4::varchar] END END
      FROM (SELECT t.key, array_remove(t.waiting, $4::varchar) AS others FROM ${table} AS t
             WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} FOR UPDATE SKIP LOCKED) AS mine
     WHERE t.key = mine.key${alone}
    RETURNING mine.others[1] AS notified, CASE WHEN mine.others[1] IS NOT NULL THEN pg_notify(mine.others[1], t.key)::text END AS sent`,
});

/**
 * The statements for releases with the option `asyncRelease`. Their commit does not wait for
 * the disk if the lease ends soon and has no tick, since a crash that undoes such a release
 * costs little. The statement decides this by the locked row. A later durable commit also
 * makes the release durable.
 *
 * The statements compare the result of `set_config`, since PostgreSQL does not evaluate an
 * expression whose value is not used. OFFSET and MATERIALIZED make PostgreSQL lock the row
 * first. Otherwise it could decide by an old version of the row.
 */
export const asyncReleaseStatements = (
  table: string,
  alone: string,
): ReturnType<typeof releaseStatements> => ({
  release: `
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = 0,
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3
     WHERE t.key = (SELECT key
                      FROM (SELECT t.key, t.tick_ms, t.expires_ms FROM ${table} AS t
                             WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} AND t.waiting IS NULL FOR UPDATE SKIP LOCKED OFFSET 0) AS locked
                     WHERE COALESCE(CASE WHEN tick_ms IS NULL AND expires_ms <= ${MS} + ${SHORT_LEASE}
                                         THEN set_config('synchronous_commit', 'off', true) END, 'as ever') <> '')${alone}`,

  'release-and-notify': `
    WITH locked$ AS MATERIALIZED (
      SELECT t.key, t.tick_ms, t.expires_ms, array_remove(t.waiting, $4::varchar) AS others FROM ${table} AS t
       WHERE t.key = $1 AND t.owner = $2 AND t.expires_ms > ${MS} FOR UPDATE SKIP LOCKED
    ), mine$ AS MATERIALIZED (
      SELECT key, others,
             CASE WHEN tick_ms IS NULL AND expires_ms <= ${MS} + ${SHORT_LEASE}
                  THEN set_config('synchronous_commit', 'off', true) END AS commit
        FROM locked$
    )
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = 0,
           last_label = t.label, last_started_ms = t.started_ms, last_ended_ms = ${MS}, last_outcome = $3,
           waiting = CASE WHEN mine.others[1] IS NOT NULL
                          THEN NULLIF(mine.others[2:], '{}') || CASE WHEN $5::boolean THEN ARRAY[$4::varchar] END END
      FROM mine$ AS mine
     WHERE t.key = mine.key AND COALESCE(mine.commit, 'as ever') <> ''${alone}
    RETURNING mine.others[1] AS notified, CASE WHEN mine.others[1] IS NOT NULL THEN pg_notify(mine.others[1], t.key)::text END AS sent`,
});

/**
 * The statements for the queue of processes that wait for a key. $1 is the key, $2 the channel
 * of the process.
 */
export const queueStatements = (table: string, alone: string) => ({
  // $3 puts the process at the head, since it had been notified but another process was
  // faster. The commit does not wait for the disk, so the row is soon unlocked: a crash could
  // lose no more than a place in the queue.
  wait: `
    WITH lazily$ AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
    UPDATE ${table} AS t
       SET waiting = CASE WHEN $3::boolean THEN array_prepend($2::varchar, t.waiting) ELSE array_append(t.waiting, $2::varchar) END
      FROM lazily$, (SELECT t.key FROM ${table} AS t
                      WHERE t.key = $1 AND NOT t.paused AND t.expires_ms > ${MS}
                        AND COALESCE($2 <> ALL (t.waiting) AND cardinality(t.waiting) < ${LONGEST_QUEUE}, true) FOR UPDATE SKIP LOCKED) AS held
     WHERE t.key = held.key`,

  'wait-look': `
    SELECT $2 = ANY (t.waiting) AS queued, cardinality(t.waiting) >= ${LONGEST_QUEUE} AS is_full FROM ${table} AS t
     WHERE t.key = $1 AND NOT t.paused AND t.expires_ms > ${MS}`,

  'notify-next': `
    UPDATE ${table} AS t
       SET waiting = CASE WHEN free.others[1] IS NOT NULL THEN NULLIF(free.others[2:], '{}') END
      FROM (SELECT t.key, array_remove(t.waiting, $2::varchar) AS others FROM ${table} AS t
             WHERE t.key = $1 AND t.expires_ms <= ${MS} AND t.waiting IS NOT NULL FOR UPDATE SKIP LOCKED) AS free
     WHERE t.key = free.key
    RETURNING free.others[1] AS notified, CASE WHEN free.others[1] IS NOT NULL THEN pg_notify(free.others[1], t.key)::text END AS sent`,

  'force-release': `
    UPDATE ${table} AS t
       SET owner = NULL, expires_ms = 0,
           last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
           last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
           last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE ${MS} END,
           last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
           waiting = CASE WHEN held.others[1] IS NOT NULL THEN NULLIF(held.others[2:], '{}') END
      FROM (SELECT t.key, array_remove(t.waiting, $2::varchar) AS others FROM ${table} AS t
             WHERE t.key = $1 AND t.expires_ms > ${MS} FOR UPDATE SKIP LOCKED) AS held
     WHERE t.key = held.key${alone}
    RETURNING held.others[1] AS notified, CASE WHEN held.others[1] IS NOT NULL THEN pg_notify(held.others[1], t.key)::text END AS sent`,

  'force-release-look': `
    SELECT 1 FROM ${table} AS t WHERE t.key = $1 AND t.expires_ms > ${MS}${alone}`,
});
