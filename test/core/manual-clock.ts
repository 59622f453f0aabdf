import type { Clock, Timer } from '../../lib/engine/clock.js';

/** A timer that has not fired. */
export interface PendingTimer {
  /** The time on the monotonic clock at which the timer fires. */
  at: number;
  ref: boolean;
  order: number;
  callback: () => void;
}

/** An event outside of the process: a request or an answer arrives. */
interface Arrival {
  at: number;
  order: number;
  callback: () => void;
}

const EPOCH = Date.UTC(2026, 10, 20);

/**
 * A clock, timers and random numbers that the test controls. `advance` lets a minute pass
 * without waiting for it.
 */
export class ManualClock implements Clock {
  /** Returns the next random number. */
  chance: () => number = () => 0.5;
  /** Runs after each timer and each arrival of a request or an answer. */
  watcher: () => void = () => {};
  #real = 10_000;
  #suspended = 0;
  #setAhead = 0;
  /** The milliseconds of the suspensions in which the uptime stood still, too. */
  #unseen = 0;
  #order = 0;
  readonly #timers = new Set<PendingTimer>();
  readonly #arrivals = new Set<Arrival>();

  now(): number {
    return this.#real - this.#suspended;
  }

  date(): number {
    return this.wall();
  }

  wall(): number {
    return EPOCH + this.#real + this.#setAhead;
  }

  /** Sets the machine's wall clock ahead by `ms`, or back if `ms` is negative. */
  setWallClock(ms: number): void {
    this.#setAhead += ms;
  }

  /**
   * Lets a hypervisor pause the machine, so its monotonic clock and its uptime stand still.
   */
  pauseMachine(ms: number): void {
    this.suspend(ms);
    this.#unseen += ms;
  }

  uptime(): number {
    return this.#real - this.#unseen + 5_000_000;
  }

  random(): number {
    return this.chance();
  }

  after(ms: number, callback: () => void, ref: boolean): Timer {
    const timer = { at: this.now() + Math.max(0, ms), ref, order: this.#order++, callback };
    this.#timers.add(timer);
    return { cancel: () => void this.#timers.delete(timer) };
  }

  /**
   * The clock of the store's server, which runs on while the process is frozen or suspended.
   */
  readonly server = (): number => EPOCH + this.#real;

  /** The pending timers, in the order in which they will fire. */
  get timers(): PendingTimer[] {
    return [...this.#timers].toSorted((a, b) => a.at - b.at || a.order - b.order);
  }

  /** The pending timers that keep the process alive. */
  get refTimers(): PendingTimer[] {
    return this.timers.filter(({ ref }) => ref);
  }

  /**
   * Runs the callback after `ms`, even while the process is frozen or the machine suspended,
   * since the callback belongs to the network or the server.
   */
  outside(ms: number, callback: () => void): void {
    this.#arrivals.add({ at: this.#real + Math.max(0, ms), order: this.#order++, callback });
  }

  /**
   * Advances the time by `ms`. Each timer fires at its time, and its promises settle before
   * the next timer fires.
   */
  async advance(ms: number): Promise<void> {
    const until = this.#real + ms;
    await settle();
    for (;;) {
      const timer = first(this.#timers);
      const arrival = first(this.#arrivals);
      const timerAt = timer ? timer.at + this.#suspended : Infinity;
      const arrivalAt = arrival?.at ?? Infinity;
      if (Math.min(timerAt, arrivalAt) > until) break;
      if (arrival && arrivalAt <= timerAt) this.#arrive(arrival);
      else if (timer) {
        this.#real = Math.max(this.#real, timerAt);
        this.#timers.delete(timer);
        timer.callback();
      }
      await settle();
      this.watcher();
    }
    this.#real = until;
  }

  /**
   * Freezes the process: time goes on, but nothing runs. Timers that are due fire at the next
   * `advance`.
   */
  freeze(ms: number): void {
    const until = this.#real + ms;
    for (let next = first(this.#arrivals); next && next.at <= until; next = first(this.#arrivals)) {
      this.#arrive(next);
    }
    this.#real = until;
  }

  /** Suspends the machine: its monotonic clock stands still, and the server goes on. */
  suspend(ms: number): void {
    this.freeze(ms);
    this.#suspended += ms;
  }

  #arrive(arrival: Arrival): void {
    this.#real = Math.max(this.#real, arrival.at);
    this.#arrivals.delete(arrival);
    arrival.callback();
  }
}

function first<T extends Arrival>(pending: Iterable<T>): T | undefined {
  let found: T | undefined;
  for (const one of pending) {
    if (!found || one.at < found.at || (one.at === found.at && one.order < found.order)) found = one;
  }
  return found;
}

/** Waits until all promises have settled that do not wait for a timer or a request. */
export function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Runs exactly this number of turns of the microtask queue. */
export async function microtasks(count: number): Promise<void> {
  for (let turn = 0; turn < count; turn++) await Promise.resolve();
}
