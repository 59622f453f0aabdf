import { INTERNALS } from '../../lib/lock-internals.js';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { LockService } from '../../lib/lock.service.js';
import { memoryStore } from '../../lib/stores/memory/memory-store.js';
import { captureLog } from './core-fixture.js';

captureLog();

const start = async (): Promise<LockService> => {
  const service = new LockService({
    options: { ttl: '30s' },
    openStore: () => memoryStore().useFactory(),
  });
  await service[INTERNALS].start();
  return service;
};

describe('applications whose tests mock clocks', () => {
  afterEach(() => {
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  it('R12 a mocked Date alone ends no lease', async () => {
    const service = await start();
    const lock = await service.acquire('key');
    for (const year of [1999, 2050]) {
      jest.spyOn(Date, 'now').mockReturnValue(Date.UTC(year, 0));
      jest.useFakeTimers({
        now: Date.UTC(year, 0),
        doNotFake: ['performance', 'setTimeout', 'setImmediate'],
      });
      expect(lock.held).toBe(true);
      lock.assertHeld();
      jest.useRealTimers();
      jest.restoreAllMocks();
      expect(lock.held).toBe(true);
    }
    expect(await lock.release()).toBe(true);
  });

  it('R12 a lease ends if fake timers advance past it, and not earlier', async () => {
    const service = await start();
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask'] });
    const lock = await service.acquire('key', { autoRenew: false });
    jest.advanceTimersByTime(28_000);
    expect(lock.held).toBe(true);
    jest.advanceTimersByTime(1_000);
    expect(lock.held).toBe(false);
  });

  it('R12 a lock that was taken before fake timers were installed stays held', async () => {
    const service = await start();
    const lock = await service.acquire('key');
    jest.useFakeTimers();
    expect(lock.held).toBe(true);
    jest.useRealTimers();
    expect(lock.held).toBe(true);
    await lock.release();
  });
});
