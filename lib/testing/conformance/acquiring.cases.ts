import { strict as assert } from 'node:assert';
import { assertRecord, assertGrowing, LEASE, NEVER, pick, show, type Cases } from './conformance-trial.js';

/** An acquisition grants a free key, and refuses a held key. */
export const acquiring: Cases = {
  async 'B15 a free key is granted, with a token that is a safe integer'(t) {
    const { token } = await t.take(t.key());
    assert.ok(
      Number.isSafeInteger(token) && token > 0,
      `the token must be a safe integer above 0, but it is ${show(token)}`,
    );
  },

  async 'B39 a held key is refused to another owner'(t) {
    const { key } = await t.take(t.key());
    await t.refusal(key);
    await t.refusal(key, { store: await t.open() });
  },

  async 'B39 a held key is refused even to a second attempt with the same owner'(t) {
    const { key, owner, token } = await t.take(t.key());
    assertRecord(await t.refusal(key, { owner }), { fencingToken: token });
    await t.refusal(key, { owner, resend: false });
  },

  async 'B37 two workers with the same label exclude each other'(t) {
    const { key } = await t.take(t.key(), { label: 'worker' });
    await t.refusal(key, { label: 'worker' });
  },

  async 'B24 locks of different keys are independent, even with the same owner'(t) {
    const first = await t.take(t.key());
    const second = await t.take(t.key(), { owner: first.owner });
    assert.equal(await t.store.release(second.key, second.owner), true);
    await t.refusal(first.key);
    assert.equal(await t.store.renew(first.key, first.owner, LEASE), true);
    await t.take(second.key);
  },

  async 'B36 a refusal shows no owner id, since whoever knows it could release the lock'(t) {
    const { key, owner } = await t.take(t.key(), { label: 'worker' });
    const refused = await t.attempt(key);
    assert.ok(!refused.acquired);
    assert.ok(!show(refused).includes(owner), `the refusal shows the owner id: ${show(refused)}`);
  },

  async 'B36 a refusal shows the label of the holder unchanged, or null if the holder has no label'(t) {
    const { key } = await t.take(t.key());
    assertRecord(await t.refusal(key), { label: null });
    for (const label of [
      `O'Brien's "first" worker; DROP TABLE locks; -- \\`,
      '🔒 Übergrößenträger ｗ １',
      '$name {"$gt": ""} ? :label $1 %s `x`',
    ]) {
      const named = await t.take(t.key(), { label });
      assertRecord(await t.refusal(named.key), { label });
    }
  },

  async 'B36 a key is granted with any label, even if the column cannot keep that label'(t) {
    for (const label of ['', 'a\0b', 'half of a \ud83d', 'long '.repeat(2000), '🔒'.repeat(300)]) {
      const { key } = await t.take(t.key(), { label });
      await t.refusal(key);
    }
  },

  async 'B36 owners that differ in case, in a space or at the end of a long name are different owners'(t) {
    const owner = `${t.owner()}:${'x'.repeat(200)}`;
    const { key } = await t.take(t.key(), { owner });
    for (const other of [owner.toUpperCase(), `${owner} `, ` ${owner}`, `${owner}x`, owner.slice(0, 64)]) {
      assert.equal(await t.store.renew(key, other, LEASE), false);
      assert.equal(await t.store.release(key, other), false);
      await t.refusal(key, { owner: other, resend: true });
    }
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    assert.equal(await t.store.release(key, owner), true);
  },

  async 'B29 a lock that never expires is held until it is released'(t) {
    const { key, owner } = await t.take(t.key(), { ttl: NEVER });
    const holder = await t.refusal(key);
    assertRecord(holder, { expiresAt: null });
    assertRecord(holder, { remaining: Infinity });
    assert.equal(await t.store.renew(key, owner, NEVER), true);
    assertRecord(await t.refusal(key), { expiresAt: null });
    assert.equal(await t.store.release(key, owner), true);
    await t.take(key);
  },

  async 'B28 a ttl may have a fraction of a millisecond'(t) {
    const { key, owner } = await t.take(t.key(), { ttl: 100_000 / 3 });
    assert.equal(await t.store.renew(key, owner, 100_000 / 3), true);
    assert.equal(await t.store.release(key, owner, { keepFor: 1000 / 3 }), true);
  },

  async 'B38 each grant after a release has a larger token, in all instances'(t) {
    const stores = await t.instances();
    const key = t.key();
    const tokens: number[] = [];
    for (let i = 0; i < 5 * stores.length; i++) {
      const store = pick(stores, i);
      const { owner, token } = await t.take(key, { store });
      tokens.push(token);
      assert.equal(await store.release(key, owner), true);
    }
    assertGrowing(tokens);
    assertGrowing([...tokens, (await t.take(key, { store: await t.open() })).token]);
  },

  async 'contract of @nestjs/locks: the three operations work without their optional arguments'(t) {
    const { store } = t;
    const [key, owner] = [t.key(), t.owner()];
    const granted = await store.acquire(key, owner, LEASE);
    assert.ok(granted.acquired && Number.isSafeInteger(granted.fencingToken));
    assert.equal((await store.acquire(key, t.owner(), LEASE)).acquired, false);
    assert.equal((await store.acquire(key, owner, LEASE)).acquired, false);
    assert.equal(await store.renew(key, owner, LEASE), true);
    assert.equal(await store.release(key, owner), true);
    assert.equal(await store.release(key, owner), false);
    assert.equal(await store.renew(key, owner, LEASE), false);
  },

  async 'contract of @nestjs/locks: an optional argument that is undefined counts as not given'(t) {
    const { store } = t;
    const [key, owner] = [t.key(), t.owner()];
    assert.equal((await store.acquire(key, owner, LEASE, undefined)).acquired, true);
    assert.equal(
      (await store.acquire(key, owner, LEASE, { label: undefined, resend: undefined })).acquired,
      false,
    );
    assertRecord(await t.refusal(key), { label: null });
    assert.equal(await store.release(key, owner, undefined), true);
    const again = await t.take(key, { label: undefined, resend: undefined });
    assert.equal(await store.release(key, again.owner, { keepFor: undefined, outcome: undefined }), true);
    await t.take(key);
  },
};
