import type { LeaseRenewal, RenewalOutcome } from '../../interfaces/lock-store.interface.js';
import type { Change, LockDialect, Run } from './lock-dialect.js';
import { isHeld, NEVER, refusalOf, type LockRow } from './lock-row.js';
import { isContention, isServerAnswer } from './store-failure.js';

/** What the statements have to know about the server. */
export interface MysqlServer {
  mariadb: boolean;
  /** MySQL 8 and MariaDB 10.6 have `FOR UPDATE SKIP LOCKED`. Older ones wait for a locked row: MariaDB not at all, MySQL a second. */
  skipsLocked: boolean;
}

const US = `TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))`;
const MS = `(${US} DIV 1000)`;

// Text goes in and out as bytes: the connection's charset may know fewer characters.
const ROW = `\`key\`, owner IS NOT NULL AS owned, token, expires_ms, CAST(label AS BINARY) AS label, started_ms, renewed_ms,
  CAST(last_label AS BINARY) AS last_label, last_started_ms, last_ended_ms, last_outcome, ${MS} AS now_ms`;

/**
 * The statements of MySQL (5.6 or newer) and MariaDB (10.3 or newer).
 *
 * Assignments are carried out from left to right, except in MariaDB's SIMULTANEOUS_ASSIGNMENT mode: none here reads what one before it has
 * changed. `LAST_INSERT_ID(x)` hands x to the client in the answer to the update; it tells more than the count of affected rows, which counts
 * found ones or changed ones, as the connection is configured.
 */
