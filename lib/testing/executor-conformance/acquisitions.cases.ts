import { strict as assert } from 'node:assert';
import { LockStoreError } from '../../lock.errors.js';
import { failureOf, LEASE, show, type ExecutorCases, type ExecutorTrial } from './executor-trial.js';

/**
 * More acquisitions than a pool has connections, so that some get a connection with an open
 * transaction.
 */
const ATTEMPTS = 12;
const RACERS = 12;
const CAUSE = /transaction|autocommit/;

/** An acquisition never joins a transaction of the application. */
export const acquisitions: ExecutorCases = {
  async 'B77 an acquisition is committed at once, and another client sees it'(t) {
    const { key, owner } = await t.take();
    await t.sees(key, 'held', 'after an acquisition');
    assert.equal(await t.store.renew(key, owner, LEASE), true);
    assert.equal(await t.store.release(key, owner), true);
    await t.sees(key, 'free', 'after a release');
  },

  async 'B90 a key that reads like SQL is renewed and released'(t) {
    const { key, owner } = await t.take(t.store, `${t.key()} RETURNING "key" -- O'Brien`);
    assert.equal(await t.store.renew(key, owner, LEASE), true, 'the renewal must return true');
    assert.equal(await t.store.release(key, owner), true, 'the release must return true');
  },

  async 'B77 another client sees an acquisition inside a transaction of the application before the commit'(
    t,
  ) {
    const key = t.key();
    await t.store.prepare();
    await t.given.transaction(async (transaction) => {
      await t.touch(transaction);
      await t.take(t.store, key);
      await t.sees(key, 'held', 'inside the transaction');
    });
    await t.sees(key, 'held', 'after the commit');
  },

  async 'B77 the rollback of a transaction does not undo an acquisition inside it'(t) {
    const key = t.key();
    let id = 0;
    await t.store.prepare();
    await t.rollBack(async (transaction) => {
      id = await t.touch(transaction);
      await t.take(t.store, key);
      await t.sees(key, 'held', 'inside the transaction');
    });
    await t.sees(key, 'held', 'after the rollback');
    assert.equal(await t.written(id), 0, 'the rollback must undo what the application wrote');
  },

  async 'B77 the rollback of a transaction does not undo a renewal and a release inside it'(t) {
    const [released, renewed] = [await t.take(), await t.take()];
    await t.rollBack(async (transaction) => {
      await t.touch(transaction);
      assert.equal(await t.store.renew(renewed.key, renewed.owner, 2 * LEASE), true);
      assert.equal(await t.store.release(released.key, released.owner), true);
    });
    await t.sees(released.key, 'free', 'after the rollback of a transaction with a release inside it');
    const found = await t.others.inspect(renewed.key);
    assert.ok(found.state === 'held' && found.holder.remaining > LEASE, 'the rollback undid a renewal');
  },

  async 'B77 an acquisition is granted even inside a transaction that a failed statement has aborted'(t) {
    const key = t.key();
    await t.store.prepare();
    await t.rollBack(async (transaction) => {
      await abort(t, transaction);
      await t.take(t.store, key);
      await t.sees(key, 'held', 'inside the failed transaction');
    });
    await t.sees(key, 'held', 'after the rollback');
  },

  async 'B77 transactions that were committed, rolled back or aborted do not affect later acquisitions'(t) {
    await t.given.transaction((transaction) => t.touch(transaction));
    await t.take(t.store);
    await t.rollBack((transaction) => t.write(2, transaction));
    await t.rollBack((transaction) => abort(t, transaction));
    for (let i = 0; i < ATTEMPTS; i++) {
      const { key } = await t.take();
      await t.sees(key, 'held', 'after transactions of the application');
    }
  },

  async 'B77 another client sees acquisitions beside several open transactions before these end'(t) {
    await t.store.prepare();
    const beside = async (): Promise<void> =>
      t.given.transaction(async (transaction) => {
        await t.given.query('SELECT 1', transaction);
        const { key } = await t.take();
        await t.sees(key, 'held', 'beside several open transactions');
      });
    if (t.writesInTransactions) await Promise.all([beside(), beside(), beside()]);
    else await beside(); // on SQLite, the client has one connection
  },

  async 'B90 two clients on one table exclude each other, and a refusal shows the holder'(t) {
    const [mine, theirs] = [await t.take(t.store), await t.take(t.others)];
    for (const [store, held] of [
      [t.others, mine],
      [t.store, theirs],
    ] as const) {
      const refused = await store.acquire(held.key, 'another owner', LEASE, { label: 'another' });
      assert.ok(!refused.acquired, 'both clients hold the same key');
      assert.equal(
        refused.holder?.fencingToken,
        held.token,
        `the refusal does not show the holder: ${show(refused)}`,
      );
    }
    assert.equal(await t.store.release(mine.key, mine.owner), true);
    const next = await t.take(t.others, mine.key);
    assert.ok(next.token > mine.token, 'a grant to another client must have a larger token');
  },

  async 'B90 at most one of many simultaneous acquirers on two clients gets the lock'(t) {
    const key = t.key();
    const race = Array.from({ length: RACERS }, async (_, i) =>
      (i % 2 ? t.store : t.others).acquire(key, `owner ${i}`, LEASE),
    );
    const granted = (await Promise.all(race)).filter(({ acquired }) => acquired);
    assert.ok(granted.length <= 1, `at most one acquirer may get the key, but ${granted.length} got it`);
    await t.sees(key, granted.length === 1 ? 'held' : 'free', 'after the race');
  },
};

