import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import type { TransactionGuard } from '../../lib/interfaces/lock-store.interface.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { captureLog, startCoreWith, warnings, watch } from './core-fixture.js';
import { ScriptedStore } from './scripted-store.js';

/** A transaction of the application. */
class Transaction {
  open = true;
}

/**
 * A database in which no other session can change a guarded row until the transaction has
 * ended.
 */
class GuardingStore extends ScriptedStore implements TransactionGuard {
  readonly guarded = new Set<Transaction>();

  async transaction<T>(work: (context: unknown) => Promise<T>): Promise<T> {
    return work(new Transaction());
  }

  async guard(context: unknown): Promise<boolean> {
    const { open } = context as Transaction;
    if (open) this.guarded.add(context as Transaction);
    return open;
  }

  watchTransaction(context: unknown): () => boolean {
    return () => (context as Transaction).open;
  }

  override async release(...request: Parameters<ScriptedStore['release']>): Promise<boolean> {
    for (const { open } of this.guarded) if (open) throw new Error('the row is locked');
    return super.release(...request);
  }
}

const logged = captureLog();
const start = (options: LockModuleDefaults = {}) => startCoreWith(GuardingStore, options);

describe('a lock that is released inside the transaction that guards it', () => {
  it('A5 the store releases the lock when the guarding transaction has ended', async () => {
    const { service, store, clock, names } = await start();
    const transaction = new Transaction();
    const running = watch(service.run('key', (lock) => lock.guard(transaction)));
    await clock.advance(1);
    expect(running.state).toBe('resolved');
    await clock.advance(5_000);
    expect([store.count('release'), names()]).toEqual([0, ['acquired']]);
    transaction.open = false;
    await clock.advance(20);
    expect(store.of('release')).toHaveLength(1);
    expect(names()).toEqual(['acquired', 'released']);
    expect(warnings(logged)).toEqual([
      expect.stringMatching(/"key" was released inside the transaction that guards it.*after the commit/),
    ]);
  });

  it('A5 if the transaction outlasts the ttl, the lock expires and does not count as lost', async () => {
    const { service, store, clock, names } = await start({ ttl: 3_000 });
    const lock = await service.acquire('key');
    await lock.guard(new Transaction());
    await lock.release();
    await clock.advance(10_000);
    expect([store.count('release'), store.count('renewMany')]).toEqual([0, 0]);
    expect(names()).toEqual(['acquired', 'released']);
    expect(lock.loss).toBeUndefined();
    expect((await service.admin.inspect('key')).state).not.toBe('held');
  });

  it('A5 a shutdown waits for the transaction, but at most as long as for a request to the store', async () => {
    for (const ends of [true, false]) {
      const { service, store, clock } = await start({ ttl: Infinity });
      const transaction = new Transaction();
      const lock = await service.acquire('key');
      await lock.guard(transaction);
      await lock.release();
      const closing = watch(service[INTERNALS].close());
      await clock.advance(1_000);
      expect(closing.state).toBe('pending');
      transaction.open = !ends;
      await clock.advance(ends ? 20 : 10_000);
      expect(closing.state).toBe('resolved');
      expect(store.count('release')).toBe(ends ? 1 : 0);
      await clock.advance(1_000);
    }
  });

  it('A5 a release waits for all open transactions that guard the lock, and for no ended or foreign ones', async () => {
    const { service, store, clock } = await start();
    const [first, second, ended] = [new Transaction(), new Transaction(), new Transaction()];
    const lock = await service.acquire('key');
    for (const transaction of [first, second, ended]) await lock.guard(transaction);
    ended.open = false;
    expect(await lock.release()).toBe(true);
    second.open = false;
    await clock.advance(1_000);
    expect(store.count('release')).toBe(0);
    first.open = false;
    await clock.advance(20);
    expect(store.count('release')).toBe(1);

    const next = await service.acquire('key');
    const committed = new Transaction();
    await next.guard(committed);
    committed.open = false;
    expect(await next.release()).toBe(true);
    expect(store.count('release')).toBe(2);
  });

  it('A5 a release does not wait for a transaction in which lock.guard() failed', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    const transaction = new Transaction();
    transaction.open = false;
    await expect(lock.guard(transaction)).rejects.toThrow(/found that this process does not hold the lock/);
    transaction.open = true;
    await lock.release();
    expect(store.count('release')).toBe(1);
  });

  it('A5 a release after lock.transaction() warns of no transaction that still guards the lock', async () => {
    const { service, store } = await start();
    await service.run('key', (lock) => lock.transaction(async () => {}));
    store.guarded.clear();
    expect(warnings(logged).filter((text) => text.includes('guards it'))).toEqual([]);
  });
});
