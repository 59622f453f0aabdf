import 'reflect-metadata';
import { NestFactory } from '@nestjs/core';
import { LockError, LockModule, LockService } from '../dist/esm/index.js';
import { typeOrmStore } from '../dist/esm/stores/typeorm/index.js';

const QUIET = { logger: false, abortOnError: false };

/**
 * Opens an application with locks, as users of the library have it.
 *
 * @param url the result of `servers.database()`; for SQLite the path of a file
 * @param client `typeorm`, or `driver` for a pool of pg or mysql2 that the application made;
 * MongoDB has a single client
 * @param options the options of `LockModule`, without its store
 * @param storeOptions the options of `sqlStore`, `typeOrmStore` or `mongoStore`
 * @param counted whether a MongoDB client reports its commands, which takes time; the
 * statements of other drivers are counted without this option
 * @returns `{ locks, app, dataSource or client, close }`
 */
export async function openLocks(settings) {
  if (settings.store === 'mongodb') return openMongodb(settings);
  return settings.client === 'driver' ? openOnDriver(settings) : openTypeOrm(settings);
}

async function openTypeOrm({ store, url, connections = 1, options, storeOptions, providers }) {
  // TypeORM is imported only here: the bench starts dozens of processes, and those that do not
  // need it start faster without it.
  const { getDataSourceToken, TypeOrmModule } = await import('@nestjs/typeorm');
  const app = await createApplication(
    [
      TypeOrmModule.forRoot({ ...dataSourceOptions(store, url, connections), retryAttempts: 0 }),
      LockModule.forRoot({ ...options, store: typeOrmStore(storeOptions) }),
    ],
    providers,
  );
  return {
    app,
    locks: app.get(LockService),
    dataSource: app.get(getDataSourceToken()),
    close: () => app.close(),
  };
}

async function openOnDriver({ store, url, connections = 1, options, storeOptions, providers }) {
  const { sqlStore, ...executors } = await import('../dist/esm/stores/sql/index.js');
  const { executor, end } = await poolOf(store, url, connections, executors);
  const locks = sqlStore({ ...storeOptions, executor });
  const app = await createApplication([LockModule.forRoot({ ...options, store: locks })], providers);
  return { app, locks: app.get(LockService), close: () => app.close().then(end) };
}

async function poolOf(store, url, connections, { fromBetterSqlite3, fromMysql2, fromPg }) {
  if (store === 'sqlite') return { executor: fromBetterSqlite3(url), end() {} };
  if (store === 'postgres') {
    const { default: pg } = await import('pg');
    const pool = new pg.Pool({ connectionString: url, max: connections });
    return { executor: fromPg(pool), end: () => pool.end() };
  }
  const { createPool } = await import('mysql2/promise');
  const pool = createPool({ uri: url, connectionLimit: connections });
  return { executor: fromMysql2(pool), end: () => pool.end() };
}

/** Creates a Nest application with these modules, without logs and without shutdown hooks. */
export async function createApplication(imports, providers = []) {
  const module = { module: class BenchModule {}, imports, providers };
  return NestFactory.createApplicationContext(module, QUIET);
}

/** Returns the connection options of TypeORM for a database of the bench. */
export function dataSourceOptions(store, url, connections) {
  const common = { logging: false };
  if (store === 'sqlite') return { ...common, type: 'better-sqlite3', database: url };
  return { ...common, type: store, url, poolSize: connections };
}

async function openMongodb({ url, connections = 1, options, storeOptions, providers, counted = false }) {
  const { MongoClient } = await import('mongodb');
  const { mongoStore } = await import('../dist/esm/stores/mongodb/index.js');
  const client = await new MongoClient(url, {
    maxPoolSize: connections,
    minPoolSize: connections,
    monitorCommands: counted,
  }).connect();
  try {
    const db = client.db();
    // The collection is created here, since a mongod under Wine crashes when several clients
    // create it at once.
    await db.createCollection('locks').catch(unlessThere);
    const store = mongoStore({ db, ...storeOptions });
    const app = await createApplication([LockModule.forRoot({ ...options, store })], providers);
    const close = () => app.close().then(() => client.close());
    return { app, locks: app.get(LockService), client, close };
  } catch (error) {
    await client.close();
    throw error;
  }
}

/** Ignores the error of MongoDB that says that the collection already exists. */
export function unlessThere(error) {
  if (error.codeName !== 'NamespaceExists') throw error;
}

/**
 * Whether this build of the library, which may be an older version, has an option of
 * `typeOrmStore`, such as `{ asyncRelease: true }`.
 */
export function hasStoreOption(option) {
  try {
    return Boolean(typeOrmStore(option));
  } catch (error) {
    if (error instanceof LockError) return false;
    throw error;
  }
}
