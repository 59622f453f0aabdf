import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Collection, MongoClient } from 'mongodb';
import { LockService } from '../../../lib/lock.service.js';
import { LockStoreError } from '../../../lib/lock.errors.js';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { captureLog, errorOf, warnings } from '../../core/core-fixture.js';
import { newKey } from '../keys.js';
import { clientOf } from '../../../lib/stores/mongodb/collection.handle.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';

if (mongodbIsSelected())
  describe.each(drivers)(
    'A5 a lock released inside the transaction that guards it, with $name',
    ({ MongoClient: Client }) => {
      const logged = captureLog();
      const fixture = new MongoFixture();
      let client: MongoClient;
      let service: LockService;
      let contender: LockService;
      let writes: Collection<any>;
      let key: string;
      let failed: unknown[];

      beforeAll(async () => {
        const locks = await fixture.collection({}, Client);
        client = clientOf(locks);
        const others = await fixture.collection({}, Client);
        [service, contender] = [locks, others].map(
          (collection) =>
            new LockService({ options: { ttl: '1h' }, openStore: () => new MongoLockStore(collection) }),
        ) as [LockService, LockService];
        await service[INTERNALS].start();
        await contender[INTERNALS].start();
        for (const name of ['storeError', 'lost'] as const)
          service.events.on(name, (event: unknown) => failed.push(event));
        writes = locks.db.collection('writes');
        await writes.insertOne({ _id: 'warm' });
      });
      beforeEach(() => {
        key = newKey();
        failed = [];
      });
      afterAll(async () => {
        await service[INTERNALS].close();
        await contender[INTERNALS].close();
        await fixture.dispose();
      });

      /**
       * Acquires the key in another process while most of its ttl is left, and counts the
       * writes that are committed then.
       */
      const takenAfterCommit = async (): Promise<number> => {
        await using _ = await contender.acquire(key, { wait: '1m' });
        return writes.countDocuments({ key });
      };

      it('A5 the lock is free after the commit, and one warning names the cause', async () => {
        const session = client.startSession();
        await session.withTransaction(async () => {
          await service.run(key, async (lock) => {
            await writes.insertOne({ key }, { session });
            await lock.guard(session);
          });
        });
        expect(await takenAfterCommit()).toBe(1);
        await session.endSession();
        expect(failed).toEqual([]);
        expect(warnings(logged).filter((text) => text.includes('guards it'))).toEqual([
          expect.stringContaining(`"${key}" was released inside the transaction that guards it`),
        ]);
      });

      it('A5 the lock is free after an abort, although the session has begun another transaction', async () => {
        const session = client.startSession();
        session.startTransaction();
        const lock = await service.acquire(key);
        await writes.insertOne({ key }, { session });
        await lock.guard(session);
        expect(await lock.release()).toBe(true);
        await session.abortTransaction();
        session.startTransaction();
        await writes.insertOne({ other: key }, { session });
        expect(await takenAfterCommit()).toBe(0);
        await session.abortTransaction();
        await session.endSession();
        expect(failed).toEqual([]);
      });

      it('A5 a renewal that the guard delays does not lose the lock', async () => {
        const session = client.startSession();
        await service.run(
          key,
          async (lock) => {
            await session.withTransaction(async () => {
              await writes.insertOne({ key }, { session });
              await lock.guard(session);
              expect(await errorOf(lock.extend())).toBeInstanceOf(LockStoreError);
              expect(lock.held).toBe(true);
            });
            await lock.extend();
            expect(lock.held).toBe(true);
          },
          { ttl: '6s' },
        );
        await session.endSession();
        expect(failed).toEqual([]);
        expect((await service.admin.inspect(key)).state).toBe('free');
      });
    },
  );
