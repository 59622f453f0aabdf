import { randomUUID } from 'node:crypto';
import type {
  LeaseRenewal,
  LockAcquireResult,
  RenewalOutcome,
} from '../../interfaces/lock-store.interface.js';
import { LockStoreError } from '../../lock.errors.js';
import { CONTENTION, refusalOf } from '../shared/conditions.js';
import type { LeaseRequest, Release, ReleaseToWaiter } from '../shared/requests.js';
import type { OpenLocks } from './lock-collection.js';
import { isLock, stateOf, VIEW, type LockView } from './lock-document.js';
import * as update from './lock-updates.js';
import { isContention, isConversionFailure, isOutOfTime } from './mongo-failure.js';

const PURGED_AT_ONCE = 1_000;

export async function acquire(locks: OpenLocks, request: LeaseRequest): Promise<LockAcquireResult> {
  const attempt = randomUUID();
  const projection = { ...VIEW, attempt: 1, ignored: 1 };
  const options = { ...locks.write, projection, upsert: true, returnDocument: 'after' } as const;
  const found = await locks.collection
    .findOneAndUpdate(update.byKey(request.key), update.acquisition(request, attempt), options)
    .catch((error: unknown) => {
      if (isContention(error)) return null;
      if (request.tick !== null && isConversionFailure(error)) return 'tick-ahead' as const;
      throw error;
    });
  if (found === null) return CONTENTION;
  if (found === 'tick-ahead') return { acquired: false, reason: found };
  const view = found as unknown as LockView & { attempt: string; ignored?: Date };
  assertLock(view, locks);
  // If the key is free but was not granted, another attempt is taking the key.
  if (view.attempt !== attempt) return refusalOf(request, stateOf(view)) ?? CONTENTION;
  const { token, ignored } = view;
  return { acquired: true, fencingToken: Number(token), ...(ignored && { ignoredTick: ignored }) };
}

/**
 * Releases a lease. Resolves to `false` if this owner does not hold the lease, or no longer
 * holds it.
 */
export async function release(
  { collection, write }: OpenLocks,
  { key, owner, keepFor, outcome }: Release,
): Promise<boolean> {
  const { matchedCount } = await collection.updateOne(
    update.ownLease(key, owner),
    update.release(keepFor, outcome),
    write,
  );
  return matchedCount === 1;
}

/**
 * Releases a lease to a waiter with one command. If the command finds no lease to release, a
 * read finds the reason for the refusal.
 */
export async function releaseToWaiter(
  { collection, read, write }: OpenLocks,
  request: ReleaseToWaiter,
): Promise<LockAcquireResult> {
  const { key, owner } = request;
  const options = { ...write, projection: { token: 1 }, returnDocument: 'after' } as const;
  const granted = await collection
    .findOneAndUpdate(
      update.ownUnpausedLease(key, owner),
      update.releaseToWaiter(request, randomUUID()),
      options,
    )
    .catch((error: unknown) => {
      if (isContention(error)) return 'contention' as const;
      throw error;
    });
  if (granted === 'contention') return CONTENTION;
  if (granted) return { acquired: true, fencingToken: granted.token };
  const lease = await collection.findOne(update.ownLease(key, owner), {
    ...read,
    projection: { paused: 1 },
  });
  if (!lease) return { acquired: false, reason: 'held' };
  // A key that is no longer paused was resumed before the read.
  return lease.paused ? { acquired: false, reason: 'paused' } : CONTENTION;
}

/**
 * Renews leases with one command. If some leases were not renewed, a read shows which leases
 * were.
 *
 * A document that a transaction has changed makes the whole command wait. So the command may
 * take only half of the time, which leaves the other half for the read.
 */
export async function renewMany(
  { collection, read, write }: OpenLocks,
  leases: readonly LeaseRenewal[],
): Promise<RenewalOutcome[]> {
  const batch = randomUUID();
  const operations = leases.map(({ key, owner, ttl }) => ({
    updateOne: { filter: update.ownLease(key, owner), update: update.renewal(ttl, batch) },
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

/** Pauses a key. Resolves to `false` if the key was already paused. */
export async function pause(locks: OpenLocks, key: string): Promise<boolean> {
  const projection = { attempt: 1, paused: 1 } as const;
  const options = { ...locks.write, projection, upsert: true, returnDocument: 'before' } as const;
  const pausing = async () =>
    locks.collection.findOneAndUpdate(update.byKey(key), update.pause(key, randomUUID()), options);
  const before = await pausing().catch((error: unknown) => {
    if (isContention(error)) return pausing(); // another process wrote it first
    throw error;
  });
  if (before === null) return true;
  assertLock(before, locks);
  return before.paused !== true;
}

/**
 * Deletes at most a thousand unused keys. `isLast` tells the caller that no more unused keys
 * are left.
 */
export async function purge(
  { collection, read, write }: OpenLocks,
  prefix: string,
  olderThan: number,
): Promise<{ purged: number; isLast: boolean }> {
  const unused = update.unused(prefix, olderThan);
  const found = await collection
    .find(unused, { ...read, projection: { _id: 1 } })
    .limit(PURGED_AT_ONCE)
    .toArray();
  const _id = { $in: found.map((document) => document._id) };
  const { deletedCount } = await collection.deleteMany({ $and: [{ _id }, unused] }, write);
  return { purged: deletedCount, isLast: found.length < PURGED_AT_ONCE };
}

/** Refuses a document of the application that has the key as its `_id` but is no lock. */
function assertLock(document: { attempt?: unknown }, { doing, target }: OpenLocks): void {
  if (isLock(document)) return;
  throw new LockStoreError(
    `Could not ${doing}: under this key, ${target} has a document that is no lock. Give the lock store a collection of its own: the option collectionName.`,
  );
}
