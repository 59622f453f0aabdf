import { describe, expect, it } from '@jest/globals';
import { LockError, LockNotAcquiredError } from '../../lib/lock.errors.js';
import { errorOf, gate, startCore, watch } from './core-fixture.js';
import { settle } from './manual-clock.js';

describe('a call inside a run that holds the same key', () => {
  it.each(['acquire', 'tryAcquire', 'run', 'tryRun'] as const)(
    'E12 a nested %s that would wait for its own call chain fails at once, and the error names reentrant',
    async (method) => {
      const { service, store } = await startCore();
      for (const wait of [1, '10s', Infinity] as const) {
        const error = await service.run('key', () =>
          errorOf(
            method === 'acquire' || method === 'tryAcquire'
              ? service[method]('key', { wait })
              : service[method]('key', () => 'inner', { wait }),
          ),
        );
        expect(error).toBeInstanceOf(LockError);
        // With a LockNotAcquiredError, onBusy: 'skip' would hide this mistake in the
        // application.
        expect(error).not.toBeInstanceOf(LockNotAcquiredError);
        expect(error.message).toMatch(
          /"key" would not end: this call chain holds it already.*reentrant: true/,
        );
      }
      expect(store.count('acquire')).toBe(3);
    },
  );

  it('E12 a nested call without a wait is refused, and the error names the call chain', async () => {
    const { service, of } = await startCore();
    await service.run('key', async (outer) => {
      for (const error of [
        await errorOf(service.acquire('key')),
        await errorOf(service.run('key', () => 'inner')),
        await service.tryRun('key', () => 'inner').then((result) => !result.acquired && result.error),
      ]) {
        expect(error).toBeInstanceOf(LockNotAcquiredError);
        expect(error).toMatchObject({ nested: true, reason: 'held', holder: { key: 'key' } });
        expect(error).toMatchObject({ holder: { fencingToken: outer.fencingToken } });
        expect(error && error.message).toMatch(/this call chain holds it already\..*reentrant: true/);
      }
      expect(await service.tryAcquire('key')).toBeNull();
    });
    expect(of('busy')).toHaveLength(4);
  });

  it('B89 a nested call also fails at once below a run of another key and in parallel branches', async () => {
    const { service } = await startCore();
    const inner = () => errorOf(service.run('a', () => {}, { wait: Infinity }));
    const errors = await service.run('a', () => service.run('b', () => Promise.all([inner(), inner()])));
    for (const error of errors) expect(error.message).toContain('reentrant: true');
  });

  it('B89 a nested call for a paused key is refused as paused', async () => {
    const { service } = await startCore();
    const error = await service.run('key', async () => {
      await service.admin.pause('key');
      return errorOf(service.acquire('key'));
    });
    expect(error).toMatchObject({ reason: 'paused', nested: false });
  });

  it('B89 a call of another chain waits for the same key as usual', async () => {
    const { service } = await startCore();
    const end = gate();
    const first = service.run('key', () => end.promise);
    await settle();
    const second = watch(service.run('key', () => 'second', { wait: Infinity }));
    await settle();
    end.open();
    await first;
    await settle();
    expect(second.value).toBe('second');
  });

  it('B89 a nested call may wait for the same key of a service with another prefix', async () => {
    const one = await startCore({ prefix: 'one' });
    const other = await startCore({ prefix: 'other' }, { clock: one.clock, store: one.store });
    expect(
      await one.service.run('key', () => other.service.run('key', () => 'inner', { wait: Infinity })),
    ).toBe('inner');
  });

  it('B89 a call that begins in a run but calls after its end waits for the key as usual', async () => {
    const { service } = await startCore();
    const later = gate();
    let late: Promise<unknown> | undefined;
    await service.run('key', () => {
      late = later.promise.then(() => service.run('key', () => 'late', { wait: Infinity }));
    });
    const elsewhere = await service.acquire('key');
    later.open();
    const waiting = watch(late ?? Promise.reject(new Error('not begun')));
    await settle();
    expect(waiting.state).toBe('pending');
    await elsewhere.release();
    await settle();
    expect(waiting.value).toBe('late');
  });

  it('B89 a nested call takes the key after its run has released or lost the lock', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    const inner = () => service.run('key', () => 'inner', { wait: '1m' });
    expect(await service.run('key', async (lock) => (await lock.release(), inner()))).toBe('inner');
    const outer = watch(
      service.run('key', async (lock) => {
        await store.server.forceRelease('key');
        await clock.advance(300);
        expect(lock.held).toBe(false);
        return inner();
      }),
    );
    await clock.advance(1_000);
    expect(outer.error).toMatchObject({ name: 'LockLostError' });
    expect(store.count('acquire')).toBe(4);
  });

  it('B89 a call waits for a lock that was acquired without run, since it may be released any time', async () => {
    const { service } = await startCore();
    const lock = await service.acquire('key');
    const waiting = watch(service.run('key', () => 'inner', { wait: Infinity }));
    await settle();
    await lock.release();
    await settle();
    expect(waiting.value).toBe('inner');
  });

  it('B89 nested runs of one key work while locking is disabled', async () => {
    const { service } = await startCore({ enabled: false });
    expect(await service.run('key', () => service.run('key', () => 'inner', { wait: Infinity }))).toBe(
      'inner',
    );
  });

  it('B89 a nested run works if locking was enabled during the outer run', async () => {
    const { service } = await startCore({ enabled: false });
    const result = service.run('key', async () => {
      await service.enable();
      return service.run('key', () => 'inner', { wait: Infinity });
    });
    expect(await result).toBe('inner');
  });
});
