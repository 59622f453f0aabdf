import {
  ConfigurableModuleBuilder,
  Inject,
  Module,
  Scope,
  type BeforeApplicationShutdown,
  type ConfigurableModuleAsyncOptions,
  type DynamicModule,
  type InjectionToken,
  type OnModuleDestroy,
  type OnModuleInit,
} from '@nestjs/common';
import { DiscoveryModule, DiscoveryService, ModuleRef } from '@nestjs/core';
import type { LockStoreDefinition, LockStore } from './interfaces/lock-store.interface.js';
import { LockError, show } from './lock.errors.js';
import type { LockModuleOptions } from './options/lock.options.js';
import { INTERNALS, type LockInternals } from './lock-internals.js';
import { LockService } from './lock.service.js';
import { DEFAULT_MODULE, getLockAdminToken, getLockServiceToken } from './lock.tokens.js';
import { LockedExplorer } from './decorators/locked.explorer.js';

const LOCK_MODULE_OPTIONS = 'LockModuleOptions';
const LOCK_MODULE_NAME = 'LockModuleName';
const LOCK_MODULE_IS_GLOBAL = 'LockModuleIsGlobal';

/** The interface of a class for `useClass` or `useExisting` of `forRootAsync`. @publicApi */
export interface LockOptionsFactory {
  /** Makes the options of the module. Nest calls it once, when the application starts. */
  createLockOptions(): LockModuleOptions | Promise<LockModuleOptions>;
}

/** Options of `LockModule` that Nest needs before it makes the other options. @publicApi */
export interface LockModuleExtras {
  /**
   * The name of the module, where an application has several. Use it in
   * `@Locked({ module: name })` and `@InjectLockService(name)`. Default `default`.
   */
  name?: string | undefined;
  /**
   * Whether `LockService` and `LockAdmin` can be injected in modules that do not import this
   * module. Default `true`.
   */
  isGlobal?: boolean | undefined;
}

/**
 * The type of the class that Nest's builder for modules makes: its methods register
 * `LockModule`.
 */
interface LockModuleMethods {
  new (): object;
  /**
   * Registers the store in which the application keeps its locks, and the defaults of all
   * locks. Import it once, in the root module.
   *
   * @example
   * ```ts
   * LockModule.forRoot({ store: typeOrmStore(), ttl: '1m' })
   * ```
   *
   * @throws LockError at start, for options that cannot work
   * @throws LockStoreError at start, when the store cannot be opened
   */
  forRoot(options: LockModuleOptions & LockModuleExtras): DynamicModule;
  /**
   * Registers the module like {@link forRoot}, with options that a factory makes from other
   * providers. Give `name` and `isGlobal` beside the factory: Nest needs them before it calls
   * the factory.
   *
   * @example
   * ```ts
   * LockModule.forRootAsync({
   *   inject: [ConfigService],
   *   useFactory: (config) => ({ store: typeOrmStore(), prefix: config.get('APP') }),
   * })
   * ```
   *
   * @throws LockError at start, for options that cannot work or that are made for each request
   * @throws LockStoreError at start, when the store cannot be opened
   */
  forRootAsync(
    options: ConfigurableModuleAsyncOptions<LockModuleOptions, 'createLockOptions'> & LockModuleExtras,
  ): DynamicModule;
}

const { ConfigurableModuleClass } = new ConfigurableModuleBuilder<LockModuleOptions>({
  optionsInjectionToken: LOCK_MODULE_OPTIONS,
})
  .setClassMethodName('forRoot')
  .setFactoryMethodName('createLockOptions')
  .setExtras<LockModuleExtras>(
    { name: DEFAULT_MODULE, isGlobal: true },
    (definition, { name = DEFAULT_MODULE, isGlobal = true }) => {
      assertName(name);
      const token = getLockServiceToken(name);
      const adminToken = getLockAdminToken(name);
      const inject = [LOCK_MODULE_OPTIONS, LOCK_MODULE_NAME, ModuleRef];
      return {
        ...definition,
        global: isGlobal,
        providers: [
          ...(definition.providers ?? []),
          { provide: LOCK_MODULE_NAME, useValue: name },
          { provide: LOCK_MODULE_IS_GLOBAL, useValue: isGlobal },
          { provide: token, useFactory: createService, inject },
          { provide: adminToken, useFactory: ({ admin }: LockService) => admin, inject: [token] },
        ],
        exports: [token, adminToken],
      };
    },
  )
  .build();
const LockModuleBase: LockModuleMethods = ConfigurableModuleClass;

/**
 * Registers where the locks of an application are kept, and the `LockService` that takes them.
 *
 * @example
 * ```ts
 * LockModule.forRoot({ store: typeOrmStore() })
 * LockModule.forRootAsync({
 *   inject: [ConfigService],
 *   useFactory: (config) => ({
 *     store: typeOrmStore(),
 *     enabled: config.get('LOCKS') !== 'off',
 *   }),
 * })
 * ```
 *
 * @throws LockError at start, for options that cannot work
 * @throws LockStoreError at start, when the store cannot be opened
 * @publicApi
 */
