import { describe, expect, it } from '@jest/globals';
import { LockStoreError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore, warnings, watch } from './core-fixture.js';
import { settle } from './manual-clock.js';
import { linkBroken, serverRefused, type Fate } from './scripted-store.js';

const log = captureLog();

describe('an acquisition whose outcome is unknown', () => {
  it('B36 after a lost answer, the request is sent again with the same owner and gets the lock', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { lose: 'answer' });
    const acquiring = watch(service.acquire('key'));
    await clock.advance(50);
    const [first, second] = store.of('acquire');
    expect(first?.request).not.toHaveProperty('resend');
    expect(second?.request).toMatchObject({ resend: true });
    expect(second?.owner).toBe(first?.owner);
    expect(acquiring.value).toMatchObject({ held: true, owner: first?.owner });
    expect(await acquiring.value?.release()).toBe(true);
  });

  it('B31 if an acquisition is sent again, the lease counts from the request that was answered', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    store.next('acquire', { lose: 'answer' }, { before: 100, after: 100 });
    const acquiring = watch(service.acquire('key'));
    await clock.advance(250);
    expect(acquiring.value?.held).toBe(true);
    await clock.advance(1000 - 50 - 200 - 1);
    expect(acquiring.value?.held).toBe(true);
    await clock.advance(1);
    expect(acquiring.value?.held).toBe(false);
  });

  it('B36 after an unknown outcome, a call keeps its owner to its end, even after refusals', async () => {
    const { service, store, clock } = await startCore({ retry: 100 });
    const other = await store.takenBy('other', 'key', 600_000);
    store.next('acquire', { lose: 'request' }, {}, {}, {});
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(1000);
    await store.server.release('key', other);
    await clock.advance(100);
    expect(waiting.state).toBe('resolved');
    expect(new Set(store.of('acquire').map(({ owner }) => owner)).size).toBe(1);
    expect(store.of('acquire').map(({ request }) => (request as { resend?: boolean }).resend)).toEqual([
      undefined,
      ...Array(store.count('acquire') - 1).fill(true),
    ]);
  });

  it('B36 after an attempt with a known outcome, the next attempt has a new owner', async () => {
    const { service, store, clock } = await startCore({ retry: 100 });
    await store.takenBy('other', 'key', 600_000);
    const waiting = watch(service.tryAcquire('key', { wait: 500 }));
    await clock.advance(500);
    expect(waiting.value).toBeNull();
    expect(new Set(store.of('acquire').map(({ owner }) => owner)).size).toBe(6);
    expect(store.of('acquire').some(({ request }) => request && 'resend' in request)).toBe(false);
    expect(store.count('release')).toBe(0);
  });

  it('B48 if the answer to an acquisition is lost and the call fails, the granted lock is released', async () => {
    const { service, store, clock } = await startCore({ ttl: Infinity });
    store.next('acquire', { lose: 'answer' }, { fail: linkBroken }, { fail: linkBroken });
    const failing = errorOf(service.acquire('key'));
    await clock.advance(1000);
    expect(await failing).toBeInstanceOf(LockStoreError);
    expect(await store.held('key')).toBe(false);
    expect(store.of('release')[0]?.owner).toBe(store.of('acquire')[0]?.owner);
  });

  it('B48 if an acquisition is never answered, its lock is released, even if the server grants it late', async () => {
    for (const fate of [{ hang: 'answer' }, { before: 15_000 }, { before: 12_000, after: 12_000 }] as const) {
      const { service, store, clock } = await startCore({ ttl: Infinity });
      store.next('acquire', fate);
      const failing = errorOf(service.acquire('key'));
      await clock.advance(10_000);
      expect(await failing).toMatchObject({ transient: true });
      await clock.advance(50_000);
      expect(await store.held('key')).toBe(false);
      expect(clock.timers).toEqual([]);
    }
  });

  it('B48 if a second request is refused, the lock of the first is released, since the server may still grant it', async () => {
    const { service, store, clock } = await startCore({ ttl: Infinity });
    const other = await store.takenBy('other', 'key', 600_000);
    store.next('acquire', { before: 20_000 }, {});
    const waiting = watch(service.tryAcquire('key', { wait: 15_000, retry: 5000 }));
    await clock.advance(15_000);
    expect(waiting.value).toBeNull();
    await store.server.release('key', other);
    await clock.advance(5000);
    expect(await store.held('key')).toBe(false);
  });

  it('B48 if the store throws a driver error although it has granted the lock, the lock is released', async () => {
    const { service, store, clock } = await startCore({ ttl: Infinity });
    // Another key gets the first token, so the token of "key" is not the first.
    await store.server.acquire('other', 'x', 1);
    store.next('acquire', {
      arrived: () => void store.server.acquire('key', store.calls[0]?.owner ?? '', 600_000),
      fail: () => new Error('ECONNRESET'),
    });
    expect(await errorOf(service.acquire('key'))).toBeInstanceOf(LockStoreError);
    await clock.advance(0);
    expect(await store.held('key')).toBe(false);
  });

  it('B48 if the server refuses an acquisition with an error, no release is sent, since no lock exists', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { fail: serverRefused });
    await errorOf(service.acquire('key'));
    await clock.advance(0);
    expect(store.count('release')).toBe(0);
  });

  it('B36 a late answer to the first request does not release the lock that the second request got', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { after: 12_000 }, { after: 1 });
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(11_000);
    const lock = waiting.value;
    expect(lock?.held).toBe(true);
    await clock.advance(5000);
    expect(await store.held('key')).toBe(true);
    expect(store.count('release')).toBe(0);
    expect(lock?.held).toBe(true);
    expect(await lock?.release()).toBe(true);
  });

  it('B36 a late error of the first request does not release the lock that the second request got', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { after: 12_000, lose: 'answer' }, { after: 1 });
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(15_000);
    expect(waiting.value?.held).toBe(true);
    expect(store.count('release')).toBe(0);
  });

  it('B48 if the first request is carried out after the release, the lock it gets is released, too', async () => {
    for (const fate of [
      { before: 20_000 },
      { before: 20_000, after: 5 },
      { before: 20_000, after: 5, lose: 'answer' },
    ] as const) {
      const { service, store, clock } = await startCore({ ttl: Infinity });
      store.next('acquire', fate, {});
      const waiting = watch(service.acquire('key', { wait: Infinity }));
      await clock.advance(11_000);
      expect(await waiting.value?.release()).toBe(true);
      await clock.advance(15_000);
      expect(await store.held('key')).toBe(false);
      expect(store.count('release')).toBe(2);
    }
  });

  it.each<[string, Fate]>([
    ['comes', { after: 12_000 }],
    ['gets lost', { after: 12_000, lose: 'answer' }],
  ])(
    'B47 a first answer that %s while the holder releases the lock sends no second release',
    async (_, fate) => {
      const { service, store, clock, names } = await startCore({ minHold: 60_000 });
      store.next('acquire', fate, {});
      const waiting = watch(service.acquire('key', { wait: Infinity }));
      await clock.advance(11_900);
      store.next('release', { before: 200 });
      const releasing = watch(waiting.value?.release() as Promise<boolean>);
      await clock.advance(1000);
      expect(releasing.value).toBe(true);
      expect(waiting.value?.loss).toBeUndefined();
      expect(names()).toEqual(['storeError', 'acquired', 'released']);
      // The key stays locked for the rest of minHold.
      expect(await store.held('key')).toBe(true);
    },
  );

  it.each([true, false])(
    'B50 a first request carried out after an extension lets no other caller get the held lock (renewal: %p)',
    async (autoRenew) => {
      const one = await startCore({ ttl: 900, retry: 10 });
      const { service, store, clock } = one;
      const two = await startCore({ retry: 10 }, one);
      store.next('acquire', { hang: 'request' }, { before: 3000, hang: 'answer' }, {});
      const options = { wait: 5000, autoRenew } as { wait: number };
      const waiting = watch(service.acquire('key', options));
      await clock.advance(1000);
      await waiting.value?.extend(60_000);
      const other = watch(two.service.acquire('key', { wait: 10_000 }));
      for (let time = 0; time < 10_000; time += 10) {
        await clock.advance(10);
        expect(waiting.value?.held && other.value?.held).not.toBe(true);
      }
      expect(waiting.value?.held).toBe(autoRenew);
    },
  );

  it('B36 an acquisition that the network delivers twice works like a single one', async () => {
    const { service, store, clock } = await startCore();
    store.next('acquire', { twiceAfter: 10 });
    const lock = await service.acquire('key');
    await clock.advance(20);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  it('B31 a lock whose grant arrives after its lease is released, and the error advises a longer ttl', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    store.next('acquire', { after: 100 });
    const failing = errorOf(service.acquire('key'));
    // The process is frozen past its deadline, although the lease in the store has 20 ms left.
    clock.freeze(880);
    await clock.advance(0);
    expect((await failing).message).toMatch(
      /its lease of 900 ms had ended before the answer came.*Raise the ttl/,
    );
    expect(await failing).toMatchObject({ name: 'LockStoreError', transient: true });
    expect(await store.held('key')).toBe(false);
  });

  it('B31 if a grant arrives too late, a call with a wait tries again with a new owner and gets the lock', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    store.next('acquire', { after: 100 });
    const waiting = watch(service.acquire('key', { wait: 10_000 }));
    await clock.advance(10);
    clock.freeze(880);
    await clock.advance(1000);
    expect(waiting.value?.held).toBe(true);
    expect(new Set(store.of('acquire').map(({ owner }) => owner)).size).toBe(2);
    await clock.advance(10_000);
    expect(waiting.value?.held).toBe(true);
    expect(await waiting.value?.release()).toBe(true);
  });

  it('B48 a late grant to the first owner of a call is released while the call goes on with a new owner', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    store.next('acquire', { before: 3000 }, { after: 100 });
    store.next('release', { lose: 'request' });
    const waiting = watch(service.acquire('key', { wait: 60_000, retry: 1700 }));
    // The first request has failed at its limit, and a second one with the same owner is under
    // way.
    await clock.advance(2010);
    // The process reads the answer to the second request only after the deadline.
    clock.freeze(880);
    await clock.advance(109);
    expect(store.count('release')).toBe(1);
    // The first request reaches the server now, and must not keep the key from other callers.
    await clock.advance(1);
    expect(waiting.value).toMatchObject({ held: true, owner: store.of('acquire')[2]?.owner });
    expect(new Set(store.of('acquire').map(({ owner }) => owner)).size).toBe(2);
  });
});

