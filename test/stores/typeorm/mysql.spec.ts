import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { breaking, Fixture, onEachConnection, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';

const TTL = 60_000;

for (const target of targetsAmong('mysql', 'mariadb', 'mysql56'))
  describe(`lock store on ${target.name}`, () => {
    let fixture: Fixture;
    beforeAll(async () => void (fixture = await Fixture.open(target)));
    afterAll(() => fixture.dispose());

    it('B41 connections with latin1 and with utf8mb4 share the locks and labels of a key', async () => {
      const latin1 = await fixture.store({ charset: 'latin1_swedish_ci' });
      const utf8mb4 = await fixture.store({ charset: 'utf8mb4_unicode_ci' });
      const key = `Käse-${newKey()}-🧀`;
      tokenOf(await latin1.acquire(key, 'eins-ß', TTL, { label: 'Wörker 🔒' }));
      expect(await utf8mb4.acquire(key, 'zwei', TTL)).toMatchObject({
        reason: 'held',
        holder: { key, label: 'Wörker 🔒' },
      });
      expect(await utf8mb4.renewMany([{ key, owner: 'eins-ß', ttl: TTL }])).toEqual(['renewed']);
      expect(await utf8mb4.release(key, 'eins-ß')).toBe(true);
      expect(await latin1.inspect(key)).toMatchObject({ state: 'free', lastRun: { label: 'Wörker 🔒' } });
      expect((await latin1.list({ prefix: 'Käse', limit: 10 })).locks).toEqual([]);
    });

    it.each([
      'ANSI_QUOTES,NO_BACKSLASH_ESCAPES,STRICT_ALL_TABLES',
      ...(target.name === 'mariadb' ? ['SIMULTANEOUS_ASSIGNMENT', 'ORACLE'] : []),
      '',
    ])(
      'B46 the take-over of an expired lock and a release keep the data of the last run in the SQL mode "%s"',
      async (mode) => {
        const application = await fixture.dataSource();
        await onEachConnection(application, `SET SESSION sql_mode = '${mode}'`);
        const store = new TypeOrmLockStore(application);
        const key = newKey();
        tokenOf(await store.acquire(key, 'one', 50, { label: 'first' }));
        while ((await store.inspect(key)).state === 'held');
        const token = tokenOf(await store.acquire(key, 'two', TTL, { label: 'second' }));
        const taken = await store.inspect(key);
        expect(taken).toMatchObject({
          holder: { label: 'second', fencingToken: token },
          lastRun: { label: 'first', outcome: 'failed' },
        });
        const { startedAt, endedAt } = taken.lastRun ?? {};
        expect((endedAt?.getTime() ?? 0) - (startedAt?.getTime() ?? 0)).toBe(50);
        expect(await store.renew(key, 'two', TTL)).toBe(true);
        expect(await store.release(key, 'two', { outcome: 'failed' })).toBe(true);
        expect(await store.inspect(key)).toMatchObject({
          state: 'free',
          lastRun: { label: 'second', outcome: 'failed' },
        });
      },
    );

    it.each([
      { supportBigNumbers: false, bigNumberStrings: false },
      { supportBigNumbers: true, bigNumberStrings: false },
      { extra: { decimalNumbers: true, namedPlaceholders: true } },
      { extra: { rowsAsArray: true } },
      { extra: { typeCast: () => 'mangled' } },
      { flags: ['-FOUND_ROWS'] },
      { timezone: '+05:30', dateStrings: true },
    ])('B38 the store works with the driver options %j', async (options) => {
      // TypeORM cannot start with some of these options, so they only apply to sessions that
      // the pool opens later.
      const { extra, ...own } = options as any;
      const application = await fixture.dataSource({ poolSize: 1, ...own });
      const { pool } = application.driver as any;
      Object.assign(pool.config.connectionConfig, extra);
      const { _allConnections: connections } = pool;
      connections.get(0).destroy();
      const store = new TypeOrmLockStore(application);
      const key = newKey();
      const token = tokenOf(await store.acquire(key, 'o', TTL, { label: 'me' }));
      expect(await store.inspect(key)).toMatchObject({
        state: 'held',
        holder: { key, label: 'me', fencingToken: token },
      });
      expect(await store.acquire(key, 'p', TTL)).toMatchObject({ reason: 'held' });
      expect(
        await store.renewMany([
          { key, owner: 'o', ttl: TTL },
          { key, owner: 'p', ttl: TTL },
        ]),
      ).toEqual(['renewed', 'lost']);
      expect(await store.release(key, 'o')).toBe(true);
    });

    it('B83 the store leaves the lock wait timeout of a session as it was, even after a failure', async () => {
      const application = await fixture.dataSource({ poolSize: 1 });
      await onEachConnection(application, 'SET SESSION innodb_lock_wait_timeout = 7');
      const store = new TypeOrmLockStore(application);
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', TTL));
      await store.renew(key, 'o', TTL);
      await store.renewMany([{ key, owner: 'o', ttl: TTL }]);
      await application.query(breaking(target).breakIt);
      await expect(store.release(key, 'o')).rejects.toMatchObject({ name: 'LockStoreError' });
      await application.query(breaking(target).mend);
      await store.release(key, 'o');
      const [{ wait }] = await application.query('SELECT @@SESSION.innodb_lock_wait_timeout AS wait');
      expect(Number(wait)).toBe(7);
    });
  });
