import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { getEventListeners } from 'node:events';
import { LockError, LockLostError, LockNotAcquiredError } from '../../lib/lock.errors.js';
import type { Lock } from '../../lib/lock.js';
import type { AcquireOptions, LockModuleDefaults } from '../../lib/options/lock.options.js';
import {
  another,
  captureLog,
  errorOf,
  gate,
  startCore,
  startCoreWith,
  watch,
  type Core,
  type Watched,
} from './core-fixture.js';
import { settle } from './manual-clock.js';
import { WaiterReleaseStore, serverRefused, type Fate } from './scripted-store.js';

captureLog();

const START = 10_000;
const WAIT = { wait: Infinity } as const;

type WaiterCore = Core<WaiterReleaseStore>;

const start = (options?: LockModuleDefaults): Promise<WaiterCore> =>
  startCoreWith(WaiterReleaseStore, options);

interface HolderAndWaiter {
  lock: Lock;
  waiter: Watched<Lock>;
}

/** One call holds the key, and another waits for it. */
async function holderAndWaiter(
  { service, clock }: WaiterCore,
  waits: AcquireOptions = {},
  holds: AcquireOptions = {},
): Promise<HolderAndWaiter> {
  const lock = await service.acquire('key', holds);
  const waiter = watch(service.acquire('key', { ...WAIT, ...waits }));
  await clock.advance(10);
  return { lock, waiter };
}

const counts = ({ store }: WaiterCore): number[] =>
  (['acquire', 'releaseToWaiter', 'release'] as const).map((operation) => store.count(operation));

/** The names of the published events in alphabetical order, without store errors. */
const happened = ({ names }: WaiterCore): string[] =>
  names()
    .filter((name) => name !== 'storeError')
    .toSorted();

/** Releases the lock, and checks that no late request leaves a lock or a timer behind. */
async function endsWithNothing({ store, clock }: WaiterCore, lock: Lock | undefined): Promise<void> {
  store.heal();
  if (lock) expect(await lock.release()).toBe(true);
  await clock.advance(60_000);
  expect(await store.held('key')).toBe(false);
  expect(clock.timers).toEqual([]);
}

