import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { Injectable } from '@nestjs/common';
import { getDataSourceToken, TypeOrmModule } from '@nestjs/typeorm';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { DataSource, type EntityManager } from 'typeorm';
import {
  Locked,
  LockContext,
  LockError,
  LockLostError,
  LockModule,
  LockNotAcquiredError,
  LockService,
  type Lock,
} from '../../lib/index.js';
import { lockTableMigration, typeOrmStore } from '../../lib/stores/typeorm/index.js';
import { urlOf } from '../cli/cli-database.js';
import { CliProcesses } from '../cli/cli-process.js';
import { openTarget, type Target } from '../servers/targets.js';
import { newKey } from '../stores/keys.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { Deployment, errorOf } from './deployment.js';
import { AppModule, SendInvoices } from './examples/django-database-locks.js';
import { itHolds, itShows, type Rows } from './guide.js';
import { growingTokens, labelOfHolder, labelsExclude, longKeys, scopes } from './shared-rows.js';

const GUIDE = 'docs/migrating/django-database-locks.md';
const EXAMPLE = 'test/migrating/examples/django-database-locks.ts';
/** The options of a short lease that is never renewed. */
const SHORT = { ttl: '3s', autoRenew: false } as const;

for (const { name, open } of targetsAmong('postgres'))
  describe(`the guide for users of django-database-locks, on ${name}`, () => {
    const store = typeOrmStore();
    const deployment = new Deployment(() => [
      TypeOrmModule.forRoot({ ...target.options, poolSize: 4 } as never),
    ]);
    let target: Target;
    let folder: string;
    let cli: CliProcesses;
    /** Two instances of an application. */
    let locks: LockService;
    let others: LockService;

    beforeAll(async () => {
      target = await open();
      folder = await mkdtemp(join(tmpdir(), 'nestjs-locked-migrating-'));
      cli = new CliProcesses(() => ({ LOCKS_URL: urlOf(target) }));
      locks = await deployment.locks({ store });
      others = await deployment.locks({ store });
    });
    afterAll(async () => {
      await cli.killAll();
      await deployment.close();
      await rm(folder, { recursive: true });
      await target.dispose();
    });

    async function expired(): Promise<Lock> {
      const lock = await locks.acquire(newKey(), SHORT);
      while (await others.admin.isLocked(lock.key));
      return lock;
    }

    /** Resolves when the file has this content. */
    async function says(file: string, status: string): Promise<void> {
      while ((await readFile(file, 'utf8').catch(() => 'nothing')) !== status) await pause(5);
    }

    const rows: Rows = {
      'the app and its migration': [
        'B11',
        async () => {
          const fresh = await openTarget(name);
          const migrations = { migrations: [lockTableMigration()], migrationsRun: true };
          const application = new Deployment(() => [
            TypeOrmModule.forRoot({ ...fresh.options, ...migrations }),
          ]);
          const own = await application.locks({ store: typeOrmStore({ autoCreate: false }) });
          expect((await own.acquire(newKey())).held).toBe(true);
          await application.close();
          await fresh.dispose();
        },
      ],
      'the database of the locks': [
        'B8',
        async () => {
          const imports = [
            TypeOrmModule.forRoot({ ...target.options, name: 'ops' }),
            LockModule.forRoot({ store: typeOrmStore({ dataSource: 'ops' }) }),
          ];
          const own = (await deployment.start({ imports })).get(LockService);
          expect(await others.admin.isLocked((await own.acquire(newKey())).key)).toBe(true);
        },
      ],
      'the setting for the ttl of all locks': [
        'B29',
        async () => {
          const imports = [TypeOrmModule.forRoot(target.options), LockModule.forRoot({ store, ttl: '1m' })];
          const own = (await deployment.start({ imports })).get(LockService);
          const leaseOf = async (lock: Lock) => {
            const { holder } = (await others.admin.inspect(lock.key)) as any;
            return holder.expiresAt - holder.startedAt;
          };
          expect(await leaseOf(await own.acquire(newKey()))).toBe(60_000);
          expect(await leaseOf(await locks.acquire(newKey()))).toBe(30_000);
        },
      ],
      'the setting that turns locking off': [
        'B73',
        async () => {
          const nowhere = typeOrmStore({ connection: { type: 'postgres', port: 1 } });
          const imports = [LockModule.forRoot({ store: nowhere, enabled: false })];
          const off = (await deployment.start({ imports })).get(LockService);
          const key = newKey();
          await locks.acquire(key);
          expect(await off.run(key, ({ enabled }) => enabled)).toBe(false);
          locks.disable();
          expect((await locks.acquire(key)).enabled).toBe(false);
          await locks.enable();
          expect(await locks.tryAcquire(key)).toBeNull();
        },
      ],
      'the setting for the status file': [
        'B74',
        async () => {
          const statusFile = join(folder, 'status');
          const imports = [TypeOrmModule.forRoot(target.options), LockModule.forRoot({ store, statusFile })];
          const own = (await deployment.start({ imports })).get(LockService);
          await says(statusFile, '0');
          const held = await others.acquire(newKey());
          const waiting = own.acquire(held.key, { wait: '1m' });
          await says(statusFile, '1');
          await held.release();
          const lock = await waiting;
          await says(statusFile, '2');
          await lock.release();
          await says(statusFile, '0');
        },
      ],

      '`@locked` on a management command': [
        'B66',
        async () => {
          @Injectable()
          @Locked()
          class ImportCommand {
            async run(file: string): Promise<string> {
              return `${file} under ${LockContext.current()?.key}`;
            }
          }
          const app = await deployment.instance({ store }, ImportCommand);
          expect(await app.get(ImportCommand).run('a')).toBe('a under ImportCommand.run');
        },
      ],
      '`@locked` on a method or a function': [
        'B60',
        async () => {
          @Injectable()
          class Invoices {
            @Locked()
            async sendAll(): Promise<boolean> {
              return others.admin.isLocked('Invoices.sendAll');
            }
          }
          const invoices = (await deployment.instance({ store }, Invoices)).get(Invoices);
          expect(await invoices.sendAll()).toBe(true);
          await others.run('Invoices.sendAll', async () => {
            await expect(invoices.sendAll()).rejects.toThrow(LockNotAcquiredError);
          });
        },
      ],
      'the default name, made from the class': [
        'B61',
        async () => {
          const twin = () => {
            @Injectable()
            class Twin {
              @Locked()
              async send(): Promise<string | undefined> {
                return LockContext.current()?.key;
              }
            }
            return Twin;
          };
          const [One, Other] = [twin(), twin()];
          expect(await (await deployment.instance({ store }, One)).get(One).send()).toBe('Twin.send');
          const error = await errorOf(deployment.instance({ store }, One, Other));
          expect((error as LockError).message).toContain('Twin.send');
        },
      ],
      'a name of its own': [
        'B60',
        async () => {
          @Injectable()
          class Billing {
            @Locked('invoices')
            async all(): Promise<string | undefined> {
              return LockContext.current()?.key;
            }
            @Locked({ key: (id: string) => 'invoice:' + id })
            async one(_id: string): Promise<string | undefined> {
              return LockContext.current()?.key;
            }
          }
          const billing = (await deployment.instance({ store }, Billing)).get(Billing);
          expect([await billing.all(), await billing.one('7')]).toEqual(['invoices', 'invoice:7']);
        },
      ],
      'a manage.py command in a crontab': [
        'B79',
        async () => {
          const key = newKey();
          const program = await cli.hold(key);
          expect(await locks.admin.isLocked(key)).toBe(true);
          program.endInput();
          expect((await program.ended).code).toBe(0);
          expect(await locks.admin.inspect(key)).toMatchObject({
            state: 'free',
            lastRun: { outcome: 'done' },
          });
        },
      ],
      '`with` a lock': ['B59', scopes(() => [locks, others])],
      '`lock_name`': [
        'B14',
        async () => {
          const key = newKey();
          const lock = await locks.acquire(key);
          expect(lock.key).toBe(key);
        },
      ],
      '`locked_by`': ['B36', labelOfHolder(() => [locks, others])],
      '`lock_ttl=60`': [
        'B28',
        async () => {
          const key = newKey();
          await locks.acquire(key, { ttl: '1m' });
          const { holder } = (await others.admin.inspect(key)) as any;
          expect(holder.expiresAt - holder.startedAt).toBe(60_000);
          const short = await locks.acquire(newKey(), SHORT);
          expect((await others.acquire(short.key, { wait: '1m' })).held).toBe(true);
        },
      ],
      '`lock_ttl=None`: for ever': [
        'B29',
        async () => {
          const key = newKey();
          await locks.acquire(key, { ttl: Infinity, autoRenew: false });
          expect(await others.admin.inspect(key)).toMatchObject({
            state: 'held',
            holder: { expiresAt: null },
          });
          const thief = { wait: '1m', autoRenew: false, stealAfter: '500ms' } as const;
          expect((await others.acquire(key, thief)).held).toBe(true);
        },
      ],
      '`lock_ttl_renew=10`': [
        'B52',
        async () => {
          const key = newKey();
          await locks.acquire(key, { renewEvery: '100ms' });
          const renewals = async () => {
            const { holder } = (await others.admin.inspect(key)) as any;
            return holder.renewedAt - holder.startedAt;
          };
          while ((await renewals()) === 0);
          const error = (await errorOf(locks.acquire(key, { ttl: '30s', renewEvery: '25s' }))) as LockError;
          expect(error).toBeInstanceOf(LockError);
          expect(error.message).toContain('renewEvery');
        },
      ],
      'without renewal': [
        'B49',
        async () => {
          const key = newKey();
          const lock = await locks.acquire(key, { ttl: '2s', autoRenew: false });
          await lock.extend();
          expect((await others.acquire(key, { wait: '1m' })).held).toBe(true);
          expect(lock.held).toBe(false);
        },
      ],
      'waiting with a timeout of 0: without end': [
        'B17',
        async () => {
          const key = newKey();
          const held = await others.acquire(key);
          await expect(locks.acquire(key, { wait: 0 })).rejects.toThrow(LockNotAcquiredError);
          const waiting = locks.acquire(key, { wait: Infinity });
          await held.release();
          expect((await waiting).held).toBe(true);
        },
      ],
      'waiting with a timeout of 10 s': [
        'B18',
        async () => {
          const key = newKey();
          const held = await others.acquire(key);
          const error = await errorOf(locks.acquire(key, { wait: '200ms' }));
          expect((error as LockNotAcquiredError).waited).toBeGreaterThanOrEqual(195);
          const waiting = locks.acquire(key, { wait: '1m' });
          await held.release();
          expect((await waiting).held).toBe(true);
        },
      ],
      'the pause between two attempts': [
        'B19',
        async () => {
          // A key of this length is too long for wake-ups, so that its waiters poll.
          const key = `${newKey()}:${'x'.repeat(255)}`;
          await others.acquire(key);
          const attempts: number[] = [];
          const retry = (attempt: number) => attempts.push(attempt) * 10;
          expect(await locks.tryAcquire(key, { wait: '500ms', retry })).toBeNull();
          expect(attempts.slice(0, 3)).toEqual([1, 2, 3]);
          await expect(locks.acquire(key, { wait: '50ms', retry: '1s' })).rejects.toThrow(
            LockNotAcquiredError,
          );
        },
      ],
      'the lock is busy': [
        'B22',
        async () => {
          @Injectable()
          class Busy {
            @Locked('busy', { onBusy: (error) => error.holder?.label })
            async send(): Promise<string> {
              return 'sent';
            }
          }
          const key = newKey();
          await others.acquire(key, { label: 'api-7' });
          expect(await locks.tryAcquire(key)).toBeNull();
          const error = await errorOf(locks.acquire(key));
          expect(error).toBeInstanceOf(LockNotAcquiredError);
          expect(error).toMatchObject({ message: expect.stringContaining('held by api-7') });
          const busy = (await deployment.instance({ store }, Busy)).get(Busy);
          expect(await busy.send()).toBe('sent');
          await others.run('busy', async () => expect(await busy.send()).toBe('api-8'), { label: 'api-8' });
        },
      ],
      releasing: [
        'B43',
        async () => {
          const lock = await locks.acquire(newKey());
          expect([await lock.release(), await lock.release()]).toEqual([true, false]);
          const late = await expired();
          const next = await others.acquire(late.key);
          expect([await late.release(), await locks.admin.isLocked(next.key)]).toEqual([false, true]);
        },
      ],
      'a renewal that fails': [
        'B55',
        async () => {
          const key = newKey();
          const onLost = jest.fn();
          const lock = await locks.acquire(key, { ttl: '3s', onLost });
          const aborted = once(lock.signal, 'abort');
          await others.admin.forceRelease(key, { reason: 'a test' });
          await aborted;
          expect(onLost).toHaveBeenCalledTimes(1);
          const work = locks.run(
            key,
            async ({ signal }) => {
              const ended = once(signal, 'abort');
              await others.admin.forceRelease(key, { reason: 'a test' });
              await ended;
            },
            { ttl: '3s' },
          );
          await expect(work).rejects.toThrow(LockLostError);
        },
      ],
      'the rows of the `Lock` model': [
        'B70',
        async () => {
          const { key } = await locks.acquire(newKey(), { label: 'api-7' });
          const { key: over } = await expired();
          const listed = (await others.admin.list({ limit: 1000 })).locks;
          expect(listed).toContainEqual(expect.objectContaining({ key, label: 'api-7' }));
          expect(listed.map((lock) => lock.key)).not.toContain(over);
        },
      ],
      'one row of it': [
        'B69',
        async () => {
          const key = newKey();
          await errorOf(locks.run(key, () => Promise.reject(new Error('no')), { label: 'first' }));
          await locks.acquire(key, { label: 'second' });
          expect(await others.admin.inspect(key)).toMatchObject({
            state: 'held',
            holder: { label: 'second' },
            lastRun: { label: 'first', outcome: 'failed' },
          });
        },
      ],
      'whether a lock is held': [
        'B69',
        async () => {
          const key = newKey();
          expect(await locks.admin.isLocked(key)).toBe(false);
          await others.acquire(key);
          expect(await locks.admin.isLocked(key)).toBe(true);
        },
      ],
      'deleting a row to free its lock': [
        'B71',
        async () => {
          const key = newKey();
          const lock = await others.acquire(key, { ttl: '3s' });
          const lost = once(others.events, 'lost');
          expect(await locks.admin.forceRelease(key, { reason: 'the host is gone' })).toBe(true);
          const next = await locks.acquire(key);
          await lost;
          expect([lock.held, next.held]).toEqual([false, true]);
          expect(next.fencingToken).toBeGreaterThan(lock.fencingToken);
        },
      ],
      'deleting old rows': [
        'B72',
        async () => {
          const imports = [
            TypeOrmModule.forRoot(target.options),
            LockModule.forRoot({ store, prefix: 'purged' }),
          ];
          const own = (await deployment.start({ imports })).get(LockService);
          await own.run('unused', () => {});
          await own.acquire('held');
          expect([
            await own.admin.purge({ olderThan: '90d' }),
            await locks.admin.purge({ olderThan: '90d' }),
          ]).toEqual([0, 0]);
          expect(await own.admin.purge({ olderThan: 0 })).toBe(1);
          expect(await own.admin.isLocked('held')).toBe(true);
        },
      ],

      'a renewal under way takes a lock back that was just released': [
        'B53',
        async () => {
          const keys = Array.from({ length: 40 }, newKey);
          const section = (key: string) =>
            locks.run(key, () => pause(50), { ttl: '10s', renewEvery: '50ms' });
          await Promise.all(keys.map(section));
          const held = [];
          for (const key of keys) if (await others.admin.isLocked(key)) held.push(key);
          expect(held).toEqual([]);
          const lock = await locks.acquire(newKey(), { renewEvery: '50ms' });
          expect(await lock.release()).toBe(true);
        },
      ],
      "two workers with one `locked_by` have one lock, and release each other's": [
        'B37',
        labelsExclude(() => [locks, others]),
      ],
      'the clock of the client decides what has expired': [
        'B34',
        async () => {
          const { key } = await others.acquire(newKey());
          const { now } = Date;
          const clock = jest.spyOn(Date, 'now').mockImplementation(() => now() + 3_600_000);
          expect(await locks.tryAcquire(key)).toBeNull();
          clock.mockRestore();
        },
      ],
      'an expired lock that no other caller took can be renewed': [
        'B50',
        async () => {
          const lock = await expired();
          expect(await errorOf(lock.extend())).toBeInstanceOf(LockLostError);
          expect(await others.admin.isLocked(lock.key)).toBe(false);
        },
      ],
      "the row is written in the caller's transaction": [
        'B77',
        async () => {
          const app = await deployment.instance({ store });
          const dataSource = app.get<DataSource>(getDataSourceToken());
          let lock: Lock | undefined;
          const rolledBack = dataSource.transaction(async () => {
            lock = await app.get(LockService).acquire(newKey());
            throw new Error('rolled back');
          });
          await expect(rolledBack).rejects.toThrow('rolled back');
          expect(await others.admin.isLocked(lock!.key)).toBe(true);
          const work = async (manager: EntityManager) => manager.query('SELECT 1 AS one');
          expect(await lock!.transaction(work)).toEqual([{ one: 1 }]);
        },
      ],
      'first callers of a new name can get errors of the database': [
        'B25',
        async () => {
          const key = newKey();
          const callers = Array.from({ length: 30 }, (_, i) => (i % 2 ? locks : others).tryAcquire(key));
          const granted = (await Promise.all(callers)).filter((lock) => lock !== null);
          expect(granted).toHaveLength(1);
        },
      ],
      'a name that is too long': ['B41', longKeys(() => [locks, others])],
      'a write of an old holder looks like a write of the new holder': [
        'B38',
        growingTokens(() => [locks, others]),
      ],
    };

    itHolds(GUIDE, rows);
    itShows(GUIDE, EXAMPLE);

    it("B66 the example's command waits while another instance runs the same command", async () => {
      process.env.DATABASE_URL = urlOf(target);
      process.env.LOCK_STATUS_FILE = join(folder, 'example');
      const command = (await deployment.start(AppModule)).get(SendInvoices);
      const held = await locks.acquire('send-invoices');
      const unsent = async function* () {
        yield* ['a', 'b'];
      };
      const sending = command.run(unsent());
      await says(process.env.LOCK_STATUS_FILE, '1');
      expect(command.sent).toEqual([]);
      await held.release();
      await sending;
      expect(command.sent).toEqual(['a', 'b']);
    });
  });
