export { LockModule, type LockModuleExtras, type LockOptionsFactory } from './lock.module.js';
export { LockService } from './lock.service.js';
export type { TryRunResult } from './options/lock-call.js';
export { Lock } from './lock.js';
export { LockContext } from './lock-context.js';
export { Locked, type LockedDecorator } from './decorators/locked.decorator.js';
export type { LockedBehaviour, LockedOptions, OnBusy, OnceBehaviour } from './decorators/locked.options.js';
export { InjectLockService } from './decorators/inject-lock-service.decorator.js';
export { getLockServiceToken } from './lock.tokens.js';
export { LockInterceptor } from './handlers/lock.interceptor.js';
export type { LockInterceptorKey, LockInterceptorOptions } from './handlers/lock.interceptor.js';
export { LockExceptionFilter } from './handlers/lock-exception.filter.js';
export type { LockExceptionFilterOptions } from './handlers/lock-exception.filter.js';
export { LockController, type LockControllerOptions } from './administration/lock.controller.js';

export { LockError, LockLostError, LockNotAcquiredError, LockStoreError } from './lock.errors.js';
export type { BusyReason, LockNotAcquiredDetails, LockStoreErrorOptions } from './lock.errors.js';
export type { LockEventMap, LockEventName, LockEvents } from './lock.events.js';
export type { Duration } from './options/duration.js';
export type { LockHandOff } from './options/hand-off.js';
export type {
  AcquireOptions,
  LeaseOptions,
  LockModuleDefaults,
  LockModuleOptions,
  LockOptions,
  LostCallback,
  OnceOptions,
  PurgeSchedule,
  ReentryOptions,
  RenewalOptions,
  RestoreOptions,
  RetryPolicy,
  RunOptions,
  WaitOptions,
} from './options/lock.options.js';

export { memoryStore, type MemoryStoreOptions } from './stores/memory/memory-store.js';
export { MemoryLockStore, type MemoryLockStoreOptions } from './stores/memory/memory-lock.store.js';
export { assertKey, assertOwner, fitKey, MAX_KEY_BYTES, storedKey } from './options/lock-key.js';
export type {
  LockHistory,
  LockInspection,
  LockOutcome,
  LockPage,
  LockRecord,
  LockRun,
} from './interfaces/lock-record.interface.js';
export type { LockStoreDefinition } from './interfaces/lock-store-definition.interface.js';
export type {
  AcquireRequest,
  BatchRenewer,
  LeaseRenewal,
  ListRequest,
  LockAcquireResult,
  LockInspector,
  WaiterRelease,
  LockPauser,
  LockStore,
  OnceKeeper,
  OnceRequest,
  TickKeeper,
  PurgeRequest,
  RefusalReason,
  ReleaseRequest,
  RenewalOutcome,
  SessionBound,
  StoreClock,
  StoreDescription,
  StoreLifecycle,
  StoreRequest,
  StoreWarnings,
  WaiterRequest,
  TransactionGuard,
  WakeUps,
} from './interfaces/lock-store.interface.js';
