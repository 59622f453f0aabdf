import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';
import { handOffs } from './overlaps.mjs';

/**
 * All want one key at once, each holds it once.
 *
 * @param run takes the lock of a key, as the library waits for it, and runs a body under it
 * @returns how long it took until the last had given it back, in milliseconds, and how many gave up
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

/** What the same takes without a lock: the holds one after the other, and after each of them two durable writes. */
export async function idealDrain(floor, { waiters, hold }) {
  const begin = now();
  for (let i = 0; i < waiters; i++) {
    await sleep(hold);
    await floor.pair('ideal');
  }
  return now() - begin;
}
