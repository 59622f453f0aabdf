import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { ClientSession, Collection } from 'mongodb';
import { LockLostError } from '../../../lib/lock.errors.js';
import { LockService } from '../../../lib/lock.service.js';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

if (mongodbIsSelected())
  describe.each(drivers)('transactions under a lock, with $name', ({ MongoClient }) => {
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

    /** Somebody else gets the key, as after its lease has run out. */
    async function steal(): Promise<void> {
      await thief.forceRelease(key);
      tokenOf(await thief.acquire(key, 'thief', 60_000));
    }
    const written = () => writes.countDocuments({ key });

    it('commit while the lock is held, and the lock goes on', async () => {
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

    it('of a holder that lost its lock in the middle are never committed; without the guard they are', async () => {
      const lock = await service.acquire(key);
      const late = lock.transaction(async (session: ClientSession) => {
        await writes.insertOne({ key }, { session });
        await steal();
      });
      await expect(late).rejects.toThrow(LockLostError);
      expect(await written()).toBe(0);

      // The same without the guard.
      const owner = 'victim';
      await thief.forceRelease(key);
      tokenOf(await store.acquire(key, owner, 60_000));
      await store.transaction(async (session) => {
        await writes.insertOne({ key }, { session });
        await steal();
      });
      expect(await written()).toBe(1);
    });

    it('are not overtaken between guard and commit: a contender gets the key after it', async () => {
      const token = tokenOf(await store.acquire(key, 'holder', 300));
      const order: string[] = [];
      let stealing: Promise<unknown> | undefined;
      await store.transaction(async (session) => {
        await writes.insertOne({ key }, { session });
        expect(await store.guard(session, key, 'holder', token)).toBe(true);
        stealing = untilAcquired(thief).then(() => order.push('stolen'));
        const { now } = await writes.db.command({ hello: 1 }).then(({ localTime }) => ({ now: localTime }));
        await clockAt(new Date(now.getTime() + 600)); // the lease has run out, and the thief has tried
        order.push('commit');
      });
      await stealing;
      expect(order).toEqual(['commit', 'stolen']);
      expect(await written()).toBe(1);
    });

    it('are refused when the lease has run out, taken or not', async () => {
      const token = tokenOf(await store.acquire(key, 'holder', 200));
      await thief.acquire(key, 'other', 100); // refused
      await clockAt(new Date(Date.now() + 400));
      expect(await store.transaction((session) => store.guard(session, key, 'holder', token))).toBe(false);
    });

    it('are refused to another owner and to another token', async () => {
      const token = tokenOf(await store.acquire(key, 'holder', 60_000));
      const guarded = (owner: string, fencingToken: number) =>
        store.transaction((session) => store.guard(session, key, owner, fencingToken));
      expect(await guarded('holder', token)).toBe(true);
      expect(await guarded('other', token)).toBe(false);
      expect(await guarded('holder', token + 1)).toBe(false);
      await store.release(key, 'holder');
      expect(await guarded('holder', token)).toBe(false);
    });

    it('run their work again after a conflict with another one, as long as the lock is held', async () => {
      const counter = newKey();
      await writes.insertOne({ _id: counter, n: 0 });
      let runs = 0;
      await service.run(key, (lock) =>
        lock.transaction(async (session: ClientSession) => {
          runs++;
          const { n } = await writes.findOne({ _id: counter }, { session });
          if (runs === 1) await writes.updateOne({ _id: counter }, { $inc: { n: 10 } }); // from outside
          await writes.updateOne({ _id: counter }, { $set: { n: n + 1 } }, { session });
        }),
      );
      expect(runs).toBe(2);
      expect(await writes.findOne({ _id: counter })).toMatchObject({ n: 11 });
    });

    it('run again when a late renewal has changed the lock meanwhile', async () => {
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
      'whose work calls %s itself are refused, since they have no guard',
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
            message: expect.stringMatching(/has committed or aborted the transaction itself/),
          });
        }
        expect(lock.held).toBe(true);
        await lock.release();
      },
    );

    it('run again when the server has forgotten them before the guard', async () => {
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

    it('B27 whose commit fails may have been carried out, which the error says', async () => {
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
        message: expect.stringMatching(/may have been committed all the same/),
      });
    });

    it('end with the error of their work, and are rolled back', async () => {
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

    it('of the application can be guarded, and fail with advice when a renewal came in between', async () => {
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

    it('are asked for: a guard refuses anything that is no open transaction of this client', async () => {
      const lock = await service.acquire(key);
      const session = writes.db.client.startSession();
      for (const wrong of [session, {}, writes.db.client, 'session', null] as any[])
        await expect(lock.guard(wrong)).rejects.toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(/needs a ClientSession in which a transaction was started/),
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

    /** Resolves when the server's clock has come so far. */
    async function clockAt(moment: Date): Promise<void> {
      for (;;) {
        const { localTime } = await writes.db.command({ hello: 1 });
        if (localTime >= moment) return;
      }
    }
  });
