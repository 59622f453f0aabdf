import type { DataSource } from 'typeorm';
import { OPERATION_LIMIT, TimeLimit } from '../shared/time-limit.js';
import type { Answer, LockSessions, Run } from './lock-statements.js';
import { isReadOnly, isServerAnswer } from './store-failure.js';
import {
  faultOf,
  mayBeTheServers,
  UnusableConnectionError,
  warningOf,
  type ConnectionFault,
} from './unusable-connection.js';

/** How to talk to a driver's own connection; TypeORM's `query` costs half as much again. */
export interface Wire<Connection> {
  /** Prepared when there are values, as plain text when there are none. */
  run(
    connection: Connection,
    sql: string,
    values?: readonly unknown[],
    options?: { inTransaction?: boolean; name?: string | undefined },
  ): Promise<Answer>;
  /**
   * Finds the fault of a connection, before a transaction, or after a statement that failed
   * and whose answer may not show it.
   */
  check(connection: Connection, error?: unknown): Promise<ConnectionFault | undefined>;
  /** Ends the connection at once, so that the pool does not take it back. */
  destroy(connection: Connection): void;
}

/** Warns operators; `topic` names the cause. */
export type Warn = (topic: string, message: string) => void;

/**
 * The number of connections that are tried when the server itself may refuse, and the store
 * cannot see whether they are new.
 */
const SERVER_TRIES = 3;
/** The default of the drivers. */
const POOL_SIZE = 10;

/**
 * Borrows a connection of the DataSource's pool for each operation; never the caller's, whose
 * rollback would undo the lock.
 *
 * The application may have left a connection in a transaction. So the status in each answer
 * decides whether the answer counts: an earlier check would miss a BEGIN that is still on its
 * way.
 */
export class PooledSessions<Connection> implements LockSessions {
  private readonly poolSize: number;

  constructor(
    private readonly dataSource: DataSource,
    private readonly wire: Wire<Connection>,
    private readonly warn: Warn = () => undefined,
  ) {
    this.poolSize = poolSizeOf(dataSource);
  }

  async use<T>(limit: number, work: (run: Run, before?: T) => Promise<T>): Promise<T> {
    const timeLimit = new TimeLimit(limit);
    let before: T | undefined;
    try {
      for (let tries = 1; ; tries++) {
        const isNew = this.opensNew();
        const { fault, value, error } = await this.attempt(timeLimit, (run) => work(run, before));
        if (!fault) return value as T;
        before = value ?? before;
        const isServers = mayBeTheServers(fault) && (isNew ?? tries >= SERVER_TRIES);
        if (isServers || tries > this.poolSize)
          throw (mayBeTheServers(fault) && error) || new UnusableConnectionError(fault, error);
        this.warn(`connection ${fault}`, warningOf(fault));
      }
    } finally {
      timeLimit.end();
    }
  }

  /**
   * Runs one statement that reads only settings of the server, so that the state of the
   * connection does not matter.
   */
  async look(sql: string): Promise<Answer> {
    const timeLimit = new TimeLimit(OPERATION_LIMIT);
    try {
      return await this.borrow(timeLimit, (connection) => this.wire.run(connection, sql));
    } finally {
      timeLimit.end();
    }
  }

  /** Nothing is kept between operations. */
  async close(): Promise<void> {}

  /**
   * Whether the pool has to open a connection for the next borrower; `undefined` for a pool
   * cluster, which does not show it.
   */
  private opensNew(): boolean | undefined {
    const { master, pool } = (this.dataSource.driver ?? {}) as unknown as Pools;
    const { _freeConnections: free, _allConnections: opened } = pool ?? {};
    const idle = master?.idleCount ?? free?.length;
    const all = master?.totalCount ?? opened?.length;
    return idle === undefined || all === undefined ? undefined : idle === 0 && all < this.poolSize;
  }

  private attempt<T>(timeLimit: TimeLimit, work: (run: Run) => Promise<T>): Promise<Outcome<T>> {
    return this.borrow(timeLimit, async (connection) => {
      const statements = new Statements(this.wire, connection);
      const outcome = await statements.outcomeOf(work(statements.run));
      if (outcome.fault) await discard(this.wire, connection);
      return outcome;
    });
  }

  private async borrow<T>(timeLimit: TimeLimit, work: (connection: Connection) => Promise<T>): Promise<T> {
    const runner = this.dataSource.createQueryRunner('master');
    const connecting: Promise<Connection> = runner.connect();
    const connection = await timeLimit.race(connecting, () => runner.release());
    try {
      return await timeLimit.race(work(connection));
    } catch (error) {
      // Unless the server has answered, the connection may be dead or still busy: no other
      // operation should get it.
      if (!isServerAnswer(error)) this.wire.destroy(connection);
      throw error;
    } finally {
      await runner.release();
    }
  }
}

/**
 * Rolls back what was written on a connection, and closes it. Without the rollback, rows would
 * stay locked until the server notices the close.
 */
export async function discard<Connection>(wire: Wire<Connection>, connection: Connection): Promise<void> {
  try {
    await wire.run(connection, 'ROLLBACK');
  } catch {
    // Closing the connection rolls back too, a little later.
  } finally {
    wire.destroy(connection);
  }
}

/** The members used of the pools that TypeORM's drivers have. */
interface Pools {
  master?: { idleCount?: number; totalCount?: number };
  pool?: { _freeConnections?: { length: number }; _allConnections?: { length: number } };
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
    private readonly wire: Wire<Connection>,
    private readonly connection: Connection,
  ) {}

  readonly run: Run = async (sql, values, name) => {
    if (this.#fault) throw new UnusableConnectionError(this.#fault);
    try {
      const answer = await this.wire.run(this.connection, sql, values, { name });
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
    return (await this.wire.check(this.connection, error)) ?? fault;
  }
}

/** The fault of the connection that an error shows, if it shows one. */
function faultShownBy(error: unknown): ConnectionFault | undefined {
  return isReadOnly(error) ? 'readOnly' : faultOf(error);
}

export function poolSizeOf({ options }: DataSource): number {
  const { poolSize, extra } = options as { poolSize?: unknown; extra?: Record<string, unknown> };
  return (
    Math.max(...[poolSize, extra?.max, extra?.connectionLimit].map((size) => Number(size) || 0)) || POOL_SIZE
  );
}
