import type { Clock } from './clock.js';

/** What runs under locks, so that a shutdown can await it. */
export class RunningWork {
  #running = 0;
  readonly #whenIdle = new Set<() => void>();

  constructor(private readonly clock: Clock) {}

  begin(): void {
    this.#running++;
  }

  end(): void {
    if (--this.#running === 0) for (const resolve of this.#whenIdle) resolve();
  }

  /** Resolves when nothing runs any more, or after `limit` milliseconds. */
  async settled(limit: number): Promise<void> {
    if (this.#running === 0) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#whenIdle.delete(end);
        resolve();
      };
      const timer = this.clock.after(limit, end, true);
      this.#whenIdle.add(end);
    });
  }
}
