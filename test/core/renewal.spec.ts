import { describe, expect, it } from '@jest/globals';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockLostError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore, warnings, watch } from './core-fixture.js';
import { ManualClock, settle } from './manual-clock.js';
import { linkBroken, ScriptedStore, serverRefused, type Fate } from './scripted-store.js';

const log = captureLog();

const START = 10_000;

function withoutBatches(store: ScriptedStore): LockStore {
  return {
    acquire: store.acquire.bind(store),
    renew: store.renew.bind(store),
    release: store.release.bind(store),
  };
}

describe('B52 renewal', () => {
  it('is on by default, every third of the ttl', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
    expect(store.of('renewMany').map(({ at }) => at - START)).toEqual(
      Array.from({ length: 60 }, (_, i) => (i + 1) * 1000),
    );
    expect(store.of('renewMany')[0]?.renewals).toEqual([{ key: 'key', owner: lock.owner, ttl: 3000 }]);
    expect(lock.expiresAt?.getTime()).toBe(clock.date() + 3000);
  });

  it('has the interval that renewEvery says', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000, renewEvery: '500ms' });
    await service.acquire('key');
    await clock.advance(2000);
    expect(store.of('renewMany').map(({ at }) => at - START)).toEqual([500, 1000, 1500, 2000]);
  });

  it('counts from before the request, so that slow answers do not wear the lease down', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    store.always({ before: 100, after: 100 }, 'renewMany');
    const lock = await service.acquire('key');
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
    expect(
      store
        .of('renewMany')
        .slice(0, 3)
        .map(({ at }) => at - START),
    ).toEqual([300, 600, 900]);
  });

  it('is sent once when the loss of another lock has its holder extend it at that moment', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    const other = await service.acquire('other', { ttl: 1000, autoRenew: false });
    other.signal.addEventListener('abort', () => void lock.extend('10s'));
    await clock.advance(950); // the other one is lost, and this one nearly due
    expect(other.held).toBe(false);
    expect([store.count('renew'), store.count('renewMany')]).toEqual([1, 0]);
  });

  it('leaves no timer when the loss of one lock has its holder release the last one', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key');
    const other = await service.acquire('other', { ttl: 1000, autoRenew: false });
    other.signal.addEventListener('abort', () => void lock.release());
    await clock.advance(950);
    expect([other.held, lock.held]).toEqual([false, false]);
    expect(clock.timers).toEqual([]);
  });

  it('can be off: the lock then ends with its ttl', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000 });
    const lock = await service.acquire('key', { autoRenew: false });
    await clock.advance(949);
    expect(lock.held).toBe(true);
    await clock.advance(1);
    expect(lock.held).toBe(false);
    expect(lock.loss?.message).toMatch(/ran out/);
    expect(store.count('renewMany')).toBe(0);
  });

  it.each([
    [100, 67],
    [150, 100],
    [600, 550],
    [1000, 950],
    [30_000, 28_500],
  ])('a lease of %d ms is held for %d: 5 %% less, at least 50 ms, a third at most', async (ttl, deadline) => {
    const { service, clock } = await startCore({ autoRenew: false });
    const lock = await service.acquire('key', { ttl });
    await clock.advance(deadline - 1);
    expect(lock.held).toBe(true);
    await clock.advance(1);
    expect(lock.held).toBe(false);
  });

  it('the deadline of a new lock counts from before the request', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    store.next('acquire', { before: 150, after: 150 });
    const acquiring = watch(service.acquire('key'));
    await clock.advance(949);
    expect(acquiring.value?.held).toBe(true);
    await clock.advance(1);
    expect(acquiring.value?.held).toBe(false);
    expect(await store.held('key')).toBe(true); // it learns of its loss before another gets in
  });

  it('goes one by one in a store that has no batches', async () => {
    const clock = new ManualClock();
    const scripted = new ScriptedStore(clock);
    const { service } = await startCore({ ttl: 900 }, { clock, openStore: () => withoutBatches(scripted) });
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    await clock.advance(300);
    expect(scripted.of('renew')).toMatchObject([
      { key: 'a', owner: locks[0]?.owner, ttl: 900 },
      { key: 'b' },
      { key: 'c' },
    ]);
    await clock.advance(10_000);
    expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
    expect(scripted.count('renewMany')).toBe(0);
  });
});

