import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { LockLostError } from '../../../lib/lock.errors.js';
import { targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { transactionClientsOf, Writers } from './transactions-fixture.js';

for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
  describe.each(transactionClientsOf(target))(`lock.transaction on ${target.name}, over %s`, (client) => {
    let writers: Writers;
    let key: string;
    beforeAll(async () => void (writers = await Writers.open(target, {}, client)));
    beforeEach(() => void (key = newKey()));
    afterAll(() => writers.dispose());

    it('B91 a transaction commits while the lock is held, and the lock stays held', async () => {
      await writers.service.run(key, async (lock) => {
        const result = await lock.transaction(async (context: any) => {
          await writers.write(context, key);
          expect(await writers.written(key)).toBe(0);
          return 42;
        });
        expect(result).toBe(42);
        expect(await writers.written(key)).toBe(1);
        expect(lock.held).toBe(true);
      });
      expect((await writers.service.admin.inspect(key)).state).toBe('free');
    });

    it('B91 a transaction rolls back and rejects with the error of its work', async () => {
      const lock = await writers.service.acquire(key);
      const error = new Error('out of stock');
      const failing = lock.transaction(async (context: any) => {
        await writers.write(context, key);
        throw error;
      });
      await expect(failing).rejects.toBe(error);
      expect(await writers.written(key)).toBe(0);
      expect(lock.held).toBe(true);
      expect(await lock.release()).toBe(true);
    });

    it('B91 a transaction rolls back when its lease has expired', async () => {
      const lock = await writers.service.acquire(key, { ttl: '3s' });
      const late = lock.transaction(async (context: any) => {
        await writers.write(context, key);
        await writers.expiry(key);
      });
      await expect(late).rejects.toThrow(LockLostError);
      expect(await writers.written(key)).toBe(0);
    });

    it('B91 a commit that fails rejects with a LockStoreError, and nothing is written', async () => {
      const lock = await writers.service.acquire(key);
      const broken = lock.transaction(async (context: any) => {
        await writers.write(context, key);
        writers.failCommit(context, Object.assign(new Error('duplicate key'), { code: '23505' }));
      });
      await expect(broken).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/Could not commit a transaction: .* failed: duplicate key \(23505\)/),
        transient: false,
      });
      expect(await writers.written(key)).toBe(0);
      expect(lock.held).toBe(true);
      await lock.release();
    });

    // SQLite is left out, because no other process can take a lock away while a transaction
    // writes to the file.
    if (target.name === 'sqlite') return;

    it('B91 a holder that has lost its lock never commits, but would commit without the guard', async () => {
      const lock = await writers.service.acquire(key);
      const late = lock.transaction(async (context: any) => {
        await writers.write(context, key);
        await writers.steal(key);
      });
      await expect(late).rejects.toThrow(LockLostError);
      expect(await writers.written(key)).toBe(0);

      await writers.thief.forceRelease(key);
      tokenOf(await writers.store.acquire(key, 'victim', 60_000));
      await writers.store.transaction(async (context) => {
        await writers.write(context, key);
        await writers.steal(key);
      });
      expect(await writers.written(key)).toBe(1);
    });

    it('B91 five transactions of one application run at the same time', async () => {
      const keys = Array.from({ length: 5 }, () => newKey());
      await Promise.all(
        keys.map((one) =>
          writers.service.run(one, (lock) => lock.transaction((context: any) => writers.write(context, key))),
        ),
      );
      expect(await writers.written(key)).toBe(5);
    });

    it('B91 renewals of other locks and a transaction do not delay each other', async () => {
      const other = await writers.service.acquire(newKey(), { ttl: '6s', renewEvery: 300 });
      const lock = await writers.service.acquire(key);
      await lock.transaction(async (context: any) => {
        await writers.write(context, key);
        await new Promise((resolve) => setTimeout(resolve, 1_200));
      });
      expect(other.held).toBe(true);
      expect(await other.release()).toBe(true);
      expect(await lock.release()).toBe(true);
    });
  });
