import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import { DataSource, type DataSourceOptions } from 'typeorm';

type ServerStore = 'postgres' | 'mariadb' | 'mysql' | 'mysql56';
export type SqlStore = 'sqlite' | ServerStore;
export type Store = 'memory' | 'mongodb' | SqlStore;

/** A database that belongs to one spec alone. */
export interface Target {
  readonly name: SqlStore;
  readonly options: DataSourceOptions;
  /** Ends the sessions that the database still has, and drops the database. */
  dispose(): Promise<void>;
}

/** The stores of this run: all, or those of LOCK_TEST_STORES. */
export const selectedStores = (process.env.LOCK_TEST_STORES ?? '').split(',') as Store[];

/** The SQL stores of this run, each with a function that opens a fresh database. */
export function sqlTargets(): { name: SqlStore; open: () => Promise<Target> }[] {
  return selectedStores
    .filter((store): store is SqlStore => store !== 'memory' && store !== 'mongodb')
    .map((name) => ({ name, open: () => openTarget(name) }));
}

/** Makes a fresh database on the store's server, or a fresh SQLite file. */
export async function openTarget(name: SqlStore): Promise<Target> {
  return name === 'sqlite' ? openFile() : openDatabase(name);
}

/**
 * Returns an unused database name on the MongoDB server of this run, which is a replica set.
 */
export function openMongoDatabase(): { url: string; databaseName: string; dispose(): Promise<void> } {
  const url = givenUrl('mongodb');
  const databaseName = `spec_${randomBytes(6).toString('hex')}`;
  return {
    url,
    databaseName,
    dispose: async () => {
      const client = new MongoClient(url);
      try {
        await client.db(databaseName).dropDatabase();
      } finally {
        await client.close();
      }
    },
  };
}

async function openFile(): Promise<Target> {
  const folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-sqlite-'));
  return {
    name: 'sqlite',
    options: { type: 'better-sqlite3', database: join(folder, 'app.sqlite') },
    dispose: () => rm(folder, { recursive: true }),
  };
}

async function openDatabase(name: ServerStore): Promise<Target> {
  const server = serverOptions(name);
  const database = `spec_${randomBytes(6).toString('hex')}`;
  await onServer(server, (admin) => admin.query(`CREATE DATABASE ${database}`));
  return {
    name,
    options: { ...server, database },
    dispose: () =>
      onServer(server, async (admin) => {
        await (name === 'postgres' ? endPostgresSessions : endMysqlSessions)(admin, database);
        await admin.query(`DROP DATABASE ${database}`);
      }),
  };
}

/**
 * Returns host, port and the other connection options instead of a URL, so that a spec with a
 * proxy can change host and port only.
 */
function serverOptions(name: ServerStore) {
  const url = new URL(givenUrl(name));
  return {
    type: name === 'mysql56' ? ('mysql' as const) : name,
    host: url.hostname,
    port: Number(url.port) || (name === 'postgres' ? 5432 : 3306),
    username: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: url.pathname.slice(1),
  };
}

function givenUrl(name: Store): string {
  const variable = `LOCK_TEST_${name.toUpperCase()}_URL`;
  const given = process.env[variable];
  if (!given) throw new Error(`No server for ${name}: run through jest's global setup, or set ${variable}`);
  return given;
}

async function onServer(
  options: DataSourceOptions,
  work: (admin: DataSource) => Promise<unknown>,
): Promise<void> {
  const admin = await new DataSource(options).initialize();
  try {
    await work(admin);
  } finally {
    await admin.destroy();
  }
}

async function endPostgresSessions(admin: DataSource, database: string): Promise<void> {
  await admin.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1', [database]);
}

async function endMysqlSessions(admin: DataSource, database: string): Promise<void> {
  const sessions: { session: string }[] = await admin.query(
    'SELECT id AS session FROM information_schema.processlist WHERE db = ?',
    [database],
  );
  for (const { session } of sessions)
    await admin.query(`KILL ${session}`).catch((error) => {
      if (error.errno !== 1094) throw error; // The session has ended meanwhile.
    });
}
