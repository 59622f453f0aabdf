import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { Fixture, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { Database, recordingDriver } from './sqlite-driver.js';

const TTL = 60_000;

for (const target of targetsAmong('sqlite'))
  describe('lock store on SQLite', () => {
    /**
     * The connections that the driver has opened, each with its statements: first the
     * application's, then the store's.
     */
    const connections: any[] = [];
    const statements: string[] = [];
    const Driver = recordingDriver(statements, (connection) => connections.push(connection));

    let fixture: Fixture;
    let application: DataSource;
    let store: TypeOrmLockStore;
    /** A connection to the same file, as another process would have it. */
    let other: any;
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource({ driver: Driver });
      store = new TypeOrmLockStore(application);
      await store.prepare();
      other = new Database(fixture.target.options.database, { timeout: 0 });
    });
    afterAll(async () => {
      other.close();
      await store.close();
      await fixture.dispose();
    });
    beforeEach(() => void (statements.length = 0));

    it('B85 the store has a durable connection of its own, which never blocks the event loop', () => {
      expect(connections).toHaveLength(2);
      const pragma = (name: string) => connections[1].pragma(name, { simple: true });
      expect([pragma('journal_mode'), pragma('synchronous'), pragma('busy_timeout')]).toEqual(['wal', 2, 0]);
    });

    it('B15 an acquisition needs two statements for a new or a free key, and one for a held key', async () => {
      const key = newKey();
      const count = async (operation: () => Promise<unknown>) => {
        statements.length = 0;
        await operation();
        return statements.length;
      };
      expect(await count(async () => tokenOf(await store.acquire(key, 'o', TTL)))).toBe(2);
      expect(await count(() => store.acquire(key, 'p', TTL))).toBe(1);
      expect(await count(() => store.renew(key, 'o', TTL))).toBe(1);
      expect(await count(() => store.release(key, 'o'))).toBe(1);
      expect(await count(async () => tokenOf(await store.acquire(key, 'p', TTL)))).toBe(2);
      expect(await count(() => store.renewMany([{ key, owner: 'p', ttl: TTL }]))).toBe(1);
    });

    it("B77 a rollback of the application's transaction does not undo the lock", async () => {
      const key = newKey();
      await application.query('BEGIN');
      await application.query('SELECT count(*) FROM locks');
      tokenOf(await store.acquire(key, 'o', TTL));
      await application.query('ROLLBACK');
      expect(await store.inspect(key)).toMatchObject({ state: 'held' });
    });

    it('B26 the store waits for another writer without blocking the event loop', async () => {
      const key = newKey();
      other.exec('BEGIN IMMEDIATE');
      const acquisition = store.acquire(key, 'o', TTL);
      // The acquisition waits without blocking the event loop, so that the other connection
      // can commit, which ends the wait.
      await new Promise((resolve) => setImmediate(resolve));
      other.exec('COMMIT');
      tokenOf(await acquisition);
    });

    it('B26 while the file stays locked, acquisitions are refused as contention and renewals fail with a transient error', async () => {
      const key = newKey();
      tokenOf(await store.acquire(key, 'o', TTL));
      other.exec('BEGIN IMMEDIATE');
      expect(await store.acquire(newKey(), 'o', 400)).toEqual({ acquired: false, reason: 'contention' });
      // A file that another process writes to can still be read.
      expect(await store.acquire(key, 'p', 400)).toMatchObject({ reason: 'held' });
      expect(await store.renewMany([{ key, owner: 'o', ttl: 400 }])).toEqual(['unknown']);
      await expect(store.renew(key, 'o', 400)).rejects.toMatchObject({
        name: 'LockStoreError',
        transient: true,
        message: expect.stringContaining('another session has locked the row'),
      });
      other.exec('COMMIT');
      expect(await store.renew(key, 'o', TTL)).toBe(true);
    });

    it('B27 an acquisition inside a write transaction of the application fails, and the error names the next step', async () => {
      await application.query('BEGIN IMMEDIATE');
      for (const operation of [
        () => store.acquire(newKey(), 'o', 400),
        () => store.renewMany([{ key: 'k', owner: 'o', ttl: 400 }]),
      ])
        await expect(operation()).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringMatching(
            /own connection has an open transaction.*Acquire the lock before the transaction/,
          ),
        });
      await application.query('ROLLBACK');
    });

    it('B40 stores on one file exclude each other', async () => {
      const stores = [store, new TypeOrmLockStore(application), new TypeOrmLockStore(application)];
      const key = newKey();
      let inside = 0;
      let sections = 0;
      const worker = async (i: number) => {
        while (sections < 200) {
          const owner = `${i}`;
          const one = stores[i % 3] as TypeOrmLockStore;
          if (!(await one.acquire(key, owner, TTL)).acquired) {
            await new Promise((resolve) => setImmediate(resolve));
            continue;
          }
          expect(++inside).toBe(1);
          await new Promise((resolve) => setImmediate(resolve));
          inside--;
          sections++;
          expect(await one.release(key, owner)).toBe(true);
        }
      };
      await Promise.all(Array.from({ length: 9 }, (_, i) => worker(i)));
      expect(sections).toBeGreaterThanOrEqual(200);
      for (const one of stores.slice(1)) await one.close();
    });

    it('B8 the store prepares its connection as the application prepares its own', async () => {
      const prepared: unknown[] = [];
      const dataSource = await fixture.dataSource({
        prepareDatabase: (connection: unknown) => prepared.push(connection),
      });
      const another = new TypeOrmLockStore(dataSource);
      await another.prepare();
      expect(prepared).toHaveLength(2);
      expect(prepared[0]).not.toBe(prepared[1]);
      await another.close();
    });

    it('B8 a SQLite that is too old and a file without a write-ahead log are refused, and the connection is closed', async () => {
      for (const [answer, message] of [
        [{ sql: 'SELECT sqlite_version', row: { version: '3.34.1' } }, /SQLite 3\.35.*3\.34\.1/],
        [{ pragma: 'journal_mode', value: 'delete' }, /stays in journal mode delete/],
      ] as [any, RegExp][]) {
        class Other extends Driver {
          prepare(sql: string): any {
            const statement = super.prepare(sql);
            if (answer.sql && sql.startsWith(answer.sql)) statement.all = () => [answer.row];
            return statement;
          }
          pragma(pragma: string, options: any): any {
            return pragma.startsWith(answer.pragma) ? answer.value : super.pragma(pragma, options);
          }
        }
        const dataSource = await fixture.dataSource({ driver: Other });
        await expect(new TypeOrmLockStore(dataSource).prepare()).rejects.toThrow(message);
        expect(connections.at(-1).open).toBe(false);
      }
    });

    it('B13 the store closes its own connection, and not that of the application', async () => {
      const dataSource = await fixture.dataSource({ driver: Driver });
      const another = new TypeOrmLockStore(dataSource);
      await another.prepare();
      const [theirs, own] = connections.slice(-2);
      await another.close();
      expect([theirs.open, own.open]).toEqual([true, false]);
    });
  });
