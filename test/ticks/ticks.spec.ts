import { describe, expect, it } from '@jest/globals';
import type { DataSourceOptions } from 'typeorm';
import { openMongoDatabase, openTarget, selectedStores } from '../servers/targets.js';
import { runTicks } from './ticks.mjs';

// SQLite is left out: its clock is that of each process.
const stores = (['postgres', 'mongodb'] as const).filter((store) => selectedStores.includes(store));

describe.each(stores)('B76 once per tick on %s', (store) => {
  it('instances with clocks ten seconds apart run each tick once, also when the first of them is killed', async () => {
    const { url, dispose } = await openUrl(store);
    try {
      const result = await runTicks(url, { shifts: [-5, 0, 5], every: 2, ticks: 6, kill: 3 });
      expect(result).toMatchObject({ ticks: 6, once: 6, twice: [], missing: [] });
    } finally {
      await dispose();
    }
  });
});

if (stores.length === 0)
  it('B76 is run on none of the stores: LOCK_TEST_STORES leaves them out', () => {
    expect(selectedStores).not.toEqual(expect.arrayContaining(['postgres', 'mongodb']));
  });

async function openUrl(store: (typeof stores)[number]): Promise<{ url: string; dispose(): Promise<void> }> {
  if (store === 'mongodb') {
    const { url, databaseName, dispose } = openMongoDatabase();
    return { url: url.replace('/?', `/${databaseName}?`), dispose };
  }
  const target = await openTarget(store);
  const { host, port, username, password, database } = target.options as DataSourceOptions &
    Record<string, string>;
  return {
    url: `postgres://${username}:${password}@${host}:${port}/${database}`,
    dispose: () => target.dispose(),
  };
}
