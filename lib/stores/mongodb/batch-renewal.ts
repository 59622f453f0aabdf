import { randomUUID } from 'node:crypto';
import type { Collection } from 'mongodb';
import type { LeaseRenewal, RenewalOutcome } from '../../interfaces/lock-store.interface.js';
import type { LockDocument } from './lock-document.js';
import { ownLease, renewal } from './lock-updates.js';
import { isOutOfTime } from './mongo-failure.js';
import type { OperationOptions } from './operation-options.js';

/**
 * Renews leases in one command, and asks in another which of them when they were not all.
 *
 * A document that a transaction has in its hands makes the whole command wait: so it may take half of the time only, and the rest tells what it has done.
 */
export async function renewTogether(
  collection: Collection<LockDocument>,
  { read, write }: OperationOptions,
  leases: readonly LeaseRenewal[],
): Promise<RenewalOutcome[]> {
  const batch = randomUUID();
  const operations = leases.map(({ key, owner, ttl }) => ({
    updateOne: { filter: ownLease(key, owner), update: renewal(ttl, batch) },
  }));
  const inHalf = { ...write, maxTimeMS: Math.ceil(write.maxTimeMS / 2), ordered: false };
  const matched = await collection.bulkWrite(operations, inHalf).then(
    ({ matchedCount }) => matchedCount,
    (error: unknown) => {
      if (isOutOfTime(error)) return undefined;
      throw error;
    },
  );
  if (matched === leases.length) return leases.map(() => 'renewed');
  const renewed = await collection
    .find({ _id: { $in: leases.map(({ key }) => key) }, batch }, { ...read, projection: { owner: 1 } })
    .toArray();
  const owners = new Map(renewed.map(({ _id, owner }) => [_id, owner]));
  const otherwise = matched === undefined ? 'unknown' : 'lost';
  return leases.map(({ key, owner }) => (owners.get(key) === owner ? 'renewed' : otherwise));
}
