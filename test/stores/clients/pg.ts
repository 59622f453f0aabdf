import { Pool, type PoolClient } from 'pg';
import { fromPg } from '../../../lib/stores/sql/index.js';
import { serverOf, type ClientKind, type TestClient } from './client-kind.js';

export const pg: ClientKind = {
  name: 'pg',
  stores: ['postgres'],

  async open(target, poolSize = 6): Promise<TestClient<PoolClient>> {
    const pool = new Pool({ ...serverOf(target), max: poolSize });
    // The spec ends sessions of the pool, which would end the process without this listener.
    pool.on('error', () => undefined);
    const idle = await pool.connect();
    idle.release();
    return {
      executor: () => fromPg(pool),
      query: (sql, client) => (client ?? pool).query(sql),
      async transaction(work) {
        const client = await pool.connect();
        return ended(client, async () => {
          await client.query('BEGIN');
          const result = await work(client);
          await client.query('COMMIT');
          return result;
        });
      },
      async nested(client, work) {
        await client.query('SAVEPOINT nested');
        try {
          return await work(client);
        } catch (error) {
          await client.query('ROLLBACK TO SAVEPOINT nested');
          throw error;
        }
      },
      async leaveDirty() {
        const lent = [await pool.connect(), await pool.connect()];
        for (const client of lent) await client.query('BEGIN');
        for (const client of lent) client.release();
      },
      notTransactions: { 'the pool': pool, 'a client that was released': idle },
      close: () => pool.end(),
    };
  },
};

async function ended<T>(client: PoolClient, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}
