import { uptime } from 'node:os';
import { LONGEST_TIMER } from '../options/duration.js';

/** A timer that has been started. */
export interface Timer {
  cancel(): void;
}

/** The time, timers and random numbers of the library. A simulation uses its own. */
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
  /**
   * Calls `callback` once after `ms`. A timer that is not `ref` does not keep the process
   * alive.
   */
  after(ms: number, callback: () => void, ref: boolean): Timer;
  /** A random number from 0 to 1, for jitter. */
  random(): number;
}

/** Milliseconds after its time at which a timer that has not fired is set again. */
const LATE = 1_000;
/** Milliseconds by which the wall clock has to step before `os.uptime()` is read again. */
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
      // os.uptime() takes some 15 µs. After a suspension the wall clock is ahead of the
      // monotonic clock, and a comparison of the two is cheap.
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

/** A callback that runs at a time, if it is not cancelled before. */
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
 * platform, which stays as it is when the limit that it was set for is cancelled. So starting
 * and cancelling a limit costs a tenth of a timer.
 */
class Limits {
  readonly #pending = new Set<Limit>();
  #timeout: NodeJS.Timeout | undefined;
  #firesAt = Infinity;

  start(ms: number, callback: () => void): Timer {
    const now = performance.now();
    const limit = new Limit(now + Math.max(0, ms), callback, this.#pending);
    this.#pending.add(limit);
    // A timer that is this late may never fire: tests replace all timers by fake ones, and
    // restore the real ones later.
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
    // Each callback runs in a microtask of its own: it may throw, and may cancel the next
    // ones.
    for (const limit of passed) queueMicrotask(() => this.#pending.delete(limit) && limit.callback());
  }
}

function timeoutOf(ms: number): number {
  return Math.min(Math.max(0, Math.ceil(ms)), LONGEST_TIMER);
}
