import { INTERNALS } from '../../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { Logger } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { LockLostError } from '../../../lib/lock.errors.js';
import { LockService } from '../../../lib/lock.service.js';
import { TypeOrmLockStore } from '../../../lib/stores/typeorm/index.js';
import { lockStoreConformance } from '../../../lib/testing/index.js';
import { startPgBouncer, type PgBouncer } from '../../servers/pgbouncer.mjs';
import type { Target } from '../../servers/targets.js';
import { recordStatements, targetsAmong } from './fixture.js';
import { newKey, tokenOf } from '../keys.js';
import { TTL, Writers } from './transactions-fixture.js';

const POOL_SIZE = 3;

// A transaction pooler may run each statement in another session of the server, so that no
// state of a session can be relied on.
for (const { open } of targetsAmong('postgres'))
  describe('locks behind PgBouncer in transaction mode', () => {
    let target: Target;
    let pooler: PgBouncer;
    /** Connection options that lead to the pooler instead of the server. */
    let there: { host: string; port: number };

    beforeAll(async () => {
      target = await open();
      const server = target.options as Parameters<typeof startPgBouncer>[0];
      pooler = await startPgBouncer(server, { poolSize: POOL_SIZE });
      const { hostname: host, port } = new URL(pooler.url);
      there = { host, port: Number(port) };
    });
    afterAll(async () => {
      await pooler.stop();
      await target.dispose();
    });

    describe('TypeOrmLockStore behind PgBouncer', () => {
      let application: DataSource;
      beforeAll(async () => {
        application = await new DataSource({ ...target.options, ...there }).initialize();
      });
      afterAll(() => application.destroy());

      for (const { name: rule, run } of lockStoreConformance(() => new TypeOrmLockStore(application), {
        rounds: 5,
      }))
        it(rule, run);

      it('B8 the store works although its connections share sessions and lose prepared statements', async () => {
        // Batches are switched off, so that each request uses a session of its own.
        const store = new TypeOrmLockStore(application, { batching: false });
        await store.prepare();
        const pid = 'SELECT pg_backend_pid() AS pid FROM pg_sleep(0.01)';
        const pids = await Promise.all(
          Array.from({ length: 10 }, () => application.query<{ pid: number }[]>(pid)),
        );
        const sessions = new Set(pids.flat().map((row) => row.pid));
        expect(sessions.size).toBeLessThanOrEqual(POOL_SIZE);

        const statements = recordStatements(application);
        const keys = Array.from({ length: 100 }, newKey);
        await Promise.all(
          keys.map(async (key) => {
            tokenOf(await store.acquire(key, 'owner', TTL));
            expect(await store.renew(key, 'owner', TTL)).toBe(true);
            expect(await store.release(key, 'owner')).toBe(true);
          }),
        );
        // The pooler had lost a statement (26000) or knew its name already (42P05), so the
        // store repeated the statement without a name.
        expect(statements.length).toBeGreaterThan(3 * keys.length);
        statements.length = 0;
        tokenOf(await store.acquire(newKey(), 'owner', TTL));
        // A new key takes two statements, and neither of them was repeated.
        expect(statements).toHaveLength(2);
      });

      it('B75 requests fail while the pooler is away, but no lock is lost when it comes back', async () => {
        const store = new TypeOrmLockStore(application);
        await store.prepare();
        const key = newKey();
        tokenOf(await store.acquire(key, 'owner', TTL));
        await pooler.crash();
        await expect(store.renew(key, 'owner', TTL)).rejects.toMatchObject({
          name: 'LockStoreError',
          transient: true,
        });
        await pooler.restart();
        expect(await store.renew(key, 'owner', TTL)).toBe(true);
        expect(await store.release(key, 'owner')).toBe(true);
      });
    });

    describe('waiting processes behind PgBouncer', () => {
      let applications: DataSource[];
      beforeAll(async () => {
        Logger.overrideLogger(false);
        const everywhere = [{ ...target.options, ...there }, { ...target.options, ...there }, target.options];
        applications = await Promise.all(everywhere.map((options) => new DataSource(options).initialize()));
      });
      afterAll(() => Promise.all(applications.map((application) => application.destroy())));

      const lineOf = (key: string) =>
        applications[2]!
          .query<{ waiting: string[] | null }[]>('SELECT waiting FROM locks WHERE key = $1', [key])
          .then((rows) => rows[0]?.waiting ?? []);

      it('B17 waiting processes poll instead of being notified, and all of them get the lock', async () => {
        const services = [0, 1].map(
          (i) =>
            new LockService({
              options: { retry: { min: 5, max: 20 } },
              openStore: () => new TypeOrmLockStore(applications[i]!),
            }),
        );
        for (const service of services) await service[INTERNALS].start();
        const key = newKey();
        let inside = 0;
        let longest: string[] = [];
        const sections = services.flatMap((service) =>
          Array.from({ length: 20 }, () =>
            service.run(
              key,
              async () => {
                expect(++inside).toBe(1);
                const line = await lineOf(key);
                if (line.length > longest.length) longest = line;
                inside--;
              },
              { wait: Infinity },
            ),
          ),
        );
        await Promise.all(sections);
        expect(longest).toEqual([]);
        const channels = await Promise.all(
          Array.from({ length: 10 }, () =>
            applications[0]!.query('SELECT pg_listening_channels() AS channel FROM pg_sleep(0.01)'),
          ),
        );
        expect(channels.flat()).toEqual([]);
        await Promise.all(services.map((service) => service[INTERNALS].close()));
      });

      it('B23 a release through the pooler wakes up a waiter that is connected directly to the server', async () => {
        const [behind, , direct] = applications.map((application) => new TypeOrmLockStore(application));
        const key = newKey();
        tokenOf(await behind!.acquire(key, 'behind', TTL));
        const called = new Promise<string | undefined>((resolve) =>
          direct!.onReleased((free) => (resolve(free), true)),
        );
        for (;;) {
          const answer = await direct!.acquire(key, 'direct', TTL, { waiting: true });
          if (!answer.acquired && answer.queued) break;
        }
        expect(await behind!.release(key, 'behind')).toBe(true);
        expect(await called).toBe(key);
        await direct!.close();
      });
    });

    describe('lock.transaction and lock.guard behind PgBouncer', () => {
      let writers: Writers;
      beforeAll(async () => void (writers = await Writers.open({ open }, there)));
      afterAll(() => writers.dispose());

      it('B91 a transaction commits while the lock is held, and the lock stays held', async () => {
        const key = newKey();
        await writers.service.run(key, async (lock) => {
          await lock.transaction((manager: EntityManager) => writers.write(manager, key));
          await writers.application.transaction(async (manager) => {
            await writers.write(manager, key);
            await lock.guard(manager);
          });
          expect(lock.held).toBe(true);
        });
        expect(await writers.written(key)).toBe(2);
      });

      it('B91 a holder that has lost its lock commits nothing', async () => {
        const key = newKey();
        const first = await writers.service.acquire(key);
        const late = first.transaction(async (manager: EntityManager) => {
          await writers.write(manager, key);
          await writers.steal(key);
        });
        await expect(late).rejects.toThrow(LockLostError);
        await writers.thief.forceRelease(key);

        const second = await writers.service.acquire(key);
        const guarded = writers.application.transaction(async (manager) => {
          await writers.write(manager, key);
          await writers.steal(key);
          await second.guard(manager);
        });
        await expect(guarded).rejects.toThrow(LockLostError);
        expect(await writers.written(key)).toBe(0);
      });

      it('B91 a contender waits for the commit, whichever sessions the pooler gives to the two', async () => {
        const { key, token } = await writers.hold(200);
        await writers.application.transaction(async (manager) => {
          expect(await writers.store.guard(manager, key, 'holder', token)).toBe(true);
          await writers.expiry(key);
          expect((await writers.thief.acquire(key, 'thief', TTL)).acquired).toBe(false);
        });
        expect(tokenOf(await writers.thief.acquire(key, 'thief', TTL))).toBeGreaterThan(token);
      });

      it('B91 a transaction leaves no setting in a session that other callers use later', async () => {
        const setting = `SELECT current_setting('idle_in_transaction_session_timeout') AS value FROM pg_sleep(0.01)`;
        const found = await Promise.all(
          Array.from({ length: 10 }, () => writers.application.query<{ value: string }[]>(setting)),
        );
        expect(found.flat().map(({ value }) => value)).toEqual(Array(10).fill('0'));
      });
    });
  });
