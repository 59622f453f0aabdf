import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import * as mysqlCore from 'drizzle-orm/mysql-core';
import * as pgCore from 'drizzle-orm/pg-core';
import * as sqliteCore from 'drizzle-orm/sqlite-core';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { SqlStore, Target } from '../../servers/targets.js';
import { snippetsOf } from '../../docs/snippets.js';
import { newKey, tokenOf } from '../keys.js';
import { targetsAmong } from '../typeorm/fixture.js';
import type { TestClient } from './client-kind.js';
import { drizzle } from './drizzle.js';
import { locks as mysqlTable } from './drizzle-tables/mysql.js';
import { locks as postgresTable } from './drizzle-tables/postgres.js';
import { locks as sqliteTable } from './drizzle-tables/sqlite.js';

/** The members of a column in the configuration of a Drizzle table that the test compares. */
interface Column {
  name: string;
  primary: boolean;
  notNull: boolean;
  hasDefault: boolean;
  default: unknown;
  getSQLType(): string;
}

/** The columns of the Drizzle tables that the documentation shows, by database. */
const columns: Partial<Record<SqlStore, Column[]>> = {
  postgres: pgCore.getTableConfig(postgresTable).columns,
  mysql: mysqlCore.getTableConfig(mysqlTable).columns,
  mariadb: mysqlCore.getTableConfig(mysqlTable).columns,
  sqlite: sqliteCore.getTableConfig(sqliteTable).columns,
};

/** Returns the CREATE TABLE statement that drizzle-kit generates for these columns. */
function createStatement(table: readonly Column[], quote: string): string {
  const lines = table.map(
    (column) =>
      `${quote}${column.name}${quote} ${column.getSQLType()}${column.primary ? ' PRIMARY KEY' : ''}${column.hasDefault ? ` DEFAULT ${String(column.default)}` : ''}${column.notNull ? ' NOT NULL' : ''}`,
  );
  return `CREATE TABLE by_drizzle (${lines.join(', ')})`;
}

it.each(['postgres', 'mysql', 'sqlite'])('B11 docs/clients.md shows the Drizzle table for %s', (name) => {
  const table = readFileSync(`test/stores/clients/drizzle-tables/${name}.ts`, 'utf8');
  expect(snippetsOf('docs/clients.md').map(({ code }) => code)).toContain(table);
});

for (const { name, open } of targetsAmong('postgres', 'mariadb', 'mysql', 'sqlite'))
  describe(`the lock table in Drizzle on ${name}`, () => {
    const quote = name === 'postgres' || name === 'sqlite' ? '"' : '`';
    let target: Target;
    let client: TestClient;
    beforeAll(async () => {
      target = await open();
      client = await drizzle.open(target);
      await client.query(createStatement(columns[name] ?? [], quote));
      // The documentation adds this statement for a database with another character set, such
      // as the MariaDB database of this test.
      if (quote === '`') await client.query('ALTER TABLE by_drizzle CONVERT TO CHARACTER SET utf8mb4');
      const store = new SqlLockStore(client.executor(), { table: 'by_store' });
      await store.prepare();
      await store.close();
    });
    afterAll(async () => {
      await client.close();
      await target.dispose();
    });

    /**
     * Reads what the database's catalogue says about the columns of a table, in their order.
     */
    const catalogue = async (table: string): Promise<unknown> => {
      const server =
        name === 'postgres'
          ? `SELECT column_name, data_type, udt_name, character_maximum_length, is_nullable, column_default, collation_name
               FROM information_schema.columns WHERE table_name = '${table}' ORDER BY ordinal_position`
          : `SELECT column_name, column_type, is_nullable, column_default, column_key, character_set_name
               FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = '${table}' ORDER BY ordinal_position`;
      const found = await client.query(name === 'sqlite' ? `PRAGMA table_info(${table})` : server);
      return name === 'postgres'
        ? (found as { rows: unknown }).rows
        : name === 'sqlite'
          ? found
          : (found as unknown[])[0];
    };

    it('B11 Drizzle creates the same columns, defaults and key as the store', async () => {
      const found = await catalogue('by_drizzle');
      expect(found).not.toEqual([]);
      expect(found).toEqual(await catalogue('by_store'));
    });

    it('B11 a store can keep its locks in the table that Drizzle created', async () => {
      const store = new SqlLockStore(client.executor(), { table: 'by_drizzle', autoCreate: false });
      await store.prepare();
      const key = newKey();
      tokenOf(await store.acquire(key, 'owner', 60_000));
      expect(await store.acquire(key, 'other', 60_000)).toMatchObject({ reason: 'held' });
      expect((await store.list({ limit: 10 })).locks).toMatchObject([{ key }]);
      expect(await store.release(key, 'owner')).toBe(true);
      await store.close();
    });
  });
