import type { LeaseRenewal } from '../../../interfaces/lock-store.interface.js';
import type { SqlAcquireRequest, ChangeResult, LockStatements, Run } from '../lock-statements.js';
import { isTrue, refusalOf, unpassed, type LockRow } from '../lock-row.js';
import { assertClock, CLOCK_RUNS, clockRuns, withClock } from './mysql-clock.js';
import { mysqlBatchRenewal } from './batch-renewal.js';
import { hex, MS, named, until, US, type MysqlServer } from './mysql-expressions.js';
import { mysqlPurge } from './mysql-purge.js';
import { orContention, withShortLockWait } from './lock-wait.js';
import { isStaleRead } from '../store-failure.js';
import { RESERVED_KEY, refusalInGrace } from '../grace-period.js';
import { CONTENTION, isPlain } from '../../shared/conditions.js';

// Text goes in and out as bytes: the connection's charset may know fewer characters.
const ROW = `\`key\`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label, started_ms, renewed_ms, tick_ms, paused,
  CAST(last_label AS BINARY) AS last_label, last_started_ms, last_ended_ms, last_outcome, ${MS} AS now_ms`;

type AcquireValues = Omit<SqlAcquireRequest, 'resend'>;

/**
 * The statements of MySQL (5.6 or newer) and MariaDB (10.3 or newer).
 *
 * Assignments are carried out from left to right, except in MariaDB's SIMULTANEOUS_ASSIGNMENT mode: none here reads what one before it has
 * changed. `LAST_INSERT_ID(x)` hands x to the client in the answer to the update; it tells more than the count of affected rows, which counts
 * found ones or changed ones, as the connection is configured.
 */
