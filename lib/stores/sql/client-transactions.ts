import { inTime } from '../shared/operation-limit.js';
import type { Run, SqlTransactions } from './lock-statements.js';
import type { StatementExecutor } from './sql-executor.js';
import { runBy, TRIES } from './statement-connections.js';
import { faultOf, mayBeTheServers, UnusableConnectionError } from './unusable-connection.js';

/** How the client begins a transaction. */
interface Beginning {
  /** The isolation level; without it, the application's setting applies. */
  level?: 'READ COMMITTED';
  /**
   * Rejects if the application had left a transaction open, and the client has begun its own
   * transaction inside of that.
   */
  assertBegun?: (run: Run) => Promise<void>;
}

/**
 * The transactions of a client that lends no connection to the store, and so begins and ends
 * them itself.
 */
export class ClientTransactions implements SqlTransactions {
  constructor(
    private readonly executor: StatementExecutor,
    private readonly beginning: Beginning,
  ) {}

  /**
   * Runs `work` in a transaction. Tries several times, since the application may have left
   * some connections of the pool in a transaction.
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
