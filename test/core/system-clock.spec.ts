import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { uptime } from 'node:os';
import { systemClock } from '../../lib/clock.js';

const SECOND = 1_000; // os.uptime() counts whole seconds on some systems

describe('the machine as a clock', () => {
  afterEach(() => void jest.restoreAllMocks());

  it('tells how long the machine has been running, also when its wall clock was set meanwhile', () => {
    const clock = systemClock();
    const { now } = Date;
    for (const step of [0, 3_600_000, -3_600_000]) {
      jest.spyOn(Date, 'now').mockImplementation(() => now() + step);
      expect(Math.abs(clock.uptime() - uptime() * 1000)).toBeLessThan(2 * SECOND);
    }
  });

  it('goes on with the monotonic clock in between', () => {
    const clock = systemClock();
    const start = performance.now();
    const now = jest.spyOn(performance, 'now').mockReturnValue(start);
    const before = clock.uptime();
    now.mockReturnValue(start + 300);
    expect(clock.uptime()).toBeCloseTo(before + 300, 3);
  });

  it('waits for longer than the longest timer of Node instead of not at all', async () => {
    const fired: string[] = [];
    const long = systemClock().after(2 ** 40, () => fired.push('long'), false);
    await new Promise<void>((resolve) => void systemClock().after(5, resolve, true));
    long.cancel();
    expect(fired).toEqual([]);
  });
});
