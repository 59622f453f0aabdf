import { openFloors } from '../floors.mjs';
import { atLeast, judged } from '../goals.mjs';
import { interleaveRates, untilConclusive } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';

const CONNECTIONS = 10;

/**
 * Compares two rates: the locks per second of ten callers, each with its own key, on a pool
 * of ten connections; and the durable writes per second of ten bare connections.
 */
export default {
  id: 'P2',
  title: `pairs/s ÷ the floor's, ${CONNECTIONS} connections`,
  // SQLite has only one connection, so it is left out
  stores: ['postgres', 'mariadb', 'mongodb'],

  async measure({ store, servers, counts, slice }) {
    const url = await servers.database(store);
    const { locks, close } = await openLocks({ store, url, connections: CONNECTIONS });
    const floors = await openFloors(store, url, CONNECTIONS);
    try {
      const operations = {
        floor: (caller) => floors[caller].pair(`key-${caller}`),
        pair: async (caller) => (await locks.acquire(`key-${caller}`)).release(),
      };
      const { rates, ratios } = await untilConclusive(counts.attempts, () =>
        interleaveRates(operations, {
          reference: 'floor',
          callers: CONNECTIONS,
          slice,
          blocks: counts.blocks,
        }),
      );
      const { ratio, low, high, inconclusive } = ratios.pair;
      const details = { 'p10–p90 of the blocks': [low, high], 'per second': rates };
      return [
        judged({ store, measured: ratio, unit: "× floor's", goal: atLeast(0.85), inconclusive, details }),
      ];
    } finally {
      await Promise.all(floors.map((floor) => floor.close()));
      await close();
    }
  },
};
