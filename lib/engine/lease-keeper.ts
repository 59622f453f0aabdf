import { GuardingTransactions, transactionsOf } from './transactions.js';
import { InFlight } from './in-flight.js';
import { LeaseReleaser, type HeldLock, type ReleaseEngine } from './lease-releaser.js';
import { LeaseRenewer } from './lease-renewer.js';
import { Lease, sentNow, type LeaseGrant, type LeaseSettings, type LeaseWatcher } from './lease.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import { LockStoreError, type LockError, type LockLostError } from '../lock.errors.js';
import type { LockLogger } from './lock.logger.js';
import { Lock, type LockKeeper } from '../lock.js';
import { LONGEST_TIMER } from '../options/duration.js';
import { assertNotRobbed, type LockSettings } from '../options/lock.settings.js';
import { asLockError, requestLimitOf } from './time-limit.js';

/** The parts of the engine that a keeper uses. */
export interface KeeperEngine extends ReleaseEngine {
  readonly logger: LockLogger;
  /** Called when the number of held locks has changed. */
  readonly heldChanged: () => void;
}

/** Milliseconds. A transaction that is still open after this time probably hangs. */
const LONG_TRANSACTION = 30_000;

/**
 * Keeps the locks that one service holds. The renewer and the releaser do the work on their
 * leases, and the keeper reports the locks that are lost.
 */
export class LeaseKeeper implements LockKeeper {
  readonly #held = new Map<Lease, HeldLock>();
  /** For each key, as the store knows it, the lease that was granted last. */
  readonly #holders = new Map<string, Lease>();
  /** The requests whose answers a shutdown awaits. */
  readonly inFlight: InFlight;
  readonly #renewer: LeaseRenewer;
  readonly #releaser: LeaseReleaser;
  readonly #watcher: LeaseWatcher;
  /** Whether the store is about to be closed. */
  #stopped = false;

