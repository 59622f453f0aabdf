import { afterAll, describe, expect, it } from '@jest/globals';
import type { MongoClientOptions } from 'mongodb';
import { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { drivers, MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const OPTIONS: MongoClientOptions[] = [
  { useBigInt64: true },
  { promoteLongs: false },
  { promoteValues: false },
  { raw: true },
  { ignoreUndefined: true },
  { fieldsAsRaw: { label: true, owner: true, token: true } },
  { readPreference: 'secondaryPreferred' },
  { readPreference: 'nearest', readConcern: { level: 'linearizable' } },
  { readConcern: { level: 'snapshot' } },
  { writeConcern: { w: 0 } },
  { retryWrites: false, retryReads: false },
  { serverApi: { version: '1', strict: true, deprecationErrors: true } },
  { maxPoolSize: 1 },
  { compressors: ['zlib'] },
];

if (mongodbIsSelected())
  describe.each(drivers)("options of the application's client, with $name", ({ MongoClient }) => {
    const fixture = new MongoFixture();
    afterAll(() => fixture.dispose());

    it.each(OPTIONS)('B5 the store works on a client with the options %j', async (options) => {
      const store = new MongoLockStore(await fixture.collection(options, MongoClient));
      await store.prepare();
      const [key, other] = [newKey(), newKey()];
      const token = tokenOf(await store.acquire(key, 'o', 60_000, { label: 'worker' }));
      expect(Number.isSafeInteger(token)).toBe(true);
      tokenOf(await store.acquire(other, 'o2', Number.MAX_SAFE_INTEGER));
      expect(await store.acquire(key, 'p', 60_000)).toMatchObject({
        acquired: false,
        reason: 'held',
        holder: { key, label: 'worker', fencingToken: token, startedAt: expect.any(Date) },
      });
      expect(await store.renew(key, 'o', 60_000)).toBe(true);
      const renewals = [
        { key, owner: 'o', ttl: 60_000 },
        { key: other, owner: 'nobody', ttl: 60_000 },
      ];
      expect(await store.renewMany(renewals)).toEqual(['renewed', 'lost']);
      expect(await store.inspect(key)).toMatchObject({ state: 'held', holder: { fencingToken: token } });
      expect(await store.inspect(other)).toMatchObject({ holder: { expiresAt: null, remaining: Infinity } });
      expect((await store.list({ limit: 1, prefix: key })).locks).toMatchObject([
        { key, fencingToken: token },
      ]);
      expect(await store.transaction((session) => store.guard(session, key, 'o', token))).toBe(true);
      const passed = tokenOf(await store.releaseToWaiter(key, 'o', { owner: 'next', ttl: 60_000 }));
      expect(Number.isSafeInteger(passed)).toBe(true);
      expect(await store.release(key, 'next')).toBe(true);
      expect(await store.inspect(key)).toMatchObject({ state: 'free', lastRun: { outcome: 'done' } });
      expect(await store.forceRelease(other)).toBe(true);
      expect(await store.purge({ prefix: key, olderThan: 0 })).toBe(1);
    });
  });
