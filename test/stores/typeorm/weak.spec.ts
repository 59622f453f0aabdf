import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { lockTableMigration, TypeOrmLockStore, typeOrmStore } from '../../../lib/stores/typeorm/index.js';
import { sqlTargets } from '../../servers/targets.js';
import { Fixture } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const withoutTypes: string = 'better-sqlite3';
const { default: Database }: any = await import(withoutTypes);

for (const target of sqlTargets())
  describe(`weak locks on ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    const connections: any[] = [];
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      // The driver shows which connections it opens; SQLite's alone takes it.
      const driver = class extends Database {
        constructor(...args: unknown[]) {
          super(...args);
          connections.push(this);
        }
      };
      application = await fixture.dataSource(target.name === 'sqlite' ? { driver } : {});
    });
    afterAll(() => fixture.dispose());

    const store = (options = {}) => new TypeOrmLockStore(application, { weak: true, ...options });
    const type = () => application.options.type as 'postgres';
    const schema = () => (target.name === 'postgres' ? 'public.' : '');

    if (target.name === 'postgres' || target.name === 'sqlite') {
      it('B78 B6 have a table of their own, beside the one that outlives a crash', async () => {
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

      it('B78 B11 are created by the printed statement and by the migration', async () => {
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
      it('B78 are in an UNLOGGED table, which PostgreSQL empties after a crash', async () => {
        await store().prepare();
        const [{ relpersistence }] = await application.query(
          `SELECT relpersistence FROM pg_class WHERE relname = 'locks_weak'`,
        );
        expect(relpersistence).toBe('u');
        expect(TypeOrmLockStore.ddl('postgres')).not.toContain('UNLOGGED');
      });

      it('B78 are not asked of a table that is logged, nor durable ones of one that is not: the error tells what to do', async () => {
        const [weak, durable] = [{ table: 'changing' }, { table: 'changing', weak: false }];
        await store(durable).prepare();
        await expect(store(weak).prepare()).rejects.toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(
            /table public\.changing is not UNLOGGED.*option table.*SET UNLOGGED.*option weak/,
          ),
        });
        await application.query('ALTER TABLE changing SET UNLOGGED'); // as it says
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
      it('B78 do not wait for the disk, and cannot harm the file', async () => {
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
      it('B78 are refused, naming what there is instead', async () => {
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

    it('B78 B76 run nothing once per tick, since they may forget what has run', async () => {
      expect(store().keepsOnce).toBe(false);
      expect(store({ weak: false }).keepsOnce).toBe(true);
    });

    it('B78 are asked for by true or false', () => {
      for (const weak of ['true', 1, null, {}] as any[]) {
        expect(() => store({ weak })).toThrow(/weak must be true or false/);
        expect(() => typeOrmStore({ weak })).toThrow(/weak must be true or false/);
        expect(() => TypeOrmLockStore.ddl('postgres', { weak })).toThrow(/weak must be true or false/);
      }
      expect(typeOrmStore({ weak: true }).inject).toHaveLength(1);
    });
  });
