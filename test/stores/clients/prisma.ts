import { PrismaBetterSqlite3 } from '@prisma/adapter-better-sqlite3';
import { PrismaMariaDb } from '@prisma/adapter-mariadb';
import { PrismaPg } from '@prisma/adapter-pg';
import { Pool } from 'pg';
import { fromPrisma } from '../../../lib/stores/sql/index.js';
import type { SqlStore, Target } from '../../servers/targets.js';
import type { ClientKind, TestClient } from './client-kind.js';
import { generatedClient, type PrismaProvider } from './prisma-client.js';

export const PROVIDERS: Partial<Record<SqlStore, PrismaProvider>> = {
  postgres: 'postgresql',
  mariadb: 'mysql',
  mysql: 'mysql',
  sqlite: 'sqlite',
};

/** Prisma, over a pool in which a test can leave open transactions. */
export const prisma: ClientKind = {
  name: 'Prisma',
  stores: ['postgres', 'mariadb', 'sqlite'],
  without: (store) => (store === 'sqlite' ? ['leaveDirty'] : []),

  async open(target, poolSize = 6): Promise<TestClient> {
    const { adapter, end } = connect(target, poolSize);
    const PrismaClient = await prismaClientOf(target);
    const client = new PrismaClient({ adapter });
    const extended = client.$extends({});
    return {
      executor: () => fromPrisma(client),
      query: (sql, transaction) =>
        /^\s*SELECT/i.test(sql)
          ? (transaction ?? client).$queryRawUnsafe(sql)
          : (transaction ?? client).$executeRawUnsafe(sql),
      transaction: (work) => client.$transaction(work, { timeout: 60_000, maxWait: 60_000 }),
      nested: (transaction, work) => transaction.$transaction(work),
      // SQLite is left out: a BEGIN that is left open would include all later statements of
      // the client.
      ...(target.name === 'sqlite' ? {} : { leaveDirty: () => leaveOpen(client, 2) }),
      notTransactions: { 'the client': client, 'an extended client': extended },
      close: async () => {
        await client.$disconnect();
        await end();
      },
    };
  },
};

/** Imports the Prisma client that is generated for this database. */
export async function prismaClientOf({ name }: { name: SqlStore }): Promise<any> {
  const { PrismaClient } = await import(await generatedClient(PROVIDERS[name] ?? 'postgresql'));
  return PrismaClient;
}

/**
 * Returns the driver adapter of an application. An adapter that takes a pool gets a new one.
 */
export function connect(
  { name, options }: Target,
  poolSize: number,
): { adapter: unknown; pool?: Pool; end: () => Promise<void> } {
  const { host, port, username: user, password, database } = options as any;
  if (name === 'sqlite')
    return { adapter: new PrismaBetterSqlite3({ url: `file:${database}` }), end: async () => undefined };
  const server = { host, port, user, password, database };
  if (name === 'mariadb')
    return {
      adapter: new PrismaMariaDb({ ...server, connectionLimit: poolSize }),
      end: async () => undefined,
    };
  const pool = new Pool({ ...server, max: poolSize });
  // The test drops the database while the pool is open, which the pool reports as an error.
  pool.on('error', () => undefined);
  return { adapter: new PrismaPg(pool), pool, end: () => pool.end() };
}

/** Runs BEGIN on several connections of the pool, and never ends these transactions. */
export async function leaveOpen(client: any, count: number): Promise<void> {
  await connectAll(client, count);
  await Promise.all(Array.from({ length: count }, () => client.$executeRawUnsafe('BEGIN')));
}

/**
 * Opens all connections at the same time, so that each of the BEGINs gets a connection of its
 * own.
 */
async function connectAll(client: any, count: number): Promise<void> {
  let entered = 0;
  let meet: (() => void) | undefined;
  const met = new Promise<void>((resolve) => (meet = resolve));
  const hold = async (tx: any) => {
    await tx.$executeRawUnsafe('SELECT 1');
    if (++entered === count) meet?.();
    await met;
  };
  const limits = { timeout: 60_000, maxWait: 60_000 };
  await Promise.all(Array.from({ length: count }, () => client.$transaction(hold, limits)));
}
