import { describe, expect, it } from '@jest/globals';
import type { AcquireOptions } from '../../lib/options/lock.options.js';
import { LockError, LockNotAcquiredError } from '../../lib/lock.errors.js';
import { another, errorOf, startCore } from './core-fixture.js';

describe('stealing', () => {
  it('B32 stealAfter takes a lock that was not renewed for that time, even with ttl: Infinity', async () => {
    const core = await startCore();
    await core.store.server.acquire('key', 'crashed', Number.MAX_SAFE_INTEGER, { label: 'crashed' });
    await core.clock.advance(59_000);
    const options = { stealAfter: '1m' } as const;
    expect(await errorOf(core.service.acquire('key', options))).toBeInstanceOf(LockNotAcquiredError);
    await core.clock.advance(1_000);
    const lock = await core.service.acquire('key', { ...options, ttl: '20s' });
    expect(lock.expiresAt?.getTime()).toBe(core.clock.date() + 20_000);
    expect(await core.service.admin.inspect('key')).toMatchObject({
      state: 'held',
      lastRun: { label: 'crashed', outcome: 'failed' },
    });
  });

  it('B33 stealAfter never takes a lock that is renewed, even with ttl: Infinity', async () => {
    const core = await startCore();
    const thief = await another(core);
    const lock = await core.service.acquire('key', { ttl: Infinity });
    for (let minute = 0; minute < 10; minute++) {
      await core.clock.advance(60_000);
      expect(await thief.service.tryAcquire('key', { stealAfter: '30s' })).toBeNull();
    }
    expect(lock.held).toBe(true);
  });

  it('B35 the holder of a stolen lock reports the loss at its next renewal', async () => {
    const core = await startCore();
    const thief = await another(core);
    const lost: string[] = [];
    const lock = await core.service.acquire('key', {
      ttl: Infinity,
      onLost: ({ key }) => void lost.push(key),
    });
    // This freezes the process of the holder; the clock of the database goes on.
    core.clock.freeze(60_000);
    const stolen = await thief.service.acquire('key', { stealAfter: '30s' });
    expect(stolen.fencingToken).toBeGreaterThan(lock.fencingToken);
    await core.clock.advance(1);
    expect([lock.held, lost]).toEqual([false, ['key']]);
    expect(stolen.held).toBe(true);
  });

  it('B32 stealAfter of the module applies, and waits go on until the lock is old enough', async () => {
    const core = await startCore({ stealAfter: '30s' });
    await core.store.server.acquire('key', 'crashed', Number.MAX_SAFE_INTEGER);
    const acquiring = core.service.acquire('key', { wait: '1m' });
    await core.clock.advance(31_000);
    expect((await acquiring).held).toBe(true);
  });

  it.each<[AcquireOptions, string]>([
    [{ stealAfter: '10s' }, '(10000 ms) must be longer than the interval'],
    [{ stealAfter: '5s', renewEvery: '6s' }, '(5000 ms) must be longer than the interval'],
    [{ ttl: '3s', stealAfter: 1_000 }, '(1000 ms) must be longer than the interval'],
    [{ stealAfter: 0 }, '"stealAfter"'],
    [{ stealAfter: Infinity }, '"stealAfter"'],
    [{ stealAfter: 'soon' as never }, '"stealAfter"'],
  ])('B33 %j is refused, since it could steal a lock that is renewed', async (options, message) => {
    const { service, store } = await startCore();
    const error = await errorOf(service.acquire('key', options));
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain(message);
    expect(store.calls).toEqual([]);
  });

  it('B33 without renewal, any stealAfter is allowed', async () => {
    const core = await startCore();
    await core.store.server.acquire('key', 'crashed', 60_000);
    await core.clock.advance(600);
    expect(await core.service.tryAcquire('key', { autoRenew: false, stealAfter: 500 })).not.toBeNull();
  });

  it('B33 an extension whose renewal interval exceeds stealAfter is refused and changes nothing', async () => {
    const core = await startCore({ stealAfter: '15s' });
    const lock = await core.service.acquire('key');
    const error = await errorOf(lock.extend('5m'));
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain(
      'The option "stealAfter" of lock "key" (15000 ms) must be longer than the interval',
    );
    await core.clock.advance(60_000);
    expect(lock.held).toBe(true);
    await lock.extend('40s');
    await core.clock.advance(60_000);
    expect(await core.service.tryAcquire('key')).toBeNull();
  });
});
