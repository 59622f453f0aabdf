import { setMaxListeners } from 'node:events';
import type { Clock } from './clock.js';
import type { LockStore, OnceRequest, SessionBound } from './interfaces/lock-store.interface.js';
import type { LeaseKeeper } from './lease-keeper.js';
import { attemptTimeoutOf, Lease } from './lease.js';
import { LockAcquisition, type Refusal } from './lock-acquisition.js';
import { LockError, LockNotAcquiredError, LockStoreError } from './lock.errors.js';
import type { LockEventPublisher } from './lock.events.js';
import type { LockCall } from './lock-call.js';
import type { LockSettings } from './lock.settings.js';
import type { Lock } from './lock.js';
import type { WaitQueue } from './wait-queue.js';

/** Milliseconds that the attempt at the deadline of a wait has to be answered: longer than stores wait for a locked row. */
const OVERTIME = 2_500;

/** Takes locks from one store: the only wait loop of the library. */
export class LockContender {
  constructor(
    private readonly store: LockStore & Partial<SessionBound>,
    private readonly keeper: LeaseKeeper,
    private readonly queue: WaitQueue,
    private readonly publisher: LockEventPublisher,
    private readonly clock: Clock,
  ) {}

  /**
   * Attempts until the lock is granted, or the wait has ended with an attempt at its deadline. Contention is a value.
   *
   * @throws LockStoreError, or what the signal was aborted with
   */
  async contend(call: LockCall, storeKey: string): Promise<Lock | LockNotAcquiredError> {
    const { settings, signal } = call;
    const { sessionBound = false } = this.store;
    signal?.throwIfAborted();
    const startedAt = this.clock.now();
    const until = startedAt + settings.wait;
    const terms = {
      key: call.key,
      storeKey,
      ttl: sessionBound ? Infinity : settings.ttl,
      renewEvery: sessionBound ? false : settings.renewEvery,
      label: settings.label,
      stealAfter: settings.stealAfter,
      once: onceOf(call),
      sessionBound,
    } as const;
    const acquisition = new LockAcquisition(terms, this.store, this.clock, (key, owner) =>
      this.keeper.free(key, owner),
    );
    const place = this.queue.join(storeKey);
    const onAbort = (): void => place.fail(signal?.reason);
    if (signal) setMaxListeners(0, signal); // a signal for the whole application has a listener for each wait
    signal?.addEventListener('abort', onAbort, { once: true });
    let lock: Lock | undefined;
    try {
      for (let attempt = 1; ; attempt++) {
        if (settings.wait > 0) await place.turn(until);
        place.attempting();
        const answer = await place.orFailure(this.keeper.track(this.#attempt(acquisition, call, until)));
        const now = this.clock.now();
        if (answer instanceof Lease)
          return (lock = this.keeper.keep(answer, settings, call.job, now - startedAt));
        if (now >= until || isFinal(answer)) return this.#busy(call, answer, now - startedAt);
        await place.pause(this.#pauseAfter(attempt, answer, settings, until - now));
      }
    } finally {
      if (!lock) acquisition.abandon();
      signal?.removeEventListener('abort', onAbort);
      place.leave();
    }
  }

  /** One attempt; a failure that may pass by itself is a value while there is time left to wait. */
  async #attempt(
    acquisition: LockAcquisition,
    { key, job, settings }: LockCall,
    until: number,
  ): Promise<Lease | Refusal | LockStoreError> {
    try {
      if (!this.store.sessionBound) return await acquisition.attempt(this.#patience(settings, until));
      // It waits on the server, and is the only one of this process that does so for the key.
      const wait = Math.max(0, until - this.clock.now());
      return await acquisition.attempt(settings.wait > 0 ? OVERTIME : undefined, wait);
    } catch (error) {
      if (!(error instanceof LockStoreError)) throw error;
      this.publisher.publish('storeError', { key, job, operation: 'acquire', error });
      if (error.transient && this.clock.now() < until) return error;
      throw error;
    }
  }

  /** While waiting, an attempt that is not answered does not outlast the wait by more than that. */
  #patience({ ttl, wait }: LockSettings, until: number): number {
    const longest = attemptTimeoutOf(ttl);
    return wait > 0 ? Math.min(longest, Math.max(until - this.clock.now(), OVERTIME)) : longest;
  }

  #busy(call: LockCall, answer: Refusal | LockStoreError, waited: number): LockNotAcquiredError {
    const { key, job } = call;
    if (answer instanceof LockStoreError) throw answer;
    if (answer.reason === 'tick-ahead') throw aheadOfTime(call);
    const holder = answer.holder && { ...answer.holder, key }; // as the caller knows it
    const error = new LockNotAcquiredError(key, { waited, holder, reason: answer.reason });
    this.publisher.publish('busy', { key, job, waited, reason: error.reason, holder });
    return error;
  }

  #pauseAfter(
    attempt: number,
    answer: Refusal | LockStoreError,
    settings: LockSettings,
    left: number,
  ): number {
    const pause = Math.min(settings.pause(attempt, this.clock.random()), left);
    const remaining = answer instanceof LockStoreError ? undefined : answer.holder?.remaining;
    // A dead holder is taken over when its lease ends. "Nothing remains" knows nothing (it can be a race): back off then.
    return remaining !== undefined && remaining > 0 ? Math.min(pause, remaining + 1) : pause;
  }
}

/** What waiting cannot change. */
function isFinal(answer: Refusal | LockStoreError): boolean {
  if (answer instanceof LockStoreError) return false;
  return answer.reason === 'paused' || answer.reason === 'tick-done' || answer.reason === 'tick-ahead';
}

function onceOf({ tick, settings: { once, tickAhead } }: LockCall): OnceRequest | undefined {
  if (tick !== undefined) return { tick, ahead: tickAhead };
  return typeof once === 'number' ? { slot: once } : undefined;
}

/** Loud, and no skip: with its tick in the row, no other instance would run until that time has come. */
function aheadOfTime({ key, tick = 0, settings }: LockCall): LockError {
  return new LockError(
    `The tick ${new Date(tick).toISOString()} of lock "${key}" is more than ${settings.tickAhead} ms ahead of the database's clock, and is not run. Set the clock of this machine, or raise the option tickAhead.`,
  );
}
