import { describe, expect, it } from '@jest/globals';
import { LockContext } from '../../lib/lock-context.js';
import { LockLostError, LockNotAcquiredError } from '../../lib/lock.errors.js';
import { errorOf, gate, startCore, watch } from './core-fixture.js';
import { settle } from './manual-clock.js';

const AGAIN = { reentrant: true };

describe('re-entry', () => {
  it('B39 without reentrant: true, a run inside a run of the same key is refused', async () => {
    const { service } = await startCore();
    const inner = service.run('key', () => service.run('key', () => 'inner'));
    expect(await errorOf(inner)).toBeInstanceOf(LockNotAcquiredError);
  });

  it('B39 a re-entrant run uses the lock that its call chain holds', async () => {
    const { service, store, names } = await startCore();
    const result = await service.run('key', (outer) =>
      service.run('key', (inner) => [inner === outer, LockContext.current() === outer, inner.held], AGAIN),
    );
    expect(result).toEqual([true, true, true]);
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'release']);
    expect(names()).toEqual(['acquired', 'released']);
  });

  it('B39 re-entry works even with another lock in between, and also as an option of the module', async () => {
    const { service } = await startCore(AGAIN);
    const inner = service.run('a', () =>
      service.run('b', (b) => service.run('a', (a) => [a.key, b.key, b.held])),
    );
    expect(await inner).toEqual(['a', 'b', true]);
  });

  it('B39 another call chain with the same label is refused', async () => {
    const { service } = await startCore({ label: 'same', reentrant: true });
    const end = gate();
    const first = service.run('key', () => end.promise);
    await settle();
    expect(await errorOf(service.run('key', () => 'second'))).toBeInstanceOf(LockNotAcquiredError);
    end.open();
    await first;
  });

  it('B39 a run does not re-enter the lock of another service with the same key', async () => {
    const one = await startCore(AGAIN);
    const other = await startCore(AGAIN);
    await one.service.run('key', () => other.service.run('key', () => {}));
    expect(other.names()).toEqual(['acquired', 'released']);
  });

  it('B39 a run does not re-enter a lock that was taken with acquire()', async () => {
    const { service } = await startCore(AGAIN);
    const lock = await service.acquire('key');
    expect(await errorOf(service.run('key', () => 'inner'))).toBeInstanceOf(LockNotAcquiredError);
    await lock.release();
  });

  it('B39 parallel branches share the lock, and the last one to end releases it', async () => {
    const { service, names, published } = await startCore(AGAIN);
    const left = gate();
    let branch: Promise<unknown> | undefined;
    await service.run('key', () => {
      branch = service.run('key', () => left.promise);
      return 'the outer is done';
    });
    expect(names()).toEqual(['acquired']);
    expect((await service.admin.inspect('key')).state).toBe('held');
    left.open();
    await branch;
    expect(names()).toEqual(['acquired', 'released']);
    expect(published).toHaveLength(2);
    expect((await service.admin.inspect('key')).state).toBe('free');
  });

  it('B39 after the last run has ended, the rest of the call chain acquires the key anew', async () => {
    const { service, names } = await startCore(AGAIN);
    const later = gate();
    let late: Promise<unknown> | undefined;
    await service.run('key', () => {
      late = later.promise.then(() => service.run('key', () => {}));
    });
    later.open();
    await late;
    expect(names()).toEqual(['acquired', 'released', 'acquired', 'released']);
  });

  it('B39 a run does not re-enter a lost lock, but acquires the key anew', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    const lost = gate();
    const outer = watch(
      service.run('key', async () => {
        await lost.promise;
        return service.run('key', () => {}, AGAIN);
      }),
    );
    await settle();
    await store.server.forceRelease('key');
    await clock.advance(300);
    lost.open();
    await settle();
    expect(outer.error).toBeInstanceOf(LockLostError);
    expect(store.calls.filter(({ operation }) => operation === 'acquire')).toHaveLength(2);
  });

  it('B39 if a re-entrant run fails, the caller gets the error of its body, and the outer run keeps the lock', async () => {
    const { service } = await startCore(AGAIN);
    const result = await service.run('key', async (lock) => {
      const error = await errorOf(
        service.run('key', () => {
          throw new Error('inner');
        }),
      );
      return [error.message, lock.held];
    });
    expect(result).toEqual(['inner', true]);
    expect(await service.admin.inspect('key')).toMatchObject({ lastRun: { outcome: 'done' } });
  });

  it('B39 a run does not re-enter a run that began while locking was disabled', async () => {
    const { service, names } = await startCore({ ...AGAIN, enabled: false });
    const token = await service.run('key', async () => {
      await service.enable();
      return service.run('key', (lock) => lock.fencingToken);
    });
    expect(token).toBeGreaterThan(0);
    expect(names()).toEqual(['acquired', 'released']);
  });

  it('B39 acquire does not accept the option reentrant', async () => {
    const { service } = await startCore();
    const options = AGAIN as object;
    expect(await errorOf(service.acquire('key', options))).toMatchObject({
      name: 'LockError',
      message: expect.stringContaining('"reentrant"'),
    });
  });
});
