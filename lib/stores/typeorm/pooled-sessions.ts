import type { DataSource } from 'typeorm';
import { OPERATION_LIMIT, TimeLimit } from '../time-limit.js';
import type { Answer, LockSessions, Run } from './lock-dialect.js';
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
  /** Finds out how a connection is: before a transaction, or after a statement that failed, whose answer may not say. */
  check(connection: Connection, error?: unknown): Promise<ConnectionFault | undefined>;
  /** Ends the connection at once, so that the pool does not take it back. */
  destroy(connection: Connection): void;
}

/** Reports what operators should change; `topic` names the cause. */
export type Warn = (topic: string, message: string) => void;

/** Connections that are tried where it may be the server that says no, and it is not known whether they are new. */
const SOME = 3;
/** Of the drivers, unless the application sets another. */
const POOL_SIZE = 10;

/**
 * Borrows a connection of the DataSource's pool for each operation; never the caller's, whose rollback would undo the lock.
 *
 * The application may have left a connection in a transaction. So the status in each answer decides whether the answer counts: a check
 * before would miss a BEGIN that is still on its way.
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
        const isNew = this.makesNew();
        const { fault, value, error } = await this.attempt(timeLimit, (run) => work(run, before));
        if (!fault) return value as T;
        before = value ?? before;
        const isServers = mayBeTheServers(fault) && (isNew ?? tries >= SOME);
        if (isServers || tries > this.poolSize)
          throw (mayBeTheServers(fault) && error) || new UnusableConnectionError(fault, error);
        this.warn(`connection ${fault}`, warningOf(fault));
      }
    } finally {
      timeLimit.end();
    }
  }

  /** Runs one statement that looks at nothing but the server, in whatever state the connection is. */
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

  /** Whether the pool has to make a connection for the next one who wants one; a pool cluster does not tell. */
  private makesNew(): boolean | undefined {
    const { master, pool } = (this.dataSource.driver ?? {}) as unknown as Pools;
    const idle = master?.idleCount ?? pool?._freeConnections?.length;
    const all = master?.totalCount ?? pool?._allConnections?.length;
    return idle === undefined || all === undefined ? undefined : idle === 0 && all < this.poolSize;
  }

  private attempt<T>(timeLimit: TimeLimit, work: (run: Run) => Promise<T>): Promise<Trial<T>> {
    return this.borrow(timeLimit, async (connection) => {
      const statements = new Statements(this.wire, connection);
      const trial = await statements.judge(work(statements.run));
      if (trial.fault) await discard(this.wire, connection);
      return trial;
    });
  }

  private async borrow<T>(timeLimit: TimeLimit, work: (connection: Connection) => Promise<T>): Promise<T> {
    const runner = this.dataSource.createQueryRunner('master');
    const connecting: Promise<Connection> = runner.connect();
    const connection = await timeLimit.race(connecting, () => runner.release());
    try {
      return await timeLimit.race(work(connection));
    } catch (error) {
      // Unless the server has answered, the connection may be dead or still busy: no other operation should get it.
      if (!isServerAnswer(error)) this.wire.destroy(connection);
      throw error;
    } finally {
      await runner.release();
    }
  }
}

/** Closes a connection. What was written is rolled back first: until then it stays locked, and a server may be slow to notice the end. */
export async function discard<Connection>(wire: Wire<Connection>, connection: Connection): Promise<void> {
  try {
    await wire.run(connection, 'ROLLBACK');
  } catch {
    // Closing it has the same effect, a little later.
  } finally {
    wire.destroy(connection);
  }
}

/** What is used of the pools that TypeORM's drivers have. */
interface Pools {
  master?: { idleCount?: number; totalCount?: number };
  pool?: { _freeConnections?: { length: number }; _allConnections?: { length: number } };
}

/** What work came to on one connection; with a fault, its value or error does not count. */
interface Trial<T> {
  fault?: ConnectionFault | undefined;
  value?: T;
  error?: unknown;
}

/** The statements of one operation on one connection. */
class Statements<Connection> {
  #fault: ConnectionFault | undefined;
  /** Of the last statement, if it failed; or of one whose error is about the connection. */
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly wire: Wire<Connection>,
    private readonly connection: Connection,
  ) {}

  readonly run: Run = async (sql, values, name) => {
    if (this.#fault) throw new UnusableConnectionError(this.#fault);
    try {
      const answer = await this.wire.run(this.connection, sql, values, { name });
      if (!ofConnection(this.#failure?.error)) this.#failure = undefined;
      this.#fault = answer.fault;
      return answer;
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  };

  /** Waits for the work, and adds what its connection says about it. */
  async judge<T>(work: Promise<T>): Promise<Trial<T>> {
    const [outcome] = await Promise.allSettled([work]);
    if (this.#failure) this.#fault ??= await this.#faultAfter(this.#failure.error);
    if (outcome.status === 'fulfilled') return { fault: this.#fault, value: outcome.value };
    const error: unknown = outcome.reason;
    if (error instanceof UnusableConnectionError) return { fault: error.fault };
    if (!this.#fault) throw error;
    return { fault: this.#fault, error };
  }

  async #faultAfter(error: unknown): Promise<ConnectionFault | undefined> {
    if (error instanceof UnusableConnectionError) return error.fault;
    const fault = ofConnection(error);
    if (!fault && !isServerAnswer(error)) return undefined;
    return (await this.wire.check(this.connection, error)) ?? fault;
  }
}

/** What an error says of the connection. */
function ofConnection(error: unknown): ConnectionFault | undefined {
  return isReadOnly(error) ? 'readOnly' : faultOf(error);
}

export function poolSizeOf({ options }: DataSource): number {
  const { poolSize, extra } = options as { poolSize?: unknown; extra?: Record<string, unknown> };
  return (
    Math.max(...[poolSize, extra?.max, extra?.connectionLimit].map((size) => Number(size) || 0)) || POOL_SIZE
  );
}
