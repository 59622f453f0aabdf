import { strict as assert } from 'node:assert';
import { MAX_KEY_BYTES } from '../../options/lock-key.js';
import { LockError, LockStoreError } from '../../lock.errors.js';
import { assertRecord, LEASE, show, type Cases } from './conformance-trial.js';

const NO_STRINGS = [0, 1, NaN, 1n, true, null, undefined, [], ['a'], {}, { $ne: '' }, Buffer.of(97)];
const NO_KEYS = [...NO_STRINGS, '', '\0', 'a\0', '\ud800', 'a\udc00b'];
const NO_OWNERS = [...NO_STRINGS, '', 'a secret\0', 'a secret\ud800'];
const NO_TTLS = [0, -1, -0.5, NaN, Infinity, -Infinity, 1000n, null, '1000', {}, [1000]];
const NO_TICKS = [-1, 0.5, NaN, Infinity, 8.64e15 + 1, 1000n, null, undefined, '1000', new Date(1000), {}];
const NO_AGES = [-1, -0.5, NaN, Infinity, 1000n, null, undefined, '1000', {}, [1000]];
const NO_BOUNDS = [0, 1, null, ['a'], { $ne: '' }, 'a\0', '\ud800'];
const NO_LIMITS = [0, -1, 1001, 1.5, NaN, Infinity, null, '10'];

/**
 * A malformed value is refused before it reaches the database, where it could match every row.
 */
