// B91 Types that lock.transaction() and lock.guard() accept and refuse with each client. The
// test is `tsc -p tsconfig.json`.
import type { BetterSQLite3Database } from 'drizzle-orm/better-sqlite3';
import type { MySql2Database } from 'drizzle-orm/mysql2';
import { drizzle as drizzlePg, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { integer, pgTable } from 'drizzle-orm/pg-core';
import { expectTypeOf } from 'expect-type';
import type { Knex } from 'knex';
import type { ClientSession, MongoClient } from 'mongodb';
import type { Pool as MysqlPool, PoolConnection } from 'mysql2/promise';
import type { Pool, PoolClient } from 'pg';
import type { DataSource, EntityManager } from 'typeorm';
import { LockContext, type Lock, type LockService, type TryRunResult } from '../../lib/index.js';
import {
  fromBetterSqlite3,
  fromDrizzle,
  fromKnex,
  fromMysql2,
  fromPg,
  fromPrisma,
  fromTypeOrm,
  SqlLockStore,
  sqlStore,
  type DriverExecutor,
  type TransactionOf,
} from '../../lib/stores/sql/index.js';

/** The transaction object that Drizzle passes to the function that runs in a transaction. */
type DrizzleTransaction<Database extends { transaction(work: never): unknown }> = Parameters<
  Parameters<Database['transaction']>[0]
>[0];

/** The members of a generated Prisma client that these tests use. */
interface PrismaClient {
  $connect(): Promise<void>;
  $disconnect(): Promise<void>;
  $on(event: never, callback: () => void): void;
  $extends(extension: object): unknown;
  $queryRawUnsafe<T>(sql: string, ...values: unknown[]): Promise<T>;
  $executeRawUnsafe(sql: string, ...values: unknown[]): Promise<number>;
  $transaction<T>(work: (transaction: PrismaTransaction) => Promise<T>): Promise<T>;
  readonly invoice: { create(request: { data: object }): Promise<{ id: number }> };
}
type PrismaTransaction = Omit<PrismaClient, '$connect' | '$disconnect' | '$on' | '$extends'>;

export async function pg(locks: LockService<PoolClient>, pool: Pool, client: PoolClient): Promise<void> {
  const executor = fromPg(pool);
  expectTypeOf<TransactionOf<typeof executor>>().toEqualTypeOf<PoolClient>();
  sqlStore({ executor });
  sqlStore({ inject: ['POOL'], executor: fromPg });
  const lock = await locks.acquire('key');
  expectTypeOf(lock).toEqualTypeOf<Lock<PoolClient>>();
  expectTypeOf(await locks.tryAcquire('key')).toEqualTypeOf<Lock<PoolClient> | null>();
  const rows = await lock.transaction((transaction) => {
    expectTypeOf(transaction).toEqualTypeOf<PoolClient>();
    return transaction.query<{ n: number }>('SELECT 1 AS n').then((result) => result.rows);
  });
  expectTypeOf(rows).toEqualTypeOf<{ n: number }[]>();
  expectTypeOf(await lock.transaction(() => 'now')).toEqualTypeOf<string>();
  await lock.guard(client);
  // @ts-expect-error guard() needs a transaction, not a pool
  await lock.guard(pool);
  // @ts-expect-error the work takes the transaction object of another client
  await lock.transaction(async (manager: EntityManager) => manager.query('SELECT 1'));
}

export async function mysql2(
  locks: LockService<PoolConnection>,
  pool: MysqlPool,
  connection: PoolConnection,
): Promise<void> {
  const executor = fromMysql2(pool);
  expectTypeOf<TransactionOf<typeof executor>>().toEqualTypeOf<PoolConnection>();
  sqlStore({ inject: ['POOL'], executor: fromMysql2 });
  await locks.run('key', async (lock) => {
    await lock.transaction(async (transaction) => {
      expectTypeOf(transaction).toEqualTypeOf<PoolConnection>();
      await transaction.execute('SELECT 1');
    });
    await lock.guard(connection);
    // @ts-expect-error guard() needs a transaction, not a pool
    await lock.guard(pool);
  });
}

export async function drizzle(
  postgres: NodePgDatabase,
  mysql: MySql2Database,
  onPostgres: LockService<DrizzleTransaction<NodePgDatabase>>,
  onMysql: LockService<DrizzleTransaction<MySql2Database>>,
  pool: Pool,
): Promise<void> {
  expectTypeOf(fromDrizzle(postgres)).toEqualTypeOf<
    DriverExecutor<unknown, DrizzleTransaction<NodePgDatabase>>
  >();
  expectTypeOf(fromDrizzle(mysql)).toEqualTypeOf<
    DriverExecutor<unknown, DrizzleTransaction<MySql2Database>>
  >();
  const withSchema = drizzlePg(pool, { schema: { invoices: pgTable('invoices', { id: integer() }) } });
  const executor = fromDrizzle(withSchema);
  expectTypeOf<TransactionOf<typeof executor>>().toEqualTypeOf<DrizzleTransaction<typeof withSchema>>();
  await new SqlLockStore(executor).transaction((transaction) => transaction.query.invoices.findMany());
  sqlStore({ inject: ['DB'], executor: fromDrizzle });
  // @ts-expect-error fromDrizzle() needs a Drizzle database, not a pool
  fromDrizzle(pool);
  await onPostgres.run('key', async (lock) => {
    await lock.transaction(async (transaction) => transaction.select());
    await postgres.transaction((transaction) => lock.guard(transaction));
    // @ts-expect-error guard() needs a transaction, not the database
    await lock.guard(postgres);
  });
  await onMysql.run('key', async (lock) => {
    await lock.transaction(async (transaction) => transaction.select());
    await mysql.transaction((transaction) => lock.guard(transaction));
    // @ts-expect-error guard() needs a transaction, not the database
    await lock.guard(mysql);
    // @ts-expect-error the transaction belongs to another database
    await postgres.transaction((transaction) => lock.guard(transaction));
  });
}

export async function synchronous(
  locks: LockService<TransactionOf<ReturnType<typeof fromBetterSqlite3>>>,
  database: BetterSQLite3Database,
): Promise<void> {
  sqlStore({ executor: fromBetterSqlite3('app.sqlite') });
  expectTypeOf(fromDrizzle(database)).toEqualTypeOf<DriverExecutor<unknown, never>>();
  expectTypeOf(locks).toEqualTypeOf<LockService<never>>();
  const lock = await locks.acquire('key');
  // @ts-expect-error better-sqlite3 has no asynchronous transactions
  await lock.transaction(async () => {});
  database.transaction((transaction) => {
    // @ts-expect-error better-sqlite3 has no asynchronous transactions
    void lock.guard(transaction);
  });
  await lock.release();
}

export async function knex(locks: LockService<Knex.Transaction>, client: Knex): Promise<void> {
  expectTypeOf(fromKnex(client)).toEqualTypeOf<DriverExecutor<unknown, Knex.Transaction>>();
  sqlStore({ inject: ['KNEX'], executor: fromKnex });
  await locks.run('key', async (lock) => {
    const rows = await lock.transaction((transaction) => transaction<{ id: number }>('invoices').select());
    expectTypeOf(rows).toEqualTypeOf<{ id: number }[]>();
    await client.transaction((transaction) => lock.guard(transaction));
    // @ts-expect-error guard() needs a transaction, not the Knex instance
    await lock.guard(client);
  });
}

export async function prisma(locks: LockService<PrismaTransaction>, client: PrismaClient): Promise<void> {
  const executor = fromPrisma(client);
  expectTypeOf<TransactionOf<typeof executor>>().toEqualTypeOf<PrismaTransaction>();
  await locks.run('key', async (lock) => {
    const invoice = await lock.transaction((transaction) => transaction.invoice.create({ data: {} }));
    expectTypeOf(invoice).toEqualTypeOf<{ id: number }>();
    await client.$transaction((transaction) => lock.guard(transaction));
    // @ts-expect-error guard() needs a transaction, not the PrismaClient
    await lock.guard(client);
  });
}

export async function typeOrm(locks: LockService<EntityManager>, dataSource: DataSource): Promise<void> {
  const executor = fromTypeOrm(dataSource);
  expectTypeOf<TransactionOf<typeof executor>>().toEqualTypeOf<EntityManager>();
  const result = await locks.tryRun('key', async (lock) => {
    await lock.transaction(async (manager) => {
      expectTypeOf(manager).toEqualTypeOf<EntityManager>();
      await manager.query('SELECT 1');
    });
    await dataSource.transaction((manager) => lock.guard(manager));
    // @ts-expect-error guard() needs a transaction, not the DataSource
    await lock.guard(dataSource);
    return 1;
  });
  expectTypeOf(result).toEqualTypeOf<TryRunResult<number>>();
}

export async function mongodb(locks: LockService<ClientSession>, client: MongoClient): Promise<void> {
  await locks.run('key', async (lock) => {
    await lock.transaction(async (session) => client.db().collection('orders').insertOne({}, { session }));
    await client.withSession((session) => lock.guard(session));
    // @ts-expect-error guard() needs a transaction session, not the client
    await lock.guard(client);
  });
  const restored = await locks.restore({ key: 'key', owner: 'owner', fencingToken: 1 });
  expectTypeOf(restored).toEqualTypeOf<Lock<ClientSession>>();
}

// Locks and services with a type argument can be passed to code that expects them without it.
export async function withAndWithout(
  locks: LockService,
  typed: LockService<EntityManager>,
  without: LockService<never>,
): Promise<void> {
  const keyOf = ({ key }: Lock): string => key;
  const releaseAll = (...services: LockService[]): number => services.length;
  keyOf(await typed.acquire('key', { onLost: (lock) => lock.key }));
  keyOf(await without.acquire('key', { onLost: (lock) => lock.key }));
  releaseAll(locks, typed, without);
  // @ts-expect-error the transactions of this service belong to another client
  const wrong: LockService<ClientSession> = typed;
  await wrong.acquire('key');

  expectTypeOf(LockContext.current<EntityManager>()).toEqualTypeOf<Lock<EntityManager> | undefined>();
  expectTypeOf(LockContext.current<never>('key')).toEqualTypeOf<Lock<never> | undefined>();
  await locks.run('key', async (lock) => {
    await lock.transaction(async (manager: EntityManager) => manager.query('SELECT 1'));
    await lock.transaction(async (session: ClientSession) => session.id);
    await lock.guard({});
    // @ts-expect-error a string is not a transaction
    await lock.guard('transaction');
  });
}
