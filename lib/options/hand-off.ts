import { parseDuration } from './duration.js';
import { assertKey, assertOwner } from './lock-key.js';
import { LockError, show } from '../lock.errors.js';
import { DEFAULTS } from './defaults.js';
import { assertKnownOptions } from './known-options.js';

/**
 * A lock on its way to another process, as plain data. A process that has this data can renew
 * and release the lock: send it like a password, and do not log it.
 *
 * @publicApi
 */
export interface LockHandOff {
  /** The key of the lock, without the module's prefix. */
  key: string;
  /** The owner id. Code that knows it can release the lock. */
  owner: string;
  /** The token of the lock, which stays the same. */
  fencingToken: number;
  /**
   * Milliseconds within which the lock has to be restored, and the ttl of its renewals; absent
   * for a lock that never expires.
   */
  ttl?: number | undefined;
}

/**
 * Reads and checks the data given to `restore`.
 *
 * @throws LockError for data that `handOff()` has not made
 */
export function readHandOff(data: unknown): Required<LockHandOff> {
  assertKnownOptions('the data given to restore()', data, ['key', 'owner', 'fencingToken', 'ttl']);
  const { key, owner, fencingToken, ttl = Infinity } = data as Partial<LockHandOff>;
  assertKey(key);
  assertOwner(owner);
  if (!Number.isSafeInteger(fencingToken) || fencingToken === undefined || fencingToken < 0)
    throw new LockError(
      `The fencingToken given to restore() must be a whole number, but it is ${show(fencingToken)}. Restore what lock.handOff() has returned.`,
    );
  const min = DEFAULTS.smallestTtl;
  return {
    key,
    owner,
    fencingToken,
    ttl: parseDuration('The ttl given to restore()', ttl, { min, infinite: true }),
  };
}
