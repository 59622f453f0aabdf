import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SessionLockStore, SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { newKey, tokenOf } from '../keys.js';
import { targetsAmong } from '../typeorm/fixture.js';
import type { TestClient } from './client-kind.js';
import { drizzle } from './drizzle.js';
import { knex } from './knex.js';

const POOL_SIZE = 20;
const ROUNDS = 8;

for (const kind of [drizzle, knex])
  for (const { name, open } of targetsAmong('postgres', 'mariadb', 'mysql', 'sqlite'))
    describe(`two applications with ${kind.name} on ${name}`, () => {
      let target: Target;
      const opened: TestClient[] = [];
      const stores: SqlLockStore[] = [];
      beforeAll(async () => {
        target = await open();
        for (let i = 0; i < 2; i++) {
          const client = await kind.open(target, POOL_SIZE);
          const store = new SqlLockStore(client.executor());
          await store.prepare();
          opened.push(client);
          stores.push(store);
        }
      });
      afterAll(async () => {
        for (const store of stores) await store.close();
        for (const client of opened) await client.close();
        await target.dispose();
      });

      if (name !== 'sqlite')
        it('B90 session locks work on connections that the driver opens in addition to the pool', async () => {
          const sessions = opened.map((client) => new SessionLockStore(client.executor()));
          const [one, other] = sessions as [SessionLockStore, SessionLockStore];
          const key = newKey();
          expect(await one.acquire(key, 'one', 60_000)).toMatchObject({ acquired: true });
          expect(await other.acquire(key, 'other', 60_000)).toMatchObject({ acquired: false });
          expect(await one.release(key, 'one')).toBe(true);
          expect(await other.acquire(key, 'other', 60_000)).toMatchObject({ acquired: true });
          for (const session of sessions) await session.close();
        });

      it('B25 exactly one acquirer gets a key while the applications run transactions, and the tokens of the key grow', async () => {
        const acquirers = Array.from({ length: 2 * POOL_SIZE }, (_, i) => ({
          owner: `owner ${i}`,
          store: stores[i % 2] as SqlLockStore,
          client: opened[i % 2] as TestClient,
        }));
        for (let round = 0; round < ROUNDS; round++) {
          const key = newKey();
          let before = 0;
          for (let time = 0; time < 2; time++) {
            const results = await Promise.all(
              acquirers.map(async ({ owner, store, client }, i) => {
                // Every tenth acquirer runs a transaction of the application in the same pool
                // first.
                if (i % 10 === 0 && name !== 'sqlite')
                  await client.transaction((transaction) => client.query('SELECT 1', transaction));
                return { owner, store, result: await store.acquire(key, owner, 60_000) };
              }),
            );
            const winners = results.filter(({ result }) => result.acquired);
            expect(winners).toHaveLength(1);
            const [{ owner, store, result }] = winners as [(typeof winners)[0]];
            expect(tokenOf(result)).toBeGreaterThan(before);
            before = tokenOf(result);
            expect(await store.release(key, owner)).toBe(true);
          }
        }
      });
    });
