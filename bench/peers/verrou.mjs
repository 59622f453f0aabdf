import { Verrou } from '@verrou/core';
import { knexStore } from '@verrou/core/drivers/knex';
import { kyselyStore } from '@verrou/core/drivers/kysely';
import { redisStore } from '@verrou/core/drivers/redis';
import { Redis } from 'ioredis';
import knex from 'knex';
import { Kysely, MysqlDialect, PostgresDialect } from 'kysely';
import { createPool } from 'mysql2';
import pg from 'pg';

/**
 * Milliseconds between two attempts in the variant `tuned`. These values were the fastest for
 * many waiters; the default of Verrou is 250.
 */
const TUNED_DELAY = { sql: 25, redis: 5 };

export const verrouKnex = {
  name: '@verrou/core, Knex',
  kind: 'sql',
  stores: ['postgres', 'mariadb', 'mysql'],
  variants: ['default', 'tuned'],
  lease: true,
  waiting: 'polls',
  open({ url, store, connections, variant }) {
    const client = store === 'postgres' ? 'pg' : 'mysql2';
    const pool = variant === 'tuned' ? { pool: { min: connections, max: connections } } : {};
    const connection = knex({ client, connection: url, ...pool });
    return opened(knexStore({ connection }), retryOf('sql', variant), () => connection.destroy());
  },
};

export const verrouKysely = {
  ...verrouKnex,
  name: '@verrou/core, Kysely',
  open({ url, store, connections, variant }) {
    // In the variant `default`, the pool has the size that is the driver's default.
    const size = variant === 'tuned' ? connections : undefined;
    const dialect =
      store === 'postgres'
        ? new PostgresDialect({ pool: new pg.Pool({ connectionString: url, max: size }) })
        : new MysqlDialect({ pool: createPool({ uri: url, ...(size && { connectionLimit: size }) }) });
    const connection = new Kysely({ dialect });
    return opened(kyselyStore({ connection }), retryOf('sql', variant), () => connection.destroy());
  },
};

export const verrouRedis = {
  ...verrouKnex,
  name: '@verrou/core, Redis',
  kind: 'redis',
  stores: ['redis'],
  open({ url, variant }) {
    const connection = new Redis(url);
    return opened(redisStore({ connection }), retryOf('redis', variant), () => connection.quit());
  },
};

const retryOf = (kind, variant) => (variant === 'tuned' ? { delay: TUNED_DELAY[kind] } : {});

function opened(driver, retry, close) {
  const locks = new Verrou({ default: 'only', stores: { only: { driver } } });
  return {
    async run(key, body) {
      const lock = locks.createLock(key);
      if (!(await lock.acquire({ retry }))) throw new Error(`${key} was not acquired`);
      try {
        await body();
      } finally {
        await lock.release();
      }
    },
    close,
  };
}
