import { judged, NONE } from '../goals.mjs';
import { openLocks } from '../locks.mjs';
import { median } from '../statistics.mjs';

const CYCLES = { full: 10_000, quick: 2_000 };
const PAIRS = 1_000;

/**
 * Measures how a transaction that stays open slows down a key that is acquired repeatedly,
 * since PostgreSQL keeps all versions of its row since the transaction's snapshot.
 */
export default {
  id: 'P13',
  title: 'pair under an old snapshot ÷ without',
  stores: ['postgres'],
  slow: true,

  async measure({ store, servers, quick, progress }) {
    const cycles = quick ? CYCLES.quick : CYCLES.full;
    const { locks, dataSource, close } = await openLocks({
      store,
      url: await servers.database(store),
      connections: 2,
    });
    const time = async () => {
      const begin = performance.now();
      await (await locks.acquire('key')).release();
      return performance.now() - begin;
    };
    const times = async (count) => {
      const all = [];
      for (let i = 0; i < count; i++) {
        all.push(await time());
        if (i % 500 === 0) progress.tell(`${i.toLocaleString('en')} cycles`);
      }
      return all;
    };
    const old = dataSource.createQueryRunner();
    try {
      await times(PAIRS); // these pairs warm up, and are not measured
      const before = median(await times(PAIRS));
      await old.startTransaction('REPEATABLE READ');
      // The first query takes the snapshot of the transaction.
      await old.query('SELECT 1 FROM locks');
      const under = median((await times(cycles)).slice(-PAIRS));
      await old.rollbackTransaction();
      await times(PAIRS);
      const after = median(await times(PAIRS));
      return [
        judged({
          store,
          measured: under / before,
          unit: '×',
          goal: NONE,
          details: {
            variant: `after ${cycles.toLocaleString('en')} cycles of one key`,
            'p50, ms': { before, under, after },
          },
        }),
      ];
    } finally {
      await old.release();
      await close();
    }
  },
};
