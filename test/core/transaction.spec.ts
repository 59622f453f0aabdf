import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import type { StoreRequest, TransactionGuard } from '../../lib/interfaces/lock-store.interface.js';
import { LockError, LockLostError, LockStoreError } from '../../lib/lock.errors.js';
import type { LockModuleDefaults } from '../../lib/options/lock.options.js';
import { captureLog, errorOf, warnings, gate, startCore, watch, type Core } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

const logged = captureLog();

/** A database with one transaction at a time, which tells what became of it. */
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
    // A renewal with the ttl that is left, which changes nothing: the only way here to ask for owner and end together.
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

describe('transaction', () => {
  it('gives the work what its statements are made with, guards the lock last, and commits', async () => {
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

  it('renews the lease to its full ttl first, and not again until it has ended', async () => {
    const { service, store, clock } = await start();
    const lock = await service.acquire('key');
    await clock.advance(900);
    const work = gate();
    const transaction = watch(lock.transaction(() => work.promise));
    await clock.advance(2000); // two renewals would have been due
    expect(store.of('renew')).toMatchObject([{ at: expect.any(Number), ttl: 3000 }]);
    expect(store.count('renewMany')).toBe(0);
    work.open();
    await clock.advance(1); // the renewal that was due is made up for
    expect(transaction.state).toBe('resolved');
    expect(store.count('renewMany')).toBe(1);
    await clock.advance(10_000);
    expect(lock.held).toBe(true);
  });

  it('B91 gives the store the rest of the lease as the time limit of the transaction', async () => {
    const { service, store, clock } = await start({ ttl: 3000 });
    const lock = await service.acquire('key');
    store.next('renew', { after: 500 });
    const slow = lock.transaction(async () => {});
    await clock.advance(500); // the deadline counts from before the renewal was sent
    await slow;
    const endless = await service.acquire('endless', { ttl: Infinity });
    await endless.transaction(async () => {});
    service.disable();
    const unlocked = await service.acquire('unlocked');
    await unlocked.transaction(async () => {});
    expect(store.timeouts).toEqual([3000 - 150 - 500, 2 ** 31 - 1, 2 ** 31 - 1]);
  });

  it('is rolled back when its work fails, with the error of the work', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    const error = new Error('out of stock');
    expect(await errorOf(lock.transaction(() => Promise.reject(error)))).toBe(error);
    expect(store.log).toEqual(['begin', 'roll back']);
    expect(lock.held).toBe(true);
    await lock.transaction(async () => {});
    await lock.release();
  });

  it('B55 has to fit into the ttl: the loss is told in time, and nothing is committed', async () => {
    const { service, store, clock, of } = await start();
    const lock = await service.acquire('key');
    const work = gate();
    const transaction = watch(lock.transaction(() => work.promise));
    await clock.advance(3000);
    expect(lock.signal.aborted).toBe(true);
    expect(of('lost')).toHaveLength(1);
    expect(transaction.state).toBe('pending'); // it is the work that has to end
    work.open();
    await clock.advance(1);
    expect(transaction.error).toBeInstanceOf(LockLostError);
    expect(transaction.error).toMatchObject({ message: expect.stringMatching(/took longer than its ttl/) });
    expect(store.log).toEqual(['begin', 'roll back']);
  });

  it('that hangs is named in a warning, once', async () => {
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

  it('is rolled back by a holder that was frozen for longer than the ttl', async () => {
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

  it('B71 is rolled back when only the database knows that the lock is gone', async () => {
    const { service, store, of } = await start();
    const lock = await service.acquire('key');
    const error = await errorOf(
      lock.transaction(() => service.admin.forceRelease('key', { reason: 'stuck' })),
    );
    expect(error).toBeInstanceOf(LockLostError);
    expect(lock.loss).toBe(error);
    expect(error.message).toContain('inside its transaction, the database said that it had run out');
    expect(of('lost')).toHaveLength(1);
    expect(store.log).toEqual(['begin', 'guard', 'roll back']);
  });

  it('refuses a second run of work whose lock was lost', async () => {
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

  it('refuses a lock that is not held, before anything is sent', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    await lock.release();
    await expect(lock.transaction(async () => {})).rejects.toThrow(LockLostError);
    expect(store.log).toEqual([]);
    await expect(lock.transaction('no function' as never)).rejects.toThrow(
      /needs the work to do: a function/,
    );
  });

  it('refuses extend, release, handOff and another transaction inside, which would wait for themselves', async () => {
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

  it('B59 that nobody awaits ends before its lock is given back', async () => {
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
    expect(lost.error).toBeInstanceOf(LockLostError); // the lock was being given back: too late to commit
    expect(store.log).toEqual(['begin', 'roll back']);
    expect(store.count('release')).toBe(1);
  });

  it('B12 that a shutdown overtakes is rolled back, and its lock is given back after it', async () => {
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

  it('refuses a store that has none, and says which has', async () => {
    const { service } = await startCore();
    const lock = await service.acquire('key');
    for (const wrong of [lock.transaction(async () => {}), lock.guard({})])
      await expect(wrong).rejects.toThrow(/has no transactions .* mongoStore\(\)/);
    expect(lock.held).toBe(true);
  });

  it('B73 just runs while locking is disabled', async () => {
    const { service, store } = await start({ enabled: false });
    const lock = await service.acquire('key');
    expect(await lock.transaction(async (context: string) => context)).toBe('context');
    await lock.guard({});
    expect(store.log).toEqual(['begin', 'commit']);
  });
});

describe('guard', () => {
  it('B27 tells a lock that the transaction does not find from a store that fails', async () => {
    const { service, store } = await start();
    const lock = await service.acquire('key');
    await lock.guard({});
    const failure = await errorOf(lock.guard('broken' as never));
    expect(failure).toBeInstanceOf(LockStoreError);
    expect(failure).toMatchObject({ message: expect.stringContaining('guard of "key"') });

    await store.server.forceRelease('key');
    const missing = await errorOf(lock.guard({}));
    expect(missing).toBeInstanceOf(LockLostError);
    expect(missing.message).toContain('the transaction did not find it to be ours');
    expect(lock.held).toBe(true); // the transaction may be older than the lock: the next renewal knows
  });
});
