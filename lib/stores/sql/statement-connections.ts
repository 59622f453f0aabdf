import { inTime, TimeLimit } from '../shared/operation-limit.js';
import type { Answer, Run, SqlConnections } from './lock-statements.js';
import { withLiterals } from './postgres/postgres-values.js';
import type { SqlResult, StatementExecutor, Warn } from './sql-executor.js';
import { positional } from './sqlite/sqlite-values.js';
import { faultShownBy } from './store-failure.js';
import { mayBeTheServers, UnusableConnectionError, warningOf } from './unusable-connection.js';

/**
 * How many connections are tried: one more than most pools have. The application may have left
 * each of them in a transaction.
 */
export const TRIES = 11;
/** The number of connections that are tried when the server itself may refuse. */
const SERVER_TRIES = 3;

/**
 * Runs the statements of an operation through a client that does not lend its connections:
 * each statement may get another one.
 *
 * The application may have left a connection in a transaction, and the client does not show
 * it. So the statements themselves fail in a transaction, and the operation is repeated, on
 * another connection if the pool has one. The store cannot close the connection; some pools do
 * that by themselves after a statement that failed.
 */
export class StatementConnections implements SqlConnections {
  private readonly run: Run;

  constructor(
    private readonly executor: StatementExecutor,
    private readonly warn: Warn = () => undefined,
    /** Fails in a transaction that the application left open. */
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

  /** @throws the error, unless another connection may be without this fault */
  private warnOrGiveUp(error: unknown, tries: number): void {
    const fault = faultShownBy(error);
    if (!fault) throw error;
    const isServers = mayBeTheServers(fault);
    if (isServers && tries >= SERVER_TRIES) throw error;
    if (tries >= TRIES) throw new UnusableConnectionError(fault, error);
    this.warn(`connection ${fault}`, warningOf(fault, 'tries another one'));
  }
}

/**
 * Runs statements by a function of the client. On PostgreSQL the values are part of the text:
 * with parameters, a statement could not prove that it is a transaction by itself.
 */
export function runBy({ type }: StatementExecutor, query: StatementExecutor['query']): Run {
  if (type === 'postgres')
    return async (sql, values = []) => answerOf(await query(withLiterals(sql, values), []));
  return async (sql, values = []) => answerOf(await query(...positional(sql, values)));
}

/** A result of a client in the shape of a driver's answer. */
function answerOf({ rows, affected }: SqlResult): Answer {
  return { rows: rows.map(withBuffers), columns: Object.keys(rows[0] ?? {}), affected, insertId: 0 };
}

/** Bytes are read as text, which plain bytes do not give by themselves. */
function withBuffers(row: Record<string, unknown>): Record<string, unknown> {
  const entries = Object.entries(row).map(([column, value]) => [
    column,
    value instanceof Uint8Array ? Buffer.from(value) : value,
  ]);
  return Object.fromEntries(entries) as Record<string, unknown>;
}