describe('a release to the next waiter of the process', () => {
  it.each([0, 5])(
    'B23 with 100 waiters, 88 locks need one statement, and every ninth needs two (%d ms to the store)',
    async (way) => {
      const core = await start();
      core.store.always({ before: way, after: way });
      const runs = Array.from({ length: 100 }, () => core.service.run('key', () => {}, WAIT));
      await core.clock.advance(10_000);
      await Promise.all(runs);
      expect(counts(core)).toEqual([12, 88, 12]);
      await endsWithNothing(core, undefined);
    },
  );

  it('B23 waiters get the lock in the order of their calls', async () => {
    const { service, clock } = await start();
    const order: number[] = [];
    const tokens: number[] = [];
    const runs = Array.from({ length: 50 }, (_, i) =>
      service.run(
        'key',
        async ({ fencingToken }) => {
          order.push(i);
          tokens.push(fencingToken);
          await new Promise<void>((resolve) => clock.outside(5, resolve));
        },
        WAIT,
      ),
    );
    await clock.advance(10_000);
    await Promise.all(runs);
    expect(order).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(tokens).toEqual(tokens.toSorted((a, b) => a - b));
    expect(new Set(tokens).size).toBe(50);
  });

  it('B23 the waiter gets the lock with its own owner, label and ttl, and a greater token', async () => {
    const core = await start({ autoRenew: false });
    const { lock, waiter } = await holderAndWaiter(core, { label: 'next', ttl: 5_000 }, { label: 'first' });
    expect(await lock.release('failed')).toBe(true);
    await settle();
    expect(lock.held).toBe(false);
    expect(waiter.value?.held).toBe(true);
    expect(waiter.value?.owner).not.toBe(lock.owner);
    expect(waiter.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
    expect(await core.service.admin.inspect('key')).toMatchObject({
      state: 'held',
      holder: { label: 'next', remaining: 5_000, fencingToken: waiter.value?.fencingToken },
      lastRun: { label: 'first', outcome: 'failed' },
    });
    expect(counts(core)).toEqual([1, 1, 0]);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 after a release to a waiter, only the lease of the waiter is renewed', async () => {
    const core = await start({ ttl: 900 });
    const { lock, waiter } = await holderAndWaiter(core);
    await lock.release();
    await core.clock.advance(10_000);
    expect(waiter.value?.held).toBe(true);
    expect(core.of('lost')).toEqual([]);
    await endsWithNothing(core, waiter.value);
  });

  it.each([{}, { before: 20, after: 20 }])(
    'B23 a release to a waiter publishes first the release, then the grant: %j',
    async (fate) => {
      const core = await start();
      core.store.always(fate, 'releaseToWaiter');
      const { lock, waiter } = await holderAndWaiter(core);
      const releasing = lock.release();
      await core.clock.advance(50);
      expect([await releasing, waiter.state]).toEqual([true, 'resolved']);
      expect(core.names()).toEqual(['acquired', 'released', 'acquired']);
      expect(core.of('acquired')[1]?.waited).toBe(fate.before ? 50 : 10);
    },
  );

  it('B23 the release is published before the grant even if the deadline of the waiter comes before the answer', async () => {
    const core = await start();
    core.store.next('releaseToWaiter', { before: 50, after: 50 });
    const { lock, waiter } = await holderAndWaiter(core, { wait: 50 });
    void lock.release();
    await core.clock.advance(100);
    expect(waiter.value?.held).toBe(true);
    expect(core.names()).toEqual(['acquired', 'released', 'acquired']);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B80 locks.release() with the owner id releases the lock to the next waiter, too', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    expect(await core.service.release('key', lock.owner)).toBe(true);
    await settle();
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B23 if a lock is released from run to run, the outcome of each run is recorded', async () => {
    const core = await start();
    const bodies = [gate(), gate(), gate()];
    const runs = bodies.map(({ promise }) => watch(core.service.run('key', () => promise, WAIT)));
    await core.clock.advance(10);
    bodies[0]?.fail(new Error('broken'));
    await settle();
    expect(await core.service.admin.inspect('key')).toMatchObject({ lastRun: { outcome: 'failed' } });
    bodies[1]?.open();
    await settle();
    expect(await core.service.admin.inspect('key')).toMatchObject({ lastRun: { outcome: 'done' } });
    expect(runs.map(({ state }) => state)).toEqual(['rejected', 'resolved', 'pending']);
    bodies[2]?.open();
    await settle();
    expect(counts(core)).toEqual([1, 2, 1]);
    await endsWithNothing(core, undefined);
  });

  it('B23 a lock is released only to a waiter of the same key', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    const other = await core.service.acquire('other');
    await other.release();
    expect(waiter.state).toBe('pending');
    await lock.release();
    await settle();
    expect(waiter.state).toBe('resolved');
  });

  it('B31 the lease of the waiter counts from before the request', async () => {
    const core = await start({ ttl: 1_000, autoRenew: false });
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('releaseToWaiter', { before: 100, after: 100 });
    void lock.release();
    await core.clock.advance(200);
    expect(waiter.value?.held).toBe(true);
    await core.clock.advance(1_000 - 50 - 200 - 1);
    expect(waiter.value?.held).toBe(true);
    await core.clock.advance(1);
    expect(waiter.value?.held).toBe(false);
  });

  it('B31 a grant to a waiter is freed if the process was frozen for longer than its ttl', async () => {
    const core = await start({ ttl: 1_000, autoRenew: false });
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('releaseToWaiter', { before: 10, after: 10 });
    const releasing = watch(lock.release());
    await settle();
    core.clock.freeze(1_100);
    await core.clock.advance(100);
    expect([releasing.value, waiter.value?.held]).toEqual([true, true]);
    expect(counts(core).slice(0, 2)).toEqual([2, 1]);
    expect(core.of('released')).toHaveLength(1);
  });
});

