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
 * What the compiler shows for a call of `Lock.transaction` or `Lock.guard` on a lock whose
 * client has synchronous transactions: its `Transaction` is `never`.
 *
 * @publicApi
 */
export interface SynchronousTransactions {
  /** Never present. The compiler shows the name of this property as the reason. */
  readonly 'the transactions of this client are synchronous, so a lock cannot be tied to them': never;
}

/**
 * Refuses a PrismaClient in place of one of its transactions, which have all its members but
 * `$connect`.
 *
 * @publicApi
 */
export interface NoPrismaClient {
  /** Only the client has it, and not its transactions. */
  readonly $connect?: never;
}

interface PrismaTransaction {
  $queryRawUnsafe(...values: never): unknown;
}
