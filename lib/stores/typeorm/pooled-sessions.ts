import type { DataSource } from 'typeorm';
import type { Answer, LockSessions, Run } from './lock-dialect.js';
import { isServerAnswer } from './store-failure.js';
import { TimeLimit } from '../time-limit.js';

/** How to talk to a driver's own connection; TypeORM's `query` costs half as much again. */
export interface Wire<Connection> {
  /** Prepared when there are values, as plain text when there are none. */
  run(
    connection: Connection,
    sql: string,
    values?: readonly unknown[],
    options?: { inTransaction: boolean },
  ): Promise<Answer>;
  /** Ends the connection at once, so that the pool does not take it back. */
  destroy(connection: Connection): void;
}

/** Reports what operators should change; `topic` names the cause. */
export type Warn = (topic: string, message: string) => void;

/** Borrows a connection of the DataSource's pool for each operation; never the caller's, whose rollback would undo the lock. */
export class PooledSessions<Connection> implements LockSessions {
  constructor(
    private readonly dataSource: DataSource,
    private readonly wire: Wire<Connection>,
  ) {}

  async use<T>(limit: number, work: (run: Run) => Promise<T>): Promise<T> {
    const runner = this.dataSource.createQueryRunner('master');
    const timeLimit = new TimeLimit(limit);
    try {
      const connecting: Promise<Connection> = runner.connect();
      const connection = await timeLimit.race(connecting, () => runner.release());
      try {
        return await timeLimit.race(work((sql, values) => this.wire.run(connection, sql, values)));
      } catch (error) {
        // Unless the server has answered, the connection may be dead or still busy: nobody else should get it.
        if (!isServerAnswer(error)) this.wire.destroy(connection);
        throw error;
      } finally {
        await runner.release();
      }
    } finally {
      timeLimit.end();
    }
  }

  /** Nothing is kept between operations. */
  async close(): Promise<void> {}
}