describe('batches', () => {
  it('those that are due about the same time go together', async () => {
    const { service, store, clock } = await startCore({ ttl: 30_000 });
    for (const key of ['a', 'b', 'c', 'd']) {
      await service.acquire(key);
      await clock.advance(key === 'c' ? 1000 : 100);
    }
    await clock.advance(10_000);
    const batches = store.of('renewMany').map(({ renewals }) => renewals?.map(({ key }) => key).join(''));
    expect(batches).toEqual(['abc', 'd']);
  });

  it('of short ttls fewer go together: none is renewed much earlier than its interval', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    await service.acquire('a');
    await clock.advance(20);
    await service.acquire('b');
    await clock.advance(80);
    await service.acquire('c');
    await clock.advance(200);
    expect(store.of('renewMany').map(({ renewals }) => renewals?.map(({ key }) => key).join(''))).toEqual([
      'ab',
    ]);
  });

  it('wait no longer for an answer than the shortest ttl among them allows', async () => {
    const { service, store, clock, of } = await startCore();
    await service.acquire('long', { ttl: 30_000, renewEvery: 1_000 });
    await service.acquire('short', { ttl: 3_000 });
    store.next('renewMany', { hang: 'request' });
    await clock.advance(1_999);
    expect(of('renewFailed')).toEqual([]);
    await clock.advance(1);
    expect(of('renewFailed').map(({ key, error }) => [key, error.message])).toEqual(
      ['long', 'short'].map((key) => [
        key,
        expect.stringContaining('did not answer the renewal of "2 leases" within 1000 ms'),
      ]),
    );
  });

  it('at most 500 at once', async () => {
    const { service, store, clock } = await startCore();
    const locks = await Promise.all(Array.from({ length: 1201 }, (_, i) => service.acquire(`key ${i}`)));
    await clock.advance(10_000);
    expect(store.of('renewMany').map(({ renewals }) => renewals?.length)).toEqual([500, 500, 201]);
    const owners = store.of('renewMany').flatMap(({ renewals }) => renewals?.map(({ owner }) => owner));
    expect(new Set(owners)).toEqual(new Set(locks.map(({ owner }) => owner)));
    await clock.advance(20_000);
    expect(store.count('renewMany')).toBe(9);
  });

  it('one that is lost does not affect the others', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 900 });
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    await store.server.forceRelease('b');
    await clock.advance(300);
    expect([a?.held, b?.held, c?.held]).toEqual([true, false, true]);
    expect(b?.loss?.message).toMatch(/the store says that it ran out or was taken away/);
    expect(of('lost')).toMatchObject([{ key: 'b' }]);
    await clock.advance(300);
    expect(store.of('renewMany')[1]?.renewals).toMatchObject([{ key: 'a' }, { key: 'c' }]);
  });

  it('one that the store could not reach is retried alone, soon, and goes with the others again after it', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    store.next('renewMany', { answer: ['renewed', 'unknown', 'renewed'] });
    await clock.advance(3000);
    await clock.advance(1500);
    expect(store.of('renew')).toMatchObject([{ key: 'b', ttl: 9000 }]);
    expect(store.of('renew')[0]?.at).toBeGreaterThanOrEqual(START + 3015);
    expect(of('renewFailed')).toEqual([]);
    await clock.advance(3000);
    expect(store.count('renew')).toBe(1);
    const sizes = store.of('renewMany').map(({ renewals }) => renewals?.length);
    expect(sizes.reduce((sum = 0, size = 0) => sum + size, 0)).toBe(6);
    expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
  });

  it('an answer that is too short leaves the rest unknown, and what is no answer all of them', async () => {
    for (const answer of [['renewed'], [], undefined, null]) {
      const { service, store, clock } = await startCore({ ttl: 9000 });
      const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
      store.next('renewMany', { answer });
      await clock.advance(20_000);
      expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
      expect(store.count('renew')).toBe(answer?.length === 1 ? 2 : 3);
    }
  });

  it('what fails for one row does not fail for all again: they are retried one by one', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    store.next('renewMany', { fail: serverRefused });
    store.fate = ({ operation, key }) =>
      operation === 'renew' && key === 'b' ? { fail: serverRefused } : undefined;
    await clock.advance(9000);
    expect(locks.map(({ held }) => held)).toEqual([true, false, true]);
    expect(of('lost')).toMatchObject([{ key: 'b' }]);
    expect(
      of('renewFailed')
        .slice(0, 3)
        .map(({ key }) => key),
    ).toEqual(['a', 'b', 'c']);
  });

  it('locks of different ttls have one timer, and each is renewed in time', async () => {
    const { service, clock } = await startCore();
    const ttls = [100, 250, 900, 5000, 30_000, Infinity];
    const locks = await Promise.all(ttls.map((ttl) => service.acquire(`ttl ${ttl}`, { ttl })));
    for (let i = 0; i < 1000; i++) {
      await clock.advance(37);
      expect(clock.timers).toHaveLength(1);
      expect(locks.every(({ held }) => held)).toBe(true);
    }
  });
});

