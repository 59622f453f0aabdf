import { uptime } from 'node:os';
import { LONGEST_TIMER } from '../options/duration.js';

/** A timer that has been started. */
export interface Timer {
  cancel(): void;
}

/** Where the library takes its time, timers and chance from, so that a simulation can put its own in place. */
export interface Clock {
  /** Monotonic milliseconds: every deadline is counted in them. */
  now(): number;
  /** Wall-clock milliseconds since the epoch: only shown to people. */
  date(): number;
  /**
   * Wall-clock milliseconds, which go on while the machine is suspended or its hypervisor
   * pauses it. Only differences count, since the clock may be set. Tests that mock `Date`
   * alone do not change it.
   */
  wall(): number;
  /** Milliseconds since the machine started, also counting those it was suspended. */
  uptime(): number;
  /** Calls back once after `ms`. A timer that is not `ref` does not keep the process alive. */
  after(ms: number, callback: () => void, ref: boolean): Timer;
  /** From 0 to 1, for jitter. */
  random(): number;
}

/** Milliseconds after which a timer that has not fired is set again. */
const LATE = 1_000;
/** Milliseconds by which the wall clock has to step before the machine is asked whether it was suspended. */
const WALL_CLOCK_STEP = 500;

const { now: realDate } = Date;
const realPerformance = performance;

/** The machine's own clock. */
export function systemClock(): Clock {
  let drift = Number.NaN;
  let asleep = 0;
  const limits = new Limits();
  return {
    now: () => performance.now(),
    date: () => Date.now(),
    // Fake timers replace the monotonic clock too, and move both clocks together.
    wall: () => (performance === realPerformance ? realDate() : Date.now()),
    uptime() {
      const now = performance.now();
      const driftNow = Date.now() - now;
      // os.uptime() takes some 15 µs. After a suspension the wall clock is ahead of the monotonic one, which is cheap to see.
      if (!(Math.abs(driftNow - drift) < WALL_CLOCK_STEP)) {
        drift = driftNow;
        asleep = uptime() * 1000 - now;
      }
      return now + asleep;
    },
    random: Math.random,
    after(ms, callback, ref) {
      if (!ref) return limits.start(ms, callback);
      const timeout = setTimeout(callback, timeoutOf(ms));
      return { cancel: () => clearTimeout(timeout) };
    },
  };
}

/** A moment at which something would have to be done, if it is not cancelled before. */
class Limit implements Timer {
  constructor(
    readonly at: number,
    readonly callback: () => void,
    private readonly pending: Set<Limit>,
  ) {}

  cancel(): void {
    this.pending.delete(this);
  }
}

/**
 * Limits of time, nearly all of which are cancelled before they pass. They share one timer of the platform, which is left as it is when the limit
 * that it was set for is cancelled: so starting and cancelling one costs a tenth of a timer.
 */
class Limits {
  readonly #pending = new Set<Limit>();
  #timeout: NodeJS.Timeout | undefined;
  #firesAt = Infinity;

  start(ms: number, callback: () => void): Timer {
    const now = performance.now();
    const limit = new Limit(now + Math.max(0, ms), callback, this.#pending);
    this.#pending.add(limit);
    // A timer that is as late as that may never fire: tests put fake ones in the place of all timers, and take them away again.
    if (now - this.#firesAt > LATE) this.#fireAt(now);
    else if (limit.at < this.#firesAt) this.#fireAt(limit.at);
    return limit;
  }

  #fireAt(time: number): void {
    clearTimeout(this.#timeout);
    this.#firesAt = time;
    this.#timeout = setTimeout(() => this.#fire(), timeoutOf(time - performance.now())).unref();
  }

  #fire(): void {
    this.#firesAt = Infinity;
    const now = performance.now();
    let next = Infinity;
    const passed: Limit[] = [];
    for (const limit of this.#pending)
      if (limit.at <= now) passed.push(limit);
      else next = Math.min(next, limit.at);
    if (next !== Infinity) this.#fireAt(next);
    passed.sort((a, b) => a.at - b.at);
    // Each by itself: one may throw, and may cancel those after it.
    for (const limit of passed) queueMicrotask(() => this.#pending.delete(limit) && limit.callback());
  }
}

function timeoutOf(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(ms)), LONGEST_TIMER);
}
