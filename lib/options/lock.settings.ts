import { hostname } from 'node:os';
import { mustBe, LockError } from '../lock.errors.js';
import { DEFAULTS } from './defaults.js';
import { parseDuration, type DurationLimits } from './duration.js';
import { assertKnownOptions } from './known-options.js';
import { longestInterval, renewalInterval } from './lease-timing.js';
import { textProblem } from './lock-key.js';
import type { LostCallback } from './lock.options.js';

/**
 * Checks the value of an option and returns it in the form of the settings.
 *
 * @throws LockError that begins with the option's name
 */
type Reader<Value> = (name: string, given: unknown) => Value;

/** For each option, its default, and the function that reads a given value. */
const OPTIONS = {
  /** The ttl in milliseconds, or `Infinity`. */
  ttl: option(DEFAULTS.ttl, duration({ min: DEFAULTS.smallestTtl, infinite: true })),
  /** How long a call waits, in milliseconds, or `Infinity`. */
  wait: option(DEFAULTS.wait, duration({ min: 0, infinite: true })),
  /** How long a key stays taken at least, in milliseconds. */
  minHold: option(DEFAULTS.minHold, duration({ min: 0 })),
  label: option(`${hostname()}:${process.pid}`, readLabel),
  onLost: option(undefined, readOnLost),
  /** Whether a run rejects if its lock was lost, even if its body ended well. */
  rejectOnLoss: option(true, readBoolean),
  /** After how many milliseconds without a renewal a lock is stolen; `undefined` for never. */
  stealAfter: option(undefined, duration({ min: 1 })),
  /**
   * The length of a slot in milliseconds, `'tick'` to run each tick at most once, or `false`
   * to record neither slots nor ticks.
   */
  once: option(undefined, readOnce),
  /** Milliseconds that a tick may be ahead of the store's clock. */
  tickAhead: option(DEFAULTS.tickAhead, duration({ min: 0 })),
  reentrant: option(false, readBoolean),
  /**
   * Returns how many milliseconds to pause after an attempt; `random` is a number from 0 to 1.
   */
  retry: option(readRetry('retry', DEFAULTS.retry), readRetry),
};

type Options = typeof OPTIONS;
type OptionName = keyof Options;
const ENTRIES = Object.entries(OPTIONS) as [OptionName, Options[OptionName]][];

type OptionSettings = {
  readonly [Name in OptionName]: ReturnType<Options[Name]['read']> | Options[Name]['otherwise'];
};

/** The options of one acquisition, after they were read and checked, with the defaults. */
export interface LockSettings extends OptionSettings {
  /**
   * The interval between renewals in milliseconds, `false` for no renewal, or `undefined` for
   * a third of the ttl, even if an extension changes the ttl.
   */
  readonly renewEvery: number | undefined | false;
  /**
   * Names an option that was given and that only leases have, for an error message. An example
   * is `The option "ttl" of LockModule`.
   */
  readonly leaseOption: string | undefined;
  /**
   * Names the option `once` for an error message, if it was given: it needs a store that
   * remembers what has run.
   */
  readonly onceOption: string | undefined;
}

/** Options of a module, a decorator or a call, before they are read. */
export type ReadableOptions = { readonly [Name in OptionName | 'autoRenew' | 'renewEvery']?: unknown };

/** The settings of a module for which no options are given. */
export const DEFAULT_SETTINGS: LockSettings = {
  ...(Object.fromEntries(ENTRIES.map(([name, { otherwise }]) => [name, otherwise])) as OptionSettings),
  renewEvery: undefined,
  leaseOption: undefined,
  onceOption: undefined,
};

/** The names of the options that every acquisition takes. */
export const LOCK_OPTIONS: readonly string[] = [
  'ttl',
  'minHold',
  'label',
  'autoRenew',
  'renewEvery',
  'wait',
  'retry',
  'stealAfter',
  'onLost',
];

/** The names of the options that `acquire` and `tryAcquire` take. */
export const ACQUIRE_OPTIONS: readonly string[] = [...LOCK_OPTIONS, 'once', 'signal'];

/** The names of the options that `run` and `tryRun` take. */
export const RUN_OPTIONS: readonly string[] = [...ACQUIRE_OPTIONS, 'reentrant', 'rejectOnLoss'];

/** The names of the options that `restore` takes. */
export const RESTORE_OPTIONS: readonly string[] = ['autoRenew', 'renewEvery', 'onLost'];

/**
 * Reads the options of one module, decorator or call. For an option that is not given, the
 * settings take the value from `base`.
 *
 * @throws LockError that names the option, its value and its limits
 */
