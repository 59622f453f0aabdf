import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { channel } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import { Logger } from '@nestjs/common';
import { captureLog, errorOf, EVENTS, startCore, warnings, watch } from './core-fixture.js';
import { settle } from './manual-clock.js';
import { linkBroken, serverRefused } from './scripted-store.js';

const log = captureLog();

/** The whole content of a value, even hidden properties that a logger would not print. */
const everything = (value: unknown): string =>
  inspect(value, { depth: null, showHidden: true, getters: false, maxArrayLength: null });

describe('events of a lock', () => {
  it('B55 events report the grant, the refusal, the failed renewal, the release and the store error', async () => {
    const { service, store, clock, published } = await startCore({ label: 'worker', ttl: 900 });
    const lock = await service.acquire('key');
    await service.tryAcquire('key');
    store.next('renewMany', { fail: serverRefused });
    await clock.advance(400);
    await lock.release();
    store.next('acquire', { fail: serverRefused });
    await service.acquire('key').catch(() => {});
    const { fencingToken } = lock;
    const error = expect.objectContaining({ name: 'LockStoreError' });
    expect(published).toEqual([
      { name: 'acquired', event: { key: 'key', job: undefined, label: 'worker', fencingToken, waited: 0 } },
      {
        name: 'busy',
        event: {
          key: 'key',
          job: undefined,
          waited: 0,
          reason: 'held',
          holder: expect.objectContaining({ label: 'worker' }),
        },
      },
      { name: 'renewFailed', event: { key: 'key', job: undefined, fencingToken, error } },
      { name: 'released', event: { key: 'key', job: undefined, fencingToken, heldFor: 400 } },
      { name: 'storeError', event: { key: 'key', job: undefined, operation: 'acquire', error } },
    ]);
  });

  it('B18 the event acquired has the time that the call waited', async () => {
    const { service, store, clock, of } = await startCore({ retry: 100 });
    const other = await store.takenBy('other', 'key', 60_000);
    const waiting = watch(service.acquire('key', { wait: Infinity }));
    await clock.advance(250);
    await store.server.release('key', other);
    await clock.advance(50);
    expect(waiting.state).toBe('resolved');
    expect(of('acquired')).toMatchObject([{ waited: 300 }]);
  });

  it('B55 events of a scheduled method carry the name of the method', async () => {
    const { service, of, store, clock } = await startCore({ ttl: 900 });
    const settings = service[INTERNALS].settingsFor('@Locked() on Billing.export', {});
    const call = { key: 'key', settings, job: 'Billing.export' };
    const running = watch(service[INTERNALS].tryRun(call, () => clock.advance(400)));
    await settle();
    await service[INTERNALS].tryRun(call, () => {});
    store.always({ fail: serverRefused }, 'release', 'renewMany');
    await clock.advance(1000);
    expect(running.state).toBe('resolved');
    for (const name of ['acquired', 'busy', 'renewFailed', 'storeError'] as const)
      expect(of(name)).toMatchObject([{ job: 'Billing.export' }]);
  });

  it('B4 events are also published on diagnostics_channel and carry the name of the module there', async () => {
    const seen: unknown[] = [];
    const listener = (message: unknown, name: string | symbol): void => void seen.push([name, message]);
    for (const name of EVENTS) channel(`nestjs-locked:${name}`).subscribe(listener);
    const { service, store, clock } = await startCore({ ttl: 900 }, { name: 'weak' });
    const lock = await service.acquire('key');
    await service.tryAcquire('key');
    await store.server.forceRelease('key');
    await clock.advance(300);
    await service.run('key', () => {});
    for (const name of EVENTS) channel(`nestjs-locked:${name}`).unsubscribe(listener);
    await service.run('key', () => {});
    expect(seen).toEqual([
      [
        'nestjs-locked:acquired',
        expect.objectContaining({ key: 'key', module: 'weak', fencingToken: lock.fencingToken }),
      ],
      ['nestjs-locked:busy', expect.objectContaining({ key: 'key', module: 'weak' })],
      ['nestjs-locked:lost', expect.objectContaining({ error: lock.loss, module: 'weak' })],
      ['nestjs-locked:acquired', expect.objectContaining({ module: 'weak' })],
      ['nestjs-locked:released', expect.objectContaining({ module: 'weak' })],
    ]);
  });

  it('B55 a listener that throws is logged once a minute, and the lock goes on', async () => {
    const { service, clock, store } = await startCore({ ttl: 900 });
    for (const name of EVENTS) {
      service.events.on(name, () => {
        throw new Error(`${name} listener`);
      });
    }
    const lock = await service.acquire('key');
    await service.tryAcquire('key');
    await service.tryAcquire('key');
    store.next('renewMany', { fail: linkBroken });
    await clock.advance(2000);
    expect(lock.held).toBe(true);
    await store.server.forceRelease('key');
    await clock.advance(300);
    expect(lock.signal.aborted).toBe(true);
    await service.run('other', () => {});
    const failed = warnings(log).filter((line) => line.startsWith('A listener'));
    expect(failed).toEqual([
      'A listener of the lock event "acquired" failed: acquired listener',
      'A listener of the lock event "busy" failed: busy listener',
      'A listener of the lock event "renewFailed" failed: renewFailed listener',
      'A listener of the lock event "lost" failed: lost listener',
      'A listener of the lock event "released" failed: released listener',
    ]);
  });

  it('B55 an async listener that rejects is logged and causes no unhandled rejection', async () => {
    const { service } = await startCore();
    service.events.on('acquired', () => Promise.reject(new Error('async listener')) as never);
    service.events.on('released', () => Promise.reject('no Error') as never);
    await service.run('key', () => {});
    await settle();
    expect(warnings(log)).toEqual([
      'A listener of the lock event "acquired" failed: async listener',
      'A listener of the lock event "released" failed: no Error',
    ]);
  });

  it('B55 if a listener fails, the other listeners still get the event', async () => {
    const { service } = await startCore();
    const told: string[] = [];
    service.events.prependListener('acquired', () => {
      throw new Error('broken');
    });
    service.events.on('acquired', ({ key }) => told.push(key));
    await service.acquire('key');
    expect(told).toEqual(['key']);
  });

  it('B59 a listener may call run() with another key', async () => {
    const { service, store } = await startCore();
    const inner: Promise<unknown>[] = [];
    service.events.once('acquired', () => inner.push(service.run('inner', () => {})));
    await service.run('outer', () => {});
    await Promise.all(inner);
    expect(store.count('release')).toBe(2);
  });
});

