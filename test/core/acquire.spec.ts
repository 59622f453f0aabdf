import { describe, expect, it } from '@jest/globals';
import { hostname } from 'node:os';
import { LockContext } from '../../lib/lock-context.js';
import { Lock } from '../../lib/lock.js';
import { LockError, LockNotAcquiredError, LockStoreError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore } from './core-fixture.js';
import { linkBroken, serverRefused } from './scripted-store.js';

captureLog();

const CONTENDED = { answer: { acquired: false, reason: 'contention' } };

describe('acquire, tryAcquire, run and tryRun', () => {
  it('B15 a free lock is taken in one request', async () => {
    const { service, store } = await startCore();
    const lock = await service.acquire('key');
    expect(lock).toBeInstanceOf(Lock);
    expect(lock).toMatchObject({ key: 'key', held: true, loss: undefined });
    expect(lock.owner).toMatch(/^[0-9a-f-]{36}$/);
    expect(lock.fencingToken).toBeGreaterThan(0);
    expect(store.calls).toMatchObject([{ operation: 'acquire', key: 'key', owner: lock.owner, ttl: 30_000 }]);
    expect((await service.tryAcquire('other'))?.held).toBe(true);
  });

  it('B14 for a busy lock, acquire throws and tryAcquire gives null', async () => {
    const { service, store } = await startCore();
    await store.takenBy('other', 'key');
    await expect(service.acquire('key')).rejects.toBeInstanceOf(LockNotAcquiredError);
    await expect(service.tryAcquire('key')).resolves.toBeNull();
  });

  it('B14 for a busy lock, run throws, tryRun returns the error, and neither runs the body', async () => {
    const { service, store } = await startCore();
    await store.takenBy('other', 'key');
    const body = (): never => {
      throw new Error('it ran');
    };
    await expect(service.run('key', body)).rejects.toBeInstanceOf(LockNotAcquiredError);
    const result = await service.tryRun('key', body);
    expect(result).toMatchObject({ acquired: false, error: { key: 'key', holder: { label: 'other' } } });
  });

  it('B59 run holds the lock during the body, releases it afterwards and returns the value of the body', async () => {
    const { service, store } = await startCore();
    const body = async (lock: Lock): Promise<string> => {
      expect(lock.held).toBe(true);
      expect(LockContext.current()).toBe(lock);
      expect(await store.held('key')).toBe(true);
      return 'done';
    };
    await expect(service.run('key', body)).resolves.toBe('done');
    expect(await store.held('key')).toBe(false);
    await expect(service.tryRun('key', body)).resolves.toEqual({ acquired: true, value: 'done' });
    expect(await store.held('key')).toBe(false);
  });

  it('B16 a call with wait: 0 sends one request, even if the store refuses it', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('other', 'key');
    await service.tryAcquire('key', { wait: 0 });
    await clock.advance(60_000);
    expect(store.count('acquire')).toBe(1);
    expect(clock.timers).toEqual([]);
  });

  it('B22 the error names the key, the time waited, the holder, and since and until when the lock is held', async () => {
    const { service, store, clock } = await startCore();
    await store.takenBy('api-7:4242', 'nightly', 60_000);
    const waiting = errorOf(service.acquire('nightly', { wait: 5000 }));
    await clock.advance(5000);
    const error = (await waiting) as LockNotAcquiredError;
    expect(error).toMatchObject({ name: 'LockNotAcquiredError', key: 'nightly', waited: 5000 });
    expect(error.holder).toMatchObject({ label: 'api-7:4242', remaining: 55_000 });
    expect(error.message).toBe(
      'Lock "nightly" was not acquired within 5000 ms: held by api-7:4242 since 2026-11-20T00:00:10.000Z, ' +
        `until 2026-11-20T00:01:10.000Z (token ${error.holder?.fencingToken}).`,
    );
  });

  it('B22 the error says so if the holder is unknown or has no label, or if its lock never expires', async () => {
    const { service, store } = await startCore();
    store.next('acquire', CONTENDED, CONTENDED, CONTENDED, CONTENDED);
    expect((await errorOf(service.acquire('key'))).message).toMatch(/within 0 ms: it is contended/);
    await store.server.acquire('key', 'somebody', Number.MAX_SAFE_INTEGER);
    expect((await errorOf(service.acquire('key'))).message).toMatch(
      /held by an unnamed worker since .*, until it is released \(it never expires\)/,
    );
  });

  it('B24 locks on different keys do not affect each other', async () => {
    const { service } = await startCore();
    const locks = await Promise.all(['a', 'A', 'a ', 'á', 'b'].map((key) => service.acquire(key)));
    expect(locks.map(({ held }) => held)).toEqual([true, true, true, true, true]);
    await locks[0]?.release();
    expect(locks.map(({ held }) => held)).toEqual([false, true, true, true, true]);
  });

  it('B26 an acquisition that collides with another request is repeated at once, up to three times, with new owners', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', CONTENDED, CONTENDED, CONTENDED);
    expect((await service.acquire('key')).held).toBe(true);
    expect(store.count('acquire')).toBe(4);
    expect(new Set(store.of('acquire').map(({ owner }) => owner)).size).toBe(4);
    expect(store.of('acquire').map(({ at }) => at)).toEqual(Array(4).fill(clock.now()));
  });

  it('B26 after four collisions with other requests the key counts as busy, and no store error is thrown', async () => {
    const { service, store } = await startCore();
    store.next('acquire', CONTENDED, CONTENDED, CONTENDED, CONTENDED);
    expect(await service.tryAcquire('key')).toBeNull();
    expect(store.count('acquire')).toBe(4);
  });

  it('B27 if the store fails, the caller gets a LockStoreError with the cause, and no body runs', async () => {
    const { service, store, of } = await startCore();
    const raw = new Error('disk full');
    let ran = false;
    const body = (): void => void (ran = true);
    store.always({ fail: () => raw }, 'acquire');
    for (const attempt of [
      () => service.acquire('key'),
      () => service.tryAcquire('key'),
      () => service.run('key', body),
      () => service.tryRun('key', body),
    ]) {
      const error = (await errorOf(attempt())) as LockStoreError;
      expect(error).toBeInstanceOf(LockStoreError);
      expect(error).toMatchObject({ cause: raw, transient: false });
      expect(error.message).toBe('The lock store failed at the acquisition of "key". See the cause.');
    }
    expect(ran).toBe(false);
    expect(of('storeError')).toHaveLength(4);
    expect(of('storeError')[0]).toMatchObject({ key: 'key', operation: 'acquire', error: { cause: raw } });
  });

  it('B27 if the store throws an error of the library, the caller gets exactly this error', async () => {
    const { service, store } = await startCore();
    const refused = serverRefused();
    store.next('acquire', { fail: () => refused });
    expect(await errorOf(service.acquire('key'))).toBe(refused);
    expect(store.count('acquire')).toBe(1);
  });

  it('B27 if the store never answers, acquire fails after a third of the ttl, at most after 10 s', async () => {
    for (const [ttl, patience] of [
      [900, 300],
      [60_000, 10_000],
      [Infinity, 10_000],
    ] as const) {
      const { service, store, clock } = await startCore({ ttl });
      store.always({ hang: 'request' });
      const started = clock.now();
      let ended = 0;
      const failing = errorOf(service.acquire('key').finally(() => (ended = clock.now())));
      await clock.advance(60_000);
      expect(await failing).toMatchObject({ name: 'LockStoreError', transient: true });
      expect((await failing).message).toContain(
        `did not answer the acquisition of "key" within ${patience} ms`,
      );
      expect(ended - started).toBe(patience);
      expect(clock.timers).toEqual([]);
    }
  });

  it('B75 if the link to the store stays broken, acquire fails after three requests', async () => {
    const { service, store, clock } = await startCore();
    store.always({ fail: linkBroken });
    const failing = errorOf(service.acquire('key'));
    await clock.advance(1000);
    expect(await failing).toMatchObject({ name: 'LockStoreError', transient: true });
    expect(store.of('acquire').map(({ at }) => at - 10_000)).toEqual([0, 50, 150]);
  });

  it('B27 if the store throws a value that is no Error, the caller gets a LockStoreError with it as the cause', async () => {
    const { service, store } = await startCore();
    store.next('acquire', { fail: () => 'a string' as never });
    expect(await errorOf(service.acquire('key'))).toMatchObject({
      name: 'LockStoreError',
      cause: 'a string',
    });
  });

  it('B27 if the store answers undefined to an acquisition, the caller gets a LockStoreError', async () => {
    const { service, store } = await startCore();
    store.acquire = async () => undefined as never;
    expect(await errorOf(service.acquire('key'))).toMatchObject({
      name: 'LockStoreError',
      cause: expect.objectContaining({ name: 'TypeError' }),
    });
  });
});

