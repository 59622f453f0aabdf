import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import type { DataSource } from 'typeorm';
import type { SqlLockStore } from '../../../lib/stores/sql/index.js';
import { newKey, tokenOf } from '../keys.js';
import { dirt, dirtyEach, leaveDirty, settings } from './dirty-connections.js';
import { CLIENTS, Fixture, poolOf, storeOver, targetsAmong } from './fixture.js';

const TTL = 60_000;
const POOL_SIZE = 3;

for (const target of targetsAmong('postgres', 'mysql', 'mariadb', 'mysql56'))
  describe.each(CLIENTS)(`dirty connections of ${target.name}, over %s`, (client) => {
    let fixture: Fixture;
    let application: DataSource;
    let store: SqlLockStore;
    /** The store of another instance, which sees only committed changes. */
    let other: SqlLockStore;
    let warnings: string[];
    beforeAll(async () => {
      fixture = await Fixture.open(target);
      other = await fixture.store();
    });
    beforeEach(async () => {
      application = await fixture.dataSource({ poolSize: POOL_SIZE });
      store = storeOver(client, application);
      warnings = [];
      store.onWarning((topic, message) => warnings.push(`${topic}: ${message}`));
      await store.prepare();
    });
    afterAll(() => fixture.dispose());

    const leaveAll = (sql: string[]) => leaveDirty(application, POOL_SIZE, sql);

    for (const [kind, { sql, names }] of Object.entries(dirt(target.name))) {
      it(`A1 a grant on a connection with ${kind} does not count, and the store takes another connection`, async () => {
        const key = newKey();
        await leaveAll(sql);
        const token = tokenOf(await store.acquire(key, 'owner', TTL));
        expect(await other.inspect(key)).toMatchObject({ state: 'held', holder: { fencingToken: token } });
        expect(await other.acquire(key, 'second', TTL)).toMatchObject({ acquired: false, reason: 'held' });
        expect(warnings[0]).toMatch(names);
        expect(poolOf(application).waiting).toBe(0);
      });

      it(`B83 every operation avoids connections with ${kind}, and other instances see the result of the operation`, async () => {
        const [key, unused, paused] = [newKey(), newKey(), newKey()];
        tokenOf(await other.acquire(unused, 'owner', TTL));
        await other.release(unused, 'owner');
        await other.acquire(key, 'owner', TTL);
        const state = async () => {
          const found = await other.inspect(key);
          return found.state === 'held' ? Math.ceil(found.holder.remaining / TTL) : found.state;
        };
        await leaveAll(sql);
        expect(await store.renew(key, 'owner', 2 * TTL)).toBe(true);
        expect(await state()).toBe(2);
        await leaveAll(sql);
        expect(await store.renewMany([{ key, owner: 'owner', ttl: 3 * TTL }])).toEqual(['renewed']);
        expect(await state()).toBe(3);
        await leaveAll(sql);
        const token = tokenOf(await store.releaseToWaiter(key, 'owner', { owner: 'next', ttl: TTL }));
        expect(await other.inspect(key)).toMatchObject({ holder: { fencingToken: token } });
        await leaveAll(sql);
        expect(await store.release(key, 'next')).toBe(true);
        expect(await state()).toBe('free');
        await leaveAll(sql);
        expect(await store.pause(paused)).toBe(true);
        expect(await other.inspect(paused)).toMatchObject({ paused: true });
        await leaveAll(sql);
        expect(await store.resume(paused)).toBe(true);
        expect(await other.inspect(paused)).not.toMatchObject({ paused: true });
        await other.acquire(key, 'owner', TTL);
        await leaveAll(sql);
        expect(await store.forceRelease(key)).toBe(true);
        expect(await state()).toBe('free');
        await leaveAll(sql);
        await store.purge({ olderThan: 0, prefix: unused });
        expect(await other.inspect(unused)).toEqual({ state: 'free', key: unused });
        await leaveAll(sql);
        await store.transaction(async () => undefined);
        expect(await store.inspect(key)).toMatchObject({ state: 'free' });
      });

      it(`B83 the store starts and creates its table although connections have ${kind}`, async () => {
        await leaveAll(sql);
        const table = `locks_${newKey().replaceAll(/\W/g, '')}`.slice(0, 40);
        const started = storeOver(client, application, { table });
        await started.prepare();
        const key = newKey();
        tokenOf(await started.acquire(key, 'owner', TTL));
        expect(await storeOver(client, await fixture.dataSource(), { table }).inspect(key)).toMatchObject({
          state: 'held',
        });
      });

      it(`B83 the store works on a pool whose only connection has ${kind}`, async () => {
        const one = await fixture.dataSource({ poolSize: 1 });
        const alone = storeOver(client, one);
        await leaveDirty(one, 1, sql);
        const key = newKey();
        tokenOf(await alone.acquire(key, 'owner', TTL));
        expect(await other.inspect(key)).toMatchObject({ state: 'held' });
        expect(poolOf(one)).toEqual({ all: 1, idle: 1, waiting: 0 });
      });

      it(`B83 the error names the cause when every new connection has ${kind}`, async () => {
        const hopeless = await fixture.dataSource({ poolSize: 2 });
        const failing = storeOver(client, hopeless);
        await failing.prepare();
        dirtyEach(hopeless, sql);
        await leaveDirty(hopeless, 1, sql);
        await expect(failing.acquire(newKey(), 'owner', TTL)).rejects.toMatchObject({
          name: 'LockStoreError',
          message: expect.stringMatching(names),
        });
      });
    }

    for (const [kind, sql] of Object.entries(settings(target.name)))
      it(`A6 with ${kind} on every connection, a held key is refused and a free key is granted`, async () => {
        const [held, free] = [`besetzt ü ${newKey()}`, `frei ü ${newKey()}`];
        tokenOf(await other.acquire(held, 'owner', TTL));
        await leaveAll(sql);
        // An operation may fail once on each of these connections, which the pool then closes.
        const mayFail = kind.includes('statement_timeout');
        const attempt = async <T>(operation: () => Promise<T>): Promise<T> => {
          for (let tries = 1; ; tries++)
            try {
              return await operation();
            } catch (error) {
              expect(error).toMatchObject({ name: 'LockStoreError', transient: true });
              if (!mayFail || tries > POOL_SIZE) throw error;
            }
        };
        expect(await attempt(async () => store.acquire(held, 'second', TTL))).toMatchObject({
          acquired: false,
          reason: 'held',
        });
        await leaveAll(sql);
        const token = tokenOf(await attempt(async () => store.acquire(free, 'second', TTL)));
        expect(await other.inspect(free)).toMatchObject({ state: 'held', holder: { fencingToken: token } });
        const renewal = { key: free, owner: 'second', ttl: TTL };
        expect(await attempt(async () => store.renewMany([renewal]))).toEqual(['renewed']);
        expect(await attempt(async () => store.release(free, 'second'))).toBe(true);
        expect(await other.release(held, 'owner')).toBe(true);
      });

    it('A1 a grant after a BEGIN that the application did not await is committed all the same', async () => {
      const runner = application.createQueryRunner();
      await runner.connect();
      const beginning = runner.query('START TRANSACTION');
      await runner.release();
      const key = newKey();
      tokenOf(await store.acquire(key, 'owner', TTL));
      await beginning;
      expect(await other.inspect(key)).toMatchObject({ state: 'held' });
    });

    it('A1 a COMMIT that follows the grant without an await leaves one lock with one token', async () => {
      const key = newKey();
      await leaveCommitting(application, POOL_SIZE);
      const token = tokenOf(await store.acquire(key, 'owner', TTL));
      expect(await other.inspect(key)).toMatchObject({ state: 'held', holder: { fencingToken: token } });
      expect(await store.release(key, 'owner')).toBe(true);
    });

    if (target.name === 'postgres')
      it('B83 a role that was left on a connection makes only one transaction fail', async () => {
        const alone = await fixture.dataSource({ poolSize: 1 });
        const transacting = storeOver(client, alone);
        await transacting.prepare();
        const key = newKey();
        const token = tokenOf(await other.acquire(key, 'owner', TTL));
        await leaveDirty(alone, 1, ['SET ROLE pg_monitor']);
        const guard = () =>
          transacting.transaction(async (own: unknown) => transacting.guard(own, key, 'owner', token));
        await expect(guard()).rejects.toMatchObject({ name: 'LockStoreError' });
        expect(await guard()).toBe(true);
      });

    it('B83 reads show the current state, and not the snapshot of a transaction that was left open', async () => {
      const key = newKey();
      const level = 'REPEATABLE READ';
      const runner = application.createQueryRunner();
      await runner.startTransaction(level);
      await runner.query('SELECT * FROM locks');
      await runner.release();
      tokenOf(await other.acquire(key, 'owner', TTL));
      expect(await store.inspect(key)).toMatchObject({ state: 'held' });
      const again = application.createQueryRunner();
      await again.startTransaction(level);
      await again.query('SELECT * FROM locks');
      await again.release();
      await other.release(key, 'owner');
      const { locks } = await store.list({ limit: 1000 });
      expect(locks.map((lock) => lock.key)).not.toContain(key);
    });
  });

/**
 * Leaves transactions open on this many connections. Each of them sends a COMMIT after its
 * next statement.
 */
async function leaveCommitting(dataSource: DataSource, count: number): Promise<void> {
  const runners = Array.from({ length: count }, () => dataSource.createQueryRunner());
  for (const runner of runners) {
    const connection = await runner.connect();
    await runner.query('START TRANSACTION');
    for (const method of ['query', 'execute']) {
      const send = connection[method];
      if (!send) continue;
      connection[method] = (...query: unknown[]) => {
        connection.query = send === connection.query ? send : connection.query;
        delete connection.query;
        delete connection.execute;
        const sent = connection[method](...query);
        connection.query('COMMIT', () => undefined);
        return sent;
      };
    }
  }
  for (const runner of runners) await runner.release();
}
