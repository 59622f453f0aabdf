import { hostname } from 'node:os';
import { parseDuration } from './duration.js';
import { textProblem } from './lock-key.js';
import { LockError } from '../lock.errors.js';
import type { LockOptions, LostCallback, RenewalOptions } from './lock.options.js';
import { DEFAULTS } from './defaults.js';
import { assertKnownOptions } from './known-options.js';
import { longestInterval, renewalInterval } from './lease-timing.js';
import { show } from '../error-text.js';

/** One acquisition's options, read, checked and completed. */
export interface LockSettings {
  /** Milliseconds, or `Infinity`. */
  readonly ttl: number;
  /** Milliseconds, `undefined` for a third of the ttl (also after an extension), or `false`. */
  readonly renewEvery: number | undefined | false;
  /** Where an option was given that only leases have, such as `The option "ttl" of LockModule`. */
  readonly leaseOption: string | undefined;
  /** The same for `once`, which needs a store that remembers what has run. */
  readonly onceOption: string | undefined;
  readonly wait: number;
  /** Milliseconds to pause after the given attempt, where `random` is a number from 0 to 1. */
  readonly pause: (attempt: number, random: number) => number;
  readonly minHold: number;
  readonly label: string;
  readonly onLost: LostCallback | 'ignore' | undefined;
  /** Milliseconds. */
  readonly stealAfter: number | undefined;
  /**
   * The length of a slot in milliseconds, `'tick'` for each tick at most once, or `false` for
   * neither slots nor ticks.
   */
  readonly once: number | 'tick' | false | undefined;
  /** Milliseconds that a tick may be ahead of the store's clock. */
  readonly tickAhead: number;
  readonly reentrant: boolean;
}

const LEASE_OPTIONS = [
  'ttl',
  'minHold',
  'label',
  'autoRenew',
  'renewEvery',
  'wait',
  'retry',
  'stealAfter',
  'onLost',
] as const;

/** The options that everything takes by which locks are taken. */
export const LOCK_OPTIONS: readonly string[] = LEASE_OPTIONS;

/** The options that `acquire` and `tryAcquire` take. */
export const ACQUIRE_OPTIONS: readonly string[] = [...LEASE_OPTIONS, 'once', 'signal'];

/** The options that `run` and `tryRun` take. */
export const RUN_OPTIONS: readonly string[] = [...ACQUIRE_OPTIONS, 'reentrant'];

/** The options that `restore` takes. */
export const RESTORE_OPTIONS: readonly string[] = ['autoRenew', 'renewEvery', 'onLost'];

/** The settings when nobody says anything. */
export function defaultSettings(): LockSettings {
  return {
    ttl: DEFAULTS.ttl,
    renewEvery: undefined,
    leaseOption: undefined,
    onceOption: undefined,
    wait: DEFAULTS.wait,
    pause: retryPause('retry', DEFAULTS.retry),
    minHold: DEFAULTS.minHold,
    label: `${hostname()}:${process.pid}`,
    onLost: undefined,
    stealAfter: undefined,
    once: undefined,
    tickAhead: DEFAULTS.tickAhead,
    reentrant: false,
  };
}

/** What may be among the options of a module, a decorator or a call. */
export type ReadableOptions = LockOptions & {
  onLost?: unknown;
  once?: unknown;
  tickAhead?: unknown;
  reentrant?: unknown;
};

/**
 * Reads the options of one module, decorator or call over those they refine.
 *
 * @throws LockError that names the option, its value and its limits
 */
export function readSettings(where: string, options: ReadableOptions, base: LockSettings): LockSettings {
  const name = (option: string): string => `The option "${option}" of ${where}`;
  const ttl =
    options.ttl === undefined
      ? base.ttl
      : parseDuration(name('ttl'), options.ttl, { min: DEFAULTS.smallestTtl, infinite: true });
  const renewEvery = readRenewEvery(where, options, ttl, base);
  const given = (...some: (keyof ReadableOptions)[]): string | undefined => {
    const found = some.find((one) => options[one] !== undefined);
    return found && name(found);
  };
  const stealAfter =
    options.stealAfter === undefined
      ? base.stealAfter
      : parseDuration(name('stealAfter'), options.stealAfter, { min: 1 });
  assertNotRobbed(name('stealAfter'), { ttl, renewEvery, stealAfter });
  return {
    ttl,
    renewEvery,
    leaseOption: given('ttl', 'autoRenew', 'renewEvery', 'stealAfter') ?? base.leaseOption,
    onceOption: options.once === false ? undefined : given('once'),
    wait:
      options.wait === undefined
        ? base.wait
        : parseDuration(name('wait'), options.wait, { min: 0, infinite: true }),
    pause: options.retry === undefined ? base.pause : retryPause(name('retry'), options.retry),
    minHold:
      options.minHold === undefined
        ? base.minHold
        : parseDuration(name('minHold'), options.minHold, { min: 0 }),
    label: options.label === undefined ? base.label : readLabel(name('label'), options.label),
    onLost: options.onLost === undefined ? base.onLost : readOnLost(name('onLost'), options.onLost),
    stealAfter,
    once: options.once === undefined ? base.once : readOnce(name('once'), options.once),
    tickAhead:
      options.tickAhead === undefined
        ? base.tickAhead
        : parseDuration(name('tickAhead'), options.tickAhead, { min: 0 }),
    reentrant: readBoolean(name('reentrant'), options.reentrant, base.reentrant),
  };
}

