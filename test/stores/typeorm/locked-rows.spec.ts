import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource, QueryRunner } from 'typeorm';
import type { LeaseRenewal } from '../../../lib/interfaces/lock-store.interface.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, ISOLATION_LEVELS, targetsAmong, setIsolation, sqlOf } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const TTL = 60_000;

// MySQL 5 waits up to two seconds for a locked row in each of these tests.
const levelsOf = (name: string) => (name === 'mysql56' ? (['REPEATABLE READ'] as const) : ISOLATION_LEVELS);

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe.each(levelsOf(target.name))(
    `rows of ${target.name} that another session has locked, at %s`,
    (level) => {
      let fixture: Fixture;
      let application: DataSource;
      let store: TypeOrmLockStore;
      beforeAll(async () => {
        fixture = await Fixture.open(target);
        application = await fixture.dataSource();
        await setIsolation(application, level);
        store = new TypeOrmLockStore(application);
        await store.prepare();
      });
      afterAll(() => fixture.dispose());

      const sql = sqlOf(target);
      const lockRow = async (key: string): Promise<QueryRunner> => {
        const runner = application.createQueryRunner();
        await runner.startTransaction('READ COMMITTED');
        expect(await runner.query(sql.lockRow, [sql.bytes(key)])).toHaveLength(1);
        return runner;
      };
      const unlock = async (runner: QueryRunner) => {
        await runner.rollbackTransaction();
        await runner.release();
      };
      const hold = async (count: number): Promise<LeaseRenewal[]> => {
        const leases = Array.from({ length: count }, () => ({ key: newKey(), owner: 'o', ttl: TTL }));
        for (const { key, owner, ttl } of leases)
          tokenOf(await store.acquire(key, owner, ttl, { label: 'holder' }));
        return leases;
      };

      it('B22 an attempt on a held key is refused and names the holder, even if another session has locked the row', async () => {
        const [lease] = (await hold(1)) as [LeaseRenewal];
        const locked = await lockRow(lease.key);
        expect(await store.acquire(lease.key, 'other', TTL)).toMatchObject({
          reason: 'held',
          holder: { label: 'holder' },
        });
        await unlock(locked);
      });

      it('B26 an attempt on a free key is refused as contention while another session has locked the row', async () => {
        const [lease] = (await hold(1)) as [LeaseRenewal];
        await store.release(lease.key, lease.owner);
        const locked = await lockRow(lease.key);
        expect(await store.acquire(lease.key, 'other', TTL)).toEqual({
          acquired: false,
          reason: 'contention',
        });
        await unlock(locked);
        tokenOf(await store.acquire(lease.key, 'other', TTL));
      });

      // A server that waits for a locked row waits anew for each key. Hence this test has no
      // time limit, and uses the keys in this order.
      it('B24 a locked row delays no operation on another key', async () => {
        const [free, own, freed, lockedOne] = (await hold(4)) as [
          LeaseRenewal,
          LeaseRenewal,
          LeaseRenewal,
          LeaseRenewal,
        ];
        await store.release(free.key, free.owner);
        const locked = await lockRow(lockedOne.key);
        tokenOf(await store.acquire(free.key, 'other', TTL));
        tokenOf(await store.acquire(newKey(), 'other', TTL));
        expect(await store.renew(own.key, own.owner, TTL)).toBe(true);
        expect(await store.release(own.key, own.owner)).toBe(true);
        expect(await store.forceRelease(freed.key)).toBe(true);
        await unlock(locked);
      });

      it('B51 renewMany renews 499 leases and reports the locked lease as unknown', async () => {
        const leases = await hold(500);
        const [middle, gone] = [leases[250], leases[400]] as [LeaseRenewal, LeaseRenewal];
        await store.release(gone.key, gone.owner);
        const before = await store.inspect((leases[499] as LeaseRenewal).key);
        const locked = await lockRow(middle.key);
        const outcomes = await store.renewMany(leases);
        await unlock(locked);
        expect(leases.map(({ key }, i) => [key, outcomes[i]])).toEqual(
          leases.map(({ key }) => [
            key,
            key === middle.key ? 'unknown' : key === gone.key ? 'lost' : 'renewed',
          ]),
        );
        const after = await store.inspect((leases[499] as LeaseRenewal).key);
        if (before.state !== 'held' || after.state !== 'held') throw new Error('it is not held');
        expect(after.holder.expiresAt?.getTime()).toBeGreaterThan(
          before.holder.expiresAt?.getTime() ?? Infinity,
        );
        expect(await store.renewMany([middle])).toEqual(['renewed']);
      });

      it('B27 a renewal and a release of a lock whose row is locked fail with a transient error after a second', async () => {
        const [lease] = (await hold(1)) as [LeaseRenewal];
        const locked = await lockRow(lease.key);
        const failure = expect.objectContaining({ name: 'LockStoreError', transient: true });
        const message = expect.objectContaining({
          message: expect.stringContaining('another session has locked the row'),
        });
        const [renewal, release] = await Promise.allSettled([
          store.renew(lease.key, lease.owner, TTL),
          store.release(lease.key, lease.owner),
        ]);
        expect(renewal).toEqual({ status: 'rejected', reason: failure });
        expect(release).toEqual({ status: 'rejected', reason: failure });
        expect(renewal).toMatchObject({ reason: message });
        await unlock(locked);
        expect(await store.release(lease.key, lease.owner)).toBe(true);
      });

      it('B37 a renewal and a release by another owner are refused, even if another session has locked the row', async () => {
        const [lease] = (await hold(1)) as [LeaseRenewal];
        const locked = await lockRow(lease.key);
        expect(await store.renew(lease.key, 'other', TTL)).toBe(false);
        expect(await store.release(lease.key, 'other')).toBe(false);
        await unlock(locked);
      });

      it('B27 a renewal succeeds if the other session unlocks the row in time', async () => {
        const [lease] = (await hold(1)) as [LeaseRenewal];
        const locked = await lockRow(lease.key);
        const renewal = store.renew(lease.key, lease.owner, TTL);
        // The answer to this request shows that the renewal has been sent.
        await store.inspect(lease.key);
        await unlock(locked);
        expect(await renewal).toBe(true);
      });

      // MySQL 5 is left out: its renewal reads the clock before it waits for the row, so it
      // may revive a lease that expires during this wait of up to two seconds.
      if (target.name !== 'mysql56')
        it('B50 a lease that expires while its row is locked is not revived', async () => {
          const key = newKey();
          tokenOf(await store.acquire(key, 'o', 300));
          const locked = await lockRow(key);
          const renewal = store.renew(key, 'o', TTL);
          while ((await store.inspect(key)).state === 'held');
          await unlock(locked);
          expect(await renewal).toBe(false);
          tokenOf(await store.acquire(key, 'other', TTL));
        });
    },
  );
