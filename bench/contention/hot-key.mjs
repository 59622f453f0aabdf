import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';

/** How long a waiter waits for the lock at most, which is longer than any round. */
export const WAIT = '60s';

/** The share of the holds during which the floor is measured too. */
const PROBED = 0.5;

/**
 * Does the work of one process on a contended key: each waiter takes the lock, holds it,
 * pauses, and takes it again. Some holds last twice as long, with a pair of durable writes,
 * the floor, in the middle. So floor and hand-off come after the same pause, and a slow moment
 * of the machine affects both.
 *
 * Results count from `countFrom` to `endAt`, both on the shared clock. After `endAt` holds
 * take no time, so that the remaining waiters end soon.
 *
 * @param count returns the number of statements so far
 * @returns the holds, with the time at which each waiter began to wait; the times of the
 * floor; and the number of statements in the counted time, without those of the floor
 */
export async function workOnHotKey(locks, floor, count, { waiters, hold, think, beginAt, countFrom, endAt }) {
  const holds = [];
  const floors = [];
  const ofFloor = await statementsOf(floor, count);
  const counted = new Map();
  /**
   * Notes how many statements had been sent at `countFrom` and at `endAt`. A timer could be
   * late: holds that take no time follow one another without a turn of the event loop.
   */
  const noteCount = (at) => {
    for (const time of [countFrom, endAt])
      if (at >= time && !counted.has(time)) counted.set(time, count() - floors.length * ofFloor);
  };
  const probe = async () => {
    const from = now();
    await floor.pair('floor');
    floors.push({ from, took: now() - from });
    await sleep(hold);
  };
  const body = async (askedAt) => {
    const from = now();
    noteCount(from);
    if (from < endAt) await sleep(hold);
    if (from < endAt && Math.random() < PROBED) await probe();
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
    noteCount(time);
  };
  await Promise.all([countAt(countFrom), countAt(endAt), ...Array.from({ length: waiters }, work)]);
  return { holds, floors, statements: counted.get(endAt) - counted.get(countFrom) };
}

/**
 * Counts the statements of one measurement of the floor, while this process sends nothing
 * else.
 */
async function statementsOf(floor, count) {
  const before = count();
  await floor.pair('floor');
  return count() - before;
}

const reach = (time) => sleep(Math.max(0, time - now()));
