import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { inspect } from 'node:util';
import { LockContext } from '../../lib/lock-context.js';
import { LockError, LockLostError, LockNotAcquiredError, LockStoreError } from '../../lib/lock.errors.js';
import { LockService } from '../../lib/lock.service.js';
import { captureLog, errorOf, gate, startCore, warnings, watch } from './core-fixture.js';

const log = captureLog();

describe('locking that is disabled', () => {
  it('B73 while locking is disabled, all calls run, and the store is not opened', async () => {
    let opened = 0;
    const { service, clock, names } = await startCore(
      { enabled: false },
      {
        openStore: () => {
          opened++;
          throw new Error('connected');
        },
      },
    );
    expect(service.enabled).toBe(false);
    const [one, two] = await Promise.all([service.acquire('key'), service.tryAcquire('key')]);
    expect([one?.held, two?.held]).toEqual([true, true]);
    const body = (): Promise<unknown> =>
      service.run('key', (inner) => {
        expect(LockContext.current()).toBe(inner);
        return 'inner';
      });
    expect(await service.tryRun('key', body)).toEqual({ acquired: true, value: 'inner' });
    expect(opened).toBe(0);
    expect(names()).toEqual([]);
    expect(clock.timers).toEqual([]);
  });

  it('B73 while locking is disabled, a lock is always held and can be extended and released', async () => {
    let losses = 0;
    const { service, clock } = await startCore({ enabled: false, onLost: () => losses++ });
    const lock = await service.acquire('key', { ttl: 1000 });
    expect(lock).toMatchObject({ key: 'key', enabled: false, owner: '', expiresAt: null, loss: undefined });
    clock.freeze(10 ** 9);
    expect(lock.held).toBe(true);
    lock.assertHeld();
    await lock.extend();
    await lock.extend(5000);
    expect(lock.signal.aborted).toBe(false);
    expect(await lock.release()).toBe(true);
    expect(await lock.release()).toBe(false);
    expect(lock.held).toBe(false);
    expect(() => lock.assertHeld()).toThrow(LockLostError);
    expect(JSON.parse(JSON.stringify(lock))).toMatchObject({ key: 'key', held: false });
    expect(inspect(lock)).not.toContain('undefined');
    expect(losses).toBe(0);
  });

  it('B73 while locking is disabled, wrong keys and options are refused, and the caller gets errors of the body', async () => {
    const { service } = await startCore({ enabled: false });
    expect(await errorOf(service.acquire(5 as never))).toBeInstanceOf(LockError);
    expect(await errorOf(service.acquire('key', { ttl: 0 }))).toBeInstanceOf(LockError);
    const broken = new Error('body');
    expect(await errorOf(service.run('key', () => Promise.reject(broken)))).toBe(broken);
  });

  it('B73 one warning at start says that locking is disabled', async () => {
    const { service } = await startCore({ enabled: false });
    service[INTERNALS].announce(['Billing.export (skip)']);
    expect(warnings(log)).toHaveLength(1);
    expect(warnings(log)[0]).toMatch(/^LOCKING IS DISABLED: everything runs unlocked/);
    const named = await startCore({ enabled: false }, { name: 'weak' });
    named.service[INTERNALS].announce([]);
    expect(warnings(log)[1]).toMatch(/^LOCKING IS DISABLED for the module "weak"/);
  });

  it('B73 with locking enabled, the line at start names the locked methods and the store', async () => {
    const { service, store } = await startCore();
    Object.assign(store, { describe: () => 'store=scripted' });
    service[INTERNALS].announce([]);
    service[INTERNALS].announce(['Billing.export (skip)']);
    service[INTERNALS].announce(['A.a (skip)', 'B.b (throw)']);
    expect(log).toEqual([
      { level: 'log', text: 'no decorated methods store=scripted' },
      { level: 'log', text: '1 locked method: Billing.export (skip) store=scripted' },
      { level: 'log', text: '2 locked methods: A.a (skip), B.b (throw) store=scripted' },
    ]);
  });
});

