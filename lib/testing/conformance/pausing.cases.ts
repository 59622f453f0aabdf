import { strict as assert } from 'node:assert';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  assertRecord,
  assertGrowing,
  LEASE,
  NEVER,
  pick,
  together,
  type Cases,
} from './conformance-trial.js';

const HOUR = 3_600_000;

/** No attempt gets a paused key, but a present holder keeps its lock. */
export const pausing: Cases = {
  async 'B73 a paused key is refused to every owner, until it is resumed'(t) {
    const { key, owner, token } = await t.take(t.key());
    await t.store.release(key, owner);
    assert.equal(await t.pauser.pause(key), true);
    for (const store of await t.instances()) await t.refused(key, 'paused', { store });
    assert.equal(await t.pauser.resume(key), true);
    assertGrowing([token, (await t.take(key, { store: await t.open() })).token]);
  },

  async 'B73 a key that was never used can be paused'(t) {
    const key = t.key();
    assert.equal(await t.pauser.pause(key), true);
    await t.refused(key, 'paused');
    await t.refused(key, 'paused', { store: await t.open(), resend: true });
    assert.equal(await t.pauser.resume(key), true);
    const { owner } = await t.take(key);
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    assert.equal(await t.store.release(key, owner), true);
  },

  async 'B73 pause and resume return true only if they change the key'(t) {
    const key = t.key();
    assert.equal(await t.pauser.resume(key), false);
    assert.equal(await t.pauser.pause(key), true);
    assert.equal(await t.pauser.pause(key), false);
    assert.equal(await t.pauser.resume(key), true);
    assert.equal(await t.pauser.resume(key), false);
    await t.take(key);
  },

  async 'B73 the holder of a paused key can renew and release it, and no owner gets it after that'(t) {
    const { key, owner, token } = await t.take(t.key());
    assert.equal(await t.pauser.pause(key), true);
    await t.refused(key, 'paused');
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    const again = await t.take(key, { owner, resend: true });
    assert.equal(again.token, token);
    assert.equal(await t.store.release(key, owner), true);
    await t.refused(key, 'paused');
    assert.equal(await t.pauser.resume(key), true);
    assertGrowing([token, (await t.take(key)).token]);
  },

  async 'B73 a holder keeps its lock when its key is paused and resumed'(t) {
    const { key, owner, token } = await t.take(t.key());
    await t.pauser.pause(key);
    assert.equal(await t.pauser.resume(key), true);
    assertRecord(await t.refusal(key), { fencingToken: token });
    assert.equal(await t.store.release(key, owner), true);
  },

  async 'B73 a paused key is refused even after its lease, or the time of keepFor, has ended'(t) {
    const expired = await t.take(t.key(), { ttl: t.settings.ttl });
    const kept = await t.take(t.key());
    await t.pauser.pause(expired.key);
    await t.pauser.pause(kept.key);
    await t.store.release(kept.key, kept.owner, { keepFor: t.settings.ttl });
    await t.shortLeasesRanOut();
    for (const { key } of [expired, kept]) await t.refused(key, 'paused');
    await t.pauser.resume(expired.key);
    assertGrowing([expired.token, (await t.take(expired.key)).token]);
  },

  async 'B73 a pause affects only its own key, not keys with a similar name'(t) {
    const key = t.key();
    await t.pauser.pause(`${key}:a`);
    await t.take(`${key}:b`);
    await t.take(key);
  },

  async 'B73 exactly one of many simultaneous calls of pause, or of resume, returns true'(t) {
    const stores = await t.instances();
    for (let round = 0; round < t.settings.rounds; round++) {
      const key = t.key();
      const paused = await together(stores.length, () => t.pauser.pause(key));
      assert.deepEqual(paused.filter(Boolean), [true]);
      const resumed = await together(stores.length, () => t.pauser.resume(key));
      assert.deepEqual(resumed.filter(Boolean), [true]);
    }
  },

  async 'B73 each attempt after a pause is refused, even while many owners compete for the key'(t) {
    const [stores, { pauser }] = [await t.instances(), t];
    for (let round = 0; round < t.settings.rounds; round++) {
      const key = t.key();
      const paused = new AbortController();
      const contenders = together(2 * stores.length, async (i) => {
        for (const store = pick(stores, i); !paused.signal.aborted; await nextTurn()) {
          const owner = t.owner();
          if ((await t.attempt(key, { store, owner })).acquired) await store.release(key, owner);
        }
        await t.refused(key, 'paused', { store: pick(stores, i) });
      });
      const pause = pauser.pause(key).finally(() => paused.abort());
      await Promise.allSettled([contenders, pause]);
      assert.equal(await pause, true);
      await contenders;
    }
  },
};

