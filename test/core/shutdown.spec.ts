import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { LockError, LockLostError } from '../../lib/lock.errors.js';
import { captureLog, errorOf, gate, startCore, warnings, watch, type Core } from './core-fixture.js';
import { microtasks, settle } from './manual-clock.js';
import { serverRefused } from './scripted-store.js';

const log = captureLog();

/** Calls the service as LockModule does when the application shuts down. */
async function shutDown({ service }: Core): Promise<void> {
  await service[INTERNALS].drain();
  await service[INTERNALS].close();
}

describe('shutdown', () => {
  it('B12 two simultaneous shutdowns both end when the running work has ended', async () => {
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

  it('B12 two simultaneous shutdowns both wait until all locks are released', async () => {
    const core = await startCore();
    await core.service.acquire('key');
    core.store.next('release', { before: 50, after: 50 });
    const both = [watch(core.service[INTERNALS].close()), watch(core.service[INTERNALS].close())];
    await core.clock.advance(99);
    expect(both.map(({ state }) => state)).toEqual(['pending', 'pending']);
    await core.clock.advance(1);
    expect(both.map(({ state }) => state)).toEqual(['resolved', 'resolved']);
  });

  it('B12 during the shutdown, every new lock is refused', async () => {
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

  it('B12 the shutdown ends every wait at once, even of calls that queue behind others', async () => {
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

  it('B12 the shutdown waits for running work, which then releases its lock', async () => {
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

  it('B12 at shutdownTimeout, the locks of running work are released, and lock.signal aborts', async () => {
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

  it('B12 with a shutdownTimeout of 0, the shutdown does not wait for running work', async () => {
    const core = await startCore({ shutdownTimeout: 0 });
    void core.service.run('key', () => new Promise(() => {})).catch(() => {});
    await settle();
    const stopped = watch(shutDown(core));
    await core.clock.advance(0);
    expect(stopped.state).toBe('resolved');
    expect(await core.store.held('key')).toBe(false);
  });

  it('B12 the shutdown releases locks that were taken with acquire() before the store closes', async () => {
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
    // Each lock is reported as lost once.
    expect(core.names()).toEqual(['acquired', 'acquired', 'acquired', 'lost', 'lost', 'lost']);
    expect(core.clock.timers).toEqual([]);
  });

  it('B12 the shutdown reports a lock that was taken away before as lost, and only once', async () => {
    const core = await startCore();
    const lock = await core.service.acquire('key');
    const { signal } = lock;
    await core.store.server.forceRelease('key');
    await shutDown(core);
    expect(lock.loss).toBe(signal.reason);
    expect(core.names()).toEqual(['acquired', 'lost']);
  });

  it('B12 the shutdown waits for a release under way, and reports no loss of that lock', async () => {
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

  it('B12 the shutdown waits for renewals under way', async () => {
    const core = await startCore({ ttl: 3000 });
    await core.service.acquire('key');
    core.store.next('renewMany', { before: 100, after: 100 });
    await core.clock.advance(1050);
    const stopped = watch(shutDown(core));
    await core.clock.advance(150);
    expect(stopped.state).toBe('resolved');
    expect(await core.store.held('key')).toBe(false);
  });

  it('B12 the shutdown waits for an attempt under way, and the lock it gets is released before the store closes', async () => {
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

  it('B12 a lock granted after the time limit of its request is released before the store closes', async () => {
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

  it('B12 a shutdown at any moment of an acquisition leaves no lock and no timer', async () => {
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

  it('B12 a store that stopped answering delays the shutdown no longer than one attempt', async () => {
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

  it('B12 the shutdown succeeds even if releases fail', async () => {
    const core = await startCore();
    let closed = 0;
    core.store.close = () => Promise.resolve(void closed++);
    await core.service.acquire('key');
    core.store.always({ fail: serverRefused }, 'release');
    await shutDown(core);
    expect(closed).toBe(1);
  });

  it('B12 the shutdown ends at once without running work, and if repeated, and if no store was opened', async () => {
    const core = await startCore();
    await shutDown(core);
    await shutDown(core);
    const never = await startCore({ enabled: false });
    await shutDown(never);
    expect(never.store.calls).toEqual([]);
  });

  it('B12 the shutdown waits for running work even if the work fails in the end', async () => {
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

  it('B12 a waiter that got its lock just before the shutdown may finish its work', async () => {
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
