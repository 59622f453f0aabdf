import { uptime } from 'node:os';
import { LONGEST_TIMER } from '../options/duration.js';

/** A timer that has been started. */
export interface Timer {
  cancel(): void;
}

/** The time, timers and random numbers of the library. A simulation uses its own. */
export interface Clock {
  /** Milliseconds of the monotonic clock. All deadlines are times of this clock. */
  now(): number;
  /** Milliseconds since the epoch by the wall clock. They are only shown to people. */
  date(): number;
  /**
   * Milliseconds of a wall clock that goes on while the machine is suspended or its hypervisor
   * pauses it. Only differences are meaningful, since the clock may be set. Tests that replace
   * only `Date` do not change it.
   */
  wall(): number;
  /** Milliseconds since the machine started, including the time for which it was suspended. */
  uptime(): number;
  /**
   * Calls `callback` once after `ms`. A timer that is not `ref` does not keep the process
   * alive.
   */
  after(ms: number, callback: () => void, ref: boolean): Timer;
  /** A random number from 0 to 1, for jitter. */
  random(): number;
}

/** Milliseconds. If a timer has not fired this long after its time, the timer is set again. */
const LATE = 1_000;
/**
 * Milliseconds. `os.uptime()` is read again when the wall clock has jumped by more than this.
 */
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
    // Tests with fake timers also replace the monotonic clock. Then both clocks are fake, and
    // advance together.
    wall: () => (performance === realPerformance ? realDate() : Date.now()),
    uptime() {
      const now = performance.now();
      const driftNow = Date.now() - now;
      // os.uptime() takes some 15 µs, so it is read only if the wall clock has moved against
      // the monotonic clock, as after a suspension. To compare the two clocks is cheap.
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

/** A callback that runs at its time, unless it is cancelled first. */
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
 * Time limits, nearly all of which are cancelled before they pass. They share one timer of the
 * platform. Cancelling a limit does not change that timer, so starting and cancelling a limit
 * costs a tenth of starting and cancelling a timer.
 */
class Limits {
  readonly #pending = new Set<Limit>();
  #timeout: NodeJS.Timeout | undefined;
  #firesAt = Infinity;

  start(ms: number, callback: () => void): Timer {
    const now = performance.now();
    const limit = new Limit(now + Math.max(0, ms), callback, this.#pending);
    this.#pending.add(limit);
    // The shared timer is so late that it may never fire: a test has replaced all timers by
    // fake timers and then restored the real timers.
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
    // Each callback runs in a microtask of its own, since it may throw, and may cancel the
    // callbacks after it.
    for (const limit of passed) queueMicrotask(() => this.#pending.delete(limit) && limit.callback());
  }
}

function timeoutOf(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(ms)), LONGEST_TIMER);
}
