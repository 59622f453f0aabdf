import { LockStoreError } from '../../../lock.errors.js';
import { safeError } from '../../../safe-error.js';
import { inTime } from '../../shared/operation-limit.js';
import type { Run, SqlTransactions } from '../lock-statements.js';
import type { StatementExecutor } from '../sql-executor.js';
import { runBy } from '../statement-connections.js';
import { isContention } from '../store-failure.js';
import { untilFree, type SqliteSource } from './sqlite-connection.js';

const PATIENCE = 5_000;

/**
 * Finds the SQLite file of a client that only runs statements.
 *
 * @throws LockStoreError if the client cannot open another connection to the file
 */
export async function sourceOf(executor: StatementExecutor): Promise<SqliteSource> {
  const { client } = executor;
  if (!executor.createConnection)
    throw new LockStoreError(
      `${client} cannot open another connection to its SQLite file, which locks need. Use fromBetterSqlite3(file).`,
    );
  return {
    client,
    sqlite: executor.sqlite ?? { file: await fileOf(executor), inTransaction: false },
    createConnection: async (settings) => executor.createConnection?.(settings),
  };
}

async function fileOf(executor: StatementExecutor): Promise<unknown> {
  const { rows } = await executor.query('PRAGMA database_list', []);
  return rows.find(({ name }) => name === 'main')?.file;
}

/**
 * Transactions that the client begins and ends itself, on its only connection. So every
 * statement that the application sends before the end becomes part of the transaction. As in
 * sqlite-transactions.ts, a transaction takes the file's write lock when it begins.
 */
export class SqliteClientTransactions implements SqlTransactions {
  /**
   * @param table the quoted name of the table
   * @param own the store's connection. While its statements wait for the file, no new
   * transaction begins, so that they run first
   */
  constructor(
    private readonly executor: StatementExecutor,
    private readonly table: string,
    private readonly own: { readonly hasWaiting: boolean },
  ) {}

  async run<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T> {
    const takeTurns = (): void => {
      if (this.own.hasWaiting) throw outwritten();
    };
    await untilFree(performance.now() + PATIENCE, takeTurns, (error) => error instanceof LockStoreError);
    let hasBegun = false;
    const begin = async (transaction: unknown): Promise<T> => {
      hasBegun = true;
      await this.lockFile(transaction);
      return work(transaction);
    };
    try {
      return await this.executor.transaction(begin, { timeout });
    } catch (error) {
      throw !hasBegun && IN_TRANSACTION.test(messageOf(error)) ? entangled(error) : error;
    }
  }

  async within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T> {
    return inTime(work(runBy(this.executor, this.executor.queryIn(transaction, doing))));
  }

  /**
   * Takes the write lock of the file, like a BEGIN IMMEDIATE, by a statement that changes no
   * row.
   */
  private async lockFile(transaction: unknown): Promise<void> {
    try {
      await this.within(transaction, 'begin a transaction', (run) =>
        run(`UPDATE ${this.table} SET token = token WHERE FALSE`),
      );
    } catch (error) {
      throw isContention(error) ? outwritten(error) : error;
    }
  }
}

/** Matches SQLite's error for a BEGIN inside a transaction. */
const IN_TRANSACTION = /within a transaction/i;

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : '';
}

function entangled(cause: unknown): LockStoreError {
  return new LockStoreError(
    'Could not begin the transaction: the application left another transaction open on its only connection to the SQLite file. Look for a BEGIN without COMMIT or ROLLBACK.',
    { cause: safeError(cause), transient: true },
  );
}

function outwritten(cause?: unknown): LockStoreError {
  return new LockStoreError(
    'Could not begin the transaction: another connection keeps writing to the SQLite file. Look for a transaction that stays open.',
    { cause: safeError(cause), transient: true },
  );
}
