import { atLeast, judged, notMeasured } from '../goals.mjs';
import { interleaveRates, untilConclusive } from '../interleave.mjs';
import { hasStoreOption, openLocks } from '../locks.mjs';

const CONNECTIONS = 10;
const GOAL = atLeast(0.93);

/**
 * Measures whether the option wakeUps slows down locks while no call waits: compares the
 * throughput with wake-ups and without.
 */
export default {
  id: 'P14',
  title: `pairs/s with wake-ups ÷ without, no waiter, ${CONNECTIONS} connections`,
  stores: ['postgres'], // only PostgreSQL has wake-ups

  async measure({ store, servers, counts, slice }) {
    if (!hasStoreOption({ wakeUps: false }))
      return [notMeasured({ store, goal: GOAL, reason: 'this build has no option wakeUps' })];
    const open = (wakeUps, url) =>
      openLocks({ store, url, connections: CONNECTIONS, storeOptions: { wakeUps } });
    const opened = {
      with: await open(true, await servers.database(store)),
      without: await open(false, await servers.database(store)),
    };
    try {
      const pairOf =
        ({ locks }) =>
        async (caller) =>
          (await locks.acquire(`key-${caller}`)).release();
      const operations = { with: pairOf(opened.with), without: pairOf(opened.without) };
      const { rates, ratios } = await untilConclusive(counts.attempts, () =>
        interleaveRates(operations, {
          reference: 'without',
          callers: CONNECTIONS,
          slice,
          blocks: counts.blocks,
        }),
      );
      const { ratio, low, high, inconclusive } = ratios.with;
      const details = { 'p10–p90 of the blocks': [low, high], 'per second': rates };
      return [judged({ store, measured: ratio, unit: '×', goal: GOAL, inconclusive, details })];
    } finally {
      await opened.with.close();
      await opened.without.close();
    }
  },
};
