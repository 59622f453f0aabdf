import type { Clock } from './clock.js';
import type { LockStore, StoreClock } from '../interfaces/lock-store.interface.js';
import { LockStoreError } from '../lock.errors.js';
import type { LockLogger } from './lock.logger.js';
import { settleWithin } from './settle-within.js';

/** Milliseconds by which the clocks of machine and database may differ without a warning. */
const TOLERANCE = 1_000;
/** Milliseconds for the answer: a store that hangs must not hang the start. */
const PATIENCE = 10_000;

/**
 * Warns when the clocks of this machine and of the database differ: fencing tokens come from
 * this machine's clock while locking is disabled, and from the database's clock otherwise.
 */
export async function compareClocks(
  store: LockStore & Partial<StoreClock>,
  clock: Clock,
  logger: LockLogger,
): Promise<void> {
  if (!store.readClock) return;
  const before = clock.date();
  let time: number | undefined;
  let failure: unknown = new LockStoreError(`The store did not tell its time within ${PATIENCE} ms.`);
  await settleWithin(clock, PATIENCE, store.readClock.bind(store), {
    answered: (value) => (time = value),
    failed: (error) => (failure = error),
  });
  if (time === undefined) {
    logger.clockUnread(failure);
    return;
  }
  // The database read its clock at some moment between the two readings here: only a time
  // outside of them differs.
  const difference = time < before ? time - before : Math.max(0, time - clock.date());
  if (Math.abs(difference) > TOLERANCE) logger.clocksDiffer(difference);
}
