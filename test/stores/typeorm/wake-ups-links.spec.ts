import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { LockService } from '../../../lib/lock.service.js';
import type { PostgresLink } from '../../../lib/stores/sql/postgres/postgres-link.js';
import { PostgresListener } from '../../../lib/stores/sql/postgres/wake-ups.js';
import { newKey, tokenOf } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';
import { CLIENTS, poolOf, storeOver, targetsAmong } from './fixture.js';
import { TTL, WakeUps, Waiter } from './wake-ups-fixture.js';

/** How long a server that says nothing is waited for at most: longer than these tests may take. */
const AT_ONCE = 8_000;

// jest fails a test in which a promise is rejected that nobody listens to, or an error event that nobody hears: those of dead links would show here.
for (const target of targetsAmong('postgres'))
  describe.each(CLIENTS)('the connection on which a process listens, over %s', (client) => {
    let database: WakeUps;
    let a: Waiter;
    beforeAll(async () => {
      Logger.overrideLogger(false);
      database = await WakeUps.open(target, {}, client);
      a = await database.waiter('a');
    });
    afterAll(() => database.dispose());

    const opened = async (extra: object = {}) => {
      const application = await database.fixture.dataSource({ poolSize: 1, ...extra });
      const store = storeOver(client, application);
      await store.prepare();
      return { application, store, waiter: new Waiter(store, newKey(), application) };
    };
    const service = async (extra: object = {}) => {
      const application = await database.fixture.dataSource({ poolSize: 1, ...extra });
      const locks = new LockService({ options: {}, openStore: () => storeOver(client, application) });
      await locks[INTERNALS].start();
      return { application, locks };
    };
    /** The first connection through it is that of the pool, the second one the one that listens. */
    const proxied = async () => {
      const proxy = await TcpProxy.open(database.fixture.target.options as { host: string; port: number });
      return { proxy, there: { host: '127.0.0.1', port: proxy.port } };
    };
    const held = async (): Promise<string> => {
      const key = newKey();
      tokenOf(await a.acquire(key));
      return key;
    };
    /** Resolves when somebody stands in the line of the key. */
    const inLine = async (key: string): Promise<string> => {
      for (;;) {
        const [channel] = await database.line(key);
        if (channel) return channel;
      }
    };
    const terminate = (pid?: number) => database.admin.query('SELECT pg_terminate_backend($1)', [pid]);
    const sessions = async (): Promise<number> => {
      const [{ count }] = await database.admin.query(
        `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'nestjs-locked'`,
      );
      return Number(count);
    };

    it('B16 is made when the first process waits, and serves all keys', async () => {
      const key = await held();
      const { waiter, store } = await opened();
      expect((await store.acquire(key, 'once', TTL)).acquired).toBe(false);
      tokenOf(await store.acquire(newKey(), 'o', TTL));
      expect(await store.renew(key, 'other', TTL)).toBe(false);
      expect(await store.release(key, 'other')).toBe(false);
      const { locks } = await service();
      expect(await locks.tryAcquire(key)).toBeNull();
      await locks.run(newKey(), () => undefined, { wait: Infinity });
      expect(await sessions()).toBe(0);
      for (const other of [key, await held(), await held()]) await waiter.queue(other);
      expect(await sessions()).toBe(1);
      await locks[INTERNALS].close();
      await store.close();
    });

    it("B77 stands outside of the application's pool, whose only connection may be in use meanwhile", async () => {
      const { application, store, waiter } = await opened();
      const key = await held();
      await waiter.queue(key);
      expect(poolOf(application)).toEqual({ all: 1, idle: 1, waiting: 0 });
      const runner = application.createQueryRunner();
      await runner.startTransaction();
      await a.release(key);
      await waiter.called(key);
      await runner.rollbackTransaction();
      await runner.release();
      tokenOf(await waiter.acquire(key));
      await store.close();
    });

    it('B27 that the server ends: waiters poll, and it is made again', async () => {
      const { store, waiter } = await opened();
      const key = await held();
      await waiter.queue(key);
      const [before] = await database.listeners();
      await terminate(before?.pid);
      await waiter.called(undefined);
      expect(await a.release(key)).toBe(true); // nobody hears this
      tokenOf(await waiter.acquire(key));
      const other = await held();
      await waiter.queue(other);
      const [after] = await database.listeners();
      expect(after?.channel).toBe(before?.channel);
      expect(after?.pid).not.toBe(before?.pid);
      await a.release(other);
      await waiter.called(other);
      await store.close();
    });

    it('B17 B27 that the server ends while it takes no others: waiters poll, and later it is made again', async () => {
      const { proxy, there } = await proxied();
      const { locks } = await service(there);
      const key = await held();
      const waiting = locks.acquire(key, { wait: Infinity });
      const channel = await inLine(key);
      proxy.refuse();
      const [listener] = await database.listeners();
      await terminate(listener?.pid);
      while (proxy.refused === 0) await new Promise((resolve) => setImmediate(resolve));
      expect(await a.release(key)).toBe(true);
      await (await waiting).release();

      const next = await held();
      const again = locks.acquire(next, { wait: Infinity });
      proxy.heal();
      expect(await inLine(next)).toBe(channel);
      await a.release(next);
      await (await again).release();
      await locks[INTERNALS].close();
      await proxy.close();
    });

    it('B17 that is dead unnoticed: the safety poll gets the lock', async () => {
      const { proxy, there } = await proxied();
      const { locks } = await service(there);
      const key = await held();
      const waiting = locks.acquire(key, { wait: Infinity });
      await inLine(key);
      expect(proxy.accepted).toBe(2);
      proxy.blackHole(2);
      expect(await a.release(key)).toBe(true);
      expect(await database.line(key)).toEqual([]); // it was called
      await (await waiting).release();
      await locks[INTERNALS].close(); // whoever says nothing is not waited for
      await proxy.close();
    });

    it(
      'B12 does not keep the store from closing while it is being made',
      async () => {
        const { proxy, there } = await proxied();
        const { store, waiter } = await opened(there);
        proxy.blackHole(2);
        expect(await waiter.acquire(await held())).not.toHaveProperty('queued');
        while (proxy.accepted < 2) await new Promise((resolve) => setImmediate(resolve));
        await store.close();
        await proxy.close();
      },
      AT_ONCE,
    );

    it(
      'B12 does not keep the store from closing while the server is slow to listen',
      async () => {
        const asked = new EventEmitter();
        const slow = {
          pid: 1,
          send: async () => {
            asked.emit('asked');
            await once(asked, 'cut');
            throw new Error('cut');
          },
          destroy: () => asked.emit('cut'),
        } as unknown as PostgresLink;
        const listener = new PostgresListener(
          async () => slow,
          () => undefined,
        );
        expect(listener.listens()).toBe(false);
        await once(asked, 'asked');
        await listener.close();
        expect(listener.listens()).toBe(false);
      },
      AT_ONCE,
    );

    it('B12 B13 ends with the store, which listens elsewhere when it is opened again', async () => {
      const { application, store, waiter } = await opened();
      const key = await held();
      await waiter.queue(key);
      const [before] = await database.listeners();
      await store.close();
      while ((await sessions()) > 0);
      expect(application.isInitialized).toBe(true);
      await store.prepare();
      await waiter.queue(key);
      const [after] = await database.listeners();
      expect(after?.channel).not.toBe(before?.channel);
      await a.release(key); // the process that is gone is called
      tokenOf(await waiter.acquire(key));
      await store.close();
    });

    it('B12 keeps no application alive that ends without closing its store', async () => {
      const key = await held();
      const child = fork(
        'test/processes/waiting-instance.mjs',
        [JSON.stringify(database.fixture.target.options), key],
        { execArgv: [] },
      );
      const [code] = await once(child, 'exit');
      expect(code).toBe(0);
      expect(await database.line(key)).toHaveLength(1);
      while ((await sessions()) > 0);
    }, 60_000);

    it('is not made with wakeUps: false, but a release notifies the others', async () => {
      const application = await database.fixture.dataSource();
      const deaf = storeOver(client, application, { wakeUps: false });
      await deaf.prepare();
      const key = await held();
      for (let asked = 0; asked < 3; asked++)
        expect(await deaf.acquire(key, 'deaf', TTL, { waiting: true })).not.toHaveProperty('queued');
      expect(await sessions()).toBe(0);
      const { store, waiter } = await opened();
      await a.release(key);
      tokenOf(await deaf.acquire(key, 'deaf', TTL));
      await waiter.queue(key);
      expect(await deaf.release(key, 'deaf', { waiting: true })).toBe(true);
      await waiter.called(key);
      expect(await database.line(key)).toEqual([]);
      await store.close();
      await deaf.close();
    });
  });
