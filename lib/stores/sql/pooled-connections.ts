import { LockError } from '../../lock.errors.js';
import { inTime, NoAnswerError, OPERATION_LIMIT, TimeLimit } from '../shared/operation-limit.js';
import type { Answer, SqlConnections, SqlTransactions, Run } from './lock-statements.js';
import type {
  BorrowedConnection,
  BorrowedTransaction,
  DriverExecutor,
  SqlDriver,
  Warn,
} from './sql-executor.js';
import { faultShownBy, isReadOnly, isServerAnswer } from './store-failure.js';
import {
  faultOf,
  mayBeTheServers,
  UnusableConnectionError,
  warningOf,
  type ConnectionFault,
} from './unusable-connection.js';

/**
 * How many connections are tried if the server may have the fault itself, and the pool does
 * not show whether a connection is new.
 */
const SERVER_TRIES = 3;

/**
 * Borrows a connection of the client's pool for each operation. It never uses a connection on
 * which the caller has a transaction, since a rollback would undo the lock.
 *
 * The application may have left a connection in a transaction. So each statement runs first,
 * and the status in its answer decides whether the result counts. If the connection is
 * unusable, the store discards the result, rolls back, closes the connection, and repeats the
 * operation on another connection. A check before the statement would miss a BEGIN whose
 * answer has not yet arrived.
 */
export class PooledConnections<Connection> implements SqlConnections {
  constructor(
    private readonly executor: DriverExecutor<Connection>,
    private readonly driver: SqlDriver<Connection>,
    private readonly warn: Warn = () => undefined,
  ) {}

  async use<T>(limit: number, work: (run: Run, before?: T) => Promise<T>): Promise<T> {
    const timeLimit = new TimeLimit(limit);
    let before: T | undefined;
    try {
      for (let tries = 1; ; tries++) {
        const isNew = this.executor.opensNew();
        const { fault, value, error } = await this.attempt(timeLimit, (run) => work(run, before));
        if (!fault) return value as T;
        before = value ?? before;
        const isServers = mayBeTheServers(fault) && (isNew ?? tries >= SERVER_TRIES);
        if (isServers || tries > this.executor.poolSize)
          throw (mayBeTheServers(fault) && error) || new UnusableConnectionError(fault, error);
        this.warn(`connection ${fault}`, warningOf(fault));
      }
    } finally {
      timeLimit.end();
    }
  }

  /**
   * Sends all statements in one text, since the server runs such a text as one transaction.
   */
  async runTogether(limit: number, statements: readonly string[]): Promise<void> {
    await this.use(limit, (run) => run(statements.join('; ')));
  }

  /**
   * Runs one statement that only reads settings of the server, and so can run on a connection
   * in any state.
   */
  async look(sql: string): Promise<Answer> {
    const timeLimit = new TimeLimit(OPERATION_LIMIT);
    try {
      return await this.borrow(timeLimit, (connection) => this.driver.send(connection, sql));
    } finally {
      timeLimit.end();
    }
  }

  private attempt<T>(timeLimit: TimeLimit, work: (run: Run) => Promise<T>): Promise<Outcome<T>> {
    return this.borrow(timeLimit, async (connection) => {
      const statements = new Statements(this.driver, connection);
      const outcome = await statements.outcomeOf(work(statements.send));
      if (outcome.fault) await discard(this.driver, connection);
      return outcome;
    });
  }

  private async borrow<T>(timeLimit: TimeLimit, work: (connection: Connection) => Promise<T>): Promise<T> {
    const borrowed = await timeLimit.race(this.executor.borrow(), (late) => late.release());
    try {
      return await timeLimit.race(work(borrowed.connection));
    } catch (error) {
      // If the server has not answered, the connection may be dead or still busy, so the pool
      // must not lend it to other operations.
      if (!isServerAnswer(error)) this.driver.destroy(borrowed.connection);
      throw error;
    } finally {
      await borrowed.release();
    }
  }
}

/** Transactions that the store begins, on connections of the client's pool. */
export class PooledTransactions<Connection> implements SqlTransactions {
  /** @param level the isolation level; by default, the application's setting applies */
  constructor(
    private readonly executor: DriverExecutor<Connection>,
    private readonly driver: SqlDriver<Connection>,
    private readonly warn: Warn,
    private readonly level?: 'READ COMMITTED',
  ) {}

