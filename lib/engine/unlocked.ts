import type { Clock } from './clock.js';
import type { LockStore } from '../interfaces/lock-store.interface.js';
import { Lease } from './lease.js';
import { Lock } from '../lock.js';
import { transactionsOf } from './transactions-of.js';

/**
 * Makes the handle that stands in for a lock while locking is disabled. It is always held.
 *
 * @param openStore called when the handle is asked for a transaction, which needs a database
 */
export function unlocked(
  key: string,
  fencingToken: number,
  clock: Clock,
  openStore: () => Promise<LockStore>,
): Lock {
  const terms = { key, storeKey: key, ttl: Infinity, renewEvery: false as const };
  const grant = { owner: '', fencingToken, sentAt: clock.now(), asleep: 0, drift: 0 };
  return new Lock(
    new Lease(terms, grant, clock),
    {
      extend: async () => {},
      release: async (lease) => lease.end(),
      transaction: async (_, work) => transactionsOf(await openStore()).transaction(work),
      guard: async () => true,
      handOff: async (lease) => lease.end(),
    },
    false,
  );
}
