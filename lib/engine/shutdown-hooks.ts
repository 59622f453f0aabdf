import type { AnyLockStore } from '../interfaces/lock-store.interface.js';
import type { LockLogger } from './lock.logger.js';

/**
 * Warns if the application has not enabled shutdown hooks: a process that is stopped would not
 * release its locks then.
 */
export class ShutdownHooks {
  #checked = false;
  #missed = false;

  /** @param siblings returns the hooks of all lock modules, so that only one module warns */
  constructor(
    private readonly logger: LockLogger,
    private readonly siblings: () => readonly ShutdownHooks[] | undefined,
  ) {}

  /**
   * Checks once whether shutdown hooks are enabled. It does so at the first lock and not at
   * start, since the application may enable the hooks after its start.
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
