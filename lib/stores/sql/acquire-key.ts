import type { LockAcquireResult } from '../../interfaces/lock-store.interface.js';
import { CONTENTION } from '../shared/conditions.js';
import type { LockDatabase, LockStatements, Run, SqlAcquireRequest } from './lock-statements.js';

/**
 * Makes one attempt, and queues this process if another one holds the key.
 *
 * @param waiting whether the caller goes on waiting, and this process can be notified of the
 * key
 */
export async function acquireKey(
  { statements, wakeUps }: LockDatabase,
  run: Run,
  request: SqlAcquireRequest,
  waiting: boolean,
): Promise<LockAcquireResult> {
  const wasNotified = wakeUps?.polls(request.key) ?? false;
  const result = await acquireIgnoring(statements, run, request);
  if (result.acquired || result.reason !== 'held' || !waiting) return result;
  return wakeUps?.queue(run, request.key, result, wasNotified) ?? result;
}

/**
 * Repeats an attempt that only an ignorable tick has refused, and reports the tick that it
 * ignored.
 */
async function acquireIgnoring(
  statements: LockStatements,
  run: Run,
  request: SqlAcquireRequest,
): Promise<LockAcquireResult> {
  const result = await statements.acquire(run, request);
  if (!('ignorable' in result) || result.ignorable === undefined) return result;
  const again = await statements.acquire(run, { ...request, ignored: result.ignorable });
  return again.acquired ? { ...again, ignoredTick: new Date(result.ignorable) } : CONTENTION;
}
