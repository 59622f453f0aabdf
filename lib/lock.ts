import { parseDuration, type Duration } from './options/duration.js';
import type { LockHandOff } from './options/hand-off.js';
import type { LockOutcome } from './interfaces/lock-record.interface.js';
import type { Lease } from './engine/lease.js';
import { LockError, LockLostError, show } from './lock.errors.js';
import type { GuardTransaction, TransactionWork } from './lock-transactions.js';
import { DEFAULTS } from './options/defaults.js';
import { assertKnownOptions } from './options/known-options.js';

/** The parts of the service that the handle of a lock uses. */
export interface LockKeeper {
  /** Sets the lease in the store to end `ttl` milliseconds from now. */
  extend(lease: Lease, ttl: number): Promise<void>;
  /** Releases the lease; `false` when the lease was lost. */
  release(lease: Lease, outcome: LockOutcome): Promise<boolean>;
  /**
   * Runs `work` in a transaction of the store's database. The lease is not renewed during it.
   */
  transaction<T>(lease: Lease, work: (context: unknown) => Promise<T>): Promise<T>;
  /**
   * Ties the lease to a transaction; `false` when the database finds no holder, or another
   * holder.
   */
  guard(lease: Lease, context: unknown): Promise<boolean>;
  /**
   * Sets the lease to end `ttl` milliseconds from now, so that another process has the time to
   * restore it; `false` when the lease had ended.
   */
  handOff(lease: Lease, ttl: number): Promise<boolean>;
}

/**
 * A lock that was acquired. It is renewed until it is released; `held` says at any moment
 * whether the process may rely on it.
 *
 * Write the data that the lock protects together with `fencingToken`, and refuse writes with
 * older tokens: a process that was frozen cannot know that its lock has ended.
 *
 * `Transaction` is the object with which the client makes statements in a transaction, such as
 * `EntityManager`, `Prisma.TransactionClient` or `ClientSession`. See `LockService`.
 *
 * @publicApi
 */
export class Lock<Transaction = unknown> implements AsyncDisposable {
  readonly #lease: Lease;
  readonly #keeper: LockKeeper;
  #abort: AbortController | undefined;
  #inTransaction = false;
  /**
   * How many calls run under the lock. The number is in the lock and not in a map, which would
   * double the work of the garbage collector.
   */
  #running = 0;

  /** @internal */
  constructor(
    lease: Lease,
    keeper: LockKeeper,
    /**
     * Whether the lock was acquired from the store. `false` when locking was disabled: the
     * handle is always held, and other instances may run the same work at the same time.
     */
    readonly enabled = true,
  ) {
    this.#lease = lease;
    this.#keeper = keeper;
  }

  /** The key that is locked, without the module's prefix. */
  get key(): string {
    return this.#lease.key;
  }

  /**
   * The random id of this acquisition. It is a capability: code that knows it can release the
   * lock. Never log it.
   */
  get owner(): string {
    return this.#lease.owner;
  }

  /**
   * A number that is greater than the token of every earlier acquisition of the key.
   *
   * While locking is disabled, it is this machine's clock in microseconds, or the last token
   * of the key that this process saw plus 1, whichever is greater. So fenced writes go on
   * while locking is disabled, see {@link enabled}.
   */
  get fencingToken(): number {
    return this.#lease.fencingToken;
  }

  /**
   * When the lock was acquired, by this machine's clock. It is meant to be shown to people.
   */
  get acquiredAt(): Date {
    return this.#lease.acquiredAt;
  }

  /**
   * When the lease ends unless it is renewed, by this machine's clock; `null` for a lock that
   * never expires. It is meant to be shown to people.
   */
  get expiresAt(): Date | null {
    return this.#lease.expiresAt;
  }

  /**
   * Whether the lock is still held: not released, not lost, and before its deadline by both
   * the monotonic clock and the advance of the wall clock. The check is synchronous and does
   * not depend on timers. So it is right even just after the process was frozen or the machine
   * was suspended. If the wall clock is set ahead, it is `false` until the next renewal, which
   * then comes at once.
   */
  get held(): boolean {
    return this.#lease.held;
  }

  /** The error that says why the lock was lost; `undefined` if it was not lost. */
  get loss(): LockLostError | undefined {
    return this.#lease.loss;
  }

