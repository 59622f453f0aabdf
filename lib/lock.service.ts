import { readHandOff, type LockHandOff } from './options/hand-off.js';
import { assertKnownOptions } from './options/known-options.js';
import type { LockAdmin } from './administration/lock-admin.js';
import { assertCapable } from './engine/engine.js';
import { INTERNALS, LockInternals, shuttingDown, type LockServiceOptions } from './lock-internals.js';
import { LockNotAcquiredError } from './lock.errors.js';
import type { LockEvents } from './lock.events.js';
import type { Lock } from './lock.js';
import { readCall, type LockCall, type TryRunResult } from './options/lock-call.js';
import { assertKey, assertOwner } from './options/lock-key.js';
import type { AcquireOptions, RestoreOptions, RunOptions } from './options/lock.options.js';
import { ACQUIRE_OPTIONS, readSettings, RESTORE_OPTIONS, RUN_OPTIONS } from './options/lock.settings.js';

/**
 * Takes locks and runs work under them.
 *
 * Inject it by its class, or with `@InjectLockService('name')` where `LockModule` has a name.
 *
 * `Transaction` types `Lock.transaction` and `Lock.guard`: it is the object with which the
 * client of the store makes statements in a transaction. `never` is for clients whose
 * transactions are synchronous. Without a type argument, the work declares the type of its
 * parameter.
 *
 * ```ts
 * constructor(private readonly locks: LockService<Prisma.TransactionClient>) {}
 * ```
 *
 * @publicApi
 */
export class LockService<Transaction = unknown> {
  /** @internal */
  readonly [INTERNALS]: LockInternals;

  /** @internal */
  constructor(options: LockServiceOptions) {
    this[INTERNALS] = new LockInternals(options);
  }

  /**
   * The events of the locks of this service, such as `acquired`, `busy`, `released` and
   * `lost`. See {@link LockEvents}.
   */
  get events(): LockEvents {
    return this[INTERNALS].publisher.events;
  }

  /** Shows locks and changes them from outside. `LockAdmin` can also be injected directly. */
  get admin(): LockAdmin {
    return this[INTERNALS].admin;
  }

  /** Whether this process takes locks at all, see {@link disable}. */
  get enabled(): boolean {
    return this[INTERNALS].enabled;
  }

  /** Whether the application is shutting down, and takes no more locks. */
  get stopping(): boolean {
    return this[INTERNALS].stopping;
  }

  /**
   * Takes the lock and renews it until `release()` is called. If it is busy, the call waits as
   * long as `wait` says; by default, it does not wait.
   *
   * @throws LockNotAcquiredError when the lock is busy, with its holder
   * @throws LockStoreError when the store fails
   * @throws LockError for a `wait` inside a run that holds the key already: the wait would not
   * end
   */
  acquire(key: string, options?: AcquireOptions): Promise<Lock<Transaction>> {
    return this.#acquire('acquire()', key, options).then(lockOrThrow);
  }

  /**
   * Takes the lock like {@link acquire}, but resolves to `null` when it is busy.
   *
   * @throws LockStoreError when the store fails
   * @throws LockError for a `wait` inside a run that holds the key already
   */
  tryAcquire(key: string, options?: AcquireOptions): Promise<Lock<Transaction> | null> {
    return this.#acquire('tryAcquire()', key, options).then(lockOrNull);
  }

  /**
   * Runs `body` under the lock and then releases it. If the body throws, the call rejects with
   * that error. A failure of the release is only logged.
   *
   * @throws LockNotAcquiredError when the lock is busy: the body did not run
   * @throws LockLostError when the lock was lost while the body ran to its end, unless
   * `rejectOnLoss` is `false`
   * @throws LockStoreError when the store fails: the body did not run
   * @throws LockError for a `wait` inside a run that holds the key already, unless it is
   * `reentrant`
   */
  run<T>(key: string, body: (lock: Lock<Transaction>) => T | Promise<T>, options?: RunOptions): Promise<T> {
    return this.#run('run()', key, body, options).then(valueOf);
  }

