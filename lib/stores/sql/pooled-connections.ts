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
 * The number of connections that are tried when the server itself may refuse, and the store
 * cannot see whether they are new.
 */
const SERVER_TRIES = 3;

/**
 * Borrows a connection of the client's pool for each operation; never the caller's, whose
 * rollback would undo the lock.
 *
 * The application may have left a connection in a transaction. So each statement runs first,
 * and the status in its answer decides whether the result counts. If the status is bad, the
 * result is discarded, the connection is rolled back and closed, and the operation is repeated
 * on another one. An earlier check would miss a BEGIN that is still on its way.
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

  /** A text of several statements is one transaction. */
  async runTogether(limit: number, statements: readonly string[]): Promise<void> {
    await this.use(limit, (run) => run(statements.join('; ')));
  }

  /**
   * Runs one statement that reads only settings of the server, so that the state of the
   * connection does not matter.
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
      // Unless the server has answered, the connection may be dead or still busy: no other
      // operation should get it.
      if (!isServerAnswer(error)) this.driver.destroy(borrowed.connection);
      throw error;
    } finally {
      await borrowed.release();
    }
  }
}

/** Transactions that the store begins on connections of the client's pool. */
export class PooledTransactions<Connection> implements SqlTransactions {
  /** @param level of its own transactions; by default, that of the application */
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
      // If a statement is unanswered, or the server has turned read-only, the transaction must
      // not go on. Nor must the pool lend the connection to another caller.
      if (error instanceof NoAnswerError || isReadOnly(error)) this.driver.destroy(borrowed.connection);
      else await inTime(own.rollback()).catch(() => this.driver.destroy(borrowed.connection));
      throw error;
    } finally {
      await borrowed.release();
    }
  }

  /**
   * Borrows a connection without an open transaction: a transaction that the application left
   * open would be committed together with this one.
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
      // What was not answered may still be carried out: the transaction must not be committed.
      // And a role that the application left set would deny every transaction after this one.
      if (!isServerAnswer(error) || faultOf(error) === 'rights') this.driver.destroy(connection);
      throw error;
    }
  }
}

/** A connection on which the store begins a transaction. */
export interface BorrowedForTransaction<Connection> extends BorrowedConnection<Connection> {
  readonly own: BorrowedTransaction;
}

/** @throws LockError for a client that begins its transactions by itself */
export function withTransaction<Connection>(
  borrowed: BorrowedConnection<Connection>,
): BorrowedForTransaction<Connection> {
  const { own } = borrowed;
  if (!own) throw new LockError('The executor lends connections on which no transaction can be begun.');
  return { connection: borrowed.connection, own, release: () => borrowed.release() };
}

/**
 * Rolls back what was written on a connection, and closes it. Without the rollback, rows would
 * stay locked until the server notices the close.
 */
async function discard<Connection>(driver: SqlDriver<Connection>, connection: Connection): Promise<void> {
  try {
    await driver.send(connection, 'ROLLBACK');
  } catch {
    // Closing the connection rolls back too, a little later.
  } finally {
    driver.destroy(connection);
  }
}

/** The outcome of work on one connection. With a fault, its value or error does not count. */
interface Outcome<T> {
  fault?: ConnectionFault | undefined;
  value?: T;
  error?: unknown;
}

/** The statements of one operation on one connection. */
class Statements<Connection> {
  #fault: ConnectionFault | undefined;
  /**
   * The error of the last statement, if it failed; or of an earlier statement, if it is about
   * the connection.
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

  /** Awaits the work, and adds the fault of its connection. */
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
