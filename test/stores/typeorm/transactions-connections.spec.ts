import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { DataSource, EntityManager } from 'typeorm';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { TcpProxy } from '../tcp-proxy.js';
import { poolOf, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { Writers } from './transactions-fixture.js';

for (const target of targetsAmong('postgres', 'mariadb', 'mysql', 'mysql56'))
  describe(`connections to ${target.name} of transactions under a lock`, () => {
    let writers: Writers;
    let key: string;
    beforeAll(async () => void (writers = await Writers.open(target)));
    beforeEach(() => void (key = newKey()));
    afterAll(() => writers.dispose());

    const opened = async (extra: object) => {
      const application = await writers.fixture.dataSource(extra);
      const store = new TypeOrmLockStore(application);
      const service = new LockService({ options: { ttl: '10s' }, openStore: () => store });
      await service[INTERNALS].start();
      return { application, service };
    };
    const idle = async (application: DataSource, all: number) => {
      while (poolOf(application).idle !== all || poolOf(application).all !== all) await sleep(2);
    };
    const kill = async (manager: EntityManager) => {
      const sql =
        target.name === 'postgres' ? 'SELECT pg_backend_pid() AS id' : 'SELECT CONNECTION_ID() AS id';
      const [{ id }] = await manager.query(sql);
      await writers.thiefs.query(
        target.name === 'postgres' ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`,
      );
    };

    it('B91 a transaction needs only one connection, and returns it to the pool', async () => {
      const { application, service } = await opened({ poolSize: 1 });
      await service.run(key, async (lock) => {
        await lock.transaction((manager: EntityManager) => writers.write(manager, key));
        await expect(
          lock.transaction(async (manager: EntityManager) => {
            await writers.write(manager, key);
            throw new Error('out of stock');
          }),
        ).rejects.toThrow('out of stock');
        await lock.transaction((manager: EntityManager) => writers.write(manager, key));
      });
      expect(await writers.written(key)).toBe(2);
      expect(poolOf(application)).toEqual({ all: 1, idle: 1, waiting: 0 });
      await service[INTERNALS].close();
    });

    if (target.name === 'postgres')
      it('D1 a read-only connection on which the work failed is closed', async () => {
        const { application, service } = await opened({ poolSize: 1 });
        const session = async () => (await application.query('SELECT pg_backend_pid() AS id'))[0].id;
        await service.run(key, async (lock) => {
          const before = await session();
          const refused = lock.transaction(async (manager: EntityManager) => {
            // Makes the server refuse the write, as a server that has become a replica does.
            await manager.query('SET TRANSACTION READ ONLY');
            await writers.write(manager, key);
          });
          await expect(refused).rejects.toMatchObject({ code: '25006' });
          expect(await session()).not.toBe(before);
          await lock.transaction((manager: EntityManager) => writers.write(manager, key));
        });
        expect(await writers.written(key)).toBe(1);
        await service[INTERNALS].close();
      });

    it('B91 with a pool of one connection, work that needs a second connection fails at the time limit', async () => {
      const { application, service } = await opened({ poolSize: 1 });
      const other = await service.acquire(newKey());
      const lock = await service.acquire(key);
      const nested = lock.transaction(async (manager: EntityManager) => {
        await writers.write(manager, key);
        await service.acquire(newKey(), { ttl: '1s' });
      });
      await expect(nested).rejects.toMatchObject({ name: 'LockStoreError' });
      const releasing = lock.transaction(async (manager: EntityManager) => {
        await writers.write(manager, key);
        await other.release();
      });
      await expect(releasing).rejects.toMatchObject({ name: 'LockStoreError' });
      expect(await writers.written(key)).toBe(0);
      expect(await lock.release()).toBe(true);
      await idle(application, 1);
      await service[INTERNALS].close();
    }, 120_000);

    it('B91 two connections serve twelve transactions at once', async () => {
      const { application, service } = await opened({ poolSize: 2 });
      await Promise.all(
        Array.from({ length: 12 }, () =>
          service.run(newKey(), (lock) =>
            lock.transaction(async (manager: EntityManager) => {
              await writers.write(manager, key);
              await sleep(20);
            }),
          ),
        ),
      );
      expect(await writers.written(key)).toBe(12);
      expect(poolOf(application)).toEqual({ all: 2, idle: 2, waiting: 0 });
      await service[INTERNALS].close();
    });

    it('B91 a connection that is cut during the work commits nothing, and is not used again', async () => {
      const { application, service } = await opened({ poolSize: 1 });
      const lock = await service.acquire(key);
      const cut = lock.transaction(async (manager: EntityManager) => {
        await writers.write(manager, key);
        await kill(manager);
      });
      await expect(cut).rejects.toMatchObject({ name: 'LockStoreError', transient: true });
      expect(await writers.written(key)).toBe(0);
      await lock.transaction((manager: EntityManager) => writers.write(manager, key));
      expect(await writers.written(key)).toBe(1);
      expect(await lock.release()).toBe(true);
      await idle(application, 1);
      await service[INTERNALS].close();
    });

    it('B91 a connection that is cut before the answer to the commit leaves an unknown outcome', async () => {
      const proxy = await TcpProxy.open(writers.fixture.target.options as { host: string; port: number });
      const { application, service } = await opened({ host: '127.0.0.1', port: proxy.port, poolSize: 1 });
      const lock = await service.acquire(key);
      // These servers send READ COMMITTED first, which also contains the text COMMIT.
      const setsLevel = target.name === 'postgres' || target.name === 'mariadb';
      proxy.cutAfter('COMMIT', setsLevel ? 2 : 1);
      await expect(
        lock.transaction((manager: EntityManager) => writers.write(manager, key)),
      ).rejects.toMatchObject({
        name: 'LockStoreError',
        message: expect.stringContaining('Could not commit a transaction'),
        transient: true,
      });
      // The server had carried out the commit, although its answer was lost.
      expect(await writers.written(key)).toBe(1);
      expect(await lock.release()).toBe(true);
      await service[INTERNALS].close();
      await application.destroy();
      await proxy.close();
    });

    if (target.name === 'postgres' || target.name === 'mysql')
      // MariaDB and MySQL 5.6 are left out, because their stores use the same driver as MySQL.
      it('B91 a commit that gets no answer fails after the time limit', async () => {
        const proxy = await TcpProxy.open(writers.fixture.target.options as { host: string; port: number });
        const { application, service } = await opened({ host: '127.0.0.1', port: proxy.port, poolSize: 1 });
        const lock = await service.acquire(key, { ttl: '5m' });
        const silent = lock.transaction(async (manager: EntityManager) => {
          await writers.write(manager, key);
          const runner = manager.queryRunner!;
          const commit = runner.commitTransaction.bind(runner);
          runner.commitTransaction = () => {
            proxy.blackHole();
            return commit();
          };
        });
        await expect(silent).rejects.toMatchObject({
          name: 'LockStoreError',
          // The connection may break instead, because PostgreSQL ends an idle guarded
          // transaction at about the same time.
          message: expect.stringMatching(/Could not commit a transaction.*(gave no answer|connection broke)/),
          transient: true,
        });
        expect(poolOf(application).all).toBe(0);
        proxy.heal();
        expect(await lock.release()).toBe(true);
        await service[INTERNALS].close();
        await application.destroy();
        await proxy.close();
      });

    it('B86 the error of a guard does not contain the owner id', async () => {
      const owner = 'capability-0123456789';
      const token = tokenOf(await writers.store.acquire(key, owner, 60_000));
      await writers.thiefs.query('ALTER TABLE locks RENAME TO hidden');
      const error: unknown = await writers.application
        .transaction('READ COMMITTED', (manager) => writers.store.guard(manager, key, owner, token))
        .catch((failure: unknown) => failure);
      await writers.thiefs.query('ALTER TABLE hidden RENAME TO locks');
      expect(error).toMatchObject({ name: 'LockStoreError', cause: expect.anything() });
      const shown = inspect(error, { depth: 10 }).toLowerCase();
      for (const form of [owner, Buffer.from(owner).toString('hex')]) expect(shown).not.toContain(form);
    });

    it('B84 the lock table may be in another schema', async () => {
      const schema =
        target.name === 'postgres' ? `locks_${process.pid}` : String(writers.fixture.target.options.database);
      if (target.name === 'postgres') await writers.application.query(`CREATE SCHEMA ${schema}`);
      const store = new TypeOrmLockStore(writers.application, { schema, table: 'elsewhere' });
      await store.prepare();
      const token = tokenOf(await store.acquire(key, 'holder', 60_000));
      const guarded = () => store.transaction((manager) => store.guard(manager, key, 'holder', token));
      expect(await guarded()).toBe(true);
      await store.release(key, 'holder');
      expect(await guarded()).toBe(false);
    });

    if (target.name !== 'postgres') return;

    it('B91 the server ends an idle guarded transaction when its lease ends, and the key is free', async () => {
      const token = tokenOf(await writers.store.acquire(key, 'holder', 1_500));
      const frozen = writers.application.transaction(async (manager) => {
        await writers.write(manager, key);
        expect(await writers.store.guard(manager, key, 'holder', token)).toBe(true);
        const { fencingToken } = await writers.contender.acquire(key, { wait: '10s' });
        expect(fencingToken).toBeGreaterThan(token);
      });
      await expect(frozen).rejects.toThrow();
      expect(await writers.written(key)).toBe(0);
    });

    it('B91 the idle limit of a guarded transaction is the rest of the lease, from 1 to 10 s', async () => {
      const setting = 'idle_in_transaction_session_timeout';
      const limitAfterGuard = (ttl: number, before = '0') =>
        writers.application.transaction(async (manager) => {
          const own = newKey();
          const token = tokenOf(await writers.store.acquire(own, 'holder', ttl));
          await manager.query(`SET LOCAL ${setting} = '${before}'`);
          expect(await writers.store.guard(manager, own, 'holder', token)).toBe(true);
          const [{ ms }] = await manager.query(
            `SELECT date_part('epoch', current_setting('${setting}')::interval) * 1000 AS ms`,
          );
          return Number(ms);
        });
      expect(await limitAfterGuard(300)).toBe(1_000);
      expect(await limitAfterGuard(5_000)).toBeLessThanOrEqual(5_000);
      expect(await limitAfterGuard(5_000)).toBeGreaterThan(4_000);
      expect(await limitAfterGuard(60_000)).toBe(10_000);
      expect(await limitAfterGuard(Number.MAX_SAFE_INTEGER)).toBe(10_000);
      expect(await limitAfterGuard(60_000, '700ms')).toBe(700);
      expect(await limitAfterGuard(60_000, '2min')).toBe(10_000);
      const settings = await Promise.all(
        Array.from({ length: 10 }, () => writers.application.query(`SHOW ${setting}`)),
      );
      expect(new Set(settings.map(([row]) => row[setting]))).toEqual(new Set(['0']));
    });

    it('B91 a transaction prepares no statements, since a pooler may lose them and abort it', async () => {
      const { application, service } = await opened({ poolSize: 1 });
      const names = () =>
        application.query("SELECT name FROM pg_prepared_statements WHERE name LIKE 'nestjs-locked:%'");
      const lock = await service.acquire(key);
      await lock.extend();
      const before = await names();
      await lock.transaction(async (manager: EntityManager) => {
        await manager.query('DEALLOCATE ALL');
        await writers.write(manager, key);
      });
      expect(before).not.toEqual([]);
      expect(await names()).toEqual([]);
      expect(await writers.written(key)).toBe(1);
      await lock.release();
      await service[INTERNALS].close();
    });
  });
