import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { LockNotAcquiredError } from '../../lib/lock.errors.js';
import type { LockService } from '../../lib/lock.service.js';
import { captureLog, errorOf, startCore } from './core-fixture.js';

captureLog();

async function refused(service: LockService, key = 'key'): Promise<number> {
  const error = await errorOf(service.acquire(key));
  if (error instanceof LockNotAcquiredError) return error.retryAfter;
  throw error;
}

describe('the time to retry after', () => {
  it('E17 retryAfter is the remaining lease if this process has never run under the key', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key', 30_000);
    await clock.advance(1000);
    expect(await refused(service)).toBe(29_000);
  });

  it('E17 retryAfter is the duration of the last run if the remaining lease is longer', async () => {
    const { service, store, clock } = await startCore();
    await service.run('key', () => clock.advance(5000));
    await service.run('key', () => clock.advance(1500));
    await store.takenBy('other', 'key', 30_000);
    await store.takenBy('other', 'another key', 30_000);
    expect(await refused(service)).toBe(1500);
    expect(await refused(service, 'another key')).toBe(30_000);
    await clock.advance(29_000);
    expect(await refused(service)).toBe(1000);
  });

  it('E17 retryAfter includes the time for which minHold keeps the key', async () => {
    const { service, store, clock } = await startCore();
    await service.run('key', () => 'at once', { minHold: 4000 });
    await clock.advance(4000);
    await store.takenBy('other', 'key', 30_000);
    expect(await refused(service)).toBe(4000);
  });

  it('E17 for a new key of a method, retryAfter is the duration of the last run under its other keys', async () => {
    const { service, store, clock } = await startCore();
    const call = (key: string) => ({
      key,
      settings: service[INTERNALS].settingsFor('test', {}),
      job: 'Orders.ship',
    });
    await service[INTERNALS].tryRun(call('order:1'), () => clock.advance(700));
    await store.takenBy('other', 'order:2', 30_000);
    const result = await service[INTERNALS].tryRun(call('order:2'), () => {});
    expect(result).toMatchObject({ acquired: false, error: { retryAfter: 700 } });
  });
});
