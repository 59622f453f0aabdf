// Exports whose types the compiler infers: each type has to have a name in an entry of the
// package.
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
import { typeOrmStore } from 'nestjs-locked/typeorm';

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
export const historyOf = ({ admin }: LockService) => admin.inspect('key');
