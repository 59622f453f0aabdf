import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';

/** How long each waits for the lock at most: longer than any round. */
export const WAIT = '60s';

/** In how many of the holds the floor is measured too. */
const PROBED = 0.5;

/**
 * The work of one process on a contended key: each waiter takes the lock, holds it, pauses,
 * and takes it again. Some holds last twice as long, with a pair of the floor in the middle.
 * So the floor and the hand-off come after the same pause, and a slow moment of the machine
 * affects both.
 *
 * Results count from `countFrom` to `endAt`, both on the shared clock. After that holds take
 * no time, so that the remaining waiters end soon.
 *
 * @param count returns the number of statements so far
 * @returns the holds, with the time at which each waiter began to wait; the pairs of the
 * floor; and the number of counted statements without the floor's
 */
export async function workOnHotKey(locks, floor, count, { waiters, hold, think, beginAt, countFrom, endAt }) {
  const holds = [];
  const floors = [];
  const ofFloor = await statementsOf(floor, count);
  const counted = new Map();
  /**
   * Notes how many statements had been sent at these times. Timers cannot do that: holds that
   * take no time follow each other without a turn of the event loop for a timer.
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

/** As the drivers count them, while nothing else is sent. */
async function statementsOf(floor, count) {
  const before = count();
  await floor.pair('floor');
  return count() - before;
}

const reach = (time) => sleep(Math.max(0, time - now()));
