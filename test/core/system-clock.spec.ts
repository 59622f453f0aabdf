import { afterEach, beforeEach, describe, expect, it, jest } from '@jest/globals';
import { uptime } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock, type Clock } from '../../lib/engine/clock.js';

// os.uptime() is up to a second wrong on systems where it counts whole seconds.
const SECOND = 1_000;

describe('the machine as a clock', () => {
  afterEach(() => void jest.restoreAllMocks());

  it('R12 uptime is the time since the machine started, even after its wall clock was set', () => {
    const clock = systemClock();
    const { now } = Date;
    for (const step of [0, 3_600_000, -3_600_000]) {
      jest.spyOn(Date, 'now').mockImplementation(() => now() + step);
      expect(Math.abs(clock.uptime() - uptime() * 1000)).toBeLessThan(2 * SECOND);
    }
  });

  it('R12 between two readings, uptime follows the monotonic clock', () => {
    const clock = systemClock();
    const start = performance.now();
    const now = jest.spyOn(performance, 'now').mockReturnValue(start);
    const before = clock.uptime();
    now.mockReturnValue(start + 300);
    expect(clock.uptime()).toBeCloseTo(before + 300, 3);
  });

  it('B29 a timer longer than the longest timer of Node does not fire at once', async () => {
    const fired: string[] = [];
    const long = systemClock().after(2 ** 40, () => fired.push('long'), false);
    await new Promise<void>((resolve) => void systemClock().after(5, resolve, true));
    long.cancel();
    expect(fired).toEqual([]);
  });
});

/** Blocks the event loop. */
function block(ms: number): void {
  const until = performance.now() + ms;
  while (performance.now() < until);
}

describe('time limits, which keep no process alive', () => {
  let started: jest.SpiedFunction<typeof setTimeout>;
  let clock: Clock;
  let fired: string[];

  afterEach(() => void jest.restoreAllMocks());

  beforeEach(() => {
    clock = systemClock();
    fired = [];
    started = jest.spyOn(globalThis, 'setTimeout');
  });

  const limit = (ms: number, name: string) => clock.after(ms, () => fired.push(name), false);

  it('B27 time limits fire in the order of their times and never too early', async () => {
    const begun = performance.now();
    const passed: [number, number][] = [];
    // The mock lets all limits begin at the same time, however slow the machine is.
    const standingStill = jest.spyOn(performance, 'now').mockReturnValue(begun);
    for (const ms of [30, 10, 20, 0, 10.4, -5])
      clock.after(ms, () => passed.push([ms, performance.now() - begun]), false);
    standingStill.mockRestore();
    await sleep(60);
    expect(passed.map(([ms]) => ms)).toEqual([0, -5, 10, 10.4, 20, 30]);
    for (const [ms, after] of passed) expect(after).toBeGreaterThanOrEqual(ms);
  });

  it('B27 time limits fire in the order of their times even if all are late', async () => {
    limit(30, 'third');
    limit(10, 'first');
    limit(20, 'second');
    block(50);
    await sleep(1);
    expect(fired).toEqual(['first', 'second', 'third']);
  });

  it('B27 a cancelled time limit does not fire, even if it was already due when it was cancelled', async () => {
    const cancelled: { cancel(): void }[] = [];
    // This callback is due at 10 ms, so it cancels the limit of 20 ms before that limit fires.
    clock.after(10, () => cancelled.forEach((one) => one.cancel()), false);
    cancelled.push(limit(20, 'later'));
    const never = limit(5, 'never');
    never.cancel();
    never.cancel();
    block(40);
    await sleep(10);
    expect(fired).toEqual([]);
  });

  it('B27 a time limit can be set while another one fires', async () => {
    await new Promise<void>(
      (resolve) => void clock.after(5, () => void clock.after(5, resolve, false), false),
    );
    // A timer of Node may fire a little early and is then set again, so there may be more than
    // two.
    expect(started.mock.calls.length).toBeGreaterThanOrEqual(2);
  });

  it('B27 if the callback of a time limit throws, the error is uncaught and later limits still fire', async () => {
    const thrown: unknown[] = [];
    const queue = jest.spyOn(globalThis, 'queueMicrotask').mockImplementation((callback) => {
      try {
        callback();
      } catch (error) {
        thrown.push(error);
      }
    });
    clock.after(
      5,
      () => {
        throw new Error('broken');
      },
      false,
    );
    limit(5, 'same');
    limit(20, 'later');
    await sleep(40);
    queue.mockRestore();
    expect(fired).toEqual(['same', 'later']);
    expect(thrown).toEqual([new Error('broken')]);
  });

  it('B27 all time limits share one timer of Node', async () => {
    for (let i = 0; i < 1000; i++) limit(10_000, 'cancelled').cancel();
    const kept = limit(10_000, 'far');
    expect(started).toHaveBeenCalledTimes(1);
    limit(20_000, 'farther').cancel();
    limit(Infinity, 'never');
    expect(started).toHaveBeenCalledTimes(1);
    limit(5, 'near');
    limit(6, 'near, too');
    expect(started).toHaveBeenCalledTimes(2);
    await sleep(40);
    expect(fired).toEqual(['near', 'near, too']);
    kept.cancel();
  });

  it('B27 after its only time limit is cancelled, the timer fires once and is not set again', async () => {
    limit(5, 'cancelled').cancel();
    await sleep(20);
    expect(fired).toEqual([]);
    expect(started).toHaveBeenCalledTimes(1);
    limit(5, 'next');
    await sleep(20);
    expect(fired).toEqual(['next']);
  });

  it('B27 a time limit beyond the longest timer of Node waits with several timers in a row', async () => {
    limit(2 ** 40, 'far');
    expect(started.mock.calls[0]?.[1]).toBe(2 ** 31 - 1);
    limit(5, 'near');
    await sleep(20);
    expect(fired).toEqual(['near']);
    expect(started.mock.calls.at(-1)?.[1]).toBe(2 ** 31 - 1);
  });

  it('B27 time limits still fire after a test with fake timers has discarded their timer', async () => {
    jest.useFakeTimers();
    limit(20, 'fake');
    jest.useRealTimers();
    const now = performance.now();
    jest.spyOn(performance, 'now').mockImplementation(() => now + 5_000);
    const passed = new Promise<void>((resolve) => void clock.after(-1, resolve, false));
    await passed;
    expect(fired).toEqual(['fake']);
  });

  it('B27 if the shared timer is late, new time limits set it again only once', () => {
    limit(5, 'late');
    block(20);
    for (let i = 0; i < 100; i++) limit(10_000, 'far').cancel();
    expect(started).toHaveBeenCalledTimes(1);
    const now = performance.now();
    jest.spyOn(performance, 'now').mockImplementation(() => now + 2_000);
    for (let i = 0; i < 100; i++) limit(10_000, 'far').cancel();
    expect(started).toHaveBeenCalledTimes(2);
  });

  it('B12 time limits keep no process alive', () => {
    limit(10_000, 'far');
    const timeout = started.mock.results[0]?.value as NodeJS.Timeout;
    expect(timeout.hasRef()).toBe(false);
  });
});
