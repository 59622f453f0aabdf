import { inTime } from '../shared/operation-limit.js';
import type { Run, SqlTransactions } from './lock-statements.js';
import type { StatementExecutor } from './sql-executor.js';
import { runBy, TRIES } from './statement-connections.js';
import { faultOf, mayBeTheServers, UnusableConnectionError } from './unusable-connection.js';

/** How a client begins its transactions. */
interface Beginning {
  /** The isolation level. By default, the application's setting applies. */
  level?: 'READ COMMITTED';
  /**
   * Fails if the client has begun its transaction inside a transaction that the application
   * left open.
   */
  assertBegun?: (run: Run) => Promise<void>;
}

/**
 * Transactions of a client that begins and ends them itself, because it lends no connection to
 * the store.
 */
export class ClientTransactions implements SqlTransactions {
  constructor(
    private readonly executor: StatementExecutor,
    private readonly beginning: Beginning,
  ) {}

  /**
   * Tries several connections, since the application may have left some of them in a
   * transaction.
   */
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
        return await this.executor.transaction(begin, { level, timeout });
      } catch (error) {
        const fault = hasBegun ? undefined : faultOf(error);
        if (!fault || mayBeTheServers(fault)) throw error;
        if (tries === TRIES) throw new UnusableConnectionError(fault, error);
      }
    }
  }

  async within<T>(transaction: unknown, doing: string, work: (run: Run) => Promise<T>): Promise<T> {
    return inTime(work(runBy(this.executor, this.executor.queryIn(transaction, doing))));
  }
}
