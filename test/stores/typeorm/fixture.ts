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

/** The stores of this run among these; jest refuses a file without any test, so that one without any store says why. */
export function targetsAmong(...names: SqlStore[]): ReturnType<typeof sqlTargets> {
  const targets = sqlTargets().filter(({ name }) => names.includes(name));
  if (targets.length === 0)
    it(`runs on none of ${names.join(', ')}: LOCK_TEST_STORES leaves them out`, () => {
      expect(process.env.LOCK_TEST_STORES?.split(',')).not.toEqual(expect.arrayContaining(names));
    });
  return targets;
}

/**
 * How a store reaches the database: through the DataSource, or through the pool of pg or
 * mysql2 that TypeORM has made. The rest of a spec is the same.
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

/** What one spec file opens on a database of its own, and closes in the end. */
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

/** Sees to it that every session of the pool has this isolation level, as a server or an application may have set it. */
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

/** Runs a statement on the connection that is there, and on each that is opened from here on, before anything else. */
export async function onEachConnection(dataSource: DataSource, sql: string): Promise<void> {
  const { master, pool } = dataSource.driver as any;
  if (master) master.on('connect', (client: any) => void client.query(sql));
  else pool.on('connection', (connection: any) => connection.query(sql));
  await dataSource.query(sql);
}

/** The connections of the pool, for comparisons before and after. */
export function poolOf(dataSource: DataSource): { all: number; idle: number; waiting: number } {
  const { master, pool } = dataSource.driver as any;
  if (master) return { all: master.totalCount, idle: master.idleCount, waiting: master.waitingCount };
  const { _allConnections: all, _freeConnections: idle, _connectionQueue: waiting } = pool;
  return { all: all.length, idle: idle.length, waiting: waiting.length };
}

/** Records the statements that go to the server from here on. */
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

/** Lets the last renewal of a lock lie back, without waiting for it. */
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

/** Quotes for the statements of the specs themselves. */
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
 * Statements that make all operations on the lock table fail, and work again. A table that is
 * gone would be made again.
 */
export function breaking({ name }: { name: string }): { breakIt: string; mend: string } {
  const renaming = (from: string, to: string) =>
    name === 'postgres' || name === 'sqlite'
      ? `ALTER TABLE locks RENAME COLUMN ${from} TO ${to}`
      : `ALTER TABLE locks CHANGE ${from} ${to} varbinary(64)`;
  return { breakIt: renaming('owner', 'hidden'), mend: renaming('hidden', 'owner') };
}
