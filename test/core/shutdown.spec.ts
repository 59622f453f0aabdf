import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { LockError, LockLostError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, gate, startCore, warnings, watch, type Core } from './core-fixture.js';
import { microtasks, settle } from './manual-clock.js';
import { serverRefused } from './scripted-store.js';

const log = captureLog();

/** What the module does when the application shuts down. */
async function shutDown({ service }: Core): Promise<void> {
  await service[INTERNALS].drain();
  await service[INTERNALS].close();
}

describe('B12 shutdown', () => {
  it('may be asked for twice: both are done when the work is', async () => {
    const core = await startCore();
    const work = gate();
    const running = watch(core.service.run('key', () => work.promise));
    await settle();
    const both = [watch(shutDown(core)), watch(shutDown(core))];
    await core.clock.advance(100);
    core.store.next('release', { before: 50 });
    work.open();
    await core.clock.advance(100);
    expect(running.state).toBe('resolved');
    expect(both.map(({ state }) => state)).toEqual(['resolved', 'resolved']);
  });

  it('may be asked for twice while locks are released: both are done when the store has answered', async () => {
    const core = await startCore();
    await core.service.acquire('key');
    core.store.next('release', { before: 50, after: 50 });
    const both = [watch(core.service[INTERNALS].close()), watch(core.service[INTERNALS].close())];
    await core.clock.advance(99);
    expect(both.map(({ state }) => state)).toEqual(['pending', 'pending']);
    await core.clock.advance(1);
    expect(both.map(({ state }) => state)).toEqual(['resolved', 'resolved']);
  });

  it('takes no new locks', async () => {
    const core = await startCore();
    await core.service[INTERNALS].drain();
    const sent = core.store.calls.length;
    expect(core.service.stopping).toBe(true);
    for (const call of [
      () => core.service.acquire('key'),
      () => core.service.tryAcquire('key', { wait: Infinity }),
      () => core.service.run('key', () => {}),
      () => core.service.tryRun('key', () => {}),
    ]) {
      const error = await errorOf(call());
      expect(error).toBeInstanceOf(LockError);
      expect(error.message).toBe('The application is shutting down: it takes no more locks.');
    }
    expect(core.store.calls.length).toBe(sent);
    expect(core.clock.timers).toEqual([]);
  });

  it('ends every wait at once, of first and others', async () => {
    const core = await startCore();
    await core.store.takenBy('other', 'key', 600_000);
    const waits = Array.from({ length: 10 }, (_, i) =>
      watch(core.service.acquire(`key${i < 5 ? '' : i}`, { wait: Infinity })),
    );
    await core.store.takenBy('other', 'key5').catch(() => {});
    await core.clock.advance(100);
    const waiting = waits.filter(({ state }) => state === 'pending');
    expect(waiting.length).toBeGreaterThanOrEqual(5);
    await core.service[INTERNALS].drain();
    await settle();
    for (const wait of waiting) expect(wait.error).toMatchObject({ name: 'LockError' });
    expect(core.clock.refTimers).toEqual([]);
  });

  it('awaits the work that runs, and releases its lock', async () => {
    const core = await startCore();
    const body = gate<string>();
    const running = watch(core.service.run('key', () => body.promise));
    await settle();
    const stopped = watch(shutDown(core));
    await core.clock.advance(9999);
    expect(stopped.state).toBe('pending');
    body.open('done');
    await core.clock.advance(0);
    expect(running).toEqual({ state: 'resolved', value: 'done' });
    expect(stopped.state).toBe('resolved');
    expect(await core.store.held('key')).toBe(false);
    expect(core.clock.timers).toEqual([]);
    expect(core.of('lost')).toEqual([]);
  });

  it('awaits it up to the limit: then its lock is released, and its body is told', async () => {
    const core = await startCore({ shutdownTimeout: '3s' });
    const body = gate();
    let signal: AbortSignal | undefined;
    const running = watch(
      core.service.run('key', (lock) => {
        signal = lock.signal;
        return body.promise;
      }),
    );
    await settle();
    const stopped = watch(shutDown(core));
    await core.clock.advance(2999);
    expect(stopped.state).toBe('pending');
    await core.clock.advance(1);
    expect(stopped.state).toBe('resolved');
    expect(signal?.aborted).toBe(true);
    expect(await core.store.held('key')).toBe(false);
    expect(core.clock.timers).toEqual([]);
    expect(warnings(log).join()).toContain('the application shut down while it was held');
    body.open();
    await settle();
    expect(running.error).toBeInstanceOf(LockLostError);
  });

  it('a limit of 0 does not wait', async () => {
    const core = await startCore({ shutdownTimeout: 0 });
    void core.service.run('key', () => new Promise(() => {})).catch(() => {});
    await settle();
    const stopped = watch(shutDown(core));
    await core.clock.advance(0);
    expect(stopped.state).toBe('resolved');
    expect(await core.store.held('key')).toBe(false);
  });

  it('releases what is held by hand before it resolves, and only then closes the store', async () => {
    const core = await startCore();
    const order: string[] = [];
    core.store.close = () => Promise.resolve(void order.push('closed'));
    const locks = await Promise.all(['a', 'b', 'c'].map((key) => core.service.acquire(key)));
    core.store.always({ before: 50, after: 50, arrived: () => order.push('released') }, 'release');
    const stopped = watch(shutDown(core));
    await core.clock.advance(99);
    expect(stopped.state).toBe('pending');
    await core.clock.advance(1);
    expect(stopped.state).toBe('resolved');
    expect(order).toEqual(['released', 'released', 'released', 'closed']);
    for (const lock of locks) {
      expect(lock.held).toBe(false);
      expect(lock.loss?.message).toMatch(/the application shut down while it was held/);
      expect(await core.store.held(lock.key)).toBe(false);
    }
    expect(core.names()).toEqual(['acquired', 'acquired', 'acquired', 'lost', 'lost', 'lost']); // each ends once
    expect(core.clock.timers).toEqual([]);
  });

  it('a lock that was taken away before is told of once, with one reason', async () => {
    const core = await startCore();
    const lock = await core.service.acquire('key');
    const { signal } = lock;
    await core.store.server.forceRelease('key');
    await shutDown(core);
    expect(lock.loss).toBe(signal.reason);
    expect(core.names()).toEqual(['acquired', 'lost']);
  });

  it('a release that its holder began is awaited too, and is no loss', async () => {
    const core = await startCore();
    const order: string[] = [];
    core.store.close = () => Promise.resolve(void order.push('closed'));
    const lock = await core.service.acquire('key');
    core.store.next('release', { before: 50, after: 50, arrived: () => order.push('released') });
    const releasing = watch(lock.release());
    const stopped = watch(shutDown(core));
    await core.clock.advance(99);
    expect(stopped.state).toBe('pending');
    await core.clock.advance(1);
    expect(releasing.value).toBe(true);
    expect(stopped.state).toBe('resolved');
    expect(order).toEqual(['released', 'closed']);
    expect(lock.loss).toBeUndefined();
    expect(core.names()).toEqual(['acquired', 'released']);
  });

  it('awaits renewals that are on their way', async () => {
    const core = await startCore({ ttl: 3000 });
    await core.service.acquire('key');
    core.store.next('renewMany', { before: 100, after: 100 });
    await core.clock.advance(1050);
    const stopped = watch(shutDown(core));
    await core.clock.advance(150);
    expect(stopped.state).toBe('resolved');
    expect(await core.store.held('key')).toBe(false);
  });

  it('an attempt that was on its way is awaited, and what it is granted is freed before the store closes', async () => {
    const core = await startCore();
    const order: string[] = [];
    core.store.close = () => Promise.resolve(void order.push('closed'));
    core.store.next('acquire', { before: 50, after: 50, arrived: () => order.push('acquired') });
    core.store.next('release', { before: 50, arrived: () => order.push('freed') });
    const acquiring = watch(core.service.acquire('key'));
    await core.clock.advance(10);
    const stopped = watch(shutDown(core));
    await core.clock.advance(1000);
    expect(acquiring.error).toMatchObject({ name: 'LockError' });
    expect(stopped.state).toBe('resolved');
    expect(order).toEqual(['acquired', 'freed', 'closed']);
    expect(await core.store.held('key')).toBe(false);
    expect(core.clock.timers).toEqual([]);
  });

  it('B12 a grant that comes after the limit of its request is freed before the store closes', async () => {
    const core = await startCore({ ttl: 3000 });
    const order: string[] = [];
    core.store.close = () => Promise.resolve(void order.push('closed'));
    core.store.next('acquire', { before: 1400, after: 50, arrived: () => order.push('acquired') });
    core.store.next('release', { arrived: () => order.push('released in vain') });
    core.store.next('release', { before: 50, arrived: () => order.push('freed') });
    const acquiring = watch(core.service.acquire('key', { wait: 100, signal: AbortSignal.timeout(10_000) }));
    await core.clock.advance(10);
    const stopped = watch(shutDown(core));
    await core.clock.advance(1300);
    expect({ acquiring: acquiring.state, stopped: stopped.state }).toEqual({
      acquiring: 'rejected',
      stopped: 'pending',
    });
    await core.clock.advance(1000);
    expect(stopped.state).toBe('resolved');
    expect(order).toEqual(['released in vain', 'acquired', 'freed', 'closed']);
    expect(await core.store.held('key')).toBe(false);
  });

  it('at whatever moment of an acquisition: nothing is held afterwards, and no timer runs', async () => {
    for (let turn = 0; turn < 40; turn++) {
      const core = await startCore({ shutdownTimeout: 0 });
      core.store.next('acquire', { before: 5, after: 5 });
      core.clock.outside(10, () => void microtasks(turn).then(() => shutDown(core)));
      const acquiring = watch(core.service.acquire('key'));
      await core.clock.advance(30_000);
      expect(acquiring.state).not.toBe('pending');
      expect({ turn, held: await core.store.held('key') }).toEqual({ turn, held: false });
      expect(core.clock.timers).toEqual([]);
    }
  });

  it('a store that does not answer any more holds up a shutdown no longer than an attempt may take', async () => {
    const core = await startCore();
    await core.service.acquire('key');
    const waiting = watch(core.service.acquire('other', { wait: Infinity }));
    await settle();
    core.store.always({ hang: 'request' });
    const acquiring = watch(core.service.acquire('third'));
    const stopped = watch(shutDown(core));
    await core.clock.advance(10_000);
    expect(stopped.state).toBe('resolved');
    expect(acquiring.state).toBe('rejected');
    expect(waiting.state).toBe('resolved');
    expect(core.clock.refTimers).toEqual([]);
  });

  it('releases that fail do not fail it', async () => {
    const core = await startCore();
    let closed = 0;
    core.store.close = () => Promise.resolve(void closed++);
    await core.service.acquire('key');
    core.store.always({ fail: serverRefused }, 'release');
    await shutDown(core);
    expect(closed).toBe(1);
  });

  it('without anything to do it is quick, also twice, and when the store was never opened', async () => {
    const core = await startCore();
    await shutDown(core);
    await shutDown(core);
    const never = await startCore({ enabled: false });
    await shutDown(never);
    expect(never.store.calls).toEqual([]);
  });

  it('a failed job is awaited as well', async () => {
    const core = await startCore();
    const body = gate();
    const running = watch(core.service.run('key', () => body.promise));
    await settle();
    const stopped = watch(shutDown(core));
    const broken = new Error('body');
    body.fail(broken);
    await core.clock.advance(0);
    expect(running.error).toBe(broken);
    expect(stopped.state).toBe('resolved');
  });

  it('a waiter that got its lock in the last moment may finish', async () => {
    const core = await startCore();
    const body = gate<string>();
    const running = watch(core.service.run('key', () => body.promise, { wait: 1000 }));
    await settle();
    const stopped = watch(shutDown(core));
    await core.clock.advance(5000);
    expect(stopped.state).toBe('pending');
    body.open('done');
    await core.clock.advance(0);
    expect(running.value).toBe('done');
    expect(stopped.state).toBe('resolved');
  });
});
