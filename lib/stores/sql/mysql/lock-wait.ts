import type { Run } from '../lock-statements.js';
import { isContention, isServerAnswer } from '../store-failure.js';

/**
 * While `work` runs, lets the session wait for locked rows for a second at most, by default
 * 50 s. It also lets the session change rows by a list of keys. MySQL 5 has no other way.
 */
export async function withShortLockWait<T>(run: Run, work: () => Promise<T>): Promise<T> {
  await run(
    `SET @lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1,
         @safe_updates = @@SESSION.sql_safe_updates, SESSION sql_safe_updates = 0`,
  );
  try {
    return await work();
  } finally {
    await putBack(run);
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

/**
 * Restores the settings of the session. If that fails, the connection has to be closed, even
 * if the server has answered: the next borrower would get these settings.
 */
async function putBack(run: Run): Promise<void> {
  try {
    await run('SET SESSION innodb_lock_wait_timeout = @lock_wait, SESSION sql_safe_updates = @safe_updates');
  } catch (error) {
    if (!isServerAnswer(error)) throw error;
    throw new Error('innodb_lock_wait_timeout and sql_safe_updates of the session could not be restored', {
      cause: error,
    });
  }
}
