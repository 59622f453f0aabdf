import { describe, expect, it } from '@jest/globals';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { LockLostError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, startCore, warnings, watch } from './core-fixture.js';
import { ManualClock, settle } from './manual-clock.js';
import { linkBroken, ScriptedStore, serverRefused, type Fate } from './scripted-store.js';

const log = captureLog();

const START = 10_000;

function withoutBatches(store: ScriptedStore): LockStore {
  return {
    acquire: store.acquire.bind(store),
    renew: store.renew.bind(store),
    release: store.release.bind(store),
  };
}

describe('renewal', () => {
  it('B52 renewal is on by default, every third of the ttl', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
    expect(store.of('renewMany').map(({ at }) => at - START)).toEqual(
      Array.from({ length: 60 }, (_, i) => (i + 1) * 1000),
    );
    expect(store.of('renewMany')[0]?.renewals).toEqual([{ key: 'key', owner: lock.owner, ttl: 3000 }]);
    expect(lock.expiresAt?.getTime()).toBe(clock.date() + 3000);
  });

  it('B52 renewEvery sets the interval of renewals', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000, renewEvery: '500ms' });
    await service.acquire('key');
    await clock.advance(2000);
    expect(store.of('renewMany').map(({ at }) => at - START)).toEqual([500, 1000, 1500, 2000]);
  });

  it('B51 the next renewal is due an interval after the last was sent, so slow answers do not shorten the lease', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    store.always({ before: 100, after: 100 }, 'renewMany');
    const lock = await service.acquire('key');
    await clock.advance(60_000);
    expect(lock.held).toBe(true);
    expect(
      store
        .of('renewMany')
        .slice(0, 3)
        .map(({ at }) => at - START),
    ).toEqual([300, 600, 900]);
  });

  it('B52 a lock is renewed once if a loss callback extends it at the same moment', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    const other = await service.acquire('other', { ttl: 1000, autoRenew: false });
    other.signal.addEventListener('abort', () => void lock.extend('10s'));
    // The lock "other" is lost now, and the renewal of "key" is nearly due.
    await clock.advance(950);
    expect(other.held).toBe(false);
    expect([store.count('renew'), store.count('renewMany')]).toEqual([1, 0]);
  });

  it('B52 no timer is left if a loss callback releases the last lock', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key');
    const other = await service.acquire('other', { ttl: 1000, autoRenew: false });
    other.signal.addEventListener('abort', () => void lock.release());
    await clock.advance(950);
    expect([other.held, lock.held]).toEqual([false, false]);
    expect(clock.timers).toEqual([]);
  });

  it('B52 with autoRenew: false, the lock ends after its ttl', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000 });
    const lock = await service.acquire('key', { autoRenew: false });
    await clock.advance(949);
    expect(lock.held).toBe(true);
    await clock.advance(1);
    expect(lock.held).toBe(false);
    expect(lock.loss?.message).toMatch(/ran out/);
    expect(store.count('renewMany')).toBe(0);
  });

  it.each([
    [100, 67],
    [150, 100],
    [600, 550],
    [1000, 950],
    [30_000, 28_500],
  ])(
    'B34 a lease of %d ms counts as held for %d ms: 5 %% less, but at least 50 ms and at most a third less',
    async (ttl, deadline) => {
      const { service, clock } = await startCore({ autoRenew: false });
      const lock = await service.acquire('key', { ttl });
      await clock.advance(deadline - 1);
      expect(lock.held).toBe(true);
      await clock.advance(1);
      expect(lock.held).toBe(false);
    },
  );

  it('B31 the deadline of a new lock counts from before the request', async () => {
    const { service, store, clock } = await startCore({ ttl: 1000, autoRenew: false });
    store.next('acquire', { before: 150, after: 150 });
    const acquiring = watch(service.acquire('key'));
    await clock.advance(949);
    expect(acquiring.value?.held).toBe(true);
    await clock.advance(1);
    expect(acquiring.value?.held).toBe(false);
    // The holder stops before the store would give the key to another caller.
    expect(await store.held('key')).toBe(true);
  });

  it('B52 a store without batches gets one request for each lock', async () => {
    const clock = new ManualClock();
    const scripted = new ScriptedStore(clock);
    const { service } = await startCore({ ttl: 900 }, { clock, openStore: () => withoutBatches(scripted) });
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    await clock.advance(300);
    expect(scripted.of('renew')).toMatchObject([
      { key: 'a', owner: locks[0]?.owner, ttl: 900 },
      { key: 'b' },
      { key: 'c' },
    ]);
    await clock.advance(10_000);
    expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
    expect(scripted.count('renewMany')).toBe(0);
  });
});

