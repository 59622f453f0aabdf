import { strict as assert } from 'node:assert';
import { assertRecord, assertGrowing, assertTimeLeft, LEASE, type Cases } from './conformance-trial.js';

/**
 * With `resend`, a caller repeats an attempt whose answer was lost, and which the store may
 * have granted.
 */
export const resend: Cases = {
  async 'resend: a granted attempt gets its lock again, with the same token and a full ttl'(t) {
    const { key, owner, token } = await t.take(t.key(), { label: 'worker' });
    const again = await t.take(key, {
      store: await t.open(),
      owner,
      label: 'worker',
      ttl: 2 * LEASE,
      resend: true,
    });
    assert.equal(again.token, token);
    const holder = await t.refusal(key);
    assertRecord(holder, { fencingToken: token });
    assertRecord(holder, { label: 'worker' });
    assertTimeLeft(holder, 2 * LEASE);
    assert.equal(await t.store.release(key, owner), true);
  },

  async 'resend: if the first attempt never arrived, its repetition is granted like any other attempt'(t) {
    const { key, owner } = await t.take(t.key(), { resend: true });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'resend: an attempt is refused while another owner holds the key'(t) {
    const { key, owner, token } = await t.take(t.key());
    assertRecord(await t.refusal(key, { resend: true }), { fencingToken: token });
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'resend: after its own lease has expired, an attempt is granted with the same or a larger token'(t) {
    const { key, owner, token } = await t.expired();
    const again = await t.take(key, { owner, resend: true });
    assert.ok(
      again.token >= token,
      `the repeated attempt got token ${again.token}, which is smaller than ${token}`,
    );
    assertTimeLeft(await t.refusal(key), LEASE);
    assert.equal(await t.store.renew(key, owner, LEASE), true);
  },

  async 'resend: an attempt is refused after a take-over, and gets a larger token once the key is free again'(
    t,
  ) {
    const { key, owner, token } = await t.expired();
    const thief = await t.take(key);
    assertRecord(await t.refusal(key, { owner, resend: true }), { fencingToken: thief.token });
    assert.equal(await t.store.release(key, thief.owner), true);
    const again = await t.take(key, { owner, resend: true });
    assertGrowing([token, thief.token, again.token]);
  },
};

export const resendKept: Cases = {
  async 'resend: an attempt does not get a key that its own release keeps taken'(t) {
    const { key, owner } = await t.take(t.key());
    assert.equal(await t.store.release(key, owner, { keepFor: LEASE }), true);
    await t.refusal(key, { owner, resend: true });
  },
};