/** For clients that have nested transactions. */
export const nestedAcquisitions: ExecutorCases = {
  async 'B77 the rollback of a nested transaction does not undo an acquisition inside it'(t) {
    const nested = t.part('nested');
    const key = t.key();
    const planned = new Error('the nested transaction is rolled back');
    await t.store.prepare();
    await t.given.transaction(async (outer) => {
      await t.touch(outer);
      const failure = await failureOf(() =>
        nested(outer, async (inner) => {
          if (t.writesInTransactions) await t.write(2, inner);
          await t.take(t.store, key);
          await t.sees(key, 'held', 'inside the nested transaction');
          throw planned;
        }),
      );
      assert.equal(failure, planned, 'nested must reject with the error of its work');
      await t.sees(key, 'held', 'after the nested transaction');
    });
    await t.sees(key, 'held', 'after the commit');
    assert.equal(await t.written(2), 0, 'the rollback must undo what the nested transaction wrote');
  },
};

/** For clients with pools, where the application can leave a connection in a transaction. */
export const dirtyAcquisitions: ExecutorCases = {
  async 'B83 on a connection that was left in a transaction, an acquisition fails, or other clients see its grant'(
    t,
  ) {
    const leaveDirty = t.part('leaveDirty');
    await t.store.prepare();
    const cleanUp = await leaveDirty();
    try {
      for (let i = 0; i < ATTEMPTS; i++) await acquireBesideDirt(t);
    } finally {
      await cleanUp?.();
    }
  },
};

/**
 * Lets a statement of the transaction fail. On PostgreSQL, all later statements then fail too.
 */
async function abort(t: ExecutorTrial, transaction: unknown): Promise<void> {
  await t.touch(transaction);
  const failed = await failureOf(() => t.given.query(`SELECT 1 FROM missing_${process.pid}`, transaction));
  assert.notEqual(typeof failed, 'string', 'a query of a table that is missing must fail');
}

/**
 * Acquires a key: either the other client sees the grant, or the error names the open
 * transaction.
 */
async function acquireBesideDirt(t: ExecutorTrial): Promise<void> {
  const key = t.key();
  const failure = await failureOf(() => t.take(t.store, key));
  if (typeof failure === 'string') return t.sees(key, 'held', 'after a grant beside dirty connections');
  assert.ok(
    failure instanceof LockStoreError && CAUSE.test(failure.message),
    `an acquisition that fails must reject with a LockStoreError that names the transaction, but: ${show(failure)}`,
  );
}
