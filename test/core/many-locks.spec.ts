import { expect, it } from '@jest/globals';
import { startCore } from './core-fixture.js';

it('B52 10,000 locks have one timer, and are renewed in batches', async () => {
  const { service, store, clock } = await startCore();
  const locks = await Promise.all(Array.from({ length: 10_000 }, (_, i) => service.acquire(`key ${i}`)));
  expect(clock.timers).toHaveLength(1);
  store.always({ before: 5, after: 5 }, 'renewMany');
  await clock.advance(10_005);
  expect(store.count('renewMany')).toBe(20);
  // Each of the 20 requests under way has a timer for its time limit.
  expect(clock.timers).toHaveLength(21);
  await clock.advance(100_005);
  expect(clock.timers).toHaveLength(1);
  expect(store.count('renewMany')).toBe(20 * 11);
  expect(locks.every(({ held }) => held)).toBe(true);
  expect(new Set(await Promise.all(locks.map((lock) => lock.release())))).toEqual(new Set([true]));
  expect(clock.timers).toEqual([]);
});
