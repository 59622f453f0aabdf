import { strict as assert } from 'node:assert';
import { failureOf, LEASE, show, type ExecutorCases } from './executor-trial.js';

/** The time limit, in milliseconds, of an attempt that must not get a guarded lock. */
const SHORT = 800;

/** Transactions that the store begins, for `lock.transaction()`. */
export const transactions: ExecutorCases = {
  async 'B91 lock.transaction hands out a transaction of the client, commits it and returns the result of its work'(
    t,
  ) {
    await t.store.prepare();
    await t.scratch();
    const result = await t.store.transaction(async (transaction) => {
      await t.write(1, transaction);
      assert.equal(await t.written(1), 0, 'another client must not see a row before its commit');
      return 42;
    });
    assert.equal(result, 42);
    assert.equal(await t.written(1), 1, 'another client must see a row after its commit');
  },

  async 'B91 lock.transaction rolls back when its work rejects, and rejects with the same error'(t) {
    await t.store.prepare();
    await t.scratch();
    const planned = new Error('out of stock');
    const failure = await failureOf(() =>
      t.store.transaction(async (transaction) => {
        await t.write(1, transaction);
        throw planned;
      }),
    );
    assert.equal(
      failure,
      planned,
      `lock.transaction rejects with another error than its work: ${show(failure)}`,
    );
    assert.equal(await t.written(1), 0, 'the rollback must undo what the work wrote');
  },

  async 'B91 a guard in lock.transaction confirms the lock, and keeps it from other owners until the commit'(
    t,
  ) {
    const { key, owner, token } = await t.take();
    await t.store.transaction(async (transaction) => {
      assert.equal(await t.store.guard(transaction, key, owner, token), true);
      const steal = { stealAfter: 1, timeout: SHORT };
      const thief = await failureOf(() => t.others.acquire(key, 'thief', LEASE, steal));
      assert.ok(
        thief instanceof Error || !String(thief).includes('acquired: true'),
        'another owner got the lock inside the transaction: the guard ran outside of it',
      );
    });
    assert.equal(await t.store.release(key, owner), true);
  },

  async 'B91 a guard returns false for a lost lock, another owner or another token'(t) {
    const { key, owner, token } = await t.take();
    const lost = await t.take();
    await t.store.release(lost.key, lost.owner);
    await t.store.transaction(async (transaction) => {
      const wrong = [
        { key, owner: 'another owner', token },
        { key, owner, token: token - 1 },
        lost,
        { key: t.key(), owner, token },
      ];
      for (const lock of wrong)
        assert.equal(
          await t.store.guard(transaction, lock.key, lock.owner, lock.token),
          false,
          `a guard must return false for ${show(lock)}`,
        );
      assert.equal(await t.store.guard(transaction, key, owner, token), true);
    });
  },

  async 'B91 a guard refuses a value that is not an open transaction, and the error names the lock'(t) {
    const { key, owner, token } = await t.take();
    const wrong: [string, unknown][] = [
      ...Object.entries(t.given.notTransactions ?? {}),
      ['undefined', undefined],
      ['null', null],
      ['an empty object', {}],
      ['a text', 'transaction'],
    ];
    for (const [what, value] of wrong) {
      const { message } = await t.refuses(`a guard in ${what}`, () =>
        t.store.guard(value, key, owner, token),
      );
      assert.ok(message.includes(`guard "${key}"`), `the error must name the guard and its lock: ${message}`);
    }
  },

  async 'B91 a guard refuses a transaction that has ended'(t) {
    const { key, owner, token } = await t.take();
    let ended: unknown;
    await t.store.transaction(async (transaction) => void (ended = transaction));
    await t.refuses('a guard after the commit', () => t.store.guard(ended, key, owner, token));
    await failureOf(() =>
      t.store.transaction(async (transaction) => {
        ended = transaction;
        throw new Error('rolled back');
      }),
    );
    await t.refuses('a guard after the rollback', () => t.store.guard(ended, key, owner, token));
  },

  async 'B91 watchTransaction returns a function that tells whether the transaction is still open'(t) {
    await t.store.prepare();
    for (const fails of [false, true]) {
      let isOpen = (): boolean => false;
      let wasOpen = false;
      await failureOf(() =>
        t.store.transaction(async (transaction) => {
          isOpen = t.store.watchTransaction(transaction);
          await t.given.query('SELECT 1', transaction);
          wasOpen = isOpen();
          if (fails) throw new Error('rolled back');
        }),
      );
      assert.equal(wasOpen, true, 'an open transaction is shown as ended');
      assert.equal(isOpen(), false, 'a transaction that has ended is shown as open');
    }
  },
};

/** Transactions that the application begins by itself. */
export const guards: ExecutorCases = {
  async 'B91 a guard in a transaction of the application confirms the lock'(t) {
    const { key, owner, token } = await t.take();
    await t.scratch();
    await t.given.transaction(async (transaction) => {
      assert.equal(await t.store.guard(transaction, key, owner, token), true);
      const isOpen = t.store.watchTransaction(transaction);
      assert.equal(isOpen(), true, 'an open transaction is shown as ended');
      await t.write(1, transaction);
    });
    assert.equal(await t.written(1), 1, 'the transaction of the application must be committed');
  },

  async 'B91 a guard refuses a transaction of the application that has ended'(t) {
    const { key, owner, token } = await t.take();
    let ended: unknown;
    let isOpen = (): boolean => true;
    await t.given.transaction(async (transaction) => {
      ended = transaction;
      isOpen = t.store.watchTransaction(transaction);
    });
    assert.equal(isOpen(), false, 'a committed transaction is shown as open');
    await t.refuses('a guard after the commit', () => t.store.guard(ended, key, owner, token));
    await t.rollBack(async (transaction) => {
      ended = transaction;
      isOpen = t.store.watchTransaction(transaction);
    });
    assert.equal(isOpen(), false, 'a transaction that was rolled back is shown as open');
    await t.refuses('a guard after the rollback', () => t.store.guard(ended, key, owner, token));
  },
};

/** For clients whose transactions show to which client they belong. */
export const foreignGuards: ExecutorCases = {
  async 'B91 a guard refuses a transaction that another client began'(t) {
    const foreign = t.part('foreign');
    const { key, owner, token } = await t.take();
    await foreign(async (transaction) => {
      await t.refuses('a guard in a transaction of another client', () =>
        t.store.guard(transaction, key, owner, token),
      );
    });
  },
};

/** For clients whose transactions are synchronous. */
export const withoutTransactions: ExecutorCases = {
  async 'B91 with synchronous transactions, lock.transaction and lock.guard are refused'(t) {
    const { key, owner, token } = await t.take();
    await t.refuses('lock.transaction', () => t.store.transaction(async () => undefined));
    await t.refuses('a guard', () => t.store.guard({}, key, owner, token));
  },
};
