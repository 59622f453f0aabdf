import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { EntityManager } from 'typeorm';
import { LockError, LockStoreError } from '../../../lib/lock.errors.js';
import { targetsAmong } from './fixture.js';
import { TTL, Writers, type Level } from './transactions-fixture.js';

for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
  describe(`refusals of a guard on ${target.name}`, () => {
    let writers: Writers;
    beforeAll(async () => void (writers = await Writers.open(target)));
    afterAll(() => writers.dispose());

    const inTransaction = <T>(level: Level, work: (manager: EntityManager) => Promise<T>): Promise<T> =>
      writers.application.transaction(level, work);
    /**
     * Runs a guard in a transaction that has read before a renewal of its lock, and returns
     * the result of the guard.
     */
    const guardAfterRenewal = async (level: Level, prepare?: (manager: EntityManager) => Promise<void>) => {
      const { key, token } = await writers.hold();
      return inTransaction(level, async (manager) => {
        await prepare?.(manager);
        await manager.query('SELECT count(*) FROM writes');
        expect(await writers.store.renew(key, 'holder', TTL)).toBe(true);
        return writers.store.guard(manager, key, 'holder', token);
      });
    };

    it('B91 anything but an open transaction is refused', async () => {
      const { key, token } = await writers.hold();
      let ended: EntityManager | undefined;
      await inTransaction('SERIALIZABLE', async (manager) => void (ended = manager));
      const wrong = [ended, writers.application.manager, writers.application, {}, 'manager', null, undefined];
      for (const manager of wrong)
        await expect(writers.store.guard(manager as EntityManager, key, 'holder', token)).rejects.toThrow(
          new LockError(
            `Could not guard "${key}" in a transaction: it needs the EntityManager of an open transaction, as dataSource.transaction() passes it. For a transaction that the store begins, use lock.transaction().`,
          ),
        );
    });

    it('B91 a transaction of another DataSource is refused', async () => {
      const { key, token } = await writers.hold();
      const foreign = await writers.fixture.dataSource();
      const guarding = foreign.transaction((manager) => writers.store.guard(manager, key, 'holder', token));
      await expect(guarding).rejects.toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(/belongs to another DataSource.*typeOrmStore\(\)/),
      });
    });

    it('B91 a token that is not a whole number is refused', async () => {
      const { key } = await writers.hold();
      for (const token of [NaN, 1.5, '1 OR 1=1', undefined] as number[])
        await expect(
          inTransaction('SERIALIZABLE', (manager) => writers.store.guard(manager, key, 'holder', token)),
        ).rejects.toThrow(/fencing token must be a whole number/);
    });

    if (target.name === 'postgres')
      it.each(['REPEATABLE READ', 'SERIALIZABLE'] as const)(
        'B91 a guard at %s is refused, and the error names lock.transaction()',
        async (level) => {
          const advice =
            /at the isolation level of this transaction.*READ COMMITTED, or run the work in lock\.transaction\(\)/;
          const { key, token } = await writers.hold();
          await expect(guardAfterRenewal(level)).rejects.toThrow(advice);
          const guarding = inTransaction(level, (manager) =>
            writers.store.guard(manager, key, 'holder', token),
          );
          const error: unknown = await guarding.catch((thrown: unknown) => thrown);
          expect(error).toBeInstanceOf(LockError);
          expect(error).not.toBeInstanceOf(LockStoreError);
          expect(error).toMatchObject({ message: expect.stringMatching(advice) });
        },
      );

    const advised = {
      name: 'LockStoreError',
      message: expect.stringMatching(
        /another session has written since the transaction began.*lock\.transaction\(\)/,
      ),
      transient: true,
    };

    if (target.name === 'mariadb')
      it.each(['REPEATABLE READ', 'SERIALIZABLE'] as const)(
        'B91 a guard at %s fails after a renewal if the server checks snapshots, and the error names lock.transaction()',
        async (level) => {
          const snapshots = (on: boolean) => async (manager: EntityManager) => {
            await manager.query(`SET SESSION innodb_snapshot_isolation = ${on ? 'ON' : 'OFF'}`);
          };
          await expect(guardAfterRenewal(level, snapshots(true))).rejects.toMatchObject(advised);
          expect(await guardAfterRenewal(level, snapshots(false))).toBe(true);
        },
      );

    if (target.name === 'sqlite')
      it('B91 a guard fails after a later write of another session, and the error names lock.transaction()', async () => {
        await expect(guardAfterRenewal('SERIALIZABLE')).rejects.toMatchObject(advised);
      });
  });
