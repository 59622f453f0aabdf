// Tests on each database that writes with a fencing token still work while locking is
// disabled.
import { INTERNALS } from '../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { MongoClient } from 'mongodb';
import { LockService } from '../../lib/lock.service.js';
import type { LockStore, StoreClock, StoreLifecycle } from '../../lib/interfaces/index.js';
import { mongoStore } from '../../lib/stores/mongodb/index.js';
import { TypeOrmLockStore, TypeOrmSessionLockStore } from '../../lib/stores/typeorm/index.js';
import { DataSource } from 'typeorm';
import { captureLog } from '../core/core-fixture.js';
import { openMongoDatabase, selectedStores, sqlTargets, type Target } from '../servers/targets.js';

captureLog();

type Store = LockStore & StoreClock & StoreLifecycle;

async function goesOn(store: Store, write: (fence: number) => Promise<number>): Promise<void> {
  const service = new LockService({ options: {}, openStore: () => store });
  const writes: number[] = [];
  const run = async (): Promise<void> =>
    void writes.push(await service.run('key', ({ fencingToken }) => write(fencingToken)));
  await run();
  service.disable();
  for (let call = 0; call < 3; call++) await run();
  await service.enable();
  await run();
  expect(writes).toEqual([1, 1, 1, 1, 1]);
  await service[INTERNALS].close();
}

for (const { name, open } of sqlTargets())
  describe(`fenced writes on ${name}`, () => {
    let target: Target;
    let dataSource: DataSource;

    beforeAll(async () => {
      target = await open();
      dataSource = await new DataSource(target.options).initialize();
      await dataSource.query('CREATE TABLE fenced (fence BIGINT NOT NULL)');
      await dataSource.query('INSERT INTO fenced VALUES (0)');
    });

    afterAll(async () => {
      await dataSource.destroy();
      await target.dispose();
    });

    const write = async (fence: number): Promise<number> => {
      await dataSource.query(`UPDATE fenced SET fence = ${fence} WHERE fence < ${fence}`);
      const [row] = await dataSource.query<{ fence: unknown }[]>('SELECT fence FROM fenced');
      return Number(row?.fence) === fence ? 1 : 0;
    };

    it('E3 writes with a fencing token still work while locking is disabled, and after it is enabled again', async () => {
      await goesOn(new TypeOrmLockStore(dataSource), write);
    });

    it("B82 the store reads the clock from which its tokens are made, so that it can be compared with this machine's clock", async () => {
      const stores: Store[] = [new TypeOrmLockStore(dataSource)];
      if (name !== 'sqlite') stores.push(new TypeOrmSessionLockStore(dataSource));
      for (const store of stores) await tellsItsClock(store);
    });
  });

if (selectedStores.includes('mongodb'))
  describe('fenced writes on mongodb', () => {
    it('E3 writes with a fencing token still work while locking is disabled, and after it is enabled again', async () => {
      const database = openMongoDatabase();
      const { databaseName } = database;
      const client = new MongoClient(database.url);
      const fenced = client.db(databaseName).collection<{ fence: number }>('fenced');
      await fenced.insertOne({ fence: 0 });
      const open = async (): Promise<Store> =>
        (await mongoStore({ client, databaseName }).useFactory()) as Store;

      await goesOn(await open(), async (fence) => {
        const { modifiedCount } = await fenced.updateOne({ fence: { $lt: fence } }, { $set: { fence } });
        return modifiedCount;
      });
      await tellsItsClock(await open());
      await client.close();
      await database.dispose();
    });
  });

/**
 * Checks that `readClock()` reads the clock from which tokens are made: the token of a new key
 * lies between two readings.
 */
async function tellsItsClock(store: Store): Promise<void> {
  await store.prepare();
  const before = await store.readClock();
  const granted = await store.acquire(`clock ${before}`, 'owner', 10_000);
  const after = await store.readClock();
  const token = granted.acquired ? granted.fencingToken / 1000 : 0;
  expect(token).toBeGreaterThanOrEqual(Math.floor(before));
  expect(token).toBeLessThan(after + 1);
  // The clock counts milliseconds since 1970.
  expect(Math.abs(before - Date.now())).toBeLessThan(60_000);
  await store.close();
}
