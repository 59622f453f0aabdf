import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { EntityManager } from 'typeorm';
import { targetsAmong } from './fixture.js';
import { newKey } from '../keys.js';
import { Database } from './sqlite-driver.js';
import { Writers } from './transactions-fixture.js';

for (const target of targetsAmong('sqlite'))
  describe('lock.transaction on SQLite, where the application has a single connection', () => {
    let writers: Writers;
    let key: string;
    /** A connection to the same file, as another process would have it. */
    let other: any;
    beforeAll(async () => {
      writers = await Writers.open(target);
      other = new Database(writers.fixture.target.options.database, { timeout: 0 });
    });
    beforeEach(() => void (key = newKey()));
    afterAll(async () => {
      other.close();
      await writers.dispose();
    });

    const connection = () => (writers.application.driver as any).databaseConnection;

    it('B91 the work may read before it writes, unlike in a plain transaction', async () => {
      const overtaken = writers.application.transaction(async (manager) => {
        await manager.query('SELECT count(*) FROM writes');
        await writers.hold(); // Acquiring any lock writes to the file, as a renewal would do.
        await writers.write(manager, key);
      });
      await expect(overtaken).rejects.toMatchObject({ code: 'SQLITE_BUSY_SNAPSHOT' });

      await writers.service.run(key, (lock) =>
        lock.transaction(async (manager: EntityManager) => {
          await manager.query('SELECT count(*) FROM writes');
          await expect(writers.thief.acquire(newKey(), 'o', 400)).resolves.toEqual({
            acquired: false,
            reason: 'contention',
          });
          await writers.write(manager, key);
        }),
      );
      expect(await writers.written(key)).toBe(1);
    });

    it('B91 while transactions take 400 ms each, the renewals of other locks come late, but no lock is lost', async () => {
      const others = await Promise.all(
        Array.from({ length: 5 }, () => writers.service.acquire(newKey(), { ttl: '1s' })),
      );
      for (let i = 0; i < 4; i++)
        await writers.service.run(key, (lock) =>
          lock.transaction(async (manager: EntityManager) => {
            await writers.write(manager, key);
            await sleep(400);
          }),
        );
      expect(others.map((lock) => lock.held)).toEqual(others.map(() => true));
      expect(await Promise.all(others.map((lock) => lock.release()))).toEqual(others.map(() => true));
    });

    it('B91 transactions of the application take turns', async () => {
      const keys = Array.from({ length: 4 }, () => newKey());
      let inside = 0;
      const oneByOne = (one: string) =>
        writers.service.run(one, (lock) =>
          lock.transaction(async (manager: EntityManager) => {
            expect(++inside).toBe(1);
            await writers.write(manager, key);
            await sleep(20);
            inside--;
          }),
        );
      await Promise.all(keys.map(oneByOne));
      expect(await writers.written(key)).toBe(4);
    });

    it('B91 a transaction waits for an earlier transaction of the application, and its error names that transaction when it gives up', async () => {
      const lock = await writers.service.acquire(key, { ttl: '30s' });
      await writers.application.transaction(async () => {
        await expect(lock.transaction(async () => {})).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringMatching(
            /Could not begin the transaction: the application's own connection .* is in another transaction/,
          ),
        });
      });
      const ending = writers.application.transaction(() => sleep(100));
      await lock.transaction((manager: EntityManager) => writers.write(manager, key));
      await ending;
      expect(await writers.written(key)).toBe(1);
      await lock.release();
    });

    it('B91 a rollback also undoes the transactions that other code has begun inside the transaction', async () => {
      for (const failing of [false, true]) {
        const lock = await writers.service.acquire(key);
        let inner: Promise<unknown> | undefined;
        let ended: () => void = () => {};
        const outer = lock.transaction(async (manager: EntityManager) => {
          await writers.write(manager, key);
          inner = writers.application
            .transaction((another) => {
              const end = new Promise<void>((resolve) => void (ended = resolve));
              return writers.write(another, key).then(() => end);
            })
            .catch((error: unknown) => error);
          await sleep(20); // By now, the inner transaction has begun as a savepoint.
          if (failing) throw new Error('out of stock');
        });
        await expect(outer).rejects.toThrow(
          failing ? 'out of stock' : /Could not commit the transaction: .* is in another transaction/,
        );
        ended();
        expect(await inner).toBeInstanceOf(Error);
        expect(connection().inTransaction).toBe(false);
        expect(await writers.written(key)).toBe(0);
        await lock.release();
      }
    });

    it('B26 a transaction waits for another writer without blocking the event loop', async () => {
      const timeout = connection().pragma('busy_timeout', { simple: true });
      const lock = await writers.service.acquire(key);
      const working = lock.transaction(async (manager: EntityManager) => {
        await writers.write(manager, key);
        return connection().pragma('busy_timeout', { simple: true });
      });
      other.exec('BEGIN IMMEDIATE');
      // If better-sqlite3 waited itself, it would block the event loop for 5 s.
      await sleep(200);
      other.exec('COMMIT');
      expect(await working).toBe(timeout);
      expect(await writers.written(key)).toBe(1);
      await lock.release();
    });

    it('B26 a transaction fails with a transient error that names the other writer if that writer never ends', async () => {
      const lock = await writers.service.acquire(key, { ttl: '30s' });
      const original = writers.store.renew.bind(writers.store);
      writers.store.renew = async (...lease) => {
        const renewed = await original(...lease);
        other.exec('BEGIN IMMEDIATE');
        return renewed;
      };
      await expect(lock.transaction(async () => {})).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/another connection keeps writing to the SQLite file/),
        transient: true,
      });
      other.exec('COMMIT');
      writers.store.renew = original;
      expect(connection().inTransaction).toBe(false);
      await lock.transaction((manager: EntityManager) => writers.write(manager, key));
      expect(await writers.written(key)).toBe(1);
      await lock.release();
    });
  });
