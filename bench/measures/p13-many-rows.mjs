import { statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { atMost, judged } from '../goals.mjs';
import { interleave, untilConclusive } from '../interleave.mjs';
import { openLocks } from '../locks.mjs';

const FULL = { rows: 1_000_000, cycles: 1_000_000 };
const SAMPLE = { rows: 20_000, cycles: 20_000 };
const KEYS = 4;
const TABLE = 'many_rows';

/**
 * Measures what rows that no caller uses cost, and how much space a million cycles of acquire
 * and release leave behind.
 */
export default {
  id: 'P13',
  title: 'rows and cycles',
  // MongoDB is left out: a mongod under Wine would take an hour
  stores: ['postgres', 'mariadb', 'sqlite'],
  slow: true,

  async measure(context) {
    const size = context.quick ? SAMPLE : FULL;
    return [await measureRows(context, size), await measureCycles(context, size)];
  },
};

async function measureRows({ store, servers, counts, progress }, { rows }) {
  const url = await servers.database(store);
  const one = await openLocks({ store, url });
  const many = await openLocks({ store, url, storeOptions: { table: TABLE } });
  try {
    progress.tell(`adds ${rows.toLocaleString('en')} rows`);
    await fill(store, many.dataSource, rows);
    const pair = async ({ locks }, key) => (await locks.acquire(key)).release();
    const operations = {
      one: () => pair(one, 'key'),
      many: () => pair(many, 'key'),
      'many, any key': () => pair(many, `filler-${Math.floor(Math.random() * rows)}`),
    };
    progress.tell('compares');
    const { times, ratios } = await untilConclusive(counts.attempts, () =>
      interleave(operations, { ...counts, reference: 'one' }),
    );
    const { ratio, low, high, inconclusive } = ratios.many;
    return judged({
      store,
      measured: ratio,
      unit: '× 1 row',
      goal: atMost(1.1),
      inconclusive,
      details: {
        variant: `pair at ${rows.toLocaleString('en')} rows ÷ 1 row`,
        'p10–p90 of the blocks': [low, high],
        'any key of them ÷ 1 row': ratios['many, any key'].ratio,
        ms: times,
      },
    });
  } finally {
    await one.close();
    await many.close();
  }
}

/** Inserts rows as they are long after a release. */
async function fill(store, dataSource, rows) {
  const quote = store === 'mariadb' ? '`' : '"';
  const digits = Array.from({ length: 6 }, (_, i) => `d AS d${i}`).join(' CROSS JOIN ');
  const number = Array.from({ length: 6 }, (_, i) => `d${i}.n * ${10 ** i}`).join(' + ');
  await dataSource.query(`INSERT INTO ${TABLE} (${quote}key${quote}, token, expires_ms)
    WITH d AS (${Array.from({ length: 10 }, (_, n) => `SELECT ${n} AS n`).join(' UNION ALL ')})
    SELECT ${store === 'mariadb' ? `CONCAT('filler-', ${number})` : `'filler-' || (${number})`}, 1, 0
      FROM ${digits} WHERE ${number} < ${rows}`);
  const [{ total }] = await dataSource.query(`SELECT count(*) AS total FROM ${TABLE}`);
  if (Number(total) !== rows) throw new Error(`the table has ${total} rows in place of ${rows}`);
  for (const statement of SETTLE[store]) await dataSource.query(statement);
}

/**
 * Statements for the work that the server would otherwise do later by itself, in the middle of
 * the measurement.
 */
const SETTLE = {
  postgres: [`VACUUM ANALYZE ${TABLE}`, 'CHECKPOINT'],
  mariadb: [`ANALYZE TABLE ${TABLE}`],
  sqlite: ['PRAGMA wal_checkpoint(TRUNCATE)'],
};

async function measureCycles({ store, servers, progress }, { cycles }) {
  const url = await servers.database(store);
  const { locks, dataSource, close } = await openLocks({ store, url, connections: KEYS });
  try {
    let done = 0;
    const begin = performance.now();
    const work = async (_, i) => {
      for (; done < cycles; done++) {
        await (await locks.acquire(`key-${i}`)).release();
        if (done % 1000 === 0) progress.tell(`${done.toLocaleString('en')} cycles`);
      }
    };
    await Promise.all(Array.from({ length: KEYS }, work));
    const seconds = (performance.now() - begin) / 1000;
    const [{ total }] = await dataSource.query('SELECT count(*) AS total FROM locks');
    if (Number(total) !== KEYS) throw new Error(`the table has ${total} rows after cycles on ${KEYS} keys`);
    return judged({
      store,
      measured: (await SIZE_OF[store](dataSource, url)) / 1e6,
      unit: 'MB',
      goal: atMost(1),
      details: {
        variant: `table after ${cycles.toLocaleString('en')} cycles on ${KEYS} keys`,
        cycles: done,
        'pairs/s': done / seconds,
        ...(await UPDATES_OF[store]?.(dataSource)),
      },
    });
  } finally {
    await close();
  }
}

/** Returns how many bytes the lock table takes, with its indexes. */
const SIZE_OF = {
  async postgres(dataSource) {
    const [{ bytes }] = await dataSource.query(`SELECT pg_total_relation_size('locks') AS bytes`);
    return Number(bytes);
  },
  async mariadb(dataSource, url) {
    const space = `${new URL(url).pathname.slice(1)}/locks`;
    const [{ bytes }] = await dataSource.query(
      'SELECT file_size AS bytes FROM information_schema.innodb_sys_tablespaces WHERE name = ?',
      [space],
    );
    return Number(bytes);
  },
  sqlite: (_, file) => statSync(file).size,
};

/** Returns which share of the updates did not change an index. */
const UPDATES_OF = {
  async postgres(dataSource) {
    await sleep(1_500); // PostgreSQL reports its statistics with a delay
    const [{ updates, hot }] = await dataSource.query(
      `SELECT n_tup_upd AS updates, n_tup_hot_upd AS hot FROM pg_stat_user_tables WHERE relname = 'locks'`,
    );
    return { 'updates in place, %': (100 * Number(hot)) / Number(updates) };
  },
};
