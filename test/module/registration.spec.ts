import 'reflect-metadata';
import { describe, expect, it } from '@jest/globals';
import { Controller, Inject, Injectable, Module, Scope, type DynamicModule } from '@nestjs/common';
import {
  InjectLockService,
  Locked,
  LockError,
  LockModule,
  LockService,
  memoryStore,
  type LockModuleOptions,
} from '../../lib/index.js';
import type { LockStore, LockStoreDefinition } from '../../lib/interfaces/index.js';
import { logs, start, startError, stop } from './applications.js';
import { RecordingStore } from './recording-store.js';

@Injectable()
class Settings {
  readonly store = new RecordingStore();
  readonly label = 'from settings';
}

@Module({ providers: [Settings], exports: [Settings] })
class SettingsModule {}

@Injectable()
class LockSettings {
  constructor(private readonly settings: Settings) {}

  async createLockOptions(): Promise<LockModuleOptions> {
    return { store: this.settings.store, label: this.settings.label };
  }
}

@Module({ imports: [SettingsModule], providers: [LockSettings], exports: [LockSettings] })
class LockSettingsModule {}

@Injectable()
class Jobs {
  constructor(readonly locks: LockService) {}

  @Locked()
  async work(): Promise<string> {
    return 'worked';
  }
}

@Module({ providers: [Jobs], exports: [Jobs] })
class JobsModule {}

