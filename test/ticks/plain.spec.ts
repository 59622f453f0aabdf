import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from '@jest/globals';
import { selectedStores } from '../servers/targets.js';
import { runPlainTicks } from './plain.mjs';
import { openTickDatabase } from './tick-database.js';

const SECONDS = 6;
const stores = (['sqlite', 'postgres', 'mongodb'] as const).filter((store) => selectedStores.includes(store));

async function onEach<T>(work: (url: string) => Promise<T>): Promise<T[]> {
  return Promise.all(
    stores.map(async (store) => {
      if (store === 'sqlite') {
        const folder = mkdtempSync(join(tmpdir(), 'plain-ticks-'));
        try {
          return await work(`sqlite:${join(folder, 'ticks.sqlite')}`);
        } finally {
          rmSync(folder, { recursive: true, force: true });
        }
      }
      const database = await openTickDatabase(store);
      try {
        return await work(database.url);
      } finally {
        await database.dispose();
      }
    }),
  );
}

it.each([0, 20])(
  'E1 each second, exactly one of three processes runs a plain @Cron() @Locked() job of %i ms',
  async (body) => {
    for (const { fired, ran, twice, missing } of await onEach((url) =>
      runPlainTicks(url, { seconds: SECONDS, body }),
    )) {
      expect({ twice, missing }).toEqual({ twice: [], missing: [] });
      expect(fired).toBeGreaterThan(2);
      expect(ran).toBe(fired);
    }
  },
);

it('E1 runs of 1.5 s in three processes do not overlap, and no tick runs twice', async () => {
  const results = await onEach((url) => runPlainTicks(url, { seconds: SECONDS, body: 1_500 }));
  for (const { ran, twice, overlaps } of results) {
    expect({ twice, overlaps }).toEqual({ twice: [], overlaps: 0 });
    expect(ran).toBeGreaterThan(0);
  }
});
