import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { Collection, CommandStartedEvent } from 'mongodb';
import type { AcquireRequest, RefusalReason } from '../../../lib/interfaces/lock-store.interface.js';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

if (mongodbIsSelected())
  describe.each(drivers)('commands of the MongoDB store, with $name', ({ MongoClient }) => {
    const fixture = new MongoFixture();
    let store: MongoLockStore;
    let locks: Collection;
    const commands: CommandStartedEvent[] = [];

    beforeAll(async () => {
      const collection = await fixture.collection({ monitorCommands: true }, MongoClient);
      collection.db.client.on('commandStarted', (event) => commands.push(event));
      locks = await fixture.collection();
      store = new MongoLockStore(collection);
      await store.prepare();
    });
    afterAll(() => fixture.dispose());

    /** Returns the names of the commands that `work` sends. */
    async function sentBy(work: () => Promise<unknown>): Promise<string[]> {
      commands.length = 0;
      await work();
      return commands.map(({ commandName }) => commandName);
    }

    it('B15 each operation sends one command', async () => {
      const key = newKey();
      const lease = { key, owner: 'o', ttl: 60_000 };
      expect(await sentBy(() => store.acquire(key, 'o', 60_000))).toEqual(['findAndModify']);
      expect(await sentBy(() => store.acquire(key, 'p', 60_000))).toEqual(['findAndModify']);
      expect(await sentBy(() => store.renew(key, 'o', 60_000))).toEqual(['update']);
      expect(await sentBy(() => store.renewMany([lease]))).toEqual(['update']);
      expect(await sentBy(() => store.inspect(key))).toEqual(['find']);
      expect(await sentBy(() => store.list({ limit: 10 }))).toEqual(['find']);
      expect(await sentBy(() => store.release(key, 'o'))).toEqual(['update']);
      expect(await sentBy(() => store.acquire(key, 'o', 60_000))).toEqual(['findAndModify']);
      expect(await sentBy(() => store.forceRelease(key))).toEqual(['update']);
      // One lease of the batch is lost, and the second command finds out which.
      expect(await sentBy(() => store.renewMany([lease]))).toEqual(['update', 'find']);
    });

    it('B76 ticks, pauses and thefts send one command, and a refusal writes nothing', async () => {
      const key = newKey();
      const tick = Date.now() - 60_000;
      const nth = (n: number) => ({ once: { tick: tick + n, ahead: 60_000 } });
      const far = { once: { tick: Date.now() + 180_000, ahead: 60_000 } };
      const document = () => locks.findOne({ _id: key as any });
      const oplog = locks.db.client.db('local').collection('oplog.rs');
      const writes = () => oplog.countDocuments({ ns: locks.namespace });
      const take = (request: AcquireRequest) => store.acquire(key, 'o', 60_000, request);
      const refused = async (reason: RefusalReason, request: AcquireRequest) => {
        const [before, written] = [await document(), await writes()];
        const attempt = async () => expect(await take(request)).toMatchObject({ acquired: false, reason });
        expect(await sentBy(attempt)).toEqual(['findAndModify']);
        expect([await document(), await writes()]).toEqual([before, written]);
      };
      await refused('tick-ahead', far);
      expect(await document()).toBeNull();
      expect(await sentBy(async () => tokenOf(await take(nth(0))))).toEqual(['findAndModify']);
      expect(await writes()).toBeGreaterThan(0);
      await refused('tick-done', nth(0));
      await refused('held', { ...nth(1), stealAfter: 60_000 });
      await refused('tick-ahead', far);
      expect(await sentBy(() => store.pause(key))).toEqual(['findAndModify']);
      await refused('paused', nth(1));
      expect(await sentBy(() => store.resume(key))).toEqual(['update']);
      await locks.updateOne({ _id: key as any }, [
        { $set: { renewedAt: { $subtract: ['$renewedAt', 120_000] } } },
      ]);
      expect(await sentBy(async () => tokenOf(await take({ stealAfter: 60_000 })))).toEqual([
        'findAndModify',
      ]);
      expect(await sentBy(() => store.pause(newKey()))).toEqual(['findAndModify']);
    });

    it('B76 a tick too far ahead is refused as "tick-ahead", whatever characters its key has', async () => {
      const once = { tick: Date.now() + 180_000, ahead: 60_000 };
      for (const key of ['7', '$$NOW', '0x10', ' ', '1e3', '$literal'])
        expect(await store.acquire(key, 'o', 60_000, { once })).toEqual({
          acquired: false,
          reason: 'tick-ahead',
        });
    });

    it('B51 renewMany splits more than 500 leases into batches', async () => {
      const leases = Array.from({ length: 501 }, () => ({ key: newKey(), owner: 'o', ttl: 60_000 }));
      expect(await sentBy(() => store.renewMany(leases))).toEqual(['update', 'find', 'update', 'find']);
    });

    it('B51 renewMany tells leases of one key with different owners apart', async () => {
      const key = newKey();
      tokenOf(await store.acquire(key, 'now', 60_000));
      const leases = ['before', 'now', 'never'].map((owner) => ({ key, owner, ttl: 60_000 }));
      expect(await store.renewMany(leases)).toEqual(['lost', 'renewed', 'lost']);
    });

    it('B7 writes are acknowledged by a majority and journalled, within their time limits', async () => {
      const key = newKey();
      await sentBy(async () => {
        const timeout = 2_000;
        await store.acquire(key, 'o', 6_000, { timeout });
        await store.renew(key, 'o', 6_000, { timeout });
        await store.renewMany([{ key, owner: 'o', ttl: 6_000 }], { timeout });
        await store.release(key, 'o');
        await store.forceRelease(key);
        await store.purge({ prefix: key, olderThan: 0 });
      });
      const writes = commands.filter(({ commandName }) => commandName !== 'find');
      expect(writes.map(({ command }) => command.writeConcern)).toEqual([
        { w: 'majority', j: true, wtimeout: 2_000 },
        { w: 'majority', j: true, wtimeout: 2_000 },
        { w: 'majority', j: true, wtimeout: 2_000 },
        { w: 'majority', j: true, wtimeout: 10_000 },
        { w: 'majority', j: true, wtimeout: 10_000 },
        { w: 'majority', j: true, wtimeout: 10_000 },
      ]);
      expect(commands.map(({ command }) => command.maxTimeMS)).toEqual([
        2_000, 2_000, 1_000, 10_000, 10_000, 10_000, 10_000,
      ]);
    });

    it('B7 writes use the write concern that the user configures', async () => {
      const collection = await fixture.collection({ monitorCommands: true }, MongoClient);
      collection.db.client.on('commandStarted', (event) => commands.push(event));
      const weak = new MongoLockStore(collection, {
        writeConcern: { w: 1, journal: false, wtimeoutMS: 500 },
      });
      await weak.prepare();
      await sentBy(() => weak.acquire(newKey(), 'o', 60_000));
      expect(commands[0]?.command.writeConcern).toEqual({ w: 1, j: false, wtimeout: 500 });
    });

    it('B78 the primary alone acknowledges weak locks, but a majority acknowledges transactions', async () => {
      const collection = await fixture.collection({ monitorCommands: true }, MongoClient);
      collection.db.client.on('commandStarted', (event) => commands.push(event));
      const weak = new MongoLockStore(collection, { weak: true });
      expect(weak.keepsOnce).toBe(false);
      await weak.prepare();
      expect(weak.describe()).toBe('store=mongodb collection=locks weak=true');
      const key = newKey();
      await sentBy(async () => {
        const token = tokenOf(await weak.acquire(key, 'o', 60_000));
        await weak.renew(key, 'o', 60_000);
        await weak.pause(key);
        await weak.transaction((session) => weak.guard(session, key, 'o', token));
        await weak.release(key, 'o');
      });
      const concerns = commands.map(({ commandName, command }) => [commandName, command.writeConcern]);
      const concern = { w: 1, j: false, wtimeout: 10_000 };
      expect(concerns).toEqual([
        ['findAndModify', concern],
        ['update', concern],
        ['findAndModify', concern],
        ['update', undefined],
        ['commitTransaction', expect.objectContaining({ w: 'majority', j: true })],
        ['update', concern],
      ]);
    });

    it('B41 every key, owner and label is taken as a value, and never as an operator', async () => {
      for (const text of ['$$NOW', '$owner', '$$ROOT', '{"$ne":null}', '$literal', 'a.b', '__proto__']) {
        const token = tokenOf(await store.acquire(text, text, 60_000, { label: text }));
        expect(await store.inspect(text)).toMatchObject({
          state: 'held',
          holder: { label: text, fencingToken: token },
        });
        expect(await store.renewMany([{ key: text, owner: text, ttl: 60_000 }])).toEqual(['renewed']);
        expect(await store.release(text, `${text} `)).toBe(false);
        expect(await store.release(text, text)).toBe(true);
      }
    });

    it('B41 operators as keys and owners are refused before anything is sent', async () => {
      const names = await sentBy(async () => {
        for (const wrong of [
          { $ne: null },
          { $gt: '' },
          ['key'],
          7,
          null,
          undefined,
          new Date(),
          Symbol('key'),
        ] as any[]) {
          const calls = [
            () => store.acquire(wrong, 'o', 1000),
            () => store.renew(wrong, 'o', 1000),
            () => store.release(wrong, 'o'),
            () => store.inspect(wrong),
            () => store.forceRelease(wrong),
            () => store.guard({ inTransaction: () => true } as any, wrong, 'o', 1),
            () => store.renewMany([{ key: wrong, owner: 'o', ttl: 1000 }]),
            () => store.acquire('key', wrong, 1000),
            () => store.renew('key', wrong, 1000),
            () => store.release('key', wrong),
          ];
          for (const call of calls)
            await expect(call()).rejects.toMatchObject({
              name: 'LockError',
              message: expect.stringMatching(/must be/),
            });
        }
        await expect(
          store.guard({ inTransaction: () => true } as any, 'key', 'o', { $gt: 0 } as any),
        ).rejects.toThrow(/token/);
        await expect(store.purge({ prefix: { $gt: '' } as any, olderThan: 0 })).rejects.toThrow(/prefix/);
        await expect(store.purge({ olderThan: '$$NOW' as any })).rejects.toThrow(/olderThan/);
      });
      expect(names).toEqual([]);
    });
  });
