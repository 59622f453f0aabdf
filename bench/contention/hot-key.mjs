import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';

/** How long each waits for the lock at most: longer than any round. */
export const WAIT = '60s';

/**
 * The part of one process in the work on one key: each waiter takes the lock, holds it, thinks, and asks for it again.
 *
 * What happens from `countFrom` to `endAt`, times on the shared clock, counts; from then on holds last no longer, so that whoever still waits is soon through.
 *
 * @param count gives the number of statements so far
 * @returns the holds, with when they were asked for, and the statements that were sent while it counted
 */
export async function workOnHotKey(locks, count, { waiters, hold, think, beginAt, countFrom, endAt }) {
  const holds = [];
  const body = async (askedAt) => {
    const from = now();
    if (from < endAt) await sleep(hold);
    holds.push({ askedAt, from, until: now() });
  };
  const work = async () => {
    await reach(beginAt);
    while (now() < endAt) {
      const askedAt = now();
      await locks.run('hot', () => body(askedAt), { wait: WAIT });
      await sleep(think);
    }
  };
  const countAt = async (time) => {
    await reach(time);
    return count();
  };
  const [before, after] = await Promise.all([
    countAt(countFrom),
    countAt(endAt),
    ...Array.from({ length: waiters }, work),
  ]);
  return { holds, statements: after - before };
}

const reach = (time) => sleep(Math.max(0, time - now()));
