import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ClientSession, Collection } from 'mongodb';
import { LockLostError } from '../../../lib/lock.errors.js';
import { LockService } from '../../../lib/lock.service.js';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

if (mongodbIsSelected())
  describe.each(drivers)('transactions under a MongoDB lock, with $name', ({ MongoClient }) => {
    const fixture = new MongoFixture();
    let store: MongoLockStore;
    let thief: MongoLockStore;
    let service: LockService;
    let writes: Collection<any>;
    let key: string;

    beforeAll(async () => {
      const locks = await fixture.collection({}, MongoClient);
      store = new MongoLockStore(locks);
      thief = new MongoLockStore(await fixture.collection({}, MongoClient));
      await Promise.all([store.prepare(), thief.prepare()]);
      service = new LockService({ options: { ttl: '10s' }, openStore: () => store });
      await service[INTERNALS].start();
      writes = locks.db.collection('writes');
      await writes.insertOne({ _id: 'warm' });
    });
    beforeEach(() => void (key = newKey()));
    afterAll(() => fixture.dispose());

    /** Ends the holder's lease, and gives the key to the thief. */
    async function steal(): Promise<void> {
      await thief.forceRelease(key);
      tokenOf(await thief.acquire(key, 'thief', 60_000));
    }
    const written = () => writes.countDocuments({ key });

    it('B91 a transaction commits while the lock is held, and the lock stays held', async () => {
      await service.run(key, async (lock) => {
        const id = await lock.transaction(async (session: ClientSession) => {
          const { insertedId } = await writes.insertOne({ key }, { session });
          return insertedId;
        });
        expect(await writes.findOne({ _id: id })).toMatchObject({ key });
        expect(lock.held).toBe(true);
      });
      expect((await service.admin.inspect(key)).state).toBe('free');
    });

    it('B91 a holder that has lost its lock never commits, but would commit without the guard', async () => {
      const lock = await service.acquire(key);
      const late = lock.transaction(async (session: ClientSession) => {
        await writes.insertOne({ key }, { session });
        await steal();
      });
      await expect(late).rejects.toThrow(LockLostError);
      expect(await written()).toBe(0);

      // Repeats the theft in a transaction without the guard, which commits.
      const owner = 'victim';
      await thief.forceRelease(key);
      tokenOf(await store.acquire(key, owner, 60_000));
      await store.transaction(async (session) => {
        await writes.insertOne({ key }, { session });
        await steal();
      });
      expect(await written()).toBe(1);
    });

    it('B91 a contender gets the key only after the guarded transaction has committed', async () => {
      const token = tokenOf(await store.acquire(key, 'holder', 300));
      const order: string[] = [];
      let stealing: Promise<unknown> | undefined;
      await store.transaction(async (session) => {
        await writes.insertOne({ key }, { session });
        expect(await store.guard(session, key, 'holder', token)).toBe(true);
        stealing = untilAcquired(thief).then(() => order.push('stolen'));
        const { now } = await writes.db.command({ hello: 1 }).then(({ localTime }) => ({ now: localTime }));
        // At this moment the lease has expired, and the thief has tried to acquire the key.
        await clockAt(new Date(now.getTime() + 600));
        order.push('commit');
      });
      await stealing;
      expect(order).toEqual(['commit', 'stolen']);
      expect(await written()).toBe(1);
    });

    it('B91 the guard refuses an expired lease, whether another process has acquired the key or not', async () => {
      const token = tokenOf(await store.acquire(key, 'holder', 200));
      // This attempt is refused, because the holder's lease has not expired yet.
      await thief.acquire(key, 'other', 100);
      await clockAt(new Date(Date.now() + 400));
      expect(await store.transaction((session) => store.guard(session, key, 'holder', token))).toBe(false);
    });

    it('B91 the guard refuses another owner and another token', async () => {
      const token = tokenOf(await store.acquire(key, 'holder', 60_000));
      const guarded = (owner: string, fencingToken: number) =>
        store.transaction((session) => store.guard(session, key, owner, fencingToken));
      expect(await guarded('holder', token)).toBe(true);
      expect(await guarded('other', token)).toBe(false);
      expect(await guarded('holder', token + 1)).toBe(false);
      await store.release(key, 'holder');
      expect(await guarded('holder', token)).toBe(false);
    });

    it('B91 the work runs again after a conflict with another transaction while the lock is held', async () => {
      const counter = newKey();
      await writes.insertOne({ _id: counter, n: 0 });
      let runs = 0;
      await service.run(key, (lock) =>
        lock.transaction(async (session: ClientSession) => {
          runs++;
          const { n } = await writes.findOne({ _id: counter }, { session });
          // This write is outside of the transaction, and makes the transaction run again.
          if (runs === 1) await writes.updateOne({ _id: counter }, { $inc: { n: 10 } });
          await writes.updateOne({ _id: counter }, { $set: { n: n + 1 } }, { session });
        }),
      );
      expect(runs).toBe(2);
      expect(await writes.findOne({ _id: counter })).toMatchObject({ n: 11 });
    });

    it('B91 the work runs again when a late renewal has changed the lock during the transaction', async () => {
      const lock = await service.acquire(key);
      let runs = 0;
      await lock.transaction(async (session: ClientSession) => {
        await writes.insertOne({ key }, { session });
        if (++runs === 1) await store.renew(key, lock.owner, 10_000);
      });
      expect(runs).toBe(2);
      expect(await written()).toBe(1);
      await lock.release();
    });

    it.each(['abortTransaction', 'commitTransaction'] as const)(
      'B91 work that calls %s itself is refused, since it has no guard',
      async (end) => {
        const lock = await service.acquire(key);
        for (const again of [false, true]) {
          const error: any = await lock
            .transaction(async (session: ClientSession) => {
              await writes.insertOne({ key: 'other' }, { session });
              await session[end]();
              if (again) session.startTransaction();
            })
            .catch((thrown: unknown) => thrown);
          expect(error).toMatchObject({
            name: 'LockError',
            message: expect.stringMatching(
              /has committed or aborted the transaction, so the guard no longer protects it/,
            ),
          });
        }
        expect(lock.held).toBe(true);
        await lock.release();
      },
    );

    it('B91 the work runs again when the server has dropped the transaction before the guard', async () => {
      const lock = await service.acquire(key);
      let runs = 0;
      await lock.transaction(async (session: ClientSession) => {
        await writes.insertOne({ key }, { session });
        if (++runs === 1) await writes.db.admin().command({ killSessions: [session.id] });
      });
      expect(runs).toBe(2);
      expect(await written()).toBe(1);
      await lock.release();
    });

    it('B27 the error of a failed commit says that the server may have carried out the commit', async () => {
      const appName = newKey();
      const unsure = new MongoLockStore(await fixture.collection({ appName }, MongoClient));
      await unsure.prepare();
      await writes.db.admin().command({
        configureFailPoint: 'failCommand',
        mode: { times: 1 },
        data: {
          failCommands: ['commitTransaction'],
          writeConcernError: { code: 50, codeName: 'MaxTimeMSExpired', errmsg: 'out of time' },
          appName,
        },
      });
      await expect(
        unsure.transaction(async (session) =>
          (session as any).client
            .db(fixture.databaseName)
            .collection('writes')
            .insertOne({ key }, { session }),
        ),
      ).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: false,
        message: expect.stringMatching(/may have been committed nevertheless/),
      });
    });

    it('B91 a transaction rolls back and rejects with the error of its work', async () => {
      const lock = await service.acquire(key);
      const error = new Error('out of stock');
      const failing = lock.transaction(async (session: ClientSession) => {
        await writes.insertOne({ key }, { session });
        throw error;
      });
      await expect(failing).rejects.toBe(error);
      expect(await written()).toBe(0);
      expect(lock.held).toBe(true);
      await lock.release();
    });

    it('B91 a guard in a transaction of the application fails after a renewal of the lock, and its error names the next step', async () => {
      const lock = await service.acquire(key);
      const session = writes.db.client.startSession();
      await session.withTransaction(async () => {
        await writes.insertOne({ key }, { session });
        await lock.guard(session);
      });
      expect(await written()).toBe(1);

      session.startTransaction();
      await writes.insertOne({ key }, { session });
      await lock.extend();
      await expect(lock.guard(session)).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/has changed since the transaction began.*lock\.transaction\(\)/),
      });
      await session.abortTransaction();
      await session.endSession();
      expect(await written()).toBe(1);
      await lock.release();
    });

    it('B91 a guard refuses anything but an open transaction of this client', async () => {
      const lock = await service.acquire(key);
      const session = writes.db.client.startSession();
      for (const wrong of [session, {}, writes.db.client, 'session', null] as any[])
        await expect(lock.guard(wrong)).rejects.toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(/needs a ClientSession with an open transaction/),
        });
      const foreign = (await fixture.client({}, MongoClient)).startSession();
      foreign.startTransaction();
      await expect(lock.guard(foreign)).rejects.toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(/belongs to another client.*mongoStore/),
      });
      await foreign.abortTransaction();
      await Promise.all([session.endSession(), foreign.endSession()]);
      await lock.release();
    });

    async function untilAcquired(other: MongoLockStore): Promise<void> {
      for (;;) {
        const answer = await other.acquire(key, 'thief', 60_000).catch(() => undefined);
        if (answer?.acquired) return;
      }
    }

    /** Resolves when the server's clock has reached the given moment. */
    async function clockAt(moment: Date): Promise<void> {
      for (;;) {
        const { localTime } = await writes.db.command({ hello: 1 });
        if (localTime >= moment) return;
      }
    }
  });
