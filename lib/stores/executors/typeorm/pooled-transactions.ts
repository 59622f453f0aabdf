import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { NoAnswerError, OPERATION_LIMIT, TimeLimit } from '../../shared/time-limit.js';
import type { LockTransactions, Run } from '../../sql/lock-statements.js';
import { discard, poolSizeOf, type Warn, type Wire } from '../../sql/pooled-sessions.js';
import { isReadOnly, isServerAnswer } from '../../sql/store-failure.js';
import {
  faultOf,
  UnusableConnectionError,
  warningOf,
  type ConnectionFault,
} from '../../sql/unusable-connection.js';

type IsolationLevel = Parameters<QueryRunner['startTransaction']>[0];

/** Transactions on connections of the DataSource's pool. */
export class PooledTransactions<Connection> implements LockTransactions {
  /** @param level of its own transactions; without one it is that of the application's */
  constructor(
    private readonly dataSource: DataSource,
    private readonly wire: Wire<Connection>,
    private readonly level?: IsolationLevel,
    private readonly warn: Warn = () => undefined,
  ) {}

  async run<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const { runner, connection } = await this.borrow();
    try {
      await inTime(runner.startTransaction(this.level));
      const value = await work(runner.manager);
      await inTime(runner.commitTransaction());
      return value;
    } catch (error) {
      // If a statement is unanswered, or the server has turned read-only, the transaction must not
      // go on. Nor must the pool lend the connection to another caller.
      if (error instanceof NoAnswerError || isReadOnly(error)) this.wire.destroy(connection);
      else await inTime(runner.rollbackTransaction()).catch(() => this.wire.destroy(connection));
      throw error;
    } finally {
      await runner.release();
    }
  }

  /**
   * Borrows a connection without an open transaction: a transaction that the application left
   * open would be committed together with this one.
   */
  private async borrow(): Promise<{ runner: QueryRunner; connection: Connection }> {
    for (let tries = 1; ; tries++) {
      const runner = this.dataSource.createQueryRunner('master');
      const connecting: Promise<Connection> = runner.connect();
      const connection = await inTime(connecting, () => runner.release());
      let fault: ConnectionFault | undefined;
      try {
        fault = await inTime(this.wire.check(connection));
        if (!fault) return { runner, connection };
        await inTime(discard(this.wire, connection));
      } catch (error) {
        this.wire.destroy(connection);
        await runner.release();
        throw error;
      }
      await runner.release();
      if (tries > poolSizeOf(this.dataSource)) throw new UnusableConnectionError(fault);
      this.warn(`connection ${fault}`, warningOf(fault));
    }
  }

  async within<T>(transaction: QueryRunner, work: (run: Run) => Promise<T>): Promise<T> {
    const connection: Connection = await inTime(transaction.connect());
    try {
      return await inTime(
        work((sql, values) => this.wire.run(connection, sql, values, { inTransaction: true })),
      );
    } catch (error) {
      // What was not answered may still be carried out: the transaction must not be committed.
      // And a role that the application left set would deny every transaction after this one.
      if (!isServerAnswer(error) || faultOf(error) === 'rights') this.wire.destroy(connection);
      throw error;
    }
  }
}

/** @param giveBack gets what comes too late */
async function inTime<T>(step: Promise<T>, giveBack?: (late: T) => Promise<unknown>): Promise<T> {
  const timeLimit = new TimeLimit(OPERATION_LIMIT);
  try {
    return await timeLimit.race(step, giveBack);
  } finally {
    timeLimit.end();
  }
}
