import type { Duration } from './duration.js';
import type { LockStoreDefinition } from '../interfaces/lock-store-definition.interface.js';
import type { LockStore } from '../interfaces/lock-store.interface.js';
import type { LockLostError } from '../lock.errors.js';
import type { Lock } from '../lock.js';

/** Called once when a lock is lost. What it throws is logged. @publicApi */
export type LostCallback = (lock: Lock, error: LockLostError) => unknown;

/**
 * How long to pause between two attempts: a fixed time, a range through which it grows by doubling (with jitter), or a function of the attempt
 * (1 for the pause after the first).
 *
 * @publicApi
 */
export type RetryPolicy = Duration | { min: Duration; max: Duration } | ((attempt: number) => number);

/** How long a lock lasts. @publicApi */
export interface LeaseOptions {
  /** The lock of a holder that stops renewing is free after this. At least 100 ms; `Infinity` never. Default 30 s. */
  ttl?: Duration | undefined;
  /** The key stays taken at least this long after it was acquired, also when the work is done sooner. Default 0. */
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
      /** How often the lease is renewed: at most two thirds of the ttl (of one below 300 ms a third to a half). Default a third of the ttl, every 10 s for an endless one. */
      renewEvery?: Duration | undefined;
    }
  | { autoRenew?: boolean | undefined; renewEvery?: undefined };

/** How long to try. @publicApi */
export interface WaitOptions {
  /** How long to wait for a busy lock. 0 is exactly one attempt, `Infinity` waits without end. Default 0. */
  wait?: Duration | undefined;
  /** The pause between attempts while waiting, of those that the store cannot call. Default 20 ms, doubling to 500 ms, with jitter. */
  retry?: RetryPolicy | undefined;
  /**
   * Takes the lock from a holder that has not renewed it for this long, also one that never expires. It learns of that at its next renewal: until then
   * two may believe that they hold it. Longer than the interval of renewals; several of them leave room for a slow database. Default: nobody is robbed.
   */
  stealAfter?: Duration | undefined;
}

/** Options that every acquisition has, and `LockModule` as defaults for all its locks. @publicApi */
export type LockOptions = LeaseOptions & RenewalOptions & WaitOptions;

/** Options of a single call. @publicApi */
export interface OnceOptions {
  /**
   * Slots of this length, on the database's clock and counted from 1970: in each of them the key is granted once, whichever instance asks, and whether
   * it is free by then or not. Default: as often as it is free.
   */
  once?: Duration | undefined;
}

/** Whether a call chain may go through a lock that it holds. @publicApi */
export interface ReentryOptions {
  /**
   * Goes on under the lock that the call chain around it holds on this key, while that is
   * held, in place of waiting for itself. Branches that run side by side share it, and the
   * last one to end releases it. Going in again is no new grant: `once` is not asked.
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
    /** Put before every key with a colon, for applications that share a database. Letters, digits, `.`, `_` and `-`. */
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
     * How long a shutdown waits for work under `run`, `tryRun`, `@Locked()` or `LockInterceptor` before it releases the lock. Default 10 s. Locks
     * that were acquired by hand are released at once: their holders know when they end.
     */
    shutdownTimeout?: Duration | undefined;
    /** Deletes keys that nobody has used for `olderThan`, one instance at a time, every so often. Default: keys stay, each with its last run. */
    purge?: PurgeSchedule | undefined;
    /**
     * How many calls of this process may wait at a time, for one key and in all, those included that are asking the store; one more is refused at once with
     * `LockNotAcquiredError`, reason `queue-full`. Default: as many as there are.
     */
    maxWaiters?: { perKey?: number | undefined; total?: number | undefined } | undefined;
    /**
     * A file that says what this process does with the locks of the module: `0` idle, `1` waiting for one, `2` holding one. It is replaced as a whole at
     * each change. Default none.
     */
    statusFile?: string | undefined;
  };

/** When keys that are not used any more are deleted. @publicApi */
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
