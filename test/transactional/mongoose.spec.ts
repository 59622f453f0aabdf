import { afterAll, afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { INestApplicationContext } from '@nestjs/common';
import { getConnectionToken, MongooseModule } from '@nestjs/mongoose';
import mongoose, { type Connection } from 'mongoose';
import { LockModule, LockService } from '../../lib/index.js';
import { mongooseStore } from '../../lib/stores/mongodb/index.js';
import { logs, start } from '../module/applications.js';
import { newKey } from '../stores/keys.js';
import { MongoFixture, mongodbIsSelected } from '../stores/mongodb/fixture.js';

if (mongodbIsSelected())
  describe('A5 locks and transactions of Mongoose', () => {
    const fixture = new MongoFixture();
    let key: string;
    beforeEach(() => void (key = newKey()));
    afterEach(() => void mongoose.set('transactionAsyncLocalStorage', false));
    afterAll(() => fixture.dispose());

    async function application(): Promise<INestApplicationContext> {
      await fixture.client(); // Creates the collection of the locks.
      const app = await start({
        imports: [
          MongooseModule.forRoot(fixture.url, { dbName: fixture.databaseName }),
          LockModule.forRoot({ store: mongooseStore() }),
        ],
      });
      return app.enableShutdownHooks();
    }

    it('A5 with transactionAsyncLocalStorage, a lock that is acquired inside a transaction logs one warning', async () => {
      mongoose.set('transactionAsyncLocalStorage', true);
      const app = await application();
      const locks = app.get(LockService);
      const connection = app.get<Connection>(getConnectionToken());
      for (let i = 0; i < 2; i++) await connection.transaction(() => locks.run(key, () => {}));
      expect(logs.of('warn')).toEqual([
        expect.stringMatching(
          `^A call takes the lock "${key}" inside an open transaction.*Take the lock first`,
        ),
      ]);
    });

    it('A5 a lock around or after a transaction logs no warning, and neither does any lock without transactionAsyncLocalStorage', async () => {
      mongoose.set('transactionAsyncLocalStorage', true);
      const app = await application();
      const locks = app.get(LockService);
      const connection = app.get<Connection>(getConnectionToken());
      let commit: () => void = () => {};
      const committed = new Promise<void>((resolve) => (commit = resolve));
      let late: Promise<unknown> | undefined;
      await locks.run(key, () =>
        connection.transaction(
          async () => void (late = committed.then(() => locks.run(`${key}-late`, () => {}))),
        ),
      );
      commit();
      await late;
      mongoose.set('transactionAsyncLocalStorage', false);
      await connection.transaction(() => locks.run(key, () => {}));
      expect(logs.of('warn')).toEqual([]);
    });
  });
