import type { LeaseRenewal, RenewalOutcome } from '../../../interfaces/lock-store.interface.js';
import type { Answer, ChangeResult } from '../lock-statements.js';
import type { MysqlServer } from './mysql-statements.js';
import { orContention } from './session-settings.js';

/** Functions that send the statements of renewals, all on one connection. */
export interface Renewals {
  readonly server: MysqlServer;
  /** @throws UnusableConnectionError if the session does not use the server's clock */
  assertClock(): Promise<void>;
  /** Renews one lease. */
  renew(lease: LeaseRenewal): Promise<ChangeResult>;
  /** Renews leases that all have the same ttl, with one statement. */
  send(values: object): Promise<Answer>;
  /** Reads which of the leases have not expired. */
  look(values: object): Promise<Answer['rows']>;
}

const OUTCOMES = { done: 'renewed', gone: 'lost', locked: 'unknown' } as const;

/**
 * Renews the leases of each ttl with one statement. If that statement collides with another
 * session, renews them one by one.
 */
export async function renewByTtl(
  renewals: Renewals,
  leases: readonly LeaseRenewal[],
): Promise<RenewalOutcome[]> {
  const outcomes = new Map<LeaseRenewal, RenewalOutcome>();
  for (const ttl of new Set(leases.map((lease) => lease.ttl))) {
    const group = leases.filter((lease) => lease.ttl === ttl);
    const renewal = renewTogether(renewals, group, ttl);
    const together = await (renewals.server.skipsLocked ? renewal : orContention(renewal));
    for (const [i, lease] of group.entries())
      outcomes.set(lease, together ? (together[i] ?? 'unknown') : OUTCOMES[await renewals.renew(lease)]);
  }
  return leases.map((lease) => outcomes.get(lease) ?? 'unknown');
}

async function renewTogether(
  renewals: Renewals,
  leases: readonly LeaseRenewal[],
  ttl: number,
): Promise<RenewalOutcome[]> {
  const identities = leases.map(identityOf);
  const values = { keys: leases.map(({ key }) => key), leases: identities, ttl, limit: leases.length };
  if (renewals.server.logsStatements) await renewals.assertClock();
  const { affected, insertId: renewedAt } = await renewals.send(values);
  if (affected === new Set(identities).size) return leases.map(() => 'renewed');
  const rows = await renewals.look(values);
  const found = new Map(rows.map((row) => [identityOf(row), Number(row.renewed_ms)]));
  return identities.map((identity) => {
    const renewal = found.get(identity);
    if (renewal === undefined) return 'lost';
    return renewal === renewedAt ? 'renewed' : 'unknown';
  });
}

/** Joins key and owner by a NUL, as the statements do, since a key cannot contain a NUL. */
function identityOf({ key, owner }: { key?: unknown; owner?: unknown }): string {
  return `${String(key)}\0${String(owner)}`;
}