  async run<T>(work: (transaction: unknown) => Promise<T>): Promise<T> {
    const borrowed = await this.borrow();
    const { own } = borrowed;
    try {
      await inTime(own.begin(this.level));
      const value = await work(own.transaction);
      await inTime(own.commit());
      return value;
    } catch (error) {
      // If a statement has no answer, or the server has become read-only, closing the
      // connection ends the transaction, and keeps the pool from lending the connection again.
      if (error instanceof NoAnswerError || isReadOnly(error)) this.driver.destroy(borrowed.connection);
      else await inTime(own.rollback()).catch(() => this.driver.destroy(borrowed.connection));
      throw error;
    } finally {
      await borrowed.release();
    }
  }

  /**
   * Borrows a connection without an open transaction. If the application had left one open,
   * the commit would commit its writes too.
   */
  private async borrow(): Promise<BorrowedForTransaction<Connection>> {
    for (let tries = 1; ; tries++) {
      const borrowed = await inTime(this.executor.borrow(), OPERATION_LIMIT, (late) => late.release());
      let fault: ConnectionFault | undefined;
      try {
        fault = await inTime(this.driver.check(borrowed.connection));
        if (!fault) return withTransaction(borrowed);
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
        work((sql, values) => this.driver.send(connection, sql, values, { inTransaction: true })),
      );
    } catch (error) {
      // The server may still run a statement that it has not answered, so the transaction must
      // not be committed. And if the application left a role set on the connection, it would
      // fail later transactions too.
      if (!isServerAnswer(error) || faultOf(error) === 'rights') this.driver.destroy(connection);
      throw error;
    }
  }
}

/** A connection on which the store begins a transaction. */
export interface BorrowedForTransaction<Connection> extends BorrowedConnection<Connection> {
  readonly own: BorrowedTransaction;
}

/**
 * Checks that a borrowed connection can begin transactions, and returns it. @throws LockError
 * for a client that begins its transactions itself
 */
export function withTransaction<Connection>(
  borrowed: BorrowedConnection<Connection>,
): BorrowedForTransaction<Connection> {
  const { own } = borrowed;
  if (!own) throw new LockError('The executor lends connections on which no transaction can be begun.');
  return { connection: borrowed.connection, own, release: () => borrowed.release() };
}

/**
 * Rolls back on a connection, and closes it. Without the rollback, rows would stay locked
 * until the server notices that the connection was closed.
 */
async function discard<Connection>(driver: SqlDriver<Connection>, connection: Connection): Promise<void> {
  try {
    await driver.send(connection, 'ROLLBACK');
  } catch {
    // After a failed rollback, the server rolls back when it notices that the connection was
    // closed.
  } finally {
    driver.destroy(connection);
  }
}

/**
 * The outcome of work on one connection. If the connection has a fault, neither the value nor
 * the error counts.
 */
interface Outcome<T> {
  fault?: ConnectionFault | undefined;
  value?: T;
  error?: unknown;
}

/** The statements of one operation on one connection. */
class Statements<Connection> {
  #fault: ConnectionFault | undefined;
  /**
   * The error of the last statement if it failed, or of an earlier statement if that error
   * shows a fault of the connection.
   */
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly driver: SqlDriver<Connection>,
    private readonly connection: Connection,
  ) {}

  readonly send: Run = async (sql, values, name) => {
    if (this.#fault) throw new UnusableConnectionError(this.#fault);
    try {
      const answer = await this.driver.send(this.connection, sql, values, { name });
      if (!faultShownBy(this.#failure?.error)) this.#failure = undefined;
      this.#fault = answer.fault;
      return answer;
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  };

  /**
   * Waits until the work has ended. Returns its outcome with the fault of the connection, if
   * there is one.
   */
  async outcomeOf<T>(work: Promise<T>): Promise<Outcome<T>> {
    const [settled] = await Promise.allSettled([work]);
    if (this.#failure) this.#fault ??= await this.#faultAfter(this.#failure.error);
    if (settled.status === 'fulfilled') return { fault: this.#fault, value: settled.value };
    const error: unknown = settled.reason;
    if (error instanceof UnusableConnectionError) return { fault: error.fault };
    if (!this.#fault) throw error;
    return { fault: this.#fault, error };
  }

  async #faultAfter(error: unknown): Promise<ConnectionFault | undefined> {
    if (error instanceof UnusableConnectionError) return error.fault;
    const fault = faultShownBy(error);
    if (!fault && !isServerAnswer(error)) return undefined;
    return (await this.driver.check(this.connection, error)) ?? fault;
  }
}
