import type { Clock } from './clock.js';

/** Milliseconds between two checks, which send nothing to a server. */
const LOOK_EVERY = 20;

/**
 * The transactions of the application in which one lock is guarded. While one of them is open,
 * no other session can change the lock in the store.
 */
export class GuardingTransactions {
  /** Each function returns whether its transaction is still open. */
  readonly #transactions = new Set<() => boolean>();

  /** Whether one of them is still open. */
  get open(): boolean {
    this.#forgetEnded();
    return this.#transactions.size > 0;
  }

  /** Remembers the transaction while `guard` runs; and afterwards, if the lock was guarded. */
  async during(isOpen: () => boolean, guard: () => Promise<boolean>): Promise<boolean> {
    let guarded = false;
    this.#forgetEnded(); // a lock that is held for days may be guarded many times
    this.#transactions.add(isOpen);
    try {
      guarded = await guard();
      return guarded;
    } finally {
      if (!guarded) this.#transactions.delete(isOpen);
    }
  }

  /**
   * Resolves when all transactions have ended, at the monotonic time `until`, or soon after
   * `stopped()` is true.
   */
  async ended(clock: Clock, until: number, stopped: () => boolean): Promise<void> {
    while (this.open && clock.now() < until && !stopped())
      await new Promise<void>((resolve) => clock.after(LOOK_EVERY, resolve, true));
  }

  #forgetEnded(): void {
    for (const isOpen of this.#transactions) if (!isOpen()) this.#transactions.delete(isOpen);
  }
}
