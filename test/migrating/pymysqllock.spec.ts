import { afterAll, beforeAll, describe, expect, it, jest } from '@jest/globals';
import { TypeOrmModule } from '@nestjs/typeorm';
import { once } from 'node:events';
import type { DataSourceOptions } from 'typeorm';
import {
  Lock,
  LockError,
  LockLostError,
  LockModule,
  LockNotAcquiredError,
  LockService,
  LockStoreError,
  type LockModuleOptions,
} from '../../lib/index.js';
import { typeOrmSessionStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';
import { freePort } from '../servers/free-port.mjs';
import { newKey } from '../stores/keys.js';
import { TcpProxy } from '../stores/tcp-proxy.js';
import { SessionFixture } from '../stores/typeorm-session/fixture.js';
import { targetsAmong } from '../stores/typeorm/fixture.js';
import { Deployment, errorOf } from './deployment.js';
import { AppModule, Importer } from './examples/pymysqllock.js';
import { itHolds, itShows, type Rows } from './guide.js';
import { growingTokens } from './shared-rows.js';

const GUIDE = 'docs/migrating/pymysqllock.md';
const EXAMPLE = 'test/migrating/examples/pymysqllock.ts';
const UNTOLD = /does not show the holders of session locks/;

for (const target of targetsAmong('mariadb', 'mysql', 'mysql56'))
  describe(`the guide for users of PyMySQLLock, on ${target.name}`, () => {
    const deployment = new Deployment(() => [TypeOrmModule.forRoot({ ...connection })]);
    let fixture: SessionFixture;
    let connection: DataSourceOptions & { host: string; port: number };
    /** Two instances of an application. */
    let locks: LockService;
    let others: LockService;
    const store: LockModuleOptions['store'] = typeOrmSessionStore();
    const tells = target.name === 'mysql';

    beforeAll(async () => {
      fixture = await SessionFixture.open(target);
      connection = fixture.options as typeof connection;
      locks = await deployment.locks({ store });
      others = await deployment.locks({ store });
    });
    afterAll(async () => {
      await deployment.close();
      await fixture.dispose();
    });

    /** Checks that another instance cannot acquire a key that this service holds. */
    async function excludes(made: LockService): Promise<void> {
      const { key } = await made.acquire(newKey());
      expect(await others.tryAcquire(key)).toBeNull();
    }

    const rows: Rows = {
      '`Locker(host=…, port=…, user=…, password=…)`': [
        'B8',
        async () => {
          const imports = [LockModule.forRoot({ store: typeOrmSessionStore({ connection }) })];
          await excludes((await deployment.start({ imports })).get(LockService));
        },
      ],
      "giving it what the application's own connection has": [
        'B8',
        async () => {
          const imports = [
            TypeOrmModule.forRoot({ ...connection, poolSize: 1 } as DataSourceOptions),
            LockModule.forRoot({ store: typeOrmSessionStore() }),
          ];
          const own = (await deployment.start({ imports })).get(LockService);
          await excludes(own);
          await excludes(own);
        },
      ],
      'a connection for each lock': [
        'B20',
        async () => {
          const patient = await deployment.locks({
            store: typeOrmSessionStore({ maxConnections: 1, whenFull: 'wait' }),
          });
          const first = await patient.acquire(newKey());
          const waiting = patient.acquire(newKey(), { wait: Infinity });
          await first.release();
          expect((await waiting).held).toBe(true);
        },
      ],
      '`refresh_interval_secs=10`': [
        'B57',
        async () => {
          const proxy = await TcpProxy.open(connection);
          const through = { ...connection, port: proxy.port };
          const own = await deployment.locks({
            store: typeOrmSessionStore({ connection: through, keepAlive: '100ms' }),
          });
          const lock = await own.acquire(newKey());
          const lost = once(own.events, 'lost');
          proxy.blackHole();
          await lost;
          expect(lock.held).toBe(false);
          await proxy.close();
        },
      ],
      "names with the application's name in front": [
        'B42',
        async () => {
          const imports = [
            TypeOrmModule.forRoot(connection),
            LockModule.forRoot({ store, prefix: 'billing' }),
          ];
          const billing = (await deployment.start({ imports })).get(LockService);
          const { key } = await locks.acquire(newKey());
          expect((await billing.acquire(key)).key).toBe(key);
        },
      ],

      '`locker.lock(name)`': [
        'B14',
        async () => {
          const key = newKey();
          const lock = await locks.acquire(key);
          expect(lock.held).toBe(true);
          await expect(others.acquire(key)).rejects.toThrow(LockNotAcquiredError);
        },
      ],
      '`lock.acquire()`: without end': [
        'B20',
        async () => {
          const key = newKey();
          const held = await others.acquire(key);
          expect(await locks.tryAcquire(key)).toBeNull();
          const waiting = locks.acquire(key, { wait: Infinity });
          await fixture.waiting(key);
          await held.release();
          expect((await waiting).held).toBe(true);
        },
      ],
      '`lock.acquire(timeout=10)`, `True` or `False`': [
        'B18',
        async () => {
          const key = newKey();
          const held = await others.acquire(key);
          expect(await locks.tryAcquire(key, { wait: '1s' })).toBeNull();
          const waiting = locks.tryAcquire(key, { wait: '1m' });
          await fixture.waiting(key);
          await held.release();
          expect(await waiting).toBeInstanceOf(Lock);
        },
      ],
      '`lock.acquire(timeout=0)`': [
        'B16',
        async () => {
          const key = newKey();
          await others.acquire(key);
          expect(await locks.tryAcquire(key)).toBeNull();
        },
      ],
      '`lock.release()`': [
        'B43',
        async () => {
          const lock = await locks.acquire(newKey());
          expect([await lock.release(), await lock.release()]).toEqual([true, false]);
          expect(await others.tryAcquire(lock.key)).not.toBeNull();
        },
      ],
      '`lock.locked()`': [
        'B57',
        async () => {
          const lock = await locks.acquire(newKey());
          await lock.extend();
          expect(lock.held).toBe(true);
          await lock.release();
          expect(lock.held).toBe(false);
          await expect(lock.extend()).rejects.toThrow(LockLostError);
        },
      ],
      '`lock.lock_name`': [
        'B14',
        async () => {
          const key = newKey();
          const lock = await locks.acquire(key);
          expect(lock.key).toBe(key);
        },
      ],
      'whether a name is taken': [
        'B69',
        async () => {
          const key = newKey();
          expect(await others.admin.isLocked(key)).toBe(false);
          await locks.acquire(key);
          expect(await others.admin.isLocked(key)).toBe(true);
        },
      ],
      '`locker.get_all_locks()`': [
        'B70',
        async () => {
          const { key, fencingToken } = await locks.acquire(newKey(), { label: 'api-7' });
          if (!tells) {
            const performance_schema = target.name === 'mariadb' ? /performance_schema = ON/ : /MySQL 5\.7/;
            await expect(locks.admin.list()).rejects.toThrow(performance_schema);
            return;
          }
          const { locks: listed } = await others.admin.list();
          expect(listed).toContainEqual(
            expect.objectContaining({ key, label: 'api-7', startedAt: expect.any(Date), fencingToken }),
          );
        },
      ],
      'the waiters of a lock': [
        'B70',
        async () => {
          const held = await locks.acquire(newKey());
          const waiting = others.acquire(held.key, { wait: Infinity });
          await fixture.waiting(held.key);
          if (tells) {
            const listed = (await locks.admin.list()).locks.find(({ key }) => key === held.key);
            expect(listed?.waiters).toBe(1);
          } else await expect(locks.admin.list()).rejects.toThrow(UNTOLD);
          await held.release();
          await (await waiting).release();
        },
      ],
      '`try: … finally: lock.release()`': [
        'B59',
        async () => {
          const key = newKey();
          const work = async () => others.tryAcquire(key);
          expect(await locks.run(key, work)).toBeNull();
          {
            await using lock = await locks.acquire(key);
            expect([lock.held, await work()]).toEqual([true, null]);
          }
          const failed = locks.run(key, () => Promise.reject(new Error('the work failed')));
          await expect(failed).rejects.toThrow('the work failed');
          expect(await work()).not.toBeNull();
        },
      ],
      'an error in the refresher': [
        'B56',
        async () => {
          const key = newKey();
          const onLost = jest.fn();
          const lock = await locks.acquire(key, { onLost });
          const aborted = once(lock.signal, 'abort');
          await fixture.kill(await fixture.holder(key));
          await aborted;
          expect(onLost).toHaveBeenCalledTimes(1);
          const lose = async ({ signal }: { signal: AbortSignal }): Promise<void> => {
            const ended = once(signal, 'abort');
            await fixture.kill(await fixture.holder(key));
            await ended;
          };
          // The server may still be ending the session that was killed.
          const work = locks.run(key, lose, { wait: '10s' });
          await expect(work).rejects.toThrow(LockLostError);
        },
      ],
      'an error of PyMySQL': [
        'B27',
        async () => {
          const nobody = { ...connection, port: await freePort() };
          const imports = [LockModule.forRoot({ store: typeOrmSessionStore({ connection: nobody }) })];
          const error = await errorOf(deployment.start({ imports }));
          expect(error).toBeInstanceOf(LockStoreError);
          expect(error).toMatchObject({ cause: { code: 'ECONNREFUSED' } });
        },
      ],
      'killing a connection, to free its lock': [
        'B71',
        async () => {
          const { key } = await others.acquire(newKey());
          const lost = once(others.events, 'lost');
          expect(await locks.admin.forceRelease(key, { reason: 'the host is gone' })).toBe(true);
          await lost;
          expect(await locks.tryAcquire(key)).not.toBeNull();
        },
      ],

      'an endless wait does not work on MariaDB, where `GET_LOCK(name, -1)` gives `NULL`': [
        'B20',
        async () => {
          const [row] = await fixture.application.query(`SELECT GET_LOCK('migrating', -1) AS granted`);
          expect(row.granted === null).toBe(target.name === 'mariadb');
          const key = newKey();
          const held = await others.acquire(key);
          const sliced = await deployment.locks({ store: typeOrmSessionStore({ keepAlive: '100ms' }) });
          const waiting = sliced.acquire(key, { wait: Infinity });
          // During this second, the other call waits for the key in ten slices of 100 ms.
          expect(await locks.tryAcquire(key, { wait: '1s' })).toBeNull();
          await held.release();
          expect((await waiting).held).toBe(true);
        },
      ],
      'a timeout below a second depends on the server': [
        'B18',
        async () => {
          const key = newKey();
          await others.acquire(key);
          const error = await errorOf(locks.acquire(key, { wait: '300ms' }));
          expect(error).toBeInstanceOf(LockNotAcquiredError);
          expect((error as LockNotAcquiredError).waited).toBeGreaterThanOrEqual(295);
        },
      ],
      'nothing ends a wait': [
        'B21',
        async () => {
          const key = newKey();
          await others.acquire(key);
          const abort = new AbortController();
          const { signal } = abort;
          const ended = expect(locks.acquire(key, { wait: Infinity, signal })).rejects.toThrow(
            'not any more',
          );
          await fixture.waiting(key);
          abort.abort(new Error('not any more'));
          await ended;
          await fixture.waiting(key, 0);
        },
      ],
      'a connection that was lost is made again, without its lock': [
        'B57',
        async () => {
          const lock = await locks.acquire(newKey());
          const lost = once(locks.events, 'lost');
          await fixture.kill(await fixture.holder(lock.key));
          await lost;
          const next = await others.acquire(lock.key, { wait: '1m' });
          expect([lock.held, await lock.release(), next.held]).toEqual([false, false, true]);
        },
      ],
      'one connection can take its lock twice, and has to release it twice': [
        'B39',
        async () => {
          const key = newKey();
          const lock = await locks.acquire(key);
          expect(await locks.tryAcquire(key)).toBeNull();
          await lock.release();
          const work = () => 'nested';
          expect(await locks.run(key, () => locks.run(key, work, { reentrant: true }))).toBe('nested');
          expect(await others.tryAcquire(key)).not.toBeNull();
        },
      ],
      'names are cut or refused above 64 characters, and do not differ by case': [
        'B41',
        async () => {
          const long = newKey().padEnd(4096, 'x');
          await locks.acquire(long);
          expect(await others.tryAcquire(long)).toBeNull();
          expect(await others.tryAcquire(`${long.slice(0, -1)}y`)).not.toBeNull();
          expect(await others.tryAcquire(long.toUpperCase())).not.toBeNull();
          expect(await errorOf(locks.acquire(`${long}x`))).toBeInstanceOf(LockError);
        },
      ],
      'names belong to the server: two databases on it share them': [
        'B42',
        async () => {
          const elsewhere = await SessionFixture.open(target);
          const { key } = await locks.acquire(newKey());
          const staging = await elsewhere.store();
          expect((await staging.acquire(key, 'staging', 1000)).acquired).toBe(true);
          await elsewhere.dispose();
        },
      ],
      'an attempt that is refused may leave its connection open': [
        'B48',
        async () => {
          const { key } = await others.acquire(newKey());
          await locks.tryAcquire(key);
          const before = (await fixture.sessions()).length;
          for (let i = 0; i < 20; i++) expect(await locks.tryAcquire(key)).toBeNull();
          expect((await fixture.sessions()).length).toBeLessThanOrEqual(before);
        },
      ],
      'a write of an old holder looks like a write of the new holder': [
        'B38',
        growingTokens(() => [locks, others]),
      ],
      'a lock has no time limit': [
        'B29',
        async () => {
          const lock = await locks.acquire(newKey());
          expect(lock.expiresAt).toBeNull();
          const error = (await errorOf(locks.acquire(newKey(), { ttl: '1m' }))) as LockError;
          expect(error).toBeInstanceOf(LockError);
          expect(error.message).toContain('typeOrmStore()');
          const leases = await deployment.locks({ store: typeOrmStore() });
          expect((await leases.acquire(newKey(), { ttl: '1m' })).expiresAt).toBeInstanceOf(Date);
        },
      ],
    };

    itHolds(GUIDE, rows);
    itShows(GUIDE, EXAMPLE);

    it('B59 the example imports its files after the other holder has released the lock', async () => {
      const { host, port, username, password, database } = connection as unknown as Record<string, string>;
      process.env.DATABASE_URL = `mysql://${username}:${encodeURIComponent(password ?? '')}@${host}:${port}/${database}`;
      const importer = (await deployment.start(AppModule)).get(Importer);
      const held = await locks.acquire('import');
      const importing = importer.import([EXAMPLE]);
      await fixture.waiting('import');
      await held.release();
      expect(await importing).toEqual([expect.stringContaining('tryRun')]);
    });
  });