  constructor(private readonly engine: KeeperEngine) {
    const { store, clock, queues } = engine;
    this.inFlight = new InFlight(clock);
    this.#releaser = new LeaseReleaser(engine, this.inFlight, (lease) => this.#forget(lease));
    this.#renewer = new LeaseRenewer(store, clock, {
      renewFailed: (lease, error) => this.#renewFailed(lease, error),
      renewedTooLate: (lease) => this.free(lease.storeKey, lease.owner),
    });
    this.#watcher = {
      lost: (lease, error) => this.#lost(lease, error),
      doubted: (lease) => this.#renewer.reschedule(lease),
    };
    store.watch?.((_, owner, reason) => this.#lostInStore(owner, reason));
    if (store.notifiesWaiters)
      store.onReleased?.((key, othersPoll = false) =>
        othersPoll && key !== undefined ? queues.released(key, true) : queues.wake(key),
      );
  }

  /** How many leases are held, or are being released. */
  get size(): number {
    return this.#held.size;
  }

  /** The lease of a key that this process holds, or that it is releasing. */
  holderOf(storeKey: string): Lease | undefined {
    const lease = this.#holders.get(storeKey);
    return lease && (lease.held || lease.released) ? lease : undefined;
  }

  /** Makes the handle of a lease that was just granted. */
  keep(lease: Lease, settings: LockSettings, job: string | undefined, waited: number): Lock {
    const lock = this.#hold(lease, settings, job);
    const { key, fencingToken } = lease;
    this.engine.publisher.publish('acquired', { key, job, label: settings.label, fencingToken, waited });
    return lock;
  }

  /**
   * Makes the handle of a lease that another process has handed off. The store has to renew
   * the lease first.
   *
   * @throws LockLostError if the lease had expired, LockStoreError if the store fails
   */
  async restore(
    wanted: LeaseSettings,
    granted: Pick<LeaseGrant, 'owner' | 'fencingToken'>,
    settings: LockSettings,
  ): Promise<Lock> {
    const { clock, publisher } = this.engine;
    const lease = new Lease(wanted, { ...granted, ...sentNow(clock) }, clock);
    this.inFlight.begin();
    try {
      await this.#renewer.extend(lease, lease.ttl);
      const lock = this.#hold(lease, settings, undefined);
      publisher.publish('restored', { key: lease.key, fencingToken: lease.fencingToken });
      return lock;
    } finally {
      this.inFlight.end();
    }
  }

  async handOff(lease: Lease, ttl: number): Promise<boolean> {
    await this.#renewer.extend(lease, ttl);
    const held = this.#held.get(lease);
    if (!lease.held || !held || !lease.end()) return false;
    lease.handedOff = true;
    this.#renewer.remove(lease);
    this.#forget(lease);
    const { key, fencingToken } = lease;
    const heldFor = this.#heldFor(held);
    this.engine.publisher.publish('handedOff', { key, job: held.job, fencingToken, heldFor });
    return true;
  }

  async extend(lease: Lease, ttl: number): Promise<void> {
    const { renewEvery } = lease;
    const stealAfter = this.#held.get(lease)?.stealAfter;
    assertNotRobbed(`The option "stealAfter" of lock "${lease.key}"`, { ttl, renewEvery, stealAfter });
    await this.#renewer.extend(lease, ttl);
  }

  release(lease: Lease, outcome: LockOutcome): Promise<boolean> {
    const held = this.#held.get(lease);
    const believed = lease.held;
    if (!lease.end() || !held) return Promise.resolve(false);
    this.#renewer.remove(lease);
    const { guards } = held;
    if (!guards?.open) return (lease.released = this.#releaser.release(lease, held, outcome, believed));
    // The caller may commit its transaction only after release() has resolved, so release()
    // must not wait for the transaction.
    this.engine.logger.releasedInTransaction(lease.key, held.job);
    const stopped = (): boolean => this.#stopped;
    lease.released = this.#releaser.releaseAfterCommit(lease, held, guards, outcome, stopped);
    lease.released.catch(() => {}); // the error was published as the event `storeError`
    return Promise.resolve(true);
  }

  /**
   * Releases the lock with this owner id. If this process does not hold the lock, the lease is
   * released in the store.
   */
  async releaseOwned(storeKey: string, owner: string): Promise<boolean> {
    for (const [lease, { lock }] of this.#held)
      if (lease.storeKey === storeKey && lease.owner === owner) return lock.release();
    return this.#releaser.releaseOwned(storeKey, owner);
  }

  /**
   * Releases, in the background, the lock that the store may have granted to this owner. If
   * that fails, the failure is ignored, and the lease ends with its ttl.
   */
  free(storeKey: string, owner: string): void {
    this.inFlight.track(this.#releaser.free(storeKey, owner)).catch(() => {});
  }

  async transaction<T>(lease: Lease, work: (context: unknown) => Promise<T>): Promise<T> {
    const { clock, logger } = this.engine;
    const store = transactionsOf(this.engine.store);
    await this.#renewer.extend(lease, lease.ttl);
    // Database clients take the timeout in whole milliseconds, and not longer than a timer can
    // run.
    const left = Math.min(lease.deadline - clock.now(), LONGEST_TIMER);
    const timeout = Math.max(Math.ceil(left), 1);
    const transaction = this.inFlight.track(store.transaction(work, { timeout }));
    lease.inTransaction = true;
    const long = Math.min(lease.ttl, LONG_TRANSACTION);
    const warning = clock.after(long, () => logger.warn('transactionHangs', lease.key, long), false);
    // A renewal would wait for the transaction, or break it. The renewer skips a lease with a
    // pending request, so the transaction counts as the pending request.
    lease.pendingRequest = transaction.then(
      () => {},
      () => {},
    );
    try {
      return await transaction;
    } finally {
      warning.cancel();
      lease.pendingRequest = undefined;
      lease.inTransaction = false;
      this.#renewer.reschedule(lease);
    }
  }

  async guard(lease: Lease, context: unknown): Promise<boolean> {
    const { key, storeKey, owner, fencingToken } = lease;
    const store = transactionsOf(this.engine.store);
    // A transaction of lock.transaction() need not be watched, since a release awaits it
    // anyway.
    const held = lease.inTransaction ? undefined : this.#held.get(lease);
    const guard = async (): Promise<boolean> => store.guard(context, storeKey, owner, fencingToken);
    try {
      const isOpen = held && store.watchTransaction?.(context);
      if (!isOpen) return await guard();
      return await (held.guards ??= new GuardingTransactions()).during(isOpen, guard);
    } catch (error) {
      throw asLockError(error, { operation: 'guard', key, owners: [owner] });
    }
  }

  /**
   * Releases all locks that are still held, and awaits the requests in flight, but not longer
   * than one request may take. Their answers may bring more locks to release: late grants, and
   * locks that were restored meanwhile.
   *
   * @param reason tells the holders why their locks are lost
   */
  async releaseAll(reason: string): Promise<void> {
    const { clock } = this.engine;
    const until = clock.now() + requestLimitOf(Infinity);
    for (;;) {
      for (const [lease, { lock }] of this.#held) {
        if (!lease.open) continue; // the holder has begun to release this lock
        // The error was published as the event `storeError`.
        void lock.giveBack('failed').catch(() => {});
        lease.lose(reason);
      }
      const left = until - clock.now();
      if (this.inFlight.none || left <= 0) break;
      await this.inFlight.settled(left);
    }
    this.#stopped = true;
    this.#renewer.stop();
  }

  #hold(lease: Lease, settings: LockSettings, job: string | undefined): Lock {
    const lock = new Lock(lease, this);
    const { minHold, stealAfter, onLost } = settings;
    const grantedAt = this.engine.clock.now();
    this.#held.set(lease, { lock, minHold, stealAfter, onLost, job, grantedAt });
    this.#holders.set(lease.storeKey, lease);
    this.engine.keys.granted(lease.key, lease.fencingToken);
    lease.watcher = this.#watcher;
    this.#renewer.add(lease);
    return lock;
  }

  #forget(lease: Lease): void {
    this.#held.delete(lease);
    if (this.#holders.get(lease.storeKey) === lease) this.#holders.delete(lease.storeKey);
    this.engine.heldChanged();
  }

  /** Skips leases that are already being released: the release reports the outcome. */
  #lostInStore(owner: string, reason: string): void {
    for (const lease of this.#held.keys()) if (lease.owner === owner && lease.open) lease.lose(reason);
  }

  #lost(lease: Lease, error: LockLostError): void {
    const held = this.#held.get(lease);
    if (!held) return;
    this.#forget(lease);
    this.engine.queues.wake(lease.storeKey);
    this.#renewer.remove(lease);
    if (lease.outlasts) this.free(lease.storeKey, lease.owner);
    const { key, fencingToken } = lease;
    const heldFor = this.#heldFor(held);
    this.engine.publisher.publish('lost', { key, job: held.job, fencingToken, heldFor, error });
    void this.#notifyHolder(key, held, error);
  }

  /**
   * Aborts the lock's signal and calls the user's listener. Errors of the listener are only
   * logged, since a timer may have called this method.
   */
  async #notifyHolder(key: string, { lock, onLost }: HeldLock, error: LockLostError): Promise<void> {
    try {
      lock.abort(error);
      await onLost?.(lock, error);
    } catch (thrown) {
      this.engine.logger.warn('callbackFailed', key, thrown);
    }
  }

  #renewFailed(lease: Lease, cause: LockError): void {
    const held = this.#held.get(lease);
    if (!held || !lease.open) return;
    const { key, fencingToken } = lease;
    const error = cause instanceof LockStoreError ? cause : new LockStoreError(cause.message, { cause });
    this.engine.publisher.publish('renewFailed', { key, job: held.job, fencingToken, error });
  }

  #heldFor({ grantedAt }: HeldLock): number {
    return this.engine.clock.now() - grantedAt;
  }
}
