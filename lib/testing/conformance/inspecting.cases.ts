import { strict as assert } from 'node:assert';
import type { LockInspection, LockRun } from '../../interfaces/lock-record.interface.js';
import {
  assertGrowing,
  assertTimeLeft,
  lastRunOf,
  LEASE,
  NEVER,
  show,
  type Cases,
} from './conformance-trial.js';

/** The inspection of a key shows its present holder, and its last run. */
export const inspecting: Cases = {
  async 'B69 a key that was never locked is free, and inspecting, releasing or renewing it changes nothing'(
    t,
  ) {
    const key = t.key();
    assert.deepEqual(present(await t.inspector.inspect(key)), { state: 'free', key });
    await t.store.release(key, t.owner());
    await t.store.renew(key, t.owner(), LEASE);
    assert.deepEqual(present(await t.inspector.inspect(key)), { state: 'free', key });
  },

  async 'B69 the inspection of a held key shows its holder, but not the owner id'(t) {
    const { key, owner, token } = await t.take(t.key(), { label: 'worker' });
    const found = await t.inspector.inspect(key);
    assert.ok(found.state === 'held', `the key must be shown as held, not as ${found.state}`);
    assert.equal(found.key, key);
    assert.equal(found.lastRun, undefined);
    assert.equal(found.holder.key, key);
    assert.equal(found.holder.label, 'worker');
    assert.equal(found.holder.fencingToken, token);
    assertTimeLeft(found.holder, LEASE);
    assert.ok(!show(found).includes(owner), `the inspection shows the owner id: ${show(found)}`);
  },

  async 'B69 the inspection of a lock that never expires shows no end'(t) {
    const { key, owner } = await t.take(t.key(), { ttl: NEVER });
    const found = await t.inspector.inspect(key);
    assert.ok(found.state === 'held');
    assert.deepEqual([found.holder.expiresAt, found.holder.remaining], [null, Infinity]);
    assert.equal(await t.store.release(key, owner), true);
  },

  async 'B69 the inspection of an expired key still shows its last holder'(t) {
    const { key, token } = await t.expired({ label: 'worker' });
    const found = await t.inspector.inspect(key);
    assert.ok(found.state === 'expired', `the key must be shown as expired, not as ${found.state}`);
    assert.equal(found.holder.label, 'worker');
    assert.equal(found.holder.fencingToken, token);
    assert.ok(found.holder.expiresAt instanceof Date);
    assert.ok(found.holder.remaining <= 0, `${found.holder.remaining} ms remain of an expired lease`);
  },

  async 'B46 after a release, the inspection shows the last run with its outcome'(t) {
    const key = t.key();
    for (const outcome of [undefined, 'failed', 'done'] as const) {
      const { owner } = await t.take(key, { label: `worker ${outcome}` });
      const startedAt = (await t.refusal(key))?.startedAt;
      await t.shortLeasesRanOut();
      assert.equal(await t.store.release(key, owner, { outcome }), true);
      const found = await t.inspector.inspect(key);
      assert.equal(found.state, 'free');
      const run = lastRunOf(found);
      assert.equal(run.label, `worker ${outcome}`);
      assert.equal(run.outcome, outcome ?? 'done');
      if (startedAt) assert.deepEqual(run.startedAt, startedAt);
      assert.ok(lengthOf(run) >= t.settings.ttl - 5, `the recorded run is too short: ${lengthOf(run)} ms`);
    }
  },

  async 'B46 while the next run holds the key, the inspection shows the last run too'(t) {
    const first = await t.take(t.key(), { label: 'first' });
    await t.store.release(first.key, first.owner, { outcome: 'failed' });
    await t.take(first.key, { label: 'second' });
    const found = await t.inspector.inspect(first.key);
    assert.ok(found.state === 'held');
    assert.equal(found.holder.label, 'second');
    assert.equal(lastRunOf(found).label, 'first');
    assert.equal(lastRunOf(found).outcome, 'failed');
  },

  async 'B46 a run whose lease expired counts as failed, and as ended when the lease expired'(t) {
    const { key } = await t.expired({ label: 'crashed' });
    await t.take(key, { label: 'next' });
    const run = lastRunOf(await t.inspector.inspect(key));
    assert.equal(run.label, 'crashed');
    assert.equal(run.outcome, 'failed');
    const off = Math.abs(lengthOf(run) - t.settings.ttl);
    assert.ok(
      off < 50,
      `the run of an expired lease must take its ttl, ${t.settings.ttl} ms, but took ${lengthOf(run)} ms`,
    );
  },

  async 'B76 a key that its release keeps taken is shown as held, with the label of its last holder'(t) {
    const { key, owner } = await t.take(t.key(), { label: 'worker' });
    await t.store.release(key, owner, { keepFor: 2 * LEASE, outcome: 'failed' });
    const found = await t.inspector.inspect(key);
    assert.ok(found.state === 'held', `the key must be shown as held, not as ${found.state}`);
    assert.equal(found.holder.label, 'worker');
    assert.ok(found.holder.remaining > LEASE);
    assert.equal(lastRunOf(found).outcome, 'failed');
    assert.equal(lastRunOf(found).label, 'worker');
  },

  async 'B76 a key that is released with keepFor is free after that time, and its run does not count as failed'(
    t,
  ) {
    const { key, owner } = await t.take(t.key(), { label: 'worker' });
    await t.store.release(key, owner, { keepFor: t.settings.ttl });
    await t.shortLeasesRanOut();
    const found = await t.inspector.inspect(key);
    assert.equal(found.state, 'free');
    assert.equal(lastRunOf(found).outcome, 'done');
    await t.take(key, { label: 'next' });
    assert.equal(lastRunOf(await t.inspector.inspect(key)).outcome, 'done');
  },

  async 'B71 a forced release frees the key, and the holder can no longer renew or release it'(t) {
    const { key, owner, token } = await t.take(t.key(), { label: 'worker', ttl: NEVER });
    assert.equal(await t.inspector.forceRelease(key), true);
    const found = await t.inspector.inspect(key);
    assert.equal(found.state, 'free');
    assert.equal(lastRunOf(found).label, 'worker');
    assert.equal(lastRunOf(found).outcome, 'failed');
    assert.equal(await t.store.renew(key, owner, LEASE), false);
    assert.equal(await t.store.release(key, owner), false);
    assertGrowing([token, (await t.take(key)).token]);
  },

  async 'B71 a forced release of a free key returns false and stores nothing'(t) {
    const key = t.key();
    assert.equal(await t.inspector.forceRelease(key), false);
    assert.equal((await t.inspector.inspect(key)).state, 'free');
    const expired = await t.expired();
    assert.equal(await t.inspector.forceRelease(expired.key), false);
    const released = await t.take(key);
    await t.store.release(key, released.owner);
    assert.equal(await t.inspector.forceRelease(key), false);
  },

  async 'B71 a forced release frees a key that a release keeps taken, and its last run keeps its outcome'(t) {
    const { key, owner } = await t.take(t.key());
    await t.store.release(key, owner, { keepFor: LEASE });
    assert.equal(await t.inspector.forceRelease(key), true);
    assert.equal(lastRunOf(await t.inspector.inspect(key)).outcome, 'done');
    await t.take(key);
  },
};

function lengthOf(run: LockRun): number {
  return run.endedAt.getTime() - run.startedAt.getTime();
}

/**
 * Leaves out optional properties that are undefined, since a missing property means the same.
 */
function present(found: LockInspection): object {
  return Object.fromEntries(Object.entries(found).filter(([, value]) => value !== undefined));
}
