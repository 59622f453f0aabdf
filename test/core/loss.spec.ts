import { describe, expect, it } from '@jest/globals';
import { LockContext } from '../../lib/lock-context.js';
import { LockLostError } from '../../lib/lock.errors.js';
import type { Lock } from '../../lib/lock.js';
import { captureLog, errorOf, gate, startCore, warnings, watch, type Core } from './core-fixture.js';
import { settle } from './manual-clock.js';
import { serverRefused } from './scripted-store.js';

const log = captureLog();

/** Ends the lock in the store and waits until the next renewal notices the loss. */
async function lose({ store, clock }: Core, key = 'key'): Promise<void> {
  await store.server.forceRelease(key);
  await clock.advance(300);
}

const TTL = { ttl: 900 };

describe('a loss', () => {
  it('B55 a loss aborts the signal, calls onLost once, publishes one event and logs one warning', async () => {
    const core = await startCore(TTL);
    const calls: unknown[][] = [];
    const lock = await core.service.acquire('key', { onLost: (...args) => void calls.push(args) });
    const { signal } = lock;
    const reasons: unknown[] = [];
    signal.addEventListener('abort', () => reasons.push(signal.reason));
    expect(signal.aborted).toBe(false);
    await lose(core);

    const error = lock.loss as LockLostError;
    expect(error).toBeInstanceOf(LockLostError);
    expect(error).toMatchObject({ name: 'LockLostError', key: 'key', fencingToken: lock.fencingToken });
    expect(lock.held).toBe(false);
    expect(() => lock.assertHeld()).toThrow(error);
    expect(signal).toMatchObject({ aborted: true, reason: error });
    expect(reasons).toEqual([error]);
    expect(calls).toEqual([[lock, error]]);
    expect(core.of('lost')).toEqual([
      { key: 'key', job: undefined, fencingToken: lock.fencingToken, heldFor: 300, error },
    ]);
    expect(warnings(log)).toEqual([
      `${error.message} The work under the lock goes on unless it checks lock.held or lock.signal.`,
    ]);

    await core.clock.advance(60_000);
    await lock.release();
    await errorOf(lock.extend());
    expect(calls).toHaveLength(1);
    expect(core.names()).toEqual(['acquired', 'lost']);
    expect(warnings(log)).toHaveLength(1);
    expect(core.clock.timers).toEqual([]);
  });

  it('B55 lock.signal is aborted even if the application first reads it after the loss', async () => {
    const core = await startCore(TTL);
    const lock = await core.service.acquire('key');
    await lose(core);
    expect(lock.signal).toMatchObject({ aborted: true, reason: lock.loss });
    expect(lock.signal).toBe(lock.signal);
  });

  it('B55 a loss that assertHeld notices first is reported like any other', async () => {
    const { service, clock, of } = await startCore({ ttl: 900, autoRenew: false });
    let told = 0;
    const lock = await service.acquire('key', { onLost: () => void told++ });
    clock.freeze(850);
    expect(lock.signal.aborted).toBe(false);
    expect(() => lock.assertHeld()).toThrow(LockLostError);
    expect(lock.signal.aborted).toBe(true);
    expect(told).toBe(1);
    expect(of('lost')).toHaveLength(1);
    await clock.advance(1000);
    expect(told).toBe(1);
    expect(of('lost')).toHaveLength(1);
  });

  it.each<[string, () => unknown]>([
    [
      'throws',
      () => {
        throw new Error('callback');
      },
    ],
    ['rejects', () => Promise.reject(new Error('callback'))],
    ['throws no Error', () => Promise.reject('callback')],
  ])('B55 an onLost that %s is logged, and the process goes on', async (_, onLost) => {
    const core = await startCore(TTL);
    const lock = await core.service.acquire('key', { onLost });
    const other = await core.service.acquire('other');
    await lose(core);
    await settle();
    expect(lock.signal.aborted).toBe(true);
    expect(warnings(log)).toHaveLength(2);
    expect(warnings(log)[1]).toBe('The onLost callback of lock "key" failed: callback');
    await core.clock.advance(10_000);
    expect(other.held).toBe(true);
  });

  it('B55 an onLost that throws a value that cannot become text is logged, and the process goes on', async () => {
    const core = await startCore(TTL);
    await core.service.acquire('key', { onLost: () => Promise.reject(Object.create(null)) });
    await lose(core);
    await settle();
    expect(warnings(log)[1]).toBe('The onLost callback of lock "key" failed: an object');
  });

  it('B55 an onLost that never ends delays nothing', async () => {
    const core = await startCore(TTL);
    const running = watch(
      core.service.run('key', () => core.clock.advance(400), { onLost: () => new Promise(() => {}) }),
    );
    await core.store.server.forceRelease('key');
    await core.clock.advance(500);
    expect(running.error).toBeInstanceOf(LockLostError);
  });

  it('B55 the onLost of the call replaces that of the module for this call', async () => {
    const told: string[] = [];
    const core = await startCore({ ...TTL, onLost: (lock) => void told.push(`module ${lock.key}`) });
    await core.service.acquire('a');
    await core.service.acquire('b', { onLost: (lock) => void told.push(`call ${lock.key}`) });
    await core.store.server.forceRelease('a');
    await lose(core, 'b');
    expect(told.toSorted()).toEqual(['call b', 'module a']);
  });

  it('B58 if the inner of two nested runs loses its lock, only the onLost of the inner run is called', async () => {
    const core = await startCore(TTL);
    const told: string[] = [];
    const onLost = (name: string) => (lock: Lock) => void told.push(`${name}: ${lock.key}`);
    const outer = watch(
      core.service.run(
        'outer',
        () => core.service.run('inner', () => core.clock.advance(1000), { onLost: onLost('inner') }),
        { onLost: onLost('outer') },
      ),
    );
    await settle();
    await core.store.server.forceRelease('inner');
    await core.clock.advance(1500);
    expect(told).toEqual(['inner: inner']);
    expect(outer.error).toMatchObject({ name: 'LockLostError', key: 'inner' });
    expect(core.of('released')).toMatchObject([{ key: 'outer' }]);
  });

  it('B55 neither a release nor a failed release counts as a loss', async () => {
    const { service, store, clock, of } = await startCore(TTL);
    let told = 0;
    const onLost = (): void => void told++;
    const [a, b] = await Promise.all(['a', 'b'].map((key) => service.acquire(key, { onLost })));
    await a?.release();
    store.next('release', { fail: serverRefused });
    await errorOf(b?.release() as Promise<boolean>);
    await clock.advance(10_000);
    expect(told).toBe(0);
    expect(of('lost')).toEqual([]);
    expect([a?.signal.aborted, b?.signal.aborted]).toEqual([false, false]);
  });

  it('B55 a loss that is first noticed by the release is reported', async () => {
    const core = await startCore(TTL);
    let told = 0;
    const lock = await core.service.acquire('key', { onLost: () => void told++ });
    await core.store.server.forceRelease('key');
    expect(await lock.release()).toBe(false);
    expect(told).toBe(1);
    expect(lock.signal.aborted).toBe(true);
    expect(core.of('lost')).toHaveLength(1);
  });

  it('B55 a release that fails after the deadline is a loss, since the key may have a new holder', async () => {
    const { service, store, clock, names } = await startCore({ ttl: 900, autoRenew: false });
    const lock = await service.acquire('key');
    clock.freeze(860);
    store.next('release', { fail: serverRefused });
    await errorOf(lock.release());
    expect(lock.loss).toBeDefined();
    expect(names()).toEqual(['acquired', 'lost', 'storeError']);
  });
});

