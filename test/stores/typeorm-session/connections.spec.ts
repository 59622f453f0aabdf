import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataSource } from 'typeorm';
import { LockStoreError } from '../../../lib/lock.errors.js';
import { newKey, tokenOf } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';
import { CLIENTS } from '../typeorm/fixture.js';
import { SessionFixture, sessionStoreOver, sessionTargets } from './fixture.js';

const TTL = 30_000; // Session locks ignore the ttl, because they have no lease.

// A late error of a lost connection would fail its test, because Jest reports promises that
// reject without a handler.
for (const target of sessionTargets())
  describe.each(CLIENTS)(`connections of session locks on ${target.name} over %s`, (client) => {
    let fixture: SessionFixture;

    beforeAll(async () => {
      fixture = await SessionFixture.open(target, client);
    });
    afterAll(() => fixture.dispose());

    /** Opens a store whose connections all go through a proxy. */
    async function proxied() {
      const proxy = await TcpProxy.open(fixture.options as { host: string; port: number });
      const there = { host: '127.0.0.1', port: proxy.port };
      const application = await new DataSource({ ...fixture.options, ...there }).initialize();
      const store = sessionStoreOver(client, application, { keepAlive: 200 });
      await store.prepare();
      const lost = new Promise<{ key: string; owner: string; reason: string }>((resolve) =>
        store.watch((key, owner, reason) => resolve({ key, owner, reason })),
      );
      const dispose = async (): Promise<void> => {
        await proxy.close();
        await store.close();
        await application.destroy();
      };
      return { proxy, store, lost, dispose };
    }

    it('B57 the heartbeat finds a connection that is dead without an error', async () => {
      const { proxy, store, lost, dispose } = await proxied();
      const [key, other] = [newKey(), await fixture.store()];
      tokenOf(await store.acquire(key, 'owner', TTL));
      proxy.blackHole();
      expect(await lost).toEqual({
        key,
        owner: 'owner',
        reason: expect.stringMatching(/no answer within 1000 ms/),
      });
      expect(await store.renew(key, 'owner', TTL)).toBe(false);
      tokenOf(await other.acquire(key, 'next', TTL, { wait: Infinity }));
      await dispose();
    });

    it('B57 a wait on a connection that is dead without an error fails, and its caller never gets the key later', async () => {
      const { proxy, store, dispose } = await proxied();
      const [key, other] = [newKey(), await fixture.store()];
      tokenOf(await other.acquire(key, 'owner', TTL));
      const waiting = store.acquire(key, 'next', TTL, { wait: Infinity }).catch((error: unknown) => error);
      await fixture.waiting(key);
      proxy.blackHole();
      expect(await waiting).toMatchObject({ name: 'LockStoreError', transient: true });
      await dispose(); // The test ends the connection, which the server notices now.
      await fixture.waiting(key, 0);
      expect(await other.release(key, 'owner')).toBe(true);
      tokenOf(await other.acquire(key, 'next', TTL));
    });

    it('B57 a lock whose connection is cut is lost at once, and the store does not reconnect', async () => {
      const { proxy, store, lost, dispose } = await proxied();
      const key = newKey();
      tokenOf(await store.acquire(key, 'owner', TTL));
      const { accepted } = proxy;
      proxy.cut();
      expect(await lost).toMatchObject({ key, owner: 'owner' });
      expect(await store.renew(key, 'owner', TTL)).toBe(false);
      expect(await store.release(key, 'owner')).toBe(false);
      // The store opens at most one new connection, over which it tells the server to end the
      // session.
      expect(proxy.accepted - accepted).toBeLessThanOrEqual(1);
      await dispose();
    });

    it('B20 a store whose connections are all in use rejects a call without a wait, and lets other calls wait for a connection', async () => {
      const strict = await fixture.store({ maxConnections: 2, whenFull: 'throw' });
      const patient = await fixture.store({ maxConnections: 2 });
      const keys = [newKey(), newKey()] as const;
      for (const key of keys) tokenOf(await patient.acquire(key, 'patient', TTL));
      for (const owner of ['a', 'b']) tokenOf(await strict.acquire(newKey(), owner, TTL));
      const error = await strict.acquire(newKey(), 'c', TTL).catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(LockStoreError);
      expect((error as LockStoreError).message).toMatch(/all 2 connections .* raise maxConnections/);

      const waiting = patient.acquire(newKey(), 'c', TTL, { wait: Infinity });
      const abort = new AbortController();
      const aborted = patient.acquire(newKey(), 'd', TTL, { wait: Infinity, signal: abort.signal });
      abort.abort();
      expect(await aborted).toEqual({ acquired: false });
      expect(await patient.release(keys[0], 'patient')).toBe(true);
      tokenOf(await waiting);
    });

    if (target.name === 'postgres')
      it('B18 a key that the server grants just when the wait has ended is released again', async () => {
        const [key, store, other] = [newKey(), await fixture.store(), await fixture.store()];
        tokenOf(await other.acquire(key, 'owner', TTL));
        const wait = 300;
        const waiting = store.acquire(key, 'late', TTL, { wait });
        await fixture.waiting(key);
        const [{ pid }] = await fixture.application.query(
          `SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND NOT granted`,
        );
        process.kill(pid, 'SIGSTOP');
        // The call gives up while the session is stopped; the server grants the key to the
        // stopped session afterwards.
        await sleep(2 * wait);
        await other.release(key, 'owner');
        process.kill(pid, 'SIGCONT');
        expect(await waiting).toMatchObject({ acquired: false });
        tokenOf(await other.acquire(key, 'next', TTL));
        await other.release(key, 'next');
      });

    it('B57 time limits that the application sets for its own statements do not end the wait for a key', async () => {
      const limits = fixture.postgres
        ? {
            extra: {
              statement_timeout: 100,
              query_timeout: 100,
              lock_timeout: 100,
              options: '-c idle_session_timeout=300',
            },
          }
        : {};
      const application = await new DataSource({ ...fixture.options, ...limits }).initialize();
      const store = sessionStoreOver(client, application);
      const [key, own] = [newKey(), newKey()];
      const other = await fixture.store();
      tokenOf(await store.acquire(own, 'owner', TTL));
      tokenOf(await other.acquire(key, 'owner', TTL));
      expect((await store.acquire(key, 'next', TTL, { wait: 1_000 })).acquired).toBe(false);
      expect(await store.renew(own, 'owner', TTL)).toBe(true);
      await store.close();
      await application.destroy();
    });

    it('B77 session locks use no connection of the application, and its transactions do not affect them', async () => {
      const store = await fixture.store();
      const key = newKey();
      const runner = fixture.application.createQueryRunner();
      // This transaction uses the only connection of the application's pool.
      await runner.startTransaction();
      tokenOf(await store.acquire(key, 'owner', TTL));
      expect((await store.acquire(key, 'other', TTL)).acquired).toBe(false);
      expect(await store.renew(key, 'owner', TTL)).toBe(true);
      await runner.rollbackTransaction();
      await runner.release();
      expect(await store.release(key, 'owner')).toBe(true);
    });

    it('B12 a closed store leaves no timer and no session', async () => {
      const timers = () => process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length;
      const before = { timers: timers(), sessions: (await fixture.sessions()).length };
      const store = await fixture.store({ keepAlive: 100 });
      const key = newKey();
      tokenOf(await store.acquire(key, 'owner', TTL));
      tokenOf(await store.acquire(newKey(), 'owner', TTL));
      await store.release(key, 'owner', { keepFor: 60_000 });
      await store.close();
      expect(timers()).toBeLessThanOrEqual(before.timers);
      while ((await fixture.sessions()).length > before.sessions);
      await expect(store.acquire(key, 'owner', TTL)).rejects.toThrow('the lock store is closed');
    });
  });
