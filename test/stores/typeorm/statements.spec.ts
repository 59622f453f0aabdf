import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { AcquireRequest, RefusalReason } from '../../../lib/interfaces/lock-store.interface.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, recordStatements, renewedAgo, sqlOf, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const TTL = 60_000;

/**
 * The number of round trips that each operation takes. MySQL 5 takes more: it reads first, and
 * sets the session's lock wait before and after each write.
 */
const ROUND_TRIPS = {
  postgres: {
    newKey: 2,
    freeKey: 1,
    heldKey: 1,
    renew: 1,
    releaseToWaiter: 1,
    release: 1,
    lostRelease: 3,
    many: 1,
    manyWithLost: 2,
  },
  mysql: {
    // Two of these round trips set the session's lock wait for the insert, and reset it.
    newKey: 5,
    freeKey: 1,
    heldKey: 2,
    renew: 1,
    releaseToWaiter: 1,
    release: 1,
    lostRelease: 2,
    many: 1,
    manyWithLost: 2,
  },
  mariadb: {
    newKey: 3,
    freeKey: 1,
    heldKey: 2,
    renew: 1,
    releaseToWaiter: 1,
    release: 1,
    lostRelease: 2,
    many: 1,
    manyWithLost: 2,
  },
  mysql56: {
    newKey: 6,
    freeKey: 4,
    heldKey: 1,
    renew: 3,
    releaseToWaiter: 3,
    release: 3,
    lostRelease: 4,
    many: 100 * 3, // MySQL 5 renews the leases one by one, because it cannot skip locked rows.
    manyWithLost: 100 * 3 + 1,
  },
};

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`statements of ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    let store: TypeOrmLockStore;
    let statements: string[];
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      store = new TypeOrmLockStore(application);
      await store.prepare();
      statements = recordStatements(application);
    });
    afterAll(() => fixture.dispose());

    const count = async (operation: () => Promise<unknown>) => {
      statements.length = 0;
      await operation();
      return statements.length;
    };

    it('B15 each operation takes as few statements as possible', async () => {
      const key = newKey();
      const leases = Array.from({ length: target.name === 'mysql56' ? 100 : 500 }, () => ({
        key: newKey(),
        owner: 'o',
        ttl: TTL,
      }));
      for (const one of leases) tokenOf(await store.acquire(one.key, one.owner, one.ttl));
      expect({
        newKey: await count(async () => tokenOf(await store.acquire(key, 'a', TTL))),
        heldKey: await count(() => store.acquire(key, 'b', TTL)),
        renew: await count(() => store.renew(key, 'a', TTL)),
        releaseToWaiter: await count(async () =>
          tokenOf(await store.releaseToWaiter(key, 'a', { owner: 'next', ttl: TTL })),
        ),
        release: await count(() => store.release(key, 'next')),
        lostRelease: await count(() => store.release(key, 'a')),
        freeKey: await count(async () => tokenOf(await store.acquire(key, 'b', TTL))),
        many: await count(() => store.renewMany(leases)),
        manyWithLost: await count(() =>
          store.renewMany([...leases.slice(1), { key, owner: 'gone', ttl: TTL }]),
        ),
      }).toEqual(ROUND_TRIPS[target.name as keyof typeof ROUND_TRIPS]);
      expect(await count(() => store.inspect(key))).toBe(1);
      expect(await count(() => store.list({ limit: 1000 }))).toBe(1);
    });

    it('B76 ticks, pauses and thefts take no further statements, and a refusal writes nothing', async () => {
      const expected = ROUND_TRIPS[target.name as keyof typeof ROUND_TRIPS];
      const [key, unknown] = [newKey(), newKey()];
      const tick = Date.now() - TTL;
      const far = { tick: Date.now() + 3 * TTL * TTL, ahead: TTL };
      const take = (owner: string, request: AcquireRequest) => store.acquire(key, owner, TTL, request);
      expect(await count(async () => tokenOf(await take('a', { once: { tick, ahead: TTL } })))).toBe(
        expected.newKey,
      );
      const { row, bytes } = sqlOf(target);
      const before = await application.query(row, [bytes(key)]);
      const refused = async (reason: RefusalReason, request: AcquireRequest) => {
        const attempt = async () =>
          expect(await take('b', request)).toMatchObject({ acquired: false, reason });
        expect(await count(attempt)).toBe(expected.heldKey);
      };
      await refused('tick-done', { once: { tick, ahead: TTL } });
      await refused('tick-ahead', { once: far });
      await refused('held', { once: { tick: tick + 1, ahead: TTL }, stealAfter: TTL });
      expect(await application.query(row, [bytes(key)])).toEqual(before);
      expect(await store.acquire(unknown, 'a', TTL, { once: far })).toEqual({
        acquired: false,
        reason: 'tick-ahead',
      });
      expect(await application.query(row, [bytes(unknown)])).toEqual([]);

      expect(await count(() => store.pause(key))).toBe(expected.renew);
      await refused('paused', { stealAfter: 1 });
      expect(await application.query(row, [bytes(key)])).toEqual([
        { ...before[0], paused: expect.anything() },
      ]);
      expect(await count(() => store.resume(key))).toBe(expected.renew);
      expect(await store.release(key, 'a')).toBe(true);
      await refused('tick-done', { once: { tick, ahead: TTL } });
      await refused('tick-ahead', { once: far });
      expect(
        await count(async () => tokenOf(await take('b', { once: { tick: tick + 1, ahead: TTL } }))),
      ).toBe(expected.freeKey);
      await renewedAgo(application, target, key, 2 * TTL);
      expect(await count(async () => tokenOf(await take('c', { stealAfter: TTL })))).toBe(expected.freeKey);
    });

    if (target.name !== 'mysql56')
      it('B51 renewMany splits more than 500 leases into batches', async () => {
        const leases = Array.from({ length: 1001 }, () => ({ key: newKey(), owner: 'nobody', ttl: TTL }));
        const batches = await count(async () => {
          expect(await store.renewMany(leases)).toEqual(leases.map(() => 'lost'));
        });
        expect(batches).toBe(3 * ROUND_TRIPS[target.name as keyof typeof ROUND_TRIPS].manyWithLost);
      });

    it('B51 renewMany tells leases of different owners apart, and accepts a lease that occurs twice', async () => {
      const [a, b] = [newKey(), newKey()];
      tokenOf(await store.acquire(a, 'x', TTL));
      tokenOf(await store.acquire(b, 'y', TTL));
      expect(
        await store.renewMany([
          { key: a, owner: 'y', ttl: TTL },
          { key: b, owner: 'x', ttl: TTL },
          { key: b, owner: 'y', ttl: TTL },
        ]),
      ).toEqual(['lost', 'lost', 'renewed']);
      const twice = await store.renewMany([a, a].map((key) => ({ key, owner: 'x', ttl: TTL })));
      expect(twice).toContain('renewed');
      expect(twice).not.toContain('lost');
    });
  });
