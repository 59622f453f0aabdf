import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { lockTableMigration, TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { sqlTargets } from '../../servers/targets.js';
import { Fixture } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const columnsOn = (name: string) =>
  [
    ...'key owner token expires_ms label started_ms renewed_ms tick_ms paused'.split(' '),
    ...'last_label last_started_ms last_ended_ms last_outcome'.split(' '),
    ...(name === 'postgres' ? ['waiting'] : []),
  ].toSorted();

for (const target of sqlTargets()) {
  describe(`the lock table on ${target.name}`, () => {
    const COLUMNS = columnsOn(target.name);
    let fixture: Fixture;
    let application: DataSource;
    const store = (options = {}) => new TypeOrmLockStore(application, options);
    const columnsOf = async (table: string) => {
      const runner = application.createQueryRunner();
      try {
        return (await runner.getTable(table))?.columns.map(({ name }) => name).toSorted();
      } finally {
        await runner.release();
      }
    };

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
    });
    afterAll(() => fixture.dispose());

    it('B11 a start creates the table with all its columns, and the next start finds it', async () => {
      await store().prepare();
      const token = tokenOf(await store().acquire('kept', 'owner', 60_000));
      await store().prepare();
      expect(await columnsOf('locks')).toEqual(COLUMNS);
      expect(await store().inspect('kept')).toMatchObject({ state: 'held', holder: { fencingToken: token } });
    });

    it('B11 twenty instances that start at once create one table', async () => {
      const dataSources = await Promise.all(Array.from({ length: 20 }, () => fixture.dataSource()));
      const stores = dataSources.map((dataSource) => new TypeOrmLockStore(dataSource, { table: 'twenty' }));
      const starts = await Promise.allSettled(stores.map((one) => one.prepare()));
      expect(starts.filter(({ status }) => status === 'rejected')).toEqual([]);
      expect(await columnsOf('twenty')).toEqual(COLUMNS);
      await Promise.all(stores.map((one) => one.close()));
      await Promise.all(dataSources.map((dataSource) => dataSource.destroy()));
    });

    const inStatements =
      'taken added changed mine guarded lease renewed slice unused purged locked lazily t l won answer unlocked excluded waiting';
    it.each(inStatements.split(' '))(
      'B11 the lock table may have a name that the statements use as an alias: %s',
      async (table) => {
        const named = store({ table });
        await named.prepare();
        const key = newKey();
        await named.acquire(key, 'one', 60_000);
        expect(await named.acquire(key, 'two', 60_000, { stealAfter: 60_000 })).toMatchObject({
          reason: 'held',
        });
        expect(await named.renew(key, 'one', 60_000)).toBe(true);
        expect(await named.renewMany([{ key, owner: 'one', ttl: 60_000 }])).toEqual(['renewed']);
        expect(await named.releaseToWaiter(key, 'one', { owner: 'two', ttl: 60_000 })).toMatchObject({
          acquired: true,
        });
        expect([await named.pause(key), await named.resume(key)]).toEqual([true, true]);
        expect((await named.list({ limit: 10 })).locks).toMatchObject([{ key }]);
        const token = tokenOf(await named.acquire(`${key}2`, 'one', 60_000));
        await named.transaction(async (manager) => {
          expect(await named.guard(manager, `${key}2`, 'one', token)).toBe(true);
        });
        expect(await named.forceRelease(key)).toBe(true);
        expect(await named.purge({ olderThan: 600_000 })).toBe(0);
      },
    );

    it('B11 with autoCreate: false, the start fails without a table, and the error names the ways to create it', async () => {
      const start = store({ table: 'missing', autoCreate: false }).prepare();
      await expect(start).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/missing.*SqlLockStore\.ddl\(.*lockTableMigration\(\)/),
      });
      expect(await columnsOf('missing')).toBeUndefined();
    });

    it('B11 the statement that ddl() returns creates the table', async () => {
      await application.query(
        TypeOrmLockStore.ddl(application.options.type as 'postgres', { table: 'printed' }),
      );
      const printed = store({ table: 'printed', autoCreate: false });
      await printed.prepare();
      expect(tokenOf(await printed.acquire('k', 'o', 60_000))).toBeGreaterThan(0);
    });

    it('B11 a table that lacks some columns is refused, and the error names the columns', async () => {
      await application.query(
        TypeOrmLockStore.ddl(application.options.type as 'postgres', { table: 'older' })
          .replace(/\n *tick_ms [a-z]+,/, '')
          .replace(/\n *paused [^\n]*,/, ''),
      );
      await expect(store({ table: 'older' }).prepare()).rejects.toThrow(
        /older lacks the columns tick_ms, paused/,
      );
    });

    it('B11 the migration creates and drops the table', async () => {
      const migrating = await fixture.dataSource({
        migrations: [lockTableMigration({ table: 'migrated' }), lockTableMigration({ table: 'second' })],
      });
      expect((await migrating.runMigrations()).map(({ name }) => name)).toEqual([
        'CreateLockTable_migrated_1763596800000',
        'CreateLockTable_second_1763596800000',
      ]);
      expect(await columnsOf('migrated')).toEqual(COLUMNS);
      await store({ table: 'migrated', autoCreate: false }).prepare();

      await migrating.undoLastMigration();
      await migrating.undoLastMigration();
      expect([await columnsOf('migrated'), await columnsOf('second')]).toEqual([undefined, undefined]);
    });

    if (target.name === 'sqlite')
      it('B6 the option schema is refused on SQLite', async () => {
        await expect(store({ schema: 'app' }).prepare()).rejects.toThrow(/SQLite has no schemas.*"app"/);
      });
    else {
      it('B6 the option schema puts the table into another schema', async () => {
        const schema = `other_${newKey().replaceAll('-', '_')}`;
        await application.query(`CREATE SCHEMA ${schema}`);
        const other = store({ schema, table: 'elsewhere' });
        await other.prepare();
        tokenOf(await other.acquire('k', 'o', 60_000));
        expect(await application.query(`SELECT label FROM ${schema}.elsewhere`)).toHaveLength(1);
        expect(other.describe()).toMatch(`table=${schema}.elsewhere`);
        await application.query(`DROP SCHEMA ${schema}${target.name === 'postgres' ? ' CASCADE' : ''}`);
      });

      it('B6 a missing schema is not created, and the error names it', async () => {
        await expect(store({ schema: 'no_such_schema' }).prepare()).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringContaining('no_such_schema'),
        });
      });
    }

    if (target.name === 'postgres')
      it('B11 a table that an early version created without the column of wake-ups is refused, even with wakeUps: false', async () => {
        const ddl = TypeOrmLockStore.ddl('postgres', { table: 'uncalled' });
        await application.query(ddl.replace(/,\n *waiting [^\n]*/, ''));
        for (const wakeUps of [true, false])
          await expect(store({ table: 'uncalled', wakeUps }).prepare()).rejects.toMatchObject({
            name: 'LockStoreError',
            message: expect.stringMatching(
              /uncalled lacks the columns waiting\. Add them as .*ddl\('postgres', \{ table: 'uncalled', schema: 'public' \}\)/,
            ),
          });
        await application.query('ALTER TABLE uncalled ADD COLUMN waiting varchar(16)[]');
        await store({ table: 'uncalled' }).prepare();
      });

    if (target.name === 'postgres')
      it('B11 a store with an existing table needs only the rights SELECT, INSERT and UPDATE', async () => {
        const role = `plain_${newKey().replaceAll('-', '_')}`;
        await store().prepare();
        await application.query(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`);
        await application.query(`CREATE ROLE ${role} LOGIN PASSWORD 'plain'`);
        await application.query(`GRANT SELECT, INSERT, UPDATE ON locks TO ${role}`);
        const plain = await fixture.store({ username: role, password: 'plain' });
        const key = newKey();
        tokenOf(await plain.acquire(key, 'o', 60_000));
        expect(await plain.renew(key, 'o', 60_000)).toBe(true);
        expect(await plain.renewMany([{ key, owner: 'o', ttl: 60_000 }])).toEqual(['renewed']);
        expect(await plain.release(key, 'o')).toBe(true);

        const denied = fixture.store({ username: role, password: 'plain' }, { table: 'not_there' });
        await expect(denied).rejects.toMatchObject({ name: 'LockStoreError', transient: false });
        await application.query(`DROP OWNED BY ${role}`);
      });
  });
}

describe('names of tables and schemas', () => {
  const database = {
    createQueryRunner: () => undefined,
    options: { type: 'postgres' },
  } as unknown as DataSource;
  const sql = ['a;DROP TABLE x', 'a"b', 'a`b', "a'b", 'a--', 'a/*', '$1'];
  const misshapen = ['', ' ', 'a b', '1a', 'a-b', 'a\0b', 'a\n', 'ä', 'ſ', 'a'.repeat(64)];
  const notText: unknown[] = [null, 0, true, {}, ['locks'], () => 'locks'];

  it.each([...sql, ...misshapen, ...notText])(
    'B6 %j is refused as a table and as a schema, and the error tells the rule',
    (name: any) => {
      const rule = /letters, digits and underscores/;
      expect(() => new TypeOrmLockStore(database, { table: name })).toThrow(rule);
      expect(() => new TypeOrmLockStore(database, { schema: name })).toThrow(rule);
      expect(() => TypeOrmLockStore.ddl('mysql', { table: name })).toThrow(rule);
      expect(() => lockTableMigration({ schema: name })).toThrow(rule);
    },
  );

  it('B6 a table name with a dot is refused, and the error names the option schema', () => {
    expect(() => new TypeOrmLockStore(database, { table: 'app.locks' })).toThrow(
      /"app\.locks".*option schema/,
    );
  });

  it('B6 schema and table are quoted separately', () => {
    expect(TypeOrmLockStore.ddl('postgres', { schema: 'App', table: 'Select' })).toContain('"App"."Select"');
    expect(TypeOrmLockStore.ddl('mariadb', { schema: 'App', table: 'Select' })).toContain('`App`.`Select`');
  });

  it('B6 ddl() refuses databases that the library does not support', () => {
    expect(() => TypeOrmLockStore.ddl('oracle' as 'mysql')).toThrow(
      /no lock table for oracle.*postgres, mysql/,
    );
  });
});