describe('LockModule', () => {
  it('B1 forRoot() takes a store', async () => {
    const store = new RecordingStore();
    const app = await start({ imports: [LockModule.forRoot({ store }), JobsModule] });
    expect(await app.get(Jobs, { strict: false }).work()).toBe('worked');
    expect(store.calls).toEqual(['acquire Jobs.work', 'release Jobs.work']);
  });

  it('B1 forRoot() takes a store definition and makes one store from it', async () => {
    let made = 0;
    const definition: LockStoreDefinition = { useFactory: () => (made++, new RecordingStore()) };
    const app = await start({ imports: [LockModule.forRoot({ store: definition }), JobsModule] });
    await app.get(Jobs, { strict: false }).work();
    await app.get(Jobs, { strict: false }).work();
    expect(made).toBe(1);
  });

  it.each<[string, () => DynamicModule]>([
    [
      'useFactory',
      () =>
        LockModule.forRootAsync({
          imports: [SettingsModule],
          inject: [Settings],
          useFactory: ({ store, label }: Settings) => ({ store, label }),
        }),
    ],
    [
      'an async useFactory',
      () =>
        LockModule.forRootAsync({
          imports: [SettingsModule],
          inject: [Settings],
          useFactory: async ({ store, label }: Settings) => Promise.resolve({ store, label }),
        }),
    ],
    ['useClass', () => LockModule.forRootAsync({ imports: [SettingsModule], useClass: LockSettings })],
    [
      'useExisting',
      () => LockModule.forRootAsync({ imports: [LockSettingsModule], useExisting: LockSettings }),
    ],
  ])('B1 forRootAsync() takes %s', async (_, module) => {
    const app = await start({ imports: [JobsModule, module()] });
    await app.get(Jobs, { strict: false }).work();
    const { store } = app.get(Settings, { strict: false });
    expect(store.calls).toEqual(['acquire Jobs.work', 'release Jobs.work']);
    expect(await store.inspect('Jobs.work')).toMatchObject({ lastRun: { label: 'from settings' } });
  });

  it('B1 LockModule is global unless isGlobal is false', async () => {
    const local = () => LockModule.forRoot({ isGlobal: false, store: new RecordingStore() });

    @Module({ imports: [local()], providers: [Jobs], exports: [Jobs] })
    class WithLocks {}

    const app = await start({ imports: [WithLocks] });
    expect(await app.get(Jobs, { strict: false }).work()).toBe('worked');
    expect((await startError({ imports: [local(), JobsModule] })).message).toContain('LockService');
  });

  it('B1 forRootAsync() with isGlobal: false is not global', async () => {
    const local = LockModule.forRootAsync({
      isGlobal: false,
      useFactory: () => ({ store: new RecordingStore() }),
    });
    expect((await startError({ imports: [local, JobsModule] })).message).toContain('LockService');
  });

  it('B4 a second global module of one name is refused, since injection order would pick the store', async () => {
    // Nest 10 merges two modules with equal options into one, so the two modules here have
    // different labels.
    @Module({ imports: [LockModule.forRoot({ store: new RecordingStore(), label: 'feature' })] })
    class Feature {}

    const imports = [LockModule.forRoot({ store: new RecordingStore() }), Feature];
    const error = await startError({ imports });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toMatch(
      /LockModule is registered 2 times in one application\. Import it once, in the root module/,
    );
  });

  it('B4 several modules of one application can each import their own LockModule that is not global', async () => {
    const stores = [new RecordingStore(), new RecordingStore()];
    @Module({
      imports: [LockModule.forRoot({ store: stores[0]!, label: 'one', isGlobal: false })],
      providers: [Jobs],
    })
    class One {}
    @Module({ imports: [LockModule.forRoot({ store: stores[1]!, label: 'other', isGlobal: false })] })
    class Other {
      constructor(readonly locks: LockService) {}
    }

    const app = await start({ imports: [One, Other] });
    await app.get(Jobs, { strict: false }).work();
    await app.get(Other).locks.run('other', () => {});
    expect(stores.map(({ calls }) => calls)).toEqual([
      ['acquire Jobs.work', 'release Jobs.work'],
      ['acquire other', 'release other'],
    ]);
  });

  it('B2 LockService is injected into providers, controllers and factories, by class or decorator', async () => {
    @Controller()
    class Orders {
      @Inject(LockService) readonly property!: LockService;
      @InjectLockService() readonly decorated!: LockService;
      constructor(@InjectLockService() readonly parameter: LockService) {}
    }

    @Module({
      controllers: [Orders],
      providers: [
        { provide: 'made', inject: [LockService], useFactory: (locks: LockService) => ({ locks }) },
      ],
    })
    class OrdersModule {}

    const app = await start({
      imports: [OrdersModule, JobsModule, LockModule.forRoot({ store: memoryStore() })],
    });
    const locks = app.get(LockService);
    const orders = app.get(Orders, { strict: false });
    const made: { locks: LockService } = app.get('made', { strict: false });
    for (const injected of [
      orders.property,
      orders.decorated,
      orders.parameter,
      made.locks,
      app.get(Jobs, { strict: false }).locks,
    ]) {
      expect(injected).toBe(locks);
    }
    expect(await locks.run('key', () => 42)).toBe(42);
  });

  it('B2 locks can be taken in onModuleInit() and later', async () => {
    const ran: unknown[] = [];

    @Injectable()
    class Eager {
      constructor(private readonly locks: LockService) {}
      async onModuleInit(): Promise<void> {
        ran.push(await this.locks.run('boot', () => 'by hand'), await this.migrate());
      }
      @Locked()
      async migrate(): Promise<string> {
        return 'decorated';
      }
    }

    await start({ imports: [LockModule.forRoot({ store: new RecordingStore() })], providers: [Eager] });
    expect(ran).toEqual(['by hand', 'decorated']);
  });

  it('B68 two applications in one process have different services and stores', async () => {
    const [one, two] = [new RecordingStore(), new RecordingStore()];
    const first = await start({ imports: [LockModule.forRoot({ store: one }), JobsModule] });
    const second = await start({ imports: [LockModule.forRoot({ store: two }), JobsModule] });
    expect(first.get(LockService)).not.toBe(second.get(LockService));

    await first.get(Jobs, { strict: false }).work();
    expect([one.calls.length, two.calls.length]).toEqual([2, 0]);
    await second.get(Jobs, { strict: false }).work();
    expect([one.calls.length, two.calls.length]).toEqual([2, 2]);

    await stop(second);
    await first.get(Jobs, { strict: false }).work();
    expect([one.calls.length, two.calls.length]).toEqual([4, 2]);
  });
});

