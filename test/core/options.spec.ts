import { describe, expect, it } from '@jest/globals';
import { parseDuration } from '../../lib/options/duration.js';
import { LockError } from '../../lib/lock.errors.js';
import type { AcquireOptions, LockModuleDefaults } from '../../lib/options/lock.options.js';
import { LockService } from '../../lib/lock.service.js';
import { captureLog, errorOf, startCore } from './core-fixture.js';
import { ManualClock } from './manual-clock.js';
import { ScriptedStore } from './scripted-store.js';

captureLog();

const of = (options: unknown): AcquireOptions => options as AcquireOptions;

function construct(options: unknown): LockService {
  const clock = new ManualClock();
  const openStore = (): ScriptedStore => new ScriptedStore(clock);
  return new LockService({ options: options as LockModuleDefaults, openStore, clock });
}

describe('durations', () => {
  it('B49 durations are milliseconds or strings with a unit', () => {
    const read = (value: unknown): number => parseDuration('ttl', value, { min: 0, infinite: true });
    expect([0, 1500, '30s', '1.5h', '2 minutes', '250', '500ms', Infinity].map(read)).toEqual([
      0,
      1500,
      30_000,
      5_400_000,
      120_000,
      250,
      500,
      Infinity,
    ]);
  });

  it('B49 durations are rounded to whole milliseconds', () => {
    expect(parseDuration('ttl', 100.4, { min: 100 })).toBe(100);
    expect(parseDuration('ttl', '1.0004s', { min: 100 })).toBe(1000);
    expect(() => parseDuration('ttl', 99.4, { min: 100 })).toThrow(LockError);
  });

  const bad: [string, unknown][] = [
    ['NaN', Number.NaN],
    ['null', null],
    ['a negative number', -1],
    ['a little below zero', -0.1],
    ['minus infinity', -Infinity],
    ['true', true],
    ['an object', { ms: 5 }],
    ['an array', [5]],
    ['a bigint', 5n],
    ['a symbol', Symbol('5')],
    ['a function', () => 5],
    ['an empty string', ''],
    ['blanks', '  '],
    ['words', 'soon'],
    ['a negative string', '-5s'],
    ['a number followed by rubbish', '5 apples'],
    ['the string "Infinity"', 'Infinity'],
    ['a very long string', '5s'.repeat(100)],
    ['a number that overflows', 1e300],
    ['more than the range of a date', 2 ** 52 + 1],
  ];

  it.each(bad)('B30 %s is refused as a duration, with the option and the value in the error', (_, value) => {
    expect(() => parseDuration('The ttl', value, { min: 0, infinite: true })).toThrow(LockError);
    expect(() => parseDuration('The ttl', value, { min: 0, infinite: true })).toThrow(/^The ttl must be /);
  });

  it.each(bad)('B30 %s is refused for each duration of a call, before any request', async (_, value) => {
    const { service, store } = await startCore();
    for (const option of ['ttl', 'wait', 'minHold', 'renewEvery']) {
      const error = await errorOf(service.acquire('key', of({ [option]: value })));
      expect(error.message).toContain(`The option "${option}" of acquire() of "key" must be`);
      expect(error).toBeInstanceOf(LockError);
    }
    expect(store.calls).toEqual([]);
  });

  it.each(bad)('B30 %s is refused for each duration of the module when its options are read', (_, value) => {
    for (const option of ['ttl', 'wait', 'minHold', 'renewEvery', 'shutdownTimeout']) {
      expect(() => construct({ [option]: value })).toThrow(LockError);
      expect(() => construct({ [option]: value })).toThrow(`The option "${option}" of LockModule must be`);
    }
  });

  it('B17 a wait or ttl of -1 gives an error that names Infinity', async () => {
    const { service } = await startCore();
    for (const option of ['wait', 'ttl']) {
      expect((await errorOf(service.acquire('key', of({ [option]: -1 })))).message).toMatch(/use Infinity/);
    }
  });

  it('B52 Infinity is refused for renewEvery, minHold and shutdownTimeout', () => {
    for (const option of ['minHold', 'renewEvery', 'shutdownTimeout']) {
      expect(() => construct({ [option]: Infinity })).toThrow(/must be finite/);
    }
  });
});

