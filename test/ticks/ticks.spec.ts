import { expect, it } from '@jest/globals';
import { openMongoDatabase, openTarget, selectedStores } from '../servers/targets.js';
import { runTicks } from './ticks.mjs';

// SQLite is left out: its clock is that of each process.
const stores = (['postgres', 'mongodb'] as const).filter((store) => selectedStores.includes(store));

it('B76 instances with clocks ten seconds apart run each tick once, also when the first of them is killed', async () => {
  const results = await Promise.all(
    stores.map(async (store) => {
      const database = await openDatabase(store);
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

async function openDatabase(
  store: (typeof stores)[number],
): Promise<{ url: string; dispose(): Promise<void> }> {
  if (store === 'mongodb') {
    const database = openMongoDatabase();
    return { ...database, url: database.url.replace('/?', `/${database.databaseName}?`) };
  }
  const target = await openTarget(store);
  const { host, port, username, password, database } = target.options as unknown as Record<string, string>;
  return {
    url: `postgres://${username}:${password}@${host}:${port}/${database}`,
    dispose: () => target.dispose(),
  };
}
