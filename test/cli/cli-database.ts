import { it, expect } from '@jest/globals';
import { DataSource } from 'typeorm';
import {
  openMongoDatabase,
  openTarget,
  selectedStores,
  type SqlStore,
  type Target,
} from '../servers/targets.js';

/** A database of one test, with the settings that the command line needs for it. */
export interface CliDatabase {
  env: { LOCKS_URL: string };
  /** Arguments for a URL that does not name the database. */
  args: string[];
  /** Runs a statement on the database; not on MongoDB. */
  query: (sql: string) => Promise<unknown>;
  dispose(): Promise<void>;
}

/**
 * The stores of this run among these. Jest refuses a file without a test, so a test reports a
 * run without these stores.
 */
export function cliDatabases(...names: (SqlStore | 'mongodb')[]): {
  name: SqlStore | 'mongodb';
  open: () => Promise<CliDatabase>;
}[] {
  const selected = names.filter((name) => selectedStores.includes(name));
  if (selected.length === 0)
    it(`runs on none of ${names.join(', ')}: LOCK_TEST_STORES leaves them out`, () => {
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