  /**
   * A signal that aborts with {@link LockLostError} when the lock is lost. Pass it to `fetch`,
   * timers and streams; check `held` before each write.
   */
  get signal(): AbortSignal {
    if (!this.#abort) {
      this.#abort = new AbortController();
      if (this.#lease.loss) this.#abort.abort(this.#lease.loss);
    }
    return this.#abort.signal;
  }

  /**
   * Throws unless the lock is held at this moment, see {@link held}.
   *
   * @throws LockLostError when the lock was lost, is in doubt, or was released
   */
  assertHeld(): void {
    if (this.#lease.held) return;
    if (this.#lease.inDoubt) throw this.#lease.doubt();
    if (this.#lease.open) this.#lease.runOut();
    throw this.#lease.loss ?? new LockLostError(this.key, this.fencingToken, 'it was released before.');
  }

  /**
   * Renews the lease now, so that it ends `ttl` from now, and uses `ttl` for later renewals,
   * too. Without an argument, the ttl stays as it is; a lock that never expires is then left
   * alone. A session lock has no ttl: the store checks whether its connection still holds it.
   *
   * @throws LockLostError if the lock is not held
   * @throws LockStoreError if the store fails: the lock may still be held, see {@link held}
   * @throws LockError inside {@link transaction}; for the ttl of a session lock; for a ttl
   * whose renewals would be further apart than the `stealAfter` of the lock
   */
  async extend(ttl?: Duration): Promise<void> {
    this.#refuseInTransaction('extend');
    const milliseconds = this.#readTtl('extend()', ttl);
    const { sessionBound } = this.#lease;
    if (sessionBound && ttl !== undefined)
      throw new LockError(
        `The ttl of lock "${this.key}" cannot be set: session locks last as long as their connection. Call extend() without a ttl to have the connection checked.`,
      );
    this.#assertNotOver();
    if (ttl === undefined && milliseconds === Infinity && !sessionBound) return;
    await this.#keeper.extend(this.#lease, milliseconds);
    this.assertHeld(); // the lock may have been released during the renewal
  }

  /**
   * Releases the lock. Renewal ends first.
   *
   * Inside a transaction that guards the lock, it resolves at once. The store frees the key
   * after the commit or the rollback, and a warning says so, see {@link guard}.
   *
   * @param outcome how the work ended, for the run history. Default `done`
   * @returns `false` if the lock was lost, expired or released before
   * @throws LockStoreError if the store fails: the lock then ends with its ttl, and is not
   * held here
   * @throws LockError inside {@link transaction}
   */
  release(outcome: LockOutcome = 'done'): Promise<boolean> {
    try {
      this.#refuseInTransaction('release');
      if (outcome !== 'done' && outcome !== 'failed')
        throw new LockError(
          `The outcome given to release() must be 'done' or 'failed', but it is ${show(outcome)}.`,
        );
      return this.giveBack(outcome);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /**
   * Runs `work` in a transaction that commits only while the lock is held. Changes under a
   * lock that was lost are rolled back, even in a process that was frozen for an hour.
   *
   * The lease is renewed to its full ttl first, and not again until the transaction has ended.
   * So the work has to fit into the ttl. The last statement before the commit is that of
   * {@link guard}. On MongoDB, `work` is run again after a conflict with another transaction.
   *
   * @example
   * ```ts
   * await lock.transaction(async (manager: EntityManager) => manager.save(invoice)); //
   * TypeORM await lock.transaction(async (tx: PoolClient) => tx.query('UPDATE …')); // pg
   * await lock.transaction(async (session: ClientSession) => invoices.insertOne(invoice, {
   * session })); // MongoDB ```
   *
   * @param work gets the client's own transaction object; on a lock without a type argument,
   * declare the type of the parameter
   * @throws LockLostError when the lock was lost: nothing was committed
   * @throws LockStoreError when the transaction itself fails
   * @throws LockError on a store without transactions, or inside another transaction of this
   * lock
   */
  async transaction<Result>(work: TransactionWork<Transaction, Result>): Promise<Awaited<Result>> {
    if (typeof work !== 'function')
      throw new LockError(`transaction() of lock "${this.key}" needs the work to do: a function.`);
    this.#refuseInTransaction('transaction');
    this.#assertNotOver();
    this.#inTransaction = true;
    try {
      return await this.#keeper.transaction(this.#lease, async (context) => {
        // MongoDB runs this function again after a conflict, and the lock may be lost by then.
        this.assertHeld();
        const value = await work(context as never);
        this.assertHeld();
        if (await this.#keeper.guard(this.#lease, context)) return value;
        this.#lease.lose(
          'inside its transaction, the database said that the lease had run out or been taken away.',
        );
        throw this.#lease.loss ?? this.#notFound();
      });
    } finally {
      this.#inTransaction = false;
    }
  }

  /**
   * Ties the lock to a transaction of yours: until it ends, no other holder gets the lock, and
   * other calls wait for the commit. Make it the last statement, and commit soon. Release the
   * lock after the commit.
   *
   * If the lock was renewed since the transaction began, the guard fails on PostgreSQL above
   * READ COMMITTED, on MongoDB and on SQLite. Use {@link transaction} there.
   *
   * @param transaction the client's own object for your transaction, such as an
   * `EntityManager`
   * @throws LockLostError when the lock was lost: roll back
   * @throws LockError when `transaction` is no transaction of the store's database, or its
   * isolation level does not allow a guard
   * @throws LockStoreError when the store fails: roll back
   */
  async guard(transaction: GuardTransaction<Transaction>): Promise<void> {
    this.assertHeld();
    if (!(await this.#keeper.guard(this.#lease, transaction))) throw this.#notFound();
  }

  /**
   * Hands the lock off to another process, such as a worker of a queue, which restores it with
   * `LockService.restore(data)`. From then on this process does not hold, renew or release it,
   * and neither does the `run` around the call. Until it is restored, no process renews it:
   * the `stealAfter` of other calls has to be longer than that time.
   *
   * @returns plain data. It carries the owner id: send it like a password, and do not log it
   * @throws LockLostError if the lock is not held
   * @throws LockStoreError if the store fails: the lock is still held here, see {@link held}
   * @throws LockError inside {@link transaction}
   */
  async handOff(
    options: {
      /**
       * Within what time the other process has to restore the lock, and the ttl of its
       * renewals. At least 100 ms. Default: the present ttl.
       */
      ttl?: Duration | undefined;
    } = {},
  ): Promise<LockHandOff> {
    this.#refuseInTransaction('handOff');
    assertKnownOptions('handOff()', options, ['ttl']);
    if (this.#lease.sessionBound)
      throw new LockError(
        `Lock "${this.key}" cannot be handed off: session locks last as long as their connection, which stays in this process. Use a store that keeps leases, such as typeOrmStore().`,
      );
    const ttl = this.#readTtl('handOff()', options.ttl);
    this.#assertNotOver();
    // If the hand-off has failed, the lock was lost or released meanwhile, and this throws.
    if (!(await this.#keeper.handOff(this.#lease, ttl))) this.assertHeld();
    const { key, owner, fencingToken } = this;
    return { key, owner, fencingToken, ...(ttl !== Infinity && { ttl }) };
  }

  /**
   * Releases the lock at the end of an `await using` scope. A failure is only logged, so that
   * it does not hide an error of the scope.
   */
  [Symbol.asyncDispose](): Promise<void> {
    return this.#releaseQuietly('done');
  }

  /** Returns what may be logged, which leaves out the owner id. */
  toJSON(): Pick<Lock, 'key' | 'fencingToken' | 'held' | 'acquiredAt' | 'expiresAt'> {
    const { key, fencingToken, held, acquiredAt, expiresAt } = this;
    return { key, fencingToken, held, acquiredAt, expiresAt };
  }

  /**
   * @internal Whether another call of the service with this keeper may join the run under this
   * lock.
   */
  isJoinable(keeper: LockKeeper): boolean {
    return this.#running > 0 && this.#keeper === keeper && this.held;
  }

  /** @internal Notes that a call begins to run under the lock. */
  enter(): void {
    this.#running++;
  }

  /**
   * @internal Notes that a call under the lock has ended. The last call releases the lock, and
   * records how its work ended. If the release fails, the caller still gets the result of the
   * work.
   */
  leave(outcome: LockOutcome): Promise<void> | undefined {
    return --this.#running === 0 ? this.#releaseQuietly(outcome) : undefined;
  }

  /** @internal Releases the lock, after the end of its {@link transaction} if one is open. */
  giveBack(outcome: LockOutcome): Promise<boolean> {
    return this.#keeper.release(this.#lease, outcome);
  }

  /**
   * Releases the lock without an error to the caller. If the store fails, the keeper publishes
   * the event `storeError`.
   */
  #releaseQuietly(outcome: LockOutcome): Promise<void> {
    return this.giveBack(outcome).then(ignoreResult, ignoreLockError);
  }

  /**
   * Throws for a lock that was lost or released. It does not throw for a lock in doubt: the
   * operation that follows renews the lease first, and so finds out whether the lock is still
   * held.
   */
  #assertNotOver(): void {
    if (!this.#lease.inDoubt) this.assertHeld();
  }

  #readTtl(operation: string, ttl: Duration | undefined): number {
    const { smallestTtl: min } = DEFAULTS;
    if (ttl === undefined) return this.#lease.ttl;
    return parseDuration(`The ttl of ${operation}`, ttl, { min, infinite: true });
  }

  #refuseInTransaction(operation: string): void {
    if (!this.#inTransaction) return;
    throw new LockError(
      `${operation}() of lock "${this.key}" was called inside its transaction(), and would wait for the end of that transaction. Call it after transaction() has ended.`,
    );
  }

  #notFound(): LockLostError {
    const reason =
      'the transaction found that this process does not hold the lock. The lock was lost, or the transaction began before the lock was acquired. Roll back.';
    return new LockLostError(this.key, this.fencingToken, reason);
  }

  /** @internal Aborts {@link signal}. The keeper calls it once, when the lock is lost. */
  abort(error: LockLostError): void {
    this.#abort?.abort(error);
  }
}

function ignoreResult(): void {}

function ignoreLockError(error: unknown): void {
  if (!(error instanceof LockError)) throw error;
}
