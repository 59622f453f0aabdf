import type { Duration } from './duration.js';
import type { LockStoreDefinition, LockStore } from '../interfaces/lock-store.interface.js';
import type { LockLostError } from '../lock.errors.js';
import type { Lock } from '../lock.js';

/**
 * A function that the library calls once when a lock is lost. If it throws or rejects, the
 * error is only logged.
 *
 * @publicApi
 */
export type LostCallback = (lock: Lock, error: LockLostError) => unknown;

/**
 * How long to pause between two attempts: a fixed time, a range, or a function. Within a
 * range the pause is random, and its upper end doubles with each attempt from `min` to `max`.
 * The function gets the number of attempts so far, from 1, and returns milliseconds.
 *
 * @publicApi
 */
export type RetryPolicy =
  | Duration
  | {
      /** The shortest pause, at least 1 ms. */
      min: Duration;
      /** The longest pause, at least `min`. */
      max: Duration;
    }
  | ((attempt: number) => number);

/** How long a lock lasts. @publicApi */
export interface LeaseOptions {
  /**
   * How long the lock lasts without a renewal. If a holder crashes, its lock is free after
   * this time. At least 100 ms; with `Infinity` the lock never expires. Default 30 s.
   */
  ttl?: Duration | undefined;
  /**
   * The key stays taken at least this long after it was acquired, even if the work ends
   * earlier. Default 0.
   */
  minHold?: Duration | undefined;
  /**
   * The holder's name in logs, errors and lists, at most 255 bytes. Default `hostname:pid`.
   */
  label?: string | undefined;
}

/**
 * Automatic renewal: on unless `autoRenew` is `false`.
 *
 * @publicApi
 */
export type RenewalOptions =
  | {
      /**
       * Whether the lease is renewed while the lock is held. With `false`, the lock ends with
       * its ttl unless `extend()` is called. Default `true`.
       */
      autoRenew?: true | undefined;
      /**
       * How often the lease is renewed: at most two thirds of the ttl, or a third to a half of
       * a ttl below 300 ms. Default a third of the ttl, or 10 s for an endless lease.
       */
      renewEvery?: Duration | undefined;
    }
  | {
      /**
       * Whether the lease is renewed while the lock is held. With `false`, the lock ends with
       * its ttl unless `extend()` is called. Default `true`.
       */
      autoRenew?: false | undefined;
      renewEvery?: undefined;
    };

/** How long a call tries to get a lock. @publicApi */
export interface WaitOptions {
  /**
   * How long to wait for a busy lock. With 0, the call makes one attempt; with `Infinity`, it
   * waits without end. Default 0.
   */
  wait?: Duration | undefined;
  /**
   * Delay between polls, for stores that cannot notify waiters. Default 20 ms, doubling to
   * 500 ms, with jitter.
   */
  retry?: RetryPolicy | undefined;
  /**
   * Takes the lock from a holder that has not renewed it for this long, even a lock that never
   * expires. The holder learns of the loss at its next renewal. Until then two processes may
   * believe that they hold the lock. The time must be longer than the interval of renewals;
   * several intervals leave room for a slow database. Default: no lock is stolen.
   */
  stealAfter?: Duration | undefined;
}

/**
 * The options of every acquisition. Those given to `LockModule` are the defaults of its locks.
 *
 * @publicApi
 */
export type LockOptions = LeaseOptions & RenewalOptions & WaitOptions;

/** Options of a single call. @publicApi */
export interface OnceOptions {
  /**
   * Grants the key once in each slot of this length, over all instances, even if the key is
   * free again within the slot. Later calls are refused with the reason `tick-done`. Slots are
   * counted from 1970 by the database's clock. At least 1 s. Default: the key is granted
   * whenever it is free.
   */
  once?: Duration | undefined;
}