/** An inspection shows a pause, and neither a forced release nor a purge ends it. */
export const pausingInspected: Cases = {
  async 'B73 an inspection shows whether a held, expired or free key is paused'(t) {
    const held = await t.take(t.key());
    const released = await t.take(t.key());
    await t.store.release(released.key, released.owner);
    const expired = await t.expired();
    const states = {
      [held.key]: 'held',
      [released.key]: 'free',
      [expired.key]: 'expired',
      [t.key()]: 'free',
    };
    for (const [key, state] of Object.entries(states)) {
      assert.equal((await t.inspector.inspect(key)).paused, undefined);
      await t.pauser.pause(key);
      const found = await t.inspector.inspect(key);
      assert.deepEqual([found.state, found.paused], [state, true]);
      await t.pauser.resume(key);
      const resumed = await t.inspector.inspect(key);
      assert.deepEqual([resumed.state, resumed.paused], [state, undefined]);
    }
  },

  async 'B73 a paused key without a holder is not listed'(t) {
    const prefix = `${t.key()}:`;
    const held = await t.take(`${prefix}held`);
    await t.pauser.pause(`${prefix}free`);
    await t.pauser.pause(held.key);
    const { locks } = await t.inspector.list({ prefix, limit: 10 });
    assert.deepEqual(
      Array.from(locks, ({ key }) => key),
      [held.key],
    );
  },

  async 'B73 a forced release leaves a key paused'(t) {
    const { key, owner } = await t.take(t.key(), { ttl: NEVER });
    await t.pauser.pause(key);
    assert.equal(await t.inspector.forceRelease(key), true);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    await t.refused(key, 'paused');
  },

  async 'B73 a paused key is never purged'(t) {
    const prefix = `${t.key()}:`;
    const used = await t.take(`${prefix}used`);
    await t.store.release(used.key, used.owner);
    await t.pauser.pause(used.key);
    await t.pauser.pause(`${prefix}new`);
    await t.shortLeasesRanOut();
    assert.equal(await t.inspector.purge({ prefix, olderThan: 0 }), 0);
    await t.refused(used.key, 'paused');
    await t.refused(`${prefix}new`, 'paused');
    await t.pauser.resume(used.key);
    assert.equal(await t.inspector.purge({ prefix, olderThan: 0 }), 1);
  },

  async 'B73 resuming a key that was never locked stores nothing'(t) {
    const key = t.key();
    await t.pauser.resume(key);
    assert.equal(await t.inspector.purge({ prefix: key, olderThan: 0 }), 0);
  },
};

/**
 * Which reason the store reports if a key is paused and would be refused for another reason
 * too.
 */
export const pausingOnce: Cases = {
  async 'B73 a paused key is not stolen'(t) {
    const { key, owner } = await t.take(t.key());
    await t.pauser.pause(key);
    await t.shortLeasesRanOut();
    await t.refused(key, 'paused', { stealAfter: 1 });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B73 a tick that was refused because of a pause is granted once the key is resumed'(t) {
    const once = { tick: Date.now() - HOUR / 2, ahead: HOUR };
    const key = t.key();
    await t.pauser.pause(key);
    await t.refused(key, 'paused', { once });
    await t.pauser.resume(key);
    await t.take(key, { once });
  },

  async 'B73 if a refusal has several reasons, it shows the first of: too far ahead, paused, done, held'(t) {
    const done = { tick: Date.now() - HOUR / 2, ahead: HOUR };
    const next = { tick: done.tick + 1, ahead: HOUR };
    const ahead = { tick: Date.now() + 3 * HOUR, ahead: HOUR };
    const { key, owner } = await t.take(t.key(), { once: done });
    for (const free of [false, true]) {
      if (free) await t.store.release(key, owner);
      await t.pauser.pause(key);
      await t.refused(key, 'tick-ahead', { once: ahead });
      await t.refused(key, 'paused', { once: done });
      await t.refused(key, 'paused', { once: next });
      await t.pauser.resume(key);
      await t.refused(key, 'tick-ahead', { once: ahead });
      await t.refused(key, 'tick-done', { once: done });
      if (!free) await t.refusal(key, { once: next });
    }
    await t.take(key, { once: next });
  },
};
