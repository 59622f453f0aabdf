import { openFloor } from '../floors.mjs';
import { atMost, judged } from '../goals.mjs';
import { interleave, untilConclusive } from '../interleave.mjs';
import { hasStoreOption, openLocks } from '../locks.mjs';
import { pairsOfPeers } from '../peers/pairs.mjs';

const GOALS = { postgres: atMost(1.22), mariadb: atMost(1.2), sqlite: atMost(1.35), mongodb: atMost(1.2) };
const KEY = 'pair';

/**
 * Compares acquiring and releasing a free key, through the driver and by a single caller, with
 * two durable writes on the same server.
 */
export default {
  id: 'P1',
  title: 'pair ÷ floor, one connection',
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],

  async measure(context) {
    const { store, servers, counts } = context;
    const results = [await measureVariant({ store, servers, counts, goal: GOALS[store] })];
    const storeOptions = { asyncRelease: true };
    if (store === 'postgres' && hasStoreOption(storeOptions))
      results.push(
        await measureVariant({
          store,
          servers,
          counts,
          storeOptions,
          goal: atMost(0.98),
          variant: 'asynchronous release',
        }),
      );
    results.push(...(await pairsOfPeers(context)));
    return results;
  },
};

async function measureVariant({ store, servers, counts, storeOptions, goal, variant }) {
  const url = await servers.database(store);
  const { locks, close } = await openLocks({ client: 'driver', store, url, storeOptions });
  const floor = await openFloor(store, url);
  try {
    const operations = {
      floor: () => floor.pair(KEY),
      pair: async () => (await locks.acquire(KEY)).release(),
    };
    const { times, ratios } = await untilConclusive(counts.attempts, () =>
      interleave(operations, { ...counts, reference: 'floor' }),
    );
    const { ratio, low, high, inconclusive } = ratios.pair;
    const details = { ...(variant && { variant }), 'p10–p90 of the blocks': [low, high], ms: times };
    return judged({ store, measured: ratio, unit: '× floor', goal, inconclusive, details });
  } finally {
    await floor.close();
    await close();
  }
}
