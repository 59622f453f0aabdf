import { inTime } from '../shared/operation-limit.js';
import type { Run, SqlTransactions } from './lock-statements.js';
import { withinTransaction } from './pooled-connections.js';
import type { DriverExecutor, SqlDriver, StatementExecutor, TransactionOptions } from './sql-executor.js';
import { runBy } from './statement-connections.js';

/** A client that begins its transactions by itself. */
export interface TransactionClient {
  transaction<T>(work: (transaction: unknown) => Promise<T>, options: TransactionOptions): Promise<T>;
}

type Within = <T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>) => Promise<T>;

/** Transactions that the client begins by itself, in place of the store. */
export class ClientTransactions implements SqlTransactions {
  /**
   * @param within runs statements in a transaction of the caller
   * @param level of its own transactions; by default, that of the application
   */
  constructor(
    private readonly client: TransactionClient,
    readonly within: Within,
    private readonly level?: 'READ COMMITTED',
  ) {}

  async run<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T> {
    return this.client.transaction(work, { level: this.level, timeout });
  }
}

/** Runs statements in a caller's transaction, on the connection of the driver. */
export function onConnection<Connection>(
  executor: DriverExecutor<Connection>,
  driver: SqlDriver<Connection>,
): Within {
  return (transaction, doing, work) => withinTransaction(executor, driver, transaction, doing, work);
}

/** Runs statements in a caller's transaction, through the client. */
export function throughClient(executor: StatementExecutor): Within {
  return async (transaction, doing, work) =>
    inTime(work(runBy(executor, executor.queryIn(transaction, doing))));
}
