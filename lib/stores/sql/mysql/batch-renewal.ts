import type { LeaseRenewal, RenewalOutcome } from '../../../interfaces/lock-store.interface.js';
import type { LockStatements, Run } from '../lock-statements.js';
import { hex, MS, until, type MysqlServer } from './mysql-expressions.js';
import { assertClock, CLOCK_RUNS, clockRuns, withClock } from './mysql-clock.js';
import { orContention } from './lock-wait.js';

/**
 * Renewal of many leases, one update for those of the same ttl: `UPDATE ... JOIN (... SKIP LOCKED)` on MySQL 8. On MariaDB one locked row fails
 * the update of all, at once, and they are renewed one by one.
 *
 * @param renew renews one lease
 */
export function mysqlBatchRenewal(
  table: string,
  { mariadb, skipsLocked, logsStatements }: MysqlServer,
  renew: LockStatements['renew'],
): NonNullable<LockStatements['renewMany']> {
  // As text: prepared, each size of batch would be one more statement that the server keeps. Key and owner as one string, since a list of pairs takes
  // MariaDB a quarter longer; there is no NUL in a key.
  const among = (leases: readonly LeaseRenewal[]) =>
    `\`key\` IN (${leases.map(({ key }) => hex(key)).join()}) AND
     CONCAT(\`key\`, X'00', owner) IN (${leases.map((lease) => hex(identityOf(lease))).join()}) AND expires_ms > ${MS}`;
  const unlessSet = logsStatements ? '' : `AND ${CLOCK_RUNS}`;
  // sql_safe_updates refuses to update a list of keys, although they are primary keys.
  const update = (leases: readonly LeaseRenewal[], ttl: number) => {
    const set = `renewed_ms = LAST_INSERT_ID(${MS}), expires_ms = ${until(String(ttl))}`;
    if (!skipsLocked)
      return `SET STATEMENT innodb_lock_wait_timeout = 0, sql_safe_updates = 0 FOR
        UPDATE ${table} FORCE INDEX (PRIMARY) SET ${set} WHERE ${among(leases)} ${unlessSet}`;
    // STRAIGHT_JOIN and LIMIT: merged with the derived table, or begun from its other side, the join would wait for locked rows.
    return `${mariadb ? 'SET STATEMENT sql_safe_updates = 0 FOR UPDATE' : 'UPDATE /*+ SET_VAR(sql_safe_updates = 0) */'}
             (SELECT \`key\` FROM ${table} FORCE INDEX (PRIMARY) WHERE ${among(leases)} ${unlessSet}
               LIMIT ${leases.length} FOR UPDATE SKIP LOCKED) AS mine
        STRAIGHT_JOIN ${table} AS t ON t.\`key\` = mine.\`key\` SET ${set}`;
  };
  const find = (leases: readonly LeaseRenewal[]) =>
    withClock(
      `SELECT \`key\`, owner, renewed_ms FROM ${table} FORCE INDEX (PRIMARY) WHERE ${among(leases)} LIMIT ${leases.length}`,
    );

  const renewTogether = async (
    run: Run,
    leases: readonly LeaseRenewal[],
    ttl: number,
  ): Promise<RenewalOutcome[]> => {
    if (logsStatements) await assertClock(run);
    const { affected, insertId: stamp } = await run(update(leases, ttl));
    if (affected === new Set(leases.map(identityOf)).size) return leases.map(() => 'renewed');
    let { rows } = await run(find(leases));
    if (!clockRuns(rows[0])) {
      await assertClock(run);
      ({ rows } = await run(find(leases))); // the first query was only slow
    }
    const renewals = new Map(rows.map((row) => [identityOf(row), Number(row.renewed_ms)]));
    return leases.map((lease) => {
      const renewal = renewals.get(identityOf(lease));
      if (renewal === undefined) return 'lost';
      return renewal === stamp ? 'renewed' : 'unknown'; // the stamp is the clock of this update
    });
  };

  const renewGroup = async (
    run: Run,
    leases: readonly LeaseRenewal[],
    ttl: number,
  ): Promise<RenewalOutcome[]> => {
    if (skipsLocked) return renewTogether(run, leases, ttl);
    const together = await orContention(renewTogether(run, leases, ttl));
    if (together) return together;
    const outcomes: RenewalOutcome[] = [];
    for (const lease of leases) outcomes.push(OUTCOMES[await renew(run, lease)]);
    return outcomes;
  };

  return async (run, leases) => {
    const outcomes = new Map<LeaseRenewal, RenewalOutcome>();
    for (const ttl of new Set(leases.map((lease) => lease.ttl))) {
      const group = leases.filter((lease) => lease.ttl === ttl);
      const answers = await renewGroup(run, group, ttl);
      group.forEach((lease, i) => outcomes.set(lease, answers[i] ?? 'unknown'));
    }
    return leases.map((lease) => outcomes.get(lease) ?? 'unknown');
  };
}

const OUTCOMES = { done: 'renewed', gone: 'lost', locked: 'unknown' } as const;

function identityOf({ key, owner }: { key?: unknown; owner?: unknown }): string {
  return `${String(key)}\0${String(owner)}`;
}
