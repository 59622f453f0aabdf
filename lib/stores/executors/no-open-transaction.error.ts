import { LockError, LockStoreError } from '../../lock.errors.js';

/**
 * The caller passed a transaction that is not open, or that belongs to another client than the
 * locks. The error names the object that the application's client hands out, such as a
 * transaction of Knex, and not the object of the driver below it.
 */
export class NoOpenTransactionError extends LockError {
  /**
   * @param doing such as `guard "nightly-report" in a transaction`
   * @param needed such as `a client of the pool with an open transaction`
   * @param found a clause that says what is wrong, and optionally the next step as another
   * sentence
   */
  constructor(doing: string, needed: string, found: string, cause?: unknown) {
    super(
      `Could not ${doing}: it needs ${needed}, but ${found}. For a transaction that the store begins, use lock.transaction().`,
      { cause },
    );
  }
}

/** The error for a transaction that PostgreSQL will not commit. */
export function failedTransaction(doing: string): LockError {
  return new LockError(
    `Could not ${doing}: a statement of the transaction has failed, so PostgreSQL will not commit it. Roll it back, and begin a new transaction.`,
  );
}

/** The error for a transaction whose connection has ended. */
export function endedConnection(doing: string): LockStoreError {
  return new LockStoreError(`Could not ${doing}: the connection of the transaction has ended.`, {
    transient: true,
  });
}
