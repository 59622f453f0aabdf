import { GRACE_LABEL, RESERVED_KEY } from '../grace-period.js';
import { NEVER } from '../lock-row.js';
import { PURGE_SLICE } from '../lock-statements.js';
import { hex } from './mysql-values.js';
import { ALONE, CLOCK_RUNS } from './session-settings.js';

/** The properties of the server on which the statements depend. */
export interface MysqlServer {
  mariadb: boolean;
  /** Whether the server supports `FOR UPDATE SKIP LOCKED`, as MySQL 8 and MariaDB 10.6 do. */
  skipsLocked: boolean;
  /**
   * Whether the binary log records statements instead of rows. Then no change may read
   * SYSDATE(), since a replica repeats the statement later, at another time.
   */
  logsStatements: boolean;
  /** Whether statements have to fail inside a transaction, see {@link ALONE}. */
  alone?: boolean;
}

/** The server's clock at the start of the statement, in microseconds and in milliseconds. */
export const US = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`;
export const MS = `(${US} DIV 1000)`;
const UNTIL = `LEAST(${MS} + :ttl, ${NEVER})`;

/** The tick of a run that begins now. It is NULL for an attempt without conditions. */
// MOD() instead of %, since MariaDB's Oracle mode does not have %.
const TICK = `COALESCE(:tick, ${MS} - MOD(${MS}, :slot), IF(:gap > 0, ${MS}, NULL))`;
const NOT_AHEAD = `COALESCE(:tick <= ${MS} + :ahead, TRUE)`;
/**
 * The condition under which an attempt gets a key. An option that the attempt does not set is
 * NULL: then each tick counts as new, and no lease as old enough to steal.
 */
const FREE_ON_CONDITIONS = `NOT paused
              AND (COALESCE(tick_ms < COALESCE(:tick, ${MS} - MOD(${MS}, :slot), ${MS} - :gap + 1), TRUE)
                   OR owner IS NOT NULL AND tick_ms = :failOver OR tick_ms = :ignored)
              AND (expires_ms <= ${MS} OR owner IS NOT NULL AND renewed_ms <= ${MS} - :stealAfter)`;

// A purge may delete a row only after the clock has passed its token. Otherwise, the next
// token of the key could be smaller.
const UNUSED = `NOT paused AND token < ${US}
          AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= ${MS} - :olderThan`;

// The columns of a row. Text is read as bytes, since the character set of the connection may
// lack some characters.
export const ROW = `\`key\`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label,
             started_ms, renewed_ms, tick_ms, paused, CAST(last_label AS BINARY) AS last_label,
             last_started_ms, last_ended_ms, last_outcome, ${MS} AS now_ms`;

/**
 * The statements of MySQL (5.6 or newer) and MariaDB (10.3 or newer). The folder
 * test/stores/sql/golden has their full text for each server.
 *
 * The servers assign columns from left to right, except in MariaDB's mode
 * SIMULTANEOUS_ASSIGNMENT. So no assignment reads a column that an earlier assignment has
 * changed.
 *
 * `LAST_INSERT_ID(x)` returns x to the client in the answer to the update. The number of
 * affected rows is less reliable: depending on the connection, it counts found rows or changed
 * rows.
 *
 * Queries about one key join its row to a constant row, so that they report the clock even for
 * a key without a row.
 */
