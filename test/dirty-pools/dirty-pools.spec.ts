import { describe, expect, it } from '@jest/globals';
import { sqlTargets } from '../servers/targets.js';
import { lockOnDirtyPools } from './dirty-pools.mjs';

// This spec acquires few locks to be fast; `npm run dirty-pools` acquires 10,000.
const LOCKS = 120;

for (const target of sqlTargets().filter(({ name }) => ['postgres', 'mysql', 'mariadb'].includes(name)))
  describe(`pools of ${target.name} with a third of dirty connections`, () => {
    it('A1 two processes on dirty pools never hold a key at the same time, and no acquisition fails', async () => {
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
    // Jest fails a file without tests, and LOCK_TEST_STORES may leave out these three
    // databases.
    expect(LOCKS).toBeGreaterThan(0);
  });
});
