import { AsyncLocalStorage } from 'node:async_hooks';
import type { Lock } from './lock.js';

// The one piece of static state: an AsyncLocalStorage belongs to the call chain, whichever application it runs in.
const storage = new AsyncLocalStorage<Scope>();

/** What one `run` or `@Locked()` puts around its body. */
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
   * The lock of the innermost `run` or `@Locked()` around this call, or the one of that key; `undefined` outside of any.
   */
  static current(key?: string): Lock | undefined {
    for (const lock of LockContext.all()) if (key === undefined || lock.key === key) return lock;
    return undefined;
  }

  /** @internal The locks that were acquired from a store, the innermost first. */
  static *acquired(): Iterable<Lock> {
    for (let scope = storage.getStore(); scope; scope = scope.outer) if (scope.acquired) yield scope.acquired;
  }

  /** @internal All of them, the innermost first. */
  static *all(): Iterable<Lock> {
    for (let scope = storage.getStore(); scope; scope = scope.outer) yield scope.lock;
  }

  /** @internal @param lock a function makes it when somebody asks for it */
  static run<T>(lock: Lock | (() => Lock), body: () => T): T {
    return storage.run(new Scope(lock, storage.getStore()), body);
  }
}
