import { expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import {
  fromBetterSqlite3,
  fromMysql2,
  fromPg,
  SqlLockStore,
  type DriverExecutor,
} from '../../../lib/stores/sql/index.js';
import { TypeOrmLockStore, type TypeOrmLockStoreOptions } from '../../../lib/stores/typeorm/index.js';
import { sqlTargets, type SqlStore, type Target } from '../../servers/targets.js';
import { newKey, tokenOf } from '../keys.js';

/**
 * Returns those of these stores that this run tests. A file without a store gets a test that
 * says so, because Jest refuses a file without a test.
 */
export function targetsAmong(...names: SqlStore[]): ReturnType<typeof sqlTargets> {
  const targets = sqlTargets().filter(({ name }) => names.includes(name));
  if (targets.length === 0)
    it(`a run that leaves ${names.join(', ')} out of LOCK_TEST_STORES skips this file`, () => {
      expect(process.env.LOCK_TEST_STORES?.split(',')).not.toEqual(expect.arrayContaining(names));
    });
  return targets;
}

/**
 * The ways in which a store reaches the database: through TypeORM's DataSource, or through the
 * pool of pg or mysql2 inside the DataSource.
 */
export const CLIENTS = ['TypeORM', 'the driver'] as const;
export type ClientName = (typeof CLIENTS)[number];

export function storeOver(
  client: ClientName,
  dataSource: DataSource,
  options: TypeOrmLockStoreOptions = {},
): SqlLockStore<any> {
  if (client === 'TypeORM') return new TypeOrmLockStore(dataSource, options);
  return new SqlLockStore(driverExecutor(dataSource), options);
}

export function driverExecutor(dataSource: DataSource): DriverExecutor<any, any> {
  const { master, pool, databaseConnection } = dataSource.driver as any;
  if (master) return fromPg(master);
  return pool ? fromMysql2(pool) : fromBetterSqlite3(databaseConnection);
}

export const ISOLATION_LEVELS = ['READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'] as const;

/**
 * The connections that one spec file opens on a database of its own. `dispose()` closes them.
 */
export class Fixture {
  private readonly opened: DataSource[] = [];

  private constructor(readonly target: Target) {}

  static async open(target: { open(): Promise<Target> }): Promise<Fixture> {
    return new Fixture(await target.open());
  }

  async dataSource(extra: object = {}): Promise<DataSource> {
    const dataSource = await new DataSource({
      ...this.target.options,
      ...extra,
    }).initialize();
    this.opened.push(dataSource);
    return dataSource;
  }

  async store(extra: object = {}, options: TypeOrmLockStoreOptions = {}): Promise<TypeOrmLockStore> {
    const store = new TypeOrmLockStore(await this.dataSource(extra), options);
    await store.prepare();
    return store;
  }

  async dispose(): Promise<void> {
    for (const dataSource of this.opened.splice(0)) if (dataSource.isInitialized) await dataSource.destroy();
    await this.target.dispose();
  }
}

/**
 * Sets the isolation level of every session in the pool, as a server or an application may do.
 */
export async function setIsolation(
  dataSource: DataSource,
  level: (typeof ISOLATION_LEVELS)[number],
): Promise<void> {
  const sql =
    dataSource.options.type === 'postgres'
      ? `SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL ${level}`
      : `SET SESSION TRANSACTION ISOLATION LEVEL ${level}`;
  await onEachConnection(dataSource, sql);
}

/**
 * Runs a statement first on the open connection, then on each connection that the pool opens
 * later.
 */
export async function onEachConnection(dataSource: DataSource, sql: string): Promise<void> {
  const { master, pool } = dataSource.driver as any;
  if (master) master.on('connect', (client: any) => void client.query(sql));
  else pool.on('connection', (connection: any) => connection.query(sql));
  await dataSource.query(sql);
}

/**
 * Counts the connections of the pool, so that a test can compare the numbers before and after
 * its work.
 */
export function poolOf(dataSource: DataSource): { all: number; idle: number; waiting: number } {
  const { master, pool } = dataSource.driver as any;
  if (master) return { all: master.totalCount, idle: master.idleCount, waiting: master.waitingCount };
  const { _allConnections: all, _freeConnections: idle, _connectionQueue: waiting } = pool;
  return { all: all.length, idle: idle.length, waiting: waiting.length };
}

/** Records all statements that are sent to the server from now on. */
export function recordStatements(dataSource: DataSource, client: ClientName = 'TypeORM'): string[] {
  const statements: string[] = [];
  const { master } = dataSource.driver as any;
  if (client === 'the driver') {
    const lend = master.connect.bind(master);
    master.connect = async () => recording(await lend(), statements);
    return statements;
  }
  const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
  dataSource.createQueryRunner = (mode) => {
    const runner = createQueryRunner(mode);
    const connect = runner.connect.bind(runner);
    runner.connect = async () => recording(await connect(), statements);
    return runner;
  };
  return statements;
}

function recording(connection: any, statements: string[]): unknown {
  return new Proxy(connection, {
    get(target, property) {
      const member = target[property];
      if (property !== 'query' && property !== 'execute')
        return typeof member === 'function' ? member.bind(target) : member;
      return (query: any, ...rest: unknown[]) => {
        statements.push(query.text ?? query.sql ?? query);
        return member.call(target, query, ...rest);
      };
    },
  });
}

/**
 * Changes the row of a lock as if its last renewal were this long ago, so that a test need not
 * wait.
 */
export async function renewedAgo(
  dataSource: DataSource,
  target: { name: string },
  key: string,
  milliseconds: number,
): Promise<void> {
  const { column, bytes } = sqlOf(target);
  const mark = target.name === 'postgres' ? '$1' : '?';
  const sql = `UPDATE locks SET renewed_ms = renewed_ms - ${milliseconds} WHERE ${column} = ${mark}`;
  await dataSource.query(sql, [bytes(key)]);
}

/** Acquires a new key, renews it alone and in a batch, and releases it. */
export async function cycle(store: SqlLockStore): Promise<void> {
  const [key, owner, ttl] = [newKey(), 'o', 60_000];
  tokenOf(await store.acquire(key, owner, ttl));
  expect(await store.renew(key, owner, ttl)).toBe(true);
  expect(await store.renewMany([{ key, owner, ttl }])).toEqual(['renewed']);
  expect(await store.release(key, owner)).toBe(true);
}

/** Returns parts of the SQL statements that the specs send themselves. */
export function sqlOf({ name }: { name: string }, table = 'locks') {
  const postgres = name === 'postgres';
  const mark = (n: number) => (postgres ? `$${n}` : '?');
  const key = postgres || name === 'sqlite' ? 'key' : '`key`';
  const bytes = (text: string) => (postgres || name === 'sqlite' ? text : Buffer.from(text));
  return {
    column: key,
    lockRow: `SELECT ${key} FROM ${table} WHERE ${key} = ${mark(1)} FOR UPDATE`,
    row: `SELECT * FROM ${table} WHERE ${key} = ${mark(1)}`,
    bytes,
  };
}

/**
 * Returns a statement after which every operation on the lock table fails, and a statement
 * that undoes it. Dropping the table is not enough, because the store would create it again.
 */
export function breaking({ name }: { name: string }): { breakIt: string; mend: string } {
  const renaming = (from: string, to: string) =>
    name === 'postgres' || name === 'sqlite'
      ? `ALTER TABLE locks RENAME COLUMN ${from} TO ${to}`
      : `ALTER TABLE locks CHANGE ${from} ${to} varbinary(64)`;
  return { breakIt: renaming('owner', 'hidden'), mend: renaming('hidden', 'owner') };
}
