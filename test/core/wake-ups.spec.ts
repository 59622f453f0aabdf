import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import type { Lock } from '../../lib/lock.js';
import { captureLog, errorOf, startCore, startCoreWith, watch } from './core-fixture.js';
import { settle } from './manual-clock.js';
import type { ReleaseRequest } from '../../lib/interfaces/lock-store.interface.js';
import {
  NotifyingStore,
  linkBroken,
  WaiterReleaseStore,
  serverRefused,
  type ScriptedStore,
} from './scripted-store.js';

captureLog();

const START = 10_000;
const WAIT = { wait: Infinity } as const;

const start = (options?: Parameters<typeof startCore>[0]) => startCoreWith(NotifyingStore, options);

const times = (store: ScriptedStore): number[] => store.of('acquire').map(({ at }) => at - START);

const waitingIn = (store: ScriptedStore, operation: 'acquire' | 'release'): (boolean | undefined)[] =>
  store.of(operation).map(({ request }) => request?.waiting);

describe('a store that notifies waiters', () => {
  it('B23 each acquisition tells a notifying store whether its call waits', async () => {
    const { service, store, clock } = await start();
    await store.takenBy('other', 'key', 600_000);
    await service.tryAcquire('key');
    await service.tryAcquire('key', { signal: new AbortController().signal });
    void service.tryAcquire('key', { wait: 1_000 });
    await clock.advance(1_000);
    // The last attempt of a call is sent without `waiting`, since the call gives up
    // afterwards.
    expect(waitingIn(store, 'acquire')).toEqual([undefined, undefined, true, undefined]);
  });

  it('B23 a store that does not notify gets no information about waiters', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key', WAIT);
    void service.acquire('key', { ...WAIT, stealAfter: '1h' });
    await clock.advance(100);
    await lock.release();
    await clock.advance(100);
    expect(waitingIn(store, 'acquire').every((waiting) => waiting === undefined)).toBe(true);
    expect(waitingIn(store, 'release')).toEqual([undefined]);
  });

  it('B19 if the store notifies, waiters poll about once a second, whatever retry says', async () => {
    for (const [chance, pause] of [
      [0, 750],
      [0.5, 1_000],
      [1, 1_250],
    ] as const) {
      const { service, store, clock } = await start({ retry: 20 });
      clock.chance = () => chance;
      await store.takenBy('other', 'key', 600_000);
      void service.acquire('key', WAIT).catch(() => {});
      await clock.advance(5 * pause);
      expect(times(store)).toEqual([0, 1, 2, 3, 4, 5].map((n) => n * pause));
    }
  });

  it('B23 a notification makes only the first waiter send a request, at once', async () => {
    const { service, store, clock } = await start();
    const other = await store.takenBy('other', 'key', 600_000);
    const waits = [1, 2, 3].map(() => watch(service.acquire('key', WAIT)));
    await clock.advance(100);
    await store.server.release('key', other);
    expect(store.call('key')).toBe(true);
    await settle();
    expect(waits.map(({ state }) => state)).toEqual(['resolved', 'pending', 'pending']);
    expect(times(store)).toEqual([0, 100]);
  });

  it('B23 a notification returns false if no call waits for the key', async () => {
    const { service, store, clock } = await start();
    expect([store.call('key'), store.call()]).toEqual([false, false]);
    await store.takenBy('other', 'key', 600_000);
    const abort = new AbortController();
    const aborted = errorOf(service.acquire('key', { ...WAIT, signal: abort.signal }));
    await clock.advance(10);
    expect([store.call('other'), store.call('key'), store.call()]).toEqual([false, true, true]);
    abort.abort(new Error('enough'));
    await aborted;
    expect([store.call('key'), store.call()]).toEqual([false, false]);
    expect(clock.timers).toEqual([]);
  });

  it('B23 a call without a wait does not count as a waiter while its attempt is under way', async () => {
    const { service, store, clock } = await start();
    const lock = await service.acquire('key');
    store.next('acquire', { before: 5, after: 50 });
    void service.tryAcquire('key', { signal: new AbortController().signal });
    await clock.advance(10);
    expect([store.call('key'), store.call()]).toEqual([false, false]);
    await lock.release();
    expect(waitingIn(store, 'release')).toEqual([undefined]);
  });

  it('B23 a notification that names no key wakes up the first waiter of each key', async () => {
    const { service, store, clock } = await start();
    for (const key of ['a', 'b', 'c']) {
      await store.takenBy('other', key, 600_000);
      for (let i = 0; i < 3; i++) void service.acquire(key, WAIT).catch(() => {});
    }
    await clock.advance(100);
    expect(store.call()).toBe(true);
    await settle();
    expect(store.of('acquire').map(({ key, at }) => [key, at - START])).toEqual([
      ['a', 0],
      ['b', 0],
      ['c', 0],
      ['a', 100],
      ['b', 100],
      ['c', 100],
    ]);
  });

  it('B42 notifications carry the key with its prefix', async () => {
    const { service, store, clock } = await start({ prefix: 'shop' });
    await store.takenBy('other', 'shop:key', 600_000);
    void service.acquire('key', WAIT).catch(() => {});
    await clock.advance(10);
    expect([store.call('key'), store.call('shop:key')]).toEqual([false, true]);
  });

  it('B23 a waiter notices a notification that comes during its attempt', async () => {
    const { service, store, clock } = await start();
    const other = await store.takenBy('other', 'key', 600_000);
    store.next('acquire', { after: 50 });
    const waiting = watch(service.acquire('key', WAIT));
    await clock.advance(10);
    await store.server.release('key', other);
    expect(store.call('key')).toBe(true);
    await clock.advance(40);
    expect(waiting.state).toBe('resolved');
  });

  it('B23 a lost notification delays a waiter by about one second', async () => {
    const { service, store, clock } = await start();
    const other = await store.takenBy('other', 'key', 600_000);
    const waiting = watch(service.acquire('key', WAIT));
    await clock.advance(100);
    await store.server.release('key', other);
    await clock.advance(899);
    expect(waiting.state).toBe('pending');
    await clock.advance(1);
    expect(waiting.state).toBe('resolved');
  });

  it('B23 a notification for a held key leads to one more attempt', async () => {
    const { service, store, clock } = await start();
    await store.takenBy('other', 'key', 600_000);
    const waiting = watch(service.acquire('key', WAIT));
    await clock.advance(100);
    store.call('key');
    await clock.advance(999);
    expect([waiting.state, times(store)]).toEqual(['pending', [0, 100]]);
    await clock.advance(1);
    expect(times(store)).toEqual([0, 100, 1_100]);
  });

  it('B28 a waiter takes an expired lock when the lease ends, without a notification', async () => {
    const { service, store, clock } = await start();
    await store.takenBy('other', 'key', 400);
    const waiting = watch(service.acquire('key', WAIT));
    await clock.advance(401);
    expect(waiting.state).toBe('resolved');
    expect(times(store)).toEqual([0, 401]);
  });

  it('B18 if the store notifies, a wait still ends with an attempt at its deadline', async () => {
    const { service, store, clock } = await start();
    await store.takenBy('other', 'key', 600_000);
    const refused = errorOf(service.acquire('key', { wait: 300 }));
    await clock.advance(300);
    expect(await refused).toMatchObject({ name: 'LockNotAcquiredError', waited: 300 });
    expect(times(store)).toEqual([0, 300]);
  });

  it('B19 a waiter that the store has not queued polls as often as retry says', async () => {
    const { service, store, clock } = await start({ retry: 100 });
    await store.takenBy('other', 'key', 600_000);
    store.always({ fail: linkBroken }, 'acquire');
    void service.acquire('key', { ...WAIT, ttl: 300 }).catch(() => {});
    await clock.advance(1_000);
    expect(store.count('acquire')).toBeGreaterThan(5);
  });

  it('B21 if a waiter is aborted just after a notification, the next waiter makes the attempt', async () => {
    const { service, store, clock } = await start();
    const other = await store.takenBy('other', 'key', 600_000);
    const abort = new AbortController();
    const aborted = errorOf(service.acquire('key', { ...WAIT, signal: abort.signal }));
    const next = watch(service.acquire('key', WAIT));
    await clock.advance(100);
    await store.server.release('key', other);
    store.call('key');
    abort.abort(new Error('enough'));
    await aborted;
    await settle();
    expect(next.value?.held).toBe(true);
  });

  it('B21 an abort ends a wait at once, even during a release to this waiter', async () => {
    const { service, store, clock } = await start();
    const lock = await service.acquire('key');
    const abort = new AbortController();
    const waiting = watch(service.acquire('key', { ...WAIT, signal: abort.signal }));
    await clock.advance(10);
    store.next('releaseToWaiter', { before: 500, after: 500 });
    const released = lock.release();
    store.call('key');
    abort.abort(new Error('enough'));
    await settle();
    expect(waiting.error).toMatchObject({ message: 'enough' });
    await clock.advance(1_000);
    expect(await released).toBe(true);
    expect(await store.held('key')).toBe(false);
    expect(clock.timers).toEqual([]);
  });

  it('B12 after a shutdown, no call of the process waits', async () => {
    const { service, store, clock } = await start();
    await store.takenBy('other', 'key', 600_000);
    const failing = errorOf(service.acquire('key', WAIT));
    await clock.advance(10);
    await service[INTERNALS].drain();
    await failing;
    expect([store.call('key'), store.call()]).toEqual([false, false]);
    await service[INTERNALS].close();
    expect(clock.timers).toEqual([]);
  });
});

