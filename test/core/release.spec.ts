import { describe, expect, it } from '@jest/globals';
import { LockStoreError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, gate, startCore, warnings, watch } from './core-fixture.js';
import { microtasks, settle } from './manual-clock.js';
import { linkBroken, serverRefused } from './scripted-store.js';

const log = captureLog();

describe('lock.release', () => {
  it('B43 the first release returns true, and each later release returns false', async () => {
    const { service, store } = await startCore();
    const lock = await service.acquire('key');
    const [first, second] = await Promise.all([lock.release(), lock.release()]);
    expect([first, second, await lock.release()]).toEqual([true, false, false]);
    expect(store.count('release')).toBe(1);
    expect(lock).toMatchObject({ held: false, loss: undefined });
  });

  it('B43 the release of a lost lock gives false and sends nothing', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await service.acquire('key');
    await clock.advance(950);
    expect(lock.loss).toBeDefined();
    expect(await lock.release()).toBe(false);
    expect(store.count('release')).toBe(0);
  });

  it('B43 release returns false if the store no longer has the lock, even if no loss was noticed before', async () => {
    const { service, store, names } = await startCore();
    const lock = await service.acquire('key');
    await store.server.forceRelease('key');
    expect(await lock.release()).toBe(false);
    expect(lock.loss?.message).toMatch(/the store said that the lease had run out or been taken away/);
    expect(lock.signal.aborted).toBe(true);
    expect(names()).toEqual(['acquired', 'lost']);
  });

  it('B44 the release of an expired lock does not end the lock of the next holder', async () => {
    const { service, store } = await startCore();
    const lock = await service.acquire('key');
    await store.server.forceRelease('key');
    const next = await service.acquire('key');
    expect(await lock.release()).toBe(false);
    expect(next.held).toBe(true);
    expect(await store.held('key')).toBe(true);
    expect(await next.release()).toBe(true);
  });

  it('B43 lock.held is false as soon as release() is called, however long the store takes', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key');
    store.next('release', { before: 100 });
    const releasing = watch(lock.release());
    expect(lock.held).toBe(false);
    expect(() => lock.assertHeld()).toThrow('it was released before');
    await clock.advance(100);
    expect(releasing.value).toBe(true);
    expect(lock.signal.aborted).toBe(false);
  });

  it('B43 a lock past its deadline is released without a loss if the store has given it to no other owner', async () => {
    const { service, clock, names } = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await service.acquire('key');
    clock.freeze(980);
    expect(lock.held).toBe(false);
    expect(await lock.release()).toBe(true);
    expect(lock.loss).toBeUndefined();
    expect(names()).toEqual(['acquired', 'released']);
  });

  it.each([
    ['refused', { fail: serverRefused }],
    ['with a raw error', { fail: () => new Error('disk full') }],
    ['without any answer', { hang: 'request' }],
    ['with a broken link', { fail: linkBroken }],
  ] as const)(
    'B47 after a release that fails (%s), lock.held is false, and the key is free after the ttl',
    async (_, fate) => {
      const { service, store, clock, of } = await startCore({ ttl: 900 });
      store.always(fate, 'release');
      const lock = await service.acquire('key');
      const releasing = watch(lock.release());
      await clock.advance(300);
      expect(releasing.error).toBeInstanceOf(LockStoreError);
      expect(lock).toMatchObject({ held: false, loss: undefined });
      expect(clock.timers).toEqual([]);
      expect(of('storeError')).toMatchObject([{ key: 'key', operation: 'release' }]);
      expect(of('released')).toEqual([]);
      expect(warnings(log)).toHaveLength(1);
      expect(warnings(log)[0]).toMatch(/^The release of lock "key" failed: /);
      store.heal();
      await clock.advance(600);
      expect(await store.held('key')).toBe(false);
      expect(store.count('renewMany')).toBe(0);
    },
  );

  it('B47 after the release of the last lock, no timer is left', async () => {
    const { service, clock } = await startCore();
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    await locks[0]?.release();
    await locks[1]?.release();
    expect(clock.timers).toHaveLength(1);
    await locks[2]?.release();
    expect(clock.timers).toEqual([]);
  });

  it('B55 after the loss of the last lock, no timer is left', async () => {
    const { service, clock } = await startCore({ ttl: 1000, autoRenew: false });
    await service.acquire('a');
    clock.freeze(400);
    await service.acquire('b');
    await clock.advance(600);
    expect(clock.timers).toHaveLength(1);
    await clock.advance(400);
    expect(clock.timers).toEqual([]);
  });

  it('B76 after a release, the key stays locked for the rest of minHold and no longer', async () => {
    const { service, store, clock } = await startCore();
    await service.run('key', () => clock.advance(200), { minHold: 5000, ttl: 900 });
    expect(store.of('release')[0]?.request).toEqual({ outcome: 'done', keepFor: 4800 });
    await clock.advance(4799);
    expect(await service.tryAcquire('key')).toBeNull();
    await clock.advance(1);
    expect(await service.tryAcquire('key')).not.toBeNull();
  });

  it('B76 a run that was longer than minHold frees the key at once', async () => {
    const { service, store, clock } = await startCore({ minHold: 500 });
    await service.run('key', () => clock.advance(500));
    expect(store.of('release')[0]?.request).toEqual({ outcome: 'done' });
  });

  it('B76 minHold counts from the grant, even if the release has to be sent again', async () => {
    const { service, store, clock } = await startCore({ minHold: 1000 });
    const lock = await service.acquire('key');
    await clock.advance(100);
    store.next('release', { lose: 'request' });
    const releasing = watch(lock.release());
    await clock.advance(50);
    expect(releasing.value).toBe(true);
    expect(store.of('release').map(({ request }) => request)).toEqual([
      { outcome: 'done', keepFor: 900 },
      { outcome: 'done', keepFor: 850 },
    ]);
  });

  it('B46 after a run, inspect tells whether the run is done or failed', async () => {
    const { service } = await startCore();
    await service.run('key', () => {});
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'free', lastRun: { outcome: 'done' } });
    await service.run('key', () => Promise.reject(new Error('body'))).catch(() => {});
    expect(await service.admin.inspect('key')).toMatchObject({ lastRun: { outcome: 'failed' } });
    await (await service.acquire('key')).release('done');
    expect(await service.admin.inspect('key')).toMatchObject({ lastRun: { outcome: 'done' } });
  });

  it('B45 a second release does not create the key in the store', async () => {
    const { service, store } = await startCore();
    const lock = await service.acquire('key');
    await lock.release();
    await lock.release();
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'free' });
    expect((await store.server.list({ limit: 10 })).locks).toEqual([]);
  });
});

