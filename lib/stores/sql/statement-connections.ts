import { inTime } from '../shared/operation-limit.js';
import type { Answer, Run, SqlConnections } from './lock-statements.js';
import type { SqlResult, StatementExecutor } from './sql-executor.js';

/**
 * Runs the statements of an operation through a client that does not lend its connections:
 * each statement may get another one. The statements themselves prove that they run outside of
 * each transaction, see {@link StatementExecutor}.
 */
export class StatementConnections implements SqlConnections {
  constructor(private readonly executor: StatementExecutor) {}

  async use<T>(limit: number, work: (run: Run) => Promise<T>): Promise<T> {
    return inTime(
      work(async (sql, values = []) => answerOf(await this.executor.query(sql, values))),
      limit,
    );
  }
}

/** A result of a client in the shape of a driver's answer. */
export function answerOf({ rows, affected }: SqlResult): Answer {
  return { rows, columns: Object.keys(rows[0] ?? {}), affected, insertId: 0 };
}
