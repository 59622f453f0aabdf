import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource } from 'typeorm';
import type { SqlLockStore } from '../../../lib/stores/sql/index.js';
import { breaking, CLIENTS, Fixture, poolOf, sqlOf, storeOver, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';

// A late error of an abandoned request would fail its test, because Jest reports promises that
// reject without a handler.
for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe.each(CLIENTS)(`connections to ${target.name} over %s`, (client) => {
    let fixture: Fixture;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
    });
    afterAll(async () => {
      await fixture.dispose();
    });

    const opened = async (extra: object): Promise<{ application: DataSource; store: SqlLockStore }> => {
      const application = await fixture.dataSource(extra);
      const store = storeOver(client, application);
      await store.prepare();
      return { application, store };
    };
    /** Opens a store behind a proxy, with a pool of one connection. */
    const proxied = async () => {
      const proxy = await TcpProxy.open(fixture.target.options as { host: string; port: number });
      const parts = await opened({ host: '127.0.0.1', port: proxy.port, poolSize: 1 });
      return { ...parts, proxy };
    };
    const idle = async (application: DataSource, all: number) => {
      while (poolOf(application).idle !== all || poolOf(application).all !== all) await sleep(2);
    };

    it("B77 a rollback of the caller's transaction does not undo the lock", async () => {
      const { application, store } = await opened({});
      const key = newKey();
      const runner = application.createQueryRunner();
      await runner.startTransaction();
      await runner.query(sqlOf(target).row, [sqlOf(target).bytes(key)]);
      tokenOf(await store.acquire(key, 'owner', 60_000));
      await runner.rollbackTransaction();
      await runner.release();
      expect(await store.inspect(key)).toMatchObject({ state: 'held' });
      expect(await store.release(key, 'owner')).toBe(true);
    });

    it('B48 acquisitions that succeed, are refused or fail leave as many connections as before', async () => {
      const { application, store } = await opened({ poolSize: 3 });
      const key = newKey();
      await Promise.all([1, 2, 3].map(() => store.inspect(key)));
      expect(poolOf(application)).toEqual({ all: 3, idle: 3, waiting: 0 });

      tokenOf(await store.acquire(key, 'owner', 60_000));
      await Promise.all(Array.from({ length: 20 }, (_, i) => store.acquire(key, `other${i}`, 60_000)));
      expect(poolOf(application)).toEqual({ all: 3, idle: 3, waiting: 0 });

      await application.query(breaking(target).breakIt);
      const failures = await Promise.allSettled(
        [1, 2, 3, 4, 5].map(() => store.acquire(key, 'other', 60_000)),
      );
      await application.query(breaking(target).mend);
      expect(failures.map((one) => one.status === 'rejected' && one.reason)).toEqual(
        Array(5).fill(expect.objectContaining({ name: 'LockStoreError', transient: false })),
      );
      expect(poolOf(application)).toEqual({ all: 3, idle: 3, waiting: 0 });
      // The release shows that all connections of the pool still work.
      expect(await store.release(key, 'owner')).toBe(true);
    });

    it('B15 a pool of one connection serves fifty callers', async () => {
      const { application, store } = await opened({ poolSize: 1 });
      const keys = Array.from({ length: 50 }, newKey);
      const work = keys.map(async (key) => {
        tokenOf(await store.acquire(key, 'o', 60_000));
        return store.release(key, 'o');
      });
      expect(await Promise.all(work)).toEqual(keys.map(() => true));
      expect(poolOf(application)).toEqual({ all: 1, idle: 1, waiting: 0 });
    });

    it('B27 a pool without a free connection causes a transient failure, and later gets all of its connections back', async () => {
      const { application, store } = await opened({ poolSize: 1 });
      const runner = application.createQueryRunner();
      await runner.connect();
      await expect(store.acquire(newKey(), 'o', 300, { timeout: 1_000 })).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
        message: expect.stringMatching(/gave no answer within \d+ ms.*size of the connection pool/),
      });
      expect(poolOf(application)).toMatchObject({ idle: 0, waiting: 1 });
      // The request that has given up gets the connection now, and has to return it to the
      // pool.
      await runner.release();
      await idle(application, 1);
      tokenOf(await store.acquire(newKey(), 'o', 60_000));
    });

    it('B27 a server that does not answer causes a transient failure, and its connection is not used again', async () => {
      const { application, store, proxy } = await proxied();
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', 60_000));
      proxy.blackHole();
      await expect(store.renew(key, 'o', 300, { timeout: 1_000 })).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
      });
      expect(poolOf(application).all).toBe(0);

      proxy.heal();
      const before = proxy.accepted;
      expect(await store.renew(key, 'o', 60_000)).toBe(true);
      expect(proxy.accepted).toBe(before + 1);
      await application.destroy();
      await proxy.close();
    });

    it('B27 after a connection is cut before the answer, a repeated request gets the same lock', async () => {
      const { application, store, proxy } = await proxied();
      for (const known of [false, true]) {
        const key = newKey();
        if (known) {
          tokenOf(await store.acquire(key, 'before', 60_000));
          await store.release(key, 'before');
        }
        const owner = `owner-of-${key}`;
        // Prepares the statements, so that the next request on the connection is the
        // acquisition itself.
        tokenOf(await store.acquire(newKey(), 'warm', 60_000));
        // The first statement of an acquisition looks for the row. If the key is new, a second
        // statement inserts it.
        proxy.cutAfter(owner, known ? 1 : 2);
        await expect(store.acquire(key, owner, 60_000)).rejects.toMatchObject({
          name: 'LockStoreError',
          transient: true,
        });

        const found = await store.inspect(key);
        // The server had carried out the acquisition, although its answer was lost.
        expect(found).toMatchObject({ state: 'held' });
        expect(await store.acquire(key, owner, 60_000)).toMatchObject({ acquired: false, reason: 'held' });
        expect(await store.acquire(key, owner, 60_000, { resend: true })).toEqual({
          acquired: true,
          fencingToken: found.state === 'held' && found.holder.fencingToken,
        });
        expect(await store.release(key, owner)).toBe(true);
      }
      await application.destroy();
      await proxy.close();
    });

    it('B75 a server that goes away causes a transient failure', async () => {
      const { application, store, proxy } = await proxied();
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', 60_000));
      await proxy.close();
      const failure: any = await store.renew(key, 'o', 60_000).catch((error: unknown) => error);
      expect(failure).toMatchObject({ name: 'LockStoreError', transient: true });
      expect(failure.message).not.toContain('undefined');
      await application.destroy();
    });

    it('B86 no error message contains the owner id, since the owner id is enough to release the lock', async () => {
      const { application, store } = await opened({});
      const owner = 'capability-0123456789';
      await application.query(breaking(target).breakIt);
      const operations = [
        () => store.acquire('some key', owner, 60_000),
        () => store.renew('some key', owner, 60_000),
        () => store.release('some key', owner),
        () => store.renewMany([{ key: 'some key', owner, ttl: 60_000 }]),
      ];
      for (const operation of operations) {
        const error: any = await operation().catch((failure: unknown) => failure);
        expect(error).toMatchObject({ name: 'LockStoreError', cause: expect.anything() });
        const shown = inspect(error, { depth: 10 }).toLowerCase();
        for (const form of [owner, Buffer.from(owner).toString('hex')]) expect(shown).not.toContain(form);
      }
      await application.query(breaking(target).mend);
    });

    it('B12 no timer is left after the last operation', async () => {
      const { application, store } = await opened({ poolSize: 1 });
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const before = timers();
      await store.acquire(newKey(), 'o', 60_000);
      expect(timers()).toBeLessThanOrEqual(before);
      await application.destroy();
    });
  });
