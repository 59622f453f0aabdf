import { countStatements } from '../contention/statement-counter.mjs';
import { openFloor } from '../floors.mjs';
import { atMost, judged, NONE } from '../goals.mjs';
import { interleave, untilConclusive } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';

const KEY = 'held';
const WAL_TRIES = 200;

/**
 * Compares an attempt to acquire a held key with a SELECT of one row by its key, through the
 * driver.
 */
export default {
  id: 'P4',
  title: 'failed try ÷ SELECT by key',
  stores: ['postgres', 'mariadb', 'sqlite', 'mongodb'],

  async measure({ store, servers, counts }) {
    const url = await servers.database(store);
    const holder = await openLocks({ store, url, counted: true });
    const { locks, dataSource, close } = await openLocks({ store, url });
    const floor = await openFloor(store, url);
    try {
      await holder.locks.acquire(KEY, { ttl: '10m' });
      await floor.pair(KEY);
      const fail = () => failAt(locks);
      const { times, ratios } = await untilConclusive(counts.attempts, () =>
        interleave({ select: () => floor.select(KEY), fail }, { ...counts, reference: 'select' }),
      );
      const count = countStatements(holder);
      const before = count();
      await failAt(holder.locks);
      const statements = count() - before;
      const { ratio, low, high, inconclusive } = ratios.fail;
      // No statement of MariaDB both makes an attempt and returns the holder. The store finds
      // the holder with one more SELECT, which this measure does not count.
      const looks = store === 'mariadb' ? statements - 1 : 0;
      const details = {
        'p10–p90 of the blocks': [low - looks, high - looks],
        ms: times,
        'statements of a failed try': statements,
        ...(looks > 0 && { 'with the look at the holder': ratio }),
      };
      const goal = ['postgres', 'mariadb'].includes(store) ? atMost(1.3) : NONE;
      const results = [
        judged({ store, measured: ratio - looks, unit: '× SELECT', goal, inconclusive, details }),
      ];
      if (store === 'postgres') results.push(await walOf(dataSource, fail));
      return results;
    } finally {
      await floor.close();
      await close();
      await holder.close();
    }
  },
};

async function failAt(locks) {
  if (await locks.tryAcquire(KEY)) throw new Error('a held lock was granted');
}

/**
 * Returns how many bytes a refused attempt adds to the write-ahead log: the lowest value of
 * several rounds, since the server also writes to the log for other reasons.
 */
async function walOf(dataSource, fail) {
  const written = [];
  for (let round = 0; round < 5; round++) {
    const [{ before }] = await dataSource.query('SELECT pg_current_wal_lsn() AS before');
    for (let i = 0; i < WAL_TRIES; i++) await fail();
    const [{ bytes }] = await dataSource.query('SELECT pg_current_wal_lsn() - $1::pg_lsn AS bytes', [before]);
    written.push(Number(bytes));
  }
  return judged({
    store: 'postgres',
    measured: Math.min(...written) / WAL_TRIES,
    unit: 'bytes of WAL',
    goal: atMost(0),
    details: { variant: 'log written by a failed try', [`bytes in rounds of ${WAL_TRIES}`]: written },
  });
}
