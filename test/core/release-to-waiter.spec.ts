import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { getEventListeners } from 'node:events';
import { LockError, LockLostError, LockNotAcquiredError } from '../../lib/lock.errors.js';
import type { Lock } from '../../lib/lock.js';
import type { AcquireOptions, LockModuleDefaults } from '../../lib/options/lock.options.js';
import {
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

type PassingCore = Core<WaiterReleaseStore>;

const start = (options?: LockModuleDefaults): Promise<PassingCore> =>
  startCoreWith(WaiterReleaseStore, options);

/** A second process on the same store and clock. */
const another = ({ store, clock }: Core): Promise<Core> => startCore({}, { store, clock });

interface Succession {
  lock: Lock;
  heir: Watched<Lock>;
}

/** One call holds the key, and another waits for it. */
async function succession(
  { service, clock }: PassingCore,
  heirs: AcquireOptions = {},
  holders: AcquireOptions = {},
): Promise<Succession> {
  const lock = await service.acquire('key', holders);
  const heir = watch(service.acquire('key', { ...WAIT, ...heirs }));
  await clock.advance(10);
  return { lock, heir };
}

const counts = ({ store }: PassingCore): number[] =>
  (['acquire', 'releaseToWaiter', 'release'] as const).map((operation) => store.count(operation));

/** What was published besides failures of the store, in the order of the alphabet. */
const happened = ({ names }: PassingCore): string[] =>
  names()
    .filter((name) => name !== 'storeError')
    .toSorted();

/** Whoever has it gives it back, and then there is nothing left, also of what is carried out late. */
async function endsWithNothing({ store, clock }: PassingCore, lock: Lock | undefined): Promise<void> {
  store.heal();
  if (lock) expect(await lock.release()).toBe(true);
  await clock.advance(60_000);
  expect(await store.held('key')).toBe(false);
  expect(clock.timers).toEqual([]);
}

describe('a lock that is passed on to the next waiter of the process', () => {
  it.each([0, 5])(
    'B23 is one statement for each of 100 waiters, but for every ninth (%d ms to the store)',
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

  it('B23 goes to them first come, first served, and to none twice', async () => {
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

  it('B23 is that of the next one, with its owner, label and ttl, and a larger token', async () => {
    const core = await start({ autoRenew: false });
    const { lock, heir } = await succession(core, { label: 'next', ttl: 5_000 }, { label: 'first' });
    expect(await lock.release('failed')).toBe(true);
    await settle();
    expect(lock.held).toBe(false);
    expect(heir.value?.held).toBe(true);
    expect(heir.value?.owner).not.toBe(lock.owner);
    expect(heir.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
    expect(await core.service.admin.inspect('key')).toMatchObject({
      state: 'held',
      holder: { label: 'next', remaining: 5_000, fencingToken: heir.value?.fencingToken },
      lastRun: { label: 'first', outcome: 'failed' },
    });
    expect(counts(core)).toEqual([1, 1, 0]);
    await endsWithNothing(core, heir.value);
  });

  it('B23 is renewed for the next one, and not any more for the first', async () => {
    const core = await start({ ttl: 900 });
    const { lock, heir } = await succession(core);
    await lock.release();
    await core.clock.advance(10_000);
    expect(heir.value?.held).toBe(true);
    expect(core.of('lost')).toEqual([]);
    await endsWithNothing(core, heir.value);
  });

  it.each([{}, { before: 20, after: 20 }])('B23 is released, and then acquired: %j', async (fate) => {
    const core = await start();
    core.store.always(fate, 'releaseToWaiter');
    const { lock, heir } = await succession(core);
    const releasing = lock.release();
    await core.clock.advance(50);
    expect([await releasing, heir.state]).toEqual([true, 'resolved']);
    expect(core.names()).toEqual(['acquired', 'released', 'acquired']);
    expect(core.of('acquired')[1]?.waited).toBe(fate.before ? 50 : 10);
  });

  it('B23 is released first also when the time of the next one has come before the answer', async () => {
    const core = await start();
    core.store.next('releaseToWaiter', { before: 50, after: 50 });
    const { lock, heir } = await succession(core, { wait: 50 });
    void lock.release();
    await core.clock.advance(100);
    expect(heir.value?.held).toBe(true);
    expect(core.names()).toEqual(['acquired', 'released', 'acquired']);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B23 B80 is passed on as well when it is released by its owner id', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    expect(await core.service.release('key', lock.owner)).toBe(true);
    await settle();
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B23 goes from run to run, with the outcome of each', async () => {
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

  it('B23 another key has heirs of its own', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    const other = await core.service.acquire('other');
    await other.release();
    expect(heir.state).toBe('pending');
    await lock.release();
    await settle();
    expect(heir.state).toBe('resolved');
  });

  it('B23 the lease of the next one counts from before the request was sent', async () => {
    const core = await start({ ttl: 1_000, autoRenew: false });
    const { lock, heir } = await succession(core);
    core.store.next('releaseToWaiter', { before: 100, after: 100 });
    void lock.release();
    await core.clock.advance(200);
    expect(heir.value?.held).toBe(true);
    await core.clock.advance(1_000 - 50 - 200 - 1);
    expect(heir.value?.held).toBe(true);
    await core.clock.advance(1);
    expect(heir.value?.held).toBe(false);
  });

  it('B23 what the next one gets while the process is frozen for longer than its ttl is freed', async () => {
    const core = await start({ ttl: 1_000, autoRenew: false });
    const { lock, heir } = await succession(core);
    core.store.next('releaseToWaiter', { before: 10, after: 10 });
    const releasing = watch(lock.release());
    await settle();
    core.clock.freeze(1_100);
    await core.clock.advance(100);
    expect([releasing.value, heir.value?.held]).toEqual([true, true]);
    expect(counts(core).slice(0, 2)).toEqual([2, 1]);
    expect(core.of('released')).toHaveLength(1);
  });
});

describe('how often in a row', () => {
  it('B23 a lock is passed on 8 times, and released then', async () => {
    const core = await start();
    const runs = Array.from({ length: 20 }, () => core.service.run('key', () => {}, WAIT));
    await core.clock.advance(1_000);
    await Promise.all(runs);
    const given = core.store.calls.map(({ operation }) => operation).filter((one) => one !== 'acquire');
    const eight = Array(8).fill('releaseToWaiter');
    expect(given).toEqual([...eight, 'release', ...eight, 'release', 'releaseToWaiter', 'release']);
  });

  it('B23 also when never more than one waits: two workers take turns, and others have their chance', async () => {
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

  it('B23 another process that waits has it after the ninth at the latest', async () => {
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

describe('a lock is not passed on', () => {
  it('B23 while it is to be kept', async () => {
    const core = await start();
    const { lock, heir } = await succession(core, {}, { minHold: 5_000 });
    expect(await lock.release()).toBe(true);
    await core.clock.advance(4_900);
    expect(heir.state).toBe('pending');
    expect(core.store.count('releaseToWaiter')).toBe(0);
    await core.clock.advance(1_000);
    expect(heir.value?.held).toBe(true);
    await endsWithNothing(core, heir.value);
  });

  it('B23 but it is when it was held for long enough', async () => {
    const core = await start();
    const { lock, heir } = await succession(core, { minHold: 5_000 }, { minHold: 10 });
    await lock.release();
    await settle();
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B23 to one that wants it once in a slot: only an acquisition can tell', async () => {
    const core = await start();
    Object.assign(core.store, { keepsOnce: true });
    const lock = await core.service.acquire('key');
    const heir = watch(core.service.run('key', () => 'ran', { ...WAIT, once: '1h' }));
    await core.clock.advance(10);
    await lock.release();
    await core.clock.advance(0);
    expect(heir.value).toBe('ran');
    expect(core.store.count('releaseToWaiter')).toBe(0);
    const again = await core.service.acquire('key');
    const refused = errorOf(core.service.run('key', () => 'ran', { ...WAIT, once: '1h' }));
    await core.clock.advance(10);
    await again.release();
    expect(await refused).toMatchObject({ reason: 'tick-done' });
  });

  it('B23 when its key is paused: who waits is told so', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    await core.service.admin.pause('key');
    expect(await lock.release()).toBe(true);
    await settle();
    expect(heir.error).toMatchObject({ name: 'LockNotAcquiredError', reason: 'paused' });
    expect(core.names()).toEqual(['acquired', 'released', 'busy']);
    await endsWithNothing(core, undefined);
  });

  it('B23 when its holder has let it run out', async () => {
    const core = await start({ ttl: 1_000 });
    const { lock, heir } = await succession(core, {}, { autoRenew: false });
    core.clock.freeze(1_200);
    expect(await lock.release()).toBe(false);
    await core.clock.advance(100);
    expect(core.store.count('releaseToWaiter')).toBe(0);
    expect(core.of('lost')).toHaveLength(1);
    expect(heir.value?.held).toBe(true);
    await endsWithNothing(core, heir.value);
  });

  it('B23 while the first in line is asking the store', async () => {
    const core = await start();
    const lock = await core.service.acquire('key');
    core.store.next('acquire', { before: 20, after: 20 });
    const heir = watch(core.service.acquire('key', { ...WAIT, stealAfter: '1h' }));
    await core.clock.advance(10);
    await lock.release();
    await core.clock.advance(30);
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([2, 0, 1]);
  });

  it('B23 while it asks again', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    core.store.next('acquire', { before: 20, after: 20 });
    await core.clock.advance(1_000);
    await lock.release();
    await core.clock.advance(30);
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([2, 0, 1]);
    await endsWithNothing(core, heir.value);
  });

  it('B23 to one that may have got it by an earlier attempt', async () => {
    const core = await start({ retry: 60_000 });
    const lock = await core.service.acquire('key');
    core.store.next('acquire', { lateAfterBreak: 20_000 }, { lose: 'request' }, { lose: 'request' });
    const heir = watch(core.service.acquire('key', { ...WAIT, stealAfter: '1h' }));
    await core.clock.advance(1_000);
    await lock.release();
    await settle();
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([5, 0, 1]);
    await core.clock.advance(20_000);
    await endsWithNothing(core, heir.value);
  });

  it('B23 to one that another holder is passing it on to', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    core.store.next('releaseToWaiter', { hang: 'request' });
    const releasing = watch(lock.release());
    await core.store.server.forceRelease('key');
    const second = await core.service.acquire('key');
    expect(await second.release()).toBe(true);
    expect(counts(core)).toEqual([2, 1, 1]);
    await core.clock.advance(10_000);
    expect([releasing.state, heir.value?.held]).toEqual(['resolved', true]);
    await endsWithNothing(core, heir.value);
  });

  it('B23 by a store that cannot: the next one takes it after the release', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key');
    const heir = watch(service.acquire('key', WAIT));
    await clock.advance(10);
    await lock.release();
    await settle();
    expect(heir.value?.held).toBe(true);
    expect(store.calls.map(({ operation }) => operation)).toEqual(['acquire', 'release', 'acquire']);
  });
});

describe('those behind a holder of their own process', () => {
  it('B23 ask the store after 1 s, in case that it knows more than their process', async () => {
    const core = await start({ retry: 10 });
    const { heir } = await succession(core);
    await core.clock.advance(989);
    expect(core.store.count('acquire')).toBe(1);
    await core.clock.advance(1);
    expect(core.store.count('acquire')).toBe(2);
    await core.store.server.forceRelease('key');
    await core.clock.advance(10);
    expect(heir.value?.held).toBe(true);
  });

  it('B23 ask at once when it runs out', async () => {
    const core = await start();
    const { lock, heir } = await succession(core, {}, { ttl: 300, autoRenew: false });
    await core.clock.advance(300);
    expect(lock.held).toBe(false);
    expect(heir.value?.held).toBe(true);
  });

  it('B23 B28 ask at once when it runs out while its release is not answered', async () => {
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

  it('B18 B23 ask at their deadline', async () => {
    const core = await start();
    const lock = await core.service.acquire('key');
    const refused = errorOf(core.service.acquire('key', { wait: 300 }));
    await core.clock.advance(300);
    expect(await refused).toMatchObject({ name: 'LockNotAcquiredError', waited: 300, reason: 'held' });
    expect(core.store.of('acquire').map(({ at }) => at - START)).toEqual([0, 300]);
    await endsWithNothing(core, lock);
  });

  it('B32 B23 ask at once if they may steal, and inherit all the same', async () => {
    const core = await start();
    const { lock, heir } = await succession(core, { stealAfter: '1h' });
    expect(core.store.count('acquire')).toBe(2);
    await lock.release();
    await settle();
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([2, 1, 0]);
  });
});

describe('an heir that is gone', () => {
  it('B23 B21 before the lock is released gets nothing, and the next one does', async () => {
    const core = await start();
    const abort = new AbortController();
    const { lock, heir } = await succession(core, { signal: abort.signal });
    const next = watch(core.service.acquire('key', WAIT));
    abort.abort(new Error('enough'));
    await settle();
    await lock.release();
    await settle();
    expect(heir.error).toMatchObject({ message: 'enough' });
    expect(next.value?.held).toBe(true);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    await endsWithNothing(core, next.value);
  });

  it('B23 B21 in the same moment gets nothing either', async () => {
    const core = await start({ retry: 60_000 });
    const abort = new AbortController();
    const { lock, heir } = await succession(core, { signal: abort.signal });
    const next = watch(core.service.acquire('key', WAIT));
    await settle();
    abort.abort(new Error('enough'));
    const released = lock.release();
    await settle();
    expect([await released, heir.state, next.state]).toEqual([true, 'rejected', 'resolved']);
    expect(core.store.count('releaseToWaiter')).toBe(0);
    expect(core.store.count('release')).toBe(1);
    await endsWithNothing(core, next.value);
  });

  it.each<[string, Fate]>([
    ['is answered soon', { before: 50, after: 50 }],
    ['is answered after 20 s', { before: 50, after: 20_000 }],
    ['comes late', { before: 20_000 }],
    ['is carried out and never answered', { before: 50, hang: 'answer' }],
    ['is lost', { before: 50, hang: 'request' }],
    ['breaks after it was carried out', { before: 50, lose: 'answer' }],
    ['is carried out after its link broke', { before: 50, lateAfterBreak: 20 }],
  ])('B23 B21 while a request that %s is on its way leaves nothing', async (_, fate) => {
    const core = await start({ retry: 60_000, ttl: Infinity });
    const abort = new AbortController();
    const { lock, heir } = await succession(core, { signal: abort.signal });
    const next = watch(core.service.acquire('key', WAIT));
    await settle();
    core.store.next('releaseToWaiter', fate);
    const releasing = watch(lock.release());
    await core.clock.advance(20);
    abort.abort(new Error('enough'));
    await settle();
    expect(heir.error).toMatchObject({ message: 'enough' });
    await core.clock.advance(40_000);
    expect(releasing).toEqual({ state: 'resolved', value: true });
    expect(next.value?.held).toBe(true);
    expect(next.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
    expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
    expect(getEventListeners(abort.signal, 'abort')).toEqual([]);
    await endsWithNothing(core, next.value);
  });

  it('B23 B18 since its time has come gets the lock that was on its way to it', async () => {
    const core = await start();
    const { lock, heir } = await succession(core, { wait: 100 });
    core.store.next('releaseToWaiter', { before: 80, after: 80 });
    void lock.release();
    await core.clock.advance(159);
    expect(heir.state).toBe('pending');
    await core.clock.advance(1);
    expect(heir.value?.held).toBe(true);
    expect(counts(core)).toEqual([1, 1, 0]);
  });

  it('B23 B18 since its time has come waits no longer for an answer than other attempts do', async () => {
    const core = await start({ ttl: Infinity });
    const { lock, heir } = await succession(core, { wait: 100 });
    core.store.next('releaseToWaiter', { hang: 'request' });
    const releasing = watch(lock.release());
    await core.clock.advance(2_600);
    expect([releasing.value, heir.state]).toEqual([true, 'resolved']);
    await endsWithNothing(core, heir.value);
  });

  it('B23 B21 and aborted when its time has come before the answer ends at once', async () => {
    const core = await start();
    const abort = new AbortController();
    const { lock, heir } = await succession(core, { wait: 100, signal: abort.signal });
    core.store.next('releaseToWaiter', { before: 500, after: 500 });
    void lock.release();
    await core.clock.advance(200);
    abort.abort(new Error('enough'));
    await settle();
    expect(heir.error).toMatchObject({ message: 'enough' });
    await core.clock.advance(1_000);
    expect(await core.store.held('key')).toBe(false);
    await endsWithNothing(core, undefined);
  });
});

describe('a request to pass a lock on', () => {
  /** How it ends, and within how many milliseconds the next one has the lock. */
  const fates: [string, Fate, number][] = [
    ['that is lost on its way', { lose: 'request' }, 0],
    ['whose answer is lost', { lose: 'answer' }, 0],
    ['that is slow', { before: 300, after: 300 }, 600],
    ['that nobody answers', { hang: 'request' }, 10_000],
    ['that is carried out and not answered', { hang: 'answer' }, 10_000],
    ['that is answered after it was given up', { after: 12_000 }, 10_000],
    ['that is carried out after it was given up', { before: 12_000 }, 10_000],
    ['that is carried out just after its link broke', { lateAfterBreak: 5 }, 0],
    ['that is carried out long after its link broke', { lateAfterBreak: 20_000 }, 0],
    ['that is delivered twice', { twiceAfter: 5 }, 0],
    ['that is delivered twice, late', { twiceAfter: 20_000 }, 0],
    ['that the server refuses', { fail: serverRefused }, 0],
    ['whose answer makes no sense', { answer: undefined }, 0],
    ['that fails with an error of the driver', { fail: () => new Error('ECONNRESET') }, 0],
  ];

  it.each(fates)('B23 %s neither loses nor doubles anything', async (_, fate, within) => {
    const core = await start({ retry: 60_000 });
    const { lock, heir } = await succession(core, { ttl: Infinity });
    core.store.next('releaseToWaiter', fate);
    const releasing = watch(lock.release());
    await core.clock.advance(within);
    expect(heir.value?.held).toBe(true);
    expect(heir.value?.fencingToken).toBeGreaterThan(lock.fencingToken);
    await core.clock.advance(1_000);
    expect(releasing).toEqual({ state: 'resolved', value: true });
    await core.clock.advance(20_000);
    expect(heir.value?.held).toBe(true);
    expect(core.store.count('releaseToWaiter')).toBe(1);
    expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
    await endsWithNothing(core, heir.value);
  });

  const broken = fates.filter(([, fate]) => !('twiceAfter' in fate) && (fate.after ?? 0) !== 300);

  it.each(broken)('B23 %s, and a release that fails once as well, neither', async (_, fate, within) => {
    for (const release of [{ lose: 'request' }, { lose: 'answer' }, { lateAfterBreak: 30 }] as const) {
      const core = await start({ retry: 60_000 });
      const { lock, heir } = await succession(core, { ttl: Infinity });
      core.store.next('releaseToWaiter', fate);
      core.store.next('release', release);
      const releasing = watch(lock.release());
      await core.clock.advance(within + 100);
      expect(heir.value?.held).toBe(true);
      expect(releasing).toEqual({ state: 'resolved', value: true });
      await core.clock.advance(20_000);
      expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
      await endsWithNothing(core, heir.value);
    }
  });

  it('B23 that fails with an error of the driver may have been carried out: that is no loss', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    core.store.next('releaseToWaiter', {
      arrived: () => {
        const { next = { owner: '', ttl: 1_000 } } = core.store.of('releaseToWaiter')[0] ?? {};
        void core.store.server.releaseToWaiter('key', lock.owner, next);
      },
      fail: () => new Error('ECONNRESET'),
    });
    expect(await lock.release()).toBe(true);
    await settle();
    expect([lock.loss, heir.value?.held]).toEqual([undefined, true]);
    expect(happened(core)).toEqual(['acquired', 'acquired', 'released']);
    await endsWithNothing(core, heir.value);
  });

  it('B23 that fails is published, as the acquisition that it is', async () => {
    const core = await start();
    for (const fate of [{ fail: serverRefused }, { lose: 'request' }] as const) {
      const { lock, heir } = await succession(core);
      core.store.next('releaseToWaiter', fate);
      await lock.release();
      await core.clock.advance(100);
      await heir.value?.release();
    }
    expect(core.of('storeError')).toMatchObject([
      { key: 'key', operation: 'acquire', error: { message: 'The server refused.' } },
      { key: 'key', operation: 'acquire', error: { message: 'The link broke.' } },
    ]);
  });

  it('B23 is given up after a third of the ttl of the next one, which has no use for it later', async () => {
    const core = await start({ retry: 60_000 });
    const { lock, heir } = await succession(core, { ttl: 300 }, { ttl: Infinity });
    core.store.next('releaseToWaiter', { hang: 'answer' });
    const releasing = watch(lock.release());
    await core.clock.advance(100);
    expect([releasing.value, heir.value?.held]).toEqual([true, true]);
    await endsWithNothing(core, heir.value);
  });

  it('B23 is given up after a third of the ttl of its holder, too', async () => {
    const core = await start({ retry: 60_000 });
    const { lock, heir } = await succession(core, { ttl: Infinity }, { ttl: 300, autoRenew: false });
    core.store.next('releaseToWaiter', { hang: 'request' });
    const releasing = watch(lock.release());
    await core.clock.advance(100);
    expect([releasing.value, heir.value?.held]).toEqual([true, true]);
    await endsWithNothing(core, heir.value);
  });

  it('B23 goes on when its store throws instead of rejecting', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    core.store.releaseToWaiter = () => {
      throw serverRefused();
    };
    expect(await lock.release()).toBe(true);
    await settle();
    expect(heir.value?.held).toBe(true);
  });

  it('B23 while the store is away ends with the error of the release, and waiting goes on', async () => {
    const core = await start({ ttl: 900, retry: 100 });
    const { lock, heir } = await succession(core, {}, { autoRenew: false });
    core.store.always({ lose: 'request' });
    const failing = errorOf(lock.release());
    await core.clock.advance(1_000);
    expect(await failing).toMatchObject({ name: 'LockStoreError', transient: true });
    expect(heir.state).toBe('pending');
    core.store.heal();
    await core.clock.advance(1_000);
    expect(heir.value?.held).toBe(true);
    await endsWithNothing(core, heir.value);
  });

  it('B35 B23 whose holder was robbed tells it of the loss, and the next one waits on', async () => {
    const core = await start({ retry: 50 });
    const { lock, heir } = await succession(core);
    await core.store.server.forceRelease('key');
    const other = await core.store.takenBy('other', 'key');
    expect(await lock.release()).toBe(false);
    expect(lock.loss).toBeInstanceOf(LockLostError);
    await core.clock.advance(500);
    expect(heir.state).toBe('pending');
    expect(core.names()).toEqual(['acquired', 'lost']);
    await core.store.server.release('key', other);
    await core.clock.advance(50);
    expect(heir.value?.held).toBe(true);
    await endsWithNothing(core, heir.value);
  });

  it('B23 waits for the renewal that is on its way', async () => {
    const core = await start({ ttl: 900 });
    const { lock, heir } = await succession(core);
    core.store.next('renewMany', { before: 50, after: 50 });
    await core.clock.advance(300);
    void lock.release();
    await settle();
    expect(core.store.count('releaseToWaiter')).toBe(0);
    await core.clock.advance(100);
    expect(heir.value?.held).toBe(true);
    await endsWithNothing(core, heir.value);
  });
});

describe('passing on and shutting down', () => {
  const stop = async ({ service }: PassingCore): Promise<void> => {
    await service[INTERNALS].drain();
    await service[INTERNALS].close();
  };

  it('B12 B23 nothing is passed on to those whose wait the shutdown ends', async () => {
    const core = await start({ shutdownTimeout: 0 });
    const { heir } = await succession(core);
    await stop(core);
    expect(heir.error).toBeInstanceOf(LockError);
    expect(counts(core)).toEqual([1, 0, 1]);
    expect(core.names()).toEqual(['acquired', 'lost']);
    expect(await core.store.held('key')).toBe(false);
    expect(core.clock.timers).toEqual([]);
  });

  it.each<[string, Fate, number]>([
    ['is answered', { before: 50, after: 50 }, 100],
    ['loses its answer', { before: 50, lose: 'answer' }, 200],
    ['is carried out and never answered', { before: 50, hang: 'answer' }, 11_000],
  ])('B12 B23 what a request that %s has passed on meanwhile is freed', async (_, fate, within) => {
    const core = await start({ ttl: Infinity });
    const { lock, heir } = await succession(core);
    core.store.next('releaseToWaiter', fate);
    const releasing = watch(lock.release());
    await core.clock.advance(20);
    const closed = watch(stop(core));
    await settle();
    expect(heir.error).toBeInstanceOf(LockError);
    expect(closed.state).toBe('pending');
    await core.clock.advance(within);
    expect([releasing.value, closed.state]).toEqual([true, 'resolved']);
    expect(happened(core)).toEqual(['acquired', 'released']);
    await endsWithNothing(core, undefined);
  });

  it('B12 B23 a shutdown in the moment of the answer leaves nothing', async () => {
    const core = await start({ ttl: Infinity, shutdownTimeout: 0 });
    const { lock, heir } = await succession(core);
    core.store.next('releaseToWaiter', { before: 10, after: 10 });
    void lock.release();
    core.clock.outside(20, () => void stop(core));
    await core.clock.advance(100);
    expect(heir.state).not.toBe('pending');
    expect(heir.value?.held ?? false).toBe(false);
    await endsWithNothing(core, undefined);
  });
});

describe('B80 passing on and handing on', () => {
  it('who waits does not get what is handed on to another process', async () => {
    const core = await start();
    const there = await another(core);
    const { lock, heir } = await succession(core);
    const restored = await there.service.restore(await lock.handOff());
    await core.clock.advance(5_000);
    expect([heir.state, core.store.count('releaseToWaiter')]).toEqual(['pending', 0]);
    await restored.release();
    await core.clock.advance(1_000);
    expect(heir.value?.held).toBe(true);
  });

  it('a lock that was taken up is passed on, and one that was passed on can be handed on', async () => {
    const core = await start();
    const { lock, heir } = await succession(core);
    const restored = await core.service.restore(await lock.handOff());
    await restored.release();
    await settle();
    expect([heir.value?.held, core.store.count('releaseToWaiter')]).toEqual([true, 1]);
    const again = await core.service.restore(await (heir.value as Lock).handOff());
    expect(again.held).toBe(true);
    await endsWithNothing(core, again);
  });
});

it('B23 nothing is left of 1000 locks that were passed on, lost and waited for in vain', async () => {
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
