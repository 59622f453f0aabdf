import type { Clock } from './clock.js';

/** What runs under locks, so that a shutdown can await it. */
export class RunningWork {
  readonly #running = new Set<Promise<unknown>>();

  constructor(private readonly clock: Clock) {}

  async track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Resolves when all that runs now has settled, or after `limit` milliseconds. */
  async settled(limit: number): Promise<void> {
    if (this.#running.size === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(limit, resolve, true);
      void Promise.allSettled(this.#running).then(() => {
        timer.cancel();
        resolve();
      });
    });
  }
}