describe('run after a loss', () => {
  it('B56 run rejects with LockLostError although the body finished', async () => {
    const core = await startCore(TTL);
    const body = gate<string>();
    const running = watch(core.service.run('key', () => body.promise));
    await settle();
    await lose(core);
    expect(running.state).toBe('pending');
    body.open('done');
    await settle();
    expect(running.error).toBeInstanceOf(LockLostError);
    const again = watch(core.service.tryRun('key', () => lose(core).then(() => 'done')));
    await core.clock.advance(1000);
    expect(again.error).toBeInstanceOf(LockLostError);
  });

  it('B56 run rejects if its release is the first to notice that the lock was lost', async () => {
    const { service, store } = await startCore(TTL);
    const body = (): Promise<boolean> => store.server.forceRelease('key');
    expect(await errorOf(service.run('key', body))).toBeInstanceOf(LockLostError);
  });

  it('B56 run rejects if the deadline has passed and the release fails', async () => {
    const { service, store, clock } = await startCore({ ttl: 900, autoRenew: false });
    store.always({ fail: serverRefused }, 'release');
    expect(await errorOf(service.run('key', () => clock.freeze(870)))).toBeInstanceOf(LockLostError);
  });

  it('B56 with rejectOnLoss: false, run gives the result, and the loss is published and logged', async () => {
    const core = await startCore(TTL);
    const body = async (): Promise<string> => {
      await lose(core);
      expect(LockContext.current()?.signal.aborted).toBe(true);
      return 'done';
    };
    expect(await core.service.run('key', body, { rejectOnLoss: false })).toBe('done');
    const result = await core.service.tryRun('key', body, { rejectOnLoss: false });
    expect(result).toEqual({ acquired: true, value: 'done' });
    expect(core.of('lost')).toHaveLength(2);
    expect(warnings(log)).toHaveLength(2);
  });

  it('B56 even with rejectOnLoss: false, the caller gets errors of the body and of the store', async () => {
    const core = await startCore(TTL);
    const broken = new Error('body');
    const options = { rejectOnLoss: false };
    const body = (): Promise<never> => lose(core).then(() => Promise.reject(broken));
    expect(await errorOf(core.service.run('key', body, options))).toBe(broken);
    core.store.next('acquire', { fail: serverRefused });
    expect((await errorOf(core.service.run('key', () => {}, options))).name).toBe('LockStoreError');
  });

  it('B59 if the body fails after a loss, run rejects with the error of the body', async () => {
    const core = await startCore(TTL);
    const broken = new Error('body');
    const body = (): Promise<never> => lose(core).then(() => Promise.reject(broken));
    expect(await errorOf(core.service.run('key', body))).toBe(broken);
  });

  it('B55 if the body rejects with the reason of lock.signal, run rejects with this LockLostError', async () => {
    const core = await startCore(TTL);
    const running = watch(
      core.service.run(
        'key',
        ({ signal }) =>
          new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
      ),
    );
    await settle();
    await lose(core);
    expect(running.error).toMatchObject({ name: 'LockLostError', key: 'key' });
  });
});