describe('fencing tokens while locking is disabled', () => {
  const key = 'key';

  it("B82 tokens come from this machine's clock in microseconds and grow for each key", async () => {
    const { service, clock } = await startCore({ enabled: false });
    const now = clock.date() * 1000;
    const token = async (of = key): Promise<number> => (await service.acquire(of)).fencingToken;

    expect([await token(), await token(), await token('other')]).toEqual([now, now + 1, now]);
    expect(await service.run(key, ({ fencingToken }) => fencingToken)).toBe(now + 2);
    await clock.advance(1);
    expect(await token()).toBe(now + 1000);
  });

  it('B82 tokens exceed the last token of the key, even if the clock of the database is ahead', async () => {
    const { service, store, clock } = await startCore();
    const ahead = (clock.date() + 60_000) * 1000;
    store.server.acquire = () => Promise.resolve({ acquired: true, fencingToken: ahead });
    await (await service.acquire(key)).release();
    service.disable();

    expect((await service.acquire(key)).fencingToken).toBe(ahead + 1);
    expect((await service.acquire('other')).fencingToken).toBe(clock.date() * 1000);
  });

  it('B82 while locking is disabled, the process remembers the last tokens of at least ten thousand keys', async () => {
    const { service, clock } = await startCore({ enabled: false });
    const now = clock.date() * 1000;
    await service.acquire(key);
    for (let other = 1; other < 10_000; other++) await service.acquire(`other ${other}`);
    expect((await service.acquire(key)).fencingToken).toBe(now + 1);
    for (let other = 0; other < 20_002; other++) await service.acquire(`another ${other}`);
    expect((await service.acquire(key)).fencingToken).toBe(now);
  });

  it.each([
    ['ahead of', -5000, '5.0 s ahead of'],
    ['behind', 1500, '1.5 s behind'],
  ])(
    "B82 start and enable() warn if this machine's clock is %s the clock of the store",
    async (_, by, said) => {
      const { service, clock, store } = await startCore({ enabled: false });
      Object.assign(store, { readClock: async () => clock.date() + by });
      const warned = (): string[] =>
        warnings(log).filter((line) => line.startsWith('The clock of this machine'));
      await service.enable();
      expect(warned()).toEqual([
        expect.stringContaining(`The clock of this machine is ${said} the clock of`),
      ]);
      service.disable();
      await service.enable();
      expect(warned()).toHaveLength(2);
    },
  );

  it('B82 no warning comes if the clocks differ by less than a second, or if the store is slow to answer', async () => {
    const { service, clock, store } = await startCore({ enabled: false });
    const readClock = async (): Promise<number> => {
      const time = clock.date();
      await clock.advance(3000);
      return time - 900;
    };
    Object.assign(store, { readClock });
    await service.enable();
    expect(warnings(log)).toEqual(['Locking is enabled again.']);
  });

  it('B82 the start succeeds even if the clock of the store cannot be read', async () => {
    const { service, store } = await startCore({ enabled: false });
    Object.assign(store, { readClock: () => Promise.reject(new LockStoreError('no permission')) });
    await service.enable();
    expect(service.enabled).toBe(true);
    expect(warnings(log)[0]).toMatch(/^The clock of the lock store could not be read.*no permission/);
  });
});

