import type { LockAcquireResult, Refusal } from '../../interfaces/lock-store.interface.js';
import { CONTENTION } from '../shared/conditions.js';
import { leaseRequestOf, type LeaseRequest, type ReleaseToWaiter } from '../shared/requests.js';
import type { LockOperation, LockOperations } from './lock-operations.js';
import type { RowRefusal } from './lock-row.js';
import type { LockDatabase, Run, SqlAcquireRequest } from './lock-statements.js';
import { unlessCollided } from './store-failure.js';

/**
 * Makes one attempt to get a key. If the attempt collides with other sessions, its result is
 * `contention`.
 *
 * @param waiting whether the caller keeps waiting after a refusal, and the store can notify
 * this process when the key is released
 */
export async function attempt(
  operations: LockOperations,
  operation: LockOperation,
  lease: LeaseRequest,
  waiting: boolean,
): Promise<LockAcquireResult> {
  const longest = operations.longestTtl;
  const result = operations.run<LockAcquireResult>(operation, (database, run, before) => {
    // The server may have committed a grant on an earlier, unusable connection. So the attempt
    // is re-sent, as if its answer had been lost.
    const resend = lease.resend || before?.acquired === true;
    return acquireKey(database, run, { ...lease, resend, ignored: null, longest }, waiting);
  });
  return unlessCollided<LockAcquireResult>(result, CONTENTION);
}

/**
 * Ends the lease of one owner, and grants the key to a waiter. If the statement collides with
 * other sessions, the result is `contention`.
 */
export async function releaseToWaiter(
  operations: LockOperations,
  operation: LockOperation,
  release: ReleaseToWaiter,
): Promise<LockAcquireResult> {
  const { key, nextOwner, ttl, label } = release;
  operations.expectTtl(ttl);
  const longest = operations.longestTtl;
  const granted = operations.run<LockAcquireResult>(operation, async ({ statements }, run, before) => {
    const result = await statements.releaseToWaiter(run, release);
    if (result.acquired || !before?.acquired) return result;
    // An earlier connection was unusable, but the server may have committed its grant. Then
    // the waiter already has the lock, and this attempt finds it.
    const request = leaseRequestOf(key, nextOwner, ttl, { label: label ?? undefined, resend: true });
    return statements.acquire(run, { ...request, ignored: null, longest });
  });
  return unlessCollided<LockAcquireResult>(granted, CONTENTION);
}

/** Puts this process into the queue of a key that a batch has refused. */
export async function queueForKey(
  operations: LockOperations,
  operation: LockOperation,
  key: string,
  refusal: Refusal,
  wasNotified: boolean,
): Promise<LockAcquireResult> {
  const queueing = operations.run<LockAcquireResult>(
    operation,
    async ({ wakeUps }, run) => wakeUps?.queue(run, key, refusal, wasNotified) ?? refusal,
  );
  return unlessCollided<LockAcquireResult>(queueing, CONTENTION);
}

/**
 * Makes the attempt. If another process holds the key and the caller waits, this process joins
 * the queue of the key.
 */
async function acquireKey(
  { statements, wakeUps }: LockDatabase,
  run: Run,
  request: SqlAcquireRequest,
  waiting: boolean,
): Promise<LockAcquireResult> {
  const wasNotified = wakeUps?.polls(request.key) ?? false;
  if (!wakeUps || !waiting)
    return acquireIgnoring(request, (attempted) => statements.acquire(run, attempted));
  const result = await acquireIgnoring(request, (attempted) => wakeUps.acquire(run, attempted, wasNotified));
  if (result.acquired || result.reason !== 'held' || result.queued) return result;
  return wakeUps.queue(run, request.key, result, wasNotified);
}

/**
 * Makes an attempt. If it is refused only because of a tick that may be ignored, it is
 * repeated without regard to that tick, and the result names the tick.
 */
async function acquireIgnoring(
  request: SqlAcquireRequest,
  acquire: (request: SqlAcquireRequest) => Promise<LockAcquireResult | RowRefusal>,
): Promise<LockAcquireResult> {
  const result = await acquire(request);
  if (!('ignorable' in result) || result.ignorable === undefined) return result;
  const again = await acquire({ ...request, ignored: result.ignorable });
  return again.acquired ? { ...again, ignoredTick: new Date(result.ignorable) } : CONTENTION;
}
