import type { LockStore, StoreDescription, TransactionGuard } from '../interfaces/lock-store.interface.js';
import { LockError } from '../lock.errors.js';

/**
 * The store, if locks on it can be tied to transactions.
 *
 * @throws LockError if not
 */
export function transactionsOf(
  store: LockStore & Partial<TransactionGuard & StoreDescription>,
): TransactionGuard {
  const { transaction, guard } = store;
  if (typeof transaction === 'function' && typeof guard === 'function') return store as TransactionGuard;
  throw new LockError(
    `The lock store (${store.describe?.() ?? store.constructor.name}) has no transactions that a lock could be tied to: lock.transaction() and lock.guard() need a store that keeps leases in a database, such as typeOrmStore() or mongoStore().`,
  );
}
