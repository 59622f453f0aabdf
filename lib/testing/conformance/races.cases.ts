import { strict as assert } from 'node:assert';
import { setImmediate as nextTurn } from 'node:timers/promises';
import {
  assertRecord,
  assertGrowing,
  LEASE,
  onlyOne,
  pick,
  together,
  type Cases,
} from './conformance-trial.js';

/**
 * Exactly one of many simultaneous attempts wins, and the others are refused. A collision
 * inside the database does not become an error.
 */
export const races: Cases = {
  async 'B25 exactly one of many simultaneous acquirers of a new key gets it'(t) {
    for (let round = 0; round < t.settings.rounds; round++) {
      const winner = onlyOne(await t.race(t.key()));
      assertRecord(await t.refusal(winner.key), { fencingToken: winner.token });
      assert.equal(await t.store.renew(winner.key, winner.owner, LEASE), true);
    }
  },

  async 'B25 exactly one of many simultaneous acquirers of a released key gets it, with a larger token'(t) {
    let { key, owner, token } = await t.take(t.key());
    for (let round = 0; round < t.settings.rounds; round++) {
      assert.equal(await t.store.release(key, owner), true);
      const winner = onlyOne(await t.race(key));
      assertGrowing([token, winner.token]);
      ({ owner, token } = winner);
    }
  },

  async 'B25 exactly one of many simultaneous acquirers of an expired key gets it, with a larger token'(t) {
    let { key, owner, token } = await t.take(t.key());
    for (let round = 0; round < Math.min(3, t.settings.rounds); round++) {
      assert.equal(await t.store.renew(key, owner, t.settings.ttl), true);
      await t.shortLeasesRanOut();
      const winner = onlyOne(await t.race(key));
      assertGrowing([token, winner.token]);
      assert.equal(await t.store.renew(key, owner, LEASE), false);
      ({ owner, token } = winner);
    }
  },

  async 'B24 simultaneous attempts for many different keys are all granted'(t) {
    const stores = await t.instances();
    const grants = await together(2 * t.settings.racers, (i) => t.take(t.key(), { store: pick(stores, i) }));
    for (const { key, owner } of grants) assert.equal(await t.store.release(key, owner), true);
  },

  async 'B40 a counter under a lock loses no update'(t) {
    const stores = await t.instances();
    const [key, workers] = [t.key(), 2 * stores.length];
    const tokens: number[] = [];
    let counter = 0;
    await together(workers, async (worker) => {
      const store = pick(stores, worker);
      for (let section = 0; section < t.settings.rounds; section++) {
        const { owner, token } = await t.takeWhenFree(key, { store });
        const seen = counter;
        await nextTurn();
        counter = seen + 1;
        tokens.push(token);
        assert.equal(await store.release(key, owner), true);
      }
    });
    assert.equal(counter, workers * t.settings.rounds);
    assertGrowing(tokens);
  },

  async 'B26 the holder can renew and release its lock while many contenders try to get it'(t) {
    const stores = await t.instances();
    const { key, owner } = await t.take(t.key());
    const over = new AbortController();
    const contenders = together(stores.length, async (i) => {
      while (!over.signal.aborted) {
        const result = await t.attempt(key, { store: pick(stores, i) });
        assert.ok(over.signal.aborted || !result.acquired, 'a contender was granted a held lock');
        await nextTurn();
      }
    });
    const holder = holdOn().finally(() => over.abort());
    await Promise.allSettled([contenders, holder]);
    await Promise.all([contenders, holder]);

    async function holdOn(): Promise<void> {
      for (let i = 0; i < 2 * t.settings.rounds; i++) {
        assert.equal(await t.store.renew(key, owner, LEASE), true);
      }
      over.abort(); // from here on, a contender may get the key
      assert.equal(await t.store.release(key, owner), true);
    }
  },

  async 'B43 exactly one of many simultaneous releases of a lock returns true'(t) {
    const stores = await t.instances();
    for (let round = 0; round < t.settings.rounds; round++) {
      const { key, owner } = await t.take(t.key());
      const released = await together(2 * stores.length, (i) => pick(stores, i).release(key, owner));
      assert.deepEqual(released.filter(Boolean), [true]);
    }
  },
};
