import { setMaxListeners } from 'node:events';
import { Attempts, refuseTickAhead } from './attempts.js';
import type { Engine } from './engine.js';
import { Lease } from './lease.js';
import type { LockOutcome } from '../interfaces/lock-record.interface.js';
import type { Refusal, RefusalReason, WaiterRelease } from '../interfaces/lock-store.interface.js';
import {
  LockNotAcquiredError,
  LockStoreError,
  waitsForItself,
  type LockNotAcquiredDetails,
} from '../lock.errors.js';
import type { Lock } from '../lock.js';
import { storeTtl } from '../options/lease-timing.js';
import type { LockCall } from '../options/lock-call.js';
import { mayBeCarriedOut, requestLimitOf } from './time-limit.js';
import type { TakeOver, Waiter } from './wait-queue.js';

/**
 * Milliseconds within which the store has to answer the last attempt, at the deadline of a
 * wait. Stores do not wait this long for a locked row.
 */
const OVERTIME = 2_500;

/**
 * Milliseconds after which a waiter polls even if the store or a holder in this process should
 * wake it up, since a notification can be lost.
 */
const SAFETY_POLL = 1_000;

const FINAL = new Set<RefusalReason | undefined>(['paused', 'tick-done', 'tick-ahead']);

/** One call that acquires a lock: its attempts, and its wait for a lock that is held. */
export class Acquisition {
  readonly #attempts: Attempts;
  readonly #startedAt: number;
  /** The monotonic time at which the call stops waiting, and makes one last attempt. */
  readonly #deadline: number;

