import 'reflect-metadata';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import {
  Inject,
  Injectable,
  type DynamicModule,
  type INestApplicationContext,
  type InjectionToken,
  type Type,
} from '@nestjs/common';
import { getDataSourceToken } from '@nestjs/typeorm';
import { once } from 'node:events';
import type { DataSource, DataSourceOptions, EntityManager, EntityTarget } from 'typeorm';
import { Locked, LockContext, LockModule, LockService } from '../../lib/index.js';
import { TypeOrmLockStore, typeOrmStore } from '../../lib/stores/typeorm/index.js';
import { logs, start } from '../module/applications.js';
import { urlOf } from '../cli/cli-database.js';
import { itShows } from '../migrating/guide.js';
import { newKey } from '../stores/keys.js';
import { Fixture, targetsAmong } from '../stores/typeorm/fixture.js';

/** The entity in the application that the documentation shows. */
interface Counter {
  name: string;
  value: number;
}

/** A library that runs methods under @Transactional() in transactions, such as nestjs-cls. */
export interface Library {
  name: string;
  Transactional: () => MethodDecorator;
  /** A decorator for methods that run outside of the transaction of their caller. */
  NotTransactional: () => MethodDecorator;
  /**
   * Imports the modules that connect the application to the database and run its transactions
   * with the library.
   */
  imports(options: DataSourceOptions): DynamicModule[];
  /**
   * The provider of the object from which `managerOf` reads the manager of the running
   * transaction.
   */
  source: InjectionToken;
  managerOf(source: any): EntityManager;
  Counter: EntityTarget<Counter>;
  Counters: Type<{ increment(name: string): Promise<void> }>;
  /** The application on PostgreSQL that the documentation shows. */
  AppModule: Type;
  example: string;
  /** Resets what the library keeps in the process, so that the next application can start. */
  forget?(): void;
}

const GUIDE = 'docs/transactions.md';

