import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import type { LockHandOff } from '../../lib/options/hand-off.js';
import { LockError, LockLostError, LockStoreError } from '../../lib/lock.errors.js';
import { errorOf, startCore, watch } from './core-fixture.js';
import { linkBroken } from './scripted-store.js';

const TTL = { ttl: 900 };

/** As it goes through a queue. */
const sent = (data: LockHandOff): LockHandOff => JSON.parse(JSON.stringify(data));

describe('B80 a lock that is handed on', () => {
  it('is renewed and released by the process that takes it up', async () => {
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

  it('is not held, not renewed and not released any more where it came from', async () => {
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

  it('that never expires has no ttl in its data, and none when it is taken up', async () => {
    const { service, clock } = await startCore({ ttl: Infinity });
    const data = sent(await (await service.acquire('key')).handOff());
    expect(data).not.toHaveProperty('ttl');
    const restored = await service.restore(data);
    expect(restored.expiresAt).toBeNull();
    await clock.advance(3_600_000);
    expect(restored.held).toBe(true);
    await restored.release();
  });

  it('is not believed in before the store has renewed it', async () => {
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
    ['an option that it does not know', { ttk: 5 }, 'handOff() does not know the option "ttk"'],
    ['a ttl that is none', { ttl: 'soon' }, 'The ttl of handOff() must be'],
  ])('stays here, given %s', async (_, options, message) => {
    const { service } = await startCore(TTL);
    const lock = await service.acquire('key');
    expect((await errorOf(lock.handOff(options as never))).message).toContain(message);
    expect(lock.held).toBe(true);
  });

  it('stays here when the store fails to renew it', async () => {
    const { service, store } = await startCore(TTL);
    const lock = await service.acquire('key');
    store.next('renew', { fail: linkBroken });
    expect(await errorOf(lock.handOff())).toBeInstanceOf(LockStoreError);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  it('tells its onLost when it is lost where it was taken up', async () => {
    const { service, store, clock } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    const lost: string[] = [];
    const restored = await service.restore(data, { onLost: (lock) => void lost.push(lock.key) });
    await store.server.forceRelease('key');
    await clock.advance(300);
    expect([restored.held, lost]).toEqual([false, ['key']]);
  });

  it('is released, and known to be lost, when the application shuts down while it is taken up', async () => {
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

  it('is not freed by the late answer of an attempt that had been repeated', async () => {
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

  it('has the prefix of the module that takes it up', async () => {
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
    ['a token that is none', { key: 'key', owner: 'o', fencingToken: '1' }],
    ['a ttl that is none', { key: 'key', owner: 'o', fencingToken: 1, ttl: 0 }],
    ['a key that is none', { key: '', owner: 'o', fencingToken: 1 }],
    ['more than it has', { key: 'key', owner: 'o', fencingToken: 1, label: 'x' }],
  ])('is refused before the store is asked, given %s', async (_, data) => {
    const { service, store } = await startCore();
    const error = (await errorOf(service.restore(data as LockHandOff))) as LockError;
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).not.toContain('"o"');
    expect(store.calls).toEqual([]);
  });

  it.each<[string, unknown, string]>([
    ['an option that it does not know', { wait: 5 }, 'restore() does not know the option "wait"'],
    ['a value that is none', { onLost: 5 }, 'restore() of "key"'],
  ])('is not taken up, given %s', async (_, options, message) => {
    const { service } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    expect((await errorOf(service.restore(data, options as never))).message).toContain(message);
    expect(await service.admin.isLocked('key')).toBe(true);
  });

  it('is not taken up by an application that is shutting down', async () => {
    const { service, store } = await startCore(TTL);
    const data = await (await service.acquire('key')).handOff();
    await service[INTERNALS].drain();
    expect((await errorOf(service.restore(data))).message).toContain('shutting down');
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'renew']);
  });

  it('is taken up as nothing where locking is disabled', async () => {
    const { service } = await startCore(TTL);
    const there = await startCore({ enabled: false });
    const data = await (await service.acquire('key')).handOff();
    const lock = await there.service.restore(data);
    expect([lock.key, lock.enabled, lock.held]).toEqual(['key', false, true]);
    expect(lock.fencingToken).toBeGreaterThan(data.fencingToken);
    expect(there.store.calls).toEqual([]);
  });

  it('stands for nothing while locking is disabled', async () => {
    const { service, store } = await startCore({ enabled: false });
    const data = await (await service.acquire('key')).handOff();
    expect(data).toMatchObject({ key: 'key', owner: '' });
    expect(await service.release('key', data.owner)).toBe(true);
    expect(store.calls).toEqual([]);
  });
});

describe('B80 release by owner id', () => {
  it('gives back what this process holds, as its handle would', async () => {
    const { service, names, clock } = await startCore(TTL);
    const lock = await service.acquire('key');
    expect(await service.release('key', lock.owner)).toBe(true);
    expect(lock.held).toBe(false);
    expect(await service.release('key', lock.owner)).toBe(false);
    expect(names()).toEqual(['acquired', 'released']);
    expect(clock.timers).toEqual([]);
  });

  it('gives back what another process holds, and never what another owner has', async () => {
    const here = await startCore(TTL);
    const there = await startCore(TTL, { store: here.store, clock: here.clock });
    const lock = await here.service.acquire('key');
    expect(await there.service.release('key', 'somebody')).toBe(false);
    expect(lock.held).toBe(true);
    expect(await there.service.release('key', lock.owner)).toBe(true);
    expect(await there.service.admin.isLocked('key')).toBe(false);
  });
});
