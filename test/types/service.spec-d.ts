// Types that modules and the lock service accept and refuse; `tsc -p tsconfig.json` is the
// test.
import type { DynamicModule } from '@nestjs/common';
import { expectTypeOf } from 'expect-type';
import {
  getLockServiceToken,
  Lock,
  LockContext,
  LockModule,
  memoryStore,
  MemoryLockStore,
  type BusyReason,
  type Duration,
  type LockEventMap,
  type LockModuleOptions,
  type LockNotAcquiredError,
  type LockService,
  type TryRunResult,
} from '../../lib/index.js';
import type { LockStoreDefinition, RefusalReason } from '../../lib/interfaces/index.js';

declare class Settings {
  readonly store: MemoryLockStore;
}
declare class LockSettings {
  createLockOptions(): LockModuleOptions;
}
declare class AsyncLockSettings {
  createLockOptions(): Promise<LockModuleOptions>;
}
declare class WrongSettings {
  createOptions(): LockModuleOptions;
}

const store = memoryStore();
expectTypeOf(store).toEqualTypeOf<LockStoreDefinition>();

// B1 a module takes a store and options
export const modules = (): DynamicModule[] => [
  LockModule.forRoot({ store }),
  LockModule.forRoot({ store: new MemoryLockStore(), ttl: '1m', wait: 0, prefix: 'shop', enabled: true }),
  LockModule.forRoot({
    store,
    name: 'weak',
    isGlobal: false,
    onLost: (lock, error) => [lock.key, error.key],
  }),
  LockModule.forRoot({ store, autoRenew: false }),
  LockModule.forRoot({ store, maxWaiters: { perKey: 100 } }),
  LockModule.forRoot({ store, maxWaiters: { perKey: Infinity, total: 10_000 } }),
  LockModule.forRoot({ store: { useFactory: () => new MemoryLockStore() } }),
  LockModule.forRoot({
    store: { inject: [Settings, 'token'], useFactory: async () => new MemoryLockStore() },
  }),
  LockModule.forRootAsync({ useFactory: () => ({ store }) }),
  LockModule.forRootAsync({ useFactory: async () => Promise.resolve({ store, ttl: 5000 }) }),
  LockModule.forRootAsync({ name: 'weak', isGlobal: false, useFactory: () => ({ store }) }),
  LockModule.forRootAsync({
    inject: [Settings],
    useFactory: (settings: Settings) => ({ store: settings.store }),
  }),
  LockModule.forRootAsync({ useClass: LockSettings }),
  LockModule.forRootAsync({ useClass: AsyncLockSettings }),
  LockModule.forRootAsync({ imports: [Settings], useExisting: LockSettings }),

  // @ts-expect-error the options are missing
  LockModule.forRoot(),
  // @ts-expect-error the store is missing
  LockModule.forRoot({}),
  // @ts-expect-error the store is missing
  LockModule.forRoot({ ttl: '30s', name: 'weak' }),
  // @ts-expect-error memoryStore is a function to call
  LockModule.forRoot({ store: memoryStore }),
  // @ts-expect-error a connection string is not a store
  LockModule.forRoot({ store: 'postgres://localhost' }),
  // @ts-expect-error the option is misspelt
  LockModule.forRoot({ store, tll: '30s' }),
  // @ts-expect-error durations have no such unit
  LockModule.forRoot({ store, ttl: '30 parsecs' }),
  // @ts-expect-error renewEvery needs autoRenew
  LockModule.forRoot({ store, autoRenew: false, renewEvery: '1s' }),
  // @ts-expect-error rejectOnLoss is an option of runs and decorators
  LockModule.forRoot({ store, rejectOnLoss: false }),
  // @ts-expect-error a name is a string
  LockModule.forRoot({ store, name: 7 }),
  // @ts-expect-error maxWaiters has a limit per key and a total
  LockModule.forRoot({ store, maxWaiters: 100 }),
  // @ts-expect-error the limit is misspelt
  LockModule.forRoot({ store, maxWaiters: { perkey: 100 } }),
  // @ts-expect-error a limit is a number
  LockModule.forRoot({ store, maxWaiters: { total: '100' } }),
  // @ts-expect-error enabled is a boolean
  LockModule.forRoot({ store, enabled: 'false' }),
  // @ts-expect-error the options of forRootAsync() need a store too
  LockModule.forRootAsync({ useFactory: () => ({ ttl: '30s' }) }),
  // @ts-expect-error the class has no createLockOptions()
  LockModule.forRootAsync({ useClass: WrongSettings }),
];

expectTypeOf<LockModuleOptions['maxWaiters']>().toEqualTypeOf<
  { perKey?: number; total?: number } | undefined
>();
expectTypeOf<LockNotAcquiredError['reason']>().toEqualTypeOf<RefusalReason | 'queue-full'>();
expectTypeOf<LockEventMap['busy'][0]['reason']>().toEqualTypeOf<BusyReason>();

expectTypeOf(getLockServiceToken).parameter(0).toEqualTypeOf<string | undefined>();

