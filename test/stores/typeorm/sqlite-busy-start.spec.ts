import { describe, expect, it } from '@jest/globals';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, targetsAmong } from './fixture.js';
import { Database } from './sqlite-driver.js';

for (const target of targetsAmong('sqlite'))
  describe('a SQLite file that is busy when a store opens', () => {
    it('B10 a store waits for the file at its start, because another process may be recovering it after a crash', async () => {
      const fixture = await Fixture.open(target);
      const application = await fixture.dataSource();
      const other = new Database(fixture.target.options.database, { timeout: 0 });
      // This lock keeps other connections even from reading, because a new file has no
      // write-ahead log yet.
      other.exec('BEGIN EXCLUSIVE');
      const store = new TypeOrmLockStore(application);
      const preparing = store.prepare();
      let prepared = false;
      void preparing.then(
        () => (prepared = true),
        () => (prepared = true),
      );
      await new Promise((resolve) => setImmediate(resolve));
      expect(prepared).toBe(false);
      other.exec('ROLLBACK');
      await preparing;
      other.close();
      await store.close();
      await fixture.dispose();
    });
  });
