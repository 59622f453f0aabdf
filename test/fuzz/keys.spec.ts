import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import * as fc from 'fast-check';
import type { LockStore } from '../../lib/interfaces/lock-store.interface.js';
import { fitKey, storedKey } from '../../lib/options/lock-key.js';
import { LockError } from '../../lib/lock.errors.js';
import { startCore, type Core } from '../core/core-fixture.js';
import { MongoFixture, mongodbIsSelected } from '../stores/mongodb/fixture.js';
import { Fixture, targetsAmong } from '../stores/typeorm/fixture.js';
import { differentKeys, key } from './keys.js';
import { seeded } from './seeded.js';
import { anyText, anyValue } from './values.js';

beforeAll(() => Logger.overrideLogger(false));

describe('a key of any value', () => {
  const anyKey = fc.oneof(anyValue, anyText, key) as fc.Arbitrary<string>;
  const isKey = (value: unknown): boolean =>
    typeof value === 'string' &&
    value !== '' &&
    value.isWellFormed() &&
    !value.includes('\0') &&
    Buffer.byteLength(value) <= 4096;

  const takes: Record<string, (core: Core, given: string) => Promise<unknown>> = {
    acquire: ({ service }, given) => service.acquire(given).then((lock) => lock.release()),
    tryAcquire: ({ service }, given) => service.tryAcquire(given).then((lock) => lock?.release()),
    run: ({ service }, given) => service.run(given, () => {}),
    tryRun: ({ service }, given) => service.tryRun(given, () => {}),
  };

  it.each(Object.keys(takes))(
    'B41 %s accepts every valid key, and refuses every other value before any request',
    async (name) => {
      const core = await startCore();
      await fc.assert(
        fc.asyncProperty(anyKey, async (given) => {
          const before = core.store.calls.length;
          const error: unknown = await takes[name]!(core, given).then(
            () => undefined,
            (thrown: unknown) => thrown,
          );
          const calls = core.store.calls.slice(before);
          if (isKey(given)) {
            expect(error).toBeUndefined();
            expect(calls.map((call) => call.key)).toEqual([given, given]);
          } else {
            expect(error).toBeInstanceOf(LockError);
            expect(calls).toEqual([]);
          }
        }),
        seeded(300),
      );
    },
  );

  it('B41 inspect, isLocked and forceRelease accept every valid key and refuse every other value', async () => {
    const { service } = await startCore();
    await fc.assert(
      fc.asyncProperty(anyKey, async (given) => {
        const looks = [
          service.admin.inspect(given),
          service.admin.isLocked(given),
          service.admin.forceRelease(given, { reason: 'test' }),
        ];
        for (const look of await Promise.allSettled(looks)) {
          if (isKey(given)) expect(look.status).toBe('fulfilled');
          else expect(look).toMatchObject({ reason: expect.any(LockError) });
        }
      }),
      seeded(150),
    );
  });
});

describe('different keys', () => {
  it('B41 different keys are stored under different texts, and a stored text used as a key is stored unchanged', () => {
    fc.assert(
      fc.property(differentKeys(20), (keys) => {
        const forms = keys.map(fitKey);
        expect(new Set(forms).size).toBe(keys.length);
        for (const form of forms) {
          expect(Buffer.byteLength(form)).toBeLessThanOrEqual(255);
          expect(storedKey(form)).toBe(form);
        }
        for (const one of keys) expect(storedKey(storedKey(one))).toBe(storedKey(one));
      }),
      seeded(200),
    );
  });

  it('B41 a lock on one key does not block any different key', async () => {
    await fc.assert(
      fc.asyncProperty(differentKeys(10), async (keys) => {
        const { service } = await startCore();
        const locks = await Promise.all(keys.map((one) => service.acquire(one)));
        expect(locks.map((lock) => lock.key)).toEqual(keys);
        expect(await Promise.all(keys.map((one) => service.tryAcquire(one)))).toEqual(keys.map(() => null));
        await Promise.all(locks.map((lock) => lock.release()));
      }),
      seeded(20),
    );
  });
});

describe('different keys in databases', () => {
  const [keys] = fc.sample(differentKeys(40, 40), { ...seeded(1), numRuns: 1 }) as [string[]];

  /**
   * Acquires all keys and keeps them, so two keys that the database treats as equal would
   * collide.
   */
  async function takeAll(store: LockStore): Promise<void> {
    const refused: string[] = [];
    for (const group of groups(keys, 20)) {
      const answers = await Promise.all(group.map((one) => store.acquire(one, 'owner', 600_000)));
      refused.push(...group.filter((_, i) => !answers[i]?.acquired));
    }
    expect(refused).toEqual([]);
  }

  function groups<T>(all: T[], size: number): T[][] {
    return all.length === 0 ? [] : [all.slice(0, size), ...groups(all.slice(size), size)];
  }

  it('B41 the sample has more than 100 different keys', () => expect(keys.length).toBeGreaterThan(100));

  for (const target of targetsAmong('sqlite', 'postgres', 'mariadb', 'mysql', 'mysql56'))
    describe(`on ${target.name}`, () => {
      let fixture: Fixture;
      beforeAll(async () => (fixture = await Fixture.open(target)));
      afterAll(() => fixture.dispose());

      it(
        'B41 the database treats no two different keys as equal: all can be held at once',
        async () => takeAll(await fixture.store()),
        60_000,
      );
    });

  describe('on MongoDB', () => {
    if (!mongodbIsSelected()) return;
    const fixture = new MongoFixture();
    afterAll(() => fixture.dispose());

    it(
      'B41 the database treats no two different keys as equal: all can be held at once',
      async () => takeAll(await fixture.store()),
      60_000,
    );
  });
});