describe('ttl', () => {
  it('B29 the default ttl is 30 s, and Infinity is 2^53-1 in the store', async () => {
    const { service, store } = await startCore();
    await service.acquire('a');
    const endless = await service.acquire('b', { ttl: Infinity });
    expect(store.of('acquire').map(({ ttl }) => ttl)).toEqual([30_000, Number.MAX_SAFE_INTEGER]);
    expect(endless.expiresAt).toBeNull();
  });

  it('B29 a lock with ttl: Infinity stays held and is renewed every 10 s', async () => {
    const { service, store, clock } = await startCore();
    const lock = await service.acquire('key', { ttl: Infinity });
    await clock.advance(100_000);
    expect(lock.held).toBe(true);
    expect(store.of('renewMany').map(({ at }) => at - 10_000)).toEqual(
      Array.from({ length: 10 }, (_, i) => (i + 1) * 10_000),
    );
    expect(store.of('renewMany')[0]?.renewals?.[0]?.ttl).toBe(Number.MAX_SAFE_INTEGER);
    expect(await lock.release()).toBe(true);
  });

  it('B29 a lock with ttl: Infinity and without renewal has no timer', async () => {
    const { service, clock } = await startCore();
    const lock = await service.acquire('key', { ttl: Infinity, autoRenew: false });
    expect(clock.timers).toEqual([]);
    await clock.advance(10 ** 9);
    expect(lock.held).toBe(true);
  });

  it('B30 a ttl below 100 ms is refused, as are 0 and negative values', async () => {
    const { service, store } = await startCore();
    for (const ttl of [0, -5, 99, 0.5]) {
      expect((await errorOf(service.acquire('key', { ttl }))).message).toMatch(
        /^The option "ttl" of acquire\(\) of "key" must be at least 100 ms, or Infinity, but it is /,
      );
    }
    expect((await service.acquire('key', { ttl: 100 })).held).toBe(true);
    expect(store.count('acquire')).toBe(1);
  });

  it('B28 the ttl frees the lock of a holder that stopped renewing', async () => {
    const one = await startCore({ ttl: 1000 });
    const two = await startCore({}, one);
    await one.service.acquire('key', { autoRenew: false });
    await one.clock.advance(999);
    expect(await two.service.tryAcquire('key')).toBeNull();
    await one.clock.advance(1);
    expect(await two.service.tryAcquire('key')).not.toBeNull();
  });

  it('B31 the lease counts from the grant, not from the start of the wait', async () => {
    const { service, store, clock } = await startCore({ retry: 100 });
    const other = await store.takenBy('other', 'key');
    const waiting = service.acquire('key', { wait: Infinity, ttl: 1000, autoRenew: false });
    await clock.advance(5000);
    await store.server.release('key', other);
    await clock.advance(100);
    const lock = await waiting;
    const holder = (await service.admin.inspect('key')) as { holder: { remaining: number } };
    expect(holder.holder.remaining).toBe(1000);
    expect(lock.held).toBe(true);
    await clock.advance(949);
    expect(lock.held).toBe(true);
    await clock.advance(1);
    expect(lock.held).toBe(false);
  });

  it('B35 a caller with the same label takes an expired lock and gets a greater token', async () => {
    const { service, clock } = await startCore({ label: 'worker' });
    const first = await service.acquire('key', { ttl: 1000, autoRenew: false });
    await clock.advance(1000);
    const second = await service.acquire('key');
    expect(second.fencingToken).toBeGreaterThan(first.fencingToken);
    expect(first.held).toBe(false);
  });
});

