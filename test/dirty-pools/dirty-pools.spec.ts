import { describe, expect, it } from '@jest/globals';
import { sqlTargets } from '../servers/targets.js';
import { lockOnDirtyPools } from './dirty-pools.mjs';

const LOCKS = 120; // `npm run dirty-pools` takes 10,000 locks

for (const target of sqlTargets().filter(({ name }) => ['postgres', 'mysql', 'mariadb'].includes(name)))
  describe(`pools of ${target.name} with a third of dirty connections`, () => {
    it('A1 two processes on dirty pools have one holder for each key, and no failure', async () => {
      const database = await target.open();
      const results = await lockOnDirtyPools({ options: database.options, locks: LOCKS });
      await database.dispose();
      expect(results.flatMap(({ failures }) => failures)).toEqual([]);
      expect(results.reduce((sum, { granted }) => sum + granted, 0)).toBe(LOCKS);
      for (const { left } of results) expect(left).toBeGreaterThan(LOCKS / 10);
    });
  });

describe('dirty pools', () => {
  it('dirty pools are tested on PostgreSQL, MySQL and MariaDB', () => {
    // Jest refuses a file without a test, and a run may leave these three databases out.
    expect(LOCKS).toBeGreaterThan(0);
  });
});
