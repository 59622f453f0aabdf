import { describe, expect, it } from '@jest/globals';
import { LockLostError } from '../../lib/lock.errors.js';
import { captureLog, startCore, watch } from './core-fixture.js';
import type { ManualClock } from './manual-clock.js';

captureLog();

/**
 * Milliseconds from the acquisition to the deadline of a lease of 30 s, which has a margin.
 */
const DEADLINE = 28_500;

describe.each<[string, (clock: ManualClock, ms: number) => void]>([
  ['after a suspension of the machine', (clock, ms) => clock.suspend(ms)],
  ['after a pause by the hypervisor, which no uptime shows', (clock, ms) => clock.pauseMachine(ms)],
])('%s', (_, sleep) => {
  it('B87 a lock whose lease ended during the sleep is not held, before any timer runs', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key');
    await clock.advance(1_000);
    sleep(clock, DEADLINE - 1_001);
    expect(lock.held).toBe(true);
    sleep(clock, 1);
    expect(lock.held).toBe(false);
    expect(() => lock.assertHeld()).toThrow(LockLostError);
    expect(() => lock.assertHeld()).toThrow(/suspended, or its clock was set ahead/);
  });

  it('B87 if the store refuses the renewal after a sleep, the lock is lost', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('key');
    sleep(clock, 60_000);
    expect(lock.held).toBe(false);
    await clock.advance(10);
    expect(of('lost')).toHaveLength(1);
    expect(lock.signal.aborted).toBe(true);
    expect(await store.held('key')).toBe(false);
  });

  it('B87 a lock with ttl: Infinity stays held after a sleep', async () => {
    const { service, clock } = await startCore({ ttl: Infinity });
    const lock = await service.acquire('key');
    sleep(clock, 86_400_000);
    expect(lock.held).toBe(true);
    lock.assertHeld();
  });

  it('B87 the durations of several sleeps add up, and each duration is counted once', async () => {
    const { service, clock } = await startCore({ autoRenew: false });
    const lock = await service.acquire('key');
    for (let i = 0; i < 5; i++) {
      sleep(clock, 3_000);
      await clock.advance(2_000);
    }
    expect(lock.held).toBe(true); // Five sleeps and five pauses have taken 25 s together.
    sleep(clock, 3_499);
    expect(lock.held).toBe(true);
    sleep(clock, 1);
    expect(lock.held).toBe(false);
  });

  it('B87 a sleep during a renewal shortens the lease that the renewal confirms', async () => {
    const { service, store, clock } = await startCore({ ttl: 9_000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 5, after: 5 });
    await clock.advance(3_000);
    // The renewal has been carried out, but its answer has not arrived.
    await clock.advance(6);
    sleep(clock, 9_000);
    store.always({ hang: 'request' }, 'renewMany', 'renew');
    await clock.advance(5); // The answer to the renewal arrives.
    expect(lock.held).toBe(false);
  });

  it('B87 two processes never both hold the lock, however long one of them sleeps', async () => {
    const one = await startCore({ ttl: 9_000 });
    const two = await startCore({}, one);
    for (const pause of [500, 4_000, 8_499, 8_600, 9_000, 20_000]) {
      const key = `key ${pause}`;
      const lock = await one.service.acquire(key);
      const other = watch(two.service.acquire(key, { wait: 30_000, retry: 10 }));
      await one.clock.advance(10);
      sleep(one.clock, pause);
      for (let i = 0; i < 40 && other.state === 'pending'; i++) {
        expect(lock.held && (other.value?.held ?? false)).toBe(false);
        await one.clock.advance(250);
      }
      expect(lock.held && (other.value?.held ?? false)).toBe(false);
      await lock.release().catch(() => false);
      await one.clock.advance(60_000);
      await other.value?.release();
    }
  });
});

describe('a wall clock that is set', () => {
  it('R12 after the clock was set ahead, the lock is not held until an immediate renewal confirms it', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('key');
    clock.setWallClock(3_600_000);
    expect(lock.held).toBe(false);
    expect(lock.loss).toBeUndefined();
    await clock.advance(1);
    expect(store.count('renewMany')).toBe(1);
    expect(lock.held).toBe(true);
    lock.assertHeld();
    await clock.advance(60_000);
    expect(of('lost')).toEqual([]);
    expect(lock.held).toBe(true);
    expect(store.count('renewMany')).toBe(7);
  });

  it('R12 if the renewer notices first that the clock was set ahead, a renewal confirms the lock', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('long', { ttl: 60_000 });
    await service.acquire('short', { ttl: 3_000 });
    clock.setWallClock(3_600_000);
    // The renewal of the short lock notices that the clock was set.
    await clock.advance(1_000);
    expect(store.of('renewMany').flatMap(({ renewals }) => renewals?.map(({ key }) => key))).toEqual(
      expect.arrayContaining(['long', 'short']),
    );
    expect(lock.held).toBe(true);
    expect(of('lost')).toEqual([]);
  });

  it('R12 with the clock set ahead and the store unreachable, the lock is lost at its deadline', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('key');
    store.always({ hang: 'request' }, 'renewMany', 'renew');
    clock.setWallClock(3_600_000);
    for (let i = 0; i < 28; i++) {
      expect(lock.held).toBe(false);
      expect(lock.loss).toBeUndefined();
      await clock.advance(1_000);
    }
    expect(store.count('renewMany') + store.count('renew')).toBeLessThan(10);
    await clock.advance(1_000);
    expect(of('lost')).toHaveLength(1);
  });

  it('R12 without renewal, extend() confirms the lock after the clock was set ahead', async () => {
    const { service, clock } = await startCore({ autoRenew: false });
    const lock = await service.acquire('key');
    clock.setWallClock(3_600_000);
    await clock.advance(5_000);
    expect(lock.held).toBe(false);
    await lock.extend();
    expect(lock.held).toBe(true);
  });

  it('R12 the lock can be released after the clock was set ahead', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key');
    clock.setWallClock(3_600_000);
    expect(await lock.release()).toBe(true);
    expect(await store.held('key')).toBe(false);
    await clock.advance(10);
    expect(clock.timers).toEqual([]);
  });

  it('R12 if the wall clock is set ahead during an acquisition, the acquisition is sent again', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { after: 100 });
    const acquiring = watch(service.acquire('key', { wait: 5_000 }));
    await clock.advance(10);
    clock.setWallClock(3_600_000);
    await clock.advance(2_000);
    expect(acquiring.value?.held).toBe(true);
  });

  it('R12 setting the clock back makes no lease longer', async () => {
    const { service, clock } = await startCore({ autoRenew: false });
    const lock = await service.acquire('key');
    clock.setWallClock(-3_600_000);
    await clock.advance(DEADLINE - 1);
    expect(lock.held).toBe(true);
    await clock.advance(1);
    expect(lock.held).toBe(false);
  });

  it('R12 a sleep shortens the lease in full even if the wall clock was set back before', async () => {
    const { service, clock } = await startCore({ autoRenew: false });
    const lock = await service.acquire('key');
    clock.setWallClock(-3_600_000);
    expect(lock.held).toBe(true);
    clock.pauseMachine(DEADLINE);
    expect(lock.held).toBe(false);
  });
});
