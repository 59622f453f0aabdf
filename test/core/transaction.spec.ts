import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import type { StoreRequest, TransactionGuard } from '../../lib/interfaces/lock-store.interface.js';
import { LockError, LockLostError, LockStoreError } from '../../lib/lock.errors.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { captureLog, errorOf, warnings, gate, startCore, watch, type Core } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

const logged = captureLog();

/** A database with one transaction at a time; `log` lists when it begins, guards and ends. */
class TransactionalStore extends ScriptedStore implements TransactionGuard {
  readonly log: string[] = [];
  readonly timeouts: (number | undefined)[] = [];
  runs = 1;

  async transaction<T>(work: (context: unknown) => Promise<T>, request?: StoreRequest): Promise<T> {
    this.log.push('begin');
    this.timeouts.push(request?.timeout);
    try {
      let value = await work('context');
      for (let again = 1; again < this.runs; again++) value = await work('context');
      this.log.push('commit');
      return value;
    } catch (error) {
      this.log.push('roll back');
      throw error;
    }
  }

  async guard(context: unknown, key: string, owner: string, fencingToken: number): Promise<boolean> {
    this.log.push('guard');
    if (context === 'broken') throw new Error('no such transaction');
    // This renewal sets the remaining ttl again, so it changes nothing. Only a renewal checks
    // owner and expiry of a lock together.
    const found = await this.server.inspect(key);
    return (
      found.state === 'held' &&
      found.holder.fencingToken === fencingToken &&
      (await this.server.renew(key, owner, Math.min(found.holder.remaining, Number.MAX_SAFE_INTEGER)))
    );
  }
}

interface Transactional extends Core {
  store: TransactionalStore;
}

async function start(options: LockModuleDefaults = { ttl: 3000 }): Promise<Transactional> {
  const clock = new ManualClock();
  const store = new TransactionalStore(clock);
  return { ...(await startCore(options, { clock, store })), store };
}

