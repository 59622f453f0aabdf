import type {
  LockStore,
  OnceKeeper,
  SessionBound,
  StoreDescription,
} from '../interfaces/lock-store.interface.js';
import { LockError } from '../lock.errors.js';
import type { LockSettings } from '../options/lock.settings.js';

type Store = LockStore & Partial<OnceKeeper & SessionBound & StoreDescription>;

/**
 * Refuses options that a store cannot keep: those of leases where locks are none, and `once` where nothing is remembered.
 *
 * @throws LockError that names the option
 */
export function assertCapable(store: Store, { leaseOption, onceOption }: LockSettings): void {
  const name = store.describe?.() ?? store.constructor.name;
  if (store.sessionBound && leaseOption)
    throw new LockError(
      `${leaseOption} has no meaning in this store (${name}): session locks last as long as their connection. Leave it out, or use a store that keeps leases, such as typeOrmStore().`,
    );
  if (!store.keepsOnce && onceOption)
    throw new LockError(
      `${onceOption} needs a store that remembers what has run, but this one (${name}) does not. Use one that keeps leases in a database, such as typeOrmStore() or mongoStore().`,
    );
}
