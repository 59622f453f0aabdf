import { judged, NO_DEARER } from '../goals.mjs';
import { interleave, untilConclusive } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';

const KEY = 'pair';

/**
 * Compares the time of a lock with batching and without for a single caller, whose requests no
 * batch can combine.
 */
export default {
  id: 'S6',
  title: 'pair of a single caller ÷ with batching: false',
  stores: ['postgres', 'mariadb', 'mysql', 'sqlite', 'mongodb'],

  async measure({ store, servers, counts }) {
    const opened = {};
    try {
      for (const [name, batching] of Object.entries({ with: true, without: false }))
        opened[name] = await openLocks({
          client: 'driver',
          store,
          url: await servers.database(store),
          storeOptions: { batching },
        });
      const pairOf =
        ({ locks }) =>
        async () =>
          (await locks.acquire(KEY)).release();
      const { times, ratios } = await untilConclusive(counts.attempts, () =>
        interleave(
          { with: pairOf(opened.with), without: pairOf(opened.without) },
          { ...counts, reference: 'without' },
        ),
      );
      const { ratio, low, high, inconclusive } = ratios.with;
      return [
        judged({
          store,
          measured: ratio,
          unit: '×',
          goal: NO_DEARER,
          inconclusive,
          range: [low, high],
          details: { ms: times },
        }),
      ];
    } finally {
      await Promise.all(Object.values(opened).map(({ close }) => close()));
    }
  },
};