describe('batches of renewals', () => {
  it('B52 locks that are due at about the same time share a request', async () => {
    const { service, store, clock } = await startCore({ ttl: 30_000 });
    for (const key of ['a', 'b', 'c', 'd']) {
      await service.acquire(key);
      await clock.advance(key === 'c' ? 1000 : 100);
    }
    await clock.advance(10_000);
    const batches = store.of('renewMany').map(({ renewals }) => renewals?.map(({ key }) => key).join(''));
    expect(batches).toEqual(['abc', 'd']);
  });

  it('B52 locks with a short ttl are renewed at most a little before they are due', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    await service.acquire('a');
    await clock.advance(20);
    await service.acquire('b');
    await clock.advance(80);
    await service.acquire('c');
    await clock.advance(200);
    expect(store.of('renewMany').map(({ renewals }) => renewals?.map(({ key }) => key).join(''))).toEqual([
      'ab',
    ]);
  });

  it('B52 a batch waits for its answer no longer than its shortest ttl allows', async () => {
    const { service, store, clock, of } = await startCore();
    await service.acquire('long', { ttl: 30_000, renewEvery: 1_000 });
    await service.acquire('short', { ttl: 3_000 });
    store.next('renewMany', { hang: 'request' });
    await clock.advance(1_999);
    expect(of('renewFailed')).toEqual([]);
    await clock.advance(1);
    expect(of('renewFailed').map(({ key, error }) => [key, error.message])).toEqual(
      ['long', 'short'].map((key) => [
        key,
        expect.stringContaining('did not answer the renewal of "2 leases" within 1000 ms'),
      ]),
    );
  });

  it('B52 a batch has at most 500 locks', async () => {
    const { service, store, clock } = await startCore();
    const locks = await Promise.all(Array.from({ length: 1201 }, (_, i) => service.acquire(`key ${i}`)));
    await clock.advance(10_000);
    expect(store.of('renewMany').map(({ renewals }) => renewals?.length)).toEqual([500, 500, 201]);
    const owners = store.of('renewMany').flatMap(({ renewals }) => renewals?.map(({ owner }) => owner));
    expect(new Set(owners)).toEqual(new Set(locks.map(({ owner }) => owner)));
    await clock.advance(20_000);
    expect(store.count('renewMany')).toBe(9);
  });

  it('B55 one lost lock of a batch does not affect the others', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 900 });
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    await store.server.forceRelease('b');
    await clock.advance(300);
    expect([a?.held, b?.held, c?.held]).toEqual([true, false, true]);
    expect(b?.loss?.message).toMatch(/the store says that the lease ran out or was taken away/);
    expect(of('lost')).toMatchObject([{ key: 'b' }]);
    await clock.advance(300);
    expect(store.of('renewMany')[1]?.renewals).toMatchObject([{ key: 'a' }, { key: 'c' }]);
  });

  it('B51 a lock whose renewal has an unknown outcome is soon renewed alone, then in batches again', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    store.next('renewMany', { answer: ['renewed', 'unknown', 'renewed'] });
    await clock.advance(3000);
    await clock.advance(1500);
    expect(store.of('renew')).toMatchObject([{ key: 'b', ttl: 9000 }]);
    expect(store.of('renew')[0]?.at).toBeGreaterThanOrEqual(START + 3015);
    expect(of('renewFailed')).toEqual([]);
    await clock.advance(3000);
    expect(store.count('renew')).toBe(1);
    const sizes = store.of('renewMany').map(({ renewals }) => renewals?.length);
    expect(sizes.reduce((sum = 0, size = 0) => sum + size, 0)).toBe(6);
    expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
  });

  it('B51 if the answer to a batch is missing or too short, the locks without an outcome are retried and none is lost', async () => {
    for (const answer of [['renewed'], [], undefined, null]) {
      const { service, store, clock } = await startCore({ ttl: 9000 });
      const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
      store.next('renewMany', { answer });
      await clock.advance(20_000);
      expect(locks.map(({ held }) => held)).toEqual([true, true, true]);
      expect(store.count('renew')).toBe(answer?.length === 1 ? 2 : 3);
    }
  });

  it('B51 after a batch has failed, each of its locks is retried alone', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => service.acquire(key)));
    store.next('renewMany', { fail: serverRefused });
    store.fate = ({ operation, key }) =>
      operation === 'renew' && key === 'b' ? { fail: serverRefused } : undefined;
    await clock.advance(9000);
    expect(locks.map(({ held }) => held)).toEqual([true, false, true]);
    expect(of('lost')).toMatchObject([{ key: 'b' }]);
    expect(
      of('renewFailed')
        .slice(0, 3)
        .map(({ key }) => key),
    ).toEqual(['a', 'b', 'c']);
  });

  it('B52 locks with different ttls share one timer, and each is renewed in time', async () => {
    const { service, clock } = await startCore();
    const ttls = [100, 250, 900, 5000, 30_000, Infinity];
    const locks = await Promise.all(ttls.map((ttl) => service.acquire(`ttl ${ttl}`, { ttl })));
    for (let i = 0; i < 1000; i++) {
      await clock.advance(37);
      expect(clock.timers).toHaveLength(1);
      expect(locks.every(({ held }) => held)).toBe(true);
    }
  });
});

