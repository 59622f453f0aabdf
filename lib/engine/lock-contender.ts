import { setMaxListeners } from 'node:events';
import type { Clock } from './clock.js';
import type {
  WaiterRelease,
  LockStore,
  OnceRequest,
  SessionBound,
  WakeUps,
} from '../interfaces/lock-store.interface.js';
import type { KnownKeys } from './known-keys.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { Lease } from './lease.js';
import { LockAcquisition, type Refusal } from './acquisition.js';
import { LockError, LockNotAcquiredError, LockStoreError, waitsForItself } from '../lock.errors.js';
import type { LockEventPublisher } from '../lock.events.js';
import type { LockCall } from '../options/lock-call.js';
import type { LockSettings } from '../options/lock.settings.js';
import type { Lock } from '../lock.js';
import { safeError } from '../safe-error.js';
import { mayBeCarriedOut } from './settle-within.js';
import type { Place, Succession, WaitQueue } from './wait-queue.js';
import { attemptTimeoutOf } from '../options/lease-timing.js';

/** Milliseconds that the attempt at the deadline of a wait has to be answered: longer than stores wait for a locked row. */
const OVERTIME = 2_500;

/** Milliseconds after which the store is asked also by those that it, or a holder in this process, would have told: calls can be lost. */
const SAFETY_POLL = 1_000;

/** Takes locks from one store, and waits for those that are held. */
export class LockContender {
  constructor(
    private readonly store: LockStore & Partial<SessionBound & WaiterRelease & WakeUps>,
    private readonly keeper: LeaseKeeper,
    private readonly queue: WaitQueue,
    private readonly keys: KnownKeys,
    private readonly publisher: LockEventPublisher,
    private readonly clock: Clock,
  ) {}

  /**
   * Attempts until the lock is granted, or the wait has ended with an attempt at its deadline. Contention is a value.
   *
   * @throws LockStoreError, or what the signal was aborted with
   * @throws LockError when the call chain holds the key itself, and would wait for it
   */
  async contend(call: LockCall, storeKey: string): Promise<Lock | LockNotAcquiredError> {
    const { settings, signal } = call;
    signal?.throwIfAborted();
    this.queue.assertOpen();
    if (call.nested && settings.wait > 0) throw waitsForItself(call.key);
    const startedAt = this.clock.now();
    const acquisition = this.#acquisition(call, storeKey);
    const full = settings.wait > 0 ? this.queue.full(storeKey) : undefined;
    if (full) return this.#publishBusy(call, new LockNotAcquiredError(call.key, { waited: 0, full }));
    let lease: Lease | LockNotAcquiredError | undefined;
    this.keeper.sent();
    try {
      if (settings.wait > 0 || signal) lease = await this.#wait(acquisition, call, storeKey, startedAt);
      else {
        const answer = await this.#attempt(acquisition, call, startedAt);
        this.queue.assertOpen(); // a shutdown may have come in between
        lease = answer instanceof Lease ? answer : this.#busy(call, answer, this.clock.now() - startedAt);
      }
      if (!(lease instanceof Lease)) return lease;
      if (lease.ignoredTick)
        this.publisher.publish('tickIgnored', { key: call.key, job: call.job, tick: lease.ignoredTick });
      return this.keeper.keep(lease, settings, call.job, this.clock.now() - startedAt);
    } finally {
      if (!(lease instanceof Lease)) acquisition.abandon();
      this.keeper.answered();
    }
  }

