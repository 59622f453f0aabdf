import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { EventEmitter } from 'node:events';
import { createPool } from 'mysql2/promise';
import { Pool } from 'pg';
import { SessionLockStore, SqlLockStore, fromMysql2, fromPg } from '../../../lib/stores/sql/index.js';
import type { Target } from '../../servers/targets.js';
import { serverOf, type ClientKind, type TestClient } from '../clients/client-kind.js';
import { mysql2, mysql2Promise } from '../clients/mysql2.js';
import { pg } from '../clients/pg.js';
import { newKey, tokenOf } from '../keys.js';
import { targetsAmong } from '../typeorm/fixture.js';

const TTL = 60_000;

/** The kinds of client that this spec tests on each database. */
const kinds: Record<string, ClientKind[]> = {
  postgres: [pg],
  mariadb: [mysql2Promise],
  mysql: [mysql2, mysql2Promise],
};

for (const target of targetsAmong('postgres', 'mariadb', 'mysql'))
  describe.each(kinds[target.name]!)(`the pool of $name on ${target.name}`, (kind) => {
    const postgres = target.name === 'postgres';
    let database: Target;
    let client: TestClient;
    /** A client that stands for another process. */
    let admin: TestClient;
    let store: SqlLockStore<any>;
    let key: string;
    let token: number;
    beforeAll(async () => {
      database = await target.open();
      admin = await kind.open(database, 2);
    });
    beforeEach(async () => {
      client = await kind.open(database, 3);
      // Removes the test client's listener, because an application may have no listener for
      // errors of its pool.
      (client.notTransactions['the pool'] as EventEmitter).removeAllListeners('error');
      store = new SqlLockStore(client.executor());
      token = tokenOf(await store.acquire((key = newKey()), 'owner', TTL));
    });
    afterEach(async () => {
      await store.close();
      await client.close();
    });
    afterAll(async () => {
      await admin.close();
      await database.dispose();
    });

    const session = async (transaction?: unknown): Promise<string> => {
      const sql = postgres ? 'SELECT pg_backend_pid() AS id' : 'SELECT CONNECTION_ID() AS id';
      const result: any = await client.query(sql, transaction);
      return String((postgres ? result.rows : result[0])[0].id);
    };
    const kill = (id: string) =>
      admin.query(postgres ? `SELECT pg_terminate_backend(${id})` : `KILL ${id}`).catch(() => undefined);
    const guard = (transaction: unknown) => store.guard(transaction, key, 'owner', token);

    it('B90 the line that the store logs at its start names the client and the missing features', () => {
      const missing = postgres ? '' : ' without=wakeUps';
      const { schema } = client.executor();
      const named = kind.name.split('/')[0];
      expect(store.describe()).toBe(
        `store=${target.name} client=${named} table=${schema ?? 'public'}.locks${missing}`,
      );
    });

    it('B90 the process survives when the server ends its idle sessions', async () => {
      const sessions = new Set<string>();
      await client.transaction(async (one) => {
        sessions.add(await session(one));
        await client.transaction(async (two) => void sessions.add(await session(two)));
      });
      for (const id of sessions) await kill(id);
      // An operation may get an ended connection before this process knows that the connection
      // has ended.
      let renewed: boolean | undefined;
      while (renewed === undefined)
        renewed = await store.renew(key, 'owner', TTL).catch((error: unknown) => {
          expect(error).toMatchObject({ name: 'LockStoreError', transient: true });
          return undefined;
        });
      expect(renewed).toBe(true);
    });

    it('B91 lock.transaction() fails with a transient error when the server ends its session, and writes nothing', async () => {
      const failing = store.transaction(async (transaction: unknown) => {
        await kill(await session(transaction));
        await client.query('SELECT 1', transaction);
      });
      await expect(failing).rejects.toThrow();
      await expect(
        store.transaction(async (transaction: unknown) => kill(await session(transaction))),
      ).rejects.toMatchObject({ name: 'LockStoreError', transient: true });
      expect(await store.transaction(guard)).toBe(true);
    });

    it('B90 operations on a pool that the application has ended fail with the cause', async () => {
      const own = await kind.open(database);
      const late = new SqlLockStore(own.executor());
      await late.prepare();
      await own.close();
      for (const operation of [
        () => late.acquire(key, 'late', TTL),
        () => late.transaction(async () => undefined),
      ])
        await expect(operation()).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringMatching(/pool is closed|calling end on the pool/i),
        });
      await late.close();
    });

    it('B91 lock.transaction() fails if its work releases the connection', async () => {
      const releasing = store.transaction(async (transaction: any) => transaction.release());
      await expect(releasing).rejects.toMatchObject({
        name: 'LockError',
        message: expect.stringMatching(/releases its (client|connection) by itself.*Leave out/),
      });
      for (let i = 0; i < 5; i++) expect(await store.transaction(guard)).toBe(true);
    });

    it('B91 a guard refuses the pool, a released connection and a connection without a transaction', async () => {
      for (const [what, value] of Object.entries(client.notTransactions))
        await expect(guard(value)).rejects.toThrow(
          what.includes('released') ? /already released/ : /got a pool of/,
        );
      await client.transaction(async (transaction) => {
        await client.query('COMMIT', transaction);
        await expect(guard(transaction)).rejects.toThrow(/is in no transaction.*lock\.transaction\(\)/);
      });
      await admin.transaction((transaction) =>
        expect(guard(transaction)).rejects.toThrow(/belongs to another pool than the locks, or to no pool/),
      );
    });

    it('B91 a guard in a transaction whose connection has ended fails with a transient error', async () => {
      let guarding: unknown;
      await client
        .transaction(async (transaction) => {
          const ended = new Promise((resolve) => transaction.once('error', resolve));
          transaction.on('error', () => undefined);
          await kill(await session(transaction));
          await Promise.race([ended, client.query('SELECT 1', transaction)]).catch(() => undefined);
          guarding = await guard(transaction).catch((error: unknown) => error);
        })
        .catch(() => undefined);
      expect(guarding).toMatchObject({ name: 'LockStoreError', transient: true });
    });

    if (postgres) {
      it('B91 a guard fails in a transaction with a failed statement, and its error names that cause', async () => {
        const failed = client.transaction(async (transaction) => {
          await client.query('SELECT 1/0', transaction).catch(() => undefined);
          await guard(transaction);
        });
        await expect(failed).rejects.toThrow(/a statement of the transaction has failed.*Roll it back/);
      });

      it('B91 lock.transaction() fails when its work hides a failed statement, since the server rolls back', async () => {
        const hiding = store.transaction((transaction) =>
          Promise.resolve(client.query('SELECT 1/0', transaction)).catch(() => undefined),
        );
        await expect(hiding).rejects.toMatchObject({
          name: 'LockError',
          message: expect.stringMatching(/was rolled back.*SAVEPOINT/),
        });
      });

      it('B17 session settings in the URL do not affect the listening connection', async () => {
        const { user, password, host, port, database: name } = serverOf(database);
        const parameters = 'application_name=app&query_timeout=200&options=-c%20search_path%3Dpublic';
        const connectionString = `postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${name}?${parameters}`;
        const pool = new Pool({ connectionString });
        const waiting = new SqlLockStore(fromPg(pool));
        let queued: unknown;
        while (!queued) {
          const result = await waiting.acquire(key, 'next', TTL, { waiting: true });
          queued = !result.acquired && result.queued;
        }
        const released = new Promise((resolve) => waiting.onReleased((free) => (resolve(free), true)));
        const names: any = await admin.query(
          `SELECT DISTINCT application_name AS name FROM pg_stat_activity WHERE query LIKE '%LISTEN "%' AND pid <> pg_backend_pid()`,
        );
        expect(names.rows).toEqual([{ name: 'nestjs-locked' }]);
        expect(await store.release(key, 'owner')).toBe(true);
        expect(await released).toBe(key);
        await waiting.close();
        await pool.end();
      });
    } else {
      it('B91 without autocommit, a guard belongs to the transaction that the next statement begins', async () => {
        await client.transaction(async (transaction) => {
          await client.query('COMMIT', transaction);
          await client.query('SET autocommit = 0', transaction);
          const isOpen = store.watchTransaction(transaction);
          expect(await guard(transaction)).toBe(true);
          expect(isOpen()).toBe(true);
          await client.query('COMMIT', transaction);
          expect(isOpen()).toBe(false);
          await client.query('SET autocommit = 1', transaction);
        });
      });

      it('B90 many stores on one pool add only one listener to each connection', async () => {
        for (let i = 0; i < 3; i++) {
          const another = new SqlLockStore(client.executor());
          await another.inspect(key);
          await another.close();
        }
        await client.transaction(async (transaction) => {
          const { connection = transaction } = transaction;
          // There are at most two listeners: one of the pool, and one of all stores together.
          expect(connection.listenerCount('error')).toBeLessThanOrEqual(2);
        });
      });

      it('B90 the store watches a transaction until it ends, and leaves the connection as it was', async () => {
        await client.transaction(async (transaction) => {
          const { connection = transaction } = transaction;
          const before = connection.addCommand;
          const watches = [store.watchTransaction(transaction), store.watchTransaction(transaction)];
          await client.query('SELECT 1', transaction);
          expect(watches.map((isOpen) => isOpen())).toEqual([true, true]);
          await client.query('COMMIT', transaction);
          expect(watches.map((isOpen) => isOpen())).toEqual([false, false]);
          expect(connection.addCommand).toBe(before);
          await client.query('SELECT 1', transaction);
        });
      });
    }

    it('B91 a transaction that is still open when its connection is released counts as ended', async () => {
      let isOpen = (): boolean => false;
      await client.transaction(async (transaction) => {
        await client.query('SELECT 1', transaction);
        isOpen = store.watchTransaction(transaction);
        transaction.release();
        // The fixture will release the connection too, which must have no effect.
        transaction.release = () => undefined;
        expect(isOpen()).toBe(false);
      });
    });

    it('B90 session locks work on a pool that has opened no connection yet', async () => {
      const options = serverOf(database);
      const pool = postgres ? new Pool(options) : createPool(options);
      const sessions = new SessionLockStore(postgres ? fromPg(pool as Pool) : fromMysql2(pool as never));
      tokenOf(await sessions.acquire(key, 'owner', TTL));
      expect(await sessions.acquire(key, 'other', TTL)).toMatchObject({ acquired: false, reason: 'held' });
      expect(sessions.describe()).toMatch(new RegExp(`client=(pg|mysql2) locks=session$`));
      expect(await sessions.release(key, 'owner')).toBe(true);
      await sessions.close();
      await pool.end();
    });
  });
