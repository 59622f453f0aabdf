import { PrismaPg } from '@prisma/adapter-pg';
import { fromPrisma, type TransactionOf } from 'nestjs-locked/sql';
import { check } from './application.js';
import { PrismaClient } from './generated/client.js';

const prisma = new PrismaClient({
  adapter: new PrismaPg({ connectionString: process.env.POSTGRES_URL ?? '' }),
});
const executor = fromPrisma(prisma);

await check<TransactionOf<typeof executor>>({
  executor,
  query: (sql) => prisma.$executeRawUnsafe(sql),
  count: () => prisma.note.count(),
  transactions: {
    insert: (transaction, id) => transaction.note.create({ data: { id } }),
    run: (work) => prisma.$transaction(work),
    guard: (lock, transaction) => lock.guard(transaction),
  },
  close: () => prisma.$disconnect(),
});
