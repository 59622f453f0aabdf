import { inTime } from '../shared/operation-limit.js';
import type { Run, SqlTransactions } from './lock-statements.js';
import type { StatementExecutor } from './sql-executor.js';
import { runBy, TRIES } from './statement-connections.js';
import { faultOf, mayBeTheServers, UnusableConnectionError } from './unusable-connection.js';

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

/** Transactions of a client that begins them by itself, in place of the store. */
export class ClientTransactions implements SqlTransactions {
  constructor(
    private readonly executor: StatementExecutor,
    private readonly beginning: Beginning,
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
