import { once } from 'node:events';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { MongooseModule, getConnectionToken } from '@nestjs/mongoose';
import { Test, type TestingModule } from '@nestjs/testing';
import type { Connection } from 'mongoose';
import { LockModule, LockService } from '../../../lib/index.js';
import { mongooseStore, mongoStore } from '../../../lib/stores/mongodb/index.js';
import { newKey } from '../keys.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';

if (mongodbIsSelected())
  describe('connections that the application closes and opens again', () => {
    const fixture = new MongoFixture();
    let app: TestingModule | undefined;

    afterEach(async () => {
      await app?.close();
      app = undefined;
    });
    afterAll(() => fixture.dispose());

    const start = async (...imports: object[]): Promise<LockService> => {
      await fixture.client();
      app = await Test.createTestingModule({ imports: imports as never[] }).compile();
      await app.init();
      return app.get(LockService);
    };
    /** Resolves with the error when an attempt of this service has failed. */
    const failure = async (locks: LockService) => (await once(locks.events, 'storeError'))[0] as object;

    it('R3 locks work again and waits go on after a Mongoose connection has been opened again', async () => {
      const locks = await start(
        MongooseModule.forRoot(fixture.url, { dbName: fixture.databaseName }),
        LockModule.forRoot({ store: mongooseStore() }),
      );
      const connection = app?.get<Connection>(getConnectionToken()) as Connection;
      const [held, waited] = [newKey(), newKey()];
      const lock = await locks.acquire(held, { autoRenew: false });

      await connection.close();
      const failed = failure(locks);
      const waiting = locks.acquire(waited, { wait: '30s' });
      expect(await failed).toMatchObject({ error: { transient: true } });
      await connection.openUri(fixture.url, { dbName: fixture.databaseName });

      expect((await waiting).held).toBe(true);
      expect(await lock.release()).toBe(true);
      expect((await locks.admin.inspect(waited)).state).toBe('held');
    });

    it('R3 a Mongoose connection that is opened again on another database keeps its locks in that database', async () => {
      const elsewhere = new MongoFixture();
      await elsewhere.client();
      const locks = await start(
        MongooseModule.forRoot(fixture.url, { dbName: fixture.databaseName }),
        LockModule.forRoot({ store: mongooseStore() }),
      );
      const connection = app?.get<Connection>(getConnectionToken()) as Connection;
      await connection.close();
      await connection.openUri(elsewhere.url, { dbName: elsewhere.databaseName });
      const key = newKey();
      await locks.acquire(key);
      const found = await connection.db?.collection('locks').findOne({ _id: key as never });
      expect(found).toMatchObject({ _id: key });
      await app?.close();
      app = undefined;
      await elsewhere.dispose();
    });

    it.each(drivers)('R3 locks work after a client of $name has been connected again', async (driver) => {
      const client = await fixture.client({}, driver.MongoClient);
      const locks = await start(
        LockModule.forRoot({ store: mongoStore({ client, databaseName: fixture.databaseName }) }),
      );
      const key = newKey();
      await client.close();
      const failed = failure(locks);
      const waiting = locks.acquire(key, { wait: '30s' });
      expect(await failed).toMatchObject({ error: { transient: true } });
      await client.connect();
      const lock = await waiting;
      expect(lock.held).toBe(true);
      await lock.release();
    });
  });