export function mysqlStatements(table: string, server: MysqlServer) {
  const { mariadb, skipsLocked, logsStatements } = server;
  // A change is made only if the session's clock is that of the server.
  const alone = server.alone ? ` AND ${ALONE}` : '';
  const byClock = (logsStatements ? 'TRUE' : CLOCK_RUNS) + alone;

  // By default, a statement waits for up to 50 s for a row that another session has locked.
  // Here, MariaDB does not wait, and MySQL 8 skips the row. MySQL 5 waits for one second, see
  // withShortLockWait(). The subquery is nested twice, since MySQL cannot read a table that it
  // updates.
  const unlessLocked = (update: string) => {
    if (mariadb) return `SET STATEMENT innodb_lock_wait_timeout = 0 FOR ${update}`;
    if (!skipsLocked) return update;
    const [change, rows] = update.split(' WHERE ');
    return `${change} WHERE \`key\` = (SELECT \`key\` FROM (
              SELECT \`key\` FROM ${table} WHERE ${rows} FOR UPDATE SKIP LOCKED) AS unlocked)`;
  };
  // An insert may have to wait for a lock on the gap between two keys, and a guard for a lock
  // on its row. Only MariaDB can limit the wait of a single statement.
  const waitingBriefly = (statement: string) =>
    mariadb ? `SET STATEMENT innodb_lock_wait_timeout = 1 FOR ${statement}` : statement;
  return {
    // The token comes from the clock, so that tokens grow even after a row was deleted, or
    // after a fail-over. If the lock is stolen, the run of its former holder ends now, and
    // becomes the last run of the key.
    acquire: unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(GREATEST(token + 1, ${US})),
             last_label      = IF(owner IS NULL, last_label,      label),
             last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
             last_ended_ms   = IF(owner IS NULL, last_ended_ms,   LEAST(expires_ms, ${MS})),
             last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
             started_ms = ${MS}, owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE \`key\` = :key AND NOT paused AND expires_ms <= ${MS} AND ${byClock}`),

    'acquire-on-conditions': unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(GREATEST(token + 1, ${US})),
             last_label      = IF(owner IS NULL, last_label,      label),
             last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
             last_ended_ms   = IF(owner IS NULL, last_ended_ms,   LEAST(expires_ms, ${MS})),
             last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
             tick_ms = COALESCE(${TICK}, tick_ms),
             started_ms = ${MS}, owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE \`key\` = :key AND ${NOT_AHEAD}
         AND (${FREE_ON_CONDITIONS}) AND ${byClock}`),

    // Repeats an attempt whose outcome is unknown, with or without conditions. If the first
    // attempt was granted, the lock keeps its token, its tick and its start.
    'acquire-again': unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(IF(owner <=> :owner, token, GREATEST(token + 1, ${US}))),
             last_label      = IF(owner IS NULL OR owner <=> :owner, last_label,      label),
             last_started_ms = IF(owner IS NULL OR owner <=> :owner, last_started_ms, started_ms),
             last_ended_ms   = IF(owner IS NULL OR owner <=> :owner, last_ended_ms,   LEAST(expires_ms, ${MS})),
             last_outcome    = IF(owner IS NULL OR owner <=> :owner, last_outcome,    'failed'),
             tick_ms    = IF(owner <=> :owner, tick_ms, COALESCE(${TICK}, tick_ms)),
             started_ms = IF(owner <=> :owner, started_ms, ${MS}),
             owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE \`key\` = :key AND ${NOT_AHEAD}
         AND (${FREE_ON_CONDITIONS} OR owner <=> :owner) AND ${byClock}`),

    renew: unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(token), renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE \`key\` = :key AND owner = :owner AND expires_ms > ${MS} AND ${byClock}`),

    // A free key expires at 0 and not at the present time: if the clock stepped back, the key
    // would stay taken.
    release: unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(token),
             last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = :outcome,
             owner = NULL, expires_ms = IF(:keepFor > 0, LEAST(${MS} + :keepFor, ${NEVER}), 0)
       WHERE \`key\` = :key AND owner = :owner AND expires_ms > ${MS} AND ${byClock}`),

    'release-to-waiter': unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(GREATEST(token + 1, ${US})),
             last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = :outcome,
             owner = :nextOwner, label = CONVERT(:label USING utf8mb4),
             started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = ${UNTIL}
       WHERE \`key\` = :key AND owner = :owner AND expires_ms > ${MS} AND NOT paused AND ${byClock}`),

    'force-release': unlessLocked(`
      UPDATE ${table}
         SET token = LAST_INSERT_ID(token),
             last_label      = IF(owner IS NULL, last_label,      label),
             last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
             last_ended_ms   = IF(owner IS NULL, last_ended_ms,   ${MS}),
             last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
             owner = NULL, expires_ms = 0
       WHERE \`key\` = :key AND expires_ms > ${MS} AND ${byClock}`),

    pause: unlessLocked(`
      UPDATE ${table} SET token = LAST_INSERT_ID(token), paused = TRUE
       WHERE \`key\` = :key AND NOT paused AND ${byClock}`),

    resume: unlessLocked(`
      UPDATE ${table} SET token = LAST_INSERT_ID(token), paused = FALSE
       WHERE \`key\` = :key AND paused AND ${byClock}`),

    // Inserts the row of a key that had none.
    'acquire-new': waitingBriefly(`
      INSERT INTO ${table} (\`key\`, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
      SELECT :key, :owner, LAST_INSERT_ID(${US}), CONVERT(:label USING utf8mb4), ${MS}, ${MS}, ${UNTIL}, ${TICK}
        FROM DUAL WHERE ${NOT_AHEAD}${server.alone ? ` AND ${byClock}` : ''}`),

    'pause-new': waitingBriefly(`
      INSERT INTO ${table} (\`key\`, token, expires_ms, paused) VALUES (:key, ${US}, :keptUntil, ${server.alone ? ALONE : 'TRUE'})`),

    // Reads the row after a change that changed nothing. If the row is in a state that the
    // change accepts, another session has locked it or has just changed it.
    look: `
      SELECT seen.*, ${CLOCK_RUNS} AS clock_runs
        FROM (SELECT 1) AS one LEFT JOIN (
             SELECT owner = :owner AND expires_ms > ${MS} AS leased, expires_ms > ${MS} AS held,
                    paused, NOT paused AS unpaused
               FROM ${table} WHERE \`key\` = :key${alone}) AS seen ON TRUE`,

    // The row gets a shared lock, so that several transactions of one holder do not wait for
    // each other. A locking read sees committed rows at every isolation level. MariaDB may
    // refuse it if the row has changed since the snapshot of the transaction.
    guard: waitingBriefly(`
      SELECT 1 FROM ${table} WHERE \`key\` = :key AND owner = :owner AND token = :token LOCK IN SHARE MODE`),

    // Checks the lease a second time: the first statement may have waited for the row, but has
    // read the clock before that.
    'guard-again': waitingBriefly(`
      SELECT ${server.alone ? '@@in_transaction AS inside' : '1'} FROM ${table} WHERE \`key\` = :key AND owner = :owner AND token = :token
         AND expires_ms > ${MS} AND ${CLOCK_RUNS} LOCK IN SHARE MODE`),

    'read-clock': `SELECT ${MS} AS now_ms`,

    inspect: `
      SELECT seen.*, ${CLOCK_RUNS} AS clock_runs
        FROM (SELECT 1) AS one LEFT JOIN (
             SELECT ${ROW}
               FROM ${table} WHERE \`key\` = :key) AS seen ON TRUE`,

    'inspect-with-grace': `
      SELECT seen.*, ${CLOCK_RUNS} AS clock_runs
        FROM (SELECT 1) AS one LEFT JOIN (
             SELECT ${ROW}
               FROM ${table} WHERE \`key\` IN (:key, ${hex(RESERVED_KEY)})${alone}) AS seen ON TRUE`,

    list: `
      SELECT seen.*, ${CLOCK_RUNS} AS clock_runs
        FROM (SELECT 1) AS one LEFT JOIN (
             SELECT ${ROW}
               FROM ${table}
              WHERE \`key\` > :after AND \`key\` >= :prefix AND LEFT(\`key\`, LENGTH(:prefix)) = :prefix AND expires_ms > ${MS}
              ORDER BY \`key\` LIMIT :limit) AS seen ON TRUE
       ORDER BY \`key\``,

    // Renews leases that all have the same ttl. Key and owner are joined to one text in
    // :leases, since pairs take MariaDB 25 % longer. Before MariaDB 10.6, the statement fails
    // on a locked row. STRAIGHT_JOIN and LIMIT keep the server from merging or reordering the
    // join, after which it would wait for locked rows.
    'renew-many': skipsLocked
      ? `${withoutSafeUpdates(server, 'UPDATE')}
             (SELECT \`key\` FROM ${table} FORCE INDEX (PRIMARY)
               WHERE \`key\` IN (:keys) AND CONCAT(\`key\`, X'00', owner) IN (:leases) AND expires_ms > ${MS} AND ${byClock}
               LIMIT :limit FOR UPDATE SKIP LOCKED) AS mine
             STRAIGHT_JOIN ${table} AS t ON t.\`key\` = mine.\`key\`
         SET renewed_ms = LAST_INSERT_ID(${MS}), expires_ms = ${UNTIL}`
      : `
      SET STATEMENT innodb_lock_wait_timeout = 0, sql_safe_updates = 0 FOR
      UPDATE ${table} FORCE INDEX (PRIMARY)
         SET renewed_ms = LAST_INSERT_ID(${MS}), expires_ms = ${UNTIL}
       WHERE \`key\` IN (:keys) AND CONCAT(\`key\`, X'00', owner) IN (:leases) AND expires_ms > ${MS} AND ${byClock}`,

    'renew-many-look': `
      SELECT seen.*, ${CLOCK_RUNS} AS clock_runs
        FROM (SELECT 1) AS one LEFT JOIN (
             SELECT \`key\`, owner, renewed_ms FROM ${table} FORCE INDEX (PRIMARY)
              WHERE \`key\` IN (:keys) AND CONCAT(\`key\`, X'00', owner) IN (:leases) AND expires_ms > ${MS}
              LIMIT :limit) AS seen ON TRUE`,

    // A purge first reads the unused keys, which locks nothing. If a delete searched for them
    // at REPEATABLE READ, it would lock each row and each gap that it passes.
    'purge-look': `
      SELECT \`key\`, LEFT(\`key\`, LENGTH(:prefix)) = :prefix AND ${UNUSED} AS unused, ${CLOCK_RUNS} AS clock_runs
        FROM ${table} WHERE \`key\` > :after AND \`key\` >= :prefix ORDER BY \`key\` LIMIT ${PURGE_SLICE}`,

    // The table has no alias in a DELETE: MySQL looks for the alias in the session's database,
    // but the session may have no database.
    purge: skipsLocked
      ? `${withoutSafeUpdates(server, 'DELETE')} ${table}
        FROM (SELECT \`key\` FROM ${table} FORCE INDEX (PRIMARY)
               WHERE \`key\` IN (:keys) AND ${UNUSED} AND ${byClock}
               LIMIT :limit FOR UPDATE SKIP LOCKED) AS unused
             STRAIGHT_JOIN ${table} ON ${table}.\`key\` = unused.\`key\``
      : `
      ${mariadb ? 'SET STATEMENT innodb_lock_wait_timeout = 0, sql_safe_updates = 0 FOR' : ''}
      DELETE ${table} FROM ${table} FORCE INDEX (PRIMARY)
       WHERE \`key\` IN (:keys) AND ${UNUSED} AND ${byClock}`,
  };
}

