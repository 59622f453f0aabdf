import type { Run } from './lock-dialect.js';
import { UnusableConnectionError } from './unusable-connection.js';

/**
 * Whether the clock of a statement is the server's. After `SET timestamp` it stands still in the session, also for UTC_TIMESTAMP(); SYSDATE() goes on. A
 * statement that has waited longer than this is taken for one with such a clock: it changes nothing, and is tried again.
 *
 * The hint `SET_VAR(timestamp = 0)` of MySQL 8 would be no cure: after the statement it sets the session's clock to what it was before, where it stands still.
 */
export const CLOCK_RUNS = 'ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000';

/** The clock of a session that answers one of two statements in time is the server's. */
export const LOOK_AT_CLOCK = `SELECT ${CLOCK_RUNS} AS clock_runs`;
const LOOKS = 2;

/** @throws UnusableConnectionError when the clock of the session was set */
export async function assertClock(run: Run): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks++) if (clockRuns((await run(LOOK_AT_CLOCK)).rows[0])) return;
  throw new UnusableConnectionError('clock');
}

/** Whether a row that has {@link CLOCK_RUNS} as `clock_runs` was read by the server's clock. */
export function clockRuns(row: Record<string, unknown> | undefined): boolean {
  return Number(row?.clock_runs) === 1;
}

/** A query of one row at least, that tells by which clock it was read; without rows of the query, its columns are NULL. */
export function withClock(query: string): string {
  return `SELECT seen.*, ${CLOCK_RUNS} AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (${query}) AS seen ON TRUE`;
}
