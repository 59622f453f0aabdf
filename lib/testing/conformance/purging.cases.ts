import { strict as assert } from 'node:assert';
import { setImmediate as nextTurn, setTimeout as pause } from 'node:timers/promises';
import type { LockInspector } from '../../interfaces/lock-store.interface.js';
import {
  assertRecord,
  assertGrowing,
  LEASE,
  NEVER,
  pick,
  show,
  together,
  type Cases,
  type ConformanceTrial,
} from './conformance-trial.js';

/**
 * A purge deletes old keys, and does not disturb locks. Each purge has a prefix, since other
 * cases may use the same database.
 */
export const purging: Cases = {
  async 'B72 a purge deletes released and expired keys with their last runs, and returns their number'(t) {
    const prefix = `${t.key()}:`;
    const released = await t.take(`${prefix}released`);
    const kept = await t.take(`${prefix}kept`);
    const expired = await t.take(`${prefix}expired`, { ttl: t.settings.ttl });
    await t.store.release(kept.key, kept.owner, { keepFor: t.settings.ttl });
    await t.shortLeasesRanOut();
    await t.store.release(released.key, released.owner, { outcome: 'failed' });
    assert.equal(await t.inspector.purge({ prefix, olderThan: 0 }), 3);
    for (const { key } of [released, kept, expired])
      assert.ok(await isForgotten(t.inspector, key), `the purge did not delete ${key}`);
    assert.equal(await t.inspector.purge({ prefix, olderThan: 0 }), 0);
    await t.take(released.key);
  },

  async 'B72 a purge leaves held keys, and keys that a release keeps taken, whatever their age'(t) {
    const prefix = `${t.key()}:`;
    const held = await t.take(`${prefix}held`);
    const endless = await t.take(`${prefix}endless`, { ttl: NEVER });
    const kept = await t.take(`${prefix}kept`);
    await t.store.release(kept.key, kept.owner, { keepFor: LEASE });
    await t.shortLeasesRanOut();
    assert.equal(await t.inspector.purge({ prefix, olderThan: 0 }), 0);
    for (const { key, token } of [held, endless, kept])
      assertRecord(await t.refusal(key), { fencingToken: token });
    assert.equal(await t.store.renew(held.key, held.owner, LEASE), true);
    assert.equal(await t.store.release(endless.key, endless.owner), true);
  },

  async 'B72 a purge deletes only keys that have not been used for olderThan'(t) {
    const prefix = `${t.key()}:`;
    const released = await t.take(`${prefix}released`);
    await t.store.release(released.key, released.owner);
    await t.take(`${prefix}expired`, { ttl: t.settings.ttl });
    await t.shortLeasesRanOut();
    for (const olderThan of [LEASE, LEASE + 0.5, NEVER])
      assert.equal(await t.inspector.purge({ prefix, olderThan }), 0);
    assert.equal(await t.inspector.purge({ olderThan: NEVER }), 0);
    assert.ok(
      !(await isForgotten(t.inspector, released.key)),
      `the purge deleted ${released.key}, which is too young`,
    );
    await t.shortLeasesRanOut();
    assert.equal(await t.inspector.purge({ prefix, olderThan: t.settings.ttl }), 2);
  },

  async 'B72 a purge touches only keys with its prefix, which is taken literally'(t) {
    const base = t.key();
    const names = ['%', '%a', '*', '.', '1', 'A', '[a]', '\\', '_', '_a', 'a', 'ab', 'b', 'é', 'e', '🔒'];
    for (const name of names) {
      const { key, owner } = await t.take(`${base}${name}`);
      await t.store.release(key, owner);
    }
    await t.shortLeasesRanOut();
    for (const name of names) {
      const there = await remaining(t.inspector, base, names);
      const expected = there.filter((other) => !other.startsWith(name));
      const purged = await t.inspector.purge({ prefix: `${base}${name}`, olderThan: 0 });
      assert.deepEqual(
        await remaining(t.inspector, base, names),
        expected,
        `a purge of the prefix ${name} deleted the wrong keys`,
      );
      assert.equal(purged, there.length - expected.length);
    }
  },

  async 'B72 each grant after a purge has a larger token, in all instances'(t) {
    const stores = await t.instances();
    const key = t.key();
    const tokens: number[] = [];
    for (let round = 0; round < 2 * stores.length; round++) {
      const { owner, token } = await t.take(key, { store: pick(stores, round) });
      tokens.push(token);
      await t.store.release(key, owner);
      await forget(t, key);
    }
    assertGrowing(tokens);
  },

  async 'B72 a counter under a lock loses no update while its key is purged, and tokens grow'(t) {
    const stores = await t.instances();
    const [key, workers] = [t.key(), 2 * stores.length];
    const tokens: number[] = [];
    let counter = 0;
    const over = new AbortController();
    const work = async (worker: number): Promise<void> => {
      const store = pick(stores, worker);
      for (let section = 0; section < t.settings.rounds; section++) {
        const { owner, token } = await t.takeWhenFree(key, { store });
        const seen = counter;
        await nextTurn();
        counter = seen + 1;
        tokens.push(token);
        assert.equal(await store.release(key, owner), true);
      }
    };
    const purge = async (): Promise<void> => {
      while (!over.signal.aborted) {
        await t.inspector.purge({ prefix: key, olderThan: 0 });
        await nextTurn();
      }
    };
    const ends = [together(workers, work).finally(() => over.abort()), together(2, purge)];
    await Promise.allSettled(ends);
    await Promise.all(ends);
    assert.equal(counter, workers * t.settings.rounds);
    assertGrowing(tokens);
  },
};

/**
 * Whether the store has forgotten the key, so that an inspection shows neither a holder nor a
 * run.
 */
async function isForgotten(inspector: LockInspector, key: string): Promise<boolean> {
  const { state, lastRun } = await inspector.inspect(key);
  return state === 'free' && lastRun === undefined;
}

async function remaining(inspector: LockInspector, base: string, names: string[]): Promise<string[]> {
  const there: string[] = [];
  for (const name of names) if (!(await isForgotten(inspector, `${base}${name}`))) there.push(name);
  return there;
}

/**
 * Purges a free key. If the store's clock is coarse, the purge succeeds only after the clock
 * has moved on.
 */
async function forget(t: ConformanceTrial, key: string): Promise<void> {
  const deadline = performance.now() + t.settings.patience;
  while ((await t.inspector.purge({ prefix: key, olderThan: 0 })) === 0) {
    assert.ok(performance.now() < deadline, `${show(key)} is free, but is not purged`);
    await pause(1);
  }
}
