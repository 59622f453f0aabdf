/**
 * The work of `Lock.transaction`. Without a type argument of the lock, it declares the type of
 * its parameter: the signature of a method allows that.
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
  readonly 'the transactions of this client are synchronous, so a lock cannot be tied to them': never;
}

/** Tells a PrismaClient from its transactions, which have all its other members. @publicApi */
export interface NoPrismaClient {
  readonly $connect?: never;
}

interface PrismaTransaction {
  $queryRawUnsafe(...values: never): unknown;
}
