import { setTimeout as sleep } from 'node:timers/promises';
import { now } from '../shared-clock.mjs';

/** How long each waits for the lock at most: longer than any round. */
export const WAIT = '60s';

/** In how many of the holds the floor is measured too. */
const PROBED = 0.5;

/**
 * The part of one process in the work on one key: each waiter takes the lock, holds it, thinks, and asks for it again. Some holds last twice as long, with a
 * pair of the floor in the middle: so both the floor and the hand-off come after the same pause, and what slows the machine down slows down both.
 *
 * What happens from `countFrom` to `endAt`, times on the shared clock, counts; from then on holds last no longer, so that whoever still waits is soon through.
 *
 * @param count gives the number of statements so far
 * @returns the holds, with when they were asked for; the pairs of the floor; and the statements that were sent while it counted, without the floor's
 */
export async function workOnHotKey(locks, floor, count, { waiters, hold, think, beginAt, countFrom, endAt }) {
  const holds = [];
  const floors = [];
  const ofFloor = await statementsOf(floor, count);
  const counted = new Map();
  /** Notes what had been sent by these times. Not left to timers: holds that last no longer follow each other without a turn for them. */
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
