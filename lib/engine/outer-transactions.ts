/**
 * The members used of an EntityManager, a ClientSession, and the transactions of other
 * clients.
 */
interface Transaction {
  queryRunner?: { isTransactionActive?: boolean; isReleased?: boolean };
  inTransaction?: unknown;
}

/** The members used of a TransactionHost of `@nestjs-cls/transactional`. */
interface TransactionHost {
  isTransactionActive(): boolean;
  readonly tx: Transaction | undefined;
}

/**
 * The member used of a DataSource. typeorm-transactional patches `manager` to follow the call
 * chain.
 */
interface DataSource {
  readonly manager?: Transaction;
}

/** The member used of a Mongoose connection. */
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
  /** Each function returns whether its library has an open transaction for the call chain. */
  readonly #sources = new Set<() => boolean>();

  /**
   * @param failed receives the error of a library, which is not checked again: no lock depends
   * on its answer
   */
  constructor(private readonly failed: (error: unknown) => void) {}

  /** Finds the objects of these libraries among the providers of an application. */
  find(providers: Iterable<unknown>): void {
    for (const provider of new Set(providers)) {
      const source = sourceOf(provider);
      if (source) this.#sources.add(source);
    }
  }

  /** Whether a transaction of the call chain is open. */
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
    return () => host.isTransactionActive() && isOpen(host.tx, true);
  }
  if (hasMethods(provider, 'createQueryRunner', 'createEntityManager')) {
    const dataSource = provider as DataSource;
    return () => isOpen(dataSource.manager);
  }
  if (hasMethods(provider, 'startSession', 'model')) {
    const { base } = provider as Connection;
    return () => isOpen(base?.transactionAsyncLocalStorage?.getStore()?.session);
  }
  return undefined;
}

/**
 * Whether the transaction is still open. A call chain may outlive its transaction and still
 * have it.
 *
 * @param otherwise the result for transactions of other clients, which do not show whether
 * they are open
 */
function isOpen(transaction: Transaction | undefined, otherwise = false): boolean {
  if (!transaction) return false;
  const { queryRunner } = transaction;
  if (queryRunner) return queryRunner.isTransactionActive === true && queryRunner.isReleased !== true;
  return typeof transaction.inTransaction === 'function' ? transaction.inTransaction() === true : otherwise;
}

/**
 * Whether the class of a provider has these methods. The provider itself is not read, since it
 * may be a proxy, such as those of nestjs-cls, which throws outside of a request.
 */
export function hasMethods(provider: unknown, ...names: string[]): boolean {
  if (typeof provider !== 'object' || provider === null) return false;
  const methods: unknown = Object.getPrototypeOf(provider);
  return typeof methods === 'object' && methods !== null && names.every((name) => name in methods);
}
