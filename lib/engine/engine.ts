import type { Clock } from './clock.js';
import type { AnyLockStore } from '../interfaces/lock-store.interface.js';
import { LeaseKeeper, type KeeperEngine } from './lease-keeper.js';
import { Lease } from './lease.js';
import { transactionsOf } from './transactions.js';
import { LockError } from '../lock.errors.js';
import type { LockLogger } from './lock.logger.js';
import { Lock } from '../lock.js';
import { LONGEST_TIMER } from '../options/duration.js';
import type { LockSettings } from '../options/lock.settings.js';
import { answerWithin } from './time-limit.js';

/** The parts that acquire and keep the locks of one open store. */
export interface Engine extends KeeperEngine {
  readonly keeper: LeaseKeeper;
}

/**
 * Milliseconds by which the clocks of this machine and of the database may differ before a
 * warning is logged.
 */
const CLOCK_TOLERANCE = 1_000;
/**
 * Milliseconds for reading the database's clock: if the store hangs, the application must
 * still start.
 */
const CLOCK_LIMIT = 10_000;

/** Opens the store, and makes the engine. When opening fails, the store is closed again. */
export async function openEngine(
  openStore: () => AnyLockStore | Promise<AnyLockStore>,
  parts: Omit<KeeperEngine, 'store'>,
): Promise<Engine> {
  let store: AnyLockStore | undefined;
  try {
    store = await openStore();
    store.onWarning?.((topic, message) => parts.logger.warn('storeWarning', topic, message));
    await store.prepare?.();
    await compareClocks(store, parts.clock, parts.logger);
    return { ...parts, store, keeper: new LeaseKeeper({ ...parts, store }) };
  } catch (error) {
    // The caller gets the error of opening the store. An error of closing it is ignored, since
    // it would hide the cause.
    await Promise.resolve()
      .then(() => store?.close?.())
      .catch(() => {});
    throw error;
  }
}

/**
 * Makes the handle that stands in for a lock while locking is disabled. It is always held.
 *
 * @param openStore opens the store when the handle begins a transaction, since a transaction
 * needs the database
 */
export function unlocked(
  key: string,
  fencingToken: number,
  clock: Clock,
  openStore: () => Promise<AnyLockStore>,
): Lock {
  const settings = { key, storeKey: key, ttl: Infinity, renewEvery: false as const };
  const grant = { owner: '', fencingToken, sentAt: clock.now(), asleep: 0, drift: 0 };
  return new Lock(
    new Lease(settings, grant, clock),
    {
      extend: async () => {},
      release: async (lease) => lease.end(),
      transaction: async (_, work) =>
        transactionsOf(await openStore()).transaction(work, { timeout: LONGEST_TIMER }),
      guard: async () => true,
      handOff: async (lease) => lease.end(),
    },
    false,
  );
}

/**
 * Warns when the clocks of this machine and of the database differ: fencing tokens come from
 * this machine's clock while locking is disabled, and from the database's clock while it is
 * enabled.
 */
export async function compareClocks(store: AnyLockStore, clock: Clock, logger: LockLogger): Promise<void> {
  const send = store.readClock?.bind(store);
  if (!send) return;
  const before = clock.date();
  let time: number;
  try {
    const request = { operation: 'reading of the clock', owners: [], send };
    time = await answerWithin(clock, CLOCK_LIMIT, request);
  } catch (error) {
    logger.warn('clockUnread', error);
    return;
  }
  // The database read its clock at some moment between `before` and now. Any time between the
  // two may be exact, so only a time outside of them counts as a difference.
  const difference = time < before ? time - before : Math.max(0, time - clock.date());
  if (Math.abs(difference) > CLOCK_TOLERANCE) logger.warn('clocksDiffer', difference);
}

/**
 * Refuses options that the store cannot support: options of leases if the store's locks have
 * no leases, and `once` if the store keeps no ticks.
 *
 * @throws LockError that names the option
 */
export function assertCapable(store: AnyLockStore, { leaseOption, onceOption }: LockSettings): void {
  if (store.sessionBound && leaseOption)
    throw new LockError(
      `${leaseOption} has no meaning in this store (${nameOf(store)}): session locks last as long as their connection. Leave it out, or use a store that keeps leases, such as typeOrmStore().`,
    );
  if (!store.keepsOnce && onceOption)
    throw new LockError(
      `${onceOption} needs a store that remembers what has run, and ${nameOf(store)} does not. Use a store that keeps leases in a database, such as typeOrmStore() or mongoStore().`,
    );
}

function nameOf(store: AnyLockStore): string {
  return store.describe?.() ?? store.constructor.name;
}
