import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { MongoLockStore } from '../../../lib/stores/mongodb/index.js';
import { MongoFixture, mongodbIsSelected } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const CALLERS = 16;
const RACES = 1_000;
const CLIENTS = 4;

if (mongodbIsSelected())
  describe(`${RACES} races of ${CALLERS} callers with ${CLIENTS} clients`, () => {
    const fixture = new MongoFixture();
    let stores: MongoLockStore[];

    beforeAll(async () => {
      stores = await Promise.all(Array.from({ length: CLIENTS }, () => fixture.store()));
    });
    afterAll(() => fixture.dispose());

    const race = (key: string, round: number) =>
      Promise.all(
        Array.from({ length: CALLERS }, async (_, i) => {
          const store = stores[i % CLIENTS]!;
          const owner = `${round}-${i}`;
          return { store, owner, answer: await store.acquire(key, owner, 60_000) };
        }),
      );

    it('B25 in each round, exactly one caller gets the key, with a larger token than in the round before', async () => {
      const key = newKey();
      let token = 0;
      for (let round = 0; round < RACES; round++) {
        const all = await race(key, round);
        const winners = all.filter(({ answer }) => answer.acquired);
        expect(winners).toHaveLength(1);
        const [{ store, owner, answer } = all[0]!] = winners;
        expect(tokenOf(answer)).toBeGreaterThan(token);
        token = tokenOf(answer);
        expect(await store.release(key, owner)).toBe(true);
      }
    }, 120_000);

    it('B25 exactly one caller gets each new key', async () => {
      for (let round = 0; round < RACES / 5; round++) {
        const all = await race(newKey(), round);
        expect(all.filter(({ answer }) => answer.acquired)).toHaveLength(1);
      }
    }, 120_000);

    it('B76 each tick runs once, although each run releases the key at once', async () => {
      const epoch = Date.now() - 60_000;
      for (let round = 0; round < RACES / 20; round++) {
        const key = newKey();
        for (let tick = epoch; tick < epoch + 3; tick++) {
          const runs = Array.from({ length: CALLERS }, async (_, i) => {
            const store = stores[i % CLIENTS]!;
            const { acquired } = await store.acquire(key, `${i}`, 60_000, { once: { tick, ahead: 60_000 } });
            return acquired && store.release(key, `${i}`);
          });
          expect((await Promise.all(runs)).filter(Boolean)).toHaveLength(1);
        }
      }
    }, 120_000);

    it('B73 a new key is not granted after it has been paused', async () => {
      for (let round = 0; round < RACES / 10; round++) {
        const key = newKey();
        const attempts = race(key, round);
        expect(await Promise.all(stores.map((store) => store.pause(key)))).toContain(true);
        const winner = (await attempts).find(({ answer }) => answer.acquired);
        if (winner) expect(await winner.store.release(key, winner.owner)).toBe(true);
        expect(await stores[0]!.acquire(key, 'late', 60_000)).toEqual({ acquired: false, reason: 'paused' });
      }
    }, 120_000);
  });
