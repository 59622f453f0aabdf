import { LockStoreError } from '../../../lock.errors.js';
import { safeError } from '../../../safe-error.js';
import { inTime, NoAnswerError } from '../../shared/operation-limit.js';
import type { SqlTransactions, Run } from '../lock-statements.js';
import { withTransaction, type BorrowedForTransaction } from '../pooled-connections.js';
import type { DriverExecutor } from '../sql-executor.js';
import { isContention, isStaleRead } from '../store-failure.js';
import { answerOf, pragmaOf, untilFree, type Sqlite } from './sqlite-connection.js';

const PATIENCE = 5_000;

/**
 * Transactions on the application's connection. Its client has no second one, so whatever the
 * application sends meanwhile is part of them.
 *
 * They have the file's write lock from the beginning. A transaction that reads before it
 * writes cannot write once another connection has, be it a renewal of another lock.
 */
export class SqliteTransactions implements SqlTransactions {
  /**
   * @param table quoted, as it stands in SQL
   * @param own the store's connection, whose statements go first when they have waited
   */
  constructor(
    private readonly executor: DriverExecutor<Sqlite>,
    private readonly table: string,
    private readonly own: { readonly hasWaiting: boolean },
  ) {}

  async run<T>(work: (transaction: unknown) => Promise<T>): Promise<T> {
    const borrowed = await this.borrow();
    try {
      await this.begin(borrowed);
      return await commitAfter(borrowed, work);
    } finally {
      await borrowed.release();
    }
  }

  async within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T> {
    return onConnection(await this.executor.connectionOf(transaction, doing), work);
  }

  /** Waits while the application uses the connection, where its client has a pool of one. */
  private async borrow(): Promise<BorrowedForTransaction<Sqlite>> {
    try {
      return withTransaction(await inTime(this.executor.borrow(), PATIENCE, (late) => late.release()));
    } catch (error) {
      throw error instanceof NoAnswerError ? entangled('begun') : error;
    }
  }

  private async begin(borrowed: BorrowedForTransaction<Sqlite>): Promise<void> {
    const isOpen = this.executor.watchTransaction(borrowed.own.transaction);
    const takeTurns = () => {
      if (isOpen() || borrowed.connection.inTransaction) throw entangled('begun');
      // Transactions that follow each other closely would keep the renewals of other locks
      // from the file.
      if (this.own.hasWaiting) throw outwritten();
      return borrowed.own.begin(); // which makes it active at once
    };
    await untilFree(performance.now() + PATIENCE, takeTurns, (error) => error instanceof LockStoreError);
    try {
      // The statement changes nothing, but takes the write lock, as a BEGIN IMMEDIATE would.
      await onConnection(borrowed.connection, (run) =>
        run(`UPDATE ${this.table} SET token = token WHERE FALSE`),
      );
    } catch (error) {
      await rollBack(borrowed);
      if (!isContention(error)) throw error;
      throw outwritten(error);
    }
  }
}

async function commitAfter<T>(
  borrowed: BorrowedForTransaction<Sqlite>,
  work: (transaction: unknown) => Promise<T>,
): Promise<T> {
  try {
    const value = await work(borrowed.own.transaction);
    await borrowed.own.commit();
    if (borrowed.connection.inTransaction) throw entangled('committed');
    return value;
  } catch (error) {
    await rollBack(borrowed).catch(() => undefined); // its caller has the error that counts
    throw error;
  }
}

/**
 * Runs statements on the application's connection, and waits for other writers outside of the
 * event loop.
 */
function onConnection<T>(connection: Sqlite, work: (run: Run) => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE;
  const isBusy = (error: unknown) => isContention(error) && !isStaleRead(error); // no waiting helps a stale read
  return work((sql, values) =>
    untilFree(deadline, () => unwaiting(connection, () => answerOf(connection.prepare(sql), values)), isBusy),
  );
}

/**
 * Rolls back until no transaction is open. One rollback may only end a transaction that others
 * have begun inside, and leave this one to be committed with theirs.
 */
async function rollBack(borrowed: BorrowedForTransaction<Sqlite>): Promise<void> {
  while (borrowed.connection.inTransaction) await borrowed.own.rollback();
}

function entangled(done: 'begun' | 'committed'): LockStoreError {
  return new LockStoreError(
    `The transaction could not be ${done}: the application's own connection to the SQLite file is in another transaction, and the client has no second connection. Let one transaction end before the next begins.`,
    { transient: true },
  );
}

function outwritten(cause?: unknown): LockStoreError {
  return new LockStoreError(
    'The transaction could not be begun: another connection keeps writing to the SQLite file. Look for a transaction that stays open.',
    { cause: safeError(cause), transient: true },
  );
}

/**
 * Runs a statement with no `busy_timeout`, for which better-sqlite3 would stop the event loop.
 */
function unwaiting<T>(connection: Sqlite, statement: () => T): T {
  const timeout = pragmaOf(connection, 'busy_timeout');
  connection.pragma('busy_timeout = 0');
  try {
    return statement();
  } finally {
    connection.pragma(`busy_timeout = ${String(timeout)}`);
  }
}
