import Database from 'better-sqlite3';
import { sql } from 'drizzle-orm';
import { drizzle as drizzleSqlite, type BetterSQLite3Database } from 'drizzle-orm/better-sqlite3';
import { drizzle as drizzleMysql, type MySql2Database } from 'drizzle-orm/mysql2';
import { drizzle as drizzlePg, type NodePgDatabase } from 'drizzle-orm/node-postgres';
import { createPool, type Pool as MysqlPool } from 'mysql2/promise';
import { Pool as PgPool } from 'pg';
import { fromDrizzle } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { serverOf, type ClientKind, type TestClient } from './client-kind.js';

export const drizzle: ClientKind = {
  name: 'Drizzle',
  stores: ['postgres', 'mariadb', 'mysql', 'mysql56', 'sqlite'],
  without: (store) => (store === 'sqlite' ? ['transactions', 'nested', 'leaveDirty'] : []),

  async open(target, poolSize = 6) {
    if (target.name === 'postgres') return openPg(target, poolSize);
    return target.name === 'sqlite' ? openSqlite(target) : openMysql(target, poolSize);
  },
};

type PgTransaction = Parameters<Parameters<NodePgDatabase['transaction']>[0]>[0];
type MysqlTransaction = Parameters<Parameters<MySql2Database['transaction']>[0]>[0];

async function openPg(target: Target, poolSize: number): Promise<TestClient<PgTransaction>> {
  const { db, pool } = openDrizzlePg(target, poolSize);
  const ended = await endedOf((work) => db.transaction(work));
  return {
    executor: () => fromDrizzle(db),
    query: async (text, transaction) => (transaction ?? db).execute(sql.raw(text)),
    transaction: (work) => db.transaction(work),
    nested: (transaction, work) => transaction.transaction(work),
    leaveDirty: async () => {
      const clients = [await pool.connect(), await pool.connect()];
      for (const client of clients) {
        await client.query('START TRANSACTION');
        client.release();
      }
    },
    notTransactions: { 'the database': db, 'its pool': pool, 'a transaction that has ended': ended },
    close: () => pool.end(),
  };
}

async function openMysql(target: Target, poolSize: number): Promise<TestClient<MysqlTransaction>> {
  const { db, pool } = openDrizzleMysql(target, poolSize);
  const ended = await endedOf((work) => db.transaction(work));
  return {
    executor: () => fromDrizzle(db),
    query: async (text, transaction) => (transaction ?? db).execute(sql.raw(text)),
    transaction: (work) => db.transaction(work),
    nested: (transaction, work) => transaction.transaction(work),
    leaveDirty: async () => {
      const connections = [await pool.getConnection(), await pool.getConnection()];
      for (const connection of connections) {
        await connection.query('START TRANSACTION');
        connection.release();
      }
    },
    notTransactions: { 'the database': db, 'its pool': pool, 'a transaction that has ended': ended },
    close: () => pool.end(),
  };
}

async function openSqlite(target: Target): Promise<TestClient<never>> {
  const { db, database } = openDrizzleSqlite(target);
  return {
    executor: () => fromDrizzle(db),
    query: async (text) => {
      const statement = database.prepare(text);
      return statement.reader ? statement.all() : statement.run();
    },
    // Drizzle's own transactions are synchronous on better-sqlite3, so this test begins one
    // with a statement, as an application can.
    transaction: async (work) => {
      database.exec('BEGIN');
      try {
        const result = await work(db as never);
        database.exec('COMMIT');
        return result;
      } catch (error) {
        if (database.inTransaction) database.exec('ROLLBACK');
        throw error;
      }
    },
    notTransactions: { 'the database': db },
    close: async () => void database.close(),
  };
}

export function openDrizzlePg(target: Target, poolSize = 6): { db: NodePgDatabase; pool: PgPool } {
  const pool = new PgPool({ ...serverOf(target), max: poolSize });
  // The specs end sessions of the pool, which would end the process without this listener.
  pool.on('error', () => undefined);
  return { db: drizzlePg(pool), pool };
}

export function openDrizzleMysql(target: Target, poolSize = 6): { db: MySql2Database; pool: MysqlPool } {
  const pool = createPool({ ...serverOf(target), connectionLimit: poolSize });
  return { db: drizzleMysql(pool), pool };
}

export function openDrizzleSqlite(target: Target): {
  db: BetterSQLite3Database;
  database: Database.Database;
} {
  const database = new Database(String(target.options.database));
  return { db: drizzleSqlite(database), database };
}

async function endedOf<T>(transaction: (work: (tx: T) => Promise<void>) => Promise<void>): Promise<T> {
  const all: T[] = [];
  await transaction(async (tx) => void all.push(tx));
  return all[0] as T;
}