export const malformed: Cases = {
  async 'B41 an invalid key is refused before any statement is sent'(t) {
    const { key, owner, token } = await t.take(t.key());
    for (const value of NO_KEYS) {
      await refuses(t.store, 'acquire', value, owner, LEASE);
      await refuses(t.store, 'renew', value, owner, LEASE);
      await refuses(t.store, 'release', value, owner);
    }
    assertRecord(await t.refusal(key), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B41 a key over 4 KiB is refused'(t) {
    for (const key of ['x'.repeat(MAX_KEY_BYTES + 1), '🔒'.repeat(MAX_KEY_BYTES / 4 + 1)]) {
      await refuses(t.store, 'acquire', key, t.owner(), LEASE);
      await refuses(t.store, 'renew', key, t.owner(), LEASE);
      await refuses(t.store, 'release', key, t.owner());
    }
  },

  async 'B36 an invalid owner is refused before any statement is sent, and the error does not repeat it'(t) {
    const { key, owner, token } = await t.take(t.key());
    for (const value of NO_OWNERS) {
      await refuses(t.store, 'acquire', key, value, LEASE);
      await refuses(t.store, 'acquire', t.key(), value, LEASE, { resend: true });
      await refuses(t.store, 'renew', key, value, LEASE);
      const error = await refuses(t.store, 'release', key, value);
      assert.ok(!error.message.includes('a secret'), `the message shows the owner id: ${error.message}`);
    }
    assertRecord(await t.refusal(key), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'B30 an invalid ttl is refused before any statement is sent'(t) {
    const { key, owner } = await t.take(t.key());
    const free = t.key();
    for (const value of NO_TTLS) {
      await refuses(t.store, 'acquire', free, owner, value);
      await refuses(t.store, 'renew', key, owner, value);
    }
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    await t.take(free);
  },
};

export const malformedKeeping: Cases = {
  async 'B30 an invalid keepFor is refused before any statement is sent'(t) {
    const { key, owner } = await t.take(t.key());
    for (const keepFor of [-1, NaN, Infinity, '1000', {}]) {
      await refuses(t.store, 'release', key, owner, { keepFor });
    }
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },
};

export const malformedStealing: Cases = {
  async 'B32 an invalid stealAfter is refused before any statement is sent'(t) {
    const { key, owner } = await t.take(t.key());
    for (const stealAfter of NO_TTLS)
      await refuses(t.store, 'acquire', key, t.owner(), LEASE, { stealAfter });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },
};

export const malformedOnce: Cases = {
  async 'B76 an invalid tick, slot or gap is refused before any statement is sent'(t) {
    const free = t.key();
    const now = Date.now();
    const ticks = NO_TICKS.map((tick) => ({ tick, ahead: LEASE }));
    const bounds = [-1, NaN, Infinity, null, undefined, '1000'].map((ahead) => ({ tick: now, ahead }));
    const slots = NO_TTLS.flatMap((length) => [{ slot: length }, { gap: length }]);
    const repeats = [null, 0, 1, 'true'].map((failOver) => ({ tick: now, ahead: LEASE, failOver }));
    const shapes = [
      null,
      true,
      'tick',
      now,
      [],
      {},
      { slot: 1000, tick: now, ahead: LEASE },
      { slot: 1000, gap: 1000 },
      { gap: 1000, failOver: true },
      { every: 1000 },
    ];
    for (const once of [...ticks, ...bounds, ...slots, ...repeats, ...shapes])
      await refuses(t.store, 'acquire', free, t.owner(), LEASE, { once });
    await t.take(free, { once: { tick: now, ahead: LEASE * LEASE } });
  },
};

export const malformedPausing: Cases = {
  async 'B41 an invalid key is neither paused nor resumed'(t) {
    for (const value of NO_KEYS) {
      await refuses(t.pauser, 'pause', value);
      await refuses(t.pauser, 'resume', value);
    }
  },
};

export const malformedReleasesToWaiters: Cases = {
  async 'B23 releaseToWaiter refuses an invalid key, owner or waiter before any statement is sent'(t) {
    const { key, owner, token } = await t.take(t.key());
    const passer = t.waiterReleaseOf(t.store);
    const next = { owner: t.owner(), ttl: LEASE };
    for (const value of NO_KEYS) await refuses(passer, 'releaseToWaiter', value, owner, next);
    for (const value of NO_OWNERS) {
      await refuses(passer, 'releaseToWaiter', key, value, next);
      await refuses(passer, 'releaseToWaiter', key, owner, { ...next, owner: value });
    }
    for (const ttl of NO_TTLS) await refuses(passer, 'releaseToWaiter', key, owner, { ...next, ttl });
    for (const outcome of ['', 'lost', null, 1])
      await refuses(passer, 'releaseToWaiter', key, owner, next, { outcome });
    await refuses(passer, 'releaseToWaiter', key, owner, { ...next, owner });
    assertRecord(await t.refusal(key), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },
};

export const malformedInspection: Cases = {
  async 'B41 inspect and forceRelease refuse an invalid key'(t) {
    const { key, token } = await t.take(t.key());
    for (const value of NO_KEYS) {
      await refuses(t.inspector, 'inspect', value);
      await refuses(t.inspector, 'forceRelease', value);
    }
    assertRecord(await t.refusal(key), { fencingToken: token });
  },

  async 'B70 a list refuses a limit outside of 1 to 1000, and an invalid prefix or after'(t) {
    for (const limit of NO_LIMITS) await refuses(t.inspector, 'list', { limit });
    for (const bound of NO_BOUNDS) {
      await refuses(t.inspector, 'list', { limit: 1, prefix: bound });
      await refuses(t.inspector, 'list', { limit: 1, after: bound });
    }
    await t.inspector.list({ limit: 1000, prefix: '', after: '' });
  },
};

export const malformedPurge: Cases = {
  async 'B72 a purge with an invalid prefix, or without a valid olderThan, is refused and deletes nothing'(
    t,
  ) {
    const { key, owner } = await t.take(t.key());
    await t.store.release(key, owner);
    for (const olderThan of NO_AGES) await refuses(t.inspector, 'purge', { prefix: key, olderThan });
    await refuses(t.inspector, 'purge', { prefix: key });
    for (const prefix of NO_BOUNDS) await refuses(t.inspector, 'purge', { prefix, olderThan: 0 });
    assert.ok((await t.inspector.inspect(key)).lastRun, 'a refused purge has deleted the key');
  },
};

/**
 * Calls a method with values of any type, as callers without TypeScript can, and returns the
 * error.
 */
async function refuses<Store extends object>(
  store: Store,
  method: keyof Store,
  ...values: unknown[]
): Promise<LockError> {
  const operation: unknown = store[method];
  assert.ok(typeof operation === 'function');
  const call = `${String(method)}(${values.map(show).join(', ')})`;
  let refusal: unknown;
  await assert.rejects(
    () => Reflect.apply(operation, store, values),
    (error) => {
      refusal = error;
      return true;
    },
    `${call} must be refused, but it succeeded`,
  );
  assert.ok(
    refusal instanceof LockError,
    `${call} must be refused with a LockError, but it failed with ${show(refusal)}`,
  );
  assert.ok(!(refusal instanceof LockStoreError), `${call} reached the database: ${show(refusal)}`);
  return refusal;
}
