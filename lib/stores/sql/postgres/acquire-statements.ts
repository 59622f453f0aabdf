import { RESERVED_KEY } from '../grace-period.js';
import { NEVER } from '../lock-row.js';
import { IN_TRANSACTION } from '../unusable-connection.js';

// clock_timestamp(), since now() stands still in a transaction, and so could grant leases that
// have already ended. date_part(), since its floating-point number is exact enough until the
// year 2255, and faster than the decimal number of extract().
/** The server's clock, in epoch milliseconds. */
export const MS = `(date_part('epoch', clock_timestamp()) * 1000)::bigint`;
/** The server's clock, in epoch microseconds. */
export const US = `(date_part('epoch', clock_timestamp()) * 1000000)::bigint`;

/**
 * How many processes the queue of a key may have, so that its row stays small. Further
 * processes poll.
 */
export const LONGEST_QUEUE = 100;

/** For how many milliseconds an insert of many keys may wait for another session. */
const INSERT_PATIENCE = 100;

/**
 * A condition that makes the commit of its statement wait for the disk, even in a session with
 * `synchronous_commit = off`. Otherwise a crash could undo a grant while the holder believes
 * in it. Any other value of `synchronous_commit` stays.
 *
 * The condition is on the written row, since PostgreSQL does not evaluate an expression whose
 * value is not used. Each statement contains it, since the application may change its sessions
 * at any time.
 */
export const DURABLE = `CASE WHEN current_setting('synchronous_commit') = 'off' THEN set_config('synchronous_commit', 'on', true) <> '' ELSE true END`;

/** Replaces DURABLE in weak tables, since a crash may delete their locks. */
export const NOT_DURABLE = 'true';

/**
 * A condition for clients that do not show the status of the session. It fails the statement
 * if the application left a transaction open, since then the statement begins later than the
 * transaction. Its error contains a text that is no boolean, by which the store recognizes it,
 * see unusable-connection.ts.
 *
 * The statement must be a simple query. A prepared query, or a query with parameters, arrives
 * in several messages, so it always begins later than its transaction.
 */
export const ALONE = `CASE WHEN statement_timestamp() = transaction_timestamp() THEN true ELSE ('${IN_TRANSACTION} ' || pg_backend_pid())::boolean END`;

/**
 * The row of the key, from which the refusal of an attempt is read. It is one JSON column,
 * since ten columns would take the driver more time, even if they are empty.
 */
const REFUSER = `json_build_object('key', t.key, 'owned', t.owner IS NOT NULL, 'token', t.token, 'expires_ms', t.expires_ms, 'label', t.label,
                  'started_ms', t.started_ms, 'renewed_ms', t.renewed_ms, 'tick_ms', t.tick_ms, 'paused', t.paused, 'now_ms', ${MS})::text`;

/**
 * `acquire` is for most attempts, whose only condition is that the key is free.
 * `acquire-on-conditions` is for attempts that may steal the lock, or that run once per tick.
 * `acquire-again` repeats an attempt whose answer was lost, so it also accepts a lock that its
 * owner already has. `acquire-new` and `acquire-on-conditions-new` insert the row of a key
 * that had none.
 *
 * The token comes from the clock, so that tokens grow even after a row was deleted, or after a
 * fail-over. If the lease is stolen, the run of its former holder ends now, and becomes the
 * last run of the key.
 *
 * All statements have $1 key, $2 owner, $3 ttl, $4 label. `acquire-on-conditions` and
 * `acquire-again` also have $5 tick, $6 ahead, $7 slot, $8 gap, $9 failOver, $10 ignored tick,
 * $11 stealAfter. A condition that the request does not have is null: then each tick counts as
 * new, and no lease as old enough to steal.
 */