describe('a release whose outcome is unknown', () => {
  it('B43 a release is sent again if its outcome is unknown', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key');
    store.next('release', { lose: 'request' });
    const releasing = watch(lock.release());
    expect(lock.held).toBe(false);
    await clock.advance(50);
    expect(releasing).toEqual({ state: 'resolved', value: true });
    expect(store.count('release')).toBe(2);
    expect(await store.held('key')).toBe(false);
    expect(clock.timers).toEqual([]);
  });

  it('B43 if a repeated release finds no lock, no loss is reported, since the first release ended it', async () => {
    const { service, store, clock, names } = await startCore();
    const lock = await service.acquire('key');
    store.next('release', { lose: 'answer' });
    const releasing = watch(lock.release());
    await clock.advance(50);
    expect(releasing).toEqual({ state: 'resolved', value: true });
    expect(lock.loss).toBeUndefined();
    expect(names()).toEqual(['acquired', 'released']);
    expect(warnings(log)).toEqual([]);
  });

  it('B43 if a repeated release finds no lock after the lease expired, a loss is reported', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 900, autoRenew: false });
    const lock = await service.acquire('key');
    clock.freeze(1000);
    store.next('release', { lose: 'request' });
    const releasing = watch(lock.release());
    await clock.advance(50);
    expect(releasing).toEqual({ state: 'resolved', value: false });
    expect(lock.loss?.message).toMatch(/when it was released/);
    expect(names()).toEqual(['acquired', 'lost']);
  });

  it('B43 a release is sent three times at most', async () => {
    const { service, store, clock, of } = await startCore();
    const lock = await service.acquire('key');
    store.always({ fail: linkBroken }, 'release');
    const releasing = watch(lock.release());
    await clock.advance(10_000);
    expect(releasing).toMatchObject({ state: 'rejected', error: { name: 'LockStoreError' } });
    expect(store.count('release')).toBe(3);
    expect(of('storeError')).toMatchObject([{ key: 'key', operation: 'release' }]);
    expect(clock.timers).toEqual([]);
  });

  it('B47 a release without an answer ends after the time limit of one attempt', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    const lock = await service.acquire('key');
    store.next('release', { hang: 'request' });
    const releasing = watch(lock.release());
    await clock.advance(299);
    expect(releasing.state).toBe('pending');
    await clock.advance(1);
    expect(releasing).toMatchObject({ state: 'rejected', error: { transient: true } });
    expect(clock.timers).toEqual([]);
  });

  it('B44 a release that is delivered late does not end the lock of the next holder', async () => {
    const { service, store, clock } = await startCore({ ttl: 900, autoRenew: false });
    const lock = await service.acquire('key');
    store.next('release', { before: 2000 });
    void lock.release().catch(() => {});
    await clock.advance(1000);
    const next = await service.acquire('key', { ttl: 60_000 });
    await clock.advance(2000);
    expect(await next.release()).toBe(true);
  });

  it('B27 a request is not sent again after the time limit of its attempt', async () => {
    const { service, store, clock } = await startCore({ ttl: 300 });
    store.next('acquire', { fail: linkBroken });
    const acquiring = watch(service.acquire('key'));
    await settle();
    // The pause before the second request takes longer than the time limit of the whole
    // attempt.
    clock.freeze(500);
    await clock.advance(1);
    expect(acquiring.error).toMatchObject({ message: 'The link broke.' });
    expect(store.count('acquire')).toBe(1);
  });
});
