import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { once } from 'node:events';
import type { DataSource, QueryRunner } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, targetsAmong } from './fixture.js';
import { newKey } from '../keys.js';

for (const target of targetsAmong('sqlite', 'postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`LockService on ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    let locks: LockService;

    beforeAll(async () => {
      Logger.overrideLogger(false);
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
    });
    beforeEach(async () => {
      locks = new LockService({ options: {}, openStore: () => new TypeOrmLockStore(application) });
      await locks[INTERNALS].start();
    });
    afterEach(() => locks[INTERNALS].close());
    afterAll(() => fixture.dispose());

    it('B70 a long key can be inspected and freed under its name in the list', async () => {
      const key = `${newKey()}:${'long '.repeat(100)}`;
      await locks.acquire(key);
      const [shown] = (await locks.admin.list()).locks.filter((lock) =>
        key.startsWith(lock.key.slice(0, 100)),
      );
      expect(shown?.key).not.toBe(key);
      expect(await locks.admin.inspect(shown!.key)).toMatchObject({ state: 'held' });
      expect(await locks.admin.forceRelease(shown!.key, { reason: 'test' })).toBe(true);
      expect(await locks.admin.inspect(key)).toMatchObject({ state: 'free' });
    });

    // SQLite is left out, because it locks whole files instead of rows.
    if (target.name === 'sqlite') return;

    /** Runs a statement in another session, in a transaction that stays open until `end`. */
    async function inOpenTransaction(statement: string, parameters: unknown[]): Promise<QueryRunner> {
      const runner = application.createQueryRunner();
      await runner.startTransaction('REPEATABLE READ');
      await runner.query(statement, parameters);
      return runner;
    }

    async function end(runner: QueryRunner): Promise<void> {
      await runner.rollbackTransaction();
      await runner.release();
    }

    const postgres = target.name === 'postgres';
    const lockRow = postgres
      ? 'SELECT * FROM locks WHERE key = $1 FOR UPDATE'
      : 'SELECT * FROM locks WHERE `key` = ? FOR UPDATE';
    const bytes = (key: string) => (postgres ? key : Buffer.from(key));

    it('B28 if another session locks the row of a lock, this lock is lost, but no other lock is', async () => {
      const keys = Array.from({ length: 10 }, newKey);
      const held = await Promise.all(keys.map((key) => locks.acquire(key, { ttl: '3s' })));
      const blocker = await inOpenTransaction(lockRow, [bytes(keys[7]!)]);
      const [{ key }] = await once(locks.events, 'lost');
      expect(key).toBe(keys[7]);
      expect(held.filter((lock) => !lock.held).map((lock) => lock.key)).toEqual([keys[7]]);
      await end(blocker);
    });

    // PostgreSQL is left out, because it does not lock gaps between keys.
    if (postgres) return;

    it('B26 a new key is busy while another session has locked its gap in the index, and the attempt leaves nothing behind', async () => {
      const key = `zzz-${newKey()}`;
      // The key has no row yet, so the statement locks the gap in the index where the row
      // would be.
      const blocker = await inOpenTransaction(lockRow, [bytes(key)]);
      expect(await locks.tryAcquire(key, { ttl: Infinity })).toBeNull();
      await end(blocker);
      expect(await locks.admin.inspect(key)).toEqual({ state: 'free', key });
      expect(await locks.tryAcquire(key)).not.toBeNull();
    });
  });