describe('the owner id', () => {
  it('B86 the owner id appears only in lock.owner, not in events, JSON, inspect, errors or logs', async () => {
    const { service, store, clock, published } = await startCore({ ttl: 900 });
    const told: unknown[] = [];
    const listener = (message: unknown): void => void told.push(message);
    for (const name of EVENTS) channel(`nestjs-locked:${name}`).subscribe(listener);
    const lock = await service.acquire('key', { onLost: (_, error) => void told.push(error) });
    told.push(await errorOf(service.acquire('key')));
    store.always({ fail: linkBroken }, 'renewMany');
    store.next('release', { fail: serverRefused });
    const waiting = errorOf(service.acquire('key', { wait: 10, retry: () => 0 }));
    await clock.advance(10);
    told.push(await waiting);
    const other = await service.acquire('other');
    await other.release().catch((error: unknown) => told.push(error));
    await clock.advance(900);
    expect(lock.held).toBe(false);
    told.push(await errorOf(lock.extend()), lock.loss, lock.signal.reason, JSON.stringify(lock), lock);
    store.heal();
    store.next('acquire', { lose: 'answer' }, { fail: linkBroken }, { fail: linkBroken });
    const failing = errorOf(service.acquire('third'));
    await clock.advance(1000);
    told.push(await failing, published, log, await service.admin.list());
    for (const name of EVENTS) channel(`nestjs-locked:${name}`).unsubscribe(listener);

    const text = everything(told) + JSON.stringify(told);
    expect(text).toContain('"key"');
    for (const { owner } of store.calls) if (owner) expect(text).not.toContain(owner);
    for (const { owner } of [lock, other]) {
      expect(owner).toHaveLength(36);
      expect(text).not.toContain(owner);
    }
  });

  it('B86 JSON and inspect show key, token and times, but no owner id', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key');
    expect(JSON.parse(JSON.stringify(lock))).toEqual({
      key: 'key',
      fencingToken: lock.fencingToken,
      held: true,
      acquiredAt: new Date(clock.date()).toISOString(),
      expiresAt: new Date(clock.date() + 30_000).toISOString(),
    });
    expect(inspect(lock)).not.toContain(lock.owner);
  });
});

describe('the log of the library', () => {
  it('B55 nothing is logged if all goes well', async () => {
    const { service, clock } = await startCore({ ttl: 900 });
    await service.run('key', () => clock.advance(5000));
    expect(log).toEqual([]);
  });

  it('B63 a busy lock is logged at debug level', async () => {
    const { service, store } = await startCore();
    await store.takenBy('api-7', 'key');
    await service.tryAcquire('key');
    expect(Logger.isLevelEnabled('debug')).toBe(true);
    expect(log).toEqual([{ level: 'debug', text: 'Lock "key" is busy: held by api-7.' }]);
  });

  it('B27 store errors are logged once a minute for each key and operation, with their cause', async () => {
    const { service, store, clock } = await startCore();
    store.always({ fail: () => new Error('disk full') });
    for (let i = 0; i < 70; i++) {
      await service.tryAcquire('a').catch(() => {});
      await service.tryAcquire('b').catch(() => {});
      await clock.advance(1000);
    }
    expect(warnings(log)).toEqual(
      ['a', 'b', 'a', 'b'].map(
        (key) =>
          `The acquire of lock "${key}" failed: The lock store failed at the acquisition of "${key}". See the cause. (disk full)`,
      ),
    );
  });

  it('B27 the first error of each of 1500 keys is logged, and a repeated error of one key is not', async () => {
    const { service, store } = await startCore();
    store.always({ fail: serverRefused });
    for (let i = 0; i < 1500; i++) await service.tryAcquire(`key ${i}`).catch(() => {});
    expect(warnings(log)).toHaveLength(1500);
    await service.tryAcquire('key 1499').catch(() => {});
    expect(warnings(log)).toHaveLength(1500);
  });

  it('B71 line breaks in keys and reasons are escaped in the log', async () => {
    const { service } = await startCore();
    await service.acquire('a\nb');
    await service.admin.forceRelease('a\nb', { reason: 'gone\r\n[Nest] forged\u001b[2K' });
    expect(warnings(log).at(-1)).toBe(
      'Lock "a\\nb" was force-released: gone\\u000d\\n[Nest] forged\\u001b[2K',
    );
  });
});