describe('disabling and enabling at run time', () => {
  it('B73 after disable(), held locks are still renewed, and new calls run without a lock', async () => {
    const { service, store, clock } = await startCore({ ttl: 900 });
    const before = await service.acquire('key');
    service.disable();
    service.disable();
    const after = await service.acquire('key');
    expect([before.enabled, after.enabled]).toEqual([true, false]);
    await clock.advance(10_000);
    expect(before.held).toBe(true);
    expect(await after.release()).toBe(true);
    expect(await store.held('key')).toBe(true);
    expect(await before.release()).toBe(true);
    expect(store.count('acquire')).toBe(1);
    expect(warnings(log)).toHaveLength(1);
  });

  it('B73 enable() opens the store once and locks again', async () => {
    const { service, store } = await startCore({ enabled: false });
    let prepared = 0;
    store.prepare = () => Promise.resolve(void prepared++);
    await Promise.all([service.enable(), service.enable()]);
    await service.enable();
    expect(prepared).toBe(1);
    expect(service.enabled).toBe(true);
    const lock = await service.acquire('key');
    expect(lock.enabled).toBe(true);
    expect(await service.tryAcquire('key')).toBeNull();
    expect(warnings(log).filter((line) => line === 'Locking is enabled again.')).toHaveLength(1);
  });

  it('B73 if enable() cannot open the store, locking stays disabled until enable() is called again', async () => {
    let closed = 0;
    let broken = true;
    const { service, store } = await startCore({ enabled: false });
    store.prepare = () => (broken ? Promise.reject(new LockStoreError('no database')) : Promise.resolve());
    store.close = () => Promise.resolve(void closed++);
    expect((await errorOf(service.enable())).message).toBe('no database');
    expect(service.enabled).toBe(false);
    expect((await service.acquire('key')).enabled).toBe(false);
    broken = false;
    await service.enable();
    expect((await service.acquire('key')).enabled).toBe(true);
  });

  it('B13 a store that cannot be prepared is closed, and the caller gets the error of the preparation', async () => {
    const { service, store } = await startCore({ enabled: false });
    let closed = 0;
    store.prepare = () => Promise.reject(new LockStoreError('no database'));
    store.close = () => {
      closed++;
      return Promise.reject(new Error('closing failed too'));
    };
    expect((await errorOf(service[INTERNALS].start())).message).toBe('no database');
    expect(closed).toBe(1);
  });

  it('B75 if the store cannot be opened, every call fails, and run and tryRun do not run their body', async () => {
    const openStore = (): Promise<never> => Promise.reject(new LockStoreError('no database'));
    const service = new LockService({ options: {}, openStore });
    let ran = false;
    const body = (): void => void (ran = true);
    for (const call of [
      () => service.run('key', body),
      () => service.tryRun('key', body),
      () => service.tryAcquire('key'),
      () => service.admin.inspect('key'),
    ]) {
      expect((await errorOf(call())).message).toBe('no database');
    }
    expect(ran).toBe(false);
  });

  it('B73 a call that is waiting for a lock goes on waiting after disable()', async () => {
    const { service, store, clock } = await startCore();
    const other = await store.takenBy('other', 'key', 60_000);
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(100);
    service.disable();
    await clock.advance(1000);
    expect(waiting.state).toBe('pending');
    await store.server.release('key', other);
    await clock.advance(500);
    expect(waiting.value?.fencingToken).toBeGreaterThan(0);
  });

  it('B73 after disable(), acquire gives a lock even if the key is busy', async () => {
    const { service, store } = await startCore();
    await store.takenBy('other', 'key');
    expect(await errorOf(service.acquire('key'))).toBeInstanceOf(LockNotAcquiredError);
    service.disable();
    expect((await service.acquire('key')).held).toBe(true);
  });

  it('B73 a disable() during a slow enable() wins: locking stays disabled', async () => {
    const core = await startCore({ enabled: false });
    const prepared = gate();
    core.store.prepare = () => prepared.promise;
    const enabling = core.service.enable();
    core.service.disable();
    prepared.open();
    await enabling;
    expect(core.service.enabled).toBe(false);
  });

  it('B12 after the shutdown began, enable() is refused and opens no store', async () => {
    const core = await startCore({ enabled: false });
    await core.service[INTERNALS].close();
    await expect(core.service.enable()).rejects.toThrow('shutting down');
    expect(core.store.calls).toEqual([]);
  });
});
