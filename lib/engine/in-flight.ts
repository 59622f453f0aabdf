import type { Clock } from './clock.js';

/** Counts the requests to the store, or the work under locks, that a shutdown has to await. */
export class InFlight {
  #count = 0;
  readonly #whenNone = new Set<() => void>();

  constructor(private readonly clock: Clock) {}

  /** Whether no request and no work is being counted. */
  get none(): boolean {
    return this.#count === 0;
  }

  /** Counts one request or one run of work until {@link end} is called for it. */
  begin(): void {
    this.#count++;
  }

  end(): void {
    if (--this.#count === 0) for (const resolve of this.#whenNone) resolve();
  }

  /** Counts a promise until it has settled. */
  async track<T>(promise: Promise<T>): Promise<T> {
    this.begin();
    try {
      return await promise;
    } finally {
      this.end();
    }
  }

  /** Resolves when all that was counted has ended, or after `limit` milliseconds. */
  async settled(limit: number): Promise<void> {
    if (this.none) return;
    await new Promise<void>((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#whenNone.delete(end);
        resolve();
      };
      const timer = this.clock.after(limit, end, true);
      this.#whenNone.add(end);
    });
  }
}
