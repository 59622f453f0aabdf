import type { Run } from '../lock-statements.js';
import { isContention, isServerAnswer } from '../store-failure.js';
import { UnusableConnectionError } from '../unusable-connection.js';

/**
 * Whether the clock of a statement is the server's. After `SET timestamp`, the clock of the
 * session stands still, also for UTC_TIMESTAMP(), while SYSDATE() goes on. A statement that
 * has waited for longer than 100 ms looks the same: it changes nothing, and is tried again.
 *
 * The hint `SET_VAR(timestamp = 0)` of MySQL 8 does not help: after the statement it sets the
 * session's clock back to its old value, where it stands still.
 */
export const CLOCK_RUNS = 'ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000';

/**
 * A condition for clients that do not show the status of the session, on MariaDB: it fails,
 * and the statement with it, unless the statement is a transaction by itself. The sum is out
 * of range, and its text is how the failure is recognized, see unusable-connection.ts.
 */
const MOST = '18446744073709551615';
export const ALONE = `IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, ${MOST} + (1 - @@autocommit)), ${MOST} + @@in_transaction)`;

/** If one of two statements finds that the clock runs, the session uses the server's clock. */
export const LOOK_AT_CLOCK = `SELECT ${CLOCK_RUNS} AS clock_runs`;
const LOOKS = 2;

/** @throws UnusableConnectionError when the clock of the session was set */
export async function assertClock(run: Run): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks++) if (clockRuns((await run(LOOK_AT_CLOCK)).rows[0])) return;
  throw new UnusableConnectionError('clock');
}

/** Whether a row with the column `clock_runs` was read by the server's clock. */
export function clockRuns(row: Record<string, unknown> | undefined): boolean {
  return Number(row?.clock_runs) === 1;
}

/** For the session, since MySQL has no limit for one statement. */
export const LOCK_WAIT = {
  'shorten-lock-wait': `
    SET @lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1,
        @safe_updates = @@SESSION.sql_safe_updates, SESSION sql_safe_updates = 0`,
  'restore-lock-wait': `
    SET SESSION innodb_lock_wait_timeout = @lock_wait, SESSION sql_safe_updates = @safe_updates`,
};

/**
 * While `work` runs, lets the session wait for locked rows for a second at most, by default
 * 50 s. It also lets the session change rows by a list of keys. MySQL 5 has no other way.
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
 * Restores the settings of the session. If that fails, the connection has to be closed, even
 * if the server has answered: the next borrower would get these settings.
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

/** Gives `undefined` for a statement that ran into another session's lock. */
export async function orContention<T>(statement: Promise<T>): Promise<T | undefined> {
  try {
    return await statement;
  } catch (error) {
    if (isContention(error)) return undefined;
    throw error;
  }
}
