/** How many notifications per second a process may receive on average. */
export const HIGHEST_RATE = 100;
/** How many notifications a process may receive in a burst. */
export const LONGEST_BURST = 10 * HIGHEST_RATE;

/**
 * Measures how often this process is notified. A server has a single lock for NOTIFY, which
 * each transaction with a NOTIFY keeps until its commit. So transactions of the application
 * that use NOTIFY, for example in triggers, wait for those of locks. Each NOTIFY also wakes up
 * every listener of the database.
 *
 * A process is notified only if it has taken a place in a queue. So while the rate is too
 * high, this process takes no further places, and its waiters poll.
 */
export class NotificationRate {
  /** How many more notifications may arrive before the rate is too high. */
  #left = LONGEST_BURST;
  #since: number;
  #isTooHigh = false;

  /** @param now monotonic milliseconds */
  constructor(private readonly now: () => number = () => performance.now()) {
    this.#since = now();
  }

  /** Counts a notification. */
  received(): void {
    this.#refill();
    this.#left = Math.max(0, this.#left - 1);
    if (this.#left === 0) this.#isTooHigh = true;
  }

  /**
   * Whether this process is notified too often. It stays true for some seconds after the rate
   * has fallen.
   */
  get isTooHigh(): boolean {
    if (!this.#isTooHigh) return false;
    this.#refill();
    this.#isTooHigh = this.#left < LONGEST_BURST / 2;
    return this.#isTooHigh;
  }

  #refill(): void {
    const now = this.now();
    this.#left = Math.min(LONGEST_BURST, this.#left + ((now - this.#since) / 1_000) * HIGHEST_RATE);
    this.#since = now;
  }
}
