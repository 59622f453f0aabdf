import type { Clock } from './clock.js';
import { Lease } from './lease.js';
import { Lock, type LockKeeper } from './lock.js';

const keeper: LockKeeper = {
  extend: async () => {},
  release: async (lease) => lease.end(),
};

/** The handle that stands in for a lock while locking is disabled: always held, with the fencing token 0. */
export function unlocked(key: string, clock: Clock): Lock {
  const terms = {
    key,
    storeKey: key,
    owner: '',
    fencingToken: 0,
    ttl: Infinity,
    renewEvery: false as const,
    sentAt: clock.now(),
    asleep: 0,
  };
  return new Lock(new Lease(terms, clock), keeper);
}
