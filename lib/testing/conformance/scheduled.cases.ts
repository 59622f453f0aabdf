import { strict as assert } from 'node:assert';
import { assertRecord, LEASE, NEVER, onlyOne, show, type Cases } from './conformance-trial.js';
import { nth } from './once.cases.js';

const HOUR = 3_600_000;

/**
 * Scheduled methods send ticks that may be repeated after a crash, or gaps between two starts.
 */
export const scheduled: Cases = {
  async 'B81 failOver: a tick is refused as held until its holder releases the lock, and then as done'(t) {
    const { key, owner, token } = await t.take(t.key(), { once: repeatable(1) });
    assertRecord(await t.refusal(key, { once: repeatable(1) }), { fencingToken: token });
    await t.refused(key, 'tick-done', { once: nth(1) });
    await t.store.release(key, owner);
    for (const store of await t.instances())
      await t.refused(key, 'tick-done', { store, once: repeatable(1) });
    const next = await t.take(key, { once: repeatable(2) });
    await t.refused(key, 'tick-done', { once: repeatable(1) });
    await t.store.release(key, next.owner);
    await t.refused(key, 'tick-done', { once: repeatable(1) });
  },

  async 'B81 failOver: a tick whose run crashed is granted exactly once more'(t) {
    const { key } = await t.expired({ once: repeatable(1) });
    await t.refused(key, 'tick-done', { once: nth(1) });
    const { owner } = onlyOne(await t.race(key, { once: repeatable(1) }));
    await t.store.release(key, owner);
    await t.refused(key, 'tick-done', { once: repeatable(1) });
  },

  async 'B81 failOver: a tick before the tick of a crashed run is refused as done'(t) {
    const { key } = await t.expired({ once: repeatable(2) });
    await t.refused(key, 'tick-done', { once: repeatable(1) });
  },

  async 'B81 failOver: a tick is refused as done after a release with keepFor'(t) {
    const { key, owner } = await t.take(t.key(), { once: repeatable(1) });
    await t.store.release(key, owner, { keepFor: LEASE });
    await t.refused(key, 'tick-done', { once: repeatable(1) });
  },

  async 'B81 a recorded tick that lies too far ahead is ignored and reported'(t) {
    const ahead = Date.now() + 3 * HOUR;
    const first = await t.take(t.key(), { once: { tick: ahead, ahead: 4 * HOUR } });
    await t.store.release(first.key, first.owner);
    const owner = t.owner();
    const granted = await t.attempt(first.key, { owner, once: nth(1) });
    assert.ok(
      granted.acquired,
      `a recorded tick three hours ahead must be ignored, but the attempt was refused: ${show(granted)}`,
    );
    assert.equal(granted.ignoredTick?.getTime(), ahead);
    assert.ok(granted.fencingToken > first.token);
    await t.store.release(first.key, owner);
    await t.refused(first.key, 'tick-done', { once: nth(1) });
    const next = await t.attempt(first.key, { once: nth(2) });
    assert.ok(next.acquired && next.ignoredTick === undefined, show(next));
  },

  async 'B81 a holder keeps its lock even if the recorded tick lies too far ahead'(t) {
    const once = { tick: Date.now() + 3 * HOUR, ahead: 4 * HOUR };
    const { key, owner, token } = await t.take(t.key(), { once });
    assertRecord(await t.refusal(key, { once: nth(1) }), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B81 gap: every instance is refused within the gap, but attempts without a gap are granted'(t) {
    const { key, owner } = onlyOne(await t.race(t.key(), { once: { gap: HOUR } }));
    await t.refused(key, 'tick-done', { once: { gap: HOUR } });
    await t.store.release(key, owner);
    for (const store of await t.instances())
      await t.refused(key, 'tick-done', { store, once: { gap: HOUR } });
    const plain = await t.take(key);
    await t.store.release(key, plain.owner);
    await t.refused(key, 'tick-done', { once: { gap: HOUR } });
  },

  async 'B81 gap: a key can run again after the gap'(t) {
    const gap = t.settings.ttl;
    const key = t.key();
    for (let i = 0; i < 3; i++) {
      const begun = performance.now();
      const { owner } = await t.takeWhenFree(key, { once: { gap } });
      if (i > 0) assert.ok(performance.now() - begun < gap + t.settings.patience);
      assert.equal(await t.store.release(key, owner), true);
      await t.refused(key, 'tick-done', { once: { gap: HOUR } });
    }
  },

  async 'B81 gap: a held key whose gap has passed is refused as held'(t) {
    const { key } = await t.take(t.key(), { once: nth(1) });
    await t.refusal(key, { once: { gap: 1_000 } });
  },

  async 'B81 gap: a recorded start that lies in the future is ignored and reported'(t) {
    const tick = Date.now() + HOUR;
    const { key, owner } = await t.take(t.key(), { once: { tick, ahead: 3 * HOUR } });
    await t.store.release(key, owner);
    const granted = await t.attempt(key, { once: { gap: 2 * HOUR } });
    assert.ok(
      granted.acquired,
      `a recorded start an hour ahead must be ignored, but the attempt was refused: ${show(granted)}`,
    );
    assert.equal(granted.ignoredTick?.getTime(), tick);
  },

  async 'B81 resend: a granted attempt with a gap, or with failOver, gets its lock again'(t) {
    for (const once of [repeatable(1), { gap: HOUR }]) {
      const { key, owner, token } = await t.take(t.key(), { once });
      assert.equal((await t.take(key, { owner, once, resend: true })).token, token);
      await t.store.release(key, owner);
      await t.refused(key, 'tick-done', { owner, once, resend: true });
    }
  },
};

/** A tick may run again after its lock was stolen. */
export const scheduledStealing: Cases = {
  async 'B81 failOver: a tick whose lock is stolen is granted again, but only to the new holder'(t) {
    const { key, token } = await t.expired({ ttl: NEVER, once: repeatable(1) });
    await t.refused(key, 'tick-done', { once: nth(1), stealAfter: t.settings.ttl });
    const thief = await t.take(key, { once: repeatable(1), stealAfter: t.settings.ttl });
    assert.ok(thief.token > token);
    await t.refusal(key, { once: repeatable(1), stealAfter: LEASE });
    await t.store.release(key, thief.owner);
    await t.refused(key, 'tick-done', { once: repeatable(1), stealAfter: 1 });
  },
};

/** An inspection shows the recorded ticks of scheduled methods. */
export const scheduledInspected: Cases = {
  async 'B81 gap: the recorded tick is the start of the run'(t) {
    const { key } = await t.take(t.key(), { once: { gap: HOUR } });
    const { state, lastTick, ...found } = await t.inspector.inspect(key);
    assert.ok(state === 'held' && lastTick && 'holder' in found);
    const apart = Math.abs(found.holder.startedAt.getTime() - lastTick.getTime());
    assert.ok(apart <= 50, `the recorded tick is ${apart} ms away from the start of the run`);
  },

  async 'B81 failOver: a tick stays done after a forced release'(t) {
    const { key } = await t.take(t.key(), { once: repeatable(1) });
    assert.equal(await t.inspector.forceRelease(key), true);
    await t.refused(key, 'tick-done', { once: repeatable(1) });
  },
};

/**
 * The n-th tick of `nth()`, but with `failOver`: another instance may repeat it after a crash.
 */
function repeatable(n: number): { tick: number; ahead: number; failOver: true } {
  return { ...nth(n), failOver: true };
}
