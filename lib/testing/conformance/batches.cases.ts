import { strict as assert } from 'node:assert';
import type { LockStore, ReleaseRequest } from '../../interfaces/lock-store.interface.js';
import { MAX_KEY_BYTES } from '../../options/lock-key.js';
import {
  assertGrowing,
  assertRecord,
  LEASE,
  show,
  together,
  type Cases,
  type ConformanceTrial,
  type Grant,
} from './conformance-trial.js';
import { each, mixed, Rush, timeout } from './rush.js';

/**
 * Requests for different keys that are sent at the same time may share statements. Each gets
 * the result that it would get alone.
 */
export const batches: Cases = {
  async 'B93 each of 200 simultaneous acquisitions gets the result for its own key'(t) {
    const rush = new Rush(t);
    await rush.addSome(100);
    const twins = Array.from({ length: 10 }, () => t.key('twins'));
    const winners = new Map<string, Grant[]>(twins.map((key) => [key, []]));
    for (const key of [...twins, ...twins, ...twins]) {
      const owner = t.owner();
      rush.add({ key, owner }, (result) => {
        if (result.acquired) winners.get(key)?.push({ key, owner, token: result.fencingToken });
      });
    }
    for (const key of ['', 'a\0', 'x'.repeat(MAX_KEY_BYTES + 1)]) rush.addMalformed({ key });
    rush.addMalformed({ ttl: 0 });
    rush.addMalformed({ owner: '' });
    await rush.run();
    for (const [key, won] of winners) {
      assert.equal(
        won.length,
        1,
        `${won.length} of three requests for ${show(key)} were granted, but one must be`,
      );
      for (const { owner } of won) assert.equal(await t.store.renew(key, owner, LEASE), true);
    }
  },

  async 'B93 if one of many simultaneous requests runs out of time, the others get their results'(t) {
    const rush = new Rush(t);
    await rush.addSome(40);
    for (let i = 0; i < 5; i++) rush.addHasty(t.key('hasty'));
    await rush.run();
  },

  async 'B93 each of 200 simultaneous releases ends only its own lock'(t) {
    const expired = await together(10, () => t.take(t.key('expired'), { ttl: t.settings.ttl, timeout }));
    const held = await together(100, () => t.take(t.key('held'), { timeout }));
    const foreign = await together(40, () => t.take(t.key('foreign'), { timeout }));
    const twice = await together(15, () => t.take(t.key('twice'), { timeout }));
    await t.shortLeasesRanOut();
    const requests = mixed([
      ...held.map((grant) => ({ ...grant, released: true })),
      ...foreign.map(({ key }) => ({ key, owner: t.owner(), released: false })),
      ...expired.map((grant) => ({ ...grant, released: false })),
      ...Array.from({ length: 20 }, () => ({ key: t.key('new'), owner: t.owner(), released: false })),
    ]);
    const [doubled] = await Promise.all([
      each([...twice, ...twice], async ({ key, owner }) =>
        (await t.store.release(key, owner, { timeout })) ? [key] : [],
      ),
      each(requests, async ({ key, owner, released }) => {
        const result = await t.store.release(key, owner, { timeout });
        assert.equal(result, released, `the release of ${show(key)} returned ${result}`);
      }),
    ]);
    assert.deepEqual(doubled.flat().toSorted(), twice.map(({ key }) => key).toSorted());
    for (const { key, owner, token } of foreign) {
      assertRecord(await t.refusal(key), { fencingToken: token });
      assert.equal(await t.store.renew(key, owner, LEASE), true);
    }
    await each([...held, ...twice, ...expired], async ({ key, token }) => {
      assertGrowing([token, (await t.take(key, { timeout })).token]);
    });
  },

  async 'B93 many keys can be acquired and released repeatedly at the same time without affecting each other'(
    t,
  ) {
    const rounds = Math.min(3, t.settings.rounds);
    await together(40, async () => {
      const key = t.key();
      const tokens: number[] = [];
      for (let round = 0; round < rounds; round++) {
        const { owner, token } = await t.take(key, { timeout });
        assert.equal(await t.store.renew(key, owner, LEASE), true, `${show(key)} was lost`);
        await releases(t.store, { key, owner, token });
        tokens.push(token);
      }
      assertGrowing(tokens);
    });
  },

  async 'B93 if two instances acquire the same 300 keys in opposite orders, exactly one of them gets each key'(
    t,
  ) {
    const other = await t.open();
    const keys = Array.from({ length: 300 }, () => t.key());
    for (const round of ['new keys', 'released keys']) {
      const [ours, theirs] = await Promise.all([
        takeEach(t, t.store, keys),
        takeEach(t, other, keys.toReversed()),
      ]);
      const grants = [...ours, ...theirs];
      assert.deepEqual(grants.map(({ key }) => key).toSorted(), keys.toSorted(), round);
      await each(ours, (grant) => releases(t.store, grant));
      await each(theirs, (grant) => releases(other, grant));
    }
  },
};

