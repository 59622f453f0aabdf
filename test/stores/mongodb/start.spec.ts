import { INTERNALS } from '../../../lib/lock-internals.js';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Module } from '@nestjs/common';
import { ModuleRef } from '@nestjs/core';
import { MongooseModule, getConnectionToken } from '@nestjs/mongoose';
import { Test, type TestingModule } from '@nestjs/testing';
import type { Db, MongoClient as Client } from 'mongodb';
import type { Connection } from 'mongoose';
import { LockModule, LockService } from '../../../lib/index.js';
import {
  MongoLockStore,
  mongooseStore,
  mongoStore,
  type MongooseStoreOptions,
  type MongoStoreOptions,
} from '../../../lib/stores/mongodb/index.js';
import { freePort } from '../../servers/free-port.mjs';
import { MongoClient, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const make = async (options: MongoStoreOptions) => (await mongoStore(options).useFactory()) as MongoLockStore;
const errorOf = (promise: Promise<unknown>): Promise<any> =>
  promise.then(
    () => {
      throw new Error('it did not fail');
    },
    (error: unknown) => error,
  );

if (mongodbIsSelected())
  describe('mongoStore()', () => {
    const fixture = new MongoFixture();
    let client: Client;
    let db: Db;

    beforeAll(async () => {
      client = await fixture.client();
      db = client.db(fixture.databaseName);
    });
    afterAll(() => fixture.dispose());

    /**
     * Acquires a lock in this store, and returns the name of the collection that contains it.
     */
    async function collectionOf(store: MongoLockStore): Promise<string | undefined> {
      const key = newKey();
      await store.prepare();
      tokenOf(await store.acquire(key, 'o', 60_000));
      const collections = await db.collections();
      for (const collection of collections)
        if (await collection.findOne({ _id: key as any })) return collection.collectionName;
      return undefined;
    }

    it('B5 mongoStore() takes a url, a client, a database or a collection', async () => {
      const { url, databaseName } = fixture;
      const withDatabase = url.replace('/?', `/${databaseName}?`);
      const stores = {
        url: await make({ url, databaseName, collectionName: 'a' }),
        'database of the url': await make({ url: withDatabase, collectionName: 'b' }),
        client: await make({ client, databaseName, collectionName: 'c' }),
        db: await make({ db, collectionName: 'd.e-f_1' }),
        'name by default': await make({ db }),
        collection: await make({ collection: db.collection('g') }),
      };
      const found: Record<string, unknown> = {};
      for (const [given, store] of Object.entries(stores)) found[given] = await collectionOf(store);
      expect(found).toEqual({
        url: 'a',
        'database of the url': 'b',
        client: 'c',
        db: 'd.e-f_1',
        'name by default': 'locks',
        collection: 'g',
      });
      await Promise.all(Object.values(stores).map((store) => store.close()));
    });

    it('B5 with several options, a collection comes before a database, and both come before client and url', async () => {
      const unused = 'mongodb://127.0.0.1:1/';
      const elsewhere = client.db('elsewhere');
      const collection = db.collection('most_specific');
      expect(await collectionOf(await make({ url: unused, client, db: elsewhere, collection }))).toBe(
        'most_specific',
      );
      expect(await collectionOf(await make({ url: unused, client, db, collectionName: 'of_db' }))).toBe(
        'of_db',
      );
      const { databaseName } = fixture;
      const options = { url: unused, client, databaseName, collectionName: 'of_client' };
      expect(await collectionOf(await make(options))).toBe('of_client');
    });

    it('B13 the store closes a client that it has opened itself, but no client that it was given', async () => {
      const close = jest.spyOn(MongoClient.prototype, 'close');
      for (const options of [{ client }, { db }, { collection: db.collection('locks') }]) {
        const store = await make(options);
        await store.prepare();
        await store.close();
      }
      expect(close).not.toHaveBeenCalled();
      expect(await db.command({ ping: 1 })).toMatchObject({ ok: 1 });

      const own = await make({ url: fixture.url, databaseName: fixture.databaseName });
      await own.prepare();
      await own.close();
      expect(close).toHaveBeenCalledTimes(1);
      expect(close.mock.contexts[0]).not.toBe(client);
      close.mockRestore();
      await expect(own.acquire(newKey(), 'o', 1000)).rejects.toThrow(/the lock store is closed/);
    });

    it('B13 two applications that share one definition of the store have a client each', async () => {
      const definition = mongoStore({ url: fixture.url, databaseName: fixture.databaseName });
      const [one, other] = [await definition.useFactory(), await definition.useFactory()] as MongoLockStore[];
      await Promise.all([one!.prepare(), other!.prepare()]);
      await one!.close();
      tokenOf(await other!.acquire(newKey(), 'o', 1000));
      await other!.close();
    });

    it('B13 the store closes its own client when it cannot use the collection', async () => {
      await db.createCollection('people', { collation: { locale: 'en', strength: 1 } });
      const close = jest.spyOn(MongoClient.prototype, 'close');
      const store = await make({
        url: fixture.url,
        databaseName: fixture.databaseName,
        collectionName: 'people',
      });
      await expect(store.prepare()).rejects.toThrow(/people.* has a collation.*collectionName/);
      expect(close).toHaveBeenCalledTimes(1);
      close.mockRestore();
    });

    it('B41 a collection with a collation and a view are refused', async () => {
      await db.createCollection('names', { collation: { locale: 'de', strength: 2 } });
      await db.createCollection('seen', { viewOn: 'names' });
      for (const [name, why] of [
        ['names', /has a collation/],
        ['seen', /is a view/],
      ] as const) {
        const error = await errorOf(new MongoLockStore(db.collection(name)).prepare());
        expect(error).toMatchObject({ name: 'LockError', message: expect.stringMatching(why) });
      }
    });

    it('B11 many instances that start at once do not disturb each other', async () => {
      // The collection exists before the stores start, because MongoDB under Wine crashes when
      // several clients create it at once.
      await db.createCollection('fresh');
      const stores = Array.from({ length: 20 }, () => new MongoLockStore(db.collection('fresh')));
      await Promise.all(
        stores.map(async (store) => {
          await store.prepare();
          tokenOf(await store.acquire(newKey(), 'o', 1000));
        }),
      );
    });

    it('B11 the start creates the TTL index when it is configured and missing', async () => {
      for (let start = 1; start <= 2; start++)
        await new MongoLockStore(db.collection('fresh'), { deleteUnusedAfter: '7d' }).prepare();
      const indexes = await db.collection('fresh').indexes();
      expect(indexes).toMatchObject([
        { key: { _id: 1 } },
        { key: { freeSince: 1 }, expireAfterSeconds: 604_800 },
      ]);
    });

    it('B11 the start fails if the TTL index has another time, and the error names the next step', async () => {
      const error = await errorOf(
        new MongoLockStore(db.collection('fresh'), { deleteUnusedAfter: '8d' }).prepare(),
      );
      expect(error).toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(/nestjs_locked_unused.*691200/),
      });
    });

    it('B10 the start fails if the server cannot be reached, and the error names host and port', async () => {
      const port = await freePort();
      const url = `mongodb://user:topsecret@127.0.0.1:${port}/app?serverSelectionTimeoutMS=300`;
      for (const options of [{ url }, { client: new MongoClient(url) }]) {
        const error = await errorOf((await make(options)).prepare());
        expect(error).toMatchObject({
          name: 'LockStoreError',
          transient: true,
          message: expect.stringMatching(new RegExp(`127\\.0\\.0\\.1:${port}.*cannot be reached`)),
        });
        expect(inspect(error, { depth: 20 })).not.toContain('topsecret');
      }
    });

    it('B10 the start fails if the server refuses the credentials, and the error does not show the password', async () => {
      const url = fixture.url.replace('mongodb://', 'mongodb://user:topsecret@');
      const error = await errorOf((await make({ url })).prepare());
      expect(error).toMatchObject({
        name: 'LockStoreError',
        transient: false,
        message: expect.stringMatching(/refused the user.*authSource/),
      });
      expect(inspect(error, { depth: 20 })).not.toContain('topsecret');
    });

    it('B10 a malformed url is refused, without the password in the error', async () => {
      const urls = [
        'mongodb://user:top@secret@host/app',
        'mongodb://user:top/secret@host/app',
        'mongodb://user:topsecret@host:port/app',
        'mongodb://user:topsecret@/app',
        'mongodb://user:topsecret@host/app?noSuchOption=1',
        'mongodb+srv://user:topsecret/@host',
        'postgres://user:topsecret@host/app',
        'user:topsecret',
        '',
      ];
      for (const url of urls) {
        const error = await errorOf((async () => (await make({ url })).prepare())());
        expect(error).toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(/connection string/),
        });
        expect(inspect(error, { depth: 20 })).not.toMatch(/secret/);
      }
    });

    it('B10 the start fails on a closed client, and the error names the cause', async () => {
      const closed = await new MongoClient(fixture.url).connect();
      const collection = closed.db(fixture.databaseName).collection('locks');
      await closed.close();
      const error = await errorOf(new MongoLockStore(collection).prepare());
      expect(error).toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/client .* was closed/),
      });
    });

    it('B7 a write concern without acknowledgement is refused', () => {
      for (const w of [0, -1, 1.5, Number.NaN, '', null, {}] as any[])
        expect(() => mongoStore({ db, writeConcern: { w } })).toThrow(/writeConcern\.w must be 'majority'/);
      for (const writeConcern of [null, 'majority', 1] as any[])
        expect(() => mongoStore({ db, writeConcern })).toThrow(/writeConcern/);
      expect(() => mongoStore({ db, writeConcern: { journal: 1 as any } })).toThrow(
        /journal must be true or false/,
      );
      expect(() => mongoStore({ db, writeConcern: { wtimeoutMS: 0 } })).toThrow(/wtimeoutMS/);
      expect(() => mongoStore({ db, writeConcern: { j: true } as any })).toThrow(/"j".*journal/);
    });

    it('B78 weak locks have a collection of their own, and exclude the option writeConcern', async () => {
      expect(await collectionOf(await make({ db, weak: true }))).toBe('locks_weak');
      expect(await collectionOf(await make({ db, weak: true, collectionName: 'feeble' }))).toBe('feeble');
      expect(await collectionOf(await make({ db, weak: false }))).toBe('locks');
      const both = { weak: true, writeConcern: { w: 'majority' } } as any;
      expect(() => mongoStore({ db, ...both })).toThrow(
        /weak and writeConcern exclude each other.*Leave one/,
      );
      expect(() => mongooseStore(both)).toThrow(/weak and writeConcern exclude each other/);
      expect(() => new MongoLockStore(db.collection('locks'), both)).toThrow(/exclude each other/);
      for (const weak of ['true', 1, null] as any[])
        expect(() => mongoStore({ db, weak })).toThrow(/weak must be true or false/);
    });

    it('B7 the start fails if the replica set cannot satisfy the write concern', async () => {
      const store = new MongoLockStore(db.collection('locks'), { writeConcern: { w: 5 } });
      await expect(store.prepare()).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/[Nn]ot enough data-bearing nodes/),
      });
    });

    it('B6 names of databases and collections with unusual characters are refused', () => {
      for (const collectionName of [
        '',
        'a b',
        '$cmd',
        'system.users',
        'a..b',
        '1st',
        'a\0b',
        'x'.repeat(121),
        { $ne: 1 },
        ['a'],
        7,
      ] as any[])
        expect(() => mongoStore({ db, collectionName })).toThrow(/collectionName must be/);
      for (const databaseName of ['', 'a b', 'a.b', 'a/b', '$a', 'x'.repeat(64), { $ne: 1 }, 7] as any[])
        expect(() => mongoStore({ client, databaseName })).toThrow(/databaseName must be/);
    });

    it('B5 unknown, contradictory and wrong options are refused', () => {
      expect(() => mongoStore({} as any)).toThrow(/needs the option url.*there is none/);
      expect(() => mongoStore({ uri: 'mongodb://a' } as any)).toThrow(/does not know the option "uri".*url/);
      // @ts-expect-error the types do not allow db and databaseName together
      expect(() => mongoStore({ db, databaseName: 'a' })).toThrow(/databaseName has no effect beside db/);
      // @ts-expect-error the types do not allow collection and collectionName together
      expect(() => mongoStore({ collection: db.collection('a'), collectionName: 'b' })).toThrow(
        /collectionName has no effect/,
      );
      expect(() => mongoStore({ client: fixture.url as any })).toThrow(
        /client of mongoStore\(\) must be a client of the mongodb driver.*mongooseStore/,
      );
      expect(() => mongoStore({ db: client as any, collection: null as any })).toThrow(
        /collection of mongoStore\(\) must be/,
      );
      expect(() => new MongoLockStore(db as any)).toThrow(/needs a collection.*mongoStore/);
      expect(() => new MongoLockStore(undefined as any)).toThrow(/undefined/);
    });
  });

