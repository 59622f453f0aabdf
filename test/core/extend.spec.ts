import { describe, expect, it } from '@jest/globals';
import { LockError, LockLostError, LockStoreError } from '../../lib/lock.errors.js';
import type { Lock } from '../../lib/lock.js';
import { captureLog, errorOf, startCore, watch, type Core } from './core-fixture.js';
import { linkBroken, serverRefused, type Fate } from './scripted-store.js';

captureLog();

const remaining = async ({ service }: Core, key = 'key'): Promise<number> => {
  const found = await service.admin.inspect(key);
  return found.state === 'held' ? found.holder.remaining : 0;
};

/** The milliseconds for which the lock stays held if no further request reaches the store. */
async function heldFor({ clock, store }: Core, lock: Lock, most = 20_000): Promise<number> {
  store.always({ hang: 'request' });
  const from = clock.now();
  while (lock.held && clock.now() - from < most) await clock.advance(1);
  return clock.now() - from;
}

describe('lock.extend', () => {
  it('B49 extend without an argument sets the lease to the ttl again', async () => {
    const core = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await core.service.acquire('key');
    await core.clock.advance(500);
    await lock.extend();
    expect(core.store.of('renew')).toMatchObject([{ key: 'key', owner: lock.owner, ttl: 1000 }]);
    expect(await remaining(core)).toBe(1000);
    expect(await heldFor(core, lock)).toBe(950);
  });

  it('B49 extend with a ttl sets a longer or shorter ttl, also for later renewals', async () => {
    const core = await startCore({ ttl: 3000 });
    const lock = await core.service.acquire('key');
    for (const ttl of ['6s', 1500, '3s'] as const) {
      await lock.extend(ttl);
      const milliseconds = await remaining(core);
      await lock.extend();
      expect(core.store.of('renew').at(-1)?.ttl).toBe(milliseconds);
      await core.clock.advance(milliseconds / 3);
      expect(core.store.of('renewMany').at(-1)?.renewals).toMatchObject([{ ttl: milliseconds }]);
      expect(await remaining(core)).toBe(milliseconds);
    }
    await lock.extend(1000);
    expect(await heldFor(core, lock)).toBe(950);
  });

  it('B49 extend does nothing on a lock that never expires, unless a ttl is given', async () => {
    const core = await startCore({ ttl: Infinity });
    const lock = await core.service.acquire('key');
    await lock.extend();
    expect(core.store.calls).toHaveLength(1);
    await lock.extend(2000);
    expect(lock.expiresAt?.getTime()).toBe(core.clock.date() + 2000);
    expect(await remaining(core)).toBe(2000);
    await lock.extend(Infinity);
    expect(lock.expiresAt).toBeNull();
    expect(await remaining(core)).toBe(Infinity);
    expect(await heldFor(core, lock, 3000)).toBe(3000);
  });

  it('B49 extend of a lost or released lock throws LockLostError and sends nothing', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    const lost = await service.acquire('lost');
    const released = await service.acquire('released');
    const endless = await service.acquire('endless', { ttl: Infinity });
    await released.release();
    await endless.release();
    await clock.advance(1000);
    for (const [lock, reason] of [
      [lost, /ran out/],
      [released, /released before/],
      [endless, /released before/],
    ] as const) {
      for (const ttl of [undefined, 5000]) {
        const error = await errorOf(lock.extend(ttl));
        expect(error).toBeInstanceOf(LockLostError);
        expect(error.message).toMatch(reason);
      }
    }
    expect(store.count('renew')).toBe(0);
  });

  it('B50 extend does not revive an expired lock, even if no other process took it', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await service.acquire('key');
    clock.freeze(960);
    expect(await errorOf(lock.extend())).toBe(lock.loss);
    expect(store.count('renew')).toBe(0);
    expect(names()).toEqual(['acquired', 'lost']);
  });

  it('B71 extend of a lock that was taken away throws and reports the loss', async () => {
    const { service, store, of } = await startCore();
    const lock = await service.acquire('key');
    await store.server.forceRelease('key');
    expect(await errorOf(lock.extend())).toBe(lock.loss);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
    expect(await store.held('key')).toBe(false);
  });

  it('B51 after each of 100 extensions, the lock expires exactly one ttl later', async () => {
    const core = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await core.service.acquire('key');
    for (let i = 0; i < 100; i++) {
      await core.clock.advance(7);
      await lock.extend();
      expect(await remaining(core)).toBe(1000);
      expect(lock.expiresAt?.getTime()).toBe(core.clock.date() + 1000);
    }
    expect(core.store.count('renew')).toBe(100);
  });

  it.each([[0], [99], [-1], [Number.NaN], [null], ['soon']])(
    'B30 extend refuses a ttl of %p',
    async (ttl) => {
      const { service, store } = await startCore();
      const lock = await service.acquire('key');
      const error = await errorOf(lock.extend(ttl as number));
      expect(error.constructor).toBe(LockError);
      expect(error.message).toContain('The ttl of extend() must be');
      expect(store.count('renew')).toBe(0);
      expect(lock.held).toBe(true);
    },
  );

  it('B49 the deadline of an extended lock counts from before the request, less the margin', async () => {
    const core = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await core.service.acquire('key');
    core.store.next('renew', { before: 100, after: 100 });
    const extending = watch(lock.extend(10_000));
    await core.clock.advance(200);
    expect(extending.state).toBe('resolved');
    expect(await heldFor(core, lock)).toBe(9500 - 200);
  });

  it('B50 if the answer to an extension comes after the deadline, the lock is lost and the key is freed', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await service.acquire('key');
    await clock.advance(800);
    store.next('renew', { before: 100, after: 100 });
    const extending = watch(lock.extend(60_000));
    await clock.advance(149);
    expect(lock.held).toBe(true);
    await clock.advance(1);
    expect(lock.held).toBe(false);
    expect(lock.loss).toBeDefined();
    await clock.advance(50);
    expect(extending.error).toBe(lock.loss);
    expect(await store.held('key')).toBe(false);
  });

  it('B27 if the store fails, extend throws LockStoreError and the lock stays held', async () => {
    for (const fail of [serverRefused, linkBroken, () => new Error('disk full')]) {
      const { service, store } = await startCore();
      const lock = await service.acquire('key');
      store.next('renew', { fail });
      expect(await errorOf(lock.extend())).toBeInstanceOf(LockStoreError);
      expect(lock.held).toBe(true);
      await lock.extend();
    }
  });

  it.each<[string, Fate]>([
    ['was never answered', { hang: 'answer' }],
    ['was carried out, but its answer was lost', { lose: 'answer' }],
    ['was carried out late, and its answer was lost', { before: 200, lose: 'answer' }],
    ['was carried out later still, and never answered', { before: 300, hang: 'answer' }],
  ])('B49 a shorter ttl counts from its request, even if the request %s', async (_, fate) => {
    const core = await startCore({ ttl: 30_000, autoRenew: false });
    const { clock, store } = core;
    const lock = await core.service.acquire('key');
    store.next('renew', fate);
    const extending = watch(lock.extend(1000));
    expect(lock.expiresAt?.getTime()).toBe(clock.date() + 1000);
    const other = await startCore({}, core);
    const next = watch(other.service.acquire('key', { wait: Infinity, retry: 5 }));
    while (next.state === 'pending') await clock.advance(1);
    expect(lock.held).toBe(false);
    expect(extending.state).toBe('rejected');
  });

  it.each<[string, Fate]>([
    ['its answer was lost', { lose: 'answer' }],
    ['refused', { fail: serverRefused }],
  ])(
    'B49 if an extension to a shorter ttl fails (%s), a lock that is renewed stays held',
    async (_, fate) => {
      const { service, store, clock } = await startCore({ ttl: 30_000 });
      const lock = await service.acquire('key');
      store.next('renew', fate);
      expect(await errorOf(lock.extend(5000))).toBeInstanceOf(LockStoreError);
      await clock.advance(60_000);
      expect(lock.held).toBe(true);
      expect(await lock.release()).toBe(true);
    },
  );

  it('B50 a lock ends early if an older renewal is carried out after the extension', async () => {
    const core = await startCore({ ttl: 900 });
    const { clock, store } = core;
    const lock = await core.service.acquire('key');
    // The renewal is sent at 300, reaches its time limit at 600 and is carried out at 700.
    store.next('renewMany', { before: 400, after: 10 });
    await clock.advance(610);
    store.next('renew', { before: 10, after: 200 }); // The extension is carried out at 620.
    const extending = watch(lock.extend(3000));
    await clock.advance(210);
    expect(extending.state).toBe('resolved');
    expect(await remaining(core)).toBe(900 - 120);
    expect(await heldFor(core, lock)).toBeLessThan(900 - 120);
  });

  it('B51 extend waits for the renewal under way', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 50, after: 50 });
    await clock.advance(1010);
    const extending = watch(lock.extend(6000));
    await clock.advance(89);
    expect(store.count('renew')).toBe(0);
    await clock.advance(1);
    expect(extending.state).toBe('resolved');
    expect(store.count('renew')).toBe(1);
  });

  it('B49 extend sends nothing if the lease expires while extend waits for a renewal', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    const lock = await service.acquire('key');
    store.next('renewMany', { hang: 'request' });
    await clock.advance(300);
    const extending = watch(lock.extend());
    clock.freeze(3_000);
    await clock.advance(1);
    expect(extending.error).toBeInstanceOf(LockLostError);
    expect(store.count('renew')).toBe(0);
  });

  it('B51 concurrent extensions are sent one after the other, and the ttl of the last call applies', async () => {
    const core = await startCore();
    const lock = await core.service.acquire('key');
    core.store.always({ before: 5, after: 5 }, 'renew');
    const all = Promise.all([1000, 2000, 3000, 4000].map((ttl) => lock.extend(ttl)));
    await core.clock.advance(40);
    await all;
    expect(core.store.of('renew').map(({ ttl, at }) => [ttl, at - 10_000])).toEqual([
      [1000, 0],
      [2000, 10],
      [3000, 20],
      [4000, 30],
    ]);
    expect(await remaining(core)).toBe(3995);
  });

  it('B49 extend fails if the lock is released before the extension is sent', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 50, after: 50 });
    await clock.advance(1010);
    const extending = watch(lock.extend(6000));
    const releasing = watch(lock.release());
    await clock.advance(100);
    expect(releasing.value).toBe(true);
    expect(store.count('renew')).toBe(0);
    expect(extending.error).toBeInstanceOf(LockLostError);
    expect(await store.held('key')).toBe(false);
  });

  it('B52 extend to a ttl too short for renewEvery renews more often, and the lock stays held', async () => {
    const { service, store, clock } = await startCore({ ttl: 30_000, renewEvery: 20_000 });
    const lock = await service.acquire('key');
    await lock.extend(3000);
    await clock.advance(1000);
    expect(store.count('renewMany')).toBe(1);
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
  });

  it('B52 extend does not start the renewal of a lock without autoRenew', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    const lock = await service.acquire('key');
    await lock.extend(900);
    store.next('renew', { fail: linkBroken });
    await errorOf(lock.extend(800));
    await clock.advance(5000);
    expect(store.count('renewMany')).toBe(0);
    expect(store.count('renew')).toBe(2);
    expect(lock.loss).toBeDefined();
  });

  it('B50 if an extension fails but the store carries it out later, the holder still stops before its lease ends', async () => {
    const core = await startCore({ ttl: 30_000 });
    const lock = await core.service.acquire('key');
    core.store.next('renew', { lateAfterBreak: 2_000 });
    await expect(lock.extend(1_000)).rejects.toThrow(LockStoreError);
    // The lock is renewed before the server carries out the extension, which leaves it one
    // second.
    await core.clock.advance(2_000);
    core.store.always({ hang: 'request' });
    while (await core.store.held('key')) await core.clock.advance(1);
    expect(lock.held).toBe(false);
  });

  it('B50 if a failed renewal is carried out after a longer extension, the holder stops before its lease ends', async () => {
    const core = await startCore({ ttl: 3_000 });
    const lock = await core.service.acquire('key');
    core.store.next('renewMany', { lateAfterBreak: 1_500 });
    await core.clock.advance(1_001);
    await lock.extend('1h');
    core.store.always({ hang: 'request' });
    await core.clock.advance(1_500);
    while (await core.store.held('key')) await core.clock.advance(1);
    expect(lock.held).toBe(false);
  });

  it('B50 if a frozen server carries out a failed extension a minute later, the holder stops in time', async () => {
    const core = await startCore({ ttl: '1m', renewEvery: '30s' });
    const lock = await core.service.acquire('key');
    core.store.next('renew', { fail: linkBroken });
    await expect(lock.extend('15s')).rejects.toThrow(LockStoreError);
    await lock.extend('1m');
    await core.clock.advance(60_000);
    // The lock is renewed often enough even for the failed extension to 15 s.
    expect(lock.held).toBe(true);
    core.store.always({ hang: 'request' });
    await core.store.server.renew('key', lock.owner, 15_000);
    while (await core.store.held('key')) await core.clock.advance(10);
    expect(lock.held).toBe(false);
  });

  it('B49 a lock that is lost because a failed extension may have shortened it is released in the store', async () => {
    for (const ttl of ['1m', Infinity] as const) {
      const core = await startCore({ ttl });
      const lock = await core.service.acquire('key');
      core.store.next('renew', { lose: 'request' });
      core.store.next('renewMany', { lose: 'request' }, { lose: 'request' });
      core.store.always({ fail: linkBroken }, 'renewMany', 'renew');
      await expect(lock.extend(300)).rejects.toThrow(LockStoreError);
      // The link is still broken when the release is first sent.
      core.store.next('release', { fail: linkBroken });
      await core.clock.advance(300);
      expect(lock.loss).toBeInstanceOf(LockLostError);
      await core.clock.advance(1_000);
      expect(await core.store.held('key')).toBe(false);
    }
  });

  it.each([
    ['could not tell', ['unknown']],
    ['did not tell', []],
  ])(
    'B50 a renewal whose outcome the store %s may be carried out later, and the holder stops in time',
    async (_, answer) => {
      const core = await startCore({ ttl: 3_000 });
      const lock = await core.service.acquire('key');
      core.store.next('renewMany', { answer });
      await core.clock.advance(1_001);
      await lock.extend('1h');
      core.store.always({ hang: 'request' });
      await core.clock.advance(1_000);
      // The server carries out the renewal to 3 s only after the extension to 1 h.
      await core.store.server.renew('key', lock.owner, 3_000);
      while (await core.store.held('key')) await core.clock.advance(1);
      expect(lock.held).toBe(false);
    },
  );
});
