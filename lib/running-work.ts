import type { Clock } from './clock.js';

/** What runs under locks, so that a shutdown can await it. */
export class RunningWork {
  #running = 0;
  #whenIdle: (() => void) | undefined;

  constructor(private readonly clock: Clock) {}

  begin(): void {
    this.#running++;
  }

  end(): void {
    if (--this.#running === 0) this.#whenIdle?.();
  }

  /** Resolves when nothing runs any more, or after `limit` milliseconds. */
  async settled(limit: number): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const timer = this.clock.after(limit, resolve, true);
      this.#whenIdle = () => {
        timer.cancel();
        resolve();
      };
    });
  }
}
