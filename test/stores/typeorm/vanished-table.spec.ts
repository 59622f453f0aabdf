import { INTERNALS } from '../../../lib/lock-internals.js';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { sqlTargets } from '../../servers/targets.js';
import { newKey, tokenOf } from '../keys.js';
import { Fixture } from './fixture.js';

const SHORT = 1_200;
const LONG = 60_000;

for (const target of sqlTargets())
  describe(`a lock table on ${target.name} that disappears`, () => {
    let fixture: Fixture;
    let application: DataSource;
    let other: DataSource;
    let table: string;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      other = await fixture.dataSource();
    });
    afterAll(() => fixture.dispose());
    beforeEach(() => {
      table = newKey().replaceAll('-', '_');
    });

    const open = async (dataSource: DataSource, options = {}) => {
      const store = new TypeOrmLockStore(dataSource, { table, ...options });
      await store.prepare();
      return store;
    };
    const drop = () => application.query(`DROP TABLE ${table}`);
    const tables = async (): Promise<string[]> => {
      const names =
        target.name === 'sqlite'
          ? `SELECT name FROM sqlite_master WHERE type = 'table'`
          : `SELECT table_name AS name FROM information_schema.tables WHERE table_schema = ${target.name === 'postgres' ? `'public'` : 'DATABASE()'}`;
      return (await application.query(names)).map(({ name }: { name: string }) => name);
    };
    /**
     * Retries until the key is granted, and returns the moment of the grant on the monotonic
     * clock.
     */
    const granted = async (store: TypeOrmLockStore, key: string, ttl: number): Promise<number> => {
      for (;;) {
        const answer = await store.acquire(key, 'later', ttl);
        if (answer.acquired) return performance.now();
        await sleep(Math.min(answer.holder?.remaining ?? 0, 200) + 5);
      }
    };

    it('R4 the table is created again, and no key is granted before the longest ttl has passed', async () => {
      const [first, second] = [await open(application), await open(other)];
      const warnings: string[] = [];
      second.onWarning((topic, message) => warnings.push(`${topic}: ${message}`));
      const key = newKey();
      tokenOf(await first.acquire(key, 'one', SHORT));
      tokenOf(await second.acquire(`${key}2`, 'two', SHORT));
      const before = performance.now();
      await drop();

      expect(await second.acquire(key, 'two', SHORT)).toMatchObject({
        acquired: false,
        reason: 'held',
        holder: { key, label: expect.stringContaining('made again') },
      });
      expect(warnings).toEqual([
        expect.stringMatching(`table vanished: .*${table} disappeared.*synchronize`),
      ]);
      expect(await first.renew(key, 'one', SHORT)).toBe(false);
      expect(await first.release(key, 'one')).toBe(false);
      const started = await open(await fixture.dataSource());
      for (const store of [first, second, started])
        expect(await store.acquire(newKey(), 'any', SHORT)).toMatchObject({
          acquired: false,
          reason: 'held',
        });
      expect((await first.list({ limit: 10 })).locks).toEqual([]);
      expect(await granted(started, key, SHORT)).toBeGreaterThanOrEqual(before + SHORT);
      tokenOf(await first.acquire(newKey(), 'one', SHORT));
      expect(await second.purge({ olderThan: 0 })).toBeGreaterThanOrEqual(0);
    });

    it('R4 the longest ttl is that of all settings and calls of a process, except for endless ttls', async () => {
      const [first, second] = [await open(application), await open(other)];
      first.expectTtl(Infinity);
      first.expectTtl(10_000);
      second.expectTtl(LONG);
      const key = newKey();
      tokenOf(await first.acquire(key, 'one', Number.MAX_SAFE_INTEGER));
      await drop();
      const by = async (store: TypeOrmLockStore) => {
        const answer = await store.acquire(key, 'any', SHORT);
        return answer.acquired ? 0 : (answer.holder?.remaining ?? 0);
      };
      const remaining = await by(first);
      expect(remaining).toBeGreaterThan(5_000);
      expect(remaining).toBeLessThanOrEqual(10_000);
      expect(await by(second)).toBeGreaterThan(40_000);
    });

    it('R4 neither a repeated attempt nor a theft nor a pause shortens the wait after the table was created again', async () => {
      const store = await open(application);
      const key = newKey();
      tokenOf(await store.acquire(key, 'one', LONG));
      await drop();
      expect(await store.acquire(key, 'one', LONG, { resend: true })).toMatchObject({ acquired: false });
      expect(await store.acquire(key, 'one', LONG, { stealAfter: 1 })).toMatchObject({ acquired: false });
      expect(await store.pause(key)).toBe(true);
      expect(await store.resume(key)).toBe(true);
      expect(await store.acquire(key, 'one', LONG)).toMatchObject({ acquired: false, reason: 'held' });
    });

    it('R4 many callers of several processes create a single table, and none of them gets a key', async () => {
      const dataSources = await Promise.all(Array.from({ length: 4 }, () => fixture.dataSource()));
      const stores = await Promise.all(dataSources.map((dataSource) => open(dataSource)));
      const key = newKey();
      tokenOf(await stores[0]!.acquire(key, 'one', LONG));
      for (const store of stores) store.expectTtl(LONG);
      await drop();
      const tries = stores.flatMap((store) =>
        Array.from({ length: 5 }, (_, i) => store.acquire(`${key}${i % 2 || ''}`, `o${i}`, LONG)),
      );
      const answers = await Promise.all([...tries, stores[1]!.renewMany([{ key, owner: 'one', ttl: LONG }])]);
      expect(answers.pop()).toEqual(['lost']);
      expect(answers.filter((answer) => (answer as { acquired: boolean }).acquired)).toEqual([]);
      expect((await tables()).filter((name) => name === table || name.startsWith('nestjs_locked'))).toEqual([
        table,
      ]);
      await Promise.all(stores.map((store) => store.close()));
      await Promise.all(dataSources.map((dataSource) => dataSource.destroy()));
    });

    it('R4 without autoCreate the error names the migration, and its table grants no key before the longest ttl has passed', async () => {
      await open(application);
      const store = await open(application, { autoCreate: false });
      const key = newKey();
      tokenOf(await store.acquire(key, 'one', LONG));
      await drop();
      for (const _ of [1, 2])
        await expect(store.acquire(key, 'two', LONG)).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringMatching(new RegExp(`${table} is missing.*ddl\\(.*lockTableMigration\\(\\)`)),
        });
      expect(await tables()).not.toContain(table);
      await application.query(TypeOrmLockStore.ddl(application.options.type as 'postgres', { table }));
      expect(await store.acquire(key, 'two', LONG)).toMatchObject({ acquired: false, reason: 'held' });
      expect(await store.renew(key, 'one', LONG)).toBe(false);
    });

    it('B88 if the table disappears, a holder loses its lock at its next renewal, and no key is granted before its ttl has passed', async () => {
      const make = (dataSource: DataSource, ttl: '40s' | '2s') =>
        new LockService({
          options: { ttl },
          openStore: () => new TypeOrmLockStore(dataSource, { table }),
        });
      const [first, second] = [make(application, '40s'), make(other, '2s')];
      const key = newKey();
      const lock = await first.acquire(key, { renewEvery: '300ms' });
      const quick = await second.acquire(`${key}-quick`);
      const lost = new Promise((resolve) => first.events.on('lost', resolve));
      await drop();
      await lost;
      expect(lock.held).toBe(false);
      await expect(first.acquire(`${key}-new`)).rejects.toMatchObject({
        holder: { label: expect.stringContaining('made again'), remaining: expect.any(Number) },
      });
      expect(await quick.release()).toBe(false);
      await Promise.all([first[INTERNALS].close(), second[INTERNALS].close()]);
    });

    if (target.name !== 'sqlite')
      it('R4 the store survives synchronize(true), which drops unknown tables of its own schema only', async () => {
        const store = await open(application);
        const schema = `kept_${table}`;
        await application.query(`CREATE SCHEMA ${schema}`);
        const kept = await open(application, { schema });
        const key = newKey();
        for (const one of [store, kept]) tokenOf(await one.acquire(key, 'one', LONG));
        await application.synchronize(true);
        expect(await store.acquire(key, 'two', LONG)).toMatchObject({ acquired: false });
        expect(await store.renew(key, 'one', LONG)).toBe(false);
        expect(await kept.renew(key, 'one', LONG)).toBe(true);
        await application.query(`DROP SCHEMA ${schema}${target.name === 'postgres' ? ' CASCADE' : ''}`);
      });
  });
