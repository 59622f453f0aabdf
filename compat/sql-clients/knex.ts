import knex, { type Knex } from 'knex';
import { fromKnex } from 'nestjs-locked/sql';
import { check } from './application.js';

const db = knex({ client: 'pg', connection: process.env.POSTGRES_URL ?? '' });

await check<Knex.Transaction>({
  executor: fromKnex(db),
  query: async (sql) => db.raw(sql),
  count: async () => (await db('notes').select()).length,
  transactions: {
    insert: async (transaction, id) => transaction('notes').insert({ id }),
    run: (work) => db.transaction(work),
    guard: (lock, transaction) => lock.guard(transaction),
  },
  close: () => db.destroy(),
});
