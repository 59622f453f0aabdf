import type { LockAcquireResult, Refusal } from '../../interfaces/lock-store.interface.js';
import { CONTENTION } from '../shared/conditions.js';
import { leaseRequestOf, type LeaseRequest, type ReleaseToWaiter } from '../shared/requests.js';
import type { LockOperation, LockOperations } from './lock-operations.js';
import type { RowRefusal } from './lock-row.js';
import type { LockDatabase, Run, SqlAcquireRequest } from './lock-statements.js';
import { unlessCollided } from './store-failure.js';

/**
 * Makes one attempt to get a key. If it collides with other sessions, the result is
 * `contention`.
 *
 * @param waiting whether the caller keeps waiting if it is refused, and the store can notify
 * this process of the key
 */
export async function attempt(
  operations: LockOperations,
  operation: LockOperation,
  lease: LeaseRequest,
  waiting: boolean,
): Promise<LockAcquireResult> {
  const longest = operations.longestTtl;
  const result = operations.run<LockAcquireResult>(operation, (database, run, before) => {
    // On an earlier, unusable connection, the grant may have been committed.
    const resend = lease.resend || before?.acquired === true;
    return acquireKey(database, run, { ...lease, resend, ignored: null, longest }, waiting);
  });
  return unlessCollided<LockAcquireResult>(result, CONTENTION);
}

/**
 * Ends the lease of one owner, and grants the key to a waiter. If it collides with other
 * sessions, the result is `contention`.
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
    // If an earlier, unusable connection has committed the grant, the waiter already has the
    // lock.
    const request = leaseRequestOf(key, nextOwner, ttl, { label: label ?? undefined, resend: true });
    return statements.acquire(run, { ...request, ignored: null, longest });
  });
  return unlessCollided<LockAcquireResult>(granted, CONTENTION);
}

/** Queues this process for a key that a batch has refused. */
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
 * Makes the attempt. If another process holds the key and this process waits, it joins the
 * queue.
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
 * Repeats an attempt if only a tick that may be ignored has refused it. The result names the
 * ignored tick.
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
