import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import mysql from 'mysql2/promise';
import pg from 'pg';
import { TTL } from './ttl.mjs';

/**
 * Milliseconds between two attempts, since ShedLock leaves waiting to the caller. The default
 * is a value that users might choose. The tuned value was the fastest for many waiters.
 */
const DELAYS = { default: 100, tuned: 10 };

/**
 * Sends the statements of ShedLock's JdbcTemplate provider with `usingDbTime()`. For a name
 * that is new to this process it sends an INSERT, otherwise an UPDATE; unlocking is an UPDATE.
 * Each statement takes one round trip here, while ShedLock itself wraps it in a transaction.
 * ShedLock does not wait, so the caller tries again.
 */
export const shedlock = {
  name: "ShedLock's statements",
  kind: 'sql',
  stores: ['postgres', 'mariadb', 'mysql'],
  variants: ['default', 'tuned'],
  lease: true,
  waiting: 'left to the caller',
  async open({ url, store, connections, variant, prepared = false }) {
    const kind = store === 'postgres' ? 'postgres' : 'mysql';
    const { run, close } = drivers[kind](url, { size: variant === 'tuned' ? connections : 10, prepared });
    const { table, insert, update, unlock } = statements[kind];
    await run(table);
    const label = hostname();
    const seen = new Set();

    async function lock(key) {
      if (!seen.has(key)) {
        const inserted = await run(insert, [key, TTL, label]);
        seen.add(key);
        if (inserted === 1) return true;
      }
      return (await run(update, [TTL, label, key])) === 1;
    }
    return {
      async run(key, body) {
        while (!(await lock(key))) await sleep(DELAYS[variant]);
        try {
          await body();
        } finally {
          await run(unlock, [key, label]);
        }
      },
      close,
    };
  },
};

/**
 * Sends the statements of ShedLock as prepared statements, which are faster. The goals were
 * set for unprepared statements, so the results of prepared statements have no goals.
 */
export const preparedShedlock = {
  ...shedlock,
  name: "ShedLock's statements, prepared",
  variants: ['tuned'],
  hasGoals: false,
  open: (terms) => shedlock.open({ ...terms, prepared: true }),
};

const columns = (time) =>
  `name VARCHAR(64) NOT NULL, lock_until ${time} NOT NULL, locked_at ${time} NOT NULL, locked_by VARCHAR(255) NOT NULL, PRIMARY KEY (name)`;

const NOW = "timezone('utc', CURRENT_TIMESTAMP)";
const until = (milliseconds) => `${NOW} + ${milliseconds}::float8 * interval '1 ms'`;
const LATER = 'TIMESTAMPADD(MICROSECOND, ? * 1000, UTC_TIMESTAMP(3))';

const statements = {
  postgres: {
    table: `CREATE TABLE IF NOT EXISTS shedlock (${columns('TIMESTAMP')})`,
    insert: `INSERT INTO shedlock (name, lock_until, locked_at, locked_by) VALUES ($1, ${until('$2')}, ${NOW}, $3)
      ON CONFLICT (name) DO UPDATE SET lock_until = ${until('$2')}, locked_at = ${NOW}, locked_by = $3
      WHERE shedlock.name = $1 AND shedlock.lock_until <= ${NOW}`,
    update: `UPDATE shedlock SET lock_until = ${until('$1')}, locked_at = ${NOW}, locked_by = $2
      WHERE name = $3 AND lock_until <= ${NOW}`,
    unlock: `UPDATE shedlock SET lock_until = ${NOW} WHERE name = $1 AND locked_by = $2`,
  },
  mysql: {
    table: `CREATE TABLE IF NOT EXISTS shedlock (${columns('TIMESTAMP(3)')})`,
    insert: `INSERT IGNORE INTO shedlock (name, lock_until, locked_at, locked_by) VALUES (?, ${LATER}, UTC_TIMESTAMP(3), ?)`,
    update: `UPDATE shedlock SET lock_until = ${LATER}, locked_at = UTC_TIMESTAMP(3), locked_by = ?
      WHERE name = ? AND lock_until <= UTC_TIMESTAMP(3)`,
    unlock: 'UPDATE shedlock SET lock_until = UTC_TIMESTAMP(3) WHERE name = ? AND locked_by = ?',
  },
};

/** Functions that run a statement and return the number of rows that it changed. */
const drivers = {
  postgres(url, { size, prepared }) {
    const pool = new pg.Pool({ connectionString: url, max: size });
    const names = new Map(); // pg prepares only statements with a name
    const nameOf = (text) => {
      if (!names.has(text)) names.set(text, `shedlock-${names.size}`);
      return names.get(text);
    };
    return {
      run: async (text, values) =>
        (await pool.query({ text, values, ...(prepared && { name: nameOf(text) }) })).rowCount,
      close: () => pool.end(),
    };
  },
  mysql(url, { size, prepared }) {
    const pool = mysql.createPool({ uri: url, connectionLimit: size });
    return {
      run: async (text, values) =>
        (prepared ? await pool.execute(text, values) : await pool.query(text, values))[0].affectedRows,
      close: () => pool.end(),
    };
  },
};
