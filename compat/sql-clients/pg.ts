import pg, { type PoolClient } from 'pg';
import { fromPg } from 'nestjs-locked/sql';
import { check } from './application.js';

const pool = new pg.Pool({ connectionString: process.env.POSTGRES_URL });

await check<PoolClient>({
  executor: fromPg(pool),
  query: (sql) => pool.query(sql),
  count: async () => (await pool.query('SELECT * FROM notes')).rows.length,
  transactions: {
    insert: (client, id) => client.query('INSERT INTO notes VALUES ($1)', [id]),
    async run(work) {
      const client = await pool.connect();
      try {
        await client.query('BEGIN');
        await work(client);
        await client.query('COMMIT');
      } catch (error) {
        await client.query('ROLLBACK');
        throw error;
      } finally {
        client.release();
      }
    },
    guard: (lock, client) => lock.guard(client),
  },
  close: () => pool.end(),
});
