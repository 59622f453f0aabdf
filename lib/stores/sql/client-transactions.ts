import { inTime } from '../shared/operation-limit.js';
import type { Run, SqlTransactions } from './lock-statements.js';
import { withinTransaction } from './pooled-connections.js';
import type { DriverExecutor, SqlDriver, StatementExecutor, TransactionOptions } from './sql-executor.js';
import { runBy, TRIES } from './statement-connections.js';
import { faultOf, mayBeTheServers, UnusableConnectionError } from './unusable-connection.js';

/** A client that begins its transactions by itself. */
export interface TransactionClient {
  transaction<T>(work: (transaction: unknown) => Promise<T>, options: TransactionOptions): Promise<T>;
}

type Within = <T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>) => Promise<T>;

/** How a client begins its transactions. */
interface Beginning {
  /** By default, the level of the application. */
  level?: 'READ COMMITTED';
  /**
   * Fails in a transaction that the application left open, and to which the client has added
   * its own.
   */
  assertBegun?: (run: Run) => Promise<void>;
}

/** Transactions that the client begins by itself, in place of the store. */
export class ClientTransactions implements SqlTransactions {
  /** @param within runs statements in a transaction of the caller */
  constructor(
    private readonly client: TransactionClient,
    readonly within: Within,
    private readonly beginning: Beginning = {},
  ) {}

  /** A connection on which no transaction can be begun is given back, and others are tried. */
  async run<T>(work: (transaction: unknown) => Promise<T>, timeout: number): Promise<T> {
    const { level, assertBegun } = this.beginning;
    for (let tries = 1; ; tries++) {
      let hasBegun = false;
      const begin = async (transaction: unknown): Promise<T> => {
        if (assertBegun) await this.within(transaction, 'begin a transaction', assertBegun);
        hasBegun = true;
        return work(transaction);
      };
      try {
        return await this.client.transaction(begin, { level, timeout });
      } catch (error) {
        const fault = hasBegun ? undefined : faultOf(error);
        if (!fault || mayBeTheServers(fault)) throw error;
        if (tries === TRIES) throw new UnusableConnectionError(fault, error);
      }
    }
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