export function mysqlDialect(table: string, server: MysqlServer): LockStatements {
  // By default the servers wait 50 s for a locked row. In MySQL 8 the row is skipped (in a table twice nested, as MySQL reads none that it
  // updates), MariaDB does not wait, and MySQL 5 has to be told by the session to wait for a second.
  const { mariadb, skipsLocked, logsStatements } = server;
  // Each change is made by the server's clock, or not at all.
  const byClock = logsStatements ? 'TRUE' : CLOCK_RUNS;
  const checkClock = async (run: Run) => (logsStatements ? assertClock(run) : undefined);
  const update = (set: string, rows: string) => {
    const which = `${rows} AND ${byClock}`;
    if (mariadb)
      return `SET STATEMENT innodb_lock_wait_timeout = 0 FOR UPDATE ${table} SET ${set} WHERE ${which}`;
    if (!skipsLocked) return `UPDATE ${table} SET ${set} WHERE ${which}`;
    return `UPDATE ${table} SET ${set}
      WHERE \`key\` = (SELECT \`key\` FROM (SELECT \`key\` FROM ${table} WHERE ${which} FOR UPDATE SKIP LOCKED) AS unlocked)`;
  };
  const mustShortenWait = !mariadb && !skipsLocked;
  const briefly = <T>(run: Run, work: () => Promise<T>) =>
    mustShortenWait ? withShortLockWait(run, work) : work();

  // Compared with null, a tick is new, and no lease is old enough to steal. Most attempts ask for neither: a statement of their own spares the rest.
  const slotStart = `${MS} - MOD(${MS}, :slot)`; // not %: in the mode ORACLE it is no operator
  const tick = `COALESCE(:tick, ${slotStart}, IF(:gap > 0, ${MS}, NULL))`;
  const notAhead = `COALESCE(:tick <= ${MS} + :ahead, TRUE)`;
  const terms = {
    allowed: notAhead,
    nextTick: `COALESCE(${tick}, tick_ms)`,
    free: `NOT paused
      AND (COALESCE(tick_ms < COALESCE(:tick, ${slotStart}, ${MS} - :gap + 1), TRUE)
           OR owner IS NOT NULL AND tick_ms = :failOver OR tick_ms = :ignored)
      AND (expires_ms <= ${MS} OR owner IS NOT NULL AND renewed_ms <= ${MS} - :stealAfter)`,
  };
  const noTerms = { allowed: 'TRUE', nextTick: 'tick_ms', free: `NOT paused AND expires_ms <= ${MS}` };

  // The token comes from the clock, so that it also grows across deleted rows and fail-overs. Who is robbed has ended now.
  const acquire = (mine: string, { allowed, nextTick, free }: typeof terms) =>
    named<keyof AcquireValues>(
      update(
        `token = LAST_INSERT_ID(IF(${mine}, token, GREATEST(token + 1, ${US}))),
         last_label      = IF(owner IS NULL OR ${mine}, last_label,      label),
         last_started_ms = IF(owner IS NULL OR ${mine}, last_started_ms, started_ms),
         last_ended_ms   = IF(owner IS NULL OR ${mine}, last_ended_ms,   LEAST(expires_ms, ${MS})),
         last_outcome    = IF(owner IS NULL OR ${mine}, last_outcome,    'failed'),
         tick_ms    = IF(${mine}, tick_ms, ${nextTick}),
         started_ms = IF(${mine}, started_ms, ${MS}),
         owner = :owner, label = CONVERT(:label USING utf8mb4), renewed_ms = ${MS}, expires_ms = ${until(':ttl')}`,
        `\`key\` = :key AND ${allowed} AND (${free} OR ${mine})`,
      ),
    );
  const acquisition = (asked: typeof terms) => ({
    first: acquire('FALSE', asked),
    again: acquire('owner <=> :owner', asked),
  });
  const [plain, onTerms] = [acquisition(noTerms), acquisition(terms)];
  // An insert waits for another session's lock on the gap between two keys, and has nothing to skip: MySQL has to be told here too.
  const insert = (statement: string) =>
    mariadb ? `SET STATEMENT innodb_lock_wait_timeout = 1 FOR ${statement}` : statement;
  const inserting = <T>(run: Run, work: () => Promise<T>) =>
    mariadb || mustShortenWait ? work() : withShortLockWait(run, work);
  const add = named<keyof AcquireValues>(
    insert(
      `INSERT INTO ${table} (\`key\`, owner, token, label, started_ms, renewed_ms, expires_ms, tick_ms)
       SELECT :key, :owner, LAST_INSERT_ID(${US}), CONVERT(:label USING utf8mb4), ${MS}, ${MS}, ${until(':ttl')}, ${tick}
         FROM DUAL WHERE ${notAhead}`,
    ),
  );

  const lease = `\`key\` = ? AND owner = ? AND expires_ms > ${MS}`;
  const renew = update(
    `token = LAST_INSERT_ID(token), renewed_ms = ${MS}, expires_ms = ${until('?')}`,
    lease,
  );
  // 0 and not the clock: after a clock that stepped back the key would stay taken.
  const release = update(
    `token = LAST_INSERT_ID(token),
     last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ?,
     owner = NULL, expires_ms = IF(? > 0, ${until('?')}, 0)`,
    lease,
  );
  const releaseToWaiter = update(
    `token = LAST_INSERT_ID(GREATEST(token + 1, ${US})),
     last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ?,
     owner = ?, label = CONVERT(? USING utf8mb4), started_ms = ${MS}, renewed_ms = ${MS}, expires_ms = ${until('?')}`,
    `${lease} AND NOT paused`,
  );
  const held = `\`key\` = ? AND expires_ms > ${MS}`;
  const forceRelease = update(
    `token = LAST_INSERT_ID(token),
     last_label      = IF(owner IS NULL, last_label,      label),
     last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
     last_ended_ms   = IF(owner IS NULL, last_ended_ms,   ${MS}),
     last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
     owner = NULL, expires_ms = 0`,
    held,
  );
  // Shared, so that transactions of one holder do not wait for each other. Like all locking reads it sees what is committed, whatever the
  // isolation level; MariaDB may refuse it instead, when the row has changed since the transaction's snapshot.
  const share = `SELECT 1 FROM ${table} WHERE \`key\` = ? AND owner = ? AND token = ?`;
  const guard = (andMore: string) =>
    `${mariadb ? 'SET STATEMENT innodb_lock_wait_timeout = 1 FOR' : ''} ${share} ${andMore} LOCK IN SHARE MODE`;
  const lockShared = guard('');
  const stillHeld = guard(`AND expires_ms > ${MS} AND ${CLOCK_RUNS}`);

  const find = withClock(`SELECT ${ROW} FROM ${table} WHERE \`key\` = ?`);
  const findWithGrace = withClock(`SELECT ${ROW} FROM ${table} WHERE \`key\` IN (?, ${hex(RESERVED_KEY)})`);
  // As text: prepared, MySQL takes no parameter of mysql2 for the limit.
  const list = (after: string, prefix: string, limit: number) =>
    `${withClock(`
    SELECT ${ROW} FROM ${table}
     WHERE \`key\` > ${after} AND \`key\` >= ${prefix} AND LEFT(\`key\`, LENGTH(${prefix})) = ${prefix} AND expires_ms > ${MS}
     ORDER BY \`key\` LIMIT ${limit}`)} ORDER BY \`key\``;

  const unpaused = '`key` = ? AND NOT paused';
  const paused = '`key` = ? AND paused';
  const pause = update('token = LAST_INSERT_ID(token), paused = TRUE', unpaused);
  const resume = update('token = LAST_INSERT_ID(token), paused = FALSE', paused);
  const addPaused = insert(
    `INSERT INTO ${table} (\`key\`, token, expires_ms, paused) VALUES (?, ${US}, ?, TRUE)`,
  );

  const purge = mysqlPurge(table, server);

  /**
   * Runs a query that was built by {@link withClock}, until its rows were read by the server's
   * clock.
   */
  const read = async (run: Run, sql: string, values?: readonly unknown[]) => {
    const { rows } = await run(sql, values);
    if (!clockRuns(rows[0])) {
      await assertClock(run);
      return (await run(sql, values)).rows; // the first query was only slow
    }
    return rows;
  };
  const rowOf = async (run: Run, key: Buffer) => {
    const [row] = await read(run, find, [key]);
    return row && row.key !== null ? (row as unknown as LockRow) : undefined;
  };
  const rowAndGrace = async (run: Run, key: Buffer) => {
    const found = (await read(run, findWithGrace, [key])) as unknown as LockRow[];
    const isGrace = (row: LockRow) => String(row.key) === RESERVED_KEY;
    return { row: found.find((row) => row.key !== null && !isGrace(row)), grace: found.find(isGrace) };
  };

  /** What is there but was not changed is locked, or has just changed: asked again, it tells. */
  const changing = (
    run: Run,
    sql: string,
    set: unknown[],
    which: string,
    id: Buffer[],
  ): Promise<ChangeResult> =>
    briefly(run, async () => {
      await checkClock(run);
      const changed = await orContention(run(sql, [...set, ...id]));
      if (changed && changed.insertId !== 0) return 'done';
      const [row] = await read(run, withClock(`SELECT 1 AS present FROM ${table} WHERE ${which}`), id);
      return row?.present ? 'locked' : 'gone';
    });

  const renewal = (run: Run, { key, owner, ttl }: LeaseRenewal) =>
    changing(run, renew, [ttl], lease, [Buffer.from(key), Buffer.from(owner)]);

  return {
    clock: MS,
    async acquire(run, attempt) {
      const [key, owner] = [Buffer.from(attempt.key), Buffer.from(attempt.owner)];
      const label = attempt.label === null ? null : Buffer.from(attempt.label);
      const refusalBy = async () => {
        const { row, grace } = await rowAndGrace(run, key);
        return row ? (refusalOf(row, attempt) ?? CONTENTION) : refusalInGrace(grace, attempt);
      };
      if (mustShortenWait && !attempt.resend) {
        const refused = await refusalBy(); // a read waits for nobody
        if (refused && refused !== CONTENTION) return refused;
      }
      return briefly(run, async () => {
        await checkClock(run);
        const values = { ...attempt, key, owner, label };
        const { first, again } = isPlain(attempt) ? plain : onTerms;
        const take = attempt.resend ? again : first;
        const taken = await orContention(run(take.sql, take.valuesOf(values)));
        if (taken && taken.insertId !== 0) return { acquired: true, fencingToken: taken.insertId };
        const refused = await refusalBy();
        if (refused) return refused;
        const added = await inserting(run, () => run(add.sql, add.valuesOf(values)));
        if (added.affected === 0) return { acquired: false, reason: 'tick-ahead' }; // all that it asks for
        return { acquired: true, fencingToken: added.insertId };
      });
    },
    renew: renewal,
    renewMany: mustShortenWait ? undefined : mysqlBatchRenewal(table, server, renewal),
    release: (run, { key, owner, keepFor, outcome }) =>
      changing(run, release, [outcome, keepFor, keepFor], lease, [Buffer.from(key), Buffer.from(owner)]),
    async releaseToWaiter(run, { key, owner, outcome, nextOwner, ttl, label }) {
      const mine = [Buffer.from(key), Buffer.from(owner)];
      const values = [outcome, Buffer.from(nextOwner), label === null ? null : Buffer.from(label), ttl];
      await checkClock(run);
      const passed = await briefly(run, () => orContention(run(releaseToWaiter, [...values, ...mine])));
      if (passed && passed.insertId !== 0) return { acquired: true, fencingToken: passed.insertId };
      const [row] = await read(run, withClock(`SELECT paused FROM ${table} WHERE ${lease}`), mine);
      return unpassed(row && row.paused !== null ? { paused: row.paused } : undefined);
    },
    forceRelease: (run, key) => changing(run, forceRelease, [], held, [Buffer.from(key)]),
    async pause(run, id) {
      const key = Buffer.from(id);
      const changed = await changing(run, pause, [], unpaused, [key]);
      if (changed !== 'gone') return changed;
      const { row, grace } = await rowAndGrace(run, key);
      if (row) return isTrue(row.paused) ? 'gone' : 'locked';
      const keptUntil = Number(grace?.expires_ms ?? 0); // in a table that was created again
      const added = briefly(run, () => inserting(run, () => run(addPaused, [key, keptUntil])));
      return (await orContention(added)) ? 'done' : 'locked';
    },
    resume: (run, key) => changing(run, resume, [], paused, [Buffer.from(key)]),
    async guard(run, claim) {
      const values = [Buffer.from(claim.key), Buffer.from(claim.owner), claim.token];
      try {
        // The clock of a statement is that of its start, and the first one may wait for the row.
        for (const statement of [lockShared, stillHeld])
          if ((await run(statement, values)).rows.length === 0) {
            await assertClock(run);
            return 'gone';
          }
        return 'held';
      } catch (error) {
        if (isStaleRead(error)) return 'changed';
        throw error;
      }
    },
    readClock: async (run) => Number((await run(`SELECT ${MS} AS now_ms`)).rows[0]?.now_ms),
    find: (run, key) => rowOf(run, Buffer.from(key)),
    list: async (run, { after, prefix, limit }) => {
      const rows = await read(run, list(hex(after), hex(prefix), limit));
      return rows.filter(({ key }) => key !== null) as unknown as LockRow[];
    },
    purge: (run, slice) => briefly(run, () => purge(run, slice)),
  };
}