describe('the limit of releases to waiters', () => {
  it('B23 after eight releases to waiters, a lock is released to all processes', async () => {
    const core = await start();
    const runs = Array.from({ length: 20 }, () => core.service.run('key', () => {}, WAIT));
    await core.clock.advance(1_000);
    await Promise.all(runs);
    const given = core.store.calls.map(({ operation }) => operation).filter((one) => one !== 'acquire');
    const eight = Array(8).fill('releaseToWaiter');
    expect(given).toEqual([...eight, 'release', ...eight, 'release', 'releaseToWaiter', 'release']);
  });

  it('B23 even if only two workers take turns, the lock is released to all processes after eight runs', async () => {
    const core = await start();
    const worker = async (): Promise<void> => {
      for (let i = 0; i < 20; i++)
        await core.service.run(
          'key',
          () => new Promise<void>((resolve) => core.clock.outside(5, resolve)),
          WAIT,
        );
    };
    const working = watch(Promise.all([worker(), worker()]));
    await core.clock.advance(5_000);
    expect(working.state).toBe('resolved');
    const given = core.store.calls.map(({ operation }) => operation).filter((one) => one !== 'acquire');
    expect(given.slice(0, 9)).toEqual([...Array(8).fill('releaseToWaiter'), 'release']);
    expect(core.store.count('release')).toBe(5);
  });

  it('B23 a waiter in another process gets the lock after at most nine runs of this process', async () => {
    const core = await start();
    const there = await another(core);
    core.store.always({ before: 1, after: 1 });
    let mine = 0;
    let before = -1;
    const runs = Array.from({ length: 100 }, () =>
      core.service.run(
        'key',
        async () => {
          mine++;
          await new Promise<void>((resolve) => core.clock.outside(5, resolve));
        },
        WAIT,
      ),
    );
    const other = there.service.run('key', () => void (before = mine), { ...WAIT, retry: 1 });
    await core.clock.advance(5_000);
    await Promise.all([...runs, other]);
    expect(before).toBeLessThanOrEqual(9);
  });
});

describe('no release to a waiter', () => {
  it('B23 during minHold, the lock is not released to a waiter', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core, {}, { minHold: 5_000 });
    expect(await lock.release()).toBe(true);
    await core.clock.advance(4_900);
    expect(waiter.state).toBe('pending');
    expect(core.store.count('releaseToWaiter')).toBe(0);
    await core.clock.advance(1_000);
    expect(waiter.value?.held).toBe(true);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 after minHold has passed, the lock is released to a waiter', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core, { minHold: 5_000 }, { minHold: 10 });
    await lock.release();
    await settle();
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B76 no lock is released to a waiter with once, since only an acquisition checks what has run', async () => {
    const core = await start();
    Object.assign(core.store, { keepsOnce: true });
    const lock = await core.service.acquire('key');
    const waiter = watch(core.service.run('key', () => 'ran', { ...WAIT, once: '1h' }));
    await core.clock.advance(10);
    await lock.release();
    await core.clock.advance(0);
    expect(waiter.value).toBe('ran');
    expect(core.store.count('releaseToWaiter')).toBe(0);
    const again = await core.service.acquire('key');
    const refused = errorOf(core.service.run('key', () => 'ran', { ...WAIT, once: '1h' }));
    await core.clock.advance(10);
    await again.release();
    expect(await refused).toMatchObject({ reason: 'tick-done' });
  });

  it('B73 a lock of a paused key is not released to a waiter, and the waiter is refused as paused', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    await core.service.admin.pause('key');
    expect(await lock.release()).toBe(true);
    await settle();
    expect(waiter.error).toMatchObject({ name: 'LockNotAcquiredError', reason: 'paused' });
    expect(core.names()).toEqual(['acquired', 'released', 'busy']);
    await endsWithNothing(core, undefined);
  });

  it('B28 an expired lock is not released to a waiter', async () => {
    const core = await start({ ttl: 1_000 });
    const { lock, waiter } = await holderAndWaiter(core, {}, { autoRenew: false });
    core.clock.freeze(1_200);
    expect(await lock.release()).toBe(false);
    await core.clock.advance(100);
    expect(core.store.count('releaseToWaiter')).toBe(0);
    expect(core.of('lost')).toHaveLength(1);
    expect(waiter.value?.held).toBe(true);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 the lock is not released to a waiter whose first request is under way', async () => {
    const core = await start();
    const lock = await core.service.acquire('key');
    core.store.next('acquire', { before: 20, after: 20 });
    const waiter = watch(core.service.acquire('key', { ...WAIT, stealAfter: '1h' }));
    await core.clock.advance(10);
    await lock.release();
    await core.clock.advance(30);
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([2, 0, 1]);
  });

  it('B23 the lock is not released to a waiter while a poll of the waiter is under way', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('acquire', { before: 20, after: 20 });
    await core.clock.advance(1_000);
    await lock.release();
    await core.clock.advance(30);
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([2, 0, 1]);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 the lock is not released to a waiter whose earlier attempt may have got the lock unnoticed', async () => {
    const core = await start({ retry: 60_000 });
    const lock = await core.service.acquire('key');
    core.store.next('acquire', { lateAfterBreak: 20_000 }, { lose: 'request' }, { lose: 'request' });
    const waiter = watch(core.service.acquire('key', { ...WAIT, stealAfter: '1h' }));
    await core.clock.advance(1_000);
    await lock.release();
    await settle();
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([5, 0, 1]);
    await core.clock.advance(20_000);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 no second lock is released to a waiter while the first release is under way', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('releaseToWaiter', { hang: 'request' });
    const releasing = watch(lock.release());
    await core.store.server.forceRelease('key');
    const second = await core.service.acquire('key');
    expect(await second.release()).toBe(true);
    expect(counts(core)).toEqual([2, 1, 1]);
    await core.clock.advance(10_000);
    expect([releasing.state, waiter.value?.held]).toEqual(['resolved', true]);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 with a store without WaiterRelease, the waiter acquires the key after the release', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key');
    const waiter = watch(service.acquire('key', WAIT));
    await clock.advance(10);
    await lock.release();
    await settle();
    expect(waiter.value?.held).toBe(true);
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'release', 'acquire']);
  });
});

