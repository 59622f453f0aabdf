import type { OnceRequest } from '../interfaces/lock-store.interface.js';
import { assertKey } from './lock-key.js';
import { LockError, type LockNotAcquiredError } from '../lock.errors.js';
import type { AcquireOptions, RunOptions } from './lock.options.js';
import { readSettings, type LockSettings } from './lock.settings.js';
import { assertKnownOptions } from './known-options.js';

/** One call that wants a lock, with its settings. */
export interface LockCall {
  /** The key as the user knows it, without the module's prefix. */
  key: string;
  settings: LockSettings;
  signal?: AbortSignal | undefined;
  /** The name of the decorated method. */
  job?: string | undefined;
  /**
   * What the store records about a call by the scheduler, so that its run happens only once.
   */
  once?: OnceRequest | undefined;
  /** Whether the call is made inside a run that holds the same key. */
  nested?: boolean;
}

/** The result of `tryRun`. @publicApi */
export type TryRunResult<T> =
  | {
      /** Whether the lock was acquired, so that the work has run. */
      acquired: true;
      /** What the work returned. */
      value: T;
    }
  | {
      /** Whether the lock was acquired, so that the work has run. */
      acquired: false;
      /** Why the lock was not acquired, with its holder. */
      error: LockNotAcquiredError;
    };

/**
 * Reads and checks the key and the options of a call of the service.
 *
 * @param method such as `run()`
 * @param known the names of the options that the method takes
 * @throws LockError that names the option, its value and its limits
 */
export function readCall(
  method: string,
  known: readonly string[],
  key: string,
  options: AcquireOptions | RunOptions | undefined,
  defaults: LockSettings,
): LockCall {
  assertKey(key);
  if (options === undefined) return { key, settings: defaults };
  assertKnownOptions(method, options, known);
  if ((options as { once?: unknown }).once === 'tick')
    throw new LockError(
      `The option "once" of ${method} cannot be 'tick': only scheduled methods under @Locked() have ticks, and those run once per tick by default. Give a length of time instead, such as once: '5m'.`,
    );
  const where = `${method} of "${key}"`;
  return { key, settings: readSettings(where, options, defaults), signal: readSignal(where, options.signal) };
}

/**
 * Reads the option `signal`. It refuses an AbortController, since the wait of the call would
 * never end.
 */
function readSignal(where: string, signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal;
  throw new LockError(
    `The option "signal" of ${where} must be an AbortSignal, such as \`controller.signal\`, but it is ${signal === null ? 'null' : typeof signal}.`,
  );
}