  #acquisition(call: LockCall, storeKey: string): LockAcquisition {
    const { key, settings } = call;
    const { sessionBound = false } = this.store;
    const { label, stealAfter } = settings;
    const terms = {
      key,
      storeKey,
      ttl: sessionBound ? Infinity : settings.ttl,
      renewEvery: sessionBound ? false : settings.renewEvery,
      label,
      stealAfter,
      once: onceOf(call),
      sessionBound,
    } as const;
    return new LockAcquisition(terms, this.store, this.clock, (freed, owner) =>
      this.keeper.free(freed, owner),
    );
  }

  /** The only wait loop of the library. */
  async #wait(
    acquisition: LockAcquisition,
    call: LockCall,
    storeKey: string,
    startedAt: number,
  ): Promise<Lease | LockNotAcquiredError> {
    const { settings, signal } = call;
    const until = startedAt + settings.wait;
    const place = settings.wait > 0 ? this.queue.join(storeKey) : this.queue.aside();
    const onAbort = (): void => place.fail(signal?.reason);
    if (signal) setMaxListeners(0, signal); // a signal for the whole application has a listener for each wait
    signal?.addEventListener('abort', onAbort, { once: true });
    let lease: Lease | undefined;
    try {
      if (settings.wait > 0) {
        await place.turn(until);
        lease = await this.#afterOwnHolder(place, acquisition, call, storeKey, until);
      }
      for (let attempt = 1; !lease; attempt++) {
        place.attempting();
        const answer = await place.orFailure(this.#attempt(acquisition, call, until));
        const now = this.clock.now();
        if (answer instanceof Lease) {
          lease = answer;
          break;
        }
        if (now >= until || isFinal(answer)) return this.#busy(call, answer, now - startedAt);
        const full = attempt === 1 ? this.queue.overfull() : undefined;
        if (full)
          return this.#publishBusy(
            call,
            new LockNotAcquiredError(call.key, { waited: now - startedAt, full }),
          );
        if (!this.keeper.holderOf(storeKey)) place.refused();
        lease = await place.pause(
          this.#pauseAfter(attempt, answer, settings, until - now),
          this.#succession(acquisition, call, storeKey, until),
        );
      }
      this.queue.assertOpen(); // a shutdown may have come in between
      return lease;
    } finally {
      signal?.removeEventListener('abort', onAbort);
      place.leave(lease !== undefined);
    }
  }

  /** While a call of this process holds the lock there is no need to ask the store: it is passed on, or released, and this wait hears of that. */
  async #afterOwnHolder(
    place: Place,
    acquisition: LockAcquisition,
    call: LockCall,
    storeKey: string,
    until: number,
  ): Promise<Lease | undefined> {
    const holder = this.keeper.holderOf(storeKey);
    if (!holder || call.settings.stealAfter !== undefined) return undefined;
    const now = this.clock.now();
    const pause = Math.min(SAFETY_POLL, until - now, holder.deadline - now + 1);
    return place.pause(pause, this.#succession(acquisition, call, storeKey, until));
  }

  /** How a holder in this process passes the lock on to this call, if it can. */
  #succession(
    acquisition: LockAcquisition,
    { key, job, settings }: LockCall,
    storeKey: string,
    until: number,
  ): Succession | undefined {
    const releaseToWaiter = this.store.releaseToWaiter?.bind(this.store);
    if (!releaseToWaiter || !acquisition.canInherit) return undefined;
    return async (holder, outcome) => {
      const patience = Math.min(holder.attemptTimeout, this.#patience(settings, until - this.clock.now()));
      let refused = false;
      try {
        const answer = await acquisition.inherit(patience, async (next) => {
          try {
            return await releaseToWaiter(storeKey, holder.owner, next, { outcome });
          } catch (error) {
            refused = !mayBeCarriedOut(error); // what it is wrapped in would not tell
            throw safeError(error, [holder.owner, next.owner]);
          }
        });
        if (!(answer instanceof Lease)) return 'refused';
        answer.series = holder.series + 1;
        return answer;
      } catch (error) {
        if (error instanceof LockStoreError)
          this.publisher.publish('storeError', { key, job, operation: 'acquire', error });
        return refused ? 'refused' : 'unknown';
      }
    };
  }

  /** One attempt; a failure that may pass by itself is a value while there is time left to wait. */
  async #attempt(
    acquisition: LockAcquisition,
    { key, job, settings }: LockCall,
    until: number,
  ): Promise<Lease | Refusal | LockStoreError> {
    this.keeper.sent();
    try {
      const left = until - this.clock.now();
      if (!this.store.sessionBound)
        return await acquisition.attempt(this.#patience(settings, left), {
          waiting: left > 0 && this.store.notifiesWaiters === true,
        });
      // It waits on the server, and is the only one of this process that does so for the key.
      return await acquisition.attempt(settings.wait > 0 ? OVERTIME : undefined, { wait: Math.max(0, left) });
    } catch (error) {
      if (!(error instanceof LockStoreError)) throw error;
      this.publisher.publish('storeError', { key, job, operation: 'acquire', error });
      if (error.transient && this.clock.now() < until) return error;
      throw error;
    } finally {
      this.keeper.answered();
    }
  }

  /** While waiting, an attempt that is not answered does not outlast the wait by more than that. */
  #patience({ ttl, wait }: LockSettings, left: number): number {
    const longest = attemptTimeoutOf(ttl);
    return wait > 0 ? Math.min(longest, Math.max(left, OVERTIME)) : longest;
  }

  #busy(call: LockCall, answer: Refusal | LockStoreError, waited: number): LockNotAcquiredError {
    if (answer instanceof LockStoreError) throw answer;
    const { reason } = answer;
    if (reason === 'tick-ahead') return refuseTickAhead(call, waited, this.publisher);
    const nested = call.nested === true && !isFinal(answer);
    const holder = answer.holder && { ...answer.holder, key: call.key }; // as the caller knows it
    const lastRun = this.keys.took(call.key, call.job);
    return this.#publishBusy(
      call,
      new LockNotAcquiredError(call.key, { waited, holder, reason, nested, lastRun }),
    );
  }

  #publishBusy({ key, job }: LockCall, error: LockNotAcquiredError): LockNotAcquiredError {
    const { waited, reason, holder } = error;
    this.publisher.publish('busy', { key, job, waited, reason, holder });
    return error;
  }

  #pauseAfter(
    attempt: number,
    answer: Refusal | LockStoreError,
    settings: LockSettings,
    left: number,
  ): number {
    const pause = Math.min(settings.retry(attempt, this.clock.random()), left);
    const remaining = answer instanceof LockStoreError ? undefined : answer.holder?.remaining;
    if (!(answer instanceof LockStoreError) && answer.queued)
      return Math.min(
        SAFETY_POLL * (0.75 + this.clock.random() / 2),
        left,
        remaining && remaining > 0 ? remaining + 1 : Infinity,
      );
    // A dead holder is taken over when its lease ends. "Nothing remains" knows nothing (it can be a race): back off then.
    return remaining !== undefined && remaining > 0 ? Math.min(pause, remaining + 1) : pause;
  }
}