describe('renewal in outages', () => {
  it.each([
    ['the link is broken', 8000, { fail: linkBroken }],
    ['the server refuses', 8000, { fail: serverRefused }],
    ['a raw error', 8000, { fail: () => new Error('disk full') }],
    ['nothing is answered', 5000, { hang: 'request' }],
  ] as const)(
    'B52 a lock survives an outage that is shorter than its lease: %s',
    async (_, duration, fate) => {
      const { service, store, clock, of } = await startCore({ ttl: 9000 });
      const lock = await service.acquire('key');
      await clock.advance(3500);
      store.always(fate);
      await clock.advance(duration);
      store.heal();
      expect(lock.held).toBe(true);
      await clock.advance(60_000);
      expect(lock.held).toBe(true);
      expect(of('lost')).toEqual([]);
      expect(of('renewFailed').length).toBeGreaterThan(0);
      expect(of('renewFailed')[0]).toMatchObject({ key: 'key', error: { name: 'LockStoreError' } });
      expect(warnings(log)[0]).toMatch(/^Lock "key" could not be renewed; the renewal is tried again: /);
      expect(await lock.release()).toBe(true);
    },
  );

  it.each([
    ['the link is broken', { fail: linkBroken }],
    ['answers get lost', { lose: 'answer' }],
    ['nothing is answered', { hang: 'answer' }],
    ['requests get lost', { hang: 'request' }],
  ] as const)(
    'B55 in an outage longer than the lease, the lock is lost exactly at its deadline: %s',
    async (_, fate) => {
      const { service, store, clock, of } = await startCore({ ttl: 9000 });
      const lock = await service.acquire('key');
      await clock.advance(3500); // The last renewal was at 3000.
      store.always(fate);
      await clock.advance(3000 + 9000 - 450 - 3500 - 1);
      expect(lock.held).toBe(true);
      expect(of('lost')).toEqual([]);
      await clock.advance(1);
      expect(lock.held).toBe(false);
      expect(of('lost')).toMatchObject([{ key: 'key', heldFor: 11_550 }]);
      expect(lock.loss?.message).toMatch(/its lease ran out before a renewal was answered/);
      await clock.advance(60_000);
      expect(of('lost')).toHaveLength(1);
      expect(clock.timers).toEqual([]);
    },
  );

  it.each<[string, Fate, number]>([
    ['a raw error', { fail: () => new Error('disk full') }, 0],
    ['no answer', { hang: 'request' }, 3000],
  ])('B27 the event of a failed renewal names the lock: %s', async (_, fate, after) => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    await service.acquire('key');
    store.next('renewMany', fate);
    await clock.advance(3000 + after);
    expect(of('renewFailed')[0]?.error.message).toContain('the renewal of "key"');
  });

  it('B27 failed renewals are logged once a minute for each key', async () => {
    const { service, store, clock, of } = await startCore({ ttl: Infinity });
    await service.acquire('a');
    await service.acquire('b');
    store.always({ fail: linkBroken });
    await clock.advance(190_000);
    expect(of('renewFailed').length).toBeGreaterThan(300);
    expect(warnings(log).filter((line) => line.startsWith('Lock "a"'))).toHaveLength(4);
    expect(warnings(log).filter((line) => line.startsWith('Lock "b"'))).toHaveLength(4);
  });

  it('B19 a failed renewal is retried soon, after pauses with jitter of at least 15 ms', async () => {
    for (const chance of [0, 0.5, 0.999]) {
      const { service, store, clock } = await startCore({ ttl: 900 });
      clock.chance = () => chance;
      store.always({ fail: serverRefused }, 'renewMany', 'renew');
      await service.acquire('key');
      await clock.advance(900);
      const times = [...store.of('renewMany'), ...store.of('renew')].map(({ at }) => at);
      const pauses = times.slice(1).map((at, i) => at - (times[i] ?? 0));
      expect(times.length).toBeGreaterThan(5);
      expect(Math.min(...pauses)).toBeGreaterThanOrEqual(15);
      expect(Math.max(...pauses)).toBeLessThanOrEqual(100);
    }
  });

  it('B51 the late answer to a renewal extends the lease if the deadline has not passed', async () => {
    const { service, store, clock } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { after: 4000 }, { hang: 'request' });
    await clock.advance(7000);
    expect(lock.expiresAt?.getTime()).toBe(clock.date() - 4000 + 9000);
    await clock.advance(60_000);
    expect(lock.loss).toBeUndefined();
  });

  it('B51 the late answer to an old renewal does not shorten the lease of a newer renewal', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { after: 8600 });
    await clock.advance(11_599);
    const until = lock.expiresAt?.getTime();
    // Now the answer to the renewal at 3000 arrives. A lease counted from it would end at
    // 11,550.
    await clock.advance(1);
    expect(lock.held).toBe(true);
    expect(lock.expiresAt?.getTime()).toBe(until);
    await clock.advance(1000);
    expect(of('lost')).toEqual([]);
  });

  it('B50 if a renewal is answered only after the deadline, the lock is lost and the key is freed', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 9000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 5500, after: 500 });
    store.next('renewMany', ...Array.from({ length: 20 }, () => ({ hang: 'request' as const })));
    await clock.advance(8999);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
    expect(await store.held('key')).toBe(true);
    await clock.advance(1);
    expect(await store.held('key')).toBe(false);
    expect(store.of('release')).toMatchObject([{ key: 'key', owner: lock.owner }]);
    expect(of('lost')).toHaveLength(1);
  });

  it('B54 a lost lock is neither taken back nor renewed', async () => {
    const { service, store, clock, of } = await startCore({ ttl: 900 });
    const lock = await service.acquire('key');
    store.always({ hang: 'request' }, 'renewMany');
    await clock.advance(900);
    store.heal();
    const sent = store.calls.length;
    await clock.advance(60_000);
    expect(store.calls).toHaveLength(sent);
    expect(lock.held).toBe(false);
    expect(of('lost')).toHaveLength(1);
  });

  it('B52 slow renewals of a lock with a short ttl do not make a lock with a long ttl expire', async () => {
    const { service, store, clock } = await startCore();
    const long = await service.acquire('long', { ttl: 1500, renewEvery: 300 });
    const short = await service.acquire('short', { ttl: 300, renewEvery: 100 });
    store.always({ before: 100, after: 100 }, 'renewMany', 'renew');
    await clock.advance(30_000);
    expect(long.held).toBe(true);
    expect(short.held).toBe(false);
  });
});