if (mongodbIsSelected())
  describe('mongooseStore()', () => {
    const fixture = new MongoFixture();
    let module: TestingModule | undefined;
    const forRoot = (name?: string, lazyConnection = false) =>
      MongooseModule.forRoot(fixture.url, {
        dbName: fixture.databaseName,
        lazyConnection,
        ...(name && { connectionName: name }),
      });

    afterEach(async () => {
      await module?.close();
      module = undefined;
    });
    afterAll(() => fixture.dispose());

    async function application(...imports: any[]): Promise<TestingModule> {
      @Module({ imports })
      class Application {}
      module = await Test.createTestingModule({ imports: [Application] }).compile();
      await module.init();
      return module;
    }

    const storeOf = async (options: MongooseStoreOptions = {}) =>
      (await mongooseStore(options).useFactory(module?.get(ModuleRef))) as MongoLockStore;

    it("B5 the store keeps locks on the application's connection, and leaves it open", async () => {
      const app = await application(
        forRoot(),
        LockModule.forRoot({ store: mongooseStore({ collectionName: 'app_locks' }) }),
      );
      const locks = app.get(LockService);
      const connection: Connection = app.get(getConnectionToken());
      await locks.run('key', async () => {
        expect(await connection.collection('app_locks').findOne({ _id: 'key' as any })).toMatchObject({
          label: expect.any(String),
        });
      });
      await locks[INTERNALS].close();
      expect(connection.readyState).toBe(1);
      expect(await connection.db?.command({ ping: 1 })).toMatchObject({ ok: 1 });
    });

    it('B5 the store finds a named connection, even if it connects lazily', async () => {
      await application(forRoot('locking', true));
      const store = await storeOf({ connectionName: 'locking' });
      tokenOf(await store.acquire(newKey(), 'o', 1000));
      await store.close();
    });

    it('B77 lock.guard() accepts a transaction session of the application', async () => {
      const app = await application(forRoot(), LockModule.forRoot({ store: mongooseStore() }));
      const connection: Connection = app.get(getConnectionToken());
      const orders = connection.collection('orders');
      await app.get(LockService).run('order', async (lock) => {
        await connection.transaction(async (session) => {
          await orders.insertOne({ n: 1 }, { session });
          await lock.guard(session);
        });
        await lock.transaction(async (session: any) => orders.insertOne({ n: 2 }, { session }));
      });
      expect(await orders.countDocuments()).toBe(2);
    });

    it('B10 the start fails on a lazy connection to an unreachable server, and the error names host and port', async () => {
      const port = await freePort();
      const uri = `mongodb://127.0.0.1:${port}/app`;
      await application(MongooseModule.forRoot(uri, { lazyConnection: true, serverSelectionTimeoutMS: 300 }));
      const error = await errorOf((await storeOf()).prepare());
      expect(error).toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(`127.0.0.1:${port}`),
      });
    });

    it('B9 a missing connection fails with an error that names the next step', async () => {
      await application(forRoot());
      const store = await storeOf({ connectionName: 'elsewhere' });
      await expect(store.prepare()).rejects.toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(
          /no Mongoose connection "elsewhere".*MongooseModule\.forRoot.*mongoStore/,
        ),
      });
    });

    it('B5 unknown and wrong options are refused', () => {
      expect(() => mongooseStore({ connection: {} } as any)).toThrow(
        /does not know the option "connection".*connectionName/,
      );
      expect(() => mongooseStore({ connectionName: {} as any })).toThrow(
        /must be the name of a Mongoose connection/,
      );
      expect(() => mongooseStore({ collectionName: 'a b' })).toThrow(/collectionName/);
      expect(() => mongooseStore({ writeConcern: { w: 0 } })).toThrow(/writeConcern/);
    });
  });
