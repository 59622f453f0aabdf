import type { Clock } from './clock.js';
import type { InFlight } from './in-flight.js';
import type { KnownKeys } from './known-keys.js';
import type { Lease } from './lease.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import type { AnyLockStore, ReleaseRequest } from '../interfaces/lock-store.interface.js';
import type { GuardingTransactions } from './transactions.js';
import { LockStoreError } from '../lock.errors.js';
import type { LockEventPublisher } from '../lock.events.js';
import type { Lock } from '../lock.js';
import type { LostCallback } from '../options/lock.options.js';
import {
  answerWithin,
  asLockError,
  pauseBeforeRetry,
  requestLimitOf,
  type LimitedRequest,
} from './time-limit.js';
import type { WaitQueues } from './wait-queue.js';

/**
 * The handle of a held lease, with what its release needs to know about the call that acquired
 * it.
 */
export interface HeldLock {
  lock: Lock;
  /**
   * Of the call's settings, only minHold, stealAfter and onLost are kept, since a process may
   * hold 100,000 locks.
   */
  minHold: number;
  stealAfter: number | undefined;
  onLost: LostCallback | undefined;
  job: string | undefined;
  /** The time of the grant on the monotonic clock. */
  grantedAt: number;
  guards?: GuardingTransactions;
}

/** The parts of the engine that a release uses. */
export interface ReleaseEngine {
  readonly store: AnyLockStore;
  readonly clock: Clock;
  readonly queues: WaitQueues;
  readonly keys: KnownKeys;
  readonly publisher: LockEventPublisher;
}

const RELEASE_TRIES = 3;
const RELEASE_PAUSE = 50;
const FREE_TRIES = 4;
const FREE_PAUSE = 250;

/** Releases leases: to a waiter of this process, or in the store. */
export class LeaseReleaser {
  constructor(
    private readonly engine: ReleaseEngine,
    private readonly inFlight: InFlight,
    /**
     * Removes the lease from the held ones when its release has ended, even if it has failed.
     */
    private readonly forget: (lease: Lease) => void,
  ) {}

  /**
   * Releases a lease whose holder has no more use for it.
   *
   * @param believed whether this process still believed in the lease when the release began
   * @param guarded whether a guarding transaction has kept other holders away. Then the lock
   * was not lost, even if its lease has ended
   * @returns `false` if the lock was lost
   * @throws LockError when the store fails; the event `storeError` was published before
   */
  async release(
    lease: Lease,
    held: HeldLock,
    outcome: LockOutcome,
    believed: boolean,
    guarded = false,
  ): Promise<boolean> {
    const { store, queues, publisher } = this.engine;
    const { key, storeKey, owner, fencingToken } = lease;
    const { job, minHold } = held;
    this.inFlight.begin();
    let waiting = false;
    let waiterKnows = false;
    try {
      if (lease.pendingRequest) await lease.pendingRequest;
      // Find out now whether calls wait: a call that begins to wait later makes an attempt of
      // its own, so it need not be counted.
      waiting = store.notifiesWaiters === true && queues.has(storeKey);
      const toWaiter = believed && this.#heldFor(held) >= minHold ? queues.firstAfter(lease) : undefined;
      const taken = toWaiter ? await toWaiter(lease, outcome) : 'refused';
      const isTaken = typeof taken !== 'string';
      let released: boolean | undefined = isTaken || (guarded && !believed);
      if (!released) released = await this.#releaseInStore(lease, held, outcome, waiting);
      // If an earlier release request of this call was carried out, the store finds no lease
      // any longer. The lock was released then, and not lost.
      const repeated = released === undefined || taken === 'unknown';
      released ||= repeated && believed;
      if (!released && !guarded) {
        lease.lose('when it was released, the store said that the lease had run out or been taken away.');
        return false;
      }
      waiterKnows = isTaken || waiting;
      const heldFor = this.#heldFor(held);
      this.engine.keys.ended(key, job, Math.max(heldFor, minHold));
      // Each lock ends with one event. At a shutdown the event `lost` was published already.
      if (!lease.loss) publisher.publish('released', { key, job, fencingToken, heldFor });
      return true;
    } catch (cause) {
      const error = asLockError(cause, { operation: 'release', key, owners: [owner] });
      if (!believed) lease.lose('its lease ran out before it was released.');
      if (error instanceof LockStoreError)
        publisher.publish('storeError', { key, job, operation: 'release', error });
      throw error;
    } finally {
      this.forget(lease);
      if (!waiterKnows) queues.released(storeKey, store.notifiesWaiters !== true);
      this.inFlight.end();
    }
  }

