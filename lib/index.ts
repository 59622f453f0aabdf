export { LockModule, type LockModuleExtras, type LockOptionsFactory } from './lock.module.js';
export { LockService } from './lock.service.js';
export type { TryRunResult } from './lock-call.js';
export { Lock } from './lock.js';
export { LockContext } from './lock-context.js';
export { Locked, type LockedDecorator } from './decorators/locked.decorator.js';
export type { LockedBehaviour, LockedOptions, OnBusy, OnceBehaviour } from './decorators/locked.options.js';
export { InjectLockService } from './decorators/inject-lock-service.decorator.js';
export { getLockServiceToken } from './lock.tokens.js';
export { LockInterceptor } from './interceptors/lock.interceptor.js';
export type { LockInterceptorKey, LockInterceptorOptions } from './interceptors/lock.interceptor.js';
export { LockExceptionFilter } from './interceptors/lock-exception.filter.js';
export type { LockExceptionFilterOptions } from './interceptors/lock-exception.filter.js';
export { LockController, type LockControllerOptions } from './admin/lock.controller.js';

export { LockError, LockLostError, LockNotAcquiredError, LockStoreError } from './lock.errors.js';
export type { BusyReason, LockNotAcquiredDetails, LockStoreErrorOptions } from './lock.errors.js';
export type { LockEventMap, LockEventName, LockEvents } from './lock.events.js';
export type { Duration } from './duration.js';
export type { LockHandOff, RestoreOptions } from './hand-off.js';
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
  RetryPolicy,
  RunOptions,
  WaitOptions,
} from './lock.options.js';

export { memoryStore, type MemoryStoreOptions } from './stores/memory/memory-store.js';
export { MemoryLockStore, type MemoryLockStoreOptions } from './stores/memory/memory-lock.store.js';
export { assertKey, assertOwner, fitKey, MAX_KEY_BYTES, storedKey } from './lock-key.js';
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
  LockPasser,
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
  StoreWarnings,
  Successor,
  TransactionGuard,
  WaiterCaller,
} from './interfaces/lock-store.interface.js';
