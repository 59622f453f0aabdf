import { parseDuration, type Duration } from './duration.js';
import type { LockOutcome } from './interfaces/lock-record.interface.js';
import type { Lease } from './lease.js';
import { LockError, LockLostError } from './lock.errors.js';
import { DEFAULTS } from './lock.options.js';

/** What a handle needs from the service that made it. */
export interface LockKeeper {
  /** Sets the lease in the store to end `ttl` milliseconds from now. */
  extend(lease: Lease, ttl: number): Promise<void>;
  /** Gives the lease back; `false` when it was lost. */
  release(lease: Lease, outcome: LockOutcome): Promise<boolean>;
}

/**
 * A lock that was acquired. It is renewed until it is released; `held` tells at any moment whether it may be relied on.
 *
 * Write what it protects together with `fencingToken`, and refuse older tokens there: a process that was frozen cannot know that its lock ended.
 *
 * @publicApi
 */
export class Lock implements AsyncDisposable {
  readonly #lease: Lease;
  readonly #keeper: LockKeeper;
  #abort: AbortController | undefined;

  /** @internal */
  constructor(lease: Lease, keeper: LockKeeper) {
    this.#lease = lease;
    this.#keeper = keeper;
  }

  get key(): string {
    return this.#lease.key;
  }

  /** The random id of this acquisition. It is a capability: whoever knows it can release the lock. Never log it. */
  get owner(): string {
    return this.#lease.owner;
  }

  /** Greater than that of every earlier acquisition of the key; 0 when locking is disabled. */
  get fencingToken(): number {
    return this.#lease.fencingToken;
  }

  /** When it was acquired, by this machine's clock: for people. */
  get acquiredAt(): Date {
    return this.#lease.acquiredAt;
  }

  /** When it ends unless it is renewed, by this machine's clock: for people. `null` for a lock that never expires. */
  get expiresAt(): Date | null {
    return this.#lease.expiresAt;
  }

  /**
   * Whether the lock is still held: not released, not lost, and its deadline on the monotonic clock has not passed. The check is synchronous and
   * needs no timer to have run, so it is right also just after the process was frozen.
   */
  get held(): boolean {
    return this.#lease.held;
  }

  /** Why it was lost, or `undefined`. */
  get loss(): LockLostError | undefined {
    return this.#lease.loss;
  }

  /** Aborts with {@link LockLostError} when the lock is lost. Hand it to `fetch`, timers and streams; check `held` before each write. */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#lease.loss) this.#abort.abort(this.#lease.loss);
    }
    return this.#abort.signal;
  }

  /** @throws LockLostError unless the lock is held at this moment, see {@link held} */
  assertHeld(): void {
    if (this.#lease.held) return;
    if (this.#lease.open) this.#lease.lose('its lease ran out before a renewal was answered.');
    throw this.#lease.loss ?? new LockLostError(this.key, this.fencingToken, 'it was released before.');
  }

  /**
   * Sets the lease to end `ttl` from now, once, and makes `ttl` that of later renewals. Without an argument it is the present ttl; on a lock that
   * never expires that does nothing.
   *
   * @throws LockLostError if the lock is not held any more
   * @throws LockStoreError if the store fails: the lock may still be held, see {@link held}
   */
  async extend(ttl?: Duration): Promise<void> {
    const { smallestTtl: min } = DEFAULTS;
    const milliseconds =
      ttl === undefined
        ? this.#lease.ttl
        : parseDuration('The ttl of extend()', ttl, { min, infinite: true });
    this.assertHeld();
    if (ttl === undefined && milliseconds === Infinity) return;
    await this.#keeper.extend(this.#lease, milliseconds);
    this.assertHeld(); // it may have been released meanwhile
  }

  /**
   * Gives the lock back. Renewal ends first.
   *
   * @param outcome how the work ended, for the run history. Default `done`
   * @returns `false` if it was lost, expired or released before
   * @throws LockStoreError if the store fails: the lock then ends with its ttl, and is not held here any more
   */
  async release(outcome: LockOutcome = 'done'): Promise<boolean> {
    if (outcome !== 'done' && outcome !== 'failed')
      throw new LockError(
        `The outcome given to release() must be 'done' or 'failed', but it is ${String(outcome)}.`,
      );
    return this.#keeper.release(this.#lease, outcome);
  }

  /** Gives the lock back. A release that fails is only logged: what the scope returned or threw is what its caller has to know. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.release();
    } catch (error) {
      if (!(error instanceof LockError)) throw error; // the keeper has published what is
    }
  }

  /** What may be logged: everything but the owner id. */
  toJSON(): { key: string; fencingToken: number; held: boolean; acquiredAt: Date; expiresAt: Date | null } {
    const { key, fencingToken, held, acquiredAt, expiresAt } = this;
    return { key, fencingToken, held, acquiredAt, expiresAt };
  }

  /** @internal Called by the service, once. */
  abort(error: LockLostError): void {
    this.#abort?.abort(error);
  }
}
