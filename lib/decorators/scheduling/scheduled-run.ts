import type { Clock } from '../../engine/clock.js';
import type { LockOutcome } from '../../interfaces/lock-record.interface.js';
import type {
  LockInspector,
  LockStore,
  OnceKeeper,
  OnceRequest,
  TickKeeper,
} from '../../interfaces/lock-store.interface.js';
import { Lease } from '../../engine/lease.js';
import type { LeaseKeeper } from '../../engine/lease-keeper.js';
import { refuseTickAhead } from '../../engine/acquisition.js';
import { Attempts } from '../../engine/attempts.js';
import type { LockCall, TryRunResult } from '../../options/lock-call.js';
import { LockNotAcquiredError, LockStoreError } from '../../lock.errors.js';
import type { LockEventPublisher } from '../../lock.events.js';
import type { Lock } from '../../lock.js';
import { answerWithin, requestLimitOf } from '../../engine/time-limit.js';

type Store = LockStore & Partial<LockInspector & OnceKeeper & TickKeeper>;
type Body<T> = (lock: Lock) => T | Promise<T>;

/** The parts of a lock service that a scheduled run uses. */
export interface ScheduledRunTerms {
  store: Store;
  clock: Clock;
  publisher: LockEventPublisher;
  /** Runs the body under the lock, and records a tick only if the call has one. */
  tryRun<T>(call: LockCall, body: Body<T>): Promise<TryRunResult<T>>;
  /** The key as the store knows it. */
  storeKey(key: string): string;
  keeper: LeaseKeeper;
}

/** Whether a store keeps ticks, at least while this process runs. */
export function keepsTicks({ keepsOnce, keepsTicks: inProcess }: Partial<OnceKeeper & TickKeeper>): boolean {
  return keepsOnce === true || inProcess === true;
}

/**
 * Runs a method for the scheduler. If the store keeps ticks, each tick runs on one of all
 * instances; otherwise the method runs on one at a time.
 */
export async function runScheduled<T>(
  call: LockCall,
  body: Body<T>,
  terms: ScheduledRunTerms,
): Promise<TryRunResult<T>> {
  const { once, ticksKey, ...plain } = call;
  if (!once || !keepsTicks(terms.store)) return terms.tryRun(plain, body);
  if (ticksKey !== undefined) return runBesideTicks(call, new TickRecord(call, once, ticksKey, terms), body);
  const result = await terms.tryRun(call, body);
  if (result.acquired || result.error.reason !== 'tick-ahead') return result;
  // The clock of this machine is wrong: a second run does less harm than none.
  return terms.tryRun(plain, body);
}

/**
 * Runs under the lock, and records the tick in a row beside the lock, so that methods that
 * share a key have ticks of their own.
 */
async function runBesideTicks<T>(
  call: LockCall,
  record: TickRecord,
  body: Body<T>,
): Promise<TryRunResult<T>> {
  const { once: _once, ticksKey: _ticksKey, ...plain } = call;
  if (await record.isDone()) return { acquired: false, error: record.refused('tick-done') };
  let refused: LockNotAcquiredError | undefined;
  const result = await record.terms.tryRun(plain, async (lock) => {
    refused = await record.begin();
    // The caller gets the refusal instead of this value.
    if (refused && refused.reason !== 'tick-ahead') return undefined as T;
    refused = undefined;
    lock.assertHeld(); // recording the tick took time
    let outcome: LockOutcome = 'failed';
    try {
      const value = await body(lock);
      outcome = 'done';
      return value;
    } finally {
      await record.end(outcome);
    }
  });
  return refused ? { acquired: false, error: refused } : result;
}

/**
 * Milliseconds. The lock protects the run, so the lease of the record need not last as long as
 * the run.
 */
const RECORD_TTL = 10_000;

/**
 * The record of one tick in a row of its own. The run takes a lock on that row, so that the
 * store records the tick with it.
 */
