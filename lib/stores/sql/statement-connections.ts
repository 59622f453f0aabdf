import { inTime, TimeLimit } from '../shared/operation-limit.js';
import type { Answer, Run, SqlConnections } from './lock-statements.js';
import { withLiterals } from './postgres/postgres-values.js';
import type { SqlResult, StatementExecutor, Warn } from './sql-executor.js';
import { positional } from './sqlite/sqlite-values.js';
import { faultShownBy } from './store-failure.js';
import { mayBeTheServers, UnusableConnectionError, warningOf } from './unusable-connection.js';

/**
 * How many connections are tried: one more than the ten of most pools, since the application
 * may have left each of them in a transaction.
 */
export const TRIES = 11;
/** How many connections are tried if the server itself may have the fault. */
const SERVER_TRIES = 3;

/**
 * Runs the statements of an operation through a client that does not lend its connections. So
 * each statement may run on another connection.
 *
 * The application may have left a connection in a transaction, and the client does not show
 * that. So the statements themselves fail inside a transaction, and the operation is repeated,
 * on another connection if the pool has one. The store cannot close the unusable connection,
 * but some pools close a connection after a failed statement.
 */
export class StatementConnections implements SqlConnections {
  private readonly run: Run;

  constructor(
    private readonly executor: StatementExecutor,
    private readonly warn: Warn = () => undefined,
    /** Rejects if the statements run in a transaction that the application left open. */
    private readonly assertBegun: (run: Run) => Promise<void> = async () => undefined,
  ) {
    this.run = runBy(executor, executor.query.bind(executor));
  }

  async use<T>(limit: number, work: (run: Run) => Promise<T>): Promise<T> {
    const timeLimit = new TimeLimit(limit);
    try {
      for (let tries = 1; ; tries++) {
        try {
          return await timeLimit.race(work(this.run));
        } catch (error) {
          this.warnOrGiveUp(error, tries);
        }
      }
    } finally {
      timeLimit.end();
    }
  }

  async runTogether(limit: number, statements: readonly string[]): Promise<void> {
    const work = async (transaction: unknown): Promise<void> => {
      const run = runBy(this.executor, this.executor.queryIn(transaction, 'change the lock table'));
      await this.assertBegun(run);
      for (const statement of statements) await run(statement);
    };
    await inTime(this.executor.transaction(work, { timeout: limit }), limit);
  }

  /**
   * Warns about an unusable connection if another one may be usable; otherwise throws the
   * error.
   */
  private warnOrGiveUp(error: unknown, tries: number): void {
    const fault = faultShownBy(error);
    if (!fault) throw error;
    const isServers = mayBeTheServers(fault);
    if (isServers && tries >= SERVER_TRIES) throw error;
    if (tries >= TRIES) throw new UnusableConnectionError(fault, error);
    this.warn(`connection ${fault}`, warningOf(fault, 'tries another connection'));
  }
}

/**
 * Returns a function that runs statements through the client. On PostgreSQL it puts values
 * into the text, since a statement with parameters cannot prove that it runs outside a
 * transaction.
 */
export function runBy({ type }: StatementExecutor, query: StatementExecutor['query']): Run {
  if (type === 'postgres')
    return async (sql, values = []) => answerOf(await query(withLiterals(sql, values), []));
  return async (sql, values = []) => answerOf(await query(...positional(sql, values)));
}

/** Converts the result of a client to the common form of an answer. */
function answerOf({ rows, affected }: SqlResult): Answer {
  return { rows: rows.map(withBuffers), columns: Object.keys(rows[0] ?? {}), affected, insertId: 0 };
}

/** Converts byte arrays to buffers, since only a buffer can be read as text. */
function withBuffers(row: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(row).map(([column, value]) => [
    column,
    value instanceof Uint8Array ? Buffer.from(value) : value,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}