// B29 durations are numbers, or strings with a unit
expectTypeOf<'30s'>().toExtend<Duration>();
expectTypeOf<'1.5 hours'>().toExtend<Duration>();
expectTypeOf<250>().toExtend<Duration>();
expectTypeOf<'30 parsecs'>().not.toExtend<Duration>();
expectTypeOf<'30'>().not.toExtend<Duration>();
expectTypeOf<string>().not.toExtend<Duration>();
expectTypeOf<null>().not.toExtend<Duration>();

export async function calls(locks: LockService): Promise<void> {
  // B14 acquire returns a lock, tryAcquire a lock or null
  expectTypeOf(await locks.acquire('key')).toEqualTypeOf<Lock>();
  expectTypeOf(await locks.tryAcquire('key', { wait: '5s' })).toEqualTypeOf<Lock | null>();
  expectTypeOf(LockContext.current()).toEqualTypeOf<Lock | undefined>();
  expectTypeOf(LockContext.current('key')).toEqualTypeOf<Lock | undefined>();

  // B59 run() returns the result of the work
  expectTypeOf(await locks.run('key', () => 42)).toEqualTypeOf<number>();
  expectTypeOf(await locks.run('key', async () => Promise.resolve('text'))).toEqualTypeOf<string>();
  expectTypeOf(await locks.run('key', (lock) => lock)).toEqualTypeOf<Lock>();
  await using scope = await locks.acquire('key');
  expectTypeOf(scope).toEqualTypeOf<Lock>();

  // B14 the property `acquired` tells the two results of tryRun() apart
  const result = await locks.tryRun('key', async () => Promise.resolve(42));
  expectTypeOf(result).toEqualTypeOf<TryRunResult<number>>();
  // @ts-expect-error `value` exists only if the lock was acquired
  void result.value;
  // @ts-expect-error `error` exists only if the lock was not acquired
  void result.error;
  if (result.acquired) {
    expectTypeOf(result.value).toEqualTypeOf<number>();
    expectTypeOf(result).not.toHaveProperty('error');
  } else {
    expectTypeOf(result.error).toEqualTypeOf<LockNotAcquiredError>();
    expectTypeOf(result).not.toHaveProperty('value');
  }

  const { signal } = new AbortController();
  await locks.acquire('key', { signal, ttl: Infinity, onLost: () => {} });
  await locks.run('key', () => 1, { signal, rejectOnLoss: false, renewEvery: '1s' });
  // @ts-expect-error the option is misspelt
  await locks.acquire('key', { waitFor: 5 });
  // @ts-expect-error durations have no such unit
  await locks.acquire('key', { wait: '5 parsecs' });
  // @ts-expect-error rejectOnLoss has no meaning for acquire(), which runs no work
  await locks.acquire('key', { rejectOnLoss: false });
  // @ts-expect-error renewEvery needs autoRenew
  await locks.run('key', () => 1, { autoRenew: false, renewEvery: 100 });
  // @ts-expect-error onBusy is an option of @Locked(), not of run()
  await locks.run('key', () => 1, { onBusy: 'skip' });
  // @ts-expect-error a key is a string
  await locks.run(7, () => 1);
  // @ts-expect-error forceRelease() needs a reason
  await locks.admin.forceRelease('key');
  expectTypeOf(await locks.admin.purge({ olderThan: '7d' })).toEqualTypeOf<number>();
  // @ts-expect-error purge() needs the option olderThan
  await locks.admin.purge({});
}

export function events({ events: emitter }: LockService): void {
  emitter.on('lost', (event) => expectTypeOf(event).toEqualTypeOf<LockEventMap['lost'][0]>());
  emitter.on('busy', ({ holder }) => holder?.label);
  emitter.on('acquired', (event) => {
    // @ts-expect-error events do not contain owner ids
    void event.owner;
  });
}

export function handle(lock: Lock): void {
  expectTypeOf(lock.expiresAt).toEqualTypeOf<Date | null>();
  expectTypeOf<Lock['extend']>().parameter(0).toEqualTypeOf<Duration | undefined>();
  expectTypeOf(lock.release('failed')).resolves.toEqualTypeOf<boolean>();
  expectTypeOf(lock.toJSON()).not.toHaveProperty('owner');
  // @ts-expect-error an outcome is 'done' or 'failed'
  void lock.release('late');
  // @ts-expect-error lock.held cannot be assigned
  lock.held = true;
}

interface Manager {
  query(sql: string): Promise<number[]>;
}

export async function transactions(lock: Lock): Promise<void> {
  const rows = await lock.transaction(async (manager: Manager) => manager.query('SELECT 1'));
  expectTypeOf(rows).toEqualTypeOf<number[]>();
  expectTypeOf(await lock.transaction(() => 'now')).toEqualTypeOf<string>();
  expectTypeOf(await lock.transaction(async () => {})).toEqualTypeOf<void>();
  // @ts-expect-error without a type, the transaction object is of an unknown type
  await lock.transaction((manager) => manager.query('SELECT 1'));
  // @ts-expect-error transaction() needs a function as its work
  await lock.transaction();
}
