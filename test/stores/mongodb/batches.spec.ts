import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { Collection, CommandStartedEvent, MongoClient } from 'mongodb';
import type { LockAcquireResult } from '../../../lib/interfaces/lock-store.interface.js';
import { INTERNALS } from '../../../lib/lock-internals.js';
import { LockService } from '../../../lib/lock.service.js';
import { MongoLockStore, mongoStore } from '../../../lib/stores/mongodb/index.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const TTL = 60_000;
const MANY = 12;
/**
 * The number of requests that the store sends alone before further requests share a command.
 */
const ALONE = 2;
const SINGLE = Array.from({ length: ALONE }, () => 'findAndModify');

if (mongodbIsSelected())
  describe.each(drivers)('batches of requests, with $name', ({ MongoClient: Client }) => {
    const fixture = new MongoFixture();
    const appName = newKey();
    const commands: CommandStartedEvent[] = [];
    let client: MongoClient;
    let collection: Collection;
    /**
     * The store under test. Each test opens a new one, because a store under load sends no
     * request alone.
     */
    let store: MongoLockStore;
    /** A store without batches, which prepares the keys of a test. */
    let single: MongoLockStore;
    let admin: Collection;
    let keys: string[];

    beforeAll(async () => {
      admin = await fixture.collection();
      collection = await fixture.collection(
        { appName, retryWrites: false, retryReads: false, monitorCommands: true },
        Client,
      );
      client = collection.db.client;
      client.on('commandStarted', (event) => commands.push(event));
      single = new MongoLockStore(collection, { batching: false });
      await single.prepare();
    });
    beforeEach(async () => {
      store = await opened();
      keys = Array.from({ length: MANY }, newKey);
      commands.length = 0;
    });
    afterEach(() => admin.db.admin().command({ configureFailPoint: 'failCommand', mode: 'off' }));
    afterAll(() => fixture.dispose());

    async function opened(): Promise<MongoLockStore> {
      const fresh = new MongoLockStore(collection);
      await fresh.prepare();
      return fresh;
    }
    const acquireAll = (owner = 'o', resend = false): Promise<LockAcquireResult>[] =>
      keys.map((key) => store.acquire(key, owner, TTL, { resend }));
    const releaseAll = (owner = 'o') => Promise.all(keys.map((key) => store.release(key, owner)));
    const tokens = async (results: Promise<LockAcquireResult>[]) => (await Promise.all(results)).map(tokenOf);
    /**
     * Creates and releases the locks of all keys, so that the following batch finds no new
     * key.
     */
    async function known(): Promise<void> {
      await tokens(keys.map((key) => single.acquire(key, 'o', TTL)));
      await Promise.all(keys.map((key) => single.release(key, 'o')));
      commands.length = 0;
    }
    const names = () => commands.map(({ commandName }) => commandName);
    const fail = (data: object, command: string, times = 1) =>
      admin.db.admin().command({
        configureFailPoint: 'failCommand',
        mode: { times },
        data: { failCommands: [command], appName, ...data },
      });
    /**
     * Makes the release of a batch fail, and also the single releases before it, which send
     * the same command.
     */
    const failReleases = (data: object) => fail(data, 'update', ALONE + 1);

    it('B93 acquisitions share one write and one read, and releases share one write', async () => {
      for (let round = 0; round < 2; round++) {
        store = await opened();
        commands.length = 0;
        await tokens(acquireAll());
        expect(names().toSorted()).toEqual(['find', ...SINGLE, 'update']);
        const write = commands.find(({ commandName }) => commandName === 'update');
        expect(write?.command).toMatchObject({ ordered: false, writeConcern: { w: 'majority', j: true } });
        commands.length = 0;
        expect(await releaseAll()).toEqual(keys.map(() => true));
        expect(names()).toEqual(['update', 'update', 'update']);
      }
    });

    it('B93 requests are sent alone with batching: false, and a wrong value is refused', async () => {
      await Promise.all(keys.map((key) => single.acquire(key, 'o', TTL)));
      expect(names().filter((name) => name === 'findAndModify')).toHaveLength(MANY);
      expect(() => mongoStore({ client, batching: 'no' as any })).toThrow(/batching must be true or false/);
    });

    it('B93 each request of a batch gets its own result: a token, the holder of the key, or the loss of its lease', async () => {
      const before = await tokens(acquireAll());
      const refused = await Promise.all(acquireAll('p'));
      expect(refused.map((result) => !result.acquired && result.holder?.key)).toEqual(keys);
      await store.forceRelease(keys[7]!);
      await store.pause(keys[8]!);
      expect(await releaseAll()).toEqual(keys.map((_, i) => i !== 7));
      const after = await Promise.all(acquireAll('p'));
      expect(after[8]).toEqual({ acquired: false, reason: 'paused' });
      after.forEach((result, i) => i === 8 || expect(tokenOf(result)).toBeGreaterThan(before[i]!));
      expect(await store.inspect(keys[9]!)).toMatchObject({ holder: { label: null } });
      expect(await collection.findOne({ _id: keys[9] as any })).toMatchObject({ last: { outcome: 'done' } });
    });

    it('B93 a release succeeds even if another process changes the document before the batch reads it', async () => {
      await known();
      const [changed = ''] = keys.slice(6);
      const raced = new Proxy(collection, {
        get(target, name) {
          const value = Reflect.get(target, name);
          if (typeof value !== 'function') return value;
          if (name !== 'bulkWrite') return value.bind(target);
          return async (...writes: Parameters<Collection['bulkWrite']>) => {
            const result = await target.bulkWrite(...writes);
            await admin.updateOne({ _id: changed as any }, { $set: { batch: 'of another process' } });
            return result;
          };
        },
      });
      store = new MongoLockStore(raced);
      await store.prepare();
      await tokens(acquireAll());
      // The forced release changes the result of the batch, which now has to read which locks
      // it has released.
      await single.forceRelease(keys[7]!);
      const ends = await releaseAll();
      expect(ends.filter((_, i) => i !== 7)).toEqual(keys.slice(1).map(() => true));
    });

    it('B93 a key that an open transaction guards is refused in a batch, without a delay for other keys', async () => {
      await known();
      const guarded = keys[6]!;
      const token = tokenOf(await store.acquire(guarded, 'holder', TTL));
      await store.transaction(async (session) => {
        expect(await store.guard(session, guarded, 'holder', token)).toBe(true);
        commands.length = 0;
        const results = await Promise.all(acquireAll());
        expect(results.map(({ acquired }) => acquired)).toEqual(keys.map((key) => key !== guarded));
        expect(names().toSorted()).toEqual(['find', ...SINGLE, 'update']);
      });
    });

    it('B93 a document that an open transaction has changed delays only the request for its own key', async () => {
      await known();
      const locked = keys[6]!;
      const session = client.startSession();
      const change = async () => {
        session.startTransaction();
        await collection.updateOne({ _id: locked as any }, { $inc: { guards: 1 } }, { session });
      };
      await change();
      const results = acquireAll();
      await tokens(results.filter((_, i) => i !== 6));
      await session.abortTransaction();
      tokenOf(await results[6]!);

      await change();
      const releases = keys.map((key) => store.release(key, 'o'));
      expect(await Promise.all(releases.filter((_, i) => i !== 6))).toEqual(keys.slice(1).map(() => true));
      await session.abortTransaction();
      expect(await releases[6]).toBe(true);
      await session.endSession();
    });

    it('B93 each key has one holder after two processes acquire the same new keys', async () => {
      const other = new MongoLockStore(await fixture.collection({}, Client));
      await other.prepare();
      for (let round = 0; round < 10; round++) {
        keys = Array.from({ length: MANY }, newKey);
        const results = await Promise.all([
          Promise.all(acquireAll('here')),
          Promise.all(keys.map((key) => other.acquire(key, 'there', TTL))),
        ]);
        for (const [i] of keys.entries())
          expect(results.filter((result) => result[i]!.acquired)).toHaveLength(1);
      }
    });

    it('B93 a document that the server refuses fails only its own request, and the error names its key', async () => {
      const validator = { label: { $ne: 'refused' } };
      await admin.db.command({ collMod: 'locks', validator });
      const results = await Promise.allSettled(
        keys.map((key, i) => store.acquire(key, 'o', TTL, { label: i === 6 ? 'refused' : 'fine' })),
      );
      await admin.db.command({ collMod: 'locks', validator: {} });
      results.forEach((result, i) => {
        if (i === 6) expect(result).toMatchObject({ reason: { message: expect.stringContaining(keys[6]!) } });
        else expect(result).toMatchObject({ value: { acquired: true } });
      });
    });

    it('B93 a refused document does not hide that the other documents of its batch lack a majority', async () => {
      await admin.db.command({ collMod: 'locks', validator: { label: { $ne: 'refused' } } });
      await fail({ writeConcernError: { code: 64, errmsg: 'late' } }, 'update');
      const results = await Promise.allSettled(
        keys.map((key, i) => store.acquire(key, 'o', TTL, { label: i === 6 ? 'refused' : 'fine' })),
      );
      await admin.db.command({ collMod: 'locks', validator: {} });
      results.forEach((result, i) =>
        expect(result).toMatchObject(
          i < ALONE ? { value: { acquired: true } } : { reason: { transient: true } },
        ),
      );
    });

    it.each([
      ['a primary that steps down', { errorCode: 10107 }, 'update'],
      [
        'a write that a majority has not confirmed',
        { writeConcernError: { code: 64, errmsg: 'late' } },
        'update',
      ],
      ['a link that breaks', { closeConnection: true }, 'update'],
      ['a link that breaks before the read', { closeConnection: true }, 'find'],
    ])(
      'B93 after %s each request of a batch has an unknown outcome, and gets its lock when it is repeated',
      async (_, failure, command) => {
        await known();
        await fail(failure, command);
        const results = await Promise.allSettled(acquireAll());
        results.forEach((result, i) => {
          if (i < ALONE) expect(result).toMatchObject({ value: { acquired: true } });
          else
            expect(result).toMatchObject({
              reason: { name: 'LockStoreError', transient: true, message: expect.stringContaining(keys[i]!) },
            });
        });
        const found = await Promise.all(keys.map((key) => store.inspect(key)));
        const again = await tokens(acquireAll('o', true));
        found.forEach((lock, i) => lock.state === 'held' && expect(again[i]).toBe(lock.holder.fencingToken));
        expect(await releaseAll()).toEqual(keys.map(() => true));
      },
    );

    it.each([
      ['ends before it', { errorCode: 50 }],
      ['ends while a majority has not confirmed it', { writeConcernError: { code: 50, errmsg: 'late' } }],
    ])(
      'B93 the requests of a batch whose time %s are sent one by one, and each release is reported once',
      async (_, failure) => {
        await known();
        await fail(failure, 'update');
        await tokens(acquireAll());
        expect(names().filter((name) => name === 'findAndModify')).toHaveLength(MANY);
        await failReleases(failure);
        const ends = await Promise.allSettled(keys.map((key) => store.release(key, 'o')));
        ends.forEach((end, i) =>
          expect(end).toMatchObject(i < ALONE ? { reason: { transient: true } } : { value: true }),
        );
        expect(await store.release(keys[5]!, 'o')).toBe(false);
      },
    );

    it.each([
      ['an election', { errorCode: 189 }],
      ['a majority that is late', { writeConcernError: { code: 64, errmsg: 'late' } }],
    ])(
      'B93 after %s the service repeats the requests of a batch until each has its lock',
      async (_, failure) => {
        const service = new LockService({ options: { ttl: '30s' }, openStore: () => store });
        await service[INTERNALS].start();
        await fail(failure, 'update');
        const locks = await Promise.all(keys.map((key) => service.acquire(key)));
        await failReleases(failure);
        const ends = await Promise.all(locks.map((lock) => lock.release()));
        expect(ends).toEqual(keys.map(() => true));
        await service[INTERNALS].close();
      },
    );
  });