/** What waiting cannot change. */
function isFinal(answer: Refusal | LockStoreError): boolean {
  if (answer instanceof LockStoreError) return false;
  return answer.reason === 'paused' || answer.reason === 'tick-done' || answer.reason === 'tick-ahead';
}

function onceOf({ once, settings }: LockCall): OnceRequest | undefined {
  return once ?? (typeof settings.once === 'number' ? { slot: settings.once } : undefined);
}

/**
 * The refusal of a tick that lies too far ahead of the store's clock.
 *
 * @throws LockError with `once: 'tick'`: recorded, the tick would keep all instances from
 * running until its time
 */
export function refuseTickAhead(
  { key, job, once, settings }: LockCall,
  waited: number,
  publisher: LockEventPublisher,
): LockNotAcquiredError {
  const { tick, failOver } = once && 'tick' in once ? once : { tick: 0 };
  if (!failOver)
    throw new LockError(
      `The tick ${new Date(tick).toISOString()} of lock "${key}" is more than ${settings.tickAhead} ms ahead of the database's clock, and is not run. Set the clock of this machine, or raise the option tickAhead.`,
    );
  publisher.publish('tickAhead', { key, job, tick: new Date(tick) });
  return new LockNotAcquiredError(key, { waited, reason: 'tick-ahead' });
}
