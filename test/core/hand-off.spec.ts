import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import type { LockHandOff } from '../../lib/options/hand-off.js';
import { LockError, LockLostError, LockStoreError } from '../../lib/lock.errors.js';
import { errorOf, startCore, watch } from './core-fixture.js';
import { linkBroken } from './scripted-store.js';

const TTL = { ttl: 900 };

/** The data after a queue has transported it as JSON. */
const sent = (data: LockHandOff): LockHandOff => JSON.parse(JSON.stringify(data));

describe('lock.handOff and locks.restore', () => {
  it('B80 the process that restores a lock renews and releases it', async () => {
    const here = await startCore(TTL);
    const there = await startCore(TTL, { store: here.store, clock: here.clock });
    const lock = await here.service.acquire('key');
    const data = sent(await lock.handOff());
    expect(data).toEqual({ key: 'key', owner: lock.owner, fencingToken: lock.fencingToken, ttl: 900 });

    const restored = await there.service.restore(data);
    expect(restored.fencingToken).toBe(lock.fencingToken);
    await here.clock.advance(5_000);
    expect(restored.held).toBe(true);
    expect(await here.service.admin.isLocked('key')).toBe(true);
    expect(await restored.release()).toBe(true);
    expect(await here.service.admin.isLocked('key')).toBe(false);
    expect([here.names(), there.names()]).toEqual([
      ['acquired', 'handedOff'],
      ['restored', 'released'],
    ]);
    expect(here.clock.timers).toEqual([]);
  });

  it('B80 the process that handed off a lock neither holds, renews nor releases it', async () => {
    const { service, store, clock } = await startCore(TTL);
    const data = await service.run('key', async (lock) => {
      const handedOn = await lock.handOff({ ttl: '5s' });
      expect(lock.held).toBe(false);
      expect(await lock.release()).toBe(false);
      expect(await errorOf(lock.extend())).toBeInstanceOf(LockLostError);
      expect(await errorOf(lock.handOff())).toBeInstanceOf(LockLostError);
      return handedOn;
    });
    expect(data.ttl).toBe(5_000);
    await clock.advance(4_900);
    expect(await service.admin.isLocked('key')).toBe(true);
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'renew']);
    await clock.advance(200);
    expect(await service.admin.isLocked('key')).toBe(false);
  });

  it('B80 a lock that never expires has no ttl in its data and is restored without one', async () => {
    const { service, clock } = await startCore({ ttl: Infinity });
    const data = sent(await (await service.acquire('key')).handOff());
    expect(data).not.toHaveProperty('ttl');
    const restored = await service.restore(data);
    expect(restored.expiresAt).toBeNull();
    await clock.advance(3_600_000);
    expect(restored.held).toBe(true);
    await restored.release();
  });

  it('B80 restore returns a lock only if the store could renew it', async () => {
    const { service, store, clock } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    await clock.advance(1_000);
    expect(await errorOf(service.restore(data))).toBeInstanceOf(LockLostError);

    const next = await (await service.acquire('key')).handOff();
    store.next('renew', { fail: linkBroken });
    expect(await errorOf(service.restore(next))).toBeInstanceOf(LockStoreError);
    expect(clock.timers).toEqual([]);
    await (await service.restore(next)).release();
  });

  it.each<[string, unknown, string]>([
    ['an unknown option', { ttk: 5 }, 'handOff() does not know the option "ttk"'],
    ['a ttl that is no duration', { ttl: 'soon' }, 'The ttl of handOff() must be'],
  ])('B80 handOff with %s fails, and the lock stays held', async (_, options, message) => {
    const { service } = await startCore(TTL);
    const lock = await service.acquire('key');
    expect((await errorOf(lock.handOff(options as never))).message).toContain(message);
    expect(lock.held).toBe(true);
  });

  it('B80 if the store cannot renew the lock, handOff fails and the lock stays held', async () => {
    const { service, store } = await startCore(TTL);
    const lock = await service.acquire('key');
    store.next('renew', { fail: linkBroken });
    expect(await errorOf(lock.handOff())).toBeInstanceOf(LockStoreError);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  it('B80 the onLost option given to restore runs when the restored lock is lost', async () => {
    const { service, store, clock } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    const lost: string[] = [];
    const restored = await service.restore(data, { onLost: (lock) => void lost.push(lock.key) });
    await store.server.forceRelease('key');
    await clock.advance(300);
    expect([restored.held, lost]).toEqual([false, ['key']]);
  });

  it('B12 a lock whose restore() is answered during the shutdown is released and reported as lost', async () => {
    const { service, store, clock, names } = await startCore({ ttl: Infinity });
    const data = await (await service.acquire('key')).handOff();
    store.next('renew', { before: 50, after: 50 });
    const restoring = watch(service.restore(data));
    await service[INTERNALS].drain();
    const closed = watch(service[INTERNALS].close());
    await clock.advance(100);
    expect([restoring.state, closed.state]).toEqual(['resolved', 'resolved']);
    expect(restoring.value?.held).toBe(false);
    expect(restoring.value?.loss?.message).toContain('the application shut down while it was held');
    expect(await store.held('key')).toBe(false);
    expect(names()).toEqual(['acquired', 'handedOff', 'restored', 'lost']);
    expect(clock.timers).toEqual([]);
  });

  it('B80 the late answer to a repeated acquisition does not release a lock that was handed off since', async () => {
    const { service, store, clock } = await startCore({ ttl: 3_000 });
    store.next('acquire', { before: 10, after: 1_500 });
    const acquiring = watch(service.acquire('key', { wait: '5s' }));
    await clock.advance(1_200);
    expect([acquiring.state, store.count('acquire')]).toEqual(['resolved', 2]);
    await acquiring.value?.handOff();
    await clock.advance(1_000);
    expect(await store.held('key')).toBe(true);
    expect(store.count('release')).toBe(0);
  });

  it('B42 a restored lock gets the prefix of the restoring module', async () => {
    const here = await startCore({ prefix: 'app' });
    const data = await (await here.service.acquire('key')).handOff();
    expect(data.key).toBe('key');
    const restored = await here.service.restore(data);
    expect(await restored.release()).toBe(true);
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['text', 'key'],
    ['no owner', { key: 'key', fencingToken: 1 }],
    ['no token', { key: 'key', owner: 'o' }],
    ['a token of the wrong type', { key: 'key', owner: 'o', fencingToken: '1' }],
    ['a ttl of the wrong value', { key: 'key', owner: 'o', fencingToken: 1, ttl: 0 }],
    ['a key of the wrong value', { key: '', owner: 'o', fencingToken: 1 }],
    ['an unknown field', { key: 'key', owner: 'o', fencingToken: 1, label: 'x' }],
  ])('B80 restore refuses data with %s before any request', async (_, data) => {
    const { service, store } = await startCore();
    const error = (await errorOf(service.restore(data as LockHandOff))) as LockError;
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).not.toContain('"o"');
    expect(store.calls).toEqual([]);
  });

  it.each<[string, unknown, string]>([
    ['an unknown option', { wait: 5 }, 'restore() does not know the option "wait"'],
    ['a value of the wrong type', { onLost: 5 }, 'restore() of "key"'],
  ])('B80 restore with %s fails, and the key stays locked', async (_, options, message) => {
    const { service } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    expect((await errorOf(service.restore(data, options as never))).message).toContain(message);
    expect(await service.admin.isLocked('key')).toBe(true);
  });

  it('B12 restore is refused while the application shuts down', async () => {
    const { service, store } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    await service[INTERNALS].drain();
    expect((await errorOf(service.restore(data))).message).toContain('shutting down');
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'renew']);
  });

  it('B82 while locking is disabled, restore sends nothing and gives a greater token', async () => {
    const { service } = await startCore(TTL);
    const there = await startCore({ enabled: false });
    const data = await (await service.acquire('key')).handOff();
    const lock = await there.service.restore(data);
    expect([lock.key, lock.enabled, lock.held]).toEqual(['key', false, true]);
    expect(lock.fencingToken).toBeGreaterThan(data.fencingToken);
    expect(there.store.calls).toEqual([]);
  });

  it('B73 while locking is disabled, handOff returns data without an owner', async () => {
    const { service, store } = await startCore({ enabled: false });
    const data = await (await service.acquire('key')).handOff();
    expect(data).toMatchObject({ key: 'key', owner: '' });
    expect(await service.release('key', data.owner)).toBe(true);
    expect(store.calls).toEqual([]);
  });
});

describe('locks.release with an owner id', () => {
  it('B80 locks.release() with the owner id ends a lock of this process like lock.release()', async () => {
    const { service, names, clock } = await startCore(TTL);
    const lock = await service.acquire('key');
    expect(await service.release('key', lock.owner)).toBe(true);
    expect(lock.held).toBe(false);
    expect(await service.release('key', lock.owner)).toBe(false);
    expect(names()).toEqual(['acquired', 'released']);
    expect(clock.timers).toEqual([]);
  });

  it('B80 locks.release() ends a lock of another process only with the right owner id', async () => {
    const here = await startCore(TTL);
    const there = await startCore(TTL, { store: here.store, clock: here.clock });
    const lock = await here.service.acquire('key');
    expect(await there.service.release('key', 'somebody')).toBe(false);
    expect(lock.held).toBe(true);
    expect(await there.service.release('key', lock.owner)).toBe(true);
    expect(await there.service.admin.isLocked('key')).toBe(false);
  });
});