/** A holder that renews in time must not be robbed. @throws LockError */
export function assertNotRobbed(
  name: string,
  { ttl, renewEvery, stealAfter }: Pick<LockSettings, 'ttl' | 'renewEvery' | 'stealAfter'>,
): void {
  const interval = renewalInterval(renewEvery, ttl);
  if (stealAfter === undefined || interval === Infinity || stealAfter > interval) return;
  throw new LockError(
    `${name} (${stealAfter} ms) must be longer than the interval at which locks are renewed (${Math.floor(interval)} ms), or living holders are robbed. Make it several intervals.`,
  );
}

function readOnce(name: string, once: unknown): number | 'tick' | false {
  return once === 'tick' || once === false ? once : parseDuration(name, once, { min: 1_000 });
}

/** Reads a switch. */
export function readBoolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value === 'boolean') return value;
  throw new LockError(
    `${name} must be true or false, but it is ${show(value)}. A variable of the environment is a string: compare it, as in \`process.env.X === 'true'\`.`,
  );
}

/** Reads a signal; its controller in its place would never end a wait. */
export function readSignal(where: string, signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal instanceof AbortSignal) return signal;
  throw new LockError(
    `The option "signal" of ${where} must be an AbortSignal, such as \`controller.signal\`, but it is ${signal === null ? 'null' : typeof signal}.`,
  );
}

function readRenewEvery(
  where: string,
  options: RenewalOptions,
  ttl: number,
  base: LockSettings,
): number | undefined | false {
  if (!readBoolean(`The option "autoRenew" of ${where}`, options.autoRenew, true)) {
    if (options.renewEvery === undefined) return false;
    throw new LockError(`${where} has both "autoRenew: false" and "renewEvery". Leave one of them out.`);
  }
  if (options.renewEvery === undefined) {
    const inherited = options.autoRenew === true && base.renewEvery === false ? undefined : base.renewEvery;
    return typeof inherited === 'number' && inherited > longestInterval(ttl) ? undefined : inherited;
  }
  const every = parseDuration(`The option "renewEvery" of ${where}`, options.renewEvery, { min: 10 });
  if (every <= longestInterval(ttl)) return every;
  throw new LockError(
    `The option "renewEvery" of ${where} (${every} ms) does not fit its ttl (${ttl} ms): at most ${Math.floor(longestInterval(ttl))} ms, so that a renewal can be answered in time.`,
  );
}

function readLabel(name: string, label: unknown): string {
  if (typeof label !== 'string' || label === '')
    throw new LockError(`${name} must be a non-empty string, but it is ${show(label)}.`);
  const problem = textProblem(label);
  if (problem) throw new LockError(`${name} ${problem}.`);
  const bytes = Buffer.byteLength(label);
  if (bytes > 255) throw new LockError(`${name} has ${bytes} bytes; the limit is 255. Shorten it.`);
  return label;
}

function readOnLost(name: string, onLost: unknown): LostCallback | 'ignore' {
  if (onLost === 'ignore' || typeof onLost === 'function') return onLost as LostCallback | 'ignore';
  throw new LockError(`${name} must be a function or 'ignore', but it is ${show(onLost)}.`);
}

function retryPause(name: string, policy: unknown): LockSettings['pause'] {
  if (typeof policy === 'function') {
    const pause = policy as (attempt: number) => unknown;
    return (attempt) => parseDuration(`What the function "retry" returned`, pause(attempt), { min: 1 });
  }
  if (typeof policy === 'object' && policy !== null) {
    assertKnownOptions(name, policy, ['min', 'max']);
    const range = policy as { min?: unknown; max?: unknown };
    const min = parseDuration(`${name}.min`, range.min, { min: 1 });
    const max = parseDuration(`${name}.max`, range.max, { min });
    // Random over the whole range, which doubles: instances that failed together do not come back together.
    return (attempt, random) => min + (Math.min(max, min * 2 ** Math.min(attempt, 30)) - min) * random;
  }
  const fixed = parseDuration(name, policy, { min: 1 });
  return () => fixed;
}
