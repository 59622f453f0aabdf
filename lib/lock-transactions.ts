/**
 * The function that `Lock.transaction` runs. If the lock has no type argument, the function
 * may declare any type for its parameter: TypeScript compares the parameters of methods
 * loosely.
 *
 * @publicApi
 */
export type TransactionWork<Transaction, Result> = [Transaction] extends [never]
  ? ((transaction: never) => Result) & SynchronousTransactions
  : { work(transaction: Transaction): Result }['work'];

/** The transaction that `Lock.guard` takes. @publicApi */
export type GuardTransaction<Transaction> = [Transaction] extends [never]
  ? SynchronousTransactions
  : Transaction & (Transaction extends PrismaTransaction ? NoPrismaClient : object);

/**
 * The type that makes a call of `Lock.transaction` or `Lock.guard` fail to compile if the
 * client has synchronous transactions. The `Transaction` of such a lock is `never`.
 *
 * @publicApi
 */
export interface SynchronousTransactions {
  /**
   * Never present. The error of the compiler shows the name of this property, which says why
   * the call is refused.
   */
  readonly 'the transactions of this client are synchronous, so a lock cannot be tied to them': never;
}

/**
 * Refuses a PrismaClient instead of its transaction. A transaction of Prisma has all members
 * of the client except `$connect`.
 *
 * @publicApi
 */
export interface NoPrismaClient {
  /** A member that only the client has, and not its transactions. */
  readonly $connect?: never;
}

interface PrismaTransaction {
  $queryRawUnsafe(...values: never): unknown;
}