@Module({ imports: [DiscoveryModule] })
export class LockModule
  extends LockModuleBase
  implements OnModuleInit, OnModuleDestroy, BeforeApplicationShutdown
{
  constructor(
    private readonly moduleRef: ModuleRef,
    private readonly discovery: DiscoveryService,
    @Inject(LOCK_MODULE_NAME) private readonly name: string,
    @Inject(LOCK_MODULE_IS_GLOBAL) private readonly isGlobal: boolean,
  ) {
    super();
  }

  /** Checks all methods under `@Locked()`, and opens the store. Nest calls it at start. */
  async onModuleInit(): Promise<void> {
    const token = getLockServiceToken(this.name);
    if (this.moduleRef.introspect(token).scope !== Scope.DEFAULT) {
      throw new LockError(
        'LockModule.forRootAsync() was given options that are made for each request: the scheduler would skip every job that uses locks. Inject only singletons into the options.',
      );
    }
    this.assertSole();
    assertService(this.locks);
    const jobs = new LockedExplorer(this.discovery, this.locks, this.name).explore();
    const { internals } = this;
    internals.transactions.find(this.discovery.getProviders().map(({ instance }) => instance as unknown));
    // Open the store as the last step: if a later step of the start failed, nothing would
    // close the store.
    if (internals.enabled) await internals.start();
    internals.announce(jobs(internals.keepsTicks));
  }

  /**
   * Ends all waits, and awaits the work under locks for `shutdownTimeout` at most. The
   * connections of the application close later, in `onApplicationShutdown`.
   */
  async onModuleDestroy(): Promise<void> {
    await this.internals.drain();
  }

  /** Releases the locks that are still held, and closes the store. */
  async beforeApplicationShutdown(): Promise<void> {
    await this.internals.close();
  }

  /**
   * Refuses two global modules of one name. Injection order would decide which of them is
   * used, so two methods with the same key could take their locks in two stores.
   */
  private assertSole(): void {
    const all = this.moduleRef.get(LockModule, { strict: false, each: true });
    const same = all.filter(({ name, isGlobal }) => isGlobal && name === this.name);
    if (!this.isGlobal || same.length === 1) return;
    throw new LockError(
      `LockModule${this.name === DEFAULT_MODULE ? '' : ` "${this.name}"`} is registered ${same.length} times in one application. Import it once, in the root module, or give each a name: LockModule.forRoot({ name: '…', store }).`,
    );
  }

  /** @internal */
  get internals(): LockInternals {
    return this.locks[INTERNALS];
  }

  private get locks(): LockService {
    return this.moduleRef.get(getLockServiceToken(this.name));
  }
}

function assertName(name: unknown): void {
  if (typeof name === 'string' && name !== '') return;
  throw new LockError(`The name of a LockModule must be a non-empty string, but it is ${show(name)}.`);
}

function assertService(locks: unknown): void {
  if (locks instanceof LockService) return;
  throw new LockError(
    'LockService was overridden with something that decorated methods cannot use. In tests, import LockTestingModule from "nestjs-locked/testing" instead of LockModule, or set { enabled: false }.',
  );
}

function createService(
  given: LockModuleOptions | undefined,
  name: string,
  moduleRef: ModuleRef,
): LockService {
  const { store, ...options } = given ?? {};
  if (!isDefinition(store)) assertStore(store, '"store"');
  const siblings = () =>
    moduleRef.get(LockModule, { strict: false, each: true }).map(({ internals }) => internals);
  return new LockService({ options, name, openStore: () => openStore(store, moduleRef), siblings });
}

/**
 * Makes the store when the application's providers exist, since the store may depend on any of
 * them.
 */
async function openStore(store: LockStore | LockStoreDefinition, moduleRef: ModuleRef): Promise<LockStore> {
  if (!isDefinition(store)) return store;
  const dependencies = (store.inject ?? []).map((token): unknown => moduleRef.get(token, { strict: false }));
  const missing = dependencies.findIndex((dependency) => dependency === undefined || dependency === null);
  if (missing >= 0) {
    throw new LockError(
      `LockModule cannot open its store: "${describeToken(store.inject?.[missing])}" was not made yet. Take locks in onModuleInit() or later, not while providers are made.`,
    );
  }
  const made: unknown = await store.useFactory(...dependencies);
  assertStore(made, 'what the useFactory of "store" made');
  return made;
}

function describeToken(token: InjectionToken | undefined): string {
  return typeof token === 'function' ? token.name : String(token);
}

function isDefinition(store: unknown): store is LockStoreDefinition {
  return typeof (store as LockStoreDefinition | null | undefined)?.useFactory === 'function';
}

/**
 * Refuses a store that lacks one of the three operations. The error never shows the value,
 * which may be a connection string.
 */
function assertStore(store: unknown, what: string): asserts store is LockStore {
  const operations = store as Partial<LockStore> | null | undefined;
  const missing = (['acquire', 'renew', 'release'] as const).filter(
    (name) => typeof operations?.[name] !== 'function',
  );
  if (missing.length === 0) return;
  throw new LockError(
    `LockModule needs a store, but ${what} has no ${missing.join('(), ')}(): it is of type ${store === null ? 'null' : typeof store}. Give it one: typeOrmStore() from "nestjs-locked/typeorm", mongoStore() or mongooseStore() from "nestjs-locked/mongodb", or memoryStore() for development.`,
  );
}
