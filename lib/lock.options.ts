import { hostname } from 'node:os';
import { parseDuration, type Duration } from './duration.js';
import type { LockStoreDefinition } from './interfaces/lock-store-definition.interface.js';
import type { LockStore } from './interfaces/lock-store.interface.js';
import { textProblem } from './lock-key.js';
import { LockError, type LockLostError } from './lock.errors.js';
import type { Lock } from './lock.js';

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
  ttl?: Duration;
  /** The key stays taken at least this long after it was acquired, also when the work is done sooner. Default 0. */
  minHold?: Duration;
  /** The worker's name for people, at most 255 bytes. Default `hostname:pid`. */
  label?: string;
}

/** Automatic renewal: on unless `autoRenew` is `false`. @publicApi */
export type RenewalOptions =
  | {
      autoRenew?: true;
      /** How often the lease is renewed: at most two thirds of the ttl (of one below 300 ms a third to a half). Default a third of the ttl, every 10 s for an endless one. */
      renewEvery?: Duration;
    }
  | { autoRenew: false; renewEvery?: never };

/** How long to try. @publicApi */
export interface WaitOptions {
  /** How long to wait for a busy lock. 0 is exactly one attempt, `Infinity` waits without end. Default 0. */
  wait?: Duration;
  /** The pause between attempts while waiting. Default 20 ms, doubling to 500 ms, with jitter. */
  retry?: RetryPolicy;
}

/** Options that every acquisition has, and `LockModule` as defaults for all its locks. @publicApi */
export type LockOptions = LeaseOptions & RenewalOptions & WaitOptions;

/** Options of `acquire` and `tryAcquire`. @publicApi */
export type AcquireOptions = LockOptions & {
  /** Ends the waiting at once; the call rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Called once when this lock is lost. Default the module's. */
  onLost?: LostCallback;
};

/** Options of `run` and `tryRun`. @publicApi */
export type RunOptions = LockOptions & {
  /** Ends the waiting at once; the call rejects with the signal's reason. */
  signal?: AbortSignal;
  /** Called once when the lock is lost; `'ignore'`: the result is returned although the lock was lost while the body ran. */
  onLost?: LostCallback | 'ignore';
};

/** Options of `LockModule` besides its store. @publicApi */
export type LockModuleDefaults = LockOptions & {
  /** `false` runs everything unlocked and connects to nothing; a warning says so. Default `true`. */
  enabled?: boolean;
  /** Put before every key with a colon, for applications that share a database. Letters, digits, `.`, `_` and `-`. */
  prefix?: string;
  /** Called once for each lock that is lost, unless the call or the decorator has its own. */
  onLost?: LostCallback;
  /** How long a shutdown waits for work that runs under a lock before it releases the lock. Default 10 s. */
  shutdownTimeout?: Duration;
};

/** Options of `LockModule`. @publicApi */
export type LockModuleOptions = LockModuleDefaults & {
  /** Where the locks are kept: a store, or a definition such as `typeOrmStore()`. */
  store: LockStore | LockStoreDefinition;
};

/** One acquisition's options, read, checked and completed. */
export interface LockSettings {
  /** Milliseconds, or `Infinity`. */
  readonly ttl: number;
  /** Milliseconds, `undefined` for a third of the ttl (also after an extension), or `false`. */
  readonly renewEvery: number | undefined | false;
  readonly wait: number;
  /** Milliseconds to pause after the given attempt, where `random` is a number from 0 to 1. */
  readonly pause: (attempt: number, random: number) => number;
  readonly minHold: number;
  readonly label: string;
  readonly onLost: LostCallback | 'ignore' | undefined;
}

/** Every default of the library. */
export const DEFAULTS = {
  ttl: 30_000,
  wait: 0,
  minHold: 0,
  retry: { min: 20, max: 500 },
  shutdownTimeout: 10_000,
  endlessRenewEvery: 10_000,
  smallestTtl: 100,
} as const;

const LEASE_OPTIONS = [
  'ttl',
  'minHold',
  'label',
  'autoRenew',
  'renewEvery',
  'wait',
  'retry',
  'onLost',
] as const;

/** The options that `acquire`, `tryAcquire`, `run` and `tryRun` take. */
export const ACQUIRE_OPTIONS: readonly string[] = [...LEASE_OPTIONS, 'signal'];

/** The options that `LockModule` takes. */
export const MODULE_OPTIONS: readonly string[] = [
  ...LEASE_OPTIONS,
  'store',
  'enabled',
  'prefix',
  'shutdownTimeout',
];