export function mysqlDialect(table: string, { mariadb, skipsLocked }: MysqlServer): LockDialect {
  const until = (ttl: string) => `LEAST(${MS} + ${ttl}, ${NEVER})`;
  // Twice nested, as MySQL does not read the table that it updates otherwise.
  const row = (which: string) =>
    skipsLocked
      ? `\`key\` = (SELECT \`key\` FROM (SELECT \`key\` FROM ${table} WHERE ${which} FOR UPDATE SKIP LOCKED) AS free)`
      : which;

  // The token comes from the clock, so that it also grows across deleted rows and fail-overs.
  const acquire = (mine: string) => `
    UPDATE ${table}
       SET token = LAST_INSERT_ID(IF(${mine}, token, GREATEST(token + 1, ${US}))),
           last_label      = IF(owner IS NULL OR ${mine}, last_label,      label),
           last_started_ms = IF(owner IS NULL OR ${mine}, last_started_ms, started_ms),
           last_ended_ms   = IF(owner IS NULL OR ${mine}, last_ended_ms,   expires_ms),
           last_outcome    = IF(owner IS NULL OR ${mine}, last_outcome,    'failed'),
           started_ms = IF(${mine}, started_ms, ${MS}),
           owner = ?, label = CONVERT(? USING utf8mb4), renewed_ms = ${MS}, expires_ms = ${until('?')}
     WHERE ${row(`\`key\` = ? AND (expires_ms <= ${MS} OR ${mine})`)}`;
  const firstTry = acquire('FALSE');
  const resend = acquire('owner <=> ?');
  // Here nothing skips: another session's lock on the gap between two keys is waited for, on MySQL as long as the session is set to.
  const add = `
    ${mariadb ? 'SET STATEMENT innodb_lock_wait_timeout = 1 FOR' : ''}
    INSERT INTO ${table} (\`key\`, owner, token, label, started_ms, renewed_ms, expires_ms)
    VALUES (?, ?, LAST_INSERT_ID(${US}), CONVERT(? USING utf8mb4), ${MS}, ${MS}, ${until('?')})`;

  const lease = `\`key\` = ? AND owner = ? AND expires_ms > ${MS}`;
  const renew = `
    UPDATE ${table} SET token = LAST_INSERT_ID(token), renewed_ms = ${MS}, expires_ms = ${until('?')} WHERE ${row(lease)}`;
  // 0 and not the clock: after a clock that stepped back the key would stay taken.
  const release = `
    UPDATE ${table}
       SET token = LAST_INSERT_ID(token),
           last_label = label, last_started_ms = started_ms, last_ended_ms = ${MS}, last_outcome = ?,
           owner = NULL, expires_ms = IF(? > 0, ${until('?')}, 0)
     WHERE ${row(lease)}`;
  const held = `\`key\` = ? AND expires_ms > ${MS}`;
  const forceRelease = `
    UPDATE ${table}
       SET token = LAST_INSERT_ID(token),
           last_label      = IF(owner IS NULL, last_label,      label),
           last_started_ms = IF(owner IS NULL, last_started_ms, started_ms),
           last_ended_ms   = IF(owner IS NULL, last_ended_ms,   ${MS}),
           last_outcome    = IF(owner IS NULL, last_outcome,    'failed'),
           owner = NULL, expires_ms = 0
     WHERE ${row(held)}`;

  // As text, with values as hexadecimal literals: prepared, each size of batch would be one more statement that the server keeps.
  const among = (leases: readonly LeaseRenewal[]) => `
    \`key\` IN (${leases.map((l) => hex(l.key)).join()}) AND
    (\`key\`, owner) IN (${leases.map((l) => `(${hex(l.key)}, ${hex(l.owner)})`).join()}) AND expires_ms > ${MS}`;
  // STRAIGHT_JOIN and LIMIT: merged with the derived table, or begun from its other side, the join would wait for locked rows.
  const renewMany = (leases: readonly LeaseRenewal[], ttl: number) =>
    skipsLocked
      ? `UPDATE (SELECT \`key\` FROM ${table} FORCE INDEX (PRIMARY) WHERE ${among(leases)}
                  LIMIT ${leases.length} FOR UPDATE SKIP LOCKED) AS mine
           STRAIGHT_JOIN ${table} AS t ON t.\`key\` = mine.\`key\`
           SET t.renewed_ms = LAST_INSERT_ID(${MS}), t.expires_ms = ${until(String(ttl))}`
      : `UPDATE ${table} FORCE INDEX (PRIMARY)
           SET renewed_ms = LAST_INSERT_ID(${MS}), expires_ms = ${until(String(ttl))} WHERE ${among(leases)}`;
  const renewedMany = (leases: readonly LeaseRenewal[]) =>
    `SELECT \`key\`, owner, renewed_ms FROM ${table} FORCE INDEX (PRIMARY) WHERE ${among(leases)}`;

  const find = `SELECT ${ROW} FROM ${table} WHERE \`key\` = ?`;
  const list = (after: string, prefix: string, limit: number) => `
    SELECT ${ROW} FROM ${table}
     WHERE \`key\` > ${after} AND \`key\` >= ${prefix} AND LEFT(\`key\`, LENGTH(${prefix})) = ${prefix} AND expires_ms > ${MS}
     ORDER BY \`key\` LIMIT ${limit}`;

  // MySQL waits 50 s for a locked row by default.
  const briefly = async <T>(run: Run, work: () => Promise<T>): Promise<T> => {
    if (skipsLocked) return work();
    const seconds = mariadb ? 0 : 1;
    await run(
      `SET @lock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = ${seconds}`,
    );
    try {
      return await work();
    } finally {
      await putBack(run, 'SET SESSION innodb_lock_wait_timeout = @lock_wait');
    }
  };

  const rowOf = async (run: Run, key: string) =>
    (await run(find, [Buffer.from(key)])).rows[0] as unknown as LockRow | undefined;

  /** What is there but was skipped is locked, or has just changed: asked again, it tells. */
  const changing = (run: Run, sql: string, set: unknown[], which: string, id: Buffer[]): Promise<Change> =>
    briefly(run, async () => {
      if ((await run(sql, [...set, ...id])).insertId !== 0) return 'done';
      const seen = await run(`SELECT 1 FROM ${table} WHERE ${which}`, id);
      return seen.rows.length > 0 ? 'locked' : 'gone';
    });

  const renewAlone = async (run: Run, { key, owner, ttl }: LeaseRenewal): Promise<RenewalOutcome> => {
    const { insertId } = await run(renew, [ttl, Buffer.from(key), Buffer.from(owner)]);
    return insertId === 0 ? 'lost' : 'renewed';
  };

  const renewTogether = async (
    run: Run,
    leases: readonly LeaseRenewal[],
    ttl: number,
  ): Promise<RenewalOutcome[]> => {
    const { affected, insertId: stamp } = await run(renewMany(leases, ttl));
    if (affected === new Set(leases.map(identityOf)).size) return leases.map(() => 'renewed');
    const { rows } = await run(renewedMany(leases));
    const renewals = new Map(rows.map((found) => [identityOf(found), Number(found.renewed_ms)]));
    return leases.map((one) => {
      const renewal = renewals.get(identityOf(one));
      if (renewal === undefined) return 'lost';
      return renewal === stamp ? 'renewed' : 'unknown'; // the stamp is this update's own clock
    });
  };

  /** Where nothing is skipped, one locked row fails them all. */
  const renewGroup = async (
    run: Run,
    leases: readonly LeaseRenewal[],
    ttl: number,
  ): Promise<RenewalOutcome[]> => {
    if (skipsLocked) return renewTogether(run, leases, ttl);
    const together = await orContention(renewTogether(run, leases, ttl));
    if (together) return together;
    const outcomes: RenewalOutcome[] = [];
    for (const one of leases) outcomes.push((await orContention(renewAlone(run, one))) ?? 'unknown');
    return outcomes;
  };

  return {
    async acquire(run, attempt) {
      const [key, owner] = [Buffer.from(attempt.key), Buffer.from(attempt.owner)];
      const label = attempt.label === null ? null : Buffer.from(attempt.label);
      if (!skipsLocked && !attempt.resend) {
        const holder = await rowOf(run, attempt.key); // a read waits for nobody
        if (holder && isHeld(holder)) return refusalOf(holder);
      }
      return briefly(run, async () => {
        const values = [owner, label, attempt.ttl, key];
        const taken = attempt.resend
          ? await run(resend, [...Array<Buffer>(6).fill(owner), ...values, owner])
          : await run(firstTry, values);
        if (taken.insertId !== 0) return { acquired: true, fencingToken: taken.insertId };
        const holder = await rowOf(run, attempt.key);
        if (holder) return refusalOf(holder);
        const added = await run(add, [key, owner, label, attempt.ttl]);
        return { acquired: true, fencingToken: added.insertId };
      });
    },
    renew: (run, { key, owner, ttl }) =>
      changing(run, renew, [ttl], lease, [Buffer.from(key), Buffer.from(owner)]),
    release: (run, { key, owner, keepFor, outcome }) =>
      changing(run, release, [outcome, keepFor, keepFor], lease, [Buffer.from(key), Buffer.from(owner)]),
    forceRelease: (run, key) => changing(run, forceRelease, [], held, [Buffer.from(key)]),
    renewMany: (run, leases) =>
      briefly(run, async () => {
        const outcomes = new Map<LeaseRenewal, RenewalOutcome>();
        for (const ttl of new Set(leases.map((one) => one.ttl))) {
          const group = leases.filter((one) => one.ttl === ttl);
          const answers = await renewGroup(run, group, ttl);
          group.forEach((one, i) => outcomes.set(one, answers[i] ?? 'unknown'));
        }
        return leases.map((one) => outcomes.get(one) ?? 'unknown');
      }),
    find: rowOf,
    list: async (run, { after, prefix, limit }) =>
      (await run(list(hex(after), hex(prefix), limit))).rows as unknown as LockRow[],
  };
}

/** Failing here must cost the connection, also if the server has answered: the next user of the pool would get the short lock wait. */
async function putBack(run: Run, sql: string): Promise<void> {
  try {
    await run(sql);
  } catch (error) {
    if (!isServerAnswer(error)) throw error;
    throw new Error('The lock wait time-out of the session could not be put back', { cause: error });
  }
}

async function orContention<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (isContention(error)) return undefined;
    throw error;
  }
}

function identityOf({ key, owner }: { key?: unknown; owner?: unknown }): string {
  return `${String(key)}\0${String(owner)}`;
}

function hex(text: string): string {
  return `X'${Buffer.from(text).toString('hex')}'`;
}