  constructor(
    private readonly call: LockCall,
    private readonly storeKey: string,
    private readonly engine: Engine,
  ) {
    const { sessionBound = false } = engine.store;
    const { ttl, renewEvery, label, stealAfter, once, wait } = call.settings;
    this.#startedAt = engine.clock.now();
    this.#deadline = this.#startedAt + wait;
    this.#attempts = new Attempts(
      {
        key: call.key,
        storeKey,
        ttl: sessionBound ? Infinity : ttl,
        renewEvery: sessionBound ? false : renewEvery,
        label,
        stealAfter,
        once: call.once ?? (typeof once === 'number' ? { slot: once } : undefined),
        sessionBound,
      },
      engine,
    );
  }

  /**
   * Acquires the lock, and waits for a busy lock as long as the call's `wait` allows. If the
   * lock is still busy at the last attempt, it resolves to an error and does not reject.
   *
   * @throws LockStoreError when the store fails, or the reason of the call's signal when it
   * aborts
   * @throws LockError when the call chain holds the key itself, and would wait for its own
   * release
   */
  async acquire(): Promise<Lock | LockNotAcquiredError> {
    const { key, job, settings, signal, nested } = this.call;
    const { queues, keeper, publisher } = this.engine;
    signal?.throwIfAborted();
    queues.assertOpen();
    if (nested && settings.wait > 0) throw waitsForItself(key);
    const full = settings.wait > 0 ? queues.full(this.storeKey) : undefined;
    if (full) return this.#busy({ waited: 0, full });
    let lease: Lease | LockNotAcquiredError | undefined;
    keeper.inFlight.begin();
    try {
      if (settings.wait > 0 || signal) lease = await this.#wait();
      else {
        const result = await this.#attempt();
        queues.assertOpen(); // a shutdown may have begun during the attempt
        lease = result instanceof Lease ? result : this.#refused(result);
      }
      if (!(lease instanceof Lease)) return lease;
      if (lease.ignoredTick) publisher.publish('tickIgnored', { key, job, tick: lease.ignoredTick });
      return keeper.keep(lease, settings, job, this.#waited);
    } finally {
      if (!(lease instanceof Lease)) this.#attempts.abandon();
      keeper.inFlight.end();
    }
  }

  /** Waits in the queue, and makes attempts. It is the only wait loop of the library. */
  async #wait(): Promise<Lease | LockNotAcquiredError> {
    const { settings, signal } = this.call;
    const { queues, keeper, clock } = this.engine;
    const waiter = settings.wait > 0 ? queues.join(this.storeKey) : queues.aside();
    const onAbort = (): void => waiter.fail(signal?.reason);
    // All calls of an application may share one signal, and each wait adds a listener to it.
    // Node would warn of a leak, so the limit is lifted.
    if (signal) setMaxListeners(0, signal);
    signal?.addEventListener('abort', onAbort, { once: true });
    let lease: Lease | undefined;
    try {
      if (settings.wait > 0) {
        await waiter.turn(this.#deadline);
        lease = await this.#waitForOwnHolder(waiter);
      }
      for (let attempt = 1; !lease; attempt++) {
        waiter.attempting();
        const result = await waiter.orFailure(this.#attempt());
        const left = this.#deadline - clock.now();
        if (result instanceof Lease) {
          lease = result;
          break;
        }
        if (left <= 0 || isFinal(result)) return this.#refused(result);
        const full = attempt === 1 ? queues.overfull() : undefined;
        if (full) return this.#busy({ waited: this.#waited, full });
        if (!keeper.holderOf(this.storeKey)) waiter.heldElsewhere();
        lease = await waiter.pause(this.#pauseAfter(attempt, result, left), this.#takeOver());
      }
      queues.assertOpen(); // a shutdown may have begun during the attempt
      return lease;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      waiter.leave(lease !== undefined);
    }
  }

  /**
   * While a call of this process holds the lock, no attempt is needed: that call releases the
   * lock to this waiter, or its release wakes this waiter up.
   */
  async #waitForOwnHolder(waiter: Waiter): Promise<Lease | undefined> {
    const holder = this.engine.keeper.holderOf(this.storeKey);
    if (!holder || this.call.settings.stealAfter !== undefined) return undefined;
    const now = this.engine.clock.now();
    const pause = Math.min(SAFETY_POLL, this.#deadline - now, holder.deadline - now + 1);
    return waiter.pause(pause, this.#takeOver());
  }

  /**
   * Returns a function by which a holder in this process releases the lock to this call;
   * `undefined` if it cannot.
   */
  #takeOver(): TakeOver | undefined {
    const { store } = this.engine;
    const release = store.releaseToWaiter?.bind(store);
    if (!release || !this.#attempts.canTakeOver) return undefined;
    return (holder, outcome) => this.#takeOverFrom(holder, outcome, release);
  }

  async #takeOverFrom(
    holder: Lease,
    outcome: LockOutcome,
    release: WaiterRelease['releaseToWaiter'],
  ): ReturnType<TakeOver> {
    const { ttl, label } = this.call.settings;
    const limit = Math.min(holder.requestLimit, this.#requestLimit(this.#deadline - this.engine.clock.now()));
    let refused = false;
    try {
      const result = await this.#attempts.takeOver(holder, limit, async (owner, timeout) => {
        try {
          const waiter = { owner, ttl: storeTtl(ttl), label };
          return await release(this.storeKey, holder.owner, waiter, { outcome, timeout });
        } catch (error) {
          // Only the store's own error shows whether the store may still carry the request
          // out. The LockStoreError that wraps it later does not.
          refused = !mayBeCarriedOut(error);
          throw error;
        }
      });
      if (!(result instanceof Lease)) return 'refused';
      result.series = holder.series + 1;
      return result;
    } catch (error) {
      if (error instanceof LockStoreError) this.#publishFailure(error);
      return refused ? 'refused' : 'unknown';
    }
  }

  /**
   * Makes one attempt. If the store fails in a way that may pass, and there is time left to
   * wait, it resolves to the error, so that the caller tries again.
   */
  #attempt(): Promise<Lease | Refusal | LockStoreError> {
    const { inFlight } = this.engine.keeper;
    inFlight.begin();
    return this.#send().then(
      (result) => {
        inFlight.end();
        return result;
      },
      (error: unknown) => {
        inFlight.end();
        return this.#valueOf(error);
      },
    );
  }

  #send(): Promise<Lease | Refusal> {
    const { store, clock } = this.engine;
    const left = this.#deadline - clock.now();
    if (!store.sessionBound) {
      const waiting = left > 0 && store.notifiesWaiters === true;
      return this.#attempts.attempt(this.#requestLimit(left), 0, waiting);
    }
    // With session locks, the call waits on the server. Only the first waiter of a process
    // does so, so that a process uses one connection to wait for a key.
    const limit = this.call.settings.wait > 0 ? OVERTIME : undefined;
    return this.#attempts.attempt(limit, Math.max(0, left));
  }

  /**
   * Returns the error of an attempt if the call goes on waiting after it.
   *
   * @throws the error, if the call does not go on waiting
   */
  #valueOf(error: unknown): LockStoreError {
    if (!(error instanceof LockStoreError)) throw error;
    this.#publishFailure(error);
    if (error.transient && this.engine.clock.now() < this.#deadline) return error;
    throw error;
  }

  /**
   * Milliseconds that a request may take. A request may end after the wait's deadline, but by
   * {@link OVERTIME} at most.
   */
  #requestLimit(left: number): number {
    const { ttl, wait } = this.call.settings;
    const longest = requestLimitOf(ttl);
    return wait > 0 ? Math.min(longest, Math.max(left, OVERTIME)) : longest;
  }

  /** Milliseconds to wait before the next attempt. */
  #pauseAfter(attempt: number, result: Refusal | LockStoreError, left: number): number {
    const { clock } = this.engine;
    const pause = Math.min(this.call.settings.retry(attempt, clock.random()), left);
    if (result instanceof LockStoreError) return pause;
    const { queued, holder } = result;
    // If the holder is dead, its lock is free when its lease ends. A remaining time of 0 is
    // ignored, since it may come from a race in the store.
    const leaseEnds = holder?.remaining && holder.remaining > 0 ? holder.remaining + 1 : Infinity;
    return Math.min(queued ? SAFETY_POLL * (0.75 + clock.random() / 2) : pause, left, leaseEnds);
  }

  get #waited(): number {
    return this.engine.clock.now() - this.#startedAt;
  }

  #refused(result: Refusal | LockStoreError): LockNotAcquiredError {
    if (result instanceof LockStoreError) throw result;
    const { call, engine } = this;
    const { reason } = result;
    const waited = this.#waited;
    if (reason === 'tick-ahead') return refuseTickAhead(call, waited, engine.publisher);
    const nested = call.nested === true && !isFinal(result);
    const holder = result.holder && { ...result.holder, key: call.key };
    return this.#busy({ waited, holder, reason, nested, lastRun: engine.keys.took(call.key, call.job) });
  }

  #busy(details: LockNotAcquiredDetails): LockNotAcquiredError {
    const { key, job } = this.call;
    const error = new LockNotAcquiredError(key, details);
    const { waited, reason, holder } = error;
    this.engine.publisher.publish('busy', { key, job, waited, reason, holder });
    return error;
  }

  #publishFailure(error: LockStoreError): void {
    const { key, job } = this.call;
    this.engine.publisher.publish('storeError', { key, job, operation: 'acquire', error });
  }
}

/** Whether the store would refuse the call again, however long the call waits. */
function isFinal(result: Refusal | LockStoreError): boolean {
  return !(result instanceof LockStoreError) && FINAL.has(result.reason);
}
