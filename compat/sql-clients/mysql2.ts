import { createPool, type PoolConnection, type RowDataPacket } from 'mysql2/promise';
import { fromMysql2 } from 'nestjs-locked/sql';
import { check } from './application.js';

const pool = createPool({ uri: process.env.MARIADB_URL ?? '' });

await check<PoolConnection>({
  executor: fromMysql2(pool),
  query: (sql) => pool.query(sql),
  count: async () => (await pool.query<RowDataPacket[]>('SELECT * FROM notes'))[0].length,
  transactions: {
    insert: (connection, id) => connection.execute('INSERT INTO notes VALUES (?)', [id]),
    async run(work) {
      const connection = await pool.getConnection();
      try {
        await connection.beginTransaction();
        await work(connection);
        await connection.commit();
      } catch (error) {
        await connection.rollback();
        throw error;
      } finally {
        connection.release();
      }
    },
    guard: (lock, connection) => lock.guard(connection),
  },
  close: () => pool.end(),
});