describe('run and await using', () => {
  const BODY = new Error('body');

  it('B59 run releases the lock if the body throws, and the caller gets that error', async () => {
    const { service, store } = await startCore();
    const throwing = (): never => {
      throw BODY;
    };
    for (const body of [throwing, () => Promise.reject(BODY)]) {
      expect(await errorOf(service.run('key', body))).toBe(BODY);
      expect(await errorOf(service.tryRun('key', body))).toBe(BODY);
      expect(await store.held('key')).toBe(false);
    }
  });

  it('B59 the caller gets the error of the body even if the release failed or the lock was lost', async () => {
    const { service, store, clock } = await startCore({ ttl: 900, autoRenew: false });
    store.next('release', { fail: serverRefused });
    expect(await errorOf(service.run('a', () => Promise.reject(BODY)))).toBe(BODY);
    const body = gate();
    const running = errorOf(service.run('b', () => body.promise));
    await clock.advance(1000);
    body.fail(BODY);
    expect(await running).toBe(BODY);
  });

  it('B47 a release that fails is logged once, and run gives the result of the body', async () => {
    const { service, store, of } = await startCore();
    store.always({ fail: serverRefused }, 'release');
    expect(await service.run('key', () => 'result')).toBe('result');
    expect(await service.tryRun('other', () => 'result')).toEqual({ acquired: true, value: 'result' });
    expect(warnings(log).map((line) => line.slice(0, 30))).toEqual([
      'The release of lock "key" fail',
      'The release of lock "other" fa',
    ]);
    expect(of('storeError')).toHaveLength(2);
  });

  it('B59 if the body throws a value that is no Error, the caller gets exactly this value', async () => {
    const { service, store } = await startCore();
    for (const thrown of [undefined, null, 0, 'text']) {
      const running = watch(service.run('key', () => Promise.reject(thrown)));
      await settle();
      expect(running).toEqual({ state: 'rejected', error: thrown });
    }
    expect(await store.held('key')).toBe(false);
  });

  it.each(['done', 'failed'] as const)(
    'B46 the outcome %p that is given to release is recorded',
    async (outcome) => {
      const { service } = await startCore();
      const lock = await service.acquire('key');
      expect(await lock.release(outcome)).toBe(true);
      expect(await service.admin.inspect('key')).toMatchObject({ lastRun: { outcome } });
    },
  );

  it.each(['', 'Done', null, 1])(
    'B46 the outcome %p is refused, and the lock stays held',
    async (outcome) => {
      const { service } = await startCore();
      const lock = await service.acquire('key');
      const error = await errorOf(lock.release(outcome as never));
      expect(error.message).toContain("The outcome given to release() must be 'done' or 'failed'");
      expect(lock.held).toBe(true);
    },
  );

  it('B59 await using releases the lock at the end of its block, even if the block throws', async () => {
    const { service, store } = await startCore();
    {
      await using lock = await service.acquire('key');
      expect(lock.held).toBe(true);
    }
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'free', lastRun: { outcome: 'done' } });
    const body = async (): Promise<void> => {
      await using lock = await service.acquire('key');
      expect(lock.held).toBe(true);
      throw BODY;
    };
    expect(await errorOf(body())).toBe(BODY);
    expect(await store.held('key')).toBe(false);
  });

  it('B47 with await using, a release that fails is logged, and the caller gets the result or error of the block', async () => {
    const { service, store } = await startCore();
    store.always({ fail: serverRefused }, 'release');
    const body = async (key: string, error?: Error): Promise<string> => {
      await using lock = await service.acquire(key);
      if (error) throw error;
      return `${lock.key} done`;
    };
    expect(await body('a')).toBe('a done');
    expect(await errorOf(body('b', BODY))).toBe(BODY);
    expect(warnings(log)).toHaveLength(2);
  });

  it('B53 a run leaves no lock and no timer, in whichever microtask its body ends', async () => {
    for (let turn = 0; turn < 20; turn++) {
      const { service, store, clock } = await startCore({ ttl: 900 });
      store.always({ before: 2, after: 2 });
      const running = watch(service.run('key', () => microtasks(turn)));
      await clock.advance(1000);
      expect(running.state).toBe('resolved');
      expect(await store.held('key')).toBe(false);
      expect(clock.timers).toEqual([]);
    }
  });
});