describe('releases in a store that notifies', () => {
  // A call with stealAfter makes an attempt at once.
  const once = { ...WAIT, stealAfter: '1h' } as const;

  it('B23 a release tells the store whether other calls of the process wait', async () => {
    const { service, store, clock } = await start();
    Object.assign(store, { releaseToWaiter: undefined });
    const first = await service.acquire('key');
    const second = watch(service.acquire('key', WAIT));
    await clock.advance(10);
    await first.release();
    store.call('key');
    await settle();
    await (second.value as Lock).release();
    expect(waitingIn(store, 'release')).toEqual([true, undefined]);
  });

  it('B23 a release does not wake up a waiter of its own process, since the store notifies the next waiter', async () => {
    const { service, store, clock } = await start();
    Object.assign(store, { releaseToWaiter: undefined });
    const lock = await service.acquire('key');
    const waiting = watch(service.acquire('key', once));
    await clock.advance(10);
    await lock.release();
    await settle();
    expect([waiting.state, store.count('acquire')]).toEqual(['pending', 2]);
    store.call('key');
    await settle();
    expect(waiting.state).toBe('resolved');
  });

  it('B23 a release that fails or finds the lock lost wakes up the first waiter', async () => {
    const { service, store, clock } = await start();
    Object.assign(store, { releaseToWaiter: undefined });
    const lock = await service.acquire('key');
    const waiting = watch(service.acquire('key', once));
    await clock.advance(10);
    store.next('release', { fail: serverRefused });
    await errorOf(lock.release());
    await settle();
    expect(store.count('acquire')).toBe(3);
    await store.server.forceRelease('key');
    store.call('key');
    await settle();

    const next = watch(service.acquire('key', once));
    await settle();
    await store.server.forceRelease('key');
    expect(await (waiting.value as Lock).release()).toBe(false);
    await settle();
    expect(next.value?.held).toBe(true);
  });

  it('B23 after eight releases to waiters, waiters of other processes come first', async () => {
    const { service, store, clock } = await start();
    const runs = Array.from({ length: 10 }, () => service.run('key', () => {}, WAIT));
    await clock.advance(100);
    expect([store.count('releaseToWaiter'), store.count('release')]).toEqual([8, 1]);
    expect(waitingIn(store, 'release')).toEqual([true]);
    store.call('key');
    await clock.advance(100);
    await Promise.all(runs);
    expect(waitingIn(store, 'release')).toEqual([true, undefined]);
    expect(clock.timers).toEqual([]);
  });

  it('B23 a forced release wakes up the first waiter', async () => {
    const { service, store, clock } = await start();
    await store.takenBy('other', 'key', 600_000);
    const waiting = watch(service.acquire('key', WAIT));
    await clock.advance(10);
    await service.admin.forceRelease('key', { reason: 'test' });
    await settle();
    expect(waiting.value?.held).toBe(true);
  });
});

