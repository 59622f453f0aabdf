import { strict as assert } from 'node:assert';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { LockAcquireResult, ReleaseRequest } from '../../interfaces/lock-store.interface.js';
import {
  assertRecord,
  assertGrowing,
  assertTimeLeft,
  lastRunOf,
  LEASE,
  NEVER,
  pick,
  show,
  together,
  type Cases,
  type ConformanceTrial,
  type Grant,
} from './conformance-trial.js';

const HOUR = 3_600_000;

/**
 * The holder releases its lock to a waiter, and no other contender gets the key in between.
 */
export const releasingToWaiters: Cases = {
  async 'B23 a waiter gets the lock with a larger token, and with its own label and ttl'(t) {
    let holder = await t.take(t.key(), { label: 'first', ttl: 4 * LEASE });
    for (const label of ['second 🔒 漢', undefined, 'x'.repeat(1_000)]) {
      const next = await releaseTo(t, holder, { label, ttl: 2 * LEASE });
      assertGrowing([holder.token, next.token]);
      const found = await t.refusal(holder.key, { store: await t.open() });
      assertRecord(found, { fencingToken: next.token });
      assertTimeLeft(found, 2 * LEASE);
      if (found) {
        assert.equal(found.label?.slice(0, 255), label?.slice(0, 255));
        const early = found.renewedAt.getTime() - found.startedAt.getTime();
        assert.equal(early, 0, `the run of the waiter must not begin ${early} ms before its lease`);
      }
      holder = next;
    }
  },

  async 'B23 a lock that was released to a waiter belongs only to the new owner'(t) {
    const first = await t.take(t.key());
    const next = await releaseTo(t, first);
    assert.equal(await t.store.renew(first.key, first.owner, LEASE), false);
    assert.equal(await t.store.release(first.key, first.owner), false);
    await t.refusal(first.key, { owner: first.owner });
    assert.equal(await t.store.renew(next.key, next.owner, LEASE), true);
    assert.equal(await t.store.release(next.key, next.owner), true);
    assertGrowing([first.token, next.token, (await t.take(first.key)).token]);
  },

  async 'B23 a lock that never expires can be released to a waiter, and a waiter can get such a lock'(t) {
    const first = await t.take(t.key(), { ttl: NEVER });
    const next = await releaseTo(t, first, { ttl: LEASE });
    assertTimeLeft(await t.refusal(first.key), LEASE);
    await releaseTo(t, next, { ttl: NEVER });
    assertRecord(await t.refusal(first.key), { expiresAt: null });
  },

  async 'B23 an expired lease is not released to a waiter'(t) {
    const { key, owner, token } = await t.expired();
    await refusesWaiter(t, { key, owner }, 'held');
    assertGrowing([token, (await t.take(key)).token]);
  },

  async 'B23 only the owner releases a lock to a waiter, and only while the owner holds it'(t) {
    const { key, owner, token } = await t.take(t.key());
    await refusesWaiter(t, { key, owner: t.owner() }, 'held');
    assertRecord(await t.refusal(key), { fencingToken: token });
    await t.store.release(key, owner, { keepFor: LEASE });
    await refusesWaiter(t, { key, owner }, 'held');
    const [free, unused] = [await t.take(t.key()), t.key()];
    await t.store.release(free.key, free.owner);
    for (const absent of [free.key, unused]) {
      await refusesWaiter(t, { key: absent, owner: free.owner }, 'held');
      await t.take(absent);
    }
  },

  async 'B23 a release to a waiter that the store carries out twice changes nothing the second time'(t) {
    const first = await t.take(t.key());
    const next = { owner: t.owner(), ttl: LEASE };
    const released = await releaseToWaiter(t, first, next);
    assert.ok(released.acquired);
    await t.shortLeasesRanOut();
    await refusesWaiter(t, first, 'held', { ...next, ttl: 4 * LEASE });
    const holder = await t.refusal(first.key);
    assertRecord(holder, { fencingToken: released.fencingToken });
    assertTimeLeft(holder, LEASE);
    assert.equal(await t.store.release(first.key, next.owner), true);
    await refusesWaiter(t, first, 'held', next);
    await t.take(first.key);
  },

  async 'B23 resend: a waiter that did not learn of its grant gets the lock again, with the same token'(t) {
    const first = await t.take(t.key());
    const next = await releaseTo(t, first, { label: 'next' });
    const attempt = { owner: next.owner, label: 'next', ttl: 2 * LEASE, resend: true };
    assert.equal((await t.take(first.key, attempt)).token, next.token);
    assertTimeLeft(await t.refusal(first.key), 2 * LEASE);
    await t.refusal(first.key, { owner: first.owner, resend: true });
  },

  async 'B23 if a lock is released to many waiters at the same time, at most one of them gets it'(t) {
    const stores = await t.instances();
    let holder = await t.take(t.key());
    for (let round = 0; round < t.settings.rounds; round++) {
      const { key, token } = holder;
      const released = await together(2 * stores.length, async (i) => {
        const next = t.owner();
        const result = await releaseToWaiter(t, holder, { owner: next }, pick(stores, i));
        return result.acquired ? [{ key, owner: next, token: result.fencingToken }] : [];
      });
      const grants = released.flat();
      assert.ok(grants.length < 2, `${grants.length} waiters were granted the same lock`);
      holder = grants[0] ?? holder; // if all collide, none is granted
      assert.equal(await t.store.renew(key, holder.owner, LEASE), true);
      if (grants[0]) assertGrowing([token, holder.token]);
    }
  },

  async 'B23 while a lock is released from waiter to waiter, no contender gets the key'(t) {
    const stores = await t.instances();
    let holder = await t.take(t.key());
    const over = new AbortController();
    const contenders = together(t.settings.racers, async (i) => {
      for (const store = pick(stores, i); !over.signal.aborted; await nextTurn()) {
        const result = await t.attempt(holder.key, { store });
        assert.ok(!result.acquired, 'a contender got a lock that was released to a waiter');
      }
    });
    const releases = releaseInTurn().finally(() => over.abort());
    await Promise.allSettled([contenders, releases]);
    await Promise.all([contenders, releases]);

    async function releaseInTurn(): Promise<void> {
      for (let i = 0; i < 10 * t.settings.rounds; i++) {
        const next = await releaseTo(t, holder);
        assertGrowing([holder.token, next.token]);
        assert.equal(await t.store.renew(holder.key, holder.owner, LEASE), false);
        holder = next;
      }
    }
  },
};

