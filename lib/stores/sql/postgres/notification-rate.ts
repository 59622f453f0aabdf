/** How many notifications a second a process receives at most, over some time. */
export const HIGHEST_RATE = 100;
/** How many notifications a process receives at most in a burst. */
export const LONGEST_BURST = 10 * HIGHEST_RATE;

/**
 * Measures how often this process is notified. A server has one lock for all its NOTIFYs,
 * which each keeps until its commit, so triggers of the application wait for our wake-ups.
 * Each NOTIFY also wakes up the listeners of the database.
 *
 * A process is only notified for a place in a queue that it took. So while the rate is too
 * high, it takes no more places, and its waiters poll.
 */
export class NotificationRate {
  /** How many more notifications may come at once. */
  #left = LONGEST_BURST;
  #since: number;
  #isTooHigh = false;

  /** @param now monotonic milliseconds */
  constructor(private readonly now: () => number = () => performance.now()) {
    this.#since = now();
  }

  /** Notes a notification. */
  received(): void {
    this.#refill();
    this.#left = Math.max(0, this.#left - 1);
    if (this.#left === 0) this.#isTooHigh = true;
  }

  /** Once it is too high, it stays so for some seconds. */
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
