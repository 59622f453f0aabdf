import type { AnyLockStore } from '../interfaces/lock-store.interface.js';
import type { LockLogger } from './lock.logger.js';

/**
 * Warns of shutdown hooks that are not enabled: a process that is stopped would not release
 * its locks.
 */
export class ShutdownHooks {
  #checked = false;
  #missed = false;

  /** @param siblings the same object of each lock module, so that only one module warns */
  constructor(
    private readonly logger: LockLogger,
    private readonly siblings: () => readonly ShutdownHooks[] | undefined,
  ) {}

  /**
   * Checks the hooks once, at the first lock, since the application may enable them after it
   * was initialized.
   */
  check(store: AnyLockStore): void {
    if (this.#checked) return;
    this.#checked = true;
    if (!store.prepare || process.listenerCount('SIGTERM') > 0) return;
    if (this.siblings()?.some((sibling) => sibling.#missed)) return;
    this.#missed = true;
    this.logger.warn('noShutdownHooks');
  }
}
