import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DataSource, QueryRunner } from 'typeorm';
import type { LockAcquireResult } from '../../../lib/interfaces/lock-store.interface.js';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { newKey, tokenOf } from '../keys.js';
import { TcpProxy } from '../tcp-proxy.js';
import { dirt } from './dirty-connections.js';
import { Fixture, recordStatements, setIsolation, sqlOf, targetsAmong } from './fixture.js';

const TTL = 60_000;
const HELD = { acquired: false, reason: 'held' };
const CONTENTION: LockAcquireResult = { acquired: false, reason: 'contention' };

const newKeys = (count: number): string[] => Array.from({ length: count }, () => newKey());
const acquireAll = (store: TypeOrmLockStore, keys: readonly string[]): Promise<LockAcquireResult[]> =>
  Promise.all(keys.map((key) => store.acquire(key, `owner of ${key}`, TTL)));
const releaseAll = (store: TypeOrmLockStore, keys: readonly string[]): Promise<boolean[]> =>
  Promise.all(keys.map((key) => store.release(key, `owner of ${key}`)));

for (const target of targetsAmong('postgres', 'mysql', 'mariadb'))
  describe(`many requests at once on ${target.name}`, () => {
    let fixture: Fixture;
    let application: DataSource;
    /** Connections of another application, or of a person at a console. */
    let stranger: DataSource;
    let store: TypeOrmLockStore;
    const postgres = target.name === 'postgres';
    const { lockRow, bytes, column } = sqlOf(target);

    beforeAll(async () => {
      Logger.overrideLogger(false);
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      stranger = await fixture.dataSource();
      store = new TypeOrmLockStore(application);
      await store.prepare();
    });
    afterAll(async () => {
      await store.close();
      await fixture.dispose();
    });

    /** Runs a statement in another session, in a transaction that stays open. */
    async function strange(sql: string, key?: string): Promise<QueryRunner> {
      const runner = stranger.createQueryRunner();
      await runner.startTransaction('READ COMMITTED');
      await runner.query(sql, key === undefined ? [] : [bytes(key)]);
      return runner;
    }
    async function end(runner: QueryRunner): Promise<void> {
      await runner.rollbackTransaction();
      await runner.release();
    }
    /**
     * Returns new keys that have a row already, because they have been acquired and released.
     */
    async function freeKeys(count: number): Promise<string[]> {
      const keys = newKeys(count);
      (await acquireAll(store, keys)).forEach(tokenOf);
      await releaseAll(store, keys);
      return keys;
    }
    async function ownerOf(key: string): Promise<string | null> {
      const [row] = await stranger.query(sqlOf(target).row, [bytes(key)]);
      return row.owner === null ? null : String(row.owner);
    }

    it('B93 while another session has locked a row, only the request for this key is refused', async () => {
      const keys = await freeKeys(30);
      const fresh = newKeys(20);
      const [locked = ''] = keys.slice(11);
      const open = await strange(lockRow, locked);
      for (let round = 0; round < 3; round++) {
        const results = await acquireAll(store, [...keys, ...fresh]);
        [...keys, ...fresh].forEach((key, i) => {
          if (key === locked) expect(results[i]).toEqual(CONTENTION);
          else tokenOf(results[i] ?? CONTENTION);
        });
        const others = [...keys, ...fresh].filter((key) => key !== locked);
        expect(await releaseAll(store, others)).toEqual(others.map(() => true));
      }
      await end(open);
      tokenOf(await store.acquire(locked, 'owner', TTL));
    });

    it('B93 a batch refuses a key that guard() protects, and only the release of this key waits for the transaction', async () => {
      const keys = newKeys(30);
      const [guarded = ''] = keys.slice(11);
      const tokens = (await acquireAll(store, keys)).map(tokenOf);
      let letGo = (): void => {};
      const until = new Promise<void>((resolve) => (letGo = resolve));
      let begun = (): void => {};
      const underGuard = new Promise<void>((resolve) => (begun = resolve));
      const work = store.transaction(async (transaction) => {
        expect(await store.guard(transaction, guarded, `owner of ${guarded}`, tokens[11] ?? 0)).toBe(true);
        begun();
        await until;
      });
      await underGuard;
      const others = keys.filter((key) => key !== guarded);
      for (let round = 0; round < 3; round++) {
        expect(await releaseAll(store, others)).toEqual(others.map(() => true));
        const results = await acquireAll(store, keys);
        keys.forEach((key, i) => {
          if (key === guarded) expect(results[i]).toMatchObject(HELD);
          else tokenOf(results[i] ?? CONTENTION);
        });
      }
      const release = store.release(guarded, `owner of ${guarded}`);
      expect(await releaseAll(store, others)).toEqual(others.map(() => true));
      letGo();
      await work;
      expect(await release).toBe(true);
    });

    it('B93 a release whose row is locked delays no other release, even in a pool of one connection', async () => {
      const small = new TypeOrmLockStore(await fixture.dataSource({ poolSize: 1 }));
      const keys = newKeys(20);
      (await acquireAll(small, keys)).forEach(tokenOf);
      const [locked = '', ...others] = keys;
      const open = await strange(lockRow, locked);
      const ended: string[] = [];
      const release = (key: string): Promise<unknown> =>
        small.release(key, `owner of ${key}`).then(
          (released) => ended.push(released ? 'others' : 'gone'),
          () => ended.push('locked'),
        );
      await Promise.all(keys.map(release));
      expect(ended).toEqual([...others.map(() => 'others'), 'locked']);
      await end(open);
      await small.close();
    });

    it('B93 a request for a key that another session is inserting fails at its own time limit, and the other requests are granted', async () => {
      const keys = newKeys(30);
      const [inserted = ''] = keys.slice(7);
      const open = await strange(
        `INSERT INTO locks (${column}, token, expires_ms) VALUES (${postgres ? '$1' : '?'}, 1, 0)`,
        inserted,
      );
      const results = await Promise.allSettled(
        keys.map((key) =>
          store.acquire(key, `owner of ${key}`, TTL, key === inserted ? { timeout: 1_000 } : {}),
        ),
      );
      keys.forEach((key, i) => {
        const result = results[i];
        if (result?.status === 'fulfilled') tokenOf(result.value);
        else expect([key, result?.reason.transient]).toEqual([inserted, true]);
      });
      await end(open);
      // The request that reached its time limit may have been carried out, so its key is
      // released by force.
      await store.forceRelease(inserted);
      tokenOf(await store.acquire(inserted, 'owner', TTL));
    });

    it('B93 an error that one request of a batch causes reaches only its own caller, and names its key', async () => {
      for (const keys of [await freeKeys(20), newKeys(20)]) {
        const [bad = ''] = keys.slice(13);
        await stranger.query(
          `ALTER TABLE locks ADD CONSTRAINT bad CHECK (owner IS NULL OR ${column} <> '${bad}')`,
        );
        const results = await Promise.allSettled(
          keys.map((key) => store.acquire(key, `owner of ${key}`, TTL)),
        );
        await stranger.query('ALTER TABLE locks DROP CONSTRAINT bad');
        keys.forEach((key, i) => {
          const result = results[i];
          if (result?.status === 'fulfilled') tokenOf(result.value);
          else {
            expect(key).toBe(bad);
            expect(result?.reason).toMatchObject({ name: 'LockStoreError', transient: false });
            expect(result?.reason.message).toContain(`Could not acquire "${bad}"`);
          }
        });
        expect(results.filter(({ status }) => status === 'rejected')).toHaveLength(1);
        tokenOf(await store.acquire(bad, 'owner', TTL));
      }
    });

    it('B93 two applications that acquire the same keys at SERIALIZABLE get one grant for each key, and no error', async () => {
      const two = await Promise.all([fixture.dataSource(), fixture.dataSource()]);
      for (const dataSource of two) await setIsolation(dataSource, 'SERIALIZABLE');
      const [one, other] = two.map((dataSource) => new TypeOrmLockStore(dataSource));
      if (!one || !other) throw new Error('there are two');
      const keys = await freeKeys(100);
      const grants = (results: LockAcquireResult[]): boolean[] => results.map(({ acquired }) => acquired);
      const [ours, theirs] = await Promise.all([acquireAll(one, keys), acquireAll(other, keys.toReversed())]);
      const won = grants(ours).map((acquired, i) => [acquired, grants(theirs).toReversed()[i]]);
      for (const pair of won) expect(pair.filter(Boolean).length).toBeLessThan(2);
      // A key on which the two applications collided is free, and can be acquired now.
      const left = keys.filter((_, i) => !won[i]?.some(Boolean));
      (await acquireAll(store, left)).forEach(tokenOf);
      await one.close();
      await other.close();
    });

    it('B93 after the answer to a batch is lost, each repeated request gets its lock once', async () => {
      const proxy = await TcpProxy.open(fixture.target.options as { host: string; port: number });
      const far = new TypeOrmLockStore(
        await fixture.dataSource({ host: '127.0.0.1', port: proxy.port, poolSize: 4 }),
      );
      const keys = await freeKeys(30);
      await far.prepare();
      // A key that is certainly in a batch, which the first key is not, because its request is
      // sent alone.
      const tried = keys.slice(20).at(-1) ?? '';
      // On MySQL and MariaDB, a batch has the bytes of a key as hexadecimal digits.
      proxy.cutAfter(postgres ? tried : Buffer.from(tried).toString('hex'));
      const results = await Promise.allSettled(keys.map((key) => far.acquire(key, `owner of ${key}`, TTL)));
      const failed = keys.filter((_, i) => results[i]?.status === 'rejected');
      expect(failed).toContain(tried);
      for (const [i, result] of results.entries()) {
        if (result.status === 'fulfilled') tokenOf(result.value);
        else {
          expect(result.reason).toMatchObject({ name: 'LockStoreError', transient: true });
          expect(result.reason.message).toContain(`acquire "${keys[i]}"`);
          expect(result.reason.message).not.toContain('owner of');
        }
      }
      const rivals = await acquireAll(
        store,
        failed.map((key) => key),
      );
      const again = await Promise.all(
        failed.map((key) => far.acquire(key, `owner of ${key}`, TTL, { resend: true })),
      );
      // The rival's requests have the same owner ids. They are granted only if the batch of
      // the first store was not carried out.
      for (const [i, result] of again.entries())
        expect([result.acquired, rivals[i]?.acquired]).toContain(true);
      for (const key of failed) expect(await ownerOf(key)).toBe(`owner of ${key}`);
      // PostgreSQL had committed the batch before its answer was lost.
      if (postgres) expect(rivals.filter(({ acquired }) => acquired)).toEqual([]);
      await far.close();
      await proxy.close();
    });

    it.each(Object.entries(dirt(target.name)).filter(([name]) => !name.includes('clock')))(
      'B93 no grant of a batch is lost or doubled when connections have %s',
      async (_, { sql }) => {
        const two = await Promise.all([
          fixture.dataSource({ poolSize: 4 }),
          fixture.dataSource({ poolSize: 4 }),
        ]);
        const stores = two.map((dataSource) => new TypeOrmLockStore(dataSource));
        const keys = await freeKeys(20);
        for (let round = 0; round < 3; round++) {
          for (const dataSource of two) {
            const runners = [dataSource.createQueryRunner(), dataSource.createQueryRunner()];
            for (const runner of runners)
              // Some of these statements fail on purpose.
              for (const statement of sql) await runner.query(statement).catch(() => {});
            for (const runner of runners) await runner.release();
          }
          const all = [...keys, ...newKeys(20)];
          const results = await Promise.all(
            stores.map((one, i) => Promise.all(all.map((key) => one.acquire(key, `${i} ${key}`, TTL)))),
          );
          const released: Promise<boolean>[] = [];
          for (const [i, key] of all.entries()) {
            const winners = results.flatMap((result, one) => (result[i]?.acquired ? [one] : []));
            expect(winners.length).toBeLessThan(2);
            // Both stores were refused because their attempts collided, so the key is free.
            if (winners.length === 0) continue;
            // Another session sees the grant, which shows that it is committed.
            expect(await ownerOf(key)).toBe(`${winners[0]} ${key}`);
            const [winner = 0] = winners;
            released.push(stores[winner]?.release(key, `${winner} ${key}`) ?? Promise.resolve(false));
          }
          expect((await Promise.all(released)).filter(Boolean)).toHaveLength(released.length);
          for (const key of all) expect(await ownerOf(key)).toBeNull();
        }
        for (const one of stores) await one.close();
      },
    );

    if (!postgres) return;

    /**
     * Waits until a session with this text in its statement waits for the locked table, and
     * returns the id of its process.
     */
    async function waitingSession(text: string): Promise<number> {
      for (;;) {
        const [row] = await stranger.query(
          `SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND position($1 IN query) > 0`,
          [text],
        );
        if (row) return row.pid;
        await sleep(5);
      }
    }

    it('B93 after the server ends the session of a batch, each repeated request gets its lock', async () => {
      const keys = await freeKeys(30);
      const open = await strange('LOCK TABLE locks IN ACCESS EXCLUSIVE MODE');
      const sent = Promise.allSettled(keys.map((key) => store.acquire(key, `owner of ${key}`, TTL)));
      await stranger.query(`SELECT pg_terminate_backend(${await waitingSession('want$')})`);
      await end(open);
      const results = await sent;
      const failed = keys.filter((_, i) => results[i]?.status === 'rejected');
      expect(failed.length).toBeGreaterThan(20);
      for (const [i, result] of results.entries()) {
        if (result.status === 'fulfilled') tokenOf(result.value);
        else
          expect(result.reason).toMatchObject({
            name: 'LockStoreError',
            transient: true,
            message: expect.stringContaining(keys[i] ?? ''),
          });
      }
      const again = await Promise.all(
        failed.map((key) => store.acquire(key, `owner of ${key}`, TTL, { resend: true })),
      );
      again.forEach(tokenOf);
      expect(await releaseAll(store, keys)).toEqual(keys.map(() => true));
    });

    it('B93 calls that give up during a batch leave no lock behind, and the other calls of the batch keep their locks', async () => {
      const locks = new LockService({ options: {}, openStore: () => new TypeOrmLockStore(application) });
      await locks[INTERNALS].start();
      const [first = '', ...keys] = await freeKeys(31);
      const open = await strange('LOCK TABLE locks IN ACCESS EXCLUSIVE MODE');
      const abort = new AbortController();
      // While the statement of this single request is under way, the other requests wait and
      // then share a statement.
      const lone = locks.acquire(first);
      const calls = keys.map((key, i) =>
        locks.acquire(key, i < 3 ? { signal: abort.signal } : i < 6 ? { ttl: 600 } : {}),
      );
      const results = Promise.allSettled(calls);
      await waitingSession('want$');
      abort.abort(new Error('the caller gave up'));
      const aborted = await Promise.allSettled(calls.slice(0, 3));
      expect(aborted.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected']);
      const limited = await Promise.allSettled(calls.slice(3, 6));
      for (const { status, reason } of limited as PromiseRejectedResult[])
        expect([status, reason.name, reason.transient]).toEqual(['rejected', 'LockStoreError', true]);
      await end(open);
      const others = (await results).slice(6);
      expect(others.map(({ status }) => status)).toEqual(others.map(() => 'fulfilled'));
      const kept = await Promise.all([lone, ...calls.slice(6)]);
      expect(kept.map(({ held }) => held)).toEqual(kept.map(() => true));
      // The store releases late grants in the background, after which another process gets
      // each key.
      const rival = new LockService({ options: {}, openStore: () => new TypeOrmLockStore(stranger) });
      await rival[INTERNALS].start();
      const got = await Promise.all(keys.slice(0, 6).map((key) => rival.acquire(key, { wait: 30_000 })));
      for (const lock of [...got, ...kept]) expect(await lock.release()).toBe(true);
      await rival[INTERNALS].close();
      await locks[INTERNALS].close();
    });

    it('B93 a batch queues each waiter that it refuses, and the waiter is notified of the release', async () => {
      const keys = newKeys(20);
      const [holder, waiter] = [new TypeOrmLockStore(stranger), new TypeOrmLockStore(application)];
      (await acquireAll(holder, keys)).forEach(tokenOf);
      await waiter.prepare();
      const refusals = (): Promise<LockAcquireResult[]> =>
        Promise.all(keys.map((key) => waiter.acquire(key, `waiter for ${key}`, TTL, { waiting: true })));
      const areQueued = (results: LockAcquireResult[]): boolean =>
        results.every((result) => !result.acquired && result.queued);
      // The store connects for wake-ups at its first refusal, so the requests are repeated
      // until all of them are queued.
      while (!areQueued(await refusals())) await sleep(5);
      const notified = new Set<string>();
      const all = new Promise<void>((resolve) => {
        waiter.onReleased((key = '') => {
          if (notified.add(key).size === keys.length) resolve();
          return true;
        });
      });
      expect(await releaseAll(holder, keys)).toEqual(keys.map(() => true));
      await all;
      expect([...notified].toSorted()).toEqual(keys.toSorted());
      await waiter.close();
      await holder.close();
    });

    it('B93 a label that the database cannot store fails only its own request', async () => {
      const name = `latin1_${process.pid}`;
      await stranger.query(
        `CREATE DATABASE ${name} ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0`,
      );
      const latin = await fixture.dataSource({ database: name });
      const latinStore = new TypeOrmLockStore(latin);
      const keys = newKeys(20);
      const results = await Promise.allSettled(
        keys.map((key, i) =>
          latinStore.acquire(key, `owner of ${key}`, TTL, { label: i === 9 ? 'a lock: 🔒' : 'é' }),
        ),
      );
      keys.forEach((key, i) => {
        const result = results[i];
        if (i !== 9) expect(result).toMatchObject({ status: 'fulfilled', value: { acquired: true } });
        else
          expect(result).toMatchObject({
            status: 'rejected',
            reason: { name: 'LockStoreError', message: expect.stringContaining(`acquire "${key}"`) },
          });
      });
      await latinStore.close();
      await latin.destroy();
      await stranger.query(`DROP DATABASE ${name}`);
    });

    it('B93 repeated requests share statements, except for requests whose owners hold the locks already', async () => {
      const counted = await fixture.dataSource();
      const one = new TypeOrmLockStore(counted);
      await one.prepare();
      const keys = await freeKeys(100);
      const held = keys.slice(0, 3);
      const tokens = (await acquireAll(one, held)).map(tokenOf);
      const statements = recordStatements(counted);
      const again = await Promise.all(
        keys.map((key) => one.acquire(key, `owner of ${key}`, TTL, { resend: true })),
      );
      expect(again.map(tokenOf).slice(0, 3)).toEqual(tokens);
      expect(statements.length).toBeLessThanOrEqual(16);
      await one.close();
    });

    it('B93 100 requests share a few statements, but take one statement each with batching: false', async () => {
      const counted = await fixture.dataSource();
      const statements = recordStatements(counted);
      for (const [batching, fewest, most] of [
        [true, 2, 8],
        [false, 100, 100],
      ] as const) {
        const one = new TypeOrmLockStore(counted, { batching });
        await one.prepare();
        const keys = await freeKeys(100);
        statements.length = 0;
        (await acquireAll(one, keys)).forEach(tokenOf);
        expect(statements.length).toBeGreaterThanOrEqual(fewest);
        expect(statements.length).toBeLessThanOrEqual(most);
        statements.length = 0;
        expect(await releaseAll(one, keys)).toEqual(keys.map(() => true));
        expect(statements.length).toBeGreaterThanOrEqual(fewest);
        expect(statements.length).toBeLessThanOrEqual(most);
        await one.close();
      }
    });
  });
