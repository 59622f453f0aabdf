import type { Clock } from './clock.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import type {
  LockStore,
  SessionBound,
  TransactionGuard,
  WakeUps,
} from '../interfaces/lock-store.interface.js';
import { GuardingTransactions } from './guarding-transactions.js';
import { LeaseRenewer } from './lease-renewer.js';
import { Lease, sentNow, type LeaseGrant, type LeaseSettings } from './lease.js';
import { LockStoreError, type LockError, type LockLostError } from '../lock.errors.js';
import { transactionsOf } from './transactions-of.js';
import type { LockEventPublisher } from '../lock.events.js';
import { assertNotRobbed, type LockSettings } from '../options/lock.settings.js';
import { Lock, type LockKeeper } from '../lock.js';
import { safeError } from '../safe-error.js';
import { asLockError, isTransient, notAnswered, settleWithin } from './settle-within.js';
import type { WaitQueue } from './wait-queue.js';
import { attemptTimeoutOf } from '../options/lease-timing.js';

/** What is known of a lease besides itself. */
interface Held {
  lock: Lock;
  settings: LockSettings;
  job: string | undefined;
  grantedAt: number;
  guards?: GuardingTransactions;
}

/** Milliseconds after which a transaction is likely to hang. */
const LONG_TRANSACTION = 30_000;
const RELEASE_TRIES = 3;
const RELEASE_PAUSE = 50;
const FREE_TRIES = 4;
const FREE_PAUSE = 250;

/**
 * Keeps the leases that one service was granted: has them renewed, tells of their loss, gives them back.
 */
export class LeaseKeeper implements LockKeeper {
  readonly #held = new Map<Lease, Held>();
  /** The last one granted of each key, as the store knows it. */
  readonly #holders = new Map<string, Lease>();
  /** How many requests are on their way: a shutdown awaits their answers. */
  #underway = 0;
  readonly #whenAnswered = new Set<() => void>();
  readonly #renewer: LeaseRenewer;
  /** Whether the store is about to be closed. */
  #stopped = false;

