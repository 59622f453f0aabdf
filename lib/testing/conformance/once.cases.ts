import { strict as assert } from 'node:assert';
import type { OnceRequest } from '../../interfaces/lock-store.interface.js';
import {
  assertRecord,
  assertTimeLeft,
  lastRunOf,
  LEASE,
  NEVER,
  onlyOne,
  pick,
  show,
  together,
  type Cases,
} from './conformance-trial.js';

const HOUR = 3_600_000;
const TICK = 1_000;
const EPOCH = Date.now() - HOUR / 2;
/** Slots of 34 years, so that no slot ends while a case runs. */
const LONG_SLOT = 2 ** 40;

/**
 * A tick runs once, whatever its owner, its outcome and the clocks of the instances.
 */
export const oncePerTick: Cases = {
  async 'B76 a tick is granted once: after the release, every instance refuses it as done'(t) {
    const { key, owner } = await t.take(t.key(), { once: nth(1) });
    assert.equal(await t.store.release(key, owner), true);
    for (const store of await t.instances()) await t.refused(key, 'tick-done', { store, once: nth(1) });
  },

  async 'B76 after a tick has run, a later tick is granted, but an earlier tick is refused as done'(t) {
    const { key, owner } = await t.take(t.key(), { once: nth(2) });
    await t.store.release(key, owner);
    await t.refused(key, 'tick-done', { once: nth(1) });
    const next = await t.take(key, { once: nth(3) });
    await t.store.release(key, next.owner);
    for (const n of [1, 2, 3]) await t.refused(key, 'tick-done', { once: nth(n) });
  },

  async 'B76 a tick whose run crashed is not repeated'(t) {
    const { key } = await t.expired({ once: nth(1) });
    await t.refused(key, 'tick-done', { once: nth(1) });
    await t.take(key, { once: nth(2) });
  },

  async 'B76 while the run of a tick goes on, other attempts for that tick are refused as done'(t) {
    const { key, owner, token } = await t.take(t.key(), { once: nth(1) });
    await t.refused(key, 'tick-done', { once: nth(1) });
    await t.refused(key, 'tick-done', { owner, once: nth(1) });
    assertRecord(await t.refusal(key, { once: nth(2) }), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B76 a tick whose attempt was refused can still be granted later'(t) {
    const { key, owner } = await t.take(t.key());
    await t.refusal(key, { once: nth(1) });
    await t.store.release(key, owner);
    await t.take(key, { once: nth(1) });
  },

  async 'B76 an acquisition without a tick gets a key whose tick is done, and leaves the tick as it is'(t) {
    const first = await t.take(t.key(), { once: nth(1) });
    await t.store.release(first.key, first.owner);
    const plain = await t.take(first.key);
    await t.store.release(first.key, plain.owner);
    await t.refused(first.key, 'tick-done', { once: nth(1) });
    await t.take(first.key, { once: nth(2) });
  },

  async 'B76 a tick too far ahead of the clock is refused, and other ticks can still run'(t) {
    const once = { tick: Date.now() + 3 * HOUR, ahead: HOUR };
    const key = t.key();
    await t.refused(key, 'tick-ahead', { once });
    const { owner } = await t.take(key, { once: nth(1) });
    await t.refused(key, 'tick-ahead', { once });
    await t.store.release(key, owner);
    await t.refused(key, 'tick-ahead', { once });
    await t.take(key, { once: nth(2) });
  },

  async 'B76 a tick that is ahead of the clock, but not too far, is granted'(t) {
    const tick = Date.now() + HOUR;
    const { key, owner } = await t.take(t.key(), { once: { tick, ahead: 3 * HOUR } });
    await t.store.release(key, owner);
    await t.refused(key, 'tick-done', { once: { tick, ahead: NEVER } });
  },

  async 'B76 if many instances try one tick, exactly one gets it, however soon its run ends'(t) {
    const stores = await t.instances();
    const key = t.key();
    for (let round = 1; round <= t.settings.rounds; round++) {
      const runs = await together(t.settings.racers, async (racer) => {
        const [store, owner] = [pick(stores, racer), t.owner()];
        const { acquired } = await t.attempt(key, { store, owner, once: nth(round) });
        if (acquired) assert.equal(await store.release(key, owner), true);
        return acquired;
      });
      assert.equal(
        runs.filter(Boolean).length,
        1,
        `exactly one attempt for tick ${round} must be granted: ${show(runs)}`,
      );
      await t.refused(key, 'tick-done', { once: nth(round) });
    }
  },

  async 'B76 exactly one of many simultaneous attempts for the first tick of a key is granted'(t) {
    for (let round = 0; round < t.settings.rounds; round++) {
      const { key, owner } = onlyOne(await t.race(t.key(), { once: nth(1) }));
      await t.store.release(key, owner);
      assert.deepEqual(await t.race(key, { once: nth(1) }), []);
    }
  },

  async 'B76 a slot is granted once, and an acquisition without a slot is still granted during it'(t) {
    const once = { slot: LONG_SLOT };
    const { key, owner } = onlyOne(await t.race(t.key(), { once }));
    await t.refused(key, 'tick-done', { once });
    await t.store.release(key, owner);
    for (const store of await t.instances()) await t.refused(key, 'tick-done', { store, once });
    const plain = await t.take(key);
    await t.store.release(key, plain.owner);
    await t.refused(key, 'tick-done', { once });
  },

  async 'B76 a key can run again as soon as the next slot has begun'(t) {
    const slot = t.settings.ttl;
    const key = t.key();
    for (let i = 0; i < 3; i++) {
      const { owner } = await t.takeWhenFree(key, { once: { slot } });
      assert.equal(await t.store.release(key, owner), true);
    }
  },

  async 'B76 resend: a granted attempt gets its lock again, although its tick has begun'(t) {
    for (const once of [nth(1), { slot: LONG_SLOT }]) {
      const { key, owner, token } = await t.take(t.key(), { once });
      const again = await t.take(key, { owner, once, ttl: 2 * LEASE, resend: true });
      assert.equal(again.token, token);
      assertTimeLeft(await t.refusal(key), 2 * LEASE);
      await t.refused(key, 'tick-done', { once, resend: true });
      await t.store.release(key, owner);
      await t.refused(key, 'tick-done', { owner, once, resend: true });
    }
  },

  async 'B76 resend: if the first attempt for a tick never arrived, its repetition is granted, once'(t) {
    const { key, owner } = await t.take(t.key(), { once: nth(1), resend: true });
    await t.store.release(key, owner);
    await t.refused(key, 'tick-done', { once: nth(1) });
    await t.refused(t.key(), 'tick-ahead', { once: { tick: Date.now() + HOUR, ahead: 0 }, resend: true });
  },
};

/** An inspection shows the last tick of a key, and a purge forgets old ticks. */
export const oncePerTickInspected: Cases = {
  async 'B76 an inspection shows the last tick during and after its run'(t) {
    const key = t.key();
    assert.equal((await t.inspector.inspect(key)).lastTick, undefined);
    for (const n of [1, 2]) {
      const { owner } = await t.take(key, { once: nth(n) });
      assert.deepEqual((await t.inspector.inspect(key)).lastTick, new Date(nth(n).tick));
      await t.store.release(key, owner);
      await t.take(key).then((plain) => t.store.release(key, plain.owner));
      assert.deepEqual((await t.inspector.inspect(key)).lastTick, new Date(nth(n).tick));
    }
  },

  async 'B76 the recorded tick of a slot is the time at which the slot began'(t) {
    const slot = 7_777;
    const { key } = await t.take(t.key(), { once: { slot } });
    const { state, lastTick, ...found } = await t.inspector.inspect(key);
    assert.ok(state === 'held' && lastTick && 'holder' in found);
    assert.equal(lastTick.getTime() % slot, 0);
    const begun = found.holder.startedAt.getTime() - lastTick.getTime();
    assert.ok(begun > -50 && begun < slot + 50, `the run began ${begun} ms after the beginning of its slot`);
  },

  async 'B76 a tick whose run crashed is recorded as failed'(t) {
    const { key } = await t.expired({ label: 'crashed', once: nth(1) });
    assert.equal((await t.inspector.inspect(key)).state, 'expired');
    await t.take(key, { once: nth(2) });
    const run = lastRunOf(await t.inspector.inspect(key));
    assert.deepEqual([run.label, run.outcome], ['crashed', 'failed']);
  },

  async 'B76 a tick stays done after a forced release'(t) {
    const { key } = await t.take(t.key(), { once: nth(1) });
    assert.equal(await t.inspector.forceRelease(key), true);
    await t.refused(key, 'tick-done', { once: nth(1) });
    await t.take(key, { once: nth(2) });
  },

  async 'B76 a tick that is refused because it is too far ahead is not stored'(t) {
    const key = t.key();
    await t.refused(key, 'tick-ahead', { once: { tick: Date.now() + 3 * HOUR, ahead: HOUR } });
    assert.equal((await t.inspector.inspect(key)).lastTick, undefined);
    assert.equal(await t.inspector.purge({ prefix: key, olderThan: 0 }), 0);
  },

  async 'B72 a purge leaves keys whose last tick is younger than olderThan or in the future'(t) {
    const key = t.key();
    const ahead: OnceRequest = { tick: Date.now() + HOUR, ahead: 3 * HOUR };
    const { owner } = await t.take(key, { once: ahead });
    await t.store.release(key, owner);
    await t.shortLeasesRanOut();
    assert.equal(await t.inspector.purge({ prefix: key, olderThan: 0 }), 0);
    await t.refused(key, 'tick-done', { once: ahead });
    const past = await t.take(`${key}:past`, { once: { tick: Date.now() - HOUR, ahead: HOUR } });
    await t.store.release(past.key, past.owner);
    await t.shortLeasesRanOut();
    assert.equal(await t.inspector.purge({ prefix: key, olderThan: t.settings.ttl }), 1);
    assert.equal((await t.inspector.inspect(past.key)).lastTick, undefined);
  },
};

/** The n-th of a series of ticks in the past, so that no tick is ahead of any clock. */
export function nth(n: number): { tick: number; ahead: number } {
  return { tick: EPOCH + n * TICK, ahead: HOUR };
}