/** Refuses misspelt options, which would otherwise silently be defaults. */
export function assertKnownOptions(
  where: string,
  options: unknown,
  known: readonly string[],
): asserts options is object {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw new LockError(
      `The options of ${where} must be an object, but they are ${options === null ? 'null' : typeof options}.`,
    );
  }
  const unknown = Object.keys(options).filter((name) => !known.includes(name));
  if (unknown.length > 0) {
    throw new LockError(
      `${where} does not know the option ${unknown.map((name) => `"${name}"`).join(', ')}. It takes: ${known.join(', ')}.`,
    );
  }
}

/** The settings when nobody says anything. */
export function defaultSettings(): LockSettings {
  return {
    ttl: DEFAULTS.ttl,
    renewEvery: undefined,
    wait: DEFAULTS.wait,
    pause: retryPause('retry', DEFAULTS.retry),
    minHold: DEFAULTS.minHold,
    label: `${hostname()}:${process.pid}`,
    onLost: undefined,
  };
}

/**
 * Reads the options of one module, decorator or call over those they refine.
 *
 * @throws LockError that names the option, its value and its limits
 */
export function readSettings(
  where: string,
  options: LockOptions & { onLost?: unknown },
  base: LockSettings,
): LockSettings {
  const name = (option: string): string => `The option "${option}" of ${where}`;
  const ttl =
    options.ttl === undefined
      ? base.ttl
      : parseDuration(name('ttl'), options.ttl, { min: DEFAULTS.smallestTtl, infinite: true });
  return {
    ttl,
    renewEvery: readRenewEvery(where, options, ttl, base),
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
  };
}

/** The interval at which a lease of this ttl is renewed; `Infinity` for never. */
export function renewalInterval(renewEvery: number | undefined | false, ttl: number): number {
  if (renewEvery === false) return Infinity;
  const fallback = ttl === Infinity ? DEFAULTS.endlessRenewEvery : ttl / 3;
  return renewEvery !== undefined && fits(renewEvery, ttl) ? renewEvery : fallback;
}

/** Refuses a prefix that could make two applications' keys collide. */
export function readPrefix(where: string, prefix: unknown): string {
  if (prefix === undefined) return '';
  if (typeof prefix === 'string' && /^[\w.-]{1,64}$/.test(prefix)) return `${prefix}:`;
  throw new LockError(
    `The option "prefix" of ${where} must be 1 to 64 letters, digits, ".", "_" or "-", but it is ${JSON.stringify(prefix)}.`,
  );
}

/** Reads a switch. */
export function readBoolean(name: string, value: unknown, fallback: boolean): boolean {
  if (value === undefined) return fallback;
  if (typeof value === 'boolean') return value;
  throw new LockError(
    `${name} must be true or false, but it is ${JSON.stringify(value)}. A variable of the environment is a string: compare it, as in \`process.env.X === 'true'\`.`,
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
    return typeof inherited === 'number' && !fits(inherited, ttl) ? undefined : inherited;
  }
  const every = parseDuration(`The option "renewEvery" of ${where}`, options.renewEvery, { min: 10 });
  if (fits(every, ttl)) return every;
  throw new LockError(
    `The option "renewEvery" of ${where} (${every} ms) does not fit its ttl (${ttl} ms): at most ${Math.floor(longestInterval(ttl))} ms, so that a renewal can be answered in time.`,
  );
}

/** How long before its end a lease counts as lost: 5 %, at least 50 ms, at most a third. */
export function marginOf(ttl: number): number {
  return ttl === Infinity ? 0 : Math.min(Math.max(ttl * 0.05, 50), ttl / 3);
}

/** Two thirds of the ttl; less of a ttl that is short against its margin, since the answer has to come before that. */
function longestInterval(ttl: number): number {
  return Math.min((ttl * 2) / 3, ttl - 2 * marginOf(ttl));
}

function fits(renewEvery: number, ttl: number): boolean {
  return renewEvery <= longestInterval(ttl);
}

function readLabel(name: string, label: unknown): string {
  if (typeof label !== 'string' || label === '')
    throw new LockError(`${name} must be a non-empty string, but it is ${JSON.stringify(label)}.`);
  const problem = textProblem(label);
  if (problem) throw new LockError(`${name} ${problem}.`);
  const bytes = Buffer.byteLength(label);
  if (bytes > 255) throw new LockError(`${name} has ${bytes} bytes; the limit is 255. Shorten it.`);
  return label;
}

function readOnLost(name: string, onLost: unknown): LostCallback | 'ignore' {
  if (onLost === 'ignore' || typeof onLost === 'function') return onLost as LostCallback | 'ignore';
  throw new LockError(`${name} must be a function or 'ignore', but it is ${JSON.stringify(onLost)}.`);
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