describe('the owner of a lock', () => {
  it('B36 the label is hostname:pid by default, and each acquisition has a random owner', async () => {
    const { service, store } = await startCore();
    const first = await service.acquire('a');
    const second = await service.acquire('b', { label: 'worker 7' });
    expect(first.owner).not.toBe(second.owner);
    expect(store.of('acquire').map(({ request }) => request)).toEqual([
      { label: `${hostname()}:${process.pid}` },
      { label: 'worker 7' },
    ]);
    expect(await service.admin.inspect('b')).toMatchObject({ state: 'held', holder: { label: 'worker 7' } });
  });

  it('B36 the label of the module is the default label of its locks', async () => {
    const { service, store } = await startCore({ label: 'billing' });
    await service.acquire('a');
    expect(store.of('acquire')[0]?.request).toEqual({ label: 'billing' });
  });

  it("B37 two workers with the same label exclude each other and cannot release each other's lock", async () => {
    const one = await startCore({ label: 'worker' });
    const two = await startCore({ label: 'worker' }, one);
    const lock = await one.service.acquire('key');
    expect(await two.service.tryAcquire('key')).toBeNull();
    expect(await one.store.server.release('key', 'worker')).toBe(false);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  it('B38 the fencing tokens of a key grow, even after releases and losses', async () => {
    const { service, clock } = await startCore();
    const tokens: number[] = [];
    for (let round = 0; round < 5; round++) {
      const lock = await service.acquire('key', { ttl: 1000, autoRenew: false });
      tokens.push(lock.fencingToken);
      if (round % 2) await lock.release();
      else await clock.advance(1000);
    }
    expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b));
    expect(tokens).toHaveLength(5);
  });

  it('B39 a held key is refused, even to a call inside the run that holds it', async () => {
    const { service, store } = await startCore();
    await service.run('key', async (lock) => {
      expect(await service.tryAcquire('key')).toBeNull();
      expect(await service.tryRun('key', () => 'inner')).toMatchObject({ acquired: false });
      await expect(service.run('key', () => 'inner')).rejects.toBeInstanceOf(LockNotAcquiredError);
      expect(lock.held).toBe(true);
      expect(await store.held('key')).toBe(true);
    });
  });

  it('B24 a run may contain runs of other keys, and LockContext finds the lock of each key', async () => {
    const { service } = await startCore();
    await service.run('outer', (outer) =>
      service.run('inner', (inner) => {
        expect(LockContext.current()).toBe(inner);
        expect(LockContext.current('outer')).toBe(outer);
        expect(LockContext.current('none')).toBeUndefined();
      }),
    );
    expect(LockContext.current()).toBeUndefined();
  });

  it('B40 if many calls of one process want a key at once, only one of them runs', async () => {
    const { service } = await startCore();
    let running = 0;
    let most = 0;
    const body = async (): Promise<void> => {
      most = Math.max(most, ++running);
      await new Promise((resolve) => setImmediate(resolve));
      running--;
    };
    const results = await Promise.all(Array.from({ length: 50 }, () => service.tryRun('key', body)));
    expect(results.filter(({ acquired }) => acquired)).toHaveLength(1);
    expect(most).toBe(1);
  });

  it('B42 the prefix separates applications and appears in no key that people see', async () => {
    const one = await startCore({ prefix: 'shop' });
    const two = await startCore({ prefix: 'blog' }, one);
    const lock = await one.service.acquire('key');
    expect(lock.key).toBe('key');
    expect(await two.service.tryAcquire('key')).not.toBeNull();
    expect(one.store.of('acquire').map(({ key }) => key)).toEqual(['shop:key', 'blog:key']);
    expect(await one.service.admin.inspect('key')).toMatchObject({
      state: 'held',
      key: 'key',
      holder: { key: 'key' },
    });
    expect((await one.service.admin.list()).locks.map(({ key }) => key)).toEqual(['key']);
    expect(await lock.release()).toBe(true);
    expect(one.store.of('release')[0]?.key).toBe('shop:key');
    expect(await two.service.admin.isLocked('key')).toBe(true);
    expect((await errorOf(two.service.acquire('key'))).message).toContain('Lock "key" was not acquired');
    expect(await errorOf(two.service.acquire('key'))).toMatchObject({ holder: { key: 'key' } });
  });

  it('B42 renewals and forced releases send the key with its prefix', async () => {
    const { service, store, clock } = await startCore({ prefix: 'shop', ttl: 900 });
    const lock = await service.acquire('key');
    await clock.advance(300);
    await lock.extend();
    expect(store.of('renewMany')[0]?.renewals).toMatchObject([{ key: 'shop:key' }]);
    expect(store.of('renew')[0]?.key).toBe('shop:key');
    expect(await service.admin.forceRelease('key', { reason: 'test' })).toBe(true);
    expect(await store.held('shop:key')).toBe(false);
  });
});

describe('keys', () => {
  it.each([
    ['undefined', undefined],
    ['null', null],
    ['a number', 0],
    ['an array', ['a']],
    ['an object', { key: 'a' }],
    ['an empty string', ''],
    ['a NUL character', 'a\0b'],
    ['half a character', '\ud800'],
    ['more than 4 KiB', 'x'.repeat(4097)],
  ])('B41 %s is refused before any request', async (_, key) => {
    const { service, store } = await startCore();
    const given = key as string;
    for (const call of [
      () => service.acquire(given),
      () => service.tryAcquire(given),
      () => service.run(given, () => {}),
      () => service.tryRun(given, () => {}),
      () => service.admin.inspect(given),
      () => service.admin.isLocked(given),
      () => service.admin.forceRelease(given, { reason: 'test' }),
    ]) {
      expect((await errorOf(call())).constructor).toBe(LockError);
    }
    expect(store.calls).toEqual([]);
  });
});
