import { describe, expect, it } from '@jest/globals';
import { LockLostError } from '../../lib/lock.errors.js';
import { captureLog, startCore, watch } from './core-fixture.js';

captureLog();

describe('a process that was frozen', () => {
  it('B87 a process frozen past its deadline no longer holds its lock, even before any timer runs', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('key');
    clock.freeze(28_499);
    expect(lock.held).toBe(true);
    clock.freeze(1);
    expect(lock.held).toBe(false);
    expect(of('lost')).toEqual([]);
    expect(await store.held('key')).toBe(true);
    expect(() => lock.assertHeld()).toThrow(LockLostError);
    expect(of('lost')).toHaveLength(1);
  });

  it('B87 the first timer after a freeze reports the loss and renews nothing', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('key');
    clock.freeze(60_000);
    await clock.advance(0);
    expect(of('lost')).toHaveLength(1);
    expect(lock.signal.aborted).toBe(true);
    expect(store.count('renewMany')).toBe(0);
    expect(clock.timers).toEqual([]);
  });

  it('B87 a lock whose lease is longer than the freeze stays held', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key');
    clock.freeze(20_000);
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
  });

  it('B50 the answer to a renewal does not extend the lease if it arrives after a freeze past the deadline', async () => {
    const { service, store, clock } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 10, after: 10 });
    await clock.advance(3005);
    clock.freeze(20_000);
    expect(lock.held).toBe(false);
    await clock.advance(100);
    expect(lock.held).toBe(false);
    expect(lock.loss).toBeInstanceOf(LockLostError);
  });

  it('B50 once held was false after a freeze, the late answer to a renewal does not revive the lock', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000, renewEvery: 6000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 10, after: 10 });
    await clock.advance(6005);
    // The deadline was at 8550 ms. The answer to the renewal would move the deadline to 14,550
    // ms, but is processed only after the freeze.
    clock.freeze(3000);
    expect(lock.held).toBe(false);
    await clock.advance(0);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
    await clock.advance(0);
    expect(await store.held('key')).toBe(false);
  });

  it('B31 acquire fails if the process was frozen past the lease before it read the grant', async () => {
    const { service, store, clock } = await startCore({ ttl: 9000 });
    store.next('acquire', { before: 10, after: 10 });
    const acquiring = watch(service.acquire('key'));
    await clock.advance(5);
    clock.freeze(20_000);
    await clock.advance(0);
    expect(acquiring.error).toMatchObject({ name: 'LockStoreError' });
    expect(clock.timers).toEqual([]);
  });

  it('B87 a frozen holder and its successor never both hold the lock', async () => {
    const one = await startCore();
    const two = await startCore({}, one);
    const lock = await one.service.acquire('key');
    one.store.always({ hang: 'request' }, 'renewMany');
    const other = watch(two.service.acquire('key', { wait: Infinity, retry: 10 }));
    while (other.state === 'pending') {
      await one.clock.advance(5);
      expect(lock.held && (other.value?.held ?? false)).toBe(false);
    }
    expect(other.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
  });
});

describe('a machine whose monotonic clock stood still during a suspension', () => {
  it('B87 locks whose leases ended during a suspension are reported as lost at the next renewal', async () => {
    const { service, clock, store, of } = await startCore();
    const lock = await service.acquire('key');
    clock.suspend(60_000);
    await clock.advance(10_000);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
    expect(store.count('renewMany')).toBe(0);
  });

  it('B87 after a suspension, locks that may still be held are renewed at once', async () => {
    const { service, clock, store } = await startCore();
    const long = await service.acquire('long', { ttl: 120_000 });
    const short = await service.acquire('short', { ttl: 3000, autoRenew: false });
    clock.suspend(60_000);
    store.always({ hang: 'request' }, 'renewMany', 'renew');
    await clock.advance(2850);
    expect(short.held).toBe(false);
    expect(store.of('renewMany')[0]?.renewals).toMatchObject([{ key: 'long' }]);
    // The lock's deadline is at 114 s, and the suspension took 60 s of this time.
    await clock.advance(54_000 - 2850 - 1);
    expect(long.held).toBe(true);
    await clock.advance(1);
    expect(long.held).toBe(false);
    expect(await store.held('long')).toBe(true);
  });

  it('B29 a lock that never expires stays held after a suspension, and is renewed', async () => {
    const { service, clock, store } = await startCore({ ttl: Infinity });
    const lock = await service.acquire('key');
    clock.suspend(86_400_000);
    await clock.advance(10_000);
    expect(lock.held).toBe(true);
    expect(store.count('renewMany')).toBe(1);
  });

  it('B87 the suspension does not shorten the lease of a lock that was taken afterwards', async () => {
    const { service, clock, of } = await startCore();
    const before = await service.acquire('before', { ttl: Infinity });
    clock.suspend(3_600_000);
    await clock.advance(5000);
    const after = await service.acquire('after');
    await clock.advance(60_000);
    expect([before.held, after.held]).toEqual([true, true]);
    expect(of('lost')).toEqual([]);
  });

  it('B87 the suspension does not shorten the lease of a lock that was extended afterwards', async () => {
    const { service, clock, of } = await startCore();
    const endless = await service.acquire('endless', { ttl: Infinity });
    clock.suspend(3_600_000);
    await clock.advance(1000);
    await endless.extend(30_000);
    await clock.advance(60_000);
    expect(endless.held).toBe(true);
    expect(of('lost')).toEqual([]);
  });

  it('B87 the suspension shortens the lease of a lock whose renewal was under way, too', async () => {
    const { service, clock, store } = await startCore();
    const other = await startCore({}, { clock, store });
    const lock = await service.acquire('key');
    // The renewal of this lock is carried out before the suspension. Its answer comes after
    // the renewal of another lock has noticed the suspension.
    await clock.advance(9990);
    await service.acquire('short', { ttl: 900 });
    store.next('renewMany', { after: 12_000 });
    await clock.advance(110);
    clock.suspend(10_000);
    store.always({ hang: 'request' }, 'renewMany', 'renew');
    const next = watch(other.service.acquire('key', { wait: Infinity, retry: 10 }));
    while (next.state === 'pending') await clock.advance(10);
    expect(lock.held).toBe(false);
  });

  it('B87 the suspension shortens the lease of a lock whose acquisition was under way, too', async () => {
    const { service, clock, store } = await startCore();
    store.next('acquire', { after: 100 });
    const acquiring = watch(service.acquire('key', { ttl: 30_000 }));
    await clock.advance(10);
    clock.suspend(25_000);
    store.always({ hang: 'request' }, 'renewMany', 'renew');
    await clock.advance(100);
    const lock = acquiring.value;
    // The lock's deadline is 28.5 s after the acquisition, and 3.4 s of this time are left.
    expect(lock?.held).toBe(true);
    await clock.advance(10_000);
    expect(lock?.held).toBe(false);
  });

  it('B87 clock differences below 2 s are ignored, since some systems count uptime in whole seconds', async () => {
    const { service, clock, store } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    clock.suspend(1900);
    await clock.advance(3000);
    expect(store.of('renewMany').map(({ at }) => at - 10_000)).toEqual([3000]);
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
  });
});
