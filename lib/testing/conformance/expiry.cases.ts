import { strict as assert } from 'node:assert';
import {
  assertRecord,
  assertGrowing,
  assertTimeLeft,
  LEASE,
  NEVER,
  type Cases,
} from './conformance-trial.js';

/**
 * Without a renewal, a lease ends after its ttl, and its key is then as free as after a
 * release.
 */
export const expiry: Cases = {
  async 'B22 a refusal shows the holder with its label, its token, and the start and end of its lease'(t) {
    const ttl = 23_456;
    const { key, token } = await t.take(t.key(), { label: 'api-7:4242', ttl });
    const holder = await t.refusal(key);
    assertRecord(holder, { key: key });
    assertRecord(holder, { label: 'api-7:4242' });
    assertRecord(holder, { fencingToken: token });
    if (!holder) return;
    assert.ok(holder.startedAt instanceof Date && holder.renewedAt instanceof Date);
    assert.ok(Math.abs(holder.renewedAt.getTime() - holder.startedAt.getTime()) < 1000);
    assertTimeLeft(holder, ttl);
  },

  async 'B28 a lease may last 30 days'(t) {
    const days = 30 * 24 * 60 * 60 * 1000;
    const { key, owner } = await t.take(t.key(), { ttl: days });
    assertTimeLeft(await t.refusal(key), days);
    assert.equal(await t.store.renew(key, owner, days), true);
    assertTimeLeft(await t.refusal(key), days);
  },

  async 'B28 a lease that is not renewed ends after its ttl, and not before'(t) {
    const sentAt = performance.now();
    const { key, token } = await t.take(t.key(), { ttl: t.settings.ttl });
    const next = await t.takeWhenFree(key, { store: await t.open() });
    const passed = performance.now() - sentAt;
    assert.ok(
      passed >= t.settings.ttl - 5,
      `a lease of ${t.settings.ttl} ms was taken over too early, after ${passed} ms`,
    );
    assertGrowing([token, next.token]);
  },

  async 'B29 a lock that never expires and a renewed lock are not taken over'(t) {
    const endless = await t.take(t.key(), { ttl: NEVER });
    const renewed = await t.take(t.key());
    await t.shortLeasesRanOut();
    assert.equal(await t.store.renew(renewed.key, renewed.owner, LEASE), true);
    await t.refusal(endless.key);
    await t.refusal(renewed.key);
    assert.equal(await t.store.release(endless.key, endless.owner), true);
  },

  async 'B35 an expired lock is granted even to a caller with the label of its last holder'(t) {
    const { key, token } = await t.expired({ label: 'worker' });
    const next = await t.take(key, { label: 'worker' });
    assertGrowing([token, next.token]);
  },

  async 'B38 an expired lock is granted even to its last owner, with a larger token'(t) {
    const { key, owner, token } = await t.expired();
    const next = await t.take(key, { owner });
    assertGrowing([token, next.token]);
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B44 an expired lock that was taken over belongs only to the new holder'(t) {
    const { key, owner } = await t.expired({ label: 'old' });
    const next = await t.take(key, { label: 'new' });
    const holder = await t.refusal(key);
    assertRecord(holder, { label: 'new' });
    assertRecord(holder, { fencingToken: next.token });
    assertTimeLeft(holder, LEASE);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    assert.equal(await t.store.release(key, owner), false);
    assert.equal(await t.store.renew(key, next.owner, LEASE), true);
    assert.equal(await t.store.release(key, next.owner), true);
  },

  async 'B35 if an attempt without a label takes over an expired lock, the new holder has no label'(t) {
    const { key } = await t.expired({ label: 'old' });
    await t.take(key);
    assertRecord(await t.refusal(key), { label: null });
  },

  async 'B38 each grant after an expiry, a take-over or a release has a larger token'(t) {
    const first = await t.expired();
    const tokens = [first.token];
    for (let i = 0; i < 3; i++) {
      const { owner, token } = await t.takeWhenFree(first.key, { ttl: t.settings.ttl });
      tokens.push(token);
      if (i === 1) await t.store.release(first.key, owner);
    }
    assertGrowing(tokens);
  },
};
