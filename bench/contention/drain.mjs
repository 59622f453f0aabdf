import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';
import { handOffs } from './overlaps.mjs';

/**
 * Lets all waiters acquire one key at once. Each waiter holds the lock once.
 *
 * @param run acquires the lock of a key, with the library's own way of waiting, and runs a
 * body under it
 * @returns the milliseconds until the last waiter had released the lock, and how many waiters
 * gave up
 */
export async function drain(run, { waiters, hold, key = 'hot' }) {
  const holds = [];
  const begin = now();
  const outcomes = await Promise.allSettled(
    Array.from({ length: waiters }, () =>
      run(key, async () => {
        const from = now();
        await sleep(hold);
        holds.push({ from, until: now() });
      }),
    ),
  );
  const took = now() - begin;
  handOffs(holds); // throws an error if two waiters held the lock at once
  const failures = outcomes.filter(({ status }) => status === 'rejected');
  return { took, gaveUp: failures.length, reason: failures[0]?.reason.message };
}

/**
 * Measures the shortest possible time for the same holds, without a lock: they follow one
 * another, with two durable writes after each hold.
 */
export async function idealDrain(floor, { waiters, hold }) {
  const begin = now();
  for (let i = 0; i < waiters; i++) {
    await sleep(hold);
    await floor.pair('ideal');
  }
  return now() - begin;
}
