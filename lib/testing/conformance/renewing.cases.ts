import { strict as assert } from 'node:assert';
import { assertRecord, assertTimeLeft, LEASE, NEVER, type Cases } from './conformance-trial.js';

/**
 * A renewal sets when the lease ends. Only the holder can renew, and only while its lease
 * lasts.
 */
export const renewing: Cases = {
  async 'B51 a renewal makes the lease end one ttl from now, and changes nothing else'(t) {
    const { key, owner, token } = await t.take(t.key(), { label: 'worker' });
    const before = await t.refusal(key);
    await t.shortLeasesRanOut();
    assert.equal(await t.store.renew(key, owner, 2 * LEASE), true);
    const after = await t.refusal(key);
    assertTimeLeft(after, 2 * LEASE);
    assertRecord(after, { fencingToken: token });
    assertRecord(after, { label: 'worker' });
    if (!before || !after) return;
    assert.deepEqual(after.startedAt, before.startedAt);
    const passed = after.renewedAt.getTime() - before.renewedAt.getTime();
    assert.ok(
      passed >= t.settings.ttl - 5,
      `renewedAt moved by only ${passed} ms, but at least ${t.settings.ttl} ms have passed`,
    );
  },

  async 'B51 the ttls of repeated renewals do not add up'(t) {
    const { key, owner } = await t.take(t.key());
    for (let i = 0; i < 10; i++) assert.equal(await t.store.renew(key, owner, LEASE), true);
    assertTimeLeft(await t.refusal(key), LEASE);
  },

  async 'B49 a renewal may shorten the lease'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.renew(key, owner, t.settings.ttl), true);
    await t.takeWhenFree(key);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
  },

  async 'B49 a renewal can limit the lease of a lock that would never expire'(t) {
    const { key, owner } = await t.take(t.key(), { ttl: NEVER });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    assertTimeLeft(await t.refusal(key), LEASE);
    assert.equal(await t.store.renew(key, owner, t.settings.ttl), true);
    await t.takeWhenFree(key);
  },

  async 'B50 an expired lease is never revived, even if no other owner took the key'(t) {
    const { key, owner } = await t.expired();
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    assert.equal(await t.store.renew(key, owner, NEVER), false);
    await t.take(key);
  },

  async 'B54 a renewal by a former holder does not affect the lock of the new holder'(t) {
    const { key, owner } = await t.expired();
    const next = await t.take(key);
    assert.equal(await t.store.renew(key, owner, 4 * LEASE), false);
    const holder = await t.refusal(key);
    assertRecord(holder, { fencingToken: next.token });
    assertTimeLeft(holder, LEASE);
    assert.equal(await t.store.renew(key, next.owner, LEASE), true);
  },

  async 'B54 a released lock is not taken back by a renewal'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.release(key, owner), true);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    await t.take(key);
  },

  async 'B37 only the owner can renew a lock'(t) {
    const { key } = await t.take(t.key());
    assert.equal(await t.store.renew(key, t.owner(), 4 * LEASE), false);
    assertTimeLeft(await t.refusal(key), LEASE);
  },

  async 'B45 renewing a key that was never locked stores nothing'(t) {
    const [key, owner] = [t.key(), t.owner()];
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    await t.take(key);
    assert.equal(await t.store.renew(key, owner, LEASE), false);
  },
};