describe('a waiter behind a holder of its own process', () => {
  it('B23 a waiter still polls after 1 s, since another process may have released the key by force', async () => {
    const core = await start({ retry: 10 });
    const { waiter } = await holderAndWaiter(core);
    await core.clock.advance(989);
    expect(core.store.count('acquire')).toBe(1);
    await core.clock.advance(1);
    expect(core.store.count('acquire')).toBe(2);
    await core.store.server.forceRelease('key');
    await core.clock.advance(10);
    expect(waiter.value?.held).toBe(true);
  });

  it("B28 a waiter polls at once when the holder's lease expires", async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core, {}, { ttl: 300, autoRenew: false });
    await core.clock.advance(300);
    expect(lock.held).toBe(false);
    expect(waiter.value?.held).toBe(true);
  });

  it('B28 if a release is not answered, a waiter polls when the lease expires', async () => {
    const core = await start({ retry: 60_000 });
    const lock = await core.service.acquire('key', { ttl: 600, autoRenew: false });
    core.store.next('release', { hang: 'request' });
    await core.clock.advance(500);
    const failing = errorOf(lock.release());
    const next = watch(core.service.acquire('key', WAIT));
    await core.clock.advance(101);
    expect(next.value?.held).toBe(true);
    await core.clock.advance(1_000);
    expect(await failing).toMatchObject({ name: 'LockStoreError' });
    await endsWithNothing(core, next.value);
  });

  it('B18 a waiter makes its last attempt at its deadline', async () => {
    const core = await start();
    const lock = await core.service.acquire('key');
    const refused = errorOf(core.service.acquire('key', { wait: 300 }));
    await core.clock.advance(300);
    expect(await refused).toMatchObject({ name: 'LockNotAcquiredError', waited: 300, reason: 'held' });
    expect(core.store.of('acquire').map(({ at }) => at - START)).toEqual([0, 300]);
    await endsWithNothing(core, lock);
  });

  it('B32 a waiter with stealAfter makes an attempt at once, and later the lock can be released to it', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core, { stealAfter: '1h' });
    expect(core.store.count('acquire')).toBe(2);
    await lock.release();
    await settle();
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([2, 1, 0]);
  });
});

