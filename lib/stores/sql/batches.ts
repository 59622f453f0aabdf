import { setTimeout as sleep } from 'node:timers/promises';
import type { LeaseRenewal, PurgeRequest, RenewalOutcome } from '../../interfaces/lock-store.interface.js';
import { OPERATION_LIMIT } from '../shared/operation-limit.js';
import type { ChangeResult, PurgedSlice } from './lock-statements.js';
import type { LockOperations } from './lock-operations.js';
import { unlessCollided } from './store-failure.js';

/**
 * Much larger batches stall other writers. The engine renews no more leases at once, but an
 * application may also call the store directly.
 */
const BATCH = 500;

/**
 * Renews in batches of 500, where the database can leave out locked rows. The leases of a
 * batch that collided with other sessions as a whole are `unknown`.
 */
export async function renewLeases(
  operations: LockOperations,
  leases: readonly LeaseRenewal[],
  timeout?: number,
): Promise<RenewalOutcome[]> {
  const outcomes: RenewalOutcome[] = [];
  for (const { ttl } of leases) operations.expectTtl(ttl);
  for (let start = 0; start < leases.length; start += BATCH) {
    const batch = leases.slice(start, start + BATCH);
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
 * Renews each lease on a connection of its own, so that a locked row holds up no other lease.
 * A lease that is not renewed soon is `unknown`, and the caller renews it again by itself.
 *
 * @throws LockStoreError when all fail
 */
async function renewEach(
  operations: LockOperations,
  leases: readonly LeaseRenewal[],
  timeout = OPERATION_LIMIT,
): Promise<RenewalOutcome[]> {
  const soon = Math.min(timeout / 2, ...leases.map(({ ttl }) => ttl / 6));
  const settled = new AbortController();
  const patience = sleep(soon, 'unknown' as const, { signal: settled.signal });
  patience.catch(() => undefined); // it is aborted when all have settled
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

/** @param key as the caller knows it, for messages */
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

/**
 * Purges slice by slice, and pauses after each slice for as long as it took, so that other
 * sessions write meanwhile.
 */
export async function purgeKeys(
  operations: LockOperations,
  { prefix, olderThan }: Required<PurgeRequest>,
): Promise<number> {
  let purged = 0;
  for (let after = ''; ;) {
    const startedAt = performance.now();
    const slice = await operations.insist<PurgedSlice>(
      { doing: 'purge unused keys' },
      ({ statements }, run) => statements.purge(run, { prefix, after, olderThan }),
    );
    purged += slice.purged;
    if (!slice.last?.startsWith(prefix)) return purged; // keys that start alike stand together
    after = slice.last;
    await sleep(performance.now() - startedAt);
  }
}
