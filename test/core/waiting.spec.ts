import { describe, expect, it } from '@jest/globals';
import { LockError, LockNotAcquiredError, LockStoreError } from '../../lib/lock.errors.js';
import type { Lock } from '../../lib/lock.js';
import { captureLog, errorOf, startCore, watch } from './core-fixture.js';
import { linkBroken, serverRefused } from './scripted-store.js';

captureLog();

const START = 10_000;

describe('waits', () => {
  it('B17 wait: Infinity waits without end', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', Number.MAX_SAFE_INTEGER);
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(3_600_000);
    expect(waiting.state).toBe('pending');
    await store.server.forceRelease('key');
    await clock.advance(500);
    expect(waiting).toMatchObject({ state: 'resolved', value: { held: true } });
  });

  it('B17 by default, a call makes one attempt and does not wait', async () => {
    const { service, store } = await startCore();
    await store.takenBy('other', 'key');
    expect(await service.tryAcquire('key')).toBeNull();
    expect(store.count('acquire')).toBe(1);
  });

  it.each([1, 7, 30, 1000, 12_345])(
    'B18 a wait of %d ms ends at its deadline, with one last attempt',
    async (wait) => {
      const { service, store, clock } = await startCore();
      await store.takenBy('other', 'key', 60_000);
      let ended = 0;
      const failing = errorOf(service.acquire('key', { wait }).finally(() => (ended = clock.now() - START)));
      await clock.advance(60_000);
      expect(await failing).toMatchObject({ name: 'LockNotAcquiredError', waited: wait });
      expect(ended).toBe(wait);
      expect(store.of('acquire').at(-1)?.at).toBe(START + wait);
      expect(clock.timers).toEqual([]);
    },
  );

  it('B18 a waiter can get the lock with its last attempt at its deadline', async () => {
    const { service, store, clock } = await startCore({ retry: 10_000 });
    const other = await store.takenBy('other', 'key', 60_000);
    const waiting = watch(service.acquire('key', { wait: 5000 }));
    await clock.advance(4999);
    await store.server.release('key', other);
    expect(waiting.state).toBe('pending');
    await clock.advance(1);
    expect(waiting).toMatchObject({ state: 'resolved', value: { held: true } });
    expect(store.of('acquire').map(({ at }) => at - START)).toEqual([0, 5000]);
  });

  it('B18 a waiter behind others in the queue makes a last attempt at its own deadline', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 600_000);
    const first = watch(service.acquire('key', { wait: Infinity, retry: 100_000 }));
    await clock.advance(10);
    let ended = 0;
    const second = errorOf(
      service.acquire('key', { wait: 500 }).finally(() => (ended = clock.now() - START)),
    );
    await clock.advance(1000);
    expect(await second).toMatchObject({ name: 'LockNotAcquiredError', waited: 500 });
    expect(ended).toBe(510);
    expect(store.of('acquire').map(({ at }) => at - START)).toEqual([0, 510]);
    expect(first.state).toBe('pending');
  });

  it('B18 a waiter behind others in the queue can still get the lock with its last attempt', async () => {
    const { service, store, clock } = await startCore({ retry: 100_000 });
    const other = await store.takenBy('other', 'key', 600_000);
    void service.acquire('key', { wait: 90_000 }).catch(() => {});
    await clock.advance(10);
    const second = watch(service.tryAcquire('key', { wait: 500 }));
    await store.server.release('key', other);
    await clock.advance(500);
    expect(second.value?.held).toBe(true);
  });

  it('B28 a waiter takes an expired lock as soon as the lease ends, before its next poll is due', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    await store.takenBy('other', 'key', 5000);
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(5000);
    expect(waiting.state).toBe('pending');
    await clock.advance(1);
    expect(waiting.state).toBe('resolved');
    expect(store.count('acquire')).toBe(2);
  });

  it('B19 if the store reports a holder with no remaining time, waiters do not poll faster than retry says', async () => {
    const { service, store, clock } = await startCore();
    const holder = {
      key: 'key',
      label: 'other',
      fencingToken: 1,
      startedAt: new Date(0),
      renewedAt: new Date(0),
      expiresAt: new Date(0),
    };
    for (const remaining of [0, -5, Number.NaN]) {
      store.calls.length = 0;
      store.always(
        { answer: { acquired: false, reason: 'held', holder: { ...holder, remaining } } },
        'acquire',
      );
      const waiting = errorOf(service.acquire('key', { wait: 1000 }));
      await clock.advance(1000);
      await waiting;
      expect(store.count('acquire')).toBeLessThan(20);
    }
  });

  it('B27 if the server refuses a request with an error, the wait ends at once', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key');
    store.next('acquire', {}, { fail: serverRefused });
    const waiting = errorOf(service.acquire('key', { wait: Infinity }));
    await clock.advance(1000);
    expect(await waiting).toMatchObject({ name: 'LockStoreError', transient: false });
    expect(store.count('acquire')).toBe(2);
    expect(clock.timers).toEqual([]);
  });

  it('B27 an outage does not end a wait, and each failure is published', async () => {
    const { service, store, clock, of } = await startCore();
    store.always({ fail: linkBroken });
    const waiting = watch(service.acquire('key', { wait: 60_000 }));
    await clock.advance(30_000);
    expect(waiting.state).toBe('pending');
    expect(of('storeError').length).toBeGreaterThan(20);
    store.heal();
    await clock.advance(1000);
    expect(waiting).toMatchObject({ state: 'resolved', value: { held: true } });
  });

  it('B27 if an outage lasts as long as the wait, the call fails at its deadline with the store error', async () => {
    const { service, store, clock } = await startCore({ retry: 1000 });
    store.always({ fail: linkBroken });
    const waiting = watch(service.tryAcquire('key', { wait: 5000 }));
    await clock.advance(4999);
    expect(waiting.state).toBe('pending');
    await clock.advance(200);
    expect(waiting.state).toBe('rejected');
    expect(waiting.error).toBeInstanceOf(LockStoreError);
  });
});