describe('a waiter that has left', () => {
  it('B21 if a waiter is aborted before the release, the next waiter gets the lock', async () => {
    const core = await start();
    const abort = new AbortController();
    const { lock, waiter } = await holderAndWaiter(core, { signal: abort.signal });
    const next = watch(core.service.acquire('key', WAIT));
    abort.abort(new Error('enough'));
    await settle();
    await lock.release();
    await settle();
    expect(waiter.error).toMatchObject({ message: 'enough' });
    expect(next.value?.held).toBe(true);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    await endsWithNothing(core, next.value);
  });

  it('B21 a waiter that is aborted in the moment of the release does not get the lock', async () => {
    const core = await start({ retry: 60_000 });
    const abort = new AbortController();
    const { lock, waiter } = await holderAndWaiter(core, { signal: abort.signal });
    const next = watch(core.service.acquire('key', WAIT));
    await settle();
    abort.abort(new Error('enough'));
    const released = lock.release();
    await settle();
    expect([await released, waiter.state, next.state]).toEqual([true, 'rejected', 'resolved']);
    expect(core.store.count('releaseToWaiter')).toBe(0);
    expect(core.store.count('release')).toBe(1);
    await endsWithNothing(core, next.value);
  });

  it.each<[string, Fate]>([
    ['is answered soon', { before: 50, after: 50 }],
    ['is answered after 20 s', { before: 50, after: 20_000 }],
    ['arrives late', { before: 20_000 }],
    ['is carried out and never answered', { before: 50, hang: 'answer' }],
    ['is lost', { before: 50, hang: 'request' }],
    ['breaks after it was carried out', { before: 50, lose: 'answer' }],
    ['is carried out after its link broke', { before: 50, lateAfterBreak: 20 }],
  ])('B21 an abort during a release to the waiter that %s leaves no lock behind', async (_, fate) => {
    const core = await start({ retry: 60_000, ttl: Infinity });
    const abort = new AbortController();
    const { lock, waiter } = await holderAndWaiter(core, { signal: abort.signal });
    const next = watch(core.service.acquire('key', WAIT));
    await settle();
    core.store.next('releaseToWaiter', fate);
    const releasing = watch(lock.release());
    await core.clock.advance(20);
    abort.abort(new Error('enough'));
    await settle();
    expect(waiter.error).toMatchObject({ message: 'enough' });
    await core.clock.advance(40_000);
    expect(releasing).toEqual({ state: 'resolved', value: true });
    expect(next.value?.held).toBe(true);
    expect(next.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
    expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    await endsWithNothing(core, next.value);
  });

  it('B18 a waiter still gets the lock if a release to it is under way at its deadline', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core, { wait: 100 });
    core.store.next('releaseToWaiter', { before: 80, after: 80 });
    void lock.release();
    await core.clock.advance(159);
    expect(waiter.state).toBe('pending');
    await core.clock.advance(1);
    expect(waiter.value?.held).toBe(true);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B18 beyond its deadline, a waiter waits for a release to it no longer than for its own attempt', async () => {
    const core = await start({ ttl: Infinity });
    const { lock, waiter } = await holderAndWaiter(core, { wait: 100 });
    core.store.next('releaseToWaiter', { hang: 'request' });
    const releasing = watch(lock.release());
    await core.clock.advance(2_600);
    expect([releasing.value, waiter.state]).toEqual([true, 'resolved']);
    await endsWithNothing(core, waiter.value);
  });

  it('B21 an abort ends a wait whose deadline has passed during a release to the waiter', async () => {
    const core = await start();
    const abort = new AbortController();
    const { lock, waiter } = await holderAndWaiter(core, { wait: 100, signal: abort.signal });
    core.store.next('releaseToWaiter', { before: 500, after: 500 });
    void lock.release();
    await core.clock.advance(200);
    abort.abort(new Error('enough'));
    await settle();
    expect(waiter.error).toMatchObject({ message: 'enough' });
    await core.clock.advance(1_000);
    expect(await core.store.held('key')).toBe(false);
    await endsWithNothing(core, undefined);
  });
});