describe('outages', () => {
  it.each([
    ['the link is broken', 8000, { fail: linkBroken }],
    ['the server refuses', 8000, { fail: serverRefused }],
    ['a raw error', 8000, { fail: () => new Error('disk full') }],
    ['nothing is answered', 5000, { hang: 'request' }],
  ] as const)('one that is shorter than the lease is survived: %s', async (_, duration, fate) => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    await clock.advance(3500);
    store.always(fate);
    await clock.advance(duration);
    store.heal();
    expect(lock.held).toBe(true);
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
    expect(of('lost')).toEqual([]);
    expect(of('renewFailed').length).toBeGreaterThan(0);
    expect(of('renewFailed')[0]).toMatchObject({ key: 'key', error: { name: 'LockStoreError' } });
    expect(warnings(log)[0]).toMatch(/^Lock "key" could not be renewed, and is tried again: /);
    expect(await lock.release()).toBe(true);
  });

  it.each([
    ['the link is broken', { fail: linkBroken }],
    ['answers get lost', { lose: 'answer' }],
    ['nothing is answered', { hang: 'answer' }],
    ['requests get lost', { hang: 'request' }],
  ] as const)('one that is longer loses the lock exactly at its deadline: %s', async (_, fate) => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    await clock.advance(3500); // renewed at 3000
    store.always(fate);
    await clock.advance(3000 + 9000 - 450 - 3500 - 1);
    expect(lock.held).toBe(true);
    expect(of('lost')).toEqual([]);
    await clock.advance(1);
    expect(lock.held).toBe(false);
    expect(of('lost')).toMatchObject([{ key: 'key', heldFor: 11_550 }]);
    expect(lock.loss?.message).toMatch(/its lease ran out before a renewal was answered/);
    await clock.advance(60_000);
    expect(of('lost')).toHaveLength(1);
    expect(clock.timers).toEqual([]);
  });

  it.each<[string, Fate, number]>([
    ['a raw error', { fail: () => new Error('disk full') }, 0],
    ['no answer', { hang: 'request' }, 3000],
  ])('is told with the lease that it was about: %s', async (_, fate, after) => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    await service.acquire('key');
    store.next('renewMany', fate);
    await clock.advance(3000 + after);
    expect(of('renewFailed')[0]?.error.message).toContain('the renewal of "key"');
  });

  it('is told of once a minute for each key, however often it is tried', async () => {
    const { service, store, clock, of } = await startCore({ ttl: Infinity });
    await service.acquire('a');
    await service.acquire('b');
    store.always({ fail: linkBroken });
    await clock.advance(190_000);
    expect(of('renewFailed').length).toBeGreaterThan(300);
    expect(warnings(log).filter((line) => line.startsWith('Lock "a"'))).toHaveLength(4);
    expect(warnings(log).filter((line) => line.startsWith('Lock "b"'))).toHaveLength(4);
  });

  it('retries come soon, spread out, and no faster than every 15 ms', async () => {
    for (const chance of [0, 0.5, 0.999]) {
      const { service, store, clock } = await startCore({ ttl: 900 });
      clock.chance = () => chance;
      store.always({ fail: serverRefused }, 'renewMany', 'renew');
      await service.acquire('key');
      await clock.advance(900);
      const times = [...store.of('renewMany'), ...store.of('renew')].map(({ at }) => at);
      const pauses = times.slice(1).map((at, i) => at - (times[i] ?? 0));
      expect(times.length).toBeGreaterThan(5);
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(15);
      expect(Math.max(...pauses)).toBeLessThanOrEqual(100);
    }
  });

  it('a late answer extends a lease whose deadline has not passed', async () => {
    const { service, store, clock } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { after: 4000 }, { hang: 'request' });
    await clock.advance(7000);
    expect(lock.expiresAt?.getTime()).toBe(clock.date() - 4000 + 9000);
    await clock.advance(60_000);
    expect(lock.loss).toBeUndefined();
  });

  it('the late answer of an old renewal does not take back what a newer one gave', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { after: 8600 });
    await clock.advance(11_599);
    const until = lock.expiresAt?.getTime();
    await clock.advance(1); // the answer of the renewal at 3000 arrives, whose lease would be over at 11,550
    expect(lock.held).toBe(true);
    expect(lock.expiresAt?.getTime()).toBe(until);
    await clock.advance(1000);
    expect(of('lost')).toEqual([]);
  });

  it('an answer after the deadline is a loss, and what the store still holds is freed', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 5500, after: 500 });
    store.next('renewMany', ...Array.from({ length: 20 }, () => ({ hang: 'request' as const })));
    await clock.advance(8999);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
    expect(await store.held('key')).toBe(true);
    await clock.advance(1);
    expect(await store.held('key')).toBe(false);
    expect(store.of('release')).toMatchObject([{ key: 'key', owner: lock.owner }]);
    expect(of('lost')).toHaveLength(1);
  });

  it('B54 a lost lock is not taken back, and not renewed any more', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 900 });
    const lock = await service.acquire('key');
    store.always({ hang: 'request' }, 'renewMany');
    await clock.advance(900);
    store.heal();
    const sent = store.calls.length;
    await clock.advance(60_000);
    expect(store.calls).toHaveLength(sent);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
  });

  it('a lease with a short ttl does not cost those with a long one their lock', async () => {
    const { service, store, clock } = await startCore();
    const long = await service.acquire('long', { ttl: 1500, renewEvery: 300 });
    const short = await service.acquire('short', { ttl: 300, renewEvery: 100 });
    store.always({ before: 100, after: 100 }, 'renewMany', 'renew');
    await clock.advance(30_000);
    expect(long.held).toBe(true);
    expect(short.held).toBe(false);
  });
});

