import type { Clock } from './clock.js';

/**
 * Who waits for which key in this process, first come, first served. Only the first of a key asks the store; the others wait for their turn,
 * so that the load on the database does not grow with the waiters.
 */
export class WaitQueue {
  readonly #queues = new Map<string, Set<Place>>();
  #closedWith: Error | undefined;

  constructor(private readonly clock: Clock) {}

  join(key: string): Place {
    const queue = this.#queues.get(key) ?? new Set();
    this.#queues.set(key, queue);
    const place = new Place(this.clock, queue, (wasFirst) => {
      if (queue.size === 0) this.#queues.delete(key);
      else if (wasFirst) this.wake(key);
    });
    queue.add(place);
    if (this.#closedWith) place.fail(this.#closedWith);
    return place;
  }

  /** The key may have become free: its first waiter looks at once. */
  wake(key: string): void {
    this.#queues.get(key)?.values().next().value?.wake();
  }

  /** Ends every wait, also those to come, with this error. */
  close(error: Error): void {
    this.#closedWith = error;
    for (const queue of this.#queues.values()) for (const place of queue) place.fail(error);
  }
}

/** A place in the queue of one key. */
export class Place {
  #wake: (() => void) | undefined;
  #woken = false;
  #wakeOnFailure: (() => void) | undefined;
  #failure: { error: unknown } | undefined;

  constructor(
    private readonly clock: Clock,
    private readonly queue: Set<Place>,
    private readonly onLeave: (wasFirst: boolean) => void,
  ) {}

  get first(): boolean {
    return this.queue.values().next().value === this;
  }

  wake(): void {
    this.#woken = true;
    this.#wake?.();
  }

  /** Ends this wait with an error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
    this.#wakeOnFailure?.();
  }

  leave(): void {
    const wasFirst = this.first;
    this.queue.delete(this);
    this.onLeave(wasFirst);
  }

  /** Resolves when it is first, or at the monotonic time `until`. */
  async turn(until: number): Promise<void> {
    while (!this.first && this.clock.now() < until) {
      this.#woken = false;
      await this.#sleep(until - this.clock.now());
    }
  }

  /** Resolves after `ms`, or when it is woken, also if that was since the last call of `attempting`. */
  async pause(ms: number): Promise<void> {
    if (!this.#woken) await this.#sleep(ms);
  }

  /** From here on a wake-up is about something newer than the attempt that follows. */
  attempting(): void {
    this.#woken = false;
    if (this.#failure) throw this.#failure.error;
  }

  /** The answer of an attempt, or the error that ended this wait before it came. */
  orFailure<T>(attempt: Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#wakeOnFailure = () => reject(this.#failure?.error);
      attempt.then(resolve, reject).finally(() => (this.#wakeOnFailure = undefined));
    });
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (): void => {
        this.#wake = undefined;
        timer?.cancel();
        if (this.#failure) reject(this.#failure.error);
        else resolve();
      };
      // A wait is work to be done: its timer keeps the process alive.
      const timer = ms === Infinity ? undefined : this.clock.after(ms, end, true);
      this.#wake = end;
      if (this.#failure) end();
    });
  }
}