/**
 * Turns off sql_safe_updates for a statement, since with this setting the server refuses to
 * change rows by a list of keys.
 */
export function withoutSafeUpdates({ mariadb }: MysqlServer, verb: 'UPDATE' | 'DELETE'): string {
  return mariadb
    ? `SET STATEMENT sql_safe_updates = 0 FOR ${verb}`
    : `${verb} /*+ SET_VAR(sql_safe_updates = 0) */`;
}

/**
 * Additional statements for clients that return no token and do not show whether the session
 * is in a transaction.
 */
export function aloneStatements(table: string) {
  return {
    'token-look': `
      SELECT token FROM ${table} WHERE \`key\` = :key AND owner = :owner`,

    // Reads whether the tick has come, after an insert that inserted no row.
    'due-look': `SELECT ${NOT_AHEAD} AS due, ${CLOCK_RUNS} AS clock_runs`,
  };
}

/**
 * Starts the grace period or extends it. It ends at the earliest `longest` milliseconds after
 * the creation of the table.
 */
export function gracePeriod(table: string, longest: number, { alone = false } = {}): string {
  return `
    INSERT INTO ${table} (\`key\`, token, expires_ms, label, started_ms, renewed_ms)
    VALUES ('${RESERVED_KEY}', 0, LEAST(${MS} + ${longest}, ${NEVER}), '${GRACE_LABEL}', ${alone ? `IF(${ALONE}, ${MS}, NULL)` : MS}, ${MS})
    ON DUPLICATE KEY UPDATE
       expires_ms = GREATEST(expires_ms, LEAST(COALESCE(started_ms, ${MS}) + ${longest}, ${NEVER})),
       label = '${GRACE_LABEL}', renewed_ms = COALESCE(started_ms, ${MS}), started_ms = COALESCE(started_ms, ${MS})`;
}

export type MysqlStatements = ReturnType<typeof mysqlStatements> & ReturnType<typeof aloneStatements>;

/**
 * The statements that are sent with the values in their text. As a prepared statement, a list
 * would be a different statement for each length, and the server would keep them all. And
 * MySQL refuses parameters of mysql2 in LIMIT.
 */
export const AS_TEXT: readonly string[] = [
  'read-clock',
  'list',
  'renew-many',
  'renew-many-look',
  'purge-look',
  'purge',
];