class TickRecord {
  readonly #storeKey: string;
  #owner: string | undefined;

  constructor(
    private readonly call: LockCall,
    private readonly once: OnceRequest,
    ticksKey: string,
    readonly terms: ScheduledRunTerms,
  ) {
    this.#storeKey = terms.storeKey(ticksKey);
  }

  /**
   * Whether the tick has run already, or may not be repeated. Checked first, so that a tick
   * that is done leaves the lock alone.
   */
  async isDone(): Promise<boolean> {
    const { once } = this;
    const { store } = this.terms;
    if (!('tick' in once) || !store.inspect) return false;
    const inspect = store.inspect.bind(store, this.#storeKey);
    const { lastTick, state } = await this.#ask('inspection', () => inspect());
    const last = lastTick?.getTime() ?? -Infinity;
    if (last > once.tick + once.ahead) return false; // perhaps too far ahead: the store decides
    return last > once.tick || (last === once.tick && !(once.failOver && state !== 'free'));
  }

  /**
   * Records the tick while the lock is held. It takes over the record of a run that has not
   * finished it, since that run has ended.
   */
  async begin(): Promise<LockNotAcquiredError | undefined> {
    const { call, once, terms } = this;
    const { key, job } = call;
    const attempts = new Attempts(
      {
        key,
        storeKey: this.#storeKey,
        ttl: RECORD_TTL,
        renewEvery: false,
        label: call.settings.label,
        stealAfter: 1,
        once,
      },
      terms,
    );
    const answer = await attempts.make().catch((error: unknown) => {
      attempts.abandon(); // a grant that comes later must not count as a run of the tick
      throw error;
    });
    if (!(answer instanceof Lease)) {
      attempts.abandon();
      return answer.reason === 'tick-ahead'
        ? refuseTickAhead(call, 0, terms.publisher)
        : this.refused(answer.reason);
    }
    this.#owner = answer.owner;
    if (answer.ignoredTick) terms.publisher.publish('tickIgnored', { key, job, tick: answer.ignoredTick });
    return undefined;
  }

  /**
   * Records that the run has ended. If the run outlasted the lease of the record, the record
   * is acquired again first.
   */
  async end(outcome: LockOutcome): Promise<void> {
    const { call, once, terms } = this;
    const [key, owner] = [this.#storeKey, this.#owner];
    if (owner === undefined) return;
    const release = (timeout: number): Promise<boolean> =>
      terms.store.release(key, owner, { outcome, timeout });
    try {
      if (await this.#ask('release', release)) return;
      if (!('tick' in once)) return;
      const { label } = call.settings;
      const again = await this.#ask('acquisition', (timeout) =>
        terms.store.acquire(key, owner, RECORD_TTL, { label, once, resend: true, timeout }),
      );
      if (again.acquired) await this.#ask('release', release);
    } catch (cause) {
      // The run has ended: its caller gets its result or its error, and never this one.
      const error = cause instanceof LockStoreError ? cause : unrecorded(call.key, cause);
      terms.publisher.publish('storeError', { key: call.key, job: call.job, operation: 'release', error });
    }
  }

  #ask<R>(operation: string, send: (timeout: number) => Promise<R>): Promise<R> {
    const owners = this.#owner === undefined ? [] : [this.#owner];
    const request = { operation, key: this.call.key, owners, send };
    return answerWithin(this.terms.clock, requestLimitOf(RECORD_TTL), request);
  }

  refused(reason: LockNotAcquiredError['reason'] = 'contention'): LockNotAcquiredError {
    const { key, job } = this.call;
    this.terms.publisher.publish('busy', { key, job, waited: 0, reason });
    return new LockNotAcquiredError(key, { waited: 0, reason: reason === 'queue-full' ? 'held' : reason });
  }
}

function unrecorded(key: string, cause: unknown): LockStoreError {
  return new LockStoreError(`The end of a tick of "${key}" could not be recorded. See the cause.`, { cause });
}
