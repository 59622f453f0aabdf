import { setTimeout as sleep } from 'node:timers/promises';
import type { LeaseRenewal, RenewalOutcome } from '../../interfaces/lock-store.interface.js';
import { LARGEST_BATCH } from '../shared/batcher.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import type { ChangeResult } from './lock-statements.js';
import type { LockOperations } from './lock-operations.js';
import { unlessCollided } from './store-failure.js';

/**
 * Renews leases in batches of 500 if the database can skip locked rows, otherwise one by one.
 * The engine never renews more than 500 leases at once, but an application may call the store
 * directly. If a whole batch collides with other sessions, the outcome of its leases is
 * `unknown`.
 */
export async function renewLeases(
  operations: LockOperations,
  leases: readonly LeaseRenewal[],
  timeout?: number,
): Promise<RenewalOutcome[]> {
  const outcomes: RenewalOutcome[] = [];
  for (const { ttl } of leases) operations.expectTtl(ttl);
  for (let start = 0; start < leases.length; start += LARGEST_BATCH) {
    const batch = leases.slice(start, start + LARGEST_BATCH);
    const owners = batch.map(({ owner }) => owner);
    const renewal = operations.run(
      { doing: `renew ${batch.length} locks`, timeout, owners },
      async ({ statements }, run) => statements.renewMany?.(run, batch),
    );
    const unknown = batch.map((): RenewalOutcome => 'unknown');
    const renewed = await unlessCollided(renewal, unknown);
    outcomes.push(...(renewed ?? (await renewEach(operations, batch, timeout))));
  }
  return outcomes;
}

/**
 * Renews each lease on its own connection, so that a locked row delays no other lease. If a
 * lease is not renewed soon, its outcome is `unknown`, and the caller repeats this renewal
 * alone.
 *
 * @throws LockStoreError when all renewals fail
 */
async function renewEach(
  operations: LockOperations,
  leases: readonly LeaseRenewal[],
  timeout = OPERATION_LIMIT,
): Promise<RenewalOutcome[]> {
  const soon = Math.min(timeout / 2, ...leases.map(({ ttl }) => ttl / 6));
  const settled = new AbortController();
  const patience = sleep(soon, 'unknown' as const, { signal: settled.signal });
  // When all renewals have ended, the signal ends the sleep with an error.
  patience.catch(() => undefined);
  const renewals = leases.map(async (lease): Promise<RenewalOutcome> => {
    const renewal = renewLease(operations, lease.key, lease, timeout);
    return Promise.race([renewal.then((renewed) => (renewed ? 'renewed' : 'lost')), patience]);
  });
  const results = await Promise.allSettled(renewals);
  settled.abort();
  const failures = results.filter((result) => result.status === 'rejected');
  if (failures.length === leases.length) throw failures[0]?.reason;
  return results.map((result) => (result.status === 'fulfilled' ? result.value : 'unknown'));
}

/** @param key the key as the caller passed it, which messages show */
export async function renewLease(
  operations: LockOperations,
  key: string,
  lease: LeaseRenewal,
  timeout?: number,
): Promise<boolean> {
  operations.expectTtl(lease.ttl);
  const operation = { doing: `renew "${key}"`, timeout, owners: [lease.owner] };
  const result = await operations.insist<ChangeResult>(operation, ({ statements }, run) =>
    statements.renew(run, lease),
  );
  return result === 'done';
}
