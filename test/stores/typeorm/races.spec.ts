import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, ISOLATION_LEVELS, poolOf, targetsAmong, setIsolation } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const SESSIONS = 100;
const ROUNDS = 50; // at each of three levels, each for a new key

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe(`${SESSIONS} sessions of ${target.name} race`, () => {
    let fixture: Fixture;
    beforeAll(async () => void (fixture = await Fixture.open(target)));
    afterAll(() => fixture.dispose());

    describe.each(ISOLATION_LEVELS)('at %s', (level) => {
      let application: DataSource;
      let store: TypeOrmLockStore;

      beforeAll(async () => {
        application = await fixture.dataSource({ poolSize: SESSIONS });
        await setIsolation(application, level);
        store = new TypeOrmLockStore(application);
        await store.prepare();
        await Promise.all(Array.from({ length: SESSIONS }, () => store.inspect('warm'))); // opens the sessions
        expect(poolOf(application).all).toBe(SESSIONS);
      });
      afterAll(() => application.destroy());

      /** Lets all acquire at once, and gives the one that won. */
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

      it(`B25 B26 for a new key, ${ROUNDS} times; and now and then for the same key again: one wins, with a larger token`, async () => {
        for (let round = 0; round < ROUNDS; round++) {
          const key = newKey();
          const first = await race(key);
          expect(await store.release(key, first.owner)).toBe(true);
          if (round % 5 > 0) continue;
          const second = await race(key);
          expect(tokenOf(second.result)).toBeGreaterThan(tokenOf(first.result));
        }
        expect(poolOf(application)).toEqual({ all: SESSIONS, idle: SESSIONS, waiting: 0 });
      });

      it('B24 for 100 different keys: all win, and renew and release theirs', async () => {
        const keys = Array.from({ length: SESSIONS }, newKey);
        // At the higher levels different new keys may collide on a page of the index: that is contention, and tried again.
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
