import { AsyncLocalStorage } from 'node:async_hooks';
import type { Lock, LockKeeper } from './lock.js';

// The only static state of the library. An AsyncLocalStorage follows a call chain through all
// applications of the process, so it cannot belong to one of them.
const storage = new AsyncLocalStorage<Scope>();

/** The lock of one `run` or `@Locked()`, and the scope around it in the call chain. */
class Scope {
  #lock: Lock | (() => Lock);

  constructor(
    lock: Lock | (() => Lock),
    readonly outer: Scope | undefined,
  ) {
    this.#lock = lock;
  }

  /** The lock that was acquired from a store; `undefined` while locking is disabled. */
  get acquired(): Lock | undefined {
    return typeof this.#lock === 'function' || !this.#lock.enabled ? undefined : this.#lock;
  }

  get lock(): Lock {
    return typeof this.#lock === 'function' ? (this.#lock = this.#lock()) : this.#lock;
  }
}

/**
 * The lock that the running code holds, for methods that get no arguments, such as cron jobs.
 *
 * @publicApi
 */
export class LockContext {
  /**
   * The lock of the innermost `run` or `@Locked()` around this call, or the innermost lock of
   * that key; `undefined` without such a lock. See `LockService` for its type argument.
   */
  static current<Transaction = unknown>(key?: string): Lock<Transaction> | undefined {
    for (let scope = storage.getStore(); scope; scope = scope.outer)
      if (key === undefined || scope.lock.key === key) return scope.lock;
    return undefined;
  }

  /**
   * @internal The lock of this key under which the call chain runs, if another call may join
   * that run. Only a lock of this keeper counts, and no handle that was made while locking was
   * disabled.
   */
  static around(key: string, keeper: LockKeeper): Lock | undefined {
    for (let scope = storage.getStore(); scope; scope = scope.outer) {
      const lock = scope.acquired;
      if (lock?.key === key && lock.isJoinable(keeper)) return lock;
    }
    return undefined;
  }

  /**
   * @internal Runs `work`, and what it calls, with this lock as the current one.
   *
   * @param lock the lock, or a function that makes it when it is first needed
   */
  static run<T>(lock: Lock | (() => Lock), work: () => T): T {
    return storage.run(new Scope(lock, storage.getStore()), work);
  }
}
