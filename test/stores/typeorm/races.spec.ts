import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { SqlLockStore } from '../../../lib/stores/sql/index.js';
import { Fixture, poolOf, renewedAgo, setIsolation, storeOver, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const SESSIONS = 100;
// The number of rounds at each of the three isolation levels. Each round has a new key.
const ROUNDS = 50;

/**
 * Each isolation level runs with one client only, because all clients send the same
 * statements.
 */
const LEVELS = [
  ['READ COMMITTED', 'the driver'],
  ['REPEATABLE READ', 'TypeORM'],
  ['SERIALIZABLE', 'the driver'],
] as const;

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`a race of ${SESSIONS} sessions of ${target.name}`, () => {
    let fixture: Fixture;
    beforeAll(async () => void (fixture = await Fixture.open(target)));
    afterAll(() => fixture.dispose());

    describe.each(LEVELS)('racing at %s over %s', (level, client) => {
      let application: DataSource;
      let store: SqlLockStore;

      beforeAll(async () => {
        application = await fixture.dataSource({ poolSize: SESSIONS });
        await setIsolation(application, level);
        // Batches are switched off, so that each session sends statements of its own.
        store = storeOver(client, application, { batching: false });
        await store.prepare();
        // These simultaneous requests open all sessions of the pool.
        await Promise.all(Array.from({ length: SESSIONS }, () => store.inspect('warm')));
        expect(poolOf(application).all).toBe(SESSIONS);
      });
      afterAll(() => application.destroy());

      /** Lets all sessions acquire the key at once, and returns the winner. */
      const race = async (key: string) => {
        const results = await Promise.all(
          Array.from({ length: SESSIONS }, async (_, i) => ({
            owner: `${key}:${i}`,
            result: await store.acquire(key, `${key}:${i}`, 60_000),
          })),
        );
        const winners = results.filter(({ result }) => result.acquired);
        expect(winners).toHaveLength(1);
        const [winner] = winners as [(typeof winners)[0]];
        for (const { result } of results)
          if (!result.acquired) {
            expect(['held', 'contention']).toContain(result.reason);
            if (result.holder) expect(result.holder.fencingToken).toBe(tokenOf(winner.result));
          }
        return winner;
      };

      it(`B25 exactly one session wins a new key, and the next winner has a larger token (${ROUNDS} rounds)`, async () => {
        for (let round = 0; round < ROUNDS; round++) {
          const key = newKey();
          const first = await race(key);
          expect(await store.release(key, first.owner)).toBe(true);
          if (round % 10 > 0) continue;
          const second = await race(key);
          expect(tokenOf(second.result)).toBeGreaterThan(tokenOf(first.result));
        }
        expect(poolOf(application)).toEqual({ all: SESSIONS, idle: SESSIONS, waiting: 0 });
      });

      it('B76 each tick runs in one session only, although each run releases the key at once (5 rounds)', async () => {
        const epoch = Date.now() - 60_000;
        for (let round = 0; round < 5; round++) {
          const key = newKey();
          for (let tick = epoch; tick < epoch + 2; tick++) {
            const runs = await Promise.all(
              Array.from({ length: SESSIONS }, async (_, i) => {
                const owner = `${key}:${i}`;
                const result = await store.acquire(key, owner, 60_000, { once: { tick, ahead: 60_000 } });
                if (result.acquired) expect(await store.release(key, owner)).toBe(true);
                else expect(['held', 'contention', 'tick-done']).toContain(result.reason);
                return result.acquired;
              }),
            );
            expect(runs.filter(Boolean)).toHaveLength(1);
          }
          expect((await store.inspect(key)).lastTick).toEqual(new Date(epoch + 1));
        }
      });

      it('B33 exactly one of many thieves steals the lock, and gets a larger token', async () => {
        for (let round = 0; round < 3; round++) {
          const key = newKey();
          const token = tokenOf(await store.acquire(key, 'robbed', Number.MAX_SAFE_INTEGER));
          await renewedAgo(application, target, key, 600_000);
          const thieves = await Promise.all(
            Array.from({ length: SESSIONS }, (_, i) =>
              store.acquire(key, `${key}:${i}`, 60_000, { stealAfter: 500_000 }),
            ),
          );
          const stolen = thieves.filter(({ acquired }) => acquired);
          expect(stolen).toHaveLength(1);
          expect(stolen.map(tokenOf)[0]).toBeGreaterThan(token);
          expect(await store.renew(key, 'robbed', 60_000)).toBe(false);
        }
      });

      it('B23 a contender never gets a lock between the release and the grant to a waiter', async () => {
        const key = newKey();
        let token = tokenOf(await store.acquire(key, 'holder 0', 60_000));
        const over = new AbortController();
        const contenders = Array.from({ length: 10 }, async (_, i) => {
          const granted = [];
          while (!over.signal.aborted) {
            const result = await store.acquire(key, `${key}:${i}`, 60_000);
            if (result.acquired) granted.push(result);
          }
          return granted;
        });
        try {
          for (let passed = 0; passed < 20;) {
            const next = { owner: `holder ${passed + 1}`, ttl: 60_000 };
            const result = await store.releaseToWaiter(key, `holder ${passed}`, next);
            if (!result.acquired && result.reason === 'contention') continue;
            expect(tokenOf(result)).toBeGreaterThan(token);
            expect(await store.release(key, `holder ${passed}`)).toBe(false);
            token = tokenOf(result);
            passed++;
          }
        } finally {
          over.abort();
        }
        expect((await Promise.all(contenders)).flat()).toEqual([]);
        expect(await store.release(key, 'holder 20')).toBe(true);
      });

      it('B73 a new key is not granted after it has been paused', async () => {
        for (let round = 0; round < 5; round++) {
          const key = newKey();
          const attempts = Array.from({ length: SESSIONS }, (_, i) => store.acquire(key, `${i}`, 60_000));
          expect(await store.pause(key)).toBe(true);
          const holder = (await Promise.all(attempts)).findIndex(({ acquired }) => acquired);
          if (holder >= 0) expect(await store.release(key, `${holder}`)).toBe(true);
          expect(await store.acquire(key, 'late', 60_000)).toEqual({ acquired: false, reason: 'paused' });
        }
      });

      it('B24 100 different keys are all acquired, renewed and released', async () => {
        const keys = Array.from({ length: SESSIONS }, newKey);
        // At the higher isolation levels, new keys may collide on a page of the index, which
        // is contention. Such an attempt is repeated.
        const insist = async (key: string) => {
          for (;;) {
            const result = await store.acquire(key, 'o', 60_000);
            if (result.acquired || result.reason === 'held') return result.acquired;
          }
        };
        expect(await Promise.all(keys.map(insist))).toEqual(keys.map(() => true));
        expect(await Promise.all(keys.map((key) => store.renew(key, 'o', 60_000)))).toEqual(
          keys.map(() => true),
        );
        expect(await Promise.all(keys.map((key) => store.release(key, 'o')))).toEqual(keys.map(() => true));
      });
    });
  });
