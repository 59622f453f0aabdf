import { describe, expect, it } from '@jest/globals';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore, warnings } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

const log = captureLog();

describe('inspect and isLocked', () => {
  it('B69 inspect reports a key as free, held, expired, and free again after its run', async () => {
    const { service, clock } = await startCore({ label: 'worker' });
    expect(await service.admin.inspect('key')).toEqual({ state: 'free', key: 'key' });
    expect(await service.admin.isLocked('key')).toBe(false);

    const lock = await service.acquire('key', { ttl: 1000, autoRenew: false });
    expect(await service.admin.inspect('key')).toMatchObject({
      state: 'held',
      key: 'key',
      holder: { label: 'worker', fencingToken: lock.fencingToken, remaining: 1000 },
    });
    expect(await service.admin.isLocked('key')).toBe(true);

    await clock.advance(1000);
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'expired', holder: { remaining: 0 } });
    expect(await service.admin.isLocked('key')).toBe(false);

    await service.run('key', () => {});
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'free', lastRun: { outcome: 'done' } });
  });

  it('B86 inspect and list never show the owner id', async () => {
    const { service } = await startCore();
    const { owner } = await service.acquire('key');
    const told = JSON.stringify([await service.admin.inspect('key'), await service.admin.list()]);
    expect(told).not.toContain(owner);
  });
});

describe('list', () => {
  it('B70 list gives the held locks of the prefix, ordered by key, in pages', async () => {
    const one = await startCore({ prefix: 'shop', label: 'worker' });
    const two = await startCore({}, one);
    for (const key of ['c', 'a', 'd', 'b', 'e']) await one.service.acquire(key);
    await (await one.service.acquire('released')).release();
    await two.service.acquire('blog:x');
    expect(await one.service.admin.list()).toMatchObject({
      locks: ['a', 'b', 'c', 'd', 'e'].map((key) => ({ key, label: 'worker' })),
    });
    const keys: string[][] = [];
    let after: string | undefined;
    do {
      const page = await one.service.admin.list({ limit: 2, after });
      keys.push(page.locks.map(({ key }) => key));
      after = page.next;
    } while (after);
    expect(keys).toEqual([['a', 'b'], ['c', 'd'], ['e']]);
    expect((await two.service.admin.list()).locks.map(({ key }) => key)).toContain('blog:x');
  });

  it.each([1, 1000])('B70 list accepts a page size of %d', async (limit) => {
    const { service } = await startCore();
    await service.acquire('key');
    expect((await service.admin.list({ limit })).locks).toHaveLength(1);
  });

  it.each([0, 1001, 1.5, -1])('B70 list refuses a page size of %d and names the limits', async (limit) => {
    const { service } = await startCore();
    expect((await errorOf(service.admin.list({ limit }))).message).toBe(
      `The limit of list() must be 1 to 1000, but it is ${limit}.`,
    );
  });

  it('B70 list gives an empty page if no lock is held', async () => {
    const { service } = await startCore();
    expect(await service.admin.list()).toEqual({ locks: [] });
  });
});

describe('forceRelease', () => {
  it('B71 a forced release frees the key, and the former holder reports a loss at its next renewal', async () => {
    const { service, clock, of } = await startCore({ ttl: 900 });
    const lock = await service.acquire('key');
    expect(await service.admin.forceRelease('key', { reason: 'stuck since Tuesday' })).toBe(true);
    expect(await service.admin.isLocked('key')).toBe(false);
    expect(lock.held).toBe(true);
    const next = await service.acquire('key');
    expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
    await clock.advance(300);
    expect([lock.held, next.held]).toEqual([false, true]);
    expect(of('lost')).toHaveLength(1);
    expect(warnings(log)[0]).toBe('Lock "key" was force-released: stuck since Tuesday');
  });

  it('B71 the holder of a lock with ttl: Infinity reports a loss after a forced release, too', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key', { ttl: Infinity });
    await service.admin.forceRelease('key', { reason: 'test' });
    await clock.advance(10_000);
    expect(lock.held).toBe(false);
    expect(lock.loss).toBeDefined();
  });

  it('B71 forceRelease returns false for a free key', async () => {
    const { service } = await startCore();
    expect(await service.admin.forceRelease('key', { reason: 'test' })).toBe(false);
    expect(log.at(-1)).toMatchObject({ level: 'log' });
    expect(await service.admin.inspect('key')).toEqual({ state: 'free', key: 'key' });
  });
});

