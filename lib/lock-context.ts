import { AsyncLocalStorage } from 'node:async_hooks';
import type { Lock } from './lock.js';

// The one piece of static state: an AsyncLocalStorage belongs to the call chain, whichever application it runs in.
const storage = new AsyncLocalStorage<Scope>();

interface Scope {
  lock: Lock;
  outer: Scope | undefined;
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

  /** @internal All of them, the innermost first. */
  static *all(): Iterable<Lock> {
    for (let scope = storage.getStore(); scope; scope = scope.outer) yield scope.lock;
  }

  /** @internal */
  static run<T>(lock: Lock, body: () => T): T {
    return storage.run({ lock, outer: storage.getStore() }, body);
  }
}
