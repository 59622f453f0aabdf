import type { OnceRequest } from './interfaces/lock-store.interface.js';
import { assertKey } from './lock-key.js';
import { LockError } from './lock.errors.js';
import type { AcquireOptions, RunOptions } from './lock.options.js';
import { assertKnownOptions, readSettings, readSignal, type LockSettings } from './lock.settings.js';

/** One call that wants a lock, read and checked. */
export interface LockCall {
  /** The key as the user knows it. */
  key: string;
  settings: LockSettings;
  signal?: AbortSignal | undefined;
  /** The name of the decorated method. */
  job?: string | undefined;
  /** For a call that the scheduler makes: the run that happens once over all instances. */
  once?: OnceRequest | undefined;
  /** Where such a run is recorded, of methods that have no key of their own. Default with the lock. */
  ticksKey?: string | undefined;
  /** Whether a run around the call, of the same call chain, holds the key. */
  nested?: boolean;
}

/**
 * Reads what a method of the service was called with.
 *
 * @param where the method, such as `run()`, and the options that it knows
 * @throws LockError that names the option, its value and its limits
 */
export function readCall(
  { method, known }: { method: string; known: readonly string[] },
  key: string,
  options: AcquireOptions | RunOptions | undefined,
  defaults: LockSettings,
): LockCall {
  assertKey(key);
  if (options === undefined) return { key, settings: defaults };
  assertKnownOptions(method, options, known);
  if ((options as { once?: unknown }).once === 'tick')
    throw new LockError(
      `The option "once" of ${method} cannot be 'tick': only scheduled methods under @Locked() have ticks, and those without this option. Give slots: once: '5m'.`,
    );
  const where = `${method} of "${key}"`;
  return { key, settings: readSettings(where, options, defaults), signal: readSignal(where, options.signal) };
}
