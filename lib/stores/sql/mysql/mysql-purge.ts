import { PURGE_SLICE, type LockStatements, type Run } from '../lock-statements.js';
import { hex, MS, US, type MysqlServer } from './mysql-expressions.js';
import { assertClock, CLOCK_RUNS, clockRuns } from './mysql-clock.js';
import { orContention } from './lock-wait.js';

/** Milliseconds for deleting the keys of a slice one by one. On MySQL 5, which waits, a locked row takes up to two of its ten seconds. */
const ONE_BY_ONE = 5_000;

/**
 * Deletes unused keys: a read that locks nothing finds them, and the delete looks at nothing but them. One that looks for them by itself locks,
 * at REPEATABLE READ, every row and every gap that it passes.
 *
 * Rows that another session has locked are skipped where there is `SKIP LOCKED`; elsewhere one of them fails the delete of all, and they are
 * deleted one by one, as far as time allows.
 *
 * The table has no alias: MySQL looks for an alias to delete from in the session's database, and
 * there may be none.
 *
 * `sql_safe_updates` refuses to delete rows by a list of keys, although they are primary keys.
 * So it is off for the statement; on MySQL 5 `withShortLockWait` sets it to off.
 */
export function mysqlPurge(
  table: string,
  { mariadb, skipsLocked, logsStatements }: MysqlServer,
): LockStatements['purge'] {
  // A token that the clock has not passed stays: without its row the next one could be smaller.
  const unused = (olderThan: number) =>
    `NOT paused AND token < ${US}
     AND GREATEST(expires_ms, COALESCE(renewed_ms, 0), COALESCE(last_ended_ms, 0), COALESCE(tick_ms, 0)) <= ${MS} - ${olderThan}`;
  const unlessSet = logsStatements ? '' : `AND ${CLOCK_RUNS}`;
  // As text: prepared, each size of slice would be one more statement that the server keeps.
  const among = (keys: readonly string[], olderThan: number) =>
    `FORCE INDEX (PRIMARY) WHERE \`key\` IN (${keys.map(hex).join()}) AND ${unused(olderThan)} ${unlessSet}`;
  const remove = (keys: readonly string[], olderThan: number) => {
    if (!skipsLocked)
      return `${mariadb ? 'SET STATEMENT innodb_lock_wait_timeout = 0, sql_safe_updates = 0 FOR' : ''}
        DELETE ${table} FROM ${table} ${among(keys, olderThan)}`;
    // STRAIGHT_JOIN and LIMIT: merged with the derived table, or begun from its other side, the join would wait for locked rows.
    return `${mariadb ? 'SET STATEMENT sql_safe_updates = 0 FOR DELETE' : 'DELETE /*+ SET_VAR(sql_safe_updates = 0) */'}
           ${table} FROM (SELECT \`key\` FROM ${table} ${among(keys, olderThan)}
                      LIMIT ${keys.length} FOR UPDATE SKIP LOCKED) AS unused
        STRAIGHT_JOIN ${table} ON ${table}.\`key\` = unused.\`key\``;
  };

  const removeAll = async (run: Run, keys: readonly string[], olderThan: number): Promise<number> => {
    const together = await orContention(run(remove(keys, olderThan)));
    if (together) return together.affected;
    const until = performance.now() + ONE_BY_ONE;
    let removed = 0;
    for (const key of keys) {
      if (performance.now() > until) break; // the next purge finds the others
      removed += (await orContention(run(remove([key], olderThan))))?.affected ?? 0;
    }
    return removed;
  };

  return async (run, { after, prefix, olderThan }) => {
    const { rows } = await run(`
      SELECT \`key\`, LEFT(\`key\`, LENGTH(${hex(prefix)})) = ${hex(prefix)} AND ${unused(olderThan)} AS unused, ${CLOCK_RUNS} AS clock_runs FROM ${table}
       WHERE \`key\` > ${hex(after)} AND \`key\` >= ${hex(prefix)} ORDER BY \`key\` LIMIT ${PURGE_SLICE}`);
    if (!rows.every(clockRuns)) await assertClock(run);
    const keys = rows.filter((row) => Number(row.unused) === 1).map((row) => String(row.key));
    const last = rows.length === PURGE_SLICE ? String(rows.at(-1)?.key) : undefined;
    return { purged: keys.length === 0 ? 0 : await removeAll(run, keys, olderThan), last };
  };
}