describe('purge', () => {
  const DAY = 86_400_000;

  it('B72 purge deletes keys that were unused for longer than olderThan, and never a held lock', async () => {
    const { service, clock, store } = await startCore();
    const old = await service.acquire('old');
    await old.release();
    await store.takenBy('crashed', 'expired');
    const held = await service.acquire('held', { ttl: Infinity });
    await clock.advance(2 * DAY);
    await service.run('recent', () => {});
    expect(await service.admin.purge({ olderThan: '1d' })).toBe(2);
    expect(await service.admin.inspect('old')).toEqual({ state: 'free', key: 'old' });
    expect(await service.admin.inspect('expired')).toEqual({ state: 'free', key: 'expired' });
    expect(await service.admin.inspect('recent')).toMatchObject({ lastRun: { outcome: 'done' } });
    expect(held.held).toBe(true);
    expect(await service.admin.purge({ olderThan: DAY })).toBe(0);
    expect((await service.acquire('old')).fencingToken).toBeGreaterThan(old.fencingToken);
    expect(await service.admin.purge({ olderThan: 0 })).toBe(1);
    expect(await service.admin.isLocked('held')).toBe(true);
  });

  it('B72 purge does not delete a key that minHold keeps after its release', async () => {
    const { service } = await startCore();
    await service.run('kept', () => {}, { minHold: '1m' });
    expect(await service.admin.purge({ olderThan: 0 })).toBe(0);
    expect(await service.admin.isLocked('kept')).toBe(true);
  });

  it('B42 purge deletes only keys with the prefix of the module', async () => {
    const shop = await startCore({ prefix: 'shop' });
    const blog = await startCore({ prefix: 'blog' }, shop);
    const all = await startCore({}, shop);
    for (const { service } of [shop, blog, all]) await service.run('key', () => {});
    expect(await shop.service.admin.purge({ olderThan: 0 })).toBe(1);
    expect(await blog.service.admin.inspect('key')).toHaveProperty('lastRun');
    expect(await all.service.admin.purge({ olderThan: 0 })).toBe(2);
  });

  it('B72 purge refuses an age that is missing, misspelt or no duration', async () => {
    const { service } = await startCore();
    await service.run('key', () => {});
    for (const request of [undefined, null, '7d', {}, { olderthan: '7d' }, { olderThan: '7 d', key: 'key' }])
      expect(await errorOf(service.admin.purge(request as any))).toBeInstanceOf(LockError);
    for (const olderThan of [undefined, null, -1, NaN, Infinity, 'a week'])
      expect((await errorOf(service.admin.purge({ olderThan: olderThan as any }))).message).toMatch(
        /^The option "olderThan" of purge\(\) must be .*at least 0 ms/,
      );
    expect((await errorOf(service.admin.purge({ olderthan: '7d' } as any))).message).toMatch(
      'purge() does not know the option "olderthan"',
    );
    expect(await service.admin.inspect('key')).toHaveProperty('lastRun');
  });
});

it('B70 a store without LockInspector gives an error that names the missing method', async () => {
  const clock = new ManualClock();
  const scripted = new ScriptedStore(clock);
  class PlainStore implements LockStore {
    acquire = scripted.acquire.bind(scripted);
    renew = scripted.renew.bind(scripted);
    release = scripted.release.bind(scripted);
  }
  const { service } = await startCore({}, { clock, openStore: () => new PlainStore() });
  for (const call of [
    () => service.admin.inspect('key'),
    () => service.admin.isLocked('key'),
    () => service.admin.list(),
    () => service.admin.forceRelease('key', { reason: 'test' }),
    () => service.admin.purge({ olderThan: '7d' }),
  ]) {
    const error = await errorOf(call());
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toMatch(
      /The lock store \(PlainStore\) does not implement \w+\(\)\. Use a store that implements LockInspector\./,
    );
  }
  expect((await service.acquire('key')).held).toBe(true);
});