export const batchesResent: Cases = {
  async 'B93 a repeated request among many simultaneous ones gets its own lock again, or counts as a new request'(
    t,
  ) {
    const { ttl } = t.settings;
    const rush = new Rush(t);
    await rush.addSome(20);
    const granted = await together(10, () => t.take(t.key('granted'), { timeout }));
    const expired = await together(5, () => t.take(t.key('expired'), { ttl, timeout }));
    const overtaken = await together(5, () => t.take(t.key('overtaken'), { ttl, timeout }));
    await t.shortLeasesRanOut();
    for (const grant of granted)
      rush.add({ ...grant, resend: true }, async (result) => {
        assert.equal(result.acquired && result.fencingToken, grant.token);
        assert.equal(await t.store.renew(grant.key, grant.owner, LEASE), true);
      });
    for (const { token, ...grant } of expired)
      rush.add({ ...grant, resend: true }, (result) => {
        assert.ok(result.acquired && result.fencingToken >= token, `after ${token} came ${show(result)}`);
      });
    for (const { key, owner } of overtaken) {
      const thief = await t.take(key);
      rush.addRefused({ key, owner, resend: true }, 'held', { ...thief, label: null });
    }
    for (let i = 0; i < 5; i++) rush.addGranted({ key: t.key('lost'), resend: true });
    for (const grant of await together(5, () => t.take(t.key('not resent'), { timeout })))
      rush.addRefused(grant, 'held');
    await rush.run();
  },
};

export const batchesResentInspected: Cases = {
  async 'B93 if a repeated request among many gets its key after its lease has expired, no failed run is recorded'(
    t,
  ) {
    const { ttl } = t.settings;
    const rush = new Rush(t);
    await rush.addSome(20);
    for (const { token, ...grant } of await together(5, () => t.take(t.key('expired'), { ttl, timeout })))
      rush.add({ ...grant, resend: true }, async () => {
        const { lastRun } = await t.inspector.inspect(grant.key);
        assert.equal(
          lastRun,
          undefined,
          `${show(grant.key)} must have no last run, but the run with token ${token} is recorded`,
        );
      });
    await t.shortLeasesRanOut();
    await rush.run();
  },
};

export const batchesKept: Cases = {
  async 'B93 a release with keepFor among many simultaneous releases keeps only its own key taken'(t) {
    const kept = await together(10, () => t.take(t.key('kept')));
    const free = await together(30, () => t.take(t.key('free')));
    const ends = mixed([
      ...kept.map((grant) => ({ grant, end: { keepFor: LEASE } })),
      ...free.map((grant) => ({ grant, end: {} })),
    ]);
    await each(ends, ({ grant, end }) => releases(t.store, grant, end));
    const rush = new Rush(t);
    for (const { key } of kept) rush.addRefused({ key }, 'held');
    for (const { key, token } of free) rush.addGranted({ key }, token);
    await rush.run();
  },
};

export const batchesPaused: Cases = {
  async 'B93 among many simultaneous requests, only those for paused keys are refused as paused'(t) {
    const rush = new Rush(t);
    await rush.addSome(20);
    for (let i = 0; i < 10; i++) {
      const key = t.key('paused');
      if (i % 2 === 0) await t.store.release(key, (await t.take(key)).owner);
      await t.pauser.pause(key);
      rush.addRefused({ key }, 'paused');
    }
    await rush.run();
  },
};

export const batchesOnConditions: Cases = {
  async 'B93 once and stealAfter apply only to their own request among many simultaneous ones'(t) {
    const rush = new Rush(t);
    await rush.addSome(20);
    for (let i = 0; i < 5; i++) {
      const tick = 1_000 + i;
      const done = t.key('tick');
      const { owner } = await t.take(done, { once: { tick, ahead: LEASE } });
      await t.store.release(done, owner);
      rush.addRefused({ key: done, once: { tick, ahead: LEASE } }, 'tick-done');
      rush.addGranted({ key: t.key('tick'), once: { tick, ahead: LEASE } });
      const held = await t.take(t.key('stolen'));
      rush.addGranted({ key: held.key, stealAfter: 1 }, held.token);
      rush.addRefused({ key: (await t.take(t.key('young'))).key, stealAfter: LEASE }, 'held');
    }
    await t.shortLeasesRanOut(); // each lease is now older than the millisecond of stealAfter
    await rush.run();
  },
};

async function releases(store: LockStore, { key, owner }: Grant, end?: ReleaseRequest): Promise<void> {
  assert.equal(
    await store.release(key, owner, { ...end, timeout }),
    true,
    `the owner of the lock ${show(key)} could not release it`,
  );
}

/** Tries to take all keys at the same time, and returns the grants. */
async function takeEach(t: ConformanceTrial, store: LockStore, keys: readonly string[]): Promise<Grant[]> {
  const grants = await each(keys, async (key) => {
    const owner = t.owner();
    const result = await t.attempt(key, { store, owner, timeout });
    return result.acquired ? [{ key, owner, token: result.fencingToken }] : [];
  });
  return grants.flat();
}
