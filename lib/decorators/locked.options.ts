import { LockError, type LockNotAcquiredError, mustBe } from '../lock.errors.js';
import type { Duration } from '../options/duration.js';
import type { LockOptions, LossOptions, ReentryOptions } from '../options/lock.options.js';
import { DEFAULT_SETTINGS, LOCK_OPTIONS, readSettings } from '../options/lock.settings.js';
import { assertKey } from '../options/lock-key.js';
import { assertKnownOptions } from '../options/known-options.js';

/**
 * What happens when the lock is busy. With `skip`, the call resolves to `undefined`. With
 * `throw`, it rejects with `LockNotAcquiredError`. A function gets the error and the call's
 * arguments, and the call resolves to the function's result.
 *
 * A call inside a run that holds the same key is a mistake in the code. It is never skipped,
 * and rejects unless it is `reentrant`. See `error.nested`.
 *
 * @publicApi
 */
export type OnBusy<Args extends readonly unknown[]> =
  'skip' | 'throw' | ((error: LockNotAcquiredError, ...args: Args) => unknown);

/** How often a locked method may run. @publicApi */
export type OnceBehaviour =
  | {
      /**
       * For methods under `@Cron()`: each tick runs at most once. By default, if an instance
       * crashes during a tick, another instance may run that tick again; with this option, no
       * other instance does. A tick that cannot be recorded is not run, and the call fails.
       */
      once: 'tick';
      /**
       * How far a tick may be ahead of the database's clock. A call for a tick that is further
       * ahead fails, since one of the two clocks must be wrong. Default 5 minutes.
       */
      tickAhead?: Duration | undefined;
    }
  | {
      /**
       * Runs at most once in each slot of this length, at least 1 s. Slots are counted from
       * 1970 by the database's clock. With `false`, the method runs whenever the lock is free,
       * even when the scheduler calls it. Default: once per tick when the scheduler calls,
       * otherwise whenever the lock is free.
       */
      once?: Duration | false | undefined;
      tickAhead?: undefined;
    };

/** Options of `@Locked()` besides the key. @publicApi */
export type LockedBehaviour<Args extends readonly unknown[] = readonly unknown[]> = LockOptions &
  OnceBehaviour &
  ReentryOptions &
  LossOptions & {
    /**
     * What happens when the lock is busy. Default: `skip` for methods that the scheduler
     * calls, `throw` for all others.
     */
    onBusy?: OnBusy<Args> | undefined;
    /** The name of the `LockModule` to use. Default: the module without a name. */
    module?: string | undefined;
  };

/** Options of `@Locked()`. @publicApi */
export type LockedOptions<Args extends readonly unknown[] = readonly unknown[]> = LockedBehaviour<Args> & {
  /**
   * The key, or a function that makes it from the call's arguments. Default
   * `ClassName.methodName`.
   */
  key?: string | ((...args: Args) => string) | undefined;
};

const LOCKED_OPTIONS = [
  ...LOCK_OPTIONS,
  'once',
  'tickAhead',
  'reentrant',
  'rejectOnLoss',
  'key',
  'onBusy',
  'module',
];

/**
 * Refuses options that cannot work in any module. Options that may fit the defaults of one
 * module and not of another are checked at start.
 */
export function assertLockedOptions(where: string, options: LockedOptions<never>): void {
  assertKnownOptions(where, options, LOCKED_OPTIONS);
  const { key, onBusy, module } = options;
  if (key !== undefined && typeof key !== 'function') assertKeyOf(key, `The key of ${where} cannot work.`);
  const name = (option: string): string => `The option "${option}" of ${where}`;
  if (onBusy !== undefined && onBusy !== 'skip' && onBusy !== 'throw' && typeof onBusy !== 'function')
    throw new LockError(mustBe(name('onBusy'), "'skip', 'throw' or a function", onBusy));
  if (module !== undefined && (typeof module !== 'string' || module === ''))
    throw new LockError(mustBe(name('module'), 'the name of a LockModule', module));
  if (options.tickAhead !== undefined && options.once !== 'tick')
    throw new LockError(`${name('tickAhead')} has no meaning without once: 'tick'. Remove it.`);
  // If a method has no ttl of its own, its `renewEvery` may have any length here: at start it
  // is compared with the module's ttl.
  readSettings(
    where,
    options,
    options.ttl === undefined ? { ...DEFAULT_SETTINGS, ttl: Infinity } : DEFAULT_SETTINGS,
  );
}

/**
 * Refuses a value that cannot be a key.
 *
 * @param problem the first sentence of the error, which says where the key comes from
 */
export function assertKeyOf(key: unknown, problem: string): asserts key is string {
  try {
    assertKey(key);
  } catch (cause) {
    throw new LockError(`${problem} ${cause instanceof Error ? cause.message : ''}`, { cause });
  }
}