describe('B53 renewal and release', () => {
  it('of 40 short sections with slow renewals none is still held afterwards', async () => {
    const { service, store, clock } = await startCore({ ttl: 300 });
    store.always({ before: 40, after: 40 }, 'renewMany');
    for (let section = 0; section < 40; section++) {
      const running = watch(service.run('key', () => clock.advance(90 + section * 2)));
      for (let i = 0; running.state === 'pending' && i < 100; i++) await clock.advance(5);
      expect(running.state).toBe('resolved');
      expect(await store.held('key')).toBe(false);
    }
    await clock.advance(10_000);
    expect(await store.held('key')).toBe(false);
    expect(store.count('renewMany')).toBeGreaterThan(30);
    expect(clock.timers).toEqual([]);
  });

  it('a renewal on its way is awaited before the release goes out', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 100, after: 100 });
    await clock.advance(1050);
    const releasing = watch(lock.release());
    await clock.advance(149);
    expect(store.count('release')).toBe(0);
    await clock.advance(1);
    expect(store.count('release')).toBe(1);
    expect(releasing.value).toBe(true);
    await clock.advance(10_000);
    expect(store.count('renewMany')).toBe(1);
    expect(clock.timers).toEqual([]);
  });

  it('so is one of a whole batch, for each of its locks', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const [a, b] = await Promise.all(['a', 'b'].map((key) => service.acquire(key)));
    store.next('renewMany', { before: 100, after: 100 });
    await clock.advance(1050);
    void a?.release();
    await clock.advance(149);
    expect(store.count('release')).toBe(0);
    await clock.advance(1);
    expect(await store.held('a')).toBe(false);
    expect(b?.held).toBe(true);
  });

  it('a renewal that is never answered holds up the release no longer than an attempt may take', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { hang: 'request' });
    await clock.advance(1000);
    const releasing = watch(lock.release());
    await clock.advance(999);
    expect(releasing.state).toBe('pending');
    await clock.advance(1);
    expect(releasing.value).toBe(true);
  });

  it('a renewal that arrives after the release revives nothing', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 5000 });
    await clock.advance(1000);
    void lock.release();
    await clock.advance(1000);
    const next = await service.acquire('key', { ttl: Infinity });
    await clock.advance(10_000);
    expect(next.held).toBe(true);
    expect(await next.release()).toBe(true);
    expect(await store.held('key')).toBe(false);
  });

  it('a renewal that finds nothing because of the release is no loss', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 1500, after: 1 });
    await clock.advance(1000);
    const releasing = watch(lock.release());
    await clock.advance(5000);
    expect(releasing.value).toBe(true);
    expect(lock.loss).toBeUndefined();
    expect(names()).toEqual(['acquired', 'released']);
  });

  it('a release while the renewal finds the lock gone is a loss, told once', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    await store.server.forceRelease('key');
    store.next('renewMany', { before: 100, after: 100 });
    await clock.advance(1050);
    const releasing = watch(lock.release());
    await clock.advance(150);
    expect(releasing.value).toBe(false);
    expect(lock.loss).toBeInstanceOf(LockLostError);
    expect(names()).toEqual(['acquired', 'lost']);
  });

  it('extending, renewing and releasing at any distance leave nothing', async () => {
    for (let distance = 0; distance < 40; distance += 3) {
      const { service, store, clock } = await startCore({ ttl: 300 });
      store.always({ before: 7, after: 7 });
      const acquiring = service.acquire('key');
      await clock.advance(14);
      const lock = await acquiring;
      await clock.advance(80);
      const extending = watch(lock.extend(400));
      await clock.advance(distance);
      const releasing = watch(lock.release());
      await clock.advance(1000);
      expect(releasing.value).toBe(true);
      expect(extending.state).not.toBe('pending');
      expect(await store.held('key')).toBe(false);
      expect(clock.timers).toEqual([]);
    }
  });
});

describe('nothing that a renewal does', () => {
  it('keeps the process alive', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    await service.acquire('key');
    store.always({ hang: 'request' }, 'renewMany');
    await clock.advance(310);
    expect(clock.timers).toHaveLength(2);
    expect(clock.refTimers).toEqual([]);
  });

  it('is left unhandled when the store throws at once instead of rejecting', async () => {
    const clock = new ManualClock();
    const scripted = new ScriptedStore(clock);
    const boom = (): never => {
      throw new Error('not even a promise');
    };
    const store: LockStore = { ...withoutBatches(scripted), renew: boom, release: boom };
    const { service, of } = await startCore({ ttl: 900 }, { clock, openStore: () => store });
    const lock = await service.acquire('key');
    await clock.advance(2000);
    await settle();
    expect(of('renewFailed').length).toBeGreaterThan(0);
    expect(lock.held).toBe(false);
    expect((await errorOf(service.run('other', () => lock.extend()))).constructor).toBe(LockLostError);
  });
});
