import type { Clock } from './clock.js';
import type { AnyLockStore, TransactionGuard } from '../interfaces/lock-store.interface.js';
import { LockError } from '../lock.errors.js';

/** Milliseconds between two checks, which send nothing to a server. */
const LOOK_EVERY = 20;

/**
 * The store, if it can tie locks to transactions of its database.
 *
 * @throws LockError if it cannot
 */
export function transactionsOf(store: AnyLockStore): TransactionGuard {
  const { transaction, guard } = store;
  if (typeof transaction === 'function' && typeof guard === 'function') return store as TransactionGuard;
  throw new LockError(
    `The lock store (${store.describe?.() ?? store.constructor.name}) has no transactions that a lock could be tied to: lock.transaction() and lock.guard() need a store that keeps leases in a database, such as typeOrmStore() or mongoStore().`,
  );
}

/**
 * The transactions of the application in which one lock is guarded. While one of them is open,
 * no other session can change the lock in the store.
 */
export class GuardingTransactions {
  /** Each function returns whether its transaction is still open. */
  readonly #transactions = new Set<() => boolean>();

  /** Whether one of them is still open. */
  get open(): boolean {
    this.#forgetEnded();
    return this.#transactions.size > 0;
  }

  /** Remembers the transaction while `guard` runs; and afterwards, if the lock was guarded. */
  async during(isOpen: () => boolean, guard: () => Promise<boolean>): Promise<boolean> {
    let guarded = false;
    this.#forgetEnded(); // a lock that is held for days may be guarded many times
    this.#transactions.add(isOpen);
    try {
      guarded = await guard();
      return guarded;
    } finally {
      if (!guarded) this.#transactions.delete(isOpen);
    }
  }

  /**
   * Resolves when all transactions have ended, at the monotonic time `until`, or soon after
   * `stopped()` is true.
   */
  async ended(clock: Clock, until: number, stopped: () => boolean): Promise<void> {
    while (this.open && clock.now() < until && !stopped())
      await new Promise<void>((resolve) => clock.after(LOOK_EVERY, resolve, true));
  }

  #forgetEnded(): void {
    for (const isOpen of this.#transactions) if (!isOpen()) this.#transactions.delete(isOpen);
  }
}
