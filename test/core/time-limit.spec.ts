import { describe, expect, it } from '@jest/globals';
import { startCore, startCoreWith, watch } from './core-fixture.js';
import { linkBroken, WaiterReleaseStore } from './scripted-store.js';

describe('the time limit that the store gets with each request', () => {
  it.each([
    [900, 1_000],
    [6_000, 2_000],
    [60_000, 10_000],
    [Infinity, 10_000],
  ])('B27 a request for a ttl of %d ms has a time limit of %d ms in the store', async (ttl, limit) => {
    const { service, store } = await startCore({ ttl });
    await (await service.acquire('key')).release();
    expect(store.calls.map(({ operation, timeout }) => [operation, timeout])).toEqual([
      ['acquire', limit],
      ['release', limit],
    ]);
  });

  it('B27 the requests of one attempt share its time limit', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { fail: linkBroken }, { fail: linkBroken });
    const acquiring = watch(service.acquire('key'));
    await clock.advance(150);
    expect(acquiring.state).toBe('resolved');
    expect(store.of('acquire').map(({ timeout }) => timeout)).toEqual([10_000, 9_950, 9_850]);
  });

  it('B27 the requests of one release share its time limit', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key');
    store.next('release', { fail: linkBroken, after: 1_000 });
    const releasing = watch(lock.release());
    await clock.advance(50);
    expect(releasing.state).toBe('resolved');
    expect(store.of('release').map(({ timeout }) => timeout)).toEqual([10_000, 9_950]);
  });

  it('B18 an attempt may take at most 2.5 s longer than the wait of its call', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 60_000);
    const waiting = watch(service.acquire('key', { wait: 5_000, retry: 4_000 }));
    await clock.advance(5_000);
    expect(waiting.state).toBe('rejected');
    expect(store.of('acquire').map(({ timeout }) => timeout)).toEqual([5_000, 2_500, 2_500]);
  });

  it('B27 a renewal has the time limit of the shortest lease of its batch', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('a', { ttl: 30_000, renewEvery: 10_000 });
    await service.acquire('b', { ttl: 15_000, renewEvery: 10_000 });
    await clock.advance(10_000);
    await lock.extend();
    expect(store.of('renewMany').map(({ timeout }) => timeout)).toEqual([4_250]);
    expect(store.of('renew').map(({ timeout }) => timeout)).toEqual([10_000]);
  });

  it('B27 a release to a waiter has the time limit of the holder', async () => {
    const { service, store, clock } = await startCoreWith(WaiterReleaseStore);
    const holder = await service.acquire('key', { ttl: 12_000 });
    const waiting = watch(service.acquire('key', { wait: 20_000 }));
    await clock.advance(10);
    await holder.release();
    await clock.advance(1);
    expect(waiting.state).toBe('resolved');
    expect(store.of('releaseToWaiter').map(({ timeout }) => timeout)).toEqual([4_000]);
  });
});
