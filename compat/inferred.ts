// Exports values whose types the compiler infers. It can write their declarations only if each
// of these types can be imported from an entry of the package.
import {
  LockContext,
  Locked,
  LockInterceptor,
  LockModule,
  memoryStore,
  type Lock,
  type LockedOptions,
  type LockModuleOptions,
  type LockNotAcquiredError,
  type LockService,
} from 'nestjs-locked';
import { mongooseStore } from 'nestjs-locked/mongodb';
import { fromTypeOrm, sqlStore as anySqlStore, type TransactionOf } from 'nestjs-locked/sql';
import { typeOrmStore } from 'nestjs-locked/typeorm';
import type { DataSource, EntityManager } from 'typeorm';

export const store = memoryStore();
export const sqlStore = typeOrmStore();
export const mongoStore = mongooseStore();
export const lockOptions = () => ({ store: typeOrmStore() });
export const interceptor = LockInterceptor(() => 'key');
export const module = LockModule.forRoot({ store });
export const Nightly = Locked('nightly');
export const current = () => LockContext.current();

export const withDefaults = (options: LockModuleOptions) => ({ ...options, ttl: '10s' as const });
export const purgeOf = ({ purge }: LockModuleOptions) => purge;
export const waitersOf = ({ maxWaiters }: LockModuleOptions) => maxWaiters;
export const storeOf = (options: LockModuleOptions) => options.store;
export const onBusyOf = ({ onBusy }: LockedOptions<[string]>) => onBusy;
export const reasonOf = ({ reason, holder }: LockNotAcquiredError) => ({ reason, holder });
export const handOffOf = (lock: Lock) => lock.handOff();
export const eventsOf = ({ events }: LockService) => events;
export const ran = (locks: LockService) => locks.tryRun('key', () => 1);
export const listOf = ({ admin }: LockService) => admin.list();
export const outcomeOf = async ({ admin }: LockService) => (await admin.inspect('key')).lastRun?.outcome;
export const executorOf = (dataSource: DataSource) => fromTypeOrm(dataSource);
export const storeOn = (dataSource: DataSource) => anySqlStore({ executor: fromTypeOrm(dataSource) });
export const typed = (locks: LockService<TransactionOf<ReturnType<typeof fromTypeOrm>>>) => locks;
export const lockOf = (locks: LockService<EntityManager>) => locks.acquire('key');
export const untyped = (locks: LockService) => locks.acquire('key');
export const synchronous = (locks: LockService<never>) => locks.acquire('key');
export const transactionOf = ({ transaction }: Lock<EntityManager>) => transaction;
export const guardOf = <Transaction>({ guard, transaction }: Lock<Transaction>) => ({ guard, transaction });
export const noTransactionOf = ({ guard, transaction }: Lock<never>) => ({ guard, transaction });
export const currentOf = () => LockContext.current<EntityManager>();
export const historyOf = ({ admin }: LockService) => admin.inspect('key');