export const releasingToWaitersInspected: Cases = {
  async 'B23 an inspection shows the run that ended with a release to a waiter, with its outcome'(t) {
    let holder = await t.take(t.key(), { label: 'worker 0' });
    for (const [i, outcome] of ([undefined, 'failed', 'done'] as const).entries()) {
      const startedAt = (await t.refusal(holder.key))?.startedAt;
      await t.shortLeasesRanOut();
      holder = await releaseTo(t, holder, { label: `worker ${i + 1}`, end: { outcome } });
      const found = await t.inspector.inspect(holder.key);
      assert.ok(found.state === 'held');
      assert.equal(found.holder.label, `worker ${i + 1}`);
      const run = lastRunOf(found);
      assert.deepEqual([run.label, run.outcome], [`worker ${i}`, outcome ?? 'done']);
      assert.deepEqual(run.startedAt, startedAt);
      assert.deepEqual(run.endedAt, found.holder.startedAt);
    }
    await t.store.release(holder.key, holder.owner);
    assert.equal(lastRunOf(await t.inspector.inspect(holder.key)).label, 'worker 3');
  },

  async 'B23 if a release to a waiter is refused, the recorded runs do not change'(t) {
    const { key } = await t.take(t.key(), { label: 'worker' });
    await refusesWaiter(t, { key, owner: t.owner() }, 'held');
    const found = await t.inspector.inspect(key);
    assert.deepEqual([found.state, found.lastRun], ['held', undefined]);
  },
};

export const releasingToWaitersPaused: Cases = {
  async 'B23 a paused key is not released to a waiter: its holder keeps it'(t) {
    const { key, owner, token } = await t.take(t.key());
    await t.pauser.pause(key);
    await refusesWaiter(t, { key, owner }, 'paused');
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    await t.pauser.resume(key);
    const next = await releaseTo(t, { key, owner, token });
    assertGrowing([token, next.token]);
  },
};

export const releasingToWaitersOnce: Cases = {
  async 'B23 a tick stays done when its lock is released to a waiter'(t) {
    const once = { tick: Date.now() - HOUR / 2, ahead: HOUR };
    const first = await t.take(t.key(), { once });
    const next = await releaseTo(t, first);
    await t.refused(first.key, 'tick-done', { once });
    await t.store.release(next.key, next.owner);
    await t.refused(first.key, 'tick-done', { once });
    await t.take(first.key, { once: { ...once, tick: once.tick + 1 } });
  },
};

interface Wanted {
  owner?: string;
  ttl?: number;
  label?: string;
  end?: Pick<ReleaseRequest, 'outcome'>;
}

/** Releases a held lock to a waiter; repeats the request after collisions. */
async function releaseTo(t: ConformanceTrial, holder: Grant, wanted: Wanted = {}): Promise<Grant> {
  const next = { owner: t.owner(), ...wanted };
  const deadline = performance.now() + t.settings.patience;
  for (;;) {
    const result = await releaseToWaiter(t, holder, next);
    if (result.acquired) return { key: holder.key, owner: next.owner, token: result.fencingToken };
    assert.ok(
      result.reason === 'contention' && performance.now() < deadline,
      `${show(holder.key)} is held by the owner that releases it to a waiter, but the release was refused: ${show(result)}`,
    );
  }
}

async function releaseToWaiter(
  t: ConformanceTrial,
  { key, owner }: { key: string; owner: string },
  { end, ttl = LEASE, ...next }: Wanted & { owner: string },
  store = t.store,
): Promise<LockAcquireResult> {
  return t.waiterReleaseOf(store).releaseToWaiter(key, owner, { ...next, ttl }, end);
}

async function refusesWaiter(
  t: ConformanceTrial,
  lease: { key: string; owner: string },
  reason: 'held' | 'paused',
  next: Wanted & { owner: string } = { owner: t.owner() },
): Promise<void> {
  const result = await releaseToWaiter(t, lease, next);
  const outcome = result.acquired ? 'granted' : result.reason;
  const wanted = `a release of ${show(lease.key)} to a waiter must be refused with the reason ${reason}`;
  assert.equal(outcome, reason, `${wanted}, but it was: ${outcome}`);
}
