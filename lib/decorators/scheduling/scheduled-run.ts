import type { Engine } from '../../engine/engine.js';
import { Attempts, refuseTickAhead } from '../../engine/attempts.js';
import { Lease } from '../../engine/lease.js';
import { answerWithin, requestLimitOf } from '../../engine/time-limit.js';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type { OnceRequest } from '../../interfaces/lock-store.interface.js';
import { LockNotAcquiredError, LockStoreError } from '../../lock.errors.js';
import type { LockInternals } from '../../lock-internals.js';
import type { Lock } from '../../lock.js';
import type { LockCall, TryRunResult } from '../../options/lock-call.js';
import type { LockSettings } from '../../options/lock.settings.js';
import type { Firing } from './scheduler.js';

/**
 * A call by the scheduler, with the tick that the store records. Because of the record, the
 * tick runs once.
 */
type ScheduledCall = LockCall & { once: OnceRequest };

/**
 * Milliseconds that a tick may always be ahead of the store's clock, even if the job's period
 * is shorter.
 */
const LEAST_AHEAD = 10_000;
/**
 * The lease of the row that records a tick, in milliseconds. It may be shorter than the run,
 * since the lock protects the run.
 */
const RECORD_TTL = 10_000;
/**
 * The `stealAfter` with which a tick is recorded, in milliseconds. It is the shortest, so that
 * an unfinished record is taken over at once: the caller holds the lock of the method, so the
 * earlier run has ended or has lost the lock.
 */
const STEAL_AT_ONCE = 1;

/**
 * What the store is to record about a firing, so that only one of all instances runs it;
 * `undefined` if no tick is recorded for it.
 */
export function onceIn(
  firing: Firing,
  { once, tickAhead }: Pick<LockSettings, 'once' | 'tickAhead'>,
): OnceRequest | undefined {
  if (once === false || typeof once === 'number') return undefined;
  if (firing.kind === 'cron' && once === 'tick') return { tick: firing.tick, ahead: tickAhead };
  if (firing.kind === 'cron')
    return { tick: firing.tick, ahead: Math.max(firing.period, LEAST_AHEAD), failOver: true };
  return firing.kind === 'interval' && once === undefined ? { gap: gapOf(firing.every) } : undefined;
}

/**
 * Milliseconds after the start of an interval's run in which no instance starts it again. It
 * is a little less than the interval, since timers and answers may be late.
 */
function gapOf(every: number): number {
  return Math.ceil(Math.max(every - Math.max(every * 0.05, 250), every / 2));
}

/**
 * Runs a method for the scheduler. There are three ways to decide whether its tick has run
 * already:
 *
 * 1. If the store keeps no ticks, the method runs whenever it gets the lock.
 * 2. If the method has a key of its own, the statement that grants the lock also compares and
 *    records the tick, in the row of the lock. A tick that has run is refused.
 * 3. If other methods may share the key, the same statement acquires a second row, which only
 *    this method has, while the lock is held. See {@link TickRecord}.
 *
 * @param ticksKey the key under which ticks are recorded
 */
export async function runScheduled<T>(
  internals: LockInternals,
  call: ScheduledCall,
  ticksKey: string,
  body: (lock: Lock) => T | Promise<T>,
): Promise<TryRunResult<T>> {
  const engine = await internals.start();
  const plain = { ...call, once: undefined };
  if (!internals.keepsTicks) return internals.tryRun(plain, body);
  if (ticksKey !== call.key) {
    const record = new TickRecord(engine, call, internals.storeKey(ticksKey));
    return record.run((work) => internals.tryRun(plain, work), body);
  }
  const result = await internals.tryRun(call, body);
  if (result.acquired || result.error.reason !== 'tick-ahead') return result;
  // The clock of this machine is wrong. The method runs without a record of the tick, since
  // running a tick twice does less harm than skipping it.
  return internals.tryRun(plain, body);
}

/**
 * Records one tick in a row of its own, beside the row of the lock. So methods that share a
 * key have separate ticks. A run acquires that row, too, while it holds the lock, since the
 * store records a tick only with a grant.
 */
class TickRecord {
  #owner: string | undefined;

  constructor(
    private readonly engine: Engine,
    private readonly call: ScheduledCall,
    private readonly storeKey: string,
  ) {}

