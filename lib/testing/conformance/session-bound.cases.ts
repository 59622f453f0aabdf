import { strict as assert } from 'node:assert';
import type { LockStore, SessionBound } from '../../interfaces/lock-store.interface.js';
import {
  assertGrowing,
  LEASE,
  NEVER,
  pick,
  together,
  type Cases,
  type ConformanceTrial,
} from './conformance-trial.js';

/** Milliseconds by which a wait may end too early, since timers may fire early. */
const EARLY = 5;

/**
 * A lock lasts as long as a connection of its holder, and contenders wait in the server.
 */
export const sessionBound: Cases = {
  async 'B20 a held lock is refused to every other instance, and granted to each after its release'(t) {
    const [store, ...others] = await t.instances();
    const { key, owner } = await t.take(t.key(), { store });
    for (const other of others) await refused(t, key, { store: other });
    await refused(t, key, { store });
    await refused(t, key, { store, owner });
    assert.equal(await store.release(key, owner), true);
    for (const other of others) {
      const grant = await t.take(key, { store: other });
      assert.equal(await other.release(key, grant.owner), true);
    }
  },

  async 'B25 exactly one of many simultaneous acquirers wins, with a token larger than all before'(t) {
    const stores = await t.instances();
    const key = t.key();
    const tokens: number[] = [];
    for (let round = 0; round < t.settings.rounds; round++) {
      const grants = await together(t.settings.racers, async (racer) => {
        const [store, owner] = [pick(stores, racer), t.owner()];
        const result = await t.attempt(key, { store, owner });
        return result.acquired ? [{ store, owner, token: result.fencingToken }] : [];
      });
      const [winner, ...more] = grants.flat();
      assert.ok(
        winner && more.length === 0,
        `${grants.flat().length} racers were granted the key, but one must be`,
      );
      tokens.push(winner.token);
      assert.equal(await winner.store.release(key, winner.owner), true);
    }
    assertGrowing(tokens);
  },

  async 'B20 a waiter in the same or in another instance gets the lock when its holder releases it'(t) {
    const other = await t.open();
    for (const waiter of [t.store, other]) {
      const { key, owner, token } = await t.take(t.key());
      const next = t.owner();
      const waiting = waiter.acquire(key, next, LEASE, { wait: Infinity });
      await refused(t, key);
      assert.equal(await t.store.release(key, owner), true);
      const granted = await waiting;
      assert.ok(granted.acquired, 'a waiter without a time limit was refused');
      assertGrowing([token, granted.fencingToken]);
      assert.equal(await waiter.release(key, next), true);
    }
  },

  async 'B18 a wait of 0.3 s or 1.2 s ends with a refusal, and not too early'(t) {
    const { key } = await t.take(t.key());
    const other = await t.open();
    for (const wait of [300, 1200]) {
      const begun = performance.now();
      await refused(t, key, { store: other, wait });
      const waited = performance.now() - begun;
      assert.ok(waited >= wait - EARLY, `a wait of ${wait} ms ended too early, after ${waited} ms`);
    }
  },

  async 'B21 an aborted wait ends with a refusal, and does not take the lock later'(t) {
    const other = await t.open();
    const { key, owner } = await t.take(t.key());
    const abort = new AbortController();
    const waiting = other.acquire(key, t.owner(), LEASE, { wait: Infinity, signal: abort.signal });
    await refused(t, key);
    abort.abort();
    assert.equal((await waiting).acquired, false);
    assert.equal(await t.store.release(key, owner), true);
    await t.take(key);
    const over = AbortSignal.abort();
    assert.equal((await other.acquire(t.key(), t.owner(), LEASE, { signal: over })).acquired, false);
  },

  async 'B57 a renewal returns true only to the holder, and only while it holds the lock'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    assert.equal(await t.store.renew(key, owner, NEVER), true);
    assert.equal(await t.store.renew(key, t.owner(), LEASE), false);
    assert.equal(await (await t.open()).renew(key, owner, LEASE), false);
    assert.equal(await t.store.release(key, owner), true);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
  },

  async 'B43 a release returns true once, and only to the holder'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.release(key, t.owner()), false);
    assert.equal(await (await t.open()).release(key, owner), false);
    await refused(t, key);
    const released = await together(8, () => t.store.release(key, owner));
    assert.deepEqual(released.filter(Boolean), [true]);
  },

  async 'B76 a release with keepFor keeps the key taken until keepFor has passed'(t) {
    const { key, owner } = await t.take(t.key());
    const begun = performance.now();
    assert.equal(await t.store.release(key, owner, { keepFor: t.settings.ttl }), true);
    assert.equal(await t.store.release(key, owner), false);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    const result = await (await t.open()).acquire(key, t.owner(), LEASE, { wait: Infinity });
    assert.ok(result.acquired);
    const kept = performance.now() - begun;
    assert.ok(kept >= t.settings.ttl - EARLY, `the key was free too early, after ${kept} ms`);
  },

  async 'B41 similar keys are different locks'(t) {
    const base = `${t.key()}:${'long '.repeat(60)}`;
    const keys = [base, base.toUpperCase(), `${base} `, `${base}é`, `${base}e\u0301`, `${base}%`, `${base}_`];
    for (const key of keys) await t.take(key);
    for (const key of keys) await refused(t, key, { store: await t.open() });
  },

  async 'a store that is closed releases all its locks'(t) {
    const other = (await t.open()) as LockStore & { close(): Promise<void> };
    const [held, kept] = [t.key(), t.key()];
    const { owner } = await t.take(held, { store: other });
    const released = await t.take(kept, { store: other });
    await other.release(kept, released.owner, { keepFor: LEASE });
    const waiting = t.store.acquire(held, t.owner(), LEASE, { wait: Infinity });
    await other.close();
    assert.ok((await waiting).acquired);
    assert.ok((await t.store.acquire(kept, t.owner(), LEASE, { wait: Infinity })).acquired);
    assert.equal(await other.release(held, owner), false);
  },

  async 'a store of session locks declares this in sessionBound, and has watch for listeners to losses'(t) {
    const store: LockStore & Partial<SessionBound> = t.store;
    assert.equal(store.sessionBound, true);
    assert.ok(store.watch, 'the store has no watch()');
    store.watch(() => {});
  },
};

async function refused(
  t: ConformanceTrial,
  key: string,
  attempt: Parameters<ConformanceTrial['attempt']>[1] = {},
): Promise<void> {
  assert.equal((await t.attempt(key, attempt)).acquired, false, 'a held lock was granted');
}