  /**
   * Runs `body` under the lock like {@link run}. If the lock is busy, it resolves to
   * `{ acquired: false, error }` instead of throwing.
   */
  tryRun<T>(
    key: string,
    body: (lock: Lock<Transaction>) => T | Promise<T>,
    options?: RunOptions,
  ): Promise<TryRunResult<T>> {
    return this.#run('tryRun()', key, body, options);
  }

  /**
   * Restores a lock that another process handed off with `Lock.handOff`. The store renews the
   * lease first, so a lock that has expired is never restored.
   *
   * @throws LockLostError when the lease has expired, or the lock was taken away
   * @throws LockStoreError when the store fails
   */
  async restore(data: LockHandOff, options: RestoreOptions = {}): Promise<Lock<Transaction>> {
    const { key, owner, fencingToken, ttl } = readHandOff(data);
    assertKnownOptions('restore()', options, RESTORE_OPTIONS);
    const internals = this[INTERNALS];
    const { defaults } = internals.settings;
    const settings = readSettings(`restore() of "${key}"`, { ...options, ttl }, defaults);
    if (!internals.enabled) {
      internals.keys.granted(key, fencingToken);
      return internals.standIn(key);
    }
    if (internals.stopping) throw shuttingDown();
    const { store, keeper } = await internals.start();
    assertCapable(store, settings);
    const { renewEvery } = settings;
    const lease = { key, storeKey: internals.storeKey(key), ttl, renewEvery };
    return keeper.restore(lease, { owner, fencingToken }, settings);
  }

  /**
   * Releases a lock by its owner id, for callers that cannot keep the handle of the lock.
   *
   * @returns `false` if the lock was lost, expired or released before
   * @throws LockStoreError when the store fails: the lock then ends with its ttl
   */
  async release(key: string, owner: string): Promise<boolean> {
    assertKey(key);
    if (!this.enabled) return true;
    assertOwner(owner);
    const internals = this[INTERNALS];
    return (await internals.start()).keeper.releaseOwned(internals.storeKey(key), owner);
  }

  /**
   * Disables locking in this process: from now on everything runs unlocked. Locks that are
   * held stay held. Fencing tokens go on growing, by this machine's clock, see
   * `Lock.fencingToken`.
   */
  disable(): void {
    this[INTERNALS].disable();
  }

  /**
   * Enables locking in this process, and opens the store if it is not open. It warns if the
   * clocks of this machine and of the database differ by more than a second. Fenced writes may
   * then be refused for a time as long as that difference.
   *
   * @throws LockStoreError when the store cannot be opened: locking stays disabled
   */
  enable(): Promise<void> {
    return this[INTERNALS].enable();
  }

  // The methods below are not async. An async function keeps half a kilobyte until the store
  // has answered: with a thousand callers, collecting that garbage would take most of the
  // time.

  #acquire(
    method: string,
    key: string,
    options: AcquireOptions | undefined,
  ): Promise<Lock | LockNotAcquiredError> {
    try {
      return this[INTERNALS].acquire(this.#read(method, ACQUIRE_OPTIONS, key, options));
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #run<T>(
    method: string,
    key: string,
    body: (lock: Lock<Transaction>) => T | Promise<T>,
    options: RunOptions | undefined,
  ): Promise<TryRunResult<T>> {
    try {
      return this[INTERNALS].tryRun(this.#read(method, RUN_OPTIONS, key, options), body);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  #read(
    method: string,
    known: readonly string[],
    key: string,
    options?: AcquireOptions | RunOptions,
  ): LockCall {
    return readCall(method, known, key, options, this[INTERNALS].settings.defaults);
  }
}

function lockOrThrow(result: Lock | LockNotAcquiredError): Lock {
  if (result instanceof LockNotAcquiredError) throw result;
  return result;
}

function lockOrNull(result: Lock | LockNotAcquiredError): Lock | null {
  return result instanceof LockNotAcquiredError ? null : result;
}

function valueOf<T>(result: TryRunResult<T>): T {
  if (!result.acquired) throw result.error;
  return result.value;
}
