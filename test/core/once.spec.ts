import { INTERNALS } from '../../lib/lock-internals.js';
import { describe, expect, it } from '@jest/globals';
import { MemoryLockStore } from '../../lib/stores/memory/memory-lock.store.js';
import { captureLog, errorOf, startCore, warnings } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

const log = captureLog();

/** A store that remembers the last tick of each key, as database stores do. */
function remembering(clock = new ManualClock()) {
  return { clock, store: Object.assign(new ScriptedStore(clock), { keepsOnce: true as const }) };
}

describe('once per slot', () => {
  it('B76 with a once of 5 minutes, a key is granted once in each five minutes, even if it is free again', async () => {
    const { service, clock, of } = await startCore({}, remembering());
    const once = { once: '5m' } as const;
    const slot = 5 * 60_000;
    await clock.advance(slot - (clock.date() % slot));
    const granted: string[] = [];
    for (const at of ['first', 'first again', 'second', 'second again']) {
      if (at === 'second') await clock.advance(slot);
      const result = await service.tryRun('key', () => void granted.push(at), once);
      if (!result.acquired) expect(result.error).toMatchObject({ reason: 'tick-done' });
      await clock.advance(1_000);
    }
    expect(granted).toEqual(['first', 'second']);
    expect(of('busy').map(({ reason }) => reason)).toEqual(['tick-done', 'tick-done']);
  });

  it('B76 with a once of 1 hour, a second call in the hour is refused at once, even with wait: Infinity', async () => {
    const { service, clock } = await startCore({}, remembering());
    await service.run('key', () => {}, { once: '1h' });
    const error = await errorOf(service.run('key', () => {}, { once: '1h', wait: Infinity }));
    expect(error).toMatchObject({ name: 'LockNotAcquiredError', reason: 'tick-done' });
    expect(error.message).toContain('this tick, or a later one, has already run.');
    expect(clock.timers).toEqual([]);
  });

  it('B76 a run without once does not count as the run of a call with once', async () => {
    const { service } = await startCore({}, remembering());
    await service.run('key', () => {});
    expect(await service.tryAcquire('key', { once: '1h' })).not.toBeNull();
  });

  it.each<[object, string]>([
    [{ once: 'tick' }, "cannot be 'tick'"],
    [{ once: 0 }, '"once"'],
    [{ once: 999 }, '"once"'],
    [{ once: 'daily' }, '"once"'],
  ])('B76 the options %j are refused', async (options, message) => {
    const { service, store } = await startCore({}, remembering());
    expect((await errorOf(service.run('key', () => {}, options))).message).toContain(message);
    expect(store.calls).toEqual([]);
  });

  it('B76 once is refused if the store does not remember what has run', async () => {
    const { service } = await startCore({}, { store: new MemoryLockStore() as never });
    const error = await errorOf(service.run('key', () => {}, { once: '5m' }));
    expect(error.message).toContain('needs a store that remembers what has run');
  });
});

describe('a tick that has already run', () => {
  it('E13 calls refused because the tick has already run are logged at debug level, once a minute with their number', async () => {
    const { service, clock } = await startCore({}, remembering());
    await service.run('key', () => {}, { once: '1h' });
    const refused = async (): Promise<void> => {
      expect(await service.tryAcquire('key', { once: '1h' })).toBeNull();
    };
    for (let i = 0; i < 5; i++) await refused();
    await clock.advance(61_000);
    await refused();
    const lines = log.filter(({ level, text }) => level === 'debug' && text.includes('"key"'));
    expect(lines.map(({ text }) => text)).toEqual([
      'Lock "key": tick already done.',
      'Lock "key": tick already done, 5 times.',
    ]);
  });
});

describe('a scheduled purge', () => {
  it('B72 a scheduled purge deletes unused keys, in one of the instances', async () => {
    const options = { purge: { olderThan: '1h', every: '10m' } } as const;
    const shared = remembering();
    const one = await startCore(options, shared);
    const other = await startCore(options, shared);
    await one.service.run('old', () => {});
    await one.clock.advance(3_500_000);
    await one.service.run('young', () => {});
    await one.clock.advance(1_300_000);
    expect(await one.service.admin.inspect('old')).not.toHaveProperty('lastRun');
    expect(await one.service.admin.inspect('young')).toHaveProperty('lastRun');
    const slots = shared.store.calls.filter(
      ({ key, operation }) => key === 'nestjs-locked.purge' && operation === 'release',
    );
    expect(slots.length).toBeGreaterThanOrEqual(7);
    // The purge runs every 10 minutes, and 80 minutes pass.
    expect(slots.length).toBeLessThanOrEqual(9);
    await one.service[INTERNALS].close();
    await other.service[INTERNALS].close();
    expect(one.clock.timers).toEqual([]);
  });

  it('B72 a scheduled purge that fails is logged and repeated', async () => {
    const shared = remembering();
    const { service, store, clock } = await startCore({ purge: { olderThan: '1h', every: '10m' } }, shared);
    await service.run('old', () => {});
    await clock.advance(3_500_000);
    store.next('acquire', { fail: () => new Error('no') });
    await clock.advance(1_300_000);
    expect(await service.admin.inspect('old')).not.toHaveProperty('lastRun');
    expect(warnings(log)).toContainEqual(expect.stringContaining('The scheduled purge failed'));
  });

  it('B72 if the store does not remember what has run, each instance purges on its own', async () => {
    const { service, clock } = await startCore({ purge: { olderThan: '1h', every: '10m' } });
    await service.run('old', () => {});
    await clock.advance(4_900_000);
    expect(await service.admin.inspect('old')).not.toHaveProperty('lastRun');
    expect(warnings(log)).toEqual([]);
  });

  it.each<[object, string]>([
    [{ olderThan: '1s' }, 'olderThan'],
    [{}, 'olderThan'],
    [{ olderThan: '1d', every: '1s' }, 'every'],
    [{ olderThan: '1d', when: 'nightly' }, '"when"'],
  ])('B72 the purge option %j is refused', async (purge, message) => {
    expect((await errorOf(startCore({ purge: purge as never }))).message).toContain(message);
  });

  it('B69 isLocked does not count missed ticks, inspect does', async () => {
    const { service, store, clock } = await startCore();
    await store.server.acquire('key', 'other', 30_000, { once: { tick: clock.server(), ahead: 0 } });
    let looked = 0;
    service[INTERNALS].addTicks = async (found) => {
      looked++;
      return found;
    };
    expect(await service.admin.isLocked('key')).toBe(true);
    expect(looked).toBe(0);
    expect(await service.admin.inspect('key')).toMatchObject({ state: 'held' });
    expect(looked).toBe(1);
  });
});
