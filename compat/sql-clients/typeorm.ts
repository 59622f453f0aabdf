import { DataSource, type EntityManager } from 'typeorm';
import { fromTypeOrm } from 'nestjs-locked/sql';
import { check } from './application.js';

const dataSource = new DataSource({ type: 'postgres', url: process.env.POSTGRES_URL });
await dataSource.initialize();

await check<EntityManager>({
  executor: fromTypeOrm(dataSource),
  query: (sql) => dataSource.query(sql),
  count: async () => (await dataSource.query<unknown[]>('SELECT * FROM notes')).length,
  transactions: {
    insert: (manager, id) => manager.query('INSERT INTO notes VALUES ($1)', [id]),
    run: (work) => dataSource.transaction(work),
    guard: (lock, manager) => lock.guard(manager),
  },
  close: () => dataSource.destroy(),
});
