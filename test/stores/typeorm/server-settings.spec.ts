import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { start } from '../../servers/mariadb.mjs';
import { newKey, tokenOf } from '../keys.js';
import { poolOf, targetsAmong } from './fixture.js';

const TTL = 60_000;

// This spec starts a server of its own, because changed settings of a shared server would
// affect other specs.
for (const target of targetsAmong('mariadb'))
  describe(`settings of a ${target.name} server`, () => {
    let server: Awaited<ReturnType<typeof start>>;
    let admin: DataSource;
    const opened: DataSource[] = [];
    beforeAll(async () => {
      server = await start();
      admin = await connected();
    });
    afterAll(async () => {
      for (const dataSource of opened) await dataSource.destroy();
      await server.stop();
    });

    const connected = async () => {
      const dataSource = await new DataSource({ type: 'mariadb', url: server.url, poolSize: 3 }).initialize();
      opened.push(dataSource);
      return dataSource;
    };
    const cycle = async (store: TypeOrmLockStore) => {
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', TTL));
      expect(await store.renew(key, 'o', TTL)).toBe(true);
      expect(await store.release(key, 'o')).toBe(true);
    };

    it('A1 the start fails after SET GLOBAL autocommit = 0, and no connection is closed', async () => {
      const before = new TypeOrmLockStore(admin);
      await before.prepare();
      await admin.query('SET GLOBAL autocommit = 0');
      const application = await connected();
      const [{ id }] = await application.query('SELECT CONNECTION_ID() AS id');
      await expect(new TypeOrmLockStore(application).prepare()).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/SET GLOBAL autocommit = 1/),
      });
      expect(await application.query('SELECT CONNECTION_ID() AS id')).toEqual([{ id }]);
      // This store still works, because its connections were opened before the change of the
      // setting.
      await cycle(before);

      // If the setting changes after the start of a store, the error of the next operation
      // names the setting.
      const later = await connected();
      await admin.query('SET GLOBAL autocommit = 1');
      const store = new TypeOrmLockStore(later);
      await store.prepare();
      await admin.query('SET GLOBAL autocommit = 0');
      const runner = later.createQueryRunner();
      (await runner.connect()).destroy();
      await runner.release();
      await expect(store.acquire(newKey(), 'o', TTL)).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringMatching(/autocommit off.*SET GLOBAL autocommit = 0/),
      });
      await admin.query('SET GLOBAL autocommit = 1');
      await cycle(store);
      expect(poolOf(later).waiting).toBe(0);
    });

    it('R6 the store works without prepared statements when the server accepts no further prepared statements', async () => {
      await admin.query('SET GLOBAL max_prepared_stmt_count = 0');
      const warnings: string[] = [];
      const store = new TypeOrmLockStore(await connected());
      store.onWarning((topic) => warnings.push(topic));
      await store.prepare();
      await cycle(store);
      await cycle(store);
      await admin.query('SET GLOBAL max_prepared_stmt_count = 16382');
      expect(warnings.filter((topic) => topic === 'prepared statements')).toHaveLength(1);
    });

    it('A6 if the server logs statements (binlog_format), the store checks the clock of the session before each grant', async () => {
      const logging = await start({ 'log-bin': 'log', 'binlog-format': 'STATEMENT', 'server-id': 1 });
      const application = await new DataSource({
        type: 'mariadb',
        url: logging.url,
        poolSize: 1,
      }).initialize();
      const store = new TypeOrmLockStore(application);
      await store.prepare();
      await cycle(store);
      const key = newKey();
      tokenOf(await store.acquire(key, 'first', TTL));
      await application.query('SET timestamp = UNIX_TIMESTAMP() + 3600');
      expect(await store.acquire(key, 'second', TTL)).toMatchObject({ acquired: false, reason: 'held' });
      expect(await store.renewMany([{ key, owner: 'first', ttl: TTL }])).toEqual(['renewed']);
      await application.destroy();
      await logging.stop();
    });
  });