describe('a request that releases a lock to a waiter', () => {
  /**
   * For each fate: a text for the title, the fate of the request, and the ms after which the
   * waiter has the lock.
   */
  const fates: [string, Fate, number][] = [
    ['that is lost under way', { lose: 'request' }, 0],
    ['whose answer is lost', { lose: 'answer' }, 0],
    ['that is slow', { before: 300, after: 300 }, 600],
    ['that is never answered', { hang: 'request' }, 10_000],
    ['that is carried out and not answered', { hang: 'answer' }, 10_000],
    ['that is answered after its limit', { after: 12_000 }, 10_000],
    ['that is carried out after its limit', { before: 12_000 }, 10_000],
    ['that is carried out just after its link broke', { lateAfterBreak: 5 }, 0],
    ['that is carried out long after its link broke', { lateAfterBreak: 20_000 }, 0],
    ['that is delivered twice', { twiceAfter: 5 }, 0],
    ['that is delivered twice, late', { twiceAfter: 20_000 }, 0],
    ['that the server refuses', { fail: serverRefused }, 0],
    ['whose answer has no meaning', { answer: undefined }, 0],
    ['that fails with an error of the driver', { fail: () => new Error('ECONNRESET') }, 0],
  ];

  it.each(fates)('B23 a request %s neither loses a lock nor grants it twice', async (_, fate, within) => {
    const core = await start({ retry: 60_000 });
    const { lock, waiter } = await holderAndWaiter(core, { ttl: Infinity });
    core.store.next('releaseToWaiter', fate);
    const releasing = watch(lock.release());
    await core.clock.advance(within);
    expect(waiter.value?.held).toBe(true);
    expect(waiter.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
    await core.clock.advance(1_000);
    expect(releasing).toEqual({ state: 'resolved', value: true });
    await core.clock.advance(20_000);
    expect(waiter.value?.held).toBe(true);
    expect(core.store.count('releaseToWaiter')).toBe(1);
    expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
    await endsWithNothing(core, waiter.value);
  });

  const broken = fates.filter(([, fate]) => !('twiceAfter' in fate) && (fate.after ?? 0) !== 300);

  it.each(broken)(
    'B23 a request %s, followed by a failing release, neither loses a lock nor grants it twice',
    async (_, fate, within) => {
      for (const release of [{ lose: 'request' }, { lose: 'answer' }, { lateAfterBreak: 30 }] as const) {
        const core = await start({ retry: 60_000 });
        const { lock, waiter } = await holderAndWaiter(core, { ttl: Infinity });
        core.store.next('releaseToWaiter', fate);
        core.store.next('release', release);
        const releasing = watch(lock.release());
        await core.clock.advance(within + 100);
        expect(waiter.value?.held).toBe(true);
        expect(releasing).toEqual({ state: 'resolved', value: true });
        await core.clock.advance(20_000);
        expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
        await endsWithNothing(core, waiter.value);
      }
    },
  );

  it('B23 if the driver fails after the request was carried out, the waiter gets the lock and no loss is reported', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('releaseToWaiter', {
      arrived: () => {
        const { next = { owner: '', ttl: 1_000 } } = core.store.of('releaseToWaiter')[0] ?? {};
        void core.store.server.releaseToWaiter('key', lock.owner, next);
      },
      fail: () => new Error('ECONNRESET'),
    });
    expect(await lock.release()).toBe(true);
    await settle();
    expect([lock.loss, waiter.value?.held]).toEqual([undefined, true]);
    expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
    await endsWithNothing(core, waiter.value);
  });

  it('B27 if a release to a waiter fails, the event storeError names the operation acquire', async () => {
    const core = await start();
    for (const fate of [{ fail: serverRefused }, { lose: 'request' }] as const) {
      const { lock, waiter } = await holderAndWaiter(core);
      core.store.next('releaseToWaiter', fate);
      await lock.release();
      await core.clock.advance(100);
      await waiter.value?.release();
    }
    expect(core.of('storeError')).toMatchObject([
      { key: 'key', operation: 'acquire', error: { message: 'The server refused.' } },
      { key: 'key', operation: 'acquire', error: { message: 'The link broke.' } },
    ]);
  });

  it('B23 a release to a waiter has a time limit of a third of the ttl of the waiter', async () => {
    const core = await start({ retry: 60_000 });
    const { lock, waiter } = await holderAndWaiter(core, { ttl: 300 }, { ttl: Infinity });
    core.store.next('releaseToWaiter', { hang: 'answer' });
    const releasing = watch(lock.release());
    await core.clock.advance(100);
    expect([releasing.value, waiter.value?.held]).toEqual([true, true]);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 the time limit of a release to a waiter is at most a third of the ttl of the holder', async () => {
    const core = await start({ retry: 60_000 });
    const { lock, waiter } = await holderAndWaiter(core, { ttl: Infinity }, { ttl: 300, autoRenew: false });
    core.store.next('releaseToWaiter', { hang: 'request' });
    const releasing = watch(lock.release());
    await core.clock.advance(100);
    expect([releasing.value, waiter.value?.held]).toEqual([true, true]);
    await endsWithNothing(core, waiter.value);
  });

  it('B23 if releaseToWaiter throws instead of rejecting, the release works and the waiter gets the lock', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.releaseToWaiter = () => {
      throw serverRefused();
    };
    expect(await lock.release()).toBe(true);
    await settle();
    expect(waiter.value?.held).toBe(true);
  });

  it('B27 while the store is unreachable, the release fails, and the waiter goes on waiting', async () => {
    const core = await start({ ttl: 900, retry: 100 });
    const { lock, waiter } = await holderAndWaiter(core, {}, { autoRenew: false });
    core.store.always({ lose: 'request' });
    const failing = errorOf(lock.release());
    await core.clock.advance(1_000);
    expect(await failing).toMatchObject({ name: 'LockStoreError', transient: true });
    expect(waiter.state).toBe('pending');
    core.store.heal();
    await core.clock.advance(1_000);
    expect(waiter.value?.held).toBe(true);
    await endsWithNothing(core, waiter.value);
  });

  it('B55 a release to a waiter reports the loss of a stolen lock, and the waiter goes on waiting', async () => {
    const core = await start({ retry: 50 });
    const { lock, waiter } = await holderAndWaiter(core);
    await core.store.server.forceRelease('key');
    const other = await core.store.takenBy('other', 'key');
    expect(await lock.release()).toBe(false);
    expect(lock.loss).toBeInstanceOf(LockLostError);
    await core.clock.advance(500);
    expect(waiter.state).toBe('pending');
    expect(core.names()).toEqual(['acquired', 'lost']);
    await core.store.server.release('key', other);
    await core.clock.advance(50);
    expect(waiter.value?.held).toBe(true);
    await endsWithNothing(core, waiter.value);
  });

  it('B53 a release to a waiter waits for the renewal under way', async () => {
    const core = await start({ ttl: 900 });
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('renewMany', { before: 50, after: 50 });
    await core.clock.advance(300);
    void lock.release();
    await settle();
    expect(core.store.count('releaseToWaiter')).toBe(0);
    await core.clock.advance(100);
    expect(waiter.value?.held).toBe(true);
    await endsWithNothing(core, waiter.value);
  });
});