export function itLocksOutsideOfTransactions(library: Library): void {
  const { Transactional, NotTransactional, Counter } = library;
  itShows(GUIDE, library.example);

  @Injectable()
  class Misplaced {
    constructor(
      @Inject(library.source) private readonly source: unknown,
      private readonly locks: LockService,
    ) {}

    @Transactional()
    @Locked({ key: (name: string) => name, wait: '1m' })
    async increment(name: string): Promise<void> {
      await this.#add(name);
    }

    @Transactional()
    @Locked({ key: (name: string) => name, wait: '1m', ttl: '1h' })
    async guarded(name: string): Promise<void> {
      await this.#add(name);
      await LockContext.current()?.guard(library.managerOf(this.source));
    }

    @Transactional()
    async transactional<T>(work: () => Promise<T>): Promise<T> {
      return work();
    }

    @NotTransactional()
    async outside<T>(work: () => Promise<T>): Promise<T> {
      return work();
    }

    @Locked({ key: (name: string) => name })
    async locked<T>(_name: string, work: () => Promise<T>): Promise<T> {
      return work();
    }

    async run(name: string): Promise<void> {
      await this.locks.run(name, () => this.transactional(() => this.#add(name)));
    }

    async #add(name: string): Promise<void> {
      const manager = library.managerOf(this.source);
      const { value } = await manager.findOneByOrFail(Counter, { name });
      await manager.update(Counter, { name }, { value: value + 1 });
    }
  }

  for (const target of targetsAmong('postgres', 'mariadb'))
    describe(`A5 locks and @Transactional() of ${library.name}, on ${target.name}`, () => {
      let fixture: Fixture;
      let observer: DataSource;
      let name: string;
      beforeAll(async () => {
        fixture = await Fixture.open(target);
        observer = await fixture.dataSource({ entities: [Counter], synchronize: true });
      });
      beforeEach(async () => {
        library.forget?.();
        name = newKey();
        await observer.manager.insert(Counter, { name, value: 0 });
      });
      afterAll(() => fixture.dispose());

      const application = async (pool: object = {}): Promise<INestApplicationContext> => {
        const options = { ...fixture.target.options, entities: [Counter], ...pool } as DataSourceOptions;
        const app = await start({
          imports: [...library.imports(options), LockModule.forRoot({ store: typeOrmStore() })],
          providers: [library.Counters, Misplaced],
        });
        // Shutdown hooks are enabled because the first lock would otherwise log a warning.
        return app.enableShutdownHooks();
      };
      const count = async () => (await observer.manager.findOneByOrFail<Counter>(Counter, { name })).value;
      const times = async (n: number, work: () => Promise<void>) => {
        await Promise.all(Array.from({ length: n }, work));
      };

      it('A5 a lock above @Transactional() is released after the commit, and logs no warning', async () => {
        const app = await application();
        await times(5, () => app.get(library.Counters).increment(name));
        expect(await count()).toBe(5);
        await app.get(Misplaced).run(name);
        expect(await count()).toBe(6);
        expect(logs.of('warn')).toEqual([]);
      });

      it('A5 with the lock above @Transactional(), all callers finish, even if they outnumber the connections of the pool', async () => {
        const app = await application(
          target.name === 'postgres' ? { poolSize: 5 } : { extra: { connectionLimit: 5 } },
        );
        await times(30, () => app.get(library.Counters).increment(name));
        expect(await count()).toBe(30);
      });

      it('A5 a lock below @Transactional() logs one warning for each method, which says to swap the decorators', async () => {
        const app = await application();
        for (let i = 0; i < 3; i++) await app.get(Misplaced).increment(name);
        expect(logs.of('warn')).toEqual([
          expect.stringMatching(
            /^Misplaced\.increment takes the lock ".*" inside an open transaction.*released before the commit.*Put @Locked\(\) above @Transactional\(\)/,
          ),
        ]);
        await app.get(Misplaced).transactional(() => app.get(Misplaced).locked(name, async () => {}));
        expect(logs.of('warn')).toHaveLength(2);
        expect(logs.of('warn')[1]).toContain('Misplaced.locked takes the lock');
      });

      it('A5 a guarded lock below @Transactional() is free after the commit, with one warning', async () => {
        const app = await application();
        const released = once(app.get(LockService).events, 'released');
        await app.get(Misplaced).guarded(name);
        await released;
        const others = new TypeOrmLockStore(observer);
        expect(await others.acquire(name, 'other', 1_000)).toMatchObject({ acquired: true });
        expect(await count()).toBe(1);
        expect(logs.of('warn')).toEqual([expect.stringContaining('Put @Locked() above @Transactional()')]);
      });

      it('A5 run, tryRun, acquire and tryAcquire warn once for each key, and for at most ten keys', async () => {
        const app = await application();
        const locks = app.get(LockService);
        await app.get(Misplaced).transactional(async () => {
          await locks.run(`${name}-run`, () => {});
          await locks.run(`${name}-run`, () => {});
          await locks.tryRun(`${name}-tryRun`, () => {});
          await (await locks.acquire(`${name}-acquire`)).release();
          await (await locks.tryAcquire(`${name}-tryAcquire`))?.release();
        });
        expect(logs.of('warn')).toEqual(
          ['run', 'tryRun', 'acquire', 'tryAcquire'].map((key) =>
            expect.stringMatching(
              `^A call takes the lock "${name}-${key}" inside an open transaction.*Take the lock first`,
            ),
          ),
        );
        await app.get(Misplaced).transactional(async () => {
          for (let i = 0; i < 20; i++) await locks.run(`${name}-${i}`, () => {});
        });
        expect(logs.of('warn')).toHaveLength(10);
      });

      it('A5 a lock logs no warning without an open transaction in its call chain', async () => {
        const app = await application();
        const misplaced = app.get(Misplaced);
        const lock = () => misplaced.locked(newKey(), async () => {});
        let late: Promise<void> | undefined;
        let committed: () => void = () => {};
        const afterCommit = new Promise<void>((resolve) => (committed = resolve));
        await misplaced.transactional(() =>
          misplaced.transactional(async () => {
            // The call chain of `late` goes on after the transaction.
            late = afterCommit.then(lock);
            await misplaced.outside(lock);
          }),
        );
        committed();
        await late;
        await app.get<DataSource>(getDataSourceToken()).transaction(async () => {});
        await lock();
        await misplaced.transactional(() => misplaced.transactional(async () => {}));
        await Promise.all([misplaced.transactional(async () => {}), lock()]);
        expect(logs.of('warn')).toEqual([]);
      });

      if (target.name === 'postgres')
        it(`A5 the application of ${GUIDE} runs without a warning`, async () => {
          process.env.DATABASE_URL = urlOf(fixture.target);
          const app = (await start({ imports: [library.AppModule] })).enableShutdownHooks();
          await times(5, () => app.get(library.Counters).increment(name));
          expect(await count()).toBe(5);
          expect(logs.of('warn')).toEqual([]);
        });

      it('A5 while locking is disabled, a lock inside a transaction logs no warning about the transaction', async () => {
        const app = await application();
        app.get(LockService).disable();
        await app.get(Misplaced).increment(name);
        expect(logs.of('warn')).toEqual([expect.stringContaining('LOCKING IS DISABLED')]);
      });
    });
}
