import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { expectTypeOf } from 'expect-type';
import { randomUUID } from 'node:crypto';
import { DataSource } from 'typeorm';
import { MemoryLockStore } from '../../lib/index.js';
import type { LockStore } from '../../lib/interfaces/index.js';
import { TypeOrmLockStore } from '../../lib/stores/typeorm/index.js';
import { selectedStores, sqlTargets } from '../servers/targets.js';

/** The methods that `@nestjs/locks` needs from a store. */
interface ThreeMethods {
  acquire(key: string, owner: string, ttl: number): Promise<{ acquired: boolean; fencingToken?: number }>;
  renew(key: string, owner: string, ttl: number): Promise<boolean>;
  release(key: string, owner: string): Promise<boolean>;
}

const DAYS = 24 * 60 * 60 * 1000;

interface Opened {
  store: ThreeMethods;
  close(): Promise<void>;
}

const stores: { name: string; open: () => Promise<Opened> }[] = [
  ...(selectedStores.includes('memory')
    ? [{ name: 'memory', open: async () => ({ store: new MemoryLockStore(), close: async () => {} }) }]
    : []),
  ...sqlTargets().map((kind) => ({
    name: kind.name,
    open: async () => {
      const target = await kind.open();
      const application = await new DataSource(target.options).initialize();
      const store = new TypeOrmLockStore(application);
      await store.prepare();
      return {
        store,
        close: async () => {
          await store.close();
          await application.destroy();
          await target.dispose();
        },
      };
    },
  })),
];

it('B92 every store has the type of a store of @nestjs/locks', () => {
  expectTypeOf<LockStore>().toMatchTypeOf<ThreeMethods>();
});

for (const { name, open } of stores) {
  describe(`the contract of @nestjs/locks on ${name}`, () => {
    let opened: Opened;
    let store: ThreeMethods;
    const [owner, other] = [randomUUID(), randomUUID()];
    // A key of 500 characters, with characters of one to four bytes in UTF-8. The second key
    // differs only in its last character.
    const start = Array.from(`report:${randomUUID()}:${'aé漢😀 %_\'"\\'.repeat(60)}`)
      .slice(0, 499)
      .join('');
    const [key, neighbour] = [`${start}x`, `${start}y`];

    beforeAll(async () => {
      opened = await open();
      store = opened.store;
    });
    afterAll(() => opened.close());

    it('B92 a store takes keys of 500 characters and leases of 30 days, and its tokens grow', async () => {
      const first = await store.acquire(key, owner, 30 * DAYS);
      expect(first).toEqual({ acquired: true, fencingToken: expect.any(Number) });
      expect(await store.acquire(key, other, 30 * DAYS)).toMatchObject({ acquired: false });
      expect(await store.acquire(key, owner, 30 * DAYS)).toMatchObject({ acquired: false });
      expect(await store.acquire(neighbour, owner, 30 * DAYS)).toMatchObject({ acquired: true });

      expect(await store.renew(key, other, 30 * DAYS)).toBe(false);
      expect(await store.release(key, other)).toBe(false);
      expect(await store.renew(key, owner, 30 * DAYS)).toBe(true);
      expect(await store.release(key, owner)).toBe(true);
      expect(await store.release(key, owner)).toBe(false);
      expect(await store.renew(key, owner, 30 * DAYS)).toBe(false);

      const second = await store.acquire(key, other, 1);
      expect(second.fencingToken).toBeGreaterThan(first.fencingToken ?? Infinity);
      // The other owner's lease lasts a millisecond. A grant to another owner proves that it
      // has expired.
      const third = await untilAcquired(store, key, owner);
      expect(await store.renew(key, other, 30 * DAYS)).toBe(false);
      expect(await store.release(key, other)).toBe(false);
      expect(third.fencingToken).toBeGreaterThan(second.fencingToken ?? Infinity);
    });
  });
}

async function untilAcquired(store: ThreeMethods, key: string, owner: string) {
  for (let attempts = 0; attempts < 1000; attempts++) {
    const result = await store.acquire(key, owner, 30 * DAYS);
    if (result.acquired) return result;
  }
  throw new Error('a lease of a millisecond did not end');
}
