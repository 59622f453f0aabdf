import { describe, expect, it } from '@jest/globals';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore, warnings } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

const log = captureLog();

describe('B69 inspect and isLocked', () => {
  it('free, held, expired, and free again', async () => {
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

  it('never tell the owner id', async () => {
    const { service } = await startCore();
    const { owner } = await service.acquire('key');
    const told = JSON.stringify([await service.admin.inspect('key'), await service.admin.list()]);
    expect(told).not.toContain(owner);
  });
});

describe('B70 list', () => {
  it('gives the held locks of this prefix, by key, in pages', async () => {
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

  it.each([1, 1000])('takes pages of 1 to 1000: %d', async (limit) => {
    const { service } = await startCore();
    await service.acquire('key');
    expect((await service.admin.list({ limit })).locks).toHaveLength(1);
  });

  it.each([0, 1001, 1.5, -1])('refuses a page of %d itself, with what it may be', async (limit) => {
    const { service } = await startCore();
    expect((await errorOf(service.admin.list({ limit }))).message).toBe(
      `The limit of list() must be 1 to 1000, but it is ${limit}.`,
    );
  });

  it('of nothing is an empty page', async () => {
    const { service } = await startCore();
    expect(await service.admin.list()).toEqual({ locks: [] });
  });
});

describe('B71 forceRelease', () => {
  it('frees the key; its holder learns at its next renewal; the token grows', async () => {
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

  it('B71 reaches the holder of an endless lock as well', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key', { ttl: Infinity });
    await service.admin.forceRelease('key', { reason: 'test' });
    await clock.advance(10_000);
    expect(lock.held).toBe(false);
    expect(lock.loss).toBeDefined();
  });

  it('of a key that nobody holds is false', async () => {
    const { service } = await startCore();
    expect(await service.admin.forceRelease('key', { reason: 'test' })).toBe(false);
    expect(log.at(-1)).toMatchObject({ level: 'log' });
    expect(await service.admin.inspect('key')).toEqual({ state: 'free', key: 'key' });
  });
});

describe('B72 purge', () => {
  const DAY = 86_400_000;

  it('deletes what was unused for that long, and never a live lock; the token grows', async () => {
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

  it('leaves a key that minHold keeps', async () => {
    const { service } = await startCore();
    await service.run('kept', () => {}, { minHold: '1m' });
    expect(await service.admin.purge({ olderThan: 0 })).toBe(0);
    expect(await service.admin.isLocked('kept')).toBe(true);
  });

  it('B42 touches only keys with the prefix of the module', async () => {
    const shop = await startCore({ prefix: 'shop' });
    const blog = await startCore({ prefix: 'blog' }, shop);
    const all = await startCore({}, shop);
    for (const { service } of [shop, blog, all]) await service.run('key', () => {});
    expect(await shop.service.admin.purge({ olderThan: 0 })).toBe(1);
    expect(await blog.service.admin.inspect('key')).toHaveProperty('lastRun');
    expect(await all.service.admin.purge({ olderThan: 0 })).toBe(2);
  });

  it('refuses an age that is missing, misspelt or no length of time', async () => {
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

it('B70 a store that cannot tell gives an error that says so', async () => {
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
