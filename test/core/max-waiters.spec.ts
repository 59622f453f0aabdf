import { describe, expect, it } from '@jest/globals';
import { LockNotAcquiredError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore, startCoreWith, watch } from './core-fixture.js';
import { settle } from './manual-clock.js';
import { WaiterReleaseStore } from './scripted-store.js';

const log = captureLog();

const WAIT = { wait: Infinity } as const;

describe('maxWaiters', () => {
  it('B22 maxWaiters.perKey refuses a further waiter at once, and the error names the limit', async () => {
    const { service, store, clock, of } = await startCore({ maxWaiters: { perKey: 2 } });
    await store.takenBy('other', 'key', 600_000);
    const waits = [1, 2].map(() => watch(service.acquire('key', WAIT)));
    await clock.advance(10);
    const asked = store.calls.length;
    const error = await errorOf(service.acquire('key', WAIT));
    expect(error).toBeInstanceOf(LockNotAcquiredError);
    expect(error).toMatchObject({ key: 'key', waited: 0, reason: 'queue-full', holder: undefined });
    expect(error.message).toBe(
      'Lock "key" was not acquired within 0 ms: 2 calls of this process wait for it already. Raise maxWaiters.perKey, or have fewer calls wait.',
    );
    expect(of('busy')).toMatchObject([{ key: 'key', waited: 0, reason: 'queue-full' }]);
    expect(store.calls.length).toBe(asked);
    expect(waits.map(({ state }) => state)).toEqual(['pending', 'pending']);
    expect(log.some(({ text }) => text.includes('calls of this process wait'))).toBe(false);
  });

  it('B22 maxWaiters.total counts the waiters of all keys', async () => {
    const { service, store, clock } = await startCore({ maxWaiters: { total: 3, perKey: 2 } });
    for (const key of ['a', 'b', 'c']) await store.takenBy('other', key, 600_000);
    for (const key of ['a', 'a', 'b']) void service.acquire(key, WAIT).catch(() => {});
    await clock.advance(10);
    expect((await errorOf(service.acquire('a', WAIT))).message).toContain('Raise maxWaiters.perKey');
    const error = await errorOf(service.acquire('c', WAIT));
    expect(error).toMatchObject({ reason: 'queue-full' });
    expect(error.message).toContain('3 calls of this process wait for locks already. Raise maxWaiters.total');
  });

  it('B22 maxWaiters.total never refuses a call whose key is free', async () => {
    const { service, store, clock } = await startCore({ maxWaiters: { total: 1 } });
    store.always({ before: 10 }, 'acquire');
    const keys = ['a', 'b', 'c'].map((key) => watch(service.acquire(key, WAIT)));
    await clock.advance(10);
    expect(keys.map(({ value }) => value?.held)).toEqual([true, true, true]);
    const waits = ['d', 'e'].map((key) => store.takenBy('other', key, 600_000));
    await Promise.all(waits);
    const [first, second] = ['d', 'e'].map((key) => watch(service.acquire(key, WAIT)));
    await clock.advance(10);
    expect([first?.state, second?.state]).toContain('pending');
    expect([first?.error, second?.error]).toContainEqual(expect.objectContaining({ reason: 'queue-full' }));
  });

  it('B22 a full queue makes acquire and run throw, tryAcquire give null and tryRun give the error', async () => {
    const { service, store, clock } = await startCore({ maxWaiters: { perKey: 1 } });
    await store.takenBy('other', 'key', 600_000);
    void service.acquire('key', WAIT).catch(() => {});
    await clock.advance(10);
    expect(await service.tryAcquire('key', WAIT)).toBeNull();
    expect(await errorOf(service.run('key', () => {}, WAIT))).toMatchObject({ reason: 'queue-full' });
    expect(await service.tryRun('key', () => {}, WAIT)).toMatchObject({
      acquired: false,
      error: { reason: 'queue-full' },
    });
  });

  it('B22 maxWaiters counts neither calls without a wait nor calls that hold the lock', async () => {
    const { service, store, clock } = await startCore({ maxWaiters: { perKey: 1, total: 1 } });
    const lock = await service.acquire('key');
    void service.acquire('key', WAIT).catch(() => {});
    await clock.advance(10);
    expect(await service.tryAcquire('key')).toBeNull();
    expect(await service.tryAcquire('key', { signal: new AbortController().signal })).toBeNull();
    expect(await service.acquire('free')).toMatchObject({ held: true });
    await lock.release();
    await clock.advance(10);
    expect(await store.held('key')).toBe(true);
    expect(watch(service.acquire('another', WAIT)).state).toBe('pending');
  });

  it('B22 maxWaiters ignores calls without a wait, even if a signal can abort them', async () => {
    const { service, store, clock } = await startCore({ maxWaiters: { perKey: 1, total: 1 } });
    await store.takenBy('other', 'key', 600_000);
    store.next('acquire', { before: 50 }, { before: 50 });
    const { signal } = new AbortController();
    const attempts = [1, 2].map(() => watch(service.tryAcquire('key', { signal })));
    await settle();
    const waiting = watch(service.acquire('key', WAIT));
    await clock.advance(100);
    expect(attempts.map(({ value }) => value)).toEqual([null, null]);
    expect(waiting.state).toBe('pending');
  });

  it('B22 maxWaiters does not refuse a re-entrant run', async () => {
    const { service, clock } = await startCore({ maxWaiters: { perKey: 1 }, reentrant: true });
    const inside = service.run(
      'key',
      async () => {
        void service.acquire('other', WAIT);
        return service.run('key', () => 'inside', WAIT);
      },
      WAIT,
    );
    await clock.advance(10);
    expect(await inside).toBe('inside');
  });

  it('B22 maxWaiters counts a call with a wait even before its first request is answered', async () => {
    const { service, store, clock } = await startCore({ maxWaiters: { perKey: 1 } });
    store.next('acquire', { before: 50, after: 50 });
    const first = watch(service.acquire('key', WAIT));
    await settle();
    expect(await service.tryAcquire('key', WAIT)).toBeNull();
    await clock.advance(100);
    expect(first.value?.held).toBe(true);
    expect(watch(service.acquire('key', WAIT)).state).toBe('pending');
    await settle();
    expect(await service.tryAcquire('key', WAIT)).toBeNull();
  });

  it('B22 a waiter that got the lock, gave up or failed makes room in the queue', async () => {
    const { service, store, clock } = await startCoreWith(WaiterReleaseStore, {
      maxWaiters: { total: 3 },
      retry: 50,
    });
    for (let round = 0; round < 50; round++) {
      const lock = await service.acquire('key', WAIT);
      const abort = new AbortController();
      const aborted = watch(service.acquire('key', { ...WAIT, signal: abort.signal }));
      const late = watch(service.tryAcquire('key', { wait: 20 }));
      const waiter = watch(service.acquire('key', WAIT));
      await clock.advance(30);
      expect([aborted.state, late.value, waiter.state]).toEqual(['pending', null, 'pending']);
      abort.abort(new Error('enough'));
      await settle();
      await lock.release();
      await clock.advance(60);
      expect(aborted.state).toBe('rejected');
      expect(waiter.value?.held).toBe(true);
      await waiter.value?.release();
      store.next('acquire', { fail: () => new Error('broken') });
      await errorOf(service.acquire('key', WAIT));
    }
    expect(clock.timers).toEqual([]);
  });

  it('B22 without maxWaiters, the queue has no limit', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 600_000);
    const waits = Array.from({ length: 5_000 }, () => watch(service.tryAcquire('key', { wait: 1_000 })));
    await clock.advance(10);
    expect(waits.every(({ state }) => state === 'pending')).toBe(true);
    await clock.advance(1_000);
    expect(waits.every(({ value }) => value === null)).toBe(true);
  });
});
