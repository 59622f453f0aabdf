export { LockModule, type LockModuleExtras, type LockOptionsFactory } from './lock.module.js';
export { LockService } from './lock.service.js';
export { LockAdmin } from './administration/lock-admin.js';
export { Lock } from './lock.js';
export type {
  GuardTransaction,
  NoPrismaClient,
  SynchronousTransactions,
  TransactionWork,
} from './lock-transactions.js';
export { LockContext } from './lock-context.js';
export { Locked, type LockedDecorator } from './decorators/locked.decorator.js';
export type { LockedOptions, OnBusy } from './decorators/locked.options.js';
export { getLockAdminToken, getLockServiceToken, InjectLockAdmin, InjectLockService } from './lock.tokens.js';
export { LockInterceptor } from './handlers/lock.interceptor.js';
export { LockExceptionFilter } from './handlers/lock-exception.filter.js';
export { LockController } from './administration/lock.controller.js';

export {
  LockError,
  LockLostError,
  LockNotAcquiredError,
  LockStoreError,
  type BusyReason,
} from './lock.errors.js';
export type { LockEventMap, LockEvents } from './lock.events.js';
export type { Duration } from './options/duration.js';
export type { LockHandOff } from './options/hand-off.js';
export type { TryRunResult } from './options/lock-call.js';
export type {
  AcquireOptions,
  LockModuleOptions,
  LostCallback,
  PurgeSchedule,
  RestoreOptions,
  RetryPolicy,
  RunOptions,
} from './options/lock.options.js';

export { MemoryLockStore } from './stores/memory/memory-lock.store.js';
export { memoryStore } from './stores/memory/memory-store.js';
export type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockPage,
  LockRecord,
  LockRun,
} from './interfaces/lock-record.interface.js';
export type { LockStore, LockStoreDefinition } from './interfaces/lock-store.interface.js';
