import { LockError, LockStoreError } from '../../lock.errors.js';
import type { GuardResult } from './lock-statements.js';
import { isStaleRead } from './store-failure.js';

/**
 * Throws an error if the transaction cannot guard the lock.
 *
 * @param doing the name of the operation in messages, such as
 * `guard "nightly-report" in a transaction`
 * @param target the name of the database in messages
 * @throws LockError in a transaction that cannot guard any lock
 * @throws LockStoreError in a transaction whose snapshot is older than the lock's row
 */
export function assertGuardable(result: GuardResult, doing: string, target: string): void {
  if (result === 'snapshot')
    throw new LockError(
      `Could not ${doing}: at the isolation level of this transaction, a renewal of the lock would look like the loss of the lock. Begin the transaction at READ COMMITTED, or run the work in lock.transaction().`,
    );
  if (result === 'outside')
    throw new LockError(
      `Could not ${doing}: the server has already ended this transaction. Look for COMMIT or ROLLBACK as text, and on MariaDB for statements that commit, such as CREATE TABLE.`,
    );
  if (result === 'changed')
    throw new LockStoreError(
      `Could not ${doing}: in ${target} another session has written since the transaction began, for example to renew the lock. Run the work in lock.transaction(), which avoids that conflict.`,
      { transient: true },
    );
}

/**
 * Returns the result of a guard that the database refused because the row has changed since
 * the transaction's snapshot, as MariaDB and SQLite do. Rethrows any other error.
 */
export function changedIfStale(error: unknown): GuardResult {
  if (isStaleRead(error)) return 'changed';
  throw error;
}
