import type { LockRecord } from './interfaces/lock-record.interface.js';
import type { RefusalReason } from './interfaces/lock-store.interface.js';

/**
 * The base class of every error of this library. An error of this class itself means that an
 * option, a key, a call or the setup of the module is wrong.
 *
 * @publicApi
 */
export class LockError extends Error {
  /** The name of the error's class. */
  override readonly name: string = 'LockError';
}

/** What is known about an acquisition that ended without the lock. @publicApi */
export interface LockNotAcquiredDetails {
  /** Milliseconds from the beginning of the call to its end. */
  waited: number;
  /** The holder at the last attempt, if the store reported it. */
  holder?: LockRecord | undefined;
  /**
   * Why the lock was not acquired. Default: `held` if the holder is known, otherwise
   * `contention`.
   */
  reason?: RefusalReason | undefined;
  /** Whether a run of the same call chain holds the lock. Default `false`. */
  nested?: boolean | undefined;
  /**
   * Milliseconds that the last run of the key took in this process, or else the last run of
   * the decorated method.
   */
  lastRun?: number | undefined;
  /**
   * The limit of `maxWaiters` that kept the call from waiting; `undefined` if no limit did.
   */
  full?: { option: 'perKey' | 'total'; limit: number } | undefined;
}

/**
 * Why a lock was not acquired. `queue-full`: as many calls of this process wait as
 * `maxWaiters` allows.
 *
 * A later version may add a reason, so give a `switch` over it a `default`.
 *
 * @publicApi
 */
export type BusyReason = RefusalReason | 'queue-full';

/**
 * The lock was not acquired within the wait, or waiting is useless because the key is paused
 * or the tick has run. `reason` says which.
 *
 * @publicApi
 */
export class LockNotAcquiredError extends LockError {
  /** The name of the error's class. */
  override readonly name = 'LockNotAcquiredError';
  /** Milliseconds from the beginning of the call to its end. */
  readonly waited: number;
  /** The holder at the last attempt; `undefined` if the store did not report it. */
  readonly holder: LockRecord | undefined;
  /** Why the lock was not acquired. */
  readonly reason: BusyReason;
  /**
   * Whether a `run`, or a method under `@Locked()`, around this call holds the lock itself.
   */
  readonly nested: boolean;
  /**
   * Milliseconds after which to try again. It is how long the last run of the key, or else of
   * the method, took in this process. It is at most the rest of the holder's lease. 0 when the
   * holder is not known.
   */
  readonly retryAfter: number;

  constructor(
    /** The key that was not acquired, without the module's prefix. */
    readonly key: string,
    details: LockNotAcquiredDetails,
  ) {
    const { waited, holder, reason = holder ? 'held' : 'contention', full, nested = false } = details;
    super(
      `Lock "${key}" was not acquired within ${Math.round(waited)} ms: ${full ? describeFull(full) : nested ? NESTED : describe(reason, holder)}`,
    );
    this.waited = waited;
    this.holder = holder;
    this.reason = full ? 'queue-full' : reason;
    this.nested = nested;
    this.retryAfter = Math.min(holder?.remaining ?? 0, details.lastRun ?? Infinity);
  }
}

/**
 * A lock that this process held was lost: its lease expired, or it was taken away.
 *
 * @publicApi
 */
export class LockLostError extends LockError {
  /** The name of the error's class. */
  override readonly name = 'LockLostError';

  constructor(
    /** The key of the lost lock, without the module's prefix. */
    readonly key: string,
    /** The token of the lost lock. */
    readonly fencingToken: number,
    reason: string,
  ) {
    super(`Lock "${key}" (token ${fencingToken}) was lost: ${reason}`);
  }
}

/** What a store knows about its failure. @publicApi */
export interface LockStoreErrorOptions {
  /** The error of the driver. */
  cause?: unknown;
  /** See {@link LockStoreError.transient}. Default `false`. */
  transient?: boolean | undefined;
}

/**
 * The store failed, so it is not known whether the key is held. The library never runs work
 * unlocked because the store fails.
 *
 * The `cause` has the name, message, codes and stack of the driver's error, without owner ids
 * and statements.
 *
 * @publicApi
 */
export class LockStoreError extends LockError {
  /** The name of the error's class. */
  override readonly name = 'LockStoreError';
  /**
   * Whether the database could not be reached, broke off the connection, or did not answer in
   * time. Then the outcome of the operation is unknown, and it may be repeated with the same
   * owner id.
   */
  readonly transient: boolean;

  constructor(message: string, options: LockStoreErrorOptions = {}) {
    super(message, 'cause' in options ? { cause: options.cause } : undefined);
    this.transient = options.transient ?? false;
  }
}

const REENTER =
  'Set reentrant: true for run(), tryRun() or @Locked() to go on under the lock that is held, or lock only once.';
const NESTED = `this call chain holds it already. ${REENTER}`;

/** The error for a call chain that would wait for a key that it holds itself. */
export function waitsForItself(key: string): LockError {
  return new LockError(
    `A wait for lock "${key}" would not end: this call chain holds it already, and releases it only after this call. ${REENTER}`,
  );
}

function describeFull({ option, limit }: { option: string; limit: number }): string {
  const where = option === 'perKey' ? 'it' : 'locks';
  const many = limit === 1 ? '1 call of this process waits' : `${limit} calls of this process wait`;
  return `${many} for ${where} already. Raise maxWaiters.${option}, or have fewer calls wait.`;
}

function describe(reason: RefusalReason, holder: LockRecord | undefined): string {
  if (reason === 'paused') return 'it is paused, for all instances. LockAdmin.resume() ends the pause.';
  if (reason === 'tick-done') return 'this tick, or a later one, has already run.';
  if (reason === 'tick-ahead') return "its tick is too far ahead of the database's clock.";
  if (!holder) return 'it is contended, and the holder is not known. Wait longer, or try again.';
  const until = holder.expiresAt ? holder.expiresAt.toISOString() : 'it is released (it never expires)';
  return `held by ${holder.label ?? 'an unnamed worker'} since ${holder.startedAt.toISOString()}, until ${until} (token ${holder.fencingToken}).`;
}

/**
 * Describes, for an error message, a value that cannot be used. It never shows the members of
 * an object, since a connection string may be one of them.
 */
export function show(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
  if (typeof value === 'bigint') return `${value}n`;
  if (typeof value === 'function') return 'a function';
  if (Array.isArray(value)) return 'an array';
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** The message for an option that has a wrong value. */
export function mustBe(name: string, expected: string, value: unknown): string {
  return `${name} must be ${expected}, but it is ${show(value)}.`;
}

/**
 * Removes the punctuation at the end of a text from other code, so that the text can stand
 * inside of a sentence of this library.
 */
export function clause(text: string): string {
  return text.replace(/[\s.!?:;,]+$/, '');
}