  /**
   * Releases the lease when the transactions that guard it have ended, since the store cannot
   * change the lease before. If the transactions last longer than the lease, the lease ends
   * with its ttl.
   *
   * @param stopped whether the store is about to be closed
   */
  async releaseAfterCommit(
    lease: Lease,
    held: HeldLock,
    guards: GuardingTransactions,
    outcome: LockOutcome,
    stopped: () => boolean,
  ): Promise<boolean> {
    const { clock } = this.engine;
    this.inFlight.begin();
    try {
      await guards.ended(clock, lease.deadline, stopped);
      return await this.release(lease, held, outcome, clock.now() < lease.deadline, true);
    } finally {
      this.inFlight.end();
    }
  }

  /** Releases a lease of this owner that is not held in this process. @throws LockError */
  async releaseOwned(storeKey: string, owner: string): Promise<boolean> {
    const { store, clock, queues } = this.engine;
    const limit = requestLimitOf(Infinity);
    const released = await this.inFlight.track(
      answerWithin(clock, limit, {
        operation: 'release',
        key: storeKey,
        owners: [owner],
        send: (timeout) => store.release(storeKey, owner, { timeout }),
      }),
    );
    queues.wake(storeKey);
    return released;
  }

  /**
   * Releases the lock that the store may have granted to an owner whose call has given up.
   *
   * @throws LockError if no release succeeds: the lease then ends with its ttl
   */
  async free(storeKey: string, owner: string): Promise<void> {
    const { store, clock, queues } = this.engine;
    const until = clock.now() + requestLimitOf(Infinity);
    for (let sent = 1; ; sent++) {
      try {
        await answerWithin(clock, until - clock.now(), {
          operation: 'release',
          key: storeKey,
          owners: [owner],
          send: (timeout) => store.release(storeKey, owner, { timeout }),
          answered: () => queues.wake(storeKey),
        });
        return;
      } catch (error) {
        const limits = { tries: FREE_TRIES, pause: FREE_PAUSE, until, background: true };
        await pauseBeforeRetry(clock, error, sent, limits);
      }
    }
  }

  /**
   * Ends the lease in the store.
   *
   * @returns `undefined` when the store found no lease, but an earlier request may have
   * released it
   */
  #releaseInStore(
    lease: Lease,
    held: HeldLock,
    outcome: LockOutcome,
    waiting: boolean,
  ): Promise<boolean | undefined> {
    const { store, clock } = this.engine;
    const limit = lease.requestLimit;
    const until = clock.now() + limit;
    const request = new LeaseRelease(store, clock, lease, held, outcome, waiting);
    return answerWithin(clock, limit, request).catch((error: unknown) =>
      this.#releaseAgain(request, error, until),
    );
  }

  async #releaseAgain(request: LeaseRelease, failure: unknown, until: number): Promise<boolean | undefined> {
    const { clock } = this.engine;
    for (let sent = 1, error = failure; ; sent++) {
      await pauseBeforeRetry(clock, error, sent, { tries: RELEASE_TRIES, pause: RELEASE_PAUSE, until });
      try {
        return (await answerWithin(clock, until - clock.now(), request)) || undefined;
      } catch (again) {
        error = again;
      }
    }
  }

  #heldFor({ grantedAt }: HeldLock): number {
    return this.engine.clock.now() - grantedAt;
  }
}

/** A request that releases a lease in the store. It may be sent several times. */
class LeaseRelease implements LimitedRequest<boolean> {
  readonly operation = 'release';

  constructor(
    private readonly store: AnyLockStore,
    private readonly clock: Clock,
    private readonly lease: Lease,
    private readonly held: HeldLock,
    private readonly outcome: LockOutcome,
    private readonly waiting: boolean,
  ) {}

  get key(): string {
    return this.lease.key;
  }

  get owners(): readonly string[] {
    return [this.lease.owner];
  }

  send(timeout: number): Promise<boolean> {
    const { lease, held, outcome } = this;
    const request: ReleaseRequest = { outcome, timeout };
    const keepFor = Math.ceil(held.minHold - (this.clock.now() - held.grantedAt));
    if (keepFor > 0) request.keepFor = keepFor;
    if (this.waiting) request.waiting = true;
    return this.store.release(lease.storeKey, lease.owner, request);
  }
}
