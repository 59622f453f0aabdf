import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Knex } from 'knex';
import { fromKnex, knexLockTableMigration, SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { newKey, tokenOf } from '../keys.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { openKnex } from './knex.js';

/** Returns a configuration with which Knex runs these migrations as if they were files. */
const sourceOf = (migrations: Record<string, Knex.Migration>): Knex.MigratorConfig => ({
  migrationSource: {
    getMigrations: async () => Object.keys(migrations),
    getMigrationName: (name: string) => name,
    getMigration: async (name: string) => migrations[name] as Knex.Migration,
  },
});

for (const { name, open } of targetsAmong('postgres', 'mariadb', 'mysql', 'mysql56', 'sqlite'))
  describe(`the migration of Knex on ${name}`, () => {
    let target: Target;
    let knex: Knex;
    beforeAll(async () => {
      target = await open();
      knex = openKnex(target);
    });
    afterAll(async () => {
      await knex.destroy();
      await target.dispose();
    });

    it('B11 the migration creates a table that a store uses without changing it, and its rollback drops the table', async () => {
      const migrations = sourceOf({
        '1_locks': knexLockTableMigration(),
        '2_jobs': knexLockTableMigration({ table: 'job_locks' }),
      });
      await knex.migrate.latest(migrations);
      for (const table of ['locks', 'job_locks']) {
        const store = new SqlLockStore(fromKnex(knex), { table, autoCreate: false });
        await store.prepare();
        const key = newKey();
        tokenOf(await store.acquire(key, 'owner', 60_000));
        expect(await store.release(key, 'owner')).toBe(true);
        await store.close();
      }
      await knex.migrate.rollback(migrations, true);
      expect(await knex.schema.hasTable('locks')).toBe(false);
      expect(await knex.schema.hasTable('job_locks')).toBe(false);
    });

    it('B11 the migration creates the same columns as the store', async () => {
      const store = new SqlLockStore(fromKnex(knex), { table: 'by_store' });
      await store.prepare();
      await store.close();
      await knex.migrate.latest(sourceOf({ '3_same': knexLockTableMigration({ table: 'by_migration' }) }));
      expect(await knex('by_migration').columnInfo()).toEqual(await knex('by_store').columnInfo());
    });

    if (name === 'postgres')
      it('B11 the migration creates the table in the first schema of the searchPath, and as an unlogged table for weak locks', async () => {
        await knex.raw('CREATE SCHEMA tenant');
        const tenant = openKnex(target, 2, { searchPath: ['tenant', 'public'] });
        await tenant.migrate.latest(sourceOf({ '4_weak': knexLockTableMigration({ weak: true }) }));
        const { rows } = await tenant.raw(
          "SELECT relnamespace::regnamespace::text AS schema, relpersistence FROM pg_class WHERE relname = 'locks_weak'",
        );
        expect(rows).toEqual([{ schema: 'tenant', relpersistence: 'u' }]);
        await tenant.destroy();
      });
  });

describe('knexLockTableMigration()', () => {
  it('B8 an unknown option and an invalid name are refused', () => {
    expect(() => knexLockTableMigration({ tabel: 'locks' } as object)).toThrow(/tabel/);
    expect(() => knexLockTableMigration({ table: 'a-b' })).toThrow(/table must be a name of letters/);
  });

  it('B90 a value that is no Knex and an unsupported database are refused', async () => {
    const { up } = knexLockTableMigration();
    await expect(up(undefined as never)).rejects.toThrow(
      'knexLockTableMigration() needs the object that Knex passes to a migration, but it got undefined.',
    );
    const oracle = { client: { driverName: 'oracledb' }, raw: async () => undefined };
    await expect(up(oracle)).rejects.toThrow(/supports the clients pg, mysql2, better-sqlite3 of Knex/);
  });
});
