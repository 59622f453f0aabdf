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

/** The handle of a held lease, and what the process knows about its call. */
export interface HeldLock {
  lock: Lock;
  /** Only these settings of the call are kept, since there may be 100,000 locks. */
  minHold: number;
  stealAfter: number | undefined;
  onLost: LostCallback | undefined;
  job: string | undefined;
  /** On the monotonic clock. */
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
    /** Called when the release has ended, whether it succeeded or failed. */
    private readonly forget: (lease: Lease) => void,
  ) {}

  /**
   * Releases a lease that its holder has ended.
   *
   * @param believed whether the lease was held until then
   * @param guarded whether a transaction has kept other holders away until now. Then the lock
   * is not lost
   * @returns `false` if the lock was lost
   * @throws LockError, after the event `storeError`
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
      // Calls that begin to wait from here on make an attempt of their own.
      waiting = store.notifiesWaiters === true && queues.has(storeKey);
      const toWaiter = believed && this.#heldFor(held) >= minHold ? queues.firstAfter(lease) : undefined;
      const taken = toWaiter ? await toWaiter(lease, outcome) : 'refused';
      const isTaken = typeof taken !== 'string';
      let released: boolean | undefined = isTaken || (guarded && !believed);
      if (!released) released = await this.#releaseInStore(lease, held, outcome, waiting);
      // An earlier request may have released the lease. Then the store finds no lease, but the
      // lock was not lost.
      const repeated = released === undefined || taken === 'unknown';
      released ||= repeated && believed;
      if (!released && !guarded) {
        lease.lose('when it was released, the store said that it had run out or been taken away.');
        return false;
      }
      waiterKnows = isTaken || waiting;
      const heldFor = this.#heldFor(held);
      this.engine.keys.ended(key, job, Math.max(heldFor, minHold));
      // At a shutdown the event `lost` was published, and each lock ends with one event only.
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
   * Releases the lease when the transactions that guard it have ended. Until then the store
   * cannot change it. If they outlast the lease, it ends with its ttl.
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
   * @throws LockError: then the lease ends with its ttl
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
   * @returns `undefined` when nothing was found, but an earlier request may have released
   * the lease
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

/** The release of a lease in the store, which may be sent more than once. */
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