describe('renewal and release', () => {
  it('B53 after each of 40 short runs with slow renewals, the key is free', async () => {
    const { service, store, clock } = await startCore({ ttl: 300 });
    store.always({ before: 40, after: 40 }, 'renewMany');
    for (let section = 0; section < 40; section++) {
      const running = watch(service.run('key', () => clock.advance(90 + section * 2)));
      for (let i = 0; running.state === 'pending' && i < 100; i++) await clock.advance(5);
      expect(running.state).toBe('resolved');
      expect(await store.held('key')).toBe(false);
    }
    await clock.advance(10_000);
    expect(await store.held('key')).toBe(false);
    expect(store.count('renewMany')).toBeGreaterThan(30);
    expect(clock.timers).toEqual([]);
  });

  it('B53 a release waits for the renewal under way', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 100, after: 100 });
    await clock.advance(1050);
    const releasing = watch(lock.release());
    await clock.advance(149);
    expect(store.count('release')).toBe(0);
    await clock.advance(1);
    expect(store.count('release')).toBe(1);
    expect(releasing.value).toBe(true);
    await clock.advance(10_000);
    expect(store.count('renewMany')).toBe(1);
    expect(clock.timers).toEqual([]);
  });

  it('B53 a release waits for the batch that renews its lock', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const [a, b] = await Promise.all(['a', 'b'].map((key) => service.acquire(key)));
    store.next('renewMany', { before: 100, after: 100 });
    await clock.advance(1050);
    void a?.release();
    await clock.advance(149);
    expect(store.count('release')).toBe(0);
    await clock.advance(1);
    expect(await store.held('a')).toBe(false);
    expect(b?.held).toBe(true);
  });

  it('B53 a renewal without an answer delays the release only until the time limit of the renewal', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { hang: 'request' });
    await clock.advance(1000);
    const releasing = watch(lock.release());
    await clock.advance(999);
    expect(releasing.state).toBe('pending');
    await clock.advance(1);
    expect(releasing.value).toBe(true);
  });

  it('B54 a renewal that arrives after the release does not lock the key again', async () => {
    const { service, store, clock } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 5000 });
    await clock.advance(1000);
    void lock.release();
    await clock.advance(1000);
    const next = await service.acquire('key', { ttl: Infinity });
    await clock.advance(10_000);
    expect(next.held).toBe(true);
    expect(await next.release()).toBe(true);
    expect(await store.held('key')).toBe(false);
  });

  it('B53 no loss is reported if a renewal finds the lock gone because of its release', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renewMany', { before: 1500, after: 1 });
    await clock.advance(1000);
    const releasing = watch(lock.release());
    await clock.advance(5000);
    expect(releasing.value).toBe(true);
    expect(lock.loss).toBeUndefined();
    expect(names()).toEqual(['acquired', 'released']);
  });

  it('B55 a release during a renewal that finds the lock taken away reports one loss', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 3000 });
    const lock = await service.acquire('key');
    await store.server.forceRelease('key');
    store.next('renewMany', { before: 100, after: 100 });
    await clock.advance(1050);
    const releasing = watch(lock.release());
    await clock.advance(150);
    expect(releasing.value).toBe(false);
    expect(lock.loss).toBeInstanceOf(LockLostError);
    expect(names()).toEqual(['acquired', 'lost']);
  });

  it('B53 a release leaves no lock and no timer, however soon it follows an extension or a renewal', async () => {
    for (let distance = 0; distance < 40; distance += 3) {
      const { service, store, clock } = await startCore({ ttl: 300 });
      store.always({ before: 7, after: 7 });
      const acquiring = service.acquire('key');
      await clock.advance(14);
      const lock = await acquiring;
      await clock.advance(80);
      const extending = watch(lock.extend(400));
      await clock.advance(distance);
      const releasing = watch(lock.release());
      await clock.advance(1000);
      expect(releasing.value).toBe(true);
      expect(extending.state).not.toBe('pending');
      expect(await store.held('key')).toBe(false);
      expect(clock.timers).toEqual([]);
    }
  });
});

describe('timers and errors of renewals', () => {
  it('B12 renewals do not keep the process alive', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    await service.acquire('key');
    store.always({ hang: 'request' }, 'renewMany');
    await clock.advance(310);
    expect(clock.timers).toHaveLength(2);
    expect(clock.refTimers).toEqual([]);
  });

  it('B52 a store that throws instead of rejecting causes no unhandled rejection', async () => {
    const clock = new ManualClock();
    const scripted = new ScriptedStore(clock);
    const boom = (): never => {
      throw new Error('not even a promise');
    };
    const store: LockStore = { ...withoutBatches(scripted), renew: boom, release: boom };
    const { service, of } = await startCore({ ttl: 900 }, { clock, openStore: () => store });
    const lock = await service.acquire('key');
    await clock.advance(2000);
    await settle();
    expect(of('renewFailed').length).toBeGreaterThan(0);
    expect(lock.held).toBe(false);
    expect((await errorOf(service.run('other', () => lock.extend()))).constructor).toBe(LockLostError);
  });
});
