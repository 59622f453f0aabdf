import { afterAll, afterEach, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { MongooseModule } from '@nestjs/mongoose';
import { Cron, ScheduleModule } from '@nestjs/schedule';
import type { MongoClient } from 'mongodb';
import { once } from 'node:events';
import {
  Locked,
  LockError,
  LockLostError,
  LockModule,
  LockNotAcquiredError,
  LockStoreError,
  Lock,
  LockService,
  type LockModuleOptions,
} from '../../lib/index.js';
import { mongooseStore, mongoStore } from '../../lib/stores/mongodb/index.js';
import { fire, jobOf } from '../module/firing.js';
import { freePort } from '../servers/free-port.mjs';
import { newKey } from '../stores/keys.js';
import { MongoFixture, mongodbIsSelected } from '../stores/mongodb/fixture.js';
import { Deployment, errorOf } from './deployment.js';
import { AppModule, NightlyReport } from './examples/mongolock.js';
import { itHolds, itShows, type Rows } from './guide.js';
import { growingTokens, labelOfHolder, labelsExclude, scopes } from './shared-rows.js';

const GUIDE = 'docs/migrating/mongolock.md';
const EXAMPLE = 'test/migrating/examples/mongolock.ts';
/** The options of a short lease that is never renewed. */
const SHORT = { ttl: '3s', autoRenew: false } as const;
const PATIENT = { wait: '1m' } as const;

if (mongodbIsSelected())
  describe('the guide for users of mongolock', () => {
    const fixture = new MongoFixture();
    const deployment = new Deployment();
    let client: MongoClient;
    let databaseName: string;
    let url: string;
    let store: LockModuleOptions['store'];
    /** Two instances of an application. */
    let locks: LockService;
    let others: LockService;

    beforeAll(async () => {
      client = await fixture.client({ monitorCommands: true });
      ({ databaseName } = fixture);
      url = fixture.url.replace('/?', `/${databaseName}?`);
      store = mongoStore({ client, databaseName });
      locks = await deployment.locks({ store });
      others = await deployment.locks({ store });
    });
    afterEach(() => void jest.restoreAllMocks());
    afterAll(async () => {
      await deployment.close();
      await fixture.dispose();
    });

    /** Checks that an instance with this store keeps its locks in the given collection. */
    async function keepsLocksIn(made: LockModuleOptions['store'], collection = 'locks'): Promise<void> {
      const lock = await (await deployment.locks({ store: made })).acquire(newKey());
      const found = await client
        .db(databaseName)
        .collection<{ _id: string }>(collection)
        .findOne({ _id: lock.key });
      expect(found).not.toBeNull();
    }

    /** Returns the commands that the client sends while `work` runs. */
    async function commandsOf(work: () => Promise<unknown>): Promise<Record<string, unknown>[]> {
      const commands: Record<string, unknown>[] = [];
      const listen = ({ command }: { command: Record<string, unknown> }) => void commands.push(command);
      client.on('commandStarted', listen);
      await work();
      client.off('commandStarted', listen);
      return commands.filter((command) => 'findAndModify' in command);
    }

    async function expired(): Promise<Lock> {
      const lock = await locks.acquire(newKey(), SHORT);
      while (await others.admin.isLocked(lock.key));
      return lock;
    }

    const rows: Rows = {
      '`MongoLock` on a connection string or a host': [
        'B13',
        async () => {
          await keepsLocksIn(mongoStore({ url }));
        },
      ],
      '`client=`, a `MongoClient`': [
        'B13',
        async () => {
          const own = await fixture.client();
          const app = await deployment.instance({ store: mongoStore({ client: own, databaseName }) });
          await app.close();
          const connection = MongooseModule.forRoot(url, { autoIndex: false });
          const imports = [connection, LockModule.forRoot({ store: mongooseStore() })];
          const mongoose = await deployment.start({ imports });
          expect(await mongoose.get(LockService).tryAcquire((await locks.acquire(newKey())).key)).toBeNull();
          expect(await own.db(databaseName).command({ ping: 1 })).toMatchObject({ ok: 1 });
        },
      ],
      '`db=`, the name of the database': [
        'B6',
        async () => {
          await keepsLocksIn(mongoStore({ client, databaseName }));
          await keepsLocksIn(mongoStore({ db: client.db(databaseName) }));
        },
      ],
      '`collection=`, the name of the collection': [
        'B6',
        async () => {
          await keepsLocksIn(mongoStore({ client, databaseName, collectionName: 'jobs' }), 'jobs');
          await keepsLocksIn(mongoStore({ collection: client.db(databaseName).collection('own') }), 'own');
        },
      ],
      'the write concern of the client': [
        'B7',
        async () => {
          const [byDefault] = await commandsOf(() => locks.acquire(newKey()));
          expect(byDefault?.writeConcern).toMatchObject({ w: 'majority', j: true });
          const writeConcern = { w: 1, journal: false };
          const own = await deployment.locks({ store: mongoStore({ client, databaseName, writeConcern }) });
          const [set] = await commandsOf(() => own.acquire(newKey()));
          expect(set?.writeConcern).toMatchObject({ w: 1, j: false });
          expect(() => mongoStore({ client, writeConcern: { w: 0 } })).toThrow(LockError);
        },
      ],
      'the pause between two attempts': [
        'B19',
        async () => {
          const { key } = await others.acquire(newKey());
          const imports = [LockModule.forRoot({ store, retry: '100ms' })];
          const retrying = (await deployment.start({ imports })).get(LockService);
          const fixed = await commandsOf(() => retrying.tryAcquire(key, { wait: '1s' }));
          expect(fixed.length).toBeGreaterThan(1);
          expect(fixed.length).toBeLessThanOrEqual(12);
          const attempts: number[] = [];
          const retry = (attempt: number) => attempts.push(attempt) * 10;
          expect(await locks.tryAcquire(key, { wait: '1s', retry })).toBeNull();
          expect(attempts.slice(0, 3)).toEqual([1, 2, 3]);
        },
      ],
      '`lock(key, owner)`, `True`': [
        'B14',
        async () => {
          const key = newKey();
          const commands = await commandsOf(async () => {
            const lock = await locks.acquire(key);
            expect(lock).toBeInstanceOf(Lock);
            expect(lock.held).toBe(true);
          });
          expect(commands).toHaveLength(1);
        },
      ],
      '`lock(key, owner)`, `False`': [
        'B14',
        async () => {
          const { key } = await others.acquire(newKey());
          expect(await locks.tryAcquire(key)).toBeNull();
          await expect(locks.acquire(key)).rejects.toThrow(LockNotAcquiredError);
        },
      ],
      '`lock(…)` without `timeout`: one attempt': [
        'B17',
        async () => {
          const { key } = await others.acquire(newKey());
          for (const options of [{ wait: 0 }, {}]) {
            const commands = await commandsOf(() => errorOf(locks.acquire(key, options)));
            expect(commands).toHaveLength(1);
          }
        },
      ],
      '`lock(…, timeout=10)`': [
        'B18',
        async () => {
          const held = await others.acquire(newKey());
          const waiting = locks.acquire(held.key, { wait: '30s' });
          await held.release();
          expect((await waiting).held).toBe(true);
          const error = await errorOf(others.acquire(held.key, { wait: '200ms' }));
          expect((error as LockNotAcquiredError).waited).toBeGreaterThanOrEqual(195);
        },
      ],
      '`lock(…, expire=30)`': [
        'B28',
        async () => {
          const lock = await locks.acquire(newKey(), { ttl: '3s', autoRenew: false });
          expect((await others.acquire(lock.key, PATIENT)).held).toBe(true);
          expect(lock.held).toBe(false);
        },
      ],
      '`lock(…)` without `expire`: for ever': [
        'B29',
        async () => {
          const { key } = await locks.acquire(newKey(), { ttl: Infinity });
          expect(await others.admin.inspect(key)).toMatchObject({
            state: 'held',
            holder: { expiresAt: null },
          });
          const { holder } = (await others.admin.inspect((await locks.acquire(newKey())).key)) as any;
          expect(holder.expiresAt - holder.startedAt).toBe(30_000);
        },
      ],
      'taking a lock whose `expire` has passed': [
        'B35',
        async () => {
          const { key } = await expired();
          const lock = await locks.acquire(key);
          expect(lock.held).toBe(true);
        },
      ],
      '`owner`': ['B36', labelOfHolder(() => [locks, others])],
      '`release(key, owner)`': [
        'B43',
        async () => {
          const lock = await locks.acquire(newKey());
          expect([await lock.release(), await lock.release()]).toEqual([true, false]);
          expect(await (await expired()).release()).toBe(false);
        },
      ],
      '`release(key, owner)` in another process': [
        'B80',
        async () => {
          const lock = await locks.acquire(newKey());
          expect(await others.release(lock.key, 'somebody')).toBe(false);
          expect(await others.release(lock.key, lock.owner)).toBe(true);
          const data = await (await locks.acquire(newKey())).handOff();
          const restored = await others.restore(JSON.parse(JSON.stringify(data)));
          expect(await restored.release()).toBe(true);
          expect(await locks.admin.isLocked(data.key)).toBe(false);
        },
      ],
      '`touch(key, owner, expire=60)`': [
        'B49',
        async () => {
          const lock = await locks.acquire(newKey(), { ttl: '10s' });
          await lock.extend('1m');
          const { holder } = (await others.admin.inspect(lock.key)) as any;
          expect(holder.expiresAt - holder.renewedAt).toBe(60_000);
          await others.admin.forceRelease(lock.key, { reason: 'a test' });
          await expect(lock.extend('1m')).rejects.toThrow(LockLostError);
        },
      ],
      '`touch(key, owner)`': [
        'B51',
        async () => {
          const lock = await locks.acquire(newKey(), { ttl: '10s' });
          for (let i = 0; i < 5; i++) await lock.extend();
          const { holder } = (await others.admin.inspect(lock.key)) as any;
          expect(holder.expiresAt - holder.renewedAt).toBe(10_000);
        },
      ],
      '`get_lock_info(key)`': [
        'B69',
        async () => {
          const key = newKey();
          await locks.run(key, () => {}, { label: 'first' });
          await locks.acquire(key, { label: 'second' });
          expect(await others.admin.inspect(key)).toMatchObject({
            state: 'held',
            holder: { label: 'second', startedAt: expect.any(Date), expiresAt: expect.any(Date) },
            lastRun: { label: 'first', outcome: 'done' },
          });
        },
      ],
      '`is_locked(key)`': [
        'B69',
        async () => {
          const { key } = await locks.acquire(newKey());
          expect(await others.admin.isLocked(key)).toBe(true);
          const over = await locks.acquire(newKey(), SHORT);
          while ((await others.admin.inspect(over.key)).state !== 'expired');
          expect(await locks.admin.isLocked(over.key)).toBe(false);
        },
      ],
      '`with locks(key, owner):`': ['B59', scopes(() => [locks, others])],
      '`MongoLockLocked`': [
        'B22',
        async () => {
          const { key } = await others.acquire(newKey(), { label: 'api-7' });
          const error = await errorOf(locks.acquire(key));
          expect(error).toBeInstanceOf(LockNotAcquiredError);
          expect(error).toMatchObject({
            message: expect.stringMatching(/held by api-7 since 20\S+, until 20\S+/),
            holder: { label: 'api-7', startedAt: expect.any(Date), expiresAt: expect.any(Date) },
          });
        },
      ],
      'the base of its exceptions': [
        'B14',
        async () => {
          for (const type of [LockNotAcquiredError, LockLostError, LockStoreError])
            expect(type.prototype).toBeInstanceOf(LockError);
        },
      ],
      'errors of PyMongo': [
        'B27',
        async () => {
          const nobody = `mongodb://127.0.0.1:${await freePort()}/app?serverSelectionTimeoutMS=300`;
          const error = await errorOf(deployment.locks({ store: mongoStore({ url: nobody }) }));
          expect(error).toBeInstanceOf(LockStoreError);
          expect((error as Error).cause).toMatchObject({ name: expect.stringMatching(/^Mongo/) });
        },
      ],
      'the date in the key, for a job that has to run once a day': [
        'B76',
        async () => {
          @Injectable()
          class Digest {
            sent = 0;
            @Cron('0 2 * * *', { name: 'digest' })
            @Locked()
            async send(): Promise<void> {
              this.sent++;
            }
          }
          const imports = [LockModule.forRoot({ store }), ScheduleModule.forRoot()];
          const first = await deployment.start({ imports, providers: [Digest] });
          const second = await deployment.start({ imports, providers: [Digest] });
          // The tick is in the future, because a timer that is armed for the past fires at
          // once.
          const tick = Date.now() + 60_000;
          const ran = once(first.get(LockService).events, 'released');
          await fire(jobOf(first, 'digest'), tick);
          await ran;
          const refused = once(second.get(LockService).events, 'busy');
          await fire(jobOf(second, 'digest'), tick);
          expect(await refused).toMatchObject([{ reason: 'tick-done' }]);
          expect([first, second].map((app) => app.get(Digest).sent)).toEqual([1, 0]);

          const key = newKey();
          const work = jest.fn();
          await locks.run(key, work, { once: '1d' });
          const again = await others.tryRun(key, work, { once: '1d' });
          if (!again.acquired) expect(again.error.reason).toBe('tick-done');
          // The second call gets the lock only if midnight has passed between the two calls.
          else expect(new Date().getUTCHours()).toBe(0);
        },
      ],

      "two workers with the same `owner` have one lock, and release each other's": [
        'B37',
        labelsExclude(() => [locks, others]),
      ],
      'the clock of the client decides what has expired': [
        'B34',
        async () => {
          const { key } = await others.acquire(newKey());
          const { now } = Date;
          jest.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000);
          expect(await locks.tryAcquire(key)).toBeNull();
        },
      ],
      'the lease counts from the start of the wait': [
        'B31',
        async () => {
          const first = await others.acquire(newKey(), SHORT);
          const before = (await others.admin.inspect(first.key)) as any;
          await locks.acquire(first.key, { ...PATIENT, ttl: '5s' });
          const { holder } = (await others.admin.inspect(first.key)) as any;
          expect(holder.startedAt.getTime()).toBeGreaterThanOrEqual(before.holder.expiresAt.getTime());
          expect(holder.expiresAt - holder.startedAt).toBe(5_000);
        },
      ],
      '`touch` brings an expired lock back': [
        'B50',
        async () => {
          const lock = await expired();
          expect(await errorOf(lock.extend())).toBeInstanceOf(LockLostError);
          expect(await others.admin.isLocked(lock.key)).toBe(false);
        },
      ],
      'the lock ends after `expire` while the work goes on': [
        'B52',
        async () => {
          const lost: Lock[] = [];
          const onLost = (one: Lock) => void lost.push(one);
          const lock = await locks.acquire(newKey(), { ttl: '3s', onLost });
          expect(await others.tryAcquire(lock.key, { wait: '2s' })).toBeNull();
          expect(lock.held).toBe(true);
          const aborted = once(lock.signal, 'abort');
          await others.admin.forceRelease(lock.key, { reason: 'a test' });
          await aborted;
          expect([lock.held, lost]).toEqual([false, [lock]]);
        },
      ],
      'a lock that never expires outlives its crashed holder': [
        'B71',
        async () => {
          const crashed = await others.acquire(newKey(), { ttl: Infinity, autoRenew: false });
          const stealing = { ...PATIENT, ttl: '1m', autoRenew: false, stealAfter: '500ms' } as const;
          const { key } = await locks.acquire(crashed.key, stealing);
          expect(await others.admin.forceRelease(key, { reason: 'the host is gone' })).toBe(true);
          expect(await locks.admin.isLocked(key)).toBe(false);
        },
      ],
      'what was released says nothing': [
        'B46',
        async () => {
          const key = newKey();
          await errorOf(
            locks.run(key, () => Promise.reject(new Error('the work failed')), { label: 'api-7' }),
          );
          const { lastRun } = await others.admin.inspect(key);
          expect(lastRun).toMatchObject({
            label: 'api-7',
            startedAt: expect.any(Date),
            endedAt: expect.any(Date),
            outcome: 'failed',
          });
        },
      ],
      'a write of an old holder looks like a write of the new holder': [
        'B38',
        growingTokens(() => [locks, others]),
      ],
    };

    itHolds(GUIDE, rows);
    itShows(GUIDE, EXAMPLE);

    it('B60 the example writes its report after the other holder has released the lock', async () => {
      process.env.MONGO_URL = url;
      const app = await deployment.start(AppModule);
      const said = jest.spyOn(console, 'log').mockReturnValue();
      const held = await locks.acquire('nightly-report');
      const pages = async function* () {
        yield* ['one', 'two'];
      };
      const writing = app.get(NightlyReport).write(pages());
      await held.release();
      expect(await writing).toBe(2);
      expect(app.get(NightlyReport).saved).toEqual(['one', 'two']);
      expect(said).not.toHaveBeenCalled();
    });
  });
