import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource, type DataSourceOptions } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmSessionLockStore } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { start as startMariadb } from '../../servers/mariadb.mjs';
import type { Target } from '../../servers/targets.js';
import { targetsAmong } from '../typeorm/fixture.js';
import { newKey } from '../keys.js';
import { SessionFixture } from './fixture.js';

type Opened = Pick<Target, 'options' | 'dispose'>;

/** MariaDB lists session locks only if its performance schema is switched on. */
const tellingMariadb = {
  name: 'mariadb with performance_schema',
  async open(): Promise<Opened> {
    const server = await startMariadb({
      'performance-schema': 'ON',
      'performance-schema-instrument': 'wait/lock/metadata/sql/mdl=ON',
    });
    const { hostname: host, port, username, password, pathname } = new URL(server.url);
    const database = pathname.slice(1);
    const options = { type: 'mariadb', host, port: Number(port), username, password, database } as const;
    return { options, dispose: () => server.stop() };
  },
};

const telling: { name: string; open(): Promise<Opened> }[] = targetsAmong('postgres', 'mysql', 'mariadb').map(
  (target) => (target.name === 'mariadb' ? tellingMariadb : target),
);

for (const target of telling)
  describe(`session locks that ${target.name} lists`, () => {
    let fixture: SessionFixture;
    let locks: LockService;

    beforeAll(async () => {
      Logger.overrideLogger(false);
      fixture = await SessionFixture.open(target);
      const store = new TypeOrmSessionLockStore(fixture.application);
      locks = new LockService({ options: { prefix: 'app', label: 'api-7:42' }, openStore: () => store });
      await locks[INTERNALS].start();
    });
    afterAll(async () => {
      await locks[INTERNALS].close();
      await fixture.dispose();
    });

    it('B70 a list shows the holder, the start, the token and the number of waiters', async () => {
      const before = Date.now() - 60_000;
      const lock = await locks.acquire(newKey());
      const other = await fixture.store();
      const waiting = other.acquire(`app:${lock.key}`, 'next', 1000, { wait: Infinity });
      await fixture.waiting(`app:${lock.key}`);
      const { locks: listed } = await locks.admin.list();
      expect(listed).toEqual([
        {
          key: lock.key,
          label: 'api-7:42',
          fencingToken: lock.fencingToken,
          startedAt: expect.any(Date),
          renewedAt: expect.any(Date),
          expiresAt: null,
          remaining: Infinity,
          waiters: 1,
        },
      ]);
      expect(listed[0]?.startedAt.getTime()).toBeGreaterThan(before);
      expect(await locks.admin.inspect(lock.key)).toMatchObject({
        state: 'held',
        holder: { label: 'api-7:42' },
      });
      // extend() sends a statement of the heartbeat, which must not change the list.
      await lock.extend();
      expect((await locks.admin.list()).locks).toEqual(listed);
      await lock.release();
      await waiting;
      expect(await locks.admin.inspect(lock.key)).toMatchObject({ holder: { label: null, waiters: 0 } });
      await other.release(`app:${lock.key}`, 'next');
      expect(await locks.admin.inspect(lock.key)).toEqual({ state: 'free', key: lock.key });
      expect(await locks.admin.list()).toEqual({ locks: [] });
    });

    it('B22 a refusal names the holder', async () => {
      const lock = await locks.acquire(newKey());
      await expect(locks.acquire(lock.key)).rejects.toThrow(/held by api-7:42 since .*it never expires/);
      await lock.release();
    });

    it('B70 session locks that the application acquires with its own SQL are not listed', async () => {
      // The pool of the application has one connection, so that both statements run in the
      // same session.
      const { application } = fixture;
      await application.query(fixture.postgres ? 'SELECT pg_advisory_lock(42)' : `SELECT GET_LOCK('42', 0)`);
      expect(await locks.admin.list()).toEqual({ locks: [] });
      await application.query(
        fixture.postgres ? 'SELECT pg_advisory_unlock(42)' : `SELECT RELEASE_LOCK('42')`,
      );
    });

    if (target.name === 'postgres')
      it('B70 a list fails if it hides locks of another role, unless those locks have another prefix', async () => {
        const { application, options } = fixture;
        const role = `reader_${process.pid}`;
        await application.query(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`);
        const stranger = await new DataSource({
          ...options,
          username: role,
          password: 'secret',
        } as DataSourceOptions).initialize();
        const store = new TypeOrmSessionLockStore(stranger);
        const lock = await locks.acquire(newKey());
        const hidden =
          /PostgreSQL does not show the holders of session locks to this role\. .* GRANT pg_read_all_stats/;
        await expect(store.inspect(`app:${lock.key}`)).rejects.toThrow(hidden);
        await expect(store.list({ prefix: 'app:', limit: 10 })).rejects.toThrow(hidden);
        expect(await store.list({ prefix: 'another:', limit: 10 })).toEqual({ locks: [] });
        expect(await store.acquire(`app:${lock.key}`, 'owner', 1000)).toEqual({
          acquired: false,
          reason: 'held',
        });
        await application.query(`GRANT pg_read_all_stats TO ${role}`);
        expect(await store.inspect(`app:${lock.key}`)).toMatchObject({ state: 'held' });
        await lock.release();
        await store.close();
        await stranger.destroy();
        await application.query(`DROP ROLE ${role}`);
      });

    if (target !== tellingMariadb) return;
    // conformance.spec.ts runs the conformance suite on the other servers.
    const options = { maxConnections: 40 };
    for (const { name, run } of lockStoreConformance(
      () => new TypeOrmSessionLockStore(fixture.application, options),
      { without: ['leases'] },
    ))
      it(name, run);
  });

for (const target of targetsAmong('mariadb', 'mysql56'))
  describe(`session locks that ${target.name} with its default settings does not list`, () => {
    let fixture: SessionFixture;
    beforeAll(async () => {
      fixture = await SessionFixture.open(target);
    });
    afterAll(() => fixture.dispose());

    it('B70 the list of locks fails with an error that names the next step', async () => {
      const store = await fixture.store();
      const what =
        target.name === 'mariadb'
          ? /does not show the holders of session locks\. Start it with performance_schema = ON and performance-schema-instrument = 'wait\/lock\/metadata\/sql\/mdl=ON'/
          : /MySQL 5\.6\.\S+ does not show the holders of session locks\. That needs MySQL 5\.7/;
      await expect(store.list({ limit: 1 })).rejects.toThrow(what);
      const key = newKey();
      expect(await store.inspect(key)).toEqual({ state: 'free', key });
      await store.acquire(key, 'owner', 1000);
      await expect(store.inspect(key)).rejects.toThrow(what);
      expect(await store.acquire(key, 'other', 1000)).toEqual({ acquired: false, reason: 'held' });
      expect(await store.forceRelease(key)).toBe(true);
      expect(await store.inspect(key)).toEqual({ state: 'free', key });
    });
  });