describe('store definitions', () => {
  class Connection {
    constructor(readonly name: string) {}
  }

  @Module({
    providers: [
      { provide: Connection, useFactory: async () => Promise.resolve(new Connection('late')) },
      { provide: 'table', useValue: 'locks' },
    ],
    exports: [Connection, 'table'],
  })
  class DatabaseModule {}

  let got: unknown[] = [];
  const definition: LockStoreDefinition = {
    inject: [Connection, 'table'],
    useFactory: async (...dependencies) => {
      got = dependencies;
      return Promise.resolve(new RecordingStore());
    },
  };

  it.each<[string, () => DynamicModule]>([
    ['forRoot()', () => LockModule.forRoot({ store: definition })],
    ['forRootAsync()', () => LockModule.forRootAsync({ useFactory: () => ({ store: definition }) })],
  ])(
    'B1 a store definition in %s gets providers of other modules injected, even async ones',
    async (_, module) => {
      got = [];
      const app = await start({ imports: [module(), DatabaseModule, JobsModule] });
      expect(got).toEqual([new Connection('late'), 'locks']);
      expect(got[0]).toBe(app.get(Connection, { strict: false }));
      expect(await app.get(Jobs, { strict: false }).work()).toBe('worked');
    },
  );

  it('B1 a store definition that injects a missing provider fails the start, and the error names the provider', async () => {
    const error = await startError({ imports: [LockModule.forRoot({ store: definition })] });
    expect(error.message).toContain('Connection');
  });

  it('B1 a lock taken before Nest has made the providers of the store is refused, and the error names onModuleInit()', async () => {
    const early = {
      provide: 'early',
      inject: [LockService],
      useFactory: (locks: LockService) => locks.run('boot', () => 'ran'),
    };

    @Module({
      providers: [
        {
          provide: Connection,
          useFactory: async () => {
            await new Promise(setImmediate);
            await new Promise(setImmediate);
            return new Connection('late');
          },
        },
        { provide: 'table', useValue: 'locks' },
      ],
    })
    class SlowDatabaseModule {}

    got = [];
    const error = await startError({
      imports: [LockModule.forRoot({ store: definition }), SlowDatabaseModule],
      providers: [early],
    });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain('"Connection" was not made yet. Take locks in onModuleInit() or later');
    expect(got).toEqual([]);

    // A store that needs no injected providers can be used as early as in a factory.
    const app = await start({
      imports: [LockModule.forRoot({ store: new RecordingStore() })],
      providers: [early],
    });
    expect(app.get('early')).toBe('ran');
  });

  it('B10 if the factory of a store fails, the start fails with the same error', async () => {
    const failing = { useFactory: () => Promise.reject(new Error('no database')) };
    const error = await startError({ imports: [LockModule.forRoot({ store: failing })] });
    expect(error.message).toBe('no database');
  });

  it('B10 if a store cannot be prepared, the start fails with the error of the store', async () => {
    const failing = Object.assign(new RecordingStore(), {
      prepare: () => Promise.reject(new Error('no table')),
    });
    const error = await startError({ imports: [LockModule.forRoot({ store: failing })] });
    expect(error.message).toBe('no table');
  });
});

