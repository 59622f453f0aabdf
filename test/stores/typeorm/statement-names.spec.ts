import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { TypeOrmLockStore, type TypeOrmLockStoreOptions } from '../../../lib/stores/typeorm/index.js';
import { startPgBouncer } from '../../servers/pgbouncer.mjs';
import { newKey, tokenOf } from '../keys.js';
import { cycle, Fixture, recordStatements, targetsAmong } from './fixture.js';

const TTL = 60_000;

for (const target of targetsAmong('postgres'))
  describe('prepared statements of PostgreSQL', () => {
    let fixture: Fixture;
    beforeAll(async () => void (fixture = await Fixture.open(target)));
    afterAll(() => fixture.dispose());

    const opened = async (extra: object = {}, options: TypeOrmLockStoreOptions = {}) => {
      const application = await fixture.dataSource({ poolSize: 1, ...extra });
      const warnings: string[] = [];
      const store = new TypeOrmLockStore(application, options);
      store.onWarning((topic) => warnings.push(topic));
      await store.prepare();
      return { application, store, warnings };
    };
    const namesIn = async (application: DataSource) => {
      const rows: { name: string }[] = await application.query('SELECT name FROM pg_prepared_statements');
      return rows.map(({ name }) => name).toSorted();
    };

    it('E19 prepared statements have names that people can read', async () => {
      const { application, store } = await opened();
      await cycle(store);
      expect(await namesIn(application)).toEqual([
        'nestjs-locked:acquire',
        'nestjs-locked:acquire-new',
        'nestjs-locked:release',
        'nestjs-locked:renew',
        'nestjs-locked:renew-many',
      ]);
    });

    it('E19 names of prepared statements get a suffix when two stores with different tables share a connection', async () => {
      const { application, store } = await opened();
      const second = new TypeOrmLockStore(application, { table: 'other_locks' });
      await second.prepare();
      for (let i = 0; i < 2; i++) {
        await cycle(store);
        await cycle(second);
      }
      const acquire = (await namesIn(application)).filter((name) => /:acquire(:|$)/.test(name));
      expect(acquire).toEqual([
        'nestjs-locked:acquire',
        expect.stringMatching(/^nestjs-locked:acquire:[0-9a-f]{8}$/),
      ]);
    });

    it('B83 many stores on one DataSource add only one listener to each connection', async () => {
      const { application, store } = await opened();
      for (let i = 0; i < 20; i++) await new TypeOrmLockStore(application).prepare();
      await cycle(store);
      const runner = application.createQueryRunner();
      const { connection } = await runner.connect();
      await runner.release();
      // There are two listeners: one of pg, and one of all stores together.
      expect(connection.listenerCount('readyForQuery')).toBe(2);
      expect(connection.listenerCount('parameterStatus')).toBe(1);
    });

    it('R8 after a column has changed (0A000), only one statement is sent without its name, and the store warns once', async () => {
      const { application, store, warnings } = await opened({}, { table: 'changing_locks' });
      await cycle(store);
      const key = newKey();
      expect(await store.inspect(key)).toMatchObject({ state: 'free' });
      await application.query('ALTER TABLE changing_locks ALTER COLUMN last_label TYPE text');
      for (let i = 0; i < 3; i++) expect(await store.inspect(key)).toMatchObject({ state: 'free' });
      await cycle(store);
      expect(warnings.filter((topic) => topic.startsWith('prepared statement'))).toEqual([
        'prepared statement inspect',
      ]);
      const statements = recordStatements(application);
      await cycle(store);
      await store.inspect(key);
      // No statement was repeated. The first acquisition of a new key takes two.
      expect(statements).toHaveLength(6);
      await application.query('DEALLOCATE "nestjs-locked:renew"');
      statements.length = 0;
      await store.renew(key, 'o', TTL);
      // The additional statement shows that the store tried its statement by name first.
      expect(statements.length).toBeGreaterThan(2);
    });
  });

for (const target of targetsAmong('postgres'))
  describe('locks behind PgBouncer in statement mode', () => {
    it('R11 the start fails with a permanent error, which names the pool mode to use', async () => {
      const fixture = await Fixture.open(target);
      const server = fixture.target.options as Parameters<typeof startPgBouncer>[0];
      const pooler = await startPgBouncer(server, { poolMode: 'statement' });
      const { hostname: host, port } = new URL(pooler.url);
      await expect(fixture.store({ host, port: Number(port) })).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: false,
        message: expect.stringMatching(/pooler .* statement mode.*pool_mode = transaction/),
      });
      await fixture.dispose();
      await pooler.stop();
    });

    it('E19 behind a pooler, the names of prepared statements end with a hash, so that no client runs the statement of another client', async () => {
      const fixture = await Fixture.open(target);
      const server = fixture.target.options as Parameters<typeof startPgBouncer>[0];
      const pooler = await startPgBouncer(server, { poolSize: 1 });
      const { hostname: host, port } = new URL(pooler.url);
      const there = { host, port: Number(port), poolSize: 1 };
      const [first, second] = [
        await fixture.store(there),
        await fixture.store(there, { table: 'other_locks' }),
      ];
      const key = newKey();
      // Both stores use the same session, because the pooler has only one.
      tokenOf(await first.acquire(key, 'o', TTL));
      expect(await second.inspect(key)).toMatchObject({ state: 'free' });
      tokenOf(await second.acquire(key, 'o', TTL));
      expect(await first.inspect(key)).toMatchObject({ state: 'held' });
      await fixture.dispose();
      await pooler.stop();
    });
  });
