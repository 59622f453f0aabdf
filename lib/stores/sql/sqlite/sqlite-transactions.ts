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
 * Transactions on the application's connection. The client has no second connection, so every
 * statement that the application sends before the end becomes part of the transaction.
 *
 * A transaction takes the file's write lock when it begins. If it read first, and another
 * connection then wrote, for example to renew a lock, it could not write later.
 */
export class SqliteTransactions implements SqlTransactions {
  /**
   * @param table the quoted name of the table
   * @param own the store's connection. If its statements wait for the file, they run before a
   * new transaction
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

  /**
   * Borrows the application's connection. If the client has a pool with one connection, this
   * waits until the connection is free.
   */
  private async borrow(): Promise<BorrowedForTransaction<Sqlite>> {
    try {
      return withTransaction(await inTime(this.executor.borrow(), PATIENCE, (late) => late.release()));
    } catch (error) {
      throw error instanceof NoAnswerError ? entangled('begin') : error;
    }
  }

  private async begin(borrowed: BorrowedForTransaction<Sqlite>): Promise<void> {
    const isOpen = this.executor.watchTransaction(borrowed.own.transaction);
    const takeTurns = () => {
      if (isOpen() || borrowed.connection.inTransaction) throw entangled('begin');
      // Statements of the store that wait for the file go first. Otherwise, a rapid series of
      // transactions would keep the file from the renewals of other locks.
      if (this.own.hasWaiting) throw outwritten();
      return borrowed.own.begin(); // after this call, isOpen() returns true
    };
    await untilFree(performance.now() + PATIENCE, takeTurns, (error) => error instanceof LockStoreError);
    try {
      // Like a BEGIN IMMEDIATE, this statement takes the write lock of the file. It changes no
      // row.
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
    if (borrowed.connection.inTransaction) throw entangled('commit');
    return value;
  } catch (error) {
    // The caller gets the error that came first.
    await rollBack(borrowed).catch(() => undefined);
    throw error;
  }
}

/**
 * Runs statements on the application's connection, and waits for other writers without
 * blocking the event loop.
 */
function onConnection<T>(connection: Sqlite, work: (run: Run) => Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE;
  // After a stale read, waiting does not help: the transaction must be begun again.
  const isBusy = (error: unknown) => isContention(error) && !isStaleRead(error);
  return work((sql, values) =>
    untilFree(deadline, () => unwaiting(connection, () => answerOf(connection.prepare(sql), values)), isBusy),
  );
}

/**
 * Rolls back until no transaction is open, since a single rollback may end only a nested
 * transaction of the application. Then the application's next commit would commit the outer
 * transaction.
 */
async function rollBack(borrowed: BorrowedForTransaction<Sqlite>): Promise<void> {
  while (borrowed.connection.inTransaction) await borrowed.own.rollback();
}

function entangled(doing: 'begin' | 'commit'): LockStoreError {
  return new LockStoreError(
    `Could not ${doing} the transaction: the application's own connection to the SQLite file is in another transaction, and the client has no second connection. Let one transaction end before the next begins.`,
    { transient: true },
  );
}

function outwritten(cause?: unknown): LockStoreError {
  return new LockStoreError(
    'Could not begin the transaction: another connection keeps writing to the SQLite file. Look for a transaction that stays open.',
    { cause: safeError(cause), transient: true },
  );
}

/**
 * Runs a statement with `busy_timeout` off, since better-sqlite3 would block the event loop
 * during this timeout.
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
