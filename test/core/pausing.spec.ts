import { describe, expect, it } from '@jest/globals';
import { LockNotAcquiredError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore } from './core-fixture.js';

const log = captureLog();

describe('a paused key', () => {
  it('B73 a paused key is refused to every caller at once, whatever its wait', async () => {
    const { service, of, clock } = await startCore();
    expect(await service.admin.pause('key')).toBe(true);
    expect(await service.admin.pause('key')).toBe(false);
    const error = (await errorOf(service.acquire('key', { wait: Infinity }))) as LockNotAcquiredError;
    expect(error).toMatchObject({ name: 'LockNotAcquiredError', reason: 'paused', waited: 0 });
    expect(error.message).toContain('it is paused, for all instances. LockAdmin.resume() ends the pause.');
    expect(of('busy')).toMatchObject([{ key: 'key', reason: 'paused' }]);
    expect(await service.tryAcquire('other')).not.toBeNull();
    expect(clock.timers).toHaveLength(1); // The only timer renews the lock "other".
    expect(log.filter(({ level }) => level === 'warn')).toHaveLength(1);
  });

  it('B73 a resumed key is granted again', async () => {
    const { service } = await startCore();
    await service.admin.pause('key');
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'free', paused: true });
    expect(await service.admin.resume('key')).toBe(true);
    expect(await service.admin.resume('key')).toBe(false);
    expect(log.map(({ text }) => text).filter((text) => text.includes('no longer paused'))).toHaveLength(1);
    expect(await service.admin.inspect('key')).not.toHaveProperty('paused');
    expect((await service.acquire('key')).held).toBe(true);
  });

  it('B73 the holder of a paused key can renew and release it', async () => {
    const { service, clock } = await startCore({ ttl: 900, prefix: 'app' });
    const lock = await service.acquire('key');
    await service.admin.pause('key');
    await clock.advance(10_000);
    expect(lock.held).toBe(true);
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'held', paused: true });
    expect(await lock.release()).toBe(true);
    expect(await service.tryAcquire('key')).toBeNull();
    await service.admin.resume('key');
    expect(await service.tryAcquire('key')).not.toBeNull();
  });

  it('B73 a pause ends the waits that are under way, at their next attempt', async () => {
    const { service, clock } = await startCore();
    await service.acquire('key');
    const waiting = errorOf(service.acquire('key', { wait: '1h' }));
    await service.admin.pause('key');
    await clock.advance(1_000);
    expect(await waiting).toMatchObject({ reason: 'paused' });
  });

  it('B73 pause needs a store that implements LockPauser', async () => {
    const core = await startCore();
    const { service } = await startCore({}, { store: { ...bare(core.store) } as never });
    expect((await errorOf(service.admin.pause('key'))).message).toContain(
      'does not implement pause(). Use a store that implements LockPauser.',
    );
  });
});

function bare(store: { acquire: unknown; renew: unknown; release: unknown }): object {
  const { acquire, renew, release } = store;
  return { acquire, renew, release };
}