/** Whether a call may use a lock that its own call chain holds. @publicApi */
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
  /** Called once when the lock is lost. Default: the `onLost` of the module. */
  onLost?: LostCallback | undefined;
  /**
   * Whether the run rejects with `LockLostError` if its lock was lost, even if the work ended
   * well. With `false`, the run still resolves to the result. Default `true`.
   */
  rejectOnLoss?: boolean | undefined;
}

/** Options of `acquire` and `tryAcquire`. @publicApi */
export type AcquireOptions = LockOptions &
  OnceOptions & {
    /**
     * When this signal aborts, the wait ends, and the call rejects with the signal's reason.
     */
    signal?: AbortSignal | undefined;
    /** Called once when this lock is lost. Default: the `onLost` of the module. */
    onLost?: LostCallback | undefined;
  };

/** Options of `run` and `tryRun`. @publicApi */
export type RunOptions = LockOptions &
  OnceOptions &
  ReentryOptions &
  LossOptions & {
    /**
     * When this signal aborts, the wait ends, and the call rejects with the signal's reason.
     */
    signal?: AbortSignal | undefined;
  };

/** Options of `restore`. @publicApi */
export type RestoreOptions = RenewalOptions & {
  /** Called once when the lock is lost. Default: the `onLost` of the module. */
  onLost?: LostCallback | undefined;
};

/** Options of `LockModule` besides its store. @publicApi */
export type LockModuleDefaults = LockOptions &
  ReentryOptions & {
    /**
     * Whether this process takes locks. With `false`, everything runs unlocked, the store is
     * not opened, and a warning is logged. Default `true`.
     */
    enabled?: boolean | undefined;
    /**
     * A name that is put before every key, with a colon, for applications that share a
     * database: 1 to 64 letters, digits, `.`, `_` and `-`. Default: no prefix.
     */
    prefix?: string | undefined;
    /**
     * Refuses methods under `@Locked()` without a key. The default key,
     * `ClassName.methodName`, changes when a minifier renames classes. Then two builds exclude
     * each other for the wrong methods, or not at all. Default `false`.
     */
    requireKeys?: boolean | undefined;
    /**
     * Called once for each lock that is lost, unless the call or the decorator has an `onLost`
     * of its own. Default: a lost lock is only logged.
     */
    onLost?: LostCallback | undefined;
    /**
     * How long a shutdown waits for work under `run`, `tryRun`, `@Locked()` or
     * `LockInterceptor` before it releases the lock. Default 10 s. Locks that were acquired by
     * hand are released at once, since the service does not know the work under them.
     */
    shutdownTimeout?: Duration | undefined;
    /**
     * Deletes unused keys at intervals, one instance at a time. Default: keys stay, each with
     * its last run.
     */
    purge?: PurgeSchedule | undefined;
    /**
     * How many calls of this process may wait at a time, including those with an attempt under
     * way. A further call is refused at once with `LockNotAcquiredError`, reason `queue-full`.
     * Default: no limit.
     */
    maxWaiters?:
      | {
          /** How many calls may wait for one key, from 1. Default `Infinity`. */
          perKey?: number | undefined;
          /** How many calls may wait for all keys together, from 1. Default `Infinity`. */
          total?: number | undefined;
        }
      | undefined;
    /**
     * The path of a file that shows what this process does with the locks of the module: `0`
     * idle, `1` waiting for a lock, `2` holding a lock. The file is replaced as a whole at
     * each change. Default: no file.
     */
    statusFile?: string | undefined;
  };

/** When unused keys are deleted. @publicApi */
export interface PurgeSchedule {
  /** Deletes the keys that were not used for this long. At least a minute. */
  olderThan: Duration;
  /** How often unused keys are deleted. At least a minute. Default a day. */
  every?: Duration | undefined;
}

/** Options of `LockModule`. @publicApi */
export type LockModuleOptions = LockModuleDefaults & {
  /** The store where the locks are kept, or a definition such as `typeOrmStore()`. */
  store: LockStore | LockStoreDefinition;
};
