import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';
import { handOffs } from './overlaps.mjs';

/**
 * All waiters want one key at once, and each holds it once.
 *
 * @param run takes the lock of a key, as the library waits for it, and runs a body under it
 * @returns the milliseconds until the last waiter had released the lock, and how many gave up
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
  handOffs(holds); // throws when two held it at once
  const failures = outcomes.filter(({ status }) => status === 'rejected');
  return { took, gaveUp: failures.length, reason: failures[0]?.reason.message };
}

/**
 * The time of the same work without a lock: the holds one after the other, and two durable
 * writes after each of them.
 */
export async function idealDrain(floor, { waiters, hold }) {
  const begin = now();
  for (let i = 0; i < waiters; i++) {
    await sleep(hold);
    await floor.pair('ideal');
  }
  return now() - begin;
}
