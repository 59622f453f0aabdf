import { uptime } from 'node:os';

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
  /** Milliseconds since the machine started, also counting those it was suspended. */
  uptime(): number;
  /** Calls back once after `ms`. A timer that is not `ref` does not keep the process alive. */
  after(ms: number, callback: () => void, ref: boolean): Timer;
  /** From 0 to 1, for jitter. */
  random(): number;
}

// setTimeout fires at once above this.
const LONGEST_TIMEOUT = 2 ** 31 - 1;
/** Milliseconds by which the wall clock has to step before the machine is asked whether it was suspended. */
const WALL_CLOCK_STEP = 500;

/** The machine's own clock. */
export function systemClock(): Clock {
  let drift = Number.NaN;
  let asleep = 0;
  return {
    now: () => performance.now(),
    date: () => Date.now(),
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
      const timeout = setTimeout(callback, Math.min(Math.max(0, Math.ceil(ms)), LONGEST_TIMEOUT));
      if (!ref) timeout.unref();
      return { cancel: () => clearTimeout(timeout) };
    },
  };
}
