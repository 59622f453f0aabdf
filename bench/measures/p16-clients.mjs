import { openFloors } from '../floors.mjs';
import { judged } from '../goals.mjs';
import { interleave, interleaveRates, untilConclusive } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';

const CONNECTIONS = 10;
const DRIVERS = { postgres: 'fromPg', mariadb: 'fromMysql2' };

/**
 * Repeats P1 and P2 through the driver's own pool and through TypeORM, in turns. Each pool has
 * ten connections and its own database.
 */
export default {
  id: 'P16',
  title: 'over each client',
  stores: ['postgres', 'mariadb'],

  async measure({ store, servers, counts, slice }) {
    const urlOfFloor = await servers.database(store);
    const floors = await openFloors(store, urlOfFloor, CONNECTIONS);
    const driver = await opened('driver', { store, servers });
    const typeOrm = await opened('typeorm', { store, servers });
    try {
      const pairs = {
        floor: (caller = 0) => floors[caller].pair(`key-${caller}`),
        [DRIVERS[store]]: pairOf(driver.locks),
        typeOrmStore: pairOf(typeOrm.locks),
      };
      const { times, ratios } = await untilConclusive(counts.attempts, () =>
        interleave(pairs, { ...counts, reference: 'floor' }),
      );
      const rated = await untilConclusive(counts.attempts, () =>
        interleaveRates(pairs, {
          reference: 'floor',
          callers: CONNECTIONS,
          slice,
          blocks: counts.blocks,
        }),
      );
      return [
        ...rowsOf(store, ratios, { name: 'pair', unit: '× floor', details: { ms: times } }),
        ...rowsOf(store, rated.ratios, {
          name: `pairs/s, ${CONNECTIONS} connections`,
          unit: "× floor's",
          details: { 'per second': rated.rates },
        }),
      ];
    } finally {
      await Promise.all(floors.map((floor) => floor.close()));
      await driver.close();
      await typeOrm.close();
    }
  },
};

async function opened(client, { store, servers }) {
  return openLocks({ client, store, url: await servers.database(store), connections: CONNECTIONS });
}

function pairOf(locks) {
  return async (caller = 0) => (await locks.acquire(`key-${caller}`)).release();
}

function rowsOf(store, ratios, { name, unit, details }) {
  return Object.entries(ratios).map(([client, { ratio, low, high }]) =>
    judged({
      store,
      measured: ratio,
      unit,
      details: { variant: `${name}, ${client}`, 'p10–p90 of the blocks': [low, high], ...details },
    }),
  );
}
