import type { DataSource, EntityManager, QueryRunner } from 'typeorm';
import { LockStoreError } from '../../../lock.errors.js';
import { safeError } from '../../../safe-error.js';
import type { LockTransactions, Run } from '../lock-statements.js';
import { answerOf, pragmaOf, untilFree, type Sqlite, type SqliteDriver } from './sqlite-connection.js';
import { isContention, isStaleRead } from '../store-failure.js';

const PATIENCE = 5_000;

/**
 * Transactions on the application's connection, the only one that TypeORM has: whatever else is sent to it meanwhile is part of them.
 *
 * They have the file's write lock from the beginning. One that reads before it writes must not write any more once anybody else has, be it a
 * renewal of another lock.
 */
export class SqliteTransactions implements LockTransactions {
  /**
   * @param table quoted, as it stands in SQL
   * @param session whose statements go first when they have waited
   */
  constructor(
    private readonly dataSource: DataSource,
    private readonly table: string,
    private readonly session: { readonly waiting: boolean },
  ) {}

  async run<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    const runner = await this.begin(performance.now() + PATIENCE);
    try {
      const value = await work(runner.manager);
      await runner.commitTransaction();
      if (this.connection.inTransaction) throw this.entangled('committed');
      return value;
    } catch (error) {
      await this.rollBack(runner).catch(() => undefined); // its caller has the error that counts
      throw error;
    }
  }

  async within<T>(_transaction: QueryRunner, work: (run: Run) => Promise<T>): Promise<T> {
    const deadline = performance.now() + PATIENCE;
    const isBusy = (error: unknown) => isContention(error) && !isStaleRead(error); // which no waiting helps
    return work((sql, values) =>
      untilFree(
        deadline,
        () => unwaiting(this.connection, () => answerOf(this.connection.prepare(sql), values)),
        isBusy,
      ),
    );
  }

  private async begin(deadline: number): Promise<QueryRunner> {
    const runner = this.dataSource.createQueryRunner('master');
    const takeTurns = () => {
      if (runner.isTransactionActive || this.connection.inTransaction) throw this.entangled('begun');
      // Transactions that follow each other closely would keep the renewals of other locks from the file.
      if (this.session.waiting) throw this.outwritten();
      return runner.startTransaction(); // which makes it active at once
    };
    await untilFree(deadline, takeTurns, (error) => error instanceof LockStoreError);
    try {
      // It changes nothing, but has to have the write lock for it: TypeORM has no BEGIN IMMEDIATE.
      await this.within(runner, (run) => run(`UPDATE ${this.table} SET token = token WHERE FALSE`));
    } catch (error) {
      await this.rollBack(runner);
      if (!isContention(error)) throw error;
      throw this.outwritten(error);
    }
    return runner;
  }

  /** Once would end a transaction that others have begun inside, and leave this one to be committed with theirs. */
  private async rollBack(runner: QueryRunner): Promise<void> {
    while (this.connection.inTransaction) await runner.rollbackTransaction();
  }

  private entangled(done: 'begun' | 'committed'): LockStoreError {
    return new LockStoreError(
      `The transaction could not be ${done}: another one is open on the application's own connection to the SQLite file, the only one that TypeORM has. Let one end before the next begins.`,
      { transient: true },
    );
  }

  private outwritten(cause?: unknown): LockStoreError {
    return new LockStoreError(
      'The transaction could not be begun: another connection keeps writing to the SQLite file. Look for a transaction that stays open.',
      { cause: safeError(cause), transient: true },
    );
  }

  private get connection(): Sqlite {
    return (this.dataSource.driver as unknown as Required<SqliteDriver>).databaseConnection;
  }
}

/** better-sqlite3 waits for another writer by stopping the event loop. */
function unwaiting<T>(connection: Sqlite, statement: () => T): T {
  const timeout = pragmaOf(connection, 'busy_timeout');
  connection.pragma('busy_timeout = 0');
  try {
    return statement();
  } finally {
    connection.pragma(`busy_timeout = ${String(timeout)}`);
  }
}
