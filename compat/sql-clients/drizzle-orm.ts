import { sql } from 'drizzle-orm';
import { drizzle } from 'drizzle-orm/node-postgres';
import { integer, pgTable } from 'drizzle-orm/pg-core';
import pg from 'pg';
import { fromDrizzle, type TransactionOf } from 'nestjs-locked/sql';
import { check } from './application.js';

const notes = pgTable('notes', { id: integer('id').primaryKey() });
const pool = new pg.Pool({ connectionString: process.env.POSTGRES_URL });
const db = drizzle(pool);
const executor = fromDrizzle(db);

await check<TransactionOf<typeof executor>>({
  executor,
  query: (text) => db.execute(sql.raw(text)),
  count: async () => (await db.select().from(notes)).length,
  transactions: {
    insert: async (transaction, id) => transaction.insert(notes).values({ id }),
    run: (work) => db.transaction(work),
    guard: (lock, transaction) => lock.guard(transaction),
  },
  close: () => pool.end(),
});
