import Database from 'better-sqlite3';
import { createPool as createMysqlPool } from 'mysql2';
import { createPool as createPromisePool } from 'mysql2/promise';
import { Pool as PgPool } from 'pg';
import { fromBetterSqlite3, fromMysql2, fromPg, type DriverExecutor } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';

/** How an application reaches its database without an ORM. */
export interface Client {
  readonly executor: DriverExecutor;
  /** The pool, or the database. */
  readonly pool: unknown;
  end(): Promise<void>;
}

interface Address {
  host: string;
  port: number;
  username: string;
  password: string;
  database: string;
}

/** The clients of each database, by the names of their packages. */
export function clientsOf({
  name,
}: {
  name: string;
}): Record<string, (target: Target, poolSize?: number) => Client> {
  if (name === 'sqlite') return { 'better-sqlite3': openBetterSqlite3 };
  return name === 'postgres' ? { pg: openPg } : { mysql2: openMysql2, 'mysql2/promise': openMysql2Promise };
}

function openPg({ options }: Target, poolSize = 10): Client {
  const { username: user, ...address } = options as unknown as Address;
  const pool = new PgPool({ ...address, user, max: poolSize });
  return { pool, executor: fromPg(pool), end: () => pool.end() };
}

function openMysql2({ options }: Target, poolSize = 10): Client {
  const pool = createMysqlPool(mysqlOptions(options as unknown as Address, poolSize));
  return { pool, executor: fromMysql2(pool), end: () => pool.promise().end() };
}

function openMysql2Promise({ options }: Target, poolSize = 10): Client {
  const pool = createPromisePool(mysqlOptions(options as unknown as Address, poolSize));
  return { pool, executor: fromMysql2(pool), end: () => pool.end() };
}

function mysqlOptions({ host, port, username: user, password, database }: Address, connectionLimit: number) {
  return { host, port, user, password, database, connectionLimit };
}

function openBetterSqlite3({ options }: Target): Client {
  const pool = new Database(String(options.database));
  return { pool, executor: fromBetterSqlite3(pool), end: async () => void pool.close() };
}
