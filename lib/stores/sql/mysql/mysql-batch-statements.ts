import { LARGEST_BATCH } from '../../shared/batcher.js';
import { NEVER } from '../lock-row.js';
import { MS, ROW, US, withoutSafeUpdates, type MysqlServer } from './mysql-statements.js';
import { CLOCK_RUNS } from './session-settings.js';

/**
 * The requests of a batch as rows. All requests are in one JSON text, in their order, so every
 * batch uses the same prepared statement. Keys, owners and labels are hexadecimal, which is
 * the same in all character sets.
 */
const REQUESTS = `JSON_TABLE(CONVERT(:requests USING ascii), '$[*]' COLUMNS (
                place FOR ORDINALITY,
                hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
                hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
                ttl bigint PATH '$[2]',
                hex_label varchar(2040) CHARACTER SET ascii PATH '$[3]',
                again bool PATH '$[4]')) AS w`;

const RELEASES = `JSON_TABLE(CONVERT(:releases USING ascii), '$[*]' COLUMNS (
                place FOR ORDINALITY,
                hex_key varchar(510) CHARACTER SET ascii PATH '$[0]',
                hex_owner varchar(128) CHARACTER SET ascii PATH '$[1]',
                outcome varchar(16) CHARACTER SET ascii PATH '$[2]')) AS w`;

/**
 * The statements that serve many requests at once, for servers that can skip locked rows.
 *
 * A change reads its rows from a derived table that skips locked rows, so it waits for none of
 * them. STRAIGHT_JOIN, FORCE INDEX and LIMIT keep it from reading, and so locking, other rows.
 * The clock is in a derived table too, so that it is read once.
 */
export function mysqlBatchStatements(table: string, server: MysqlServer) {
  const { mariadb, logsStatements } = server;
  const clock = `(SELECT ${MS} AS ms, ${US} AS us, ${logsStatements ? 'TRUE' : CLOCK_RUNS} AS clock_runs) AS clock`;
  const skipLocked = mariadb ? 'FOR UPDATE SKIP LOCKED' : 'FOR UPDATE OF l SKIP LOCKED';
  return {
    // All locks of a batch get the same token, which LAST_INSERT_ID returns to the client.
    // Token and owner identify the granted rows, and no row has to be read if all requests
    // were granted. The statement leaves out rows whose token the clock has not yet passed. It
    // also leaves out the row of a re-sent request if its owner already has the lock.
    'acquire-many': `
      ${withoutSafeUpdates(server, 'UPDATE')}
             (SELECT l.\`key\`, UNHEX(w.hex_owner) AS owner, w.ttl, UNHEX(w.hex_label) AS label, clock.ms, clock.us
                FROM ${clock} STRAIGHT_JOIN
                ${REQUESTS}
                STRAIGHT_JOIN ${table} AS l FORCE INDEX (PRIMARY) ON l.\`key\` = UNHEX(w.hex_key)
               WHERE NOT l.paused AND l.expires_ms <= clock.ms AND l.token < clock.us AND clock.clock_runs
                 AND NOT (w.again AND l.owner <=> UNHEX(w.hex_owner))
               LIMIT ${LARGEST_BATCH} ${skipLocked}) AS want
             STRAIGHT_JOIN ${table} AS t FORCE INDEX (PRIMARY) ON t.\`key\` = want.\`key\`
         SET t.token = LAST_INSERT_ID(want.us),
             t.last_label      = IF(t.owner IS NULL, t.last_label,      t.label),
             t.last_started_ms = IF(t.owner IS NULL, t.last_started_ms, t.started_ms),
             t.last_ended_ms   = IF(t.owner IS NULL, t.last_ended_ms,   LEAST(t.expires_ms, want.ms)),
             t.last_outcome    = IF(t.owner IS NULL, t.last_outcome,    'failed'),
             t.started_ms = want.ms, t.owner = want.owner, t.label = CONVERT(want.label USING utf8mb4),
             t.renewed_ms = want.ms, t.expires_ms = LEAST(want.ms + want.ttl, ${NEVER})`,

    // Reads the rows of all requests, and whether each row already has the owner of its
    // request.
    'acquire-many-look': `
      SELECT w.place, COALESCE(owner = UNHEX(w.hex_owner), FALSE) AS own,
             ${ROW}, ${CLOCK_RUNS} AS clock_runs
        FROM ${REQUESTS}
        LEFT JOIN ${table} AS l FORCE INDEX (PRIMARY) ON l.\`key\` = UNHEX(w.hex_key)
       LIMIT ${LARGEST_BATCH + 1}`,

    // Inserts the rows of keys that had none, and ignores a key that another session has
    // inserted meanwhile.
    'acquire-many-new': `
      ${mariadb ? 'SET STATEMENT innodb_lock_wait_timeout = 1 FOR ' : ''}
      INSERT IGNORE INTO ${table} (\`key\`, owner, token, label, started_ms, renewed_ms, expires_ms)
      SELECT UNHEX(w.hex_key), UNHEX(w.hex_owner), LAST_INSERT_ID(${US}), CONVERT(UNHEX(w.hex_label) USING utf8mb4),
             ${MS}, ${MS}, LEAST(${MS} + w.ttl, ${NEVER})
        FROM ${REQUESTS}`,

    // A free key expires at 0 and not at the present time: if the clock stepped back, the key
    // would stay taken.
    'release-many': `
      ${withoutSafeUpdates(server, 'UPDATE')}
             (SELECT l.\`key\`, w.outcome, clock.ms
                FROM ${clock} STRAIGHT_JOIN
                ${RELEASES}
                STRAIGHT_JOIN ${table} AS l FORCE INDEX (PRIMARY) ON l.\`key\` = UNHEX(w.hex_key)
               WHERE l.owner = UNHEX(w.hex_owner) AND l.expires_ms > clock.ms AND clock.clock_runs
               LIMIT ${LARGEST_BATCH} ${skipLocked}) AS mine
             STRAIGHT_JOIN ${table} AS t FORCE INDEX (PRIMARY) ON t.\`key\` = mine.\`key\`
         SET t.last_label = t.label, t.last_started_ms = t.started_ms, t.last_ended_ms = LAST_INSERT_ID(mine.ms),
             t.last_outcome = mine.outcome, t.owner = NULL, t.expires_ms = 0`,

    // Finds the rows that `release-many` has released: the end of their last run is the time
    // of that statement.
    'release-many-look': `
      SELECT w.place
        FROM ${RELEASES}
        STRAIGHT_JOIN ${table} AS l FORCE INDEX (PRIMARY) ON l.\`key\` = UNHEX(w.hex_key)
       WHERE last_ended_ms = :endedAt AND NOT (owner <=> UNHEX(w.hex_owner))
       LIMIT ${LARGEST_BATCH}`,
  };
}