export const acquireStatements = (table: string, durable: string) => ({
  acquire: `
    WITH taken$ AS (
      UPDATE ${table} AS t
         SET token = GREATEST(t.token + 1, ${US}),
             last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
             last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
             last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
             owner = $2, label = $4, started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = LEAST(${MS} + $3::bigint, ${NEVER})
       WHERE t.key = (SELECT t.key FROM ${table} AS t
                       WHERE t.key = $1 AND NOT t.paused AND t.expires_ms <= ${MS}
                         FOR UPDATE SKIP LOCKED)
         AND ${durable}
      RETURNING t.token
    )
    SELECT won.token AS won, CASE WHEN won.token IS NULL THEN ${REFUSER} END AS refuser
      FROM (SELECT 1) AS answer
      LEFT JOIN taken$ AS won ON true
      LEFT JOIN ${table} AS t ON t.key = $1 AND won.token IS NULL`,

  // Makes the attempt of a waiter. If the key is held, the statement puts the process ($5)
  // into the queue. $6 puts it at the head, since it had been notified but another process was
  // faster. If the process is already queued, nothing is written. Only a grant waits for the
  // disk, since a crash could otherwise lose no more than a place in the queue.
  'acquire-or-queue': `
    WITH locked$ AS MATERIALIZED (
      SELECT t.key, t.expires_ms <= ${MS} AS free FROM ${table} AS t
       WHERE t.key = $1 AND NOT t.paused
         AND (t.expires_ms <= ${MS} OR COALESCE($5 <> ALL (t.waiting) AND cardinality(t.waiting) < ${LONGEST_QUEUE}, true))
         FOR UPDATE SKIP LOCKED
    ), changed$ AS (
      UPDATE ${table} AS t
         SET token = CASE WHEN locked.free THEN GREATEST(t.token + 1, ${US}) ELSE t.token END,
             last_label      = CASE WHEN locked.free AND t.owner IS NOT NULL THEN t.label                        ELSE t.last_label      END,
             last_started_ms = CASE WHEN locked.free AND t.owner IS NOT NULL THEN t.started_ms                   ELSE t.last_started_ms END,
             last_ended_ms   = CASE WHEN locked.free AND t.owner IS NOT NULL THEN LEAST(t.expires_ms, ${MS}) ELSE t.last_ended_ms   END,
             last_outcome    = CASE WHEN locked.free AND t.owner IS NOT NULL THEN 'failed'                       ELSE t.last_outcome    END,
             owner      = CASE WHEN locked.free THEN $2 ELSE t.owner END,
             label      = CASE WHEN locked.free THEN $4 ELSE t.label END,
             started_ms = CASE WHEN locked.free THEN ${MS} ELSE t.started_ms END,
             renewed_ms = CASE WHEN locked.free THEN ${MS} ELSE t.renewed_ms END,
             expires_ms = CASE WHEN locked.free THEN LEAST(${MS} + $3::bigint, ${NEVER}) ELSE t.expires_ms END,
             waiting    = CASE WHEN locked.free THEN t.waiting
                               WHEN $6::boolean THEN array_prepend($5::varchar, t.waiting)
                               ELSE array_append(t.waiting, $5::varchar) END
        FROM locked$ AS locked
       WHERE t.key = locked.key
         AND CASE WHEN locked.free THEN ${durable} ELSE set_config('synchronous_commit', 'off', true) <> '' END
      RETURNING locked.free, t.token, CASE WHEN NOT locked.free THEN ${REFUSER} END AS refuser
    )
    SELECT CASE WHEN changed.free THEN changed.token END AS won,
           CASE WHEN NOT changed.free THEN changed.refuser WHEN changed.free IS NULL THEN ${REFUSER} END AS refuser,
           changed.free IS NOT NULL OR COALESCE($5 = ANY (t.waiting), false) AS queued
      FROM (SELECT 1) AS answer
      LEFT JOIN changed$ AS changed ON true
      LEFT JOIN ${table} AS t ON t.key = $1 AND changed.free IS NULL`,

  'acquire-on-conditions': `
    WITH taken$ AS (
      UPDATE ${table} AS t
         SET token = GREATEST(t.token + 1, ${US}),
             last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
             last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
             last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
             tick_ms = COALESCE($5::bigint, ${MS} - ${MS} % $7::bigint, CASE WHEN $8::bigint > 0 THEN ${MS} END, t.tick_ms),
             owner = $2, label = $4, started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = LEAST(${MS} + $3::bigint, ${NEVER})
       WHERE t.key = (SELECT t.key FROM ${table} AS t
                       WHERE t.key = $1
                         AND COALESCE($5::bigint <= ${MS} + $6::bigint, true)
                         AND NOT t.paused
                         AND (COALESCE(t.tick_ms < COALESCE($5::bigint, ${MS} - ${MS} % $7::bigint, ${MS} - $8::bigint + 1), true)
                              OR t.owner IS NOT NULL AND t.tick_ms = $9::bigint
                              OR t.tick_ms = $10::bigint)
                         AND (t.expires_ms <= ${MS}
                              OR t.owner IS NOT NULL AND t.renewed_ms <= ${MS} - $11::bigint)
                         FOR UPDATE SKIP LOCKED)
         AND ${durable}
      RETURNING t.token
    )
    SELECT won.token AS won, CASE WHEN won.token IS NULL THEN ${REFUSER} END AS refuser
      FROM (SELECT 1) AS answer
      LEFT JOIN taken$ AS won ON true
      LEFT JOIN ${table} AS t ON t.key = $1 AND won.token IS NULL`,

  'acquire-again': `
    WITH taken$ AS (
      UPDATE ${table} AS t
         SET token = CASE WHEN t.owner = $2 THEN t.token ELSE GREATEST(t.token + 1, ${US}) END,
             last_label      = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_label      ELSE t.label END,
             last_started_ms = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_started_ms ELSE t.started_ms END,
             last_ended_ms   = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN t.owner IS NULL OR t.owner = $2 THEN t.last_outcome    ELSE 'failed' END,
             tick_ms = CASE WHEN t.owner = $2 THEN t.tick_ms
                            ELSE COALESCE($5::bigint, ${MS} - ${MS} % $7::bigint, CASE WHEN $8::bigint > 0 THEN ${MS} END, t.tick_ms) END,
             started_ms = CASE WHEN t.owner = $2 THEN t.started_ms ELSE ${MS} END,
             owner = $2, label = $4, renewed_ms = ${MS}, expires_ms = LEAST(${MS} + $3::bigint, ${NEVER})
       WHERE t.key = (SELECT t.key FROM ${table} AS t
                       WHERE t.key = $1
                         AND COALESCE($5::bigint <= ${MS} + $6::bigint, true)
                         AND (NOT t.paused
                              AND (COALESCE(t.tick_ms < COALESCE($5::bigint, ${MS} - ${MS} % $7::bigint, ${MS} - $8::bigint + 1), true)
                                   OR t.owner IS NOT NULL AND t.tick_ms = $9::bigint
                                   OR t.tick_ms = $10::bigint)
                              AND (t.expires_ms <= ${MS}
                                   OR t.owner IS NOT NULL AND t.renewed_ms <= ${MS} - $11::bigint)
                              OR t.owner = $2)
                         FOR UPDATE SKIP LOCKED)
         AND ${durable}
      RETURNING t.token
    )
    SELECT won.token AS won, CASE WHEN won.token IS NULL THEN ${REFUSER} END AS refuser
      FROM (SELECT 1) AS answer
      LEFT JOIN taken$ AS won ON true
      LEFT JOIN ${table} AS t ON t.key = $1 AND won.token IS NULL`,

  // Inserts the row of a key that had none. As a part of `acquire`, the insert would make
  // every attempt 10 % slower. If a purge is deleting the row, the insert does not wait for
  // the purge: after the wait, its token could be older than tokens granted meanwhile. If the
  // table was created again, no key is granted until the longest ttl ($5) has passed, see
  // grace-period.ts.
  'acquire-new': `
    INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms)
    SELECT $1::varchar, $2, ${US}, $4, ${MS}, ${MS}, LEAST(${MS} + $3::bigint, ${NEVER})
     WHERE NOT EXISTS (SELECT 1 FROM ${table} WHERE key = $1::varchar) AND ${durable}
       AND COALESCE((SELECT GREATEST(expires_ms, started_ms + $5::bigint) FROM ${table} WHERE key = '${RESERVED_KEY}') <= ${MS}, true)
    ON CONFLICT (key) DO NOTHING
    RETURNING token AS won`,

  // Has the parameters of `acquire-on-conditions`, except that $9 is the longest ttl.
  'acquire-on-conditions-new': `
    INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
    SELECT $1::varchar, $2, ${US}, $4, ${MS}, ${MS}, LEAST(${MS} + $3::bigint, ${NEVER}),
           COALESCE($5::bigint, ${MS} - ${MS} % $7::bigint, CASE WHEN $8::bigint > 0 THEN ${MS} END)
     WHERE COALESCE($5::bigint <= ${MS} + $6::bigint, true)
       AND NOT EXISTS (SELECT 1 FROM ${table} WHERE key = $1::varchar) AND ${durable}
       AND COALESCE((SELECT GREATEST(expires_ms, started_ms + $9::bigint) FROM ${table} WHERE key = '${RESERVED_KEY}') <= ${MS}, true)
    ON CONFLICT (key) DO NOTHING
    RETURNING token AS won`,

  // Grants free keys to many requests, all for different keys. $1 keys, $2 owners, $3 ttls, $4
  // labels, $5 whether each request is re-sent. A re-sent request gets no result here if its
  // owner already has the lock.
  'acquire-many': `
    WITH want$ AS MATERIALIZED (
      SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::boolean[])
                      WITH ORDINALITY AS w (key, owner, ttl, label, again, place)
    ), free$ AS MATERIALIZED (
      SELECT w.*
        FROM want$ AS w,
             LATERAL (SELECT FROM ${table} AS t WHERE t.key = w.key AND NOT t.paused AND t.expires_ms <= ${MS}
                        AND (w.again AND t.owner = w.owner) IS NOT TRUE
                      OFFSET 0 FOR UPDATE SKIP LOCKED) AS t
    ), taken$ AS (
      UPDATE ${table} AS t
         SET token = GREATEST(t.token + 1, ${US}),
             last_label      = CASE WHEN t.owner IS NULL THEN t.last_label      ELSE t.label END,
             last_started_ms = CASE WHEN t.owner IS NULL THEN t.last_started_ms ELSE t.started_ms END,
             last_ended_ms   = CASE WHEN t.owner IS NULL THEN t.last_ended_ms   ELSE LEAST(t.expires_ms, ${MS}) END,
             last_outcome    = CASE WHEN t.owner IS NULL THEN t.last_outcome    ELSE 'failed' END,
             owner = free.owner, label = free.label, started_ms = ${MS}, renewed_ms = ${MS},
             expires_ms = LEAST(${MS} + free.ttl, ${NEVER})
        FROM free$ AS free
       WHERE t.key = free.key AND ${durable}
      RETURNING free.place, t.token
    )
    SELECT w.place, won.token AS won,
           CASE WHEN won.token IS NULL
                THEN (SELECT ${REFUSER} FROM ${table} AS t
                       WHERE t.key = w.key AND (w.again AND t.owner = w.owner) IS NOT TRUE) END AS refuser
      FROM want$ AS w LEFT JOIN taken$ AS won ON won.place = w.place`,

  // Inserts the rows of keys that had none; $5 is the longest ttl. If another session is
  // inserting one of the keys, all requests wait for its commit, so this wait has a short
  // limit.
  'acquire-many-new': `
    INSERT INTO ${table} (key, owner, token, label, started_ms, renewed_ms, expires_ms)
    SELECT w.key, w.owner, ${US}, w.label, ${MS}, ${MS}, LEAST(${MS} + w.ttl, ${NEVER})
      FROM (SELECT set_config('lock_timeout', '${INSERT_PATIENCE}', true) AS lock_timeout) AS briefly,
           unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS w (key, owner, ttl, label)
     WHERE briefly.lock_timeout <> ''
       AND NOT EXISTS (SELECT 1 FROM ${table} AS t WHERE t.key = w.key) AND ${durable}
       AND COALESCE((SELECT GREATEST(expires_ms, started_ms + $5::bigint) FROM ${table} WHERE key = '${RESERVED_KEY}') <= ${MS}, true)
     ORDER BY w.key
    ON CONFLICT (key) DO NOTHING
    RETURNING key, token AS won`,
});
