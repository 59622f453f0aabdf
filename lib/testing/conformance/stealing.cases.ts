import { strict as assert } from 'node:assert';
import {
  assertRecord,
  assertGrowing,
  assertTimeLeft,
  lastRunOf,
  LEASE,
  NEVER,
  onlyOne,
  type Cases,
} from './conformance-trial.js';

/**
 * An acquisition with `stealAfter` takes a lock whose last renewal was at least that long ago.
 */
export const stealing: Cases = {
  async 'B32 a lock that was not renewed for the time of stealAfter is stolen, with a larger token'(t) {
    const { key, owner, token } = await t.take(t.key(), { label: 'old' });
    await t.shortLeasesRanOut();
    const thief = await t.take(key, { label: 'new', ttl: 2 * LEASE, stealAfter: t.settings.ttl });
    assertGrowing([token, thief.token]);
    const holder = await t.refusal(key);
    assertRecord(holder, { label: 'new' });
    assertTimeLeft(holder, 2 * LEASE);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    assert.equal(await t.store.release(key, owner), false);
    assert.equal(await t.store.release(key, thief.owner), true);
  },

  async 'B32 even a lock that never expires is stolen, and the new holder gets a lease that ends'(t) {
    const { key, owner, token } = await t.take(t.key(), { ttl: NEVER });
    await t.shortLeasesRanOut();
    const thief = await t.take(key, { stealAfter: t.settings.ttl / 3 });
    assertGrowing([token, thief.token]);
    assertTimeLeft(await t.refusal(key), LEASE);
    assert.equal(await t.store.renew(key, owner, NEVER), false);
  },

  async 'B33 a lock that was granted less than stealAfter ago is not stolen'(t) {
    const { key, owner, token } = await t.take(t.key(), { ttl: NEVER });
    assertRecord(await t.refusal(key, { stealAfter: LEASE }), { fencingToken: token });
    await t.refusal(key, { stealAfter: NEVER });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B33 a lock that was renewed less than stealAfter ago is not stolen, however long it is held'(t) {
    const { key, owner } = await t.take(t.key());
    const grantedAt = performance.now();
    await t.shortLeasesRanOut();
    const renewedAt = performance.now();
    const stealAfter = (renewedAt - grantedAt) / 2;
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    const { acquired } = await t.attempt(key, { stealAfter });
    // If the machine paused after the renewal, the lock may have become old enough to be
    // stolen.
    assert.ok(
      !acquired || performance.now() - renewedAt >= stealAfter - 5,
      `a stealAfter of ${stealAfter} ms took the lock, although it was renewed more recently`,
    );
  },

  async 'B33 a key that its release keeps taken is not stolen'(t) {
    const { key, owner, token } = await t.take(t.key());
    assert.equal(await t.store.release(key, owner, { keepFor: LEASE }), true);
    await t.shortLeasesRanOut();
    assertRecord(await t.refusal(key, { stealAfter: 1 }), { fencingToken: token });
  },

  async 'B33 stealAfter affects only its own acquisition, neither later acquisitions nor the ttl of the lock'(
    t,
  ) {
    const { key, owner } = await t.take(t.key(), { stealAfter: t.settings.ttl });
    await t.shortLeasesRanOut();
    await t.refusal(key);
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    assertTimeLeft(await t.refusal(key), LEASE);
  },

  async 'B33 stealAfter takes a key that is free or expired like any acquisition'(t) {
    const { key, token } = await t.expired();
    const next = await t.take(key, { stealAfter: NEVER });
    assertGrowing([token, next.token]);
    await t.store.release(key, next.owner);
    await t.take(key, { stealAfter: NEVER });
  },

  async 'B33 exactly one of many simultaneous attempts to steal a lock gets it'(t) {
    let { key, owner, token } = await t.take(t.key(), { ttl: NEVER });
    let stealAfter = t.settings.ttl;
    for (let round = 0; round < Math.min(3, t.settings.rounds);) {
      await t.shortLeasesRanOut(stealAfter);
      const startedAt = performance.now();
      const winners = await t.race(key, { stealAfter });
      // If the race takes longer than `stealAfter`, its last contender may steal the lock from
      // the winner.
      const isSlow = performance.now() - startedAt >= stealAfter && winners.length > 1;
      const winner = isSlow ? winners.reduce((a, b) => (a.token > b.token ? a : b)) : onlyOne(winners);
      assertGrowing([token, winner.token]);
      assert.equal(await t.store.renew(key, owner, LEASE), false);
      ({ owner, token } = winner);
      if (isSlow) stealAfter *= 2;
      else round++;
    }
  },

  async 'B33 resend: an attempt that has stolen a lock gets the lock again, with the same token'(t) {
    const { key } = await t.take(t.key());
    await t.shortLeasesRanOut();
    const stealAfter = t.settings.ttl;
    const thief = await t.take(key, { stealAfter });
    const again = await t.take(key, { owner: thief.owner, stealAfter, resend: true });
    assert.equal(again.token, thief.token);
  },
};

/** The run of a holder whose lock was stolen is recorded. */
export const stealingInspected: Cases = {
  async 'B32 the run of a stolen lock is recorded as failed, and as ended when the lock was stolen'(t) {
    for (const ttl of [LEASE, NEVER]) {
      const { key } = await t.take(t.key(), { label: 'stolen', ttl });
      await t.shortLeasesRanOut();
      await t.take(key, { label: 'thief', stealAfter: t.settings.ttl });
      const found = await t.inspector.inspect(key);
      assert.ok(found.state === 'held', `the key must be shown as held, not as ${found.state}`);
      assert.equal(found.holder.label, 'thief');
      const run = lastRunOf(found);
      assert.deepEqual([run.label, run.outcome], ['stolen', 'failed']);
      const off = Math.abs(run.endedAt.getTime() - found.holder.startedAt.getTime());
      assert.ok(off < 50, `the run ended ${off} ms away from the theft`);
    }
  },
};
