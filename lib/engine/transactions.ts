import type { Clock } from './clock.js';
import type { AnyLockStore, TransactionGuard } from '../interfaces/lock-store.interface.js';
import { LockError } from '../lock.errors.js';

/**
 * The members that this library uses of an EntityManager, a ClientSession, and the
 * transactions of other clients.
 */
interface Transaction {
  queryRunner?: { isTransactionActive?: boolean; isReleased?: boolean };
  inTransaction?: unknown;
}

/** The members that this library uses of a TransactionHost of `@nestjs-cls/transactional`. */
interface TransactionHost {
  isTransactionActive(): boolean;
  readonly tx: Transaction | undefined;
}

/**
 * The member that this library uses of a DataSource. typeorm-transactional patches `manager`,
 * so that it follows the call chain.
 */
interface DataSource {
  readonly manager?: Transaction;
}

/** The member that this library uses of a Mongoose connection. */
interface Connection {
  readonly base?: { transactionAsyncLocalStorage?: { getStore(): { session?: Transaction } | undefined } };
}

/**
 * Finds out whether a call is made inside a transaction that follows the call chain, as with
 * `@Transactional()`. A lock that is taken there is released before the commit.
 *
 * Some libraries keep the transaction of the call chain: typeorm-transactional,
 * `@nestjs-cls/transactional` with any adapter, and Mongoose with
 * `transactionAsyncLocalStorage`. Their objects are recognized by their methods, so that no
 * library has to be installed.
 */
export class OuterTransactions {
  /**
   * One function for each library found: it returns whether the call chain has an open
   * transaction of that library.
   */
  readonly #sources = new Set<() => boolean>();

  /**
   * @param failed receives the error of a library whose function throws. Warnings for that
   * library end then; they only help the developer, and no lock depends on them
   */
  constructor(private readonly failed: (error: unknown) => void) {}

  /** Finds the objects of such libraries among the providers of an application. */
  find(providers: Iterable<unknown>): void {
    for (const provider of new Set(providers)) {
      const source = sourceOf(provider);
      if (source) this.#sources.add(source);
    }
  }

  /** Whether the call chain has an open transaction of any of these libraries. */
  get open(): boolean {
    for (const hasOpen of this.#sources) {
      try {
        if (hasOpen()) return true;
      } catch (error) {
        this.#sources.delete(hasOpen);
        this.failed(error);
      }
    }
    return false;
  }
}

function sourceOf(provider: unknown): (() => boolean) | undefined {
  if (hasMethods(provider, 'withTransaction', 'isTransactionActive')) {
    const host = provider as TransactionHost;
    return () => host.isTransactionActive() && isTransactionOpen(host.tx, true);
  }
  if (hasMethods(provider, 'createQueryRunner', 'createEntityManager')) {
    const dataSource = provider as DataSource;
    return () => isTransactionOpen(dataSource.manager);
  }
  if (hasMethods(provider, 'startSession', 'model')) {
    const { base } = provider as Connection;
    return () => isTransactionOpen(base?.transactionAsyncLocalStorage?.getStore()?.session);
  }
  return undefined;
}

/**
 * Whether the transaction is still open. A call chain may go on after its transaction has
 * ended, and still find the transaction in its storage.
 *
 * @param otherwise the result for a transaction of a client that does not show whether its
 * transactions are open
 */
function isTransactionOpen(transaction: Transaction | undefined, otherwise = false): boolean {
  if (!transaction) return false;
  const { queryRunner } = transaction;
  if (queryRunner) return queryRunner.isTransactionActive === true && queryRunner.isReleased !== true;
  return typeof transaction.inTransaction === 'function' ? transaction.inTransaction() === true : otherwise;
}

/**
 * Whether the class of a provider has these methods. The properties of the provider itself are
 * not read, since it may be a proxy that throws outside of a request, such as the proxies of
 * nestjs-cls.
 */
export function hasMethods(provider: unknown, ...names: string[]): boolean {
  if (typeof provider !== 'object' || provider === null) return false;
  const methods: unknown = Object.getPrototypeOf(provider);
  return typeof methods === 'object' && methods !== null && names.every((name) => name in methods);
}

/**
 * Milliseconds between two checks whether a transaction has ended. A check sends nothing to
 * the server.
 */
const LOOK_EVERY = 20;

/**
 * Returns the store, if it can tie locks to transactions of its database.
 *
 * @throws LockError if the store cannot do that
 */
export function transactionsOf(store: AnyLockStore): TransactionGuard {
  const { transaction, guard } = store;
  if (typeof transaction === 'function' && typeof guard === 'function') return store as TransactionGuard;
  throw new LockError(
    `The lock store (${store.describe?.() ?? store.constructor.name}) has no transactions that a lock could be tied to: lock.transaction() and lock.guard() need a store that keeps leases in a database, such as typeOrmStore() or mongoStore().`,
  );
}

/**
 * The transactions of the application that guard one lock. While such a transaction is open,
 * no other session can change the lock in the store.
 */
export class GuardingTransactions {
  /** One function for each transaction: it returns whether the transaction is still open. */
  readonly #transactions = new Set<() => boolean>();

  /** Whether a transaction that guards the lock is still open. */
  get open(): boolean {
    this.#forgetEnded();
    return this.#transactions.size > 0;
  }

  /**
   * Counts the transaction as guarding the lock while `guard` runs, and afterwards if `guard`
   * resolved to `true`.
   */
  async during(isOpen: () => boolean, guard: () => Promise<boolean>): Promise<boolean> {
    let guarded = false;
    // A lock that is held for days may be guarded by many transactions, one after another.
    this.#forgetEnded();
    this.#transactions.add(isOpen);
    try {
      guarded = await guard();
      return guarded;
    } finally {
      if (!guarded) this.#transactions.delete(isOpen);
    }
  }

  /**
   * Resolves when all transactions that guard the lock have ended, or at the monotonic time
   * `until`, or soon after `stopped()` has become true.
   */
  async ended(clock: Clock, until: number, stopped: () => boolean): Promise<void> {
    while (this.open && clock.now() < until && !stopped())
      await new Promise<void>((resolve) => clock.after(LOOK_EVERY, resolve, true));
  }

  #forgetEnded(): void {
    for (const isOpen of this.#transactions) if (!isOpen()) this.#transactions.delete(isOpen);
  }
}
