import type { Run } from '../lock-statements.js';
import { UnusableConnectionError } from '../unusable-connection.js';

/**
 * Whether the clock of a statement is the server's. After `SET timestamp`, the clock of the
 * session stands still, also for UTC_TIMESTAMP(), while SYSDATE() goes on. A statement that
 * has waited for longer than 100 ms looks the same: it changes nothing, and is tried again.
 *
 * The hint `SET_VAR(timestamp = 0)` of MySQL 8 does not help: after the statement it sets the
 * session's clock back to its old value, where it stands still.
 */
export const CLOCK_RUNS = 'ABS(TIMESTAMPDIFF(MICROSECOND, NOW(6), SYSDATE(6))) < 100000';

/** If one of two statements finds that the clock runs, the session uses the server's clock. */
export const LOOK_AT_CLOCK = `SELECT ${CLOCK_RUNS} AS clock_runs`;
const LOOKS = 2;

/** @throws UnusableConnectionError when the clock of the session was set */
export async function assertClock(run: Run): Promise<void> {
  for (let looks = 0; looks < LOOKS; looks++) if (clockRuns((await run(LOOK_AT_CLOCK)).rows[0])) return;
  throw new UnusableConnectionError('clock');
}

/**
 * Whether a row with the column `clock_runs` was read by the server's clock, see {@link
 * CLOCK_RUNS}.
 */
export function clockRuns(row: Record<string, unknown> | undefined): boolean {
  return Number(row?.clock_runs) === 1;
}

/**
 * Adds the column `clock_runs` to a query. If the query has no rows, this gives one row whose
 * other columns are NULL.
 */
export function withClock(query: string): string {
  return `SELECT seen.*, ${CLOCK_RUNS} AS clock_runs FROM (SELECT 1) AS one LEFT JOIN (${query}) AS seen ON TRUE`;
}