describe('a release to a waiter during the shutdown', () => {
  const stop = async ({ service }: WaiterCore): Promise<void> => {
    await service[INTERNALS].drain();
    await service[INTERNALS].close();
  };

  it('B12 if the shutdown ends a wait, no lock is released to the waiter', async () => {
    const core = await start({ shutdownTimeout: 0 });
    const { waiter } = await holderAndWaiter(core);
    await stop(core);
    expect(waiter.error).toBeInstanceOf(LockError);
    expect(counts(core)).toEqual([1, 0, 1]);
    expect(core.names()).toEqual(['acquired', 'lost']);
    expect(await core.store.held('key')).toBe(false);
    expect(core.clock.timers).toEqual([]);
  });

  it.each<[string, Fate, number]>([
    ['is answered', { before: 50, after: 50 }, 100],
    ['loses its answer', { before: 50, lose: 'answer' }, 200],
    ['is carried out and never answered', { before: 50, hang: 'answer' }, 11_000],
  ])(
    'B12 a lock is freed if the request that released it to a waiter %s during the shutdown',
    async (_, fate, within) => {
      const core = await start({ ttl: Infinity });
      const { lock, waiter } = await holderAndWaiter(core);
      core.store.next('releaseToWaiter', fate);
      const releasing = watch(lock.release());
      await core.clock.advance(20);
      const closed = watch(stop(core));
      await settle();
      expect(waiter.error).toBeInstanceOf(LockError);
      expect(closed.state).toBe('pending');
      await core.clock.advance(within);
      expect([releasing.value, closed.state]).toEqual([true, 'resolved']);
      expect(happened(core)).toEqual(['acquired', 'released']);
      await endsWithNothing(core, undefined);
    },
  );

  it('B12 a shutdown in the moment a release to a waiter is answered leaves no lock behind', async () => {
    const core = await start({ ttl: Infinity, shutdownTimeout: 0 });
    const { lock, waiter } = await holderAndWaiter(core);
    core.store.next('releaseToWaiter', { before: 10, after: 10 });
    void lock.release();
    core.clock.outside(20, () => void stop(core));
    await core.clock.advance(100);
    expect(waiter.state).not.toBe('pending');
    expect(waiter.value?.held ?? false).toBe(false);
    await endsWithNothing(core, undefined);
  });
});