  constructor(
    private readonly store: LockStore & Partial<TransactionGuard & SessionBound & WakeUps>,
    private readonly clock: Clock,
    private readonly publisher: LockEventPublisher,
    private readonly queue: WaitQueue,
    private readonly listeners: {
      /** More or fewer locks are held. */
      changed(): void;
      granted(lease: Lease): void;
      /**
       * The lease was released.
       *
       * @param took milliseconds since the grant, or `minHold` if that is more
       */
      released(lease: Lease, job: string | undefined, took: number): void;
      callbackFailed(error: unknown, lease: Lease): void;
      /** A transaction has been open for so many milliseconds. */
      transactionHangs(lease: Lease, open: number): void;
      /** The lease was released inside the transaction that guards it. */
      releasedInTransaction(lease: Lease, job: string | undefined): void;
    },
  ) {
    this.#renewer = new LeaseRenewer(store, clock, {
      renewFailed: (lease, error) => this.#renewFailed(lease, error),
      renewedTooLate: (lease) => this.free(lease.storeKey, lease.owner),
    });
    store.watch?.((_, owner, reason) => this.#lostInStore(owner, reason));
    if (store.notifiesWaiters)
      store.onReleased?.((key, othersAsk = false) =>
        othersAsk && key !== undefined ? queue.freed(key, true) : queue.wake(key),
      );
  }

  /** How many leases are held, or are being given back. */
  get size(): number {
    return this.#held.size;
  }

  /** What a call of this process holds the key by, or is giving back. */
  holderOf(storeKey: string): Lease | undefined {
    const lease = this.#holders.get(storeKey);
    return lease && (lease.held || lease.released) ? lease : undefined;
  }

  /** Makes the handle of a lease that was just granted. */
  keep(lease: Lease, settings: LockSettings, job: string | undefined, waited: number): Lock {
    const lock = this.#hold(lease, settings, job);
    const { key, fencingToken } = lease;
    this.publisher.publish('acquired', { key, job, label: settings.label, fencingToken, waited });
    return lock;
  }

  /**
   * Makes the handle of a lease that another process had, once the store has renewed it.
   *
   * @throws LockLostError, LockStoreError
   */
  async restore(
    terms: LeaseSettings,
    granted: Pick<LeaseGrant, 'owner' | 'fencingToken'>,
    settings: LockSettings,
  ): Promise<Lock> {
    const lease = new Lease(terms, { ...granted, ...sentNow(this.clock) }, this.clock);
    this.sent();
    try {
      await this.#renewer.extend(lease, lease.ttl);
      const lock = this.#hold(lease, settings, undefined);
      this.publisher.publish('restored', { key: lease.key, fencingToken: lease.fencingToken });
      return lock;
    } finally {
      this.answered();
    }
  }

  #hold(lease: Lease, settings: LockSettings, job: string | undefined): Lock {
    const lock = new Lock(lease, this);
    this.#held.set(lease, { lock, settings, job, grantedAt: this.clock.now() });
    this.#holders.set(lease.storeKey, lease);
    this.listeners.granted(lease);
    lease.onLost = (error) => this.#lost(lease, error);
    this.#renewer.add(lease);
    return lock;
  }

  async handOff(lease: Lease, ttl: number): Promise<boolean> {
    await this.#renewer.extend(lease, ttl);
    const held = this.#held.get(lease);
    if (!lease.held || !held || !lease.end()) return false;
    lease.handedOn = true;
    this.#renewer.remove(lease);
    this.#forget(lease);
    const { key, fencingToken } = lease;
    this.publisher.publish('handedOff', { key, job: held.job, fencingToken, heldFor: this.#heldFor(held) });
    return true;
  }

  /** Gives back by owner id: what is held here in the usual way, what is not in the store. */
  async releaseOwned(storeKey: string, owner: string): Promise<boolean> {
    for (const [lease, { lock }] of this.#held)
      if (lease.storeKey === storeKey && lease.owner === owner) return lock.release();
    const released = await this.track(this.store.release(storeKey, owner)).catch((error: unknown) => {
      throw safeError(error, [owner]);
    });
    this.queue.wake(storeKey);
    return released;
  }

  async extend(lease: Lease, ttl: number): Promise<void> {
    const settings = this.#held.get(lease)?.settings;
    if (settings) assertNotRobbed(`The option "stealAfter" of lock "${lease.key}"`, { ...settings, ttl });
    await this.#renewer.extend(lease, ttl);
  }

  release(lease: Lease, outcome: LockOutcome): Promise<boolean> {
    const held = this.#held.get(lease);
    const believed = lease.held;
    if (!lease.end() || !held) return Promise.resolve(false);
    this.#renewer.remove(lease);
    if (!held.guards?.open) return (lease.released = this.#giveBack(lease, held, outcome, believed));
    // The transaction may commit only when release() has returned, so release() must not wait
    // for it.
    this.listeners.releasedInTransaction(lease, held.job);
    lease.released = this.#giveBackAfterCommit(lease, held, held.guards, outcome);
    lease.released.catch(() => {}); // published as `storeError`
    return Promise.resolve(true);
  }

  async transaction<T>(lease: Lease, work: (context: unknown) => Promise<T>): Promise<T> {
    const store = transactionsOf(this.store);
    await this.#renewer.extend(lease, lease.ttl);
    const transaction = this.track(store.transaction(work));
    lease.inTransaction = true;
    const long = Math.min(lease.ttl, LONG_TRANSACTION);
    const warning = this.clock.after(long, () => this.listeners.transactionHangs(lease, long), false);
    // A renewal would wait for the transaction, or break it: the transaction stands in its place.
    lease.inFlight = transaction.then(
      () => {},
      () => {},
    );
    try {
      return await transaction;
    } finally {
      warning.cancel();
      lease.inFlight = undefined;
      lease.inTransaction = false;
      this.#renewer.reschedule(lease);
    }
  }

  async guard(lease: Lease, context: unknown): Promise<boolean> {
    const { key, storeKey, owner, fencingToken } = lease;
    const store = transactionsOf(this.store);
    // release() awaits lock.transaction() itself.
    const held = lease.inTransaction ? undefined : this.#held.get(lease);
    const guard = async (): Promise<boolean> => store.guard(context, storeKey, owner, fencingToken);
    try {
      const isOpen = held && store.watchTransaction?.(context);
      if (!isOpen) return await guard();
      return await (held.guards ??= new GuardingTransactions()).during(isOpen, guard);
    } catch (error) {
      throw asLockError(error, 'guard', key, [owner]);
    }
  }

  /**
   * Releases the lease when the transactions that guard it have ended: until then the store
   * cannot change it. If they outlast the lease, it ends with its ttl.
   */
  async #giveBackAfterCommit(
    lease: Lease,
    held: Held,
    guards: GuardingTransactions,
    outcome: LockOutcome,
  ): Promise<boolean> {
    this.sent();
    try {
      await guards.ended(this.clock, lease.deadline, () => this.#stopped);
      return await this.#giveBack(lease, held, outcome, this.clock.now() < lease.deadline, true);
    } finally {
      this.answered();
    }
  }

  /**
   * @param guarded whether a transaction has kept other holders away until now: then the lock
   * is not lost
   */
  async #giveBack(
    lease: Lease,
    held: Held,
    outcome: LockOutcome,
    believed: boolean,
    guarded = false,
  ): Promise<boolean> {
    this.sent();
    let waiting = false;
    let told = false;
    try {
      if (lease.inFlight) await lease.inFlight;
      // Those who join from here on ask by themselves.
      waiting = this.store.notifiesWaiters === true && this.queue.has(lease.storeKey);
      const heir =
        believed && this.#heldFor(held) >= held.settings.minHold ? this.queue.heirOf(lease) : undefined;
      const passed = heir ? await heir(lease, outcome) : 'refused';
      const released =
        passed instanceof Lease ||
        (guarded && !believed) ||
        (await this.#releaseInStore(lease, held, { outcome, waiting }, believed, passed === 'unknown'));
      if (!released && !guarded) {
        lease.lose('when it was released, the store said that it had run out or been taken away.');
        return false;
      }
      told = passed instanceof Lease || waiting;
      const { key, fencingToken, loss } = lease;
      const heldFor = this.#heldFor(held);
      this.listeners.released(lease, held.job, Math.max(heldFor, held.settings.minHold));
      // At a shutdown its holder was told of a loss: a lock has one end.
      if (!loss) this.publisher.publish('released', { key, job: held.job, fencingToken, heldFor });
      return true;
    } catch (cause) {
      const error = asLockError(cause, 'release', lease.key, [lease.owner]);
      if (!believed) lease.lose('its lease ran out before it was released.');
      if (error instanceof LockStoreError)
        this.publisher.publish('storeError', { key: lease.key, job: held.job, operation: 'release', error });
      throw error;
    } finally {
      this.#forget(lease);
      if (!told) this.queue.freed(lease.storeKey, this.store.notifiesWaiters !== true);
      this.answered();
    }
  }

  #forget(lease: Lease): void {
    this.#held.delete(lease);
    if (this.#holders.get(lease.storeKey) === lease) this.#holders.delete(lease.storeKey);
    this.listeners.changed();
  }

  /** Frees, in the background, what the store may have granted to an owner that does not exist any more. If that fails it ends with its ttl. */
  free(storeKey: string, owner: string): void {
    void this.track(this.#free(storeKey, owner));
  }

  async #free(storeKey: string, owner: string): Promise<void> {
    for (let tries = 1; tries <= FREE_TRIES; tries++) {
      let failure: unknown;
      await settleWithin(this.clock, attemptTimeoutOf(Infinity), () => this.store.release(storeKey, owner), {
        answered: () => this.queue.wake(storeKey),
        failed: (error) => (failure = error),
      });
      if (!isTransient(failure)) return;
      await new Promise<void>((resolve) => this.clock.after(FREE_PAUSE * tries, resolve, false));
    }
  }

  /** A request that has to end before the store is closed. */
  async track<T>(request: Promise<T>): Promise<T> {
    this.sent();
    try {
      return await request;
    } finally {
      this.answered();
    }
  }

  /** A request is on its way that has to end before the store is closed; see {@link answered}. */
  sent(): void {
    this.#underway++;
  }

  answered(): void {
    if (--this.#underway > 0) return;
    for (const resolve of this.#whenAnswered) resolve();
    this.#whenAnswered.clear();
  }

  /** Releases everything that is still held, with the reason that its holders are told, and awaits what is on its way, as long as one request may take. */
  async releaseAll(reason: string): Promise<void> {
    const patience = attemptTimeoutOf(Infinity);
    const ignore = { answered: () => {}, failed: () => {} };
    await settleWithin(this.clock, patience, () => this.#endAll(reason), ignore);
    this.#stopped = true;
    this.#renewer.stop();
  }

  /** What is on its way may bring more when it is answered: late grants are freed, and what was taken up meanwhile is released. */
  async #endAll(reason: string): Promise<void> {
    for (;;) {
      for (const [lease, { lock }] of this.#held) {
        if (!lease.open) continue; // its holder is giving it back
        void lock.giveBack('failed').catch(() => {}); // published as `storeError`
        lease.lose(reason);
      }
      if (this.#underway === 0) return;
      await new Promise<void>((resolve) => this.#whenAnswered.add(resolve));
    }
  }

  async #releaseInStore(
    lease: Lease,
    { settings, grantedAt }: Held,
    { outcome, waiting }: { outcome: LockOutcome; waiting: boolean },
    believed: boolean,
    mayBeReleased: boolean,
  ): Promise<boolean> {
    const patience = lease.attemptTimeout;
    const until = this.clock.now() + patience;
    for (let tries = 1, repeated = mayBeReleased; ; tries++, repeated = true) {
      let released: boolean | undefined;
      let failure: unknown;
      const keepFor = settings.minHold - (this.clock.now() - grantedAt);
      const inTime = await settleWithin(
        this.clock,
        patience,
        () =>
          this.store.release(lease.storeKey, lease.owner, {
            outcome,
            ...(keepFor > 0 && { keepFor: Math.ceil(keepFor) }),
            ...(waiting && { waiting }),
          }),
        { answered: (answer) => (released = answer), failed: (error) => (failure = error) },
      );
      // A first try whose answer was lost may have released it: then the second finds nothing, and that is no loss.
      if (released !== undefined) return released || (repeated && believed);
      if (!inTime) throw notAnswered('release', lease.key, patience);
      if (!isTransient(failure) || tries === RELEASE_TRIES || this.clock.now() + RELEASE_PAUSE >= until)
        throw failure;
      await new Promise<void>((resolve) => this.clock.after(RELEASE_PAUSE * tries, resolve, true));
    }
  }

  /** One that is being given back is none any more: its release tells. */
  #lostInStore(owner: string, reason: string): void {
    for (const lease of this.#held.keys()) if (lease.owner === owner && lease.open) lease.lose(reason);
  }

  #lost(lease: Lease, error: LockLostError): void {
    const held = this.#held.get(lease);
    if (!held) return;
    this.#forget(lease);
    this.queue.wake(lease.storeKey);
    this.#renewer.remove(lease);
    if (lease.outlasts) this.free(lease.storeKey, lease.owner);
    const { key, fencingToken } = lease;
    this.publisher.publish('lost', { key, job: held.job, fencingToken, heldFor: this.#heldFor(held), error });
    void this.#tell(lease, held, error);
  }

  /** Runs the user's listeners, whose errors must go nowhere: they are called from a timer. */
  async #tell(lease: Lease, { lock, settings }: Held, error: LockLostError): Promise<void> {
    try {
      lock.abort(error);
      if (typeof settings.onLost === 'function') await settings.onLost(lock, error);
    } catch (thrown) {
      this.listeners.callbackFailed(thrown, lease);
    }
  }

  #renewFailed(lease: Lease, error: LockError): void {
    const held = this.#held.get(lease);
    if (!held || !lease.open) return;
    const storeError =
      error instanceof LockStoreError ? error : new LockStoreError(error.message, { cause: error });
    this.publisher.publish('renewFailed', {
      key: lease.key,
      job: held.job,
      fencingToken: lease.fencingToken,
      error: storeError,
    });
  }

  #heldFor({ grantedAt }: Held): number {
    return this.clock.now() - grantedAt;
  }
}
