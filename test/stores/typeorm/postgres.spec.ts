import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { OnceRequest } from '../../../lib/interfaces/lock-store.interface.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { cycle, Fixture, onEachConnection, recordStatements, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const TTL = 60_000;

for (const target of targetsAmong('postgres'))
  describe('lock store on PostgreSQL', () => {
    let fixture: Fixture;
    beforeAll(async () => void (fixture = await Fixture.open(target)));
    afterAll(() => fixture.dispose());

    const opened = async (): Promise<{ application: DataSource; store: TypeOrmLockStore }> => {
      const application = await fixture.dataSource({ poolSize: 1 });
      const store = new TypeOrmLockStore(application);
      await store.prepare();
      return { application, store };
    };
    const prepared = async (application: DataSource): Promise<string[]> => {
      const rows: { name: string }[] = await application.query('SELECT name FROM pg_prepared_statements');
      return rows.map(({ name }) => name).filter((name) => name.startsWith('nestjs-locked:'));
    };

    it('B15 each statement is prepared once, under a name', async () => {
      const { application, store } = await opened();
      await cycle(store);
      const names = await prepared(application);
      // There are five statements, because acquiring a new key takes two of them.
      expect(names).toHaveLength(5);
      await cycle(store);
      expect(await prepared(application)).toEqual(names);
    });

    it('B8 after a pooler has forgotten prepared statements (26000), the store sends it unnamed statements', async () => {
      const { application, store } = await opened();
      await cycle(store);
      await application.query('DEALLOCATE ALL');
      await cycle(store);
      expect(await prepared(application)).toEqual([]);
      const statements = recordStatements(application);
      await cycle(store);
      expect(statements).toHaveLength(5); // No statement had to be repeated.
    });

    it('B8 after a pooler has reported a name as taken (42P05), the store sends it unnamed statements', async () => {
      const first = await opened();
      await cycle(first.store);
      const names = await prepared(first.application);
      const { application, store } = await opened();
      for (const name of names) await onEachConnection(application, `PREPARE "${name}" AS SELECT 1`);
      await cycle(store);
      const statements = recordStatements(application);
      await cycle(store);
      expect(statements).toHaveLength(5);
    });

    it('R8 altering a column does not break prepared statements', async () => {
      const { application, store } = await opened();
      const key = newKey();
      // From the sixth execution on, the server may keep one plan for the statement, which an
      // altered column makes invalid.
      for (let i = 0; i < 6; i++) await store.acquire(key, 'o', TTL);
      await application.query('ALTER TABLE locks ALTER COLUMN label TYPE text');
      expect(await store.acquire(key, 'other', TTL)).toMatchObject({ reason: 'held' });
    });

    it('B15 an attempt on a held key does not write to the row of the key', async () => {
      const { application, store } = await opened();
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', TTL));
      const version = () => application.query('SELECT ctid, xmin, xmax FROM locks WHERE key = $1', [key]);
      const before = await version();
      for (let i = 0; i < 3; i++)
        expect(await store.acquire(key, `other${i}`, TTL)).toMatchObject({ reason: 'held' });
      expect(await version()).toEqual(before);
    });

    it('B76 an attempt on a finished tick or a paused key does not write to the row of the key', async () => {
      const { application, store } = await opened();
      const key = newKey();
      const tick = Date.now() - TTL;
      tokenOf(await store.acquire(key, 'o', TTL, { once: { tick, ahead: TTL } }));
      expect(await store.release(key, 'o')).toBe(true);
      const version = () => application.query('SELECT ctid, xmin, xmax FROM locks WHERE key = $1', [key]);
      const refused = async (reason: string, once: OnceRequest) => {
        const before = await version();
        for (let i = 0; i < 3; i++)
          expect(await store.acquire(key, `other${i}`, TTL, { once, stealAfter: 1 })).toMatchObject({
            reason,
          });
        expect(await version()).toEqual(before);
      };
      await refused('tick-done', { tick, ahead: TTL });
      await refused('tick-ahead', { tick: Date.now() + 3 * TTL * TTL, ahead: TTL });
      await store.pause(key);
      await refused('paused', { tick: tick + 1, ahead: TTL });
    });

    it('B38 the store returns numbers as numbers, whichever parsers the application has set', async () => {
      const { types } = ((await opened()).application.driver as any).postgres;
      const parse = types.getTypeParser(20);
      for (const parser of [BigInt, Number, String])
        try {
          types.setTypeParser(20, parser);
          const { store } = await opened();
          const key = newKey();
          const token = tokenOf(await store.acquire(key, 'o', TTL));
          expect(await store.inspect(key)).toMatchObject({
            state: 'held',
            holder: { fencingToken: token, key },
          });
          expect(Number.isSafeInteger(token)).toBe(true);
        } finally {
          types.setTypeParser(20, parse);
        }
    });
  });