describe('waiters and locks that are handed off', () => {
  it('B80 a waiter does not get a lock that is handed off to another process', async () => {
    const core = await start();
    const there = await another(core);
    const { lock, waiter } = await holderAndWaiter(core);
    const restored = await there.service.restore(await lock.handOff());
    await core.clock.advance(5_000);
    expect([waiter.state, core.store.count('releaseToWaiter')]).toEqual(['pending', 0]);
    await restored.release();
    await core.clock.advance(1_000);
    expect(waiter.value?.held).toBe(true);
  });

  it('B80 a restored lock can be released to a waiter, and the waiter can hand it off', async () => {
    const core = await start();
    const { lock, waiter } = await holderAndWaiter(core);
    const restored = await core.service.restore(await lock.handOff());
    await restored.release();
    await settle();
    expect([waiter.value?.held, core.store.count('releaseToWaiter')]).toEqual([true, 1]);
    const again = await core.service.restore(await (waiter.value as Lock).handOff());
    expect(again.held).toBe(true);
    await endsWithNothing(core, again);
  });
});

it('B23 after 1000 locks that were released, lost or waited for in vain, no lock or timer is left', async () => {
  const core = await start({ ttl: 900, retry: 50 });
  const fates: Fate[] = [
    {},
    { before: 5, after: 5 },
    { lose: 'request' },
    { lose: 'answer' },
    { fail: serverRefused },
    { twiceAfter: 20 },
    { lateAfterBreak: 30 },
  ];
  let passed = 0;
  core.store.fate = ({ operation }) =>
    operation === 'releaseToWaiter' ? fates[passed++ % fates.length] : undefined;
  let inside = 0;
  let ran = 0;
  const runs = Array.from({ length: 1000 }, (_, i) =>
    core.service.tryRun(
      'key',
      async () => {
        expect(++inside).toBe(1);
        await new Promise<void>((resolve) => core.clock.outside(1 + (i % 5), resolve));
        inside--;
        ran++;
      },
      { wait: i % 3 === 0 ? 500 : Infinity },
    ),
  );
  await core.clock.advance(60_000);
  const results = await Promise.all(runs);
  expect(results.filter(({ acquired }) => acquired)).toHaveLength(ran);
  for (const result of results)
    if (!result.acquired) expect(result.error).toBeInstanceOf(LockNotAcquiredError);
  expect(ran).toBeGreaterThan(600);
  expect(core.of('acquired')).toHaveLength(ran);
  expect(core.of('released')).toHaveLength(ran);
  await endsWithNothing(core, undefined);
});
