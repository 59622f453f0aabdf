import type { Run } from '../lock-statements.js';
import { isContention, isServerAnswer } from '../store-failure.js';
import { UnusableConnectionError } from '../unusable-connection.js';

/**
 * A condition that holds if the session uses the server's clock. After `SET timestamp` the
 * session's clock stands still, even for UTC_TIMESTAMP(), while SYSDATE() goes on. In a
 * statement that has waited for over 100 ms the two differ too, so it changes nothing and is
 * repeated.
 *
 * The hint `SET_VAR(timestamp = 0)` of MySQL 8 does not help: it restores the old value after
 * the statement, and then the session's clock stands still.
 */
export const CLOCK_RUNS = 'ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000';

/**
 * A condition that fails the statement inside a transaction or without autocommit, for clients
 * that do not show the status of the session. MariaDB computes a sum that is out of range, and
 * its error contains that sum, by which the store recognizes it, see unusable-connection.ts.
 */
const MOST = '18446744073709551615';
export const ALONE = `IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, ${MOST} + (1 - @@autocommit)), ${MOST} + @@in_transaction)`;

/**
 * Reads whether the session's clock runs. It is sent twice if needed: if a query was slow, the
 * clock looks as if it stood still.
 */
export const LOOK_AT_CLOCK = `SELECT ${CLOCK_RUNS} AS clock_runs`;
const LOOKS = 2;

/** @throws UnusableConnectionError if the session's clock was set, and so stands still */
export async function assertClock(run: Run): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks++) if (clockRuns((await run(LOOK_AT_CLOCK)).rows[0])) return;
  throw new UnusableConnectionError('clock');
}

/**
 * Whether a row was read while the session's clock ran, according to its column `clock_runs`.
 */
export function clockRuns(row: Record<string, unknown> | undefined): boolean {
  return Number(row?.clock_runs) === 1;
}

/**
 * Statements that change the session's settings, since MySQL cannot limit the wait of a single
 * statement.
 */
export const LOCK_WAIT = {
  'shorten-lock-wait': `
    SET @lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1,
        @safe_updates = @@SESSION.sql_safe_updates, SESSION sql_safe_updates = 0`,
  'restore-lock-wait': `
    SET SESSION innodb_lock_wait_timeout = @lock_wait, SESSION sql_safe_updates = @safe_updates`,
};

/**
 * Runs `work` with other settings of the session: a statement waits for a locked row for at
 * most one second instead of 50 s, and may change rows by a list of keys. MySQL 5 can do
 * neither for a single statement.
 */
export async function withShortLockWait<T>(run: Run, work: () => Promise<T>): Promise<T> {
  await run(LOCK_WAIT['shorten-lock-wait']);
  try {
    return await work();
  } finally {
    await restoreLockWait(run);
  }
}

/**
 * Restores the settings of the session. If that fails, it throws an error after which the
 * store closes the connection, since the next borrower would get these settings.
 */
async function restoreLockWait(run: Run): Promise<void> {
  try {
    await run(LOCK_WAIT['restore-lock-wait']);
  } catch (error) {
    if (!isServerAnswer(error)) throw error;
    throw new Error('innodb_lock_wait_timeout and sql_safe_updates of the session could not be restored', {
      cause: error,
    });
  }
}

/** Awaits a statement. Resolves to `undefined` if it collided with another session. */
export async function orContention<T>(statement: Promise<T>): Promise<T | undefined> {
  try {
    return await statement;
  } catch (error) {
    if (isContention(error)) return undefined;
    throw error;
  }
}
