import { expect, it } from '@jest/globals';
import { selectedStores } from '../servers/targets.js';
import { openTickDatabase } from './tick-database.js';
import { runTicks } from './ticks.mjs';

// SQLite is left out: it has no server, so each process would use its own wrong clock.
const stores = (['postgres', 'mongodb'] as const).filter((store) => selectedStores.includes(store));

it('B76 instances with clocks ten seconds apart run each tick once, even after one of them is killed', async () => {
  const results = await Promise.all(
    stores.map(async (store) => {
      const database = await openTickDatabase(store);
      try {
        return await runTicks(database.url, { shifts: [-5, 0, 5], every: 2, ticks: 6, kill: 3 });
      } finally {
        await database.dispose();
      }
    }),
  );
  const each = { ticks: 6, once: 6, twice: [], missing: [] };
  expect(results).toEqual(stores.map(() => expect.objectContaining(each)));
});
