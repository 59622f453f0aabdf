import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Collection } from 'mongodb';
import { LockService } from '../../../lib/lock.service.js';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { mongodRunsHere } from '../../servers/mongod-program.mjs';
import { startStandalone, type MongodbServer } from '../../servers/mongodb.mjs';
import { drivers, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const selected = mongodbIsSelected();

if (selected && mongodRunsHere())
  describe.each(drivers)('MongoDB without a replica set, with $name', ({ MongoClient }) => {
    let server: MongodbServer;
    let collection: Collection;
    let store: MongoLockStore;

    beforeAll(async () => {
      server = await startStandalone();
      collection = (await new MongoClient(server.url).connect()).db('app').collection('locks');
      store = new MongoLockStore(collection);
      await store.prepare();
    });
    afterAll(async () => {
      await collection.db.client.close();
      await server.stop();
    });

    it('B3 a server without a replica set keeps locks', async () => {
      const key = newKey();
      const token = tokenOf(await store.acquire(key, 'o', 60_000));
      expect(await store.acquire(key, 'p', 60_000)).toMatchObject({
        acquired: false,
        holder: { fencingToken: token },
      });
      expect(await store.renewMany([{ key, owner: 'o', ttl: 60_000 }])).toEqual(['renewed']);
      expect(await store.release(key, 'o')).toBe(true);
    });

    it('B91 transaction and guard are refused, and the error tells how to make a replica set', async () => {
      const service = new LockService({ options: {}, openStore: () => store });
      await service[INTERNALS].start();
      const lock = await service.acquire(newKey());
      const advice = {
        name: 'LockError',
        message: expect.stringMatching(/is a standalone server.*--replSet.*rs\.initiate\(\)/),
      };
      let ran = false;
      await expect(lock.transaction(() => (ran = true))).rejects.toMatchObject(advice);
      expect(ran).toBe(false);
      const session = collection.db.client.startSession();
      session.startTransaction();
      await expect(lock.guard(session)).rejects.toMatchObject(advice);
      await session.endSession();
      expect(await lock.release()).toBe(true);
    });
  });
else if (selected)
  it('no standalone server starts when the tests run on a given server', () => {
    expect(process.env.LOCK_TEST_MONGODB_URL).toBeDefined();
  });
