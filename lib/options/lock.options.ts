import type { Duration } from './duration.js';
import type { LockStoreDefinition, LockStore } from '../interfaces/lock-store.interface.js';
import type { LockLostError } from '../lock.errors.js';
import type { Lock } from '../lock.js';

/** Called once when a lock is lost. What it throws is logged. @publicApi */
export type LostCallback = (lock: Lock, error: LockLostError) => unknown;

/**
 * How long to pause between two attempts: a fixed time, a range through which the pause
 * doubles (with jitter), or a function of the attempt (1 for the pause after the first).
 *
 * @publicApi
 */
export type RetryPolicy = Duration | { min: Duration; max: Duration } | ((attempt: number) => number);

/** How long a lock lasts. @publicApi */
export interface LeaseOptions {
  /**
   * The lock of a holder that stops renewing is free after this time. At least 100 ms; with
   * `Infinity` it never is. Default 30 s.
   */
  ttl?: Duration | undefined;
  /**
   * The key stays taken at least this long after it was acquired, also when the work is done
   * sooner. Default 0.
   */
  minHold?: Duration | undefined;
  /** The worker's name for people, at most 255 bytes. Default `hostname:pid`. */
  label?: string | undefined;
}

/**
 * Automatic renewal: on unless `autoRenew` is `false`.
 *
 * @publicApi
 */
export type RenewalOptions =
  | {
      autoRenew?: true | undefined;
      /**
       * How often the lease is renewed: at most two thirds of the ttl, or a third to a half of
       * a ttl below 300 ms. Default a third of the ttl, or 10 s for an endless lease.
       */
      renewEvery?: Duration | undefined;
    }
  | { autoRenew?: boolean | undefined; renewEvery?: undefined };

/** How long to try. @publicApi */
export interface WaitOptions {
  /**
   * How long to wait for a busy lock. 0 is exactly one attempt, `Infinity` waits without end.
   * Default 0.
   */
  wait?: Duration | undefined;
  /**
   * Delay between polls, for stores that cannot notify waiters. Default 20 ms, doubling to
   * 500 ms, with jitter.
   */
  retry?: RetryPolicy | undefined;
  /**
   * Takes the lock from a holder that has not renewed it for this long, also a lock that never
   * expires. The holder learns of it at its next renewal. Until then two processes may believe
   * that they hold the lock. Must be longer than the interval of renewals; several intervals
   * leave room for a slow database. Default: no lock is stolen.
   */
  stealAfter?: Duration | undefined;
}

/** Options that every acquisition has, and `LockModule` as defaults for all its locks. @publicApi */
export type LockOptions = LeaseOptions & RenewalOptions & WaitOptions;

/** Options of a single call. @publicApi */
export interface OnceOptions {
  /**
   * Grants the key once in each slot of this length, over all instances, and also if it is
   * free again within the slot. Slots are counted from 1970 by the database's clock. Default:
   * the key is granted whenever it is free.
   */
  once?: Duration | undefined;
}

/** Whether a call chain may go through a lock that it holds. @publicApi */
export interface ReentryOptions {
  /**
   * If the current call chain already holds this key, reuses that lock instead of deadlocking.
   * Branches that run side by side share the lock, and the last branch to end releases it.
   * Re-entry is no new grant, so `once` does not count it.
   *
   * Default `false`: the call is refused. A call with a `wait` fails at once with a
   * `LockError`, since the wait would not end.
   */
  reentrant?: boolean | undefined;
}

/** What a run does when its lock is lost. @publicApi */
export interface LossOptions {
  /** Called once when the lock is lost. Default the module's. */
  onLost?: LostCallback | undefined;
  /**
   * Whether the run rejects with `LockLostError` if its lock was lost although the work ended
   * well. `false`: it gives the result all the same. Default `true`.
   */
  rejectOnLoss?: boolean | undefined;
}

/** Options of `acquire` and `tryAcquire`. @publicApi */
export type AcquireOptions = LockOptions &
  OnceOptions & {
    /** Ends the waiting at once; the call rejects with the signal's reason. */
    signal?: AbortSignal | undefined;
    /** Called once when this lock is lost. Default the module's. */
    onLost?: LostCallback | undefined;
  };

/** Options of `run` and `tryRun`. @publicApi */
export type RunOptions = LockOptions &
  OnceOptions &
  ReentryOptions &
  LossOptions & {
    /** Ends the waiting at once; the call rejects with the signal's reason. */
    signal?: AbortSignal | undefined;
  };

/** Options of `restore`. @publicApi */
export type RestoreOptions = RenewalOptions & {
  /** Called once when the lock is lost. Default the module's. */
  onLost?: LostCallback | undefined;
};

/** Options of `LockModule` besides its store. @publicApi */
export type LockModuleDefaults = LockOptions &
  ReentryOptions & {
    /** `false` runs everything unlocked and connects to nothing; a warning says so. Default `true`. */
    enabled?: boolean | undefined;
    /**
     * Put before every key with a colon, for applications that share a database. Letters,
     * digits, `.`, `_` and `-`.
     */
    prefix?: string | undefined;
    /**
     * Refuses methods under `@Locked()` without a key. The default key,
     * `ClassName.methodName`, changes when a minifier renames classes. Then two builds exclude
     * each other for the wrong methods, or not at all. Default `false`.
     */
    requireKeys?: boolean | undefined;
    /** Called once for each lock that is lost, unless the call or the decorator has its own. */
    onLost?: LostCallback | undefined;
    /**
     * How long a shutdown waits for work under `run`, `tryRun`, `@Locked()` or
     * `LockInterceptor` before it releases the lock. Default 10 s. Locks that were acquired by
     * hand are released at once, since the service does not know the work under them.
     */
    shutdownTimeout?: Duration | undefined;
    /**
     * Deletes keys that were not used for `olderThan`, at intervals, one instance at a time.
     * Default: keys stay, each with its last run.
     */
    purge?: PurgeSchedule | undefined;
    /**
     * How many calls of this process may wait at a time, for one key and in all, including
     * those with an attempt under way. A further call is refused at once with
     * `LockNotAcquiredError`, reason `queue-full`. Default: no limit.
     */
    maxWaiters?: { perKey?: number | undefined; total?: number | undefined } | undefined;
    /**
     * A file that says what this process does with the locks of the module: `0` idle, `1`
     * waiting for a lock, `2` holding one. It is replaced as a whole at each change. Default
     * none.
     */
    statusFile?: string | undefined;
  };

/** When unused keys are deleted. @publicApi */
export interface PurgeSchedule {
  /** How long a key was not used. At least a minute. */
  olderThan: Duration;
  /** How often to look. At least a minute. Default a day. */
  every?: Duration | undefined;
}

/** Options of `LockModule`. @publicApi */
export type LockModuleOptions = LockModuleDefaults & {
  /** Where the locks are kept: a store, or a definition such as `typeOrmStore()`. */
  store: LockStore | LockStoreDefinition;
};