  /** @param tryRun runs work under the lock */
  async run<T>(
    tryRun: (work: (lock: Lock) => Promise<T>) => Promise<TryRunResult<T>>,
    body: (lock: Lock) => T | Promise<T>,
  ): Promise<TryRunResult<T>> {
    if (await this.#isDone()) return { acquired: false, error: this.#refused('tick-done') };
    let refused: LockNotAcquiredError | undefined;
    const result = await tryRun(async (lock) => {
      refused = await this.#begin();
      // This value is not used: the caller gets the refusal.
      if (refused && refused.reason !== 'tick-ahead') return undefined as T;
      refused = undefined;
      lock.assertHeld(); // the lock may have been lost while the tick was recorded
      let outcome: LockOutcome = 'failed';
      try {
        const value = await body(lock);
        outcome = 'done';
        return value;
      } finally {
        await this.#end(outcome);
      }
    });
    return refused ? { acquired: false, error: refused } : result;
  }

  /**
   * Whether the tick has run already, or may not be repeated. The check only saves the
   * acquisition of the lock for a tick that is done. The store decides by the same rule in the
   * request that records the tick.
   */
  async #isDone(): Promise<boolean> {
    const { once } = this.call;
    const { store } = this.engine;
    if (!('tick' in once) || !store.inspect) return false;
    const inspect = store.inspect.bind(store, this.storeKey);
    const { lastTick, state } = await this.#ask('inspection', () => inspect());
    const last = lastTick?.getTime() ?? -Infinity;
    // If the recorded tick lies this far ahead, it may come from a wrong clock. Only the store
    // can compare it with its own clock, so the store decides.
    if (last > once.tick + once.ahead) return false;
    return last > once.tick || (last === once.tick && !(once.failOver && state !== 'free'));
  }

  /**
   * Records the tick while the lock is held. A record that an earlier run has left unfinished
   * is taken over, see {@link STEAL_AT_ONCE}.
   */
  async #begin(): Promise<LockNotAcquiredError | undefined> {
    const { call, engine, storeKey } = this;
    const { key, job, once } = call;
    const { label } = call.settings;
    const attempts = new Attempts(
      { key, storeKey, ttl: RECORD_TTL, renewEvery: false, label, stealAfter: STEAL_AT_ONCE, once },
      engine,
    );
    const answer = await attempts.attempt().catch((error: unknown) => {
      attempts.abandon(); // a late grant is released, since it must not count as a run
      throw error;
    });
    if (!(answer instanceof Lease)) {
      attempts.abandon();
      return answer.reason === 'tick-ahead'
        ? refuseTickAhead(call, 0, engine.publisher)
        : this.#refused(answer.reason);
    }
    this.#owner = answer.owner;
    if (answer.ignoredTick) engine.publisher.publish('tickIgnored', { key, job, tick: answer.ignoredTick });
    return undefined;
  }

  /**
   * Records that the run has ended. If the lease of the record has expired during the run, the
   * record is acquired again first.
   */
  async #end(outcome: LockOutcome): Promise<void> {
    const { key, job, once, settings } = this.call;
    const { store, publisher } = this.engine;
    const [storeKey, owner] = [this.storeKey, this.#owner];
    if (owner === undefined) return;
    const release = (timeout: number): Promise<boolean> =>
      store.release(storeKey, owner, { outcome, timeout });
    try {
      if (await this.#ask('release', release)) return;
      if (!('tick' in once)) return;
      const { label } = settings;
      const again = await this.#ask('acquisition', (timeout) =>
        store.acquire(storeKey, owner, RECORD_TTL, { label, once, resend: true, timeout }),
      );
      if (again.acquired) await this.#ask('release', release);
    } catch (cause) {
      // The caller gets the result or the error of the run. The failure to record its end is
      // only published as an event.
      const unrecorded = `The store could not record that a tick of "${key}" has ended. See the cause.`;
      const error = cause instanceof LockStoreError ? cause : new LockStoreError(unrecorded, { cause });
      publisher.publish('storeError', { key, job, operation: 'release', error });
    }
  }

  #ask<R>(operation: string, send: (timeout: number) => Promise<R>): Promise<R> {
    const owners = this.#owner === undefined ? [] : [this.#owner];
    const request = { operation, key: this.call.key, owners, send };
    return answerWithin(this.engine.clock, requestLimitOf(RECORD_TTL), request);
  }

  #refused(reason: LockNotAcquiredError['reason'] = 'contention'): LockNotAcquiredError {
    const { key, job } = this.call;
    this.engine.publisher.publish('busy', { key, job, waited: 0, reason });
    return new LockNotAcquiredError(key, { waited: 0, reason: reason === 'queue-full' ? 'held' : reason });
  }
}
