import { INTERNALS } from '../../../lib/lock-internals.js';
import { inspect } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Long, type Collection, type MongoClient, type MongoClientOptions } from 'mongodb';
import { LockNotAcquiredError, LockStoreError } from '../../../lib/lock.errors.js';
import { LockService } from '../../../lib/lock.service.js';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { TcpProxy } from '../tcp-proxy.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const HOUR = 3_600_000;

if (mongodbIsSelected())
  describe.each(drivers)('failures of MongoDB, with $name', ({ MongoClient: Client }) => {
    const fixture = new MongoFixture();
    let admin: Collection;
    let client: MongoClient;
    let store: MongoLockStore;

    beforeAll(async () => {
      admin = await fixture.collection();
      const collection = await fixture.collection({}, Client);
      client = collection.db.client;
      store = new MongoLockStore(collection);
      await store.prepare();
    });
    afterEach(() => void jest.restoreAllMocks());
    afterAll(() => fixture.dispose());

    /** A store whose commands can be made to fail, and whose driver does not retry them. */
    async function failing(options: MongoClientOptions = {}) {
      const appName = newKey();
      const collection = await fixture.collection({ appName, retryWrites: false, ...options }, Client);
      const failingStore = new MongoLockStore(collection);
      await failingStore.prepare();
      return {
        store: failingStore,
        fail: (data: object, times = 1) =>
          admin.db.admin().command({
            configureFailPoint: 'failCommand',
            mode: { times },
            data: { failCommands: ['findAndModify', 'update'], appName, ...data },
          }),
      };
    }

    /** A store behind a proxy that can cut its connections. */
    async function proxied(options: MongoClientOptions = {}) {
      const { hostname, port } = new URL(fixture.url);
      const proxy = await TcpProxy.open({ host: hostname, port: Number(port) });
      const proxiedClient = new Client(`mongodb://127.0.0.1:${proxy.port}/?directConnection=true`, {
        serverSelectionTimeoutMS: 1000,
        ...options,
      });
      const proxiedStore = new MongoLockStore(proxiedClient.db(fixture.databaseName).collection('locks'));
      await proxiedStore.prepare();
      const close = async (): Promise<void> => {
        // The proxy closes first, because the client would wait without end for a server that
        // does not answer.
        await proxy.close();
        await proxiedClient.close();
      };
      return { proxy, client: proxiedClient, store: proxiedStore, close };
    }

    it('B11 a store opens for a user who may not list collections', async () => {
      const appName = newKey();
      const opening = new MongoLockStore(await fixture.collection({ appName }, Client));
      await admin.db.admin().command({
        configureFailPoint: 'failCommand',
        mode: { times: 1 },
        data: { failCommands: ['listCollections'], appName, errorCode: 13 },
      });
      await opening.prepare();
      tokenOf(await opening.acquire(newKey(), 'o', 60_000));
      const { count } = await admin.db.admin().command({ configureFailPoint: 'failCommand', mode: 'off' });
      expect(count).toBeGreaterThan(0);
    });

    it('B27 opening a store fails at the time limit when the server never answers', async () => {
      const { proxy, client: silent, close } = await proxied({ maxPoolSize: 1 });
      proxy.blackHole();
      const unopened = new MongoLockStore(silent.db(fixture.databaseName).collection('locks'));
      await expect(unopened.acquire(newKey(), 'o', 300, { timeout: 1_000 })).rejects.toMatchObject({
        transient: true,
      });
      await close();
    });

    it('B27 after a write without a majority in time, a repeated request gets the same lock', async () => {
      const { store: unsure, fail } = await failing();
      const key = newKey();
      const timedOut = {
        code: 64,
        codeName: 'WriteConcernTimeout',
        errmsg: 'waiting for replication timed out',
      };
      await fail({ writeConcernError: timedOut });
      await expect(unsure.acquire(key, 'o', 60_000)).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
        message: expect.stringMatching(/waiting for replication timed out/),
      });
      const found = await store.inspect(key);
      // The server had carried out the write, although the store did not learn the outcome.
      expect(found).toMatchObject({ state: 'held' });
      expect(await unsure.acquire(key, 'o', 60_000)).toMatchObject({ acquired: false, reason: 'held' });
      expect(await unsure.acquire(key, 'o', 60_000, { resend: true })).toEqual({
        acquired: true,
        fencingToken: found.state === 'held' && found.holder.fencingToken,
      });
      for (const operation of [() => unsure.renew(key, 'o', 60_000), () => unsure.release(key, 'o')]) {
        await fail({ writeConcernError: timedOut });
        await expect(operation()).rejects.toMatchObject({ name: 'LockStoreError', transient: true });
      }
    });

    it('B27 the service repeats a write with an unknown outcome, and never calls the lock busy', async () => {
      const { store: unsure, fail } = await failing();
      const service = new LockService({ options: { ttl: '30s' }, openStore: () => unsure });
      await service[INTERNALS].start();
      for (const failure of [
        { writeConcernError: { code: 64, errmsg: 'wtimeout' } },
        { closeConnection: true },
      ]) {
        const key = newKey();
        await fail(failure);
        const lock = await service.acquire(key);
        expect(await store.inspect(key)).toMatchObject({ holder: { fencingToken: lock.fencingToken } });
        expect(await lock.release()).toBe(true);
      }
      await fail({ writeConcernError: { code: 64, errmsg: 'wtimeout' } }, 100);
      const error = await service.acquire(newKey()).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(LockStoreError);
      expect(error).not.toBeInstanceOf(LockNotAcquiredError);
      await admin.db.admin().command({ configureFailPoint: 'failCommand', mode: 'off' });
      await service[INTERNALS].close();
    });

    it.each([
      ['an election', 10107],
      ['a primary that steps down', 189],
      ['a primary that is interrupted', 11602],
      ['a shutdown', 91],
      ['a limit of time', 50],
      ['a member that cannot be reached', 6],
      ['a router that finds no primary', 133],
      ['a server that is overloaded', 365],
    ])('B27 %s causes a transient failure', async (_, errorCode) => {
      const { store: unsure, fail } = await failing();
      const key = newKey();
      tokenOf(await unsure.acquire(key, 'o', 60_000));
      const calls = [
        () => unsure.acquire(newKey(), 'o', 60_000),
        () => unsure.renew(key, 'o', 60_000),
        () => unsure.release(key, 'o'),
      ];
      for (const call of calls) {
        await fail({ errorCode });
        await expect(call()).rejects.toMatchObject({
          name: 'LockStoreError',
          transient: true,
          cause: expect.anything(),
        });
      }
    });

    it('B51 a batch of renewals that the server refuses fails as transient, and the outcomes of a batch that it cuts short are unknown', async () => {
      const { store: unsure, fail } = await failing();
      const key = newKey();
      tokenOf(await unsure.acquire(key, 'o', 60_000));
      const leases = [{ key, owner: 'o', ttl: 60_000 }];
      await fail({ errorCode: 10107 });
      await expect(unsure.renewMany(leases)).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
      });
      await fail({ errorCode: 50 });
      expect(await unsure.renewMany(leases)).toEqual(['unknown']);
      expect(await unsure.renewMany(leases)).toEqual(['renewed']);
    });

    it('B51 a batch of renewals whose connection breaks causes a transient failure', async () => {
      const { store: behind, proxy, close } = await proxied({ retryWrites: false });
      const key = newKey();
      const owner = `owner-of-${key}`;
      tokenOf(await behind.acquire(key, owner, 60_000));
      proxy.cutAfter(owner);
      await expect(behind.renewMany([{ key, owner, ttl: 60_000 }])).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
      });
      await close();
    });

    it('B51 a lock that a transaction guards does not keep a batch from renewing the other locks', async () => {
      const leases = Array.from({ length: 60 }, () => ({ key: newKey(), owner: 'o', ttl: 4_000 }));
      const tokens = await Promise.all(
        leases.map(async ({ key }) => tokenOf(await store.acquire(key, 'o', 4_000))),
      );
      const [{ key } = { key: '' }] = leases.slice(30);
      await store.transaction(async (session) => {
        expect(await store.guard(session, key, 'o', tokens[30]!)).toBe(true);
        const outcomes = await store.renewMany(leases, { timeout: 1_333 });
        expect(outcomes.filter((outcome) => outcome === 'lost')).toEqual([]);
        expect(outcomes[30]).toBe('unknown');
        const again = leases.filter((_, i) => outcomes[i] === 'unknown' && i !== 30);
        const alone = await Promise.all(again.map((lease) => store.renew(lease.key, 'o', 4_000)));
        expect(alone.every(Boolean)).toBe(true);
      });
      expect(await store.renew(key, 'o', 4_000)).toBe(true);
    });

    it('B52 the service keeps its other locks while a transaction that guards one of them stays open', async () => {
      for (const ttl of [4_000, 5_000]) {
        const service = new LockService({ options: { ttl }, openStore: () => store });
        await service[INTERNALS].start();
        const lost: string[] = [];
        service.events.on('lost', (event) => lost.push(event.key));
        const locks = await Promise.all(Array.from({ length: 60 }, () => service.acquire(newKey())));
        const guarded = locks[30]!;
        const own = client.startSession();
        own.startTransaction();
        await guarded.guard(own);
        await new Promise<void>((resolve) => guarded.signal.addEventListener('abort', () => resolve()));
        await own.abortTransaction();
        await own.endSession();
        expect(lost).toEqual([guarded.key]);
        expect(locks.filter(({ held }) => held)).toHaveLength(59);
        await Promise.all(locks.map((lock) => lock.release()));
      }
    });

    it.each([
      ['a write conflict', { errorCode: 112 }],
      [
        'a duplicate key',
        { errorCode: 11000, errorExtraInfo: { keyPattern: { _id: 1 }, keyValue: { _id: 'key' } } },
      ],
    ])('B26 %s refuses the attempt as contention', async (_, failure) => {
      const { store: contended, fail } = await failing();
      const key = newKey();
      await fail(failure);
      expect(await contended.acquire(key, 'o', 60_000)).toEqual({ acquired: false, reason: 'contention' });
      tokenOf(await contended.acquire(key, 'o', 60_000));
      await fail(failure);
      await expect(contended.renew(key, 'o', 60_000)).rejects.toMatchObject({ transient: true });
    });

    it('B27 an error with which the server refuses a command is permanent', async () => {
      const { store: refused, fail } = await failing();
      await fail({ errorCode: 13 });
      await expect(refused.acquire(newKey(), 'o', 60_000)).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: false,
        message: expect.stringMatching(/refused the user.*role/),
      });
      await fail({ errorCode: 121 });
      await expect(refused.acquire(newKey(), 'o', 60_000)).rejects.toMatchObject({ transient: false });
    });

    it('B27 after a connection is cut before the answer, a repeated request gets the same lock', async () => {
      const { store: behind, proxy, close } = await proxied({ retryWrites: false });
      const key = newKey();
      const owner = `owner-of-${key}`;
      tokenOf(await behind.acquire(newKey(), 'warm', 60_000));
      proxy.cutAfter(owner);
      await expect(behind.acquire(key, owner, 60_000)).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
      });
      const found = await store.inspect(key);
      expect(found).toMatchObject({ state: 'held' });
      expect(await behind.acquire(key, owner, 60_000, { resend: true })).toEqual({
        acquired: true,
        fencingToken: found.state === 'held' && found.holder.fencingToken,
      });
      await close();
    });

    it("B27 after a connection is cut, the driver's own retry gets one lock, with one token", async () => {
      const { store: behind, proxy, close } = await proxied();
      const key = newKey();
      const owner = `owner-of-${key}`;
      tokenOf(await behind.acquire(newKey(), 'warm', 60_000));
      proxy.cutAfter(owner);
      const token = tokenOf(await behind.acquire(key, owner, 60_000));
      expect(await store.inspect(key)).toMatchObject({ holder: { fencingToken: token } });
      proxy.cutAfter(owner);
      expect(await behind.renew(key, owner, 60_000)).toBe(true);
      proxy.cutAfter(owner);
      expect(await behind.renewMany([{ key, owner, ttl: 60_000 }])).toEqual(['renewed']);
      proxy.cutAfter(owner);
      expect(await behind.release(key, owner)).toBe(true);
      await close();
    });

    it('B27 a server that does not answer causes a transient failure within the time limit of the operation', async () => {
      const { store: behind, proxy, close } = await proxied();
      const key = newKey();
      tokenOf(await behind.acquire(key, 'o', 60_000));
      proxy.blackHole();
      await expect(behind.renew(key, 'o', 300, { timeout: 1_000 })).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
        message: expect.stringMatching(/no answer within 1000 ms/),
      });
      await close();
    });

    it('B27 the driver does not retry an operation that has reached its time limit', async () => {
      const { store: behind, proxy, close } = await proxied({ serverSelectionTimeoutMS: 10_000 });
      const key = newKey();
      tokenOf(await behind.acquire(key, 'o', 60_000));
      const expiry = async () => (await admin.findOne({ _id: key as any }))?.expiresAt.getTime();
      const before = await expiry();
      proxy.blackHole();
      await expect(behind.renew(key, 'o', 300, { timeout: 1_000 })).rejects.toMatchObject({
        transient: true,
      });
      await expect(behind.acquire(`${key}:new`, 'o', 300, { timeout: 1_000 })).rejects.toMatchObject({
        transient: true,
      });
      proxy.cut();
      proxy.heal();
      // These requests are answered after all operations that waited for the server.
      for (let i = 0; i < 20; i++) await behind.inspect(key);
      expect(await expiry()).toBe(before);
      expect(await behind.inspect(`${key}:new`)).toMatchObject({ state: 'free' });
      await close();
    });

    it('B75 a server that goes away causes a transient failure, and the error names its address', async () => {
      const { store: behind, proxy, close } = await proxied();
      await proxy.close();
      const failure: any = await behind.renew(newKey(), 'o', 60_000).catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: 'LockStoreError', transient: true });
      expect(failure.message).toContain(`127.0.0.1:${proxy.port}`);
      expect(failure.message).not.toContain('undefined');
      await close();
    });

    it('B86 no error contains the owner id, since the owner id is enough to release the lock', async () => {
      const { store: refused, fail } = await failing();
      const owner = 'capability-0123456789';
      const calls = [
        () => refused.acquire('some key', owner, 60_000),
        () => refused.renew('some key', owner, 60_000),
        () => refused.release('some key', owner),
        () => refused.renewMany([{ key: 'some key', owner, ttl: 60_000 }]),
      ];
      for (const errorCode of [13, 112, 50, 9])
        for (const call of calls) {
          await fail({ errorCode });
          const outcome: unknown = await call().catch((error: unknown) => error);
          expect(inspect(outcome, { depth: 20, showHidden: true })).not.toContain(owner);
        }
      await admin.db.admin().command({ configureFailPoint: 'failCommand', mode: 'off' });
    });

    it('B48 acquisitions that succeed, are refused or fail return their connections to the pool', async () => {
      const { store: single, fail } = await failing({ maxPoolSize: 1 });
      const key = newKey();
      tokenOf(await single.acquire(key, 'o', 60_000));
      await fail({ errorCode: 50 }, 10);
      const outcomes = await Promise.allSettled(
        Array.from({ length: 50 }, (_, i) => single.acquire(key, `o${i}`, 60_000)),
      );
      expect(outcomes.filter(({ status }) => status === 'rejected')).toHaveLength(10);
      expect(await single.release(key, 'o')).toBe(true);
    });

    it.each([
      ['ahead', HOUR],
      ['behind', -HOUR],
    ])("B34 the server's clock decides when the client's clock is an hour %s", async (_, by) => {
      const key = newKey();
      const before = tokenOf(await store.acquire(key, 'right', 60_000));
      const { now } = Date;
      jest.spyOn(Date, 'now').mockImplementation(() => now() + by);
      expect(await store.acquire(key, 'wrong', 60_000)).toMatchObject({ acquired: false, reason: 'held' });
      expect(await store.renew(key, 'right', 60_000)).toBe(true);
      expect(await store.release(key, 'right')).toBe(true);
      expect(tokenOf(await store.acquire(key, 'wrong', 60_000))).toBeGreaterThan(before);
      const refused: any = await store.acquire(key, 'right', 60_000);
      expect(refused.holder.remaining).toBeGreaterThan(0);
      expect(refused.holder.remaining).toBeLessThanOrEqual(60_000);
    });

    it('B38 tokens grow although the document was deleted by hand', async () => {
      const key = newKey();
      const before = tokenOf(await store.acquire(key, 'o', 60_000));
      await admin.deleteOne({ _id: key as any });
      expect(tokenOf(await store.acquire(key, 'p', 60_000))).toBeGreaterThan(before);
    });

    it('B41 documents of other software are neither read nor changed', async () => {
      const collection = (await fixture.collection({}, Client)).db.collection<any>(`shared_${newKey()}`);
      const shared = new MongoLockStore(collection);
      await shared.prepare();
      const later = new Date(Date.now() + HOUR);
      const foreign: any[] = [
        { _id: 'mongolock', locked: true, owner: 'worker', created: new Date(0), expire: later },
        { _id: 'expired', expiresAt: new Date(0), token: 1 },
        { _id: 'held', expiresAt: later, token: 1, owner: null },
        { _id: 'broken', expiresAt: 'yesterday', token: 'x' },
        { title: 'Dune' },
      ];
      await collection.insertMany(foreign);
      for (const _id of ['mongolock', 'expired', 'held', 'broken']) {
        await expect(shared.acquire(_id, 'o', 60_000)).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringMatching(/a document that is no lock.*collectionName/),
        });
        expect(await shared.inspect(_id)).toEqual({ state: 'free', key: _id });
        await expect(shared.pause(_id)).rejects.toThrow(/Could not pause.*a document that is no lock/);
        expect(await shared.resume(_id)).toBe(false);
        expect(await shared.forceRelease(_id)).toBe(false);
      }
      expect(await shared.list({ limit: 10 })).toEqual({ locks: [] });
      expect(await shared.purge({ olderThan: 0 })).toBe(0);
      expect(await collection.find().toArray()).toEqual(foreign);
      await expect(new MongoLockStore(collection).prepare()).rejects.toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(/has documents that are no locks.*collectionName/),
      });
    });

    it('B38 the TTL index deletes a document only after the clock has passed its token', async () => {
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', 60_000));
      const ahead = (Date.now() + HOUR) * 1000;
      await admin.updateOne({ _id: key as any }, { $set: { token: Long.fromNumber(ahead) } });
      await store.release(key, 'o');
      const { freeSince }: any = await admin.findOne({ _id: key as any });
      expect(freeSince.getTime()).toBe(ahead / 1000 + 1);
      expect(tokenOf(await store.acquire(key, 'p', 60_000))).toBe(ahead + 1);
      await store.forceRelease(key);
      expect((await admin.findOne({ _id: key as any }))?.freeSince.getTime()).toBe(ahead / 1000 + 1);
      expect(await store.purge({ prefix: key, olderThan: 0 })).toBe(0);
    });

    it('B76 the TTL index deletes no document of a paused key, and none before its tick has passed', async () => {
      const key = newKey();
      const freeSince = async () => (await admin.findOne({ _id: key as any }))?.freeSince;
      const tick = Date.now() + HOUR;
      tokenOf(await store.acquire(key, 'o', 60_000, { once: { tick, ahead: 2 * HOUR } }));
      expect(await freeSince()).toBeUndefined();
      await store.release(key, 'o');
      expect(await freeSince()).toEqual(new Date(tick));

      await store.pause(key);
      expect(await freeSince()).toBeUndefined();
      await store.resume(key);
      expect(await freeSince()).toEqual(new Date(tick));

      tokenOf(await store.acquire(key, 'o', 60_000));
      await store.pause(key);
      await store.release(key, 'o');
      expect(await freeSince()).toBeUndefined();
      await store.resume(key);
      expect(await freeSince()).toEqual(new Date(tick));

      tokenOf(await store.acquire(key, 'o', 60_000));
      await store.pause(key);
      await store.resume(key);
      // A held key has no time since which it is free.
      expect(await freeSince()).toBeUndefined();
      await store.pause(key);
      await store.forceRelease(key);
      expect(await freeSince()).toBeUndefined();
      await store.resume(key);
      tokenOf(await store.acquire(key, 'o', 60_000));
      await store.pause(key);
      await store.release(key, 'o', { keepFor: 3 * HOUR });
      await store.resume(key);
      expect((await freeSince()).getTime()).toBeGreaterThan(tick);
    });

    it('B70 a prefix is compared literally, even if it contains characters with a meaning in patterns', async () => {
      const base = newKey();
      for (const end of ['', '\u{10FFFF}', 'a\uD7FF', 'é', '😀']) {
        const prefix = base + end;
        const keys = [prefix, `${prefix}x`, `${prefix}\u{10FFFF}y`];
        for (const key of [...keys, `${base}-`]) await store.acquire(key, 'o', 60_000);
        const listed = (await store.list({ prefix, limit: 1000 })).locks.map(({ key }) => key);
        expect(listed).toEqual(expect.arrayContaining(keys));
        expect(listed.every((key) => key.startsWith(prefix))).toBe(true);
      }
    });

    it('B72 the TTL index deletes locks that were released long ago, but no held or kept lock', async () => {
      const collection = client.db(fixture.databaseName).collection(`cleaned_${newKey()}`);
      const cleaned = new MongoLockStore(collection, { deleteUnusedAfter: 0 });
      await cleaned.prepare();
      const [gone, held, kept, expired, paused, ticked] = [
        'gone',
        'held',
        'kept',
        'expired',
        'paused',
        'ticked',
      ];
      const once = { tick: Date.now() + HOUR, ahead: 2 * HOUR };
      for (const key of [gone, held, kept, paused]) tokenOf(await cleaned.acquire(key, 'o', 60_000));
      tokenOf(await cleaned.acquire(ticked, 'o', 60_000, { once }));
      await cleaned.release(ticked, 'o');
      await cleaned.release(paused, 'o');
      await cleaned.pause(paused);
      tokenOf(await cleaned.acquire(expired, 'o', 1));
      await cleaned.release(kept, 'o', { keepFor: 60_000 });
      await cleaned.release(gone, 'o');
      while ((await collection.countDocuments()) > 5);
      expect(new Set(await collection.distinct('_id'))).toEqual(
        new Set([held, kept, expired, paused, ticked]),
      );
      expect(await cleaned.inspect(gone)).toEqual({ state: 'free', key: gone });
    });
  });
