import { inTime, NoAnswerError, OPERATION_LIMIT } from '../shared/time-limit.js';
import type { LockTransactions, Run } from './lock-statements.js';
import { discard } from './pooled-connections.js';
import type { BorrowedConnection, SqlDriver, SqlExecutor, Warn } from './sql-executor.js';
import { isReadOnly, isServerAnswer } from './store-failure.js';
import { faultOf, UnusableConnectionError, warningOf, type ConnectionFault } from './unusable-connection.js';

/** Transactions on connections of the client's pool. */
export class PooledTransactions<Connection> implements LockTransactions {
  /** @param level of its own transactions; by default, that of the application */
  constructor(
    private readonly executor: SqlExecutor<Connection>,
    private readonly driver: SqlDriver<Connection>,
    private readonly warn: Warn,
    private readonly level?: 'READ COMMITTED',
  ) {}

  async run<T>(work: (transaction: unknown) => Promise<T>): Promise<T> {
    const borrowed = await this.borrow();
    try {
      await inTime(borrowed.begin(this.level));
      const value = await work(borrowed.transaction);
      await inTime(borrowed.commit());
      return value;
    } catch (error) {
      // If a statement is unanswered, or the server has turned read-only, the transaction must not
      // go on. Nor must the pool lend the connection to another caller.
      if (error instanceof NoAnswerError || isReadOnly(error)) this.driver.destroy(borrowed.connection);
      else await inTime(borrowed.rollback()).catch(() => this.driver.destroy(borrowed.connection));
      throw error;
    } finally {
      await borrowed.release();
    }
  }

  /**
   * Borrows a connection without an open transaction: a transaction that the application left
   * open would be committed together with this one.
   */
  private async borrow(): Promise<BorrowedConnection<Connection>> {
    for (let tries = 1; ; tries++) {
      const borrowed = await inTime(this.executor.borrow(), OPERATION_LIMIT, (late) => late.release());
      let fault: ConnectionFault | undefined;
      try {
        fault = await inTime(this.driver.check(borrowed.connection));
        if (!fault) return borrowed;
        await inTime(discard(this.driver, borrowed.connection));
      } catch (error) {
        this.driver.destroy(borrowed.connection);
        await borrowed.release();
        throw error;
      }
      await borrowed.release();
      if (tries > this.executor.poolSize) throw new UnusableConnectionError(fault);
      this.warn(`connection ${fault}`, warningOf(fault));
    }
  }

  async within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T> {
    const connection = await inTime(this.executor.connectionOf(transaction, doing));
    try {
      return await inTime(
        work((sql, values) => this.driver.run(connection, sql, values, { inTransaction: true })),
      );
    } catch (error) {
      // What was not answered may still be carried out: the transaction must not be committed.
      // And a role that the application left set would deny every transaction after this one.
      if (!isServerAnswer(error) || faultOf(error) === 'rights') this.driver.destroy(connection);
      throw error;
    }
  }
}
