import { expect, it } from '@jest/globals';
import {
  HIGHEST_RATE,
  LONGEST_BURST,
  NotificationRate,
} from '../../../lib/stores/sql/postgres/notification-rate.js';

/** Returns a rate whose clock the test sets. */
function rateBy(clock: { now: number }): NotificationRate {
  return new NotificationRate(() => clock.now);
}

it('B17 a process that gets notifications at the highest allowed rate keeps using wake-ups', () => {
  const clock = { now: 0 };
  const rate = rateBy(clock);
  for (let n = 0; n < 5 * LONGEST_BURST; n++) {
    clock.now += 1_000 / HIGHEST_RATE;
    rate.received();
    expect(rate.isTooHigh).toBe(false);
  }
});

it('B17 a process that gets notifications at twice the highest allowed rate stops using wake-ups after some seconds', () => {
  const clock = { now: 0 };
  const rate = rateBy(clock);
  let received = 0;
  for (; !rate.isTooHigh; received++) {
    clock.now += 500 / HIGHEST_RATE;
    rate.received();
  }
  expect(received).toBeGreaterThan(LONGEST_BURST);
  expect(received).toBeLessThan(3 * LONGEST_BURST);
});

it('B17 a process uses wake-ups again after the rate of notifications has fallen', () => {
  const clock = { now: 0 };
  const rate = rateBy(clock);
  for (let n = 0; n < LONGEST_BURST; n++) rate.received();
  expect(rate.isTooHigh).toBe(true);
  clock.now += 4_000;
  expect(rate.isTooHigh).toBe(true);
  clock.now += 1_000;
  expect(rate.isTooHigh).toBe(false);
});
