import type { Clock, Timer } from './clock.js';

/** Purges again and again, as long as the service is open. */
export class PurgeSchedule {
  #timer: Timer | undefined;
  #stopped = false;

  constructor(
    private readonly every: number,
    /** May not reject. */
    private readonly purge: () => Promise<void>,
    private readonly clock: Clock,
  ) {}

  start(): void {
    // Instances that were started together do not come together.
    const pause = this.every * (0.5 + this.clock.random() / 2);
    this.#timer = this.clock.after(pause, () => void this.#purge(), false);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  async #purge(): Promise<void> {
    await this.purge();
    if (!this.#stopped) this.start();
  }
}