export function readSettings(where: string, options: ReadableOptions, base: LockSettings): LockSettings {
  const nameOf = (name: string): string => `The option "${name}" of ${where}`;
  const given = (name: keyof ReadableOptions): boolean => options[name] !== undefined;
  const read: { [Name in OptionName]: unknown } = { ...base };
  for (const [name, known] of ENTRIES) if (given(name)) read[name] = known.read(nameOf(name), options[name]);
  const settings = read as OptionSettings;
  const renewEvery = readRenewEvery(where, options, settings.ttl, base);
  assertNotRobbed(nameOf('stealAfter'), { ...settings, renewEvery });
  const leaseOption = (['ttl', 'autoRenew', 'renewEvery', 'stealAfter'] as const).find(given);
  return {
    ...settings,
    renewEvery,
    leaseOption: leaseOption ? nameOf(leaseOption) : base.leaseOption,
    onceOption: given('once') && options.once !== false ? nameOf('once') : undefined,
  };
}

/**
 * Refuses a `stealAfter` that would steal locks from holders that renew in time.
 *
 * @throws LockError
 */
export function assertNotRobbed(
  name: string,
  { ttl, renewEvery, stealAfter }: Pick<LockSettings, 'ttl' | 'renewEvery' | 'stealAfter'>,
): void {
  const interval = renewalInterval(renewEvery, ttl);
  if (stealAfter === undefined || interval === Infinity || stealAfter > interval) return;
  throw new LockError(
    `${name} (${stealAfter} ms) must be longer than the interval at which locks are renewed (${Math.floor(interval)} ms), or locks are stolen from holders that are alive. Make it several intervals.`,
  );
}

/** Reads an option that is `true` or `false`. */
export function readBoolean(name: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  const hint = "An environment variable is always a string: compare it, as in `process.env.X === 'true'`.";
  throw new LockError(`${mustBe(name, 'true or false', value)} ${hint}`);
}

function option<Value, Otherwise>(
  otherwise: Otherwise,
  read: Reader<Value>,
): { otherwise: Otherwise; read: Reader<Value> } {
  return { otherwise, read };
}

function duration(limits: DurationLimits): Reader<number> {
  return (name, value) => parseDuration(name, value, limits);
}

function readRenewEvery(
  where: string,
  { autoRenew, renewEvery }: ReadableOptions,
  ttl: number,
  base: LockSettings,
): number | undefined | false {
  if (autoRenew !== undefined && !readBoolean(`The option "autoRenew" of ${where}`, autoRenew)) {
    if (renewEvery === undefined) return false;
    throw new LockError(`${where} has both "autoRenew: false" and "renewEvery". Leave one of them out.`);
  }
  if (renewEvery === undefined) {
    const inherited = autoRenew === true && base.renewEvery === false ? undefined : base.renewEvery;
    return typeof inherited === 'number' && inherited > longestInterval(ttl) ? undefined : inherited;
  }
  const every = parseDuration(`The option "renewEvery" of ${where}`, renewEvery, { min: 10 });
  if (every <= longestInterval(ttl)) return every;
  throw new LockError(
    `The option "renewEvery" of ${where} (${every} ms) does not fit its ttl (${ttl} ms): at most ${Math.floor(longestInterval(ttl))} ms, so that a renewal can be answered in time.`,
  );
}

function readLabel(name: string, label: unknown): string {
  if (typeof label !== 'string' || label === '')
    throw new LockError(mustBe(name, 'a non-empty string', label));
  const problem = textProblem(label);
  if (problem) throw new LockError(`${name} ${problem}.`);
  const bytes = Buffer.byteLength(label);
  if (bytes > 255) throw new LockError(`${name} has ${bytes} bytes; the limit is 255. Shorten it.`);
  return label;
}

function readOnLost(name: string, onLost: unknown): LostCallback {
  if (typeof onLost === 'function') return onLost as LostCallback;
  const hint =
    onLost === 'ignore'
      ? " onLost: 'ignore' is now rejectOnLoss: false, for run(), tryRun(), @Locked() and LockInterceptor(); elsewhere, leave it out."
      : '';
  throw new LockError(`${mustBe(name, 'a function', onLost)}${hint}`);
}

function readOnce(name: string, once: unknown): number | 'tick' | false {
  return once === 'tick' || once === false ? once : parseDuration(name, once, { min: 1_000 });
}

function readRetry(name: string, policy: unknown): (attempt: number, random: number) => number {
  if (typeof policy === 'function') {
    const pause = policy as (attempt: number) => unknown;
    return (attempt) => parseDuration(`What the function "retry" returned`, pause(attempt), { min: 1 });
  }
  if (typeof policy === 'object' && policy !== null) {
    assertKnownOptions(name, policy, ['min', 'max']);
    const range = policy as { min?: unknown; max?: unknown };
    const min = parseDuration(`${name}.min`, range.min, { min: 1 });
    const max = parseDuration(`${name}.max`, range.max, { min });
    // The pause is random over the whole range, and the range doubles: instances that failed
    // at the same time then do not retry at the same time.
    return (attempt, random) => min + (Math.min(max, min * 2 ** Math.min(attempt, 30)) - min) * random;
  }
  const fixed = parseDuration(name, policy, { min: 1 });
  return () => fixed;
}
