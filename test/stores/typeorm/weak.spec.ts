import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { lockTableMigration, TypeOrmLockStore, typeOrmStore } from '../../../lib/stores/typeorm/index.js';
import { sqlTargets } from '../../servers/targets.js';
import { Fixture } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { recordingDriver } from './sqlite-driver.js';

for (const target of sqlTargets())
  describe(`weak locks on ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    const connections: any[] = [];
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      // This driver records the connections that it opens. TypeORM accepts such a driver only
      // for SQLite.
      const driver = recordingDriver([], (connection) => connections.push(connection));
      application = await fixture.dataSource(target.name === 'sqlite' ? { driver } : {});
    });
    afterAll(() => fixture.dispose());

    const store = (options = {}) => new TypeOrmLockStore(application, { weak: true, ...options });
    const type = () => application.options.type as 'postgres';
    const schema = () => (target.name === 'postgres' ? 'public.' : '');

    if (target.name === 'postgres' || target.name === 'sqlite') {
      it('B78 weak locks have a table of their own in addition to the durable table', async () => {
        const [weak, durable] = [store(), store({ weak: false })];
        const key = newKey();
        tokenOf(await weak.acquire(key, 'o', 60_000));
        tokenOf(await durable.acquire(key, 'o', 60_000));
        expect(await application.query('SELECT owner FROM locks_weak WHERE owner IS NOT NULL')).not.toEqual(
          [],
        );
        const place = `store=${type()} client=TypeORM table=${schema()}`;
        const without = target.name === 'sqlite' ? ' without=wakeUps' : '';
        expect(weak.describe()).toBe(`${place}locks_weak weak=true${without}`);
        expect(durable.describe()).toBe(`${place}locks${without}`);
        await Promise.all([weak.close(), durable.close()]);
      });

      it('B78 the statement that ddl() returns and the migration create the table of weak locks', async () => {
        const table = 'weak_printed';
        await application.query(TypeOrmLockStore.ddl(type(), { table, weak: true }));
        const printed = store({ table, autoCreate: false });
        await printed.prepare();
        await printed.close();
        const migrating = await fixture.dataSource({
          migrations: [lockTableMigration({ table: 'moved', weak: true })],
        });
        await migrating.runMigrations();
        const moved = store({ table: 'moved', autoCreate: false });
        await moved.prepare();
        await moved.close();
        await migrating.undoLastMigration();
        await expect(store({ table: 'moved', autoCreate: false }).prepare()).rejects.toThrow(/is missing/);
      });
    }

    if (target.name === 'postgres') {
      it('B78 weak locks are in an UNLOGGED table, which PostgreSQL empties after a crash', async () => {
        await store().prepare();
        const [{ relpersistence }] = await application.query(
          `SELECT relpersistence FROM pg_class WHERE relname = 'locks_weak'`,
        );
        expect(relpersistence).toBe('u');
        expect(TypeOrmLockStore.ddl('postgres')).not.toContain('UNLOGGED');
      });

      it('B78 the start fails if the option weak does not fit the logging of the table, and the error names the next step', async () => {
        const [weak, durable] = [{ table: 'changing' }, { table: 'changing', weak: false }];
        await store(durable).prepare();
        await expect(store(weak).prepare()).rejects.toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(
            /table public\.changing is not UNLOGGED.*option table.*SET UNLOGGED.*option weak/,
          ),
        });
        // The error of the start has recommended this statement.
        await application.query('ALTER TABLE changing SET UNLOGGED');
        await store(weak).prepare();
        await expect(store(durable).prepare()).rejects.toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(
            /table public\.changing is UNLOGGED.*option weak to true.*SET LOGGED/,
          ),
        });
        await application.query('ALTER TABLE "changing" SET LOGGED');
        await store(durable).prepare();
      });
    }

    if (target.name === 'sqlite')
      it('B78 weak locks do not wait for the disk, and cannot damage the file', async () => {
        for (const [weak, synchronous] of [
          [true, 1],
          [false, 2],
        ] as const) {
          const one = store({ weak });
          await one.prepare();
          expect(connections.at(-1).pragma('synchronous', { simple: true })).toBe(synchronous);
          await one.close();
        }
      });

    if (target.name.startsWith('m'))
      it('B78 the option weak is refused on MySQL and MariaDB, and the error names the alternatives', async () => {
        const refusal = {
          name: 'LockError',
          message: expect.stringMatching(
            /no weak locks in m.*typeOrmSessionStore\(\).*PostgreSQL, SQLite or MongoDB/,
          ),
        };
        await expect(store().prepare()).rejects.toMatchObject(refusal);
        await expect(store().acquire('key', 'o', 1000)).rejects.toMatchObject(refusal);
        expect(() => TypeOrmLockStore.ddl(type(), { weak: true })).toThrow(/no weak locks/);
        const migrating = await fixture.dataSource({ migrations: [lockTableMigration({ weak: true })] });
        await expect(migrating.runMigrations()).rejects.toThrow(/no weak locks/);
      });

    it('B78 weak locks keep no ticks, since they may forget what has run', async () => {
      expect(store().keepsOnce).toBe(false);
      expect(store({ weak: false }).keepsOnce).toBe(true);
    });

    it('B78 a wrong value of weak is refused', () => {
      for (const weak of ['true', 1, null, {}] as any[]) {
        expect(() => store({ weak })).toThrow(/weak must be true or false/);
        expect(() => typeOrmStore({ weak })).toThrow(/weak must be true or false/);
        expect(() => TypeOrmLockStore.ddl('postgres', { weak })).toThrow(/weak must be true or false/);
      }
      expect(typeOrmStore({ weak: true }).inject).toHaveLength(1);
    });
  });
