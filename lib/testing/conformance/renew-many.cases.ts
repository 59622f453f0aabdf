import { strict as assert } from 'node:assert';
import type { LeaseRenewal, RenewalOutcome } from '../../interfaces/lock-store.interface.js';
import {
  assertRecord,
  assertTimeLeft,
  LEASE,
  NEVER,
  together,
  type Cases,
  type ConformanceTrial,
  type Grant,
} from './conformance-trial.js';

/** How often the renewal of leases with the outcome `unknown` is repeated. */
const REPETITIONS = 20;

/** One call renews many leases, and each lease has its own result. */
export const renewMany: Cases = {
  async 'B51 renewMany returns an outcome for each lease, in the order of the leases'(t) {
    const key = t.key();
    const z = await t.take(`${key}:z`);
    const taken = await t.expired();
    const next = await t.take(taken.key);
    const released = await t.take(`${key}:b`);
    await t.store.release(released.key, released.owner);
    const a = await t.take(`${key}:a`);

    const outcomes = await renewAll(t, [
      lease(z),
      lease(taken),
      lease({ key: `${key}:missing`, owner: t.owner() }),
      lease(next),
      lease(released),
      lease({ key: a.key, owner: t.owner() }),
      lease(a),
    ]);
    assert.deepEqual(outcomes, ['renewed', 'lost', 'lost', 'renewed', 'lost', 'lost', 'renewed']);
    for (const held of [z, next, a]) assertTimeLeft(await t.refusal(held.key), 2 * LEASE);
    await t.take(released.key);
    await t.take(`${key}:missing`);
  },

  async 'B51 renewMany tells leases of one owner apart by their keys'(t) {
    const owner = t.owner();
    const [held, released] = [await t.take(t.key(), { owner }), await t.take(t.key(), { owner })];
    await t.store.release(released.key, owner);
    const never = { key: t.key(), owner };
    const outcomes = await renewAll(t, [lease(never), lease(held), lease(released)]);
    assert.deepEqual(outcomes, ['lost', 'renewed', 'lost']);
  },

  async 'B51 renewMany does not confuse leases whose key and owner give the same text when joined'(t) {
    const held = await t.take(t.key(), { owner: `1${t.owner()}` });
    const outcomes = await renewAll(t, [
      lease({ key: `${held.key}1`, owner: held.owner.slice(1) }),
      lease({ key: held.key, owner: t.owner() }),
    ]);
    assert.deepEqual(outcomes, ['lost', 'lost']);
  },

  async 'B50 renewMany never revives an expired lease'(t) {
    const expired = await t.expired();
    const held = await t.take(t.key());
    assert.deepEqual(await renewAll(t, [lease(expired), lease(held)]), ['lost', 'renewed']);
    await t.take(expired.key);
  },

  async 'B51 renewMany gives each lease its own ttl'(t) {
    const [long, short, endless] = [await t.take(t.key()), await t.take(t.key()), await t.take(t.key())];
    const outcomes = await renewAll(t, [
      lease(long, 4 * LEASE),
      lease(short, t.settings.ttl),
      lease(endless, NEVER),
    ]);
    assert.deepEqual(outcomes, ['renewed', 'renewed', 'renewed']);
    assertTimeLeft(await t.refusal(long.key), 4 * LEASE);
    assertRecord(await t.refusal(endless.key), { expiresAt: null });
    await t.takeWhenFree(short.key);
    assert.equal(await t.store.release(endless.key, endless.owner), true);
  },

  async 'B51 renewMany returns an empty list for an empty list of leases'(t) {
    assert.deepEqual(await t.batchRenewer.renewMany([]), []);
  },

  async 'B51 renewMany renews 500 leases at once'(t) {
    const base = t.key();
    const grants: Grant[] = [];
    while (grants.length < 500) {
      const first = grants.length;
      grants.push(...(await together(20, (i) => t.takeWhenFree(`${base}:${first + i}`))));
    }
    const leases = grants.map((grant, index) =>
      lease(isLost(index) ? { ...grant, owner: t.owner() } : grant),
    );
    const expected = grants.map((_, index) => (isLost(index) ? 'lost' : 'renewed'));
    assert.deepEqual(await renewAll(t, leases), expected);
    assertTimeLeft(await t.refusal(`${base}:0`), 2 * LEASE);
    assertTimeLeft(await t.refusal(`${base}:457`), LEASE);
    assertTimeLeft(await t.refusal(`${base}:499`), 2 * LEASE);
  },
};

/**
 * Renews leases, and repeats the renewal of those whose outcome is `unknown`, like the engine.
 * A store that renews leases one by one may run out of time before the last lease.
 */
async function renewAll(t: ConformanceTrial, leases: readonly LeaseRenewal[]): Promise<RenewalOutcome[]> {
  const outcomes = await t.batchRenewer.renewMany(leases);
  for (let repetition = 0; repetition < REPETITIONS && outcomes.includes('unknown'); repetition++) {
    const places = [...outcomes.keys()].filter((place) => outcomes[place] === 'unknown');
    const again = await t.batchRenewer.renewMany(leases.filter((_, place) => places.includes(place)));
    for (const [i, place] of places.entries()) outcomes[place] = again[i] ?? 'unknown';
  }
  return outcomes;
}

function lease({ key, owner }: Pick<Grant, 'key' | 'owner'>, ttl = 2 * LEASE): LeaseRenewal {
  return { key, owner, ttl };
}

function isLost(index: number): boolean {
  return index % 100 === 57;
}