describe('retry', () => {
  async function attempts(options: object, wait = 10_000, chance = 0.5): Promise<number[]> {
    const { service, store, clock } = await startCore();
    clock.chance = () => chance;
    await store.takenBy('other', 'key', 600_000);
    const failing = errorOf(service.acquire('key', { wait, ...options }));
    await clock.advance(wait);
    await failing;
    return store.of('acquire').map(({ at }) => at - START);
  }

  const pauses = (times: number[]): number[] => times.slice(1).map((at, i) => at - (times[i] ?? 0));

  it('B19 by default, the pauses between polls grow from 20 to 500 ms, with jitter', async () => {
    const longest = pauses(await attempts({}, 10_000, 1));
    expect(longest.slice(0, 7)).toEqual([40, 80, 160, 320, 500, 500, 500]);
    const shortest = pauses(await attempts({}, 10_000, 0));
    expect(new Set(shortest)).toEqual(new Set([20]));
    const between = pauses(await attempts({}, 10_000, 0.5));
    expect(between.slice(0, 6)).toEqual([30, 50, 90, 170, 260, 260]);
  });

  it('B19 retry can be a fixed interval', async () => {
    expect(await attempts({ retry: '4s' })).toEqual([0, 4000, 8000, 10_000]);
  });

  it('B19 retry can be a range', async () => {
    expect(await attempts({ retry: { min: '1s', max: '4s' } }, 10_000, 1)).toEqual([0, 2000, 6000, 10_000]);
    expect(new Set(pauses(await attempts({ retry: { min: 100, max: 100 } })))).toEqual(new Set([100]));
  });

  it('B19 retry can be a function of the attempt', async () => {
    const asked: number[] = [];
    const retry = (attempt: number): number => {
      asked.push(attempt);
      return attempt * 1000;
    };
    expect(await attempts({ retry })).toEqual([0, 1000, 3000, 6000, 10_000]);
    expect(asked).toEqual([1, 2, 3, 4]);
  });

  it('B19 after 1000 attempts, the pause between polls is still the longest of the range', async () => {
    const times = await attempts({ retry: { min: 1, max: 10 } }, 10_000, 1);
    expect(times.length).toBeGreaterThan(1000);
    expect(pauses(times).at(-2)).toBe(10);
  });

  it.each([[0], [-1], [Number.NaN], [Infinity], [null], [undefined], ['soon'], [{}]])(
    'B19 a retry function that returns %p ends the wait with an error',
    async (pause) => {
      const { service, store, clock } = await startCore();
      await store.takenBy('other', 'key');
      const error = await errorOf(service.acquire('key', { wait: 1000, retry: () => pause as number }));
      expect(error).toBeInstanceOf(LockError);
      expect(error.message).toContain('What the function "retry" returned must be');
      expect(store.count('acquire')).toBe(1);
      expect(clock.timers).toEqual([]);
    },
  );

  it('B19 a retry function that throws ends its wait with this error, and the next waiter goes on', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 5000);
    const broken = new Error('broken');
    const failing = errorOf(
      service.acquire('key', {
        wait: 1000,
        retry: () => {
          throw broken;
        },
      }),
    );
    const next = watch(service.acquire('key', { wait: Infinity }));
    expect(await failing).toBe(broken);
    await clock.advance(5100);
    expect(next.state).toBe('resolved');
  });
});

