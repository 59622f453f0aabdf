import { strict as assert } from 'node:assert';
import { assertRecord, assertGrowing, assertTimeLeft, LEASE, type Cases } from './conformance-trial.js';

/**
 * Only the holder can release a lock. The release frees the key, or keeps it taken for a
 * while.
 */
export const releasing: Cases = {
  async 'B43 a release frees the key at once, and only the first release returns true'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.release(key, owner), true);
    assert.equal(await t.store.release(key, owner), false);
    await t.take(key, { store: await t.open() });
  },

  async 'B43 the release of an expired lease returns false'(t) {
    const { key, owner } = await t.expired();
    assert.equal(await t.store.release(key, owner), false);
    assert.equal(await t.store.release(key, owner, { keepFor: LEASE }), false);
    await t.take(key);
  },

  async 'B37 only the owner can release a lock'(t) {
    const { key, owner, token } = await t.take(t.key(), { label: 'worker' });
    assert.equal(await t.store.release(key, t.owner()), false);
    assertRecord(await t.refusal(key), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B44 a release by a former holder does not affect the lock of the new holder'(t) {
    const { key, owner } = await t.expired();
    const next = await t.take(key);
    assert.equal(await t.store.release(key, owner), false);
    assert.equal(await t.store.release(key, owner, { keepFor: 4 * LEASE, outcome: 'failed' }), false);
    const holder = await t.refusal(key);
    assertRecord(holder, { fencingToken: next.token });
    assertTimeLeft(holder, LEASE);
    assert.equal(await t.store.release(key, next.owner), true);
  },

  async 'B45 releasing a key that was never locked stores nothing'(t) {
    const [key, owner] = [t.key(), t.owner()];
    assert.equal(await t.store.release(key, owner), false);
    assert.equal(await t.store.release(key, owner, { keepFor: LEASE }), false);
    await t.take(key);
    assert.equal(await t.store.release(key, owner), false);
  },
};

/** A release with `keepFor` keeps the key taken for a while. */
export const keeping: Cases = {
  async 'B76 a release with keepFor keeps the key taken, but the former holder can no longer renew or release it'(
    t,
  ) {
    const { key, owner, token } = await t.take(t.key(), { label: 'worker' });
    assert.equal(await t.store.release(key, owner, { keepFor: 2 * LEASE }), true);
    const kept = await t.refusal(key);
    assertRecord(kept, { label: 'worker' });
    assertRecord(kept, { fencingToken: token });
    if (kept)
      assert.ok(
        kept.remaining > LEASE && kept.remaining <= 2 * LEASE,
        `the key is kept taken for ${kept.remaining} ms`,
      );
    await t.refusal(key, { owner });
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    assert.equal(await t.store.release(key, owner), false);
  },

  async 'B76 a key that is released with keepFor is free after that time, even if the lease would have lasted longer'(
    t,
  ) {
    const { key, owner, token } = await t.take(t.key());
    const sentAt = performance.now();
    assert.equal(await t.store.release(key, owner, { keepFor: t.settings.ttl }), true);
    const next = await t.takeWhenFree(key);
    const passed = performance.now() - sentAt;
    assert.ok(passed >= t.settings.ttl - 5, `the key was free too early, after ${passed} ms`);
    assertGrowing([token, next.token]);
  },

  async 'B76 keepFor: 0 frees the key at once'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.release(key, owner, { keepFor: 0 }), true);
    await t.take(key);
  },
};
