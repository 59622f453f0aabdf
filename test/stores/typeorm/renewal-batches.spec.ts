import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { once } from 'node:events';
import type { DataSource, QueryRunner } from 'typeorm';
import type { Lock, LockLostError } from '../../../lib/index.js';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, sqlOf, targetsAmong } from './fixture.js';
import { newKey } from '../keys.js';

// MySQL 5 is left out: it has no NOWAIT, so that a batch waits for each locked row.
// locked-rows.spec.ts tests this.
for (const target of targetsAmong('postgres', 'mysql', 'mariadb'))
  describe(`500 locks in one renewal on ${target.name}`, () => {
    const sql = sqlOf(target);
    let fixture: Fixture;
    let store: TypeOrmLockStore;
    let blockers: DataSource;
    let locks: LockService;

    beforeAll(async () => {
      Logger.overrideLogger(false);
      fixture = await Fixture.open(target);
      store = await fixture.store();
      blockers = await fixture.dataSource();
    });
    beforeEach(async () => {
      locks = new LockService({
        options: { ttl: '8s', renewEvery: '1s' },
        openStore: async () => fixture.store(),
      });
      await locks[INTERNALS].start();
    });
    afterEach(() => locks[INTERNALS].close());
    afterAll(() => fixture.dispose());

    async function lockRow(key: string): Promise<QueryRunner> {
      const runner = blockers.createQueryRunner();
      await runner.startTransaction('READ COMMITTED');
      expect(await runner.query(sql.lockRow, [sql.bytes(key)])).toHaveLength(1);
      return runner;
    }

    async function unlock(runner: QueryRunner): Promise<void> {
      await runner.rollbackTransaction();
      await runner.release();
    }

    it('B54 a lock whose row stays locked and a stolen lock are lost, and the other 498 locks stay held', async () => {
      const held: Lock[] = [];
      // The locks are acquired in groups of 100, because a busy machine may not answer 500
      // attempts within a third of the ttl.
      while (held.length < 500)
        held.push(...(await Promise.all(Array.from({ length: 100 }, () => locks.acquire(newKey())))));
      const [stolen, delayed, locked] = [held[100], held[200], held[300]] as [Lock, Lock, Lock];
      const lost = new Map<string, LockLostError>();
      const failed = new Set<string>();
      locks.events.on('lost', ({ key, error }) => lost.set(key, error));
      locks.events.on('renewFailed', ({ key }) => failed.add(key));

      const [lockedRow, delayedRow] = [await lockRow(locked.key), await lockRow(delayed.key)];
      await store.forceRelease(stolen.key);
      const theft = await store.acquire(stolen.key, 'thief', 600_000, { label: 'thief' });
      expect(theft).toMatchObject({ acquired: true });

      while (!failed.has(delayed.key)) await once(locks.events, 'renewFailed');
      await unlock(delayedRow);
      while (!lost.has(locked.key)) await once(locks.events, 'lost');
      await unlock(lockedRow);

      expect([...lost.keys()]).toEqual([stolen.key, locked.key]);
      expect(lost.get(stolen.key)?.message).toMatch(
        /the store says that the lease ran out or was taken away/,
      );
      expect(lost.get(locked.key)?.message).toMatch(/its lease ran out before a renewal was answered/);
      const rest = held.filter((lock) => lock !== stolen && lock !== locked);
      expect(rest.filter((lock) => !lock.held)).toEqual([]);
      expect(await store.inspect(stolen.key)).toMatchObject({ state: 'held', holder: { label: 'thief' } });

      // Without a renewal, each of these leases would have expired by now.
      const inStore = new Set((await store.list({ limit: 1000 })).locks.map(({ key }) => key));
      expect(rest.filter((lock) => !inStore.has(lock.key))).toEqual([]);
      for (let i = 0; i < rest.length; i += 100)
        for (const released of await Promise.all(rest.slice(i, i + 100).map((lock) => lock.release())))
          expect(released).toBe(true);
    });
  });
