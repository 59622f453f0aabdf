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

/**
 * The limit of a close, in milliseconds. The store would wait longer for a silent server, so a
 * faster close has not waited.
 */
const AT_ONCE = 8_000;

// A late error of a dead connection would fail its test, because Jest reports errors without a
// handler.
for (const target of targetsAmong('postgres'))
  describe.each(CLIENTS)('the listening connection of a process, over %s', (client) => {
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
    /**
     * Opens a proxy. Its first connection belongs to the pool, and the second listens for
     * notifications.
     */
    const proxied = async () => {
      const proxy = await TcpProxy.open(database.fixture.target.options as { host: string; port: number });
      return { proxy, there: { host: '127.0.0.1', port: proxy.port } };
    };
    const held = async (): Promise<string> => {
      const key = newKey();
      tokenOf(await a.acquire(key));
      return key;
    };
    /** Resolves when a process is in the queue of the key, and returns its channel. */
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

    it('B16 the store opens the listening connection for its first waiter, and uses it for all keys', async () => {
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

    it("B77 the listening connection does not come from the application's pool, whose only connection may be in use", async () => {
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

    it('B27 waiters poll after the server ends the connection, and the store connects again', async () => {
      const { store, waiter } = await opened();
      const key = await held();
      await waiter.queue(key);
      const [before] = await database.listeners();
      await terminate(before?.pid);
      await waiter.called(undefined);
      // No process receives the notification of this release.
      expect(await a.release(key)).toBe(true);
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

    it('B27 waiters poll while the server refuses connections, and the store connects again later', async () => {
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

    it('B17 a waiter gets the lock with its safety poll when the listening connection is dead without an error', async () => {
      const { proxy, there } = await proxied();
      const { locks } = await service(there);
      const key = await held();
      const waiting = locks.acquire(key, { wait: Infinity });
      await inLine(key);
      expect(proxy.accepted).toBe(2);
      proxy.blackHole(2);
      expect(await a.release(key)).toBe(true);
      // The queue is empty, because the process was notified.
      expect(await database.line(key)).toEqual([]);
      await (await waiting).release();
      // Closing the service does not wait for the silent server.
      await locks[INTERNALS].close();
      await proxy.close();
    });

    it(
      'B12 closing does not wait for a connection that is being opened',
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
      'B12 closing does not wait for a server that is slow to listen',
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

    it('B12 closing ends the listening connection, and a store that is opened again listens on another channel', async () => {
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
      // The release first notifies the closed store, which is still in the queue.
      await a.release(key);
      tokenOf(await waiter.acquire(key));
      await store.close();
    });

    it('B12 an application that never closes its store is not kept alive by the listening connection', async () => {
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

    it('B17 with wakeUps: false the store does not listen, but its releases notify others', async () => {
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
