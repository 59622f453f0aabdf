import { afterEach, describe, expect, it } from '@jest/globals';
import { LockError } from '../../lib/lock.errors.js';
import { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import { memoryStore } from '../../lib/stores/memory/memory-store.js';
import { lockStoreConformance } from '../../lib/testing/lock-store-conformance.js';

const LEASE = 30_000;

describe('MemoryLockStore passes the conformance suite', () => {
  // All instances of this test share one store object, as processes share a database.
  const shared = new MemoryLockStore();
  for (const { name, run } of lockStoreConformance(() => shared, { rounds: 100 })) it(name, run);
});

describe('MemoryLockStore alone', () => {
  it('B34 a lease expires exactly to the millisecond on the clock that the store was given', async () => {
    const clock = { now: Date.UTC(2026, 10, 20) };
    const store = new MemoryLockStore({ now: () => clock.now });
    await store.acquire('key', 'a', 1000, { label: 'first' });

    clock.now += 999;
    const refused = await store.acquire('key', 'b', 1000);
    expect(refused).toEqual({
      acquired: false,
      reason: 'held',
      holder: {
        key: 'key',
        label: 'first',
        fencingToken: Date.UTC(2026, 10, 20) * 1000,
        startedAt: new Date('2026-11-20T00:00:00.000Z'),
        renewedAt: new Date('2026-11-20T00:00:00.000Z'),
        expiresAt: new Date('2026-11-20T00:00:01.000Z'),
        remaining: 1,
      },
    });
    expect(await store.renew('key', 'a', 1000)).toBe(true);

    clock.now += 1000;
    expect(await store.renew('key', 'a', 1000)).toBe(false);
    expect(await store.release('key', 'a')).toBe(false);
    expect(await store.inspect('key')).toMatchObject({ state: 'expired', holder: { remaining: 0 } });
    expect((await store.acquire('key', 'b', 1000)).acquired).toBe(true);
    expect(await store.inspect('key')).toMatchObject({
      state: 'held',
      lastRun: {
        label: 'first',
        startedAt: new Date('2026-11-20T00:00:00.000Z'),
        endedAt: new Date('2026-11-20T00:00:01.999Z'),
        outcome: 'failed',
      },
    });
  });

  it('B38 the token is the clock in microseconds, or the last token plus one if that is larger', async () => {
    const clock = { now: 1_000_000.5 };
    const store = new MemoryLockStore({ now: () => clock.now });
    expect(await store.acquire('a', 'owner', LEASE)).toEqual({ acquired: true, fencingToken: 1_000_000_500 });
    expect(await store.acquire('b', 'owner', LEASE)).toEqual({ acquired: true, fencingToken: 1_000_000_501 });
    clock.now = 5;
    expect(await store.acquire('c', 'owner', LEASE)).toEqual({ acquired: true, fencingToken: 1_000_000_502 });
  });

  it('B34 a released key stays free when the clock is set back', async () => {
    const clock = { now: 1_000_000 };
    const store = new MemoryLockStore({ now: () => clock.now });
    await store.acquire('key', 'a', LEASE);
    await store.release('key', 'a');
    clock.now -= 60_000;
    expect((await store.acquire('key', 'b', LEASE)).acquired).toBe(true);
  });

  it('B34 the clock that the store uses by default shows about the same time as the wall clock', async () => {
    const store = new MemoryLockStore();
    const before = Date.now();
    await store.acquire('key', 'a', LEASE);
    const { holder } = (await store.inspect('key')) as { holder: { startedAt: Date } };
    expect(Math.abs(holder.startedAt.getTime() - before)).toBeLessThan(1000);
  });

  it('B46 above its limit of keys, the store forgets the oldest free keys, but no held key', async () => {
    const store = new MemoryLockStore({ history: 10 });
    await store.acquire('held', 'a', LEASE);
    await store.acquire('kept', 'a', LEASE);
    await store.release('kept', 'a', { keepFor: LEASE });
    for (let i = 0; i < 100; i++) {
      await store.acquire(`order:${i}`, 'a', LEASE);
      await store.release(`order:${i}`, 'a');
    }

    const remembered = [];
    for (let i = 0; i < 100; i++) {
      if ((await store.inspect(`order:${i}`)).lastRun) remembered.push(i);
    }
    expect(remembered.length).toBeGreaterThanOrEqual(10);
    expect(remembered.length).toBeLessThanOrEqual(20);
    expect(remembered).toEqual(Array.from(remembered, (_, index) => 100 - remembered.length + index));
    expect(await store.renew('held', 'a', LEASE)).toBe(true);
    expect((await store.acquire('kept', 'b', LEASE)).acquired).toBe(false);
  });

  it('B46 above its limit of keys, the store also forgets expired leases', async () => {
    const clock = { now: 1_000_000 };
    const store = new MemoryLockStore({ now: () => clock.now, history: 10 });
    for (let i = 0; i < 100; i++, clock.now += 1000) await store.acquire(`order:${i}`, 'a', 500);
    expect((await store.inspect('order:0')).state).toBe('free');
    expect((await store.inspect('order:99')).state).toBe('expired');
  });

  it('B38 the tokens of a key grow even after the store has forgotten the key', async () => {
    const store = new MemoryLockStore({ now: () => 0, history: 0 });
    const tokens = [];
    for (let i = 0; i < 5; i++) {
      const granted = await store.acquire('key', 'a', LEASE);
      tokens.push(granted.acquired && granted.fencingToken);
      await store.release('key', 'a');
      await store.acquire(`other:${i}`, 'a', LEASE);
      await store.release(`other:${i}`, 'a');
      expect(await store.inspect('key')).toEqual({ state: 'free', key: 'key' });
    }
    expect(tokens).toEqual([1, 3, 5, 7, 9]);
  });

  it('B46 code that changes a result of the store does not change the store', async () => {
    const store = new MemoryLockStore();
    await store.acquire('key', 'a', LEASE);
    await store.release('key', 'a');
    const { lastRun } = await store.inspect('key');
    lastRun?.endedAt.setTime(0);
    expect((await store.inspect('key')).lastRun?.endedAt.getTime()).toBeGreaterThan(0);
  });

  it('B41 a long key is stored in the form that the databases use', async () => {
    const store = new MemoryLockStore();
    await store.acquire('x'.repeat(300), 'a', LEASE);
    const { locks } = await store.list({ limit: 10 });
    expect(locks[0]?.key).toMatch(/^x{183}~sha256:[0-9a-f]{64}$/);
  });

  it('B3 the line that the module logs at its start names the store', () => {
    expect(new MemoryLockStore().describe()).toBe('store=memory');
  });
});

describe('memoryStore()', () => {
  const environment = process.env.NODE_ENV;
  afterEach(() => {
    process.env.NODE_ENV = environment;
  });

  it('B3 memoryStore() makes a store', () => {
    expect(memoryStore().useFactory()).toBeInstanceOf(MemoryLockStore);
  });

  it('B8 memoryStore() is refused in production, where each process would have its own locks', () => {
    process.env.NODE_ENV = 'production';
    const definition = memoryStore();
    expect(() => definition.useFactory()).toThrow(LockError);
    expect(() => definition.useFactory()).toThrow(/each process would have its own locks.*typeOrmStore\(\)/);
    expect(() => memoryStore({ allowInProduction: false }).useFactory()).toThrow(LockError);
  });

  it('B3 memoryStore() is accepted in production for an application of one process', () => {
    process.env.NODE_ENV = 'production';
    expect(memoryStore({ allowInProduction: true }).useFactory()).toBeInstanceOf(MemoryLockStore);
  });
});