describe('unknown and wrong options', () => {
  it('B60 misspelt options are refused, and the error lists the valid ones', async () => {
    const { service } = await startCore();
    expect((await errorOf(service.acquire('key', of({ tll: 5, waits: 1 })))).message).toMatch(
      /^acquire\(\) does not know the option "tll", "waits"\. It takes: ttl, minHold, label,/,
    );
    expect((await errorOf(service.tryRun('key', () => {}, of({ key: 'a' })))).message).toContain('"key"');
    expect(() => construct({ autorenew: false })).toThrow(/LockModule does not know the option "autorenew"/);
    expect((await errorOf(service.admin.list({ limits: 5 } as never))).message).toContain(
      'list() does not know',
    );
  });

  it.each(['acquire', 'tryAcquire', 'run', 'tryRun'] as const)(
    'B60 the error of an unknown option names %s',
    async (method) => {
      const { service, store } = await startCore();
      const call = service[method].bind(service) as (key: string, ...rest: unknown[]) => Promise<unknown>;
      const options = { tll: 5 };
      const error = await errorOf(
        method.endsWith('un') ? call('key', () => {}, options) : call('key', options),
      );
      expect(error.message).toContain(`${method}() does not know the option "tll"`);
      expect(store.calls).toEqual([]);
    },
  );

  it('B4 the error of a wrong option names the module', () => {
    const make = (name?: string): LockService =>
      new LockService({ options: { ttl: -5 }, openStore: () => new ScriptedStore(new ManualClock()), name });
    expect(() => make()).toThrow('The option "ttl" of LockModule must be');
    expect(() => make('jobs')).toThrow('The option "ttl" of LockModule "jobs" must be');
  });

  it.each(['run', 'tryRun'] as const)('B59 %s without a function to run takes no lock', async (method) => {
    const { service, store } = await startCore();
    const error = await errorOf(service[method]('key', undefined as never));
    expect(error.message).toBe('run("key") needs the work as its second argument: a function.');
    expect(store.calls).toEqual([]);
  });

  it.each([[null], [[]], ['5s'], [5], [() => {}]])('B60 %p is refused as options', async (given) => {
    const { service, store } = await startCore();
    expect((await errorOf(service.acquire('key', of(given)))).message).toContain('must be an object');
    expect((await errorOf(service.run('key', () => {}, of(given)))).message).toContain('must be an object');
    expect(store.calls).toEqual([]);
  });

  it.each([
    ['autoRenew', 'yes'],
    ['autoRenew', null],
    ['label', ''],
    ['label', null],
    ['label', 5],
    ['label', 'a\0'],
    ['label', 'ä'.repeat(128)],
    ['onLost', 'explode'],
    ['onLost', null],
    ['retry', null],
    ['retry', 0],
    ['retry', '-1s'],
    ['retry', true],
    ['retry', { min: 10 }],
    ['retry', { min: 10, max: 9 }],
    ['retry', { min: 0, max: 9 }],
    ['retry', { min: 10, max: 90, factor: 2 }],
    ['retry', Infinity],
    ['signal', {}],
    ['signal', new AbortController()],
    ['signal', null],
  ])('B60 the option %s with the value %j is refused before any request', async (option, value) => {
    const { service, store } = await startCore();
    const error = await errorOf(service.acquire('key', of({ [option]: value })));
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain(`"${option}`);
    expect(store.calls).toEqual([]);
  });

  it("B56 the former onLost: 'ignore' is refused, and the error names rejectOnLoss", async () => {
    const { service, store } = await startCore();
    const given = of({ onLost: 'ignore' });
    const errors = [
      await errorOf(service.run('key', () => {}, given)),
      await errorOf(service.acquire('key', given)),
    ];
    for (const error of errors) {
      expect(error).toBeInstanceOf(LockError);
      expect(error.message).toContain("onLost: 'ignore' is now rejectOnLoss: false");
    }
    expect(store.calls).toEqual([]);
  });

  it('B56 rejectOnLoss must be true or false, and only runs accept it, not acquire or the module', async () => {
    const { service, store } = await startCore();
    expect((await errorOf(service.run('key', () => {}, of({ rejectOnLoss: 0 })))).message).toMatch(
      /"rejectOnLoss" of run\(\) of "key" must be true or false, but it is 0/,
    );
    expect((await errorOf(service.acquire('key', of({ rejectOnLoss: false })))).message).toMatch(
      /acquire\(\) does not know the option "rejectOnLoss"/,
    );
    expect(() => construct({ rejectOnLoss: false })).toThrow(/does not know the option "rejectOnLoss"/);
    expect(store.calls).toEqual([]);
  });

  it('B36 a label may have 255 bytes', async () => {
    const { service } = await startCore();
    const lock = await service.acquire('key', { label: 'x'.repeat(255) });
    expect(lock.held).toBe(true);
  });

  it.each([[''], ['a:b'], ['a b'], ['ä'], ['x'.repeat(65)], [null], [5], ['a\n']])(
    'B42 the prefix %p is refused',
    (prefix) => {
      expect(() => construct({ prefix })).toThrow(/The option "prefix" of LockModule must be/);
    },
  );

  it.each([['false'], [0], [null]])('B73 enabled: %p is refused', (enabled) => {
    expect(() => construct({ enabled })).toThrow(/The option "enabled" of LockModule must be true or false/);
  });

  it.each([[0], [1001], [1.5], [Number.NaN], ['5'], [null]])(
    'B70 a page size of %p is refused',
    async (limit) => {
      const { service } = await startCore();
      expect((await errorOf(service.admin.list({ limit: limit as number }))).message).toMatch(/1 to 1000/);
    },
  );

  it('B71 a forced release needs a reason', async () => {
    const { service } = await startCore();
    for (const request of [undefined, {}, { reason: '' }, { reason: ' ' }, { reason: 5 }]) {
      expect((await errorOf(service.admin.forceRelease('key', request as never))).message).toContain(
        'needs a reason',
      );
    }
  });
});

