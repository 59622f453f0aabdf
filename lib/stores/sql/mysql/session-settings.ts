import type { Run } from '../lock-statements.js';
import { isContention, isServerAnswer } from '../store-failure.js';
import { UnusableConnectionError } from '../unusable-connection.js';

/**
 * Whether a statement uses the server's clock. After `SET timestamp`, the clock of the session
 * stands still, also for UTC_TIMESTAMP(), while SYSDATE() goes on. A statement that has waited
 * for over 100 ms looks the same, so it changes nothing and is repeated.
 *
 * The hint `SET_VAR(timestamp = 0)` of MySQL 8 does not help. After the statement it restores
 * the old value, at which the session's clock stands still.
 */
export const CLOCK_RUNS = 'ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000';

/**
 * A condition on MariaDB for clients that do not show the status of the session. Inside a
 * transaction, or without autocommit, its sum is out of range, which fails the statement. The
 * store recognizes the failure by the text of the sum, see unusable-connection.ts.
 */
const MOST = '18446744073709551615';
export const ALONE = `IF(@@in_transaction = 0, IF(@@autocommit = 1, TRUE, ${MOST} + (1 - @@autocommit)), ${MOST} + @@in_transaction)`;

/**
 * Reads whether the clock runs. One of two such statements must succeed, since a slow one
 * fails too.
 */
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

/** Settings for the session, since MySQL cannot limit the wait of a single statement. */
export const LOCK_WAIT = {
  'shorten-lock-wait': `
    SET @lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1,
        @safe_updates = @@SESSION.sql_safe_updates, SESSION sql_safe_updates = 0`,
  'restore-lock-wait': `
    SET SESSION innodb_lock_wait_timeout = @lock_wait, SESSION sql_safe_updates = @safe_updates`,
};

/**
 * While `work` runs, the session waits for a locked row for at most one second, and not for 50
 * s, the default. It may also change rows by a list of keys. MySQL 5 has no other way.
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
 * Restores the settings of the session. If that fails, it throws an error that closes the
 * connection, since the next borrower would get these settings.
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

/** Resolves to `undefined` if the statement collided with another session. */
export async function orContention<T>(statement: Promise<T>): Promise<T | undefined> {
  try {
    return await statement;
  } catch (error) {
    if (isContention(error)) return undefined;
    throw error;
  }
}
