import type { Clock } from './clock.js';
import { compareClocks } from './compare-clocks.js';
import type {
  LockStore,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
  StoreWarnings,
} from '../interfaces/lock-store.interface.js';
import type { KnownKeys } from './known-keys.js';
import { LeaseKeeper } from './lease-keeper.js';
import { LockContender } from './lock-contender.js';
import type { LockEventPublisher } from '../lock.events.js';
import type { LockLogger } from './lock.logger.js';
import type { WaitQueue } from './wait-queue.js';

/** What exists once the store is open. */
export interface OpenLocks<Store extends LockStore> {
  store: Store;
  keeper: LeaseKeeper;
  contender: LockContender;
}

/** What belongs to the service, whether its store is open or not. */
export interface LockSurroundings {
  clock: Clock;
  queue: WaitQueue;
  keys: KnownKeys;
  publisher: LockEventPublisher;
  logger: LockLogger;
  /** More or fewer locks are held. */
  changed: () => void;
}

/** Opens the store, and makes what takes and keeps locks in it. When that fails, the store is closed again. */
export async function openLocks<
  Store extends LockStore & Partial<StoreClock & StoreLifecycle & StoreDescription & StoreWarnings>,
>(
  openStore: () => Store | Promise<Store>,
  { clock, queue, keys, publisher, logger, changed }: LockSurroundings,
): Promise<OpenLocks<Store>> {
  let store: Store | undefined;
  try {
    store = await openStore();
    store.onWarning?.((topic, message) => logger.storeWarning(topic, message));
    await store.prepare?.();
    await compareClocks(store, clock, logger);
    const keeper = new LeaseKeeper(store, clock, publisher, queue, {
      changed,
      granted: ({ key, fencingToken }) => keys.granted(key, fencingToken),
      released: (lease, job, took) => keys.ended(lease.key, job, took),
      callbackFailed: (error, lease) => logger.callbackFailed(error, lease.key),
      releasedInTransaction: (lease, job) => logger.releasedInTransaction(lease.key, job),
      transactionHangs: (lease, open) => logger.transactionHangs(lease.key, open),
    });
    return { store, keeper, contender: new LockContender(store, keeper, queue, keys, publisher, clock) };
  } catch (error) {
    // What keeps it from being opened is the error that counts, not what closing it may throw.
    await Promise.resolve()
      .then(() => store?.close?.())
      .catch(() => {});
    throw error;
  }
}
