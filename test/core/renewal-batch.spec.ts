import { describe, expect, it } from '@jest/globals';
import type { Lock } from '../../lib/index.js';
import { captureLog, startCore, type Core } from './core-fixture.js';
import { linkBroken, serverRefused, type Fate } from './scripted-store.js';

captureLog();

const TTL = 30_000;
const DEADLINE = TTL - 1500; // The library stops 1.5 s before the lease ends in the store.
const INTERVAL = TTL / 3;

/**
 * 500 locks that are renewed in one batch; `middle` is the lock in the middle of the batch.
 */
async function hold500(): Promise<Core & { locks: Lock[]; middle: Lock; rest: Lock[] }> {
  const core = await startCore({ ttl: TTL });
  const locks = await Promise.all(Array.from({ length: 500 }, (_, i) => core.service.acquire(`key ${i}`)));
  return { ...core, locks, middle: locks[250]!, rest: locks.filter((_, i) => i !== 250) };
}

/**
 * Simulates a row that another session has locked: the server renews the other rows and
 * answers 'unknown' for that row.
 */
function outOfReach({ store: { server } }: Core, locked: string): void {
  const renewMany = server.renewMany.bind(server);
  server.renewMany = async (renewals) => {
    const outcomes = await renewMany(renewals.filter(({ key }) => key !== locked));
    return renewals.map(({ key }) => (key === locked ? 'unknown' : outcomes.shift()!));
  };
}

const allHeld = async ({ store }: Core, locks: Lock[]): Promise<void> => {
  expect(locks.filter((lock) => !lock.held).map(({ key }) => key)).toEqual([]);
  for (const { key, owner } of locks) expect(await store.renew(key, owner, TTL)).toBe(true);
};

describe('one lease in the middle of a batch of 500', () => {
  it.each<[string, Fate]>([
    ['the request gets lost', { hang: 'request' }],
    ['the answer gets lost', { hang: 'answer' }],
    ['the answer comes after its deadline', { after: TTL }],
    ['the statement reaches the server after its deadline', { before: TTL }],
    ['the server refuses, as a lock-wait time-out does', { fail: serverRefused }],
    ['the link breaks', { fail: linkBroken }],
  ])(
    'B28 only the lock in the middle of the batch is lost if the retry of its renewal fails: %s',
    async (_, fate) => {
      const core = await hold500();
      const { store, clock, middle, rest } = core;
      outOfReach(core, middle.key);
      store.fate = (call) => (call.operation === 'renew' && call.key === middle.key ? fate : undefined);

      await clock.advance(DEADLINE - 1);
      expect(middle.held).toBe(true);
      await clock.advance(1);
      expect(middle.held).toBe(false);
      await clock.advance(2 * TTL);
      expect(core.of('lost').map(({ key }) => key)).toEqual([middle.key]);
      expect(new Set(core.of('renewFailed').map(({ key }) => key))).toEqual(new Set([middle.key]));
      store.heal();
      await allHeld(core, rest);
    },
  );

  it.each<[string, Fate]>([
    ['gets no answer', { hang: 'request' }],
    ['is refused', { fail: serverRefused }],
  ])('B28 only the lock in the middle is lost if every request that renews it %s', async (_, fate) => {
    const core = await hold500();
    const { store, clock, middle, rest } = core;
    store.fate = ({ key, renewals = [] }) =>
      key === middle.key || renewals.some((one) => one.key === middle.key) ? fate : undefined;
    await clock.advance(3 * TTL);
    expect(core.of('lost').map(({ key }) => key)).toEqual([middle.key]);
    // Each lock is retried alone at least once.
    expect(store.count('renew')).toBeGreaterThanOrEqual(500);
    store.heal();
    await allHeld(core, rest);
  });

  it('B32 if the lock in the middle is stolen, no other lock is lost, and the thief keeps the stolen lock', async () => {
    const core = await hold500();
    await core.store.server.forceRelease(core.middle.key);
    await core.store.takenBy('thief', core.middle.key, 10 * TTL);
    await core.clock.advance(INTERVAL);
    expect(core.middle.held).toBe(false);
    await core.clock.advance(3 * TTL);
    expect(core.of('lost').map(({ key }) => key)).toEqual([core.middle.key]);
    expect(await core.store.inspect(core.middle.key)).toMatchObject({
      state: 'held',
      holder: { label: 'thief' },
    });
    await allHeld(core, core.rest);
  });
});

describe('a batch of 500', () => {
  it.each<[string, Fate]>([
    ['is answered too late', { after: 2 * TTL }],
    ['reaches the server too late', { before: 2 * TTL }],
    ['gets lost on its way', { hang: 'request' }],
    ['is carried out, and its answer gets lost', { lose: 'answer' }],
    ['fails for the sake of one lease', { fail: serverRefused }],
    ['is answered with nothing', { answer: [] }],
  ])('B51 no lock is lost if the batch %s, since each lock is retried alone in time', async (_, fate) => {
    const core = await hold500();
    core.store.next('renewMany', fate);
    await core.clock.advance(4 * TTL);
    expect(core.of('lost')).toEqual([]);
    await allHeld(core, core.locks);
  });

  it('B51 no other lock of a late batch is lost if one is stolen, one released and one row locked', async () => {
    const core = await hold500();
    const { clock, store, locks } = core;
    const [stolen, locked, released] = [locks[100]!, locks[250]!, locks[400]!];
    const rest = locks.filter((lock) => ![stolen, locked, released].includes(lock));
    await store.server.forceRelease(stolen.key);
    await store.takenBy('thief', stolen.key, 10 * TTL);
    store.next('renewMany', { before: 1000, after: 4000 });
    store.fate = ({ operation, key }) =>
      operation === 'renew' && key === locked.key ? { fail: linkBroken } : undefined;
    outOfReach(core, locked.key);
    await clock.advance(INTERVAL + 500);
    // The lock is released while its renewal is under way.
    const releasing = released.release();
    await clock.advance(4 * TTL);
    expect(await releasing).toBe(true);
    expect(core.of('lost').map(({ key }) => key)).toEqual([stolen.key, locked.key]);
    expect(await store.held(released.key)).toBe(false);
    await allHeld(core, rest);
  });
});
