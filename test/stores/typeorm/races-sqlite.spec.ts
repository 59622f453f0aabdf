import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const SESSIONS = 100;

// SQLite has one isolation level, SERIALIZABLE, and each store has a connection of its own.
for (const target of targetsAmong('sqlite'))
  describe(`a race of ${SESSIONS} connections to one SQLite file`, () => {
    let fixture: Fixture;
    let stores: TypeOrmLockStore[];

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      const application = await fixture.dataSource();
      stores = Array.from({ length: SESSIONS }, () => new TypeOrmLockStore(application));
      await Promise.all(stores.map((store) => store.prepare()));
    });
    afterAll(async () => {
      await Promise.all(stores.map((store) => store.close()));
      await fixture.dispose();
    });

    it('B25 exactly one connection wins a new key, and the next winner has a larger token (50 rounds)', async () => {
      for (let round = 0; round < 50; round++) {
        const key = newKey();
        const first = await race(key);
        expect(await first.store.release(key, first.owner)).toBe(true);
        expect((await race(key)).token).toBeGreaterThan(first.token);
      }
    });

    it('B76 each tick runs on one connection only, although each run releases the key at once (10 rounds)', async () => {
      for (let round = 0; round < 10; round++) {
        const key = newKey();
        for (let tick = 1; tick <= 2; tick++) {
          const runs = stores.map(async (store, i) => {
            const { acquired } = await store.acquire(key, `${i}`, 60_000, { once: { tick, ahead: 0 } });
            return acquired && store.release(key, `${i}`);
          });
          expect((await Promise.all(runs)).filter(Boolean)).toHaveLength(1);
        }
      }
    });

    async function race(key: string) {
      const attempts = stores.map(async (store, i) => ({
        store,
        owner: `${key}:${i}`,
        result: await store.acquire(key, `${key}:${i}`, 60_000),
      }));
      const winners = (await Promise.all(attempts)).filter(({ result }) => result.acquired);
      expect(winners).toHaveLength(1);
      const [winner] = winners as [(typeof winners)[0]];
      return { ...winner, token: tokenOf(winner.result) };
    }
  });
