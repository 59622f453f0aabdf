import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey, tokenOf } from '../keys.js';
import { Fixture, targetsAmong } from './fixture.js';

const TTL = 60_000;
const ROUNDS = 150;

for (const target of targetsAmong('sqlite'))
  describe('A7 tokens on SQLite, whose clock counts milliseconds', () => {
    let fixture: Fixture;
    let application: DataSource;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      // Without a wait for the disk, a delete takes less than a millisecond, as the test
      // needs.
      await application.query('PRAGMA synchronous = OFF');
    });
    afterAll(() => fixture.dispose());

    const rounds = async (
      remove: (key: string, store: TypeOrmLockStore) => Promise<unknown>,
      // Weak locks are used because they do not wait for the disk, so that a grant takes less
      // than a millisecond.
      options: { weak: boolean } = { weak: true },
    ) => {
      const stores = [new TypeOrmLockStore(application, options), new TypeOrmLockStore(application, options)];
      for (const store of stores) await store.prepare();
      const key = newKey();
      const tokens: number[] = [];
      for (let round = 0; round < ROUNDS; round++)
        for (const store of stores) {
          for (let pair = 0; pair < 3; pair++) {
            tokens.push(tokenOf(await store.acquire(key, 'o', TTL)));
            await store.release(key, 'o');
          }
          await remove(key, store);
        }
      await Promise.all(stores.map((store) => store.close()));
      return tokens;
    };
    const falls = (tokens: number[]) => tokens.filter((token, i) => i > 0 && token <= Number(tokens[i - 1]));

    it('A7 tokens grow after rows were deleted by hand within the same millisecond', async () => {
      const one = (key: string) => application.query('DELETE FROM locks_weak WHERE key = ?', [key]);
      expect(falls(await rounds(one))).toEqual([]);
      expect(falls(await rounds(() => application.query('DELETE FROM locks_weak')))).toEqual([]);
    });

    it('A7 tokens grow after a purge', async () => {
      expect(falls(await rounds((_, store) => store.purge({ olderThan: 0 })))).toEqual([]);
    });

    it('A7 tokens grow after a key without a row is paused and resumed', async () => {
      const removed = async (key: string, store: TypeOrmLockStore) => {
        await application.query('DELETE FROM locks_weak WHERE key = ?', [key]);
        await store.pause(key);
        await store.resume(key);
      };
      expect(falls(await rounds(removed))).toEqual([]);
    });

    it('A7 tokens grow in a table that an earlier version has created, even after its rows are deleted', async () => {
      await application.query(TypeOrmLockStore.ddl('sqlite', { table: 'earlier' }));
      const store = new TypeOrmLockStore(application, { table: 'earlier', autoCreate: false });
      await store.prepare();
      // This token is ahead of the clock, as after many grants within a moment.
      const ahead = (Date.now() + 60_000) * 1000;
      await application.query(`INSERT INTO earlier (key, token, expires_ms) VALUES ('k', ?, 0)`, [ahead]);
      await application.query('DELETE FROM earlier');
      await application.query('DELETE FROM earlier');
      expect(tokenOf(await store.acquire('k', 'o', TTL))).toBe(ahead + 1);
      expect((await store.list({ limit: 10 })).locks).toMatchObject([{ key: 'k' }]);
    });

    it('A7 the store forgets the token of a deleted row after the clock has passed the token', async () => {
      const store = await fixture.store();
      await store.acquire('passed', 'o', TTL);
      await application.query(`UPDATE locks SET token = 1`);
      await application.query('DELETE FROM locks');
      expect(await application.query('SELECT * FROM locks')).toEqual([]);
    });
  });
