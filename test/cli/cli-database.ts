import { it, expect } from '@jest/globals';
import { DataSource } from 'typeorm';
import {
  openMongoDatabase,
  openTarget,
  selectedStores,
  type SqlStore,
  type Target,
} from '../servers/targets.js';

/** A database for one spec, with what the command line needs to find it. */
export interface CliDatabase {
  env: { LOCKS_URL: string };
  /** The option `--database`, if the URL does not name the database. */
  args: string[];
  /** Runs an SQL statement on the database; fails on MongoDB, which has no SQL. */
  query: (sql: string) => Promise<unknown>;
  dispose(): Promise<void>;
}

/**
 * Returns those of the named stores that LOCK_TEST_STORES selects. If it selects no named
 * store, a test says so, because Jest fails a file without tests.
 */
export function cliDatabases(...names: (SqlStore | 'mongodb')[]): {
  name: SqlStore | 'mongodb';
  open: () => Promise<CliDatabase>;
}[] {
  const selected = names.filter((name) => selectedStores.includes(name));
  if (selected.length === 0)
    it(`LOCK_TEST_STORES selects none of the stores of this file: ${names.join(', ')}`, () => {
      expect(selectedStores).not.toEqual(expect.arrayContaining(names));
    });
  return selected.map((name) => ({ name, open: () => (name === 'mongodb' ? openMongo() : openSql(name)) }));
}

export function urlOf({ options }: Target): string {
  const { type, host, port, username, password, database } = options as unknown as Record<string, string>;
  if (type === 'better-sqlite3') return `sqlite:${database}`;
  const user = [username, password].map((part) => encodeURIComponent(part ?? '')).join(':');
  return `${type}://${user}@${host}:${port}/${database}`;
}

async function openSql(name: SqlStore): Promise<CliDatabase> {
  const target = await openTarget(name);
  const dataSource = await new DataSource(target.options).initialize();
  return {
    env: { LOCKS_URL: urlOf(target) },
    args: [],
    query: (sql) => dataSource.query(sql),
    dispose: async () => {
      await dataSource.destroy();
      await target.dispose();
    },
  };
}

async function openMongo(): Promise<CliDatabase> {
  const database = openMongoDatabase();
  const query = async (): Promise<never> => {
    throw new Error('MongoDB has no SQL');
  };
  return {
    env: { LOCKS_URL: database.url },
    args: ['--database', database.databaseName],
    query,
    dispose: () => database.dispose(),
  };
}