describe('a key that is always wanted in this process', () => {
  /**
   * Lets three callers take turns for `ms` milliseconds. Resolves to how often the key was
   * free.
   */
  const restsOf = async (begin: () => ReturnType<typeof startCore>, ms: number): Promise<number> => {
    const { service, store, clock } = await begin();
    const over = new AbortController();
    const work = async (): Promise<void> => {
      while (!over.signal.aborted) {
        const lock = await service.acquire('key', { ...WAIT, signal: over.signal });
        await new Promise<void>((resolve) => void clock.after(5, resolve, true));
        await lock.release();
      }
    };
    for (let caller = 0; caller < 3; caller++) void work().catch(() => {});
    let rests = 0;
    for (let at = 0; at < ms; at += 10) {
      await clock.advance(10);
      if (!(await store.held('key'))) rests++;
    }
    over.abort(new Error('over'));
    await clock.advance(100);
    return rests;
  };

  it('B23 a busy process leaves a key free now and then, so that polling processes can get it', async () => {
    expect(await restsOf(() => startCore(), 9_000)).toBeGreaterThan(10);
    expect(await restsOf(() => startCoreWith(WaiterReleaseStore), 9_000)).toBeGreaterThan(10);
  });

  it('B23 a busy process need not leave a key free if the store notifies waiters of other processes', async () => {
    expect(await restsOf(() => startCoreWith(NotifiedStore), 5_000)).toBe(0);
  });

  it('B23 a busy process leaves a key free now and then if the store cannot notify waiters of other processes', async () => {
    expect(await restsOf(() => startCoreWith(PollingStore), 9_000)).toBeGreaterThan(10);
  });
});

/** A store that notifies this process of each release, as if no other process waited. */
class NotifiedStore extends NotifyingStore {
  protected readonly othersPoll: boolean = false;

  override async release(key: string, owner: string, request?: ReleaseRequest): Promise<boolean> {
    const released = await super.release(key, owner, request);
    this.call(key, this.othersPoll);
    return released;
  }
}

class PollingStore extends NotifiedStore {
  protected override readonly othersPoll = true;
}