describe('the queue of one process', () => {
  it('B23 a release in this process wakes up a waiter at once', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    const lock = await service.acquire('key', { ttl: Infinity });
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(1000);
    await lock.release();
    await clock.advance(0);
    expect(waiting).toMatchObject({ state: 'resolved', value: { held: true } });
    expect(store.count('acquire')).toBe(3);
    expect(clock.refTimers).toEqual([]);
  });

  it('B23 a forced release or a failed release wakes up a waiter at once', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    await store.takenBy('other', 'key', 600_000);
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(1000);
    await service.admin.forceRelease('key', { reason: 'test' });
    await clock.advance(0);
    expect(waiting.state).toBe('resolved');

    const next = watch(service.acquire('key', { wait: Infinity }));
    store.next('release', { fail: serverRefused });
    const before = store.count('acquire');
    await errorOf((waiting.value as Lock).release());
    await clock.advance(0);
    expect(store.count('acquire')).toBe(before + 1);
    expect(next.state).toBe('pending');
  });

  it('B23 a waiter notices a release that happens during its attempt', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    const lock = await service.acquire('key');
    store.next('acquire', { after: 50 });
    // A call with stealAfter makes an attempt at once, even if this process holds the key.
    const waiting = watch(service.acquire('key', { wait: Infinity, stealAfter: 60_000 }));
    await clock.advance(10);
    await lock.release();
    await clock.advance(39);
    expect(waiting.state).toBe('pending');
    await clock.advance(1);
    expect(waiting.state).toBe('resolved');
  });

  it('B23 waiters of one process get the lock in the order of their calls', async () => {
    const { service, clock } = await startCore();
    const order: number[] = [];
    const runs = Array.from({ length: 20 }, (_, i) =>
      service.run('key', () => void order.push(i), { wait: Infinity }),
    );
    await clock.advance(10_000);
    await Promise.all(runs);
    expect(order).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(clock.timers).toEqual([]);
  });

  it('B19 100 waiters of one key send as many requests as one waiter', async () => {
    const callsOf = async (waiters: number): Promise<number> => {
      const { service, store, clock } = await startCore({ retry: 100 });
      await store.takenBy('other', 'key', 600_000);
      for (let i = 0; i < waiters; i++) void service.acquire('key', { wait: Infinity }).catch(() => {});
      await clock.advance(60_000);
      return store.count('acquire');
    };
    expect(await callsOf(100)).toBe(await callsOf(1));
  });

  it('B23 100 waiters that get the lock one after the other need at most two requests each', async () => {
    const { service, store, clock } = await startCore();
    const runs = Array.from({ length: 100 }, () => service.run('key', () => {}, { wait: Infinity }));
    await clock.advance(60_000);
    await Promise.all(runs);
    expect(store.count('acquire')).toBeLessThanOrEqual(200);
    expect(store.count('release')).toBe(100);
  });

  it('B24 waiters of different keys do not delay each other', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    await store.takenBy('other', 'a', 600_000);
    void service.acquire('a', { wait: Infinity }).catch(() => {});
    const lock = watch(service.acquire('b', { wait: Infinity }));
    await clock.advance(0);
    expect(lock.state).toBe('resolved');
  });

  it('B23 if the first waiter gives up, the next waiter polls and can get the lock', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    await store.takenBy('other', 'key', 600_000);
    const first = errorOf(service.acquire('key', { wait: 1000 }));
    await clock.advance(0);
    const second = watch(service.acquire('key', { wait: Infinity, retry: 10 }));
    await clock.advance(1000);
    expect(await first).toBeInstanceOf(LockNotAcquiredError);
    await store.server.forceRelease('key');
    await clock.advance(10);
    expect(second.state).toBe('resolved');
  });

  it('B16 a call without a wait does not queue behind waiters', async () => {
    const { service, store, clock } = await startCore({ retry: 60_000 });
    const other = await store.takenBy('other', 'key', 600_000);
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(10);
    expect(await service.tryAcquire('key')).toBeNull();
    await store.server.release('key', other);
    expect(await service.tryAcquire('key')).not.toBeNull();
    expect(waiting.state).toBe('pending');
  });

  it('B21 after 1000 waits have ended, no timer is left', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 600_000);
    const waits = Array.from({ length: 1000 }, (_, i) => service.tryAcquire('key', { wait: 1 + (i % 50) }));
    await clock.advance(60);
    expect(new Set(await Promise.all(waits))).toEqual(new Set([null]));
    expect(clock.timers).toEqual([]);
  });

  it('B12 a waiting call keeps the process alive, but a held lock does not', async () => {
    const { service, store, clock } = await startCore();
    await service.acquire('a');
    expect(clock.refTimers).toEqual([]);
    expect(clock.timers).toHaveLength(1);
    await store.takenBy('other', 'b');
    void service.acquire('b', { wait: Infinity }).catch(() => {});
    await clock.advance(0);
    expect(clock.refTimers).toHaveLength(1);
  });
});
