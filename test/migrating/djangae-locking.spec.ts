import { INTERNALS } from '../../lib/lock-internals.js';
import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { NestFactory } from '@nestjs/core';
import { Cron } from '@nestjs/schedule';
import { TypeOrmModule } from '@nestjs/typeorm';
import { once } from 'node:events';
import type { DataSource } from 'typeorm';
import {
  InjectLockService,
  Lock,
  Locked,
  LockContext,
  LockController,
  LockModule,
  LockNotAcquiredError,
  LockService,
} from '../../lib/index.js';
import { TypeOrmLockStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';
import { urlOf } from '../cli/cli-database.js';
import { ManualClock } from '../core/manual-clock.js';
import { rootModule } from '../module/applications.js';
import { Gate } from '../module/gate.js';
import { newKey } from '../stores/keys.js';
import { Fixture, renewedAgo, targetsAmong } from '../stores/typeorm/fixture.js';
import { Deployment, errorOf } from './deployment.js';
import { AppModule, Imports } from './examples/djangae-locking.js';
import { itHolds, itShows, type Rows } from './guide.js';
import { growingTokens, longKeys } from './shared-rows.js';

const GUIDE = 'docs/migrating/djangae-locking.md';
const EXAMPLE = 'test/migrating/examples/djangae-locking.ts';
const DAY = 86_400_000;
/** The options of a lock whose holder has crashed: it is never renewed and never expires. */
const CRASHED = { ttl: Infinity, autoRenew: false } as const;

for (const target of targetsAmong('postgres'))
  describe(`the guide for users of djangae.contrib.locking, on ${target.name}`, () => {
    const store = typeOrmStore();
    const deployment = new Deployment(() => [TypeOrmModule.forRoot(fixture.target.options)]);
    let fixture: Fixture;
    let application: DataSource;
    /** Two instances of an application. */
    let locks: LockService;
    let others: LockService;

    beforeAll(async () => {
      fixture = await Fixture.open(target);
      application = await fixture.dataSource();
      locks = await deployment.locks({ store });
      others = await deployment.locks({ store });
    });
    afterAll(async () => {
      await deployment.close();
      await fixture.dispose();
    });

    /** Returns `p` for a table that survives a crash, and `u` for an unlogged table. */
    async function persistenceOf(table: string): Promise<string> {
      const [row] = await application.query('SELECT relpersistence FROM pg_class WHERE relname = $1', [
        table,
      ]);
      return row.relpersistence;
    }

    const unrenewedFor = (key: string, milliseconds: number) =>
      renewedAgo(application, target, key, milliseconds);

    async function unusedFor(key: string, milliseconds: number): Promise<void> {
      await unrenewedFor(key, milliseconds);
      await application.query('UPDATE locks SET last_ended_ms = last_ended_ms - $1 WHERE key = $2', [
        milliseconds,
        key,
      ]);
    }

    const rows: Rows = {
      '`djangae.contrib.locking` among the installed apps': [
        'B11',
        async () => {
          const imports = [
            TypeOrmModule.forRoot(fixture.target.options),
            LockModule.forRoot({ store: typeOrmStore() }),
          ];
          const own = (await deployment.start({ imports })).get(LockService);
          expect(await others.admin.isLocked((await own.acquire(newKey())).key)).toBe(true);
        },
      ],
      '`kind=STRONG`, the default': [
        'B3',
        async () => {
          const own = await deployment.locks({ store: typeOrmStore() });
          expect((await own.acquire(newKey())).held).toBe(true);
          expect(await persistenceOf('locks')).toBe('p');
        },
      ],
      '`kind=WEAK`': [
        'B78',
        async () => {
          @Injectable()
          class Caches {
            constructor(@InjectLockService('weak') readonly weakly: LockService) {}

            @Locked({ module: 'weak' })
            async fill(): Promise<boolean> {
              return this.weakly.admin.isLocked('Caches.fill');
            }
          }
          const imports = [
            TypeOrmModule.forRoot(fixture.target.options),
            LockModule.forRoot({ name: 'weak', store: typeOrmStore({ weak: true }) }),
          ];
          const caches = (await deployment.start({ imports, providers: [Caches] })).get(Caches);
          expect(await caches.fill()).toBe(true);
          expect(await persistenceOf('locks_weak')).toBe('u');
        },
      ],
      'the cleanup view, called by cron': [
        'B72',
        async () => {
          const [old, young] = [newKey(), newKey()];
          for (const key of [old, young]) await locks.run(key, () => {});
          await unusedFor(old, 31 * DAY);
          const options = { purge: { olderThan: '30d', every: '1d' } } as const;
          await deployment.start({
            imports: [
              TypeOrmModule.forRoot(fixture.target.options),
              LockModule.forRoot({ store, purge: { olderThan: '30d', every: '1d' } }),
            ],
          });
          const clock = new ManualClock(); // The manual clock lets a day pass at once.
          const openStore = () => new TypeOrmLockStore(application);
          const purging = new LockService({ options, openStore, clock });
          await purging[INTERNALS].start();
          await clock.advance(0.75 * DAY); // Instances purge at different times of the day.
          while ((await locks.admin.inspect(old)).lastRun);
          expect((await locks.admin.inspect(young)).lastRun).toBeDefined();
          await purging[INTERNALS].close();
        },
      ],
      '`DJANGAE_CLEANUP_LOCKS_OLDER_THAN`': [
        'B72',
        async () => {
          const key = newKey();
          await locks.run(key, () => {});
          expect(await locks.admin.purge({ olderThan: '30d' })).toBe(0);
          expect((await locks.admin.inspect(key)).lastRun).toBeDefined();
          await unusedFor(key, 31 * DAY);
          expect(await locks.admin.purge({ olderThan: '30d' })).toBe(1);
          expect((await locks.admin.inspect(key)).lastRun).toBeUndefined();
        },
      ],
      'a cleanup URL all the same': [
        'B72',
        async () => {
          const guards = [
            { canActivate: (context: any) => context.getArgByIndex(0).headers.admin === 'yes' },
          ];
          const imports = [
            TypeOrmModule.forRoot(fixture.target.options),
            LockModule.forRoot({ store, prefix: 'cleanup' }),
          ];
          const root = rootModule({ imports, controllers: [LockController({ guards })] });
          const app = await NestFactory.create(root, { logger: false });
          await app.listen(0, '127.0.0.1');
          await app.get(LockService).run('unused', () => {});
          const POST = async (headers: Record<string, string>) =>
            fetch(`${await app.getUrl()}/locks/purge`, {
              method: 'POST',
              headers: { 'content-type': 'application/json', ...headers },
              body: JSON.stringify({ olderThan: 0 }),
            });
          expect((await POST({})).status).toBe(403);
          const purge = await POST({ admin: 'yes' });
          expect([purge.status, await purge.json()]).toEqual([200, { purged: 1 }]);
          await app.close();
        },
      ],

      '`Lock.acquire(identifier)`: waits without end': [
        'B17',
        async () => {
          const key = newKey();
          const held = await others.acquire(key);
          const waiting = locks.acquire(key, { wait: Infinity });
          await expect(locks.acquire(key)).rejects.toThrow(LockNotAcquiredError);
          await held.release();
          expect((await waiting).held).toBe(true);
        },
      ],
      '`Lock.acquire(identifier, wait=False)`': [
        'B16',
        async () => {
          const key = newKey();
          await others.acquire(key);
          expect(await locks.tryAcquire(key)).toBeNull();
        },
      ],
      '`steal_after_ms=60000`': [
        'B32',
        async () => {
          const key = newKey();
          await others.acquire(key, CRASHED);
          await expect(locks.acquire(key, { stealAfter: '1m' })).rejects.toThrow(LockNotAcquiredError);
          await unrenewedFor(key, 61_000);
          expect((await locks.acquire(key, { stealAfter: '1m' })).held).toBe(true);
        },
      ],
      '`lock.release()`': [
        'B43',
        async () => {
          const lock = await locks.acquire(newKey());
          expect([await lock.release(), await lock.release()]).toEqual([true, false]);
          expect(await others.admin.isLocked(lock.key)).toBe(false);
        },
      ],
      '`with lock(identifier):`': [
        'B59',
        async () => {
          const key = newKey();
          const work = async () => others.admin.isLocked(key);
          const held = await others.acquire(key);
          const working = locks.run(key, work, { wait: Infinity });
          await held.release();
          expect(await working).toBe(true);
          {
            await using lock = await locks.acquire(key);
            expect([lock.held, await work()]).toEqual([true, true]);
          }
          const failed = locks.run(key, () => Promise.reject(new Error('the work failed')));
          await expect(failed).rejects.toThrow('the work failed');
          expect(await work()).toBe(false);
        },
      ],
      '`with lock(identifier, wait=False):`': [
        'B14',
        async () => {
          const key = newKey();
          await others.acquire(key);
          const work = jest.fn();
          await expect(locks.run(key, work)).rejects.toThrow(LockNotAcquiredError);
          expect(await locks.tryRun(key, work)).toMatchObject({ acquired: false, error: { key } });
          expect(work).not.toHaveBeenCalled();
        },
      ],
      '`@lock(identifier)`': [
        'B60',
        async () => {
          @Injectable()
          class Waiting {
            @Locked('import', { wait: Infinity })
            async load(): Promise<string> {
              return 'loaded';
            }
          }
          const waiting = (await deployment.instance({ store }, Waiting)).get(Waiting);
          const held = await others.acquire('import');
          const loading = waiting.load();
          await held.release();
          expect(await loading).toBe('loaded');
        },
      ],
      '`@lock(identifier, wait=False)`: skips': [
        'B63',
        async () => {
          @Injectable()
          class Skipping {
            @Locked('import', { onBusy: 'skip' })
            async load(): Promise<string> {
              return 'loaded';
            }
            @Cron('0 0 1 1 *')
            @Locked('import')
            async scheduled(): Promise<string> {
              return 'loaded';
            }
            @Locked('import')
            async other(): Promise<string> {
              return 'loaded';
            }
          }
          const skipping = (await deployment.instance({ store }, Skipping)).get(Skipping);
          await others.run('import', async () => {
            expect([await skipping.load(), await skipping.scheduled()]).toEqual([undefined, undefined]);
            await expect(skipping.other()).rejects.toThrow(LockNotAcquiredError);
          });
          expect(await skipping.load()).toBe('loaded');
        },
      ],
      'an identifier made by hand for each object': [
        'B60',
        async () => {
          @Injectable()
          class Users {
            @Locked({ key: (id: string) => 'user:' + id })
            async refresh(_id: string): Promise<string | undefined> {
              return LockContext.current()?.key;
            }
          }
          const users = (await deployment.instance({ store }, Users)).get(Users);
          expect(await users.refresh('7')).toBe('user:7');
        },
      ],
      '`LockAcquisitionError`': [
        'B22',
        async () => {
          const key = newKey();
          await others.acquire(key, { label: 'api-7' });
          const error = await errorOf(locks.acquire(key));
          expect(error).toBeInstanceOf(LockNotAcquiredError);
          expect(error).toMatchObject({
            message: expect.stringMatching(/held by api-7 since 20\S+, until 20\S+/),
          });
        },
      ],
      'identifiers of any length': ['B41', longKeys(() => [locks, others])],

      'releasing deletes by the identifier, also the lock of the next holder': [
        'B44',
        async () => {
          const key = newKey();
          const lock = await locks.acquire(key, CRASHED);
          await unrenewedFor(key, 61_000);
          const stolen = await others.acquire(key, { stealAfter: '1m' });
          expect(await lock.release()).toBe(false);
          expect(await locks.admin.inspect(key)).toMatchObject({
            holder: { fencingToken: stolen.fencingToken },
          });
        },
      ],
      "calls of one decorated function share a handle, and the loser's end releases the winner's lock": [
        'B65',
        async () => {
          const gate = new Gate();
          const handles: (Lock | undefined)[] = [];
          @Injectable()
          class Shared {
            @Locked('shared')
            async load(): Promise<void> {
              handles.push(LockContext.current());
              await gate.pass();
            }
          }
          const shared = (await deployment.instance({ store }, Shared)).get(Shared);
          const winner = shared.load();
          await gate.reached;
          await expect(shared.load()).rejects.toThrow(LockNotAcquiredError);
          expect(await others.admin.isLocked('shared')).toBe(true);
          gate.open();
          await winner;
          await shared.load();
          expect(handles).toEqual([expect.any(Lock), expect.any(Lock)]);
          expect(handles[0]?.owner).not.toBe(handles[1]?.owner);
        },
      ],
      'the decorator that skips also swallows the `LockAcquisitionError` of a lock inside': [
        'B64',
        async () => {
          const inner = newKey();
          @Injectable()
          class Outer {
            @Locked('outer', { onBusy: 'skip' })
            async load(): Promise<string> {
              return locks.run(inner, () => 'loaded');
            }
          }
          const outer = (await deployment.instance({ store }, Outer)).get(Outer);
          await others.acquire(inner);
          const error = await errorOf(outer.load());
          expect(error).toBeInstanceOf(LockNotAcquiredError);
          expect(error).toMatchObject({ key: inner });
        },
      ],
      'a strong lock of a crashed instance stays until another caller steals it': [
        'B28',
        async () => {
          const crashed = await others.acquire(newKey(), { ttl: '3s', autoRenew: false });
          expect((await locks.acquire(crashed.key, { wait: '1m' })).held).toBe(true);
        },
      ],
      'stealing goes by the age of the lock, so long work loses it': [
        'B32',
        async () => {
          const busy = await others.acquire(newKey(), { renewEvery: '200ms' });
          const impatient = { autoRenew: false, stealAfter: '2s', wait: '3s' } as const;
          expect(await locks.tryAcquire(busy.key, impatient)).toBeNull();
          expect(busy.held).toBe(true);

          const { key } = await others.acquire(newKey(), CRASHED);
          await unrenewedFor(key, 600_000);
          const thieves = Array.from({ length: 10 }, () =>
            locks.tryAcquire(key, { ttl: '20s', stealAfter: '5m' }),
          );
          const [thief, ...more] = (await Promise.all(thieves)).filter((lock) => lock !== null);
          expect([thief?.held, more]).toEqual([true, []]);
          const { holder } = (await others.admin.inspect(key)) as any;
          expect(holder.expiresAt - holder.startedAt).toBe(20_000);
        },
      ],
      'the old holder does not learn that its lock was stolen': [
        'B55',
        async () => {
          const key = newKey();
          const onLost = jest.fn();
          const lock = await locks.acquire(key, { renewEvery: '1s', onLost });
          const aborted = once(lock.signal, 'abort');
          await unrenewedFor(key, 61_000);
          await others.acquire(key, { stealAfter: '1m' });
          await aborted;
          expect(lock.held).toBe(false);
          expect(onLost).toHaveBeenCalledTimes(1);
        },
      ],
      'the cleanup deletes old locks, also live ones': [
        'B72',
        async () => {
          const lock = await locks.acquire(newKey());
          await locks.admin.purge({ olderThan: 0 });
          expect(await others.tryAcquire(lock.key)).toBeNull();
          expect(await lock.release()).toBe(true);
        },
      ],
      'a weak lock is gone when the cache forgets it, and then has two holders': [
        'B78',
        async () => {
          const weakly = { store: typeOrmStore({ weak: true }) };
          const [weak, another] = [await deployment.locks(weakly), await deployment.locks(weakly)];
          const { key } = await weak.acquire(newKey());
          expect(await another.tryAcquire(key)).toBeNull();
          expect(await locks.tryAcquire(key)).not.toBeNull();
        },
      ],
      'a write of an old holder looks like a write of the new holder': [
        'B38',
        growingTokens(() => [locks, others]),
      ],
    };

    itHolds(GUIDE, rows);
    itShows(GUIDE, EXAMPLE);

    it('B63 the example skips an import while another instance runs it, and waits before it fills the cache', async () => {
      process.env.DATABASE_URL = urlOf(fixture.target);
      const [one, other] = [await deployment.start(AppModule), await deployment.start(AppModule)];
      const gate = new Gate();
      const files = async function* () {
        yield 'a';
        await gate.pass();
        yield 'b';
      };
      const importing = one.get(Imports).importAll(files());
      await gate.reached;
      expect(await other.get(Imports).importAll(files())).toBeUndefined();
      gate.open();
      expect(await importing).toBe(2);
      const both = [one, other].map((app) => app.get(Imports).refresh('7'));
      expect(await Promise.all(both)).toEqual(Array(2).fill('the cache of 7 is filled'));
    });
  });
