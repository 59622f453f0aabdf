import type { LockStore, SessionBound, StoreDescription } from './interfaces/lock-store.interface.js';
import { LockError } from './lock.errors.js';
import type { LockSettings } from './lock.settings.js';

/**
 * Refuses, on a store whose locks are no leases, options that only leases have.
 *
 * @throws LockError that names the first of them
 */
export function assertLeaseOptionsFit(
  store: LockStore & Partial<SessionBound & StoreDescription>,
  { leaseOption }: LockSettings,
): void {
  if (!store.sessionBound || !leaseOption) return;
  throw new LockError(
    `${leaseOption} has no meaning in this store (${store.describe?.() ?? store.constructor.name}): session locks last as long as their connection. Leave it out, or use a store that keeps leases, such as typeOrmStore().`,
  );
}