describe('wrong options of LockModule', () => {
  const halfStore = { acquire: async () => ({ acquired: true, fencingToken: 1 }) };

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['null', null],
    ['a connection string', 'postgres://app:secret@db/app'],
    ['a definition that was not called', memoryStore],
    ['a class', RecordingStore],
    ['an empty object', {}],
    ['a promise of a store', Promise.resolve(new RecordingStore())],
    ['a store that cannot renew', halfStore],
    ['a definition that makes nothing', { useFactory: () => undefined }],
    ['a definition that makes half a store', { useFactory: async () => Promise.resolve(halfStore) }],
  ])('B1 %s instead of a store is refused, and the error says what to give', async (_, given) => {
    const store = given as LockStore;
    for (const module of [
      LockModule.forRoot({ store }),
      LockModule.forRootAsync({ useFactory: () => ({ store }) }),
    ]) {
      const error = await startError({ imports: [module] });
      expect(error).toBeInstanceOf(LockError);
      expect(error.message).toMatch(/LockModule .*store.*(typeOrmStore|memoryStore)\(\)/);
      expect(error.message).not.toContain('secret');
      expect(error.message.length).toBeLessThan(400);
    }
  });

  it('B1 a factory of forRootAsync() that returns no options is refused', async () => {
    const error = await startError({
      imports: [LockModule.forRootAsync({ useFactory: () => undefined as never })],
    });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain('store');
  });

  it.each([
    [{ tll: '5s' }, /LockModule does not know the option "tll"\. It takes: ttl, /],
    [{ name: 'inside', tll: 1 }, /"tll"/],
    [{ ttl: '30 parsecs' }, /"ttl" of LockModule/],
    [{ ttl: 0 }, /"ttl" of LockModule/],
    [{ wait: -1 }, /"wait" of LockModule.*Infinity/],
    [{ renewEvery: '29s' }, /"renewEvery" of LockModule/],
    [{ enabled: 'false' }, /"enabled" of LockModule.*true or false/],
    [{ prefix: 'a:b' }, /"prefix" of LockModule/],
    [{ onLost: 'shout' }, /"onLost" of LockModule/],
    [{ shutdownTimeout: null }, /"shutdownTimeout" of LockModule/],
  ])('B1 the wrong option %j is refused by forRoot() and forRootAsync()', async (options, message) => {
    const given = { ...(options as object), store: new RecordingStore() } as LockModuleOptions;
    const async = await startError({
      imports: [LockModule.forRootAsync({ useFactory: () => given })],
    });
    expect(async).toBeInstanceOf(LockError);
    // Only forRoot() refuses a wrong `name`, since a factory runs after the module has got its
    // name.
    if ('name' in options) return;
    expect(async.message).toMatch(message);
    expect((await startError({ imports: [LockModule.forRoot(given)] })).message).toMatch(message);
  });

  it('B1 the error for a wrong option of a named module contains the name of the module', async () => {
    const error = await startError({
      imports: [LockModule.forRoot({ name: 'weak', store: new RecordingStore(), ttl: -5 })],
    });
    expect(error.message).toContain('"ttl" of LockModule "weak"');
  });

  it('B68 a module whose options need a request-scoped provider is refused, since the scheduler would skip its jobs', async () => {
    @Injectable({ scope: Scope.REQUEST })
    class Tenant {
      readonly store = new RecordingStore();
    }

    @Module({ providers: [Tenant], exports: [Tenant] })
    class TenantModule {}

    const error = await startError({
      imports: [
        JobsModule,
        LockModule.forRootAsync({
          imports: [TenantModule],
          inject: [Tenant],
          useFactory: ({ store }: Tenant) => ({ store }),
        }),
      ],
    });
    expect(error).toBeInstanceOf(LockError);
    expect(error.message).toContain('for each request');
    expect(error.message).toContain('Inject only singletons');
  });

  it('B68 a module whose options need a transient provider is accepted', async () => {
    @Injectable({ scope: Scope.TRANSIENT })
    class Tenant {
      readonly store = new RecordingStore();
    }

    @Module({ providers: [Tenant], exports: [Tenant] })
    class TenantModule {}

    const app = await start({
      imports: [
        JobsModule,
        LockModule.forRootAsync({
          imports: [TenantModule],
          inject: [Tenant],
          useFactory: ({ store }: Tenant) => ({ store }),
        }),
      ],
    });
    expect(await app.get(Jobs, { strict: false }).work()).toBe('worked');
    expect(logs.of('error')).toEqual([]);
  });
});