describe('lock.transaction', () => {
  it('B91 lock.transaction() runs the work in a transaction, then guards the lock, then commits', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    const result = await lock.transaction(async (context: string) => {
      store.log.push(context);
      return 42;
    });
    expect(result).toBe(42);
    expect(store.log).toEqual(['begin', 'context', 'guard', 'commit']);
    expect(lock.held).toBe(true);
    expect(await lock.release()).toBe(true);
  });

  it('B91 the lease is renewed to its full ttl before the transaction, and not during it', async () => {
    const { service, store, clock } = await start();
    const lock = await service.acquire('key');
    await clock.advance(900);
    const work = gate();
    const transaction = watch(lock.transaction(() => work.promise));
    // Without the transaction, two renewals would be sent in these two seconds.
    await clock.advance(2000);
    expect(store.of('renew')).toMatchObject([{ at: expect.any(Number), ttl: 3000 }]);
    expect(store.count('renewMany')).toBe(0);
    work.open();
    await clock.advance(1); // The renewal that was due during the transaction is sent now.
    expect(transaction.state).toBe('resolved');
    expect(store.count('renewMany')).toBe(1);
    await clock.advance(10_000);
    expect(lock.held).toBe(true);
  });

  it('B91 the time limit of the transaction is the remaining lease', async () => {
    const { service, store, clock } = await start({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renew', { after: 500 });
    const slow = lock.transaction(async () => {});
    // The answer to the renewal takes 500 ms, which shorten the rest of the lease.
    await clock.advance(500);
    await slow;
    const endless = await service.acquire('endless', { ttl: Infinity });
    await endless.transaction(async () => {});
    service.disable();
    const unlocked = await service.acquire('unlocked');
    await unlocked.transaction(async () => {});
    expect(store.timeouts).toEqual([3000 - 150 - 500, 2 ** 31 - 1, 2 ** 31 - 1]);
  });

  it('B91 if the work fails, the transaction rolls back, and the caller gets the error of the work', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    const error = new Error('out of stock');
    expect(await errorOf(lock.transaction(() => Promise.reject(error)))).toBe(error);
    expect(store.log).toEqual(['begin', 'roll back']);
    expect(lock.held).toBe(true);
    await lock.transaction(async () => {});
    await lock.release();
  });

  it('B55 a transaction that outlasts the ttl rolls back, and the loss of its lock is reported in time', async () => {
    const { service, store, clock, of } = await start();
    const lock = await service.acquire('key');
    const work = gate();
    const transaction = watch(lock.transaction(() => work.promise));
    await clock.advance(3000);
    expect(lock.signal.aborted).toBe(true);
    expect(of('lost')).toHaveLength(1);
    // The transaction cannot roll back before the work in it has ended.
    expect(transaction.state).toBe('pending');
    work.open();
    await clock.advance(1);
    expect(transaction.error).toBeInstanceOf(LockLostError);
    expect(transaction.error).toMatchObject({ message: expect.stringMatching(/took longer than its ttl/) });
    expect(store.log).toEqual(['begin', 'roll back']);
  });

  it('B91 one warning comes for a transaction that stays open too long', async () => {
    for (const [ttl, after] of [
      [2000, 2000],
      [Infinity, 30_000],
    ] as const) {
      const { service, clock } = await start({ ttl });
      const lock = await service.acquire('key');
      const work = gate();
      const transaction = watch(lock.transaction(() => work.promise));
      logged.length = 0;
      const hanging = () => warnings(logged).filter((text) => text.includes('has been open for'));
      await clock.advance(after - 1);
      expect(hanging()).toEqual([]);
      await clock.advance(60_000);
      expect(hanging()).toEqual([expect.stringContaining(`"key" has been open for ${after / 1000} s`)]);
      work.open();
      await clock.advance(1);
      expect(transaction.state).not.toBe('pending');
    }
  });

  it('B91 the transaction of a holder that was frozen for longer than the ttl rolls back', async () => {
    const { service, store, clock } = await start();
    const lock = await service.acquire('key');
    const transaction = watch(
      lock.transaction(async () => {
        clock.freeze(5000);
        await store.takenBy('thief', 'key');
      }),
    );
    await clock.advance(1);
    expect(transaction.error).toBeInstanceOf(LockLostError);
    expect(store.log.at(-1)).toBe('roll back');
    expect(store.log).not.toContain('guard');
  });

  it('B71 after a forced release, a transaction rolls back even if its process does not know of the release', async () => {
    const { service, store, of } = await start();
    const lock = await service.acquire('key');
    const error = await errorOf(
      lock.transaction(() => service.admin.forceRelease('key', { reason: 'stuck' })),
    );
    expect(error).toBeInstanceOf(LockLostError);
    expect(lock.loss).toBe(error);
    expect(error.message).toContain('inside its transaction, the database said that the lease had run out');
    expect(of('lost')).toHaveLength(1);
    expect(store.log).toEqual(['begin', 'guard', 'roll back']);
  });

  it('B91 if the client repeats a transaction, its work does not run again after the lock was lost', async () => {
    const { service, store, clock } = await start();
    store.runs = 2;
    const lock = await service.acquire('key');
    let runs = 0;
    const transaction = watch(
      lock.transaction(async () => {
        if (++runs === 1) setImmediate(() => clock.freeze(5000));
        await new Promise(setImmediate);
      }),
    );
    await clock.advance(1);
    await clock.advance(1);
    expect(transaction.error).toBeInstanceOf(LockLostError);
    expect(runs).toBe(1);
  });

  it('B91 lock.transaction() on a lock that is not held fails before any request', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    await lock.release();
    await expect(lock.transaction(async () => {})).rejects.toThrow(LockLostError);
    expect(store.log).toEqual([]);
    await expect(lock.transaction('no function' as never)).rejects.toThrow(
      /needs the work to do: a function/,
    );
  });

  it('B91 inside a transaction, extend, release, handOff and transaction are refused', async () => {
    const { service } = await start();
    const lock = await service.acquire('key');
    await lock.transaction(async () => {
      for (const [name, call] of [
        ['extend', () => lock.extend()],
        ['release', () => lock.release()],
        ['handOff', () => lock.handOff()],
        ['transaction', () => lock.transaction(async () => {})],
      ] as const) {
        const error = await errorOf(call());
        expect(error).toBeInstanceOf(LockError);
        expect(error.message).toContain(`${name}() of lock "key" was called inside its transaction()`);
      }
    });
    await lock.extend();
    expect(await lock.release()).toBe(true);
  });

  it('B59 a transaction that the body does not await ends before the lock is released', async () => {
    const { service, store, clock } = await start();
    const work = gate();
    const begun = gate();
    const forgotten = gate();
    const running = watch(
      service.run('key', async (lock) => {
        lock.transaction(() => (begun.open(), work.promise)).catch(forgotten.fail);
        await begun.promise;
      }),
    );
    const lost = watch(forgotten.promise);
    await clock.advance(1);
    expect(store.count('release')).toBe(0);
    work.open();
    await clock.advance(1);
    expect(running.state).toBe('resolved');
    // The transaction may not commit, since the release has already begun.
    expect(lost.error).toBeInstanceOf(LockLostError);
    expect(store.log).toEqual(['begin', 'roll back']);
    expect(store.count('release')).toBe(1);
  });

  it('B12 a transaction during the shutdown rolls back before its lock is released', async () => {
    const { service, store, clock } = await start();
    const lock = await service.acquire('key');
    const work = gate();
    const transaction = watch(lock.transaction(() => work.promise));
    await clock.advance(1);
    const closing = watch(service[INTERNALS].close());
    await clock.advance(1);
    expect(lock.signal.aborted).toBe(true);
    expect(closing.state).toBe('pending');
    work.open();
    await clock.advance(1);
    expect(transaction.error).toBeInstanceOf(LockLostError);
    expect(closing.state).toBe('resolved');
    expect(store.of('release')).toHaveLength(1);
    expect(clock.timers).toEqual([]);
  });

  it('B91 a store without transactions is refused, and the error names stores with transactions', async () => {
    const { service } = await startCore();
    const lock = await service.acquire('key');
    for (const wrong of [lock.transaction(async () => {}), lock.guard({})])
      await expect(wrong).rejects.toThrow(/has no transactions .* mongoStore\(\)/);
    expect(lock.held).toBe(true);
  });

  it('B73 while locking is disabled, lock.transaction() commits without guarding the lock', async () => {
    const { service, store } = await start({ enabled: false });
    const lock = await service.acquire('key');
    expect(await lock.transaction(async (context: string) => context)).toBe('context');
    await lock.guard({});
    expect(store.log).toEqual(['begin', 'commit']);
  });
});

describe('lock.guard', () => {
  it('B91 guard throws LockLostError for a missing lock and LockStoreError for a failing store', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    await lock.guard({});
    const failure = await errorOf(lock.guard('broken' as never));
    expect(failure).toBeInstanceOf(LockStoreError);
    expect(failure).toMatchObject({ message: expect.stringContaining('guard of "key"') });

    await store.server.forceRelease('key');
    const missing = await errorOf(lock.guard({}));
    expect(missing).toBeInstanceOf(LockLostError);
    expect(missing.message).toContain('the transaction found that this process does not hold the lock');
    // A missing lock in a transaction is no proof of a loss, since the transaction may be
    // older than the lock.
    expect(lock.held).toBe(true);
  });
});