describe('renewEvery', () => {
  it('B52 a renewEvery too long for the ttl is refused, and the error names the longest that fits', async () => {
    const { service } = await startCore();
    for (const [ttl, renewEvery, longest] of [
      [30_000, 20_001, 20_000],
      [1000, 667, 666],
      [600, 10_000, 400],
    ] as const) {
      const error = await errorOf(service.acquire('key', { ttl, renewEvery }));
      expect(error.message).toMatch(new RegExp(`renewEvery.*does not fit its ttl.*at most ${longest} ms`));
      await (await service.acquire('key', { ttl, renewEvery: longest })).release();
    }
    expect((await errorOf(service.acquire('key', { renewEvery: 9 }))).message).toMatch(/at least 10 ms/);
  });

  it('B52 every accepted renewEvery keeps the lock held, even with the shortest ttl', async () => {
    for (let renewEvery = 10; renewEvery <= 200; renewEvery += 5) {
      for (const ttl of [100, 120, 160, 200, 300]) {
        const { service, store, clock } = await startCore();
        store.always({ before: 4, after: 4 }, 'renewMany');
        const lock = await service.acquire('key', { ttl, renewEvery }).catch(() => undefined);
        await clock.advance(2000);
        if (lock) expect({ ttl, renewEvery, held: lock.held }).toEqual({ ttl, renewEvery, held: true });
      }
    }
  });

  it('B52 renewEvery together with autoRenew: false is refused, in a call and in the module', async () => {
    const { service } = await startCore();
    const both = of({ autoRenew: false, renewEvery: 100 });
    expect((await errorOf(service.acquire('key', both))).message).toContain('Leave one of them out');
    expect(() => construct(both)).toThrow(/has both/);
  });

  it('B52 the renewEvery of the module applies if it fits the ttl; if not, a third of the ttl applies', async () => {
    const { service, store, clock } = await startCore({ renewEvery: 600, ttl: 1200 });
    await service.acquire('a');
    await clock.advance(600);
    expect(store.count('renewMany')).toBe(1);
    await service.acquire('b', { ttl: 300 });
    await clock.advance(100);
    expect(store.of('renewMany')[1]?.renewals).toMatchObject([{ key: 'b' }]);
  });

  it('B52 a call can switch renewal off or on, whatever the module says', async () => {
    const off = await startCore({ autoRenew: false, ttl: 900 });
    const on = await off.service.acquire('a', { autoRenew: true });
    const every = await off.service.acquire('b', { renewEvery: 100 });
    const not = await off.service.acquire('c');
    await off.clock.advance(2000);
    expect([on.held, every.held, not.held]).toEqual([true, true, false]);
  });
});

describe('maxWaiters', () => {
  it.each([[0], [-1], [1.5], [Number.NaN], [-Infinity], [2 ** 53], ['5'], [null], [true], [[5]], [{}], [5n]])(
    'B22 a maxWaiters limit of %p is refused when the module is read',
    (value) => {
      for (const option of ['perKey', 'total']) {
        expect(() => construct({ maxWaiters: { [option]: value } })).toThrow(LockError);
        expect(() => construct({ maxWaiters: { [option]: value } })).toThrow(
          `The option "maxWaiters.${option}" of LockModule must be a whole number from 1, or Infinity`,
        );
      }
    },
  );

  it.each([[5], ['5'], [null], [[5]], [true], [{ perkey: 5 }], [{ perKey: 5, all: 5 }]])(
    'B22 %p is refused as maxWaiters',
    (value) => {
      expect(() => construct({ maxWaiters: value })).toThrow(LockError);
      expect(() => construct({ maxWaiters: value })).toThrow('"maxWaiters" of LockModule');
    },
  );

  it.each([
    [undefined],
    [{}],
    [{ perKey: 1 }],
    [{ total: Infinity }],
    [{ perKey: undefined, total: 2 ** 53 - 1 }],
  ])('B22 %p is accepted as maxWaiters', (value) => {
    expect(construct({ maxWaiters: value }).enabled).toBe(true);
  });

  it('B22 maxWaiters is no option of a call', async () => {
    const { service } = await startCore();
    const error = await errorOf(service.acquire('key', of({ maxWaiters: { perKey: 1 } })));
    expect(error.message).toContain('does not know the option "maxWaiters"');
  });
});
