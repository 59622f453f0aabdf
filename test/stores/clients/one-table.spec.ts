import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { SqlLockStore } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import type { TestClient } from './client-kind.js';
import { clients } from './clients.js';

for (const { name, open } of targetsAmong('postgres', 'mariadb', 'mysql', 'mysql56', 'sqlite'))
  describe(`the clients of ${name} on one table`, () => {
    const kinds = clients.filter(({ stores }) => stores.includes(name));
    const opened: TestClient[] = [];
    const stores = new Map<string, SqlLockStore>();
    let target: Target;

    beforeAll(async () => {
      target = await open();
      for (const kind of kinds) {
        const client = await kind.open(target);
        opened.push(client);
        const store = new SqlLockStore(client.executor());
        stores.set(kind.name, store);
        await store.prepare();
      }
    });

    afterAll(async () => {
      for (const store of stores.values()) await store.close();
      for (const client of opened) await client.close();
      await target.dispose();
    });

    it.each(kinds.map((kind) => kind.name))(
      'B90 a lock acquired through %s has the same holder and last run through every other client',
      async (holder) => {
        const key = `held by ${holder}`;
        const owner = randomUUID();
        const held = stores.get(holder)!;
        const granted = await held.acquire(key, owner, 60_000, { label: holder });
        expect(granted).toMatchObject({ acquired: true });

        for (const store of stores.values()) {
          expect(await store.acquire(key, randomUUID(), 60_000)).toMatchObject({
            acquired: false,
            reason: 'held',
            holder: { label: holder },
          });
          expect(await store.inspect(key)).toMatchObject({ state: 'held', holder: { label: holder } });
          expect(await store.release(key, randomUUID())).toBe(false);
        }

        expect(await held.release(key, owner)).toBe(true);
        for (const store of stores.values())
          expect(await store.inspect(key)).toMatchObject({ state: 'free', lastRun: { label: holder } });
      },
    );

    it('B38 the tokens of a key grow, whichever client acquires it', async () => {
      const tokens: number[] = [];
      for (const store of [...stores.values(), ...stores.values()]) {
        const owner = randomUUID();
        const granted = await store.acquire('passed around', owner, 60_000);
        if (granted.acquired) tokens.push(granted.fencingToken);
        await store.release('passed around', owner);
      }
      expect(tokens).toHaveLength(2 * stores.size);
      expect(tokens).toEqual([...new Set(tokens)].toSorted((a, b) => a - b));
    });
  });
